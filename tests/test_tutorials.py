"Starter notebooks: one for each data shape, each with its report and the explorer, kept outputs that are what the code gives, and simulated data called so. The tour of the explorer: the same for its links and outputs."
import ast
import contextlib
import io
import re
from pathlib import Path

import nbformat
import polars as pl
import pytest
from conftest import ROOT
from screenshots import SHOTS

from agentlab_wb.tables import TABLES, Study
from agentlab_wb.work.explore import Explorer
from agentlab_wb.work.views import all_views

FOLDER = ROOT / "nbs" / "tutorials"
STARTERS = sorted(FOLDER.glob("start_with_*.ipynb"))
TOUR = FOLDER / "look_around.ipynb"
each = pytest.mark.parametrize("path", STARTERS, ids=lambda p: p.stem.removeprefix("start_with_"))
with_tour = pytest.mark.parametrize("path", [*STARTERS, TOUR], ids=lambda p: p.stem.removeprefix("start_with_"))


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


def copies(notebook) -> list[str]:
    "Kept static copies of explorers."
    return ["".join(o["data"]["text/html"]) for c in code_cells(notebook) for o in c.outputs if "wb-copies" in o.get("data", {}).get("text/html", "")]


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
    assert len(notebook.cells) <= 26
    assert f'schema("{shape(path)}")' in first
    headings = re.findall(r"^## (.+)$", prose(notebook), re.M)
    for wanted in ("Your own files", "Look", "The main number", "Is it real?", "The caveat", "The report", "Look around"):
        assert any(h.startswith(wanted) for h in headings), f"{path.name}: no section {wanted!r}; there are {headings}"
    assert headings[-1] == "Look around"
    assert "## Look around" in notebook.cells[-2].source and re.search(r"explore\(study, \"(\w+)\"\)", notebook.cells[-1].source)[1] in all_views()


@each
def test_own_files_are_one_line_away(path):
    sources = [c.source for c in code_cells(read(path))]
    change = [line for s in sources for line in s.splitlines() if "the one line to change" in line]
    assert len(change) == 1 and change[0].startswith("study = ") and 'load("path/to/' in change[0]
    assert sum(bool(re.search(r"load\(mine, columns=\{", s)) for s in sources) == 1


@with_tour
def test_every_link_leads_somewhere(path):
    links = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)", prose(read(path)))
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


@with_tour
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


@with_tour
def test_the_explorer_leaves_its_static_copy_and_nothing_else(path):
    notebook, raw = read(path), path.read_text("utf-8")
    kept = copies(notebook)
    assert len(kept) == 1 if path != TOUR else 3 <= len(kept) <= 4
    for page in kept:
        assert "<img alt=" in page and "<table" in page and not re.search(r"<script|\son\w+=|javascript:", page, re.I)
        assert not re.search(r"wb-copy-[0-9a-f]", page), "the name of one session's widget, which hides the copy"
    assert "widget" not in notebook.metadata and "application/vnd.jupyter" not in raw and len(raw.encode()) <= 200_000


def test_the_tour_shows_pictures_that_are_taken():
    "Each picture is one that tests/screenshots.py takes; each view that has one is in the gallery or named."
    text = prose(read(TOUR))
    pictures = re.findall(r"!\[([^\]]+)\]\(\.\./images/explorer-([\w-]+)\.png\)", text)
    assert len(pictures) == text.count("![") and all(len(alt) > 20 for alt, _ in pictures)
    assert {name.removesuffix("-dark") for _, name in pictures} == {s.name for s in SHOTS}
    if (images := ROOT / "nbs" / "images").is_dir(): assert not [name for _, name in pictures if not (images / f"explorer-{name}.png").is_file()]
    for view in all_views().values(): assert f"**{view.title}**" in text, view.title


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


def plain(value) -> str:
    "What a cell shows of its value where only text can be shown."
    if isinstance(value, Explorer): return value.static()["text/plain"].strip()
    return value._repr_mimebundle_()["text/plain"].strip() if isinstance(value, Study) else repr(value)


@pytest.mark.slow
@with_tour
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
            now = [said.getvalue().strip(), *([plain(value)] if value is not None else [])]
            kept = text_of(cell.outputs)
            assert "\n".join(t.strip() for t in now if t) == kept, f"{path.name}: run it again and keep the outputs of\n{cell.source}"
