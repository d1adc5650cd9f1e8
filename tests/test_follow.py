"Results that grow under the eyes of a watch, in every state a writer may leave them in; and intervals that are looked at all the time."
import asyncio
import gc
import json
import math
import os
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import HOSTILE
from growing import HOW, grow, simulated
from scipy import optimize, special

from agentlab_wb.infer.running import _limits, running_rates
from agentlab_wb.infer.sequential import rate_sequence
from agentlab_wb.loaders import core
from agentlab_wb.loaders.core import live_files, load
from agentlab_wb.loaders.jsonl import map_bytes
from agentlab_wb.measure.rates import success_rate
from agentlab_wb.show.charts import leaderboard_chart
from agentlab_wb.show.follow_words import changes_sentence, running_sentence, state_sentence
from agentlab_wb.show.tables import leaderboard_table
from agentlab_wb.simulate import simulate_runs
from agentlab_wb.tables import DataError, Study
from agentlab_wb.work import follow
from agentlab_wb.work.follow import Watch, changes, snapshot

RUNS = simulated(3, 20)
FAST = dict(every=.01)


def lines(runs: pl.DataFrame) -> str:
    return "".join(json.dumps(r) + "\n" for r in runs.to_dicts())


def wait_for(true, seconds: float = 30.) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(.005)
    return bool(true())


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "agentlab-wb follow"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert wait_for(lambda: not threads(), 5)


# ---------------------------------------------------------------- one step at a time

@pytest.mark.parametrize("how", HOW)
def test_every_state_of_a_growing_folder(tmp_path, how):
    "After each write, whole or half, the watch holds what `load` would give, or the last that could be read."
    watch, seen = Watch(tmp_path / "run"), 0
    assert watch.poll() is None and watch.state.kind == "waiting" and "is not there yet" in watch.state.message
    for done, torn in grow(tmp_path / "run", RUNS, how, batch=7):
        study = watch.poll()
        if torn and how == "rewrite":
            assert study is None and watch.state.kind == "error" and ("not valid JSON" if seen else "no reader recognises") in watch.state.message
        elif not done:
            assert study is None and watch.state.kind == "waiting" and watch.study is None
        else:
            assert study is None if how == "files" and done == seen else study.runs.height == done
            assert watch.state.kind == "following" and watch.state.cut == torn
        seen = max(seen, done)
        assert (watch.study.runs.height if watch.study else 0) == seen
    assert watch.study.sources == load(tmp_path / "run").sources and watch.study.runs.equals(load(tmp_path / "run").runs)
    assert watch.study.info["simulated"] == "true" and set(watch.study.runs["benchmark"]) == {"simulated"} and watch.poll() is None


def test_nothing_is_read_when_nothing_has_changed(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text(lines(RUNS))
    time.sleep(.12)  # until the file has rested
    readings = []
    monkeypatch.setattr(follow, "load", lambda *a, **k: readings.append(1) or load(*a, **k))
    watch = Watch(tmp_path)
    first = watch.poll()
    assert first.runs.height == RUNS.height and [watch.poll() for _ in range(5)] == [None] * 5 and len(readings) == 1
    os.utime(tmp_path / "a.jsonl", ns=(10**18, 10**18))  # touched: read again, found the same
    assert watch.poll() is None and watch.study is first
    time.sleep(.12)
    watch.poll()
    count = len(readings)
    assert watch.poll() is None and len(readings) == count
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.jsonl").write_text("x")
    assert watch.poll() is None and len(readings) == count


def test_a_file_replaced_deleted_and_set_back(tmp_path):
    home, watch = tmp_path / "run", Watch(tmp_path / "run")
    home.mkdir()
    for agent, part in RUNS.group_by("agent"):
        (home / f"{agent[0]}.jsonl").write_text(lines(part))
    assert watch.poll().runs.height == RUNS.height
    # replaced by a file of the same size and time
    path = home / "agent-1.jsonl"
    old, text = path.stat(), path.read_text()
    turned = text.replace('"success": true', '"success": TRUE').replace('"success": false', '"success": true').replace("TRUE", "false")
    pad = len(text) - len(turned)
    turned = turned.replace('"benchmark"', " " * pad + '"benchmark"', 1) if pad >= 0 else turned.replace(", ", ",", -pad)
    (home / ".new").write_text(turned)
    os.replace(home / ".new", path)
    os.utime(path, ns=(old.st_mtime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size and path.stat().st_mtime_ns == old.st_mtime_ns
    before, after = watch.study, watch.poll()
    assert changes(before, after).row(0)[2:] == (RUNS.height, 0, 20, 0, [], [])
    # deleted
    path.unlink()
    gone = watch.poll()
    assert gone.runs.height == 40 and changes(after, gone).row(0)[5:] == (20, [], ["agent-1"])
    assert changes_sentence(changes(after, gone)) == "20 runs gone (40 in all), now without agent-1."
    # all of it gone, then back
    os.rename(home, tmp_path / "away")
    assert watch.poll() is None and watch.study is gone and watch.state.kind == "waiting" and watch.state.message == "run is gone; what was read before stays"
    home.mkdir()
    assert watch.poll() is None and "is empty; what was read before stays" in watch.state.message
    (home / "a.jsonl").write_text(lines(RUNS[:5]))
    assert watch.poll().runs.height == 5 and watch.state.kind == "following"


def test_a_file_that_was_just_written_is_deleted(tmp_path):
    "A fresh file beside rested ones: its going is a change."
    for name, part in (("a", RUNS[:20]), ("b", RUNS[20:])):
        (tmp_path / f"{name}.jsonl").write_text(lines(part))
        time.sleep(.12 if name == "a" else 0)
    watch = Watch(tmp_path)
    assert watch.poll().runs.height == RUNS.height
    (tmp_path / "b.jsonl").unlink()
    assert watch.poll().runs.height == 20


def test_error_then_recovery(tmp_path):
    path, watch = tmp_path / "results.json", Watch(tmp_path / "results.json", format="tidy")
    path.write_text(json.dumps(RUNS.to_dicts()))
    good = watch.poll()
    followed = watch.state.since
    path.write_text("[{")
    assert watch.poll() is None
    first = watch.state
    assert first.kind == "error" and first.since > followed and "not valid JSON" in first.message and first.read_at is not None
    path.write_text("[{\"benchmark\"")
    assert watch.poll() is None and watch.state.since == first.since and watch.study is good  # since when: as long as it has not worked
    for _ in range(3):
        assert watch.poll() is None and watch.state.kind == "error"
    sentence = state_sentence(watch.state.kind, watch.state.message, watch.state.since, read_at=watch.state.read_at)
    assert sentence.startswith("The results can’t be read since ") and "Shown is what was read at" in sentence
    path.write_text(json.dumps(RUNS[:9].to_dicts()))
    assert watch.poll().runs.height == 9 and watch.state.kind == "following" and watch.state.message == ""
    # rows that make no sense: an error of the table, named
    path.write_text(json.dumps([*RUNS[:2].to_dicts(), RUNS.row(0, named=True)]))
    assert watch.poll() is None and "stands twice" in watch.state.message


def test_a_reader_that_fails_does_not_end_the_watch(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text(lines(RUNS))
    watch, trouble = Watch(tmp_path), [KeyError("x"), OSError(24, "Too many open files"), RecursionError("deep")]

    def failing(*args, **options):
        if trouble:
            raise trouble.pop(0)
        return load(*args, **options)
    monkeypatch.setattr(follow, "load", failing)
    assert watch.poll() is None and watch.state.message == "KeyError: 'x'"
    os.utime(tmp_path / "a.jsonl", ns=(10**18, 10**18))
    assert watch.poll() is None and "Too many open files" in watch.state.message
    assert watch.poll() is None and watch.state.message == "RecursionError: deep"  # a system's error is tried again without any change
    os.utime(tmp_path / "a.jsonl", ns=(10**18 + 1, 10**18))
    assert watch.poll().runs.height == RUNS.height


def test_a_good_file_that_is_being_rewritten_keeps_its_rows(tmp_path):
    watch = Watch(tmp_path)
    for k in range(2):
        (tmp_path / f"run-{k}.jsonl").write_text(lines(RUNS.filter(pl.col("agent") == f"agent-{k + 1}")))
    both = watch.poll()
    assert both.runs.height == 40

    class Half:
        "A reading in which one file of two could not be read."
        def __init__(self): self.calls = 0

        def __call__(self, *args, **options):
            self.calls += 1
            study = load(*args, **options)
            bad = [follow.replace(s, rows=0, skipped={"not valid JSON": 1}) if s.path == "run-1.jsonl" else s for s in study.sources]
            return follow.replace(study, runs=study.runs.filter(pl.col("agent") == "agent-1"), sources=tuple(bad))
    half = Half()
    real, follow.load = follow.load, half
    try:
        os.utime(tmp_path / "run-1.jsonl", ns=(10**18, 10**18))
        assert watch.poll() is None and watch.study is both and watch.state.message.startswith("a file is being rewritten")
        assert watch.poll().runs.height == 20 and half.calls == 2  # it has come to rest and is still bad: shown as it is
        follow.load = real
        os.utime(tmp_path / "run-1.jsonl", ns=(10**18 + 1, 10**18))
        assert watch.poll().runs.height == 40
        follow.load = half  # and one that is never whole is not waited for without end
        polls = []
        for k in range(Watch.HOLDS + 1):
            os.utime(tmp_path / "run-1.jsonl", ns=(10**18 + 2 + k, 10**18))
            polls.append(watch.poll())
        assert polls[:-1] == [None] * Watch.HOLDS and polls[-1].runs.height == 20
    finally:
        follow.load = real


def test_it_stays_inside(tmp_path):
    home, outside = tmp_path / "run", tmp_path / "outside"
    home.mkdir(), outside.mkdir()
    (outside / "secret.jsonl").write_text(lines(RUNS.with_columns(agent=pl.lit("outsider"))))
    (home / "own.jsonl").write_text(lines(RUNS))
    (home / "linked").symlink_to(outside)
    (home / "linked.jsonl").symlink_to(outside / "secret.jsonl")
    (home / "loop").symlink_to(home)
    (home / "dead.jsonl").symlink_to(home / "nowhere.jsonl")
    watch = Watch(home)
    assert set(snapshot(home)) == {"own.jsonl"} and set(watch.poll().runs["agent"]) == {"agent-1", "agent-2", "agent-3"}
    time.sleep(.12)
    watch.poll()
    before = snapshot(home)
    (outside / "secret.jsonl").write_text("x")
    assert snapshot(home) == before and watch.poll() is None


def test_names_of_files_are_hostile(tmp_path):
    home = tmp_path / "run"
    home.mkdir()
    names = [n.replace("/", "_").lstrip(".")[:100] + ".json" for n in HOSTILE] + [os.fsdecode(b"\xff\xfe.json")]
    watch = Watch(home, format="tidy")
    for name in names:
        (home / name).write_text("[{")
        assert watch.poll() is None and watch.state.kind == "error"
        text = state_sentence(watch.state.kind, watch.state.message, watch.state.since)
        assert "\x1b" not in text and "\u202e" not in text and "\n" not in text and len(text) < 500
        text.encode()
        (home / name).unlink()
    (home / names[0]).write_text(json.dumps(RUNS.to_dicts()))
    assert watch.poll().runs.height == RUNS.height


def test_too_many_files_and_no_permission(tmp_path, monkeypatch):
    for k in range(6):
        (tmp_path / f"{k}.csv").write_text("x")
    monkeypatch.setattr(follow, "MAX_FILES", 5)
    watch = Watch(tmp_path)
    assert watch.poll() is None and watch.state.kind == "error" and "more than 5 files" in watch.state.message
    monkeypatch.setattr(follow, "snapshot", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied", str(path))))
    assert watch.poll() is None and "Permission denied" in watch.state.message
    monkeypatch.setattr(follow, "snapshot", lambda path: (_ for _ in ()).throw(FileNotFoundError(2, "gone", str(path))))
    assert watch.poll() is None and "Permission denied" in watch.state.message


def test_files_are_not_mapped_while_they_are_followed(tmp_path):
    "A mapped file that shrinks ends the process by a bus error; one that was read does not."
    path = tmp_path / "big.jsonl"
    path.write_text(lines(RUNS) * 200)
    assert path.stat().st_size > 1 << 20 and not isinstance(map_bytes(path), bytes)
    with live_files():
        assert isinstance(map_bytes(path), bytes) and core.progress(it := iter(()), "x") is it
    assert not isinstance(map_bytes(path), bytes)


# ---------------------------------------------------------------- the thread

def test_callbacks_come_in_order_and_in_one_go(tmp_path):
    "Study before its state, in the thread that `run_in` chooses, each pair without another call between."
    home, heard, calls, lock = tmp_path / "run", [], [], threading.Lock()

    def run_in(deliver):
        with lock:
            calls.append(deliver)
    watch = Watch(home, **FAST)
    watch.start(lambda s: heard.append((s.runs.height, threading.current_thread().name)), lambda s: heard.append((s.kind, threading.current_thread().name)), run_in=run_in)
    assert wait_for(lambda: calls) and not heard
    calls.pop(0)()
    assert [h[0] for h in heard] == ["waiting"]
    home.mkdir()
    for done in (6, 12, 18):
        (home / ".new").write_text(lines(RUNS[:done]))
        os.replace(home / ".new", home / "a.jsonl")
        assert wait_for(lambda done=done: calls and watch.study is not None and watch.study.runs.height == done)
        while calls:
            calls.pop(0)()
    watch.stop()
    numbers = [h[0] for h in heard if isinstance(h[0], int)]
    assert numbers == [6, 12, 18] and {h[1] for h in heard} == {threading.current_thread().name}
    assert all(b[0] == "following" for a, b in pairwise(heard) if isinstance(a[0], int))


def test_a_busy_loop_gets_only_the_newest(tmp_path):
    path, heard, calls = tmp_path / "a.jsonl", [], []
    with Watch(path, **FAST).start(lambda s: heard.append(s.runs.height), run_in=calls.append) as watch:
        for done in (5, 10, 15):
            (tmp_path / ".new").write_text(lines(RUNS[:done]))
            os.replace(tmp_path / ".new", path)
            assert wait_for(lambda done=done: watch.study is not None and watch.study.runs.height == done and watch._handed is watch.study)
        assert len(calls) == 1
        calls[0]()
    assert heard == [15]


def test_in_an_event_loop(tmp_path):
    async def main():
        heard, done = [], asyncio.Event()

        def on_study(study):
            heard.append(threading.current_thread() is threading.main_thread())
            if study.runs.height == RUNS.height:
                done.set()
        watch = Watch(tmp_path / "run", **FAST).start(on_study)
        for _ in grow(tmp_path / "run", RUNS, "lines", batch=20):
            await asyncio.sleep(.03)
        await asyncio.wait_for(done.wait(), 30)
        watch.stop()
        return heard
    heard = asyncio.run(main())
    assert heard and all(heard)


def test_stop_ends_the_thread_at_once_and_silences_it(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(RUNS))
    heard, calls = [], []
    watch = Watch(tmp_path, every=3600).start(heard.append, run_in=calls.append)
    assert wait_for(lambda: calls) and watch.running
    with pytest.raises(DataError, match="followed already"):
        watch.start(heard.append)
    watch.stop()
    assert not watch.running and not threads()
    for call in calls:
        call()
    assert not heard  # what was on its way when it was stopped is not delivered
    watch.stop()
    (tmp_path / "a.jsonl").write_text(lines(RUNS[:4]))
    watch.start(heard.append, run_in=lambda f: f())
    assert wait_for(lambda: heard) and heard[0].runs.height == 4
    watch.stop()
    Watch(tmp_path).stop()  # nothing runs: nothing to do


def test_stop_from_a_callback(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(RUNS))
    watch = Watch(tmp_path, **FAST)
    watch.start(lambda study: watch.stop(), run_in=lambda f: f())
    assert wait_for(lambda: not threads()) and not watch.running


def test_a_forgotten_watch_ends(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(RUNS))

    class View:
        "Holds its watch, as a widget does, and is held by its callbacks."
        def __init__(self): self.heard, self.watch = [], Watch(tmp_path, **FAST).start(self.show, run_in=lambda f: f())
        def show(self, study): self.heard.append(study)
    views = [View()]
    assert wait_for(lambda: views[0].heard) and threads()
    views.clear()
    gc.collect()
    assert wait_for(lambda: not threads(), 10)


def test_trouble_in_the_view_and_a_closed_loop(tmp_path):
    path, states = tmp_path / "a.jsonl", []
    path.write_text(lines(RUNS[:5]))
    with Watch(path, **FAST).start(lambda s: 1 / (s.runs.height - 5), states.append, run_in=lambda f: f()) as watch:
        assert wait_for(lambda: states) and states[0].kind == "error" and "could not be shown: ZeroDivisionError" in states[0].message
        (tmp_path / ".new").write_text(lines(RUNS[:6]))
        os.replace(tmp_path / ".new", path)
        assert wait_for(lambda: states[-1].kind == "following") and watch.running
    loop = asyncio.new_event_loop()
    loop.close()
    watch = Watch(path, **FAST).start(lambda s: None, run_in=loop.call_soon_threadsafe)
    assert wait_for(lambda: not threads()) and watch.state.kind == "stopped" and "could not be handed over" in watch.state.message


def test_a_slow_reading_makes_long_pauses(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text(lines(RUNS))
    begun = []

    def slow(*args, **options):
        begun.append(time.monotonic())
        time.sleep(.1)
        return load(*args, **options)
    monkeypatch.setattr(follow, "load", slow)
    stop = threading.Event()
    writer = threading.Thread(target=lambda: [(tmp_path / "a.jsonl").write_text(lines(RUNS[:3 + k % 50])) for k in iter(lambda: len(begun) if not stop.wait(.01) else None, None)])
    writer.start()
    with Watch(tmp_path, format="tidy", **FAST).start(lambda s: None, run_in=lambda f: f()) as watch:
        assert wait_for(lambda: len(begun) >= 4)
    stop.set()
    writer.join()
    assert min(b - a for a, b in pairwise(begun)) > .1 * (1 + Watch.SHARE) * .99
    watch.seconds = 0.
    assert watch.delay == .01


def test_interpreter_ends_while_a_watch_runs(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(RUNS))
    code = f"from agentlab_wb.work.follow import Watch\nimport time\nw = Watch({str(tmp_path)!r}, every=.01).start(lambda s: print(s.runs.height, flush=True), run_in=lambda f: f())\nwhile w.study is None: time.sleep(.01)\ntime.sleep(.05)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.split() == [str(RUNS.height)] and not done.stderr


def test_the_generator_writes_what_it_says(tmp_path):
    done = subprocess.run([sys.executable, str(Path(__file__).with_name("growing.py")), str(tmp_path / "x"), "--seconds", "0", "--tasks", "5", "--agents", "2"], capture_output=True, text=True, timeout=120)
    study = load(tmp_path / "x")
    assert done.returncode == 0 and "10 of 10 simulated runs" in done.stdout and study.runs.height == 10 and study.info["simulated"] == "true"
    assert study.runs["started_at"].null_count() == 0


# ---------------------------------------------------------------- what is new

def test_changes_by_brute_force():
    rng = np.random.default_rng(5)
    base = simulate_runs(3, 30, seed=3).study.runs
    for _ in range(20):
        a, b = (base.filter(pl.Series(rng.random(base.height) < .7)).sample(fraction=1, shuffle=True, seed=int(rng.integers(99))) for _ in "ab")
        flips = pl.Series(rng.random(b.height) < .2)
        b = b.with_columns(success=pl.when(flips).then(~pl.col("success")).otherwise("success"))
        key = ["benchmark", "task", "agent", "attempt"]
        old, new = ({tuple(r[k] for k in key): r["success"] for r in f.to_dicts()} for f in (a, b))
        wanted = (len(old), len(new), len(new.keys() - old.keys()), sum(old[k] != new[k] for k in old.keys() & new.keys()), len(old.keys() - new.keys()))
        assert changes(Study("a", runs=a), Study("b", runs=b)).row(0)[1:6] == wanted


def test_changes_of_files_with_other_columns(tmp_path):
    a = Study("a", runs=RUNS.select("benchmark", "task", "agent", "success"))
    b = Study("b", runs=RUNS.select("benchmark", "task", "agent", "success").with_columns(extra=1, tags=pl.lit([["x"]]), source_row=pl.int_range(pl.len())))
    assert changes(a, b).row(0)[3:6] == (0, 0, 0) and changes_sentence(changes(a, b)) == "Nothing new: 60 runs."
    labels = Study("l", labels=pl.DataFrame(dict(item=["i", "j"], rater=["r", "s"], label=["1", "2"])))
    assert changes(a, labels)["table"].to_list() == ["runs", "labels"] and "60 runs gone (0 in all)" in changes_sentence(changes(a, labels))


# ---------------------------------------------------------------- rates that are looked at all the time

def second_limits(s: int, n: int, level: float) -> tuple[float, float]:
    "Where the Beta(½, ½) mixture against p has grown to 1/(1 − level): by quadrature-free algebra with math.lgamma, and a root finder."
    def log_e(p):
        beta = math.lgamma(s + .5) + math.lgamma(n - s + .5) - math.lgamma(n + 1) - 2 * math.lgamma(.5)
        return beta - (s * math.log(p) if s else 0) - ((n - s) * math.log1p(-p) if n > s else 0) + math.log(1 - level)
    low = optimize.brentq(log_e, 1e-15, s / n, xtol=1e-13) if s else 0.
    high = optimize.brentq(log_e, s / n, 1 - 1e-15, xtol=1e-13) if s < n else 1.
    return low, high


def test_running_rates_by_a_second_route():
    runs = simulate_runs(6, 80, spread=3., seed=8).study.runs
    for level in (.9, .99):
        for row in running_rates(runs, level=level).iter_rows(named=True):
            s = round(row["estimate"] * row["n"])
            assert np.allclose((row["lower"], row["upper"]), second_limits(s, 80, level), atol=1e-9)


@pytest.mark.parametrize("options", [dict(), dict(method="betting"), dict(missing="drop"), dict(level=.8)])
def test_running_rates_do_not_depend_on_rows_or_other_agents(options):
    study = simulate_runs(5, 60, error_rate=.1, seed=2).study
    dated = study.runs.with_columns(started_at=pl.Series(np.random.default_rng(1).permutation(study.runs.height)).map_elements(lambda k: datetime.fromtimestamp(1.7e9 + k, timezone.utc), return_dtype=pl.Datetime("us", "UTC")))
    whole = running_rates(dated, **options)
    assert set(whole["order"]) == {"started_at"}
    mixed = running_rates(dated.sample(fraction=1, shuffle=True, seed=4), **options).sort("agent")
    assert mixed.equals(whole.sort("agent"))
    few = running_rates(dated.filter(pl.col("agent") < "agent-3"), **options)
    assert few.equals(whole.filter(pl.col("agent") < "agent-3"))
    fixed = success_rate(dated, missing=options.get("missing", "fail"))
    assert np.allclose(fixed["estimate"], whole["estimate"]) and fixed.select("n_tasks", "n_unknown", "worst", "best").equals(whole.select("n_tasks", "n_unknown", "worst", "best"))
    for name in whole["agent"] if options.get("method") != "betting" else []:
        last = rate_sequence(dated, name, looks=[whole.filter(agent=name)["n"][0]], missing=options.get("missing", "fail"), level=options.get("level", .95))
        assert np.allclose(last.select("estimate", "lower", "upper").row(0), whole.filter(agent=name).select("estimate", "lower", "upper").row(0))


def test_running_rates_take_the_place_of_the_leaderboard(hostile_runs):
    rates = running_rates(Study("x", runs=hostile_runs).runs)
    benchmark = rates["benchmark"][0]
    leaderboard_chart(rates, benchmark=benchmark)
    leaderboard_table(rates, benchmark=benchmark)
    assert not any(rates[c].is_nan().any() for c, t in rates.schema.items() if t.is_float()) and "valid however often you look" in running_sentence(rates)


def test_coverage_at_all_of_200_looks():
    "Agents with rates of every size, looked at after each of 200 tasks: the share whose rate is inside at all looks, within two standard errors of the level."
    agents, looks, level = 400, 200, .9
    rng = np.random.default_rng(21)
    truth = special.expit(rng.normal(0, 2, agents))
    made = rng.random((looks, agents)) < truth
    sums, held = np.cumsum(made, axis=0), np.ones(agents, bool)
    for t in range(1, looks + 1):
        lower, upper = _limits(list(made[:t].T.astype(float)), np.ones(agents, bool), level)
        assert (lower <= sums[t - 1] / t).all() and (sums[t - 1] / t <= upper).all()
        held &= (lower <= truth) & (truth <= upper)
    error = 2 * math.sqrt(level * (1 - level) / agents)
    assert held.mean() >= level - error, (held.mean(), error)


@pytest.mark.slow
def test_coverage_through_the_table_with_three_attempts():
    "Graded task means, the table made anew at each of 40 looks, each task complete when its three attempts are in."
    agents, tasks, level = 100, 120, .9
    runs = simulate_runs(1, 1, seed=0).study.runs.clear()
    rng = np.random.default_rng(6)
    ability = rng.normal(0, 1, agents)
    p = special.expit(ability[:, None] - rng.normal(0, 1, (agents, 4000)))
    truth, chosen = p.mean(axis=1), p[:, :tasks]
    outcomes = rng.random((agents, tasks, 3)) < chosen[:, :, None]
    a, t, k = np.indices(outcomes.shape)
    runs = pl.DataFrame(dict(benchmark="simulated", task=t.ravel(), agent=a.ravel(), attempt=k.ravel(), success=outcomes.ravel())).with_columns(pl.format("agent-{}", "agent").alias("agent"), pl.format("task-{}", "task").alias("name")).sort("task", "attempt", "agent")
    frame = Study("s", runs=runs.with_columns(task="name").drop("name")).runs
    held = np.ones(agents, bool)
    for n in np.linspace(agents * 2, frame.height, 40).astype(int):
        rates = running_rates(frame.head(n), attempts=3, level=level).with_columns(k=pl.col("agent").str.split("-").list.last().cast(pl.Int64)).sort("k").filter(pl.col("estimate").is_not_null())
        which = rates["k"].to_numpy()
        held[which] &= (rates["lower"].to_numpy() <= truth[which]) & (truth[which] <= rates["upper"].to_numpy())
    assert held.mean() >= level - 2 * math.sqrt(level * (1 - level) / agents), held.mean()
