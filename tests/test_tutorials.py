"Starter notebooks: one for each data shape, each with its report, kept outputs that are what the code gives, and simulated data called so."
import ast
import contextlib
import io
import re
from pathlib import Path

import nbformat
import polars as pl
import pytest
from conftest import ROOT

from agentlab_wb.tables import TABLES

FOLDER = ROOT / "nbs" / "tutorials"
STARTERS = sorted(FOLDER.glob("start_with_*.ipynb"))
each = pytest.mark.parametrize("path", STARTERS, ids=lambda p: p.stem.removeprefix("start_with_"))


def shape(path: Path) -> str:
    return path.stem.removeprefix("start_with_")


def read(path: Path):
    return nbformat.read(path, as_version=4)


def prose(notebook) -> str:
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def code_cells(notebook):
    "Cells that are run: those with `#| eval: false` keep no outputs."
    return [c for c in notebook.cells if c.cell_type == "code" and not re.search(r"^#\|\s*eval:\s*false", c.source, re.M)]


def hidden(cell) -> bool:
    return re.search(r"^#\|\s*hide\b", cell.source, re.M) is not None


def shows(source: str) -> bool:
    "Does the cell end in a value, or print?"
    tree = ast.parse(source)
    printed = any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print" for n in ast.walk(tree))
    return printed or (isinstance(tree.body[-1], ast.Expr) and not isinstance(tree.body[-1].value, ast.Constant))


def test_every_data_shape_has_its_starter():
    assert {shape(p) for p in STARTERS} == set(TABLES)


@each
def test_form(path):
    notebook = read(path)
    first = notebook.cells[0].source
    assert re.match(rf"# Start with {shape(path)}\n\n> \S.+\n", first), first[:80]
    assert len(notebook.cells) <= 25
    assert f'schema("{shape(path)}")' in first
    headings = re.findall(r"^## (.+)$", prose(notebook), re.M)
    for wanted in ("Your own files", "Look", "The main number", "Is it real?", "The caveat", "The report", "Look around"):
        assert any(h.startswith(wanted) for h in headings), f"{path.name}: no section {wanted!r}; there are {headings}"
    assert headings[-1] == "Look around"
    last = "\n".join(c.source for c in notebook.cells).rsplit("## Look around", 1)[1]
    assert "explore(study)" in last


@each
def test_own_files_are_one_line_away(path):
    sources = [c.source for c in code_cells(read(path))]
    change = [line for s in sources for line in s.splitlines() if "the one line to change" in line]
    assert len(change) == 1 and change[0].startswith("study = ") and 'load("path/to/' in change[0]
    assert sum(bool(re.search(r"load\(mine, columns=\{", s)) for s in sources) == 1


@each
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)", prose(read(path)))
    assert links
    for link in links:
        assert not re.match(r"\w+:", link) and (path.parent / link).is_file(), f"{path.name}: {link}"


@each
def test_the_report_is_there_and_reads_this_shape(path):
    from agentlab_wb.work.report import reports
    text = prose(read(path))
    commands = re.findall(r"^agentlab-wb report (\S+) --report (\S+)((?: -p \S+=\S+)*)$", text, re.M)
    assert len(commands) == 1, commands
    folder, name, parameters = commands[0]
    spec = reports()[name]
    assert shape(path) in spec.uses | set(spec.needs)
    assert f"(../reports/{spec.path.name})" in text
    assert set(re.findall(r"-p (\w+)=", parameters)) <= set(spec.parameters)
    if folder.startswith("results/"):
        assert (ROOT / folder).is_dir() and folder in "".join(c.source for c in code_cells(read(path)))
    else:
        assert f'save_study(study, "{folder}")' in text


@each
def test_no_absolute_paths_and_no_traces_of_a_run(path):
    raw = path.read_text("utf-8")
    assert str(ROOT) not in raw and str(Path.home()) + "/" not in raw
    assert not re.search(r"(?<![\w.:/<])/(?:tmp|home|root|work|Users|var|private)/", raw)
    notebook = read(path)
    assert set(notebook.metadata) == {"kernelspec"}
    for cell in code_cells(notebook):
        assert cell.execution_count is None and not cell.metadata
        for output in cell.outputs:
            assert output.output_type in ("stream", "execute_result", "display_data") and output.get("name", "stdout") == "stdout"
            assert not set(output.get("data", {})) - {"text/plain", "text/html", "image/svg+xml"}


@each
def test_outputs_are_kept_where_a_reader_needs_them(path):
    notebook = read(path)
    for cell in code_cells(notebook):
        if hidden(cell):
            assert not cell.outputs
        elif shows(cell.source):
            assert cell.outputs, f"{path.name}: nothing is kept of\n{cell.source}"
    pictures = [o["data"]["image/svg+xml"] for c in code_cells(notebook) for o in c.outputs if "image/svg+xml" in o.get("data", {})]
    assert len(pictures) >= 1
    for svg in pictures:
        assert len(svg.encode()) < 60_000 and "<title" in svg and "<desc" in svg and "<script" not in svg


@each
def test_simulated_data_are_called_so(path):
    notebook = read(path)
    source = "\n".join(c.source for c in code_cells(notebook))
    if not re.search(r"\bsimulate_\w+\(|scripted_experimenters", source):
        assert "simulated" not in notebook.cells[0].source
        return
    assert re.search(r"\*\*[^*]*simulated[^*]*\*\*", notebook.cells[0].source), "the first cell says it in bold"
    titles = [re.search(r"<title[^>]*>([^<]*)<", o["data"]["image/svg+xml"])[1] for c in code_cells(notebook) for o in c.outputs if "image/svg+xml" in o.get("data", {})]
    assert titles and all("simulated" in t for t in titles), titles


def text_of(outputs) -> str:
    "What a reader sees, without markup."
    return "\n".join((o["text"] if o["output_type"] == "stream" else o["data"]["text/plain"]).strip() for o in outputs)


@pytest.mark.slow
@each
def test_kept_outputs_are_what_the_code_gives(path, monkeypatch):
    "Each notebook again, in this process; its sentences, tables and descriptions of charts must be the kept ones."
    monkeypatch.chdir(path.parent)
    space = {"__name__": "__main__"}
    with pl.Config():
        for cell in code_cells(read(path)):
            tree, said = ast.parse(cell.source), io.StringIO()
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and not cell.source.rstrip().endswith(";") else None
            with contextlib.redirect_stdout(said):
                exec(compile(tree, path.name, "exec"), space)
                value = eval(compile(ast.Expression(last.value), path.name, "eval"), space) if last else None
            now = [said.getvalue().strip(), *([repr(value)] if value is not None else [])]
            kept = text_of(cell.outputs)
            assert "\n".join(t.strip() for t in now if t) == kept, f"{path.name}: run it again and keep the outputs of\n{cell.source}"
