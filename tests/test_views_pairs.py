"The views of pairs, tasks and rows: their numbers are the estimators', their picks are names of the data, their code makes them again."
import re

import numpy as np
import polars as pl
import pytest
import vl_convert

from agentlab_wb import compare, load, success_rate
from agentlab_wb.infer.neighbours import agent_order
from agentlab_wb.measure.task_profiles import task_differences, task_profiles
from agentlab_wb.measure.test_theory import item_analysis
from agentlab_wb.show.task_words import picked_sentence
from agentlab_wb.simulate import simulate_runs
from agentlab_wb.tables import Study
from agentlab_wb.work.selection import Selection, narrow
from agentlab_wb.work.views import all_views, clickable, export_view, picked_keys, show_view, static_html, static_text, views_of, whole_code

MINE = ("pairwise", "tasks", "attempts")
SELECTIONS = [
    Selection(), Selection(agents=("agent-2",)), Selection(agents=("agent-4", "agent-1")), Selection(pair=("agent-3", "agent-5")), Selection(where={"category": ("easy",)}),
    Selection(missing="drop", level=.8), Selection(missing="bounds"), Selection(missing="error"), Selection(metric="score"), Selection(options={"shared.benchmark": "other"}),
    Selection(options={"pairwise.against": "agent-2", "pairwise.correction": "none", "shared.cluster": False, "tasks.order": "discriminating", "tasks.solved": "some", "tasks.pick": "agent", "attempts.order": "outcome", "attempts.keep": "failed"}),
    Selection(options={"pairwise.correction": "by", "shared.cluster": True, "tasks.order": "disagreement", "tasks.solved": "nobody", "attempts.order": "steps", "attempts.keep": "missing"}),
    Selection(agents=("nobody",)), Selection(where={"category": ("nowhere",)}), Selection(pair=("agent-1", "nobody")),
]


def decorated(runs: pl.DataFrame) -> pl.DataFrame:
    at = pl.col("task").str.extract(r"(\d+)$").cast(pl.Int64)
    return runs.with_columns(category=pl.when(at % 3 == 0).then(pl.lit("easy")).otherwise(pl.lit("hard")), cluster=pl.format("c{}", at % 14), cost_usd=.01 + (at % 17) / 10, steps=at % 9, note=pl.format("note {}", at), tags=pl.concat_list(pl.col("agent"), pl.col("task")), empty=pl.lit(None, pl.String))


@pytest.fixture(scope="module")
def study() -> Study:
    one, two = (simulate_runs(k, t, missing_rate=.06, seed=s).study.runs for k, t, s in ((7, 90, 4), (4, 20, 5)))
    return Study("shaped like a real one", runs=decorated(pl.concat([one, two.with_columns(benchmark=pl.lit("other"))])))


def check(study: Study, view: str, selection: Selection, draw: bool = True):
    "Draw a view; its code, static copy and live charts must hold."
    part = narrow(study, selection)
    shown = all_views()[view].draw(part)
    if shown.rows is None:
        assert shown.banners and not shown.pictures and shown.banners[0].endswith(".")
        return shown
    there = dict(study=study)
    exec(whole_code(shown, part), there)
    assert there["table"].frame.equals(shown.frame)
    if shown.pictures:
        assert there["figure"].spec() == shown.pictures[0].figure.spec()
    for picture in shown.pictures:
        live = clickable(picture, list(picture.keys.values())[:2])
        if draw:
            vl_convert.vegalite_to_svg(live)
        drawn = {str(r[picture.by]) for rows in picture.figure.spec()["datasets"].values() for r in rows if picture.by in r} if picture.kind and "datasets" in picture.figure.spec() else set(picture.keys)
        assert drawn == set(picture.keys)
        assert picked_keys(picture, list(picture.keys)) == list(picture.keys.values())
    assert len(shown.rows.keys) == shown.frame.height and static_text(shown) and (not draw or static_html(shown))
    return shown


@pytest.mark.parametrize("view", MINE)
@pytest.mark.parametrize("selection", SELECTIONS, ids=range(len(SELECTIONS)))
def test_every_selection_draws_or_says_why(study, view, selection):
    check(study, view, selection, draw=selection in SELECTIONS[:5])


@pytest.mark.parametrize("view", MINE)
def test_row_order_changes_nothing(study, view):
    turned = Study(study.name, runs=study.runs.sample(fraction=1, shuffle=True, seed=7))
    for selection in (Selection(), Selection(agents=("agent-1", "agent-6"))):
        one, two = (show_view(s, view, selection) for s in (study, turned))
        assert one.sentences == two.sentences and one.banners == two.banners and one.rows.keys == two.rows.keys
        assert one.frame.equals(two.frame) and [p.figure.spec() for p in one.pictures] == [p.figure.spec() for p in two.pictures]


def test_all_pairs_are_those_of_compare(study):
    selection = Selection(where={"category": ("hard",), "benchmark": ("simulated",)}, level=.9, missing="drop", options={"pairwise.correction": "bh", "shared.cluster": False})
    shown = show_view(study, "pairwise", selection)
    truth = compare(study.runs.filter((pl.col("category") == "hard") & (pl.col("benchmark") == "simulated")), correction="bh", level=.9, missing="drop")
    both = shown.frame.join(pl.concat([truth, truth.rename({"agent_a": "agent_b", "agent_b": "agent_a"}).with_columns(estimate=-pl.col("estimate"), lower=-pl.col("upper"), upper=-pl.col("lower"))], how="diagonal"), on=["agent_a", "agent_b"], suffix="_true")
    assert both.height == truth.height == 21
    for c in ("estimate", "lower", "upper", "p", "p_adjusted"):
        assert np.allclose(both[c], both[f"{c}_true"], atol=1e-12)
    assert (shown.frame["estimate"] >= 0).all() and shown.rows.kind == "pair" and shown.rows.opens == "pairwise"
    assert any("60 of 90 tasks" in b for b in shown.banners) and "over 21 pairs" in shown.banners[0] and any("taken as independent" in b for b in shown.banners)


def test_clusters_are_used_where_they_are_many(study):
    shown = show_view(study, "pairwise")
    truth = compare(study.runs.filter(pl.col("benchmark") == "simulated"), cluster="cluster")
    assert np.allclose(shown.frame["p"].sort(), truth["p"].sort()) and any(b.startswith("Errors are by 14 clusters") for b in shown.banners)
    off = show_view(study, "pairwise", Selection(options={"shared.cluster": False}))
    assert any("taken as independent" in b for b in off.banners) and not np.allclose(off.frame["p"].sort(), truth["p"].sort())


def test_a_pair_is_filled_only_if_it_is_told_apart_after_correction(study):
    selection = Selection(options={"shared.cluster": False, "shared.benchmark": "simulated"})
    pairs, picture = compare(study.runs.filter(pl.col("benchmark") == "simulated")), show_view(study, "pairwise", selection).pictures[0]
    told = {frozenset(r) for r in pairs.filter(pl.col("p_adjusted") < .05).select("agent_a", "agent_b").iter_rows()}
    drawn = {r["label"]: r["hollow"] for unit in picture.figure.chart.layer if hasattr(unit.data, "to_dicts") for r in unit.data.to_dicts()}
    assert {frozenset(picture.keys[k]) for k, hollow in drawn.items() if not hollow} == told & {frozenset(k) for k in picture.keys.values()} and set(drawn) == set(picture.keys)
    assert "A line across zero" not in str(picture.spec["title"]) and "adjusted p below 0.05" in str(picture.spec["title"])


def test_pairs_are_in_an_order_that_can_be_seen(study):
    frame = show_view(study, "pairwise", Selection(options={"shared.cluster": False})).frame
    alike = frame.filter(pl.col("p_adjusted") < .001)
    assert alike.height > 1 and alike["estimate"].is_sorted(descending=True) and frame["p_adjusted"].clip(.001).is_sorted()


def test_neighbours_are_neighbours_on_the_leaderboard(study):
    order = success_rate(study.runs.filter(pl.col("benchmark") == "simulated")).sort("estimate", "agent", descending=[True, False])["agent"].to_list()
    assert agent_order(study.runs.filter(pl.col("benchmark") == "simulated")) == order
    assert list(show_view(study, "pairwise").pictures[0].keys.values()) == list(zip(order, order[1:]))


def test_one_pair_in_full(study):
    runs = study.runs.filter((pl.col("benchmark") == "simulated") & pl.col("agent").is_in(["agent-4", "agent-1"]))
    shown = show_view(study, "pairwise", Selection(agents=("agent-4", "agent-1"), options={"shared.cluster": False}))
    row = compare(runs).row(0, named=True)
    assert row["agent_a"] == "agent-1" and shown.title.startswith("agent-4 − agent-1")   # as selected
    assert f"{row['only_b']} are solved by agent-4 only and {row['only_a']} by agent-1 only" in " ".join(shown.sentences)
    assert shown.frame.height == row["only_a"] + row["only_b"] == sum(abs(r) > 0 for r in task_differences(runs, "agent-1", "agent-4")["difference"])
    assert shown.rows.keys[0] == ("simulated", shown.frame["task"][0]) and shown.rows.opens == "attempts"
    assert not any("corrected over" in b for b in shown.banners)
    every = compare(study.runs.filter(pl.col("benchmark") == "simulated")).filter((pl.col("agent_a") == "agent-1") & (pl.col("agent_b") == "agent-4")).row(0, named=True)
    assert every["p_adjusted"] > row["p"] and shown.banners[0] == picked_sentence(7, 21, row["p"], every["p_adjusted"], "holm")   # picked among seven, which the pair's own p does not know
    plain = show_view(study, "pairwise", Selection(agents=("agent-4", "agent-1"), options={"shared.cluster": False, "pairwise.correction": "none"}))
    assert plain.banners[0].startswith("Two of 7 agents are selected") and "Corrected" not in plain.banners[0]
    two = Study("two", runs=runs)
    assert not any("are selected" in b for b in show_view(two, "pairwise", Selection(agents=("agent-4", "agent-1"), options={"shared.cluster": False})).banners)
    among = show_view(study, "pairwise", Selection(pair=("agent-4", "agent-1"), options={"shared.cluster": False}))
    assert any("over 21 pairs" in b for b in among.banners) and "over all 21 pairs" in among.sentences[-1]


def test_what_could_have_been_shown_is_said_where_nothing_is():
    study = Study("small", runs=simulate_runs(3, 12, seed=1).study.runs)
    shown = show_view(study, "pairwise")
    assert (shown.frame["p_adjusted"] >= .05).all() and any(b.startswith("Under-powered: 12 shared tasks") for b in shown.banners)
    sure = Study("large", runs=simulate_runs(2, 3000, seed=1).study.runs)
    assert not any("Under-powered" in b for b in show_view(sure, "pairwise").banners)


def test_tasks_are_those_of_item_analysis(study):
    shown = show_view(study, "tasks", Selection(where={"category": ("hard",), "benchmark": ("simulated",)}, level=.9))
    truth = item_analysis(study.runs.filter((pl.col("category") == "hard") & (pl.col("benchmark") == "simulated")), level=.9, replicates=5)
    both = shown.frame.join(truth, on="task", suffix="_true")
    assert both.height == truth.height == shown.frame.height == 60
    for ours, theirs in (("solved", "solved"), ("solved_lower", "solved_lower"), ("solved_upper", "solved_upper"), ("estimate", "estimate"), ("lower", "lower"), ("upper", "upper")):
        assert np.allclose(both[ours].to_numpy(), both[f"{theirs}_true"].to_numpy(), atol=1e-9, equal_nan=True), ours
    assert shown.frame["solved"].is_sorted() and any("60 of 90 tasks" in b for b in shown.banners)


@pytest.mark.parametrize("seed", range(4))
def test_profiles_with_repeats_scores_and_holes(seed):
    rng = np.random.default_rng(seed)
    rows = [("b", f"t{t}", f"a{a}", k, float(rng.integers(0, 3)) / 2) for t in range(15) for a in range(6) for k in range(1 + (seed % 2)) if rng.random() > .04 * (seed // 2)]
    runs = Study("s", runs=pl.DataFrame(rows, schema=["benchmark", "task", "agent", "attempt", "score"], orient="row")).runs
    ours = task_profiles(runs)
    theirs = item_analysis(runs, empty=ours["empty"][0], replicates=5)
    both = ours.join(theirs, on="task", suffix="_true")
    assert both.height == theirs.height
    for name in ("estimate", "lower", "upper"):
        assert np.allclose(both[name].to_numpy(), both[f"{name}_true"].to_numpy(), atol=1e-9, equal_nan=True)
    if ours["empty"][0] == "tasks":
        assert np.allclose(both["solved"], both["solved_true"]) and np.allclose(both["solved_lower"].to_numpy(), both["solved_lower_true"].to_numpy(), equal_nan=True)
    assert ours["alone"].null_count() == ours.height


def test_leaderboard_to_tasks_to_attempts_and_back(study):
    agent = show_view(study, "leaderboard").rows.keys[0]
    tasks = show_view(study, "tasks", Selection(agents=(agent,)))
    own = study.runs.filter((pl.col("agent") == agent) & (pl.col("benchmark") == "simulated"))
    assert set(tasks.rows.keys) == set(own.select("benchmark", "task").iter_rows()) and any("1 agent selected" in b for b in tasks.banners)
    assert tasks.frame["own"].to_list() == [float(v or 0) for v in tasks.frame.select("task").join(own, on="task", maintain_order="left")["success"]]
    key = tasks.rows.keys[0]
    attempts = show_view(study, "attempts", Selection(agents=(agent,), tasks=(key,)))
    assert attempts.frame.select("benchmark", "task", "agent").rows() == [(*key, agent)] and attempts.rows.keys == (key,) and attempts.rows.opens == "tasks"
    every = show_view(study, "attempts", Selection(tasks=(attempts.rows.keys[0],)))
    assert every.frame.height == 7 and set(every.pictures[0].keys.values()) == set(every.frame["agent"])
    assert show_view(study, "leaderboard", Selection(tasks=(key,))).rows.keys and show_view(study, "tasks", Selection()).frame.height == 90


def test_attempts_show_the_fields_of_the_harness(study, tmp_path):
    shown = show_view(study, "attempts", Selection(options={"attempts.order": "cost_usd", "attempts.keep": "failed"}))
    truth = study.runs.filter(~pl.col("success")).sort("cost_usd", "benchmark", "task", "agent", "attempt", descending=[True, False, False, False, False])
    assert shown.frame.equals(truth.select(shown.frame.columns)) and {"note", "tags", "steps"} <= set(shown.frame.columns) and "empty" not in shown.frame.columns
    assert any("empty" in b and "without a value" in b for b in shown.sentences)
    folder = export_view(shown, narrow(study, Selection()), tmp_path)
    assert len((folder / "table.csv").read_text().splitlines()) == truth.height + 2


def test_ten_thousand_rows_are_enough():
    runs = simulate_runs(30, 500, seed=2).study.runs
    shown = show_view(Study("many", runs=runs), "attempts", Selection(options={"attempts.order": "agent"}))
    assert shown.frame.equals(runs.sort("agent", "benchmark", "task", "attempt").head(10_000).select(shown.frame.columns)) and any("5,000 more" in b for b in shown.banners)


def test_a_hundred_and_fifty_agents_stay_legible():
    study = Study("many", runs=simulate_runs(150, 130, seed=3).study.runs)
    pairs, tasks, rows = (check(study, v, Selection()) for v in MINE)
    assert len(pairs.pictures[0].keys) == 60 and pairs.frame.height == 150 * 149 // 2 and any("60 of 149" in b for b in pairs.banners)
    assert len(tasks.pictures[1].keys) == 60 and "90 agents" in tasks.pictures[1].figure.description and len(rows.pictures[0].keys) == 40


def test_hostile_names(hostile_runs, hostile_battles, tmp_path):
    study = Study("<script>alert(1)</script>", runs=hostile_runs, battles=hostile_battles)
    for view in MINE:
        for selection in (Selection(), Selection(agents=tuple(hostile_runs["agent"].unique()[:2])), Selection(pair=("a|b", "$x$")), Selection(options={"attempts.table": "battles"})):
            shown = check(study, view, selection)
            live = re.findall(r"<(?:script|img src=x)[^>]*>", static_html(shown))
            assert not live
            if selection == Selection():
                export_view(shown, narrow(study, selection), tmp_path)


def test_studies_without_runs(hostile_battles):
    study = Study("battles", battles=hostile_battles)
    assert "attempts" in views_of(study) and not {"pairwise", "tasks"} & set(views_of(study))
    shown = check(study, "attempts", Selection())
    assert shown.rows.kind == "item" and not shown.pictures and shown.tables == ("battles",)
    labels = Study("labels", labels=pl.DataFrame(dict(item=["i", "j"], rater=["r", "s"], label=[[1], [2]], blob=[b"a", b"\xff"])))
    assert check(labels, "attempts", Selection()).frame["blob"].to_list() == ["b'a'", "b'\\xff'"]
    assert all(all_views()[v].needs(Study("nothing")) for v in MINE)


def test_odd_but_valid_data():
    base = dict(benchmark="b", task=["t1", "t2", "t1", "t2"], agent=["x", "x", "y", "y"])
    same = Study("all alike", runs=pl.DataFrame(base | dict(success=True)))
    unknown = Study("unknown", runs=pl.DataFrame(base | dict(success=pl.Series([None] * 4, dtype=pl.Boolean))))
    apart = Study("apart", runs=pl.DataFrame(base | dict(task=["t1", "t2", "t3", "t4"], success=[True, False, True, True])))
    own = Study("own scale", runs=pl.DataFrame(base | dict(score=[3., 5., 9., 2.], score_min=0., score_max=10.)))
    one = Study("one row", runs=pl.DataFrame({k: v[:1] if isinstance(v, list) else v for k, v in base.items()} | dict(success=[True])))
    for study in (same, unknown, apart, own, one):
        for view in MINE:
            for missing in ("fail", "drop", "bounds", "error"):
                check(study, view, Selection(missing=missing)) if not all_views()[view].needs(study) else None
    assert all_views()["pairwise"].needs(own) and all_views()["pairwise"].needs(one)


@pytest.mark.parametrize("name", ["tau_bench", "metr_eval_analysis", "agbenchmark_reports", "ragelo", "popquorn_offensiveness"])
def test_real_files(real, name):
    study = load(real(name))
    for view in MINE:
        if not all_views()[view].needs(study):
            assert check(study, view, Selection()).rows is not None
