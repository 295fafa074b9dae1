"""A user whose command writes into a folder that git tracks reads so once."""

import subprocess

import pytest

from benchmark.cli.tracked import say_if_tracked


@pytest.fixture
def checkout(tmp_path):
    """A folder of results in a checkout, with one file that is tracked."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.json").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return results


def test_new_and_changed_files_are_counted_in_one_line(checkout, capsys):
    (checkout / "before.json").touch()  # not of this command
    with say_if_tracked(checkout, "--results"):
        (checkout / "a.json").write_text("2")
        (checkout / "b").mkdir()
        (checkout / "b/c d.json").touch()
        (checkout.parent / "elsewhere").touch()
    out, err = capsys.readouterr()
    expected = f"{checkout} is tracked by git, which sees 2 new or changed files: commit them together, or name"
    assert out == "" and err == f"{expected} another folder with --results\n"


def test_nothing_is_said_where_nothing_was_written_or_git_ignores_it(checkout, capsys):
    (checkout / ".gitignore").write_text("*.pt\n")
    with say_if_tracked(checkout, "--results"):
        (checkout / "x.pt").touch()
    assert capsys.readouterr() == ("", "")


def test_nothing_is_said_of_a_folder_that_git_does_not_track(checkout, tmp_path, capsys):
    own = checkout.parent / "own"
    for folder in (own, tmp_path / "absent"):
        with say_if_tracked(folder, "--results"):
            own.mkdir(exist_ok=True)
            (own / "a.json").touch()
    assert capsys.readouterr() == ("", "")


def test_it_is_said_of_a_command_that_fails_too(checkout, capsys):
    with pytest.raises(ValueError, match="stopped"), say_if_tracked(checkout, "--results"):
        (checkout / "b.json").touch()
        raise ValueError("stopped")
    assert "1 new or changed file:" in capsys.readouterr().err
