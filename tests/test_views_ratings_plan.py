"""Views of ratings, reliability, cost and the plan: numbers are those of the estimators on a slice filtered by hand, code makes the same, hostile names are only text, and nothing raises."""

import warnings

import numpy as np
import polars as pl
import pytest
import vl_convert

import agentlab_wb as wb
from agentlab_wb.simulate import simulate_battles, simulate_runs
from agentlab_wb.simulate_contests import simulate_contests
from agentlab_wb.tables import Study
from agentlab_wb.work.selection import Selection, narrow
from agentlab_wb.work.views import clickable, picked_keys, show_view, static_html, whole_code
from agentlab_wb.work.views_more import COST_VIEW, RELIABILITY_VIEW, cluster_of
from agentlab_wb.work.views_plan import PLAN_VIEW
from agentlab_wb.work.views_ratings import CONTESTS_VIEW, LADDER_VIEW, MOST_BOOTSTRAP, meeting_groups

VIEWS = {v.id: v for v in (LADDER_VIEW, CONTESTS_VIEW, RELIABILITY_VIEW, COST_VIEW, PLAN_VIEW)}
FIVE = dict(agents=("agent-1", "agent-2", "agent-4"))


@pytest.fixture(scope="module")
def runs() -> Study:
    "Two benchmarks, repeats, costs, two attempts without an outcome. Simulated."
    one, two = simulate_runs(5, 40, attempts=3, seed=4).study.runs, simulate_runs(3, 20, attempts=2, seed=5).study.runs.with_columns(benchmark=pl.lit("other"))
    frame = pl.concat([one, two], how="diagonal_relaxed").with_row_index("row")
    cost = .2 + .1 * pl.col("agent").str.tail(1).cast(pl.Int64) + (pl.col("row") % 13) / 20
    return Study("simulated", runs=frame.with_columns(success=pl.when(pl.col("row").is_in([3, 400])).then(None).otherwise("success"), cost_usd=cost, steps=pl.col("row") % 9 + 1).drop("row"))


@pytest.fixture(scope="module")
def battles() -> Study: return simulate_battles(6, 500, ties=.4, items=60, judges=4, seed=2).study


@pytest.fixture(scope="module")
def contests() -> Study: return simulate_contests(12, 15, seed=3).study


EVERYTHING = Selection()


def made(study: Study, view: str, selection: Selection = EVERYTHING):
    "A view, and what its code makes in a namespace of its own."
    part, space = narrow(study, selection), dict(study=study)
    shown = VIEWS[view].draw(part)
    if shown.code: exec(whole_code(shown, part), space)
    return shown, space


def check(shown, space) -> None:
    "Code makes table and first figure; every picture is valid with its selections and its keys are drawn."
    if shown.rows: assert space["table"].frame.equals(shown.frame) and space["table"].text() == shown.rows.table.text()
    if shown.pictures: assert space["figure"].spec() == shown.pictures[0].figure.spec()
    for picture in shown.pictures:
        assert vl_convert.vegalite_to_svg(clickable(picture, list(picture.keys.values())[:1]), allowed_base_urls=[])
        for name, key in picture.keys.items(): assert picked_keys(picture, [name]) == [key]
    assert all(s.strip() for s in (*shown.sentences, *shown.banners)) and "nan" not in " ".join(shown.sentences)


OPTIONS = [("ladder", {}), ("ladder", {"ladder.ratings": "elo"}), ("ladder", {"ladder.ties": "rao_kupper", "ladder.cluster": "judge"}), ("ladder", {"ladder.cluster": "battle"})]


@pytest.mark.parametrize("view, options", OPTIONS)
@pytest.mark.parametrize("agents", [(), FIVE["agents"]])
def test_ladder_code(battles, view, options, agents): check(*made(battles, view, Selection(agents=agents, level=.9, options=options)))


@pytest.mark.parametrize("model", ["elo_mmr", "plackett_luce", "openskill"])
def test_contests_code(contests, model):
    if model == "openskill": pytest.importorskip("openskill")
    for agents in ((), FIVE["agents"]): check(*made(contests, "contests", Selection(agents=agents, options={"contests.model": model})))


@pytest.mark.parametrize("view, options", [("reliability", {}), ("reliability", {"reliability.measure": "pass@k", "reliability.k": 2}), ("reliability", {"shared.benchmark": "other"}), ("cost", {}), ("cost", {"cost.x": "steps"}),
                                           ("plan", {}), ("plan", {"plan.tasks": 500, "plan.difference": 12., "plan.budget": 3}), ("plan", {"shared.benchmark": "other"})])
@pytest.mark.parametrize("chosen", [dict(), FIVE, dict(missing="drop", pair=("agent-2", "agent-1"))])
def test_runs_code(runs, view, options, chosen): check(*made(runs, view, Selection(level=.9, options=options, **chosen)))


@pytest.mark.parametrize("missing", ["fail", "drop", "error", "bounds"])
@pytest.mark.parametrize("view", ["reliability", "cost", "plan"])
def test_every_policy_for_missing_outcomes(runs, view, missing):
    shown, space = made(runs, view, Selection(missing=missing))
    check(shown, space)
    if missing == "error": assert "no outcome" in " ".join(shown.banners)


def test_ladder_numbers_are_the_estimators(battles):
    frame = battles.battles.filter(pl.col("agent_a").is_in(FIVE["agents"]) & pl.col("agent_b").is_in(FIVE["agents"]))
    shown, _ = made(battles, "ladder", Selection(level=.9, options={"ladder.ties": "davidson"}, **FIVE))
    want = wb.bradley_terry(frame, level=.9, ties="davidson")
    assert shown.frame.sort("agent").select("agent", "estimate", "lower", "upper", "rank_low", "rank_high").equals(want.sort("agent").select("agent", "estimate", "lower", "upper", "rank_low", "rank_high"))
    assert f"{frame.height} of {battles.battles.height} battles" in shown.banners[0] and shown.rows.keys == tuple(shown.frame["agent"])


def test_many_battles_take_the_sandwich():
    study = simulate_battles(5, MOST_BOOTSTRAP + 1, items=200, seed=1).study
    part = narrow(study, Selection())
    assert "ratings" not in {o.name for o in LADDER_VIEW.options(part)}
    assert LADDER_VIEW.draw(part).frame.equals(wb.ladder_table(wb.bradley_terry(study.battles, interval="sandwich")).frame)


def test_unbeaten_and_apart():
    rows = [(f"i{k}", "a", "b", 1.) for k in range(6)] + [(f"j{k}", "b", "c", float(k % 2)) for k in range(8)] + [(f"k{k}", "x", "y", float(k % 2)) for k in range(4)]
    frame = pl.DataFrame(rows, schema=["item", "agent_a", "agent_b", "outcome"], orient="row")
    study = Study("apart", battles=frame)
    assert meeting_groups(study.battles) == [["a", "b", "c"], ["x", "y"]]
    shown, space = made(study, "ladder")
    check(shown, space)
    assert "No ladder" in shown.banners[0] and "never met" in shown.banners[0]
    want = wb.win_rate(study.battles, baseline="all")
    assert shown.frame.equals(want)
    first, space = made(study, "ladder", Selection(options={"ladder.group": 1}))
    check(first, space)
    assert first.frame["agent"].to_list()[0] == "a" and first.frame["estimate"][0] is None and "never lost" in " ".join(first.banners)
    check(*made(study, "ladder", Selection(options={"ladder.group": 2})))


def test_own_battles_and_one_result_are_said_not_raised():
    for rows in ([("1", "a", "a", 1.)], [("1", "a", "b", 1.)], [("1", "a", "b", .5)]):
        study = Study("s", battles=pl.DataFrame(rows, schema=["item", "agent_a", "agent_b", "outcome"], orient="row"))
        for view in ("ladder", "plan"): check(*made(study, view))


def test_weighted_battles_have_no_elo(battles):
    heavy = Study("w", battles=battles.battles.with_columns(weight=pl.lit(2.)))
    assert "ratings" not in {o.name for o in LADDER_VIEW.options(narrow(heavy, Selection()))}
    check(*made(heavy, "ladder", Selection(options={"ladder.ratings": "elo"})))


def test_win_rates_by_hand():
    "Items are added up over their battles; weights multiply; soft outcomes count as they are."
    frame = Study("s", battles=pl.DataFrame(dict(item=["1", "1", "2", "2", "3"], agent_a=["a", "b", "a", "a", "c"], agent_b=["b", "a", "b", "c", "a"], outcome=[1., .25, 0., 1., .5], weight=[2., 1., 1., 0., 3.]))).battles
    got = wb.win_rate(frame).filter((pl.col("agent") == "a") & (pl.col("opponent") == "b")).row(0, named=True)
    assert got["estimate"] == pytest.approx((2 * 1 + .75 + 0) / 4) and (got["n"], got["n_battles"], got["wins"], got["ties"], got["losses"]) == (2, 3, 2, 0, 1)
    tied = wb.win_rate(frame).filter((pl.col("agent") == "a") & (pl.col("opponent") == "c")).row(0, named=True)
    assert tied["estimate"] == pytest.approx(.5) and (tied["n"], tied["n_battles"], tied["wins"], tied["ties"]) == (1, 2, 1, 1)
    with pytest.raises(wb.DataError, match="weight 0"): wb.win_rate(frame.filter(pl.col("weight") == 0))


def test_reliability_numbers_are_the_estimators(runs):
    frame = runs.runs.filter((pl.col("benchmark") == "simulated") & pl.col("agent").is_in(FIVE["agents"]))
    shown, _ = made(runs, "reliability", Selection(level=.9, options={"reliability.k": 2}, **FIVE))
    want = wb.pass_hat_k(frame, k=2, level=.9).sort("agent")
    assert shown.frame.sort("agent").select("estimate", "lower", "upper").equals(want.select("estimate", "lower", "upper"))
    agree = wb.consistency(frame, level=.9).filter(pl.col("measure") == "agreement").sort("agent")
    assert shown.frame.sort("agent")["agree_lower"].to_list() == agree["lower"].to_list()
    assert any("tasks" in s and "attempts" in s for s in shown.sentences)


def test_reliability_needs_repeats():
    once = simulate_runs(3, 10, seed=1).study
    assert RELIABILITY_VIEW.needs(once) and RELIABILITY_VIEW.needs(Study("s"))
    graded = Study("g", runs=pl.DataFrame(dict(benchmark="b", task=["1", "1"], agent="a", attempt=[0, 1], score=[.3, .4])))
    assert RELIABILITY_VIEW.needs(graded)


def test_cost_numbers_are_the_estimators(runs):
    frame = runs.runs.filter((pl.col("benchmark") == "simulated") & pl.col("agent").is_in(FIVE["agents"]))
    shown, _ = made(runs, "cost", Selection(level=.9, options={"cost.x": "steps"}, **FIVE))
    want = wb.pareto_front(frame, cost="steps", level=.9)
    assert shown.frame.select(want.columns).equals(want)
    assert shown.frame.sort("agent")["price"].to_list() == wb.cost_per_success(frame, cost="steps", level=.9).sort("agent")["estimate"].to_list()


def test_clusters_are_units_and_said(runs):
    grouped = Study("c", runs=runs.runs.with_columns(cluster=pl.format("c{}", pl.col("task").str.tail(2).str.replace("-", "").cast(pl.Int64) % 12)))
    shown, space = made(grouped, "cost")
    check(shown, space)
    assert any("Errors are by" in b for b in shown.banners) and "cluster='cluster'" in shown.code
    for view in ("reliability", "plan"): check(*made(grouped, view))
    torn = Study("c", runs=runs.runs.with_columns(cluster=(pl.col("attempt") + pl.col("task").str.len_chars()).cast(pl.String)))
    assert cluster_of(narrow(torn, Selection()), torn.runs.filter(pl.col("benchmark") == "simulated"))[0] is None
    for view in ("cost", "reliability", "plan"): assert any("independent" in b for b in made(torn, view)[0].banners)


def test_what_intervals_are_over_is_said(runs):
    many = runs.runs.with_columns(cluster=pl.col("task").str.slice(-1))   # ten clusters
    for view in ("reliability", "cost"):
        for on, words in ((True, "clusters of tasks"), (False, "over tasks")):
            shown = show_view(Study("c", runs=many), view, Selection(options={"shared.cluster": on, "shared.benchmark": "simulated"}))
            assert words in str(shown.pictures[0].spec["title"]) and (words in " ".join(shown.sentences) or view == "cost")
        assert ("Clusters" in shown.rows.table.headings()) is False
    head = show_view(Study("c", runs=many), "leaderboard", Selection(options={"shared.cluster": True, "shared.benchmark": "simulated"})).rows.table.headings()
    plain = show_view(Study("c", runs=many), "leaderboard", Selection(options={"shared.cluster": False, "shared.benchmark": "simulated"})).rows.table.headings()
    assert "Clusters" in head and "Tasks" in head and "Clusters" not in plain and "n" not in plain   # tasks are not counted twice


def test_one_agent_is_not_called_the_highest_of_one(runs):
    one = Study("one", runs=runs.runs.filter((pl.col("agent") == "agent-1") & (pl.col("benchmark") == "simulated")))
    said = {v: " ".join(show_view(one, v).sentences) for v in ("leaderboard", "cost", "tasks")}
    assert "agent-1 has a success rate of" in said["leaderboard"] and "highest" not in said["leaderboard"]
    assert "nobody to beat" in said["cost"] and "the one agent solves" in said["tasks"] and "among 1 agent" not in said["tasks"]


def test_a_plan_says_that_groups_never_met():
    two, other = simulate_battles(4, 60, seed=1).study.battles, simulate_battles(3, 60, seed=2).study.battles.with_columns(pl.concat_str([pl.lit("x-"), pl.col(c)]).alias(c) for c in ("agent_a", "agent_b"))
    assert any("never met" in b for b in show_view(Study("apart", battles=pl.concat([two, other])), "plan").banners)
    assert not any("never met" in b for b in show_view(Study("whole", battles=two), "plan").banners)


def test_plan_numbers_are_the_estimators(runs):
    frame = runs.runs.filter(pl.col("benchmark") == "simulated")
    shown, space = made(runs, "plan", Selection(pair=("agent-4", "agent-2"), options={"plan.tasks": 200, "plan.difference": 8., "plan.budget": 4}))
    assert shown.frame.equals(wb.next_runs(frame, 4)) and shown.rows.keys == tuple(shown.frame.select("benchmark", "task").iter_rows())
    assumed = wb.pilot(frame, "agent-4", "agent-2")
    power = wb.power_of(assumed, 200, .08, attempts=3)
    curve = space["curve"].filter((pl.col("tasks") == 200) & (pl.col("difference") == .08))
    assert curve["power"][0] == power and f"{100 * power:.1f} %" in shown.sentences[0]
    assert any("Under-powered" in b for b in shown.banners) == (power < .8)


def test_sliders_keep_the_plan_and_studies_do_not_mix(runs):
    slow, _ = made(runs, "plan")
    fast, _ = made(runs, "plan", Selection(options={"plan.tasks": 900, "plan.difference": 20.}))
    assert fast.frame is slow.frame or fast.frame.equals(slow.frame)
    turned = Study("turned", runs=runs.runs.with_columns(success=~pl.col("success")))
    assert not made(turned, "plan")[0].frame.equals(slow.frame)
    assert not made(runs, "plan", Selection(**FIVE))[0].frame.equals(slow.frame)


def test_order_of_rows_changes_nothing(runs, battles, contests):
    shuffled = Study("simulated", runs=runs.runs.sample(fraction=1, shuffle=True, seed=1))
    for view in ("reliability", "cost", "plan"):
        a, b = made(runs, view)[0], made(shuffled, view)[0]
        assert a.frame.equals(b.frame) and a.sentences == b.sentences and [p.figure.spec() for p in a.pictures] == [p.figure.spec() for p in b.pictures], view
    a, b = made(battles, "ladder")[0], made(Study("simulated", battles=battles.battles.sample(fraction=1, shuffle=True, seed=1)), "ladder")[0]
    assert a.frame.equals(b.frame) and [p.figure.spec() for p in a.pictures] == [p.figure.spec() for p in b.pictures]


def test_hostile_names(hostile_runs, hostile_battles):
    repeated = pl.concat([hostile_runs, hostile_runs.with_columns(attempt=pl.lit(1, pl.Int64), success=~pl.col("success"))]).with_columns(cost_usd=pl.int_range(pl.len()) % 5 / 10)
    study = Study("<b>s</b>", runs=repeated, battles=hostile_battles)
    names = repeated["benchmark"].unique().sort().to_list()
    for view in ("reliability", "cost", "plan", "ladder"):
        for options in [{"shared.benchmark": b} for b in names] + [{"plan.of": "battles"}]:
            shown, space = made(study, view, Selection(options=options))
            check(shown, space)
            page = static_html(shown).lower()
            assert "<script" not in page and "<img src=x" not in page and "<b>" not in page
    contests = pl.DataFrame([(f"c{c} {n}", a, float(1 + (i * (c + 3)) % 7)) for c, n in enumerate(hostile_battles["agent_a"].unique().sort()[:5]) for i, a in enumerate(hostile_battles["agent_a"].unique().sort())], schema=["contest", "agent", "place"], orient="row")
    shown, space = made(Study("s", contests=contests), "contests")
    check(shown, space)
    assert "<script" not in static_html(shown).lower()


def test_empty_selections_say_what_to_change(runs, battles, contests):
    for study, views in ((runs, ("reliability", "cost", "plan")), (battles, ("ladder", "plan")), (contests, ("contests",))):
        for selection in (Selection(agents=("nobody",)), Selection(where={"benchmark": ("none",)}) if study is runs else Selection(where={"item": ("none",), "contest": ("none",)}), Selection(agents=("agent-1",))):
            for view in views:
                shown, space = made(study, view, selection)
                check(shown, space)
                assert shown.pictures or any(word in " ".join(shown.banners) for word in ("Nothing", "select", "Select")), (view, selection)


def test_odd_but_valid():
    "All alike, no outcome, one task, scores on a range of their own: sentences, no errors."
    base = pl.DataFrame(dict(benchmark="b", task=["1", "1", "2", "2"] * 2, agent=["a"] * 4 + ["c"] * 4, attempt=[0, 1] * 4))
    odd = [base.with_columns(success=pl.lit(True)), base.with_columns(success=pl.lit(False)), base.with_columns(success=pl.lit(None, pl.Boolean)), base.head(1).with_columns(success=pl.lit(True)), base.with_columns(score=pl.lit(.5)),
           base.with_columns(score=pl.int_range(pl.len()) * 5., score_min=pl.lit(0.), score_max=pl.lit(40.))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for frame in odd:
            for cost in (None, 0., 2.):
                study = Study("odd", runs=frame if cost is None else frame.with_columns(cost_usd=pl.lit(cost)))
                for view in ("reliability", "cost", "plan"):
                    if not VIEWS[view].needs(study): check(*made(study, view))


def test_brush_picks_agents(runs, battles):
    front = made(runs, "cost")[0].pictures[0]
    top = made(runs, "cost")[0].frame.sort("cost")["agent"]
    cheapest, all_ = picked_keys(front, ranges={"x": [0, float(made(runs, "cost")[0].frame["cost"].min()) * 1.0001]}), picked_keys(front, ranges={"x": [0, 1e9], "estimate": [-1, 101]})
    assert cheapest == [top[0]] and sorted(all_) == sorted(top)
    ladder = made(battles, "ladder")[0].pictures[0]
    assert sorted(picked_keys(ladder, ranges={"label": ["agent-1", "agent-3"]})) == ["agent-1", "agent-3"]


def test_many_agents():
    r = np.random.default_rng(1)
    a, d = r.integers(0, 150, 4000), r.integers(1, 150, 4000)
    frame = pl.DataFrame(dict(item=[str(i % 300) for i in range(4000)], agent_a=[f"agent {i:03}" for i in a], agent_b=[f"agent {i:03}" for i in (a + d) % 150], outcome=(r.random(4000) < .5).astype(float)))
    study = Study("many", battles=frame)
    shown = show_view(study, "ladder")
    assert shown.frame.height == 150 and len(shown.pictures[1].keys) <= 25 and any("25 of 150" in b for b in shown.banners)


def test_contests_that_separate_nobody_are_counted(contests):
    tied = contests.contests.with_columns(place=pl.when(pl.col("contest") == pl.col("contest").first()).then(1.).otherwise(pl.col("place").cast(pl.Float64)))
    shown, space = made(Study("t", contests=tied), "contests")
    check(shown, space)
    assert shown.banners[0].startswith("1 contest separates nobody") and shown.frame["n"].max() == 14
