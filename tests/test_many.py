"Rank tests of many agents against scipy, scikit-posthocs, a published example, brute force and simulation."
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

from agentlab_wb.infer.many import _conover, _nemenyi, _sums, critical_difference, rank_agents, rank_blocks, rank_test
from agentlab_wb.infer.resample import bootstrap_differences, sign_flip, weights
from agentlab_wb.measure.intervals import holm
from agentlab_wb.show.rank_charts import critical_difference_chart, place_range_chart
from agentlab_wb.simulate import simulate_runs
from agentlab_wb.tables import DataError

NAN = np.nan
UNTIED = np.array([[31, 27, 24, 11], [31, 28, 35, 30], [45, 29, 46, 40], [21, 18, 48, 15], [42, 36, 46, 41], [32, 17, 40, 16.]])
TIED = np.array([[.8, .5, .5, .1], [.9, .7, .2, .4], [.3, .3, .1, .2], [.6, .5, .4, .4], [.1, .2, .0, .05], [.7, .7, .7, .1], [.2, .5, .1, .1]])
FANO = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]  # 7 agents in 7 blocks of 3, every pair once
# Skillings & Mack 1981, assembly times: also the example of R's Skillings.Mack::Ski.Mack
ASSEMBLY = np.array([[3.2, 4.1, 3.8, 4.2], [3.1, 3.9, 3.4, 4.0], [4.3, 3.5, 4.6, 4.8], [3.5, 3.6, 3.9, 4.0], [3.6, 4.2, 3.7, 3.9],
                     [4.5, 4.7, 3.7, NAN], [NAN, 4.2, 3.4, NAN], [4.3, 4.6, 4.4, 4.9], [3.5, NAN, 3.7, 3.9]])

# scikit-posthocs 0.17.1 with scipy 1.17.1:
#   i, j = np.triu_indices(4, 1)
#   scikit_posthocs.posthoc_nemenyi_friedman(x).to_numpy()[i, j]; scikit_posthocs.posthoc_conover_friedman(x).to_numpy()[i, j]
#   for the plane: posthoc_durbin(melted frame, y_col="y", block_col="b", block_id_col="b", group_col="g", melted=True)
POSTHOCS = {
    ("untied", "nemenyi"): [0.18328657955037886, 0.9081317739014174, 0.11358109885511569, 0.03664844286097457, 0.9960587537406428, 0.019129641241287465],
    ("untied", "conover"): [0.004348594940304907, 0.28113939541573574, 0.002024943377542076, 0.00044748741624906077, 0.714601410391011, 0.00021423355530526307],
    ("tied", "nemenyi"): [0.9896254232594767, 0.03584276081694682, 0.02668643666507753, 0.08077960150000918, 0.06236769368973524, 0.9996032601347042],
    ("tied", "conover"): [0.5668738539084641, 8.225899871911461e-05, 5.4165232921832525e-05, 0.0002942588860925482, 0.00019181084386029473, 0.8479927398128617],
}
DURBIN = [0.043639258987218155, 0.06607380937153291, 0.609300030348343, 0.028846604633019565, 0.09972268848881093, 0.14927853140319433, 0.7970344972259075]  # agent 0 with 1…6, then 1 with 2


def plane() -> np.ndarray:
    values = np.full((7, 7), NAN)
    for b, line in enumerate(FANO):
        for a in line:
            values[b, a] = ((a * 5 + b * 3 + a * a * b) % 23) / 23
    return values


@pytest.mark.parametrize("name", ["untied", "tied"])
def test_posthocs_equal_scikit_posthocs(name):
    i, j = np.triu_indices(4, 1)
    blocks = rank_blocks(UNTIED if name == "untied" else TIED)
    assert np.allclose(_nemenyi(blocks, i, j, ties=False), POSTHOCS[name, "nemenyi"], atol=1e-6)
    assert np.allclose(_conover(blocks, i, j), POSTHOCS[name, "conover"], rtol=1e-6)


def test_incomplete_comparisons_are_durbins_but_for_the_divisor():
    "Balanced incomplete blocks: least squares divides by λt/k = 7/3 where Durbin's formula has r = 3."
    i, j = np.triu_indices(7, 1)
    t = -stats.t.ppf(_conover(rank_blocks(plane()), i, j)[:7] / 2, 8)
    assert np.allclose(t, -stats.t.ppf(np.array(DURBIN) / 2, 8) * np.sqrt(9 / 7), rtol=1e-6)


def test_least_squares_brute_force():
    "Conover on incomplete blocks of one size is the t-test of a two-way linear model of ranks."
    values = plane()
    ranks = rank_blocks(values).ranks
    b, a = np.nonzero(~np.isnan(ranks))
    X = np.c_[np.eye(7)[b], np.eye(7)[a][:, 1:]]
    y = ranks[b, a] * 8 / 4
    beta, *_ = np.linalg.lstsq(X, y, rcond=None)
    cov = np.linalg.inv(X.T @ X) * ((y - X @ beta) ** 2).sum() / (21 - 13)
    expected = 2 * stats.t.sf(np.abs(beta[7:]) / np.sqrt(np.diag(cov)[7:]), 8)
    assert np.allclose(_conover(rank_blocks(values), *np.triu_indices(7, 1))[:6], expected)


def test_skillings_mack_published_example():
    found = rank_test(-ASSEMBLY)
    assert (round(found["statistic"], 3), found["df"], round(found["p"], 4), found["test"]) == (15.493, 3, .0014, "Skillings–Mack")
    assert np.isclose(rank_test(-ASSEMBLY, ties=False)["statistic"], found["statistic"])  # no ties here
    assert np.isclose(rank_test(ASSEMBLY)["statistic"], found["statistic"])  # direction does not matter
    assert rank_test(np.vstack([-ASSEMBLY, [NAN, NAN, 1, NAN]]))["statistic"] == found["statistic"]  # a block of one is dropped


def test_skillings_mack_on_balanced_incomplete_blocks_is_durbins_test():
    ranks = rank_blocks(plane()).ranks
    t, k, b, r = 7, 3, 7, 3
    sums = np.nansum(ranks, axis=0)
    durbin = 12 * (t - 1) / (r * t * (k - 1) * (k + 1)) * ((sums - r * (k + 1) / 2) ** 2).sum()
    assert np.isclose(rank_test(plane(), ties=False)["statistic"], durbin) and b == len(ranks)


@given(st.integers(3, 6), st.integers(2, 12), st.integers(2, 50), st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_complete_blocks_give_friedmans_test(k, n, values, seed):
    x = np.random.default_rng(seed).integers(0, values, (n, k)).astype(float)
    found = rank_test(x)
    if (x == x[:, :1]).all():
        assert found["p"] == 1 and "all ties" in found["note"]  # scipy: NaN
    else:
        expected = stats.friedmanchisquare(*x.T)
        assert np.isclose(found["statistic"], expected.statistic) and np.isclose(found["p"], expected.pvalue) and found["test"] == "Friedman"


def test_moments_by_enumeration():
    "Over all ways to shuffle ranks within blocks, ties and holes included, the sums have mean 0 and the stated covariance."
    values = np.array([[3, 3, 1.], [2, NAN, 1], [5, 4, 4]])
    ways = [[np.array(p) for p in set(itertools.permutations(row[~np.isnan(row)]))] for row in rank_blocks(values).ranks]
    sums = []
    for ranks in itertools.product(*ways):
        total = np.zeros(3)
        for row, r in zip(values, ranks):
            total[~np.isnan(row)] += np.sqrt(12 / (len(r) + 1)) * ((len(r) + 1) / 2 - r)
        sums.append(total)
    assert np.allclose(np.mean(sums, axis=0), 0)
    assert np.allclose(np.cov(np.array(sums).T, bias=True), _sums(rank_blocks(values), True)[1])


def test_size_with_holes_and_ties():
    "Equal agents, yes-or-no outcomes, a fifth missing: 5 % of 1,000 studies reject, ±1.4 points at 2 standard errors; uncorrected for ties nearly none."
    rng = np.random.default_rng(5)
    p = []
    for _ in range(1000):
        x = (rng.random((60, 4)) < rng.random((60, 1))).astype(float)
        x[rng.random(x.shape) < .2] = NAN
        p.append((rank_test(x)["p"], rank_test(x, ties=False)["p"]))
    corrected, plain = (np.array(p) < .05).mean(axis=0)
    assert abs(corrected - .05) < .02 and plain < .02


def test_critical_difference_of_demsar():
    assert round(critical_difference(4, 14), 2) == 1.25  # Demšar 2006, section 3.2.2 with q = 2.569
    assert np.isclose(critical_difference(4, 14), 2.569 * np.sqrt(4 * 5 / (6 * 14)), atol=1e-3)


def test_rank_agents_by_hand_and_its_properties():
    runs = simulate_runs(5, 80, attempts=3, spread=1., seed=3).study.runs
    for posthoc in ("nemenyi", "conover"):
        found = rank_agents(runs, posthoc=posthoc)
        wide = runs.group_by("task", "agent").agg(pl.col("success").mean().round(12)).pivot("agent", index="task").sort("task")
        agents = sorted(set(runs["agent"]))
        x = wide.select(agents).to_numpy()
        expected = stats.friedmanchisquare(*x.T)
        assert np.isclose(found.test["p"][0], expected.pvalue)
        by_hand = dict(zip(agents, stats.rankdata(-x, axis=1).mean(axis=0)))
        assert all(np.isclose(r, by_hand[a]) for a, r in found.ranks.select("agent", "mean_rank").iter_rows())
        assert found.pairs.equals(rank_agents(runs.sample(fraction=1, shuffle=True, seed=1), posthoc=posthoc).pairs)
        p = found.pairs["p"].to_numpy()
        assert np.allclose(found.pairs["p_adjusted"], p if posthoc == "nemenyi" else holm(p))
        assert all((d < 0) == (by_hand[a] < by_hand[b]) for a, b, d in found.pairs.select("agent_a", "agent_b", "difference").iter_rows())


def test_incomplete_nemenyi_is_the_complete_one_in_the_limit():
    "Tasks that only two agents tried, all ties, carry no information: p-values stay as on the complete tasks."
    x = np.vstack([UNTIED, np.full((3, 4), NAN)])
    x[6:, :2] = 5
    i, j = np.triu_indices(4, 1)
    blocks = rank_blocks(x)
    assert not blocks.complete and np.allclose(_nemenyi(blocks, i, j, True), POSTHOCS["untied", "nemenyi"], atol=1e-6)
    assert np.isclose(rank_test(x)["statistic"], rank_test(UNTIED)["statistic"])


def test_agents_that_meet_only_in_ties_are_not_told_apart():
    "Agents 0, 1 differ, agents 2, 3 differ; 1 and 2 meet in ties only: one degree of freedom less, and nothing is said across."
    x = np.full((40, 4), NAN)
    x[:15, :2], x[15:30, 2:], x[30:, 1:3] = (1, 0), (1, 0), 1
    found, blocks, (i, j) = rank_test(x), rank_blocks(x), np.triu_indices(4, 1)
    assert found["df"] == 2 and "only in ties" in found["note"]
    p = _nemenyi(blocks, i, j, True)
    assert p[0] < .01 and p[5] < .01 and np.allclose(p[1:5], 1)


def test_missing_policy_makes_holes():
    runs = simulate_runs(4, 200, spread=.6, seed=8, missing_rate=.02).study.runs
    fail, drop = rank_agents(runs), rank_agents(runs, missing="drop")
    assert fail.test["test"][0] == "Friedman" and drop.test["test"][0] == "Skillings–Mack" and drop.test["holes"][0] == runs["success"].null_count()
    assert fail.ranks["critical_difference"][0] > 0 and drop.ranks["critical_difference"][0] is None
    with pytest.raises(DataError, match="have no outcome"):
        rank_agents(runs, missing="error")


def test_degenerate():
    runs = simulate_runs(3, 12, seed=1).study.runs
    equal = rank_agents(runs.with_columns(success=True))
    assert equal.test["p"][0] == 1 and set(equal.ranks["group"]) == {"a"} and set(equal.pairs["p_adjusted"]) == {1.}
    assert set(rank_agents(runs.with_columns(success=True), posthoc="conover").pairs["p"]) == {1.}
    order = rank_agents(runs.with_columns(success=pl.col("agent") == "agent-1"), posthoc="conover").pairs  # no residual is left
    assert order["p"].to_list() == [2 * .5**12, 2 * .5**12, 1]
    assert "few" in rank_agents(runs.filter(pl.col("task").is_in(["task-1", "task-2"]))).test["note"][0]
    with pytest.raises(DataError, match="share no task"):
        rank_agents(pl.concat([runs.filter(agent="agent-1", task="task-1"), runs.filter(pl.col("agent") != "agent-1", task="task-2")]))


def test_hostile_names_reach_the_chart(hostile_runs):
    from agentlab_wb.tables import check
    found = rank_agents(check("runs", hostile_runs.with_columns(benchmark=pl.lit("</script><b>"))))
    figure = critical_difference_chart(found.ranks)
    svg = figure.svg()
    assert "<script" not in svg and "\x1b" not in svg and "\u202e" not in svg and len(figure.description) < 3000
    assert figure.png()[:4] == b"\x89PNG"


def test_chart_of_34_agents_and_of_incomplete_ranks():
    runs = simulate_runs(34, 120, spread=1.5, seed=1).study.runs
    figure = critical_difference_chart(rank_agents(runs).ranks)
    assert "34 agents" in figure.description and "Critical difference" in figure.description and "agent-34" in figure.svg()
    holes = critical_difference_chart(rank_agents(runs.filter(pl.struct("task", "agent").hash(2) % 7 > 0), posthoc="conover").ranks)
    assert "Critical difference" not in holes.description and holes.svg()


def test_skillings_mack_agrees_with_simulation_of_its_null():
    "The published example's p by shuffling within blocks instead of the chi-square limit: 0.0014 by the limit; exact is smaller, blocks being few."
    statistic, rng = rank_test(-ASSEMBLY)["statistic"], np.random.default_rng(3)
    here = ~np.isnan(ASSEMBLY)
    shuffled = [rank_test(np.where(here, rng.random(ASSEMBLY.shape), np.nan))["statistic"] for _ in range(2000)]
    assert np.mean(np.array(shuffled) >= statistic) < .0035


def test_max_t_by_brute_force():
    "Every one of 2^10 sign vectors: p and max-T of all pairs, ties and holes included, written out pair by pair."
    rng = np.random.default_rng(11)
    Y, M = rng.integers(0, 4, (10, 4)) / 3, np.ones((10, 4))
    M[[0, 3, 7], [1, 2, 2]] = 0
    i, j = np.triu_indices(4, 1)
    d = [((Y[:, a] - Y[:, b]) * M[:, a] * M[:, b]) for a, b in zip(i, j)]
    stats_ = np.array([[abs(np.dot(s, x)) / np.sqrt((x**2).sum()) for x in d] for s in itertools.product((1, -1), repeat=10)])
    seen = np.array([abs(x.sum()) / np.sqrt((x**2).sum()) for x in d])
    p, adjusted = sign_flip(Y, (i, j), M=M)
    assert np.allclose(p, (stats_ >= seen - 1e-9).mean(axis=0), atol=1e-12)
    assert np.allclose(adjusted, (stats_.max(axis=1)[:, None] >= seen - 1e-9).mean(axis=0), atol=1e-12)


def test_max_t_at_random_near_its_enumeration():
    "Twenty tasks of which fifteen matter: flips at random against all 2^15."
    rng = np.random.default_rng(2)
    Y = np.vstack([(rng.random((15, 3)) < [.2, .5, .8]), np.ones((5, 3))]).astype(float)
    pairs = np.triu_indices(3, 1)
    for found, exact in zip(sign_flip(Y, pairs, replicates=40_000), sign_flip(Y[:15], pairs)):
        assert np.allclose(found, exact, atol=.01)


def test_sign_flips_of_yes_or_no_follow_the_binomial_law():
    rng = np.random.default_rng(9)
    Y = (rng.random((400, 12)) < .5).astype(float)
    i, j = np.triu_indices(12, 1)
    b, c = ((Y[:, i] > Y[:, j]).sum(axis=0), (Y[:, i] < Y[:, j]).sum(axis=0))
    exact = np.minimum(1, 2 * stats.binom.cdf(np.minimum(b, c), b + c, .5))
    assert np.abs(sign_flip(Y, (i, j))[0] - exact).max() < 4.5 * np.sqrt(.25 / 10_000)


@pytest.mark.parametrize("graded", [False, True])
def test_all_at_once_equals_pair_by_pair(graded):
    "With and without holes: flips and bootstrap of a pair in the table are those of the pair alone."
    rng = np.random.default_rng(6)
    Y = rng.random((60, 7)) if graded else (rng.random((60, 7)) < .4).astype(float)
    i, j = np.triu_indices(7, 1)
    together, boot = sign_flip(Y, (i, j), replicates=999)[0], bootstrap_differences(Y, np.ones(60), (i, j), replicates=999)
    for k in (0, 8, 20):
        one = Y[:, [i[k], j[k]]]
        assert sign_flip(one, (np.array([0]), np.array([1])), replicates=999)[0][0] == together[k]
        alone = bootstrap_differences(one, np.ones(60), (np.array([0]), np.array([1])), replicates=999)
        assert np.allclose([x[0] for x in alone], [x[k] for x in boot], rtol=1e-12)
        d = one[:, 0] - one[:, 1]
        draws = np.concatenate([W @ d / 60 for W in weights(60, 999)])
        assert np.allclose([boot[0][k], boot[1][k]], np.quantile(draws, [.025, .975]), atol=1e-12)
    M = (rng.random(Y.shape) < .9).astype(float)
    p = sign_flip(Y * M, (i, j), M=M, replicates=999)[0]
    both = (M[:, 0] * M[:, 1]) > 0
    inside = np.where(both[:, None], Y[:, :2], 0)
    assert sign_flip(inside, (np.array([0]), np.array([1])), replicates=999)[0][0] == p[0]


def test_small_blocks_change_nothing(monkeypatch):
    "Bounded memory: tables cut into few columns at a time give the same numbers."
    from agentlab_wb.infer import resample
    rng = np.random.default_rng(1)
    Y, pairs = np.round(rng.random((50, 9)), 2), np.triu_indices(9, 1)
    M = (rng.random(Y.shape) < .95).astype(float)
    whole = [*sign_flip(Y, pairs, replicates=500), *sign_flip(Y, pairs, M=M, replicates=500)]
    monkeypatch.setattr(resample, "BLOCK", 200)
    assert all((a == b).all() for a, b in zip(whole, [*sign_flip(Y, pairs, replicates=500), *sign_flip(Y, pairs, M=M, replicates=500)]))


@pytest.mark.slow
def test_one_and_two_threads_give_the_same_numbers():
    code = ("import numpy as np; from agentlab_wb.infer.resample import sign_flip, bootstrap_differences; Y = np.random.default_rng(0).random((700, 40)); p = np.triu_indices(40, 1);"
            "print(np.concatenate([*sign_flip(Y, p, replicates=2000), *bootstrap_differences(Y, np.ones(700), p, replicates=2000)]).tobytes().hex()[-4000:])")
    said = [subprocess.run([sys.executable, "-c", code], env=os.environ | {"OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n}, capture_output=True, text=True, check=True).stdout for n in ("1", "2")]
    assert said[0] == said[1] and len(said[0]) > 1000


def test_decimal_scores_tie_exactly():
    "0.1 + 0.2 against 0.3 on a further task is a tie of sums: every flip counts."
    Y = np.array([[.1, 0], [.2, 0], [0, .3]])
    assert sign_flip(Y, (np.array([0]), np.array([1])))[0][0] == 1


def test_ranges_of_places():
    runs = simulate_runs(6, 200, spread=1.5, seed=2).study.runs
    found = rank_agents(runs)
    for row in found.ranks.iter_rows(named=True):
        mine = [(d if a == row["agent"] else -d) for a, b, d, p in found.pairs.select("agent_a", "agent_b", "difference", "p_adjusted").iter_rows() if row["agent"] in (a, b) and p < .05]
        assert row["place_low"] == 1 + sum(x > 0 for x in mine) and row["place_high"] == 6 - sum(x < 0 for x in mine)
        assert row["place_low"] <= row["place_high"]


def test_places_of_120_agents_are_legible():
    found = rank_agents(simulate_runs(120, 100, spread=1.2, seed=4).study.runs)
    figure = place_range_chart(found.ranks)
    assert "120 agents" in figure.description and "may be first" in figure.description and figure.svg().count("agent-1") > 10


def test_missing_is_the_worst_on_a_scale_of_its_own():
    runs = simulate_runs(3, 12, seed=1).study.runs.with_columns(success=None, score=pl.when((pl.col("agent") == "agent-1") & (pl.col("task") == "task-1")).then(None).otherwise(-100. - pl.col("agent").str.slice(-1).cast(pl.Float64)), score_min=-1000., score_max=0.)
    from agentlab_wb.tables import check
    found = rank_agents(check("runs", runs.with_columns(pl.col("success").cast(pl.Boolean))))
    assert np.isclose(found.ranks.filter(agent="agent-1")["mean_rank"][0], (11 * 1 + 3) / 12)


def test_holes_name_the_mixed_model():
    assert "mixed_model" in rank_test(-ASSEMBLY)["note"] and rank_test(UNTIED)["note"] == "6 tasks are few for the chi-square limit"


@pytest.mark.proof
def test_error_rates_of_equal_agents():
    "4,000 studies: the overall test, Nemenyi and max-T each find something in at most 5 %, two standard errors 0.7 points; not far less where outcomes are graded."
    rng, (i, j), found = np.random.default_rng(8), np.triu_indices(6, 1), {}
    for graded, holes in itertools.product((True, False), (0., .2)):
        out = []
        for study in range(4000):
            x = rng.normal(size=(60, 6)) if graded else (rng.random((60, 6)) < rng.random((60, 1))).astype(float)
            x[rng.random(x.shape) < holes] = np.nan
            out.append((rank_test(x)["p"], _nemenyi(rank_blocks(x), i, j, True).min(), sign_flip(np.nan_to_num(x), (i, j), M=~np.isnan(x), replicates=199, seed=study)[1].min()))
        found[graded, holes] = (np.array(out) <= .05).mean(axis=0)
    assert all((v < .05 + .0105).all() for v in found.values()), found
    assert all((v > .03).all() for (graded, _), v in found.items() if graded), found
