"""Pictures of the explorer for README and site, taken in a real JupyterLab on real result files.

    python tests/screenshots.py [NAME …] [--out nbs/images] [--dark | --light]

Real files are not shipped: set AGENTLAB_WB_REAL_DATA. A picture is the widget alone, without JupyterLab around it, as PNG with few colours."""
import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from conftest import REAL, ROOT  # noqa: E402
from lab import CHROMIUM, HERE, Lab, Server, absent  # noqa: E402

OPENHANDS, TAU, SHIPPED = REAL / "openhands_index", REAL / "tau_bench", ROOT / "results" / "studies" / "search_agents"


@dataclass(frozen=True)
class Shot:
    "One picture: which results, which view, and Python that selects something."
    name: str
    path: Path
    view: str
    does: str = ""           # with `e` the explorer
    beside: str = ""
    width: int = 1280
    height: int = 760        # what is below is cut off


SHOTS = (
    Shot("overview", OPENHANDS, "overview"),
    Shot("leaderboard", OPENHANDS, "leaderboard", "e.change(lambda s: pick(s, 'agent', ['claude-opus-4-6', 'GPT-5.4']))", height=900),
    Shot("pairwise", OPENHANDS, "pairwise", "e.change(lambda s: pick(s, 'agent', ['claude-opus-4-6', 'claude-sonnet-4-6']))"),
    Shot("cost", OPENHANDS, "cost"),
    Shot("tasks", OPENHANDS, "tasks", height=860),
    Shot("attempts", OPENHANDS, "attempts", "e.change(lambda s: pick(s, 'agent', ['claude-opus-4-6']))"),
    Shot("linked", OPENHANDS, "tasks", "e.change(lambda s: pick(s, 'agent', ['claude-opus-4-6', 'GPT-5.4', 'Gemini-3-Pro']))", beside="leaderboard", width=1600, height=900),
    Shot("reliability", TAU, "reliability"),
    Shot("plan", OPENHANDS, "plan"),
    Shot("ladder", REAL / "fastchat_vicuna_reviews", "ladder"),
    Shot("contests", SHIPPED, "contests"),
    Shot("agreement", REAL / "popquorn_offensiveness", "agreement"),
    Shot("judges", REAL / "judgebench", "judges"),
)


def take(lab: Lab, shot: Shot, dark: bool, out: Path) -> Path:
    book = lab.open(["from agentlab_wb import explore, load\nfrom agentlab_wb.work.explore import pick", f"e = explore({str(shot.path)!r}, {shot.view!r})\n{shot.does}\n" + (f"e.change(beside={shot.beside!r})\n" if shot.beside else "") + "e"],
                    name=f"{shot.name}.ipynb", dark=dark, size=(shot.width + 140, 1600))
    book.run()
    book.wait("e.main.charts.drawn == e.main.charts.stamp" + (" and e.second.charts.drawn == e.second.charts.stamp" if shot.beside else ""), 120)
    book.wait_for_timeout(600)
    if problem := book.ask("e.problem.value"): print(f"{shot.name}: {problem}", file=sys.stderr)
    widget = book.locator(".wb-explorer").first
    box, path = widget.bounding_box(), out / f"explorer-{shot.name}{'-dark' if dark else ''}.png"
    book.page.screenshot(path=path, clip=dict(x=box["x"] - 8, y=box["y"] - 4, width=min(box["width"] + 8, shot.width), height=min(box["height"] + 8, shot.height)))
    book.page.context.close()
    return path


def shrink(path: Path) -> None:
    "Few colours make a screen a fourth of its size."
    subprocess.run(["pngquant", "--force", "--skip-if-larger", "--output", str(path), "64", str(path)], check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *(s.name for s in SHOTS)])
    parser.add_argument("--out", type=Path, default=ROOT / "nbs" / "images")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    if why := absent(): sys.exit(why)
    from playwright.sync_api import sync_playwright
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        server = Server(Path(folder)).start()
        try:
            browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}"])
            lab = Lab(server, browser, given.out)
            for shot in SHOTS:
                if given.names and shot.name not in given.names: continue
                if not shot.path.exists(): print(f"{shot.name}: {shot.path} is not there", file=sys.stderr); continue
                for dark in ([False] if given.light and not given.dark else [True] if given.dark and not given.light else [False, True]):
                    path = take(lab, shot, dark, given.out)
                    shrink(path)
                    print(path, f"{os.path.getsize(path) / 1000:.0f} kB", flush=True)
            browser.close()
        finally: server.stop()


if __name__ == "__main__":
    main()
