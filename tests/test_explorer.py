"The explorer in a real JupyterLab: opens, selects, drills, exports, follows a growing folder, bears 100,000 runs, and leaves a copy behind."
import json
import re
import time

import nbformat
import polars as pl
import pytest
from conftest import HOSTILE
from growing import grow, simulated

from agentlab_wb.simulate import simulate_battles, simulate_runs
from agentlab_wb.tables import Study, merge

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LIVE = ".wb-explorer .wb-chart[data-live]"


def button(book, words: str):
    "A button of the explorer, not one of JupyterLab or of a table's heading."
    return book.locator(".wb-explorer .jupyter-button", has_text=re.compile(f"^{re.escape(words)}"))


def fill(book, words: str, text: str) -> None:
    book.locator(".wb-explorer").get_by_label(words, exact=True).fill(text)
    book.keyboard.press("Tab")


def csvs(folder, study: Study):
    "A study as tidy CSV files, as a user might have them."
    folder.mkdir(parents=True, exist_ok=True)
    for table in ("runs", "battles"):
        if getattr(study, table).height:
            getattr(study, table).write_csv(folder / f"{table}.csv")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "Simulated runs with repeats, costs and gaps on two benchmarks, and battles."
    one, two = (simulate_runs(5, tasks, attempts=2, error_rate=.05, seed=seed).study.runs for tasks, seed in ((40, 1), (25, 2)))
    runs = pl.concat([one, two.with_columns(benchmark=pl.lit("other"))])
    return csvs(tmp_path_factory.mktemp("results"), merge([Study("runs", runs=runs), simulate_battles(5, 300, seed=1).study], "simulated"))


def opened(lab, cell: str, **more):
    "A notebook whose second cell shows an explorer called `e`, its charts alive."
    book = lab.open(["from agentlab_wb import explore, load", f"e = {cell}\ne"], **more)
    book.run()
    book.locator(LIVE).first.wait_for()
    return book


def test_click_drill_and_back(lab, folder):
    book = opened(lab, f"explore({str(folder)!r}, 'leaderboard')")
    views = book.ask("list(e.session.views)")
    assert {"overview", "leaderboard", "pairwise", "ladder", "reliability", "cost", "tasks", "attempts", "plan"} <= set(views)
    points = book.locator(f"{LIVE} .mark-symbol path")
    points.nth(1).click()
    book.wait("len(e.state.agents) == 1")
    points.nth(3).click(modifiers=["Shift"])
    book.wait("len(e.state.agents) == 2")
    assert book.ask("e.selection['agent'].unique().sort().to_list() == sorted(e.state.agents)") and book.ask("e.table.height") == 5   # the others are still there to be picked
    button(book, "‹ Back").click()
    book.wait("len(e.state.agents) == 1")
    agent = book.ask("e.state.agents[0]")
    book.locator(".wb-table .wb-open", has_text=agent).click()
    book.wait("e.view == 'tasks'")
    book.locator(".wb-table .wb-open", has_text="task-").first.click()
    book.wait("e.view == 'attempts'")
    assert book.ask("[e.selection.height, e.selection['agent'].unique().to_list(), e.selection['task'].n_unique()]") == [2, [agent], 1]
    assert book.locator(".wb-explorer .wb-chip").count() == 2
    for view in ("tasks", "leaderboard"):
        button(book, "‹ Back").click()
        book.wait(f"e.view == {view!r}")
    assert not book.errors and not book.requests_outside


def test_views_follow_each_other_and_a_drawn_area(lab, folder):
    book = opened(lab, f"explore({str(folder)!r}, 'tasks')", size=(1700, 1000))
    book.locator(".wb-explorer select").first.select_option(label="Leaderboard")
    book.wait("e.session.beside == 'leaderboard'")
    before = book.ask("e.second.shown.frame['n'].max()")
    area = book.locator(f"{LIVE} svg").first.bounding_box()
    book.mouse.move(area["x"] + area["width"] * .3, area["y"] + area["height"] * .35)
    book.mouse.down()
    book.mouse.move(area["x"] + area["width"] * .6, area["y"] + area["height"] * .8, steps=8)
    book.mouse.up()
    book.wait("len(e.state.tasks) > 0")
    assert book.ask("e.second.shown.frame['n'].max() == len(e.state.tasks)") and book.ask("len(e.state.tasks)") < before
    assert "of 650 attempts" in book.locator(".wb-explorer").inner_text()
    fonts = book.locator(f"{LIVE} svg text").evaluate_all("all => [...new Set(all.map(t => t.getAttribute('font-family')))]")
    assert len(fonts) == 1 and "Segoe UI" in fonts[0]   # redrawn, too, in the workbench's theme


def test_every_view_by_keyboard(lab, folder):
    book = opened(lab, f"explore({str(folder)!r})")
    for view in book.ask("list(e.session.views)"):
        button(book, book.ask(f"e.session.views[{view!r}].title")).focus()
        book.keyboard.press("Enter")
        book.wait(f"e.view == {view!r}")
        assert book.ask("e.problem.value") == "", view
        if book.ask("len(e.shown.pictures)"): book.wait("e.main.charts.drawn == e.main.charts.stamp")
        book.screenshot(f"view-{view}")
    button(book, "Leaderboard").click()
    book.wait("e.view == 'leaderboard'")
    book.locator(".wb-table caption", has_text="Success rate").wait_for()   # the table of the view before is gone
    book.locator(".wb-table input[type=checkbox]").first.focus()
    book.keyboard.press("Space")
    book.wait("len(e.state.agents) == 1")
    assert book.evaluate("document.activeElement.dataset.key") == "pick0"   # the focus stays where it was
    assert not book.errors and not book.requests_outside


def test_code_export_and_state(lab, folder, tmp_path):
    book = opened(lab, f"explore({str(folder)!r}, 'leaderboard')")
    book.context.grant_permissions(["clipboard-read", "clipboard-write"])
    book.locator(f"{LIVE} .mark-symbol path").nth(2).click()
    book.wait("len(e.state.agents) == 1")
    button(book, "Copy code").click()
    book.get_by_text("The code is in the clipboard.").wait_for()
    assert book.evaluate("navigator.clipboard.readText()") == book.ask("e.code")
    there: dict = {}
    exec(book.ask("e.code"), there)
    assert there["table"].frame.height == 5 and there["figure"].description
    fill(book, "Folder", str(tmp_path / "kept"))
    button(book, "Export").click()
    book.get_by_text("Written:").wait_for()
    [made] = (tmp_path / "kept").iterdir()
    assert {"leaderboard.svg", "leaderboard.png", "table.csv", "view.py", "state.json", "manifest.json"} <= {p.name for p in made.iterdir()}
    fill(book, "State file", str(tmp_path / "state.json"))
    button(book, "Save state").click()
    book.get_by_text("Saved:").wait_for()
    picked = book.ask("e.state.agents")
    button(book, "agent: ").click()
    book.wait("not e.state.agents")
    button(book, "Restore").click()
    book.wait(f"list(e.state.agents) == {picked!r}")


def test_follows_a_growing_folder(lab, tmp_path):
    growing = tmp_path / "running"
    steps = grow(growing, simulated(3, 30), "lines", batch=18)
    book = lab.open(["from agentlab_wb import explore", f"e = explore({str(growing)!r}, follow=True, every=.2)\ne"])
    book.run()
    book.get_by_text("Waiting for first results").wait_for()
    next(steps); next(steps); next(steps)
    book.wait("e.study.runs.height == 18")
    book.wait("'leaderboard' in e.session.views")
    button(book, "Leaderboard").click()
    book.locator(LIVE).first.wait_for()
    book.locator(f"{LIVE} .mark-symbol path").first.click()
    book.wait("len(e.state.agents) == 1")
    chosen = book.ask("e.state.agents")
    for done, _torn in steps:
        book.wait(f"e.study.runs.height == {done}")
    assert book.ask("e.state.agents") == chosen and book.ask("e.study.runs.height") == 90 and book.ask("e.view") == "leaderboard"
    assert book.ask("e.table['n'].to_list()") == [30, 30, 30] and "every look" in book.locator(".wb-explorer").inner_text()
    assert not book.errors
    book.ask("e.stop()")
    assert not book.ask("[t.name for t in __import__('threading').enumerate() if t.name == 'agentlab-wb follow']")


def test_a_hundred_thousand_runs(lab, tmp_path):
    rows = simulate_runs(50, 2000, seed=3).study.runs
    rows.write_parquet(tmp_path / "runs.parquet")
    book = lab.open(["from agentlab_wb import explore, load", f"study = load({str(tmp_path / 'runs.parquet')!r})", "e = explore(study, 'leaderboard')\ne"])
    book.run(0)
    book.run(1)
    started = time.perf_counter()
    book.run(2)
    book.locator(f"{LIVE}, .wb-chart svg").first.wait_for()
    first = time.perf_counter() - started
    book.locator(LIVE).first.wait_for()
    size = book.evaluate("[...document.querySelectorAll('.wb-explorer *')].length")
    assert size < 4000   # what the browser holds does not grow with the rows
    waits = []
    for at in range(5):
        stamp, started = book.ask("e.main.table.stamp"), time.perf_counter()
        book.locator(f"{LIVE} .mark-symbol path").nth(at).click()
        book.locator(f".wb-table[data-stamp='{stamp + 1}']").wait_for()
        waits.append(time.perf_counter() - started)
    (lab.artefacts / "timings.json").write_text(json.dumps(dict(first_paint=first, click=waits)))
    assert book.ask("len(e.state.agents)") == 1 and not book.errors


def test_a_saved_notebook_keeps_the_view(lab, folder):
    book = opened(lab, f"explore({str(folder)!r}, 'leaderboard')")
    book.locator(f"{LIVE} .mark-symbol path").nth(0).click()
    book.wait("len(e.state.agents) == 1")
    assert book.locator(".wb-copies").is_hidden()
    book.wait("e._due is None")
    book.wait_for_timeout(300)
    kept = book.save()
    copy = "".join(kept.cells[1].outputs[1].data["text/html"])
    assert "data:image/svg+xml;base64," in copy and "agent-1" in copy and "agent:" in copy and "<script" not in copy
    book.restart_and_reopen()
    book.locator(".wb-copies img").first.wait_for()
    assert book.locator(".wb-copies img").first.evaluate("i => i.naturalWidth") > 300 and book.locator(".wb-copies table").count() == 1
    from nbconvert import HTMLExporter
    page, _ = HTMLExporter(sanitize_html=True).from_notebook_node(nbformat.from_dict(kept))
    assert "agent-1" in page and 'alt="Success rate' in page


def test_hostile_names_do_nothing(lab, tmp_path):
    names = [n.replace("alert(1)", "document.title='owned'") for n in HOSTILE]
    rows = [(f"bench {HOSTILE[i % 2]}", f"task {t}", agent, (t * (i + 3)) % 7 < i % 5 + 1) for i, agent in enumerate(names) for t in range(6)]
    pl.DataFrame(rows, schema=["benchmark", "task", "agent", "success"], orient="row").write_parquet(tmp_path / "runs.parquet")
    book = opened(lab, f"explore({str(tmp_path)!r}, 'leaderboard')")
    for view in book.ask("list(e.session.views)"):
        book.ask(f"e.change(view={view!r})")
        assert book.ask("e.problem.value") == "", view
    book.wait_for_timeout(500)
    book.ask("e.change(lambda s: __import__('dataclasses').replace(s, agents=tuple(__import__('agentlab_wb').work.selection.agents_of(e.study))))")
    assert "owned" not in book.title() and book.locator(".wb-explorer img").count() == 0 and not book.requests_outside


def test_errors_are_said_in_the_widget(lab, folder):
    book = opened(lab, f"explore({str(folder)!r}, 'leaderboard')")
    fill(book, "State file", "nowhere/state.json")
    button(book, "Restore").click()
    book.get_by_role("alert").get_by_text("the state nowhere/state.json cannot be read").wait_for()
    book.ask("e.session.views.__setitem__('tasks', __import__('dataclasses').replace(e.session.views['tasks'], draw=lambda s: 1 / 0))")
    button(book, "Tasks").click()
    book.get_by_role("alert").get_by_text("ZeroDivisionError").wait_for()
    assert book.ask("e.view") == "leaderboard" and book.locator(LIVE).count() == 1   # what was there stays


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_looks_and_access(lab, folder, dark):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    book = opened(lab, f"explore({str(folder)!r}, 'leaderboard')", dark=dark)
    ink = book.locator(f"{LIVE} svg text").first.evaluate("t => getComputedStyle(t).fill")
    lightness = sum(map(float, re.findall(r"[\d.]+", ink)[:3])) / 3
    assert lightness > 140 if dark else lightness < 110
    found = axe.run(book.page, context=".wb-explorer").response["violations"]
    serious = [(v["id"], [n["html"][:200] for n in v["nodes"]][:3]) for v in found if v["impact"] in ("serious", "critical")]
    assert not serious
    book.narrow(480)
    book.wait_for_timeout(300)
    assert book.locator(".wb-explorer").evaluate("e => [...e.querySelectorAll('.wb-pane, .wb-body, .wb-banner, .wb-row')].every(x => x.getBoundingClientRect().right <= e.getBoundingClientRect().right + 2)")
    book.screenshot(f"narrow-{'dark' if dark else 'light'}")


def test_notebook_7(lab, folder):
    book = opened(lab, f"explore({str(folder)!r}, 'leaderboard')", classic=True)
    book.locator(f"{LIVE} .mark-symbol path").first.click()
    book.wait("len(e.state.agents) == 1")
    assert not book.errors and not book.requests_outside
