"""Layers, latencies and half-times against the order of the pathway: planted, and planted none."""

import numpy as np
import pytest
import xarray as xr

from dynamics import accessor, emergence, plots
from dynamics.emergence.pathway import along_map, maps_of, spatial, temporal

STEPS = np.array([0, 10, 100, 1000, 10000])
LATENCIES = np.arange(5) * 0.1
HALVES = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs | {"correlation": 0}


def made(*, order=1.0, late=1.0, regions=6, layers=5, resamples=20, noise=0.004, seed=0, per=6):
    """Regions that are best fitted by deeper layers, at later times and steps, as far as `order`.

    Nothing is ordered at first; at the last step the best layer of region i is that at its place.
    """
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(regions), per) / (regions - 1)
    # Up the first half of the regions and down the second: no correlation at all.
    there = np.minimum(np.arange(regions), np.arange(regions)[::-1]) / ((regions - 1) // 2)
    mixed = np.repeat(there, per)
    best = (order * place + (1 - order) * mixed) * (layers - 1)
    peak = np.exp(-0.5 * (np.arange(layers)[:, None] - best) ** 2)
    flat = np.exp(-0.5 * (np.arange(layers)[:, None] - (layers - 1) / 2) ** 2)
    grown = np.log10(1 + STEPS) / 4
    # The half-time of a region is later the further it is.
    course = 1 / (1 + np.exp(-(grown[:, None] - 0.3 - 0.3 * late * place) / 0.05))
    share = np.minimum(1, 2 * grown)[:, None, None]
    score = 0.1 + 0.5 * course[:, None] * (share * peak + (1 - share) * flat)
    off = noise * rng.standard_normal((resamples // 2 + 1, *score.shape))
    score = score + off[0]
    again = np.stack([score + off[1:], score - off[1:]], 1).reshape(resamples, *score.shape)
    deep = np.arange(layers) / (layers - 1) * LATENCIES[-1]
    when = grown[:, None, None] * deep[:, None] * late + (1 - grown[:, None, None] * late) * 0.2
    tuned = np.exp(-0.5 * ((LATENCIES - when) / 0.1) ** 2)  # step, layer, latency
    timed = tuned[..., None] + 0.01 * rng.standard_normal((*tuned.shape, regions * per))
    return xr.Dataset(
        {
            "score": (("step", "layer", "neuroid"), score),
            "resample_score": (("resample", "step", "layer", "neuroid"), again, HALVES),
            "latency_score": (("step", "layer", "latency", "neuroid"), timed),
        },
        coords={
            "step": STEPS,
            "latency": LATENCIES,
            "layer": [f"layer{i}" for i in range(layers)],
            "neuroid": np.arange(regions * per),
            "region": ("neuroid", [f"r{i // per}" for i in range(regions * per)]),
            "subject": ("neuroid", [f"s{i % 3}" for i in range(regions * per)]),
            "distance": ("neuroid", 10 * place + rng.uniform(-0.1, 0.1, regions * per)),
            "voxels": ("neuroid", np.arange(regions * per)),
        },
        attrs={"identity": {"metric": "encode_timeresolved"}},
    )


def test_an_order_of_layers_comes_with_training():
    data = made()
    assert maps_of(data) == ["distance"]
    found = spatial(data, "distance")
    best = data["score"].groupby("region").mean().argmax("layer").isel(step=-1)
    far = data["distance"].groupby("region").mean()
    assert float(found["estimate"][-1]) == pytest.approx(np.corrcoef(best, far)[0, 1])
    assert found["lower"][-1] > 0.8 and found.attrs["regions"] == 6
    # Errors of scores weaken the order: how strong it is at most is not said.
    assert found["upper"][-1] == 1
    assert found.attrs["over"] == "stimuli"
    assert spatial(data.drop_vars("resample_score"), "distance").attrs["over"] == ""
    assert spatial(data, "voxels")["estimate"][-1] > 0.9, "any number of neuroids, by its name"


def test_without_an_order_the_interval_holds_none():
    held = []
    for seed in range(20):
        data = made(order=0.0, noise=0.15, seed=seed)
        found = spatial(data, "distance").isel(step=-1)
        held.append(bool(found["lower"] <= 0 <= found["upper"]))
    assert np.mean(held) >= 0.85


def test_deeper_layers_follow_later():
    found = temporal(made())
    assert found["lower"].isnull().all() and found.attrs == {"over": "subjects", "units": 3}
    data = made()
    mean = data["latency_score"].isel(step=-1).groupby("subject").mean().mean("subject")
    best = LATENCIES[mean.argmax("latency").to_numpy()]
    assert float(found["estimate"][-1]) == pytest.approx(np.corrcoef(best, np.arange(5))[0, 1])
    assert temporal(data.drop_vars("subject"))["lower"][-1] > 0.9
    alone = temporal(made(late=0.0).drop_vars("subject"))
    assert alone.attrs["over"] == "neuroids"
    assert not (alone["lower"] > 0.5).any()
    alike = data.isel(layer=[0] * 5).assign_coords(layer=data["layer"]).drop_vars("subject")
    assert temporal(alike).to_array().isnull().all()
    with pytest.raises(ValueError, match="no scores by latency"):
        temporal(data.drop_vars("latency_score"))


@pytest.mark.slow
def test_half_times_follow_a_map_or_not():
    found = along_map(made(), "distance")
    own = accessor.Dynamics(made()).half_time(by="region")["estimate"]
    own = own.sel(region="r5", layer=found["layer"][5].item())
    assert float(found["half_time"][5]) == pytest.approx(float(own))
    assert found.attrs["r"] > 0.9 and found.attrs["p"] < 0.01 and found.attrs["regions"] == 6
    assert (found["lower"] <= found["half_time"]).all()
    flat = [made(late=0.0, noise=0.02, seed=seed) for seed in range(8)]
    none = [along_map(data, "distance").attrs["p"] for data in flat]
    assert sum(p < 0.05 for p in none) <= 2


def test_a_map_that_is_not_there_is_said():
    with pytest.raises(ValueError, match=r"no map 'myelin' \(there are: distance"):
        spatial(made(), "myelin")
    flat = made().assign_coords(distance=("neuroid", np.ones(36)))
    with pytest.raises(ValueError, match="fewer than three values"):
        along_map(flat, "distance")
    assert maps_of(flat) == []


def test_figures_are_of_the_maps_there_are():
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"run": "r"}), "results/t/timed": made()})
    names = {each.name: each for each in plots.figures_of(tree, "timed", ["t"])}
    figure = names["pathway-timed-t-distance"].draw()
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "Spatial score (r)", "Half-time (training step)",
    ]  # fmt: skip
    assert names["pathway-timed-t-latency"].draw().axes[0].get_ylabel() == "Temporal score (r)"
    plain = made().drop_vars(["distance", "latency_score"])
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), "results/t/ridge": plain})
    assert not any(d.name.startswith("pathway") for d in plots.figures_of(tree, "ridge", ["t"]))
