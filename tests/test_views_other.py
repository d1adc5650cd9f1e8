"Views of labels, verdicts, experiments and published numbers, and the matrices of the overview: numbers of the estimators, code that makes them again, odd and empty input."
import numpy as np
import polars as pl
import pytest
import vl_convert
from conftest import HOSTILE, ROOT

from agentlab_wb import load
from agentlab_wb.infer.experiment_tests import error_curve
from agentlab_wb.infer.published_intervals import published_intervals
from agentlab_wb.measure.agreement import agreement
from agentlab_wb.measure.experiments import standardized_errors
from agentlab_wb.measure.judges import confusion, judge_metrics
from agentlab_wb.measure.rater_groups import item_disagreement, simulate_groups
from agentlab_wb.measure.rates import success_rate
from agentlab_wb.show.explore_charts import tally
from agentlab_wb.simulate import simulate_battles, simulate_runs
from agentlab_wb.tables import Study
from agentlab_wb.work.selection import Selection, narrow
from agentlab_wb.work.views import all_views, clickable, show_view, static_html, static_text, whole_code
from agentlab_wb.work.views_labels import misjudged

MINE = ("overview", "agreement", "judges", "information", "published")


def verdicts(judges=3, items=80, seed=0):
    draw = np.random.default_rng(seed)
    gold = draw.choice(["A", "B", "C"], items, p=[.5, .3, .2])
    parts = [pl.DataFrame(dict(item=[f"i{i:03}" for i in range(items)], predictor=f"judge {j}", predicted=np.where(draw.random(items) < .5 + .12 * j, gold, "A"), gold=gold, category=[f"kind {i % 3}" for i in range(items)])) for j in range(judges)]
    return pl.concat(parts)


def experiments(agents=("x", "y"), seeds=3, steps=4):
    draw = np.random.default_rng(2)
    rows = [("dugongs", "direct", a, r, s, str(round(draw.uniform(.1, 4), 2)), "2.1", (s + r) % 3 > 0 or a == "x", draw.uniform(0, .4), True, draw.uniform(0, 1)) for a in agents for r in range(seeds) for s in range(steps)]
    return pl.DataFrame(rows, schema=["environment", "goal", "agent", "replicate", "step", "design", "outcome", "valid", "prediction_error", "prior_given", "eig_regret"], orient="row")


def board(agents=5):
    runs = simulate_runs(agents, 40, seed=3).study.runs
    rates = success_rate(runs, missing="fail")
    exact = pl.DataFrame(dict(source="site", benchmark="simulated", metric="resolved", agent=rates["agent"], value=(100 * rates["estimate"]).round(2), unit="percent", n=40))
    return Study("board", runs=runs, scores=pl.concat([exact, exact.head(2).with_columns(benchmark=pl.lit("other"), value=pl.lit(33.33))]))


def everything():
    rated = simulate_groups(items=40, seed=1).with_columns(aspect=pl.lit("safe?"))
    both = board()
    return Study("all", runs=both.runs, scores=both.scores, labels=rated, predictions=verdicts(), experiments=experiments(), battles=simulate_battles(4, 90, seed=1).study.battles)


WHOLE = Selection()


def made_again(study, view, selection=WHOLE):
    "What a view shows, checked: it compiles with its selections, and its code makes the same picture and table."
    shown, part = show_view(study, view, selection), narrow(study, selection)
    for picture in shown.pictures: vl_convert.vegalite_to_svg(clickable(picture, list(picture.keys.values())[:1]))
    there = dict(study=study)
    exec(whole_code(shown, part), there)
    if shown.pictures: assert there["figure"].spec() == shown.pictures[0].figure.spec()
    if shown.rows: assert there["table"].frame.equals(shown.frame) and there["table"].cells() == shown.rows.table.cells()
    assert "<script" not in static_html(shown) and static_text(shown)
    return shown


@pytest.mark.parametrize("view", MINE)
@pytest.mark.parametrize("selection", [Selection(), Selection(level=.8, options={"agreement.by": "rater_group_group", "judges.metric": "f1", "published.metric": "gone", "shared.benchmark": "other", "agreement.coefficient": "percent", "judges.table": "items"}),
                                       Selection(where={"category": ("kind 1",)}, agents=("x", "agent-1"), items=("i001", "item-1"))])
def test_code_makes_the_same(view, selection):
    made_again(everything(), view, selection)


@pytest.mark.parametrize("view", MINE)
@pytest.mark.parametrize("selection", [Selection(agents=["nobody"], items=["nothing"]), Selection(where={"benchmark": ("none",), "aspect": ("none",), "category": ("none",), "environment": ("none",)})])
def test_nothing_left(view, selection):
    shown = show_view(everything(), view, selection)
    assert shown.pictures or shown.banners
    static_html(shown)
    for name, made in all_views().items():
        if name in MINE: made.options(narrow(everything(), selection))


def test_no_such_table():
    for view in MINE: assert all_views()[view].needs(Study("empty"))


def test_row_order_changes_nothing():
    whole = everything()
    tables = {t: getattr(whole, t) for t in ("runs", "scores", "labels", "predictions", "experiments", "battles")}
    mixed = Study("all", **{t: f.sample(fraction=1, shuffle=True, seed=5) for t, f in tables.items()})
    for view in MINE:
        a, b = show_view(whole, view), show_view(mixed, view)
        assert a.sentences == b.sentences and a.banners == b.banners and a.frame.equals(b.frame), view
        assert [p.figure.description for p in a.pictures] == [p.figure.description for p in b.pictures] and [p.keys for p in a.pictures] == [p.keys for p in b.pictures], view


def test_agreement_is_the_estimators():
    study = everything()
    shown = show_view(study, "agreement", Selection(items=tuple(study.labels["item"].unique().sort()[:20])))
    part = study.labels.filter(pl.col("item").is_in(study.labels["item"].unique().sort()[:20].implode()))
    row = agreement(part).row(0, named=True)
    said = shown.pictures[0].figure.spec()
    drawn = next(d for d in said["datasets"].values() if "estimate" in d[0])[0]
    assert drawn["estimate"] == pytest.approx(row["estimate"]) and drawn["lower"] == pytest.approx(row["lower"]) and drawn["upper"] == pytest.approx(row["upper"])
    assert shown.frame.equals(item_disagreement(part).filter((pl.col("n") > 1) & (pl.col("disagreement") > 0)).head(200)) and shown.rows.keys == tuple(shown.frame["item"])
    assert f"{part.height:,} of {study.labels.height:,} labels." in shown.banners
    assert set(shown.pictures[1].keys.values()) <= set(part["item"])


@pytest.mark.parametrize("labels, words", [
    (dict(label=["low", "high", "low", "low"], scale="ordinal"), "order that is not recorded"), (dict(label=[1, 2, 1, 1]), "without a scale"), (dict(label=["1", "2", "1", "1"], scale="ordinal"), ""), (dict(label=["low", "high", "low", "low"], scale="ordinal", value=[1, 2, 1, 1]), ""),
    (dict(label=["a", "a", "a", "a"]), ""), (dict(label=["b", "b", "b", "c"]), "")])
def test_labels_are_read_or_said(labels, words):
    study = Study("few", labels=pl.DataFrame(dict(item=["x", "x", "y", "y"], rater=["r", "s", "r", "s"], **labels)))
    shown = made_again(study, "agreement")
    assert not words or any(words in b for b in shown.banners)


def test_a_rater_twice_is_a_banner():
    twice = pl.DataFrame(dict(item=["x", "x", "x"], rater=["r", "r", "s"], label=["a", "b", "a"], aspect="q"))
    good = pl.DataFrame(dict(item=["x", "x", "y", "y"], rater=["r", "s", "r", "s"], label=["a", "b", "a", "a"], aspect="p"))
    shown = made_again(Study("twice", labels=pl.concat([twice, good])), "agreement", Selection(options={"agreement.aspect": "p"}))
    assert any("q:" in b for b in shown.banners) and shown.pictures[0].id == "agreement"


def test_judges_are_the_estimators():
    frame = verdicts()
    study, part = Study("court", predictions=frame), frame.filter(pl.col("category") != "kind 0")
    shown = made_again(study, "judges", Selection(where={"category": ("kind 1", "kind 2")}, options={"judges.judge": "judge 1"}))
    expected = judge_metrics(part, metrics=("accuracy",)).sort("estimate", "predictor", descending=[True, False])
    assert shown.frame.equals(expected)
    matrix = next(p for p in shown.pictures if p.id == "confusion").figure.description
    one = confusion(part.filter(pl.col("predictor") == "judge 1"))
    assert f"{one.filter(pl.col('gold') == pl.col('predicted'))['n'].sum()} of {one['n'].sum()} verdicts are right" in matrix
    category = next(p for p in shown.pictures if p.id == "category")
    assert category.kind == "category" and set(category.keys.values()) == {"kind 1", "kind 2"}
    assert any("2 comparisons with judge 1" in b for b in shown.banners)


def test_clusters_are_used_and_twice_judged_is_said():
    frame = verdicts().with_columns(cluster=pl.col("item").str.slice(0, 3))
    shown = made_again(Study("court", predictions=frame), "judges")
    assert any("8 clusters of 80 items" in b for b in shown.banners) and shown.frame.equals(judge_metrics(frame, metrics=("accuracy",), cluster="cluster").sort("estimate", "predictor", descending=[True, False]))
    twice = made_again(Study("court", predictions=pl.concat([frame, frame.head(1)])), "judges")
    assert any("not compared in pairs" in b for b in twice.banners)
    arms = pl.concat([verdicts(1).with_columns(condition=pl.lit(c)) for c in ("with", "without")])
    assert made_again(Study("arms", predictions=arms), "judges").frame["predictor"].to_list() == ["judge 0 · with", "judge 0 · without"]


def test_misjudged_counts():
    frame = verdicts()
    found = misjudged(frame)
    wrong = frame.filter(pl.col("predicted") != pl.col("gold"))
    assert found["wrong"].sum() == wrong.height and found.height == wrong["item"].n_unique() and found["share"].is_sorted(descending=True)


def test_experiments_are_the_estimators():
    frame = experiments()
    shown = made_again(Study("lab", experiments=frame), "information", Selection(agents=("y",)))
    part = frame.filter(pl.col("agent") == "y")
    last = error_curve(standardized_errors(part), part).sort("number").row(-1, named=True)
    row = shown.frame.row(0, named=True)
    assert row["estimate_error"] == pytest.approx(last["estimate"]) and row["n_tried"] == part.height
    assert row["estimate_valid"] == pytest.approx(part.group_by("replicate").agg(pl.col("valid").mean())["valid"].mean()) and shown.rows.keys == ("y",)
    assert any("is not computed: it takes about" in b for b in shown.banners) and "share" not in [p.id for p in shown.pictures]


def test_information_is_computed_once_asked_for():
    study = load(ROOT / "results" / "studies" / "scripted_experimenters")
    world = Selection(where={"environment": ("survival",)}, agents=(study.experiments["agent"].unique().sort()[0],), options={"information.compute": True})
    few = Study("few", experiments=study.experiments.filter(pl.col("replicate") < 2))
    shown = made_again(few, "information", world)
    assert shown.pictures[0].id == "share" and shown.pictures[1].id == "steps" and shown.frame["estimate_share"].null_count() == 0
    kept = show_view(few, "information", Selection(where=world.where, agents=world.agents))
    assert [p.id for p in kept.pictures] == [p.id for p in shown.pictures] and not any("not computed" in b for b in kept.banners)


def test_unknown_world_and_missing_columns():
    frame = experiments().with_columns(environment=pl.lit("nowhere"))
    for part in (frame, frame.drop("valid", "prior_given", "prediction_error", "eig_regret"), frame.drop("design"), frame.select("environment", "goal", "agent", "replicate", "step")):
        made_again(Study("odd", experiments=part), "information")


def test_published_beside_the_instances():
    study = board()
    wrong = study.scores.with_columns(value=pl.when((pl.col("agent") == "agent-3") & (pl.col("benchmark") == "simulated")).then(pl.col("value") + 10).otherwise("value"))
    shown = made_again(Study("board", runs=study.runs, scores=wrong), "published")
    assert [p.id for p in shown.pictures] == ["against", "board"] and shown.frame["agent"][0] == "agent-3" and shown.frame["agrees"].to_list() == [False, True, True, True, True] and shown.rows.opens == "tasks"
    assert shown.pictures[0].keys["agent-3"] == "agent-3" and any("agent-3" in s for s in shown.sentences)
    twice = made_again(Study("board", runs=study.runs, scores=pl.concat([wrong, wrong.filter(pl.col("agent") == "agent-3")])), "published")
    assert "agent-3" not in twice.frame["agent"].to_list()                                   # two numbers of one agent are no rate of all attempts
    alone = made_again(Study("board", scores=wrong), "published", Selection(agents=("agent-1", "agent-3")))
    expected = published_intervals(wrong.filter(pl.col("agent").is_in(["agent-1", "agent-3"]) & (pl.col("benchmark") == "simulated")))
    assert alone.frame.select("agent", "estimate", "lower", "upper").sort("agent").equals(expected.select("agent", "estimate", "lower", "upper").sort("agent")) and alone.rows.opens == ""


def test_published_numbers_of_every_kind():
    base = dict(source="s", benchmark="b", agent=["x", "y"])
    for more in (dict(value=[1., 2.]), dict(value=[.5, 1.5], unit="share", n=[10, 10]), dict(value=[-3., 1e9], unit="USD"), dict(value=[50., 60.], unit="percent", se=[2., 0.], n=[0, 5]), dict(value=[1200., 1300.], unit="points", lower=[1190., None], upper=[1210., None]), dict(value=[3., 3.], unit=[None, "percent"])):
        made_again(Study("odd", scores=pl.DataFrame(dict(base, metric="m", **more))), "published")


def test_the_literature_is_audited():
    study = load(ROOT / "results" / "literature")
    shown = made_again(study, "published")
    assert shown.frame.height == study.scores.height and shown.pictures[0].id == "verdicts" and not all_views()["published"].options(narrow(study, Selection()))
    few = made_again(study, "published", Selection(agents=(study.scores["agent"][0],)))
    assert few.frame.height < shown.frame.height and any("claims; what a claim builds on" in b for b in few.banners)


def test_hostile_names(hostile_runs, hostile_battles):
    names = HOSTILE
    labels = pl.DataFrame([(f"item {i} {n}", r, HOSTILE[(i + j) % 3], n[:30]) for i, n in enumerate(names) for j, r in enumerate(names[:4])], schema=["item", "rater", "label", "aspect"], orient="row").with_columns(rater_group_x=pl.col("rater"))
    predictions = pl.DataFrame([(f"item {i}", p, names[(i + j) % 3], names[i % 3], names[i % 5]) for i in range(40) for j, p in enumerate(names)], schema=["item", "predictor", "predicted", "gold", "category"], orient="row")
    tried = pl.concat([experiments((n,), 2, 2).with_columns(environment=pl.lit(names[i % 2]), goal=pl.lit(names[2])) for i, n in enumerate(names)])
    scores = pl.DataFrame([(names[i % 2], "bench " + names[0], names[3], n, 50. + i, "percent", 40) for i, n in enumerate(names)], schema=["source", "benchmark", "metric", "agent", "value", "unit", "n"], orient="row")
    study = Study(names[0], runs=hostile_runs, battles=hostile_battles, labels=labels, predictions=predictions, experiments=tried, scores=scores)
    for view in MINE:
        shown = made_again(study, view)
        text = static_html(shown)
        assert "<script" not in text and "<img src=x" not in text and "\u202e" not in text and "\x1b" not in text
    for options in ({"agreement.by": "rater_group_x"}, {"judges.metric": "f1", "judges.positive": names[1], "judges.judge": names[9]}): made_again(study, "agreement" if "agreement.by" in options else "judges", Selection(options=options))


def test_tallies_by_hand():
    rows = simulate_battles(5, 120, seed=2).study.battles
    found = {(a, b): n for a, b, n in tally("battles", rows).iter_rows()}
    for a in rows["agent_a"].unique():
        for b in rows["agent_b"].unique():
            met = rows.filter(((pl.col("agent_a") == a) & (pl.col("agent_b") == b)) | ((pl.col("agent_a") == b) & (pl.col("agent_b") == a))).height
            assert found.get((a, b), 0) == (met if a != b else 0)
    races = pl.DataFrame([(f"c{i}", f"p{j}") for i in range(7) for j in range(6) if (i * j) % 3 != 1], schema=["contest", "agent"], orient="row")
    for a, b, n in tally("contests", races).iter_rows(): assert n == len(set(races.filter(pl.col("agent") == a)["contest"]) & set(races.filter(pl.col("agent") == b)["contest"]))


def test_overview_of_many_and_of_two():
    many = made_again(Study("many", battles=simulate_battles(150, 2_000, seed=1).study.battles), "overview")
    assert "Left out: 90 agents with fewer." in many.pictures[0].figure.description and len(many.pictures[0].keys) == 60
    two = made_again(Study("two", battles=simulate_battles(2, 20, seed=1).study.battles), "overview")
    assert not two.pictures and any("20 in each" in s for s in two.sentences)
    whole = everything()
    assert [p.id for p in show_view(whole, "overview").pictures][:3] == ["coverage", "battles", "scores"]   # every item of the labels has as many of them, which is a sentence
