"""The proof of fMRI over time: regions of a listener to stories emerge when they were made to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import dynamics.accessor  # noqa: F401, registers `.dynamics`
from dynamics import brains, emergence, sounds, store
from dynamics.analysis import METHODS, analyze
from dynamics.brains.targets import make_target
from dynamics.config import validate
from dynamics.extraction import crawl, poolings
from dynamics.progress import silent
from dynamics.reference import stories

STEPS = (0, 1, 3, 6, 12, 25, 50, 100, 200, 400, 800, 1600)
PLANTED = dict(zip(stories.REGIONS, (6.0, 50.0, 400.0)))
HOW = {"hrf": "canonical", "components": None}


def layers_at(step, own, other):
    """A layer with the features of all regions, each as far as it has emerged; one of the first.

    What has not emerged is the same features of another story, backwards: of the same spectrum.
    """
    parts = []
    for region, half in PLANTED.items():
        gain = step**2 / (step**2 + half**2)
        parts.append(gain * own[region] + np.sqrt(1 - gain**2) * other[region])
    return {"front": parts[0], "back": np.concatenate(parts, axis=-1)}


def activations():
    """Features (stories, times, 6) by region, and those of other stories backwards."""
    stimuli = sounds.load("stories")
    found = {region: np.stack(own) for region, own in stories.courses(stimuli).items()}
    backwards = {region: np.roll(own, 1, axis=0)[:, ::-1] for region, own in found.items()}
    pooling = poolings.make("time", rate=stories.RATE)
    return stimuli, pooling.times(stimuli.durations), found, backwards


def curves_of(stimuli, times, found, other, seed):
    """Scores (steps, regions) of another listener, without resamples."""
    data = brains.load("simulated-stories", stimuli=stimuli, seed=seed, neuroids=150)
    heard = xr.Dataset(coords={"stimulus": list(stimuli.names),
                               "category": ("stimulus", list(stimuli.categories))})  # fmt: skip
    target = replace(make_target(data, heard), frames=times)
    region = data["region"].to_numpy()
    rows = []
    for step in STEPS:
        back = {"back": layers_at(step, found, other)["back"]}
        score = METHODS["encode_continuous"](back, target, **HOW)["score"][1][0]
        rows.append([score[region == name].mean() for name in stories.REGIONS])
    return np.array(rows)


@pytest.mark.slow
def test_the_regions_of_a_listener_emerge_in_order_and_at_their_steps(tmp_path, data_root):
    made = activations()
    stimuli, times, found, other = made
    sweep = validate(
        {
            "run": "stories",
            "checkpoints": str(tmp_path),
            "store": str(tmp_path / "stories.zarr"),
            "model": "spectrotemporal",
            "stimuli": "stories",
            "targets": ["simulated-stories"],
            "metrics": [{"name": "encode_continuous", "arguments": HOW}],
            "pooling": {"name": "time", "arguments": {"rate": stories.RATE}},
            "baseline": None,
            "workers": 1,
        },
        origin="test",
    )
    root = store.begin(sweep.place, run="stories", identity=crawl.identify(sweep, stimuli))
    store.plan(root, [(step, f"step{step}", 1) for step in STEPS])
    for step in STEPS:
        layers = {name: each.astype("float32")
                  for name, each in layers_at(step, found, other).items()}  # fmt: skip
        store.write_activations(root, step, layers, stimuli=stimuli.names,
                                categories=stimuli.categories, times=times)  # fmt: skip
        store.commit(root, step, sha256=f"hash{step}", seconds=0.0)
    assert analyze.analyze(sweep, advance=silent)["new"] == len(STEPS)

    results = store.open(sweep.place)["results/simulated-stories/encode_continuous"].to_dataset()
    back = results.sel(layer=["back"])
    halves = back.dynamics.half_time(by="region")
    # The truth is the half-time of the mean curve over listeners: a score is no linear function of
    # how far a feature has emerged.
    truth = np.mean([curves_of(*made, seed) for seed in (1, 2, 3)], axis=0)
    found_at = {}
    for place, region in enumerate(stories.REGIONS):
        curve = xr.DataArray(truth[:, place], {"step": list(STEPS)}, "step")
        expected = float(emergence.half_time(curve))
        own = halves.sel(region=region).squeeze()
        found_at[region] = float(own["estimate"])
        assert float(own["lower"]) <= expected <= float(own["upper"]), region
    assert found_at["primary"] < found_at["intermediate"] < found_at["nonprimary"]
    front = results["score"].sel(layer="front", step=STEPS[-1]).groupby("region").mean()
    assert float(front.sel(region="primary")) > 2 * float(front.sel(region="nonprimary"))
    ceiling = results["ceiling"]
    noise = brains.load("simulated-stories", stimuli=stimuli)["noise"].to_numpy()
    # Of two presentations of one story: its own signal, which varies less than that of all, and
    # whose mean is taken out, in 150 volumes (.11 below what all stories' signal would give).
    there = np.isfinite(ceiling.to_numpy())
    expected = 1 / np.sqrt(1 + noise**2 / 2)
    assert there.mean() > 0.9 and abs((ceiling.to_numpy() - expected)[there].mean()) < 0.2
