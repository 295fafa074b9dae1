"""Name the marks of a figure: the page shows a mark's text under the mouse and hides marks by row.

tag(artist, row, text)     before the figure is drawn
resolve_tags(svg)          afterwards: the group of a tagged artist has the attribute data-row and a <title>
"""

from __future__ import annotations

import json
import re
from html import escape

from matplotlib.artist import Artist

PREFIX = "tag-"


def tag(artist: Artist, row: str, text: str = "") -> Artist:
    """Name what an artist shows: the label of its row, and the values in words; returns the artist."""
    artist.set_gid(PREFIX + json.dumps([row, text]).encode().hex())
    return artist


def resolve_tags(svg: str) -> str:
    """The SVG with the tags as attributes and titles, escaped."""
    return re.sub(rf'<g id="{PREFIX}([0-9a-f]+)">', lambda match: open_group(match[1]), svg)


def open_group(code: str) -> str:
    """The opening tag of a group, with its title."""
    row, text = json.loads(bytes.fromhex(code))
    title = f"<title>{escape(f'{row}: {text}')}</title>" if text else ""
    return f'<g data-row="{escape(row)}">{title}'
