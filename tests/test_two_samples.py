"Two independent groups: published tables, scipy, statsmodels, enumeration."
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from agentlab_wb.infer.two_samples import _lower_tails, beta_better, boschloo, clustered_difference, fisher, newcombe, two_means, two_rates, welch
from agentlab_wb.tables import DataError

# Newcombe (1998), Statistics in Medicine 17:873-890, table II, method 10: contrasts (a) to (h)
NEWCOMBE = [(56, 70, 48, 80, .0524, .3339), (9, 10, 3, 10, .1705, .8090), (6, 7, 2, 7, .0582, .8062), (5, 56, 0, 29, -.0381, .1926),
            (0, 10, 0, 20, -.1611, .2775), (0, 10, 0, 10, -.2775, .2775), (10, 10, 0, 20, .6791, 1), (10, 10, 0, 10, .6075, 1)]

tables = st.integers(1, 25).flatmap(lambda n: st.integers(1, 25).flatmap(lambda m: st.tuples(st.integers(0, n), st.just(n), st.integers(0, m), st.just(m))))


@pytest.mark.parametrize("row", NEWCOMBE)
def test_newcombe_equals_his_table(row):
    assert np.allclose(newcombe(*row[:4]), row[4:], atol=6e-5)


@given(tables, st.sampled_from([.8, .95, .99]))
@settings(deadline=None, max_examples=60)
def test_newcombe_equals_statsmodels_and_turns_round(t, level):
    k, n, j, m = t
    low, high = newcombe(k, n, j, m, level)
    assert np.allclose((low, high), confint_proportions_2indep(k, n, j, m, method="newcomb", alpha=1 - level), atol=1e-9)
    assert np.allclose(newcombe(j, m, k, n, level), (-high, -low)) and -1 <= low <= k / n - j / m <= high <= 1


def brute_boschloo(k, n, j, m):
    "Sum of probabilities over every table as extreme, on a fine grid of the common rate; extreme by scipy's one-sided Fisher."
    rates, sides = np.linspace(0, 1, 4001), []
    for side in ("less", "greater"):
        p_of = {(a, b): stats.fisher_exact([[a, b], [n - a, m - b]], alternative=side).pvalue for a, b in itertools.product(range(n + 1), range(m + 1))}
        sides.append(sum(stats.binom.pmf(a, n, rates) * stats.binom.pmf(b, m, rates) for (a, b), p in p_of.items() if p <= p_of[k, j] * (1 + 1e-9)).max())
    return min(1, 2 * min(sides))


@pytest.mark.parametrize("t", [(3, 3, 0, 3), (1, 6, 5, 7), (0, 4, 4, 9), (2, 5, 2, 5), (8, 9, 3, 6), (0, 8, 0, 5), (1, 1, 0, 1)])
def test_boschloo_is_the_largest_sum_over_tables(t):
    assert boschloo(*t) == pytest.approx(brute_boschloo(*t), abs=2e-6)


def test_boschloo_equals_scipy_and_its_documented_example():
    assert boschloo(7, 15, 1, 12) == pytest.approx(stats.boschloo_exact([[7, 1], [8, 11]]).pvalue, abs=1e-5)
    # scipy's documentation: 74 of 117 professors very satisfied against 31 of 63 scientists, one-sided p 0.0355; two-sided is twice that
    assert boschloo(74, 117, 31, 63) == pytest.approx(2 * 0.0355, abs=2e-4)
    assert boschloo(74, 117, 31, 63) == pytest.approx(0.07112812860, abs=1e-8)  # scipy 1.17.1 with n=128
    for t in [(30, 60, 21, 65), (2, 40, 9, 38), (55, 60, 49, 60)]:
        k, n, j, m = t
        assert boschloo(*t) == pytest.approx(stats.boschloo_exact([[k, j], [n - k, m - j]], n=64).pvalue, abs=1e-5)


@given(tables)
@settings(deadline=None, max_examples=40)
def test_exact_tests_turn_round_and_keep_their_order(t):
    k, n, j, m = t
    b, f = float(boschloo(*t)), float(fisher(*t))
    assert f == pytest.approx(stats.fisher_exact([[k, n - k], [j, m - j]]).pvalue)
    assert b == pytest.approx(float(boschloo(j, m, k, n)), abs=1e-9) and f == pytest.approx(float(fisher(j, m, k, n)))
    assert b == pytest.approx(float(boschloo(n - k, n, m - j, m)), abs=1e-9) and 0 < b <= 1
    one_sided = min(stats.fisher_exact([[k, j], [n - k, m - j]], alternative=s).pvalue for s in ("less", "greater"))
    assert b <= 2 * one_sided + 1e-9   # Boschloo (1970): never above Fisher's


def test_boschloo_keeps_its_level_for_every_rate():
    "Exact size over all tables of 12 and 17: at no common rate above 5 %."
    k, j = (x.ravel() for x in np.meshgrid(np.arange(13), np.arange(18)))
    p, q = boschloo(k, np.full_like(k, 12), j, np.full_like(k, 17)), fisher(k, np.full_like(k, 12), j, np.full_like(k, 17))
    sizes = [[float((stats.binom.pmf(k, 12, r) * stats.binom.pmf(j, 17, r))[x <= .05].sum()) for x in (p, q)] for r in np.linspace(.01, .99, 99)]
    assert max(s for s, _ in sizes) <= .05 + 1e-9 and max(s for s, _ in sizes) > max(s for _, s in sizes)


def test_lower_tails_are_the_hypergeometric():
    tails = _lower_tails(7, 11)
    for a, b in itertools.product(range(8), range(12)):
        assert tails[a, b] == pytest.approx(stats.hypergeom.cdf(a, 18, 7, a + b))


@pytest.mark.parametrize("t", [(7, 10, 2, 10), (0, 3, 4, 9), (31, 60, 22, 65), (0, 0, 1, 2)])
def test_the_probability_of_being_better_is_the_integral(t):
    k, n, j, m = t
    expected = integrate.quad(lambda x: stats.beta.pdf(x, k + 1, n - k + 1) * stats.beta.cdf(x, j + 1, m - j + 1), 0, 1)[0]
    assert beta_better(*t) == pytest.approx(expected, abs=1e-8) and beta_better(j, m, k, n) == pytest.approx(1 - expected, abs=1e-8)


def test_counts_that_are_none_are_refused():
    for f in (boschloo, fisher, beta_better):
        for bad in ((4, 3, 0, 3), (-1, 3, 0, 3), (.5, 3, 0, 3), (np.nan, 3, 0, 3), (1, np.inf, 0, 3)):
            with pytest.raises(DataError, match="successes"):
                f(*bad)
    with pytest.raises(DataError, match="welch"):
        boschloo(5, 10_000, 7, 10_000)
    with pytest.raises(DataError, match="level"):
        two_rates(1, 2, 1, 3, level=1.5)
    with pytest.raises(DataError, match="at least one"):
        two_rates(1, 2, 0, 0)


def test_welch_equals_scipy_and_statsmodels_in_bulk():
    rng = np.random.default_rng(8)
    groups = [(rng.beta(2, 1, n), rng.beta(1, 1, m)) for n, m in ((2, 2), (3, 40), (25, 14))]
    found = welch(*(np.array(v) for v in zip(*((x.mean(), x.var(ddof=1), len(x), y.mean(), y.var(ddof=1), len(y)) for x, y in groups))), .9)
    for k, (x, y) in enumerate(groups):
        theirs = stats.ttest_ind(x, y, equal_var=False)
        assert (found["p"][k], found["df"][k]) == pytest.approx((theirs.pvalue, theirs.df))
        assert (found["lower"][k], found["upper"][k]) == pytest.approx(CompareMeans(DescrStatsW(x), DescrStatsW(y)).tconfint_diff(alpha=.1, usevar="unequal"))


def test_constant_groups_have_the_permutation_probability():
    for n, m in ((4, 3), (1, 6), (2, 2)):
        values = [1.] * n + [0.] * m
        splits = [abs(np.mean([values[i] for i in c]) - np.mean([values[i] for i in range(n + m) if i not in c])) for c in itertools.combinations(range(n + m), n)]
        assert two_means([1] * n, [0] * m)["p"][0] == pytest.approx(np.mean([s >= 1 - 1e-12 for s in splits]))
    assert two_means([1], [0])["p"][0] == 1 and two_means([.3] * 5, [.3] * 2)["p"][0] == 1


def cr2(y, X, clusters, c):
    "Bell & McCaffrey (2002) by dense matrices: variance of c'beta, and degrees of freedom under independent errors."
    A = np.linalg.inv(X.T @ X)
    H, e = X @ A @ X.T, y - X @ (A @ X.T @ y)
    parts, variance = [], 0.
    for g in np.unique(clusters):
        s = clusters == g
        values, vectors = np.linalg.eigh(np.eye(s.sum()) - H[np.ix_(s, s)])
        B = vectors @ np.diag(np.where(values > 1e-10, 1 / np.sqrt(np.maximum(values, 1e-12)), 0)) @ vectors.T
        w = B @ X[s] @ A @ c
        variance += (w @ e[s]) ** 2
        parts.append((np.eye(len(y)) - H)[:, s] @ w)
    G = np.array(parts)
    return variance, np.trace(G @ G.T) ** 2 / ((G @ G.T) ** 2).sum()


@pytest.mark.parametrize("shared", [False, True])
def test_cluster_sums_equal_cr2_with_dense_matrices(shared):
    rng = np.random.default_rng(2)
    second = np.arange(40) >= 25
    clusters = np.where(second, rng.integers(0, 5, 40) + (0 if shared else 10), rng.integers(0, 7, 40))
    y = rng.random(40) + .2 * rng.normal(size=20)[clusters]
    found = clustered_difference(y, second, clusters)
    X = np.column_stack([~second, second]).astype(float)
    variance, df = cr2(y, X, clusters, np.array([1., -1]))
    assert found["se"] == pytest.approx(variance ** .5) and found["df"] == pytest.approx(df)
    assert found["estimate"] == pytest.approx(OLS(y, X).fit().params @ [1, -1])
    turned = clustered_difference(y, ~second, clusters)
    assert (turned["lower"], turned["upper"], turned["p"]) == pytest.approx((-found["upper"], -found["lower"], found["p"]))


def test_rows_are_tidy_and_say_why_there_is_no_interval():
    row = two_rates(5, 5, 0, 4).row(0, named=True)
    assert row["se"] is None and row["estimate"] == 1 and row["upper"] == 1 and row["method"] == "boschloo, newcombe"
    for frame in (two_rates(5, 5, 0, 4), two_means([1, 1], [0, 0]), two_means([.5], [.1, .7]), two_means([1, 0], [1, 0, 1], clusters=("aa", "bcd"))):
        assert frame.height == 1 and not any(x is not None and not np.isfinite(x) for x in frame.select(pl.col(pl.Float64)).row(0))
    assert "no interval" in two_means([.5], [.1, .7])["method"][0]
    for bad, match in ((([], [1.]), "at least one task"), (([np.nan, 1], [1.]), "NaN"), (([1.], [np.inf]), "NaN or infinite")):
        with pytest.raises(DataError, match=match):
            two_means(*bad)
