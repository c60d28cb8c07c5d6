"""Averages within labels are those of xarray's groups, also where there is one label alone."""

import numpy as np
import pytest
import xarray as xr

from dynamics.emergence.aggregate import _within


@pytest.mark.parametrize("labels", ["aaaaa", "aabbb"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("how", ["mean", "sum"])
def test_one_label_is_a_group_as_several_are(labels, place, how):
    values = xr.DataArray(
        np.random.default_rng(0).random((4, 3, 5)),
        dims=("step", "layer", "neuroid"),
        coords={
            "step": range(4),
            "layer": list("xyz"),
            "neuroid": list("12345"),
            "subject": ("neuroid", list(labels)),
            "region": ("neuroid", list("qqqqq")),
        },
        name="score",
    )
    values[0, 0, 0] = np.nan
    others = ["step", "layer"]
    values = values.transpose(*others[:place], "neuroid", *others[place:])
    expected = getattr(values.groupby("subject"), how)("neuroid")
    found = _within(values, "subject", "neuroid", how)
    xr.testing.assert_identical(found, expected)
    assert found.dims == expected.dims
