"Costs: closed forms, brute force, coverage by simulation, real files with costs, degenerate and hostile input."
import numpy as np
import polars as pl
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab_wb.loaders.core import load
from agentlab_wb.measure.cost import area_under_budget, best_under_budget, cost_per_success, dominates, fieller_positive, mean_cost, pareto_front, price_tokens, read_prices
from agentlab_wb.show.cost_charts import cost_chart, pareto_chart
from agentlab_wb.show.cost_words import front_sentence, price_sentence
from agentlab_wb.tables import DataError, check


def study(rng, agents, tasks=40, attempts=1, hard=1.):
    "Hard tasks cost more and succeed less."
    difficulty = rng.normal(0, hard, tasks)
    return check("runs", pl.DataFrame([dict(benchmark="b", agent=a, task=f"t{t}", attempt=k, status="ok", success=bool(rng.random() < 1 / (1 + np.exp(difficulty[t] - s))), cost_usd=float(c * np.exp(.5 * difficulty[t] + rng.normal(0, .4))))
                                       for a, s, c in agents for t in range(tasks) for k in range(attempts)]))


def test_fieller_solves_its_inequality():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b, saa, sbb, r, t = *rng.uniform(.1, 3, 2), *rng.uniform(.001, .3, 2), rng.uniform(-.9, .9), 2.
        sab = r * (saa * sbb) ** .5
        low, high = fieller_positive(a, b, saa, sab, sbb, t)
        for x in (low, high):
            if x:
                assert (a - x * b) ** 2 == pytest.approx(t * t * (saa - 2 * x * sab + x * x * sbb), rel=1e-6)
        assert (high is None) == (b * b <= t * t * sbb)      # open exactly where success is not told from zero
        assert low is None or low <= a / b and (high is None or a / b <= high)


def test_fieller_published_example():
    "Independent means without error of the denominator: the interval of the numerator, divided."
    assert fieller_positive(10., 4., 1., 0., 0., 1.96) == pytest.approx((8.04 / 4, 11.96 / 4))


@pytest.mark.parametrize("interval", ["fieller", "bootstrap"])
def test_coverage_of_the_ratio(interval):
    "Tasks drawn from a population of which the ratio is known; 400 studies."
    rng, hits = np.random.default_rng(3), 0
    d = rng.normal(0, 1, 400_000)
    p, c = 1 / (1 + np.exp(d)), np.exp(.5 * d + .08)
    truth = c.mean() / p.mean()
    parts = []
    for i in range(400):
        pick = rng.integers(0, len(d), 60)
        parts.append(pl.DataFrame(dict(benchmark="b", agent=f"a{i}", task=[f"t{j}" for j in range(60)], attempt=0, success=rng.random(60) < p[pick], cost_usd=np.exp(.5 * d[pick] + rng.normal(0, .4, 60)))))
    table = cost_per_success(pl.concat(parts), interval=interval, replicates=500)
    hits = table.filter((pl.col("lower") < truth) & (pl.col("upper").fill_null(np.inf) > truth)).height
    assert .915 <= hits / 400 <= .98


def test_no_success_bound_holds():
    "True rate and cost known: among studies without a success the lower limit lies below the truth."
    rng, below, seen = np.random.default_rng(4), 0, 0
    parts = [pl.DataFrame(dict(benchmark="b", agent=f"a{i}", task=[f"t{j}" for j in range(20)], attempt=0, success=rng.random(20) < .05, cost_usd=rng.exponential(2., 20))) for i in range(600)]
    for row in cost_per_success(pl.concat(parts)).filter(pl.col("estimate").is_null()).iter_rows(named=True):
        seen += 1; below += row["lower"] < 2 / .05
    assert seen > 100 and below / seen > .95


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_properties(seed):
    rng = np.random.default_rng(seed)
    runs = study(rng, (("x", .5, 1.), ("y", -1., .2), ("z", 1., 3.)), tasks=int(rng.integers(2, 15)), attempts=int(rng.integers(1, 3)))
    runs = runs.with_columns(cost_usd=pl.when(pl.Series(rng.random(runs.height) < .2)).then(None).otherwise("cost_usd"))
    if not runs["cost_usd"].count():
        return
    each, shuffled = cost_per_success(runs), cost_per_success(runs.sample(fraction=1, shuffle=True, seed=seed))
    assert each.equals(shuffled) and each["n_cost_missing"].sum() == runs["cost_usd"].null_count()
    twice = cost_per_success(runs.with_columns(cost_usd=2 * pl.col("cost_usd")))
    for a, b in zip(each.iter_rows(named=True), twice.iter_rows(named=True)):
        for c in ("estimate", "se", "lower", "upper"):
            assert (a[c] is None) == (b[c] is None) and (a[c] is None or b[c] == pytest.approx(2 * a[c], rel=1e-6))
            assert a[c] is None or np.isfinite(a[c])
    front = pareto_front(runs, replicates=100)
    assert front.equals(pareto_front(runs.reverse(), replicates=100))
    alone = mean_cost(runs.filter(pl.col("agent") == "x"))
    assert alone.equals(mean_cost(runs).filter(pl.col("agent") == "x"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9))
def test_dominance_by_brute_force(points):
    c, s = (np.array(v, float) for v in zip(*points))
    want = [[c[j] <= c[i] and s[j] >= s[i] and (c[j], s[j]) != (c[i], s[i]) for j in range(len(c))] for i in range(len(c))]
    assert dominates(c, s).tolist() == want


def test_membership_by_brute_force():
    "Shares from replicates that are drawn and fronted one by one."
    runs = study(np.random.default_rng(5), (("cheap", -.5, .3), ("mid", .2, 1.), ("dear", .3, 1.1), ("bad", -2., 2.)), tasks=30)
    table = {r["agent"]: r for r in pareto_front(runs, replicates=4000).iter_rows(named=True)}
    wide = {a: (p.sort("task")["cost_usd"].to_numpy(), p.sort("task")["success"].cast(float).to_numpy()) for (a,), p in runs.group_by("agent")}
    rng, on = np.random.default_rng(6), dict.fromkeys(wide, 0)
    for _ in range(2000):
        pick = rng.integers(0, 30, 30)
        at = {a: (c[pick].mean(), s[pick].mean()) for a, (c, s) in wide.items()}
        for a, (c, s) in at.items():
            on[a] += not any(c2 <= c and round(s2, 12) >= round(s, 12) and (c2 < c or s2 > s + 1e-12) for b, (c2, s2) in at.items() if b != a)
    for a in wide:
        assert table[a]["p_front"] == pytest.approx(on[a] / 2000, abs=.05)
    assert table["bad"]["dominated_by"] in ("cheap", "mid", "dear") and not table["bad"]["on_front"]


def test_budget_and_area_by_brute_force():
    runs = study(np.random.default_rng(7), (("cheap", -.5, .3), ("mid", .2, 1.), ("dear", 1.5, 3.)), tasks=50)
    mean = {a: p["cost_usd"].mean() for (a,), p in runs.group_by("agent")}
    for row in best_under_budget(runs, [.01, .7, 2., 100.], replicates=200).iter_rows(named=True):
        can = [a for a in mean if mean[a] <= row["budget"]]
        want = max(can, key=lambda a: runs.filter(pl.col("agent") == a)["success"].mean()) if can else None
        assert row["agent"] == want and row["n_affordable"] == len(can)
    part = runs.filter(pl.col("agent") == "mid")
    grid = (np.arange(4000) + .5) / 2000
    brute = np.mean([((part["cost_usd"] <= b) & part["success"]).mean() for b in grid])
    assert area_under_budget(part, 2.)["estimate"][0] == pytest.approx(brute, abs=1e-3)


def test_tokens_to_dollars(real):
    runs = load(real("inspect_logs_hibayes")).runs
    prices = read_prices(ROOT / "results" / "prices.csv")
    made = price_tokens(runs, prices)
    assert made["cost_usd"].null_count() == 0 and made["cost_source"].unique().sort().to_list() == ["tokens at the price of 2026-05-06", "tokens at the price of 2026-05-11"]
    row = made.filter(pl.col("model") == "openai/o3-mini").row(0, named=True)
    assert row["cost_usd"] == pytest.approx((1.1 * row["tokens_in"] + 4.4 * row["tokens_out"]) / 1e6)
    assert prices["source"].str.len_chars().min() > 10


def test_real_costs(real):
    "Mean cost and resolved instances of the files give the ratio; every agent of the board has a price."
    runs = load(real("swebench_leaderboards")).runs
    each = cost_per_success(runs)
    assert each.height == 25 and each["n_cost_missing"].sum() == 0
    for (agent,), part in runs.group_by("agent"):
        row = each.filter(pl.col("agent") == agent).row(0, named=True)
        assert row["estimate"] == pytest.approx(part["cost_usd"].sum() / part["success"].sum()) and row["lower"] < row["estimate"] < row["upper"]
    boot = cost_per_success(runs, interval="bootstrap")
    assert ((boot["upper"] - each["upper"]).abs() / each["estimate"]).max() < .25
    front = pareto_front(runs)
    assert pareto_chart(front).svg() and cost_chart(each).svg() and "SWE-bench" in front_sentence(front)


def test_real_gaps_are_counted(real):
    runs = load(real("openhands_index")).runs
    each = cost_per_success(runs)
    assert each["n_cost_missing"].sum() == runs["cost_usd"].null_count() > 1000
    for _, part in each.group_by("benchmark"):
        assert "no recorded cost" in price_sentence(part)


def test_degenerate_and_hostile(hostile_runs):
    runs = check("runs", hostile_runs).with_columns(cost_usd=pl.lit(.5) + pl.col("task").str.len_chars() / 1000, status=pl.lit("ok"))
    for _, part in runs.group_by("benchmark", maintain_order=True):
        each, front = cost_per_success(part), pareto_front(part, replicates=50)
        for figure in (cost_chart(each), pareto_chart(front)):
            assert "<script" not in figure.svg()
        assert price_sentence(each) and front_sentence(front)
    none = runs.with_columns(success=pl.lit(False))
    assert cost_per_success(none)["estimate"].null_count() == cost_per_success(none).height
    assert cost_per_success(none.with_columns(success=pl.lit(True)))["estimate"].null_count() == 0
    zero = pareto_front(runs.with_columns(cost_usd=pl.lit(0.)), replicates=20)
    assert zero["cost"].max() == 0 and zero["cost_lower"].null_count() == zero.height
    with pytest.raises(DataError, match="nothing to draw"):
        pareto_chart(zero.filter(pl.col("benchmark") == zero["benchmark"][0]))
    with pytest.raises(DataError, match="no front"):
        pareto_front(runs.with_columns(cost_usd=pl.lit(None, pl.Float64)))
    one = pareto_front(runs.head(1), replicates=20)
    assert one["on_front"].to_list() == [True]
