"""What several test files of acceleration share."""

import pytest

from benchmark.acceleration.cpu_kernels import batch_norm, winograd
from benchmark.conformance.trial import untrained_teacher


@pytest.fixture
def torch_only(monkeypatch):
    """Networks compute with torch's own operators: a tape cannot write down what our compiled kernels do."""
    for module in (batch_norm, winograd):
        monkeypatch.setattr(module, "kernels", lambda: None)
    untrained_teacher.cache_clear()
    yield
    untrained_teacher.cache_clear()
