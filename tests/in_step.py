"""Are notebooks, library and README in step?

Without arguments: export, clean and write README, and fail if that changed any file. With --write: just do it.
nbdev_clean exits 0 even on a notebook that does not parse, so every notebook is read here first.
"""
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def notebooks() -> list[Path]:
    return sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def snapshot() -> dict[str, str]:
    "Hashes of everything that is made from the notebooks, and of the notebooks."
    files = [*notebooks(), *(ROOT / "agentlab_wb").rglob("*.py"), *(ROOT / "nbs" / "index_files").glob("*"), ROOT / "README.md", ROOT / "pyproject.toml"]
    return {p.relative_to(ROOT).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.is_file()}


def unreadable() -> list[str]:
    "Notebooks that do not parse or are no valid notebooks."
    found = []
    for path in notebooks():
        try:
            nbformat.validate(nbformat.read(path, as_version=4))
        except Exception as error:  # any reason makes it unreadable; the reason is printed
            found.append(f"{path.relative_to(ROOT)}: {str(error).splitlines()[0]}")
    return found


def _output(output, number: int) -> list[str]:
    "One output as Markdown; pictures are kept beside the notebook."
    if output.output_type == "stream":
        return ["```text", output.text.rstrip(), "```"]
    data = output.get("data", {})
    if "image/svg+xml" in data:
        svg = "".join(data["image/svg+xml"])
        name = f"nbs/index_files/figure-{number}.svg"
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(svg, "utf-8")
        title = re.search(r"<title[^>]*>([^<]*)</title>", svg)
        return [f"![{title.group(1) if title else 'figure'}]({name})"]
    return ["```text", "".join(data["text/plain"]).rstrip(), "```"] if "text/plain" in data else []


def _from_root(prose: str) -> str:
    "Links and pictures of the notebook are relative to nbs/, those of README to the project."
    here = lambda m: m[1] + os.path.normpath("nbs/" + m[2])
    return re.sub(r"""(\]\(|src="|srcset=")(?![a-z]+:|#|/)([^)"\s]+)""", here, prose)


def readme() -> str:
    "README.md from nbs/index.ipynb: prose with its links, visible code, kept outputs."
    parts, figures = [], 0
    for cell in nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(_from_root(cell.source))
            continue
        if re.search(r"^#\|\s*hide\b", cell.source, re.M):
            continue
        parts.append("```python\n" + re.sub(r"^#\|.*\n", "", cell.source, flags=re.M).strip() + "\n```")
        for output in cell.outputs:
            figures += "image/svg+xml" in output.get("data", {})
            if text := _output(output, figures):
                parts.append("\n".join(text))
    return "<!-- Made from nbs/index.ipynb by `make prepare`. Edit there. -->\n\n" + "\n\n".join(parts) + "\n"


def write() -> None:
    for command in (["nbdev_export"], ["nbdev_clean"]):
        subprocess.run([BIN / command[0]], cwd=ROOT, check=True)
    (ROOT / "README.md").write_text(readme(), "utf-8")


def main() -> int:
    bad = unreadable()
    for line in bad:
        print(f"not a notebook: {line}")
    if bad:
        return 1
    before = snapshot()
    write()
    after = snapshot()
    changed = sorted(p for p in {*before, *after} if before.get(p) != after.get(p))
    if "--write" in sys.argv or not changed:
        print(f"in step: {len(after)} files" + (f", {len(changed)} written" if changed else ""))
        return 0
    print("out of step (run `make prepare` and commit):\n  " + "\n  ".join(changed))
    return 1


if __name__ == "__main__":
    sys.exit(main())
