"Pairwise tests and tie groups against statsmodels, scipy and brute force."
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from agentlab_wb.infer.groups import compact_letters, mcnemar_midp, pairwise_differences, tango, tie_groups, wald_adjusted
from agentlab_wb.measure.intervals import holm
from agentlab_wb.measure.rates import success_rate
from agentlab_wb.simulate import simulate_runs


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_holm_equals_statsmodels(p):
    assert np.allclose(holm(p), multipletests(p, method="holm")[1])


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 5), (3, 9), (40, 61), (400, 300)])
def test_midp_is_the_exact_test_less_half_the_point(b, c):
    if b + c == 0:
        assert mcnemar_midp(b, c) == 1  # statsmodels' asymptotic version says 0 here
        return
    exact = mcnemar([[0, b], [c, 0]], exact=True).pvalue
    point = stats.binom.pmf(min(b, c), b + c, .5)
    assert np.isclose(mcnemar_midp(b, c), 1 if b == c else exact - point)
    assert mcnemar_midp(b, c) == mcnemar_midp(c, b)


def test_graded_pairs_equal_scipy():
    runs = simulate_runs(3, 50, attempts=3, seed=4).study.runs
    table = pairwise_differences(runs)
    means = runs.group_by("task", "agent").agg(pl.col("success").mean()).pivot("agent", index="task").sort("task")
    for row in table.iter_rows(named=True):
        expected = stats.ttest_rel(means[row["agent_a"]], means[row["agent_b"]])
        interval = expected.confidence_interval(.95)
        assert np.allclose((row["p"], row["lower"], row["upper"]), (expected.pvalue, *interval))


def test_pairs_do_not_depend_on_row_order_or_other_agents():
    runs = simulate_runs(4, 80, seed=5).study.runs
    table = pairwise_differences(runs)
    assert pairwise_differences(runs.sample(fraction=1, shuffle=True, seed=1)).equals(table)
    two = pairwise_differences(runs.filter(pl.col("agent").is_in(["agent-1", "agent-2"])))
    assert two["p"][0] == table.filter(agent_a="agent-1", agent_b="agent-2")["p"][0]


def test_type_one_error_of_the_tie_groups():
    "Equal agents: some pair of 4 differs in at most 5 % of 400 studies (±2.2 points at 2 standard errors)."
    wrong = sum(bool((pairwise_differences(simulate_runs(4, 100, spread=0, seed=s).study.runs)["p_adjusted"] < .05).any()) for s in range(400))
    assert wrong / 400 <= .072


@given(st.integers(1, 7).flatmap(lambda m: st.tuples(st.just(m), st.sets(st.sampled_from(list(itertools.combinations(range(m), 2)) or [(0, 0)])))))
@settings(deadline=None)
def test_letters_say_exactly_what_differs(case):
    m, pairs = case
    order = [f"agent {i}" for i in range(m)]
    differ = {frozenset((order[i], order[j])) for i, j in pairs if i != j}
    letters = compact_letters(order, differ)
    for x, y in itertools.combinations(order, 2):
        assert bool(set(letters[x]) & set(letters[y])) == (frozenset((x, y)) not in differ)
    assert letters[order[0]].startswith("a")


def filled(runs, choices):
    "The runs with their missing outcomes, in order, replaced."
    values, it = runs["success"].to_list(), iter(choices)
    return runs.with_columns(success=pl.Series([next(it) if v is None else v for v in values], dtype=pl.Boolean))


@pytest.mark.parametrize("attempts", [1, 2])
def test_worst_and_best_are_the_extremes_over_every_completion(attempts):
    runs = simulate_runs(2, 14 // attempts, attempts=attempts, missing_rate=.2, spread=1.5, seed=6).study.runs.sort("agent", "task", "attempt")
    gaps = runs["success"].null_count()
    assert 2 < gaps <= 9
    every = [pairwise_differences(filled(runs, c)).row(0, named=True) for c in itertools.product((False, True), repeat=gaps)]
    for missing in ("fail", "bounds"):
        row = pairwise_differences(runs, missing=missing).row(0, named=True)
        assert (row["worst"], row["best"]) == pytest.approx((min(r["estimate"] for r in every), max(r["estimate"] for r in every)))
    assert row["se"] is None and row["test"].endswith("worst to best case")
    if attempts == 1:   # counts move one way only, so these are the extremes of limits and p too
        assert (row["lower"], row["upper"]) == pytest.approx((min(r["lower"] for r in every), max(r["upper"] for r in every)))
        assert row["p"] == pytest.approx(max(r["p"] for r in every) if row["worst"] * row["best"] > 0 else 1)


def test_bounds_without_missing_outcomes_change_nothing_but_the_standard_error():
    runs = simulate_runs(3, 30, seed=2).study.runs
    plain, bounds = pairwise_differences(runs), pairwise_differences(runs, missing="bounds")
    same = ["estimate", "lower", "upper", "worst", "best", "p", "p_adjusted"]
    assert np.allclose(plain.select(same), bounds.select(same)) and np.allclose(plain["estimate"], plain["worst"]) and bounds["se"].null_count() == 3


# Tango (1998), Statistics in Medicine 17:891-908: 4/9/3/16 and 43/0/1/0 (90 %); Agresti & Min (2005) 53/16/8/9; Fagerland, Lydersen & Laake (2014)
# 1/1/7/12; Tang, Tang & Rosner (2010) 8/3/1/2; Chang (2024) 7/25/2/68; all as in the tests of R's ratesci (pairbinci, contrast "RD", method "Score")
TANGO = [(9, 3, 32, .95, -.027, .390, 3), (0, 1, 44, .90, -.096, .037, 3), (16, 8, 86, .95, -.020, .207, 3), (1, 7, 21, .95, -.517, -.026, 3), (3, 1, 14, .95, -.1670, .4327, 4), (25, 2, 102, .95, .139, .321, 3)]


@pytest.mark.parametrize("row", TANGO)
def test_tango_equals_published_examples(row):
    b, c, n, level, low, high, digits = row
    assert np.allclose(tango(b, c, n, level), (low, high), atol=.51 * 10 ** -digits)


def constrained_z(b, c, n, delta):
    "Score statistic with the nuisance rate found by numeric maximum likelihood."
    def loss(q):
        return -(special.xlogy(b, q + delta) + special.xlogy(c, q) + special.xlogy(n - b - c, 1 - 2 * q - delta))
    q = optimize.minimize_scalar(loss, bounds=(max(0, -delta), (1 - delta) / 2), method="bounded", options=dict(xatol=1e-13)).x
    return (b - c - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta)))


@given(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 20)).filter(lambda t: sum(t) > 0), st.sampled_from([.8, .95]))
@settings(deadline=None, max_examples=60)
def test_tango_inverts_the_score_test(t, level):
    b, c, rest = t
    n, z = b + c + rest, stats.norm.ppf(.5 + level / 2)
    low, high = tango(b, c, n, level)
    assert -1 <= low <= (b - c) / n <= high <= 1 and np.allclose(tango(c, b, n, level), (-high, -low))
    for limit, sign in ((low, 1), (high, -1)):
        if abs(limit) < .999:
            assert constrained_z(b, c, n, limit) == pytest.approx(sign * z, abs=2e-3)


def test_adjusted_wald_equals_its_formula():
    low, high, se = wald_adjusted(np.array([9.]), np.array([3.]), np.array([32.]))   # Bonett & Price (2012): (b+1)/(n+2), (c+1)/(n+2)
    p, q = 10 / 34, 4 / 34
    assert se[0] == pytest.approx(((p + q - (p - q) ** 2) / 34) ** .5) and (low[0], high[0]) == pytest.approx((p - q - 1.959964 * se[0], p - q + 1.959964 * se[0]), abs=1e-6)


def test_an_agent_without_estimate_keeps_its_place():
    runs = simulate_runs(3, 20, seed=1).study.runs.with_columns(success=pl.when(pl.col("agent") != "agent-2").then("success"), status=pl.when(pl.col("agent") == "agent-2").then(pl.lit("missing")).otherwise("status"))
    board = tie_groups(success_rate(runs, missing="drop"), pairwise_differences(runs, missing="drop"))
    assert board.filter(agent="agent-2")["estimate"].to_list() == [None] and board.height == 3
