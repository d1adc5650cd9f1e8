"The command line: exit codes, one clear error, nothing written."
import json
import os
import subprocess
import sys

import pytest
from conftest import HOSTILE

from agentlab_wb.infer.power import assume_rates, pilot, power_of, required_tasks
from agentlab_wb.loaders.core import load
from agentlab_wb.simulate import simulate_runs
from agentlab_wb.work.cli import main

GOOD = "task,agent,score\nt1,a,1\nt1,b,0\nt2,a,1\nt2,b,1\n"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


BAD = {
    "a truncated JSON": ({"run.json": '{"resolved_ids": ["a__b-1", "a__b-2'}, "run.json"),
    "an empty file": ({"run.csv": ""}, "run.csv"),
    "a file of another kind": ({"photo.png": "\x89PNG"}, "no reader recognises"),
    "a duplicated attempt": ({"run.csv": "task,agent,score\nt,a,1\nt,a,0\n"}, "run.csv row 2 and run.csv row 3"),
    "a score out of range": ({"run.csv": "task,agent,score\nt,a,1\nu,a,7\n"}, "run.csv row 3: 7.0"),
    "a missing column": ({"run.csv": "task,who,score\nt,a,1\n"}, "'who'"),
    "a short row": ({"run.csv": "task,agent,score\nt,a\n"}, "run.csv row 2"),
    "NaN": ({"run.csv": "task,agent,score\nt,a,NaN\n"}, "NaN"),
    "a broken line": ({"run.jsonl": '{"task": "t", "agent": "a", "score": 1}\n{"task": "t", "ag\n{"task": "u", "agent": "a", "score": 1}\n'}, "run.jsonl line 2"),
    "a git-lfs pointer": ({"run.csv": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"}, "git-lfs"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("verb", ["load", "report"])
def test_bad_input_is_one_error_exit_2_and_nothing_written(tmp_path, capsys, monkeypatch, case, verb):
    files, message = BAD[case]
    for name, text in files.items():
        write(tmp_path / "in" / name, text)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert main([verb, str(tmp_path / "in")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and message in err, err
    assert not list(work.iterdir()) and sorted(p.name for p in (tmp_path / "in").iterdir()) == sorted(files)


def test_an_empty_folder(tmp_path, capsys):
    assert main(["load", str(tmp_path)]) == 2
    assert "holds no files" in capsys.readouterr().err


def test_load_prints_json_for_machines(tmp_path, capsys):
    assert main(["load", str(write(tmp_path / "r.csv", GOOD)), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "r" and found["tables"] == [{"table": "runs", "rows": 4, "agents": 2, "items": 2}]


def test_load_keeps_a_study_that_opens_again(tmp_path, capsys):
    path = write(tmp_path / "r.csv", GOOD)
    assert main(["load", str(path), "--save", str(tmp_path / "kept")]) == 0
    assert main(["load", str(tmp_path / "kept"), "--json"]) == 0
    assert '"rows": 4' in capsys.readouterr().out


def test_several_paths_are_merged(tmp_path, capsys):
    one = write(tmp_path / "one.csv", GOOD)
    two = write(tmp_path / "two.csv", GOOD)
    assert main(["load", str(one), str(two), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"][0]["rows"] == 8


def test_options_reach_the_reader(tmp_path, capsys):
    path = write(tmp_path / "r.csv", "who,what,mark\na,t,7\nb,t,9\n")
    options = ["-o", 'columns={"agent": "who", "task": "what", "score": "mark"}', "-o", "score_range=[0, 10]", "-o", "table=runs"]
    assert main(["load", str(path), *options]) == 0
    assert main(["load", str(path), *options, "-o", "speed=9"]) == 2
    assert "no option 'speed'" in capsys.readouterr().err


def test_terminal_output_shows_control_characters(tmp_path, capsys):
    path = write(tmp_path / "\x1b[31mred\u202e.csv", GOOD)
    assert main(["load", str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_hostile_names_load(tmp_path, capsys):
    import csv
    with open(tmp_path / "r.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("task", "agent", "score"), *((t, a, 1) for a in HOSTILE for t in HOSTILE[:3])])
    assert main(["load", str(tmp_path / "r.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"][0]["agents"] == len(HOSTILE)


@pytest.mark.parametrize("verb", ["", "load", "report", "reproduce", "verify", "formats", "compare", "power", "lab"])
def test_help_has_no_surprise(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*filter(None, [verb]), "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and "usage: agentlab-wb" in out
    if verb == "report":
        assert "level" in out and "one of fail, drop, bounds" in out


def test_help_of_one_report_and_the_list(tmp_path, capsys):
    for argv in (["report", "ladder", "--help"], ["report", "--report", "ladder", "--help"], ["report", "-h", "--report=ladder"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        out = capsys.readouterr().out
        assert stop.value.code == 0 and "elo_orders" in out and "default 100" in out and "pairwise:" not in out
    assert main(["report", "lader", "--help"]) == 2 and "is 'ladder' meant?" in capsys.readouterr().err
    assert main(["report", "--list"]) == 0 and "ladder: " in capsys.readouterr().out
    assert main(["report", "--list", str(write(tmp_path / "r.csv", GOOD)), "--json"]) == 0
    found = {r["name"]: r for r in json.loads(capsys.readouterr().out)}
    assert found["ladder"]["lacks"] == ["battles"] and not found["leaderboard"]["lacks"]
    assert next(p for p in found["leaderboard"]["parameters"] if p["name"] == "missing")["choices"] == ["fail", "drop", "bounds"]
    assert main(["report"]) == 2 and "needs a path" in capsys.readouterr().err


def test_formats(capsys):
    assert main(["formats"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("tidy", "swebench", "openhands", "tau_bench", "arena", "fastchat", "store"))


def test_usage_errors_exit_2():
    for argv in ([], ["nothing"], ["load"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 2


def test_the_console_script_and_version():
    from importlib.metadata import entry_points
    (script,) = [e for e in entry_points(group="console_scripts") if e.name == "agentlab-wb"]
    assert script.load() is main
    shown = subprocess.run([sys.executable, "-c", "from agentlab_wb.work.cli import main; main(['--version'])"], capture_output=True, text=True)
    assert shown.stdout.startswith("agentlab-wb 0.")


@pytest.mark.parametrize("given", ["study=x", "out=x", "force=1", "progress=1", "level=2", "x"])
def test_parameters_are_checked_before_anything_runs(tmp_path, capsys, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "in" / "r.csv", GOOD)
    assert main(["report", str(path), "-p", given]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_doctor_exits_1_on_a_contradiction(tmp_path, capsys):
    fine = write(tmp_path / "fine.csv", GOOD)
    assert main(["doctor", str(fine)]) == 0
    odd = write(tmp_path / "odd.csv", "task,agent,score,success\nt,a,1,false\nt,b,1,true\n")
    capsys.readouterr()
    assert main(["doctor", str(odd), "--json"]) == 1
    (first, *_) = json.loads(capsys.readouterr().out)
    assert first["severity"] == "contradiction" and first["check"] == "success against score"


def test_a_run_in_progress_loads_without_its_last_line(tmp_path, capsys):
    path = write(tmp_path / "run.jsonl", '{"task": "t", "agent": "a", "score": 1}\n{"task": "u", "ag')
    assert main(["load", str(path)]) == 0
    out = capsys.readouterr().out
    assert "1 rows" in out and "line 2, the last, is cut short" in out and "skipped 1" in out
    assert main(["load", str(path), "--strict"]) == 2


def test_bad_files_among_good_ones_are_listed(tmp_path, capsys):
    good = {"a__b-1": {"resolved": True, "cost": 1.0}, "a__b-2": {"resolved": False, "cost": 1.0}}
    for agent, text in (("one", json.dumps(good)), ("two", json.dumps(good)), ("three", json.dumps(good)[:-9])):
        write(tmp_path / "results" / agent / "instance_results" / "swe-bench.json", text)
    assert main(["load", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "4 rows" in out and "1 files could not be read" in out and "three/instance_results/swe-bench.json: not valid JSON" in out
    assert main(["load", str(tmp_path), "--strict"]) == 2


@pytest.fixture
def pair(tmp_path):
    "Two simulated agents, one much stronger, as a CSV file."
    runs = simulate_runs(2, 80, spread=1.2, seed=3).study.runs
    text = "task,agent,score\n" + "".join(f"{r['task']},{r['agent']},{int(r['success'])}\n" for r in runs.iter_rows(named=True))
    return str(write(tmp_path / "pair.csv", text))


def answer(capsys, *argv):
    "Exit code, output, errors."
    capsys.readouterr()
    return main(list(argv)), *capsys.readouterr()


def test_compare_answers_in_words_in_both_argument_orders(pair, capsys):
    code, out, err = answer(capsys, "compare", "agent-1", "agent-2", pair)
    assert code == 0 and err == "" and "agent-1 is higher than agent-2 by" in out and "Test: the same tasks, one yes-or-no attempt each" in out
    assert answer(capsys, "compare", pair, "--agents", "agent-1", "agent-2")[1] == out == answer(capsys, "compare", "--agents", "agent-1", "agent-2", pair)[1]
    assert "agent-2 is lower than agent-1" in answer(capsys, "compare", "agent-2", "agent-1", pair)[1]


def test_the_gate_is_the_exit_code(pair, tmp_path, capsys):
    assert answer(capsys, "compare", "agent-1", "agent-2", pair, "--gate")[0] == 0
    assert answer(capsys, "compare", "agent-2", "agent-1", pair, "--gate")[0] == 1
    even = write(tmp_path / "even.csv", GOOD)
    code, out, _ = answer(capsys, "compare", "a", "b", str(even), "--gate")
    assert code == 3 and "not distinguishable" in out
    assert answer(capsys, "compare", "a", "b", str(even))[0] == 0  # only the gate makes it an exit code
    assert answer(capsys, "compare", "a", "b", "/nowhere", "--gate")[0] == 2


def test_compare_for_machines(pair, capsys):
    code, out, _ = answer(capsys, "compare", "agent-1", "agent-2", pair, "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["says"] == "higher" and row["n"] == 80 and row["lower"] > 0


def test_a_benchmark_of_one_agent_is_named_not_dropped(tmp_path, capsys):
    rows = [("one", t, a, (t * k) % 3 > 0) for k, a in ((1, "a"), (2, "b")) for t in range(9)] + [("two", t, "a", True) for t in range(9)]
    path = write(tmp_path / "r.csv", "benchmark,task,agent,success\n" + "".join(f"{b},t{t},{a},{str(s).lower()}\n" for b, t, a, s in rows))
    code, out, _ = answer(capsys, "compare", "a", "b", str(path))
    assert code == 0 and "Left out, for only one of the two was there: two." in out


@pytest.mark.parametrize(("argv", "message"), [
    (("compare", "agent-1", "agent2"), "is 'agent-2' meant"), (("compare", "AGENT-1", "agent-2"), "is 'agent-1' meant"), (("compare", "agent-1", "agent-1"), "with itself"),
    (("compare", "agent-1", "agent-2", "--benchmark", "pairs"), "no benchmark is called 'pairs'; is 'pair' meant"), (("power", "--agents", "agent-1", "agnet-2"), "is 'agent-2' meant"),
    (("power", "--difference", "5"), "--difference is 5"), (("power", "--power", "80"), "--power is 80"), (("power", "--tasks", "0"), "whole numbers from 1"), (("power", "--correlation", "0.5"), "--correlation goes with assumed rates"),
    (("power", "--rates", "0.4", "0.5"), "not both"), (("power", "--cluster", "nope"), "nope"), (("power", "--attempts", "3"), "several attempts"),
])
def test_wrong_questions_are_one_error(pair, capsys, argv, message):
    code, out, err = answer(capsys, *argv, pair) if argv[0] == "compare" and "--benchmark" not in argv else answer(capsys, *((*argv[:3], pair, *argv[3:]) if argv[0] == "compare" else (argv[0], pair, *argv[1:])))
    assert code == 2 and err.count("\n") == 1 and message in err, err


@pytest.mark.parametrize(("argv", "message"), [
    (("power",), "needs a path"), (("power", "--rates", "0.5", "0.5"), "no difference to find"), (("power", "--rates", "0.5", "1.5"), "rate_a is 1.5"), (("power", "--rates", "0.4", "0.5", "--correlation", "nan"), "correlation is nan"),
    (("power", "--rates", "0.4", "0.5", "--correlation", "0.2", "--discordance", "0.3"), "either"), (("power", "--rates", "0.4", "0.5", "--attempts", "3"), "Give stability"), (("power", "--rates", "0.4", "0.5", "--icc", "0.1"), "cluster_size"), (("compare", "a", "b"), "two agents and a path"),
])
def test_wrong_assumptions_are_one_error(capsys, argv, message):
    code, _, err = answer(capsys, *argv)
    assert code == 2 and err.count("\n") == 1 and message in err, err


def test_power_from_a_pilot_gives_the_numbers_of_the_library(pair, capsys):
    code, out, err = answer(capsys, "power", pair, "--agents", "agent-1", "agent-2", "--difference", "0.1", "--tasks", "100")
    assumed = pilot(load(pair).runs, "agent-1", "agent-2")
    needed = required_tasks(assumed, .1)["tasks"][0]
    assert code == 0 and err == "" and f"about {needed:,} shared tasks" in out and f"power {100 * power_of(assumed, 100, .1):.1f} % for 10.0 points" in out
    found = json.loads(answer(capsys, "power", pair, "--agents", "agent-1", "agent-2", "--difference", "0.1", "--json")[1])
    assert found["source"] == "pilot" and found["plans"][0]["tasks_needed"] == needed
    assert "80 shared tasks" in answer(capsys, "power", pair)[1]


def test_power_from_assumed_rates(capsys):
    code, out, _ = answer(capsys, "power", "--rates", "0.40", "0.45", "--correlation", "0.5")
    needed = required_tasks(assume_rates(.45, .40, correlation=.5))["tasks"][0]
    assert code == 0 and f"takes {needed:,} tasks with 1 attempt each" in out
    assert answer(capsys, "power", "--rates", "0.45", "0.40", "--correlation", "0.5")[1] == out
    open_question = answer(capsys, "power", "--rates", "0.40", "0.45")[1]
    assert open_question.count("If their outcomes correlate by") == 4 and f"{needed:,} tasks" in open_question
    plans = json.loads(answer(capsys, "power", "--rates", "0.40", "0.45", "--unpaired", "--icc", "0.05", "--cluster-size", "10", "--tasks", "2000", "--json")[1])["plans"]
    assert [p["kind"] for p in plans] == ["tasks needed", "smallest difference shown", "power"] and plans[0]["test"] == "Welch t, clustered"
    assert abs(plans[2]["power"] - power_of(assume_rates(.45, .40, correlation=0, icc_agents=.05, cluster_size=10), 2000, paired=False)) < 1e-12


def test_hostile_names_in_compare_and_power(tmp_path, capsys):
    import csv
    for k, (a, b) in enumerate(zip(HOSTILE[:9], HOSTILE[9:])):
        path = tmp_path / f"{k}.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("benchmark", "task", "agent", "score"), *((a, f"t{t} {b}", name, int((t * (i + 2)) % 5 > 1)) for t in range(25) for i, name in enumerate((a, b)))])
        for argv in (("compare", a, b, str(path)), ("power", str(path), "--agents", a, b), ("power", str(path))):
            code, out, err = answer(capsys, *argv)
            assert code == 0 and err == "" and not any(c in out for c in "\x1b\u202e"), (argv[0], a[:20], err)
            assert max(map(len, out.splitlines())) < 1500
        code, _, err = answer(capsys, "compare", a, "\x1b[31mnobody", str(path))
        assert code == 2 and "\x1b" not in err and err.count("\n") == 1


def test_piped_output_has_no_colour(pair):
    for argv in (["compare", "agent-1", "agent-2", pair], ["power", pair]):
        shown = subprocess.run([sys.executable, "-c", f"import sys; from agentlab_wb.work.cli import main; sys.exit(main({argv!r}))"], capture_output=True, env=dict(os.environ, FORCE_COLOR="1", CLICOLOR_FORCE="1"))
        assert shown.returncode == 0 and b"\x1b" not in shown.stdout + shown.stderr and shown.stderr == b""
