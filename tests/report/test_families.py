"""Tests of the model of a pair and of the families of comparisons, against published tables, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.report.statistics.equal_variances import statistic
from benchmark.report.statistics.families import (
    Contrast,
    against,
    all_pairs,
    best_rows,
    family_loadings,
    leading_rows,
    verdicts_over_pairs,
)
from benchmark.report.statistics.max_t import (
    max_t_p,
    max_t_quantile,
    product_structure,
    studentized_range_p,
    studentized_range_quantile,
)
from benchmark.report.statistics.model import fit_pair
from benchmark.report.statistics.summary import Spread, pooled

HALF = round(math.sqrt(0.5), 9)  # loadings that give correlations of 0.5
COLUMN = {
    "ce": {0: 0.690, 1: 0.684, 2: 0.701},
    "kd": {0: 0.702, 1: 0.703, 2: 0.712},
    "sp": {0: 0.711, 1: 0.706, 2: 0.721},
    "lp": {0: 0.695, 1: 0.694, 2: 0.700},
}


def balanced_residual(column):
    """The residual standard deviation of row + seed in a table without gaps, by the textbook's sums of squares."""
    table = [list(values.values()) for values in column.values()]
    rows, n = len(table), len(table[0])
    grand = sum(sum(row) for row in table) / (rows * n)
    squares = 0.0
    for i in range(rows):
        for j in range(n):
            row_mean = sum(table[i]) / n
            seed_mean = sum(table[k][j] for k in range(rows)) / rows
            squares += (table[i][j] - row_mean - seed_mean + grand) ** 2
    return math.sqrt(squares / ((rows - 1) * (n - 1)))


def incomplete_column(seed=0, rows=6, n=5, gaps=9):
    """A column with gaps, made from rows, seeds and noise."""
    generator = np.random.default_rng(seed)
    table = (
        0.7
        + generator.normal(0, 0.01, (rows, 1))
        + generator.normal(0, 0.01, n)
        + generator.normal(0, 0.004, (rows, n))
    )
    missing = set(generator.choice(rows * n, gaps, replace=False).tolist())
    return {f"r{i}": {j: table[i, j] for j in range(n) if i * n + j not in missing} for i in range(rows)}


def least_squares(column):
    """(Coefficients, residual sum of squares, degrees of freedom, inverse of X'X), first row and seed as reference."""
    rows, seeds = list(column), sorted({seed for values in column.values() for seed in values})
    design, values = [], []
    for i, row in enumerate(rows):
        for seed, value in column[row].items():
            design.append([1.0] + [float(i == k) for k in range(1, len(rows))] + [float(seed == s) for s in seeds[1:]])
            values.append(value)
    design, values = np.array(design), np.array(values)
    normal = design.T @ design
    found = np.linalg.solve(normal, design.T @ values)
    return found, float(((values - design @ found) ** 2).sum()), len(values) - len(found), np.linalg.inv(normal)


# ---- the model
def test_a_complete_table_has_the_residual_of_the_textbook():
    model = fit_pair(COLUMN)
    assert (model.residual.sd, model.residual.degrees) == (pytest.approx(balanced_residual(COLUMN)), 6)
    assert model.difference("kd", "ce") == pytest.approx((0.012 + 0.019 + 0.011) / 3)
    assert model.error("kd", "ce") == pytest.approx(balanced_residual(COLUMN) * math.sqrt(2 / 3))


def test_of_two_rows_the_model_is_the_paired_t_test():
    column = {name: COLUMN[name] for name in ("kd", "ce")}
    expected = stats.ttest_rel(list(COLUMN["kd"].values()), list(COLUMN["ce"].values()))
    found = against(fit_pair(column), "ce")["kd"]
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.p, found.degrees) == (pytest.approx(expected.pvalue, abs=1e-6), 2)


@pytest.mark.parametrize("seed", range(3))
def test_a_table_with_gaps_is_fitted_as_by_the_normal_equations(seed):
    column = incomplete_column(seed)
    model, (coefficients, squares, degrees, inverse) = fit_pair(column), least_squares(column)
    assert (model.residual.sd, model.residual.degrees) == (pytest.approx(math.sqrt(squares / degrees)), degrees)
    for i, row in enumerate(list(column)[1:], 1):
        assert model.difference(row, "r0") == pytest.approx(coefficients[i])
        assert model.error(row, "r0") == pytest.approx(math.sqrt(squares / degrees * inverse[i, i]))


def test_a_constant_shift_of_a_seed_changes_no_difference_and_no_error():
    column = incomplete_column()
    shifted = {row: {seed: value + seed / 7 for seed, value in values.items()} for row, values in column.items()}
    for baseline in ("r0", "r3"):
        one, other = (against(fit_pair(each), baseline) for each in (column, shifted))
        for row, contrast in one.items():
            assert (other[row].low, other[row].high) == pytest.approx((contrast.low, contrast.high), abs=1e-9)


def test_rows_that_no_chain_of_seeds_joins_are_not_compared():
    model = fit_pair({"a": {0: 0.7, 1: 0.71}, "b": {0: 0.69, 1: 0.72}, "c": {5: 0.6, 6: 0.61}})
    assert model.difference("a", "c") is None and against(model, "c") == {"a": None, "b": None}
    assert all_pairs(model)["a", "c"] is None and best_rows(model) == (None, set())
    chain = fit_pair({"a": {0: 0.7, 1: 0.71}, "b": {1: 0.70, 2: 0.72}, "c": {2: 0.6}})
    assert chain.difference("a", "c") == pytest.approx(0.71 - 0.70 + 0.72 - 0.6)


def test_single_seeds_have_differences_and_no_verdict():
    model = fit_pair({"a": {0: 0.7}, "b": {0: 0.6}})
    found = against(model, "b")["a"]
    assert (found.difference, found.low, found.p, found.verdict) == (pytest.approx(0.1), None, None, "n too small")
    assert best_rows(model) == (None, set()) and model.between_seeds is None


def test_a_row_with_one_run_has_an_interval_by_the_spread_of_the_others_and_no_verdict():
    model = fit_pair(COLUMN | {"new": {1: 0.9}})
    assert model.residual.sd == pytest.approx(balanced_residual(COLUMN))
    expected = 0.9 - (0.684 + 0.012 * 0) - 0.0
    assert model.difference("new", "ce") == pytest.approx(expected - seed_shift(1), abs=1e-12)
    found = against(model, "ce")["new"]
    assert found.low > 0 and found.p < 0.001 and found.verdict == "one run"
    assert {contrast.verdict for contrast in against(model, "new").values()} == {"one run"}
    assert against(model, "ce")["sp"].verdict == against(fit_pair(COLUMN), "ce")["sp"].verdict == "better"
    every = all_pairs(model)
    assert every["new", "kd"].verdict == every["kd", "new"].verdict == "one run" and every["sp", "ce"].low > 0


def test_a_row_with_one_run_is_neither_best_nor_marked_and_takes_no_mark_from_others():
    for top1 in (0.9, 0.7, 0.5):
        model = fit_pair(COLUMN | {"new": {1: top1}})
        assert best_rows(model) == best_rows(fit_pair(COLUMN)) == ("sp", set())
        assert leading_rows(model, set(model.rows)) == ({"sp"}, {"kd"})
    near = {"a": {0: 0.70, 1: 0.71, 2: 0.70}, "b": {0: 0.705, 1: 0.70, 2: 0.70}, "far": {0: 0.8}}
    assert best_rows(fit_pair(near)) == ("a", {"b"})


def seed_shift(seed):
    """How much the seed moves the rows of COLUMN, beyond what it moves `ce`."""
    overall = np.mean([[values[s] for s in range(3)] for values in COLUMN.values()], axis=0)
    return (overall[seed] - overall.mean()) - (COLUMN["ce"][seed] - np.mean(list(COLUMN["ce"].values())))


def test_without_noise_every_difference_is_told_apart():
    model = fit_pair({"a": {0: 0.70, 1: 0.71}, "b": {0: 0.69, 1: 0.70}, "c": {0: 0.70, 1: 0.71}})
    found = against(model, "b")
    assert (found["a"].p, found["a"].verdict, found["c"].verdict) == (0, "better", "better")
    every = all_pairs(model)
    assert against(model, "a")["c"].p == 1 and every["a", "c"].p == 1 and every["a", "b"].p == 0
    assert best_rows(model) == ("a", {"c"})


# ---- Dunnett
@pytest.mark.parametrize(
    ("degrees", "treatments", "two_sided", "one_sided"),
    [(5, 1, 2.57, 2.02), (5, 2, 3.03, 2.44), (10, 3, 2.76, 2.34), (20, 9, 2.95, 2.60), (60, 5, 2.58, 2.28)],
)
def test_limits_are_those_of_the_published_tables_of_dunnett(degrees, treatments, two_sided, one_sided):
    found = [max_t_quantile((HALF,) * treatments, degrees, two_sided=both) for both in (True, False)]
    assert found == pytest.approx([two_sided, one_sided], abs=0.006)


@pytest.mark.parametrize("sizes", [(5, 5, 5, 5), (8, 3, 4, 6), (3, 7, 7, 2)])
def test_p_is_that_of_scipy_in_a_one_way_layout(sizes):
    generator = np.random.default_rng(sum(sizes))
    groups = [generator.normal(0.3 * i, 1, size) for i, size in enumerate(sizes)]
    degrees = sum(sizes) - len(sizes)
    sd = math.sqrt(sum(((group - group.mean()) ** 2).sum() for group in groups) / degrees)
    loadings = tuple(math.sqrt(size / (size + sizes[0])) for size in sizes[1:])
    expected = stats.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(0))
    for group, p in zip(groups[1:], expected.pvalue, strict=True):
        t = abs(group.mean() - groups[0].mean()) / (sd * math.sqrt(1 / len(group) + 1 / sizes[0]))
        assert max_t_p(t, loadings, degrees) == pytest.approx(p, abs=2e-3)  # scipy's is a Monte Carlo estimate


@pytest.mark.parametrize(("baseline", "limit"), [("r0", 2.6), ("r4", 2.2)])
def test_a_table_with_gaps_agrees_with_the_multivariate_t_distribution(baseline, limit):
    model = fit_pair(incomplete_column())
    base = model.rows.index(baseline)
    own = model.covariance[base]
    covariances = model.covariance - own[None] - own[:, None] + own[base]
    others = [i for i in range(len(model.rows)) if i != base]
    shape = covariances[np.ix_(others, others)]
    shape = shape / np.sqrt(np.outer(np.diag(shape), np.diag(shape)))
    degrees = model.residual.degrees
    draws = stats.multivariate_t(shape=shape, df=degrees, seed=1).rvs(200_000)
    expected = (np.abs(draws).max(1) > limit).mean()
    loadings = family_loadings(model, baseline, [model.rows[i] for i in others])
    assert max_t_p(limit, loadings, degrees) == pytest.approx(expected, abs=0.004)


def test_a_product_structure_is_recovered():
    loadings = np.array([0.9, 0.5, 0.7, -0.3])
    found = product_structure(np.outer(loadings, loadings) + np.diag(1 - loadings**2))
    assert np.outer(found, found)[0, 1:] == pytest.approx(np.outer(loadings, loadings)[0, 1:], abs=1e-6)
    assert product_structure(np.array([[1.0, -0.25], [-0.25, 1.0]])) == (0.5, -0.5)


@pytest.mark.parametrize(("count", "degrees"), [(2, 1), (3, 4), (10, 18), (20, 38)])
def test_tukeys_p_is_that_of_scipys_studentized_range(count, degrees):
    for t in (0.5, 2.0, 5.0):
        expected = stats.studentized_range.sf(t * math.sqrt(2), count, degrees)
        assert studentized_range_p(t, count, degrees) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(("count", "degrees"), [(2, 3), (3, 4), (10, 18), (22, 42)])
def test_tukeys_limit_is_that_of_scipys_studentized_range(count, degrees):
    expected = stats.studentized_range.ppf(0.95, count, degrees) / math.sqrt(2)
    assert studentized_range_quantile(count, degrees) == pytest.approx(expected, abs=1e-4)


def test_tukeys_interval_is_the_difference_and_its_limit_times_the_error_and_is_mirrored():
    model = fit_pair(COLUMN)
    every, limit = all_pairs(model), stats.studentized_range.ppf(0.95, 4, 6) / math.sqrt(2)
    assert len(every) == 12
    for a, b in every:
        found, error = every[a, b], balanced_residual(COLUMN) * math.sqrt(2 / 3)
        mean = np.mean([COLUMN[a][seed] - COLUMN[b][seed] for seed in range(3)])
        assert (found.low, found.high) == pytest.approx((mean - limit * error, mean + limit * error), abs=1e-6)
        p = stats.studentized_range.sf(math.sqrt(2) * abs(mean) / error, 4, 6)
        assert (found.p, found.source, found.degrees) == (pytest.approx(p, abs=3e-6), "Tukey", 6)
        assert (every[b, a].low, every[b, a].p) == (pytest.approx(-found.high), found.p)
        opposite = {"better": "worse", "worse": "better", "cannot be told": "cannot be told"}
        assert every[b, a].verdict == opposite[found.verdict]


def test_tukeys_p_is_never_below_dunnetts_and_its_interval_never_narrower():
    model = fit_pair(incomplete_column())
    for baseline in model.rows:
        for row, contrast in against(model, baseline).items():
            found = all_pairs(model)[row, baseline]
            assert found.p >= contrast.p - 1e-6 and found.low <= contrast.low and found.high >= contrast.high


# ---- the best of a column
def test_the_best_mean_is_named_and_rows_not_told_from_it_are_marked():
    assert best_rows(fit_pair(COLUMN)) == ("sp", set())
    near = COLUMN | {"near": {0: 0.709, 1: 0.707, 2: 0.719}}
    assert best_rows(fit_pair(near)) == ("sp", {"near"})
    assert best_rows(fit_pair({})) == (None, set())


def test_a_row_is_told_from_the_best_at_the_one_sided_limit_of_dunnett():
    model = fit_pair(COLUMN)
    limit = max_t_quantile((HALF,) * 3, 6, two_sided=False) * model.error("sp", "kd")
    best = {row: dict(values) for row, values in COLUMN.items()}
    for distance, marked in ((0.99 * limit, {"kd"}), (1.01 * limit, set())):
        shift = distance - model.difference("sp", "kd")
        moved = best | {"sp": {seed: value + shift for seed, value in COLUMN["sp"].items()}}
        assert best_rows(fit_pair(moved)) == ("sp", marked)


def test_a_noisy_row_earns_no_mark_by_its_noise():
    generator = np.random.default_rng(4)
    quiet = {f"r{i}": dict(enumerate(0.70 + generator.normal(0, 0.001, 5))) for i in range(6)}
    column = quiet | {"best": dict(enumerate(0.75 + generator.normal(0, 0.001, 5)))}
    noisy = dict(enumerate([0.70, 0.76, 0.68, 0.745, 0.71]))
    model = fit_pair(column | {"noisy": noisy})
    assert model.unequal and best_rows(model) == ("best", set())


# ---- unequal variances
def test_refuted_equal_variances_lead_to_paired_t_with_bonferroni_and_the_contrast_says_so():
    generator = np.random.default_rng(2)
    column = {f"r{i}": dict(enumerate(0.70 + i / 100 + generator.normal(0, 0.001, 6))) for i in range(8)}
    column["wild"] = dict(enumerate(0.7 + generator.normal(0, 0.05, 6)))
    found = against(fit_pair(column), "r0")
    differences = [column["r1"][seed] - column["r0"][seed] for seed in range(6)]
    mean, error = np.mean(differences), np.std(differences, ddof=1) / math.sqrt(6)
    half_width = stats.t.ppf(1 - 0.025 / 8, 5) * error
    assert (found["r1"].source, found["r1"].degrees) == ("paired t, Bonferroni", 5)
    assert (found["r1"].low, found["r1"].high) == pytest.approx((mean - half_width, mean + half_width))
    assert found["r1"].p == pytest.approx(min(1, 8 * stats.ttest_1samp(differences, 0).pvalue))
    assert found["wild"].high - found["wild"].low > 10 * (found["r1"].high - found["r1"].low)


def test_against_rows_that_are_not_declared_the_paired_t_has_holms_p_for_all_pairs_and_bonferronis_intervals():
    generator = np.random.default_rng(2)
    column = {f"r{i}": dict(enumerate(0.70 + i / 150 + generator.normal(0, 0.003, 6))) for i in range(6)}
    column["wild"] = dict(enumerate(0.7 + generator.normal(0, 0.1, 6)))
    model = fit_pair(column)
    assert model.unequal
    pairs = [(a, b) for i, a in enumerate(column) for b in list(column)[i + 1 :]]
    ps = {(a, b): stats.ttest_rel(list(column[a].values()), list(column[b].values())).pvalue for a, b in pairs}
    every, largest = all_pairs(model), 0.0
    for rank, (a, b) in enumerate(sorted(pairs, key=ps.get)):
        largest = max(largest, min(1.0, (21 - rank) * ps[a, b]))
        found = every[a, b]
        assert (found.p, found.source) == (pytest.approx(largest), "paired t, Holm")
        differences = [column[a][seed] - column[b][seed] for seed in range(6)]
        half_width = stats.t.ppf(1 - 0.025 / 21, 5) * np.std(differences, ddof=1) / math.sqrt(6)
        assert found.high - found.low == pytest.approx(2 * half_width)
        assert (found.verdict in ("better", "worse")) == (largest < 0.05)
    assert {contrast.verdict for contrast in every.values()} >= {"better", "worse", "cannot be told"}


def test_the_statistic_is_scipys_levene_with_medians():
    generator = np.random.default_rng(3)
    groups = [generator.normal(0, 1 + i, 3 + i) for i in range(4)]
    owners = np.repeat(np.arange(4), [len(group) for group in groups])
    found = statistic(np.concatenate(groups)[None], owners, (0, 1, 2, 3))
    assert found[0] == pytest.approx(stats.levene(*groups, center="median").statistic)


def test_equal_variances_are_refuted_in_one_of_twenty_tables_and_unequal_ones_more_often():
    rates = {}
    for factor in (1, 8):
        generator = np.random.default_rng(factor)
        count = 0
        for _ in range(400):
            table = generator.normal(0, 0.004, (6, 3)) * np.array([[factor]] + [[1]] * 5)
            count += fit_pair({i: dict(enumerate(row)) for i, row in enumerate(table)}).unequal
        rates[factor] = count / 400
    assert 0.02 <= rates[1] <= 0.09 and rates[8] > 0.4, rates


def test_two_runs_a_row_are_too_few_to_test_variances():
    assert fit_pair({row: {0: values[0], 1: values[1]} for row, values in COLUMN.items()}).equal_variances_p is None


# ---- several pairs of networks
def a_contrast(p, difference=0.01, **changes):
    """A contrast with a p."""
    return Contrast(difference, 0.002, 18, difference - 0.001, difference + 0.001, p, **changes)


def test_verdicts_over_several_pairs_are_by_holms_adjustment_of_those_that_have_one():
    found = [a_contrast(0.03), a_contrast(0.001, -0.01), a_contrast(0.02), a_contrast(0.0, one_run=True), Contrast(0.5)]
    # 0.001 x 3, then 0.02 x 2, then 0.03, which may not fall below 0.04
    assert verdicts_over_pairs(found) == ["better", "worse", "better", "one run", "n too small"]
    assert verdicts_over_pairs([a_contrast(0.03), a_contrast(0.04)]) == ["cannot be told"] * 2
    assert verdicts_over_pairs([a_contrast(0.03)]) == ["better"] and verdicts_over_pairs([]) == []


# ---- the spread between seeds
def test_the_spread_between_seeds_is_that_around_the_rows_means():
    model = fit_pair(COLUMN)
    squares = sum((len(v) - 1) * np.var(list(v.values()), ddof=1) for v in COLUMN.values())
    assert model.between_seeds.sd == pytest.approx(math.sqrt(squares / 8))
    assert 2 <= model.between_seeds.degrees <= 8


def test_seeds_that_move_all_rows_together_leave_the_degrees_of_freedom_of_the_seeds():
    column = {row: {seed: 0.7 + seed / 100 + i / 1000 for seed in range(4)} for i, row in enumerate("abc")}
    assert fit_pair(column).between_seeds.degrees == pytest.approx(3)
    assert fit_pair({"a": {0: 0.7, 1: 0.7}}).between_seeds == Spread(0.0, 1)


def test_spreads_are_pooled_by_their_degrees_of_freedom():
    found = pooled([Spread(0.2, 2), None, Spread(0.5, 1)])
    assert (found.sd, found.degrees) == (pytest.approx(math.sqrt((2 * 0.04 + 0.25) / 3)), 3)
    assert pooled([None]) is None
