"""The tables of a pair that was examined: direction, likeness, kernels, the bound; the cost of losses is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.report.formatting import MISSING
from benchmark.report.records.findings import Finding, finding_table, format_number
from benchmark.report.tables.table import Note, Table, TableCell, TableLine
from benchmark.report.tables.theory_cost import cost

# Qian, Li & Hu, arXiv:2009.14416, Fig. 3: read off its bars by eye, ± 0.02, for that paper's own networks.
QUOTED = {"baseline": (0.83, 0.93), "RKD": (0.62, None), "KD": (None, 0.23), "KDA": (0.14, 0.20)}


def tables(found: Finding) -> list[Table]:
    """All of a pair's tables."""
    return [cost(found), hashing(found), likeness(found), kernel(found), bound(found)]


# ---- LSHFM
def hashing(found: Finding) -> Table:
    """Direction, length and hash agreement."""
    notes, planes = claim_notes(found), found.value["protocol"]["planes"]
    lines, tidy = [], []
    for one in found.value["hashing"]:
        numbers = {key: value for key, value in one.items() if key not in ("id", "bins")}
        tidy.append(found.facts(one["id"]) | numbers)
        marks = tuple(note.number for note in notes.get(one["id"], ()))
        if "skipped" in one:
            cells = (TableCell(MISSING, one["skipped"], records=found.records(one["id"])), *[TableCell(MISSING)] * 4)
        else:
            cells = (
                TableCell(f"{one['angle']:.1f}", f"sd {one['angle_sd']:.1f}", False, marks, found.records(one["id"])),
                TableCell(f"{one['ratio']:.3f}", f"sd {one['ratio_sd']:.3f}"),
                TableCell(f"{one['agreement']:.4f}", f"1 − θ/π = {one['formula']:.4f}"),
                TableCell(format_number(one["worst"], 2)),
                TableCell(f"{one['agreement_median']:.4f}"),
            )
        lines.append(TableLine(found.labels[one["id"]], cells))
    caption = (
        "θ: the angle between an image’s feature in student and teacher, mean over the judged images. Length: "
        "‖f_S‖ / ‖f_T‖; sd: over images. Agreement: planes that have both features on one side, of "
        f"{planes:,} random ones through the origin; the claim is 1 − θ/π. Worst bin: the largest distance from it in "
        f"bins of 10°; chance alone makes about {0.5 / planes**0.5:.3f}. Median planes: moved as LSHFM’s loss moves "
        "them, for which the formula is not exact. Variants are compared on one seed, a hashing term being added to "
        "the same L2 term; ± is two standard errors over images."
    )
    heads = ("angle °", "length", "hash agreement", "worst bin", "with median planes")
    rest = {"lines": lines, "tidy": tidy, "notes": tuple(note for group in notes.values() for note in group)}
    return finding_table(found, "hashing", "Direction, length and hashing", caption, heads, **rest)


def claim_notes(found: Finding) -> dict[str, list[Note]]:
    """Run id -> what its numbers say of the claim for a hashing term."""
    notes: dict[str, list[Note]] = {}
    claims = (
        ("direction", "angle {:+.2f} ± {:.2f}°", "that a hashing term improves the direction"),
        ("length", "|ln length ratio| {:+.4f} ± {:.4f}", "that it relaxes the length"),
    )
    count = 0
    for one in found.value["verdicts"]:
        for word, form, claim in claims:
            count += 1
            numbers = form.format(one[word]["difference"], 2 * one[word]["error"]).replace("-", "−")
            names = f"{found.labels[one['id']]} minus {found.labels[one['base']]}"
            text = f"{names}: {numbers}; {claim} {one[word]['verdict']} here."
            notes.setdefault(one["id"], []).append(Note(count, text))
    return notes


# ---- SP
def likeness(found: Finding) -> Table:
    """How far each student's likeness is from the teacher's."""
    lines = [
        TableLine(
            found.labels[one["id"]],
            (TableCell(f"{one['before']:.3f}"), TableCell(f"{one['after']:.3f}", records=found.records(one["id"]))),
        )
        for one in found.value["likeness"]
    ]
    count = len(found.arrays["labels_alike"])
    caption = (
        f"‖G_S − G_T‖_F over {count} judged images sorted by class, G the likeness of the last map as SP takes it; "
        f"‖G_T‖_F = {count**0.5:.2f}. Before: the first weights, which all methods start from, normalised by the "
        "statistics of these images."
    )
    tidy = [found.facts(one["id"]) | one for one in found.value["likeness"]]
    heads = ("before training", "after training")
    return finding_table(found, "likeness", "Likeness of images", caption, heads, lines=lines, tidy=tidy)


# ---- KDA
def kernel(found: Finding) -> Table:
    """Relative kernel errors, beside those that the paper prints."""
    lines, tidy = [], []
    for one in found.value["kernel"]:
        cells = []
        for place in ("embedding", "logits"):
            own = one[place]
            cells += [TableCell(f"{own['raw']:.3f}"), TableCell(f"{own['scaled']:.3f}", f"× {own['factor']:.3g}")]
            cells.append(TableCell(f"{own['centred']:.3f}"))
            tidy.append(found.facts(one["id"]) | {"features": place} | own)
        lines.append(TableLine(found.labels[one["id"]], tuple(cells), "measured here"))
    for name, values in QUOTED.items():
        before, after = (
            TableCell(MISSING) if value is None else TableCell(f"{value:.2f}", "quoted", quoted=True)
            for value in values
        )
        empty = TableCell(MISSING)
        lines.append(
            TableLine(
                name, (before, empty, empty, after, empty, empty), "quoted from arXiv:2009.14416, Fig. 3, not measured"
            )
        )
        tidy.append({"run": f"quoted: {name}", "features": "embedding", "raw": values[0]})
        tidy.append({"run": f"quoted: {name}", "features": "logits", "raw": values[1]})
    caption = (
        f"‖K_S − K_T‖_F / ‖K_T‖_F, linear kernels of {found.value['protocol']['images_in_kernels']:,} judged images, "
        "before the classifier (embeddings) and after it (logits). Raw: as the equation reads, which depends on the "
        "scale of features. Best scale: the student’s kernel times the factor that makes the error smallest. Centred: "
        "each network’s mean feature taken away first; features after a ReLU share much of it, and so do kernels. The "
        "quoted values are read off bars by eye, ± 0.02, for the paper’s own networks; whether it sets the scale "
        "aside is not known."
    )
    heads = tuple(f"{side}, {kind}" for side in ("before", "after") for kind in ("raw", "best scale", "centred"))
    return finding_table(found, "kernel", "Error of the student’s kernel", caption, heads, lines=lines, tidy=tidy)


def bound(found: Finding) -> Table:
    """Both readings of the bound."""
    groups = {"full": "all eigenvalues", "premise": "the largest rank at which the premise holds"}
    ordered = sorted(found.value["bound"], key=lambda one: list(groups).index(one["which"]))
    lines = [
        TableLine(found.labels[one["id"]], bound_cells(one, found.records(one["id"])), groups[one["which"]])
        for one in ordered
    ]
    caption = (
        "‖K_S − K_T‖_F of the embeddings’ kernels, and what is said to bound it. Printed: 2ε + 2c²‖C_S W_S^½ − "
        "C_T W_T^½‖_F, as second-hand sources give it. Corrected: 2ε + 2c‖C_S W_S^−½ − C_T W_T^−½‖_F. "
        f"ε: {found.value['protocol']['eps']}. c: the larger ‖C‖_F. Landmarks: {found.value['protocol']['landmarks']}. "
        "Premise: every eigenvalue of both W that is kept exceeds 1. Trivial: ‖K_S‖_F + ‖K_T‖_F, which needs no "
        f"landmarks; a bound above it says nothing. {informative_sentence(ordered)}"
    )
    heads = (
        "rank S, T",
        "smallest eigenvalue S, T",
        "premise",
        "left side",
        "printed",
        "corrected",
        "trivial",
        "ε S, T",
    )
    tidy = [found.facts(one["id"]) | flatten_bound(one) for one in ordered]
    return finding_table(found, "bound", "KDA’s bound on the kernel error", caption, heads, lines=lines, tidy=tidy)


def bound_cells(one: dict[str, Any], records: str) -> tuple[TableCell, ...]:
    """A line of the table of bounds."""
    ranks, smallest, eps = (
        ", ".join(format_number(value) for value in one[key]) for key in ("rank", "smallest", "eps")
    )
    readings = [
        TableCell(format_number(one[word]), "holds" if one[f"{word}_holds"] else "fails")
        for word in ("printed", "corrected")
    ]
    premise = TableCell("holds" if one["premise"] else "fails")
    left, trivial = (TableCell(format_number(one[word])) for word in ("left", "trivial"))
    return TableCell(ranks, records=records), TableCell(smallest), premise, left, *readings, trivial, TableCell(eps)


def informative_sentence(bounds: Sequence[dict[str, Any]]) -> str:
    """In how many lines each reading says more than the trivial bound."""
    counts = [sum(one[word] < one["trivial"] for one in bounds) for word in ("printed", "corrected")]
    return f"Below it: as printed {counts[0]}, corrected {counts[1]} of {len(bounds)} lines."


def flatten_bound(one: dict[str, Any]) -> dict[str, Any]:
    """A bound's numbers with those of both networks side by side."""
    found = {}
    for key, value in one.items():
        found |= {f"{key}_s": value[0], f"{key}_t": value[1]} if isinstance(value, list) else {key: value}
    return found
