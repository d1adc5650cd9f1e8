"""Seconds of comparing all pairs of 100 agents, beside scipy, statsmodels, scikit-posthocs and numpy pair by pair.

    OPENBLAS_NUM_THREADS=1 python benchmarks/inference.py --rounds 5 --peers /path/to/python [WORK ...]

`--peers` is the python of an environment with scipy, statsmodels, scikit-posthocs and pandas; ours run in the python that runs this. Every call has a
process of its own, players take turns (A B C A B C), ratios are taken round by round against our public call. Imports and a tenth of the work come
before the clock. `~`: extrapolated from the pairs that were done. Results must agree, or it stops. The data are simulated: 2,294 tasks × 100 agents,
solved or not, or a score of full precision.
"""
from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _run import in_turn, options, table

TASKS, AGENTS, REPLICATES = 2294, 100, 10_000
PAIRS = np.triu_indices(AGENTS, 1)


def make(folder: Path) -> None:
    rng = np.random.default_rng(20)
    p = 1 / (1 + np.exp(rng.normal(0, 1.5, TASKS)[:, None] - rng.normal(0, .6, AGENTS)))
    for name, Y in (("binary", (rng.random(p.shape) < p).astype(float)), ("graded", np.clip(p + rng.normal(0, .2, p.shape), 0, 1))):
        np.save(folder / f"{name}.npy", Y)
        np.save(folder / f"{name}-shown.npy", shown(Y))


def shown(Y: np.ndarray) -> np.ndarray:
    "15 pairs with differences from none to plain, whose results everyone reports; scipy does the first 3."
    z = np.abs(Y.mean(axis=0)[PAIRS[0]] - Y.mean(axis=0)[PAIRS[1]]) / (Y[:, PAIRS[0]] - Y[:, PAIRS[1]]).std(axis=0) * len(Y) ** .5
    return np.array([int(np.abs(z - want).argmin()) for want in (.7, 1.2, 1.9, *np.linspace(.3, 2.6, 12))])


def runs(Y: np.ndarray):
    "The same as a runs table."
    import polars as pl

    from agentlab_wb.tables import check
    frame = pl.DataFrame(dict(benchmark="simulated", agent=np.tile([f"agent-{a:03}" for a in range(Y.shape[1])], len(Y)), task=np.repeat([f"task-{t:04}" for t in range(len(Y))], Y.shape[1]), attempt=1))
    return check("runs", frame.with_columns(success=pl.Series(Y.ravel() > 0)) if set(np.unique(Y)) <= {0, 1} else frame.with_columns(score=pl.Series(Y.ravel())))


# ours

def ours_compare(Y, columns=("p",), **options):
    from agentlab_wb import compare
    frame = runs(Y)
    def run(): return compare(frame, **options).select(columns).to_numpy()
    return run


def ours_pairwise(Y):
    from agentlab_wb import pairwise_differences
    frame = runs(Y)
    return lambda: pairwise_differences(frame).select("p").to_numpy()


def ours_sign_flip(Y):
    from agentlab_wb.infer.resample import sign_flip
    return lambda: sign_flip(Y, PAIRS if Y.shape[1] == AGENTS else np.triu_indices(Y.shape[1], 1), replicates=REPLICATES)[0][:, None]


def ours_bootstrap(Y):
    from agentlab_wb.infer.resample import bootstrap_differences
    return lambda: np.column_stack(bootstrap_differences(Y, np.ones(len(Y)), np.triu_indices(Y.shape[1], 1), replicates=REPLICATES)[:2])


def ours_mcnemar(Y):
    from agentlab_wb.infer.compare import mcnemar_exact
    def run():
        i, j = np.triu_indices(Y.shape[1], 1)
        both = Y.T @ Y
        only = both.diagonal()[:, None] - both
        return mcnemar_exact(only[i, j], only[j, i])[:, None]
    return run


def ours_ranks(Y):
    from agentlab_wb.infer.many import rank_agents
    frame = runs(Y)
    def run():
        found = rank_agents(frame, ties=False)
        return np.r_[found.pairs["p"].to_numpy(), found.test["p"][0]][:, None]
    return run


# peers: they get the pairs to do

def scipy_permutation(Y, pairs):
    from scipy import stats
    def run():
        return np.array([[stats.permutation_test((Y[:, i] - Y[:, j],), lambda d, axis=-1: d.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=REPLICATES, rng=np.random.default_rng(k)).pvalue] for k, (i, j) in enumerate(pairs)])
    return run


def numpy_permutation(Y, pairs):
    def run():
        rng, out = np.random.default_rng(0), []
        for i, j in pairs:
            d = Y[:, i] - Y[:, j]
            sums = (rng.integers(0, 2, (REPLICATES, len(d)), dtype=np.int8) * 2 - 1).astype(np.float32) @ d.astype(np.float32)
            out.append([(1 + (np.abs(sums) >= abs(d.sum()) - 1e-3).sum()) / (1 + REPLICATES)])
        return np.array(out)
    return run


def scipy_bootstrap(Y, pairs):
    from scipy import stats
    def run():
        found = [stats.bootstrap((Y[:, i] - Y[:, j],), np.mean, n_resamples=REPLICATES, method="percentile", rng=np.random.default_rng(k)).confidence_interval for k, (i, j) in enumerate(pairs)]
        return np.array([[f.low, f.high] for f in found])
    return run


def statsmodels_mcnemar(Y, pairs):
    from statsmodels.stats.contingency_tables import mcnemar
    def run():
        only = Y.T @ (1 - Y)
        return np.array([[mcnemar([[0, only[i, j]], [only[j, i], 0]], exact=True).pvalue] for i, j in pairs])
    return run


def posthocs_nemenyi(Y, pairs):
    import scikit_posthocs
    from scipy import stats
    def run():
        p = scikit_posthocs.posthoc_nemenyi_friedman(Y).to_numpy()
        i, j = np.array(pairs).T
        return np.r_[p[i, j], stats.friedmanchisquare(*Y.T).pvalue][:, None]
    return run


def close_p(p, q): return np.abs(p - q) <= 5 * np.sqrt(2 * np.maximum(p * (1 - p), 1 / REPLICATES) / REPLICATES)
def close_limits(a, b): return np.abs(a - b) <= .05 * (b[:, 1:] - b[:, :1])
def same(p, q): return np.abs(p - q) <= 1e-6


# the works: data, agreement, {player: (maker, options, pairs done by a peer: 0 for all at once by us)}
WORKS = {
    "permutation-binary": ("binary", close_p, {"ours, compare max-T": (ours_compare, dict(correction="max_t"), 0), "ours, sign_flip": (ours_sign_flip, {}, 0), "ours, exact law": (ours_compare, dict(test="mcnemar_exact"), 0),
                                               "numpy, pair by pair": (numpy_permutation, {}, 15), "scipy": (scipy_permutation, {}, 3)}),
    "permutation-graded": ("graded", close_p, {"ours, compare max-T": (ours_compare, dict(correction="max_t"), 0), "ours, sign_flip": (ours_sign_flip, {}, 0), "numpy, pair by pair": (numpy_permutation, {}, 15), "scipy": (scipy_permutation, {}, 3)}),
    "bootstrap-binary": ("binary", close_limits, {"ours, compare": (ours_compare, dict(test="bootstrap", columns=("lower", "upper")), 0), "ours, kernel": (ours_bootstrap, {}, 0), "scipy": (scipy_bootstrap, {}, 3)}),
    "bootstrap-graded": ("graded", close_limits, {"ours, compare": (ours_compare, dict(test="bootstrap", columns=("lower", "upper")), 0), "ours, kernel": (ours_bootstrap, {}, 0), "scipy": (scipy_bootstrap, {}, 3)}),
    "mcnemar": ("binary", same, {"ours, counts": (ours_mcnemar, {}, 0), "ours, compare": (ours_compare, dict(test="mcnemar_exact"), 0), "statsmodels": (statsmodels_mcnemar, {}, AGENTS * (AGENTS - 1) // 2)}),
    "ranks": ("graded", same, {"ours, rank_agents": (ours_ranks, {}, 0), "scikit-posthocs": (posthocs_nemenyi, {}, AGENTS * (AGENTS - 1) // 2)}),
    "default": ("binary", None, {"ours, compare": (ours_compare, {}, 0), "ours, pairwise_differences": (ours_pairwise, {}, 0)}),
}


def peak() -> float:
    "MB of this process at its most; getrusage would count the parent before exec."
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))


def one(folder: str, work: str, player: str) -> None:
    "Time one call; print seconds, memory and the results for the shown pairs, or for all."
    data, _, players = WORKS[work]
    (maker, keywords, some), Y = players[player], np.load(Path(folder) / f"{data}.npy")
    every = len(PAIRS[0])
    chosen = np.arange(every) if some == every else np.load(Path(folder) / f"{data}-shown.npy")[:some or None]
    todo = (list(zip(PAIRS[0][chosen].tolist(), PAIRS[1][chosen].tolist())),) if some else ()
    maker(Y[:, :10], *([(0, 1)],) if some else (), **keywords)()
    run = maker(Y, *todo, **keywords)
    before = peak()
    start = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    print(json.dumps(dict(seconds=seconds * (every / some if some else 1), exact=some in (0, every), rss=peak(), before=before,
                          values=(found if some or WORKS[work][1] is same else found[chosen]).tolist())))


def measure(works: list[str], rounds: int, peers: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        for work in works:
            show(work, in_turn(__file__, work, {p: sys.executable if p.startswith("ours") else peers for p in WORKS[work][2]}, rounds, folder))


def show(work: str, results: dict[str, list[dict]]) -> None:
    "A Markdown table with the largest difference from our results. Stops where results disagree."
    agree = WORKS[work][1]
    def gap(player: str, found: list[dict], base: list[dict]) -> str:
        ours, theirs = np.array(base[0]["values"]), np.array(found[0]["values"])
        n = min(len(ours), len(theirs))
        most = np.abs(ours[:n] - theirs[:n]).max()
        if agree and not agree(ours[:n], theirs[:n]).all(): raise SystemExit(f"{work}: {player} and ours disagree by {most:.2g}")
        return f"{most:.1e} over {n}"
    table(work, results, "largest difference from ours", gap)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]: one(*sys.argv[2:5])
    else:
        chosen = options(__doc__, list(WORKS))
        measure(chosen.works, chosen.rounds, chosen.peers)
