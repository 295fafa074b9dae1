"""Steps that are replayed leave the weights that steps carried out leave, bit for bit; and are replayed only then."""

import gc
import warnings
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tape import MACHINE, Tape, Written

from benchmark import models
from benchmark.acceleration import cuda_graphs
from benchmark.acceleration.cuda_graphs import MAX_UNSTEADY_STEPS, WARMUP_STEPS, GraphedFunction, Recorder
from benchmark.acceleration.feed import BatchFeed
from benchmark.acceleration.guards import Guard
from benchmark.acceleration.machine import Machine
from benchmark.conformance.trial import CPU, PAIRS, RECIPE, Trial
from benchmark.experiment.run import Cosine, Steps
from benchmark.training.lane import Lane
from benchmark.training.loop import steps, train
from methods import registry
from methods.contract import Method

LONG = RECIPE.model_copy(update={"epochs": 12, "batch": 5, "schedule": Steps(at=(4.0, 9.0))})  # 60 steps, 48 full
COSINE = LONG.model_copy(update={"schedule": Cosine(warmup=2), "nesterov": True})
SETTINGS = (
    *((name, {}) for name in registry.names()),
    ("sp+kd", {}),
    ("kda", {"landmarks": "random", "m": 4, "warm": 1}),
    ("lsh", {"variant": "lshl2"}),
    ("lp", {"at": -1}),
)


def a_lane(trial, machine=MACHINE, recipe=LONG, context=None, **changes):
    """A lane of the trial's run that has boarded, on a machine that replays."""
    run = replace(trial, changes=changes).run.model_copy(update={"recipe": recipe})
    lane = Lane(run, context or replace(trial.context(), machine=machine))
    lane.setup()
    return lane


def flown(lane, epochs=None):
    """The lane after its epochs."""
    for epoch in range(lane.epoch, epochs or lane.epochs):
        lane.begin_epoch(epoch)
        for _ in steps([lane], epoch):
            pass
        lane.end_epoch(1.0, 1)
    return lane


def state(lane):
    """All that training has made: weights, statistics, what the method has gathered, momentum."""
    modules = {"student": lane.student, "method": lane.method}
    found = {f"{who}.{name}": v for who, module in modules.items() for name, v in module.state_dict().items()}
    momentum = enumerate(lane.optimiser.state.values())
    return found | {f"momentum.{place}": each["momentum_buffer"] for place, each in momentum}


def assert_equal(one, other):
    """Bit for bit."""
    assert one.keys() == other.keys()
    unlike = [name for name, value in one.items() if not value.equal(other[name])]
    assert not unlike


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


class Plain(Method):
    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


# ---- exactness
@pytest.mark.parametrize("recipe", [LONG, COSINE], ids=["steps", "cosine"])
@pytest.mark.parametrize(("method", "changes"), SETTINGS, ids=str)
def test_after_sixty_steps_replayed_weights_equal_those_carried_out(method, changes, recipe, tmp_path):
    trial = Trial(method, *PAIRS[1], tmp_path)
    plain, taped = (flown(a_lane(trial, machine, recipe, **changes)) for machine in (CPU, MACHINE))
    assert_equal(state(taped), state(plain))
    assert taped.curve == plain.curve
    assert plain.graphed_step.summary() is None
    told = taped.graphed_step.summary()
    assert not told["reason"]
    assert told["replayed"] > 20 or method == "fitnets", "its weight changes with every epoch: 4 full batches each"


def test_a_cohort_replayed_equals_each_lane_carried_out_alone(trial):
    others = [replace(trial, method=name).run for name in ("ce", "hint", "kda")]
    cohort = [run.model_copy(update={"recipe": LONG}) for run in (trial.run, *others)]
    context = replace(trial.context(), machine=MACHINE)
    for record in train(cohort, context):
        assert record.status == "done", record.error
        assert record.provenance["graphs"] is True
        assert record.provenance["recording"]["replayed"] > 20
    for run in cohort:
        alone = trial.context()
        train([run], alone)
        left, right = (each.store.weights(run.id).read_bytes() for each in (context, alone))
        assert left == right


def test_a_flight_taken_up_again_is_recorded_anew_and_ends_the_same(trial):
    broken = replace(trial.context(), machine=MACHINE, checkpoint_interval=0.0)
    run = trial.run.model_copy(update={"recipe": LONG})
    first = Lane(run, broken)
    first.board()
    flown(first, 5)
    second = Lane(run, broken)
    second.board()
    assert second.epoch == 5
    assert_equal(state(flown(second)), state(flown(a_lane(trial, CPU))))
    assert second.graphed_step.summary()["recorded"] == 1


def test_a_flight_of_a_machine_without_graphs_goes_on_with_them(trial):
    broken = replace(trial.context(), checkpoint_interval=0.0)
    run = trial.run.model_copy(update={"recipe": COSINE})
    first = Lane(run, broken)
    first.board()
    flown(first, 3)
    second = Lane(run, replace(broken, machine=MACHINE))
    second.board()
    assert second.epoch == 3
    assert_equal(state(flown(second)), state(flown(a_lane(trial, CPU, COSINE))))


# ---- when it is recorded
def test_a_step_is_recorded_once_and_again_when_the_methods_phase_changes(tmp_path):
    lane = flown(a_lane(Trial("kda", *PAIRS[0], tmp_path), warm=6))
    assert lane.graphed_step.summary()["recorded"] == 2, "cross-entropy alone; then with the kernel's term"
    assert flown(a_lane(Trial("kd", *PAIRS[0], tmp_path))).graphed_step.summary()["recorded"] == 1


def test_each_stage_and_each_weight_is_recorded_anew(tmp_path):
    lane = flown(a_lane(Trial("fitnets", *PAIRS[0], tmp_path)))
    assert lane.graphed_step.summary()["recorded"] == 1 + 11, (
        "the hint stage once; then a weight that falls with every epoch"
    )


def test_the_teacher_is_recorded_once_for_all(trial):
    lane = flown(a_lane(trial))
    assert lane.context.feed._look.summary()["recorded"] == 1
    assert lane.context.feed._look.replayed > 15, "two batches at once, two times in an epoch"


def test_terms_of_an_earlier_phase_do_not_stand_in_later_epochs(tmp_path):
    lane = flown(a_lane(Trial("fitnets", *PAIRS[0], tmp_path)))
    first = lane.curve["stage"].count("hint")
    assert lane.curve["loss"]["hint"][first:] == [None] * 12
    assert lane.curve["loss"]["ce"][:first] == [None] * first


# ---- what cannot be recorded goes on as it is
def left_alone(trial, name, method):
    """What is told of a lane whose method cannot be recorded; it ends as it would without."""
    registry.register(name)(method)
    own = replace(trial, method=name)
    taped, plain = flown(a_lane(own)), flown(a_lane(own, CPU))
    assert_equal(state(taped), state(plain))
    assert taped.curve == plain.curve
    return taped.graphed_step.summary()


@pytest.fixture
def many(monkeypatch):
    """So few images have steps enough in an epoch."""
    monkeypatch.setattr(cuda_graphs, "MAX_UNSTEADY_STEPS", 3)


def test_a_method_that_reads_a_value_to_python_is_carried_out(trial, shelf, many):
    class Reader(Plain):
        def loss(self, s, t, batch):
            ce = F.cross_entropy(s.logits, batch.y)
            return {"ce": ce, "more": ce * (0.1 if ce.item() > 2 else 0.2)}

    told = left_alone(trial, "reader", Reader)
    assert told["recorded"] == 0
    assert "waits for the device" in told["reason"]


def test_a_method_that_counts_in_python_is_carried_out(trial, shelf, many):
    class Counter(Plain):
        steps = 0

        def observe(self, s, t, batch):
            self.steps += 1

        def loss(self, s, t, batch):
            return super().loss(s, t, batch) | {"more": s.logits.square().mean() / (1 + self.steps)}

    told = left_alone(trial, "counter", Counter)
    assert told["recorded"] == 0
    assert "moves in Python" in told["reason"]


def test_a_method_that_puts_its_buffers_elsewhere_is_carried_out(trial, shelf, many):
    class Mover(Plain):
        def __init__(self, student, teacher):
            super().__init__()
            self.register_buffer("mean", torch.zeros(student.logits))

        def observe(self, s, t, batch):
            self.mean = 0.9 * self.mean + 0.1 * s.logits.mean(0)

        def loss(self, s, t, batch):
            return super().loss(s, t, batch) | {"more": (s.logits - self.mean).square().mean()}

    assert left_alone(trial, "mover", Mover)["recorded"] == 0


def test_a_method_that_gathers_in_a_list_is_carried_out(trial, shelf, many):
    class Gatherer(Plain):
        def __init__(self, student, teacher):
            super().__init__()
            self.kept = []

        def observe(self, s, t, batch):
            self.kept = [*self.kept, s.logits.mean(0)][-3:]

        def loss(self, s, t, batch):
            past = sum(self.kept) if self.kept else 0.0
            return super().loss(s, t, batch) | {"more": (s.logits - past).square().mean()}

    assert left_alone(trial, "gatherer", Gatherer)["recorded"] == 0


def test_a_student_with_dropout_is_carried_out(trial, monkeypatch):
    def build(name, classes, real=models.build):
        net = real(name, classes)
        net.embed = torch.nn.Dropout(0.5)
        return net

    monkeypatch.setattr(models, "build", build)
    lane = flown(a_lane(trial), 2)
    assert lane.graphed_step.recorded == 0
    assert "dropout" in lane.graphed_step.summary()["reason"]


def test_an_optimiser_that_reads_its_rate_in_python_is_carried_out(trial):
    recipe = LONG.model_copy(update={"optimiser": "rmsprop", "lr": 0.001})
    taped, plain = (a_lane(trial, machine, recipe) for machine in (MACHINE, CPU))
    for lane in (taped, plain):
        for epoch in range(3):
            lane.begin_epoch(epoch)
            for _ in steps([lane], epoch):
                pass
            lane.end_epoch(1.0, 1)
    assert taped.student.head.weight.equal(plain.student.head.weight)
    assert "rmsprop" in taped.graphed_step.summary()["reason"]


def test_what_fails_while_it_is_recorded_is_carried_out(monkeypatch, trial):
    tried = []

    def spoilt(self, action):
        tried.append(action)
        raise RuntimeError("capture failed\nwith a long trace")

    monkeypatch.setattr(Tape, "capture", spoilt)
    plain = replace(trial, method="ce")
    taped = flown(a_lane(plain))
    assert_equal(state(taped), state(flown(a_lane(plain, CPU))))
    assert taped.graphed_step.summary() == {
        "recorded": 0, "replayed": 0, "reason": "it could not be recorded: RuntimeError: capture failed",
    }  # fmt: skip
    assert len(tried) == 1, "what failed once is not tried again at every step"


def test_a_run_too_short_to_be_recorded_says_so(trial):
    lane = flown(a_lane(trial, recipe=LONG.model_copy(update={"batch": 24})), 2)
    assert "never steady" in lane.graphed_step.summary()["reason"]


def test_the_teacher_is_asked_for_batches_together_and_answers_as_for_each(trial):
    context = trial.context()
    batches = list(context.train_split.in_order(5))
    sizes = []

    def look(x):
        sizes.append(len(x))
        return context.teacher.forward(x)

    for recorder in (None, Tape):
        found = BatchFeed(look, 2, recorder).batches(batches)
        for batch, (given, t) in zip(batches, found, strict=True):
            assert given.x.equal(batch.x) and given.y.equal(batch.y) and given.index.equal(batch.index)
            alone = context.teacher.forward(batch.x)
            assert t.logits.equal(alone.logits) and t.embedding.equal(alone.embedding)
            assert all(one.equal(other) for one, other in zip(t.maps, alone.maps, strict=True))
    assert sizes == [10, 10, 4] * 2, "24 images in batches of 5, the last of 4"
    assert [t for _, t in BatchFeed(look, 2).batches(batches, taught=False)] == [None] * 5


def test_memory_that_runs_out_while_recording_is_not_taken_for_a_fault_of_the_method(monkeypatch):
    def spoilt(self, action):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(Tape, "capture", spoilt)
    given = object()
    steady = GraphedFunction(lambda x: x, Guard, Tape())
    steady.begin()
    with pytest.raises(torch.OutOfMemoryError):
        for _ in range(WARMUP_STEPS + 2):
            steady(given)


# ---- the stand-in is strict
def test_the_tape_bakes_in_what_python_held_and_does_nothing_while_it_records():
    total, weight = torch.zeros(3), 2.0

    def action():
        total.add_(torch.ones(3) * weight)

    replay, _ = Tape().record(action)
    assert total.tolist() == [0, 0, 0]
    weight = 5.0
    replay(), replay()
    assert total.tolist() == [4, 4, 4]


def test_the_tape_refuses_what_waits_for_the_device():
    with pytest.raises(RuntimeError, match="not permitted"):
        Tape().record(lambda: torch.ones(2).sum().item())


# ---- CUDA's own recorder, told from what it asks of torch
@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda without a device: what it is asked, in order."""
    asked, current, modes = [], [SimpleNamespace(name="main")], ["default"]

    class Stream:
        def __init__(self, device):
            self.name = "own"

        def wait_stream(self, other):
            asked.append(f"{self.name} waits for {other.name}")

    current[0].wait_stream = lambda other: Stream.wait_stream(current[0], other)

    @contextmanager
    def stream(chosen):
        current.append(chosen)
        yield
        current.pop()

    @contextmanager
    def graph(found, stream):
        asked.append(f"records on {stream.name}, collecting garbage: {gc.isenabled()}")
        with Written() as written:
            yield
        written.undo()
        found.replay = written.replay

    fakes = {
        "Stream": Stream, "stream": stream, "graph": graph, "CUDAGraph": SimpleNamespace,
        "current_stream": lambda device: current[-1],
        "get_sync_debug_mode": lambda: modes[-1], "set_sync_debug_mode": modes.append,
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return SimpleNamespace(asked=asked, current=current, modes=modes)


def test_work_goes_to_a_stream_of_its_own_after_what_came_before(cuda):
    recorder = Recorder(torch.device("cuda"))
    with recorder.on_own_stream():
        assert cuda.current[-1].name == "own"
    assert cuda.current[-1].name == "main"
    recorder.join()
    assert cuda.asked == ["own waits for main", "main waits for own"]


def test_nothing_waits_for_a_worker_that_was_told_nothing(cuda):
    belt = BatchFeed(None, 1, lambda: Recorder(torch.device("cuda")))
    one, _ = (belt.graphed(lambda: None, Guard) for _ in range(2))
    one()
    belt.join(), belt.join()
    assert cuda.asked == ["own waits for main", "main waits for own"]


def test_it_records_on_that_stream_while_no_garbage_is_collected(cuda):
    recorder, total = Recorder(torch.device("cuda")), torch.zeros(2)
    with recorder.on_own_stream():
        replay, result = recorder.capture(lambda: total.add_(1))
    assert cuda.asked[-1] == "records on own, collecting garbage: False"
    assert gc.isenabled()
    assert result is total
    assert total.tolist() == [0, 0]
    replay()
    assert total.tolist() == [1, 1]
    with pytest.raises(ZeroDivisionError):
        recorder.capture(lambda: 1 / 0)
    assert gc.isenabled()


def test_it_notes_what_waits_and_passes_other_warnings_on(cuda):
    recorder = Recorder(torch.device("cuda"))
    with pytest.warns(UserWarning, match="something else"), recorder.detect_syncs() as waits:
        assert cuda.modes[-1] == "warn"
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert waits == ["called a synchronizing CUDA operation"]
    assert cuda.modes[-1] == "default"


def test_a_whole_run_through_cudas_recorder_equals_one_carried_out(cuda, trial):
    lane = flown(a_lane(trial, Streamed(torch.device("cpu"), "fp32", graphs=True)))
    assert_equal(state(lane), state(flown(a_lane(trial, CPU))))
    assert lane.graphed_step.summary()["replayed"] > 20
    assert sum(words.startswith("records") for words in cuda.asked) == 2, "the teacher and the lane"


class Streamed(Machine):
    """A CPU that takes CUDA's recorder for its own."""

    def recorder(self):
        return Recorder(self.device)


# ---- guards
def test_a_nature_sees_every_value_that_python_holds():
    module = torch.nn.Linear(2, 2)
    module.words = {"weight": 1.0, "names": ["a"]}
    before = Guard(module)
    assert before == Guard(module)
    for change in (
        lambda: module.words.update(weight=2.0),
        lambda: module.words["names"].append("b"),
        module.eval,
        lambda: setattr(module, "more", None),
        lambda: module.weight.requires_grad_(False),
        lambda: setattr(module, "bias", torch.nn.Parameter(module.bias.detach().clone())),
    ):
        change()
        after = Guard(module)
        assert before != after
        before = after
    module.weight.data = module.weight.data.clone()
    assert before != Guard(module), "the same tensor, moved"


def test_a_nature_does_not_mind_values_in_tensors_nor_a_module_that_holds_itself():
    module = torch.nn.Linear(2, 2)
    module.others = [module]
    before = Guard(module)
    module.weight.data.fill_(3)
    assert before == Guard(module)


def test_an_action_that_never_calms_down_is_left_alone_after_some_tries():
    state = []
    given = object()
    steady = GraphedFunction(lambda x: state.append(0), lambda: Guard(list(state)), Tape())
    steady.begin()
    for _ in range(MAX_UNSTEADY_STEPS + 3):
        steady(given)
    assert (steady.recorded, len(state)) == (0, MAX_UNSTEADY_STEPS + 3)
    assert "moves in Python" in steady.reason
