"`agentlab-wb lab`: the notebook it writes, the command it runs, and a real server."
import ast
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import HOSTILE

import agentlab_wb
from agentlab_wb.tables import DataError, Study
from agentlab_wb.work import lab
from agentlab_wb.work.cli import main

GOOD = "task,agent,score\nt1,a,1\nt1,b,0\nt2,a,1\nt2,b,1\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    "An empty current folder, with results beside it, and Jupyter replaced by a list of commands."
    pytest.importorskip("jupyterlab"), pytest.importorskip("anywidget")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "runs.csv").write_text(GOOD)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    commands = []
    monkeypatch.setattr(lab, "run_jupyter", lambda command: commands.append(command) or 0)
    return work, commands


def sources(path):
    return ["".join(c["source"]) for c in json.loads(Path(path).read_text())["cells"]]


def test_it_writes_a_notebook_and_starts_jupyterlab_on_it(here, capsys):
    nbformat = pytest.importorskip("nbformat")
    work, commands = here
    assert main(["lab", "../in/runs.csv", "--port", "8899", "--no-browser"]) == 0
    assert commands == [[sys.executable, "-m", "jupyterlab", "agentlab_wb-runs.ipynb", "--port=8899", "--no-browser", *(["--allow-root"] if os.geteuid() == 0 else [])]]
    nbformat.validate(nbformat.read("agentlab_wb-runs.ipynb", as_version=4))
    assert sources("agentlab_wb-runs.ipynb")[1:] == ["from agentlab_wb import explore, load", "path = '../in/runs.csv'\nstudy = load(path)\nstudy", "explorer = explore(study, path=path)\nexplorer"]
    assert "runs holds runs: 4 rows, 2 agents, 2 items." in capsys.readouterr().out


def test_nothing_is_written_over(here):
    work, _ = here
    (work / "agentlab_wb-runs.ipynb").write_text("mine")
    (work / "agentlab_wb-runs-3.ipynb").mkdir()
    for name in ("agentlab_wb-runs-2.ipynb", "agentlab_wb-runs-4.ipynb"):
        assert main(["lab", "../in/runs.csv"]) == 0 and (work / name).is_file()
    assert (work / "agentlab_wb-runs.ipynb").read_text() == "mine"


def test_the_notebook_does_what_it_says(here, monkeypatch):
    seen = []
    monkeypatch.setattr(agentlab_wb, "explore", lambda *a, **k: seen.append((a, k)), raising=False)
    main(["lab", "../in", "--format", "tidy", "-o", "score_range=[0, 2]"])
    names = {}
    for source in sources("agentlab_wb-in.ipynb")[1:]:
        exec(source, names)
    assert isinstance(seen[0][0][0], Study) and seen[0][0][0].runs["score_max"][0] == 2 and seen[0][1] == {}
    main(["lab", "../in", "--follow"])
    for source in sources("agentlab_wb-in-2.ipynb")[1:]:
        exec(source, names)
    assert seen[1] == (("../in",), dict(follow=True))


def test_without_a_path_there_is_a_place_for_one(here, capsys):
    assert main(["lab"]) == 0
    cells = sources("agentlab_wb-start.ipynb")
    assert "Write the path" in cells[0] and ast.literal_eval(ast.parse(cells[2]).body[0].value) == "path/to/results"
    assert "write it into the notebook" in capsys.readouterr().out


@pytest.mark.parametrize("argv, message", [
    (["lab", "nowhere"], "there is no such file or folder"), (["lab", "../in", "--follow", "--format", "tidy"], "does not take format"), (["lab", "--follow"], "need a path"),
    (["lab", "../in", "--port", "0"], "--port is 0"), (["lab", "../in", "--port", "70000"], "--port is 70000"), (["lab", "../in", "-o", "speed=1"], "no option 'speed'"), (["lab", "../in", "-o", "x"], "name=value"),
])
def test_bad_input_is_one_error_and_nothing_is_written(here, capsys, argv, message):
    work, commands = here
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert message in err and err.startswith("error: ") and err.count("\n") == 1 and not out and not list(work.iterdir()) and not commands


@pytest.mark.parametrize("module, argv, remedy", [("jupyterlab", [], "pip install 'agentlab_wb[lab]'"), ("ipywidgets", [], "pip install 'agentlab_wb[lab]'"), ("notebook", ["--classic"], "pip install notebook")])
def test_what_is_not_installed_is_named(here, capsys, monkeypatch, module, argv, remedy):
    find = lab.importlib.util.find_spec
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None if name == module else find(name))
    assert main(["lab", "../in", *argv]) == 2
    err = capsys.readouterr().err
    assert module in err and remedy in err and not list(here[0].iterdir())


def test_classic_is_notebook_7(here):
    pytest.importorskip("notebook")
    assert main(["lab", "../in", "--classic"]) == 0 and here[1][0][1:3] == ["-m", "notebook"]


def test_the_exit_code_is_that_of_jupyter(here, monkeypatch):
    monkeypatch.setattr(lab, "run_jupyter", lambda command: 5)
    assert main(["lab", "../in"]) == 5


@pytest.mark.parametrize("name", [n for n in HOSTILE if "/" not in n and len(n) < 200] + ["it's", '"""', "'''", "\\", "x' + open('made', 'w').name + '", "-rf", "\udc80"])
def test_a_hostile_path_stays_text(here, monkeypatch, name):
    work, commands = here
    try:
        Path("../in", name).mkdir()
    except OSError:
        pytest.skip("this file system has no such name")
    (Path("../in", name) / "runs.csv").write_text(GOOD)
    path = f"../in/{name}"
    assert main(["lab", path]) == 0
    (made,) = work.iterdir()
    assert commands[0][3] == made.name and made.name.startswith("agentlab_wb-")
    seen, names = [], {}
    monkeypatch.setattr(agentlab_wb, "explore", lambda study, path: seen.append(study) if path == names["path"] else None)
    for source in sources(made)[1:]:
        exec(source, names)
    assert seen[0].runs.height == 4 and len(list(work.iterdir())) == 1
    title = sources(made)[0].split("\n\n")[0]
    assert title.startswith("# ") and "<" not in title and "\x1b" not in title and "\u202e" not in title and "\n" not in title


def test_a_study_of_any_name_gets_a_notebook_in_this_folder(tmp_path):
    for i, name in enumerate(HOSTILE):
        assert lab.write_start(lab.start_cells("p", name), name, tmp_path).parent == tmp_path and len(list(tmp_path.iterdir())) == i + 1
    with pytest.raises(DataError, match="can't be written"):
        lab.write_start([], "x", tmp_path / "not there")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answer(port, path):
    "What the server says, or nothing while it isn't there."
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}?token=secret", timeout=5) as reply:
            return reply.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


@pytest.mark.slow
def test_a_real_server_comes_up_and_is_ended(tmp_path):
    pytest.importorskip("jupyterlab"), pytest.importorskip("anywidget")
    (tmp_path / "runs.csv").write_text(GOOD)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "jupyter_server_config.json").write_text('{"ServerApp": {"allow_root": true}}')
    port = free_port()
    env = os.environ | dict(JUPYTER_CONFIG_DIR=str(tmp_path / "config"), JUPYTER_RUNTIME_DIR=str(tmp_path / "runtime"), JUPYTER_DATA_DIR=str(tmp_path / "data"), JUPYTER_TOKEN="secret", JUPYTERLAB_SETTINGS_DIR=str(tmp_path / "settings"), JUPYTERLAB_WORKSPACES_DIR=str(tmp_path / "workspaces"))
    command = [sys.executable, "-c", "import sys; from agentlab_wb.work.cli import main; sys.exit(main())", "lab", "runs.csv", "--no-browser", "--port", str(port)]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 120
            while (found := answer(port, "api/contents/agentlab_wb-runs.ipynb")) is None:
                assert server.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(.3)
            assert "path = 'runs.csv'" in "".join("".join(c["source"]) for c in json.loads(found)["content"]["cells"])
            assert b"jupyter-config-data" in answer(port, "lab/tree/agentlab_wb-runs.ipynb")
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 130
            assert answer(port, "api") is None
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
    assert "runs holds runs: 4 rows" in (tmp_path / "log").read_text()
