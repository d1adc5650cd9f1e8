"Mixed models, GEE and units of analysis against closed forms, published values, brute force and simulation."
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from agentlab_wb.infer.models import _formula_columns, gee_model, mixed_model, separating_terms, simulate_ratings, units_of_analysis, welch_of_values
from agentlab_wb.measure.intervals import holm
from agentlab_wb.simulate import simulate_runs
from agentlab_wb.tables import DataError, check

# Davies & Goldsmith 1972 as in R's lme4::Dyestuff; lmer(Yield ~ 1 + (1 | Batch)) by REML: 1764.05, 2451.25, 1527.5 ± 19.383 (Bates, lme4 book, ch. 1)
DYESTUFF = dict(A=(1545, 1440, 1440, 1520, 1580), B=(1540, 1555, 1490, 1560, 1495), C=(1595, 1550, 1605, 1510, 1560), D=(1445, 1440, 1595, 1465, 1545),
                E=(1595, 1630, 1515, 1635, 1625), F=(1520, 1455, 1450, 1480, 1445))


def success_runs(agents=2, tasks=60, **options) -> pl.DataFrame:
    return simulate_runs(agents, tasks, **options).study.runs.with_columns(score=pl.col("success").cast(pl.Float64))


def test_dyestuff():
    data = pl.DataFrame([(b, float(y)) for b, ys in DYESTUFF.items() for y in ys], schema=["batch", "y"], orient="row")
    fit = mixed_model(data, "y ~ 1", "batch")
    assert np.allclose(fit.components["variance"], [1764.05, 2451.25], rtol=1e-4) and fit.contrasts.height == 0
    row = fit.coefficients.row(0, named=True)
    assert np.isclose(row["estimate"], 1527.5) and np.isclose(row["se"], 19.3834, rtol=1e-4) and any("6 levels" in n for n in fit.notes)


def test_two_agents_are_the_paired_t_test():
    runs = success_runs(2, 80, spread=.5, attempts=1, seed=2)
    row = mixed_model(runs).contrasts.row(0, named=True)
    wide = runs.pivot("agent", index="task", values="score")
    d = (wide["agent-1"] - wide["agent-2"]).to_numpy()
    assert np.isclose(row["estimate"], d.mean(), atol=1e-6) and np.isclose(row["se"], d.std(ddof=1) / np.sqrt(80), rtol=1e-4)
    assert np.isclose(row["p"], 2 * stats.norm.sf(abs(d.mean() / row["se"])), rtol=1e-3)


def test_crossed_effects_are_the_two_way_analysis_of_variance():
    "Balanced raters × items: REML equals the mean-square estimators where they are positive."
    rng = np.random.default_rng(1)
    y = 5 + rng.normal(0, 1, (12, 1)) + rng.normal(0, .8, (1, 15)) + rng.normal(0, .6, (12, 15))
    data = pl.DataFrame([(f"r {i};", f"i'{j}\"", y[i, j]) for i in range(12) for j in range(15)], schema=["rater", "item", "label"], orient="row")
    rows, columns = y.mean(axis=1), y.mean(axis=0)
    ms_r, ms_c = 15 * rows.var(ddof=1), 12 * columns.var(ddof=1)
    ms_e = ((y - rows[:, None] - columns + y.mean()) ** 2).sum() / (11 * 14)
    fit = mixed_model(data, "label ~ 1", ["rater", "item"])
    assert np.allclose(fit.components["variance"], [(ms_r - ms_e) / 15, (ms_c - ms_e) / 12, ms_e], rtol=2e-3)
    assert fit.components["component"].to_list() == ["rater", "item", "residual"]


def test_ratings_recover_the_truth():
    "Effect 0.9 inside the 95 % interval in 30 studies, but for a few (P(≥ 6 misses) < 0.01 at 95 %; Wald is a little narrow)."
    misses = 0
    for seed in range(30):
        row = mixed_model(simulate_ratings(15, 30, 6, seed=seed), "label ~ condition", "item", reference={"condition": "human"}).contrasts.row(0, named=True)
        misses += not row["lower"] <= -.9 <= row["upper"]
    assert misses < 6


def test_contrasts_do_not_depend_on_the_reference_or_row_order():
    runs = success_runs(4, 50, attempts=2, seed=4)
    one, other = mixed_model(runs), mixed_model(runs.sample(fraction=1, shuffle=True, seed=2), reference={"agent": "agent-3"})
    table = {frozenset((r["a"], r["b"])): (abs(r["estimate"]), r["se"]) for r in one.contrasts.iter_rows(named=True)}
    for r in other.contrasts.iter_rows(named=True):
        assert np.allclose((abs(r["estimate"]), r["se"]), table[frozenset((r["a"], r["b"]))], rtol=1e-4, atol=1e-6)
    assert np.allclose(one.contrasts["p_adjusted"], holm(one.contrasts["p"].to_numpy()))


def test_contrast_with_interaction_averages_over_the_data():
    runs = success_runs(2, 90, attempts=1, seed=6).with_columns(category=pl.when(pl.col("task").str.tail(1).is_in(["1", "2", "3"])).then(pl.lit("x")).otherwise(pl.lit("y")))
    fit = mixed_model(runs, "score ~ agent * category")
    means = {(a, c): v for a, c, v in runs.group_by("agent", "category").agg(pl.col("score").mean()).iter_rows()}
    share = (runs["category"] == "x").mean()
    expected = sum(w * (means["agent-1", c] - means["agent-2", c]) for c, w in (("x", share), ("y", 1 - share)))
    assert np.isclose(fit.contrasts.filter(factor="agent")["estimate"][0], expected, atol=1e-6)


def test_gee_closed_form():
    "Complete data, two agents: log-odds of the rates; the sandwich by the delta method over tasks."
    runs = success_runs(2, 70, attempts=2, seed=7)
    fit = gee_model(runs, covariance="robust")
    y = runs.group_by("task", "agent").agg(pl.col("score").mean()).pivot("agent", index="task").select("agent-1", "agent-2").to_numpy()
    p = y.mean(axis=0)
    influence = ((y - p) / (p * (1 - p))) @ [1, -1]
    row = fit.contrasts.row(0, named=True)
    assert np.isclose(row["estimate"], special.logit(p[0]) - special.logit(p[1]), atol=1e-6) and np.isclose(row["se"], np.sqrt((influence**2).sum()) / 70, rtol=1e-4)
    assert gee_model(runs).contrasts["se"][0] > row["se"]  # Mancl & DeRouen widen
    assert fit.scale == "log-odds" and fit.groups == {"task": 70} and fit.converged


def test_gee_keeps_its_level():
    "Equal agents on 30 tasks, three attempts: 5 % of 150 studies reject (±3.6 points at 2 standard errors); attempts taken as independent reject more."
    wrong = sum(gee_model(simulate_runs(2, 30, attempts=3, spread=0, difficulty_sd=1.5, seed=s).study.runs).contrasts["p"][0] < .05 for s in range(150))
    assert wrong / 150 < .095


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)).map(lambda t: (min(t), t[1])), min_size=2, max_size=5))
@settings(deadline=None, max_examples=80)
def test_separation_of_one_factor_is_a_perfect_agent(counts):
    "With agents alone in the model the data are separable exactly if some agent always or never succeeded."
    agent = np.repeat(np.arange(len(counts)), [n for _, n in counts])
    y = np.concatenate([np.r_[np.ones(k), np.zeros(n - k)] for k, n in counts])
    X = np.c_[np.ones(len(y)), np.eye(len(counts))[agent][:, 1:]]
    assert bool(separating_terms(X, y)) == any(k in (0, n) for k, n in counts)


def test_separation_names_agents_or_terms():
    runs = success_runs(3, 40, attempts=2, seed=1)
    with pytest.raises(DataError, match="agent 'agent-1' always succeeded .80 rows.; agent 'agent-3' never succeeded"):
        gee_model(runs.with_columns(success=pl.when(pl.col("agent") == "agent-1").then(True).when(pl.col("agent") == "agent-3").then(False).otherwise("success")))
    with pytest.raises(DataError, match="terms .*steps"):
        gee_model(runs.with_columns(success=pl.col("steps") > 9), "success ~ steps")


def test_missing_policy_and_benchmarks():
    runs = simulate_runs(2, 60, missing_rate=.1, seed=3).study.runs
    assert gee_model(runs).n == 120 and gee_model(runs, missing="drop").n == 120 - runs["success"].null_count()
    with pytest.raises(DataError, match="have no outcome"):
        gee_model(runs, missing="error")
    both = pl.concat([runs, runs.with_columns(benchmark=pl.lit("other"))])
    assert gee_model(both, "success ~ agent + benchmark").groups == {"task": 120}  # one id in two benchmarks is two tasks


@pytest.mark.parametrize("formula", ["score ~ __import__('os').getcwd()", "score ~ eval(agent)", "score ~ np.log(agent)", "score ~ agent[0]", "score ~ Q('agent')", "score", "a b ~ agent", "score ~ C(agent, Treatment)", "score ~ print", "score ~ {agent}", "score ~ (agent)(task)"])
def test_formulas_are_no_code(formula):
    runs = success_runs(2, 10)
    with pytest.raises(DataError):
        mixed_model(runs, formula)
    with pytest.raises(DataError):
        gee_model(runs, formula)


def test_formula_columns():
    frame = pl.DataFrame(dict(y=[1.], C1=["a"], b_2=[1], é=["x"]))
    assert _formula_columns("y ~ 0 + C1*C(b_2) - é", frame) == ("y", ["C1", "b_2", "é"])


def test_hostile_names(hostile_runs):
    runs = check("runs", hostile_runs.with_columns(success=pl.int_range(pl.len()).hash(1) % 3 > 0))
    fit = mixed_model(runs, "success ~ agent")
    assert fit.contrasts["a"].n_unique() == 17 and set(fit.contrasts["a"]) | set(fit.contrasts["b"]) == set(runs["agent"])
    strange = simulate_ratings(10, 12, 6).rename({"rater": "rater'); __import__('os').abort() #", "item": "a.b"})
    assert mixed_model(strange, "label ~ condition", ["rater'); __import__('os').abort() #", "a.b"]).components.height == 3


def test_a_failed_fit_shows_no_numbers(monkeypatch):
    from statsmodels.genmod.generalized_estimating_equations import GEE
    from statsmodels.regression.mixed_linear_model import MixedLM
    runs = success_runs(3, 40, attempts=2, seed=5)
    mixed, gee = MixedLM.fit, GEE.fit
    monkeypatch.setattr(MixedLM, "fit", lambda self, **options: mixed(self, **(options | dict(method="nm", maxiter=1))))
    monkeypatch.setattr(GEE, "fit", lambda self, **options: gee(self, **(options | dict(maxiter=1, ctol=1e-300))))
    for fit in (mixed_model(runs), gee_model(runs)):
        assert not fit.converged and fit.warnings and "withheld" in fit.notes[-1]
        for frame in (fit.coefficients, fit.contrasts, fit.components):
            assert all(frame[c].null_count() == frame.height for c in frame.columns if c in ("estimate", "se", "lower", "upper", "p", "p_adjusted", "variance", "sd", "share"))
    monkeypatch.setattr(MixedLM, "fit", lambda self, **options: (_ for _ in ()).throw(np.linalg.LinAlgError("Singular matrix")))
    assert "LinAlgError: Singular matrix" in mixed_model(runs).warnings


def test_boundary_warning_is_kept():
    "A random effect that explains nothing: the fit stands, the warning and a note are there, nothing is NaN."
    runs = success_runs(2, 50, attempts=2, seed=1).with_columns(score=pl.Series(np.random.default_rng(0).permutation(np.arange(200.) / 200)), g=pl.Series([f"g{i % 40}" for i in range(200)]))
    flat = runs.with_columns(score=pl.col("score") - pl.col("score").mean().over("g") + .5)
    fit = mixed_model(flat, "score ~ agent", "g")
    assert fit.warnings and (not fit.converged or any("estimated as 0" in n for n in fit.notes))
    for frame in (fit.coefficients, fit.contrasts, fit.components):
        assert all(not frame[c].is_nan().any() for c in frame.columns if frame[c].dtype == pl.Float64)


@pytest.mark.parametrize(("change", "message"), [
    (lambda r: r.filter(agent="agent-1"), "one value only"), (lambda r: r.head(2), "too few"), (lambda r: r.with_columns(agent=pl.when(pl.col("agent") != "agent-1").then("agent")), "is empty"),
    (lambda r: r.with_columns(score=pl.when(pl.col("agent") == "agent-1").then(float("nan")).otherwise("score")), "NaN"), (lambda r: r.with_columns(task=pl.format("{}{}", "task", "agent")), "one row"),
    (lambda r: r.with_columns(task=pl.lit("t")), "one value only"), (lambda r: r.drop("task"), "no column 'task'")])
def test_bad_input(change, message):
    with pytest.raises(DataError, match=message):
        mixed_model(change(success_runs(2, 20)))


def test_crossed_models_have_a_limit():
    with pytest.raises(DataError, match="2,000"):
        mixed_model(simulate_ratings(100, 60, 30), "label ~ condition", ["rater", "item"])


@given(st.lists(st.integers(1, 10), min_size=2, max_size=12), st.lists(st.integers(1, 10), min_size=2, max_size=12))
@settings(deadline=None, max_examples=80)
def test_welch_equals_scipy(x, y):
    ours = welch_of_values(x, y)
    if np.ptp(x) == np.ptp(y) == 0:
        assert ours["se"] is None and ours["p"] == (1 if x[0] == y[0] else None)
        return
    expected = stats.ttest_ind(x, y, equal_var=False)
    assert np.allclose((ours["t"], ours["p"], ours["df"], ours["lower"], ours["upper"]), (expected.statistic, expected.pvalue, expected.df, *expected.confidence_interval(.95)))
    assert np.isclose(welch_of_values(y, x)["estimate"], -ours["estimate"])


def test_units_agree_with_the_mixed_model_and_bonferroni():
    labels = simulate_ratings(30, 40, 10, seed=1)
    tests = units_of_analysis(labels, baseline="human").tests
    assert tests["unit"].to_list() == ["review", "item", "rater"] and tests["n"].to_list()[1:] == [20, 30] and set(tests["comparisons"]) == {1}
    two = units_of_analysis(pl.concat([labels, labels.with_columns(aspect=pl.lit("other"), label=11 - pl.col("label"))]), baseline="human").tests
    assert set(two["comparisons"]) == {2} and np.allclose(two["p_adjusted"], np.minimum(2 * two["p"].to_numpy(), 1))
    assert np.allclose(two.filter(aspect="other")["estimate"].to_numpy(), -two.filter(aspect="quality")["estimate"].to_numpy())
    crossed = units_of_analysis(labels.with_columns(condition=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("x")).otherwise(pl.lit("y"))))
    assert "stand in several arms" in crossed.notes[0]


def test_units_of_equal_labels():
    labels = simulate_ratings(6, 8, 4).with_columns(label=pl.lit(3))
    tests = units_of_analysis(labels).tests
    assert tests["p"].to_list() == tests["p_adjusted"].to_list() == [1, 1, 1] and tests["se"].null_count() == 3
    apart = units_of_analysis(labels.with_columns(label=pl.when(pl.col("condition") == "ai").then(4).otherwise(3))).tests
    assert apart["p"].null_count() == apart["p_adjusted"].null_count() == 3 and apart["estimate"].to_list() == [-1, -1, -1]


def test_ideation_study(real):
    "Si, Yang & Hashimoto 2024: means, sizes and (population) standard deviations of novelty, and p < 0.01 for both arms after Bonferroni over five questions."
    from agentlab_wb import load
    labels = load(real("ai_researcher_reviews")).labels.filter(pl.col("study") == "ideation")
    novelty = labels.filter(aspect="novelty (ideation)")
    found = {c: (n, round(m, 2), round(s, 2)) for c, n, m, s in novelty.group_by("condition").agg(pl.len(), pl.col("label").mean().alias("m"), pl.col("label").std(ddof=0).alias("s")).iter_rows()}
    assert found == {"Human": (119, 4.84, 1.79), "AI": (109, 5.64, 1.76), "AI_Rerank": (109, 5.81, 1.66)}
    units = units_of_analysis(labels.filter(pl.col("aspect") != "confidence (ideation)"), baseline="Human", comparisons=5)
    review, item = (units.tests.filter(unit=u, aspect="novelty (ideation)") for u in ("review", "item"))
    assert [round(m, 2) for m in review["mean"]] == [5.64, 5.81] and round(review["baseline_mean"][0], 2) == 4.84 and (review["p_adjusted"] < .01).all()
    assert item["n"].to_list() == item["n_baseline"].to_list() == [49, 49] and (item["p_adjusted"] < .05).all()
    for row in units.tests.filter(unit="review").iter_rows(named=True):
        part = labels.filter(aspect=row["aspect"])
        expected = stats.ttest_ind(part.filter(condition=row["condition"])["label"].to_numpy(), part.filter(condition="Human")["label"].to_numpy(), equal_var=False)
        assert np.isclose(row["p"], expected.pvalue) and np.isclose(row["p_adjusted"], min(5 * expected.pvalue, 1))
    assert len(units.notes) == 1 and "anonymous" in units.notes[0]  # the study's third unit needs reviewers' ids, which are not in the file
    fit = mixed_model(novelty, "label ~ condition", "item", reference={"condition": "Human"})
    assert fit.converged and (fit.contrasts.filter(a="Human")["p_adjusted"] < .01).all()
    with pytest.raises(DataError, match="one row"):
        mixed_model(novelty, "label ~ condition", ["item", "rater"])


def test_small_variance_meets_the_closed_form():
    "statsmodels' default optimizer stops short here (0.0305); balanced REML is the mean-square estimator."
    runs = success_runs(4, 50, attempts=2, seed=4)
    y = runs.sort("task", "agent", "attempt")["score"].to_numpy().reshape(50, 4, 2)
    ms_task, agents = 8 * y.mean(axis=(1, 2)).var(ddof=1), 100 * ((y.mean(axis=(0, 2)) - y.mean()) ** 2).sum()
    mse = (((y - y.mean()) ** 2).sum() - 49 * ms_task - agents) / (400 - 50 - 3)
    fit = mixed_model(runs)
    assert np.allclose(fit.components["variance"], [(ms_task - mse) / 8, mse], rtol=1e-5) and np.allclose(fit.contrasts["se"], np.sqrt(2 * mse / 100), rtol=1e-5)
