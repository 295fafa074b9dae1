"""What goes wrong because of what the user gave."""


class BadInput(ValueError):
    """Bad input, told in one sentence: what, where, what to do.  The command line prints it and exits with 2."""
