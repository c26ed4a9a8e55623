#!/usr/bin/env python3
"""Pareto smoothed importance weights by arviz-stats, recorded for tests and benchmarks.

psis.py RECORD.csv writes, for some vectors of log-weights, what arviz-stats' psislw makes of them
(r_eff = 1): a line `case,NAME,n,k_hat`, then n lines `log weight,smoothed and normalised log weight`.
"""
import sys
from importlib.metadata import version

import numpy as np
from arviz_stats.base import array_stats

CASES = {  # name: (n, draw(rng, n)); the tail of exp(scale * exponential) has k = scale
    "narrow": (25, lambda rng, n: 0.2 * rng.normal(size=n)),
    "normal": (64, lambda rng, n: rng.normal(size=n)),
    "bounded": (100, lambda rng, n: np.log(rng.uniform(size=n))),
    "light": (225, lambda rng, n: 0.3 * rng.exponential(size=n)),
    "heavy": (226, lambda rng, n: 0.8 * rng.exponential(size=n)),
    "wild": (256, lambda rng, n: 3 * rng.normal(size=n) - 700),
    "hopeless": (400, lambda rng, n: 1.5 * rng.exponential(size=n) + 20),
}


def main():
    rng = np.random.default_rng(2405)
    versions = ", ".join(f"{name} {version(name)}" for name in ("arviz-stats", "numpy", "scipy"))
    with open(sys.argv[1], "w", encoding="utf-8") as record:
        print(f"# made by benchmarks/reference/psis: {versions}", file=record)
        for name, (n, draw) in CASES.items():
            log_weights = np.round(draw(rng, n), 6)
            assert len(set(log_weights)) == n, "ties are ordered arbitrarily"
            # psislw takes log-likelihoods, whose negatives are the log-weights of leave-one-out
            smoothed, k_hat = array_stats.psislw(-log_weights, r_eff=1)
            print(f"case,{name},{n},{float(k_hat):.15g}", file=record)
            for raw, smooth in zip(log_weights, smoothed):
                print(f"{raw:.6f},{smooth:.12f}", file=record)


if __name__ == "__main__":
    main()
