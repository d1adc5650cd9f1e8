"""Speed of expected information against peers: the same work, in turn (A B C A B C …), each call in a process of its own.

    python benchmarks/information.py [WORK …] [--rounds 3] [--peers PYTHON] [--boxing-gym FOLDER]

Works: location, hyperbolic, pairs, files. PYTHON is the interpreter that has pyro-ppl and torch installed (default: this one;
a peer that is absent is left out and named). FOLDER holds BoxingGym's result files, for the work `files`; without it that work is left out.

The rows "boxing-gym's loop" are its formula written out here as it stands in its code, three nested loops with one scalar density
a draw, without its sampler: some outer draws are run and extrapolated (marked ~). Every call first does the work once on a
small scale, so that imports are paid before the clock starts.
"""
from __future__ import annotations

import json
import os
import resource
import sys
import time

from _run import in_turn, options, table

OUTER, INNER = 10_000, 1_000
CENTRE, CHOICE = [0., 0.], [100., 150., 30.]


def ours_location(small=False, mixture=False):
    from agentlab_wb.measure.eig import eig_mixture, eig_nmc
    from agentlab_wb.measure.environments import LocationFinding
    world, share = LocationFinding(), 10 if small else 1
    return lambda: _row(eig_mixture(world, [CENTRE], n=OUTER // share) if mixture else eig_nmc(world, [CENTRE], outer=OUTER // share, inner=INNER))


def ours_hyperbolic(small=False, nested=False):
    from agentlab_wb.measure.eig import eig_discrete, eig_nmc
    from agentlab_wb.measure.environments import HyperbolicDiscount
    world, share = HyperbolicDiscount(), 10 if small else 1
    return lambda: _row(eig_nmc(world, [CHOICE], outer=OUTER // share, inner=INNER) if nested else eig_discrete(world, [CHOICE], n=(OUTER + INNER) // share))


def _row(frame): return dict(value=frame["estimate"][0], se=frame["se"][0])


def pyro_location(small=False):
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.contrib.oed.eig import nmc_eig
    torch.set_num_threads(os.cpu_count())
    def model(design):
        with pyro.plate_stack("designs", design.shape[:-2]):
            theta = pyro.sample("theta", dist.Normal(torch.zeros(3, 2), 1.).expand(design.shape[:-2] + (3, 2)).to_event(2))
            return pyro.sample("y", dist.Normal(.1 + (1 / (1e-4 + ((theta - design) ** 2).sum(-1))).sum(-1), .5))
    return lambda: dict(value=float(nmc_eig(model, torch.tensor(CENTRE).reshape(1, 1, 2), "y", "theta", N=OUTER // (10 if small else 1), M=INNER)))


def pyro_hyperbolic(small=False):
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.contrib.oed.eig import nmc_eig
    torch.set_num_threads(os.cpu_count())
    def model(design):
        with pyro.plate_stack("designs", design.shape[:-1]):
            log_k = pyro.sample("log_k", dist.Normal(torch.full(design.shape[:-1], -4.25), .5))
            a = pyro.sample("a", dist.HalfNormal(torch.full(design.shape[:-1], 2.)))
            z = (design[..., 1] / (1 + log_k.exp() * design[..., 2]) - design[..., 0]) / a
            return pyro.sample("y", dist.Bernoulli(.01 + .98 * torch.special.ndtr(z)))
    return lambda: dict(value=float(nmc_eig(model, torch.tensor(CHOICE).reshape(1, 3), "y", ["log_k", "a"], N=OUTER // (10 if small else 1), M=INNER)))


def loop_location(small=False, outer=20):
    import numpy as np
    from scipy.stats import norm
    def run():
        rng, terms = np.random.default_rng(0), []
        thetas = rng.normal(0, 1, (outer * (INNER + 1), 3, 2))
        signal = lambda theta: .1 + sum(1 / (1e-4 + np.sum((theta[k] - np.array(CENTRE)) ** 2)) for k in range(3))
        for n in range(2 if small else outer):
            mu = signal(thetas[n]); y = rng.normal(mu, .5)
            inner = [norm.logpdf(y, loc=signal(theta), scale=.5) for theta in thetas[outer + n * INNER:outer + (n + 1) * INNER]]
            top = np.max(inner)
            terms.append(norm.logpdf(y, loc=mu, scale=.5) - top - np.log(np.mean(np.exp(np.array(inner) - top))))
        return dict(value=float(np.mean(terms)))
    return run


def loop_hyperbolic(small=False, outer=20):
    import numpy as np
    from scipy.stats import norm
    def run():
        rng, terms = np.random.default_rng(0), []
        ks, alphas = np.exp(rng.normal(-4.25, .5, outer * (INNER + 1))), np.abs(rng.normal(0, 2, outer * (INNER + 1)))
        chance = lambda k, a: .01 + .98 * norm.cdf((CHOICE[1] / (1 + k * CHOICE[2]) - CHOICE[0]) / a)
        for n in range(2 if small else outer):
            p = chance(ks[n], alphas[n]); y = rng.binomial(n=1, p=p)
            inner = []
            for k, a in zip(ks[outer + n * INNER:outer + (n + 1) * INNER], alphas[outer + n * INNER:outer + (n + 1) * INNER]):
                q = chance(k, a)
                inner.append(np.log(q if y == 1 else 1 - q))
            top = np.max(inner)
            terms.append(np.log(p if y == 1 else 1 - p) - top - np.log(np.mean(np.exp(np.array(inner) - top))))
        return dict(value=float(np.mean(terms)))
    return run


def ours_pairs(small=False):
    import numpy as np

    from agentlab_wb.infer.plan import bernoulli_information
    rng, n = np.random.default_rng(0), 20 if small else 200
    theta, root = rng.normal(size=n), rng.normal(size=(n, n)) / n ** .5
    cov, (i, j) = root @ root.T * .05, np.triu_indices(n, 1)
    def run():
        var = cov[i, i] + cov[j, j] - 2 * cov[i, j]
        return dict(value=float(np.max(bernoulli_information(theta[i] - theta[j], var))))
    return run


def ours_files(small=False):
    import polars as pl

    from agentlab_wb.loaders.core import load
    from agentlab_wb.measure.experiments import experiment_information
    table = load(os.environ["BOXING_GYM"]).experiments
    table = table.filter(pl.col("replicate") == table["replicate"].min()).head(40) if small else table
    def run():
        found = experiment_information(table, candidates=5 if small else 100, jobs=1 if small else os.cpu_count())
        return dict(value=float(found["eig"].is_not_null().sum()))
    return run


# the works: name -> {player: (maker, options, extrapolate by)}
WORKS = {
    "location": {"ours, nested Monte Carlo": (ours_location, {}, 1), "ours, mixture (the default)": (ours_location, dict(mixture=True), 1), "pyro nmc_eig": (pyro_location, {}, 1), "boxing-gym's loop": (loop_location, {}, OUTER / 20)},
    "hyperbolic": {"ours, outcomes summed out": (ours_hyperbolic, {}, 1), "ours, nested Monte Carlo": (ours_hyperbolic, dict(nested=True), 1), "pyro nmc_eig": (pyro_hyperbolic, {}, 1), "boxing-gym's loop": (loop_hyperbolic, {}, OUTER / 20)},
    "pairs": {"ours": (ours_pairs, {}, 1)},
    "files": {"ours": (ours_files, {}, 1)},
}


def one(work: str, player: str) -> None:
    "Time one call and print what came out."
    maker, keywords, times = WORKS[work][player]
    maker(**keywords, small=True)()
    run = maker(**keywords)
    if work in ("pairs", "hyperbolic", "location") and "loop" not in player: run()        # warm: allocations and threads
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    print(json.dumps(dict(seconds=seconds * times, exact=times == 1, rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, before=before, **found)))


def show(work: str, results: dict[str, list[dict]]) -> None:
    "A Markdown table with the value and its standard error."
    def value(player: str, found: list[dict], base: list[dict]) -> str:
        return f"{found[0]['value']:.5g}" + (f" ± {found[0]['se']:.2g}" if found[0].get("se") is not None else "")
    table(work, results, "value", value)


def measure(works: list[str], rounds: int, peers: str) -> None:
    for work in works:
        if work == "files" and "BOXING_GYM" not in os.environ:
            print("files: left out, no --boxing-gym FOLDER", file=sys.stderr)
            continue
        show(work, in_turn(__file__, work, {p: peers if p.startswith("pyro") else sys.executable for p in WORKS[work]}, 1 if work == "files" else rounds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]: one(*sys.argv[2:])
    else:
        chosen = options(__doc__, list(WORKS), boxing_gym={})
        if chosen.boxing_gym: os.environ["BOXING_GYM"] = chosen.boxing_gym
        measure(chosen.works, chosen.rounds, chosen.peers)
