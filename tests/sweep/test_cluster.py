"""The parts of the executor `ray` that need no Ray: what a cohort occupies, what is sent, what comes back."""

import io
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save
from small_sweeps import use_few_digits

from benchmark.errors import BadInput
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.store import Record, Store, dump
from benchmark.sweep import runner
from benchmark.sweep.claims import Claims, describe
from benchmark.sweep.cluster import connect, executor, parcel, worker
from benchmark.sweep.cluster.connect import Footprint, find_footprint, fits
from benchmark.sweep.cluster.parcel import Parcel
from benchmark.sweep.cluster.worker import Job
from benchmark.sweep.executors import Fault
from benchmark.sweep.limits import Limits
from benchmark.sweep.options import Options
from benchmark.training.callback import Stopped

RECIPE = Recipe(epochs=1, lr=0.1, schedule=Steps(at=(1,)))
TEACHER = Run(dataset="digits", student="resnet14", method="ce", recipe=RECIPE)
RUN = Run(dataset="digits", student="resnet8", method="kd", teacher=TEACHER, recipe=RECIPE)


def options(tmp_path, **changes):
    return Options("digits", tmp_path / "results", tmp_path / "data", **changes)


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def result(run=RUN, status="done", **changes):
    """The files of a run's result."""
    record = Record(id=run.id, status=status, run=run.model_dump(mode="json"), made={"commit": None, "device": "there"})
    files = {
        f"records/{run.id}-1.json": dump(record).encode(),
        f"weights/{run.id}.safetensors": save({"w": torch.ones(2)}),
        f"predictions/{run.id}.npz": npz(top1=np.zeros(3), right=np.ones(3)),
        f"logits/{run.id}.npz": npz(logits=np.zeros((3, 2))),
    }
    return Parcel({name: data for name, data in (files | changes).items() if data is not None})


# ---- joining a cluster
@pytest.mark.parametrize("changes", [{"cohort_gpus": 0.0}, {"cohort_gpus": 2.0}, {"cohort_hours": 0.0}], ids=str)
def test_a_share_or_a_limit_that_is_none_is_refused(tmp_path, changes):
    (name,) = changes
    with pytest.raises(BadInput, match=f"--{name.replace('_', '-')} is a .* above 0"):
        connect.check_options(options(tmp_path, **changes))


def test_without_ray_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"python -m pip install -r requirements-cluster\.txt"):
        runner.run([TEACHER], options(tmp_path, device="cpu", executor="ray"))
    assert not (tmp_path / "results" / "records").exists()


@pytest.mark.parametrize(("terminal", "value"), [(True, None), (False, "0")])
def test_ray_colours_the_progress_of_its_workers_on_a_terminal_only(monkeypatch, terminal, value):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.setattr(connect.os, "environ", {})
    connect.import_ray()
    assert connect.os.environ.get("RAY_COLOR_PREFIX") == value


def test_a_plan_for_a_cluster_needs_no_ray(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    found = runner.make_plan([TEACHER, RUN], options(tmp_path, executor="ray"))
    assert found.waves == [[[TEACHER]], [[RUN]]]


@pytest.mark.parametrize("where", ["ray://head:10001", "head", "head:port"])
def test_an_address_is_host_and_port(where):
    with pytest.raises(BadInput, match="HOST:PORT"):
        connect.check_address(where)


def test_an_address_where_nothing_listens_is_refused_at_once():
    with pytest.raises(BadInput, match=r"no Ray cluster can be joined at 127\.0\.0\.1:1 .*ray start --head"):
        connect.check_address("127.0.0.1:1")


# ---- what a cohort occupies
def test_on_processors_a_cohort_occupies_as_many_as_it_uses_threads(tmp_path):
    assert find_footprint([{"CPU": 1.0}, {"CPU": 8.0}], options(tmp_path), 4) == Footprint("cpu", 4, 0)
    with pytest.raises(BadInput, match=r"uses 16 threads.*OMP_NUM_THREADS"):
        find_footprint([{"CPU": 8.0}, {}], options(tmp_path), 16)


@pytest.mark.parametrize(
    ("nodes", "share", "threads", "footprint"),
    [
        ([{"CPU": 64.0, "GPU": 8.0}], 1.0, 16, Footprint("cuda", 8, 1.0)),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 16.0}], 0.25, 16, Footprint("cuda", 2, 0.25)),
        ([{"CPU": 64.0, "GPU": 2.0}, {"CPU": 4.0, "GPU": 4.0}], 0.5, 2, Footprint("cuda", 1, 0.5)),
        ([{"CPU": 64.0, "GPU": 1.0}], 1.0, 4, Footprint("cuda", 4, 1.0)),
    ],
)
def test_where_there_are_gpus_a_cohort_occupies_its_share_and_as_many_processors_as_are_left_for_it(
    tmp_path, nodes, share, threads, footprint
):
    assert find_footprint(nodes, options(tmp_path, cohort_gpus=share), threads) == footprint
    assert find_footprint(nodes, options(tmp_path, device="cpu"), 4).device == "cpu"


def test_a_gpu_that_is_demanded_and_missing_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="no machine of the Ray cluster has a GPU"):
        find_footprint([{"CPU": 8.0}], options(tmp_path, device="cuda"), 4)


def test_a_machine_takes_as_many_cohorts_as_its_scarcest_resource_allows():
    assert fits({"CPU": 9.0, "GPU": 2.0}, Footprint("cuda", 2, 0.25)) == 4
    assert fits({"CPU": 64.0, "GPU": 1.0}, Footprint("cuda", 2, 1 / 3)) == 3
    assert fits({"CPU": 9.0}, Footprint("cuda", 2, 1.0)) == 0
    assert fits({"CPU": 9.0}, Footprint("cpu", 4, 0)) == 2


def test_hours_become_seconds(tmp_path):
    assert executor.time_limit([RUN], options(tmp_path)) is None
    assert executor.time_limit([RUN], options(tmp_path, cohort_hours=0.5)) == 1800.0


# ---- what is sent
def job(tmp_path, **changes):
    return Job(print, runner.Task([RUN], options(tmp_path, plugins=("outside/late.py", "a_module"))), **changes)


def test_a_worker_that_shares_no_folder_gets_weights_and_plugins_and_keeps_its_checkpoints(tmp_path):
    weights = Parcel({f"weights/{TEACHER.id}.safetensors": b"weights"})
    sent = job(tmp_path, plugins=(("outside/late.py", b"# late"),), token=".shared-1")
    task = worker.unpack(sent, tmp_path / "there", ("images",), (weights,))
    store = Store(task.options.results)
    assert store.root == tmp_path / "there" / "results"
    assert store.weights(TEACHER.id).read_bytes() == b"weights"
    assert Path(task.options.plugins[0]).read_bytes() == b"# late"
    assert task.options.record_fields["plugins"] == ["late.py", "a_module"]
    assert task.images == ("images",)
    assert not (store.root / "checkpoints").exists()


def test_a_worker_that_sees_the_token_writes_checkpoints_to_the_shared_folder_and_nothing_else(tmp_path):
    token = Store(tmp_path / "results").checkpoint(".shared-1")
    token.touch()
    task = worker.unpack(
        replace(job(tmp_path), task=runner.Task([TEACHER], options(tmp_path)), token=token.name),
        tmp_path / "x",
        None,
        (),
    )
    Store(task.options.results).checkpoint(TEACHER.id).write_text("epoch 3")
    assert Store(tmp_path / "results").checkpoint(TEACHER.id).read_text() == "epoch 3"
    assert Store(task.options.results).root != Store(tmp_path / "results").root


def test_students_of_a_teacher_without_weights_are_not_trained(tmp_path):
    returned = worker.train(job(tmp_path), None, Parcel({}, Fault({"type": "ValueError", "message": "failed"})))
    assert returned.files == {}
    assert "no weights of its teacher" in returned.fault.error["message"]


def sleep(task):
    time.sleep(600)


def test_a_process_that_exceeds_its_time_is_ended_and_the_reason_says_what_to_do():
    fault = worker.supervise(Job(sleep, None, seconds=0.1), None)
    assert fault.error["type"] == "TimeLimit"
    assert "--cohort-hours" in fault.error["message"]
    assert not fault.lost


# ---- what comes back
def test_a_result_is_written_with_the_commit_of_the_code_that_was_sent(tmp_path):
    store = Store(tmp_path)
    kept = parcel.keep(RUN, result(), store, {"commit": "c0ffee", "dirty": False})
    assert kept.provenance == {"commit": "c0ffee", "dirty": False, "device": "there"}
    assert store.latest()[RUN.id] == kept
    assert store.weights(RUN.id).read_bytes() == result().files[f"weights/{RUN.id}.safetensors"]
    assert np.load(store.predictions(RUN.id))["right"].shape == (3,)
    assert np.load(store.logits(RUN.id))["logits"].shape == (3, 2)


def test_a_run_without_a_result_brings_its_record_alone(tmp_path):
    kept = parcel.keep(RUN, Parcel(dict(list(result(status="diverged").files.items())[:1])), Store(tmp_path), {})
    assert kept.status == "diverged"
    assert Store(tmp_path).weights(RUN.id) is None


def test_a_parcel_without_a_record_of_the_run_is_none(tmp_path):
    assert parcel.keep(TEACHER, result(), Store(tmp_path), {}) is None


@pytest.mark.parametrize(
    ("parcel_", "reason"),
    [
        (result(**{f"records/{RUN.id}-1.json": b"rubbish"}), "a record that cannot be read"),
        (result(**{f"records/{RUN.id}-1.json": b"\xff\xfe"}), "a record that cannot be read"),
        (result(**{f"records/{RUN.id}-1.json": b"{}"}), r"a record that cannot be read \(id: .*required\)"),
        (result(**{f"records/{RUN.id}-1.json": result(TEACHER).files[f"records/{TEACHER.id}-1.json"]}), "another run"),
        (result(**{f"weights/{RUN.id}.safetensors": None}), "a record without weights"),
        (result(**{f"weights/{RUN.id}.safetensors": b"rubbish"}), "weights, predictions or logits that cannot be read"),
        (result(**{f"logits/{RUN.id}.npz": b"rubbish"}), "weights, predictions or logits that cannot be read"),
    ],
    ids=["no JSON", "no text", "no record", "another", "no weights", "no safetensors", "no arrays"],
)
def test_rubbish_is_named_and_leaves_nothing_behind(tmp_path, parcel_, reason):
    with pytest.raises(ValueError, match=reason):
        parcel.keep(RUN, parcel_, Store(tmp_path), {})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# ---- a sweep, with a stand-in for Ray
ONE_THREAD = Footprint("cpu", 1, 0)


class StandIn:
    """Ray as far as a sweep uses it; `outcomes` says at once what a task with a cohort returns."""

    class exceptions:
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            def __init__(self, cause):
                super().__init__("train() on machine 10.1.2.3 failed")
                self.cause = cause

    def __init__(self, outcomes):
        self.outcomes, self.submitted, self.values, self.resources = outcomes, [], {}, {}

    def put(self, value):
        self.values[len(self.values)] = value
        return len(self.values) - 1

    def remote(self, **resources):
        self.resources = resources
        return lambda function: SimpleNamespace(remote=self.submit)

    def submit(self, job, images, *teachers):
        self.submitted.append(job.task.cohort)
        return self.put(self.outcomes(job.task.cohort))

    def wait(self, references, num_returns, timeout):
        return references[:1], references[1:]

    def get(self, reference):
        if isinstance(self.values[reference], Exception):
            raise self.values[reference]
        return self.values[reference]

    def nodes(self):
        return []


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    """A function: outcomes, cohorts -> the store after a sweep, and the stand-in."""

    def run(outcomes, *cohorts, footprint=ONE_THREAD):
        ray, own = StandIn(outcomes), options(tmp_path)
        monkeypatch.setattr(executor, "import_ray", lambda: ray)
        executor.Sweep(print, Store(own.results), own, footprint).train([runner.Task(each, own) for each in cohorts])
        return Store(own.results), ray

    return run


def errors(store):
    return {record.run["method"]: record.error for record in store.latest().values() if record.error}


PLAIN = [TEACHER.model_copy(update={"seed": seed, "method": method}) for seed, method in enumerate(("kd", "sp"), 1)]


def test_the_resources_and_the_repeats_are_those_of_the_footprint(sweep):
    _, ray = sweep(result_of, [TEACHER], footprint=Footprint("cuda", 3, 0.25))
    assert (ray.resources["num_cpus"], ray.resources["num_gpus"], ray.resources["max_retries"]) == (3, 0.25, 3)


def result_of(cohort):
    return result(cohort[0])


def test_teachers_are_submitted_first_and_kept_beside_their_records(sweep):
    store, ray = sweep(result_of, [TEACHER], [RUN])
    assert ray.submitted == [[TEACHER], [RUN]]
    assert store.weights(TEACHER.id).parent.name == "teachers"
    assert store.weights(RUN.id).parent.name == "weights"
    assert not list((store.root / "checkpoints").glob(".*")), "the token is removed"
    assert sum(isinstance(value, tuple) for value in ray.values.values()) == 1, "the data set is sent once"


def test_a_cohort_whose_process_is_lost_trains_again_run_by_run_and_only_the_guilty_fails(sweep, capsys):
    lost = Fault({"type": "Failed", "message": "its process ended with exit code 9"}, lost=True)

    def outcomes(cohort):
        return Parcel({}, lost) if any(run.method == "sp" for run in cohort) else result(cohort[0])

    store, ray = sweep(outcomes, PLAIN)
    assert ray.submitted == [PLAIN, [PLAIN[0]], [PLAIN[1]]]
    assert errors(store) == {"sp": lost.error}
    assert "2 runs without a result will be trained again, one by one" in capsys.readouterr().err


def test_a_cohort_that_exceeds_its_time_fails_and_keeps_what_had_ended(sweep):
    late = Fault({"type": "TimeLimit", "message": worker.too_long(3600.0)})
    assert "after 0.5 hours and" in worker.too_long(1800.0)
    store, ray = sweep(lambda cohort: replace(result(PLAIN[0]), fault=late), PLAIN)
    assert ray.submitted == [PLAIN]
    assert errors(store) == {"sp": late.error}
    assert "after 1 hour and" in late.error["message"]


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        (StandIn.exceptions.RayTaskError(OSError("disk full\nfurther")), "OSError", "its worker failed: disk full"),
        (StandIn.exceptions.RayError("node 10.1.2.3 died"), "RayError", "its worker or machine was lost"),
        ({"accuracy": "good"}, "Rubbish", "its worker returned dict instead of results"),
        (Parcel({}), "Failed", "its worker returned no record"),
        (
            Parcel({f"records/{PLAIN[0].id}-1.json": b"?"}),
            "Rubbish",
            "its worker returned a record that cannot be read",
        ),
    ],
    ids=["raised", "lost", "no parcel", "empty", "rubbish"],
)
def test_whatever_a_worker_does_its_run_fails_with_the_reason_and_without_the_names_of_machines(
    sweep, outcome, kind, message
):
    store, _ = sweep(lambda cohort: outcome if cohort[0] == PLAIN[0] else result(cohort[0]), *([run] for run in PLAIN))
    error = errors(store)["kd"]
    assert error["type"] == kind
    assert error["message"].startswith(message)
    assert "10.1.2.3" not in str(error)
    assert store.latest()[PLAIN[1].id].status == "done"


def test_students_of_a_failed_teacher_have_no_record_and_others_have_one(sweep):
    def outcomes(cohort):
        if cohort[0].teacher or cohort[0] == TEACHER:
            return Parcel({}, Fault({"type": "ValueError", "message": "no weights of its teacher"}))
        return result(cohort[0])

    store, _ = sweep(outcomes, [TEACHER], [RUN], [PLAIN[0]])
    assert {record.run["method"]: record.status for record in store.latest().values()} == {"ce": "failed", "kd": "done"}
    assert RUN.id not in store.latest()


def test_a_teacher_that_is_stored_is_sent_from_the_store(sweep, tmp_path):
    Store(tmp_path / "results").keep_weights(TEACHER.id, b"stored")
    store, ray = sweep(result_of, [RUN])
    assert any(value == Parcel({f"weights/{TEACHER.id}.safetensors": b"stored"}) for value in ray.values.values())
    assert store.latest()[RUN.id].status == "done"


# ---- the sweep's time is over
STOPPED = Parcel({}, stopped=True)


def test_a_worker_gets_the_time_that_is_left_whenever_it_starts_and_a_cohort_that_starts_later_trains_nothing(tmp_path):
    stop_time = Limits(stop_at=time.monotonic() + 60, fail_fast=True).stop_time
    own = options(tmp_path, limits=Limits(fail_fast=True))
    sent = Job(print, runner.Task([TEACHER], own), stop_time=stop_time)
    limits = worker.unpack(sent, tmp_path / "there", None, ()).options.limits
    assert 50 < limits.stop_at - time.monotonic() <= 60 and limits.fail_fast
    assert Limits().stop_time is Limits.until(None, False).stop_at is None
    assert worker.train(replace(sent, stop_time=time.time() - 1), None) == STOPPED


def end_time(task):
    """Train as if the sweep's time ended in the first epoch: it is over before, and nothing looks until then."""
    use_few_digits(pytest.MonkeyPatch())
    Limits.check = lambda *_: None
    time.sleep(max(0, task.options.limits.stop_at - time.monotonic()))
    runner.train_cohort(task)


def test_a_worker_whose_time_is_over_leaves_a_checkpoint_in_the_shared_folder_and_says_that_it_was_stopped(
    tmp_path, forked
):
    run = TEACHER.model_copy(update={"recipe": RECIPE.model_copy(update={"epochs": 9})})
    own = options(tmp_path, device="cpu")
    token = Store(own.results).checkpoint(".shared-1")
    token.touch()
    sent = Job(end_time, runner.Task([run], own), stop_time=time.time() + 0.5, token=token.name)
    returned = worker.train(sent, None)
    assert returned.stopped and returned.fault is None and not returned.files
    assert [path.name for path in token.parent.glob("[!.]*.pt")] == [f"{run.id}.pt"]


def test_runs_that_the_end_of_time_stopped_have_no_record_and_those_that_ended_have_one(monkeypatch, tmp_path):
    own = options(tmp_path, limits=Limits(stop_at=time.monotonic()))
    ray = StandIn(lambda cohort: result(cohort[0]) if cohort[0] == PLAIN[0] else STOPPED)
    monkeypatch.setattr(executor, "import_ray", lambda: ray)
    made = executor.Sweep(print, Store(own.results), own, ONE_THREAD)
    with pytest.raises(Stopped, match="--max-hours is over"):
        made.train([runner.Task([run], own) for run in PLAIN])
    assert {record.id: record.status for record in Store(own.results).records()} == {PLAIN[0].id: "done"}
    assert ray.submitted == [[run] for run in PLAIN], "they end by themselves, at the end of an epoch"


def test_cohorts_that_do_not_end_when_the_time_is_over_are_cancelled(monkeypatch, tmp_path):
    own = options(tmp_path, limits=Limits(stop_at=time.monotonic() - executor.EPOCH_SECONDS))
    ray, cancelled = StandIn(result_of), []
    ray.cancel = cancelled.append
    monkeypatch.setattr(executor, "import_ray", lambda: ray)
    with pytest.raises(Stopped, match="--max-hours is over"):
        executor.Sweep(print, Store(own.results), own, ONE_THREAD).train([runner.Task([TEACHER], own)])
    assert len(cancelled) == 1


# ---- beside other processes
@pytest.fixture
def shared(monkeypatch, tmp_path, few_digits):
    """A function: outcomes, runs, what happens while the cluster is joined -> what `run` says, and the stand-in."""

    def run(outcomes, runs, joining=lambda: None):
        ray = StandIn(outcomes)

        @contextmanager
        def cluster(_):
            joining()
            yield ONE_THREAD

        monkeypatch.setattr(executor, "import_ray", lambda: ray)
        monkeypatch.setattr(runner, "cluster", cluster)
        return runner.run(runs, options(tmp_path, executor="ray", quiet=True)), ray

    return run


def add(store, run):
    """A result of another process."""
    store.add(Record(id=run.id, status="done", run=run.model_dump(mode="json")))
    store.keep_weights(run.id, b"weights")


def test_what_another_process_finished_while_the_cluster_was_joined_is_not_trained_again(shared, tmp_path):
    store = Store(tmp_path / "results")
    failed, ray = shared(result_of, [RUN, PLAIN[0]], lambda: [add(store, run) for run in (TEACHER, PLAIN[0])])
    assert failed == [] and ray.submitted == [[RUN]]
    assert sorted(record.attempt for record in store.records()) == [1, 1, 1]


@pytest.mark.parametrize("finishes", [True, False])
def test_runs_that_another_process_holds_are_waited_for_and_taken_over_and_then_their_students_train(
    shared, tmp_path, monkeypatch, finishes
):
    store, other = Store(tmp_path / "results"), Claims(tmp_path / "results").take([TEACHER])
    other.__enter__()

    def sleep(seconds):
        assert seen == [[PLAIN[0]]], "what nobody holds is trained meanwhile"
        if finishes:
            add(store, TEACHER)
        other.__exit__(None, None, None)

    def outcomes(cohort):
        seen.append(cohort)
        return result(cohort[0])

    seen = []
    monkeypatch.setattr(runner.time, "sleep", sleep)
    failed, _ = shared(outcomes, [RUN, PLAIN[0]])
    assert failed == [] and seen == [[PLAIN[0]], *([] if finishes else [[TEACHER]]), [RUN]]
    assert [record.attempt for record in store.records() if record.kind == "run"].count(2) == 0


def test_status_shows_the_runs_of_a_cluster_as_queued_or_training(shared, tmp_path):
    lines = []

    def outcomes(cohort):
        lines.append(describe(Claims(tmp_path / "results").held()))
        return result(cohort[0])

    shared(outcomes, PLAIN)
    assert lines[0].count("queued or training on Ray") == 2 and "first epoch" not in lines[0]
    assert describe(Claims(tmp_path / "results").held()) == "nothing is being trained"
