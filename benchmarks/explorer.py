"""How long the explorer takes, in a real JupyterLab driven by Chromium and, view by view, without a browser.

    python benchmarks/explorer.py [browser] [views] [many] [--rounds 3]

browser: 100,000 simulated runs, 50 agents × 2,000 tasks. First paint is from running the cell `explore(study, "leaderboard")` (imports and all) to a chart on
the screen; the second one in the same kernel has nothing to import. Clicks and changes of view are from the mouse to the new table and the new chart in the page.
views: the time to draw each view of the same study in Python, the first time and after one agent more was selected.
many: 10 million runs (50 agents × 2,000 tasks × 100 attempts), in the browser.
"""
from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from _run import options  # noqa: E402
from lab import CHROMIUM, HERE, Lab, Server, absent  # noqa: E402

LIVE, DONE = ".wb-explorer .wb-chart[data-live]", "e.main.charts.drawn == e.main.charts.stamp"


def simulated(attempts: int = 1, tasks: int = 2000, agents: int = 50):
    "Runs of 50 agents with costs, difficulty and a category; simulated."
    import numpy as np
    import polars as pl
    rng, n = np.random.default_rng(1), agents * tasks * attempts
    a, t = np.repeat(np.arange(agents), tasks * attempts), np.tile(np.repeat(np.arange(tasks), attempts), agents)
    p = 1 / (1 + np.exp(-(np.linspace(-1, 1, agents)[a] + rng.normal(0, 1.5, tasks)[t])))
    name = lambda numbers, stem, width: pl.Series(numbers).cast(pl.String).str.zfill(width).str.replace("^", stem)
    return pl.DataFrame(dict(benchmark=["simulated"], category=["a"])).select("benchmark").join(pl.DataFrame(dict(
        task=name(t, "task-", 4), agent=name(a, "agent-", 2), attempt=np.tile(np.arange(attempts), agents * tasks), success=rng.random(n) < p,
        cost_usd=rng.lognormal(-2, 1, n).astype("float32"), category=pl.Series(t % 3).replace_strict({0: "easy", 1: "middle", 2: "hard"}))), how="cross")


def line(what: str, seconds: list[float]) -> None:
    print(f"| {what} | {statistics.median(seconds):.2f} | {min(seconds):.2f}–{max(seconds):.2f} |", flush=True)


def head(title: str) -> None: print(f"\n### {title}\n\n| what | seconds, median | from–to |\n|---|---|---|", flush=True)


def clicks(book, times: dict[str, list[float]], rounds: int, views: list[str]) -> None:
    "Pick agents on the chart, then go from view to view."
    def until_drawn(act, what):
        stamp, charts, started = book.ask("e.main.table.stamp"), book.ask("e.main.charts.stamp"), time.perf_counter()
        act()
        book.page.wait_for_function("([table, charts, same]) => { const t = document.querySelector('.wb-explorer .wb-table'), c = document.querySelector('.wb-explorer .wb-charts'); return t && +t.dataset.stamp > table && (same || +c.dataset.stamp > charts); }", arg=[stamp, charts, what == "click"], polling=5, timeout=120_000)
        times.setdefault(what, []).append(time.perf_counter() - started)
    for at in range(rounds * 2): until_drawn(lambda at=at: book.locator(f"{LIVE} .mark-symbol path").nth(at).click(), "click")
    for _ in range(rounds):
        for view in views:
            title = book.ask(f"e.session.views[{view!r}].title")
            until_drawn(lambda title=title: book.locator(".wb-explorer .widget-toggle-button", has_text=title).first.click(), f"open {title}")
            book.ask("e.session._drawn.clear()")   # nothing is remembered: each opening computes
    title = book.ask("e.session.views['leaderboard'].title")
    until_drawn(lambda: book.locator(".wb-explorer .widget-toggle-button", has_text=title).first.click(), f"open {title}")


def in_browser(rounds: int, attempts: int = 1) -> None:
    if why := absent(): sys.exit(why)
    from playwright.sync_api import sync_playwright
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        simulated(attempts).write_parquet(Path(folder) / "runs.parquet")
        (Path(folder) / "lab").mkdir()
        server = Server(Path(folder) / "lab").start()
        try:
            browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}"])
            lab, times = Lab(server, browser, Path(folder)), {}
            for r in range(rounds):
                book = lab.open(["from agentlab_wb import explore, load", f"study = load({str(Path(folder) / 'runs.parquet')!r})", "e = explore(study, 'leaderboard')\ne", "e = explore(study, 'leaderboard')\ne"], name=f"{r}.ipynb", size=(1400, 1800))
                book.run(0)
                book.run(1)
                for cell, what in ((2, "first paint, with imports"), (3, "first paint, again")):
                    started = time.perf_counter()
                    book._do("const book = panel.content; book.deselectAll(); book.activeCellIndex = arg; jupyterapp.commands.execute('notebook:run-cell');", cell)
                    book.cell_output(cell).locator(".wb-chart svg").first.wait_for(timeout=120_000)
                    times.setdefault(what, []).append(time.perf_counter() - started)
                    book.cell_output(cell).locator(".wb-chart[data-live]").first.wait_for(timeout=120_000)
                    times.setdefault(what.replace("first paint", "alive"), []).append(time.perf_counter() - started)
                    book.run(cell)
                book._do("panel.content.model.sharedModel.deleteCell(2);")
                book.wait(DONE, 60)
                if r == rounds - 1: clicks(book, times, rounds, ["pairwise", "tasks", "cost", "attempts", "plan"] + (["reliability"] if attempts > 1 else []))
            for what, seconds in times.items(): line(what, seconds)
            browser.close()
        finally: server.stop()


def without_browser(rounds: int) -> None:
    from agentlab_wb.tables import Study
    from agentlab_wb.work.selection import Selection, narrow
    from agentlab_wb.work.views import views_of
    study = Study("simulated", runs=simulated())
    chosen = [Selection(), *(Selection(agents=tuple(f"agent-{i:02}" for i in range(9, 9 + k))) for k in range(2, 2 + rounds))]
    for view in views_of(study).values():
        seconds = []
        for selection in [Selection(level=.9), *chosen]:
            mine = replace(selection, agents=()) if view.picks == "agent" else selection
            started = time.perf_counter()
            view.draw(narrow(study, replace(mine, options={"shared.try": len(seconds)})))
            seconds.append(time.perf_counter() - started)
        line(f"{view.title}: first time", seconds[:1])
        line(f"{view.title}: afterwards", seconds[1:])


def main() -> None:
    given = options(__doc__, ["browser", "views", "many"])
    if "browser" in given.works: head("100,000 runs in the browser"); in_browser(given.rounds)
    if "views" in given.works: head("100,000 runs, views without a browser"); without_browser(given.rounds)
    if "many" in given.works: head("10 million runs in the browser"); in_browser(1, attempts=100)


if __name__ == "__main__":
    main()
