"""The table of comparisons between the methods of a pair: print has the usual baselines, page and CSV have all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from benchmark.report.formatting import MISSING, format_interval, format_points
from benchmark.report.records.cells import Protocol
from benchmark.report.statistics.families import PAIRED
from benchmark.report.tables.comparisons import BASELINE, Comparison, detectable_sentence, fallback_sentence
from benchmark.report.tables.table import Table, TableCell, TableLine, key_columns, percent_level, scoring_sentence

NO_SPREAD = "n is too small: no difference can be told from chance."
FLIP_HEADS = ("sign-flip p", "Holm p")  # only where n allows them to reach 5 %


def comparison_table(protocol: Protocol, comparisons: Sequence[Comparison], baseline: str = BASELINE) -> Table:
    """The table of all comparisons; print has those with `baseline` (method or label) and the plain student."""
    rows = dict.fromkeys(each.baseline.row for each in comparisons)
    baselines = [row.label for row in rows if baseline in (row.label, row.method)][:1]
    baselines += [row.label for row in rows if row.kind == "student"]
    flips = any(each.paired and each.paired.sign_flip is not None for each in comparisons)
    return Table(
        name=f"{protocol.slug}-comparisons",
        title=f"Differences · {protocol.label}",
        caption=caption(protocol, flips),
        heads=heads(flips),
        lines=tuple(
            TableLine(each.cell.row.label, tuple(line_cells(each, flips)), each.cell.pair.label) for each in comparisons
        ),
        tidy=pd.DataFrame([tidy_line(protocol, each) for each in comparisons]),
        selector=("against", tuple(dict.fromkeys(baselines))),
    )


def heads(flips: bool) -> tuple[str, ...]:
    """The headers; flips: whether sign-flip tests are shown."""
    shown = FLIP_HEADS if flips else ()
    interval = f"{percent_level()} interval"
    return ("against", "n", "difference", interval, "Dunnett p", "Tukey p", *shown, "McNemar p", "verdict")


def caption(protocol: Protocol, flips: bool) -> str:
    """The caption: how to read the columns, and what the comparisons could have found."""
    sentences = [
        f"{scoring_sentence(protocol)} Row minus row, in points, for this one teacher. Interval, Dunnett p and "
        "verdict: all rows against that one at once; Tukey p: all pairs of rows; McNemar p: noise of the test images "
        "only.",
        "Sign-flip p: exact; Holm p: all rows against that one." if flips else "",
        detectable_sentence(protocol) or NO_SPREAD,
        fallback_sentence(protocol),
    ]
    return " ".join(filter(None, sentences))


def line_cells(comparison: Comparison, flips: bool) -> Iterator[TableCell]:
    """The cells of a line, in the order of the headers."""
    contrast, paired, images = comparison.contrast, comparison.paired, comparison.images
    source = "paired t" if contrast and contrast.source == PAIRED and contrast.p is not None else ""
    yield TableCell(comparison.baseline.row.label)
    yield TableCell(str(paired.n if paired else 0), "" if paired else "no seed in common", records=comparison.records)
    yield TableCell(format_points(contrast.difference) if contrast else MISSING)
    yield TableCell(format_interval(contrast.low, contrast.high) if contrast else MISSING)
    yield TableCell(format_p(contrast and contrast.p), source)
    yield TableCell(format_p(comparison.all_pairs_p))
    if flips:
        yield TableCell(format_p(paired and paired.sign_flip))
        yield TableCell(format_p(comparison.holm))
    counts = f"{images.first} : {images.second} images, seed {images.seed}" if images else ""
    yield TableCell(format_p(images and images.p), counts or ("not kept" if paired else ""))
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
        | {"mcnemar_p": images and images.p, "mcnemar_seed": images and images.seed}
        | {"right_only_here": images and images.first, "right_only_there": images and images.second}
        | {"verdict": comparison.verdict, "records": comparison.records}
    )
