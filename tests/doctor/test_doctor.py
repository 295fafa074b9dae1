"""`doctor`: what it prints, its JSON and exit codes, and the problems that each check finds, with fakes."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from benchmark import privacy
from benchmark.acceleration import device, driver, machine
from benchmark.acceleration.cpu_kernels import batch_norm
from benchmark.doctor import examine, finding, folders, gpu, gpu_checks, hardware, software
from benchmark.doctor.finding import Finding, run_check
from benchmark.errors import BadInput
from benchmark.sweep.load import Counters

KEYS = {"section", "name", "value", "ok", "advice", "prevents"}
ALWAYS = {
    "Python", "packages", "torch", "code", "results", "reports", "digits", "cifar10", "cifar100", "processor",
    "precision", "kernels", "memory", "threads", "load", "GPU",
}  # fmt: skip


# ---- the command
def test_it_prints_a_line_for_each_check_and_names_neither_user_nor_host(run_cli, tmp_path):
    done = run_cli("doctor", "--device", "cpu", "--data", tmp_path)
    assert done.code == 0, done.out + done.err
    lines = re.findall(r"^  (\S.*?) +(ok|problem) ", done.out, re.MULTILINE)
    assert {name for name, _ in lines} >= ALWAYS
    assert "nothing prevents training" in done.out
    assert dict(lines)["cifar100"] == "problem" and "cifar-100-python.tar.gz" in done.out
    for secret in (str(Path.home()), f"/{privacy.user_name()}/", f"/{socket.gethostname()}/"):
        assert secret not in done.out
    assert done.err == ""


def test_its_json_has_the_same_findings_and_what_prevents_training(run_cli, tmp_path):
    done = run_cli("doctor", "--device", "cpu", "--json", "--results", "/proc/results", "--data", tmp_path)
    assert done.code == 1, done.err
    found = json.loads(done.out)
    assert set(found) == {"schema", "findings", "problems", "prevents", "seconds"}
    assert all(set(each) == KEYS for each in found["findings"])
    assert {each["name"] for each in found["findings"]} >= ALWAYS
    assert found["prevents"] == ["results"]
    assert set(found["problems"]) == {each["name"] for each in found["findings"] if not each["ok"]}
    assert all(each["advice"] for each in found["findings"] if not each["ok"]), "every problem has a remedy"
    assert str(Path.home()) not in done.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("--device", "tpu"), "--device is auto, cpu or cuda"), (("--data", "LICENSE"), "--data LICENSE is not a folder")],
)
def test_bad_input_is_one_sentence(run_cli, words, sentence):
    done = run_cli("doctor", *words)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err and done.err.count("\n") == 1


def test_it_loads_no_library_that_takes_long_and_is_not_needed(tmp_path):
    heavy = "{'pandas', 'matplotlib', 'sklearn', 'torchvision', 'scipy'}"
    program = f"""if True:
        import sys
        from pathlib import Path
        from benchmark.doctor import examine
        text, _ = examine.doctor(Path({str(tmp_path)!r}), Path("results"), Path("reports"), "cpu", False)
        print(sorted({heavy} & set(sys.modules)), "packages" in text)"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"


def test_without_the_packages_it_says_so_and_makes_no_other_check(monkeypatch, tmp_path):
    monkeypatch.setattr(software, "installed_version", lambda name: None if name == "numpy" else "1")
    text, code = examine.doctor(tmp_path, tmp_path, tmp_path, "cpu", False)
    assert code == 1
    assert "prevents training: packages" in text and "not installed: numpy" in text and "processor" not in text


# ---- findings
def test_a_check_that_fails_is_a_finding_and_stops_nothing():
    def broken():
        raise ZeroDivisionError("by 0\nand so on")

    found = run_check("sums", broken)
    assert (found.name, found.ok, found.prevents) == ("sums", False, False)
    assert "ZeroDivisionError: by 0" in found.value and "so on" not in found.value and found.advice


def test_the_exit_code_is_1_only_if_something_prevents_training():
    fine, slow, stop = Finding("a", "1"), Finding("b", "2", False, "wait"), Finding("c", "3", False, "buy", True)
    assert finding.exit_code({"x": [fine], "y": [slow]}) == 0
    assert finding.exit_code({"x": [fine], "y": [slow, stop]}) == 1
    text = finding.as_text({"x": [fine], "yy": [slow, stop]})
    assert text.splitlines() == [
        "x", "  a  ok       1",
        "", "yy", "  b  problem  2", "              -> wait", "  c  problem  3", "              -> buy",
        "", "prevents training: c", "other problems: b",
    ]  # fmt: skip


def test_long_lines_are_wrapped_below_their_beginning():
    lines = finding.finding_lines(Finding("name", "word " * 60, False, "advice " * 40), 6)
    assert all(len(line) <= finding.WIDTH for line in lines)
    starts = [len(line) - len(line.lstrip()) for line in lines]
    assert starts[1] == len("  name    problem  ")
    assert sum(line.lstrip().startswith("->") for line in lines) == 1


def test_nothing_that_names_the_user_or_the_host_gets_through(monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setattr(privacy, "user_name", lambda: "alice")
    monkeypatch.setattr(socket, "gethostname", lambda: "lab7.example.org")
    seen = "/home/alice/data /home/alice /home/alice2/x /scratch/alice/data /net/lab7/y /net/lab7.example.org lab7"
    assert privacy.anonymous(seen) == "~/data ~ /home/alice2/x /scratch/USER/data /net/HOST/y /net/HOST lab7"
    found = run_check("disk", lambda: Finding("disk", "/home/alice/x", False, "clear /home/alice/x"))
    assert (found.value, found.advice) == ("~/x", "clear ~/x")


# ---- software
def test_packages_of_other_versions_are_a_problem_and_missing_ones_prevent_training(tmp_path):
    path = tmp_path / "requirements.txt"
    own = software.installed_version("numpy")
    path.write_text(f"# a comment\nnumpy=={own}  # why\n")
    assert software.packages(path).ok
    path.write_text(f"numpy=={own}\npillow==0.0.1\n")
    other = software.packages(path)
    assert not other.ok and not other.prevents
    assert "pillow 0.0.1" in other.advice and "numpy" not in other.advice and "pip install" in other.advice
    path.write_text("no-such-package==1\n")
    missing = software.packages(path)
    assert missing.prevents and "no-such-package missing" in missing.value
    assert not software.packages(tmp_path / "none").ok


def test_the_torch_for_older_drivers_is_no_problem_and_another_version_is_named_with_its_own_file(monkeypatch):
    older = software.read_pins(software.CUDA_12)
    installed = older | {"torch": f"{older['torch']}+cu128"}
    monkeypatch.setattr(software, "installed_version", installed.get)
    found = software.packages()
    assert found.ok and "results were made with torch" in found.advice and "requirements-cuda12.txt" in found.advice
    installed["numpy"] = "2.0.0"
    found = software.packages()
    assert not found.ok and found.advice.endswith("pip install -r requirements-cuda12.txt")
    assert "torch" not in found.advice
    installed |= {"numpy": older["numpy"], "torchvision": "0.24.0"}
    assert not software.packages().ok, "torch and torchvision must pair"


def test_the_requirements_for_older_drivers_differ_in_torch_and_torchvision_alone():
    pinned, older = (software.read_pins(path) for path in (software.ROOT / "requirements.txt", software.CUDA_12))
    assert pinned.keys() == older.keys()
    assert {name for name in pinned if pinned[name] != older[name]} == set(software.PAIR)
    assert f"torch {older['torch']} with torchvision {older['torchvision']}" == driver.OLDER_TORCH


def test_a_build_does_not_count_as_another_version():
    assert software.release("2.14.1+cu130") == "2.14.1"


def test_an_old_python_prevents_training(monkeypatch):
    assert software.python().ok
    monkeypatch.setattr(software.sys, "version_info", (3, 10, 4))
    assert software.python().prevents and "3.11" in software.python().advice


# ---- folders and data
def test_folders_that_cannot_be_written_prevent_training(tmp_path):
    assert folders.writable("results", tmp_path).ok
    assert "not there yet" in folders.writable("results", tmp_path / "a" / "b").value
    assert not (tmp_path / "a").exists(), "nothing is made"
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", Path("/proc/results")):
        found = folders.writable("reports", place)
        assert found.prevents and "cannot be written" in found.value and "--reports" in found.advice


def test_little_space_is_a_problem_and_none_prevents_training(monkeypatch, tmp_path):
    for free, ok, prevents in ((2e9, True, False), (0.5e9, False, False), (1e6, False, True)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(folders.shutil, "disk_usage", lambda path, usage=usage: usage)
        found = folders.writable("results", tmp_path)
        assert (found.ok, found.prevents) == (ok, prevents)


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_names_and_checksums_of_the_official_files_are_those_of_torchvision(kind):
    found = folders.official_files()[kind.__name__]
    for word in ("base_folder", "filename", "tgz_md5", "train_list", "test_list", "meta"):
        assert getattr(found, word) == getattr(kind, word)


def small_cifar(monkeypatch):
    """A data set of two small files in place of CIFAR-10."""
    md5 = hashlib.md5(b"abc").hexdigest()
    kind = SimpleNamespace(
        base_folder="batches", filename="official.tar.gz", tgz_md5=md5, train_list=[["train", md5]],
        test_list=[["test", md5]], meta={"filename": "meta", "md5": md5},
    )  # fmt: skip
    monkeypatch.setattr(folders, "official_files", lambda: {"CIFAR10": kind})
    return lambda root: folders.cifar("cifar10", "CIFAR10", root)


def test_a_data_set_is_missing_or_as_published_or_altered(monkeypatch, tmp_path):
    check = small_cifar(monkeypatch)
    missing = check(tmp_path)
    assert not missing.ok and not missing.prevents and "--download" in missing.advice
    (tmp_path / "official.tar.gz").write_bytes(b"abc")
    archive = check(tmp_path)
    assert archive.ok and "unpacks" in archive.value and not (tmp_path / "batches").exists()
    (tmp_path / "batches").mkdir()
    for name in ("train", "test", "meta"):
        (tmp_path / "batches" / name).write_bytes(b"abc")
    assert check(tmp_path).ok
    (tmp_path / "batches" / "test").write_bytes(b"abd")
    altered = check(tmp_path)
    assert altered.prevents and "truncated or altered" in altered.advice and "test" in altered.advice


def test_image_folders_are_found_and_judged_without_decoding(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        for name in ("a", "b"):
            (tmp_path / "flowers" / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(
                    tmp_path / "flowers" / split / name / f"{number}.png"
                )
    (tmp_path / "broken" / "train" / "a").mkdir(parents=True)
    (tmp_path / "broken" / "test").mkdir()
    (tmp_path / "other").mkdir()
    checks = dict(folders.data_checks(tmp_path))
    assert set(checks) == {"digits", "cifar10", "cifar100", "folder:flowers", "folder:broken"}
    assert checks["folder:flowers"]().value == "2 classes, 6 training and 2 test images"
    broken = checks["folder:broken"]()
    assert not broken.ok and "'a'" in broken.advice and not broken.prevents


# ---- machine
def counters(monkeypatch, busy, own):
    """The finding of a processor on which, in ten seconds, all programs used `busy` seconds and this one `own`."""
    monkeypatch.setattr(hardware, "read_counters", lambda: Counters(20.0, 50.0 + busy, 5.0 + own, 4))
    monkeypatch.setattr(hardware.time, "monotonic", lambda: 20.0)
    return hardware.load(Counters(10.0, 50.0, 5.0, 4))


def test_a_busy_processor_is_a_problem(monkeypatch):
    found = counters(monkeypatch, busy=30.0, own=8.0)
    assert not found.ok and not found.prevents
    assert "other programs used 2.2 of 4 processors for 10.0 s" in found.value and "they leave cores" in found.advice


def test_what_this_process_does_itself_does_not_count_as_load(monkeypatch):
    assert counters(monkeypatch, busy=8.5, own=8.0).ok
    assert hardware.load(None).ok


@pytest.mark.parametrize(
    ("text", "count"), [("150000 100000", 1.5), ("max 100000", None), ("10000000 100000", None), (None, None)]
)
def test_a_containers_quota_limits_the_usable_processors(tmp_path, text, count):
    if text:
        (tmp_path / "cpu.max").write_text(text)
    alone = hardware.usable_processors(tmp_path / "none")
    assert hardware.usable_processors(tmp_path / "cpu.max") == min(count or alone, alone)


def test_more_threads_than_processors_are_a_problem(monkeypatch):
    monkeypatch.setattr(hardware, "usable_processors", lambda: 1.5)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    for used, ok in ((1, True), (2, False)):
        monkeypatch.setattr(torch, "get_num_threads", lambda used=used: used)
        found = hardware.threads()
        assert found.ok is ok and "GOMP_SPINCOUNT=7" in found.value
    assert "OMP_NUM_THREADS=1" in found.advice


def test_the_least_of_the_machines_and_the_containers_memory_counts(tmp_path):
    info = tmp_path / "meminfo"
    info.write_text("MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:   8000000 kB\n")
    assert hardware.memory(info, tmp_path).ok
    (tmp_path / "memory.max").write_text("4000000000\n")
    (tmp_path / "memory.current").write_text("3000000000\n")
    small = hardware.memory(info, tmp_path)
    assert not small.ok and "8.2 GB available of 16.4 GB; the container may use 4.0 GB" in small.value
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware.memory(info, tmp_path).ok
    assert "not known" in hardware.memory(tmp_path / "none", tmp_path).value


@pytest.fixture
def processor_with(monkeypatch, tmp_path):
    """A function: torch's words for the instruction sets of a processor, whether oneDNN may use them -> two findings.

    Those of `processor` and `precision`; listed: those that the system lists, if they are others.
    """
    for name in hardware.LIMITS:
        monkeypatch.delenv(name, raising=False)

    def install(*words, onednn=True, listed=None):
        for module in (device, hardware):
            monkeypatch.setattr(module, "reports", lambda word: word in words)
        monkeypatch.setattr(device, "has_bf16_kernels", lambda: onednn)
        flags = " ".join(hardware.FLAGS.get(word, word) for word in listed or words)
        (tmp_path / "cpuinfo").write_text(f"model name\t: X\nflags\t\t: fpu avx512f {flags}\n")
        return hardware.processor(tmp_path / "cpuinfo"), hardware.precision("cpu")

    return install


BF16 = ("avx2", "avx512", "avx512_bf16")


@pytest.mark.parametrize(
    ("words", "used", "picked"),
    [
        (("avx2",), "AVX2", "fp32 on cpu: torch uses neither AVX512-BF16 nor AMX"),
        (("avx2", "avx512"), "AVX2, AVX512", "fp32 on cpu: torch uses neither AVX512-BF16 nor AMX"),
        (BF16, "AVX2, AVX512, AVX512-BF16", "bf16 on cpu: torch uses AVX512-BF16"),
        ((*BF16, "amx_tile"), "AVX2, AVX512, AVX512-BF16, AMX", "bf16 on cpu: torch uses AVX512-BF16 and AMX"),
    ],
    ids=lambda case: len(case) if isinstance(case, tuple) else "",
)
def test_it_names_every_instruction_set_and_the_precision_that_follows(processor_with, words, used, picked):
    processor, precision = processor_with(*words)
    assert processor.ok and processor.value.endswith(f"; torch uses {used}")
    assert precision.value == f"auto picks {picked}"


def test_instruction_sets_that_the_system_lists_and_torch_does_not_find_are_a_problem(processor_with):
    found, _ = processor_with(*BF16, listed=(*BF16, "amx_tile"))
    assert not found.ok and found.advice.startswith("AMX is in /proc/cpuinfo") and "AVX512-BF16" in found.value


def test_instruction_sets_that_onednn_does_not_use_are_a_problem_unless_the_user_says_so(processor_with, monkeypatch):
    processor, precision = processor_with(*BF16, onednn=False)
    assert processor.value.endswith("torch uses AVX2")
    assert not processor.ok and "does not use AVX512, AVX512-BF16" in processor.advice
    assert "fp32 on cpu: torch uses neither" in precision.value
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    limited, _ = processor_with(*BF16, onednn=False)
    assert limited.ok and limited.value.endswith("torch uses AVX2; ONEDNN_MAX_CPU_ISA=AVX2")


@pytest.mark.skipif("AVX2" not in device.instruction_sets(), reason="oneDNN's variable is about x86 with AVX2")
def test_an_emulated_processor_and_the_precision_for_it_agree():
    program = "from benchmark.doctor import hardware; print(hardware.processor(), hardware.precision('cpu'), sep='\\n')"
    emulation = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=os.environ | emulation, capture_output=True, text=True, check=True)
    processor, precision = done.stdout.splitlines()
    assert "torch uses AVX2; ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2" in processor
    assert "auto picks fp32 on cpu: torch uses neither AVX512-BF16 nor AMX" in precision


@pytest.mark.parametrize(("has", "picked"), [(True, "bf16"), (False, "fp32")])
def test_it_says_which_precision_is_picked_and_why(monkeypatch, has, picked):
    monkeypatch.setattr(machine, "supports_bf16", lambda device: has)
    found = hardware.precision("cpu")
    assert f"auto picks {picked} on cpu" in found.value
    assert ("neither" in found.value) is not has


@pytest.mark.parametrize("has", [True, False])
def test_kernels_that_cannot_be_compiled_are_a_problem_in_either_precision_and_prevent_nothing(monkeypatch, has):
    monkeypatch.setattr(batch_norm, "kernels", lambda: None)
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(machine, "supports_bf16", lambda device: has)
    found = hardware.kernels("cpu")
    assert not found.ok and "C compiler missing" in found.value
    assert not found.prevents


@pytest.mark.parametrize("compiler", ["gcc", "clang", "named in CC", ""])
def test_on_a_gpu_the_compiler_and_headers_are_those_that_triton_looks_for(monkeypatch, tmp_path, compiler):
    path = tmp_path / (compiler.replace(" ", "-") or "none")
    path.touch(mode=0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    if compiler == "named in CC":
        monkeypatch.setenv("CC", path.name)
    monkeypatch.setattr(hardware, "machine_of", lambda name: SimpleNamespace(device=torch.device("cuda")))
    monkeypatch.setattr(hardware.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    found = hardware.kernels("auto")
    assert "Triton compiles the launcher of its kernels" in found.value and not found.prevents
    assert found.ok is bool(compiler)
    assert f"C compiler {path if compiler else 'missing'}" in found.value
    if compiler:
        (tmp_path / "Python.h").unlink()
        headless = hardware.kernels("auto")
        assert not headless.ok and "Python.h missing" in headless.value and "python3-dev" in headless.advice


# ---- GPU
def test_a_gpu_that_torch_does_not_see_prevents_training_and_has_a_remedy(monkeypatch):
    def unseen(device):
        raise BadInput("the driver is too old: install another, or use --device cpu")

    monkeypatch.setattr(driver, "find_gpu", unseen)
    found = gpu.present("auto")
    assert found.prevents and "install another" in found.advice


def test_without_a_gpu_training_runs_on_the_processor_unless_a_gpu_is_asked_for(monkeypatch):
    monkeypatch.setattr(driver, "find_gpu", lambda device: False)
    assert gpu.present("auto").ok and gpu.present("cpu").ok
    assert gpu.present("cuda").prevents
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(gpu.sections("auto")) == []


def test_checks_that_would_begin_too_late_say_so(capsys):
    clock = iter([0.0, 1.0, 269.0, 271.0, 300.0])
    checks = [(name, lambda name=name: Finding(name, "done")) for name in "abcd"]
    found = [run_check(name, check) for name, check in gpu_checks.within_time(checks, lambda: next(clock))]
    assert [each.value for each in found] == ["done", "done", *["not checked: 270 s were over"] * 2]
    assert not found[-1].ok and "-m gpu" in found[-1].advice
    assert capsys.readouterr().err.splitlines() == ["GPU 1/4: a", "GPU 2/4: b"]
