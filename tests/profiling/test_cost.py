"""The price of a method: its record, the turns in which it is timed, the memory of a step."""

import itertools
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from benchmark import models
from benchmark.acceleration.machine import FrozenNet, Machine
from benchmark.conformance.trial import RECIPE, Trial, images
from benchmark.data import datasets
from benchmark.experiment.run import Run, Steps
from benchmark.profiling import cost, cost_parts, cost_plan, speed, timing
from benchmark.profiling.memory import peak_bytes
from benchmark.store import Record, Store
from benchmark.sweep.options import Options
from benchmark.training import weights
from methods import Method, Stage, Unfit, register, registry

CPU = torch.device("cpu")
HERE = Machine(CPU, "fp32")
PARTS = ("plain_ms", "teacher_ms", "method_ms")


@pytest.fixture
def options(tmp_path, monkeypatch):
    """How to measure: a few random images, two rounds, results of one's own."""
    monkeypatch.setattr(datasets, "load", lambda *_: images())
    monkeypatch.setattr(timing, "LEAST", 2)
    monkeypatch.setattr(timing, "SECONDS_EACH", 0.0)
    return Options("trial", tmp_path / "results", tmp_path, device="cpu", quiet=True)


def runs(*methods, **changes):
    """The runs of a suite with these methods on one pair."""
    trials = [Trial(method, "resnet14", "resnet8", None) for method in methods]
    return [trial.run.model_copy(update=changes) for trial in trials]


def by_method(records):
    """method -> its record."""
    return {record.run["method"]: record for record in records}


def files(options):
    """Everything in the folder of results."""
    return sorted(path.name for path in options.results.rglob("*") if path.is_file())


# ---- the record
def test_a_cost_is_kept_beside_the_run_and_leaves_nothing_else_behind(options):
    found = cost.measure(runs("ce", "kd"), options)
    assert files(options) == sorted(f"{run.id}-1-cost.json" for run in runs("ce", "kd"))
    assert {record.id for record in found} == {run.id for run in runs("ce", "kd")}
    assert all(record.kind == "cost" and Run.model_validate(record.run).id == record.id for record in found)
    assert Store(options.results).latest() == {}


def test_a_step_is_the_sum_of_the_plain_students_the_teachers_and_the_methods_own_part(options):
    found = by_method(cost.measure(runs("ce", "kd", "sp"), options))
    for record in found.values():
        clock = record.clock
        assert sum(clock[part] or 0.0 for part in PARTS) == pytest.approx(clock["step_ms"])
        assert clock["step_ms"] == min(clock["all"]["step_ms"]) <= clock["medians"]["step_ms"]
        assert (clock["batch"], clock["steps"], clock["rounds"]) == (10, 2, 2)
        assert all(len(times) == 2 for times in clock["all"].values())
        assert "overlapped_ms" not in clock, "on a CPU the teacher never computes beside a step"
    assert found["ce"].clock["teacher_ms"] is None and found["ce"].clock["method_ms"] == 0
    assert found["kd"].clock["plain_ms"] == found["sp"].clock["plain_ms"] == found["ce"].clock["step_ms"]


def test_buffers_are_as_large_as_training_on_the_whole_set_makes_them(options):
    (record,) = cost.measure(runs("crd"), options)
    n, width = len(images().train_y), 128
    assert n > 20, "more than the two batches of ten that are timed"
    assert record.size["buffers"] == 2 * n * width + 2, "two memories of the training set, and two constants"


def test_training_counts_the_students_forward_three_times_and_the_teachers_once(options):
    found = by_method(cost.measure(runs("ce", "kd"), options))
    own, taught = found["ce"].size, found["kd"].size
    assert own["training_macs"] == 3 * own["macs"]
    assert taught["training_macs"] == 3 * own["macs"] + taught["teacher_macs"] and taught["teacher_macs"] > 0
    assert taught["peak_bytes"] > own["peak_bytes"] > 3 * 4 * own["student"]  # weights, gradients, momentum


def test_a_method_of_several_stages_is_timed_in_each(options):
    record = cost.measure(runs("fitnets"), options)[0]
    assert list(record.clock["stages"]) == ["hint"] and record.clock["stages"]["hint"] > 0


def test_what_a_cost_was_made_by_is_told(options):
    record = cost.measure(runs("kd"), options)[0]
    assert record.provenance["source"] == registry.digest("kd")
    assert (record.provenance["precision"], record.provenance["suite"]) == ("fp32", "trial")
    assert record.provenance["device"] and record.provenance["started"] <= record.provenance["ended"]
    assert not {"recording", "recording_of_parts"} & set(record.provenance), "nothing is recorded on a CPU"


def test_nothing_is_drawn_from_the_global_stream(options):
    before = torch.get_rng_state()
    cost.measure(runs("lsh"), options)
    assert torch.get_rng_state().equal(before)


# ---- what is measured
def test_what_has_a_cost_is_not_measured_again(options):
    assert len(cost.measure(runs("ce", "kd"), options)) == 2
    assert cost.measure([*runs("ce", "kd"), *runs("ce", "kd", seed=1)], options) == []
    assert list(by_method(cost.measure(runs("ce", "kd", "sp"), options))) == ["sp"]


def test_a_method_of_new_source_is_measured_again(options, monkeypatch):
    cost.measure(runs("ce", "kd"), options)
    known = registry.digest
    monkeypatch.setattr(registry, "digest", lambda name: "0" * 12 if name == "kd" else known(name))
    assert [record.name for record in cost.measure(runs("ce", "kd"), options)] == [f"{runs('kd')[0].id}-2"]


def test_the_lowest_seed_stands_for_all(options):
    found = cost.measure([*runs("ce", seed=2), *runs("ce", seed=1)], options)
    assert [record.run["seed"] for record in found] == [1]


def test_runs_whose_steps_cost_the_same_are_alike():
    other = RECIPE.model_copy(update={"batch": 20})
    rate = RECIPE.model_copy(update={"lr": 0.5, "epochs": 9, "schedule": Steps(at=(7.0,))})
    found = [*runs("kd"), *runs("kd", seed=1, judge="holdout", recipe=rate), *runs("kd", recipe=other), *runs("sp")]
    pairs = itertools.combinations(found, 2)
    assert [a.cost_key == b.cost_key for a, b in pairs] == [True, False, False, False, False, False]


def test_students_without_a_teacher_are_timed_beside_those_with_one():
    other = [run.model_copy(update={"teacher": runs("kd", seed=9)[0].teacher}) for run in runs("kd")]
    other[0] = other[0].model_copy(update={"teacher": other[0].teacher.model_copy(update={"seed": 5})})
    groups = cost_plan.group_by_pair([*runs("ce"), *runs("kd"), *other, *runs("ce", student="resnet14")])
    assert [[run.method for run in group] for group in groups] == [["kd", "ce"], ["kd"], ["ce"]]


def test_a_teachers_kept_weights_are_used_and_fresh_ones_where_there_are_none(options, monkeypatch):
    asked = []
    fresh = speed.untrained_teacher
    monkeypatch.setattr(speed, "untrained_teacher", lambda *words: asked.append(1) or fresh(*words))
    cost.measure(runs("kd"), options)
    assert asked == [1]
    taught = runs("sp")[0].teacher
    Store(options.results).keep_weights(taught.id, weights.to_bytes(models.build(taught.student, 10)))
    assert len(cost.measure(runs("sp"), options)) == 1 and asked == [1]


def test_what_raises_is_left_out_with_a_sentence_and_what_is_unfit_without(options, isolated_registry, capsys):
    @register("outside_raises")
    class Raises(Method):
        def loss(self, s, t, batch):
            raise RuntimeError("no more ideas")

    @register("outside_unfit")
    class Refuses(Method):
        def prepare(self, student, teacher, sweep):
            raise Unfit("wants another pair")

    found = cost.measure(runs("ce", "outside_raises", "outside_unfit", "kd"), options)
    assert sorted(by_method(found)) == ["ce", "kd"]
    told = capsys.readouterr().err
    assert "outside_raises" in told and "RuntimeError: no more ideas" in told and "outside_unfit" not in told


def test_where_nothing_can_be_measured_nothing_is_timed(options, isolated_registry, monkeypatch, capsys):
    @register("outside_raises")
    class Raises(Method):
        def loss(self, s, t, batch):
            raise RuntimeError("no more ideas")

    monkeypatch.setattr(cost, "time_in_turn", lambda *_: pytest.fail("something was timed"))
    assert cost.measure(runs("outside_raises"), options) == []
    assert "no more ideas" in capsys.readouterr().err


def test_a_run_that_is_known_to_be_unfit_is_not_tried(options, monkeypatch):
    (run,) = runs("kd")
    Store(options.results).add(Record(id=run.id, status="unfit", run=run.model_dump(mode="json")))
    monkeypatch.setattr(datasets, "load", lambda *_: pytest.fail("something was tried"))
    assert cost.measure([run], options) == []


def test_what_raises_after_a_while_is_left_out_too(options, isolated_registry, capsys):
    @register("outside_tires")
    class Tires(Method):
        left = 6

        def loss(self, s, t, batch):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("tired")
            return {"ce": F.cross_entropy(s.logits, batch.y)}

    assert list(by_method(cost.measure(runs("outside_tires", "kd"), options))) == ["kd"]
    assert "RuntimeError: tired" in capsys.readouterr().err


# ---- the turns
def walk_of(name, order):
    """A walk that notes its name for each batch."""
    return lambda batches: order.extend(name for _ in batches)


def test_every_stage_of_all_takes_its_turn_in_every_round_after_all_have_warmed_up(monkeypatch):
    monkeypatch.setattr(timing, "LEAST", 3)
    monkeypatch.setattr(timing, "SECONDS_EACH", 0.0)
    order, timed = [], []
    real = timing.time_walk
    monkeypatch.setattr(timing, "time_walk", lambda *given: timed.append(len(order)) or real(*given))
    walks = {"a": {"one": walk_of("a1", order), "two": walk_of("a2", order)}, "b": {"one": walk_of("b1", order)}}
    times, faults = timing.time_in_turn(walks, [1, 2, 3], HERE)
    assert [name for name, _ in itertools.groupby(order)] == ["a1", "a2", "b1"] * (timing.WARMUP_ROUNDS + 3)
    assert timed[0] == timing.WARMUP_ROUNDS * 3 * 3, "all are warm before the first is timed"
    assert order[timed[0] :].count("b1") == 3 * (HERE.teacher_batches + 3), "an untimed group, then all three"
    assert {who: {stage: len(own) for stage, own in stages.items()} for who, stages in times.items()} == {
        "a": {"one": 3, "two": 3},
        "b": {"one": 3},
    }
    assert not faults


def test_what_raises_while_it_warms_up_is_not_timed():
    order = []

    def broken(batches):
        raise ArithmeticError("no")

    times, faults = timing.time_in_turn({"a": {"": broken}, "b": {"": walk_of("b", order)}}, [1], HERE)
    assert list(times) == ["b"] and times["b"][""]
    assert isinstance(faults["a"], ArithmeticError)


# ---- as in training
@pytest.mark.parametrize(("ahead", "group"), [(1, 1), (2, 2), (3, 2)])
def test_the_teacher_is_timed_as_in_training_for_several_batches_at_once(options, monkeypatch, ahead, group):
    monkeypatch.setattr(Machine, "teacher_batches", property(lambda self: ahead))
    sizes, forward, time_in_turn = [], FrozenNet.forward, timing.time_in_turn

    def timed(*given):
        sizes.clear()
        found = time_in_turn(*given)
        sizes.append("end")
        return found

    monkeypatch.setattr(FrozenNet, "forward", lambda self, x: sizes.append(len(x)) or forward(self, x))
    monkeypatch.setattr(cost, "time_in_turn", timed)
    (record,) = cost.measure(runs("kd"), options)
    assert set(sizes[: sizes.index("end")]) == {10 * group}, "24 images have two full batches of ten"
    assert (record.clock["teacher_batches"], record.clock["steps"]) == (group, 2)


def test_a_round_has_whole_groups_of_the_teachers_batches(monkeypatch):
    for ahead, steps in ((1, 10), (2, 10), (4, 12), (16, 16)):
        monkeypatch.setattr(Machine, "teacher_batches", property(lambda self, ahead=ahead: ahead))
        assert timing.round_steps(Machine(torch.device("cuda"), "fp32")) == steps
        full = [SimpleNamespace(y=range(8))] * 21
        batches = [*full, SimpleNamespace(y=range(3))]
        assert len(cost.whole_groups(batches, HERE)) == 21 // ahead * ahead
        assert len(cost.whole_groups(full[: ahead - 1] or full[:1], HERE)) == max(ahead - 1, 1), "fewer than a group"


def test_memory_is_given_back_after_every_pair_and_every_record(options, monkeypatch):
    order = []
    monkeypatch.setattr(Machine, "free_memory", lambda self: order.append("free"))
    real = cost.cost_record
    monkeypatch.setattr(cost, "cost_record", lambda *given: order.append("record") or real(*given))
    other = [run.model_copy(update={"teacher": runs("kd", seed=9)[0].teacher}) for run in runs("kd")]
    other[0] = other[0].model_copy(update={"teacher": other[0].teacher.model_copy(update={"student": "resnet20"})})
    assert len(cost.measure([*runs("kd", "sp"), *other], options)) == 3
    assert order == ["record", "free", "record", "free", "free", "record", "free", "free"]


def test_a_stage_is_timed_as_in_its_last_epoch_with_what_earlier_ones_gathered(options, isolated_registry):
    seen = []

    @register("outside_gathers")
    class Gathers(Method):
        def __init__(self, student, teacher):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def stages(self, epochs):
            return [Stage("never", 0, self.loss), Stage("first", 2, self.loss), Stage("last", epochs, self.loss)]

        def begin_epoch(self, clock):
            seen.append((clock.stage, clock.epoch, int(self.count)))

        def observe(self, s, t, batch):
            self.count += 1

        def loss(self, s, t, batch):
            return {"ce": F.cross_entropy(s.logits, batch.y)}

    record = cost.measure(runs("outside_gathers"), options)[0]
    assert seen == [("first", 0, 0), ("first", 1, 2), ("last", 0, 0), ("last", 2, 2)]
    assert list(record.clock["stages"]) == ["first"]


def test_the_parts_of_a_step_are_those_of_their_best_rounds():
    own = {"hint": [7.0, 6.0], "distill": [20.0, 18.0]}
    clock = cost_parts.clock_fields(own, [10.0, 11.0], [4.0, 3.0])
    assert [clock[word] for word in ("step_ms", *PARTS)] == [18, 10, 3, 5]
    assert clock["medians"] == {"step_ms": 19, "plain_ms": 10.5, "teacher_ms": 3.5}
    assert (clock["stages"], clock["rounds"], clock["all"]["plain_ms"]) == ({"hint": 6}, 2, [10, 11])
    assert cost_parts.clock_fields({"distill": [9.0]}, [10.0], None)["method_ms"] == -1  # noise is kept


# ---- memory
def test_peak_memory_is_that_of_the_tensors_alive_at_once():
    def step():
        a = torch.zeros(1000)  # 4,000 bytes
        b = torch.zeros(500)  # 2,000: 6,000 now, the most
        part = a[:10].view(2, 5)  # a view: nothing
        part.add_(1), b.mul_(2)  # in place: nothing
        del a  # its view keeps it
        del part  # 2,000 now
        c = torch.zeros(900, dtype=torch.bfloat16)  # 1,800: 3,800
        return b, c

    assert peak_bytes(step, [], CPU) == 6000


def test_peak_memory_counts_what_a_step_finds_until_it_frees_it():
    held = [torch.zeros(1000), torch.zeros(100)]
    held.append(held[1][:50])  # a view: nothing

    def step():
        torch.zeros(10)  # 4,440, the most
        del held[0]  # 400
        return torch.zeros(1000)  # 4,400

    assert peak_bytes(step, (held[i] for i in range(3)), CPU) == 4440


def test_peak_memory_of_a_training_step_is_what_one_counts_by_hand():
    layer, x = torch.nn.Linear(100, 200, bias=False), torch.zeros(50, 100)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)

    def step():
        optimiser.zero_grad(set_to_none=True)
        y = layer(x).relu()
        y.backward(torch.ones(50, 200))
        optimiser.step()

    step()
    lane = SimpleNamespace(
        run=SimpleNamespace(teacher=None), student=layer, method=torch.nn.Identity(), optimiser=optimiser
    )
    batch = SimpleNamespace(x=x, y=torch.zeros(0), index=torch.zeros(0))
    weight, images, hidden = 4 * 100 * 200, 4 * 50 * 100, 4 * 50 * 200
    assert (
        sum(tensor.nbytes for tensor in timing.live_tensors(lane, batch)) == 3 * weight + images
    )  # gradient, momentum
    # The old gradient goes first.  When the new one has just come there are besides: the ReLU's result, the gradient
    # with respect to it, and that before the ReLU.
    assert peak_bytes(step, timing.live_tensors(lane, batch), CPU) == 3 * weight + images + 3 * hidden
