"""Resamples as means of groups of neuroids, and of the protocols of published studies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import dynamics.accessor  # noqa: F401 (registers it)
from dynamics import analysis, emergence, metrics
from dynamics.analysis import METHODS
from dynamics.brains import targets
from dynamics.config import Choice, validate
from dynamics.emergence.aggregate import average
from dynamics.emergence.remarks import why_no_intervals
from dynamics.report import findings

N, V = 40, 24
SUBJECTS, REGIONS = np.repeat(["s1", "s2", "s3"], 8), np.array(["core", "belt", "belt"] * 8)


def sweep(**keys):
    content = {"run": "x", "checkpoints": "x", "model": "x", "stimuli": "x", "targets": ["brain"]}
    return validate(content | keys, origin="test")


def brain(gaps=False):
    """Responses that follow layer a of a step more, the later it is."""
    rng = np.random.default_rng(0)
    layers = [{"a": rng.standard_normal((N, 8)), "b": rng.standard_normal((N, 5))}
              for _ in range(4)]  # fmt: skip
    signal = sum(k * step["a"] @ rng.standard_normal((8, V)) for k, step in enumerate(layers))
    response = signal + 4 * rng.standard_normal((N, V))
    if gaps:
        response[3, :5] = response[7, 20:] = np.nan
    target = targets.Target(np.arange(N), response, np.arange(N) % 5, SUBJECTS, regions=REGIONS,
                            baseline=rng.standard_normal((N, 3)))  # fmt: skip
    return layers, target


def dataset(target):
    return xr.Dataset(
        {"response": (("stimulus", "neuroid"), target.response)},
        coords={"neuroid": np.arange(V), "subject": ("neuroid", SUBJECTS),
                "region": ("neuroid", REGIONS), "depth": ("neuroid", np.arange(V) / 2)},
    )  # fmt: skip


def results(name, together=None, *, gaps=False, **arguments):
    """Results of all steps, as an analyzer writes them."""
    layers, target = brain(gaps)
    target = replace(target, together=together)
    choice = Choice(name=name, arguments=arguments)
    rows = analysis.halves_of(target, choice, sweep(resamples=8))
    own = analysis.given(choice)
    steps = [METHODS[name](each, target, halves=rows, **own) for each in layers]
    base = METHODS[name]({"base": target.baseline}, target, halves=rows, **own)
    attrs = analysis.attrs_of(name, own)
    found = {key: (("step", *dims), np.stack([step[key][1] for step in steps]), attrs.get(key, {}))
             for key, (dims, _) in steps[0].items()}  # fmt: skip
    found |= {
        "baseline" if key == "score" else f"baseline_{key}": (dims[1:], values[0])
        for key, (dims, values) in base.items()
        if key == "score" or "resample" in key
    }
    if together is not None:
        found |= {"group_of_neuroid": ("neuroid", together),
                  "group_size": ("group", np.bincount(together))}  # fmt: skip
    return xr.Dataset(
        found,
        coords={"step": [0, 10, 100, 1000], "layer": ["a", "b"], **dataset(target).coords},
        attrs={"identity": {"metric": name, "arguments": own, "seed": 0, "resamples": 8}},
    )


def test_groups_are_of_one_subject_and_region():
    together = targets.groups_of_neuroids(dataset(brain()[1]))
    assert together.max() == 5
    for group in range(6):
        members = together == group
        assert len(set(zip(SUBJECTS[members], REGIONS[members]))) == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ridge", {}),
        ("ridge", {"missing": "mask", "gaps": True}),
        pytest.param("banded", {"candidates": 5}, marks=pytest.mark.slow),
        pytest.param("ridge", {"protocol": "pepino", "resamples": 4}, marks=pytest.mark.slow),
        pytest.param("variance_partition", {"candidates": 5}, marks=pytest.mark.slow),
    ],
)
def test_means_of_groups_give_the_intervals_that_all_neuroids_give(name, arguments):
    together = targets.groups_of_neuroids(dataset(brain()[1]))
    each, pooled = results(name, **arguments), results(name, together, **arguments)
    assert "resample_score" in each and "resample_score" not in pooled
    assert pooled["resample_mean"].sizes["group"] == 6
    close = {"rtol": 1e-9, "atol": 1e-9}
    for by in (None, "region", "subject"):
        xr.testing.assert_allclose(
            average(each["resample_score"], by=by).transpose("step", ...),
            pooled.dynamics.resampled(by=by, over="stimuli").transpose(
                *average(each["resample_score"], by=by).transpose("step", ...).dims),
            **close,
        )  # fmt: skip
        for over in ("stimuli", "both") if by != "subject" else ("stimuli",):
            one, other = (x.dynamics.half_time(by=by, over=over) for x in (each, pooled))
            xr.testing.assert_allclose(one, other, **close)
            assert one.attrs | {"limit": 0} == other.attrs | {"limit": 0}
            one, other = (x.dynamics.gain(above="baseline", by=by, over=over)
                          for x in (each, pooled))  # fmt: skip
            xr.testing.assert_allclose(one, other, **close)
    for hue in ("layer", "region", "subject"):
        one, other = (emergence.bands_by(x, hue=hue) for x in (each, pooled))
        assert one.attrs == other.attrs and np.isfinite(other["low"]).any()
        xr.testing.assert_allclose(one, other, **close)
    one, other = (findings.curves_of(findings.Result("brain", name, x)) for x in (each, pooled))
    xr.testing.assert_allclose(one[0].statistics, other[0].statistics, **close)


def test_parts_of_groups_have_no_intervals_and_say_so():
    together = targets.groups_of_neuroids(dataset(brain()[1]))
    pooled = results("ridge", together)
    single = pooled.isel(neuroid=[3])
    assert single.dynamics.resampled() is None and pooled.dynamics.resampled(by="neuroid") is None
    assert "single neuroids have none" in why_no_intervals(single)
    assert set(pooled.dynamics.half_time(by="neuroid")) == {"estimate"}
    with pytest.raises(ValueError, match="single neuroids are not kept, ask by subject or region"):
        pooled.dynamics.compare(by="neuroid")
    # A region of all subjects is whole, and so is a subject.
    belt = pooled.isel(neuroid=np.flatnonzero(REGIONS == "belt"))
    assert belt.dynamics.resampled() is not None and why_no_intervals(belt) == ""


@pytest.mark.parametrize("protocol", ["pepino", "tuckute"])
def test_protocols_are_resampled_by_running_them_on_halves_of_the_stimuli(protocol):
    layers, target = brain()
    single = target.response[..., None] + np.random.default_rng(1).standard_normal((N, V, 2))
    target = replace(target, response=single if protocol == "tuckute" else target.response)
    choice = Choice(name="ridge", arguments={"protocol": protocol, "resamples": 2})
    rows = analysis.halves_of(target, choice, sweep(resamples=6))
    assert sorted([*rows[0], *rows[1]]) == list(range(N))
    assert (np.bincount(target.folds[rows[0]]) >= 4).all()
    found = METHODS["ridge"](layers[3], target, halves=rows, **choice.arguments)
    dims, again = found["resample_score"]
    assert dims == ("layer", "resample", "neuroid") and again.shape == (2, 2, V)
    for number, some in enumerate(rows[:2]):
        folds = {} if protocol == "tuckute" else {"folds": target.folds[some]}
        alone = metrics.encode({k: X[some] for k, X in layers[3].items()}, target.response[some],
                               protocol=protocol, **folds)  # fmt: skip
        # The Gram matrix of all stimuli and that of some differ in their last digits, which now
        # and then decides between two penalties that predict equally well.
        assert (abs(again[:, number] - alone["layer_r"]) < 1e-7).mean() > 0.95
        if protocol == "tuckute":
            again_r2 = found["r2_resample_score"][1][:, number]
            assert (abs(again_r2 - alone["layer_r2"]) < 1e-7).mean() > 0.95
    attrs = analysis.attrs_of("ridge", choice.arguments)
    assert attrs["resample_score"]["paired"] == 1 and attrs["resample_score"]["correlation"] == 1
    assert attrs["r2_resample_score"]["correlation"] == 0


def test_spaces_have_resamples_however_many_neuroids_there_are():
    _, target = brain()
    many = replace(target, response=np.tile(target.response, (1, 30)),
                   subjects=np.tile(SUBJECTS, 30))  # fmt: skip
    for name in ("rsa", "cka"):
        assert analysis.halves_of(many, Choice(name=name), sweep()) is not None


@pytest.mark.parametrize(
    ("choice", "keys", "said"),
    [
        ({"name": "svcca"}, {}, "use `cka` or `procrustes`"),
        ({"name": "rsa", "arguments": {"compare": "kendall"}}, {}, "`compare: spearman`"),
        ({"name": "ridge"}, {"resamples": 0}, "set `resamples: 50`"),
        ({"name": "banded", "arguments": {"resamples": 0}}, {}, "leave that out"),
        ({"name": "ridge", "arguments": {"protocol": "pepino"}}, {}, ""),
    ],
)
def test_what_has_no_resamples_says_why_and_what_has(choice, keys, said):
    found = analysis.without_resamples(Choice(**choice), sweep(**keys))
    assert said in found if said else found == ""
    rows = analysis.halves_of(brain()[1], Choice(**choice), sweep(**keys))
    assert (rows is None) == bool(said)
