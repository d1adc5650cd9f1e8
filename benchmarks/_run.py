"""What the speed comparisons share: their options, and players that take turns, each call in a process of its own."""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys


def options(doc: str, works: list[str], argv: list[str] | None = None, **more: dict) -> argparse.Namespace:
    "Command line: works, --rounds, --peers, and further options of one comparison. Ends with a message for a work that does not exist."
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", default=works, metavar="WORK")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=sys.executable)
    for name, keywords in more.items(): parser.add_argument(f"--{name.replace('_', '-')}", **keywords)
    chosen = parser.parse_args(argv)
    if unknown := set(chosen.works) - set(works): parser.error(f"no work is called {', '.join(sorted(unknown))}; there are {', '.join(works)}")
    return chosen


def in_turn(script: str, work: str, players: dict[str, str], rounds: int, *arguments: str) -> dict[str, list[dict]]:
    "Results of each player (name -> python) in turn, A B C A B C …; one that fails in the first round is named and left out."
    results: dict[str, list[dict]] = {p: [] for p in players}
    for r in range(rounds):
        for player, python in players.items():
            if r and not results[player]: continue   # could not run
            done = subprocess.run([python, script, "--one", *arguments, work, player], capture_output=True, text=True)
            if done.returncode: print(f"{work}: {player} left out: {done.stderr.strip().splitlines()[-1][:150]}", file=sys.stderr)
            else: results[player].append(json.loads(done.stdout.strip().splitlines()[-1]))
    return results


def table(work: str, results: dict[str, list[dict]], last: str, cell) -> None:
    "A Markdown table of seconds, ratios (round by round against our first) and memory; `cell` makes the last column from a player's results and our first's."
    base = next(iter(results.values()))
    print(f"\n### {work}\n\n| who | seconds: median (min–max) | times ours | peak MB (before) | {last} |\n|---|---|---|---|---|")
    for player, found in results.items():
        if not found: continue
        s, mark = [r["seconds"] for r in found], "" if found[0]["exact"] else "~"
        ratio = statistics.median(x["seconds"] / y["seconds"] for x, y in zip(found, base))
        print(f"| {player} | {mark}{statistics.median(s):.3g} ({min(s):.3g}–{max(s):.3g}) | {mark}{ratio:.3g} | {max(r['rss'] for r in found):.0f} ({max(r['before'] for r in found):.0f}) | {cell(player, found, base)} |", flush=True)
