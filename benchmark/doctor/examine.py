"""Runs all checks of a machine, in sections: software, processor, folders, and the GPU if there is one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from benchmark.doctor import software
from benchmark.doctor.finding import Check, Finding, Sections, as_json, as_text, exit_code, run_check


def doctor(data: Path, results: Path, reports: Path, device: str, json_wanted: bool) -> tuple[str, int]:
    """What `doctor` prints, and its exit code: 1 if something prevents training."""
    started = time.monotonic()
    sections = examine(data, results, reports, device)
    seconds = round(time.monotonic() - started, 1)
    shown = json.dumps(as_json(sections) | {"seconds": seconds}, indent=1) if json_wanted else as_text(sections)
    return shown, exit_code(sections)


def examine(data: Path, results: Path, reports: Path, device: str) -> Sections:
    """The findings of all checks, by section."""
    found: dict[str, list[Finding]] = {"software": run_all(software_checks())}
    if any(finding.prevents for finding in found["software"]):
        reason = "not made: they need the software above"
        return found | {"everything else": [Finding("other checks", reason, False, "install it, then run this again")]}
    for section, checks in other_checks(data, results, reports, device):
        found[section] = run_all(checks)
    return found


def run_all(checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    """The findings of some checks, in order."""
    return [run_check(name, check) for name, check in checks]


def software_checks() -> list[tuple[str, Check]]:
    """Checks that need nothing but Python."""
    return [
        ("Python", software.python),
        ("packages", software.packages),
        ("torch", software.torch_library),
    ]


def other_checks(
    data: Path, results: Path, reports: Path, device: str
) -> Iterator[tuple[str, Iterable[tuple[str, Check]]]]:
    """Sections with their checks, those of the GPU only if there is one."""
    from benchmark.doctor import folders, gpu, hardware
    from benchmark.sweep.load import read_counters

    before = read_counters()
    folder_checks = [
        ("results", partial(folders.writable, "results", results)),
        ("reports", partial(folders.writable, "reports", reports)),
    ]
    yield "code and folders", [("code", software.code), *folder_checks]
    yield "data sets", list(folders.data_checks(data))
    yield (
        "machine",
        [
            ("processor", hardware.processor),
            ("precision", partial(hardware.precision, device)),
            ("kernels", partial(hardware.kernels, device)),
            ("memory", hardware.memory),
            ("threads", hardware.threads),
            ("load", partial(hardware.load, before)),
            ("GPU", partial(gpu.present, device)),
        ],
    )
    yield from gpu.sections(device)
