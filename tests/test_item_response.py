"Rasch and 2PL against R's ltm and mirt (published output), brute-force integrals, and simulation; subsets against closed form."
import numpy as np
import polars as pl
import pytest
from scipy import integrate, special, stats
from test_test_theory import LSAT7, runs_of

from agentlab_wb import load
from agentlab_wb.measure.informative_subset import informative_subset, subset_error
from agentlab_wb.measure.item_response import LSAT6, _covariance, _posterior, fit_item_response, marginal_fit, pattern_runs, test_information
from agentlab_wb.simulate import simulate_runs
from agentlab_wb.tables import DataError

test_information.__test__ = False   # the library's function, not a test


def drawn(agents, tasks, seed=0, slope=1., missing=0.):
    rng = np.random.default_rng(seed)
    theta, d = rng.normal(size=agents), rng.normal(.3, 1.2, tasks)
    a = np.full(tasks, slope) if np.isscalar(slope) else slope(rng, tasks)
    Y = (rng.random((agents, tasks)) < special.expit(np.outer(theta, a) + d)).astype(float)
    Y[rng.random(Y.shape) < missing] = np.nan
    return Y, theta, a, d


def test_rasch_as_ltm():  # R, ltm: summary(rasch(LSAT)), log-likelihood −2466.938; Rizopoulos 2006, J. Stat. Software 17(5)
    fit = fit_item_response(pattern_runs(LSAT6), model="rasch")
    assert fit.summary["integrated"][0] == "agents" and abs(fit.summary["log_likelihood"][0] + 2466.938) < 1e-3 and abs(fit.summary["bic"][0] - 4975.322) < 2e-3
    assert np.allclose(fit.tasks["estimate"], [-3.6153, -1.3224, -.3176, -1.7301, -2.7802], atol=1e-3)
    assert np.allclose(fit.tasks["se"], [.3266, .1422, .0977, .1691, .2510], atol=1e-3)
    assert abs(fit.tasks["slope"][0] - .7551) < 5e-4 and abs(fit.tasks["slope_se"][0] - .0694) < 2e-4


def test_2pl_as_ltm():  # R, ltm: summary(ltm(LSAT ~ z1)), 21 Gauss–Hermite points; it stopped at a gradient of 0.024
    fit = fit_item_response(pattern_runs(LSAT6), model="2pl")
    assert abs(fit.summary["log_likelihood"][0] + 2466.653) < 1e-3
    assert np.allclose(fit.tasks["estimate"], [-3.3597, -1.3696, -.2799, -1.8659, -3.1236], atol=4e-3)
    assert np.allclose(fit.tasks["slope"], [.8254, .7229, .8905, .6886, .6575], atol=1e-3)
    assert np.allclose(fit.tasks["se"], [.8669, .3073, .0997, .4341, .8700], atol=2e-3) and np.allclose(fit.tasks["slope_se"], [.2581, .1867, .2326, .1852, .2100], atol=1e-3)


def test_2pl_as_mirt():  # R, mirt 1.45.5: coef(mirt(expand.table(LSAT7))), log-likelihood −2658.805
    fit = fit_item_response(pattern_runs(LSAT7), model="2pl")
    assert abs(fit.summary["log_likelihood"][0] + 2658.805) < 1e-3
    assert np.allclose(fit.tasks["slope"], [.988, 1.081, 1.706, .765, .736], atol=3e-3) and np.allclose(fit.tasks["intercept"], [1.856, .808, 1.804, .486, 1.855], atol=3e-3)


def test_modes_as_ltm():  # R, ltm: factor.scores(ltm(LSAT ~ z1)), empirical Bayes; patterns 00000, 10011, 11111
    runs = pattern_runs(LSAT6)
    answers = runs.sort("task").group_by("agent").agg(pattern=pl.col("success").cast(pl.Int8).cast(pl.String).str.join(""))
    scores = fit_item_response(runs, model="2pl", ability="map").agents.join(answers, on="agent")
    for pattern, mode, se in (("00000", -1.895, .795), ("10011", -.506, .811), ("11111", .606, .855), ("01111", .023, .828)):
        row = scores.filter(pattern=pattern).row(0, named=True)
        assert abs(row["estimate"] - mode) < 3e-3 and abs(row["se"] - se) < 2e-3


def test_integral_and_information_by_brute_force():
    Y, *_ = drawn(30, 4, 3)
    K, N = Y, np.ones_like(Y)
    for two in (False, True):
        f = marginal_fit(K, N, two, 1. if two else 0., 0., 1e-9, 500)
        def loglik(v, two=two):
            d, a = v[:4], v[4:] if two else np.full(4, v[4])
            out = 0.
            for k in K:
                def density(t, k=k, d=d, a=a): return np.exp(stats.norm.logpdf(t) + (k * special.log_expit(a * t + d) + (1 - k) * special.log_expit(-a * t - d)).sum())
                out += np.log(integrate.quad(density, -9, 9, epsabs=1e-13, epsrel=1e-12)[0])
            return out
        v = np.concatenate([f.d, f.a if two else f.a[:1]])
        assert abs(loglik(v) - f.log_likelihood) < 1e-6
        def target(w, two=two, f=f): return _posterior(K, N, w[4:] if two else np.full(4, w[4]), w[:4], f.setup.x, f.setup.logw)[0] + f.setup.log_prior(w[4:] if two else np.ones(4), w[:4])
        h, m = 1e-3, len(v)
        unit = np.eye(m) * h
        hessian = np.array([[(target(v + i + j) - target(v + i - j) - target(v - i + j) + target(v - i - j)) / (4 * h * h) for j in unit] for i in unit])
        assert np.allclose(np.linalg.inv(-hessian), _covariance(f.setup, f.a, f.d, f.W, np.ones(4, bool)), rtol=2e-3, atol=2e-4)
        assert all(target(v) >= target(v + s * u * 20) for u in unit for s in (1, -1))


def test_sides_are_symmetric():
    Y, *_ = drawn(14, 9, 5)
    agents, tasks = fit_item_response(runs_of(Y), integrate="agents"), fit_item_response(runs_of(Y.T), integrate="tasks")
    assert abs(agents.summary["log_likelihood"][0] - tasks.summary["log_likelihood"][0]) < 1e-6
    assert np.allclose(agents.tasks["intercept"].to_numpy(), tasks.agents["estimate"].to_numpy(), atol=1e-4, equal_nan=True)


def test_recovery_with_few_agents_and_many_tasks():
    Y, theta, a, d = drawn(20, 1500, 8, slope=1.)
    fit = fit_item_response(runs_of(Y))
    assert fit.summary["integrated"][0] == "tasks" and fit.summary["converged"][0] and abs(fit.summary["spread"][0] - d.std()) < .12
    z = (fit.agents["estimate"].to_numpy() - theta - d.mean()) / fit.agents["se"].to_numpy()
    assert np.abs(z - z.mean()).max() < 3.6 and abs((fit.agents["estimate"] - pl.Series(theta)).mean() - d.mean()) < .15


def test_recovery_of_2pl_with_missing_cells():
    Y, theta, a, d = drawn(800, 12, 9, slope=lambda rng, n: rng.uniform(.6, 2., n), missing=.2)
    fit = fit_item_response(runs_of(Y), model="2pl")
    za, zd = ((fit.tasks[c].to_numpy() - t) / fit.tasks[f"{c}_se"].to_numpy() for c, t in (("slope", a), ("intercept", d)))
    assert np.abs(za).max() < 3.5 and np.abs(zd).max() < 3.5 and fit.summary["empty_cells"][0] == np.isnan(Y).sum()
    inside = (fit.agents["lower"].to_numpy() <= theta) & (theta <= fit.agents["upper"].to_numpy())
    assert abs(inside.mean() - .95) < .03


@pytest.mark.slow
def test_coverage_of_abilities():
    hits = []
    for seed in range(60):
        Y, theta, a, d = drawn(12, 150, 100 + seed)
        found = fit_item_response(runs_of(Y)).agents
        hits += ((found["lower"].to_numpy() <= theta + .3) & (theta + .3 <= found["upper"].to_numpy())).tolist()   # easiness N(0.3, 1.2²)
    assert abs(np.mean(hits) - .95) < .03


def test_attempts_are_binomial():
    Y, *_ = drawn(25, 8, 4)
    one, again = runs_of(Y), runs_of(Y).with_columns(attempt=pl.lit(1, pl.Int64))
    twice, single = fit_item_response(pl.concat([one, again]), integrate="agents"), fit_item_response(one, integrate="agents")
    assert twice.agents["n_attempts"][0] == 16 and twice.tasks["intercept_se"][0] < single.tasks["intercept_se"][0]
    K, N = 2 * Y, np.full_like(Y, 2.)
    f = marginal_fit(K, N, False, 0., 0., 1e-4, 200)
    assert abs(f.log_likelihood - twice.summary["log_likelihood"][0]) < 1e-8


def test_wle_is_finite_and_less_biased():
    Y, theta, a, d = drawn(400, 10, 6)
    wle, eap = (fit_item_response(runs_of(Y), ability=how).agents for how in ("wle", "eap"))
    assert wle["estimate"].is_not_null().all() and wle["estimate"].std() > eap["estimate"].std()
    top = wle.filter(flag="solves everything")
    assert top.height and top["estimate"].is_finite().all() and abs(np.polyfit(theta, wle["estimate"], 1)[0] * np.std(theta) - 1) < .2


def test_unbounded_are_named():
    Y, *_ = drawn(12, 40, 2)
    Y[:, 0], Y[:, 1], Y[0], Y[1] = 1, 0, 1, 0
    fit = fit_item_response(runs_of(Y), integrate="tasks")
    ends = fit.agents.filter(pl.col("flag") != "")
    assert ends["flag"].to_list() == ["solves everything", "solves nothing"] and ends["estimate"].null_count() == 2
    assert ends["lower"][0] > 1 and ends["upper"][0] is None and ends["upper"][1] < -1 and ends["lower"][1] is None
    plain = fit_item_response(runs_of(Y[2:]), integrate="agents").tasks
    assert plain["flag"][0] == "everybody solves" and plain["lower"][0] is None and plain["upper"][0] < 0 and plain["flag"][1] == "nobody solves" and plain["lower"][1] > 0
    for frame in (fit.agents, fit.tasks, plain):
        assert not any(frame[c].is_nan().any() or frame[c].is_infinite().any() for c, t in frame.schema.items() if t == pl.Float64)


def test_prior_free_2pl_names_what_runs_away():
    Y, theta, *_ = drawn(15, 20, 12)
    Y[:, 0] = theta > np.median(theta)
    Y[:, 1:] = (theta[:, None] > np.linspace(-1, 1, 19)).astype(float)          # a perfect staircase: every slope is infinite
    fit = fit_item_response(runs_of(Y), model="2pl", slope_prior=None, intercept_prior=None, max_iterations=30)
    away = fit.tasks.filter(flag="slope runs away")
    assert away.height > 0 and away["slope"].null_count() == away.height and fit.summary["slopes_run_away"][0] == away.height
    calm = fit_item_response(runs_of(Y), model="2pl")
    assert calm.summary["converged"][0] and "prior of slopes N(1, 0.5²)" in calm.summary["method"][0] and calm.tasks["slope"].null_count() == 0


def test_row_order_and_names():
    runs = simulate_runs(10, 30, seed=3).study.runs
    shuffled = runs.sample(fraction=1., shuffle=True, seed=1)
    assert fit_item_response(runs).agents.equals(fit_item_response(shuffled).agents)
    with pytest.raises(DataError, match="choose one"):
        fit_item_response(pl.concat([runs, runs.with_columns(benchmark=pl.lit("x"))]))


def test_information_is_the_curvature():
    fit = fit_item_response(pattern_runs(LSAT7), model="2pl")
    a, d, h, t = fit.slopes, fit.intercepts, 1e-4, .4
    def expected(at, p): return (p * special.log_expit(a * at + d) + (1 - p) * special.log_expit(-a * at - d)).sum()
    p = special.expit(a * t + d)
    curve = -(expected(t + h, p) - 2 * expected(t, p) + expected(t - h, p)) / h ** 2
    found = test_information(fit, [t])
    assert abs(found["information"][0] / curve - 1) < 1e-4 and abs(found["expected"][0] - p.mean()) < 1e-12


def test_real_board(real):
    runs = load(real("swebench_leaderboards")).runs
    fit = fit_item_response(runs)
    order = fit.agents.sort("estimate")["solved"].to_list()
    assert order == sorted(order) and fit.summary["converged"][0] and (fit.tasks["flag"] == "nobody solves").sum() == 64
    one = load(real("swebench_experiments_verified_sweagent")).runs
    with pytest.raises(DataError, match="1 agents"):
        fit_item_response(one)


@pytest.mark.parametrize("choice, predictor", [("random", "mean"), ("stratified", "mean"), ("anchors", "mean"), ("information", "irt")])
def test_subset_weights_and_error(choice, predictor):
    runs = simulate_runs(12, 60, seed=1).study.runs
    subset = informative_subset(runs, 12, choice=choice, predictor=predictor)
    assert subset["task"].n_unique() == 12 and abs(subset["weight"].sum() - 1) < 1e-12
    error = subset_error(runs, [12, 59], choice=choice, predictor=predictor, random_draws=60).rows(named=True)
    assert error[1]["estimate"] < error[0]["estimate"] and error[1]["estimate"] < .03 and error[0]["lower"] <= error[0]["estimate"] <= error[0]["upper"]


def test_random_subset_error_is_the_closed_form():
    runs = simulate_runs(10, 200, seed=6).study.runs
    share = runs.group_by("agent").agg(pl.col("success").mean())["success"].to_numpy()
    expected = np.sqrt(2 / np.pi * share * (1 - share) * 200 / 199 * (1 - 40 / 200) / 40).mean()
    assert abs(subset_error(runs, 40, choice="random", random_draws=400)["random_error"][0] / expected - 1) < .06


def test_choosing_is_no_use_where_tasks_are_noise():
    rng = np.random.default_rng(0)
    noise = runs_of((rng.random((16, 120)) < rng.uniform(.2, .8, (16, 1))).astype(float))     # no task says more than another
    assert not any(subset_error(noise, 12, choice=c, random_draws=100)["better_than_random"][0] for c in ("stratified", "anchors"))


def test_families_are_left_out_together():
    runs = simulate_runs(12, 50, seed=2).study.runs.with_columns(family=pl.col("agent").str.slice(-1).replace_strict({c: str(i % 5) for i, c in enumerate("abcdefghijkl0123456789")}, default="9"))
    count = runs["family"].n_unique()
    if count >= 4:
        assert f"{count} folds" in subset_error(runs, 8, cluster="family", random_draws=20)["method"][0]
    with pytest.raises(DataError, match="wanted one for each agent"):
        subset_error(runs.with_columns(family=pl.col("task")), 8, cluster="family")
