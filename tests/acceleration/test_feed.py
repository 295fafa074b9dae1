"""Batches and the teacher's outputs reach the lanes complete, in order, and are overwritten only after use."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from fake_cuda import STREAMED, FakeCuda, RaceDetector
from lanes import LONG, a_lane, assert_equal, state, trained
from tape import CALLED, MACHINE, TapeRecorder

from benchmark.acceleration.cuda_graphs import Recorder
from benchmark.acceleration.feed import BatchFeed
from benchmark.acceleration.graphed_function import Guard
from benchmark.conformance.trial import PAIRS, Trial
from benchmark.training.loop import Callback, Cohort, steps, train

pytestmark = pytest.mark.usefixtures("torch_only")


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    fake.install(monkeypatch)
    return fake


def cohort_of(trial, *methods, epochs=4):
    """Runs of some methods, of a few epochs."""
    recipe = LONG.model_copy(update={"epochs": epochs})
    return [replace(trial, method=name).run.model_copy(update={"recipe": recipe}) for name in methods]


# ---- what comes out
@pytest.mark.parametrize("recorder", [None, TapeRecorder], ids=["plain", "recorded"])
def test_the_teacher_computes_several_batches_at_once_with_the_outputs_of_each(trial, recorder):
    context = trial.context()
    batches = list(context.train_split.in_order(5))
    sizes = []

    def forward(x):
        sizes.append(len(x))
        return context.teacher.forward(x)

    for batch, (given, t) in zip(batches, BatchFeed(forward, 2, recorder).batches(batches), strict=True):
        assert given.x.equal(batch.x) and given.y.equal(batch.y) and given.index.equal(batch.index)
        alone = context.teacher.forward(batch.x)
        assert t.logits.equal(alone.logits) and t.embedding.equal(alone.embedding)
        assert all(one.equal(other) for one, other in zip(t.maps, alone.maps, strict=True))
    assert sizes == [10, 10, 4], "24 images in batches of 5, the last of 4"


@pytest.mark.parametrize("recorder", [None, TapeRecorder], ids=["plain", "recorded"])
def test_without_teaching_there_are_batches_only(trial, recorder):
    context = trial.context()
    batches = list(context.train_split.in_order(5))
    for feed in (BatchFeed(context.teacher.forward, 2, recorder), BatchFeed(None, 2, recorder)):
        found = [(batch.index.tolist(), t) for batch, t in feed.batches(batches, taught=False)]
        assert found == [(batch.index.tolist(), None) for batch in batches]
    assert list(feed.batches([])) == []


@pytest.mark.parametrize(
    ("recorder", "overlap", "ahead"),
    [(None, True, 0), (TapeRecorder, True, 1), (TapeRecorder, False, 0)],
    ids=["plain", "recorded", "recorded without overlap"],
)
def test_the_teacher_is_ahead_of_the_lanes_only_where_steps_are_recorded_and_may_overlap(
    trial, recorder, overlap, ahead
):
    context, asked = trial.context(), []

    def forward(x):
        asked.append(len(x))
        return context.teacher.forward(x)

    batches = context.train_split.in_order(4)
    groups = [len(asked) for _ in BatchFeed(forward, 2, recorder).batches(batches, overlap=overlap)]
    assert groups == [1 + ahead] * 2 + [2 + ahead] * 2 + [3] * 2, "24 images in batches of 4, two at once"


# ---- the order of work on a device
def test_nothing_waits_for_a_lane_that_was_not_called(cuda):
    feed = BatchFeed(None, 1, lambda: Recorder(torch.device("cuda")))
    one, _ = (feed.graphed(lambda: None, Guard) for _ in range(2))
    one()
    feed._join_lanes(), feed._join_lanes()
    assert cuda.log == ["stream 0 waits for main", "main waits for stream 0"]


def races(cuda, trial, methods=("ce", "kd", "fitnets", "kda")):
    """What the detector finds while a cohort trains; the detector, and the context with the results."""
    cohort, context = cohort_of(trial, *methods), replace(trial.context(), machine=STREAMED)
    with RaceDetector(cuda) as detector:
        records = train(cohort, context)
    assert {record.status for record in records} == {"done"}, [record.error for record in records]
    assert all(record.provenance["recording"]["replayed"] > 5 for record in records)
    return detector, context, cohort


def test_no_order_that_the_streams_allow_changes_what_a_cohort_trains(cuda, trial):
    detector, context, cohort = races(cuda, trial)
    assert detector.races == []
    for run in cohort:
        alone = replace(trial.context(), machine=CALLED)
        train([run], alone)
        assert context.store.weights(run.id).read_bytes() == alone.store.weights(run.id).read_bytes()


def test_the_teacher_computes_the_next_group_while_the_lanes_train_on_this_one(cuda, trial):
    detector, _, _ = races(cuda, trial, ("kd", "sp"))
    teacher, *lanes = (f"stream {number}" for number in range(3))
    order = [stream for stream, *_ in detector.launches]
    assert set(order) == {"main", teacher, *lanes}
    free = Counter()  # launches of lanes that are in no order with an earlier one of the teacher
    latest = 0
    for stream, _, number, clock in detector.launches:
        latest = number if stream == teacher else latest
        free[stream] += stream in lanes and clock[teacher] < latest
    for lane in lanes:
        share = free[lane] / order.count(lane)
        assert 0.5 < share < 1, "the teacher has nothing to compute during the last group of an epoch"
    beside = [clock[lanes[0]] for stream, _, _, clock in detector.launches if stream == lanes[1]]
    assert max(beside) > 0 and len(set(beside)) < len(beside) / 10, "lanes work beside each other between two batches"


def test_without_overlap_teacher_and_lane_wait_for_each_other_and_the_weights_are_the_same(cuda, trial):
    context = replace(trial.context(), machine=STREAMED)
    with RaceDetector(cuda) as detector:
        lane = a_lane(trial, context=context)
        for epoch in range(4):
            lane.begin_epoch(epoch)
            batches = context.train_split.epoch(lane.run.seed, epoch, lane.run.recipe)
            for batch, t in context.feed.batches(batches, overlap=False):
                lane.step(batch, t)
            lane.end_epoch(1.0, 1)
    assert detector.races == []
    assert lane.graphed_step.replayed > 5 and context.feed.teacher.replayed > 2
    teacher, own = "stream 0", "stream 1"
    latest = Counter()
    for stream, _, number, clock in detector.launches:
        latest[stream] = number
        if stream in (teacher, own):
            assert all(clock[each] == latest[each] for each in (teacher, own, "main")), "nothing is beside anything"
    assert latest[teacher] and latest[own]
    assert_equal(state(lane), state(trained(a_lane(trial, CALLED), 4)))


@pytest.mark.parametrize("broken", ["_join_lanes", "_finish_teacher", "_start_teacher"])
def test_the_detector_finds_a_feed_that_does_not_wait_or_does_not_copy(cuda, trial, monkeypatch, broken):
    def overwritten(self, pending):
        self.teacher.join()
        return pending[1]

    def unordered(self, group, real=BatchFeed._start_teacher):
        self.teacher.busy = False
        return real(self, group)

    def without_waiting(self, pending, real=BatchFeed._finish_teacher):
        self.teacher.busy = False
        return real(self, pending)

    change = {"_join_lanes": lambda self: None, "_finish_teacher": overwritten, "_start_teacher": unordered}[broken]
    monkeypatch.setattr(BatchFeed, broken, change)
    if broken == "_start_teacher":  # which waits for a pass that was broken off, and else finds nothing to wait for
        monkeypatch.setattr(BatchFeed, "_finish_teacher", without_waiting)
    assert races(cuda, trial, ("kd", "sp"))[0].races


def test_the_detector_finds_memory_that_is_freed_while_another_stream_reads_it(cuda):
    main, other = cuda.current_stream(), cuda.Stream(None)
    with RaceDetector(cuda) as detector:
        for wait in (True, False):
            x = torch.ones(3)
            other.wait_stream(main)
            with cuda.stream(other):
                torch.sin(x)
            if wait:
                main.wait_stream(other)
            del x
            torch.zeros(2)
            assert bool(detector.races) is not wait
    assert "freed too early" in detector.races[0]


def test_an_epoch_that_was_broken_off_leaves_nothing_that_the_next_one_races_with(cuda, trial):
    context = replace(trial.context(), machine=STREAMED)
    with RaceDetector(cuda) as detector:
        broken = a_lane(trial, context=context)
        broken.begin_epoch(0)
        walk = steps([broken], 0)
        next(walk)
        walk.close()
        broken.close()
        del broken
        lane = trained(a_lane(trial, context=context), 4)
    assert detector.races == []
    assert_equal(state(lane), state(trained(a_lane(trial, CALLED), 4)))


# ---- one feed for all
def test_halves_of_a_cohort_share_the_feed_and_the_streams_of_the_whole(cuda, trial, monkeypatch):
    feeds, real = [], Cohort.train

    def out_of_memory_if_many(self):
        feeds.append(self.context.feed)
        for lane in self.lanes:
            lane.setup()
        if len(self.lanes) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.close()
        self.lanes = Cohort([lane.run for lane in self.lanes], self.context, Callback(), {}).lanes
        return real(self)

    monkeypatch.setattr(Cohort, "train", out_of_memory_if_many)
    records = train(cohort_of(trial, "ce", "kd", "sp", "hint", epochs=1), replace(trial.context(), machine=STREAMED))
    assert {record.status for record in records} == {"done"}
    assert [record.provenance["did_not_fit"] for record in records] == [[4, 2]] * 2 + [[4, 2, 2]] * 2
    assert len(feeds) == 7 and len(set(map(id, feeds))) == 1
    assert cuda.created == 5, "the teacher and four lanes"


def test_replacing_the_machine_of_a_context_makes_a_new_feed_and_sharing_it_does_not(trial):
    context = trial.context()
    assert replace(context, machine=MACHINE).feed is not context.feed
    other = context.with_lanes_that_did_not_fit(3).with_lanes_that_did_not_fit(2)
    assert other.feed is context.feed
    assert (context.did_not_fit, other.did_not_fit) == ((), (3, 2))
