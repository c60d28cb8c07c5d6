import numpy as np
import pytest
import xarray as xr

from dynamics import emergence

HALVES = emergence.Scheme(paired=True).attrs
IDENTITY = {
    "metric": "ridge",
    "arguments": {"protocol": "default"},
    "target": "brain",
    "target_checksums": [1.0, 2.0],
    "seed": 0,
    "resamples": 40,
}


def run(steps, middles, stimuli, *, noise=0.01, identity=IDENTITY, rng=None):
    """Results of a run: `stimuli` (41, 8) move the curve on all stimuli and on the halves."""
    rng = rng or np.random.default_rng(0)
    x = np.log10(1 + np.asarray(steps))
    means = np.stack([0.5 / (1 + np.exp(-(x - m) / 0.3)) for m in middles], 1)[..., None]
    bend = np.stack([np.interp(x, np.linspace(0, 5, 8), each) for each in stimuli])
    own = noise * rng.standard_normal((len(stimuli), *means.shape))
    moved = bend[:, :, None, None] + own
    off = moved[1 : len(stimuli) // 2 + 1]
    score = means + moved[0]
    halves = np.stack([score + off, score - off], 1).reshape(-1, *score.shape)
    coords = {"step": steps, "layer": [f"layer{i}" for i in range(len(middles))], "neuroid": ["n"]}
    return xr.Dataset(
        {
            "score": (("step", "layer", "neuroid"), score),
            "resample_score": (("resample", "step", "layer", "neuroid"), halves, HALVES),
        },
        coords=coords,
        attrs={"identity": identity},
    )


FINE = np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000])
COARSE = np.array([0, 32, 320, 3200, 100_000])


def stimuli(rng, size=0.03):
    return size * rng.standard_normal((41, 8))


def test_the_earlier_run_is_found_although_their_steps_differ():
    shared = stimuli(np.random.default_rng(1))
    found = emergence.compare_runs(run(FINE, [2.0, 3.0], shared), run(COARSE, [3.0, 3.0], shared))
    assert found["difference"].dims == ("layer",)
    assert found["lower"].sel(layer="layer0") > 0.4
    assert found["lower"].sel(layer="layer1") < 0.1
    assert found["p"].sel(layer="layer0") < 1e-3
    assert found.attrs["paired_stimuli"] == 1
    crossed = emergence.compare_runs(
        run(FINE, [2.0, 3.0], shared),
        run(COARSE, [3.0, 3.0], shared),
        layers=("layer1", "layer0"),
    )
    assert crossed["difference"].item() == pytest.approx(0, abs=0.3)


def test_stimuli_in_common_cancel_only_where_the_halves_are_the_same():
    shared = stimuli(np.random.default_rng(2), 0.06)
    other = IDENTITY | {"seed": 1}
    one = run(FINE, [2.5], shared)
    paired = emergence.compare_runs(one, run(FINE, [2.5], shared), statistic="area")
    apart = emergence.compare_runs(one, run(FINE, [2.5], shared, identity=other), statistic="area")
    width = [(x["upper"] - x["lower"]).item() for x in (paired, apart)]
    assert apart.attrs["paired_stimuli"] == 0
    assert width[0] < 0.5 * width[1]


def test_paired_differences_of_two_runs_cover():
    rng = np.random.default_rng(3)
    number = 150
    x = np.log10(1 + FINE)
    times = [
        emergence.half_time(
            xr.DataArray(0.5 / (1 + np.exp(-(x - m) / 0.3)), dims="step", coords={"step": FINE})
        )
        for m in (2.2, 2.8)
    ]
    truth = float(np.log10((1 + times[1]) / (1 + times[0])))
    # A layer is a simulation here, with stimuli of its own that both runs share.
    drawn = [stimuli(rng) for _ in range(number)]
    one, other = (
        xr.concat(
            [run(FINE, [middle], each, rng=rng, noise=0.02) for each in drawn],
            "layer",
            combine_attrs="override",
        ).assign_coords(layer=np.arange(number))
        for middle in (2.2, 2.8)
    )
    found = emergence.compare_runs(one, other)
    hits = ((found["lower"] <= truth) & (truth <= found["upper"])).sum().item()
    # Three Monte-Carlo errors.
    assert hits / number > 0.95 - 3 * np.sqrt(0.05 * 0.95 / number)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arguments": {"protocol": "pepino"}}, "protocol"),
        ({"metric": "rsa"}, "metric = 'ridge' and metric = 'rsa'"),
        ({"target": "other"}, "target"),
        ({"target_checksums": [1.0, 2.5]}, "target_checksums"),
    ],
)
def test_results_of_two_protocols_are_not_compared(change, words):
    shared = stimuli(np.random.default_rng(0))
    with pytest.raises(ValueError, match=words):
        emergence.compare_runs(
            run(FINE, [2.0], shared), run(FINE, [2.0], shared, identity=IDENTITY | change)
        )


def test_checksums_that_another_machine_computed_are_the_same():
    shared = stimuli(np.random.default_rng(0))
    near = IDENTITY | {"target_checksums": [1.0 + 1e-9, 2.0]}
    found = emergence.compare_runs(
        run(FINE, [2.0], shared), run(FINE, [2.0], shared, identity=near)
    )
    assert found["difference"].item() == pytest.approx(0)


def test_runs_without_resamples_or_common_layers_are_refused():
    one = run(FINE, [2.0], stimuli(np.random.default_rng(0)))
    with pytest.raises(ValueError, match="second run has no"):
        emergence.compare_runs(one, one.drop_vars("resample_score"))
    with pytest.raises(ValueError, match="layers=\\(one, other\\)"):
        emergence.compare_runs(one, one.assign_coords(layer=["other"]))


def test_curves_of_two_metrics_side_by_side_are_refused():
    one = run(FINE, [2.0, 2.5], stimuli(np.random.default_rng(0)))
    mixed = one.assign_coords(metric=("layer", ["ridge", "rsa"]))
    curve, resampled = (mixed[name].isel(neuroid=0) for name in ("score", "resample_score"))
    for function in (emergence.compare, emergence.order):
        with pytest.raises(ValueError, match="metric ridge and rsa"):
            function(curve, resampled, dim="layer")
