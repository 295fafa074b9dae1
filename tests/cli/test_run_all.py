"""run_all.sh: which interpreter is used, which suite is picked, and when it refuses."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "run_all.sh").read_text()
SMI = '#!/bin/sh\ncase "$1" in -L) echo "GPU 0: NVIDIA A100 (UUID: GPU-5f8a)";; *) echo 535.104.05;; esac\n'
COMMANDS = (
    ["run", "digits"],
    ["cost", "digits"],
    ["speed"],
    ["tune", "digits"],
    ["theory", "digits"],
    ["import-weights", "weights.pt", "--model", "resnet20", "--dataset", "digits"],
)
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")


def wanted(name):
    """The packages of RUNTIME or TESTING -> their oldest versions."""
    text = re.search(rf'^{name}="(.*?)"', SCRIPT, re.MULTILINE | re.DOTALL)[1]
    return dict(word.split(">=") for word in text.split())


def is_complete(*packages, path=""):
    """What the script's `complete` says of this interpreter, with a folder before its packages."""
    function = re.search(r"^complete\(\) \{.*?^\}$", SCRIPT, re.MULTILINE | re.DOTALL)[0]
    command = ["bash", "-c", f'{function}\ncomplete "$@"', "bash", sys.executable, *packages]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(path)}, check=False).returncode == 0


def numbers(version):
    """2.10.1 -> [2, 10, 1]."""
    return [int(part) for part in version.split(".")]


@pytest.mark.parametrize(("name", "file"), [("RUNTIME", "requirements.txt"), ("TESTING", "requirements-dev.txt")])
def test_the_oldest_versions_are_of_the_packages_that_are_pinned_and_not_newer(name, file):
    lines = (line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert wanted(name).keys() == pinned.keys()
    assert not [package for package, oldest in wanted(name).items() if numbers(oldest) > numbers(pinned[package])]


def test_this_interpreter_is_complete():
    assert is_complete(
        *(f"{package}>={oldest}" for name in ("RUNTIME", "TESTING") for package, oldest in wanted(name).items())
    )


@pytest.mark.parametrize(
    ("version", "complete"),
    [("2.9.1", False), ("2.10.0", True), ("2.10.0+cu128", True), ("2.9.1+cu130", False), ("3.0", True), ("2.10", True)],
)
def test_an_interpreter_with_an_older_version_is_not_complete(tmp_path, version, complete):
    folder = tmp_path / f"torch-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    assert is_complete("torch>=2.10", "numpy>=2", path=tmp_path) is complete


def test_an_interpreter_without_a_package_is_not_complete():
    assert not is_complete("numpy>=2", "no-such-package>=1")


def run_all(tmp_path, *options, **environment):
    """./run_all.sh with these options, on a machine whose driver lists a GPU."""
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    env |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHON": sys.executable} | environment
    return subprocess.run([ROOT / "run_all.sh", *options], env=env, capture_output=True, text=True, check=False)


@without_gpu
def test_a_gpu_that_torch_cannot_use_is_refused_before_a_suite_is_picked(tmp_path):
    done = run_all(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: this machine has a GPU (NVIDIA A100)")


@without_gpu
@pytest.mark.parametrize(
    ("options", "environment"),
    [(["--device", "cpu"], {}), ([], {"CUDA_VISIBLE_DEVICES": ""})],
    ids=["option", "hidden"],
)
def test_who_wants_the_cpu_gets_the_suite_for_it(tmp_path, options, environment):
    done = run_all(tmp_path, *options, "--seeds", "none", **environment)  # refused later: nothing is trained here
    assert "no suite was named: running digits" in done.stdout
    assert done.returncode == 2
    assert "NVIDIA" not in done.stderr


@without_gpu
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_that_train_refuse_a_gpu_that_torch_cannot_use(tmp_path, monkeypatch, call, command):
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    done = call(*command, "--results", tmp_path / "results")
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: this machine has a GPU (NVIDIA A100)")
    assert not (tmp_path / "results").exists()


def run_tests(folder, *words, smi=True, codes="0 0"):
    """(Exit code, lines of "visible devices|words for pytest") of run_all.sh test, with a pytest that runs nothing."""
    shell, names = folder / "bin", ("bash", "dirname", "sed", "grep", "cat", "env")
    shell.mkdir()
    for name in names:
        (shell / name).symlink_to(shutil.which(name))
    if smi:
        (shell / "nvidia-smi").write_text(SMI)
    (shell / "python").write_text(
        f"""#!/bin/bash
[ "$1$2" = -mpytest ] || exec {sys.executable} "$@"
echo "${{CUDA_VISIBLE_DEVICES-all}}|${{@:3}}" >>{folder}/log
codes=({codes}); exit "${{codes[$(grep -c "" {folder}/log) - 1]}}"
"""
    )
    for script in shell.iterdir():
        script.chmod(0o755)
    environment = {"PATH": str(shell), "PYTHON": str(shell / "python"), "HOME": str(folder)}
    done = subprocess.run(["bash", ROOT / "run_all.sh", "test", *words], env=environment, cwd=folder, check=False)
    return done.returncode, (folder / "log").read_text().splitlines()


PARALLEL = "-n auto --maxprocesses 8 --dist worksteal"


def test_the_tests_run_in_a_process_per_core(tmp_path):
    assert run_tests(tmp_path, "tests/cli", smi=False) == (0, [f"all|{PARALLEL} tests/cli"])


@pytest.mark.parametrize(
    ("codes", "expected"),
    [("0 0", 0), ("0 5", 0), ("1 0", 1), ("0 1", 1), ("5 0", 5)],
    ids="pytest ended with {}".format,
)
def test_beside_a_gpu_its_tests_run_last_and_in_one_process(tmp_path, codes, expected):
    code, calls = run_tests(tmp_path, "-x", codes=codes)
    assert (code, calls) == (expected, [f"|{PARALLEL} -x", "all|-m gpu -x"])


def test_beside_a_gpu_tests_that_the_user_selects_run_in_one_process(tmp_path):
    assert run_tests(tmp_path, "-m", "gpu") == (0, ["all|-m gpu"])
