"""What a method's docstring says: title, paper, year, status, departures.  Knows nothing but text."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNKNOWN = "not stated"


@dataclass(frozen=True, slots=True)
class DocstringFacts:
    """A docstring's facts, each on one line; UNKNOWN where it is silent."""

    citation: str  # the first paragraph: title and paper
    year: str  # of the paper, as its venue or its arXiv number says
    status: str  # exact, adapted, re-derived …
    departures: str


def parse_docstring(about: str) -> DocstringFacts:
    """The facts of a method's docstring."""
    about = about.strip()
    citation = one_line(about.split("\n\n")[0]) or UNKNOWN
    return DocstringFacts(citation, year(citation), section_text("Status", about), section_text("Departures", about))


def year(citation: str) -> str:
    """ "ICCV 2019, arXiv:1907.09682" -> "2019"; without a venue, arXiv's own two digits count."""
    venue = re.search(r"(?<![:.\d])(?:19|20)\d\d(?![\d.])", citation)
    if venue:
        return venue[0]
    arxiv = re.search(r"arXiv:(\d\d)\d\d\.\d{4}", citation)
    return f"20{arxiv[1]}" if arxiv else UNKNOWN


def section_text(word: str, about: str) -> str:
    """What follows "word:" in a docstring, up to an empty line or the next such word."""
    match = re.search(rf"^{word}:(.*(?:\n(?!\s*$|[A-Z]\w+:).*)*)", about, flags=re.M)
    return one_line(match[1]) if match and one_line(match[1]) else UNKNOWN


def one_line(text: str) -> str:
    """On one line."""
    return " ".join(text.split())
