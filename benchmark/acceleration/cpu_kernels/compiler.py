"""C code of this project, compiled once for this processor by the system's compiler and kept in the user's cache.

KD_CFLAGS has further flags for the compiler, such as -march=haswell for a processor without AVX-512.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC")
TIME_LIMIT = 120  # seconds


def load(source: Path) -> ctypes.CDLL | None:
    """The library that `source` compiles to; None where it cannot be compiled: no Linux, no compiler, an error."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or platform.system() != "Linux":
        return None
    processor = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("flags")), "")
    headers = [header.read_text() for header in sorted(source.parent.glob("*.h"))]
    flags = (*FLAGS, *os.environ.get("KD_CFLAGS", "").split())
    text = "\0".join((source.read_text(), *headers, processor, compiler, *flags))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kd-benchmark"
    library = cache / f"{source.stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    try:
        if not library.exists():
            compile_source([compiler, *flags], source, library)
        return ctypes.CDLL(str(library))
    except (OSError, subprocess.SubprocessError):
        return None


def compile_source(compiler: list[str], source: Path, library: Path) -> None:
    """Compile by this command; others see the library when it is complete.  Raises OSError or SubprocessError."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder) / library.name
        command = [*compiler, str(source), "-o", str(built), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=TIME_LIMIT)
        built.replace(library)
