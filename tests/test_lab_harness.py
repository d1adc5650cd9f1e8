"What the tests of the explorer stand on: JupyterLab 4 and Notebook 7 started by the test, and what they really do with widgets, twins, trust and themes."
import base64

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BUTTON = """import ipywidgets as w
button, label = w.Button(description='Press me'), w.Label('not yet')
button.on_click(lambda _: setattr(label, 'value', 'pressed'))
w.VBox([button, label])"""

ANYWIDGET = """import anywidget, traitlets
class Probe(anywidget.AnyWidget):
    _esm = '''export default { render({ model, el }) {
        const button = document.createElement('button'), said = document.createElement('output');
        button.textContent = 'Send'; el.append(button, said);
        button.onclick = () => model.send({ kind: 'hello', n: 3 });
        model.on('msg:custom', (m) => { said.textContent = m.answer; });
        model.on('change:count', () => { el.dataset.count = model.get('count'); });
    } }'''
    count = traitlets.Int(0).tag(sync=True)
heard, probe = [], Probe()
def hear(widget, content, buffers):
    heard.append(content); widget.count += content['n']; widget.send({'answer': 'heard ' + content['kind']})
probe.on_msg(hear)
probe"""


@pytest.mark.parametrize("classic", [False, True], ids=["lab", "notebook7"])
def test_a_button_changes_a_label(lab, classic):
    book = lab.open([BUTTON, "1 + 1"], classic=classic)
    book.run()
    assert book.cell_output(1).inner_text().strip().endswith("2")
    book.get_by_role("button", name="Press me").click()
    book.cell_output(0).get_by_text("pressed", exact=True).wait_for()
    assert book.ask("label.value") == "pressed"
    assert not book.errors and not book.requests_outside


@pytest.mark.parametrize("classic", [False, True], ids=["lab", "notebook7"])
def test_an_anywidget_speaks_with_python(lab, classic):
    book = lab.open([ANYWIDGET], classic=classic)
    book.run()
    book.get_by_role("button", name="Send").click()
    book.cell_output(0).get_by_text("heard hello", exact=True).wait_for()
    assert book.ask("heard") == [dict(kind="hello", n=3)] and book.wait("probe.count") == 3
    book.locator("[data-count='3']").wait_for()
    assert not book.errors and not book.requests_outside


@pytest.mark.parametrize("classic", [False, True], ids=["lab", "notebook7"])
def test_dark_is_dark(lab, classic):
    for dark in (True,) if classic else (True, False):
        book = lab.open(["'word'"], dark=dark, classic=classic)
        light, ground, ink = book.evaluate("""[document.body.dataset.jpThemeLight, ...['--jp-layout-color0', '--jp-content-font-color1'].map(name => {
            const probe = document.body.appendChild(document.createElement('i')); probe.style.color = `var(${name})`; return getComputedStyle(probe).color; })]""")
        seen = book.evaluate("getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor")
        assert (light, ground, seen) == (("false", "rgb(17, 17, 17)", "rgb(17, 17, 17)") if dark else ("true", "rgb(255, 255, 255)", "rgb(255, 255, 255)"))
        assert ink.startswith("rgb(255, 255, 255" if dark else "rgba(0, 0, 0")
        assert book.evaluate("document.body.dataset.jpThemeName") == ("JupyterLab Dark" if dark else "JupyterLab Light")


def test_it_fails_where_it_should(lab):
    book = lab.open(["1 / 0", "import IPython.display as d; d.display(d.Javascript('fetch(\"https://example.org/x\").catch(() => 0); console.error(\"a complaint\"); setTimeout(() => { throw new Error(\"a probe\") })'))"])
    with pytest.raises(AssertionError, match="ZeroDivisionError"): book.run()
    book.run(0, check=False)
    book.run(1)
    book.wait_for_timeout(500)
    assert book.requests_outside == ["https://example.org/x"]
    assert all(any(word in e for e in book.errors) for word in ("a probe", "a complaint"))
    with pytest.raises(AssertionError, match="NameError"): book.ask("never_defined")


TWIN = """import asyncio, threading, ipywidgets as w
from IPython.display import HTML, display, update_display
loop, said = asyncio.get_running_loop(), w.Label('')
def twin(word): update_display(HTML(f'<p class="twin">{word}</p>'), display_id='twin')
def button(name, act):
    b = w.Button(description=name); b.on_click(lambda _: act(name)); return b
display(w.HBox([button('comm', twin), button('later', lambda n: asyncio.get_running_loop().call_later(.1, twin, n)),
    button('thread', lambda n: threading.Thread(target=lambda: loop.call_soon_threadsafe(twin, n)).start())]))
display(HTML('<p class="twin">start</p>'), display_id='twin');"""


@pytest.mark.parametrize("classic", [False, True], ids=["lab", "notebook7"])
def test_a_twin_follows_and_is_saved(lab, classic):
    "A second output with a display_id is updated from a comm callback, from the kernel's loop and from a thread, on the page and in the file, and a reader without a kernel sees it."
    book = lab.open([TWIN, "loop.call_later(.1, twin, 'from another cell');"], classic=classic)
    book.run(0)
    for name in ("comm", "later", "thread"):
        book.get_by_role("button", name=name).click()
        book.cell_output(0).locator(".twin", has_text=name).wait_for()
        assert book.save().cells[0].outputs[1].data["text/html"] == f'<p class="twin">{name}</p>'
    book.run(1)
    book.cell_output(0).locator(".twin", has_text="from another cell").wait_for()
    assert not book.errors
    book.restart_and_reopen()
    assert book.cell_output(0).locator(".twin").inner_text() == "from another cell"
    book.cell_output(0).get_by_text("Error displaying widget: model not found", exact=True).wait_for()


SVG = base64.b64encode(b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20"/></svg>').decode()
PAGE = f"""<style>.probe {{ color: rgb(1, 2, 3) }}</style><section class="probe" style="padding-left: 13px"><img alt="a" src="data:image/svg+xml;base64,{SVG}">
<table class="numbers"><tr><td style="text-align: right">1</td></tr></table><details><summary>more</summary><p>inside</p></details></section>"""


def test_what_an_untrusted_reader_keeps(lab):
    "Untrusted: image, table, details, class and style attributes stay, the style element goes. A style element in an HTML widget applies to the whole page."
    book = lab.open([f"from IPython.display import HTML\nHTML({PAGE!r})", "import ipywidgets as w\nw.HTML('<style>.probe { background-color: rgb(4, 5, 6) }</style>')"])
    book.run()
    look = """() => { const s = document.querySelector('section.probe'), style = getComputedStyle(s);
        return [s.querySelector('img').naturalWidth, !!s.querySelector('table.numbers td[style]'), !!s.querySelector('details > summary'), style.paddingLeft, style.color, style.backgroundColor]; }"""
    book.wait_for_function("getComputedStyle(document.querySelector('section.probe')).backgroundColor === 'rgb(4, 5, 6)'")
    assert book.evaluate(look) == [40, True, True, "13px", "rgb(1, 2, 3)", "rgb(4, 5, 6)"]
    book.restart_and_reopen()
    assert book.evaluate(look) == [40, True, True, "13px", "rgb(1, 2, 3)", "rgba(0, 0, 0, 0)"]
    book.restart_and_reopen(trusted=False)
    assert book.evaluate(look) == [40, True, True, "13px", "rgba(0, 0, 0, 0.87)", "rgba(0, 0, 0, 0)"]


def test_files_narrow_windows_and_pictures(lab):
    book = lab.open([BUTTON], size=(1200, 700))
    book.run()
    saved = book.save()
    assert saved.cells[0].execution_count == 1 and "application/vnd.jupyter.widget-view+json" in saved.cells[0].outputs[0].data
    book.narrow(480)
    book.wait_for_function("innerWidth === 480")
    assert book.screenshot("harness-narrow").read_bytes().startswith(b"\x89PNG")
    assert book.screenshot("harness-output", of=book.cell_output(0)).stat().st_size > 500
