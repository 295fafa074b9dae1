"""Sweeps on a real Ray cluster of two nodes on this machine."""

import _thread
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.store import Store
from benchmark.sweep import runner, schedule
from benchmark.sweep.cluster import connect, executor, worker
from benchmark.sweep.cluster.executor import Sweep
from benchmark.sweep.cluster.parcel import Parcel
from benchmark.sweep.executors import Fault
from benchmark.sweep.options import Options
from methods import registry

ray = pytest.importorskip("ray", reason="Ray is not installed: python -m pip install -r requirements-cluster.txt")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]

PLUGIN = '''
"""Methods that go wrong on a worker."""
import itertools
import os
import time
from pathlib import Path
import torch.nn.functional as F
from methods import Method, register

FOLDER = Path({folder!r})


class Plain(Method):
    """The plain student."""

    needs_teacher = False

    def begin_epoch(self, clock):
        self.go_on(clock.epoch)

    def loss(self, s, t, batch):
        return {{"ce": F.cross_entropy(s.logits, batch.y)}}


@register("raising")
class Raising(Plain):
    """Raises."""

    def go_on(self, epoch):
        raise RuntimeError("no more ideas")


@register("hanging")
class Hanging(Plain):
    """Never ends."""

    def go_on(self, epoch):
        time.sleep(3600)


@register("babbling")
class Babbling(Plain):
    """Writes a record that is none."""

    def go_on(self, epoch):
        from benchmark import store
        store.dump = lambda record: "[]"


class Hasty:
    """A clock for which the interval between two checkpoints has always passed."""

    perf_counter = time.perf_counter
    monotonic = itertools.count(1e9, 1e9).__next__


class Losing(Plain):
    """Waits, before the second epoch, for the end of its machine, the first time that it is not on the head's."""

    def go_on(self, epoch):
        from benchmark.training import lane
        lane.time = Hasty  # a checkpoint after every epoch
        mark = FOLDER / "lost"
        if epoch == 1 and raylet() != int((FOLDER / "head").read_text()) and not mark.exists():
            mark.touch()
            time.sleep(3600)


def raylet():
    """The process that started the worker that started this process."""
    return parent(parent(os.getpid()))


def parent(process):
    return int(Path(f"/proc/{{process}}/stat").read_text().rpartition(")")[2].split()[1])


@register("losing-a")
class First(Losing):
    """One of two."""


@register("losing-b")
class Second(Losing):
    """The other."""
'''


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes; each takes one cohort at a time."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # this machine may be full of other programs
    from ray.cluster_utils import Cluster

    node = {"num_cpus": torch.get_num_threads(), "num_gpus": 0, "object_store_memory": 100_000_000}
    found = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    found.add_node(**node)
    found.wait_for_nodes()
    yield found
    ray.shutdown()
    found.shutdown()
    patch.undo()


@pytest.fixture
def options(tmp_path, cluster, isolated_registry, few_digits):
    """A function: options of a sweep, with the methods of the plug-in."""
    plugin = tmp_path / "going_wrong.py"
    plugin.write_text(PLUGIN.format(folder=str(tmp_path)))
    registry.load(str(plugin))

    def make(folder="results", executor="ray", **changes):
        rest = {"device": "cpu", "lanes": 1, "plugins": (str(plugin),), "address": cluster.address}
        return Options("tiny", tmp_path / folder, tmp_path / "data", executor=executor, **rest | changes)

    return make


def a_run(method, student="resnet8", epochs=1, **changes):
    recipe = Recipe(epochs=epochs, lr=0.05, schedule=Steps(at=()), precision="fp32")
    return Run(dataset="digits", student=student, method=method, recipe=recipe, **changes)


def knobs(method):
    return {name: knob.default for name, knob in registry.knobs(method).items()}


def reasons(store):
    """method -> status and message of its records."""
    return {r.run["method"]: (r.status, (r.error or {}).get("message")) for r in store.records() if r.status != "done"}


def test_results_equal_those_of_one_process_and_what_goes_wrong_costs_only_itself(options, monkeypatch, capfd):
    teacher, broken = a_run("ce", "resnet14"), a_run("raising", "resnet14")
    good = [a_run("ce", seed=1), a_run("kd", teacher=teacher, knobs=knobs("kd"))]
    bad = [a_run("hanging"), a_run("babbling"), a_run("kd", teacher=broken, knobs=knobs("kd"))]
    monkeypatch.setattr(executor, "time_limit", lambda cohort, _: 1.0 if cohort[0].method == "hanging" else None)
    failed = runner.run([*good, *bad], options())
    runner.run(good, options("here", executor="here"))
    cluster, here = Store(options().results), Store(options("here").results)

    for run in (teacher, *good):
        mine, other = cluster.latest()[run.id], here.latest()[run.id]
        assert (mine.id, mine.score, mine.curve, mine.size) == (other.id, other.score, other.curve, other.size)
        assert mine.provenance.keys() == other.provenance.keys()
        for key in ("commit", "dirty", "device", "precision", "source", "data", "teacher", "plugins"):
            assert mine.provenance[key] == other.provenance[key]
        assert cluster.weights(run.id).read_bytes() == here.weights(run.id).read_bytes()
        assert cluster.weights(run.id).parent.name == here.weights(run.id).parent.name
        for place in ("predictions", "logits"):
            with np.load(getattr(cluster, place)(run.id)) as a, np.load(getattr(here, place)(run.id)) as b:
                assert all(np.array_equal(a[name], b[name]) for name in b)

    found = reasons(cluster)
    assert found.pop("babbling")[1].startswith("its worker returned a record that cannot be read")
    assert found == {"raising": ("failed", "no more ideas"), "hanging": ("failed", worker.too_long(1.0))}
    assert [sentence.partition(": ")[2] for sentence in failed][-1] == "not run: its teacher has no weights"
    assert len(failed) == 4
    assert "epoch 1/1" in capfd.readouterr().out, "the lines of the workers are shown"
    assert not list((cluster.root / "checkpoints").glob("*")), "neither the token nor the plan is left"
    names = {os.uname().nodename, os.environ.get("USER") or "root"}
    for path in (cluster.root / "records").glob("*.json"):
        made = json.loads(path.read_text())["made"]
        assert not any(name in json.dumps(made) for name in names if len(name) > 3)


# ---- made-up cohorts, which train nothing
def made_up(folder, scale=0.01):
    """A worker that sleeps for as long as a cohort has epochs, and leaves its times and its node in a file."""

    def train(job, images, *teachers):
        import ray

        run, start = job.task.cohort[0], time.monotonic()
        (folder / f"{run.id}.started").touch()
        while time.monotonic() < start + scale * run.recipe.epochs:
            time.sleep(0.01)  # a longer sleep would not notice that it is cancelled
        node = ray.get_runtime_context().get_node_id()
        (folder / f"{run.id}.json").write_text(json.dumps([start, time.monotonic(), node]))
        return Parcel({}, Fault({"type": "Failed", "message": "made up"}))

    return train


def sixty_four():
    """Cohorts of one run: 8 teachers, six students of each, and 8 that wait for nobody; 5 to 20 epochs."""
    epochs = [5 + number * 37 % 16 for number in range(64)]
    teachers = [a_run("ce", "resnet14", epochs[number], seed=number) for number in range(8)]
    students = [a_run("kd", "resnet8", epochs[n], seed=n, teacher=teachers[(n - 8) // 6]) for n in range(8, 56)]
    return [
        [run] for run in (*teachers, *students, *(a_run("ce", "resnet8", epochs[n], seed=n) for n in range(56, 64)))
    ]


def test_sixty_four_cohorts_use_both_nodes_one_at_a_time_each_and_students_wait_for_their_teacher(
    options, monkeypatch, tmp_path
):
    monkeypatch.setattr(worker, "train", made_up(tmp_path))
    cohorts, own = sixty_four(), options()
    with connect.cluster(own) as footprint:
        tasks = [runner.Task(cohort, own) for cohort in cohorts]
        Sweep(runner.train_cohort, Store(own.results), own, footprint).train(tasks)
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    spans = [found[cohort[0].id] for cohort in cohorts]
    assert len({node for _, _, node in spans}) == 2
    for start, _, node in spans:
        assert sum(a <= start < b for a, b, _ in spans) <= 2
        assert sum(a <= start < b for a, b, other in spans if other == node) == 1
    for (run,), (start, _, _) in zip(cohorts, spans, strict=True):
        assert not run.teacher or found[run.teacher.id][1] <= start
    lengths, after = schedule.lengths(cohorts, []), schedule.dependencies(cohorts)
    first = {cohorts[number][0].id for number in schedule.submission_order(lengths, after)[:2]}
    assert first & {cohorts[n][0].id for n in sorted(range(64), key=lambda n: spans[n][0])[:2]}


def test_a_student_starts_as_soon_as_its_own_teacher_is_there_while_another_teacher_still_trains(
    options, monkeypatch, tmp_path
):
    short, long = a_run("ce", "resnet14", epochs=5), a_run("ce", "resnet20", epochs=9)
    students, own = [a_run("kd", teacher=short), a_run("kd", teacher=long)], options()
    first = students[0].id

    def train(job, images, *teachers):
        run, patience = job.task.cohort[0], time.monotonic() + 120
        (tmp_path / f"{run.id}.started").touch()
        while run.student == "resnet20" and not (tmp_path / f"{first}.started").exists():
            if time.monotonic() > patience:
                return Parcel({}, Fault({"type": "Failed", "message": "no student came"}))
            time.sleep(0.02)
        return Parcel({}, Fault({"type": "Failed", "message": "made up"}))

    monkeypatch.setattr(worker, "train", train)
    runner.run(students, own)
    messages = {record.run["student"]: record.error["message"] for record in Store(own.results).records()}
    assert messages == {"resnet14": "made up", "resnet20": "made up"}


def test_ctrl_c_cancels_the_cohorts_and_the_same_call_goes_on(options, monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "train", made_up(tmp_path, scale=60.0))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
    runs, own = [a_run("ce"), a_run("ce", seed=1), a_run("ce", seed=2)], options()

    def interrupt():
        while len(list(tmp_path.glob("*.started"))) < 2:
            time.sleep(0.05)
        _thread.interrupt_main()

    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            runner.run(runs, own)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not ray.is_initialized()
    assert not list(Store(own.results).records())
    assert len(Store(own.results).planned()) == 3, "the report knows what is missing"
    monkeypatch.setattr(worker, "train", made_up(tmp_path))
    assert len(runner.run(runs, own)) == 3
    assert len(list(tmp_path.glob("*.json"))) == 3
    assert Store(own.results).planned() == []


# ---- last, because it costs a node
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_node_that_is_killed_costs_its_cohort_some_time_and_no_result(options, cluster, tmp_path):
    head, other = cluster.list_all_nodes()
    (tmp_path / "head").write_text(str(raylet_pid(head)))
    runs, own = [a_run("losing-a", epochs=2), a_run("losing-b", epochs=2)], options()

    def kill():
        while not (tmp_path / "lost").exists():
            time.sleep(0.05)
        cluster.remove_node(other, allow_graceful=False)

    threading.Thread(target=kill, daemon=True).start()
    assert runner.run(runs, own) == []
    records = list(Store(own.results).records())
    assert sorted((r.run["method"], r.status, r.attempt) for r in records) == [
        ("losing-a", "done", 1),
        ("losing-b", "done", 1),
    ]
    assert sorted(r.clock["resumed"] for r in records) == [0, 1], "from the last checkpoint, as the folder is shared"
    assert [len(r.curve["top1"]) for r in records] == [2, 2]


def raylet_pid(node):
    """The process number of a node's raylet."""
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET

    return node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid
