"""Tests of kept figures: only those are drawn whose records changed, and a report's bytes are the same without them."""

import pytest
from matplotlib.figure import Figure
from test_report import a_record, a_run, a_store

from benchmark import store as store_module
from benchmark.report.build import build
from benchmark.report.figures import style
from benchmark.report.figures.drawing.cache import FigureCache, digest
from benchmark.report.figures.drawing.method_axis import NAMED_DOTS, draw_seeds
from benchmark.report.records.cells import Row
from benchmark.report.records.entries import load_entries


def records(changed=0.0):
    """Records of two protocols, three seeds each; changed: added to a score of the second."""
    first = [a_record(a_run(m, s), 0.7 + s / 100) for m in ("kd", "sp") for s in range(3)]
    other = [a_record(a_run(m, s, dataset="cifar10"), 0.8 + s / 100) for m in ("kd", "sp") for s in range(3)]
    return [*first, *other[:-1], a_record(a_run("sp", 2, dataset="cifar10"), 0.81 + changed)]


@pytest.fixture
def drawn(monkeypatch):
    """The names of the figures that were drawn since the list was cleared."""
    names, draw = [], style.draw
    monkeypatch.setattr(style, "draw", lambda name, *rest: (names.append(name), draw(name, *rest))[1])
    return names


def contents(folder):
    """Path -> bytes of a report."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_second_report_draws_nothing_and_has_the_same_bytes(tmp_path, drawn):
    store = a_store(tmp_path / "results", records())
    first = contents(build(store, tmp_path / "a").parent)
    assert drawn
    drawn.clear()
    assert contents(build(store, tmp_path / "b").parent) == first and drawn == []


def test_a_changed_record_redraws_the_figures_of_its_protocol_only(tmp_path, drawn):
    build(a_store(tmp_path / "results", records()), tmp_path / "a")
    every = set(drawn)
    path = next(p for p in (tmp_path / "results/records").iterdir() if '"top1": 0.81' in p.read_text())
    path.write_text(path.read_text().replace('"top1": 0.81', '"top1": 0.85'))
    drawn.clear()
    again = contents(build(type(a_store(tmp_path / "none", []))(tmp_path / "results"), tmp_path / "a").parent)
    assert drawn and all("cifar10-" in name for name in drawn) and set(drawn) < every
    for path in (tmp_path / "results/.cache/figures").iterdir():
        path.unlink()
    assert contents(build(type(a_store(tmp_path / "none", []))(tmp_path / "results"), tmp_path / "a").parent) == again


def test_a_new_method_redraws_the_figures_of_its_protocol_only(tmp_path, drawn):
    store = a_store(tmp_path / "results", records())
    build(store, tmp_path / "a")
    store.add(a_record(a_run("lp", 0, dataset="cifar10"), 0.7))
    drawn.clear()
    build(store, tmp_path / "a")
    assert drawn and all("cifar10-" in name for name in drawn)


def test_a_report_reads_each_record_once(tmp_path, monkeypatch):
    store, read = a_store(tmp_path / "results", records()), []
    parse = store_module.parse_record
    monkeypatch.setattr(store_module, "parse_record", lambda text: read.append(text) or parse(text))
    load_entries(store)
    assert len(read) == len(records())


def test_a_damaged_figure_is_drawn_again_and_one_that_no_report_needs_is_removed(tmp_path, drawn):
    store = a_store(tmp_path / "results", records())
    first = contents(build(store, tmp_path / "a").parent)
    folder = tmp_path / "results/.cache/figures"
    victim = sorted(folder.iterdir())[0]
    victim.write_text(victim.read_text()[:-100])
    (folder / "old.svg").write_text("old")
    drawn.clear()
    assert contents(build(store, tmp_path / "a").parent) == first
    assert len(drawn) == 1 and not (folder / "old.svg").exists()


def test_a_folder_of_results_that_is_not_there_stays_so(tmp_path):
    assert FigureCache.beside(tmp_path / "none").folder is None
    assert FigureCache().svg("a", lambda: "<svg/>") == "<svg/>" and not (tmp_path / "none").exists()


def test_parts_that_run_together_have_another_digest():
    assert digest(["ab", "c"]) != digest(["a", "bc"]) != digest(["abc"])


def test_the_dots_of_many_seeds_are_one_mark_at_the_same_places():
    for count, marks in ((NAMED_DOTS, NAMED_DOTS), (NAMED_DOTS + 1, 1)):
        axes = Figure().add_subplot()
        draw_seeds(axes, {seed: seed / 2 for seed in range(count)}, 3.0, Row("method", "kd", label="kd"), "points")
        places = [tuple(point) for line in axes.lines for point in line.get_xydata().tolist()]
        assert len(axes.lines) == marks and places == [(seed / 2, 3.0) for seed in range(count)]
