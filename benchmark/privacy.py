"""Removes from a text what names the user, the host or their folders: for public bug reports and for records."""

from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path

ROOT = Path(__file__).parents[1]
SYSTEM = ("proc", "sys", "dev", "usr", "lib", "lib64", "etc", "opt", "bin", "sbin")  # folders that are everybody's
BEFORE = r"(?<![\w.:/~-])"  # a path that begins here is absolute, and none of a URL
LIBRARY = re.compile(BEFORE + r"/[^\n\"']*?/(?=(?:site|dist)-packages/|python3\.\d+/)")  # where Python's libraries lie
QUOTED = re.compile(r"([\"'])(~?/[^\n\"']*/)")  # folders of a quoted path, which may have spaces
PLAIN = re.compile(rf"((?:{BEFORE}/[^\s\"'/]+/|~/)(?:[^\s\"'/]+/)*)")  # folders of another one


def without_places(text: str) -> str:
    """The text with absolute paths cut to what does not depend on where things lie, and without user and host.

    Paths become relative to the project, to the working folder or to the folder of Python's libraries; of all others
    the last part is kept, except of those in folders of the system.  A name of letters only is taken for that of the
    user or the host where a path or an address has it, and in quotes; another one everywhere.
    """
    home, here = os.path.expanduser("~"), working_folder()
    for folder in (str(ROOT), *([] if home.startswith(here) else [here])):  # from /home, paths would begin with a user
        text = re.sub(rf"{BEFORE}{re.escape(folder)}/", "", text)
    text = anonymous(LIBRARY.sub("", text))
    text = QUOTED.sub(lambda found: found[0] if is_system(found[2]) else found[1], text)
    text = PLAIN.sub(lambda found: found[0] if is_system(found[1]) else "", text)
    for word, name in names():
        exact = re.escape(name)
        if name.isalpha():
            pattern = rf"(?<=[/@\"']){exact}(?=[/@:\"'])|(?<![\w.-]){exact}(?=@)"
        else:
            pattern = rf"(?<![\w.-]){exact}(?![\w-])"
        text = re.sub(pattern, word, text)
    return text


def working_folder() -> str:
    """The working folder; "/", which no folder's path goes on from with a further slash, if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def is_system(path: str) -> bool:
    """Whether an absolute path is in a folder of the system."""
    return path.split("/")[1] in SYSTEM


def anonymous(text: str) -> str:
    """The text with ~ for the home folder, and USER and HOST for folders that are called like the user or the host."""
    known = os.path.expanduser("~")
    for home in sorted({known, os.path.realpath(known)} - {"/"} if known != "~" else (), key=len, reverse=True):
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    for word, name in names():
        text = re.sub(rf"(?<=/){re.escape(name)}(?![\w.-])", word, text)
    return text


def names() -> list[tuple[str, str]]:
    """What stands for a name, and the name: of the user, and of the host with its domain and without."""
    host = socket.gethostname()
    found = [("USER", user_name()), ("HOST", host), ("HOST", host.partition(".")[0])]
    return [(word, name) for word, name in found if name not in ("", "localhost")]


def user_name() -> str:
    """The user's name; "" where the system has none for the process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
