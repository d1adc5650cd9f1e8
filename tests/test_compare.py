"Comparisons against scipy, statsmodels and enumeration; error rates by simulation."
import itertools
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from agentlab_wb.infer.calibration import calibration_table, simulate_calibration
from agentlab_wb.infer.compare import CORRECTIONS, INTERVALS, PAIRED, UNPAIRED, adjust, compare, equivalence, tasks_to_settle
from agentlab_wb.infer.resample import BOOTSTRAP, bca, bootstrap_apart, bootstrap_differences, bootstrap_means, permutation, sign_flip, sign_flip_exact, studentized, weights
from agentlab_wb.infer.two_samples import boschloo, fisher, newcombe, two_means, two_rates
from agentlab_wb.simulate import simulate_runs
from agentlab_wb.tables import DataError
from agentlab_wb.work.cli import main

NAMES = {"hochberg": "simes-hochberg", "holm": "holm", "bh": "fdr_bh", "by": "fdr_by"}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=25), st.sampled_from(sorted(NAMES)))
@settings(deadline=None, max_examples=60)
def test_corrections_equal_statsmodels(p, method):
    assert np.allclose(adjust(p, method), multipletests(p, method=NAMES[method])[1])


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
@settings(deadline=None)
def test_exact_sign_flip_is_the_enumeration(d):
    d = np.array(d, float)
    flips = [abs(sum(s * x for s, x in zip(signs, d))) for signs in itertools.product((1, -1), repeat=len(d))]
    assert sign_flip_exact(d) == pytest.approx(np.mean([f >= abs(d.sum()) - 1e-9 for f in flips]))


def test_shared_signs_give_each_pair_its_own_p():
    Y = np.random.default_rng(1).random((40, 5)) + np.array([0, .05, .1, .1, .3])
    i, j = np.triu_indices(5, 1)
    p, adjusted = sign_flip(Y, (i, j), replicates=20_000)
    for k in range(len(i)):
        alone = stats.permutation_test((Y[:, i[k]] - Y[:, j[k]],), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(k)).pvalue
        assert p[k] == pytest.approx(alone, abs=.012)
    assert (adjusted >= p - 1e-12).all() and (adjusted <= np.minimum(p * len(p) * 1.3 + .01, 1)).all()  # never much beyond Bonferroni


def test_weights_do_not_depend_on_anything_but_the_seed(monkeypatch):
    whole = np.concatenate(list(weights(50, 300, seed=4)))
    assert (whole == np.concatenate(list(weights(50, 300, seed=4)))).all() and (whole.sum(axis=1) == 50).all()
    with pytest.raises(DataError, match="kind"):
        next(weights(5, 5, kind="jackknife"))


def test_permutation_equals_scipy():
    rng = np.random.default_rng(3)
    x, y = rng.random(12) + .2, rng.random(20)
    theirs = stats.permutation_test((x, y), lambda a, b: a.mean() - b.mean(), n_resamples=20_000, rng=np.random.default_rng(1)).pvalue
    assert permutation(x, y, replicates=20_000) == pytest.approx(theirs, abs=.01)


def test_intervals_cover_a_skewed_mean():
    "300 samples of 40 exponential values: ±2.5 points at 2 standard errors. Percentile limits are known to be too low here."
    hits = dict(percentile=0, bca=0, studentized=0)
    for seed in range(300):
        x = np.random.default_rng(seed).exponential(size=40)
        both = bootstrap_means(np.column_stack([x, x ** 2]), replicates=999, seed=seed)
        draws, errors = both[:, 0], np.sqrt(np.maximum(both[:, 1] - both[:, 0] ** 2, 1e-12) / 39)
        limits = dict(percentile=np.quantile(draws, [.025, .975]), bca=bca(draws, x.mean(), (x.sum() - x) / 39), studentized=studentized(draws, errors, x.mean(), x.std(ddof=1) / 40 ** .5))
        for name, (low, high) in limits.items():
            hits[name] += low <= 1 <= high
    assert hits["percentile"] / 300 > .86 and hits["bca"] / 300 > .88 and hits["studentized"] / 300 > .92, hits


RUNS = simulate_runs(4, 90, clusters=15, error_rate=.05, seed=9).study.runs
SEVERAL = simulate_runs(3, 40, attempts=3, clusters=10, seed=9).study.runs


@pytest.mark.parametrize("exact", [True, False])
def test_mcnemar_equals_statsmodels(exact):
    table = compare(RUNS, test="mcnemar_exact" if exact else "mcnemar")
    for row in table.iter_rows(named=True):
        theirs = mcnemar([[0, row["only_a"]], [row["only_b"], 0]], exact=True).pvalue
        point = stats.binom.pmf(min(row["only_a"], row["only_b"]), row["only_a"] + row["only_b"], .5)
        assert row["p"] == pytest.approx(theirs if exact else 1 if row["only_a"] == row["only_b"] else theirs - point)


def test_clustered_t_equals_the_clustered_interval_of_the_difference():
    from agentlab_wb.measure.intervals import cluster_mean
    means = SEVERAL.group_by("task", "agent", "cluster").agg(pl.col("success").mean()).pivot("agent", index=["task", "cluster"])
    row = compare(SEVERAL, cluster="cluster", agents=["agent-1", "agent-2"]).row(0, named=True)
    sums = means.with_columns(d=pl.col("agent-1") - pl.col("agent-2")).group_by("cluster").agg(n=pl.len(), d=pl.col("d").sum())
    d, se, low, high = cluster_mean(sums["n"].to_numpy().astype(float), sums["d"].to_numpy())
    assert (row["estimate"], row["se"], row["lower"], row["upper"]) == pytest.approx((d, se, low, high))


def test_sides_swap_and_order_does_not_matter():
    for options in ({}, {"test": "t"}, {"test": "sign_flip", "replicates": 500}, {"test": "bootstrap", "replicates": 500}):
        one = compare(RUNS, "agent-1", agents=["agent-3"], **options).row(0, named=True)
        other = compare(RUNS.sample(fraction=1, shuffle=True, seed=1), "agent-3", agents=["agent-1"], **options).row(0, named=True)
        assert one["estimate"] == pytest.approx(-other["estimate"]) and one["p"] == pytest.approx(other["p"], abs=.02)
        assert one["p_better"] == pytest.approx(1 - other["p_better"]) and one["worst"] == pytest.approx(-other["best"])


def test_missing_outcomes_lie_between_worst_and_best():
    gaps = simulate_runs(3, 60, missing_rate=.2, seed=5).study.runs
    table = compare(gaps)
    assert ((table["worst"] <= table["estimate"]) & (table["estimate"] <= table["best"]) & (table["worst"] < table["best"])).all()
    dropped = compare(gaps, missing="drop")
    assert (dropped["n"] < table["n"]).all() and (dropped["lost_a"] > 0).all()


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_every_correction_never_lowers_p(correction):
    table = compare(SEVERAL, correction=correction, replicates=2000)
    assert (table["p_adjusted"] >= table["p"] - 1e-12).all()


SHAPES = {"20 tasks": dict(tasks=20), "100, rate 0.1": dict(tasks=100, rates=(.1, .1)), "50, 4 attempts": dict(tasks=50, attempts=4), "50, scores": dict(tasks=50, scored=True),
          "60 in 20 clusters": dict(tasks=60, clusters=20, cluster_sd=1.5)}
LOOSE = ("bootstrap", "percentile", "bca", "studentized")   # known to be somewhat off with few units


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_error_rates_and_coverage(shape, paired):
    "500 studies of each shape: 1 point of Monte-Carlo standard error; limits at 3 of them, wider for what only large samples make right."
    found = simulate_calibration(**SHAPES[shape], paired=paired, studies=500, replicates=199)
    for kind, method, share, _, _, undefined, _ in found.iter_rows():
        loose = method in LOOSE
        assert share <= (.11 if loose else .08) if kind == "test" else share + undefined >= (.88 if loose else .92), (method, share)


@pytest.mark.proof
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_error_rates_and_coverage_over_4000_studies(shape, paired):
    "4,000 studies: 0.35 points of Monte-Carlo standard error. Equal agents, and agents that differ."
    rates = SHAPES[shape].get("rates", (.5, .5))
    same, unlike = (simulate_calibration(**SHAPES[shape] | dict(rates=r), paired=paired, studies=4000, replicates=999, seed=5) for r in (rates, (rates[0] + .1, rates[1] - .05)))
    print(shape, "paired" if paired else "unpaired", same, unlike)
    for kind, method, share, error, _, undefined, _ in (*same.iter_rows(), *unlike.filter(kind="interval").iter_rows()):
        loose = method in LOOSE
        if kind == "test": assert share <= .05 + 3 * error + (.04 if loose else .013), (method, share)
        else: assert share + undefined >= .95 - 3 * error - (.06 if loose else .015), (method, share)


def apart(runs):
    "The runs with each agent's tasks renamed, so that none is shared."
    return runs.with_columns(task=pl.format("{} {}", "agent", "task"))


def fits(test, interval, paired, single):
    if test.startswith("mcnemar") or test in ("boschloo", "fisher"):
        if not single: return False
    if interval in ("tango", "wald-adjusted"): return paired and single
    return interval != "newcombe" or (not paired and single)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("paired", [True, False])
def test_swapping_sides_turns_every_test_and_interval_round(paired, single):
    runs = RUNS if single else SEVERAL
    for test, interval in itertools.product(PAIRED if paired else UNPAIRED, INTERVALS):
        options = dict(test=test, interval=interval, paired=paired, replicates=199)
        if not fits(test, interval, paired, single):
            with pytest.raises(DataError, match="needs one attempt per task|needs tasks that both"):
                compare(runs, **options)
            continue
        one, other = (compare(runs, b, agents=[a], **options).row(0, named=True) for a, b in (("agent-1", "agent-3"), ("agent-3", "agent-1")))
        assert (one["estimate"], one["lower"], one["upper"], one["worst"]) == pytest.approx((-other["estimate"], -other["upper"], -other["lower"], -other["best"]))
        assert one["p"] == pytest.approx(other["p"], abs=1e-9) and one["p_better"] == pytest.approx(1 - other["p_better"]) and one["lower"] < one["estimate"] < one["upper"]
        again = compare(runs.sample(fraction=1, shuffle=True, seed=3), **options).filter(agent_a="agent-1", agent_b="agent-3").row(0, named=True)   # with every agent, rows shuffled
        assert {k: v for k, v in again.items() if k not in ("p_adjusted", "why")} == pytest.approx({k: v for k, v in one.items() if k not in ("p_adjusted", "why")})


def test_agents_without_a_shared_task_are_compared_as_samples():
    row = compare(apart(RUNS), "agent-2", agents=["agent-1"]).row(0, named=True)
    k, j = (int(RUNS.filter(agent=a)["success"].sum()) for a in ("agent-1", "agent-2"))
    expected = two_rates(k, 90, j, 90).row(0, named=True)
    assert (row["test"], row["interval"]) == ("boschloo", "newcombe") and "share no tasks" in row["why"] and row["n"] == 90
    for c in ("estimate", "lower", "upper", "p", "p_better"):
        assert row[c] == pytest.approx(expected[c])
    assert (row["lower"], row["upper"]) == pytest.approx(tuple(newcombe(k, 90, j, 90)))
    asked = compare(RUNS, "agent-2", agents=["agent-1"], paired=False).row(0, named=True)
    assert asked["p"] == row["p"] and "paired=False was asked for" in asked["why"] and asked["estimate"] == row["estimate"]
    paired = compare(RUNS, "agent-2", agents=["agent-1"]).row(0, named=True)
    assert paired["upper"] - paired["lower"] < asked["upper"] - asked["lower"] and paired["estimate"] == pytest.approx(asked["estimate"])
    assert compare(RUNS, "agent-2", agents=["agent-1"], test="fisher")["p"][0] == pytest.approx(float(fisher(k, 90, j, 90)))
    assert compare(simulate_runs(2, 501, seed=1).study.runs, paired=False)["test"][0] == "welch"


def test_unpaired_means_equal_welch_and_cluster_sums():
    table = apart(SEVERAL).group_by("agent", "task", "cluster").agg(pl.col("success").mean()).sort("task")
    a, b = (table.filter(agent=x) for x in ("agent-1", "agent-2"))
    row, theirs = compare(apart(SEVERAL), "agent-2", agents=["agent-1"]).row(0, named=True), stats.ttest_ind(a["success"], b["success"], equal_var=False)
    assert row["test"] == "welch" and row["p"] == pytest.approx(theirs.pvalue) and (row["lower"], row["upper"]) == pytest.approx(tuple(theirs.confidence_interval()))
    row = compare(apart(SEVERAL), "agent-2", agents=["agent-1"], cluster="cluster").row(0, named=True)
    expected = two_means(a["success"], b["success"], clusters=(a["cluster"], b["cluster"])).row(0, named=True)
    assert "t with cluster sums" in row["why"] and all(row[c] == pytest.approx(expected[c]) for c in ("estimate", "se", "lower", "upper", "p"))
    permuted = compare(apart(SEVERAL), "agent-2", agents=["agent-1"], test="permutation", replicates=20_000)["p"][0]
    again = stats.permutation_test((a["success"].to_numpy(), b["success"].to_numpy()), lambda x, y: x.mean() - y.mean(), n_resamples=5000, rng=np.random.default_rng(1)).pvalue
    assert permuted == pytest.approx(again, abs=.015)


def test_a_pair_without_a_shared_task_among_others_that_share():
    runs = pl.concat([RUNS, apart(RUNS.filter(agent="agent-4")).with_columns(agent=pl.lit("stranger"))])
    table = compare(runs)
    alone = table.filter(agent_b="stranger")
    assert alone["estimate"].null_count() == alone["p_better"].null_count() == 4 and (alone["p"] == 1).all() and (alone["interval"] == "none: no shared task").all()
    assert alone["why"].str.contains("paired=False").all() and not table.filter(pl.col("agent_b") != "stranger")["why"].str.contains("paired=False").any()
    assert table.filter(agent_a="agent-1", agent_b="agent-2").drop("p_adjusted").equals(compare(RUNS).filter(agent_a="agent-1", agent_b="agent-2").drop("p_adjusted"))


def rows(**agents):
    "Runs of single attempts; agents are lists of outcomes, None for no such run."
    found = [("b", f"t{i:02}", a, 0, float(y), "ok") for a, ys in agents.items() for i, y in enumerate(ys) if y is not None]
    return pl.DataFrame(found, schema=dict(benchmark=pl.String, task=pl.String, agent=pl.String, attempt=pl.Int64, score=pl.Float64, status=pl.String), orient="row").with_columns(success=pl.lit(None, pl.Boolean))


@pytest.mark.parametrize("paired", [True, False])
def test_degenerate_outcomes_give_an_answer_or_say_why_not(paired):
    cases = dict(equal=(rows(x=[1, 0, 1, 0] * 5, y=[1, 0, 1, 0] * 5), True), all_solved=(rows(x=[1] * 20, y=[1] * 20), True), one_task=(rows(x=[1], y=[0]), True),
                 constant_scores=(rows(x=[.7] * 20, y=[.4] * 20), False), equal_scores=(rows(x=[.7] * 20, y=[.7] * 20), False))
    for name, (runs, single) in cases.items():
        for test, interval in itertools.product(PAIRED if paired else UNPAIRED, INTERVALS):
            if not fits(test, interval, paired, single): continue
            row = compare(runs, test=test, interval=interval, paired=paired, replicates=199).row(0, named=True)
            assert all(v is None or isinstance(v, str) or np.isfinite(v) for v in row.values()), (name, test, interval)
            assert row["estimate"] == pytest.approx(dict(one_task=1, constant_scores=.3).get(name, 0))
            assert 0 < row["p"] <= 1, (name, test)
            if name == "constant_scores": assert row["p"] < .02, (name, test, row["p"])
            else: assert row["p"] >= dict(one_task=.5, equal=.9).get(name, 1), (name, test, row["p"])   # mid-p of one task that only one solved; Boschloo's two sides of equal tables
            assert (row["lower"] is None) == (row["upper"] is None) == row["interval"].startswith("none"), (name, test, interval)
            if row["lower"] is not None: assert row["lower"] <= row["estimate"] <= row["upper"]
            if row["interval"] in ("tango", "wald-adjusted", "newcombe"): assert row["lower"] < row["upper"]


def test_numbers_that_are_none_are_refused():
    runs = rows(x=[1, .5, .2], y=[.4, .1, .9])
    for bad in (float("nan"), float("inf")):
        with pytest.raises(DataError, match="agent 'y' on task 't01'"):
            compare(runs.with_columns(score=pl.when((pl.col("agent") == "y") & (pl.col("task") == "t01")).then(bad).otherwise("score")))
    for options, match in (({"interval": "exact"}, "wald-adjusted, tango"), ({"paired": True, "test": "welch"}, "paired=True"), ({"paired": False, "test": "sign_flip"}, "paired=False"), ({"missing": "guess"}, "bounds"),
                           ({"level": 1}, "level"), ({"correction": "max_t", "missing": "bounds"}, "holm")):
        with pytest.raises(DataError, match=match):
            compare(runs, **options)
    with pytest.raises(DataError, match="paired=True needs tasks"):
        compare(apart(RUNS), paired=True)
    with pytest.raises(DataError, match="clusters only on shared tasks"):
        compare(apart(RUNS), cluster="cluster", interval="bca")


def test_unbalanced_attempts_count_each_task_once():
    runs = simulate_runs(2, 12, attempts=4, seed=3).study.runs.filter((pl.col("agent") == "agent-1") | (pl.col("attempt") < 1 + pl.col("task").str.extract(r"(\d+)").cast(pl.Int64) % 3))
    means = runs.group_by("task", "agent").agg(pl.col("success").mean()).pivot("agent", index="task")
    d = (means["agent-1"] - means["agent-2"]).to_numpy()
    row = compare(runs).row(0, named=True)
    assert row["estimate"] == pytest.approx(d.mean()) and row["p"] == pytest.approx(stats.ttest_1samp(d, 0).pvalue) and row["test"] == "t"


@pytest.mark.parametrize("options", [dict(), dict(test="t"), dict(paired=False), dict(test="bootstrap", replicates=99), dict(paired=False, test="bootstrap", interval="studentized", replicates=99)])
def test_bounds_are_the_extremes_over_every_completion(options):
    runs = simulate_runs(2, 16, missing_rate=.18, spread=1.5, seed=6).study.runs.sort("agent", "task")
    values, gaps = runs["success"].to_list(), runs["success"].null_count()
    assert 3 <= gaps <= 8
    every = []
    for choice in itertools.product((False, True), repeat=gaps):
        it = iter(choice)
        every.append(compare(runs.with_columns(success=pl.Series([next(it) if v is None else v for v in values])), **options).row(0, named=True))
    row = compare(runs, missing="bounds", **options).row(0, named=True)
    for missing in ("fail", "drop"):
        assert compare(runs, missing=missing, **options)["worst"][0] == pytest.approx(min(r["estimate"] for r in every))
    assert (row["worst"], row["best"]) == pytest.approx((min(r["estimate"] for r in every), max(r["estimate"] for r in every)))
    assert row["se"] is None and row["p_better"] is None and "whatever the missing outcomes were" in row["why"] and row["interval"].endswith("worst to best case")
    if not options or options == dict(paired=False):   # limits move with the counts
        assert (row["lower"], row["upper"]) == pytest.approx((min(r["lower"] for r in every), max(r["upper"] for r in every)))
        assert row["p"] == pytest.approx(max(r["p"] for r in every) if row["worst"] * row["best"] > 0 else 1)
    else:
        worst, best = (next(r for r in every if r["estimate"] == f(x["estimate"] for x in every)) for f in (min, max))
        assert (row["lower"], row["upper"]) == pytest.approx((worst["lower"], best["upper"]), abs=.12 if "studentized" in options.values() else .05)


def test_bootstrap_intervals_of_pairs_equal_scipy_and_a_loop():
    rng = np.random.default_rng(11)
    S = rng.beta([1, 3, 2], [2, 1, 2], (30, 3))
    i, j = np.triu_indices(3, 1)
    for kind in ("percentile", "bca"):
        low, high, _ = bootstrap_differences(S, np.ones(30), (i, j), kind, replicates=20_000)
        for k in range(3):
            theirs = stats.bootstrap((S[:, i[k]] - S[:, j[k]],), np.mean, n_resamples=20_000, method=kind, rng=np.random.default_rng(k)).confidence_interval
            assert (low[k], high[k]) == pytest.approx((theirs.low, theirs.high), abs=.008)
    sizes = rng.integers(1, 6, 30).astype(float)
    low, high, _ = bootstrap_differences(S * sizes[:, None], sizes, (i, j), "studentized", replicates=400, seed=2)
    W, d, n = np.concatenate(list(weights(30, 400, seed=2))), (S[:, 0] - S[:, 1]) * sizes, sizes.sum()
    def ratio(w): return (w @ d) / (w @ sizes), (30 / 29 * (w @ (d - (w @ d) / (w @ sizes) * sizes) ** 2)) ** .5 / (w @ sizes)
    m, se = ratio(np.ones(30))
    t = np.array([(x - m) / e for x, e in map(ratio, W)])
    assert (low[0], high[0]) == pytest.approx((m - np.quantile(t, .975) * se, m - np.quantile(t, .025) * se)) and n > 30
    x, y = rng.exponential(1, 40), rng.exponential(2, 25)
    for kind in ("percentile", "bca"):
        low, high, _ = bootstrap_apart(dict(x=x, y=y), [("x", "y")], kind, replicates=20_000)
        theirs = stats.bootstrap((x, y), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), n_resamples=20_000, method=kind, rng=np.random.default_rng(1)).confidence_interval
        assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), abs=.04)


def test_a_bootstrap_t_without_spread_in_too_many_samples_has_no_limits():
    draws = np.array([0., 0, 1, 1, .5, .5, .25, .75] * 100)
    assert studentized(draws, np.where(np.isin(draws, (0, 1)), 0., .2), .5, .3) is None and studentized(draws, np.full(800, .2), .5, 0.) is None
    assert studentized(draws, np.full(800, .2), .5, .3) is not None


def test_permutation_of_counts_is_the_hypergeometric():
    x, y, k = np.array([1.] * 8 + [0] * 2), np.array([1.] * 3 + [0] * 9), np.arange(12)
    far = np.abs(k / 10 - (11 - k) / 12) >= abs(8 / 10 - 3 / 12) - 1e-12
    expected = stats.hypergeom.pmf(k, 22, 11, 10)[far].sum()
    assert permutation(x, y, replicates=40_000) == pytest.approx(expected, abs=.004) and permutation(x, y[:0]) == 1


THREADED = """
import hashlib, numpy as np
from agentlab_wb.infer.compare import compare
from agentlab_wb.infer.resample import BOOTSTRAP, bootstrap_differences, bootstrap_means, sign_flip, weights
from agentlab_wb.simulate import simulate_runs
rng, h = np.random.default_rng(0), hashlib.sha256()
Y, pairs = rng.random((700, 12)), np.triu_indices(12, 1)
for a in (np.concatenate(list(weights(700, 900))), bootstrap_means(Y), bootstrap_means(Y, kind="bayesian"), *sign_flip(Y, pairs, replicates=900), *(x for k in BOOTSTRAP for x in bootstrap_differences(Y, np.ones(700), pairs, k, replicates=400))): h.update(np.ascontiguousarray(np.round(a, 11)).tobytes())
runs = simulate_runs(3, 80, attempts=2, clusters=9, seed=4).study.runs
for o in (dict(test="sign_flip"), dict(test="bootstrap"), dict(cluster="cluster", interval="bca"), dict(test="permutation"), dict(paired=False, interval="studentized")): h.update(compare(runs, replicates=500, **o).select("estimate", "lower", "upper", "p").to_numpy().round(11).tobytes())
print(h.hexdigest())
"""


def test_one_thread_and_two_give_the_same_numbers():
    "Rounded to 11 digits: BLAS may add in another order, which moves the last bits of sums that are not of whole numbers."
    def run(threads):
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
        return subprocess.run([sys.executable, "-c", THREADED], env=os.environ | {n: str(threads) for n in names}, capture_output=True, text=True, check=True).stdout
    one, two = run(1), run(2)
    assert len(one) == 65 and one == two


def test_calibration_says_what_it_cannot_simulate():
    for bad in (dict(tasks=1), dict(rates=(0, 1)), dict(clusters=1), dict(studies=0), dict(level=2)):
        with pytest.raises(DataError):
            simulate_calibration(**bad)
    table = calibration_table({"few": dict(tasks=8), "scores": dict(tasks=8, scored=True)}, "interval", studies=20, replicates=50)
    assert table["method"].to_list() == ["wald-adjusted", "tango", "t", *BOOTSTRAP] and table["scores"].null_count() == 2


def test_calibration_is_the_exact_size_where_that_can_be_enumerated():
    "Boschloo and Fisher with 15 tasks each, everyone at 30 %: shares of 1,500 studies against the sum over all tables."
    k, j = (x.ravel() for x in np.meshgrid(np.arange(16), np.arange(16)))
    found = simulate_calibration(15, (.3, .3), paired=False, difficulty_sd=0, studies=1500, replicates=20)
    for name, test in (("boschloo", boschloo), ("fisher", fisher)):
        size = (stats.binom.pmf(k, 15, .3) * stats.binom.pmf(j, 15, .3))[test(k, np.full_like(k, 15), j, np.full_like(k, 15)) < .05].sum()
        row = found.filter(method=name).row(0, named=True)
        assert row["share"] == pytest.approx(size, abs=3.5 * (size * (1 - size) / 1500) ** .5)


def test_equivalence_and_settling():
    close, far = (tasks_to_settle(compare(simulate_runs(2, 800, spread=s, seed=2).study.runs)) for s in (.01, .5))
    assert equivalence(close, .1)["p_equivalent"][0] < .01 < equivalence(far, .1)["p_equivalent"][0]
    assert far["n_needed"][0] < 800
    with pytest.raises(DataError, match="margin"):
        equivalence(close, 5)


def test_one_agent_or_none():
    with pytest.raises(DataError, match="no two agents"):
        compare(RUNS.filter(pl.col("agent") == "agent-1"))
    with pytest.raises(DataError, match="agent-9"):
        compare(RUNS, "agent-9")


def test_hundred_agents_are_a_normal_call():
    table = compare(simulate_runs(100, 60, seed=1).study.runs)
    assert table.height == 4950 and table["p_adjusted"].null_count() == 0


def written(tmp_path, rows):
    path = tmp_path / "r.csv"
    path.write_text("task,agent,score\n" + "".join(f"{t},{a},{s}\n" for t, a, s in rows))
    return str(path)


def test_the_gate_answers_with_its_exit_code(tmp_path, capsys):
    path = written(tmp_path, [(t, a, int(a == "good" or t % 3 == 0)) for t in range(60) for a in ("good", "bad")])
    assert main(["compare", "good", "bad", path, "--gate"]) == 0 and "good is higher than bad" in capsys.readouterr().out
    assert main(["compare", "bad", "good", path, "--gate"]) == 1
    close = written(tmp_path, [(t, a, int((t + (a == "good")) % 2)) for t in range(20) for a in ("good", "bad")])
    assert main(["compare", "good", "bad", close, "--gate"]) == 3 and main(["compare", "good", "bad", close]) == 0
    capsys.readouterr()
    assert main(["compare", "good", "ugly", close]) == 2 and "no agent is called 'ugly'" in capsys.readouterr().err


def test_neighbours_on_the_real_leaderboard(real):
    from agentlab_wb.loaders.core import load
    runs = load(real("openhands_index")).runs.filter(pl.col("benchmark") == "swe-bench")
    row = compare(runs, "claude-opus-4-8", agents=["claude-fable-5"]).row(0, named=True)
    assert (row["n"], row["estimate"]) == (500, pytest.approx((479 - 419) / 500)) and row["p"] < 1e-9
    assert row["only_a"] - row["only_b"] == 60
