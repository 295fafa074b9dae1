"""What a check found, how checks are run, and how their findings are shown."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmark.privacy import anonymous

WIDTH = 118  # columns of the text
REPORT = "report this as a bug, with the output of `doctor --json`"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    advice: what to do.  prevents: whether nothing can be trained until this is solved.
    """

    name: str
    value: str
    ok: bool = True
    advice: str = ""
    prevents: bool = False


Check = Callable[[], Finding]
Sections = Mapping[str, Sequence[Finding]]  # heading -> findings


def run_check(name: str, check: Check) -> Finding:
    """The finding of a check, without anything that names the user or the host; also if the check itself fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as torch's about a driver, of which a check has its own sentence
            found = check()
    except Exception as fault:  # noqa: BLE001  one check that fails must not keep the others from running
        first_line = str(fault).strip().partition("\n")[0]
        found = Finding(name, f"the check failed: {type(fault).__name__}: {first_line}", False, REPORT)
    return replace(found, value=anonymous(found.value), advice=anonymous(found.advice))


def exit_code(sections: Sections) -> int:
    """0 if training can run, 1 if something prevents it."""
    return int(bool(names(sections, lambda found: found.prevents)))


def names(sections: Sections, wanted: Callable[[Finding], bool]) -> list[str]:
    """The names of some findings, in order."""
    return [found.name for findings in sections.values() for found in findings if wanted(found)]


def as_json(sections: Sections) -> dict[str, Any]:
    """All findings as one object, as a bug report should have it."""
    findings = [{"section": section} | asdict(found) for section, part in sections.items() for found in part]
    return {
        "schema": 1,
        "findings": findings,
        "problems": names(sections, lambda found: not found.ok),
        "prevents": names(sections, lambda found: found.prevents),
    }


def as_text(sections: Sections) -> str:
    """All findings as aligned text, and below them what prevents training."""
    width = max(len(name) for name in names(sections, lambda found: True))
    lines = []
    for section, findings in sections.items():
        lines += ["", section, *(line for found in findings for line in finding_lines(found, width))]
    return "\n".join([*lines[1:], "", *summary(sections)])


def finding_lines(found: Finding, width: int) -> list[str]:
    """One finding: name, ok or problem, value, and below it what to do; width: of the names, in characters."""
    start = f"  {found.name:<{width}}  {'ok' if found.ok else 'problem':<7}  "
    rest = " " * len(start)
    lines = textwrap.wrap(found.value, WIDTH, initial_indent=start, subsequent_indent=rest, break_on_hyphens=False)
    if found.advice:
        indents = {"initial_indent": f"{rest}-> ", "subsequent_indent": f"{rest}   "}
        lines += textwrap.wrap(found.advice, WIDTH, break_on_hyphens=False, **indents)
    return lines


def summary(sections: Sections) -> list[str]:
    """What prevents training, and what else is a problem."""
    stops = names(sections, lambda found: found.prevents)
    others = names(sections, lambda found: not found.ok and not found.prevents)
    first = f"prevents training: {', '.join(stops)}" if stops else "nothing prevents training"
    return [first, *([f"other problems: {', '.join(others)}"] if others else [])]
