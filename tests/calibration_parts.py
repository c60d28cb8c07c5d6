"""The designs of ``tests/benchmarks/bench_calibration.py``, part by part."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import calibration
import designs
import numpy as np
import planted
import stated


class Job(NamedTuple):
    """A design of a family, how many simulations it takes, and what makes them."""

    family: str
    design: str
    simulations: int
    make: Callable[[int], dict[str, Any]]


SIZES = [(60, 1), (60, 6), (165, 1), (165, 6), (165, 200), (1000, 6), (1000, 200)]


def stimuli() -> Iterator[Job]:
    """Means over stimuli: limits and tests by stimuli, neuroids and steps."""
    for design, steps, (n, neuroids) in product(designs.NAMES, (10, 40), SIZES):
        if steps == 40 and (n, neuroids) not in ((60, 1), (165, 6), (1000, 200)):
            continue
        made = {"design": design, "n": n, "neuroids": neuroids}
        yield Job(design, f"n {n}, {neuroids} neuroids, {steps} steps", 200,
                  lambda k, t=steps, m=made: designs.held(k, "sigmoid", t, **m)
                  | designs.p_of_none(k, t, **m))  # fmt: skip
    for steps, n in product((10, 40), (60, 165)):
        made = {"design": "iid", "n": n, "neuroids": 6, "tails": 4}
        told = f"n {n}, {steps} steps"
        yield Job("stimuli of t 4", told, 200,
                  lambda k, t=steps, m=made: designs.held(k, "sigmoid", t, **m)
                  | designs.p_of_none(k, t, **m))  # fmt: skip


def limits() -> Iterator[Job]:
    """Drawn scores: limits by shape, error, steps and halves."""
    for steps in (10, 40, 4):
        places = planted.steps_of(steps)
        for shape, error in product(planted.shapes(places), (0.02, 0.005, 0.08)):
            yield Job(shape, f"{steps} steps, error {error}", 500,
                      lambda k, s=shape, p=places, e=error: _held(k, s, p, error=e))  # fmt: skip
    for halves, steps in product((10, 20), (10, 40)):
        places = planted.steps_of(steps)
        yield Job("few halves", f"{halves} halves, {steps} steps", 500,
                  lambda k, h=halves, p=places: _held(k, "sigmoid", p, error=0.02, halves=h),
                  )  # fmt: skip


def _held(number, shape, places, **made):
    mean = 0.4 * planted.shapes(places)[shape]
    seed = zlib.crc32(repr((shape, len(places), made)).encode())
    pair = planted.curves(number, mean, places, seed=seed, **made)
    return {f"limits of {name}": planted.held(*pair, mean, name) for name in planted.STATISTICS}


def finds() -> Iterator[Job]:
    """Drawn scores: flat curves that are said to rise, fall, decline or gain."""
    for steps in (10, 40):
        for halves in (10, 20, 50):
            yield Job("halves", f"{halves} halves, {steps} steps", 400,
                      lambda k, h=halves, t=steps: _p(planted.false_finds(k, halves=h, steps=t)),
                      )  # fmt: skip
    for over, steps, subjects in product(("both", "subjects"), (10, 40), (4, 8, 20)):
        made = {"steps": steps, "subjects": subjects, "over": over}
        yield Job(f"over {over}", f"{subjects} subjects, {steps} steps", 600,
                  lambda k, m=made: _p(planted.false_finds(k, **m)))  # fmt: skip


def _p(found):
    names = {"rises": "being shown above untrained", "falls": "a fall", "declines": "a decline"}
    return {f"p of {names.get(name, 'gain')}": hits for name, hits in found.items()}


def people() -> Iterator[Job]:
    """Drawn scores: limits over people, stimuli or both, each against what it speaks of."""
    for steps, over, subjects in product((10, 40), ("both", "subjects", "stimuli"), (4, 8, 20)):

        def make(number, steps=steps, over=over, subjects=subjects):
            some = planted.STATISTICS if steps == 10 else ("final", "gain", "onset", "half_time")
            return {
                f"limits of {name}": planted.held_of_people(
                    number, name, subjects=subjects, over=over, steps=steps
                )
                for name in some
            }  # fmt: skip

        many = 300 if steps == 10 else 150
        yield Job(f"over {over}", f"{subjects} subjects, {steps} steps", many, make)


def best() -> Iterator[Job]:
    """Drawn scores: what is said of the best of many layers of noise."""
    for layers, steps, made in (
        (24, 6, {}), (24, 40, {}), (6, 6, {}), (24, 6, {"along": 0.5}), (24, 6, {"shared": 0.8}),
    ):  # fmt: skip

        def make(number, layers=layers, steps=steps, made=made):
            found = calibration.of_best_layer(number, layers=layers, steps=steps, nulls=99, **made)
            return {
                "p of the best layer above untrained": found["shown"],
                "p of a decline of the best layer": found["declines"],
                "p of shuffles of the best layer": found["null"],
                "limits of gain of the best layer": found["held"],
                "p of limits of its gain above 0": found["above"],
            }  # fmt: skip

        told = ", ".join(f"{key} {value}" for key, value in made.items())
        yield Job("noise", f"{layers} layers, {steps} steps{', ' if told else ''}{told}", 200, make)


def drift() -> Iterator[Job]:
    """Drawn scores: drift of the centre of a profile that rests."""
    for steps in (6, 20):
        for profile, grows in ((0.0, None), (3.0, None), (3.0, (0.1, 3.0)), (12.0, (0.1, 3.0))):

            def make(number, steps=steps, profile=profile, grows=grows):
                p = calibration.drifts_at_rest(
                    number, profile=profile, grows=grows, steps=steps, n=42
                )
                return {"p of a drift of the profile": (p <= 0.05).astype(float)}

            told = "grows" if grows else "rests"
            yield Job("profiles", f"height {profile}, {told}, {steps} steps", 100, make)


def growth() -> Iterator[Job]:
    """Brain and task scores that grow for reasons of their own."""
    for checkpoints, width, noise in product((20, 40), (0.2, 0.35, 0.8), (0.005, 0.02, 0.1)):

        def make(number, checkpoints=checkpoints, width=width, noise=noise):
            p = calibration.p_of_growth(number, checkpoints=checkpoints, width=width, noise=noise)
            hits = np.where(np.isfinite(p), p <= 0.05, np.nan)
            return {"p of a correlation of brain and task over checkpoints": hits}

        told = f"{checkpoints} checkpoints, width {width}, noise {noise}"
        yield Job("two sigmoids", told, 500, make)


def recipes() -> Iterator[Job]:
    """Drawn scores: limits over initialisations and stimuli."""
    for runs in (3, 5):

        def make(number, runs=runs):
            found = calibration.of_recipe(number, runs=runs)
            held = {f"limits of {name}": found[name] for name in ("gain", "half_time")}
            return held | {"seen: gain over stimuli of one run": found["gain of one run"]}

        yield Job("over initialisations", f"{runs} runs", 200, make)


def categories() -> Iterator[Job]:
    """A level where categories are a sample, by what halves keep whole."""
    for many, each in ((11, 15), (30, 5)):
        for by in ("categories", "stimuli"):
            name = "limits of final" if by == "categories" else "seen: final over stimuli alone"
            yield Job(f"halves of {by}", f"{many} categories of {each}", 500,
                      lambda k, n=name, b=by, m=many, e=each: {
                          n: calibration.held_of_categories(k, by=b, categories=m, each=e)
                      })  # fmt: skip


def differences() -> Iterator[Job]:
    """Drawn scores: differences of half-times, and of their being small."""
    for steps, ratio in product((10, 40), (1.0, 1.5, 4.0)):

        def make(number, steps=steps, ratio=ratio):
            found = planted.differences(number, steps=steps, ratio=ratio)
            named = {"limits of a difference of half-times": found["held"]}
            if ratio == 1.0:
                named["p of a difference of half-times"] = found["differ"]
                named["seen: shown to be alike"] = found["alike"]
            elif ratio == 1.5:
                named["p of half-times being alike"] = found["alike"]
                named["seen: shown to differ"] = found["differ"]
            else:
                named["p of half-times being alike"] = found["alike"]
            return named

        yield Job("two sigmoids", f"ratio {ratio}, {steps} steps", 500, make)


def shuffles() -> Iterator[Job]:
    """P values of layers that know nothing but categories."""
    for name, shuffle in product(("rsa", "cka", "procrustes", "mutual_knn", "ridge"),
                                 ("auto", "overall")):  # fmt: skip

        def make(number, name=name, shuffle=shuffle):
            p = calibration.p_of_unrelated(name, number, shuffle=shuffle)
            asked = "p of shuffles" if shuffle == "auto" else "seen: p of shuffles over all"
            return {asked: (p <= 0.05).astype(float)}

        within = "within categories" if shuffle == "auto" else "overall"
        yield Job(within, name, 100, make)


def rsa() -> Iterator[Job]:
    """RSA (Spearman) of arrays."""
    for n, signal in product((60, 165, 1000), (0.5, 0.0)):
        steps = 4 if n < 1000 else 2
        yield Job("rsa", f"n {n}, signal {signal}, {steps} steps", 100 if n < 1000 else 60,
                  lambda k, n=n, s=signal, t=steps: {
                      f"limits of {name}": hits
                      for name, hits in planted.of_pairs(k, n=n, signal=s, steps=t).items()
                  })  # fmt: skip


def ridge() -> Iterator[Job]:
    """Ridge regression of arrays."""
    for n, neuroids in ((60, 1), (165, 6), (60, 6), (165, 200), (1000, 6)):
        steps, many = (4, 80) if n < 1000 else (2, 40)
        yield Job("ridge", f"n {n}, {neuroids} neuroids, {steps} steps", many,
                  lambda k, n=n, v=neuroids, t=steps: {
                      f"limits of {name}": hits
                      for name, hits in planted.of_ridge(k, n=n, neuroids=v, steps=t).items()
                  })  # fmt: skip


def peaks() -> Iterator[Job]:
    """Drawn scores: between which steps a peak is, and ranks of half-times."""
    for shape, steps in product(("transient", "sigmoid", "flat"), (10, 40)):
        for halves in (50, 10):
            yield Job("peaks", f"{shape}, {halves} halves, {steps} steps", 300,
                      lambda k, s=shape, h=halves, t=steps: stated.peaks(k, s, steps=t, halves=h),
                      )  # fmt: skip
    for ratio, steps in product((1.0, 1.3, 3.0), (10, 40)):
        yield Job("four curves", f"ratio {ratio}, {steps} steps", 200,
                  lambda k, r=ratio, t=steps: stated.orders(k, r, steps=t))  # fmt: skip


def runs() -> Iterator[Job]:
    """Drawn scores: trends over runs, contrasts of runs, maps, signs of people."""
    for number, slope in product((4, 8, 20), (0.0, 0.1)):
        yield Job("trends", f"{number} runs, slope {slope}", 500,
                  lambda k, r=number, s=slope: stated.trend_over_runs(k, runs=r, slope=s),
                  )  # fmt: skip
    for number, over in product((2, 3, 5), ("stimuli", "runs", "both")):
        yield Job("contrasts", f"{number} runs of each", 500,
                  lambda k, r=number, o=over: stated.contrasts(k, runs=r, over=o))  # fmt: skip
    for subjects, steps in product((4, 8, 20), (10, 40)):
        yield Job("signs", f"{subjects} subjects, {steps} steps", 1000,
                  lambda k, s=subjects, t=steps: stated.signs(k, subjects=s, steps=t))  # fmt: skip
    for regions in (4, 8, 20):
        yield Job("maps", f"{regions} regions", 300, lambda k, r=regions: stated.maps(k, regions=r))


def over_time() -> Iterator[Job]:
    """Metrics of arrays: RSA and CKA at each latency."""
    for metric, n, resamples in product(("rsa_time", "cka_time"), (60, 165), (50, 10)):
        yield Job(metric, f"n {n}, {resamples} halves", 150,
                  lambda k, m=metric, n=n, r=resamples: stated.over_time(k, m, n=n, resamples=r),
                  )  # fmt: skip


def beside() -> Iterator[Job]:
    """Saturating trends, listeners, and which layers may be the best."""
    for sounds, share, answers in product((20, 60, 200), (0.35, 0.6, 0.9, 0.97), (1, 5)):
        made = {"sounds": sounds, "share": share, "answers": answers}
        yield Job("listeners", ", ".join(f"{key} {value}" for key, value in made.items()), 2000,
                  lambda k, m=made: stated.listeners(k, **m))  # fmt: skip
    for layers, apart in product((4, 12), (0.0, 0.01, 0.05)):
        yield Job("layers", f"{layers} layers, {apart} apart", 300,
                  lambda k, n=layers, a=apart: stated.best_layers(k, layers=n, apart=a),
                  )  # fmt: skip
    for number, shape in product((5, 12), ("saturates", "early", "line", "flat")):
        yield Job("trends", f"{number} runs, {shape}", 200,
                  lambda k, r=number, s=shape: stated.saturating(k, runs=r, shape=s))  # fmt: skip


PARTS = {"finds": finds, "rsa": rsa, "over_time": over_time, "best": best, "drift": drift,
         "growth": growth, "shuffles": shuffles, "categories": categories, "stimuli": stimuli,
         "ridge": ridge, "people": people, "differences": differences, "peaks": peaks,
         "recipes": recipes, "runs": runs, "beside": beside, "limits": limits}  # fmt: skip
