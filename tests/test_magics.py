"The magics in a real IPython shell: what they show, what they refuse, and that unloading puts everything back."
import subprocess
import sys
import types
from html.parser import HTMLParser

import polars as pl
import pytest
from conftest import HOSTILE

pytest.importorskip("IPython")
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402
from IPython.utils.capture import capture_output  # noqa: E402
from traitlets.config import Config  # noqa: E402

import agentlab_wb  # noqa: E402
from agentlab_wb.infer.compare import adjust, compare  # noqa: E402
from agentlab_wb.loaders.store import save_study  # noqa: E402
from agentlab_wb.measure.cost import cost_per_success  # noqa: E402
from agentlab_wb.measure.pass_k import pass_at_k  # noqa: E402
from agentlab_wb.measure.rates import success_rate  # noqa: E402
from agentlab_wb.measure.win_rates import win_rate  # noqa: E402
from agentlab_wb.simulate import simulate_battles, simulate_runs  # noqa: E402
from agentlab_wb.tables import DataError, Source, Study, check, missing_facts  # noqa: E402
from agentlab_wb.work import magics  # noqa: E402

RUNS = simulate_runs(4, 60, error_rate=.05, seed=1).study.runs


@pytest.fixture
def ip():
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    magics.load_ipython_extension(shell)
    shell.user_ns["s"] = Study("s", runs=RUNS)
    yield shell
    magics.unload_ipython_extension(shell)
    InteractiveShell.clear_instance()


class Cell:
    "What a cell did: did it succeed, its streams, what was displayed."
    def __init__(self, ip, source):
        with capture_output() as caught:
            self.result = ip.run_cell(source)
        self.ok, self.out, self.err = self.result.success, caught.stdout, caught.stderr
        self.text = "\n".join(o.data.get("text/plain", "") for o in caught.outputs)
        self.html = "\n".join(o.data.get("text/html", "") for o in caught.outputs)
        self.shown = len(caught.outputs)


class Tags(HTMLParser):
    "Tags and their attributes."
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def harmless(html):
    tags = Tags(html).found
    return not {"script", "img", "iframe", "object", "form"} & {t for t, _ in tags} and not any(a.startswith("on") or a == "src" for _, attrs in tags for a in attrs)


def test_compare_shows_and_returns(ip):
    cell = Cell(ip, "r = %compare s agent-1 agent-4 --level 0.9")
    frame = ip.user_ns["r"]
    assert cell.ok and cell.shown == 1 and "90 % interval" in cell.text and "agent-1 is higher than agent-4" in cell.text
    expected = compare(RUNS, "agent-4", agents=["agent-1"], level=.9)
    assert frame.drop("n_needed").equals(expected)


def test_the_frame_is_not_echoed_but_shown_when_asked_for(ip):
    assert Cell(ip, "%compare s agent-1 agent-4").out.replace("Out[0]: ", "").strip() == ""
    cell = Cell(ip, "r = %compare s agent-1 agent-4\nr")
    assert "shape" not in cell.out
    assert "shape" in Cell(ip, "r").out
    assert Cell(ip, "%compare s agent-1 agent-4\n%compare s agent-1 agent-3").shown == 2


def test_benchmarks_of_one_agent_only_are_named(ip):
    ip.user_ns["two"] = pl.concat([RUNS, RUNS.filter(pl.col("agent") == "agent-1").with_columns(benchmark=pl.lit("<b>lonely"))])
    cell = Cell(ip, "%compare two agent-1 agent-2")
    assert "Left out where only one of two was there: <b>lonely." in cell.text and "&lt;b&gt;lonely" in cell.html


def test_several_pairs_are_corrected_and_it_says_so(ip):
    cell = Cell(ip, "%%compare s\nagent-1 vs agent-2\n\nagent-1 vs agent-3\nagent-1 vs agent-4\n")
    assert cell.ok and "corrected (holm) for the 3 pairs" in cell.text
    frame = cell.result.result
    every = pl.concat([compare(RUNS, b, agents=["agent-1"]) for b in ("agent-2", "agent-3", "agent-4")])
    assert frame["p"].to_list() == every["p"].to_list() and frame["p_adjusted"].to_list() == adjust(every["p"].to_numpy(), "holm").tolist()
    none = Cell(ip, "%%compare s --correction none\nagent-1 vs agent-2\nagent-1 vs agent-3\n")
    assert "not corrected" in none.text and none.result.result["p"].equals(none.result.result["p_adjusted"], check_names=False)


def test_a_corrected_sentence_never_says_more_than_the_corrected_p():
    found = magics.compare_pairs(RUNS, [("agent-1", b) for b in ("agent-2", "agent-3", "agent-4")])
    for row, line in zip(found.iter_rows(named=True), magics.compared_sentences(found)):
        assert (" is higher than " in line or " is lower than " in line) <= (row["p_adjusted"] < .05)


def test_benchmarks_are_corrected_apart():
    two = pl.concat([RUNS, RUNS.with_columns(benchmark=pl.lit("other"))])
    pairs = [("agent-1", "agent-2"), ("agent-1", "agent-3")]
    one, both = magics.compare_pairs(RUNS, pairs), magics.compare_pairs(two, pairs)
    assert both.filter(pl.col("benchmark") != "other")["p_adjusted"].to_list() == one["p_adjusted"].to_list()
    assert any("2 benchmarks" in s for s in magics.compared_sentences(both))


@pytest.mark.parametrize("source, message", [
    ("%compare s agent-1", "takes two agents, found 1"), ("%compare s agent-1 agent-2 agent-3", "takes two agents, found 3"),
    ("%compare s agent-1 Agent-2", "is 'agent-2' meant?"), ("%compare s agent-1 agent-1", "with itself"),
    ("%compare nowhere a b", "no variable and no file or folder is called 'nowhere'"), ("%compare x a b", "is int, wanted a Study"),
    ("%compare s.runs a b", "no variable"), ("%compare s agent-1 agent-2 --levle 1", "--levle"), ("%compare s agent-1 agent-2 --lev .9", "--lev"),
    ("%compare s agent-1 agent-2 --level 2", "level"), ("%compare s agent-1 agent-2 --level x", "invalid float"), ("%compare s agent-1 agent-2 --missing gone", "invalid choice"),
    ("%compare s 'agent-1 agent-2", "a quote does not end"), ("%compare s agent-1 agent-2 --benchmark b", "no benchmark is called 'b'"),
    ("%compare s agent-1 agent-2 --cluster nope", "nope"), ("%compare empty a b", "there are no runs"),
    ("%%compare s\nagent-1 agent-2", "is no pair"), ("%%compare s\nagent-1 vs agent-2\nagent-2 vs agent-1", "stands twice"), ("%%compare s\n \n", "names no pair"),
    ("%%compare s agent-1 agent-2\nagent-1 vs agent-2", "from the cell"),
    ("%report s leaderboard level=2", "wanted a number"), ("%report s leaderboard levle=.9", "is 'level' meant?"), ("%report s leaderboard force=1", "no parameter 'force'"),
    ("%report s leaderboard study=x", "set by the workbench"), ("%report s laederboard", "is 'leaderboard' meant?"), ("%report s ladder", "needs battles"), ("%report s", "which report?"),
    ("%report s leaderboard level", "not of the form name=value"), ("%study nowhere", "there is no such file"), ("%study a b", "wanted: as NAME"), ("%study a as 1x", "can't be the name"),
    ("%study a as class", "can't be the name"), ("%explore nowhere", "nowhere"), ("%compare", "STUDY"),
])
def test_bad_input_is_one_clear_error(ip, tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "agentlab_wb.work.explore", types.SimpleNamespace(explore=lambda *a, **k: None))
    ip.user_ns |= dict(x=3, empty=Study("empty"))
    cell = Cell(ip, source)
    assert not cell.ok and message in cell.err and cell.err.startswith("UsageError: ") and "Traceback" not in cell.err + cell.out, cell.err
    assert not cell.shown and not list(tmp_path.iterdir())


def test_nothing_typed_is_evaluated(ip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in ("%compare {open('made','w')} a b", "%compare s $HOME {7*7}", "%study {open('made','w')}", "%report s {open('made','w')}", "%compare open('made','w') a b", "%%compare {open('made','w')}\na vs b"):
        assert not Cell(ip, line).ok
    assert not list(tmp_path.iterdir())
    assert "'{7*7}'" in Cell(ip, "%compare s agent-1 {7*7}").err


def test_hostile_names_are_compared_and_shown_as_text(ip, hostile_runs):
    ip.user_ns["h"] = Study("</script><img src=x onerror=alert(1)>", runs=hostile_runs)
    pairs = [(a, b) for i, a in enumerate(HOSTILE) for b in HOSTILE[i + 3::3]]   # those of one benchmark
    for a, b in pairs:
        ip.user_ns |= dict(a=a, b=b)
        cell = Cell(ip, "r = %compare h $a $b")
        assert cell.ok and cell.shown == 1 and ip.user_ns["r"].select("agent_a", "agent_b").row(0) == (a, b), cell.err
        assert harmless(cell.html) and "\x1b" not in cell.text + cell.html and "\u202e" not in cell.text + cell.html
    typed = [(a, b) for a, b in pairs if not {"\n", "\x1b"} & {*a, *b}]
    cell = Cell(ip, "%%compare h\n" + "\n".join(f"{a} vs {b}" for a, b in typed))
    assert cell.ok and harmless(cell.html) and cell.result.result.select("agent_a", "agent_b").sort("agent_a", "agent_b").rows() == sorted(typed), cell.err
    assert "are on no benchmark together" in Cell(ip, "%compare h Name name").err
    cell = Cell(ip, "%compare h Name '\x1b[31m'")
    assert not cell.ok and "\x1b" not in cell.err
    assert harmless(Cell(ip, "from IPython.display import display\ndisplay(h)").html)


def test_an_agent_whose_name_begins_with_a_dollar_or_a_dash(ip):
    ip.user_ns["d"] = RUNS.with_columns(pl.col("agent").replace({"agent-1": "$x", "agent-2": "-h"}))
    ip.user_ns["x"] = "agent-3"
    cell = Cell(ip, "r = %compare d -- $x -h")
    assert cell.ok and ip.user_ns["r"].select("agent_a", "agent_b").row(0) == ("$x", "-h")


def test_study_binds_a_name_and_paths_work_as_studies(ip, tmp_path):
    save_study(ip.user_ns["s"], tmp_path / "kept here")
    cell = Cell(ip, f"%study '{tmp_path / 'kept here'}' as t")
    assert cell.ok and ip.user_ns["t"].runs.height == RUNS.height and "<table" in cell.html and "240 rows" in cell.text
    assert Cell(ip, f"%compare '{tmp_path / 'kept here'}' agent-1 agent-2").ok
    ip.user_ns["where"] = tmp_path / "kept here"
    assert Cell(ip, "%study where").ok and ip.user_ns["study"].runs.height == RUNS.height
    (tmp_path / "marks.csv").write_text("task,agent,score\nt,a,7\nt,b,9\n")
    assert Cell(ip, f"%study {tmp_path / 'marks.csv'} as m -o score_range=[0,10]").ok and ip.user_ns["m"].runs["score_max"][0] == 10
    assert Cell(ip, f"%study {tmp_path / 'marks.csv'} as bad").err.startswith("UsageError: ") and "bad" not in ip.user_ns


@pytest.mark.slow
def test_report_links_what_it_wrote(ip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = Cell(ip, "%report s leaderboard level=0.9 --out 'my page & more'")
    assert cell.ok, cell.err
    (link,) = [a for t, a in Tags(cell.html).found if t == "a"]
    assert link["href"] == "my%20page%20%26%20more/index.html" and (tmp_path / "my page & more" / "index.html").is_file()
    assert "made in" in cell.text and "table" in cell.text
    again = Cell(ip, "%report s leaderboard level=0.9 --out 'my page & more'")
    assert "not run again" in again.text


def test_explore_is_imported_late_and_gets_the_study(ip, tmp_path, monkeypatch):
    called = []
    monkeypatch.setitem(sys.modules, "agentlab_wb.work.explore", types.SimpleNamespace(explore=lambda *a, **k: called.append((a, k)) or "opened"))
    Cell(ip, "e = %explore s --view plan")
    assert ip.user_ns["e"] == "opened" and called[0][0][0] is ip.user_ns["s"] and called[0][1] == dict(view="plan")
    ip.user_ns["folder"] = str(tmp_path)
    for word in (str(tmp_path), "folder"):
        assert Cell(ip, f"%explore {word} --follow").ok and called.pop() == ((str(tmp_path),), dict(follow=True, view=None))
    assert "--follow watches" in Cell(ip, "%explore s --follow").err
    monkeypatch.setitem(sys.modules, "agentlab_wb.work.explore", None)
    assert "pip install 'agentlab_wb[lab]'" in Cell(ip, "%explore s").err


@pytest.mark.parametrize("name", ["compare", "report", "study", "explore"])
def test_help(ip, name):
    cell = Cell(ip, f"%{name} --help")
    assert cell.ok and cell.out.startswith(f"usage: %{name}") and "examples:" in cell.out and cell.out.strip() == ip.magics_manager.magics["line"][name].__doc__.strip()


def test_rates_are_percent_and_other_estimates_are_not(ip):
    html = lambda f: ip.display_formatter.format(f)[0]["text/html"]
    battles = simulate_battles(3, 40, seed=2).study.battles
    assert " % [" in html(success_rate(RUNS)) and " % [" in html(pass_at_k(RUNS)) and " % [" in html(win_rate(battles))
    assert " points [" in html(compare(RUNS)) and " % [" not in html(agentlab_wb.bradley_terry(battles))
    assert " % [" not in html(success_rate(RUNS.with_columns(success=pl.lit(None, pl.Boolean), score=pl.col("success").cast(pl.Float64)), metric="score"))
    assert " % [" not in html(cost_per_success(RUNS.with_columns(cost_usd=pl.lit(2.) + pl.int_range(pl.len()) % 3)))
    row = success_rate(RUNS).row(0, named=True)
    assert f"{100 * row['estimate']:.1f} % [{100 * row['lower']:.1f}, {100 * row['upper']:.1f}]" in html(success_rate(RUNS))


def test_estimate_tables_say_what_they_leave_out(ip):
    many = pl.concat([success_rate(RUNS).with_columns(agent=pl.lit(f"a{i}")) for i in range(40)])
    html = ip.display_formatter.format(many)[0]["text/html"]
    assert "110 of 160 rows are not shown; the frame has them all." in html and html.count("<tr") < 60
    table = magics.estimate_table(success_rate(RUNS))
    shown = {c for f in table.formats for c in f.columns}
    assert all(c in shown or f"{c}" in table.caption or c == "level" for c in success_rate(RUNS).columns)
    wide = success_rate(RUNS).with_columns(pl.lit([1]).alias("list"), *(pl.int_range(pl.len()).alias(f"z{i}") + 7 for i in range(40)))
    table = magics.estimate_table(wide)
    assert len(table.formats) <= magics.MOST_COLUMNS and "z39" in table.caption and "list" in table.caption
    levels = pl.concat([success_rate(RUNS, level=l) for l in (.9, .95)])
    assert "estimate [interval]" in magics.estimate_table(levels).headings() and "level" in magics.estimate_table(levels).headings()


def test_frames_that_are_no_estimates_look_as_before(ip):
    good = success_rate(RUNS)
    for frame in (RUNS, good.drop("upper"), good.with_columns(lower=pl.lit(float("nan"))), good.with_columns(upper=pl.lit(float("inf"))), good.with_columns(estimate=pl.lit("x")), good.head(0), pl.DataFrame()):
        assert ip.display_formatter.format(frame)[0]["text/html"] == frame._repr_html_()
        with pytest.raises(DataError) if frame.height or not frame.width else _no_error():
            magics.estimate_table(frame)
    odd = good.with_columns(lower=None, upper=None, estimate=None)
    assert "–" in ip.display_formatter.format(odd)[0]["text/html"]
    for frame in (good, RUNS):
        assert ip.display_formatter.format(frame)[0]["text/plain"] == repr(frame)


class _no_error:
    def __enter__(self): return self
    def __exit__(self, *_): return False


def test_hostile_estimate_tables(ip, hostile_runs):
    hostile_runs = check("runs", hostile_runs)
    assert harmless(ip.display_formatter.format(success_rate(hostile_runs))[0]["text/html"])
    renamed = success_rate(hostile_runs).rename({"agent": "<img src=x onerror=alert(1)>"}).with_columns(pl.lit("</td><script>1</script>").alias("</th><script>"))
    assert harmless(ip.display_formatter.format(renamed)[0]["text/html"])


def test_unloading_restores_what_was_there(ip):
    magics.unload_ipython_extension(ip)
    line, cell, html = ip.magics_manager.magics["line"], ip.magics_manager.magics["cell"], ip.display_formatter.formatters["text/html"]
    assert "compare" not in line and "compare" not in cell and pl.DataFrame not in html.type_printers and pl.DataFrame not in ip.display_formatter.ipython_display_formatter.type_printers
    ip.register_magic_function(mine := lambda line: "mine", "line", "compare")
    html.for_type(pl.DataFrame, lambda frame: "<i>mine</i>")
    before = line["compare"]
    events = list(ip.events.callbacks["post_run_cell"])
    magics.load_ipython_extension(ip)
    magics.load_ipython_extension(ip)                                     # twice is once
    assert line["compare"] is not before and html(RUNS) == "<i>mine</i>" and "interval" in html(success_rate(RUNS))
    magics.unload_ipython_extension(ip)
    magics.unload_ipython_extension(ip)
    assert line["compare"] is before and html(success_rate(RUNS)) == "<i>mine</i>" and "report" not in line and ip.events.callbacks["post_run_cell"] == events
    assert mine("") == "mine"


def test_load_ext_by_the_name_of_the_package(ip, monkeypatch):
    magics.unload_ipython_extension(ip)
    for name in ("load_ipython_extension", "unload_ipython_extension"):
        monkeypatch.setitem(agentlab_wb._WHERE, name, "work.magics")
    assert Cell(ip, "%load_ext agentlab_wb\n%compare s agent-1 agent-2").ok
    assert Cell(ip, "%reload_ext agentlab_wb\n%compare s agent-1 agent-2").ok
    Cell(ip, "%unload_ext agentlab_wb")
    assert not Cell(ip, "%compare s agent-1 agent-2").ok


def test_loading_takes_neither_the_charts_nor_the_widgets_along():
    code = ("import sys; from IPython.core.interactiveshell import InteractiveShell as S; from agentlab_wb.work.magics import load_ipython_extension as l; l(S())\n"
            "print(sorted({'altair', 'great_tables', 'ipywidgets', 'scipy', 'statsmodels'} & {*sys.modules}))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_study_says_what_it_holds_and_what_is_missing():
    runs = pl.DataFrame({"benchmark": ["b"] * 4, "task": ["t", "u", "t", "v"], "agent": ["x", "x", "y", "y"], "success": [True, None, False, True], "status": ["ok", "error", "ok", "ok"], "cost_usd": [1., 2., 3., 4.]})
    sources = [Source(f"f{i}.csv", 1000, "0", "tidy", 1, {"bad\u202e line": 3} if i == 15 else {}) for i in range(20)]
    study = Study("<b>x</b>", runs=runs, sources=tuple(sources), notes=tuple(f"<i>{i}</i>" for i in range(9)), info={"title": "<u>"})
    bundle = study._repr_mimebundle_()
    html, text = bundle["text/html"], bundle["text/plain"]
    assert missing_facts(study)[:2] == ["1 of 4 attempts have no outcome", "2 of 6 agent × task cells were never tried"]
    for words in ("1 of 4 attempts have no outcome", "2 of 6 agent × task cells", "20 files, 20 kB", "cost 10.00 USD", "3 skipped: bad\\u202e line", "3 more notes"):
        assert words in html and words in text, words
    assert "10 more files" in html and "f15.csv" in html.split("f0.csv")[0] and harmless(html) and "<b>x" not in html and "<u>" not in html and "\u202e" not in html + text
    counts = [t for t in html.split("<td>")[1:]]
    assert any(c.startswith("3</td>") for c in counts) and "error" in html
    assert study._repr_html_() == html and repr(study).startswith("Study '<b>x</b>' (runs: 4 rows") and "\n" not in repr(study)
