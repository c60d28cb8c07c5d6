"""Targets with gaps before a crawl, in spaces, and in fractions of the noise ceiling."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist

from dynamics import analysis, emergence, sounds, sweep
from dynamics.analysis import METHODS
from dynamics.brains.targets import Target
from dynamics.config import Choice, validate
from dynamics.emergence import summary
from dynamics.emergence.levels import with_ceiling
from dynamics.report import findings, narrative, protocol

N, V = 30, 6
RNG = np.random.default_rng(0)
NAMES = [f"s{i:02d}" for i in range(N)]
SAME = {"spearman": "spearman", "pearson": "corr", "cosine": "cosine", "kendall": "tau-a",
        "whitened_cosine": "cosine_cov", "whitened_pearson": "corr_cov"}  # fmt: skip


@pytest.mark.parametrize("compare", SAME)
@pytest.mark.parametrize("neuroids", [1, 3])
def test_rdms_with_missing_entries_are_compared_as_by_rsatoolbox(compare, neuroids):
    """Missing entries are those of stimuli without a response, in both RDMs of the oracle."""
    from rsatoolbox.rdm import RDMs
    from rsatoolbox.rdm import compare as oracle

    X, Y = RNG.normal(size=(N, 4)), RNG.normal(size=(N, neuroids))
    Y[:, 0] += X[:, 0]
    Y[[2, 3, 17]] = np.nan
    target = Target(np.arange(N), Y, np.arange(N) % 5, np.full(neuroids, "a"))
    found = METHODS["rsa"]({"x": X}, target, distance="sqeuclidean", zscore=False,
                           compare=compare, choose=None)  # fmt: skip
    brain = pdist(Y, "sqeuclidean")
    layer = np.where(np.isnan(brain), np.nan, pdist(X, "sqeuclidean"))
    expected = oracle(RDMs(layer[None]), RDMs(brain[None]), method=SAME[compare])
    # Sums of some 350 distances in another order.
    assert found["score"][1][0, 0] == pytest.approx(expected.item(), abs=1e-6)


def check(folder, monkeypatch, metric="ridge", *, dead=False, **coords):
    """Check a sweep with a target that lacks a repetition of one response."""
    values = {**sweep.DEMO, "store": str(folder / "s.zarr"), "metrics": [metric]}
    config = validate(values, origin="a test")
    stimuli = sounds.load(config.stimuli.name, **config.stimuli.arguments)
    response = RNG.normal(size=(N, V, 2)) * (not dead)
    response[4, 1, 0] = np.nan
    data = xr.Dataset(
        {"response": (("stimulus", "neuroid", "repetition"), response)},
        coords={
            "stimulus": list(stimuli.names[:N]),
            "neuroid": [f"n{i}" for i in range(V)],
            "subject": ("neuroid", ["x"] * V),
            **coords,
        },
        attrs={"name": "mine"},
    )
    monkeypatch.setattr(sweep.checks.analyze, "load_brain", lambda choice, stimuli: data)
    monkeypatch.setattr(sweep.checks.crawl, "discover", lambda config: [])
    sweep.check(config)


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        ({"group": ("stimulus", np.arange(N) // 2), "fold": ("stimulus", np.arange(N) % 5)},
         "group"),
        ({"fold": ("stimulus", np.where(np.arange(N) == 7, np.nan, np.arange(N) % 5.0))}, "fold"),
        ({"dead": True}, "no neuroid with responses that differ"),
    ],
)  # fmt: skip
def test_a_bad_target_is_refused_before_the_crawl(tmp_path, monkeypatch, coords, message):
    with pytest.raises(ValueError, match=f"target 'mine'.*{message}"):
        check(tmp_path, monkeypatch, **coords)


def test_crossnobis_takes_a_target_that_lacks_a_repetition(tmp_path, monkeypatch):
    check(tmp_path, monkeypatch, {"name": "rsa", "arguments": {"distance": "crossnobis"}})


@pytest.mark.slow
def test_windows_are_tried_on_the_times_of_the_target():
    sizes = {"stimulus": N, "neuroid": 4, "time": 300}
    choice = Choice(name="encode_timeresolved", arguments={"windows": [[0, 1.5]]})
    analysis.rehearse(choice, N, sizes, times=0.05 * np.arange(60))
    with pytest.raises(ValueError, match=r"1\.5"):
        analysis.rehearse(choice, N, sizes, times=0.05 * np.arange(20))


def results(lacking=(2,)):
    steps = np.array([0, 10, 100, 1000])
    rise = np.array([0.1, 0.2, 0.3, 0.4])
    score = rise[:, None, None] * np.linspace(0.5, 1.5, V) * np.array([1, 0.8])[:, None]
    ceiling = np.linspace(0.6, 0.9, V)
    score[:, :, list(lacking)] = 5.0  # which no fraction may know of
    ceiling[list(lacking)] = np.nan
    return xr.Dataset(
        {"score": (("step", "layer", "neuroid"), score), "ceiling": ("neuroid", ceiling)},
        coords={
            "step": steps,
            "layer": ["a", "b"],
            "neuroid": [f"n{i}" for i in range(V)],
            "subject": ("neuroid", ["x", "x", "x", "y", "y", "y"]),
            "region": ("neuroid", ["r", "q", "r", "q", "r", "q"]),
        },
    )


def test_a_fraction_of_the_ceiling_is_of_the_same_neuroids():
    data = results()
    kept = np.array([0, 1, 3, 4, 5])
    last, ceiling = data["score"].to_numpy()[-1], data["ceiling"].to_numpy()
    groups = [[0, 1], [3, 4, 5]]
    expected = np.mean([last[:, g].mean(1) for g in groups], 0)
    expected = expected / np.mean([ceiling[g].mean() for g in groups])
    found = summary.ceiling_fraction(data, None, "stimuli")
    np.testing.assert_allclose(found["estimate"], expected, rtol=1e-12)
    assert found.attrs["neuroids_without_ceiling"] == 1
    table = summary.summary_of(data, None, "stimuli")
    np.testing.assert_allclose(table["ceiling_fraction"], expected, rtol=1e-12)
    assert float(table["plateau"].max()) > 1  # other statistics are over all neuroids
    level = emergence.level(data, "ceiling")
    assert level == pytest.approx(np.mean([ceiling[g].mean() for g in groups]))
    mean = findings.mean_of(findings.Result("t", "ridge", data))
    np.testing.assert_allclose(mean.statistics["ceiling_fraction"], expected, rtol=1e-12)
    assert mean.statistics.attrs["with_ceiling"] == len(kept)
    said = narrative._references(narrative.numbers_of(mean, "a"), "log-mel")
    assert "both over the 5 of 6 neuroids" in said


def test_regions_without_any_ceiling_have_no_fraction_and_others_keep_theirs():
    data = results(lacking=(1, 3, 5))
    table = summary.summary_of(data, "region", "stimuli")
    part = table["ceiling_fraction"].sel(region="q")
    assert part.isnull().all()
    whole = data.sel(neuroid=["n0", "n2", "n4"]).assign_coords(region=("neuroid", ["r"] * 3))
    alone = summary.ceiling_fraction(whole, "region", "stimuli")["estimate"].sel(region="r")
    np.testing.assert_allclose(table["ceiling_fraction"].sel(region="r"), alone, rtol=1e-12)


def test_nothing_is_left_out_of_results_without_gaps():
    data = results(lacking=())
    assert with_ceiling(data) is data
    assert summary.ceiling_fraction(data, None, "stimuli").attrs["neuroids_without_ceiling"] == 0
    mean = findings.mean_of(findings.Result("t", "ridge", data))
    assert "with_ceiling" not in mean.statistics.attrs
    fraction = emergence.ceiling_fraction(data["score"].mean("neuroid"), data["ceiling"].mean())
    np.testing.assert_allclose(mean.statistics["ceiling_fraction"], fraction, rtol=1e-12)


def test_the_report_says_what_was_left_out():
    data = results().assign_attrs(gaps="1 of 6 neuroids left out", identity={"metric": "ridge"})
    result = findings.Result("t", "ridge", data)
    written, _ = protocol.paragraphs(
        xr.DataTree(xr.Dataset(attrs={"run": "r"})), [(result, findings.curves_of(result))]
    )
    assert "In t: 1 of 6 neuroids left out." in written
