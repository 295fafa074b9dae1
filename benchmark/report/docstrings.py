"""Parse the docstring of a method file: citation, year, status with its mark, and departures."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNKNOWN = "not stated"
MARKS = {"exact": "", "adapted": "†", "re-derived": "‡"}  # status of a method -> mark at its name
OTHER = "§"
LEGEND = {"†": "† adapted.", "‡": "‡ re-derived.", OTHER: "§ of another status, or of none."}


@dataclass(frozen=True, slots=True)
class DocstringFacts:
    """The fields of a method's docstring, each on one line; UNKNOWN where a field is missing."""

    citation: str  # the first paragraph: title and paper
    year: str  # of the paper, from its venue or its arXiv number
    status: str  # exact, adapted, re-derived …
    departures: str


def parse_docstring(about: str) -> DocstringFacts:
    """Parse a method's docstring."""
    about = about.strip()
    citation = one_line(about.split("\n\n")[0]) or UNKNOWN
    return DocstringFacts(citation, year(citation), section_text("Status", about), section_text("Departures", about))


def status_mark(status: str) -> str:
    """The mark of a status, by its first word: "Adapted (see below)" -> †."""
    return MARKS.get(re.split(r"[\s,;:.(]", status.strip().lower(), maxsplit=1)[0], OTHER)


def year(citation: str) -> str:
    """The year in a citation: "ICCV 2019, arXiv:1907.09682" -> "2019"; without a venue, from the arXiv number."""
    venue = re.search(r"(?<![:.\d])(?:19|20)\d\d(?![\d.])", citation)
    if venue:
        return venue[0]
    arxiv = re.search(r"arXiv:(\d\d)\d\d\.\d{4}", citation)
    return f"20{arxiv[1]}" if arxiv else UNKNOWN


def section_text(heading: str, about: str) -> str:
    """The text after "heading:" in a docstring, up to an empty line or the next heading; UNKNOWN if there is none."""
    match = re.search(rf"^{heading}:(.*(?:\n(?!\s*$|[A-Z]\w+:).*)*)", about, flags=re.M)
    return one_line(match[1]) if match and one_line(match[1]) else UNKNOWN


def one_line(text: str) -> str:
    """The text on one line, runs of white space as single spaces."""
    return " ".join(text.split())
