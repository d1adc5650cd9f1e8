"""Speed and memory of ratings against peers: the same work, in turn (A B C A B C …), each call in a process of its own.

    OPENBLAS_NUM_THREADS=1 python benchmarks/ratings.py [WORK …] [--rounds 3] [--peers PYTHON]

Works: point, boot-large, boot-small, style-boot, style-point, elo-one, elo-many. PYTHON is the interpreter that has choix,
arena-rank, pandas and evalica installed (default: this one; peers that are absent are left out and named). One BLAS thread
for everyone: FastChat's process pool is several times slower with more, and small solves are too on a busy machine. Every
call first does a tenth of the work, so that imports and compilation are paid before the clock starts. Where a peer would take
minutes, part of the replicates is done and extrapolated (marked ~).

FastChat stands for its algorithm written out below from its description (cells by numpy.unique, L-BFGS-B, multinomial
replicates in a process pool), not for a copy of its code.
"""
from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from _run import in_turn, options, table
from scipy import optimize, special

SCALE = 400 / np.log(10)
REPLICATES = 1000


# data

def make(folder: Path) -> None:
    "Simulated battles of unequal agents, 35 % ties."
    for name, n, m, k in (("large", 1_700_000, 130, 4), ("small", 100_000, 50, 0), ("style", 200_000, 50, 4)):
        rng = np.random.default_rng(7)
        theta = np.linspace(1.2, -1.2, m)
        a = rng.integers(0, m, n)
        b = (a + rng.integers(1, m, n)) % m
        x = rng.normal(size=(n, k))
        p = special.expit(theta[a] - theta[b] + x @ np.array([.3, .12, -.06, .03])[:k])
        y = np.where(rng.random(n) < .35, .5, (rng.random(n) < p) * 1.)
        np.savez(folder / f"{name}.npz", a=a, b=b, y=y, x=x, m=m)


class Data:
    def __init__(self, folder: str, name: str, share: float = 1.):
        z = np.load(Path(folder) / f"{name}.npz")
        n = int(len(z["a"]) * share)
        self.a, self.b, self.y, self.x, self.m = z["a"][:n], z["b"][:n], z["y"][:n], z["x"][:n], int(z["m"])
        self.names = np.array([f"model-{i:03d}-instruct" for i in range(self.m)])

    def polars(self, enum: bool = False, style: bool = False):
        import polars as pl
        f = pl.DataFrame({"agent_a": self.names[self.a], "agent_b": self.names[self.b], "outcome": self.y})
        if enum: f = f.with_columns(pl.col("agent_a", "agent_b").cast(pl.Enum(self.names.tolist())))
        return f.with_columns(**{f"x_{i}": pl.Series(c) for i, c in enumerate(self.x.T)}) if style else f

    def lists(self): return self.names[self.a].tolist(), self.names[self.b].tolist(), self.y.tolist()

    def pandas(self):
        import pandas as pd
        return pd.DataFrame({"model_a": self.names[self.a], "model_b": self.names[self.b], "outcome": self.y})


def centred(theta): return np.asarray(theta) - np.mean(theta)


# ours

def ours(data: Data, enum=False, **options):
    from agentlab_wb.measure.bradley_terry import fit_bradley_terry
    frame = data.polars(enum, "covariates" in options)
    def run():
        f = fit_bradley_terry(frame, cluster=None, **options)
        t = f.ratings.sort("agent")
        return dict(values=((t["estimate"] - 1000) / SCALE).to_list(), lower=(t["lower"] / SCALE).to_list(), upper=(t["upper"] / SCALE).to_list(), extra=f.coefficients["estimate"].to_list())
    return run


def ours_elo(data: Data, lists=False, **options):
    import polars as pl

    from agentlab_wb.measure.elo import elo
    frame, columns = data.polars(), data.lists() if lists else ()
    def run():
        f = pl.DataFrame(dict(zip(("agent_a", "agent_b", "outcome"), columns))) if lists else frame
        return dict(values=(elo(f if "orders" not in options else f.with_columns(item=pl.lit("")), replicates=0, **options).sort("agent")["estimate"] / SCALE).to_list())
    return run


# FastChat's way

def bt_loss(ratings, matchups, outcomes, weights, alpha):
    s = alpha * (ratings[matchups[:, 0]] - ratings[matchups[:, 1]])
    p = special.expit(s)
    loss = -((special.log_expit(s) * outcomes + special.log_expit(-s) * (1 - outcomes)) * weights).sum()
    g = -alpha * (outcomes - p) * weights
    grad = np.zeros_like(ratings)
    np.add.at(grad, matchups[:, 0], g)
    np.add.at(grad, matchups[:, 1], -g)
    return loss, grad


LN10 = np.log(10.)


def fit_bt(weights, matchups, outcomes, m, alpha=LN10, tol=1e-6):
    return optimize.minimize(bt_loss, np.zeros(m), args=(matchups, outcomes, weights, alpha), jac=True, method="L-BFGS-B", options=dict(maxiter=100, gtol=tol)).x


def fastchat_cells(frame):
    import pandas as pd
    codes, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
    n = len(frame)
    keys = np.column_stack([codes[:n], codes[n:], (frame["outcome"].to_numpy() * 2).astype(np.int64)])
    unique, counts = np.unique(keys, axis=0, return_counts=True)
    return np.asarray(names), unique[:, :2], unique[:, 2] / 2, counts.astype(float)


def fastchat(data: Data, replicates: int = 0):
    frame = data.pandas()
    def run():
        names, matchups, outcomes, weights = fastchat_cells(frame)
        order = np.argsort(names)
        if not replicates: return dict(values=centred(fit_bt(weights, matchups, outcomes, len(names))[order] * np.log(10)).tolist())
        point = fit_bt(weights, matchups, outcomes, len(names))
        drawn = np.random.default_rng(0).multinomial(int(weights.sum()), weights / weights.sum(), size=replicates)
        with get_context("fork").Pool(os.cpu_count()) as pool:
            fits = pool.starmap(fit_bt, [(w.astype(float), matchups, outcomes, len(names)) for w in drawn], chunksize=8)
        fits = np.array(fits)[:, order] * np.log(10)
        fits -= fits.mean(axis=1, keepdims=True)
        return dict(values=centred(point[order] * np.log(10)).tolist(), lower=np.quantile(fits, .025, axis=0).tolist(), upper=np.quantile(fits, .975, axis=0).tolist())
    return run


def style_loss(params, matchups, x, outcomes, m, alpha):
    s = alpha * (params[matchups[:, 0]] - params[matchups[:, 1]]) + x @ params[m:]
    p = special.expit(s)
    loss = -(special.log_expit(s) * outcomes + special.log_expit(-s) * (1 - outcomes)).mean()
    e = (p - outcomes) / len(outcomes)
    grad = np.zeros_like(params)
    np.add.at(grad, matchups[:, 0], alpha * e)
    np.add.at(grad, matchups[:, 1], -alpha * e)
    grad[m:] = x.T @ e
    return loss, grad


STYLE: dict = {}


def fit_style(rows):
    matchups, x, outcomes, m = (STYLE[k] for k in ("matchups", "x", "outcomes", "m"))
    if rows is not None: matchups, x, outcomes = matchups[rows], x[rows], outcomes[rows]
    return optimize.minimize(style_loss, np.zeros(m + x.shape[1]), args=(matchups, x, outcomes, m, np.log(10.)), jac=True, method="L-BFGS-B", options=dict(maxiter=200, gtol=1e-6)).x


def fastchat_style(data: Data, replicates: int):
    frame = data.pandas()
    def run():
        import pandas as pd
        codes, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]))
        n = len(frame)
        STYLE.update(matchups=np.column_stack([codes[:n], codes[n:]]), x=data.x, outcomes=frame["outcome"].to_numpy(), m=len(names))
        point = fit_style(None)
        if replicates:
            rng = np.random.default_rng(0)
            with get_context("fork").Pool(os.cpu_count()) as pool: list(pool.imap(fit_style, [rng.integers(0, n, n) for _ in range(replicates)]))
        return dict(values=centred(point[:len(names)][np.argsort(names)] * np.log(10)).tolist(), extra=point[len(names):].tolist())
    return run


def fastchat_elo_steps(data: Data, passes: int):
    def run():
        rng, n = np.random.default_rng(0), len(data.a)
        order = np.stack([rng.permutation(n) for _ in range(passes)], axis=1)
        ratings, row, alpha = np.zeros((passes, data.m)), np.arange(passes), np.log(10) / 400
        for t in range(n):
            i = order[t]
            a, b = data.a[i], data.b[i]
            e = special.expit(alpha * (ratings[row, a] - ratings[row, b]))
            d = 4. * (data.y[i] - e)
            ratings[row, a] += d
            ratings[row, b] -= d
        return dict(values=((ratings.mean(axis=0) + 1000) / SCALE).tolist())
    return run


def fastchat_elo(data: Data):
    frame = data.pandas()
    def run():
        from collections import defaultdict
        rating = defaultdict(lambda: 1000.)
        for a, b, y in frame[["model_a", "model_b", "outcome"]].itertuples(index=False):
            ra, rb = rating[a], rating[b]
            ea = 1 / (1 + 10 ** ((rb - ra) / 400))
            rating[a] += 4 * (y - ea)
            rating[b] += 4 * (1 - y - (1 - ea))
        return dict(values=[rating[k] / SCALE for k in sorted(rating)])
    return run


# evalica, choix, statsmodels, arena-rank

def winners(y):
    import evalica
    return [evalica.Winner.X if v == 1 else evalica.Winner.Y if v == 0 else evalica.Winner.Draw for v in y]


def evalica_bt(data: Data, replicates: int = 0):
    import evalica
    a, b, y = data.lists()
    w = winners(y)
    if not replicates: a, b = (data.pandas()[c] for c in ("model_a", "model_b"))
    def run():
        if replicates:
            evalica.bootstrap(evalica.bradley_terry, a, b, w, n_resamples=replicates, bootstrap_method="percentile", random_state=0)
            return dict(values=[])
        s = evalica.bradley_terry(a, b, w, tolerance=1e-10).scores
        return dict(values=centred(np.log(s.sort_index().to_numpy())).tolist())
    return run


def evalica_elo(data: Data, frame=False, passes: int = 0):
    import evalica
    a, b, y = data.lists()
    w = winners(y)
    if frame: a, b, w = data.pandas()["model_a"], data.pandas()["model_b"], w
    def run():
        if not passes: return dict(values=(evalica.elo(a, b, w, initial=1000., k=4.).scores.sort_index() / SCALE).tolist())
        rng, out = np.random.default_rng(0), []
        A, B, W = np.array(a, object), np.array(b, object), np.array(w, object)
        for _ in range(passes):
            i = rng.permutation(len(A))
            out.append(evalica.elo(A[i].tolist(), B[i].tolist(), W[i].tolist(), initial=1000., k=4.).scores.sort_index())
        return dict(values=(np.mean(out, axis=0) / SCALE).tolist())
    return run


def choix_dense(data: Data, replicates: int = 0):
    import choix
    frame = data.pandas()
    def run():
        import pandas as pd
        codes, names = pd.factorize(pd.concat([frame["model_a"], frame["model_b"]]), sort=True)
        n, m, y = len(frame), len(names), frame["outcome"].to_numpy()
        i, j = codes[:n], codes[n:]
        count = np.stack([np.bincount(i[y == v] * m + j[y == v], minlength=m * m) for v in (1., .5, 0.)])
        def fit(c):
            win = c[0].reshape(m, m) + c[2].reshape(m, m).T + (c[1].reshape(m, m) + c[1].reshape(m, m).T) / 2
            return choix.ilsr_pairwise_dense(win, tol=1e-9)
        point = fit(count)
        if not replicates: return dict(values=centred(point).tolist())
        flat, rng = count.ravel(), np.random.default_rng(0)
        fits = np.array([centred(fit(rng.multinomial(n, flat / n).reshape(3, -1))) for _ in range(replicates)])
        return dict(values=centred(point).tolist(), lower=np.quantile(fits, .025, axis=0).tolist(), upper=np.quantile(fits, .975, axis=0).tolist())
    return run


def statsmodels_glm(data: Data):
    import statsmodels.api as sm
    frame = data.pandas()
    def run():
        names, matchups, outcomes, weights = fastchat_cells(frame)
        m = len(names)
        D = np.zeros((len(outcomes), m))
        D[np.arange(len(D)), matchups[:, 0]] = 1
        D[np.arange(len(D)), matchups[:, 1]] = -1
        r = sm.GLM(outcomes, D[:, 1:], family=sm.families.Binomial(), freq_weights=weights).fit(tol=1e-12)
        return dict(values=centred(np.r_[0, r.params][np.argsort(names)]).tolist())
    return run


def arena_rank(data: Data, style=False):
    import pandas as pd
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.models.contextual_bradley_terry import ContextualBradleyTerry
    from arena_rank.utils.data_utils import ContextualPairDataset, PairDataset
    frame = data.pandas().rename(columns={"model_a": "a", "model_b": "b"})
    if style:
        for k, c in enumerate(data.x.T): frame[f"x{k}"] = c
    def run():
        if style:
            d = ContextualPairDataset.from_pandas(frame, competitor_cols=["a", "b"], outcome_col="outcome", outcome_map=float, reweighted=False, feature_cols=[f"x{k}" for k in range(data.x.shape[1])])
            model = ContextualBradleyTerry(n_competitors=len(d.competitors), n_features=data.x.shape[1], reg=0.)
        else:
            d = PairDataset.from_pandas(frame, competitor_cols=["a", "b"], outcome_col="outcome", outcome_map=float)
            model = BradleyTerry(n_competitors=len(d.competitors))
        r = model.compute_ratings_and_cis(d)
        ratings = pd.Series(np.asarray(r["ratings"], float), index=list(r["competitors"])).sort_index()
        return dict(values=centred(ratings / SCALE).tolist())
    return run


# the works: name -> (data, {player: (maker, options, extrapolate by)})
WORKS = {
    "point": ("large", {"ours, strings": (ours, dict(interval="none"), 1), "ours, Enum": (ours, dict(interval="none", enum=True), 1), "FastChat": (fastchat, {}, 1), "evalica": (evalica_bt, {}, 1),
                        "arena-rank": (arena_rank, {}, 1), "statsmodels GLM": (statsmodels_glm, {}, 1), "choix, dense by hand": (choix_dense, {}, 1)}),
    "boot-large": ("large", {"ours": (ours, {}, 1), "ours, Enum": (ours, dict(enum=True), 1), "FastChat": (fastchat, dict(replicates=REPLICATES), 1), "choix, loop by hand": (choix_dense, dict(replicates=REPLICATES), 1), "evalica": (evalica_bt, dict(replicates=2), REPLICATES / 2)}),
    "boot-small": ("small", {"ours": (ours, {}, 1), "FastChat": (fastchat, dict(replicates=REPLICATES), 1), "choix, loop by hand": (choix_dense, dict(replicates=REPLICATES), 1), "evalica": (evalica_bt, dict(replicates=4), REPLICATES / 4)}),
    "style-boot": ("style", {"ours": (ours, dict(covariates="all"), 1), "FastChat": (fastchat_style, dict(replicates=16), REPLICATES / 16)}),
    "style-point": ("large", {"ours, sandwich": (ours, dict(covariates="all", interval="sandwich"), 1), "FastChat, point only": (fastchat_style, dict(replicates=0), 1), "arena-rank, sandwich": (arena_rank, dict(style=True), 1)}),
    "elo-one": ("large", {"ours, frame": (ours_elo, {}, 1), "ours, lists": (ours_elo, dict(lists=True), 1), "evalica, lists": (evalica_elo, {}, 1), "evalica, frame": (evalica_elo, dict(frame=True), 1), "FastChat": (fastchat_elo, {}, 1)}),
    "elo-many": ("small", {"ours": (ours_elo, dict(orders=100), 1), "FastChat, vectorized": (fastchat_elo_steps, dict(passes=100), 1), "evalica": (evalica_elo, dict(passes=5), 20)}),
}


def one(folder: str, work: str, player: str) -> None:
    "Time one call and print what came out."
    name, players = WORKS[work]
    maker, keywords, times = players[player]
    few = dict(keywords) | ({"replicates": 2 * os.cpu_count()} if keywords.get("replicates", 0) > 50 else {})
    if maker is not arena_rank: maker(Data(folder, name, .1), **few)()
    else: maker(Data(folder, name), **keywords)()   # compiles for each shape
    run = maker(Data(folder, name), **keywords)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    print(json.dumps(dict(seconds=seconds * times, exact=times == 1, rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, before=before, **found)))


def measure(works: list[str], rounds: int, peers: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        for work in works:
            show(work, in_turn(__file__, work, {p: sys.executable if p.startswith("ours") else peers for p in WORKS[work][1]}, rounds, folder))


def show(work: str, results: dict[str, list[dict]]) -> None:
    "A Markdown table with the largest difference from our ratings."
    def gap(player: str, found: list[dict], base: list[dict]) -> str:
        return f"{np.abs(np.array(found[0]['values']) - np.array(base[0]['values'])).max():.1e}" if found[0]["values"] else "–"
    table(work, results, "largest difference, log-odds", gap)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]: one(*sys.argv[2:5])
    else:
        chosen = options(__doc__, list(WORKS))
        measure(chosen.works, chosen.rounds, chosen.peers)
