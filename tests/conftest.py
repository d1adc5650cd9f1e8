import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from lab import chromium, lab, lab_server  # noqa: F401  fixtures: JupyterLab in a real browser

settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the same examples each time; HYPOTHESIS_PROFILE=default looks for new ones
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("AGENTLAB_WB_REAL_DATA", ROOT.parent / "shared" / "data"))

HOSTILE = [  # what a stranger may call an agent, a task or a benchmark
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "=cmd|'/c calc'!A1", "a_b & 50%", "$x$", "a|b", "two\nlines",
    "\u202egnp.exe", "\x1b[31mred\x1b[0m", "x" * 10_000, "../../etc/passwd", "c:Q", "a.b", "a[0]", "Name", "name", "{{ 7*7 }}", "`code`",
]


@pytest.fixture
def real():
    "A folder of real result files; the test is skipped where they are absent."
    def find(name: str) -> Path:
        path = REAL / name
        if not path.exists():
            pytest.skip(f"real files are absent: {path} (set AGENTLAB_WB_REAL_DATA)")
        return path
    return find


@pytest.fixture
def hostile_runs() -> pl.DataFrame:
    "Runs whose names are hostile, with unequal success."
    rows = [(f"bench {HOSTILE[i % 3]}", f"task {t} {HOSTILE[t % len(HOSTILE)]}", agent, 0, (t * (i + 3)) % 7 < i % 5 + 1) for i, agent in enumerate(HOSTILE) for t in range(6)]
    return pl.DataFrame(rows, schema=["benchmark", "task", "agent", "attempt", "success"], orient="row")


@pytest.fixture
def hostile_battles() -> pl.DataFrame:
    "Every hostile name meets the next three, and wins some."
    n = len(HOSTILE)
    rows = [(f"item {i}-{d} {HOSTILE[i]}", HOSTILE[i], HOSTILE[(i + d) % n], [1., 0., .5][(i + d) % 3]) for i in range(n) for d in (1, 2, 3)]
    return pl.DataFrame(rows, schema=["item", "agent_a", "agent_b", "outcome"], orient="row")
