"""Removes from a text whatever names the user or the host, so that it can be put into a public bug report."""

from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path


def anonymous(text: str) -> str:
    """The text with ~ for the home folder, and USER and HOST for folders that are called like the user or the host."""
    for home in sorted({os.path.expanduser("~"), str(Path.home().resolve())}, key=len, reverse=True):
        if home != "/":
            text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    for word, name in (("USER", user_name()), ("HOST", socket.gethostname())):
        for form in {name, name.partition(".")[0]} - {""}:
            text = re.sub(rf"(?<=/){re.escape(form)}(?![\w.-])", word, text)
    return text


def user_name() -> str:
    """The user's name; "" where the system has none for the process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
