"""How often what is stated is wrong where the truth is known, with its Monte-Carlo error.

    nice python tests/benchmarks/bench_calibration.py --simulations 200 [--part shuffles]

Nominal rates are 5 % (coverage: 95); limits that hold for all layers at once, and errors that are
those of halves, are meant to be below. Parts marked "drawn" simulate scores on halves as they are
distributed, so that n and the number of neuroids count by the error of a score alone; "real" ones
are metrics of arrays.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import calibration
import planted


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


def limits(number: int) -> None:
    """Drawn: limits of one curve, by shape, error, steps, halves and tails."""
    errors = {"n 1000, 200 neuroids": 0.005, "n 165, 6 neuroids": 0.02, "n 60, 1 neuroid": 0.08}
    for steps in (4, 10, 40):
        places = planted.steps_of(steps)
        for size, error in errors.items():
            for statistic in planted.STATISTICS:
                for shape, mean in planted.shapes(places).items():
                    pair = planted.curves(number, 0.4 * mean, places, error=error)
                    found = planted.held(*pair, 0.4 * mean, statistic)
                    row(f"{statistic}: {shape}, {steps} steps, error {error} ({size})", found)
    places = planted.steps_of(10)
    mean = 0.4 * planted.shapes(places)["sigmoid"]
    for halves, tails in ((10, 0), (20, 0), (50, 4)):
        for statistic in planted.STATISTICS:
            pair = planted.curves(number, mean, places, error=0.02, halves=halves, tails=tails)
            told = f"{halves} halves" + (f", tails of t {tails}" if tails else "")
            row(f"{statistic}: sigmoid, {told}", planted.held(*pair, mean, statistic))


def finds(number: int) -> None:
    """Drawn: flat curves that are said to rise, fall, decline or gain."""
    for steps in (10, 40):
        for halves in (10, 20, 50):
            for name, hits in planted.false_finds(number, halves=halves, steps=steps).items():
                row(f"{name}: {steps} steps, {halves} halves", hits)
        for subjects in (4, 8, 20):
            made = {"halves": 50, "steps": steps, "subjects": subjects}
            for name, hits in planted.false_finds(number, **made).items():
                row(f"{name}: {steps} steps, over {subjects} subjects", hits)


def people(number: int) -> None:
    """Drawn: limits over people, stimuli or both, each against what it speaks of."""
    for subjects in (4, 8, 20):
        for over in ("stimuli", "subjects", "both"):
            for statistic in ("final", "gain", "half_time"):
                found = planted.held_of_people(number, statistic, subjects=subjects, over=over)
                row(f"{statistic}: {subjects} subjects, over {over}", found)


def recipes(number: int) -> None:
    """Drawn: limits over initialisations and stimuli, and of one run."""
    for runs in (3, 5):
        for name, hits in calibration.of_recipe(number, runs=runs).items():
            row(f"{name}: {runs} runs", hits)


def categories(number: int) -> None:
    """Drawn: limits of a level where categories are a sample."""
    for many, each in ((11, 15), (30, 5)):
        for by in ("stimuli", "categories"):
            found = calibration.held_of_categories(number, by=by, categories=many, each=each)
            row(f"level: {many} categories of {each}, halves of {by}", found)


def differences(number: int) -> None:
    """Drawn: limits and p values of differences of half-times, and of their being small."""
    for steps in (10, 40):
        for ratio in (1.0, 1.5, 4.0):
            for name, hits in planted.differences(number, steps=steps, ratio=ratio).items():
                row(f"{name}: {steps} steps, ratio {ratio}", hits)


def real(number: int) -> None:
    """Real: limits of RSA (Spearman) and of ridge regression, n = 60 and 165."""
    for n in (60, 165):
        for signal in (0.0, 0.5):
            for name, hits in planted.of_pairs(number, n=n, signal=signal).items():
                row(f"{name}: rsa, n {n}, signal {signal}", hits)
    for n, neuroids in ((60, 1), (60, 6), (165, 6)):
        for name, hits in planted.of_ridge(number, n=n, neuroids=neuroids).items():
            row(f"{name}: ridge, n {n}, {neuroids} neuroids", hits)


PARTS = {"shuffles": shuffles, "best": best, "drift": drift, "growth": growth,
         "limits": limits, "finds": finds, "people": people, "recipes": recipes,
         "categories": categories, "differences": differences, "real": real}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--part", choices=[*PARTS], action="append")
    arguments = parser.parse_args()
    for part in arguments.part or PARTS:
        print(f"\n== {part}: {PARTS[part].__doc__}")
        PARTS[part](arguments.simulations)
