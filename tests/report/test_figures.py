"""Tests of the figures: the numbers they show, their layout, and that equal records give equal bytes."""

import hashlib
import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats
from test_report import NASTY, RECIPE, a_cost, a_record, a_run, a_store

from benchmark.report.figures import protocol_figures
from benchmark.report.figures.curves import CURVES, draw_band, per_epoch
from benchmark.report.figures.drawing.colours import styles_of
from benchmark.report.figures.forest import forest_figures
from benchmark.report.figures.gap import gap_closed, gaps_of_pair
from benchmark.report.figures.losses import loss_figures, terms_of
from benchmark.report.figures.panels import compose
from benchmark.report.figures.studies.theory import theory_figures
from benchmark.report.figures.style import STYLE, round_coordinates
from benchmark.report.figures.tradeoff import pareto_frontier, step_milliseconds, tradeoff_figures
from benchmark.report.records.entries import load_entries
from benchmark.report.records.findings import Finding
from benchmark.report.records.protocols import protocols

ROOT = Path(__file__).parents[2]
NAMES = {"gap", "forest", "step", "split", "curves", "loss-ce", "losses"}
SCORES = {"ce": (0.68, 0.69, 0.685), "kd": (0.70, 0.695, 0.705), "sp": (0.71, 0.70, 0.69)}
TEACHER = 0.73


def protocol_of(tmp_path, records):
    """The only protocol of these records."""
    entries, complaints = load_entries(a_store(tmp_path, records))
    assert not complaints
    (found,) = protocols(entries)
    return found


def loss_curve(method):
    """The curve of six epochs with cross-entropy and the method's own term, which is missing in the first epoch."""
    own = {} if method == "ce" else {method: [None, 5.0, 4.0, 3.0, 2.0, 1.0]}
    curve = {"stage": ["distill"] * 6, "lr": [0.05] * 6, "top1": [0.1, 0.3, 0.5, 0.6, 0.65, 0.7]}
    return curve | {"loss": {"ce": [4.0, 3.0, 2.0, 1.5, 1.2, 1.1]} | own}


def full_records(student="resnet20", seeds=3):
    """Records of a teacher and of three methods, with several seeds and a cost each."""
    teacher = a_run("ce", 0, "resnet56", None)
    found = [a_record(teacher, TEACHER)]
    for method, scores in SCORES.items():
        runs = [a_run(method, s, student, None if method == "ce" else teacher) for s in range(seeds)]
        found += [a_record(run, scores[run.seed], curve=loss_curve(method)) for run in runs]
        found.append(a_cost(runs[0], {"ce": 0.0, "kd": 0.5, "sp": 3.0}[method]))
    return found


def figures_by_name(protocol):
    """Last part of the name -> rendered figure."""
    return {d.name.removeprefix(f"{protocol.slug}-"): d for d in protocol_figures(protocol, styles_of([protocol]))}


@pytest.fixture(scope="module")
def full_report(tmp_path_factory):
    """(Protocol with all numbers, its figures by name)."""
    protocol = protocol_of(tmp_path_factory.mktemp("full"), full_records())
    return protocol, figures_by_name(protocol)


# ---- all figures
def test_every_figure_with_data_is_drawn(full_report):
    assert set(full_report[1]) == NAMES
    assert all(d.svg.startswith("<?xml") and d.pdf.startswith(b"%PDF") and d.caption for d in full_report[1].values())


def test_equal_records_give_equal_bytes_in_another_process_too(full_report, tmp_path):
    protocol, found = full_report
    again = figures_by_name(protocol)
    assert [(d.svg, d.pdf) for d in again.values()] == [(d.svg, d.pdf) for d in found.values()]
    a_store(tmp_path, full_records()[::-1])
    code = """import sys; sys.path.insert(0, "tests/report")
import hashlib, test_figures as t; from pathlib import Path
from benchmark.store import Store
p, = t.protocols(t.load_entries(Store(Path(sys.argv[1])))[0])
print(*[hashlib.sha256(d.svg.encode() + d.pdf).hexdigest() for d in t.figures_by_name(p).values()])"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [hashlib.sha256(d.svg.encode() + d.pdf).hexdigest() for d in found.values()]


def test_figures_without_data_are_not_drawn(tmp_path):
    failed = [a_record(a_run(seed=seed), status="failed") for seed in range(2)]
    assert figures_by_name(protocol_of(tmp_path / "failed", failed)) == {}
    bare = a_record(a_run(), 0.7, size={}, clock={}, curve={})
    assert figures_by_name(protocol_of(tmp_path / "bare", [bare])) == {}


def test_one_run_is_enough_for_its_curves(tmp_path):
    assert set(figures_by_name(protocol_of(tmp_path, [a_record(a_run(), 0.7)]))) == {"curves", "losses"}


def test_a_methods_name_is_no_markup(tmp_path):
    records = [*full_records(seeds=2), a_record(a_run(NASTY), 0.7, curve=loss_curve(NASTY))]
    for figure in figures_by_name(protocol_of(tmp_path, records)).values():
        assert "<script" not in figure.svg and "<script" not in figure.inline()


def test_long_names_stay_inside_the_figure_and_do_not_overlap(tmp_path):
    names = ["kd", *(f"a_method_of_a_rather_long_name_{n}" for n in range(12))]
    slow = RECIPE.model_copy(update={"lr": 0.012345})
    teachers = [a_run("ce", seed, "resnet32x4", None, recipe=slow) for seed in (0, 12345)]
    runs = [a_run(name, teacher=teacher, recipe=r) for name in names for teacher in teachers for r in (slow, RECIPE)]
    runs = [*runs, *(a_run(name) for name in names)]
    protocol = protocol_of(tmp_path, [a_record(run, 0.7, curve=loss_curve(run.method)) for run in runs])
    styles = styles_of([protocol])
    for spec in (*forest_figures(protocol), *tradeoff_figures(protocol), CURVES, *loss_figures(protocol)):
        with matplotlib.rc_context(STYLE):
            figure = compose(spec, protocol, styles)
            boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts(figure)]  # no arrows
        for (text, box), (other, rival) in combinations(boxes, 2):
            assert not box.overlaps(rival), f"{spec.name}: {text} over {other}"
        for text, box in boxes:
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
            assert inside, f"{spec.name}: {text}"


def texts(figure):
    """The visible texts of a figure."""
    FigureCanvasAgg(figure).draw()
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            hidden |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
            hidden |= {tick.label1 for tick in axis.get_major_ticks() if not tick.label1.get_visible()}
    found = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return [text for text in found if text not in hidden]


def test_inline_figures_take_their_colours_from_the_page(full_report):
    for figure in full_report[1].values():
        assert "currentColor" in figure.inline() and "#1a1b1e" not in figure.inline()


def test_positions_are_truncated_but_scales_are_not():
    assert (
        round_coordinates('<use x="1.23456" d="M 1.239 2"/> scale(0.015625)')
        == '<use x="1.23" d="M 1.23 2"/> scale(0.015625)'
    )


def test_names_in_figures_have_the_marks_of_their_methods_and_the_caption_says_what_they_mean(tmp_path):
    status = {"sp": {"about": "Title.\n\nStatus: adapted"}}
    records = [record.model_copy(update=status.get(record.run["method"], {})) for record in full_records()]
    for name, figure in figures_by_name(protocol_of(tmp_path, records)).items():
        assert figure.caption.endswith("† adapted."), name
        assert ">sp†" in figure.svg and "kd†" not in figure.svg, name
        assert 'data-row="sp"' in figure.svg and 'data-row="sp†"' not in figure.svg, name


def test_only_what_is_scored_says_on_which_images(full_report):
    captions = {name: figure.caption for name, figure in full_report[1].items()}
    unscored = {name for name, caption in captions.items() if "Scored on" not in caption}
    assert unscored == {"split", "loss-ce", "losses"}
    assert captions["losses"].endswith("n = 3 runs per cell.")


def test_every_part_of_a_step_says_its_milliseconds(full_report):
    svg = full_report[1]["split"].svg
    for text in ("plain student’s step 10 of 15.5 ms", "teacher’s forward 5 of 15.5 ms", "method’s own 0.5 of 15.5 ms"):
        assert f'<g data-row="kd"><title>kd: {text}</title>' in svg


# ---- accuracy against costs
def dominated(points, point):
    """Whether another point is no worse in both coordinates and better in one, by trying all points."""
    return any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in points)


@pytest.mark.parametrize("seed", range(20))
def test_the_frontier_is_the_set_of_points_that_no_other_dominates(seed):
    rng = np.random.default_rng(seed)
    points = [tuple(map(int, rng.integers(0, 8, 2))) for _ in range(rng.integers(1, 30))]  # with ties
    found = pareto_frontier(points)
    assert sorted(found) == [i for i, point in enumerate(points) if not dominated(points, point)]
    assert [points[i] for i in found] == sorted(points[i] for i in found)


def test_a_steps_time_is_the_mean_of_the_runs_measured_on_the_platform(full_report):
    protocol, _ = full_report
    (platform,) = protocol.cost_platforms
    times = {cell.row.label: step_milliseconds(cell, platform) for cell in protocol.student_cells(protocol.pairs[0])}
    first = {
        cell.row.label: cell.scored[0].cost(platform).clock("step_ms")
        for cell in protocol.student_cells(protocol.pairs[0])
    }
    assert times == pytest.approx(first) and len(set(times.values())) == 3
    assert all(step_milliseconds(cell, ("another", "fp32")) is None for cell in protocol.cells.values())


# ---- the gap
def test_the_gap_closed_is_what_the_definition_says():
    found = gap_closed({0: 0.71, 1: 0.69, 2: 0.72, 9: 0.1}, {0: 0.68, 1: 0.69, 2: 0.67, 8: 0.9}, 0.73)
    m, s = (0.71 + 0.69 + 0.72) / 3, (0.68 + 0.69 + 0.67) / 3
    assert (found.mean, found.n) == (pytest.approx(100 * (m - s) / (0.73 - s)), 3)


def test_its_interval_is_that_of_the_delta_method():
    method, plain, teacher = [0.71, 0.69, 0.72, 0.70], [0.68, 0.69, 0.67, 0.685], 0.73
    m, s = sum(method) / 4, sum(plain) / 4
    by_m, by_s = 1 / (teacher - s), (m - teacher) / (teacher - s) ** 2  # derivatives of (m - s) / (t - s)
    cov = np.cov(method, plain) / 4
    error = np.sqrt(by_m**2 * cov[0, 0] + by_s**2 * cov[1, 1] + 2 * by_m * by_s * cov[0, 1])
    found = gap_closed(dict(enumerate(method)), dict(enumerate(plain)), teacher)
    half = 100 * stats.t.ppf(0.975, 3) * error
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))


def test_one_seed_has_no_interval_and_without_a_gap_there_is_no_result():
    assert gap_closed({0: 0.7}, {0: 0.68}, 0.73).high is None
    assert gap_closed({0: 0.7}, {0: 0.73}, 0.73) is None


def test_a_pair_whose_teacher_is_no_better_is_left_out_with_a_sentence(tmp_path):
    teacher = a_run("ce", 0, "resnet110", None)
    student = a_record(a_run("kd", 0, "resnet20", teacher), 0.7)
    student.provenance["teacher"] = {"id": teacher.id, "top1": 0.6}
    worse = [a_record(teacher, 0.6), student]
    protocol = protocol_of(tmp_path, [*full_records(), *worse])
    pair = next(pair for pair in protocol.pairs if pair.name == "resnet110-resnet20")
    assert gaps_of_pair(protocol, pair) is None
    figure = figures_by_name(protocol)["gap"]
    assert "Left out, because the teacher is no better than the plain student: resnet110-resnet20." in figure.caption


# ---- the forest
def test_of_two_settings_of_the_baseline_the_suites_is_preferred_to_the_users_however_many_runs_they_have(tmp_path):
    records = list(full_records())
    for seed in range(5):
        record = a_record(a_run("kd", seed, knobs={"alpha": 0.3}), 0.7)
        record.provenance["origin"] = {"knobs.alpha": "--set"}
        records.append(record)
    base = protocol_of(tmp_path, records).baseline_row("kd")
    assert '"alpha": 0.3' not in base.knobs


def test_the_forest_compares_with_the_named_method_or_the_plain_student(full_report):
    protocol, found = full_report
    assert protocol.baseline_row("sp").label == "sp" and protocol.baseline_row("nobody").kind == "student"
    assert found["forest"].title.startswith("Differences to kd")
    (spec,) = forest_figures(protocol)
    (difference,) = [one for (row, _), one in spec.panel.keywords["differences"].items() if row.label == "sp"]
    differences = [a - b for a, b in zip(SCORES["sp"], SCORES["kd"], strict=True)]
    alone = stats.t.interval(0.95, difference.degrees, np.mean(differences), difference.error)
    assert difference.difference == pytest.approx(np.mean(differences))
    assert difference.low < alone[0] and difference.high > alone[1]  # the interval holds for all rows together


def test_a_method_alone_has_no_forest(tmp_path):
    assert forest_figures(protocol_of(tmp_path, [a_record(a_run(), 0.7)])) == []


# ---- curves
def test_a_band_spans_the_seeds_and_a_line_has_every_epoch():
    axes = Figure().add_subplot()
    values = per_epoch([[None, *range(300)], [None, *range(2, 302)]])
    means = draw_band(axes, values, {"color": "k", "marker": "o"}, 0, "kd")
    (line,) = axes.lines
    x, y = line.get_data()
    assert x.tolist() == list(range(2, 302)) and y.tolist() == means.tolist() == list(range(1, 301))
    (band,) = axes.collections
    assert band.get_paths()[0].get_extents().get_points().tolist() == [[2, 0], [301, 301]]


def test_the_term_that_all_methods_share_has_its_own_figure(full_report):
    protocol, found = full_report
    assert {row.label: terms for row, terms in terms_of(protocol).items()} == {
        "student (ce)": ["ce"], "kd": ["ce", "kd"], "sp": ["ce", "sp"],
    }  # fmt: skip
    shared, own = loss_figures(protocol)
    assert shared.name == "loss-ce" and "“ce”" in found["loss-ce"].title
    assert sorted(term for terms in own.panel.keywords["terms"].values() for term in terms) == ["kd", "sp"]


# ---- features
def a_finding(students=2, images=8, **arrays):
    """A finding with features of three classes; a student's are the teacher's, rotated and with noise."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), images)
    teacher = rng.normal(size=(len(labels), 6)) + 8 * np.eye(3, 6)[labels]
    ids = [f"{n}" * 12 for n in range(students)]
    shown = {f"shown_{id}": teacher @ rng.normal(size=(6, 4)) + rng.normal(size=(len(labels), 4)) for id in ids}
    runs = [{"id": id, "label": f"method {id[0]} {NASTY}", "record": None} for id in ids]
    protocol = {"recipe": {"epochs": 1}, "seed": 0, "judge": "test"}
    value = {"dataset": "trial", "pair": {"teacher": "a", "student": "b"}, "protocol": protocol, "runs": runs}
    alike = {f"alike_{name}": np.eye(4) for name in ("teacher", "untrained", *ids)}
    placed = {
        f"place_{name.removeprefix('shown_')}": f[:, :2] for name, f in ({"shown_teacher": teacher} | shown).items()
    }
    found = alike | {"labels_shown": labels} | placed | arrays
    found = {name: value for name, value in found.items() if value is not None}
    return Finding(Path("a-b.json"), json.loads(json.dumps(value | {"hashing": []})), found)


def test_the_tsne_figure_is_the_same_twice():
    first, second = ({d.name.rsplit("-", 1)[1]: (d.svg, d.pdf) for d in theory_figures(a_finding())} for _ in range(2))
    assert set(first) == {"matrices", "points"} and first == second
    assert "<script" not in first["points"][0]


def test_the_angles_of_a_run_have_its_rows_colour_and_say_their_values():
    bins = [{"angle": 45.0, "agreement": 0.75, "formula": 0.75, "images": n, "from": 40} for n in (1200, 3)]
    found = a_finding()
    found.value["hashing"] = [{"id": id, "bins": bins} for id in found.labels]
    ids = list(found.labels)
    figures = {d.name.rsplit("-", 1)[1]: d.svg for d in theory_figures(found, styles={ids[0]: ("#123456", "s")})}
    assert "#123456" in figures["angles"]
    assert figures["angles"].count("45.0°, 0.750 of planes, 0.750 by the formula, 1,200 images") == len(ids)
    assert ", 3 images" not in figures["angles"] and '<g data-row="class 0">' in figures["points"]


def test_without_the_teachers_embedding_there_is_no_tsne_figure_and_a_student_without_one_is_left_out():
    assert {d.name.rsplit("-", 1)[1] for d in theory_figures(a_finding(place_teacher=None))} == {"matrices"}
    lone = {d.name.rsplit("-", 1)[1]: d.svg for d in theory_figures(a_finding(place_111111111111=None))}
    assert len(lone["points"]) < len({d.name.rsplit("-", 1)[1]: d.svg for d in theory_figures(a_finding())}["points"])


def test_the_figures_do_not_import_torch():
    code = f"""import sys; sys.path[:0] = [{str(ROOT)!r}, "."]; from test_figures import a_finding, theory_figures
print(len(theory_figures(a_finding())), "sklearn" in sys.modules, "torch" in sys.modules)"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "tests" / "report", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "False", "False"]
