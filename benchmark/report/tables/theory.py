"""The tables of the papers' claims for one pair: direction and hashing, similarity, kernels, and KDA's bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.report.formatting import MISSING
from benchmark.report.records.findings import Finding, finding_table, format_number
from benchmark.report.tables.table import Note, Table, TableCell, TableLine
from benchmark.report.tables.theory_cost import loss_cost_table

# Qian, Li & Hu, arXiv:2009.14416, Fig. 3: read off its bars by eye, ± 0.02, for that paper's own networks.
QUOTED = {"baseline": (0.83, 0.93), "RKD": (0.62, None), "KD": (None, 0.23), "KDA": (0.14, 0.20)}


def theory_tables(finding: Finding) -> list[Table]:
    """All tables of a pair, that of theory_cost.py included."""
    return [
        loss_cost_table(finding),
        hashing_table(finding),
        likeness_table(finding),
        kernel_table(finding),
        bound_table(finding),
    ]


# ---- LSHFM
def hashing_table(finding: Finding) -> Table:
    """The table of direction, length and hash agreement of features (LSHFM)."""
    notes, planes = claim_notes(finding), finding.value["protocol"]["planes"]
    lines, tidy = [], []
    for row in finding.value["hashing"]:
        values = {key: value for key, value in row.items() if key not in ("id", "bins")}
        tidy.append(finding.facts(row["id"]) | values)
        numbers = tuple(note.number for note in notes.get(row["id"], ()))
        if "skipped" in row:
            cells = (TableCell(MISSING, row["skipped"], records=finding.records(row["id"])), *[TableCell(MISSING)] * 4)
        else:
            cells = (
                TableCell(
                    f"{row['angle']:.1f}", f"sd {row['angle_sd']:.1f}", False, numbers, finding.records(row["id"])
                ),
                TableCell(f"{row['ratio']:.3f}", f"sd {row['ratio_sd']:.3f}"),
                TableCell(f"{row['agreement']:.4f}", f"1 − θ/π = {row['formula']:.4f}"),
                TableCell(format_number(row["worst"], 2)),
                TableCell(f"{row['agreement_median']:.4f}"),
            )
        lines.append(TableLine(finding.labels[row["id"]], cells))
    caption = (
        "θ: the angle between an image’s feature in student and teacher, mean over the judged images. Length: "
        "‖f_S‖ / ‖f_T‖; sd: over images. Agreement: planes that have both features on one side, of "
        f"{planes:,} random ones through the origin; the claim is 1 − θ/π. Worst bin: the largest distance from it in "
        f"bins of 10°; chance alone makes about {0.5 / planes**0.5:.3f}. Median planes: moved as LSHFM’s loss moves "
        "them, for which the formula is not exact. Variants are compared on one seed, a hashing term being added to "
        "the same L2 term; ± is two standard errors over images."
    )
    heads = ("angle °", "length", "hash agreement", "worst bin", "with median planes")
    fields = {"lines": lines, "tidy": tidy, "notes": tuple(note for group in notes.values() for note in group)}
    return finding_table(finding, "hashing", "Direction, length and hashing", caption, heads, **fields)


def claim_notes(finding: Finding) -> dict[str, list[Note]]:
    """Run id -> notes on whether its numbers support the claims about a hashing term."""
    notes: dict[str, list[Note]] = {}
    claims = (
        ("direction", "angle {:+.2f} ± {:.2f}°", "that a hashing term improves the direction"),
        ("length", "|ln length ratio| {:+.4f} ± {:.4f}", "that it relaxes the length"),
    )
    count = 0
    for row in finding.value["verdicts"]:
        for quantity, template, claim in claims:
            count += 1
            numbers = template.format(row[quantity]["difference"], 2 * row[quantity]["error"]).replace("-", "−")
            names = f"{finding.labels[row['id']]} minus {finding.labels[row['base']]}"
            text = f"{names}: {numbers}; {claim} {row[quantity]['verdict']} here."
            notes.setdefault(row["id"], []).append(Note(count, text))
    return notes


# ---- SP
def likeness_table(finding: Finding) -> Table:
    """The table of the distance between the similarity matrices of student and teacher (SP)."""
    lines = [
        TableLine(
            finding.labels[row["id"]],
            (TableCell(f"{row['before']:.3f}"), TableCell(f"{row['after']:.3f}", records=finding.records(row["id"]))),
        )
        for row in finding.value["likeness"]
    ]
    count = len(finding.arrays["labels_alike"])
    caption = (
        f"‖G_S − G_T‖_F over {count} judged images sorted by class, G the likeness of the last map as SP takes it; "
        f"‖G_T‖_F = {count**0.5:.2f}. Before: the first weights, which all methods start from, normalised by the "
        "statistics of these images."
    )
    tidy = [finding.facts(row["id"]) | row for row in finding.value["likeness"]]
    heads = ("before training", "after training")
    return finding_table(finding, "likeness", "Likeness of images", caption, heads, lines=lines, tidy=tidy)


# ---- KDA
def kernel_table(finding: Finding) -> Table:
    """The table of relative kernel errors, beside those that the paper prints (KDA)."""
    lines, tidy = [], []
    for row in finding.value["kernel"]:
        cells = []
        for features in ("embedding", "logits"):
            errors = row[features]
            cells.append(TableCell(f"{errors['raw']:.3f}"))
            cells.append(TableCell(f"{errors['scaled']:.3f}", f"× {errors['factor']:.3g}"))
            cells.append(TableCell(f"{errors['centred']:.3f}"))
            tidy.append(finding.facts(row["id"]) | {"features": features} | errors)
        lines.append(TableLine(finding.labels[row["id"]], tuple(cells), "measured here"))
    for name, values in QUOTED.items():
        embedding, logits = (
            TableCell(MISSING) if value is None else TableCell(f"{value:.2f}", "quoted", quoted=True)
            for value in values
        )
        missing = TableCell(MISSING)
        cells = (embedding, missing, missing, logits, missing, missing)
        lines.append(TableLine(name, cells, "quoted from arXiv:2009.14416, Fig. 3, not measured"))
        tidy.append({"run": f"quoted: {name}", "features": "embedding", "raw": values[0]})
        tidy.append({"run": f"quoted: {name}", "features": "logits", "raw": values[1]})
    caption = (
        f"‖K_S − K_T‖_F / ‖K_T‖_F, linear kernels of {finding.value['protocol']['images_in_kernels']:,} judged images, "
        "before the classifier (embeddings) and after it (logits). Raw: as the equation reads, which depends on the "
        "scale of features. Best scale: the student’s kernel times the factor that makes the error smallest. Centred: "
        "each network’s mean feature taken away first; features after a ReLU share much of it, and so do kernels. The "
        "quoted values are read off bars by eye, ± 0.02, for the paper’s own networks; whether it sets the scale "
        "aside is not known."
    )
    heads = tuple(f"{side}, {kind}" for side in ("before", "after") for kind in ("raw", "best scale", "centred"))
    return finding_table(finding, "kernel", "Error of the student’s kernel", caption, heads, lines=lines, tidy=tidy)


def bound_table(finding: Finding) -> Table:
    """The table of KDA's bound on the kernel error, as printed and corrected."""
    groups = {"full": "all eigenvalues", "premise": "the largest rank at which the premise holds"}
    ordered = sorted(finding.value["bound"], key=lambda row: list(groups).index(row["which"]))
    lines = [
        TableLine(finding.labels[row["id"]], bound_cells(row, finding.records(row["id"])), groups[row["which"]])
        for row in ordered
    ]
    caption = (
        "‖K_S − K_T‖_F of the embeddings’ kernels, and what is said to bound it. Printed: 2ε + 2c²‖C_S W_S^½ − "
        "C_T W_T^½‖_F, as second-hand sources give it. Corrected: 2ε + 2c‖C_S W_S^−½ − C_T W_T^−½‖_F. "
        f"ε: {finding.value['protocol']['eps']}. c: the larger ‖C‖_F. Landmarks: "
        f"{finding.value['protocol']['landmarks']}. Premise: every eigenvalue of both W that is kept exceeds 1. "
        "Trivial: ‖K_S‖_F + ‖K_T‖_F, which needs no landmarks; a bound above it says nothing. "
        f"{informative_sentence(ordered)}"
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
    tidy = [finding.facts(row["id"]) | flatten_bound(row) for row in ordered]
    return finding_table(finding, "bound", "KDA’s bound on the kernel error", caption, heads, lines=lines, tidy=tidy)


def bound_cells(row: dict[str, Any], records: str) -> tuple[TableCell, ...]:
    """The cells of a line of the table of bounds."""
    ranks, smallest, eps = (
        ", ".join(format_number(value) for value in row[key]) for key in ("rank", "smallest", "eps")
    )
    readings = [
        TableCell(format_number(row[version]), "holds" if row[f"{version}_holds"] else "fails")
        for version in ("printed", "corrected")
    ]
    premise = TableCell("holds" if row["premise"] else "fails")
    left, trivial = (TableCell(format_number(row[version])) for version in ("left", "trivial"))
    return TableCell(ranks, records=records), TableCell(smallest), premise, left, *readings, trivial, TableCell(eps)


def informative_sentence(bounds: Sequence[dict[str, Any]]) -> str:
    """The sentence on how often each version of the bound is below the trivial one."""
    counts = [sum(row[version] < row["trivial"] for row in bounds) for version in ("printed", "corrected")]
    return f"Below it: as printed {counts[0]}, corrected {counts[1]} of {len(bounds)} lines."


def flatten_bound(row: dict[str, Any]) -> dict[str, Any]:
    """A bound's numbers for the CSV; a list becomes two columns, _s for the student and _t for the teacher."""
    flat = {}
    for key, value in row.items():
        flat |= {f"{key}_s": value[0], f"{key}_t": value[1]} if isinstance(value, list) else {key: value}
    return flat
