"""Errors that end a command, each as one sentence: bad input, wrong arguments, paths that cannot be used."""

from __future__ import annotations

import errno
import sys

import typer
from pydantic import ValidationError

from benchmark.errors import BadInput
from benchmark.experiment.error_text import sentence

UsageError = typer.BadParameter.__base__  # Typer's own class or, in an older one, Click's
PATH_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}


def report_problem(fault: BadInput | UsageError | OSError) -> int:
    """Print what is wrong with the input; returns the exit code.  Raises an OSError that is not about a path's name."""
    text = str(fault)
    if isinstance(fault, UsageError):
        text = usage_problem(fault)
    elif isinstance(fault, OSError):
        if fault.errno not in PATH_ERRORS or fault.filename is None:
            raise fault
        text = f"{fault.filename}: {fault.strerror}; name another path, or change its permissions"
    if text:
        print(f"error: {BadInput(text)}", file=sys.stderr)
    return 2


def usage_problem(fault: UsageError) -> str:
    """What is wrong with the arguments, and where to look them up; "" if help was printed for want of arguments."""
    text = fault.format_message()
    if type(fault).__name__ == "NoArgsIsHelpError":  # its text is the help, unless Rich has printed that
        print(text, end="", file=sys.stderr)
        return ""
    text = " ".join(text.split())
    cause, param = fault.__cause__, getattr(fault, "param", None)
    if isinstance(cause, ValidationError) and param is not None:
        text = f"{'/'.join(param.opts)} {sentence({'ctx': {}} | cause.errors(include_url=False)[0])}"
    command = fault.ctx.command_path if fault.ctx else "python -m benchmark"
    return f"{text.rstrip('.')}; `{command} --help` shows what there is"
