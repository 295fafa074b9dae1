"""What the page embeds: figures, texts of tables and details of runs, compressed, for its script to unpack."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from markupsafe import Markup

SENTENCE = re.compile(r"(?<=\.) ")
CAPTION_LENGTH = 190  # characters of a caption that are always shown: two lines


def pack(text: str) -> str:
    """The text, compressed (zlib) and in base64."""
    return b64encode(zlib.compress(text.encode(), 6)).decode()


def embed(value: Mapping[str, Any]) -> Markup:
    """A value as JSON in which <, > and & are escaped, so that it can stand in a script of the page."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def library() -> dict[str, str]:
    """DataTables as bundled by the package itables: the module, packed, and the package's version."""
    package = distribution("itables")
    code = Path(package.locate_file("itables/html/dt_bundle.js")).read_text(encoding="utf-8")
    return {"version": package.version, "code": pack(code)}


def split_caption(text: str) -> tuple[str, str]:
    """The sentences of a caption that fill two lines at most, at least one; and the rest."""
    sentences = SENTENCE.split(text.strip())
    count = 1
    while count < len(sentences) and len(" ".join(sentences[: count + 1])) <= CAPTION_LENGTH:
        count += 1
    return " ".join(sentences[:count]), " ".join(sentences[count:])
