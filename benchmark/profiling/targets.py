"""Speed targets beside what this machine reaches, measured in one run.

A target for another kind of machine is not measured here, and says so.  No target for a GPU has been measured yet: each
has beside it what to expect of an H100, and what limits it.  How this was estimated:

    kernels   about 330 for a step of resnet56 teaching resnet20 (operators counted on a CPU: 257 of the student's step,
              a quarter of the teacher's 145, two kernels for the backward pass of a convolution), 700 for a step of
              resnet56 alone; replayed one after another each takes 3.5 to 5 µs, whatever it computes
    lanes     16 side by side: 5 to 8 ms; 7: on the line between 1 and 16
    bytes     a step of resnet8x4 moves 0.8 GB and computes 34 G multiply-accumulates: at 2.6 TB/s and 300 T/s the bytes
              take three times as long
    plain     some 600 kernels launched from Python and three waits for the device: 6 to 10 ms a step
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmark.profiling import roofline
from benchmark.profiling.measurements import (
    Measurements,
    alone_on_gpu,
    cohort_on_gpu,
    overheads,
    ratio,
    teacher_on_gpu,
    use_of_gpu,
)
from benchmark.training import provenance

SMALLER = "a card of 24 GB about half as fast"
SMALL_KERNELS = "kernels too small to fill the device"
LAUNCHES = "number of kernels, each too small to fill the device"

Found = dict[str, Any] | None  # numbers of a target, with `met`; None where it was not measured


@dataclass(frozen=True, slots=True)
class Target:
    """One line: what is done, on what kind of machine, what is wanted, and how it is measured."""

    work: str
    kind: str  # "cpu" or "cuda"
    aim: str
    read: Callable[[Measurements], dict[str, Any]]
    expected: str = ""  # on a kind of machine that has measured nothing yet; an estimate, and where it is for an H100
    limit: str = ""  # what keeps it from being faster

    def row(self, m: Measurements) -> dict[str, Any]:
        """The line with what was measured."""
        found = self.read(m) if self.kind == m.here.device.type else None
        estimate = {"expected": self.expected, "limit": self.limit} if self.expected else {}
        return {"work": self.work, "kind": self.kind, "aim": self.aim, "found": found} | estimate


SHARES = "each method's own share of the step, resnet56 teaches resnet20"
TARGETS = (
    Target("resnet56 teaches resnet20, kd, alone", "cpu", "2.5 x plain", lambda m: ratio(m.alone, 2.5)),
    Target("the same, cohort of all that learn from a teacher", "cpu", "4 x plain", lambda m: ratio(m.cohort, 4)),
    Target(SHARES, "cpu", "sp, lp, lsh, kda at most 10 %", overheads),
    Target(
        "resnet56 teaches resnet20, kd, alone", "cuda", "10 x plain, 2.0 ms a step", alone_on_gpu,
        f"1.2 to 1.7 ms a step, 4 to 8 x plain; {SMALLER}", LAUNCHES,
    ),
    Target(
        "the same, cohort of all that learn from a teacher", "cuda", "30 x plain, 8 minutes", cohort_on_gpu,
        f"10 to 25 x plain, 8 to 13 minutes; 16 lanes: 5 to 8 ms a step; {SMALLER}", SMALL_KERNELS,
    ),
    Target(SHARES, "cuda", "sp, lp, lsh, kda at most 10 %", overheads, "5 to 15 % each", LAUNCHES),
    Target(
        "resnet32x4 teaches resnet8x4, cohort", "cuda", "40 % of the bf16 matrix rate", use_of_gpu,
        "20 to 35 %", "bytes read and written",
    ),
    Target(
        "resnet56, teacher, 240 epochs", "cuda", "5 minutes", teacher_on_gpu,
        f"8 to 11 minutes; {SMALLER}", LAUNCHES,
    ),
)  # fmt: skip


def measure(data: Path, device: str, steps: int | None, repeats: int) -> dict[str, Any]:
    """Measure what this machine can; the whole table.  Raises BadInput."""
    m = Measurements(data, device, steps, repeats)
    rows = [target.row(m) for target in TARGETS]
    rates = {name: getattr(m, name)["images_per_s"] for name in ("alone", "cohort")}
    name = provenance.device_name(m.here.device)
    found = {"schema": 1, "machine": name, "batch": 64, "steps": m.alone["steps"], "repeats": repeats, "rows": rows}
    found["bound"] = m.bound
    return found | {"images_per_s": rates, "made": provenance.environment(m.here) | {"ended": provenance.now()}}


def show(found: dict[str, Any]) -> str:
    """The table for people; estimates stand below it, each as what it is."""
    rows = [
        [row["work"], row["kind"], row["aim"], format_found(row["found"]), verdict(row["found"])]
        for row in found["rows"]
    ]
    table = tabulate(rows, ["work (batch 64)", "machine", "target", "measured", ""], tablefmt="simple")
    estimates = [
        f"  {row['work']}: {row['expected']}; limited by: {row['limit']}" for row in found["rows"] if "expected" in row
    ]
    heading = ["cuda, expected on an H100, not measured:"] if estimates else []
    by = f"{found['machine']}, torch {found['made']['torch']}, {found['repeats']} repeats in turn"
    return "\n".join([table, *heading, *estimates, roofline.summary_line(found["bound"]), by])


def format_found(found: Found) -> str:
    """The numbers of a target for people."""
    if found is None:
        return "not measured"
    if "shares" in found:
        return ", ".join(f"{name} {100 * share:.1f} %" for name, share in sorted(found["shares"].items()))
    return ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in found.items() if name != "met")


def verdict(found: Found) -> str:
    """met or missed; "" if it was not measured."""
    return "" if found is None else "met" if found["met"] else "missed"
