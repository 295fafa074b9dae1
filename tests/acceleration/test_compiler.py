"""The compiler of the C kernels, in whose place a script writes down how it is called."""

import os
import shutil

import pytest

from benchmark.acceleration.cpu_kernels import compiler


@pytest.fixture
def compile_here(monkeypatch, tmp_path):
    """Compiles a C file as the kernels are; returns the words that the compiler got, or [] if it was not called."""
    if not (real := shutil.which("cc")):
        pytest.skip("no C compiler here")
    (tmp_path / "cc").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/words\nexec {real} "$@"\n')
    (tmp_path / "cc").chmod(0o755)
    (tmp_path / "one.c").write_text("int one(void) { return 1; }\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("KD_CFLAGS", raising=False)

    def run():
        (tmp_path / "words").write_text("")
        assert compiler.load(tmp_path / "one.c").one() == 1
        return (tmp_path / "words").read_text().split()

    return run


def test_a_library_is_compiled_once(compile_here):
    assert "-march=native" in compile_here()
    assert compile_here() == []


def test_further_flags_of_the_user_come_last_and_give_a_library_of_their_own(compile_here, monkeypatch):
    compile_here()
    monkeypatch.setenv("KD_CFLAGS", "-O1  -DPLAIN")
    words = compile_here()
    assert words.index("-O3") < words.index("-O1") < words.index("-DPLAIN")
    monkeypatch.delenv("KD_CFLAGS")
    assert compile_here() == []


def test_flags_that_the_compiler_refuses_leave_no_library(compile_here, monkeypatch, tmp_path):
    monkeypatch.setenv("KD_CFLAGS", "-march=no-such-processor")
    assert compiler.load(tmp_path / "one.c") is None
    assert not list((tmp_path / "cache").rglob("*.so"))
