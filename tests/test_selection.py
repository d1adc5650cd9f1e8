"What is looked at, as plain data: narrowing, JSON, code; and the explorer without a browser."
import json

import polars as pl
import pytest
from conftest import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from agentlab_wb import explore
from agentlab_wb.simulate import simulate_battles, simulate_runs
from agentlab_wb.tables import DataError, Study, merge, tables
from agentlab_wb.work.explore import ONLY, Session, chips, count_text, facets, pick, picked, toggle
from agentlab_wb.work.selection import Selection, absent, agents_of, from_json, narrow, start_code, to_json, values_of, within
from agentlab_wb.work.views import all_views, export_view, show_view, static_html, views_of, whole_code

text = st.one_of(st.text(max_size=12), st.sampled_from([h[:60] for h in HOSTILE]))
selections = st.builds(Selection, agents=st.lists(text, max_size=3), where=st.dictionaries(text, st.lists(st.one_of(text, st.none(), st.booleans()), max_size=3), max_size=3), tasks=st.lists(st.tuples(text, text), max_size=3),
                       items=st.lists(text, max_size=2), pair=st.one_of(st.none(), st.lists(text, min_size=2, max_size=2, unique=True)), metric=st.sampled_from(["auto", "success", "score"]), missing=st.sampled_from(["fail", "drop", "bounds"]),
                       level=st.floats(.5, .999), options=st.dictionaries(text, st.one_of(st.integers(), text, st.booleans()), max_size=3))


@pytest.fixture(scope="module")
def study() -> Study:
    runs = simulate_runs(5, 30, attempts=2, error_rate=.1, seed=3).study.runs.with_columns(category=pl.when(pl.col("task").str.ends_with("1")).then(pl.lit("one")).when(pl.col("task").str.ends_with("2")).then(None).otherwise(pl.lit("other")))
    return merge([Study("runs", runs=pl.concat([runs, runs.filter(pl.col("attempt") == 0).with_columns(benchmark=pl.lit("second"))])), simulate_battles(5, 150, seed=3).study], "simulated")


@given(selections)
def test_a_state_comes_back_from_json(selection):
    assert from_json(to_json(selection, "tasks", "cost")) == (selection, "tasks", "cost")
    assert to_json(from_json(to_json(selection))[0]) == to_json(selection)


@given(selections)
def test_names_from_anywhere_narrow_to_nothing_and_are_named(selection):
    small = simulate_runs(2, 3, seed=1).study
    assert narrow(small, selection).runs.height in (0, small.runs.height) or set(selection.agents) & set(agents_of(small))
    assert absent(within(selection, small), small) == []


@given(st.data())
def test_code_narrows_as_the_view_does(study, data):
    tasks = list(study.runs.select("benchmark", "task").unique().sort("benchmark", "task").iter_rows())
    some = Selection(agents=data.draw(st.lists(st.sampled_from([*agents_of(study), "it's \"nobody\"\n"]), max_size=4)), tasks=data.draw(st.lists(st.sampled_from(tasks), max_size=5)),
                     where={c: data.draw(st.lists(st.sampled_from(values_of(study, c)), max_size=2)) for c in ("category", "benchmark")})
    there = dict(study=study)
    exec(start_code(narrow(study, some), "runs", "battles"), there)
    assert there["runs"].equals(narrow(study, some).runs) and there["battles"].equals(narrow(study, some).battles)


def test_narrowing_by_hand(study):
    kept = narrow(study, Selection(agents=("agent-1", "agent-2"), where={"category": ("one", None), "nowhere": ("x",)}, tasks=[("simulated", "task-1"), ("simulated", "task-3")]))
    by_hand = study.runs.filter(pl.col("agent").is_in(["agent-1", "agent-2"]) & ((pl.col("category") == "one") | pl.col("category").is_null()) & (pl.col("benchmark") == "simulated") & pl.col("task").is_in(["task-1", "task-3"]))
    assert kept.runs.equals(by_hand) and by_hand.height == 4
    both = study.battles.filter(pl.col("agent_a").is_in(["agent-1", "agent-2"]) & pl.col("agent_b").is_in(["agent-1", "agent-2"]))
    assert kept.battles.equals(both) and both.height
    assert count_text(kept).startswith(f"4 of {study.runs.height:,} attempts · {both.height:,} of 150 battles")


@pytest.mark.parametrize(("text", "says"), [
    ("", "no JSON"), ("[1]", "no saved state"), ('{"agentlab_wb_explorer": 2}', "no saved state"), ('{"agentlab_wb_explorer": 1, "selection": []}', "wanted an object"),
    ('{"agentlab_wb_explorer": 1, "selection": {"levle": 0.9}}', "is 'level' meant"), ('{"agentlab_wb_explorer": 1, "selection": {"level": 95}}', "between 0 and 1"), ('{"agentlab_wb_explorer": 1, "selection": {"tasks": [["a"]]}}', "another shape"),
    ('{"agentlab_wb_explorer": 1, "selection": {"where": {"a": "b"}}}', "another shape"), ('{"agentlab_wb_explorer": 1, "selection": {"pair": ["a", "a"]}}', "two different agents"), ('{"agentlab_wb_explorer": 1, "selection": {"options": {"a": [1]}}}', "another shape"),
])
def test_a_file_that_is_no_state_is_refused_in_a_sentence(text, says, study, tmp_path):
    with pytest.raises(DataError, match=says): from_json(text)
    (tmp_path / "state.json").write_text(text)
    explorer = explore(study)
    explorer.safely(explorer.restore, tmp_path / "state.json")
    assert "role=\"alert\"" in explorer.problem.value and explorer.state == Selection()


def test_what_is_picked_narrows_the_others_and_not_its_own_view(study):
    session = Session(study)
    session.go(pick(session.state, "agent", ["agent-2", "agent-4"]), "leaderboard")
    assert session.shown("leaderboard").frame.height == 5 and session.state.pair == ("agent-2", "agent-4")
    assert set(session.shown("attempts").frame["agent"]) == {"agent-2", "agent-4"}
    session.go(Selection(agents=("agent-2",), options={ONLY: True}))
    assert session.shown("leaderboard").frame.height == 1
    session.back(); session.back()
    assert session.state == Selection()


@given(st.lists(st.sampled_from("abc"), max_size=8))
def test_toggling_twice_changes_nothing(keys):
    state = Selection()
    for key in keys: state = toggle(state, "agent", key)
    assert set(picked(state, "agent")) == {k for k in "abc" if keys.count(k) % 2} and (len(state.agents) == 2) == (state.pair is not None)
    assert all(not chips(without) for _, without in chips(state))


def test_drill_by_messages_and_back(study):
    explorer = explore(study, "leaderboard")
    def row(i, kind="open"): explorer.main.table._hear(None, dict(kind=kind, row=i, seen=explorer.main.table.stamp), [])
    row(2)
    agent = explorer.state.agents[0]
    assert explorer.view == "tasks" and explorer.selection.height == study.runs.filter(pl.col("agent") == agent).height
    row(0)
    assert explorer.view == "attempts" and set(explorer.selection["agent"]) == {agent} and explorer.selection["task"].n_unique() == 1 and explorer.tables["battles"].height == 0
    explorer.back(); explorer.back()
    assert explorer.view == "leaderboard" and explorer.state == Selection() and explorer.selection.equals(study.runs)
    row(0, "pick"); row(1, "pick")
    assert explorer.state.pair == tuple(explorer.table["agent"][:2]) and explorer.main.table.picked == [0, 1]
    explorer.main.charts._hear(None, dict(kind="pick", chart=7, names=["x"], seen=explorer.main.charts.stamp), [])
    explorer.main.charts._hear(None, "nonsense", [])
    assert explorer.problem.value == ""


def test_an_error_leaves_everything_as_it_was(study):
    explorer = explore(study, "leaderboard")
    before = explorer.static()
    explorer.change(lambda state: 1 / 0)
    assert "ZeroDivisionError" in explorer.problem.value and explorer.static() == before and explorer.view == "leaderboard"
    explorer.change(view="tasks")
    assert explorer.problem.value == "" and explorer.view == "tasks"


def test_every_view_of_every_shipped_study_rebuilds_and_exports(tmp_path):
    from conftest import ROOT

    from agentlab_wb import load
    for name in ("studies/search_agents", "studies/scripted_experimenters", "literature"):
        path = ROOT / "results" / name
        study = load(path)
        for view in views_of(study):
            shown, slice = show_view(study, view), narrow(study, Selection())
            there: dict = {}
            exec(whole_code(shown, slice, path), there)
            table = there["table"] if isinstance(there["table"], pl.DataFrame) else there["table"].frame
            assert table.equals(shown.frame), (name, view)
            if shown.pictures: assert there["figure"].description == shown.pictures[0].figure.description
            made = export_view(shown, slice, tmp_path, path)
            manifest = json.loads((made / "manifest.json").read_text())
            assert manifest["view"] == view and set(manifest["files"]) | {"manifest.json"} == {p.name for p in made.iterdir()}


def test_hostile_names_in_every_view(hostile_runs, hostile_battles):
    names = {h: h.replace("alert(1)", "document.title='owned'") for h in HOSTILE}
    study = Study("</script><img src=x>", runs=hostile_runs.with_columns(pl.col("agent").replace(names)), battles=hostile_battles, notes=("<script>alert(2)</script>",))
    for view in views_of(study):
        page = static_html(show_view(study, view), "<b>heading</b>")
        assert "<script" not in page and "<img src=x" not in page and "<b>" not in page, view
    explorer = explore(study)
    explorer.change(lambda state: pick(state, "agent", agents_of(study)[:3]))
    assert "<script" not in explorer.title.value + explorer.counts.value + explorer.main.said.value + explorer.main.banners.value


def test_facets_and_views_fit_the_tables(study):
    assert facets(study) == ["benchmark", "category", "cluster", "status", "success"]   # neither ids nor columns of one value
    assert {"overview", "leaderboard", "ladder", "attempts"} <= set(views_of(study)) and "agreement" not in views_of(study)
    assert all(view.needs(study) for name, view in all_views().items() if name not in views_of(study))
    assert views_of(Study("empty")) == {} and explore(Study("empty")).view == "" and tables(explore(Study("empty")).study) == {}
    with pytest.raises(DataError, match="can't be shown: it needs a labels table"): explore(study, "agreement")
    with pytest.raises(DataError, match="no view is called 'leaderbord'"): explore(study, "leaderbord")
