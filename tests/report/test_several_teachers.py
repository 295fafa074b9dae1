"""Tests of a report on pairs with several teachers: one column, every run in it, each beside its own teacher."""

import math

import numpy as np
import pytest
from scipy import stats
from test_report import a_record, a_run, a_store

from benchmark.report.figures.drawing.colours import styles_of
from benchmark.report.figures.forest import forest_figures
from benchmark.report.figures.gap import block_gaps, gap_closed, gap_figures
from benchmark.report.figures.panels import draw_figure
from benchmark.report.judging import ONE_TEACHER, SEVERAL_TEACHERS, judging_section
from benchmark.report.page.findings import trust_sentence
from benchmark.report.page.run_details import details
from benchmark.report.published import match_published
from benchmark.report.records.entries import load_entries
from benchmark.report.records.predictions import Predictions
from benchmark.report.records.protocols import protocols
from benchmark.report.statistics.blocks import Block, crossed_summary
from benchmark.report.tables.accuracy import accuracy_table
from benchmark.report.tables.comparison_table import comparison_table
from benchmark.report.tables.comparisons import compare_rows
from benchmark.report.tables.measures import with_agreement
from benchmark.report.tables.precision import precision_tables
from benchmark.report.tables.rerun import repeat_command
from benchmark.report.tables.text_formats import to_csv, to_markdown

TEACHERS = (0.730, 0.741, 0.736)  # top-1 by seed
CE = (0.690, 0.684, 0.687)
KD = ((0.700, 0.704, 0.699), (0.712, 0.709, 0.713), (0.706, 0.707, 0.701))  # by teacher, by seed
SP = tuple(tuple(round(value + 0.002 * (s - t), 4) for s, value in enumerate(own)) for t, own in enumerate(KD))


def teacher(seed):
    """A teacher with a seed."""
    return a_run("ce", seed, "resnet56", None)


def taught(method, table, **changes):
    """The records of a method's runs; table: top-1 by teacher and seed, None for a run that is not there."""
    found = []
    for t, own in enumerate(table):
        for seed, top1 in enumerate(own):
            if top1 is not None:
                record = a_record(a_run(method, seed, teacher=teacher(t), **changes), top1)
                made = {"teacher": {"id": teacher(t).id, "top1": TEACHERS[t]}, "precision": "fp32"}
                found.append(record.model_copy(update={"provenance": record.provenance | made}))
    return found


def crossed_records(**methods):
    """Records of plain students, taught rows and the teachers that these have learned from."""
    rows = [record for name, table in (methods or {"kd": KD, "sp": SP}).items() for record in taught(name, table)]
    used = {record.run["teacher"]["seed"] for record in rows}
    found = [a_record(teacher(t), TEACHERS[t]) for t in sorted(used)]
    return [*found, *(a_record(a_run("ce", seed, teacher=None), top1) for seed, top1 in enumerate(CE)), *rows]


def only_protocol(store):
    (protocol,) = protocols(load_entries(store)[0])
    return protocol


@pytest.fixture
def store(tmp_path):
    return a_store(tmp_path / "results", crossed_records())


@pytest.fixture
def protocol(store):
    return only_protocol(store)


def cell_of(protocol, method):
    """The cell of a method, "teacher" or "ce" on the only pair."""
    (pair,) = protocol.pairs
    (row,) = [row for row in protocol.rows if method in (row.method, row.kind)]
    return protocol.cells[row, pair]


# ---- columns and cells
def test_teachers_that_differ_in_their_seed_alone_are_one_column_and_every_run_is_in_its_cell(protocol):
    (pair,) = protocol.pairs
    assert (pair.label, [run.seed for run in pair.teachers], pair.teacher.seed) == ("resnet56-resnet20", [0, 1, 2], 0)
    cell = cell_of(protocol, "kd")
    assert cell.by_block() == {Block(t, s): KD[t][s] for t in range(3) for s in range(3)}
    assert list(cell.by_block()) == [Block(t, s) for t in range(3) for s in range(3)]
    assert cell.by_seed == pytest.approx({s: sum(own[s] for own in KD) / 3 for s in range(3)})
    assert cell_of(protocol, "ce").by_block() == dict(enumerate(CE))
    assert (cell.teacher_count, cell_of(protocol, "teacher").teacher_count, protocol.teacher_counts) == (3, 3, {3})


def test_teachers_that_differ_in_more_than_their_seed_are_columns_of_their_own(tmp_path):
    other = teacher(1).model_copy(update={"knobs": {"smoothing": 0.1}})
    records = [*crossed_records(kd=KD[:1]), a_record(a_run("kd", 0, teacher=other), 0.7)]
    assert len(only_protocol(a_store(tmp_path, records)).pairs) == 2


def test_a_single_teacher_with_any_seed_gives_the_tables_of_seed_zero(tmp_path):
    tables = []
    for seed in (0, 5):
        records = [a_record(teacher(seed), 0.73), *(a_record(a_run("ce", s, teacher=None), CE[s]) for s in range(3))]
        records += [a_record(a_run("kd", s, teacher=teacher(seed)), KD[0][s]) for s in range(3)]
        found = only_protocol(a_store(tmp_path / str(seed), records))
        tables.append([to_markdown(accuracy_table(found)), to_markdown(comparison_table(found, compare_rows(found)))])
    assert tables[0] == tables[1] and "for this one teacher" in tables[0][0]


def test_the_teachers_row_is_the_mean_over_teachers(protocol):
    line = next(line for line in accuracy_table(protocol).lines if line.label == "teacher")
    mean, sd = np.mean(TEACHERS), np.std(TEACHERS, ddof=1)
    low, high = stats.t.interval(0.95, 2, mean, sd / math.sqrt(3))
    assert line.cells[0].text == f"{100 * mean:.2f} ± {100 * sd:.2f}"
    assert line.cells[0].small_print == f"n = 3; kept file, in fp32; {100 * low:.2f} to {100 * high:.2f}"


def test_teachers_without_a_record_are_known_from_their_students(tmp_path):
    records = [record for record in crossed_records() if record.run["student"] == "resnet20"]
    cell = cell_of(only_protocol(a_store(tmp_path, records)), "teacher")
    assert (cell.reported_top1, dict(cell.teacher_scores)) == (
        pytest.approx(np.mean(TEACHERS)),
        dict(enumerate(TEACHERS)),
    )


def test_the_interval_of_a_cell_is_over_teachers_and_seeds_and_the_table_says_so(protocol):
    table, own = accuracy_table(protocol), cell_of(protocol, "kd")
    expected = crossed_summary(own.by_block())[0]
    line = next(line for line in table.lines if line.label == "kd")
    text = f"n = 9; 3 teachers; {100 * expected.low:.2f} to {100 * expected.high:.2f}"
    assert line.cells[0].small_print == text and "interval, over 3 teachers." in table.caption
    assert "teachers\n" in to_csv(table).splitlines(keepends=True)[0]


# ---- comparisons
def test_a_comparison_over_teachers_counts_every_run_and_its_error_covers_the_teachers(protocol):
    found = {(c.cell.row.method, c.baseline.row.method): c for c in compare_rows(protocol)}
    one = found["kd", "ce"]
    assert (one.paired.n, one.contrast.difference) == (9, pytest.approx(np.mean(KD) - np.mean(CE)))
    model = protocol.models[protocol.pairs[0]]
    components = model.components
    least = math.sqrt(components.variance("teacher") / 3)
    assert one.contrast.error > least > 0 and one.contrast.degrees < model.residual.degrees
    table = comparison_table(protocol, list(found.values()))
    assert "in points, over 3 teachers." in table.caption
    assert "9 (3 teachers, 3 seeds)" in to_markdown(table)


def test_one_teacher_so_far_is_called_one(tmp_path):
    planned = [a_run("kd", seed, teacher=teacher(t)) for t in range(2) for seed in range(3)]
    store = a_store(tmp_path, crossed_records(kd=KD[:1]))
    (found,) = protocols(load_entries(store, planned)[0])
    assert len(found.pairs[0].teachers) == 2 and found.teacher_counts == {1}
    assert "for this one teacher" in accuracy_table(found).caption
    assert found.models[found.pairs[0]].components is None


def test_images_are_compared_within_a_block(store):
    for t, own in ((1, [1, 1, 1, 0]), (2, [0, 0, 0, 0])):  # of teacher 0 nothing is kept
        write_correct(store, a_run("kd", 1, teacher=teacher(t)), own)
        write_correct(store, a_run("sp", 1, teacher=teacher(t)), [1, 0, 0, 1])
    found = compare_rows(only_protocol(store), lambda entry: Predictions(store)._of(entry.run.id).correct)
    one = next(c for c in found if (c.cell.row.method, c.baseline.row.method) == ("kd", "sp"))
    assert (one.images.block, one.images.first, one.images.second) == (Block(1, 1), 2, 1)
    assert "2 : 1 images, seed 1, teacher seed 1" in to_markdown(comparison_table(only_protocol(store), [one]))


def write_correct(store, run, correct):
    """Write a run's file of predictions."""
    np.savez(store.predictions(run.id), top1=np.zeros(len(correct), np.uint8), right=np.array(correct, bool))


def test_agreement_of_a_plain_student_is_the_mean_over_the_teachers(tmp_path):
    records = [a_record(a_run("ce", 0, teacher=None), 0.75), *taught("kd", [own[:1] for own in KD])]
    store = a_store(tmp_path, records)
    for t, classes in enumerate(([1, 2, 3, 4], [1, 2, 3, 0], [0, 0, 0, 4])):
        np.savez(store.predictions(teacher(t).id), top1=np.array(classes), right=np.ones(4, bool))
    plain = store.predictions(a_run("ce", 0, teacher=None).id)
    np.savez(plain, top1=np.array([1, 2, 3, 4]), right=np.array([1, 1, 1, 0]))
    (entry,) = cell_of(with_agreement(only_protocol(store), Predictions(store)), "ce").entries
    assert entry.score("agreement") == pytest.approx((1 + 0.75 + 0.25) / 3)


# ---- the gap to the teacher
def test_the_gap_closed_is_to_the_own_teacher_of_each_run():
    kd = {Block(t, s): KD[t][s] for t in range(3) for s in range(3)}
    found = gap_closed(kd, dict(enumerate(CE)), dict(enumerate(TEACHERS)))
    gains, gaps = 0.0, 0.0
    for t in range(3):
        for s in range(3):
            gains += KD[t][s] - CE[s]
            gaps += TEACHERS[t] - CE[s]
    assert (found.mean, found.n) == (pytest.approx(100 * gains / gaps), 9)
    step, slope = 1e-6, {}
    for block in kd:  # the influence of a block, by a small change of its weight
        weights = {each: 1 / 9 + step * ((each == block) - 1 / 9) for each in kd}
        gain = sum(w * (kd[b] - CE[b.seed]) for b, w in weights.items())
        gap = sum(w * (TEACHERS[b.teacher] - CE[b.seed]) for b, w in weights.items())
        slope[block] = 100 * (gain / gap - gains / gaps) / step
    expected = crossed_summary(slope)
    assert (found.high - found.mean) == pytest.approx(expected[0].high - expected[0].mean, rel=1e-3)
    dots = block_gaps(kd, dict(enumerate(CE)), dict(enumerate(TEACHERS)))
    assert dots[Block(1, 2)] == pytest.approx(100 * (KD[1][2] - CE[2]) / (TEACHERS[1] - np.mean(CE)))


# ---- other tables
def test_precisions_are_compared_run_by_run_of_the_same_teacher(tmp_path):
    records = []
    for precision, shift in (("bf16", 0.001), ("fp32", 0.0)):
        recipe = a_run().recipe.model_copy(update={"precision": precision})
        for t, own in enumerate(KD):
            for s, top1 in enumerate(own):
                record = a_record(a_run("kd", s, teacher=teacher(t), recipe=recipe), top1 + shift * (1 + t))
                records.append(record.model_copy(update={"provenance": record.provenance | {"precision": precision}}))
    (table,) = precision_tables(protocols(load_entries(a_store(tmp_path, records))[0])).values()
    (line,) = table.lines
    assert [cell.text for cell in line.cells[:4]] == ["9", "70.77", "70.57", "+0.20"]
    assert line.cells[4].text == "−0.05 to +0.45"  # ± 4.30 · 0.1 / √3, over three teachers


def test_runs_that_share_teachers_count_for_fewer_in_the_comparison_with_a_published_number(protocol):
    match = next(match for match in match_published(protocol) if match.cell.row.method == "kd")
    summary, error, degrees = crossed_summary(cell_of(protocol, "kd").by_block())
    assert (match.spread.degrees, match.spread_of) == (degrees, "its own runs")
    assert match.independent == pytest.approx((summary.sd / error) ** 2) and match.independent < 9
    half = stats.t.ppf(0.95, degrees) * error
    assert match.comparison.high - match.comparison.low == pytest.approx(2 * half)


def test_the_command_that_repeats_runs_names_their_teachers(protocol):
    entries = [entry for entry in cell_of(protocol, "kd").entries if entry.run.teacher.seed == 2]
    options = {"options": ["--teacher-seeds", "0-2", "--epochs", "6"]}
    changed = [entry.record.model_copy(update={"provenance": entry.record.provenance | options}) for entry in entries]
    entries = [type(entry)(entry.run, record) for entry, record in zip(entries, changed, strict=True)]
    text = repeat_command(cell_of(protocol, "kd"), entries)
    assert text.endswith("-p resnet56-resnet20 -m kd --seeds 0,1,2 --epochs 6 --teacher-seeds 2")
    assert repeat_command(cell_of(protocol, "teacher"), list(cell_of(protocol, "teacher").entries)).endswith(
        "--teacher-seeds 0,1,2"
    )
    assert "--teacher-seeds" not in repeat_command(cell_of(protocol, "ce"), list(cell_of(protocol, "ce").entries))


def test_the_page_tells_runs_of_one_seed_apart_by_their_teachers(protocol):
    runs = details([protocol])["runs"].values()
    assert sorted(run["seed"] for run in runs if run["label"] == "kd")[:2] == ["0, teacher seed 0", "0, teacher seed 1"]
    assert sorted(run["seed"] for run in runs if run["label"] == "student (ce)") == [0, 1, 2]
    assert "3 teachers for each pair" in trust_sentence(protocol)


def test_figures_show_every_run_and_say_over_how_many_teachers(protocol):
    for figures in (forest_figures(protocol), gap_figures(protocol)):
        (spec,) = figures
        svg = draw_figure(spec, protocol, styles_of([protocol])).svg
        assert "over 3 teachers" in spec.caption and svg.count("teacher seed 2: ") == 6  # two rows, three seeds


def test_the_rules_say_what_intervals_over_teachers_are(protocol):
    assert ONE_TEACHER in judging_section().points and SEVERAL_TEACHERS not in judging_section().points
    assert SEVERAL_TEACHERS in judging_section([protocol]).points
