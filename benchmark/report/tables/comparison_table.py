"""The table of comparisons between the methods of a pair: print has the usual baselines, page and CSV have all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pandas as pd

from benchmark.report.formatting import MISSING, count_of, format_interval, format_points
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.statistics.blocks import key_text, seed_of, teacher_of
from benchmark.report.statistics.families import DUNNETT
from benchmark.report.tables.comparisons import (
    BASELINE,
    Comparison,
    declared_rows,
    detectable_sentence,
    fallback_sentence,
    with_declared,
)
from benchmark.report.tables.table import (
    Table,
    TableCell,
    TableLine,
    key_columns,
    percent_level,
    scoring_sentence,
    several_teachers,
    teachers_phrase,
)

NO_SPREAD = "n is too small: no difference can be told from chance."
SEVERAL_TEACHERS = (
    "Interval and p values cover what another teacher would change: for all rows that have one alike, which matters "
    "against a row without, and for each row on its own, as far as runs show it. n: pairs of runs."
)
HOLM = "There, against rows other than those, intervals are Bonferroni’s for all pairs of rows, p and verdict Holm’s."
FLIP_HEADS = ("sign-flip p", "Holm p")  # only where n allows them to reach 5 %


def comparison_table(
    protocol: Protocol,
    comparisons: Sequence[Comparison],
    baseline: str = BASELINE,
    why_missing: Callable[[Iterable[Entry]], str] = lambda _: "not kept",
) -> Table:
    """The table of all comparisons; print has those with `baseline` (method or label) and the plain student.

    why_missing: why the predictions of runs cannot be compared.
    """
    comparisons = with_declared(protocol, comparisons, baseline)
    rows = {each.baseline.row for each in comparisons}
    declared = [row.label for row in declared_rows(protocol, baseline) if row in rows]
    flips = any(each.paired and each.paired.sign_flip is not None for each in comparisons)
    return Table(
        name=f"{protocol.slug}-comparisons",
        title=f"Differences · {protocol.label}",
        caption=caption(protocol, declared, flips),
        heads=heads(flips),
        lines=tuple(
            TableLine(each.cell.row.label, tuple(line_cells(each, flips, why_missing)), each.cell.pair.label)
            for each in comparisons
        ),
        tidy=pd.DataFrame([tidy_line(protocol, each) for each in comparisons]),
        selector=("against", tuple(declared)),
    )


def heads(flips: bool) -> tuple[str, ...]:
    """The headers; flips: whether sign-flip tests are shown."""
    shown = FLIP_HEADS if flips else ()
    interval = f"{percent_level()} interval"
    return ("against", "n", "difference", interval, "p", "Tukey p", *shown, "McNemar p", "verdict")


def caption(protocol: Protocol, declared: Sequence[str], flips: bool) -> str:
    """The caption: how to read the columns, and what the comparisons could have found."""
    fallback = fallback_sentence(protocol)
    sentences = [
        f"{scoring_sentence(protocol)} Row minus row, in points, {teachers_phrase(protocol)}.",
        f"Interval, p and verdict against {' or '.join(declared)}: all rows against that one (Dunnett); against "
        "any other row: all pairs of rows (Tukey), wider, as that row may be picked after a look at the results."
        if declared else "",
        "Tukey p: all pairs of rows; McNemar p: noise of the test images only.",
        "Sign-flip p: exact; Holm p: all rows against that one." if flips else "",
        SEVERAL_TEACHERS if several_teachers(protocol) else "",
        detectable_sentence(protocol) or NO_SPREAD,
        fallback,
        HOLM if fallback else "",
    ]  # fmt: skip
    return " ".join(filter(None, sentences))


def blocks_text(comparison: Comparison) -> str:
    """The teachers and seeds of the pairs of runs: 3 teachers, 3 seeds; "" with one teacher."""
    blocks = comparison.paired.blocks if comparison.paired else ()
    teachers = {teacher_of(block) for block in blocks} - {None}
    seeds = {seed_of(block) for block in blocks}
    return f"{count_of(len(teachers), 'teacher')}, {count_of(len(seeds), 'seed')}" if teachers else ""


def line_cells(
    comparison: Comparison, flips: bool, why_missing: Callable[[Iterable[Entry]], str]
) -> Iterator[TableCell]:
    """The cells of a line, in the order of the headers."""
    contrast, paired, images = comparison.contrast, comparison.paired, comparison.images
    source = contrast.source if contrast and contrast.p is not None and contrast.source != DUNNETT else ""
    yield TableCell(comparison.baseline.row.label)
    small = blocks_text(comparison) if paired else "no seed in common"
    yield TableCell(str(paired.n if paired else 0), small, records=comparison.records)
    yield TableCell(format_points(contrast.difference) if contrast else MISSING)
    yield TableCell(format_interval(contrast.low, contrast.high) if contrast else MISSING)
    yield TableCell(format_p(contrast and contrast.p), source)
    yield TableCell(format_p(comparison.all_pairs_p))
    if flips:
        yield TableCell(format_p(paired and paired.sign_flip))
        yield TableCell(format_p(comparison.holm))
    runs = (*comparison.cell.scored, *comparison.baseline.scored)
    counts = f"{images.first} : {images.second} images, {key_text(images.block)}" if images else ""
    yield TableCell(format_p(images and images.p), counts or (why_missing(runs) if paired else ""))
    yield TableCell(comparison.verdict)


def format_p(p: float | None) -> str:
    """A p-value: 0.250, < 0.001."""
    return MISSING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def tidy_line(protocol: Protocol, comparison: Comparison) -> dict[str, object]:
    """A comparison as a line of CSV; differences in percentage points."""
    contrast, paired, images = comparison.contrast, comparison.paired, comparison.images
    names = ("difference", "error", "low", "high")
    points = {name: getattr(contrast, name, None) for name in names}
    row = comparison.baseline.row
    return (
        key_columns(protocol, comparison.cell)
        | {"n": paired.n if paired else 0, "against": row.label, "against_method": row.method}
        | {name: None if value is None else 100 * value for name, value in points.items()}
        | {
            "degrees": contrast and contrast.degrees,
            "p": contrast and contrast.p,
            "source": contrast and contrast.source,
        }
        | {"all_pairs_p": comparison.all_pairs_p}
        | {"sign_flip_p": paired and paired.sign_flip, "holm_p": comparison.holm}
        | {"mcnemar_p": images and images.p, "mcnemar_seed": images and seed_of(images.block)}
        | {"right_only_here": images and images.first, "right_only_there": images and images.second}
        | {"verdict": comparison.verdict, "records": comparison.records}
        | teacher_columns(protocol, comparison)
    )


def teacher_columns(protocol: Protocol, comparison: Comparison) -> dict[str, int | None]:
    """Columns of the CSV for a protocol with several teachers: their number, and that of the images' runs."""
    if not several_teachers(protocol):
        return {}
    teachers = {teacher_of(block) for block in comparison.paired.blocks} - {None} if comparison.paired else ()
    images = comparison.images
    return {"teachers": len(teachers), "mcnemar_teacher_seed": images and teacher_of(images.block)}
