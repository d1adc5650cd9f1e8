"Contest ratings against literal reimplementations, brute force, and simulations with known and unequal truth."
import itertools

import numpy as np
import polars as pl
import pytest
from conftest import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from agentlab_wb.loaders.core import load
from agentlab_wb.measure.bradley_terry import POINTS, bradley_terry
from agentlab_wb.measure.elo_mmr import EloMMR, elo_mmr, elo_mmr_history
from agentlab_wb.measure.online_ratings import openskill_ratings
from agentlab_wb.measure.places import field_quarters, place_among
from agentlab_wb.measure.plackett_luce import contest_groups, plackett_luce
from agentlab_wb.show.charts import ladder_chart
from agentlab_wb.show.contest_charts import contest_history_chart, quarters_chart
from agentlab_wb.show.contest_words import place_sentence
from agentlab_wb.simulate_contests import simulate_contests
from agentlab_wb.tables import DataError, Study
from agentlab_wb.work.report import report


def literal_elo_mmr(contests: list[list[tuple[str, int]]], model: EloMMR) -> dict[str, tuple[float, float]]:
    "Elo-MMR with logistic noise as the paper's algorithm says it, one player and one opponent at a time."
    m, players = np.pi / 3 ** .5, {}
    for standing in contests:
        for name, _ in standing: players.setdefault(name, dict(mu=model.mu, sd=model.sigma, p0=model.mu, w0=model.sigma ** -2, past=[]))
        noise = ((1 + 1 / model.weight) * model.sigma_limit ** 2) ** .5
        for name, _ in standing:     # skills may have changed
            p = players[name]; wide = (p["sd"] ** 2 + model.weight * model.sigma_limit ** 2) ** .5
            k = (p["sd"] / wide) ** 2; share = k ** model.transfer
            logistic = sum(rate * w for _, rate, w in p["past"]) * 2 / m ** 2
            stay, move = share * p["w0"], (1 - share) * (p["w0"] + logistic)
            p["p0"], p["w0"], p["sd"] = (stay * p["p0"] + move * p["mu"]) / (stay + move), k * (stay + move), wide
            p["past"] = [(x, rate, w * share * k) for x, rate, w in p["past"]]
        before = {n: (players[n]["mu"], (players[n]["sd"] ** 2 + noise ** 2) ** .5) for n, _ in standing}
        for name, place in standing:
            def slope(x, place=place, before=before, standing=standing):
                total = 0.
                for other, theirs in standing:
                    mu, delta = before[other]; w = m / delta; t = np.tanh(w * (x - mu) / 2)
                    total += w - w * t if theirs > place else -w - w * t if theirs < place else -w * t * (1 if model.split_ties else 2)
                return total
            x, p = optimize.brentq(slope, -8000, 11000, xtol=1e-9), players[name]
            p["past"].append((x, m / noise / 2, m / noise))
            p["mu"] = optimize.brentq(lambda s, p=p: p["w0"] * (s - p["p0"]) + sum(w * np.tanh((s - y) * rate) for y, rate, w in p["past"]), -8000, 11000, xtol=1e-9)
            p["sd"] = (p["sd"] ** -2 + noise ** -2) ** -.5
    return {n: (p["mu"], p["sd"]) for n, p in players.items()}


@pytest.mark.parametrize("model", [EloMMR(), EloMMR(split_ties=True), EloMMR(weight=.5, sigma_limit=60., transfer=.04)])
def test_elo_mmr_is_the_algorithm_of_the_paper(model):
    contests = simulate_contests(9, 14, size=6, spread=400, centre=1500, noise="logistic", scale=196, grain=150, seed=2).study.contests
    listed = [list(part.sort("place").select("agent", "place").iter_rows()) for _, part in contests.group_by("contest", maintain_order=True)]
    wanted = literal_elo_mmr(listed, model)
    found = elo_mmr(contests, model)
    assert contests.group_by("contest").agg(t=pl.col("place").n_unique())["t"].min() < 6     # there are ties
    for name, mu, sd in found.select("agent", "estimate", "se").iter_rows(): assert abs(mu - wanted[name][0]) < 1e-4 and abs(sd - wanted[name][1]) < 1e-6


@st.composite
def standings(draw):
    "One contest: unequal agents, ties allowed, at least two places."
    n = draw(st.integers(2, 7))
    places = draw(st.lists(st.integers(1, n), min_size=n, max_size=n).filter(lambda p: len(set(p)) > 1))
    return [1 + sum(q < p for q in places) for p in places]


@settings(max_examples=60, deadline=None)
@given(standings(), st.sampled_from(["logistic", "gaussian"]), st.booleans())
def test_a_better_place_never_lowers_a_performance(places, variant, split):
    history = elo_mmr_history(pl.DataFrame({"contest": "c", "agent": [f"a{i}" for i in range(len(places))], "place": places}), EloMMR(variant=variant, split_ties=split)).sort("place")
    values = history.select("place", "performance", "estimate").unique().sort("place")
    assert values["place"].n_unique() == values.group_by("place").len().height and (np.diff(history["performance"]) <= 1e-6).all()
    by_place = history.group_by("place").agg((pl.col("estimate").max() - pl.col("estimate").min()).alias("spread"))
    assert by_place["spread"].max() < 1e-6


def test_elo_mmr_follows_strengths_and_its_belief_is_calibrated():
    hits, model = [], EloMMR(sigma=300.)
    for s in range(30):      # the model's own world: normal skills around 1500, logistic performances, drift
        rng = np.random.default_rng(s)
        skill, rows = rng.normal(1500, 300, 20), []
        for c in range(25):
            skill = skill + rng.normal(0, model.drift(1., 0.), 20)
            performance = skill + rng.logistic(scale=model.noise(1.) * 3 ** .5 / np.pi, size=20)
            rows += [(f"c{c:02d}", f"a{i:02d}", int((performance > performance[i]).sum()) + 1) for i in range(20)]
        found = elo_mmr(pl.DataFrame(rows, schema=["contest", "agent", "place"], orient="row"), model).sort("agent")
        off = np.mean(found["estimate"].to_numpy() - skill)        # only distances count: the field's level is not seen
        hits.append(((found["lower"].to_numpy() - off < skill) & (skill < found["upper"].to_numpy() - off)).mean())
        assert np.corrcoef(found["estimate"].to_numpy(), skill)[0, 1] > .9
    assert .90 < np.mean(hits) < .99


def test_real_contests(real):
    study = load(real("elo_mmr_contests"))
    forces = study.contests.filter(pl.col("dataset") == "codeforces")
    ratings = elo_mmr(forces)
    assert ratings.height == forces["agent"].n_unique() and "tourist" in ratings["agent"][0] and abs(ratings["se"].min() - 80) < 1
    groups = contest_groups(study.contests)
    assert groups["group"].n_unique() >= 2 and groups.filter(pl.col("group") == 1)["agent"].n_unique() > 20_000
    with pytest.raises(DataError, match="never met"): plackett_luce(study.contests, least=20)
    top = plackett_luce(forces, least=20)
    assert "tourist" in top["agent"][0] and top["rank_high"][0] < 15 and 100 < top.height < 300


def test_real_games(real):
    games = load(real("step_game")).contests
    ladder, online = plackett_luce(games), elo_mmr(games.filter(pl.col("time") < pl.col("time").sort().gather(3000).first()))
    assert ladder.height == 67 and ladder["agent"][0] == "gpt-5-medium" and ladder["estimate"].null_count() == 0 and online.height >= 20
    pairs = games.join(games, on="contest", suffix="_b").filter(pl.col("agent") < pl.col("agent_b"))
    battles = pairs.select(item="contest", agent_a="agent", agent_b="agent_b", outcome=pl.when(pl.col("place") < pl.col("place_b")).then(1.).when(pl.col("place") > pl.col("place_b")).then(0.).otherwise(.5))
    both = ladder.join(bradley_terry(battles, interval="sandwich", cluster="item"), on="agent")
    assert np.corrcoef(both["estimate"], both["estimate_right"])[0, 1] > .95      # another model of the same games


@st.composite
def rankings(draw):
    "Contests of unequal agents, ties and partial fields, in which everyone places above and below others."
    m = draw(st.integers(3, 5)); ring = list(range(m))
    events = [[(i, k + 1) for k, i in enumerate(ring[r:] + ring[:r])] for r in range(m)]
    for _ in range(draw(st.integers(1, 6))):
        who = draw(st.lists(st.sampled_from(ring), min_size=2, max_size=m, unique=True))
        marks = [draw(st.integers(1, 3)) for _ in who]
        events.append([(i, 1 + sum(b < a for b in marks)) for i, a in zip(who, marks)])
    return m, events


@settings(max_examples=15, deadline=None)
@given(rankings())
def test_plackett_luce_maximizes_the_average_over_orders(case):
    m, events = case
    frame = pl.DataFrame([(f"c{c}", f"a{i}", p) for c, event in enumerate(events) for i, p in event], schema=["contest", "agent", "place"], orient="row")
    def strict(order, s): return sum(s[a] - special.logsumexp([s[b] for b in order[i:]]) for i, a in enumerate(order[:-1]))
    orders = [[o for o in itertools.permutations([i for i, _ in e]) if all(dict(e)[x] <= dict(e)[y] for x, y in zip(o, o[1:]))] for e in events]
    def negative(x): return -sum(np.mean([strict(o, x) for o in fine]) for fine in orders) + x.mean() ** 2
    brute = optimize.minimize(negative, np.zeros(m), tol=1e-9).x
    found = plackett_luce(frame, interval="hessian").sort("agent")
    assert np.abs((found["estimate"].to_numpy() - 1000) / POINTS - (brute - brute.mean())).max() < 1e-3


def test_coverage_of_plackett_luce_intervals():
    truth = 1000 + POINTS * np.linspace(1, -1, 5)
    for interval in ("sandwich", "hessian"):
        hits = [((t := plackett_luce(simulate_contests(5, 120, size=4, seed=s).study.contests, interval=interval).sort("agent"))["lower"].to_numpy() < truth) & (truth < t["upper"].to_numpy()) for s in range(120)]
        assert .92 <= np.mean(hits) <= .975, interval      # 600 intervals, five to a simulation: about ± 1.5 points


def test_large_ties_are_averaged_over_seeded_orders():
    many = pl.DataFrame([(f"c{c}", f"a{i}", p) for c in range(40) for i, p in enumerate(np.random.default_rng(c).permutation([1, 2, 3, 3, 3, 3, 3, 3]))], schema=["contest", "agent", "place"], orient="row")
    one, two = (plackett_luce(many, seed=s).sort("agent") for s in (0, 1))
    assert one["estimate"].to_list() != two["estimate"].to_list() and ((one["estimate"] - two["estimate"]) / one["se"]).abs().max() < .2
    assert plackett_luce(many, seed=0).equals(plackett_luce(many.sample(fraction=1, shuffle=True, seed=4), seed=0))


def test_bootstrap_agrees_and_is_withheld_where_it_cannot_be_made():
    contests = simulate_contests(4, 200, size=3, seed=5).study.contests
    boot, robust = plackett_luce(contests, interval="bootstrap", replicates=400).sort("agent"), plackett_luce(contests).sort("agent")
    assert (boot["se"] / robust["se"] - 1).abs().max() < .15 and boot["estimate"].equals(robust["estimate"])
    thin = pl.concat([contests, pl.DataFrame({"contest": ["x", "x", "y", "y"], "agent": ["rare", "agent-1", "rare", "agent-1"], "place": [1, 2, 2, 1]}).cast({"place": pl.Int64})], how="diagonal")
    withheld = plackett_luce(thin.drop("time", "kind"), interval="bootstrap", replicates=200)
    assert withheld["lower"].null_count() == 5 and "withheld" in withheld["method"][0]


def test_doubling_the_contests_shrinks_the_error():
    contests = simulate_contests(5, 150, size=4, seed=6).study.contests
    double = pl.concat([contests, contests.with_columns(contest=pl.lit("again ") + pl.col("contest"))])
    one, two = plackett_luce(contests).sort("agent"), plackett_luce(double).sort("agent")
    assert np.allclose(one["estimate"], two["estimate"]) and np.allclose(one["se"] / two["se"], 2 ** .5, rtol=.01)


def test_percentiles_cover_the_truth():
    hits = []
    for s in range(30):
        sim = simulate_contests(25, 60, size=12, spread=1.2, seed=s)
        row = place_among(plackett_luce(sim.study.contests), "agent-08").row(0, named=True)
        hits.append(row["lower"] <= 17 / 24 <= row["upper"])
    assert np.mean(hits) > .9


def hostile_contests() -> pl.DataFrame:
    n = len(HOSTILE)
    return pl.DataFrame([(f"event {c} {HOSTILE[c % n]}", HOSTILE[(c + k) % n], 1 + (k * (c + 1)) % 4 // 2 * 2) for c in range(2 * n) for k in range(4)], schema=["contest", "agent", "place"], orient="row")


def test_hostile_names_stay_text(tmp_path):
    contests = hostile_contests()
    history, ladder = elo_mmr_history(contests), plackett_luce(contests, interval="hessian")
    figures = [contest_history_chart(history, HOSTILE[:6]), quarters_chart(field_quarters(contests)), ladder_chart(ladder)]
    for figure in figures: assert not any(bad in figure.svg() + figure.description for bad in ("<script>", "\x1b", "\u202e"))
    assert "\x1b" not in place_sentence(place_among(contests, HOSTILE[8]).row(0, named=True)) and openskill_ratings(contests).height == len(HOSTILE)
    page = report(Study("<b>hostile</b>", contests=contests), report="contests", out=tmp_path / "r").page.read_text()
    assert "<script>alert" not in page and "<img src=x" not in page and "\u202e" not in page


@pytest.mark.parametrize("places", [pytest.param([1, 1, 1, 1], marks=pytest.mark.slow, id="all ties"), pytest.param([1, 2, 1, 2], id="always the same order"), pytest.param([1, 2, 2, 1], marks=pytest.mark.slow, id="two agents")])
def test_the_report_works_on_two_agents(places, tmp_path):
    contests = pl.DataFrame({"contest": ["x", "x", "y", "y"], "agent": ["a", "b"] * 2, "place": places})
    page = report(Study("small", contests=contests), report="contests", out=tmp_path / "r").page.read_text()
    assert ("nobody can be rated" in page) == (places == [1, 1, 1, 1]) and ("No Plackett–Luce ratings" in page) == (places == [1, 2, 1, 2])
