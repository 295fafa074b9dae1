"""YAML is read as data, within bounds; what is refused is refused with its place."""

import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmark.experiment import yaml_input
from benchmark.experiment.suite import SUITES
from benchmark.experiment.yaml_input import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse_yaml, read_yaml


def refusal(text):
    """The one-line reason for which a text is refused."""
    with pytest.raises(ValueError) as caught:
        parse_yaml(text)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_what_yamls_own_writer_writes_is_read_as_its_own_reader_reads_it(value):
    text = yaml.dump(value, Dumper=WithoutAliases)
    assert parse_yaml(text) == yaml.safe_load(text)


class WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


@pytest.mark.parametrize("path", [*SUITES.glob("*.yaml"), SUITES.parent / "recipes.yaml"], ids=lambda path: path.stem)
def test_every_file_of_the_project_is_read_as_yamls_own_reader_reads_it(path):
    assert read_yaml(path) == yaml.safe_load(path.read_text())


LAUGHS = "a: &a [x, x]\n" + "".join(f"{y}: &{y} [*{x}, *{x}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is given twice"),
        ("kd: {alpha: 1, alpha: 1}", "column 16: the key 'alpha' is given twice"),
        (LAUGHS, "line 2, column 8: *a is an alias"),
        ("a: &a [*a]", "*a is an alias"),
        ("a: !!python/object/apply:os.system [ls]", "column 4: tags"),
        ("a: !mine 3", "tags"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"nested more than {MAX_DEPTH} deep"),
        ("- " * 5000 + "x", f"nested more than {MAX_DEPTH} deep"),
        (f"[{'0,' * MAX_VALUES}]", f"more than {MAX_VALUES:,} values"),
        ("x" * (MAX_BYTES + 1), f"at most {MAX_BYTES:,} are read"),
        ("9" * 5000, "too large"),
        ("-9223372036854775808", "too large"),
        ("0x" + "f" * 99, "too large"),
        ("0x_", "not a number"),
        ("a: [1", "line 1"),
        ("a: b: c", "not valid YAML in line 1, column 5"),
        ("a\x00b", "null byte"),
        ("a: 1\n---\nb: 2", "document"),
        ("? [a]\n: b", "unhashable"),
    ],
    ids=lambda text: text[:20] if text.isprintable() else "",
)
def test_what_is_not_plain_data_within_bounds_is_refused_with_its_place(text, expected):
    assert expected in refusal(text)


def test_values_at_the_bounds_are_read():
    assert parse_yaml("9223372036854775807") == 2**63 - 1
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert len(parse_yaml(f"[{'0,' * (MAX_VALUES - 1)}]")) == MAX_VALUES - 1


def test_a_date_stays_text_and_a_merged_mapping_may_be_overridden():
    assert parse_yaml("a: 2001-99-99") == {"a": "2001-99-99"}
    assert parse_yaml("<<: {a: 1, b: 2}\na: 3") == {"a": 3, "b": 2}


# ---- files
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ValueError, match="it is a pipe or a device, not a file"):
        read_yaml(tmp_path / "pipe.yaml")


def test_folders_missing_files_links_to_themselves_and_devices_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, expected in {
        tmp_path: "it is a folder, not a file",
        tmp_path / "absent": "there is no such file",
        tmp_path / "loop": "it cannot be opened",
        tmp_path / ("x" * 300): "it cannot be opened",
        tmp_path / "a\0b": "it has a null byte",
        "/dev/zero": "it is a pipe or a device, not a file",
    }.items():
        with pytest.raises(ValueError, match=expected):
            read_yaml(tmp_path / name)


def test_a_file_that_is_too_large_or_no_text_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(yaml_input, "parse_yaml", pytest.fail)
    path = tmp_path / "a.yaml"
    path.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(ValueError, match="it has 1,000,001 bytes, and at most 1,000,000 are read"):
        read_yaml(path)
    path.write_bytes("é".encode("latin-1"))
    with pytest.raises(ValueError, match="it is not text in UTF-8"):
        read_yaml(path)


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes("\ufefftitle: t".encode())
    assert read_yaml(path) == {"title": "t"}
