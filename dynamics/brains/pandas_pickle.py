"""A table of pandas in a pickle, read without pandas and without running anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dynamics.checkpoints.plain import read_pickle
from dynamics.checkpoints.unpickling import Name


class _Record:
    """What stands for an object of pandas: the arguments it was made of, and its state."""

    def __init__(self, *arguments: Any):
        self.arguments = arguments
        self.state: Any = None


def _kind(name: str) -> type[_Record]:
    return type(name, (_Record,), {})


_FRAME, _MANAGER, _BLOCK, _PLACEMENT, _INDEX = map(
    _kind, ("DataFrame", "BlockManager", "Block", "BlockPlacement", "Index")
)
_CATEGORIES, _TEXTS, _MASKED, _DTYPE, _BACKED = map(
    _kind, ("CategoricalDtype", "StringDtype", "Masked", "Dtype", "Backed")
)
_CATEGORICAL, _RANGE = _kind("Categorical"), _kind("RangeIndex")
_KINDS = (_FRAME, _MANAGER, _BLOCK, _PLACEMENT, _INDEX, _CATEGORIES, _TEXTS, _MASKED, _DTYPE,
          _BACKED, _CATEGORICAL, _RANGE)  # fmt: skip

# By the places that the versions of pandas name: a short one since version 3.
_PLACES: dict[type[_Record], Sequence[str]] = {
    _FRAME: ("pandas.DataFrame", "pandas.core.frame.DataFrame"),
    _MANAGER: ("pandas.core.internals.managers.BlockManager",),
    _BLOCK: ("pandas._libs.internals._unpickle_block",),
    _PLACEMENT: ("pandas._libs.internals.BlockPlacement",),
    _CATEGORIES: ("pandas.CategoricalDtype", "pandas.core.dtypes.dtypes.CategoricalDtype"),
    _CATEGORICAL: ("pandas.Categorical", "pandas.core.arrays.categorical.Categorical"),
    _TEXTS: ("pandas.StringDtype", "pandas.core.arrays.string_.StringDtype"),
    _RANGE: ("pandas.RangeIndex", "pandas.core.indexes.range.RangeIndex"),
    _BACKED: ("pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",),
}
# Several names of one meaning; each needs a mark of its own.
_ALIKE: dict[type[_Record], Sequence[str]] = {
    _INDEX: ("pandas.Index", "pandas.core.indexes.base.Index",
             "pandas.core.indexes.numeric.Int64Index", "pandas.core.indexes.numeric.UInt64Index",
             "pandas.core.indexes.numeric.Float64Index"),
    _MASKED: tuple(f"{place}.{kind}Array" for place, kinds in {
        "pandas.arrays": ("Integer", "Floating", "Boolean", "String"),
        "pandas.core.arrays.integer": ("Integer",),
        "pandas.core.arrays.floating": ("Floating",),
        "pandas.core.arrays.boolean": ("Boolean",),
        "pandas.core.arrays.string_": ("String",),
    }.items() for kind in kinds),
    _DTYPE: tuple(f"{place}{kind}Dtype" for place, kinds in {
        "pandas.": ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64",
                    "Float32", "Float64", "Boolean"),
        "pandas.core.arrays.integer.": ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16",
                                        "UInt32", "UInt64"),
        "pandas.core.arrays.floating.": ("Float32", "Float64"),
        "pandas.core.arrays.boolean.": ("Boolean",),
    }.items() for kind in kinds),
}  # fmt: skip


def _new_index(kind: Any, state: Any) -> _Record:
    found = _INDEX(kind)
    found.state = state
    return found


def _names() -> dict[tuple[str, str], Name]:
    table = {place: Name(kind, kind) for kind, places in _PLACES.items() for place in places}
    for kind, places in _ALIKE.items():
        table |= {place: Name(own := _kind_of(kind), own) for place in places}
    table["pandas.core.indexes.base._new_Index"] = Name(_new_index, _new_index)
    return {tuple(place.rpartition(".")[::2]): name for place, name in table.items()}  # type: ignore[misc]


def _kind_of(kind: type[_Record]) -> type[_Record]:
    return type(kind.__name__, (kind,), {})


def _keep(thing: _Record, state: Any) -> _Record:
    thing.state = state
    return thing


def read_table(path: str | Path) -> dict[str, np.ndarray]:
    """Read a DataFrame of plain columns.

    Parameters
    ----------
    path : str or Path
        As ``DataFrame.to_pickle`` writes it, of pandas 1 to 3, uncompressed.

    Returns
    -------
    dict of str to array of shape (n_rows,)
        Columns by name: numbers (NaN where one is missing), truth values, and objects for texts
        and categories (None where one is missing).

    Raises
    ------
    ValueError
        If it is no such table, has columns of another kind or several of one name, or names
        anything that could run code.
    """
    names = _names()
    made = {type_.thing for type_ in names.values() if isinstance(type_.thing, type)}
    frame = read_pickle(path, more=names, states=dict.fromkeys([*made, *_KINDS], _keep))
    if not isinstance(frame, _FRAME):
        raise ValueError(f"'{path}' holds no table of pandas")
    try:
        return _columns(frame.state)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(f"'{path}' holds a table that is not understood ({error})") from None


def _columns(state: Any) -> dict[str, np.ndarray]:
    manager = state.get("_mgr", state.get("_data"))
    blocks, axes = _blocks(manager)
    labels = [str(label) for label in _values(axes[0]).tolist()]
    if len(set(labels)) < len(labels):
        raise ValueError("two columns have one name")
    found: dict[int, np.ndarray] = {}
    for values, places in blocks:
        each = _values(values)
        rows = each if each.ndim == 2 else each[None]
        for place, row in zip(_places(places, len(labels)), rows, strict=True):
            found[place] = row
    return {label: found[place] for place, label in enumerate(labels)}


def _blocks(manager: _Record) -> tuple[list[tuple[Any, Any]], Sequence[Any]]:
    """Return values and places of the blocks, and the axes, of any version's manager."""
    if manager.arguments:
        blocks, axes = manager.arguments
        return [block.arguments[:2] for block in blocks], axes
    kept = manager.state[3]["0.14.1"]  # before pandas 1.3
    return [(block["values"], block["mgr_locs"]) for block in kept["blocks"]], kept["axes"]


def _places(given: Any, count: int) -> list[int]:
    if isinstance(given, _PLACEMENT):
        (given,) = given.arguments
    return np.arange(count)[given].ravel().tolist()


def _values(thing: Any) -> np.ndarray:
    """Return the values of a block or of an index."""
    if isinstance(thing, np.ndarray):
        if thing.dtype.kind not in "biufO":
            raise ValueError(f"values of {thing.dtype}")
        return thing
    take = next((take for kind, take in _TAKEN.items() if isinstance(thing, kind)), None)
    if take is None:
        raise ValueError(f"values of {type(thing).__name__}")
    return take(thing)


def _of_index(index: _Record) -> np.ndarray:
    if index.arguments[0] is _RANGE:
        return np.arange(*(int(index.state[key]) for key in ("start", "stop", "step")))
    return _values(index.state["data"])


def _of_backed(backed: _Record) -> np.ndarray:
    """Return what lies in one array: codes of categories, or texts."""
    (values,) = [part for part in backed.state if isinstance(part, np.ndarray)]
    kinds = [part for part in backed.state if isinstance(part, _CATEGORIES)]
    return _decoded(values, kinds[0]) if kinds else _values(values)


def _of_categorical(old: _Record) -> np.ndarray:
    return _decoded(old.state["_codes"], old.state["_dtype"])


def _decoded(codes: np.ndarray, kind: _Record) -> np.ndarray:
    labels = np.array([*_values(kind.state["categories"]).tolist(), None], dtype=object)
    if ((codes < -1) | (codes >= len(labels) - 1)).any():
        raise ValueError("categories that are not there")
    return labels[codes]


def _of_masked(masked: _Record) -> np.ndarray:
    if "_mask" not in masked.state:
        return _values(masked.state["_ndarray"])
    return np.where(masked.state["_mask"], np.nan, masked.state["_data"].astype(float))


_TAKEN: dict[type[_Record], Callable[[Any], np.ndarray]] = {
    _INDEX: _of_index,
    _BACKED: _of_backed,
    _CATEGORICAL: _of_categorical,
    _MASKED: _of_masked,
}
