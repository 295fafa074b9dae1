"""A CUDA error after which the device is lost may be the fault of any lane, so that no lane has a record of it."""

import pytest
import torch
import torch.nn.functional as F

from benchmark.acceleration.device import is_sticky
from benchmark.conformance.trial import PAIRS, Trial
from benchmark.training.loop import train
from methods import registry
from methods.contract import Method


@pytest.fixture
def cohort(tmp_path, isolated_registry):
    """A function: an exception -> a context, and runs of which the first raises the exception in its second step."""
    trial = Trial("kd", *PAIRS[0], tmp_path)

    def make(fault):
        @registry.register("broken")
        class Broken(Method):
            steps = 0

            def loss(self, s, t, batch):
                self.steps += 1
                if self.steps == 2:
                    raise fault
                return {"ce": F.cross_entropy(s.logits, batch.y)}

        return trial.context(), [Trial(name, trial.teacher, trial.student, trial.root).run for name in ("broken", "kd")]

    return make


def test_a_sticky_error_leaves_the_training_without_a_record_for_anyone(cohort):
    context, runs = cohort(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        train(runs, context)
    assert list(context.store.records()) == []


def test_an_error_of_cuda_that_leaves_the_device_usable_costs_its_own_lane_only(cohort):
    context, runs = cohort(torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing"))
    broken, kd = train(runs, context)
    assert (broken.status, kd.status) == ("failed", "done")


@pytest.fixture
def device(monkeypatch):
    """A function: an exception or None -> a CUDA device that raises it when it is waited for."""

    def install(fault):
        def synchronize():
            if fault:
                raise fault

        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "synchronize", synchronize)

    return install


@pytest.mark.parametrize(
    ("fault", "sticky"),
    [
        (torch.AcceleratorError("CUDA error: device-side assert triggered\nFor debugging consider ..."), True),
        (RuntimeError("CUDA error: unspecified launch failure"), True),
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (torch.AcceleratorError("CUDA error: invalid argument"), False),
        (torch.OutOfMemoryError("CUDA out of memory after an illegal memory access of another process"), False),
        (ValueError("device-side assert triggered"), False),  # a method's own words
    ],
)
def test_errors_are_recognised_by_the_words_of_cuda(device, fault, sticky):
    device(None)
    assert is_sticky(fault) is sticky


def test_any_error_is_sticky_if_the_device_no_longer_answers(device):
    device(torch.AcceleratorError("CUDA error: device-side assert triggered"))
    assert is_sticky(ValueError("an error of an innocent lane, raised after another's kernel failed"))
    device(None)
    assert not is_sticky(ValueError("an error of a lane's own"))
