"""The exception for invalid input of the user, and text that is safe to print."""

import re

LONG_WORD = re.compile(r"(\S{80})\S{120,}(\S{40})")  # such as a path of thousands of characters
LONGEST = 1500  # characters of a message


def printable(text: object, keep: str = "") -> str:
    """The text with spaces for line breaks, codes of terminals and whatever cannot be printed, except for `keep`."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else " " for each in text)


class BadInput(ValueError):
    """Bad input; the message is one sentence: what, where, what to do.  The command line exits with code 2.

    It quotes what the user typed: line breaks, codes of terminals and what cannot be printed become spaces, and its
    length is limited.
    """

    def __init__(self, message: object = ""):
        text = LONG_WORD.sub(r"\1…\2", printable(message))
        super().__init__(text if len(text) <= LONGEST else f"{text[:LONGEST]} …")
