"""A GPU that torch cannot use is reported before anything is trained.  No GPU is needed: its answers are fakes."""

import os
import sys
import warnings

import pytest
import torch

from benchmark.acceleration import device, driver
from benchmark.errors import BadInput


@pytest.fixture
def fake_smi(tmp_path, monkeypatch):
    """A function: driver version, or a shell command -> a `nvidia-smi` that lists one GPU, or runs the command."""

    def install(version="535.104.05", command=""):
        script = tmp_path / "nvidia-smi"
        listing = 'echo "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5f8a1c)"'
        script.write_text(f'#!/bin/sh\n{command}\ncase "$1" in -L) {listing};; *) echo "{version}";; esac\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


@pytest.fixture
def torch_sees(monkeypatch):
    """A function: number of GPUs, CUDA of the build -> a torch that sees so many, each an A100."""

    def install(count=0, cuda="13.0", capability=(8, 0)):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"A100 number {number}")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90a"])

    return install


# ---- torch sees no GPU, the driver does
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_driver_that_is_too_old_is_named_with_what_torch_needs_and_what_to_do(fake_smi, torch_sees, device):
    fake_smi("535.104.05")
    torch_sees(0, cuda="13.0")
    with pytest.raises(BadInput) as refused:
        driver.check_gpu(device)
    sentence = str(refused.value)
    for part in ("A100-SXM4-40GB", "535.104.05", "CUDA 13.0", "driver 580 or newer", "torch 2.10.0", "--device cpu"):
        assert part in sentence
    assert f"{sys.executable} -m pip install -r requirements-cuda12.txt; or use" in sentence
    assert "\n" not in sentence
    assert "http" not in sentence


def test_a_torch_without_cuda_is_named(fake_smi, torch_sees):
    fake_smi()
    torch_sees(0, cuda=None)
    with pytest.raises(BadInput, match=r"A100-SXM4-40GB.*built without CUDA.*--device cpu"):
        driver.find_gpu()


def test_with_a_driver_that_is_new_enough_the_sentence_has_torchs_own_reason_and_the_mask(
    fake_smi, torch_sees, monkeypatch
):
    fake_smi("580.65.06")
    torch_sees(0)

    def is_available():
        reason = "CUDA initialization: Unexpected error. Error 802: system not yet initialized (Triggered internally)"
        warnings.warn(reason, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(BadInput) as refused:
        driver.find_gpu()
    for part in ("580.65.06", "CUDA_VISIBLE_DEVICES is '7'", "Error 802: system not yet initialized", "--device cpu"):
        assert part in str(refused.value)


def test_a_driver_that_does_not_answer_is_given_up(fake_smi, torch_sees, monkeypatch):
    fake_smi(command="exec sleep 60")
    torch_sees(0)
    monkeypatch.setattr(driver, "SMI_SECONDS", 0.2)
    with pytest.raises(BadInput, match=r"nvidia-smi does not answer within 0.2 s"):
        driver.find_gpu()


@pytest.mark.parametrize("masked", ["", "-1", "NoDevFiles"])
def test_a_user_who_hides_the_gpus_is_not_corrected(fake_smi, torch_sees, monkeypatch, masked):
    fake_smi()
    torch_sees(0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", masked)
    assert driver.find_gpu("auto") is False


def test_a_user_who_asks_for_the_cpu_is_not_corrected(fake_smi, torch_sees):
    fake_smi(command="exit 1")
    torch_sees(2)
    driver.check_gpu("cpu")
    assert driver.find_gpu("cpu") is False


@pytest.mark.parametrize("command", ["exit 9", 'echo "No devices were found"; exit 0'])
def test_a_machine_without_a_gpu_has_nothing_to_complain_of(fake_smi, torch_sees, command):
    torch_sees(0)
    fake_smi(command=command)
    assert driver.find_gpu() is False


def test_without_nvidia_smi_nothing_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver.list_gpus() == []


# ---- torch sees a GPU
@pytest.mark.parametrize(
    ("built_for", "capability", "served"),
    [
        (["sm_80"], (8, 0), True),
        (["sm_80"], (8, 6), True),  # a later minor version of the same major one
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),  # machine code does not run on another major version
        (["sm_75", "compute_80"], (12, 0), True),  # PTX is compiled for any later device
        (["compute_90"], (8, 9), False),
        (["sm_90a"], (9, 0), True),
        (["compute_90a"], (12, 0), False),
        (["sm_100f"], (10, 3), True),
        (["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"], (6, 1), False),
        (["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"], (12, 1), True),
    ],
)
def test_code_runs_on_the_devices_that_cudas_manual_says(built_for, capability, served):
    assert driver.is_served(capability, built_for) is served


def test_a_gpu_that_torch_is_not_built_for_is_named_with_both(torch_sees):
    torch_sees(1, capability=(6, 1))
    sentence = driver.trial_fault()
    for part in ("A100 number 0", "compute capability 6.1", "sm_75, sm_80, sm_90a", "--device cpu"):
        assert part in sentence


@pytest.mark.parametrize(
    ("capability", "cuda", "named"), [((7, 0), "13.0", True), ((6, 1), "13.0", False), ((7, 0), "12.8", False)]
)
def test_an_older_torch_is_the_remedy_only_where_it_serves_and_is_not_what_is_there(
    torch_sees, capability, cuda, named
):
    torch_sees(1, cuda=cuda, capability=capability)
    sentence = driver.trial_fault()
    assert ("torch 2.10.0" in sentence) is named
    assert ("-m pip install -r requirements-cuda12.txt" in sentence) is named


def test_an_operation_that_fails_is_one_line(torch_sees, monkeypatch):
    def fail(*_, **__):
        raise torch.AcceleratorError("CUDA error: no kernel image is available\nFor debugging consider ...")

    torch_sees(1)
    monkeypatch.setattr(torch, "ones", fail)
    assert "GPU 0: CUDA error: no kernel image is available:" in driver.trial_fault()


def test_only_the_gpus_that_are_used_are_tried(torch_sees, monkeypatch):
    tried = []
    real = torch.ones
    monkeypatch.setattr(torch, "ones", lambda size, device: tried.append(device) or real(size))
    torch_sees(3)
    assert driver.trial_fault() == ""
    assert tried == ["cuda:0"]
    assert driver.trial_fault(every=True) == ""
    assert tried[1:] == ["cuda:0", "cuda:1", "cuda:2"]


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((2, "", "a warning\nerror: GPU 0 is broken\n"), "^GPU 0 is broken$"),
        ((-11, "", "Fatal Python error: Segmentation fault"), "ended its process with exit code -11"),
        ((None, "", ""), "took more than 180 s"),
    ],
)
def test_what_the_trial_process_reports_or_how_it_ends_becomes_one_sentence(torch_sees, monkeypatch, answer, match):
    commands = []
    torch_sees(2)
    monkeypatch.setattr(driver, "call", lambda command, seconds: commands.append(command) or answer)
    with pytest.raises(BadInput, match=match):
        driver.check_gpu("auto", every=True)
    assert commands == [[sys.executable, "-m", "benchmark.acceleration.driver", "--every"]]


def test_a_trial_that_succeeds_is_silent(torch_sees, monkeypatch):
    torch_sees(1)
    monkeypatch.setattr(driver, "call", lambda command, seconds: (0, "cuda\n", ""))
    driver.check_gpu("cuda")


@pytest.mark.parametrize(
    ("count", "options", "printed"),
    [(1, [], "cuda\n"), (0, [], "cpu\n"), (1, ["--device", "cpu"], "cpu\n"), (1, ["--device=cpu"], "cpu\n")],
)
def test_the_command_prints_what_a_run_would_use(torch_sees, monkeypatch, tmp_path, capsys, count, options, printed):
    torch_sees(count)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(driver, "trial_fault", lambda every: "")
    assert driver.main(["-m", "kd", *options]) == 0
    assert capsys.readouterr().out == printed


def test_the_command_refuses_a_gpu_on_which_the_trial_fails(torch_sees, monkeypatch, capsys):
    torch_sees(1)
    monkeypatch.setattr(driver, "trial_fault", lambda every: "it is broken")
    assert driver.main([]) == 2
    assert capsys.readouterr() == ("", "error: it is broken\n")


# ---- which GPUs the user means
@pytest.mark.parametrize(
    ("masked", "devices"),
    [
        ("2,3", ["2", "3"]),
        (" 2, 3", ["2", "3"]),
        ("1gpu,02", ["1", "2"]),
        ("0,-1,1", ["0"]),
        ("0,,1", ["0"]),
        ("", []),
        ("1,1", []),
        ("GPU-5f8a,GPU-77", ["GPU-5f8a", "GPU-77"]),
        ("GPU-5f8a,1", ["GPU-5f8a"]),
        ("GPU-5f8a,GPU-5f8a", []),
        ("1,GPU-5f8a", ["1"]),
        ("MIG-c6d4f1ef-42e4,MIG-0", ["MIG-c6d4f1ef-42e4", "MIG-0"]),
    ],
)
def test_the_list_of_visible_devices_is_read_as_torch_reads_it(monkeypatch, masked, devices):
    assert device.parse_devices(masked) == devices
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", masked)
    assert list(map(str, torch.cuda._parse_visible_devices())) == devices


def test_devices_have_their_numbers_where_nothing_is_hidden(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device.visible_devices(3) == ["0", "1", "2"]


def test_an_entry_past_the_last_device_ends_the_list(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,9,0")
    assert device.visible_devices(1) == ["1"]  # of four devices, CUDA shows one
