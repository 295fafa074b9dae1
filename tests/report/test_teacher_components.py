"""Tests of the model with several teachers, against balanced analyses of variance, numpy and simulated studies."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.report.statistics.blocks import Block, crossed_error, matched, seed_means
from benchmark.report.statistics.components import RESIDUAL, TEACHER, products, quadratic_forms, solve
from benchmark.report.statistics.families import against, all_pairs, best_rows
from benchmark.report.statistics.model import fit_pair
from benchmark.report.statistics.paired import Paired, paired_difference

T, S = 3, 3  # teachers, seeds


def taught(table):
    """Block -> value of a table of teachers by seeds."""
    return {Block(t, s): float(value) for t, line in enumerate(table) for s, value in enumerate(line)}


def made_up(seed=0, rows=2, teachers=T, seeds=S, own=0.0):
    """A column of `ce` and some taught rows; own: sd of what a teacher, and a seed, does to one row alone."""
    draw = np.random.default_rng(seed).normal
    common = draw(0, 0.3, seeds) + draw(0, 0.5, (teachers, 1))
    tables = {
        f"r{k}": k + common + draw(0, own, (teachers, 1)) + draw(0, own, seeds) + draw(0, 0.3, (teachers, seeds))
        for k in range(rows)
    }
    return {"ce": dict(enumerate(draw(0, 0.3, seeds)))} | {name: taught(table) for name, table in tables.items()}


def incomplete(seed=1):
    """A column from which runs are missing: one row has two teachers only, another lacks single runs."""
    column = made_up(seed, rows=3, own=0.4)
    gaps = {"r0": [Block(0, 1), Block(2, 2)], "r1": [Block(1, s) for s in range(S)], "r2": [Block(2, 0)], "ce": [2]}
    return {row: {key: v for key, v in values.items() if key not in gaps[row]} for row, values in column.items()}


# ---- blocks
def test_a_run_without_a_teacher_is_matched_with_the_run_of_every_teacher_and_no_run_replaces_another():
    plain, kd = {0: 1.0, 1: 2.0}, {Block(0, 0): 5.0, Block(1, 0): 6.0, Block(1, 1): 7.0, Block(1, 2): 8.0}
    assert matched(kd, plain) == {Block(0, 0): (5, 1), Block(1, 0): (6, 1), Block(1, 1): (7, 2)}
    assert matched(kd, {Block(1, 0): 3.0, Block(2, 0): 4.0}) == {Block(1, 0): (6, 3)}
    assert matched(plain, {1: 4.0, 3: 0.0}) == {1: (2, 4)}
    assert seed_means(kd) == {0: 5.5, 1: 7, 2: 8}


def test_the_error_of_a_mean_over_teachers_and_seeds_is_that_of_two_way_clusters():
    table = np.array([[1.0, 4.0, 2.0], [3.0, 8.0, 5.0]])
    centred = table - table.mean()
    between_seeds = centred.mean(0).var(ddof=1) / 3
    between_teachers = centred.mean(1).var(ddof=1) / 2
    runs = centred.var(ddof=1) / 6
    expected = max(between_seeds, between_teachers, between_seeds + between_teachers - runs)
    assert crossed_error(taught(centred)) == (pytest.approx(math.sqrt(expected)), 1)
    one_teacher = {Block(4, s): value for s, value in enumerate((0.1, -0.2, 0.1))}
    assert crossed_error(one_teacher) == (pytest.approx(np.std([0.1, -0.2, 0.1], ddof=1) / math.sqrt(3)), 2)
    assert crossed_error({Block(0, 0): 0.0}) is None


def test_differences_to_one_run_without_a_teacher_have_no_interval():
    kd = {Block(t, 0): value for t, value in enumerate((0.71, 0.72, 0.70))}
    assert paired_difference(kd, {0: 0.69}) == Paired(pytest.approx(0.02), 3, blocks=tuple(kd))


def test_paired_differences_over_teachers_have_the_clustered_interval_and_no_sign_flips():
    column = made_up(3)
    found = paired_difference(column["r1"], column["ce"])
    each = {key: value - column["ce"][key.seed] for key, value in column["r1"].items()}
    mean = sum(each.values()) / 9
    error, degrees = crossed_error({key: value - mean for key, value in each.items()})
    assert (found.n, found.mean, found.error, found.degrees) == (9, pytest.approx(mean), pytest.approx(error), 2)
    low, high = stats.t.interval(0.95, degrees, mean, error)
    assert (found.low, found.high, found.sign_flip) == (pytest.approx(low), pytest.approx(high), None)


# ---- estimates
def test_with_one_teacher_seeds_and_blocks_give_the_same_model():
    plain = {"ce": {0: 0.6, 1: 0.7, 2: 0.5}, "kd": {0: 0.72, 1: 0.78, 2: 0.66}}
    blocks = plain | {"kd": {Block(7, seed): value for seed, value in plain["kd"].items()}}
    assert against(fit_pair(plain), "ce") == against(fit_pair(blocks), "ce") and fit_pair(blocks).components is None


@pytest.mark.parametrize("column", [made_up(rows=3), incomplete()])
def test_effects_are_those_of_least_squares_with_teachers_that_sum_to_zero(column):
    rows, cells = list(column), [(row, key, value) for row, values in column.items() for key, value in values.items()]
    design = np.zeros((len(cells), len(rows) + S - 1 + T - 1))
    for place, (row, key, _) in enumerate(cells):
        seed = key.seed if isinstance(key, Block) else key
        design[place, rows.index(row)] = 1
        if seed:
            design[place, len(rows) + seed - 1] = 1
        if isinstance(key, Block):
            design[place, len(rows) + S - 1 :] = -1 if key.teacher == T - 1 else np.arange(T - 1) == key.teacher
    values = np.array([value for *_, value in cells])
    solution, squares, rank, _ = np.linalg.lstsq(design, values)
    model = fit_pair(column)
    assert rank == design.shape[1] and model.connected.all()
    for i, row in enumerate(rows):
        assert model.difference(row, "ce") == pytest.approx(solution[i] - solution[rows.index("ce")])
    expected = math.sqrt(squares[0] / (len(cells) - rank)), len(cells) - rank
    assert (model.residual.sd, model.residual.degrees) == (pytest.approx(expected[0]), expected[1])


def test_a_teachers_effect_shifts_no_difference_between_taught_rows_and_none_of_their_errors():
    column = made_up(rows=3)
    shifted = {
        row: {key: value + (7 * key.teacher if isinstance(key, Block) else 0) for key, value in values.items()}
        for row, values in column.items()
    }
    one, other = (against(fit_pair(each), "r0") for each in (column, shifted))
    for row in ("r1", "r2"):
        assert (other[row].difference, other[row].error) == pytest.approx((one[row].difference, one[row].error))
    assert other["ce"].error > 3 * one["ce"].error


def test_rows_of_different_teachers_are_compared_only_if_other_rows_tell_the_teachers_apart():
    own = {"a": {Block(0, s): 0.7 + s / 100 for s in range(3)}, "b": {Block(1, s): 0.71 - s / 90 for s in range(3)}}
    assert fit_pair(own).difference("a", "b") is None
    joined = own | {"c": {Block(t, s): 0.6 + t / 10 + s * s / 99 for t in range(2) for s in range(3)}}
    assert fit_pair(joined).difference("a", "b") == pytest.approx(
        np.mean([s / 100 + s / 90 - 0.01 for s in range(3)]) + 0.1
    )


# ---- components
def test_mean_squares_of_a_balanced_table_are_the_textbooks():
    rows, table = 3, np.random.default_rng(2).normal(0, 0.1, (3, T, 4))
    table += np.random.default_rng(3).normal(0, 1, (3, T, 1)) + np.random.default_rng(4).normal(0, 1, (3, 1, 4))
    found = fit_pair({f"r{k}": taught(table[k]) for k in range(rows)}).components
    mean, r, t = table.mean(), table.mean((1, 2)), table.mean((0, 2))
    rt, rs, s = table.mean(2), table.mean(1), table.mean((0, 1))
    teacher = rows * 4 * ((t - mean) ** 2).sum() / 2
    row_teacher = 4 * ((rt - r[:, None] - t + mean) ** 2).sum() / 4
    row_seed = T * ((rs - r[:, None] - s + mean) ** 2).sum() / 6
    fitted = rt[:, :, None] + rs[:, None] - r[:, None, None]
    residual = ((table - fitted) ** 2).sum() / (rows * T * 4 - rows * (T + 4 - 1))
    assert found.squares == pytest.approx([teacher, row_teacher, row_seed, residual])
    assert found.degrees.tolist() == [2, 4, 6, 18]
    assert found.variance(RESIDUAL) == pytest.approx(residual)
    assert found.variance("row × teacher") == pytest.approx((row_teacher - residual) / 4)
    assert found.variance("row × seed") == pytest.approx((row_seed - residual) / T)
    assert found.variance(TEACHER) == pytest.approx(max(0.0, (teacher - row_teacher) / (4 * rows)))
    between = found.contrast(0, 1)
    variance = 2 * (row_teacher / (4 * T) + row_seed / (4 * T) - residual / (4 * T))
    assert between.sd == pytest.approx(math.sqrt(variance))
    parts = np.array([row_teacher, row_seed, residual]) * 2 / (4 * T)
    assert between.degrees == pytest.approx(variance**2 / (parts**2 / [4, 6, 18]).sum(), abs=1e-5)


def test_estimates_of_an_incomplete_table_are_unbiased():
    column = incomplete()
    cells = [(i, key) for i, values in enumerate(column.values()) for key in values]
    seed, teacher = [getattr(key, "seed", key) for _, key in cells], [getattr(key, "teacher", -1) for _, key in cells]
    rows, seeds, teachers = (
        (np.array(own)[:, None] == np.arange(count)).astype(float)
        for own, count in (([i for i, _ in cells], 4), (seed, S), (teacher, T))
    )
    terms = {TEACHER: teachers, "row × teacher": products(rows, teachers), "row × seed": products(rows, seeds)}
    forms = quadratic_forms(np.hstack([rows, seeds]), terms)
    assert list(forms) == [*terms, RESIDUAL]
    estimates = solve(list(terms.values()), list(forms.values()), np.array([1e9, 1e6, 1e3, 1.0]))
    terms[RESIDUAL] = np.eye(len(cells))
    for name, weights in zip(forms, estimates, strict=True):
        form = sum(w * a / round(np.trace(a)) for w, a in zip(weights, forms.values(), strict=True))
        for other, indicators in terms.items():
            assert np.trace(indicators.T @ form @ indicators) == pytest.approx(float(other == name), abs=1e-9)


def test_an_interaction_of_method_and_teacher_widens_comparisons_between_methods():
    column = made_up(4, rows=3, teachers=4, seeds=5)
    column.pop("ce")
    shifts = {"r0": (2, -2, 1, -1), "r1": (-2, 1, 2, -1), "r2": (0, 1, -3, 2)}
    twisted = {row: {key: v + shifts[row][key.teacher] for key, v in own.items()} for row, own in column.items()}
    one, other = (fit_pair(each) for each in (column, twisted))
    assert other.components.variance("row × teacher") > 1
    assert other.error("r1", "r0") > 5 * one.error("r1", "r0") and other.degrees("r1", "r0") < 7
    assert all_pairs(one)["r1", "r0"].p < 0.01 < all_pairs(other)["r1", "r0"].p
    assert best_rows(one) == ("r2", set()) and best_rows(other) == ("r2", {"r0", "r1"})


def test_without_noise_nothing_breaks():
    kd = {Block(t, s): 0.7 + t / 100 + s / 50 for t in range(3) for s in range(3)}
    column = {
        "ce": {s: 0.6 + s / 50 for s in range(3)},
        "kd": kd,
        "sp": {key: value + 0.01 for key, value in kd.items()},
    }
    found = against(fit_pair(column), "kd")
    assert (found["sp"].difference, found["sp"].verdict) == (pytest.approx(0.01), "better")
    assert found["ce"].difference == pytest.approx(-0.11) and found["ce"].error == pytest.approx(0.01 / math.sqrt(3))


# ---- error rates
def balanced_study(ce, kd):
    """(Difference, error, degrees of freedom) of kd minus ce by balanced analyses of variance of many studies.

    ce: (B, S); kd: (B, T, S).  The component of row × seed enters where its F test has p < 0.25.
    """
    teachers, seeds = kd.shape[1:]
    gaps = kd.mean(1) - ce
    difference = gaps.mean(1)
    teacher = seeds * kd.mean(2).var(1, ddof=1)
    row_seed = teachers / (teachers + 1) * gaps.var(1, ddof=1)
    inside = kd - kd.mean(2, keepdims=True) - kd.mean(1, keepdims=True) + kd.mean((1, 2), keepdims=True)
    df = (teachers - 1) * (seeds - 1)
    residual = (inside**2).sum((1, 2)) / df
    kept = stats.f.sf(row_seed / residual, seeds - 1, df) < 0.25
    pool = (df * residual + (seeds - 1) * row_seed) / (df + seeds - 1)
    rest, rest_df = np.where(kept, residual, pool), np.where(kept, df, df + seeds - 1)
    of_teacher = np.where(teacher > rest, 1 / (seeds * teachers), 0)
    of_row_seed = np.where(kept & (row_seed > rest), (teachers + 1) / (teachers * seeds), 0)
    of_rest = (1 + 1 / teachers) / seeds - of_teacher - of_row_seed
    parts = np.array([of_teacher * teacher, of_row_seed * row_seed, of_rest * rest])
    uncertainty = (parts**2 / np.array([0 * rest + teachers - 1, 0 * rest + seeds - 1, rest_df])).sum(0)
    return difference, np.sqrt(parts.sum(0)), parts.sum(0) ** 2 / uncertainty


def null_studies(count):
    """(B, S) of ce and (B, T, S) of kd, equally good: sd 0.5 of the teachers, 0.2 of the seeds, residual 0.3."""
    draw = np.random.default_rng(20_26).normal
    seeds = draw(0, 0.2, (count, 1, S))
    kd = seeds + draw(0, 0.5, (count, T, 1)) + draw(0, 0.3, (count, T, S))
    return seeds[:, 0] + draw(0, 0.3, (count, S)), kd


def test_a_comparison_over_teachers_is_the_balanced_analysis_of_variance():
    ce, kd = null_studies(40)
    expected = np.array(balanced_study(ce, kd)).T
    for own, table, numbers in zip(ce, kd, expected, strict=True):
        model = fit_pair({"ce": dict(enumerate(own)), "kd": taught(table)})
        found = [measure("kd", "ce") for measure in (model.difference, model.error, model.degrees)]
        assert found == pytest.approx(numbers, rel=1e-5)


def test_equal_rows_are_told_apart_in_one_of_twenty_studies_and_far_more_often_without_the_teachers_term():
    ce, kd = null_studies(20_000)
    difference, error, degrees = balanced_study(ce, kd)
    false = (np.abs(difference) > stats.t.ppf(0.975, degrees) * error).mean()
    assert 0.03 < false < 0.06, false
    naive, df = error_without_the_term(ce, kd)
    ignored = (np.abs(difference) > stats.t.ppf(0.975, df) * naive).mean()
    assert ignored > 0.18, ignored
    pairs = (kd - ce[:, None]).reshape(len(ce), -1)  # nine pairs of runs as if they were independent
    paired = np.abs(pairs.mean(1)) > stats.t.ppf(0.975, T * S - 1) * pairs.std(1, ddof=1) / math.sqrt(T * S)
    assert paired.mean() > 0.2, paired.mean()


def error_without_the_term(ce, kd):
    """(Error, degrees of freedom) of kd minus ce by the residual of row + seed + teacher alone."""
    gaps = kd.mean(1) - ce
    inside = kd - kd.mean(2, keepdims=True) - kd.mean(1, keepdims=True) + kd.mean((1, 2), keepdims=True)
    squares = (inside**2).sum((1, 2)) + T / (T + 1) * (S - 1) * gaps.var(1, ddof=1)
    df = (T - 1) * (S - 1) + S - 1
    return np.sqrt(squares / df * (1 + 1 / T) / S), df


def test_the_error_without_the_term_is_that_of_the_models_residual():
    ce, kd = null_studies(1)
    model, (error, df) = fit_pair({"ce": dict(enumerate(ce[0])), "kd": taught(kd[0])}), error_without_the_term(ce, kd)
    expected = model.residual.sd * math.sqrt((1 + 1 / T) / S)
    assert (error[0], df) == (pytest.approx(expected), model.residual.degrees)
