"""Attributes that are more than a text or a number, as netCDF and every other format takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr


def portable(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as every format takes them.

    Parameters
    ----------
    attrs : mapping
        Of JSON types, as zarr keeps them.

    Returns
    -------
    dict
        Texts, numbers and lists of numbers stay; truth is 0 or 1; mappings and other lists are
        JSON texts, which `mapping` reads.
    """
    return {str(key): _portable(value) for key, value in attrs.items()}


def mapping(value: Any) -> dict[str, Any]:
    """Return an attribute that is a mapping, or the JSON text of one; empty where it is neither.

    Parameters
    ----------
    value : object
        Such as ``results.attrs["identity"]``: everything that shaped the numbers.

    Returns
    -------
    dict
        A copy.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


SCHEME = ("spread", "paired", "correlation", "limit")
"""Attributes of scores on resamples, without which they have other limits."""


def check_scheme(resampled: xr.DataArray) -> None:
    """Raise a ValueError if scores on resamples have lost how they were made.

    Parameters
    ----------
    resampled : xarray.DataArray
        Of results, or made of those.

    Raises
    ------
    ValueError
        If an attribute is not there, as operations of xarray may lose them.
    """
    if lost := [name for name in SCHEME if name not in resampled.attrs]:
        raise ValueError(
            f"the resamples have lost how they were made (attribute {', '.join(lost)}), without "
            "which their limits would be others: do what was done to them under "
            "`xr.set_options(keep_attrs=True)`, or give it again with "
            "`assign_attrs(dynamics.emergence.scheme(...).attrs)`"
        )


def identity_of(results: xr.Dataset) -> dict[str, Any]:
    """Return what shaped the numbers of results, where a number depends on it.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    dict
        Empty where they never came from a store.

    Raises
    ------
    ValueError
        If they came from one, and have lost it.
    """
    found = mapping(results.attrs.get("identity"))
    if not found and "protocol" in results.variables:
        raise ValueError(
            "the results have lost what they are of (attribute `identity`): do what was done to "
            "them under `xr.set_options(keep_attrs=True)`, or give it again with "
            "`assign_attrs(<the store's results>.attrs)`"
        )
    return found


def _portable(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (str, int, float, np.generic)):
        return value
    numbers = isinstance(value, list) and all(type(each) in (int, float) for each in value)
    return value if numbers and value else json.dumps(value, ensure_ascii=False)
