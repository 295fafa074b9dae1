"""A method that changes what other lanes read is found when its step is called, before anything of it is recorded."""

from dataclasses import replace

import pytest
import torch.nn.functional as F
from lanes import LONG, a_lane, assert_equal, state, trained
from tape import CALLED, MACHINE

from benchmark.conformance.trial import PAIRS, Trial
from benchmark.training.context import SharedTensorChanged
from benchmark.training.loop import train
from methods import registry
from methods.contract import Method

pytestmark = pytest.mark.usefixtures("torch_only")


@pytest.fixture
def changing(isolated_registry):
    """A method that changes the teacher's logits in place."""

    @registry.register("changing")
    class Changing(Method):
        def loss(self, s, t, batch):
            t.logits.mul_(2)
            return {"ce": F.cross_entropy(s.logits, batch.y)}

    return "changing"


def test_where_steps_are_replayed_the_first_step_finds_it(changing, tmp_path):
    lane = a_lane(Trial(changing, *PAIRS[0], tmp_path))
    with pytest.raises(SharedTensorChanged, match="teacher's outputs"):
        trained(lane)
    assert lane.steps == 0
    assert lane.graphed_step.summary()["recorded"] == 0


def test_the_others_end_as_if_each_had_trained_alone_without_replays(changing, tmp_path):
    trial = Trial("kd", *PAIRS[0], tmp_path)
    others = [replace(trial, method=name).run for name in (changing, "hint")]
    cohort = [run.model_copy(update={"recipe": LONG}) for run in (others[0], trial.run, others[1])]
    context = replace(trial.context(), machine=MACHINE)
    records = train(cohort, context)
    assert [record.status for record in records] == ["failed", "done", "done"]
    for run in cohort[1:]:
        alone = replace(trial.context(), machine=CALLED)
        train([run], alone)
        left, right = (each.store.weights(run.id).read_bytes() for each in (context, alone))
        assert left == right


def test_the_check_does_not_keep_a_step_from_being_replayed_with_the_same_weights(tmp_path):
    trial = Trial("kd", *PAIRS[0], tmp_path)
    called, replayed = (trained(a_lane(trial, machine)) for machine in (CALLED, MACHINE))
    assert_equal(state(replayed), state(called))
    assert replayed.graphed_step.summary()["replayed"] > 10
