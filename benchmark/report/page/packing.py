"""What the page embeds: figures, texts of tables and details of runs, compressed, for its script to unpack."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from markupsafe import Markup


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
