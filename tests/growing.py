"""Results that grow: simulated runs are written the way harnesses write them, with every half-written state in between.

    python tests/growing.py FOLDER --how lines --seconds 30

writes at a steady pace, for a look at a view that follows the folder. `grow` is the same for tests: it writes one state at each step.
"""
import argparse
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import polars as pl

from agentlab_wb.simulate import simulate_runs

HOW = ("lines", "files", "rewrite")  # a JSON-lines file for each agent · a CSV file for each task · one JSON file written over and over
CARD = 'title = "Simulated runs that grow"\ndescription = "Written by tests/growing.py. No agent was run."\nsimulated = true\n'


def simulated(agents: int = 3, tasks: int = 40, attempts: int = 1, seed: int = 0) -> pl.DataFrame:
    "Rows in the order in which runs would end: task by task, all agents at each."
    runs = simulate_runs(agents, tasks, attempts=attempts, spread=.8, seed=seed).study.runs.select("benchmark", "task", "agent", "attempt", "success", "cost_usd")
    runs = runs.with_columns(place=pl.col("task").str.split("-").list.last().cast(pl.Int64)).sort("place", "agent", "attempt").drop("place")
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return runs.with_columns(started_at=pl.Series([(start + timedelta(seconds=30 * k)).isoformat() for k in range(runs.height)]))


def _append(path: Path, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def grow(folder: Path, runs: pl.DataFrame, how: str = "lines", batch: int = 10) -> Iterator[tuple[int, bool]]:
    "Write one state at each step; gives the number of whole rows on the disk, and whether something is half-written. Unfinished JSON counts no row."
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(CARD, "utf-8")
    yield 0, False
    for at in range(0, runs.height, batch):
        rows, done = runs[at:at + batch].to_dicts(), min(at + batch, runs.height)
        if how == "lines":
            *whole, last = rows
            for row in whole:
                _append(folder / f"{row['agent']}.jsonl", json.dumps(row) + "\n")
            text = json.dumps(last) + "\n"
            _append(folder / f"{last['agent']}.jsonl", text[:len(text) // 2])
            yield done - 1, True
            _append(folder / f"{last['agent']}.jsonl", text[len(text) // 2:])
        elif how == "files":
            name = f"{at:06}.csv"
            (folder / f".{name}.tmp").write_text(runs[at:done].write_csv(), "utf-8")
            yield at, False
            os.replace(folder / f".{name}.tmp", folder / name)
        else:
            text = json.dumps(runs[:done].to_dicts(), indent=1)
            (folder / "results.json").write_text(text[:len(text) // 2], "utf-8")
            yield 0, True
            (folder / "results.json").write_text(text, "utf-8")
        yield done, False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--how", choices=HOW, default="lines")
    parser.add_argument("--seconds", type=float, default=30., help="how long it takes in all")
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--attempts", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.folder.exists() and any(given.folder.iterdir()):
        parser.error(f"{given.folder} is not empty")
    runs = simulated(given.agents, given.tasks, given.attempts, given.seed)
    batch = max(1, runs.height // 60)
    pause = given.seconds / (2 * -(-runs.height // batch) + 1)
    for done, torn in grow(given.folder, runs, given.how, batch):
        print(f"{done:,} of {runs.height:,} simulated runs{', one more half-written' if torn else ''}", flush=True)
        time.sleep(pause)


if __name__ == "__main__":
    main()
