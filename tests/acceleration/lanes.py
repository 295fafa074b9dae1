"""What the tests of lanes on several machines share: recipes, methods, lanes that have trained, and their state."""

from dataclasses import replace

from tape import MACHINE

from benchmark.conformance.trial import PAIRS, RECIPE, train_one_epoch
from benchmark.experiment.run import Cosine, Steps
from benchmark.training.lane import Lane
from methods import registry

LONG = RECIPE.model_copy(update={"epochs": 12, "batch": 5, "schedule": Steps(at=(4.0, 9.0))})  # 60 steps, 48 full
SHORT = LONG.with_epochs(6)
COSINE = LONG.model_copy(update={"schedule": Cosine(warmup=2), "nesterov": True})
SETTINGS = (
    *((name, {}) for name in registry.names()),
    ("sp+kd", {}),
    ("kda", {"landmarks": "random", "m": 4, "warm": 1}),
    ("lsh", {"variant": "lshl2"}),
    ("lp", {"at": -1}),
)


def pair_of(method):
    """A pair of networks that a method serves, of different widths where it can."""
    return PAIRS[0] if method == "fsp" else PAIRS[1]


def a_lane(trial, machine=MACHINE, recipe=LONG, context=None, **changes):
    """A lane of the trial's run, set up on a machine, by default one that replays."""
    run = replace(trial, changes=changes).run.model_copy(update={"recipe": recipe})
    lane = Lane(run, context or replace(trial.context(), machine=machine))
    lane.setup()
    return lane


def trained(lane, epochs=None):
    """The lane after its epochs, or after some of them."""
    for _ in range(lane.epoch, epochs or lane.epochs):
        train_one_epoch(lane)
    return lane


def state(lane):
    """Everything that training has changed: weights, statistics, the state of method and optimiser."""
    modules = {"student": lane.student, "method": lane.method}
    found = {f"{who}.{name}": v for who, module in modules.items() for name, v in module.state_dict().items()}
    for place, values in enumerate(lane.optimiser.state.values()):
        found |= {f"optimiser.{place}.{name}": value for name, value in values.items()}
    return found


def assert_equal(one, other):
    """Bit for bit."""
    assert one.keys() == other.keys()
    assert not [name for name, value in one.items() if not value.equal(other[name])]
