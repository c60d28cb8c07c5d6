"""How often what is stated is wrong where the truth is known, with its Monte-Carlo error.

    python tests/benchmarks/bench_calibration.py --simulations 200 [--part shuffles]

Nominal rates are 5 %; limits that hold for all layers at once, and errors that are those of halves,
are meant to be below.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import calibration


def row(name: str, hits: np.ndarray) -> None:
    """Print a rate and its error."""
    part, error = calibration.rate(hits)
    print(f"{name:64} {part:6.3f} +- {error:.3f}", flush=True)


def shuffles(number: int) -> None:
    """P values of layers that know nothing but categories."""
    for name in ("rsa", "cka", "procrustes", "mutual_knn", "ridge"):
        for shuffle in ("overall", "auto"):
            p = calibration.p_of_unrelated(name, number, shuffle=shuffle)
            row(f"p <= .05 by {name}, shuffle {shuffle}", p <= 0.05)


def best(number: int) -> None:
    """What is said of the best of many layers of noise."""
    for layers in (6, 24):
        for made in ({}, {"along": 0.5}, {"shared": 0.8}):
            found = calibration.of_best_layer(number, layers=layers, nulls=99, **made)
            print(f"best of {layers} {made}: gains {found['optimism'].mean():.2f} errors")
            for name in ("above", "shown", "declines", "null"):
                row(f"    {name}", found[name])
            row("    limits of the gain hold the truth", found["held"])


def drift(number: int) -> None:
    """Drift of the centre of a profile that rests."""
    for steps in (6, 20):
        for profile, grows in ((0.0, None), (3.0, None), (3.0, (0.1, 3.0)), (12.0, (0.1, 3.0))):
            p = calibration.drifts_at_rest(number, profile=profile, grows=grows, steps=steps, n=42)
            row(f"p <= .05, {steps} steps, profile {profile}, growing {grows}", p <= 0.05)


def growth(number: int) -> None:
    """Brain and task scores that grow for reasons of their own."""
    for checkpoints in (20, 40, 100):
        for width in (0.2, 0.35, 0.8):
            for noise in (0.005, 0.02, 0.1):
                p = calibration.p_of_growth(
                    number, checkpoints=checkpoints, width=width, noise=noise
                )
                row(f"p <= .05, {checkpoints} checkpoints, width {width}, noise {noise}", p <= 0.05)


PARTS = {"shuffles": shuffles, "best": best, "drift": drift, "growth": growth}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--part", choices=[*PARTS], action="append")
    arguments = parser.parse_args()
    for part in arguments.part or PARTS:
        print(f"\n== {part}: {PARTS[part].__doc__}")
        PARTS[part](arguments.simulations)
