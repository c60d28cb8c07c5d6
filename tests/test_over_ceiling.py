"""The score over the noise ceiling, in the place of the score: plain division, ratios of means."""

import numpy as np
import pytest
import xarray as xr
from plots_results import of_one_subject

from dynamics import emergence
from dynamics.accessor import Dynamics
from dynamics.analysis import values


@pytest.fixture
def data():
    found = of_one_subject()
    ceiling = np.linspace(0.5, 0.95, 8)
    ceiling[-1] = np.nan
    return found.assign_coords(ceiling=("neuroid", ceiling)).assign(
        fold_score=found["score"].expand_dims(split=2)
    )


def test_everything_is_over_the_neuroids_own_ceiling(data):
    shown = values.of(data, "over_ceiling")
    ceiling = data["ceiling"].drop_vars("ceiling")
    for name in ("score", "baseline"):
        np.testing.assert_allclose(shown[name], data[name] / ceiling)
    again = shown["resample_score"]
    expected = emergence.stabilised(data["score"], data["resample_score"]) / ceiling
    np.testing.assert_allclose(again, expected.transpose(*again.dims))
    assert again.attrs["correlation"] == 0 and again.attrs["paired"] == 1
    assert np.isnan(shown["score"][:, :, -1]).all() and (shown["ceiling"][:-1] == 1).all()
    assert "fold_score" not in shown and "1 of 8 neuroids have no" in shown.attrs["left_out"]
    curve = Dynamics(data).curves(value="over_ceiling")
    ratio = data["score"][..., :-1].mean("neuroid") / ceiling[:-1].mean()
    np.testing.assert_allclose(curve, ratio)
    found = Dynamics(data).half_time(value="over_ceiling")
    assert (found["lower"] <= found["estimate"]).all()


def test_without_a_ceiling_it_is_refused(data):
    with pytest.raises(ValueError, match="no `over_ceiling`: responses were not repeated"):
        values.of(data.drop_vars("ceiling"), "over_ceiling")
    rsa = data.assign_attrs(identity={"metric": "rsa"})
    with pytest.raises(ValueError, match="metric 'rsa' has no value 'over_ceiling'"):
        values.of(rsa, "over_ceiling")
    assert isinstance(values.of(data, "score"), xr.Dataset)
