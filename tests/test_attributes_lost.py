"""Operations of xarray may drop attributes: what decides a number is kept, or refused, not guessed.

`xr.set_options(keep_attrs=False)` is what older versions of xarray do by default.
"""

import contextlib

import numpy as np
import pytest
import xarray as xr
from plots_results import results

import dynamics.accessor  # noqa: F401
from dynamics import emergence, plots
from dynamics.analysis import values
from dynamics.report import findings

LOST = r"the resamples have lost how they were made \(attribute .*keep_attrs=True"


def changed(found, *, keep):
    """What somebody does to results before asking for statistics: all in a new unit."""
    with xr.set_options(keep_attrs=keep):
        again = found["resample_score"] * 1.0
    return found.assign(resample_score=again)


ASKED = {
    "half_time": lambda r: r.dynamics.half_time(),
    "half_time over both": lambda r: r.dynamics.half_time(over="both"),
    "onset": lambda r: r.dynamics.onset(by="region"),
    "plateau": lambda r: r.dynamics.plateau(),
    "peak": lambda r: r.dynamics.peak(),
    "decline": lambda r: r.dynamics.decline(),
    "gain": lambda r: r.dynamics.gain(),
    "gain above": lambda r: r.dynamics.gain(above="baseline"),
    "area": lambda r: r.dynamics.area(),
    "ceiling_fraction": lambda r: r.dynamics.ceiling_fraction(),
    "order": lambda r: r.dynamics.order(),
    "compare": lambda r: r.dynamics.compare(),
    "compare_with": lambda r: r.dynamics.compare_with(r),
    "best_layer": lambda r: r.dynamics.best_layer(),
    "bands": lambda r: r.dynamics.bands(),
    "summarize": lambda r: r.dynamics.summarize(),
    "plot_curves": lambda r: plots.plot_curves(r),
    "plot_order": lambda r: plots.plot_order(r),
    "plot_best_layer": lambda r: plots.plot_best_layer(r),
    "plot_models": lambda r: plots.plot_models({"a": r}),
    "report": lambda r: findings.mean_of(findings.Result("brain", "ridge", r)).statistics,
}


@pytest.mark.parametrize("name", ASKED)
def test_lost_schemes_are_refused_with_what_to_do(name):
    with pytest.raises(ValueError, match=LOST):
        ASKED[name](changed(results(), keep=False))
    ASKED[name](changed(results(), keep=True))


@pytest.mark.parametrize("name", ASKED)
def test_what_never_had_resamples_has_estimates_and_no_limits(name):
    bare = results().drop_vars("resample_score")
    needs = name in ("order", "compare", "compare_with", "best_layer", "bands") or "both" in name
    with pytest.raises(ValueError, match="no intervals") if needs else contextlib.nullcontext():
        ASKED[name](bare)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", [n for n in ASKED if not n.startswith("plot")])
def test_the_option_of_whoever_asks_changes_no_number(name, keep):
    expected = ASKED[name](results())
    with xr.set_options(keep_attrs=keep):
        found = ASKED[name](results())
    xr.testing.assert_equal(found, expected)


@pytest.mark.parametrize("lost", list(emergence.Scheme().attrs))
def test_a_single_lost_attribute_is_named(lost):
    found = results()
    del found["resample_score"].attrs[lost]
    with pytest.raises(ValueError, match=rf"\(attribute {lost}\)"):
        found.dynamics.half_time()


def test_a_scheme_that_is_given_again_gives_the_limits_again():
    found, lost = results(), changed(results(), keep=False)
    scheme = emergence.scheme("halves", n=2, kept=1, resamples=2)
    lost["resample_score"] = lost["resample_score"].assign_attrs(scheme.attrs)
    xr.testing.assert_equal(lost.dynamics.half_time(), found.dynamics.half_time())


def of_store():
    """Results as a store has them: how they were made is a label beside the scores."""
    found = results().assign(r2=results()["score"] ** 2)
    identity = {"metric": "ridge", "arguments": {}, "seed": 0, "resamples": 20}
    return found.assign_coords(protocol="ridge, default").assign_attrs(identity=identity)


def test_results_that_lost_what_they_are_of_are_not_compared_or_taken_for_another_value():
    with xr.set_options(keep_attrs=False):
        lost = of_store().map(lambda x: x, keep_attrs=False).drop_attrs(deep=False)
    lost["resample_score"].attrs = of_store()["resample_score"].attrs
    told = r"lost what they are of \(attribute `identity`\).*keep_attrs=True"
    for first, second in ((lost, of_store()), (of_store(), lost), (lost, lost)):
        with pytest.raises(ValueError, match=told):
            first.dynamics.compare_with(second)
    for value in ("r2", "score"):
        with pytest.raises(ValueError, match=told):
            values.of(lost, value)
    with pytest.raises(ValueError, match=told):
        plots.plot_models({"a": lost, "b": lost})
    np.testing.assert_allclose(  # what does not depend on it is answered
        lost.dynamics.half_time()["upper"], of_store().dynamics.half_time()["upper"]
    )


def test_intervals_that_lost_how_sure_they_are_are_not_drawn_as_95_percent():
    found = results().dynamics.half_time(confidence=0.5)
    with pytest.raises(ValueError, match="lost how sure they are"):
        plots.plot_intervals(found.drop_attrs(deep=False), steps=results()["step"].to_numpy())
