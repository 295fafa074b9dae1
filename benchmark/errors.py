"""The exception for invalid input of the user."""

import re

LONG_WORD = re.compile(r"(\S{80})\S{120,}(\S{40})")  # such as a path of thousands of characters
LONGEST = 1500  # characters of a message


class BadInput(ValueError):
    """Bad input; the message is one sentence: what, where, what to do.  The command line exits with code 2.

    It quotes what the user typed: line breaks, codes of terminals and what cannot be printed become spaces, and its
    length is limited.
    """

    def __init__(self, message: object = ""):
        text = "".join(each if each.isprintable() else " " for each in str(message))
        text = LONG_WORD.sub(r"\1…\2", text)
        super().__init__(text if len(text) <= LONGEST else f"{text[:LONGEST]} …")
