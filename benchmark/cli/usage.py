"""Errors that end a command, each as one sentence: bad input, wrong arguments, unusable paths, full disks."""

from __future__ import annotations

import errno
import sys

import typer
from pydantic import ValidationError

from benchmark.errors import BadInput
from benchmark.experiment.error_text import sentence
from benchmark.files import ReadError

UsageError = typer.BadParameter.__base__  # Typer's own class or, in an older one, Click's
PATH_ERRORS = {  # error of the system -> what is wrong with the path, and what to do
    errno.ENOENT: "is not there; name another path",
    errno.EACCES: "may not be read or written by this user; change its permissions, or name another path",
    errno.EPERM: "may not be changed by this user; change its permissions, or name another path",
    errno.EROFS: "is on a file system that can only be read; name another path",
    errno.ENAMETOOLONG: "is too long a name; name another path",
    errno.ELOOP: "is a link that leads to itself; name another path",
    errno.ENOTDIR: "is below what is no folder; name another path",
    errno.EISDIR: "is a folder, where a file is needed; name another path",
    errno.EEXIST: "exists already; name another path",
}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
OTHERS = {  # without a path
    **dict.fromkeys(FULL, "the disk is full, or this user's share of it: free some space"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "too many files are open: raise the limit (`ulimit -n`)"),
    errno.EIO: "the disk reported an error: look at the system's log, or use another disk",
}


def report_problem(fault: BadInput | UsageError | OSError) -> int:
    """Print what is wrong; returns the exit code: 2 for bad input, 1 for a machine that has reached its limits.

    Raises an OSError that is about neither a path nor the disk.
    """
    text, code = str(fault), 2
    if isinstance(fault, UsageError):
        text = usage_problem(fault)
    elif isinstance(fault, OSError):
        text, code = system_problem(fault)
    if text:
        print(f"error: {BadInput(text)}", file=sys.stderr)
    return code


def system_problem(fault: OSError) -> tuple[str, int]:
    """What is wrong with a path or with the disk, and the exit code.  Raises any other error."""
    if isinstance(fault, ReadError):
        return str(fault), 2 if fault.errno in PATH_ERRORS else 1
    if fault.errno in OTHERS:
        where = f"{fault.filename}: " if fault.filename else ""
        return f"{where}{OTHERS[fault.errno]}, then run the same command again ({fault.strerror})", 1
    if fault.errno not in PATH_ERRORS or fault.filename is None:
        raise fault
    return f"{fault.filename} {PATH_ERRORS[fault.errno]} ({fault.strerror})", 2


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
