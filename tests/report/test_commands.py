"""Tests of the commands that read results: compare, explain, export and report --watch."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from scipy import stats

from benchmark.errors import BadInput
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.report.build import build
from benchmark.report.commands import watch
from benchmark.report.commands.compare import compare
from benchmark.report.commands.explain import explain as explain_in
from benchmark.report.commands.export import export
from benchmark.report.commands.repeat import Places
from benchmark.store import Record, Store
from methods import registry

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
TEACHER = Run(dataset="cifar100", student="resnet56", method="ce", recipe=RECIPE)


# ---- synthetic records
def a_run(method="kd", seed=0, teacher=TEACHER, **changes):
    """A student's run."""
    fields = {"dataset": "cifar100", "student": "resnet20", "method": method, "knobs": {}, "recipe": RECIPE}
    return Run(**fields | {"seed": seed, "teacher": teacher} | changes)


def a_record(run, top1=0.7, status="done", **made):
    """The record of an attempt at a run; made: fields of its provenance."""
    known = {"suite": "crd", "source": "aaaa", "torch": "2.7.0", "commit": "abc", "ended": "2026-01-02T03:04:05+00:00"}
    error = None if status == "done" else {"type": "Failed", "message": "no memory left"}
    score = {"top1": top1, "kl": None} if status == "done" else None
    fields = {"id": run.id, "status": status, "run": run.model_dump(mode="json"), "score": score, "error": error}
    return Record.model_validate(fields | {"made": known | made, "curve": {"top1": [top1]}})


@pytest.fixture
def results(tmp_path):
    """A function that writes records under a name and returns their folder; scores: method -> top-1 by seed."""

    def write(name, scores, *records):
        store = Store(tmp_path / name)
        for method, values in scores.items():
            for seed, value in enumerate(values):
                if value is not None:
                    store.add(a_record(a_run(method, seed), value))
        for record in records:
            store.add(record)
        return store.root

    return write


def cells_of_line(text, method):
    """The cells of the only line of a comparison about a method."""
    (line,) = [line for line in text.splitlines() if re.search(rf"(?<=\s\s){method}\s\s", line)]
    return re.split(r"\s{2,}", line)


# ---- compare
def test_a_cell_that_got_worse_on_the_same_seeds_is_shown_with_its_paired_interval(results):
    old, new = (0.700, 0.710, 0.720), (0.691, 0.700, 0.711)
    text, worse = compare(results("a", {"kd": old, "sp": old}), results("b", {"kd": new, "sp": old}))
    low, high = stats.ttest_rel(new, old).confidence_interval(0.95)
    interval = f"[{100 * low:+.2f}, {100 * high:+.2f}]".replace("-", "−")
    verdict, _, pair, *numbers = cells_of_line(text, "kd")
    assert worse and (verdict, pair) == ("worse", "resnet56-resnet20")
    assert numbers == ["71.00 (n = 3)", "70.07 (n = 3)", "−0.93", interval, "paired over 3 seeds"]
    assert "2 cells: 1 worse, 1 unchanged" in text and " sp " not in text


def test_seeds_that_are_not_the_same_are_compared_by_welch(results):
    old, new = (0.700, 0.710, 0.720), (None, None, None, 0.760, 0.770, 0.775)
    text, worse = compare(results("a", {"kd": old}), results("b", {"kd": new}))
    low, high = stats.ttest_ind(new[3:], old, equal_var=False).confidence_interval(0.95)
    verdict, *_, interval, basis = cells_of_line(text, "kd")
    assert not worse and (verdict, basis) == ("better", "Welch")
    assert interval == f"[{100 * low:+.2f}, {100 * high:+.2f}]"


@pytest.mark.parametrize(("old", "new"), [((0.7,), (0.1,)), ((0.7, 0.71), (None, 0.1)), ((0.9,), (0.7, 0.71))])
def test_a_single_run_is_inconclusive_however_large_the_difference(results, old, new):
    text, worse = compare(results("a", {"kd": old}), results("b", {"kd": new}))
    verdict, *_, basis = cells_of_line(text, "kd")
    assert not worse and (verdict, basis) == ("inconclusive", "n = 1: no interval")


def test_an_interval_that_contains_zero_is_inconclusive(results):
    text, worse = compare(results("a", {"kd": (0.70, 0.72, 0.71)}), results("b", {"kd": (0.71, 0.70, 0.70)}))
    assert not worse and cells_of_line(text, "kd")[0] == "inconclusive"


def test_further_seeds_alone_are_no_difference(results):
    text, worse = compare(results("a", {"kd": (0.70, 0.71)}), results("b", {"kd": (0.70, 0.71, 0.60)}))
    assert not worse
    assert cells_of_line(text, "kd")[3:] == [
        "70.50 (n = 2)",
        "67.00 (n = 3)",
        "+0.00",
        "[+0.00, +0.00]",
        "paired over 2 seeds",
    ]


def test_cells_in_one_folder_only_and_lost_scores_are_named(results):
    lost = [a_record(a_run("lsh", seed), status="failed") for seed in range(2)]
    old = results("a", {"kd": (0.7, 0.7), "sp": (0.6, 0.6), "lsh": (0.7, 0.71)})
    text, worse = compare(old, results("b", {"kd": (0.7, 0.7), "hint": (0.6,)}, *lost))
    assert not worse
    assert [cells_of_line(text, word)[0] for word in ("sp", "hint", "lsh")] == [
        "only in old",
        "only in new",
        "score lost",
    ]
    assert cells_of_line(text, "lsh")[-1] == "2 failed"
    assert "4 cells: 1 score lost, 1 only in new, 1 only in old, 1 unchanged" in text


def test_settings_of_a_method_are_not_mixed_up_between_the_folders(results):
    near, far = ([a_record(a_run(seed=seed, knobs={"alpha": a})) for seed in range(2)] for a in (0.9, 0.5))
    text, worse = compare(results("a", {}, *near), results("b", {}, *far))
    assert not worse
    assert (cells_of_line(text, "kd, alpha 0.9")[0], cells_of_line(text, "kd, alpha 0.5")[0]) == (
        "only in old",
        "only in new",
    )


def test_the_same_results_have_not_changed(results):
    text, worse = compare(results("a", {"kd": (0.7, 0.71)}), results("a", {}))
    assert not worse and text.endswith("1 cell, nothing changed")


def test_unreadable_records_are_named_and_left_out(results):
    old = results("a", {"kd": (0.7, 0.71)})
    (old / "records/torn.json").write_text("{")
    assert "left out: " in compare(old, old)[0] and "torn.json" in compare(old, old)[0]


def test_a_folder_without_records_is_refused(results, tmp_path):
    with pytest.raises(BadInput, match=r"nowhere holds no records of runs; name a folder of results"):
        compare(results("a", {"kd": (0.7,)}), tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_commands_do_not_import_torch():
    names = "compare, explain, export, gc, repeat, watch, why"
    code = f"from benchmark.report.commands import {names}; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---- explain
ORIGIN = {"dataset": "suite crd", "teacher": "--teacher", "knobs.alpha": "--set", "recipe.schedule": "recipe crd240"}


def explain(run, results, *plugins, data="elsewhere"):
    """What the command prints for a user who names the folders and plug-ins."""
    return explain_in(run, Places(results, Path(data), plugins))


def lines_by_name(text):
    """First cell of a line -> its other cells, of an explanation."""
    lines = (re.split(r"\s{2,}", line.strip(), maxsplit=2) for line in text.splitlines() if line.startswith("  "))
    return {line[0]: tuple(line[1:]) for line in lines}


def test_every_value_is_shown_with_its_origin(results):
    run = a_run(seed=3, knobs={"alpha": 0.5})
    found = lines_by_name(explain(run.id[:6], results("a", {}, a_record(run, origin=ORIGIN))))
    assert found["dataset"] == ("cifar100", "suite crd")
    assert found["knobs.alpha"] == ("0.5", "--set")
    assert found["teacher"] == (f"{TEACHER.id} (resnet56)", "--teacher")
    assert found["recipe.schedule.at"] == ("3, 5", "recipe crd240")
    assert found["recipe.optimiser"] == ("sgd", "not recorded")
    assert {f"recipe.{name}" for name in Recipe.model_fields} - set(found) == {"recipe.schedule"}
    assert (found["seed"], found["judge"]) == (("3", "not recorded"), ("test", "not recorded"))


def test_a_run_is_explained_with_its_attempts_scores_provenance_and_cell(results):
    run = a_run()
    folder = results("a", {}, a_record(run, status="failed"), a_record(run, 0.7123), a_record(TEACHER))
    text = explain(f"{run.id}-1", folder)  # as tables name a record
    found = lines_by_name(text)
    assert found["attempt 1"] == (f"{folder}/records/{run.id}-1.json (failed)",)
    assert found["attempt 2"] == (f"{folder}/records/{run.id}-2.json (done, the one that counts)",)
    assert (found["status"], found["top1"], found["kl"]) == (("done",), ("0.7123",), ("–",))
    assert found["torch"] == ("2.7.0",) and "origin" not in found
    assert found["crd · cifar100 · 6 epochs · batch 64 · judged on test"] == ("resnet56-resnet20", "kd")
    run_again = "python -m benchmark run crd -p resnet56-resnet20 -m kd --seeds 0"
    again = f"{run_again} --data elsewhere --results {folder} --again"
    assert text.splitlines()[-1] == f"  {again}"


def test_a_failure_gives_its_reason_and_is_repeated_without_an_option(results):
    text = explain(a_run().id, results("a", {}, a_record(a_run(), status="failed")))
    assert "failed: no memory left" in text and "--again" not in text


def test_a_teacher_is_explained_and_is_repeated_in_another_folder(results):
    text = explain(TEACHER.id, results("a", {"kd": (0.7,)}, a_record(TEACHER, origin={"method": "every teacher's"})))
    assert lines_by_name(text)["method"] == ("ce", "every teacher's")
    assert "resnet56-resnet20  teacher" in text
    assert text.endswith("python -m benchmark run crd -p resnet56-resnet20 --data elsewhere --results ELSEWHERE")


def test_imported_weights_are_imported_again(results):
    run = a_run("imported", teacher=None, recipe=None, knobs={"file_sha256": "0a"})
    folder = results("a", {}, a_record(run, file="net.pth"))
    text = explain(run.id, folder)
    assert lines_by_name(text)["recipe"] == ("found, not trained", "not recorded")
    command = "import-weights PATH/net.pth --model resnet20 --dataset cifar100 --data elsewhere"
    assert text.endswith(
        f"  # PATH: the folder of net.pth; records keep no paths\n  python -m benchmark {command} --results {folder}"
    )


def test_a_command_has_the_plug_in_that_was_named_or_says_what_to_fill_in(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = a_run("centred")
    folder = results("a", {}, a_record(run, plugins=["centred.py", "our.methods"], suite="mine.yaml"))
    lines = explain(run.id, folder).splitlines()
    assert lines[-2] == "  # PATH: the folder of mine.yaml, centred.py; records keep no paths"
    assert "run PATH/mine.yaml" in lines[-1] and "--plugin PATH/centred.py --plugin our.methods --data" in lines[-1]
    (tmp_path / "mine.yaml").touch()
    last = explain(run.id, folder, "../my methods/centred.py").splitlines()[-1]
    assert shlex.split(last)[3:5] == ["run", "mine.yaml"]
    assert shlex.split(last)[11:15] == ["--plugin", "../my methods/centred.py", "--plugin", "our.methods"]


def test_without_a_folder_of_data_the_command_says_that_one_may_be_needed(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = results("a", {"kd": (0.7,)})
    assert "# add --data DIR" in explain(a_run().id, folder, data="data")
    (tmp_path / "data").mkdir()
    text = explain(a_run().id, folder, data="data")
    assert "--data" not in text and "#" not in text


def test_the_other_run_that_is_nearest_is_shown_with_the_values_that_differ(results):
    near, far = a_run(seed=7), a_run("sp", seed=7)
    text = explain(a_run().id, results("a", {"kd": (0.7,)}, a_record(near), a_record(far)))
    assert f"the other run that is nearest\n  nearest is record {near.id}-1 (done)\n  seed: 0 here, 7 there\n" in text
    assert "nearest" not in explain(a_run().id, results("b", {"kd": (0.7,)}))


def test_a_method_whose_code_has_changed_says_so(results):
    now = registry.digest("kd")
    outside = a_record(a_run("outside"), source="bbbb")
    folder = results("a", {}, a_record(a_run(), source=now), a_record(a_run(seed=1)), outside)
    sources = [
        lines_by_name(explain(run.id, folder))["source"][0] for run in (a_run(), a_run(seed=1), a_run("outside"))
    ]
    assert sources == [
        f"{now} (the method's code as it is now)",
        f"aaaa (the method's code is {now} now)",
        "bbbb",
    ]


def test_an_unknown_or_ambiguous_id_is_refused_with_similar_ids(results):
    folder = results("a", {"kd": [0.7] * 40})
    ids = [a_run(seed=seed).id for seed in range(40)]
    first = next(id[0] for id in ids if sum(other[0] == id[0] for other in ids) > 1)
    with pytest.raises(BadInput, match=rf"runs in .* begin with '{first}': {first}.*resnet20 kd seed .*write more of"):
        explain(first, folder)
    wrong = ids[7][:-1] + ("0" if ids[7][-1] != "0" else "1")
    with pytest.raises(BadInput, match=f"no run in .* begins with '{wrong}'; there are {ids[7]}"):
        explain(wrong, folder)
    for word in ("", "-1", "no such thing"):
        with pytest.raises(BadInput, match=r"there are .* and 35 more"):
            explain(word, folder)


def test_a_record_that_cannot_be_read_is_not_explained(results):
    record = a_record(a_run()).model_copy(update={"run": {"dataset": "cifar100"}})
    folder = results("a", {"sp": (0.7,)}, record)
    with pytest.raises(BadInput, match="its run cannot be read"):
        explain(record.id, folder)
    with pytest.raises(BadInput, match="holds no records"):
        explain(record.id, folder / "records")


# ---- export
@pytest.fixture
def exported(results, tmp_path):
    """(Results folder, archive, message): results with a prediction, weights and an unfinished file, exported."""
    folder = results("results", {"kd": (0.7, 0.71), "sp": (0.6, 0.61)}, a_record(TEACHER))
    store = Store(folder)
    store.predictions("0" * 12).write_bytes(b"npz")
    store.keep_weights(TEACHER.id, b"weights")
    store.keep_teacher(a_record(TEACHER))
    (folder / "records/.torn.json.abc").write_text("half")
    message = export(tmp_path / "supplement.zip", folder, tmp_path / "reports")
    return folder, tmp_path / "supplement.zip", message


def test_an_archive_has_records_predictions_tables_and_figures_and_no_weights(exported):
    _, target, message = exported
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert sum(name.startswith("results/records/") for name in names) == 5
    assert {f"results/teachers/{TEACHER.id}.json", f"results/predictions/{'0' * 12}.npz"} <= set(names)
    assert {"MANIFEST", "reports/index.html"} <= set(names) and names == sorted(names)
    for suffix in ("md", "csv", "tex", "svg"):
        assert any(name.startswith("reports/") and name.endswith(suffix) for name in names)
    assert not [name for name in names if "safetensors" in name or "/." in name]
    assert "5 runs" in message and "update it" not in message


def test_the_manifest_lists_every_file_with_its_checksum_and_the_versions(exported):
    _, target, _ = exported
    with zipfile.ZipFile(target) as archive:
        lines = archive.read("MANIFEST").decode().splitlines()
        sums = dict(line.split("  ", 1)[::-1] for line in lines if not line.startswith("#"))
        assert sums == {
            name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist() if name != "MANIFEST"
        }
    assert "# records, torch: 2.7.0" in lines and any("matplotlib" in line for line in lines)


def test_equal_results_give_an_equal_archive_whose_report_is_that_of_its_records(exported, tmp_path):
    folder, target, _ = exported
    export(tmp_path / "again.zip", folder, tmp_path / "reports")
    assert (tmp_path / "again.zip").read_bytes() == target.read_bytes()
    with zipfile.ZipFile(target) as archive:
        archive.extractall(tmp_path / "paper")
    page = build(Store(tmp_path / "paper/results"), tmp_path / "rebuilt")
    assert page.read_bytes() == (tmp_path / "paper/reports/index.html").read_bytes()


def test_a_report_of_other_records_gives_a_warning_and_is_not_exported(exported, tmp_path):
    folder, _, _ = exported
    build(Store(folder), tmp_path / "reports")
    assert "update it" not in export(tmp_path / "b.zip", folder, tmp_path / "reports")
    Store(folder).add(a_record(a_run("hint"), 0.5))
    assert "reports is not the report of these records" in export(tmp_path / "c.zip", folder, tmp_path / "reports")
    with zipfile.ZipFile(tmp_path / "c.zip") as archive:
        assert b"hint" in archive.read("reports/index.html")


def test_no_archive_is_written_over_a_file_into_a_missing_folder_or_without_records(exported, tmp_path):
    folder, target, _ = exported
    before = target.read_bytes()
    for place, source, why in (
        (target, folder, "exists already and stays as it is; name another file"),
        (tmp_path, folder, "exists already"),
        (tmp_path / "no/such/place.zip", folder, "there is no folder"),
        (tmp_path / "nothing.zip", tmp_path / "empty", "nothing to export"),
    ):
        with pytest.raises(BadInput, match=why):
            export(place, source, tmp_path / "reports")
    assert target.read_bytes() == before and not (tmp_path / "nothing.zip").exists()


def test_results_that_keep_changing_are_not_exported(results, tmp_path, monkeypatch):
    states = iter(range(100))
    monkeypatch.setattr("benchmark.report.commands.export.file_state", lambda store: {"records": next(states)})
    with pytest.raises(BadInput, match="export again when the sweep has finished"):
        export(tmp_path / "a.zip", results("a", {"kd": (0.7,)}), tmp_path / "reports")


# ---- watch
def test_a_new_a_changed_and_a_removed_record_are_each_noticed_once(results):
    store, known = Store(results("a", {"kd": (0.7,)})), {}
    first = f"records/{a_run().id}-1.json"
    assert watch.changed_files(store, known) == [first] and watch.changed_files(store, known) == []
    store.add(a_record(a_run(seed=1)))
    assert watch.changed_files(store, known) == [f"records/{a_run(seed=1).id}-1.json"]
    path = store.root / first
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert watch.changed_files(store, known) == [first]
    path.unlink()
    assert watch.changed_files(store, known) == [first] and watch.changed_files(store, known) == []


def test_unfinished_files_and_missing_folders_are_no_changes(results, tmp_path):
    store, known = Store(results("a", {"kd": (0.7,)})), {}
    watch.changed_files(store, known)
    (store.root / "records/.0-1.json.abc").write_text("{")
    store.keep_weights("0" * 12, b"weights")
    assert watch.changed_files(store, known) == []
    assert watch.changed_files(Store(tmp_path / "nowhere"), {}) == []


def test_a_watched_report_is_rebuilt_for_each_change_until_it_is_stopped(results, tmp_path, monkeypatch, capsys):
    folder, passes = results("a", {"kd": (0.7,)}), []

    def sleep(seconds):
        passes.append(seconds)
        if len(passes) == 2:
            Store(folder).add(a_record(a_run(seed=1)))
        if len(passes) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", sleep)
    watch.watch(folder, tmp_path / "out", seconds=0.5)
    lines = capsys.readouterr().out.splitlines()
    page = tmp_path / "out/index.html"
    assert [line[9:] for line in lines[1:3]] == [f"report: {page} (first)", f"report: {page} (1 record changed)"]
    assert len(lines) == 4 and lines[3].startswith("stopped") and passes == [0.5] * 4
    assert "n = 2" in page.read_text()


def test_a_watched_report_stays_as_it_is_while_there_are_no_records(results, tmp_path, monkeypatch, capsys):
    folder, passes = results("a", {"kd": (0.7,)}), []
    record = next((folder / "records").iterdir())
    kept, page = record.read_bytes(), tmp_path / "out/index.html"

    def sleep(seconds):
        passes.append(page.read_bytes())
        if len(passes) == 1:
            record.unlink()
        if len(passes) == 2:
            record.write_bytes(kept)
            (folder / "records/torn.json").write_text("{")
        if len(passes) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", sleep)
    watch.watch(folder, tmp_path / "out", formats=["html"])
    out, err = capsys.readouterr()
    lines = [line[9:] for line in out.splitlines()[1:4]]
    assert lines[0] == f"report: {page} (first)" and lines[2] == f"report: {page} (2 records changed)"
    assert lines[1].startswith(f"the report stays as it is: {folder} holds no records of runs")
    assert passes[0] == passes[1] and "torn.json: not a record, skipped" in err
