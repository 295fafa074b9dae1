"""What a sweep does with what an earlier one left between two of its files."""

import pytest
from full_disk import FullDisk

from benchmark.errors import BadInput
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.files import WriteError
from benchmark.models import build
from benchmark.store import Store
from benchmark.sweep import plan, runner
from benchmark.sweep.options import Options
from benchmark.training import weights
from methods import Method, registry


@pytest.fixture
def sweep(tmp_path, few_digits):
    """The runs of a suite of one student, and how to train them."""
    runs = load_suite("digits", Choices(methods=("kd",), seeds="0", epochs=1, precision="fp32"))
    return runs, Options("digits", results=tmp_path / "results", data=tmp_path / "data", device="cpu", quiet=True)


def test_a_teacher_with_weights_and_without_a_record_is_trained_again(sweep):
    runs, options = sweep
    teacher, store = runs[-1].teacher, Store(options.results)
    store.keep_weights(teacher.id, weights.to_bytes(build(teacher.student, 10)))  # then its process was killed
    assert runner.run(runs, options) == []
    assert {record.status for record in store.latest().values()} == {"done"}
    assert teacher.id in store.latest()


def test_a_sweep_that_cannot_write_its_results_ends_without_a_record_for_any_run(sweep, monkeypatch):
    runs, options = sweep
    store = Store(options.results)

    class FullOfWeights(FullDisk):
        """A disk with room for small files only."""

        def open(self, path, mode, *rest, **more):
            self.n = self.count + 1 if path.parent.name == "weights" else 10**6
            return super().open(path, mode, *rest, **more)

    FullOfWeights(1).install(monkeypatch)
    with pytest.raises(WriteError, match="weights"):
        runner.run(runs, options)
    assert list(store.records()) == []


@pytest.mark.parametrize("hook", ["__init__", "stages"])
def test_a_method_that_ends_the_process_while_the_sweep_is_planned_is_bad_input(sweep, isolated_registry, hook):
    def leave(self, *_, **__):
        raise SystemExit(3)

    registry.register("leaver")(type("Leaver", (Method,), {hook: leave}))
    run = sweep[0][-1].model_copy(update={"method": "leaver", "knobs": {}})
    shape = plan.models.shape("resnet8", 10)
    with pytest.raises(BadInput, match="SystemExit: 3"):
        plan.why_unfit(run, shape, shape)
