"""Theory measurements: each number compared with loops over its formula, and a whole pair from training to tables."""

import json
import math

import numpy as np
import pytest
import torch

from benchmark.conformance import trial
from benchmark.data import datasets
from benchmark.data.split import make_splits
from benchmark.errors import BadInput
from benchmark.experiment import resolve, seeds
from benchmark.experiment.run import Run
from benchmark.report.tables.text_formats import to_csv, to_markdown
from benchmark.report.theory_sections import theory_sections
from benchmark.store import Store
from benchmark.sweep.runner import Options
from benchmark.theory import claims, examine, features, loss_cost, measure, pairs
from benchmark.theory.tsne import layouts
from benchmark.training import weights
from benchmark.training.loop import make_context, train
from methods.contract import Batch, Outputs
from methods.lp import LP
from methods.sp import likeness

RNG = np.random.default_rng(0)


def features_of(count, width, seed=0):
    """Random features of both signs, (count, width)."""
    return np.random.default_rng(seed).normal(size=(count, width))


def vectors_at_angle(degrees, width=16):
    """Two vectors of different lengths with this angle between them."""
    a, b = np.linalg.qr(features_of(width, 2, seed=int(degrees)))[0].T
    angle = math.radians(degrees)
    return 3.0 * a, 0.5 * (math.cos(angle) * a + math.sin(angle) * b)


# ---- hashing
@pytest.mark.parametrize("degrees", [0, 10, 45, 90, 130, 180])
def test_hash_agreement_approaches_one_minus_the_angle_over_pi(degrees):
    f_s, f_t = (f[None] for f in vectors_at_angle(degrees))
    assert claims.angles(f_s, f_t)[0] == pytest.approx(degrees, abs=1e-5)
    planes = features_of(40_000, 16, seed=1)
    found = claims.hash_agreement(f_s, f_t, planes)[0]
    assert found == pytest.approx(1 - degrees / 180, abs=4 * 0.5 / math.sqrt(len(planes)))


@pytest.mark.parametrize("median", [False, True])
def test_hash_agreement_is_counted_plane_by_plane(median):
    f_s, f_t, planes = features_of(9, 4), features_of(9, 4, 1), features_of(300, 4, 2)
    expected = [0] * 9
    for w in planes:
        threshold = sorted(float(w @ f) for f in f_t)[4] if median else 0.0
        for i in range(9):
            expected[i] += (float(w @ f_s[i]) > threshold) == (float(w @ f_t[i]) > threshold)
    assert claims.hash_agreement(f_s, f_t, planes, median) * len(planes) == pytest.approx(expected, abs=1)


def test_every_image_is_in_exactly_one_bin_of_angles():
    theta, same = RNG.uniform(0, 180, 500), RNG.uniform(0, 1, 500)
    bins = claims.angle_bins(theta, same)
    assert sum(one["images"] for one in bins) == 500
    for one in bins:
        inside = [i for i in range(500) if one["from"] <= theta[i] < one["from"] + claims.BIN_WIDTH]
        assert one["agreement"] == pytest.approx(sum(same[i] for i in inside) / len(inside))
        assert one["formula"] == pytest.approx(sum(1 - theta[i] / 180 for i in inside) / len(inside))


def test_a_feature_of_zeros_has_an_angle_of_90_degrees_and_an_infinite_ratio():
    f_t = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert claims.angles(np.ones((2, 2)), f_t)[0] == 90
    assert claims.length_ratios(np.ones((2, 2)), f_t).tolist() == [math.inf, math.sqrt(2) / 5]


def test_a_verdict_follows_from_the_mean_and_its_standard_error():
    noise = RNG.normal(size=400)
    assert claims.paired_claim(noise - noise.mean() - 1, -1)["verdict"] == "holds"
    assert claims.paired_claim(noise - noise.mean() + 1, -1)["verdict"] == "does not hold"
    assert claims.paired_claim(noise - noise.mean() + 0.01, -1)["verdict"] == "cannot be told"


# ---- kernels
def test_a_centred_kernel_is_that_of_features_without_their_mean():
    f = features_of(7, 5)
    centred = f - f.mean(0)
    np.testing.assert_allclose(claims.centred_kernel(f @ f.T), centred @ centred.T, atol=1e-12)


def test_kernel_errors_follow_the_equation_and_no_other_scale_has_a_smaller_error():
    f_s, f_t = features_of(12, 3), features_of(12, 5, 1)
    k_s, k_t = f_s @ f_s.T, f_t @ f_t.T
    difference = sum((k_s[i, j] - k_t[i, j]) ** 2 for i in range(12) for j in range(12))
    norm = sum(k_t[i, j] ** 2 for i in range(12) for j in range(12))
    assert claims.relative_error(k_s, k_t) == pytest.approx(math.sqrt(difference / norm))
    best, factor = claims.scaled_error(k_s, k_t)
    tried = [claims.relative_error(c * k_s, k_t) for c in np.linspace(0, 2 * factor, 41)]
    assert best == pytest.approx(min(tried))
    assert claims.scaled_error(7 * k_t, k_t) == pytest.approx((0, 1 / 7), abs=1e-12)


def test_class_means_equal_those_of_a_loop():
    f, y = features_of(20, 3), np.arange(20) % 4
    expected = [[sum(f[i, d] for i in range(20) if y[i] == k) / 5 for d in range(3)] for k in range(4)]
    assert claims.class_means(f, y) == pytest.approx(np.array(expected))


def test_nystrom_with_all_points_as_landmarks_is_exact():
    f = features_of(15, 6)
    k = f @ f.T
    assert claims.nystrom(k, k) == pytest.approx(k)


def test_nystrom_is_exact_only_if_the_landmarks_span_the_features():
    f, landmarks = features_of(15, 4), features_of(6, 4, 1)
    assert claims.nystrom(f @ landmarks.T, landmarks @ landmarks.T) == pytest.approx(f @ f.T)
    assert claims.nystrom(f @ landmarks[:2].T, landmarks[:2] @ landmarks[:2].T) != pytest.approx(f @ f.T)


def test_the_powers_one_half_and_minus_one_half_are_square_roots():
    landmarks = features_of(6, 4)
    w = landmarks @ landmarks.T  # of rank 4
    assert claims.power(w, 0.5) @ claims.power(w, 0.5) == pytest.approx(w)
    assert claims.power(w, -0.5) @ claims.power(w, -0.5) == pytest.approx(np.linalg.pinv(w))


@pytest.mark.parametrize("seed", range(20))
def test_the_corrected_bound_holds_if_its_premise_holds(seed):
    sizes = np.random.default_rng(seed).integers(2, 12, 3)
    f_s, f_t = features_of(30, sizes[0], seed), 2 * features_of(30, sizes[1], seed + 100)
    marks_s, marks_t = (
        3 * features_of(sizes[2], sizes[0], seed + 200),
        3 * features_of(sizes[2], sizes[1], seed + 300),
    )
    rank = claims.rank_above_one(marks_s, marks_t)
    found = claims.bound(f_s, f_t, marks_s, marks_t, rank)
    assert found["premise"]
    assert found["corrected_holds"]


def test_without_its_premise_the_corrected_bound_can_fail():
    f_s, f_t, marks_s, marks_t = (0.01 * features_of(30, 4, seed) for seed in range(4))
    found = claims.bound(f_s, 3 * f_t, marks_s[:5], marks_t[:5])
    assert not found["premise"]
    assert not found["corrected_holds"]


def test_the_parts_of_the_bound_follow_its_formula():
    f_s, f_t, marks_s, marks_t = (
        features_of(9, 3),
        features_of(9, 4, 1),
        features_of(2, 3, 2),
        features_of(2, 4, 3),
    )
    roots, eps, sizes = [], [], []
    for f, marks in ((f_s, marks_s), (f_t, marks_t)):
        c, w = f @ marks.T, marks @ marks.T
        values, vectors = np.linalg.eigh(w)
        root = sum(values[i] ** -0.5 * np.outer(vectors[:, i], vectors[:, i]) for i in range(2))
        roots.append(c @ root)
        eps.append(np.linalg.norm(f @ f.T - c @ np.linalg.inv(w) @ c.T))
        sizes.append(np.linalg.norm(c))
    found = claims.bound(f_s, f_t, marks_s, marks_t)
    assert found["eps"] == pytest.approx(eps)
    assert found["corrected"] == pytest.approx(2 * max(eps) + 2 * max(sizes) * np.linalg.norm(roots[0] - roots[1]))


# ---- cost of LP
class CountedFloat(float):
    """A number that counts its multiplications in the class attribute `count`."""

    count = 0

    def __mul__(self, other):
        CountedFloat.count += 1
        return CountedFloat(float(self) * float(other))

    def __add__(self, other):
        return CountedFloat(float(self) + float(other))

    def __sub__(self, other):
        return CountedFloat(float(self) - float(other))

    __radd__, __rmul__ = __add__, __mul__


def lp_in_loops(f_s, f_t, k, gamma):
    """LP's term in loops, by the equation of its docstring; distances are expanded into products, as LP does."""
    m = len(f_t)
    squares = [sum(v * v for v in row) for row in f_t]
    doubled = [[v * 2.0 for v in row] for row in f_t]
    distances = [
        [squares[i] + squares[j] - sum(map(CountedFloat.__mul__, doubled[i], f_t[j])) for j in range(m)]
        for i in range(m)
    ]
    nearest = [sorted((distances[i][j], j) for j in range(m) if j != i)[:k] for i in range(m)]
    width = sum(float(d) for row in nearest for d, _ in row) / (m * k)
    total = CountedFloat(0)
    for i in range(m):
        for d, j in nearest[i]:
            differences = [a - b for a, b in zip(f_s[i], f_s[j], strict=True)]
            total = total + CountedFloat(math.exp(-float(d) / width)) * sum(x * x for x in differences)
    return gamma * float(total) / width / (2 * m * k)


def test_the_multiplications_of_lp_equal_those_counted_in_a_loop():
    m, d_s, d_t, method = 8, 3, 4, LP()
    f_s, f_t = features_of(m, d_s), features_of(m, d_t, 1)
    s, t = (Outputs((), torch.from_numpy(f), torch.zeros(m, 10)) for f in (f_s, f_t))
    batch = Batch(None, torch.zeros(m, dtype=torch.int64), None)
    CountedFloat.count = 0
    counted = [[[CountedFloat(v) for v in row] for row in f] for f in (f_s, f_t)]
    expected = lp_in_loops(*counted, method.k, method.gamma)
    assert method.loss(s, t, batch)["lp"].item() == pytest.approx(expected)
    found = loss_cost.count_lp(d_s, d_t, m)
    assert found["multiplications"] == CountedFloat.count
    assert found["products"] == m * m * d_t
    assert found["parameters"] == 0


def test_counts_of_regressors_follow_the_formulas_of_fitnets():
    maps = loss_cost.FITNETS["FitNet 1"]
    found = loss_cost.count({"name": "FitNet 1", "maps": maps, "widths": None, "batch": 2})
    convolution, connected = found["regressor, convolution"], found["regressor, fully connected"]
    assert convolution["weights"] == 24_576
    assert connected["parameters"] == 19_267_584
    assert connected["multiplications"] == 2 * 19_267_584 + 2 * 192 * 7 * 7
    assert convolution["multiplications"] == 2 * 24_576 * 7 * 7 + 4 * 2 * 192 * 7 * 7
    assert convolution["products"] == 3 * 2 * 24_576 * 7 * 7


def test_maps_without_a_regressor_have_the_reason_instead_of_counts():
    found = loss_cost.count({"name": "a case", "maps": ((8, 2, 2), (8, 5, 5)), "widths": (8, 8), "batch": 4})
    assert "no regressor" in found["regressor, convolution"]["unfit"]


# ---- a whole pair
VARIANTS = ({"variant": "l2"}, {"variant": "lshl2"})


def cohort():
    """Runs of one student network: `ce` without a teacher, the others with the same teacher."""
    teacher = Run(dataset="trial", student="resnet14", method="ce", recipe=trial.RECIPE)
    rows = [("ce", {}), ("sp", {}), *(("lsh", {"hashes": 64} | variant) for variant in VARIANTS)]
    return [
        Run(
            dataset="trial", student="resnet8", method=method, knobs=resolve.resolve_knobs(method, knobs),
            teacher=None if method == "ce" else teacher, recipe=trial.RECIPE,
        )
        for method, knobs in rows
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(runs, options) after training on the images of the conformance checks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(datasets.SOURCES, "trial", lambda name, root, download: trial.images())
        options = Options(
            "a-suite", tmp_path_factory.mktemp("theory") / "results", tmp_path_factory.mktemp("data"), "cpu"
        )
        runs, store = cohort(), Store(options.results)
        for wave in ([runs[1].teacher], runs):
            assert {record.status for record in train(wave, make_context(wave, store, options.data, "cpu"))} == {"done"}
        yield runs, options
    datasets.load.cache_clear()


@pytest.fixture(scope="module")
def examined(trained):
    """(runs, options, the printed text, the JSON file)."""
    runs, options = trained
    printed = examine.examine([*runs, runs[1].model_copy(update={"method": "kd", "knobs": {}})], options)
    (path,) = (options.results / "features").glob("*.json")
    return runs, options, printed, path


def test_a_pair_is_measured_written_and_printed(examined):
    runs, _, printed, path = examined
    value = json.loads(path.read_text())
    assert path.stem.startswith("trial-resnet14-resnet8-")
    assert [one["id"] for one in value["runs"]] == [run.id for run in runs]
    assert {one["id"] for one in value["hashing"]} == {run.id for run in runs}
    assert [(one["base"], one["id"]) for one in value["verdicts"]] == [(runs[2].id, runs[3].id)]
    assert str(path) in printed
    assert "4 of 5 students have weights" in printed
    assert "-m kd --seeds 0" in printed
    assert all(field in value["made"] for field in ("commit", "torch", "device"))
    assert all(one["corrected_holds"] for one in value["bound"] if one["premise"])
    with np.load(path.with_suffix(".npz")) as arrays:
        assert {f"alike_{run.id}" for run in runs} < set(arrays)
        assert all(value.dtype in (np.float16, np.int16) for value in arrays.values())
    assert path.with_suffix(".npz").stat().st_size < 1_000_000


def test_the_measured_similarity_error_is_that_of_the_stored_weights(examined):
    runs, options, _, path = examined
    value, store = json.loads(path.read_text()), Store(options.results)
    sp = runs[1]
    nets = [weights.load_network(store.weights(run.id), run.student, 10) for run in (sp.teacher, sp)]
    data = trial.images()
    order = [i for label in range(10) for i in range(len(data.test_y)) if data.test_y[i] == label]
    x = (data.test_x[order].float() / 255 - torch.tensor(data.statistics[0])) / torch.tensor(data.statistics[1])
    with torch.no_grad():
        g_t, g_s = (likeness(n(x.permute(0, 3, 1, 2)).maps[-1]) for n in nets)
    found = next(one for one in value["likeness"] if one["id"] == sp.id)
    assert found["after"] == pytest.approx((g_s - g_t).norm().item(), rel=1e-3)
    assert len({one["before"] for one in value["likeness"]}) == 1


def test_a_second_measurement_gives_the_same_bytes_except_for_times(examined):
    runs, options, _, path = examined
    before = json.loads(path.read_text()), path.with_suffix(".npz").read_bytes()
    examine.examine(runs, options)
    after = json.loads(path.read_text())
    assert path.with_suffix(".npz").read_bytes() == before[1]
    assert before[0].pop("clock")["losses"]
    after.pop("clock")
    assert after == before[0]


def test_equal_features_and_rotated_ones_have_the_map_of_the_teacher():
    rng = np.random.default_rng(0)
    f = rng.normal(size=(60, 6)) + 8 * np.eye(3, 6)[np.repeat(np.arange(3), 20)]
    rotated = f @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    points = layouts({"teacher": f, "same": f, "rotated": rotated})
    for name in ("same", "rotated"):
        distance = np.linalg.norm(points[name] - points["teacher"], axis=1)
        assert np.median(distance) < 0.1 * np.ptp(points["teacher"])


def test_there_is_no_map_of_too_few_images_nor_of_constant_or_non_finite_features():
    f = np.random.default_rng(0).normal(size=(30, 6))
    assert layouts({"teacher": f[:5]}) == {}
    assert layouts({"teacher": f * np.nan, "other": f}) == {}
    assert set(layouts({"teacher": f, "broken": f * np.nan, "flat": 0 * f})) == {"teacher"}


def test_tables_and_figures_are_made_from_the_files_alone_and_are_reproducible(examined):
    runs, options, _, _ = examined
    found, complaints = theory_sections(Store(options.results))
    ((title, tables, drawings),) = found
    assert not complaints
    assert "trial · resnet14-resnet8" in title
    by_name = {table.name.rsplit("-", 1)[1]: table for table in tables}
    assert set(by_name) == {"cost", "hashing", "likeness", "kernel", "bound"}
    assert len(by_name["hashing"].notes) == 2
    assert all("here." in note.text for note in by_name["hashing"].notes)
    assert "quoted" in to_markdown(by_name["kernel"])
    assert all(f"{run.id}-1" in to_csv(by_name["kernel"]) for run in runs)
    assert {drawing.name.rsplit("-", 1)[1] for drawing in drawings} == {"angles", "matrices", "points"}
    again = theory_sections(Store(options.results))[0][0][2]
    assert [(one.svg, one.pdf) for one in again] == [(one.svg, one.pdf) for one in drawings]
    assert all(one.inline().startswith("<svg") for one in drawings)


DAMAGED = {
    "truncated": '{"schema": 1, "data',
    "foreign": '{"schema": 7}',
    "a list": "[1, 2]",
    "without arrays": None,
    "with strings for numbers": ('"raw": ', '"raw": "much", "old": '),
    "with numbers for lists": ('"likeness": ', '"likeness": 3, "old": '),
    "without protocol": ('"protocol": ', '"other": '),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_named_and_the_others_are_shown(examined, tmp_path, kind):
    _, _, _, path = examined
    folder, damage = tmp_path / "features", DAMAGED[kind]
    folder.mkdir()
    for name in ("a-b-c-000000", "d-e-f-000000"):
        (folder / f"{name}.json").write_bytes(path.read_bytes())
        (folder / f"{name}.npz").write_bytes(path.with_suffix(".npz").read_bytes())
    damaged = folder / "a-b-c-000000.json"
    if damage is None:
        damaged.with_suffix(".npz").write_bytes(path.with_suffix(".npz").read_bytes()[:500])
    else:
        damaged.write_text(damage if isinstance(damage, str) else damaged.read_text().replace(*damage))
    parts, (sentence,) = theory_sections(Store(tmp_path))
    assert len(parts) == 1
    assert str(damaged) in sentence
    assert "\n" not in sentence


def test_without_its_teachers_weights_a_pair_cannot_be_examined(trained, tmp_path):
    runs, options = trained
    with pytest.raises(BadInput, match="weights of teacher resnet14"):
        examine.examine(runs, Options("a-suite", tmp_path, options.data, "cpu"))
    with pytest.raises(BadInput, match="no pair"):
        examine.examine(runs[:1], options)


def test_the_lowest_seed_with_weights_is_examined_and_runs_without_weights_have_a_command(trained):
    runs, options = trained
    store = Store(options.results)
    later = [run.model_copy(update={"seed": 1}) for run in runs]
    (pair,) = pairs.pairs_of([*later, *runs], store)
    assert (pair.runs, pair.without_weights) == (tuple(runs), ())
    empty = pairs.Pair(runs[1].teacher, (), tuple(runs[1:]))
    (line,) = pairs.missing_weights_lines(empty, store.latest(), options)
    assert line.startswith("sp; lsh, variant l2, hashes 64; ")
    assert f"-m sp,lsh --seeds 0 --again --results {options.results}" in line


def test_each_teacher_and_student_network_is_a_pair_and_a_run_without_teacher_is_in_each_pair_of_its_network(trained):
    runs, options = trained
    other = runs[1].model_copy(update={"student": "resnet20"})
    teacher = runs[1].teacher.model_copy(update={"seed": 7})
    again = runs[1].model_copy(update={"teacher": teacher})
    found = pairs.pairs_of([*runs, other, again], Store(options.results))
    assert [pair.all_runs for pair in found] == [tuple(runs), (other,), (runs[0], again)]
    assert len({pairs.file_stem(pair) for pair in (found[0], found[2])}) == 2


def test_embeddings_of_another_width_are_skipped_with_the_reason_and_wide_ones_are_reduced_for_maps(trained):
    runs, options = trained
    data = trial.images()
    _, eval_split = make_splits(data, "test", trial.CPU.device)
    evaluation = features.evaluation_set(Store(options.results), trial.CPU, eval_split, data)
    with seeds.scope("wide"):
        wide = features.NetworkFeatures(torch.rand(24, 90).numpy(), torch.rand(24, 10).numpy(), np.eye(24))
        narrow = features.NetworkFeatures(torch.rand(24, 30).numpy(), wide.logits, wide.likeness)
    found = measure.Measurement()
    assert measure.hashing(found, runs[0], narrow, wide) is None
    assert found.hashing == [{"id": runs[0].id, "skipped": "its embedding is 30 wide, the teacher’s 90"}]
    reduced = measure.map_features(wide, evaluation)
    assert reduced.shape == (24, 24)  # as many components as images
    selected = wide.embedding[evaluation.map_index.numpy()]
    distances = [np.linalg.norm(f[:, None] - f, axis=2) for f in (reduced, selected)]
    assert distances[0] == pytest.approx(distances[1], abs=1e-5)
