"""Tries generated input by the thousand; prints how many inputs of each kind were tried and how many failed.

    python tests/fuzz.py --count 50000 --seed 0 [--minutes 3]

Besides the input of `generators.py`: records, plans, studies, features, speeds, predictions and published weights with
changed bytes or contents.  A failure is any outcome but a value or one sentence, or an input that takes more than LIMIT
seconds.  Exit code 1 if any.
"""

# ruff: noqa: E402  the folders of what is imported come first

import argparse
import io
import json
import random
import re
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import numpy as np
import torch
from generators import TARGETS, Target, knob_settings, odd, outcome, values
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from benchmark.data.datasets import DatasetInfo
from benchmark.experiment.resolve import resolve_knobs
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.experiment.study import FOLDER, Space, Study, Trial
from benchmark.models import build, imports
from benchmark.report.figures.drawing.cache import FigureCache
from benchmark.report.loading import planned_runs
from benchmark.report.records.entries import Entry, load_entries
from benchmark.report.records.predictions import Predictions
from benchmark.report.records.studies import read_studies
from benchmark.report.tables.speed import speed_tables
from benchmark.report.tables.text_formats import to_csv, to_markdown
from benchmark.report.theory_sections import theory_sections
from benchmark.store import PLAN, Store
from benchmark.sweep.plan import check_runs
from methods import registry

ROOT = Path(__file__).parents[1]
LIMIT = 20  # seconds for one input
RECORDS = [path.read_bytes() for path in sorted((ROOT / "results" / "records").glob("*.json"))[:12]]
PREDICTIONS = [(path.stem, path.read_bytes()) for path in sorted((ROOT / "results" / "predictions").glob("*.npz"))[:4]]
WEIGHTS = (ROOT / "tests" / "reference" / "checkpoints" / "resnet8.pth").read_bytes()
FEATURES = next((ROOT / "results" / "features").glob("*.json"))
SPEEDS = [path.read_bytes() for path in sorted((ROOT / "results" / "speed").glob("*.json"))]
PLANNED = json.dumps([json.loads(text)["run"] for text in RECORDS]).encode()
STUDY = Study(
    suite="digits", method="sp", knobs={"gamma": 3000.0}, spaces=(Space(knob="gamma", low=300, high=30000, log=True),),
    seed=0, trials=[Trial(values={"gamma": gamma}, ids=("0123456789ab",)) for gamma in (3000.0, 700.0)],
).text().encode()  # fmt: skip
FOREIGN = re.compile(r"[A-Z]\w*(Error|Exception)\b|Errno|Traceback|pydantic|allow_pickle|Input should|object at 0x")
RECIPE = Recipe(epochs=10, lr=0.1, schedule=Steps(at=(5,)))


def changed_bytes(data: bytes, seed: int) -> bytes:
    """Bytes after one to five edits: changed, cut out, repeated or put in."""
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 5)):
        start = draw.randrange(len(data) + 1)
        end = min(len(data), start + draw.choice((1, 2, 8, 100, 5000)))
        new = draw.choice((b"", data[start:end] * 2, draw.randbytes(end - start), b"[" * 5000, b"\0", b"NaN", b"1e999"))
        data = data[:start] + new + data[end:]
    return data


def changed_predictions(file: tuple[str, bytes], seed: int) -> tuple[str, bytes]:
    """(id, bytes) of predictions: bytes of the archive are changed, or whole arrays."""
    return file[0], changed_arrays(file[1], seed)


def changed_arrays(data: bytes, seed: int) -> bytes:
    """An .npz file in which bytes are changed, or a whole array."""
    draw = random.Random(seed)
    if draw.random() < 0.5:
        return changed_bytes(data, seed)
    with np.load(io.BytesIO(data)) as archive:
        arrays = dict(archive)
    name = draw.choice(list(arrays))
    kept = arrays[name]
    arrays[name] = draw.choice(
        (
            np.zeros(0), np.zeros(()), np.array(["a", "b"]), np.full(3, np.nan), kept[:5], kept[None],
            kept.astype("c8"), kept.astype("f4"), np.array([None, "object"]),
        )
    )  # fmt: skip
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def changed_features(text: bytes, seed: int) -> tuple[bytes, bytes]:
    """The JSON and the arrays of a pair's features, one of which is changed."""
    arrays = FEATURES.with_suffix(".npz").read_bytes()
    return (text, arrays) if seed % 2 else (FEATURES.read_bytes(), changed_arrays(arrays, seed))


def changed_json(data: bytes, path_seed: int, value: object) -> bytes:
    """A JSON text in which one value, somewhere, is another."""
    draw, root = random.Random(path_seed), json.loads(data)
    place = root
    while True:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner) or draw.random() < 0.3:
            place[key] = value
            return json.dumps(root, default=str, skipkeys=True).encode()
        place = inner


def odd_tensor(seed: int) -> object:
    """A tensor, or what stands in its place, that no network has."""
    return random.Random(seed).choice(
        [
            torch.zeros(()), torch.zeros(0), torch.zeros(3, dtype=torch.complex64), torch.zeros(16, dtype=torch.int8),
            torch.zeros(16).to_sparse(), torch.empty(16, device="meta"), torch.full((16, 3, 3, 3), float("nan")), 5,
            None, "text", [torch.zeros(2)], torch.zeros(16, 3, 3, 3, dtype=torch.bfloat16), torch.zeros(1).expand(16),
            torch.quantize_per_tensor(torch.zeros(16), 0.1, 0, torch.qint8),
        ]
    )  # fmt: skip


def changed_weights(seed: int) -> bytes:
    """A checkpoint of another make: tensors added, removed, renamed or odd, another container."""
    draw = random.Random(seed)
    state = dict(build("resnet8", 100).state_dict())
    for _ in range(draw.randint(1, 3)):
        key = draw.choice(list(state))
        draw.choice(
            (
                lambda key=key: state.pop(key),
                lambda key=key: state.update({f"module.{key}": state.pop(key)}),
                lambda key=key: state.update({key: odd_tensor(draw.random())}),
                lambda: state.update({draw.choice(["", "x" * 3000, "a\nb", 7]): torch.zeros(2)}),
            )
        )()
    content = draw.choice((state, {"model": state}, [state], {"model": {"model": state}}, {"model": 3}, {}, None))
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=draw.random() < 0.7)
    return buffer.getvalue()


def put(folder: Path, name: str | Path, data: bytes) -> Store:
    """The store of a folder, in which this file is written."""
    path = folder / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Store(folder / "results")


def check_complaints(complaints: list[str]) -> None:
    """Each is one line that can be printed, without words of Python or of a library."""
    for each in complaints:
        assert each.isprintable() and len(each) < 1600, each
        assert not FOREIGN.search(each), each


def read_record(folder: Path, data: bytes) -> None:
    """Read a store that has this record, and the entries of its report."""
    store = put(folder, "records/0123456789ab-1.json", data)
    _, complaints = load_entries(store)
    assert all(len(each.splitlines()) == 1 for each in complaints), complaints


def read_plan(folder: Path, data: bytes) -> None:
    """Read the plan of a sweep in progress."""
    check_complaints(planned_runs(put(folder, PLAN, data))[1])


def read_study(folder: Path, data: bytes) -> None:
    """Read a study of `tune`."""
    check_complaints(read_studies(put(folder, f"{FOLDER}/a.json", data))[1])


def read_speeds(folder: Path, data: bytes) -> None:
    """Read a machine's speed and write its tables."""
    tables, complaints = speed_tables(put(folder, "speed/a.json", data))
    check_complaints(complaints)
    assert all(to_markdown(table) and to_csv(table) for table in tables)


class Undrawn(FigureCache):
    """Stands for the figures, which take seconds to draw."""

    def svg(self, name: str, draw: object) -> str:
        return "<svg/>"


def read_features(folder: Path, files: tuple[bytes, bytes]) -> None:
    """Read the features of a pair and make its tables, and its figures up to their drawing."""
    put(folder, "features/a.npz", files[1])
    _, complaints = theory_sections(put(folder, "features/a.json", files[0]), Undrawn())
    check_complaints(complaints)


def read_predictions(folder: Path, changed: tuple[str, bytes]) -> None:
    """Read the predictions of a run: which images are right, and how many are classified as by another run."""
    id, data = changed
    reader, entry = Predictions(put(folder, f"predictions/{id}.npz", data)), committed_entries()[id]
    found = reader.correct(entry)
    assert found is None or (found.dtype == bool and found.ndim == 1)
    assert reader.agreement(entry, id) in (None, 1.0)
    check_complaints(reader.complaints)


@cache
def committed_entries() -> dict[str, Entry]:
    """The entries of the committed records by id."""
    return {entry.run.id: entry for entry in load_entries(Store(ROOT / "results"))[0]}


def read_weights(folder: Path, data: bytes) -> None:
    """Import published weights."""
    path = folder / "weights.pth"
    path.write_bytes(data)
    imports.load(path, "resnet8", 100)


def plan_knobs(folder: Path, setting: tuple) -> None:
    """Check a run with these knobs, as `plan` does."""
    name, changes = setting
    teacher = Run(dataset="digits", student="resnet20", method="ce", recipe=RECIPE)
    knobs = resolve_knobs(name, changes)
    needs = registry.get(name).needs_teacher
    run = Run(dataset="digits", student="resnet8", method=name, knobs=knobs, recipe=RECIPE, teacher=teacher)
    check_runs([run if needs else run.model_copy(update={"teacher": None})], {"digits": DatasetInfo(10, 32, 32)})


integers = st.integers(0, 2**62)
small = st.tuples(
    st.sampled_from(["sp", "lp", "hint", "fitnets", "kda", "sp+kd"]), st.integers(-9, 9), st.integers(0, 40)
).map(lambda drawn: (drawn[0], knobs_near(*drawn)))


def knobs_near(name: str, index: int, count: int) -> dict[str, object]:
    """Values of knobs near the limits that networks and recipe set."""
    return {
        knob: count if knob in ("warm", "hint_epochs", "m") else index
        for knob in registry.knobs(name)
        if knob.split(".")[-1] in ("at", "guided", "hint", "warm", "hint_epochs", "m") and (name, knob) != ("kda", "at")
    }


def changed_texts(*texts: bytes) -> st.SearchStrategy[bytes]:
    """One of these JSON texts, with changed bytes or another value somewhere."""
    known = st.sampled_from(texts)
    return st.one_of(
        st.builds(changed_bytes, known, integers), st.builds(changed_json, known, integers, st.one_of(values, odd))
    )


MORE = {
    "planned knobs": Target(st.one_of(knob_settings(), small), plan_knobs, 2),
    "records": Target(changed_texts(*RECORDS), read_record, 3),
    "plans": Target(changed_texts(PLANNED), read_plan, 1),
    "studies": Target(changed_texts(STUDY), read_study, 1),
    "speeds": Target(changed_texts(*SPEEDS), read_speeds, 1),
    "features": Target(st.builds(changed_features, changed_texts(FEATURES.read_bytes()), integers), read_features, 1),
    "predictions": Target(st.builds(changed_predictions, st.sampled_from(PREDICTIONS), integers), read_predictions, 2),
    "weights": Target(
        st.one_of(st.builds(changed_bytes, st.just(WEIGHTS), integers), integers.map(changed_weights)), read_weights, 1
    ),
}


class TimeIsUpError(KeyboardInterrupt):
    """Ends a strategy's generation at once."""


def stop(*_: object) -> None:
    """The handler of the alarm: an input took too long."""
    raise AssertionError(f"more than {LIMIT} s")


def try_target(target: Target, count: int, seed: int, deadline: float, folder: Path) -> tuple[Counter, list[str]]:
    """Try `count` inputs of one kind; how often each outcome was found, and the failures."""
    found, failures = Counter(), []

    @seeded(seed)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def run(value: object) -> None:
        if time.monotonic() > deadline:
            raise TimeIsUpError
        signal.alarm(LIMIT)
        try:
            found["value" if outcome(target.handle, folder, value) == "value" else "refused"] += 1
        except AssertionError as fault:
            found["failed"] += 1
            failures.append(str(fault))
        finally:
            signal.alarm(0)

    try:
        run()
    except TimeIsUpError:
        found["stopped by the clock"] = 1
    return found, failures


def main() -> int:
    """Try inputs of every kind and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000, help="inputs of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long; 0: when all are tried")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, stop)
    warnings.simplefilter("error", RuntimeWarning)  # numpy's
    warnings.simplefilter("ignore", UserWarning)  # torch's, about old formats of files
    torch.set_num_threads(1)
    targets = TARGETS | MORE
    shares = sum(target.share for target in targets.values())
    total, failures = Counter(), {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kd-fuzz-") as root:
        for name, target in targets.items():
            part = target.share / shares
            deadline = time.monotonic() + 60 * options.minutes * part if options.minutes else float("inf")
            count = max(1, round(options.count * part))
            found, failures[name] = try_target(target, count, options.seed, deadline, Path(root))
            total += found
            print(f"{name:<14} {dict(found)}", flush=True)
            for failure in failures[name][:5]:
                print(f"    {' '.join(failure.split())[:600]}", flush=True)
    tried, failed = sum(total[each] for each in ("value", "refused", "failed")), total["failed"]
    print(f"{tried:,} inputs, {failed:,} failures, seed {options.seed}, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
