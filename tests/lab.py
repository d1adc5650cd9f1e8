"""A real JupyterLab 4 and Notebook 7 driven by Debian's Chromium: the fixtures `lab_server`, `chromium` and `lab` (conftest.py offers them to every test file).

Three scopes, each for a reason: the server is a subprocess and lives as long as the pytest process (under xdist each worker that meets a lab test starts its own, about three seconds);
playwright keeps an asyncio loop running in the main thread, which would break every other test that calls `asyncio.run`, so it lives as long as one test file; a `lab` lives as long as one test.
Nothing is installed or downloaded; what is absent is named in the reason of the skip."""
from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import nbformat
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HERE = "127.0.0.1"
PATIENCE = 120  # seconds until something that never came counts as lost: a busy machine is no failure
NOISE = (  # what Notebook 7.6 itself complains about whenever it opens a notebook, also with no settings: a plug-in without a schema, a font that it may not fetch, a command of the file browser it does not have
    r"^page: Cannot read properties of undefined \(reading 'schema'\) at http://127\.0\.0\.1:\d+/static/notebook/",
    r"^console: Failed to load resource: .* 403 \(Forbidden\) \(http://127\.0\.0\.1:\d+/static/notebook/[^ ]*\.woff2\)$",
    r"^page: Command 'filebrowser:open-path' not registered\. at .*http://127\.0\.0\.1:\d+/static/notebook/",
)
SETTINGS = {  # news, update checks and dialogs off; every cell in the page, also the ones out of sight
    "@jupyterlab/apputils-extension:notification": dict(fetchNews="false", checkForUpdates=False, doNotDisturbMode=True),
    "@jupyterlab/notebook-extension:tracker": dict(windowingMode="none"),
    "@jupyterlab/docmanager-extension:plugin": dict(autosave=False, renameUntitledFileOnSave=False),
}
PANEL = """const panel = [...jupyterapp.shell.widgets('main')].find(w => w.context && w.context.path === path);"""


class Server:
    "A Jupyter server of our own in a folder of its own: port, token, kernels, settings, workspaces and signatures touch nobody's."

    def __init__(self, folder: Path):
        self.folder, self.token, self.log = folder, secrets.token_hex(16), folder / "server.log"
        self.root, self.settings, self.runtime = folder / "root", folder / "settings", folder / "runtime"
        for name in ("root", "settings", "runtime", "config", "data", "workspaces", "ipython"): (folder / name).mkdir()
        spec = folder / "data" / "kernels" / "python3"
        spec.mkdir(parents=True)
        (spec / "kernel.json").write_text(json.dumps(dict(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], display_name="Python 3", language="python")))
        self.process = None

    def start(self) -> Server:
        with socket.socket() as probe:
            probe.bind((HERE, 0))
            port = probe.getsockname()[1]  # should another take it first, the server tries others; the one it got stands in its runtime file
        options = dict(ServerApp=dict(ip=HERE, port=port, port_retries=50, open_browser=False, root_dir=self.root, allow_root=True, terminals_enabled=False),
                       IdentityProvider=dict(token=self.token), LabApp=dict(expose_app_in_browser=True, extension_manager="readonly", check_for_updates_class="jupyterlab.NeverCheckForUpdate"),
                       JupyterNotebookApp=dict(expose_app_in_browser=True))
        env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_"))} | dict(
            JUPYTER_CONFIG_DIR=str(self.folder / "config"), JUPYTER_DATA_DIR=str(self.folder / "data"), JUPYTER_PATH=str(self.folder / "data"), JUPYTER_RUNTIME_DIR=str(self.runtime),
            JUPYTERLAB_SETTINGS_DIR=str(self.settings), JUPYTERLAB_WORKSPACES_DIR=str(self.folder / "workspaces"), IPYTHONDIR=str(self.folder / "ipython"), JUPYTER_PLATFORM_DIRS="1", NO_PROXY="*")
        with self.log.open("w") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "jupyterlab", *(f"--{part}.{name}={value}" for part, given in options.items() for name, value in given.items())],
                                            cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError, ValueError, KeyError):
                self.port = json.loads((self.runtime / f"jpserver-{self.process.pid}.json").read_text())["port"]
                self.ask("status")
                return self
            time.sleep(.1)
        self.stop()
        raise RuntimeError(f"JupyterLab did not start (exit {self.process.returncode}):\n{self.log.read_text()[-5000:]}")

    @property
    def url(self) -> str: return f"http://{HERE}:{self.port}"

    def ask(self, path: str, method: str = "GET"):
        "The server's REST interface."
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method, headers=dict(Authorization=f"token {self.token}"))
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def shut_kernels(self, path: str | None = None) -> None:
        "End the kernel of one notebook, or all."
        for session in self.ask("sessions"):
            if path in (None, session["path"]): self.ask(f"sessions/{session['id']}", "DELETE")
        for kernel in self.ask("kernels") if path is None else (): self.ask(f"kernels/{kernel['id']}", "DELETE")

    def set(self, settings: dict[str, dict]) -> None:
        "What the settings editor would have saved; the next page that opens reads it."
        shutil.rmtree(self.settings)
        for plugin, values in settings.items():
            folder, name = plugin.split(":")
            (self.settings / folder).mkdir(parents=True, exist_ok=True)
            (self.settings / folder / f"{name}.jupyterlab-settings").write_text(json.dumps(values))

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None: return
        with suppress(OSError, ValueError, AttributeError): self.shut_kernels()
        self.process.terminate()
        try: self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Book:
    "A notebook open in a browser. What is not here is asked of playwright's page: `book.get_by_role(...)`, `book.locator(...)`."

    def __init__(self, lab: Lab, path: str, classic: bool, size: tuple[int, int], settings: dict[str, dict]):
        self.lab, self.path, self.classic, self.size, self.settings = lab, path, classic, size, settings
        self.complaints, self.requests_outside = [], []
        self._load()

    def __getattr__(self, name: str): return getattr(self.__dict__["page"], name)

    def _load(self) -> None:
        server = self.lab.server
        server.set(SETTINGS | self.settings)
        window = self.lab.chromium.new_context(viewport=dict(width=self.size[0], height=self.size[1]), accept_downloads=True)
        window.set_default_timeout(30_000)
        self.lab.windows.append(window)
        window.on("request", lambda request: self._seen(request.url))
        self.page = window.new_page()
        self.page.on("websocket", lambda socket: self._seen(socket.url))
        self.page.on("console", lambda message: self.complaints.append(f"console: {message.text} ({message.location.get('url', '')})") if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page: {error.message} {''.join((error.stack or '').splitlines()[1:2]).strip()}"))
        place = f"notebooks/{quote(self.path)}" if self.classic else f"lab/workspaces/{secrets.token_hex(4)}/tree/{quote(self.path)}"
        self.page.goto(f"{server.url}/{place}?token={server.token}", wait_until="commit")
        self.page.wait_for_function("path => window.jupyterapp && [...jupyterapp.shell.widgets('main')].some(w => w.context && w.context.path === path && w.context.isReady)", arg=self.path, timeout=PATIENCE * 1000)
        self._do("""await panel.revealed; await panel.sessionContext.ready; const kernel = panel.sessionContext.session.kernel; await kernel.info;
            while (kernel.status !== 'idle') await new Promise(r => setTimeout(r, 20)); if (jupyterapp.shell.activateById) jupyterapp.shell.activateById(panel.id);""")
        if not self.classic: self._do("if (!jupyterapp.shell.leftCollapsed) jupyterapp.shell.collapseLeft(); if (!jupyterapp.shell.rightCollapsed) jupyterapp.shell.collapseRight();")

    def _seen(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != HERE: self.requests_outside.append(url)

    def _do(self, script: str, arg=None):
        "JavaScript with `panel`, the notebook's panel, at hand."
        return self.page.evaluate("async ({path, arg}) => {" + PANEL + script + "}", dict(path=self.path, arg=arg))

    @property
    def errors(self) -> list[str]:
        "What the console and the page complained about, without JupyterLab's own noise."
        return [c for c in self.complaints if not any(re.search(noise, c) for noise in NOISE)]

    def run(self, cell: int | None = None, check: bool = True) -> None:
        "Run all cells, or one, and wait until the kernel has answered. A cell that raises is an error of the test unless `check=False`."
        self._do("""const book = panel.content; jupyterapp.shell.activateById && jupyterapp.shell.activateById(panel.id);
            if (arg !== null) { book.deselectAll(); book.activeCellIndex = arg; }
            await jupyterapp.commands.execute(arg === null ? 'notebook:run-all-cells' : 'notebook:run-cell');
            const kernel = panel.sessionContext.session.kernel; await kernel.requestKernelInfo();""", cell)
        cells = self.outputs()
        chosen = cells if cell is None else [cells[cell]]
        raised = ["\n".join(o["traceback"]) for c in chosen for o in c["outputs"] if o["output_type"] == "error"]
        if check and raised: raise AssertionError("a cell raised:\n" + re.sub(r"\x1b\[[0-9;]*m", "", raised[0]))
        if check and not all(c["count"] for c in chosen): raise AssertionError(f"cells did not run: {[c['count'] for c in cells]}")

    def outputs(self) -> list[dict]:
        "Of each code cell what the page's model holds: its execution count and outputs."
        return self._do("return panel.content.model.sharedModel.cells.filter(c => c.cell_type === 'code').map(c => ({count: c.execution_count, outputs: c.toJSON().outputs}));")

    def cell_output(self, i: int):
        "The output area of the i-th cell, as a locator."
        return self.page.locator(".jp-Notebook .jp-Cell").nth(i).locator(".jp-Cell-outputArea")

    def ask(self, expression: str):
        "The value of a Python expression in the notebook's kernel, through JSON."
        reply = self._do("""const future = panel.sessionContext.session.kernel.requestExecute({code: '', silent: false, store_history: false, user_expressions: {v: arg}});
            return (await future.done).content;""", f"__import__('json').dumps({expression}, default=str)")
        value = reply.get("user_expressions", {}).get("v", reply)
        if value.get("status") != "ok": raise AssertionError(f"{expression}: {value.get('ename')}: {value.get('evalue')}")
        return json.loads(ast.literal_eval(value["data"]["text/plain"]))

    def wait(self, expression: str, seconds: float = 30):
        "Ask the kernel until the expression is true; give its value back."
        deadline = time.monotonic() + seconds
        while not (value := self.ask(expression)):
            if time.monotonic() > deadline: raise AssertionError(f"not true within {seconds} s: {expression}")
            self.page.wait_for_timeout(50)
        return value

    def save(self) -> dict:
        "Save the notebook; what stands on disk."
        self._do("await panel.context.save();")
        return self.on_disk()

    @property
    def file(self) -> Path: return self.lab.server.root / self.path

    def on_disk(self) -> dict: return nbformat.read(self.file, as_version=4)

    def restart_and_reopen(self, trusted: bool = True) -> Book:
        "Save, close, shut the kernel down, open again in a fresh window: what a reader of the saved notebook meets. `trusted=False` changes the file so that its signature no longer fits."
        self.save()
        self.page.context.close()
        self.lab.server.shut_kernels(self.path)
        if not trusted:
            book = self.on_disk()
            book.cells.append(nbformat.v4.new_markdown_cell("A stranger was here."))
            nbformat.write(book, self.file)
        self._load()
        return self

    def narrow(self, width: int = 480) -> None: self.page.set_viewport_size(dict(width=width, height=self.size[1]))

    def screenshot(self, name: str, of=None) -> Path:
        "A PNG among the artefacts, of the page or of a locator."
        path = self.lab.artefacts / f"{name}.png"
        (of or self.page).screenshot(path=path)
        return path


class Lab:
    "Opens notebooks in JupyterLab, or in Notebook 7 (`classic=True`)."

    def __init__(self, server: Server, chromium, artefacts: Path): self.server, self.chromium, self.artefacts, self.windows, self.books = server, chromium, artefacts, [], []

    def open(self, cells: list[str], name: str = "x.ipynb", *, classic: bool = False, dark: bool = False, size: tuple[int, int] = (1400, 900), settings: dict[str, dict] | None = None) -> Book:
        "Write code cells to a notebook and open it; the kernel is ready and nothing has run. `settings` are JupyterLab's, by plug-in."
        for book in self.books:
            if book.path == name: book.page.context.close()
        self.server.shut_kernels(name)  # a kernel still bound to this path would be used again
        (self.server.root / name).parent.mkdir(parents=True, exist_ok=True)
        kernel = dict(name="python3", display_name="Python 3", language="python")
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells], metadata=dict(kernelspec=kernel)), self.server.root / name)
        theme = {"@jupyterlab/apputils-extension:themes": dict(theme="JupyterLab Dark" if dark else "JupyterLab Light")}
        self.books.append(Book(self, name, classic, size, theme | (settings or {})))
        return self.books[-1]

    def close(self, failed: bool, name: str) -> None:
        for i, book in enumerate(self.books):
            if book.complaints or book.requests_outside: print(f"{book.path}: complaints {book.complaints}, requests outside {book.requests_outside}")
            if failed and not book.page.is_closed(): print("screenshot:", book.screenshot(f"failed-{name}-{i}"))
        for window in self.windows:
            with suppress(Exception): window.close()
        self.server.shut_kernels()


def absent() -> str | None:
    "Why tests with a browser cannot run here."
    if CHROMIUM is None: return "chromium is not installed (apt-get install chromium)"
    missing = [m for m in ("playwright", "jupyterlab", "notebook", "ipykernel", "ipywidgets", "anywidget") if importlib.util.find_spec(m) is None]
    return f"not installed: {', '.join(missing)} (pip install 'agentlab_wb[dev]')" if missing else None


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory):
    "One Jupyter server for this pytest process."
    if why := absent(): pytest.skip(why)
    server = Server(tmp_path_factory.mktemp("lab")).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def chromium():
    "Debian's Chromium for which no name but this machine's resolves."
    if why := absent(): pytest.skip(why)
    from playwright.sync_api import sync_playwright
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}"])
        yield browser
        browser.close()


@pytest.fixture
def lab(lab_server, chromium, tmp_path, request):
    "Opens notebooks; closes them, and shows the server's log and a screenshot of a test that failed."
    before, start = request.session.testsfailed, lab_server.log.stat().st_size
    artefacts = Path(os.environ.get("AGENTLAB_WB_ARTEFACTS") or tmp_path / "artefacts")
    artefacts.mkdir(parents=True, exist_ok=True)
    opened = Lab(lab_server, chromium, artefacts)
    yield opened
    opened.close(request.session.testsfailed > before, re.sub(r"\W+", "-", request.node.name))
    print(lab_server.log.read_text(errors="replace")[start:][-5000:])  # pytest shows it for a test that failed
