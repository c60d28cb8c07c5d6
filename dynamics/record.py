"""Attributes that are more than a text or a number, as netCDF and every other format takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


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


def _portable(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (str, int, float, np.generic)):
        return value
    numbers = isinstance(value, list) and all(type(each) in (int, float) for each in value)
    return value if numbers and value else json.dumps(value, ensure_ascii=False)
