"""Round activations to the values of a smaller type, and say what that costs.

Rounded activations stay float32 arrays: every reader gets float32, and the mantissa bits that are
zero take no room once bits of equal weight stand together (`dynamics.store.layout.CODECS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from dynamics.store import nodes
from dynamics.store.layout import MisfitError
from dynamics.tables import check_name


@dataclass(frozen=True)
class Precision:
    """A floating-point type by what it keeps of a float32.

    Attributes
    ----------
    bits : int
        Explicit bits of the mantissa; 23 in float32.
    bound : float
        Largest relative error of rounding to nearest, of values in the type's normal range.
    largest : float
        Largest finite value.
    """

    bits: int
    bound: float
    largest: float


PRECISIONS = {
    "float32": Precision(23, 0.0, 3.4028235e38),
    "float16": Precision(10, 2.0**-11, 65504.0),
    "bfloat16": Precision(7, 2.0**-8, 3.3895314e38),
}


def round_layers(layers: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Round the layers of a step to the values that a type can hold.

    Parameters
    ----------
    layers : mapping of str to array
        Activations by layer, of any shape.
    dtype : {"float32", "float16", "bfloat16"}
        The type.

    Returns
    -------
    dict of str to array
        float32, of the same shapes; rounded to nearest, ties to even.

    Raises
    ------
    ValueError
        If the type is unknown.
    MisfitError
        If a value is beyond its largest one; nothing becomes infinite.
    """
    check_name("dtype", dtype, PRECISIONS)
    rounded = {}
    for layer, values in layers.items():
        values = np.ascontiguousarray(values, "float32")
        with np.errstate(over="ignore"):  # said below, with the layer's name
            rounded[layer] = _round(values, dtype)
        over = np.isfinite(values) & ~np.isfinite(rounded[layer])
        if over.any():
            raise MisfitError(
                f"layer {layer} has the value {values[over][0]:.6g}, beyond the largest of {dtype} "
                f"({PRECISIONS[dtype].largest:.6g}): set `dtype` to float32"
                + (" or bfloat16" if dtype == "float16" else "")
            )
    return rounded


def record_errors(array: zarr.Array, values: np.ndarray, rounded: np.ndarray, dtype: str) -> None:
    """Keep the largest rounding errors so far in the attributes of an array: see `Errors`.

    Parameters
    ----------
    array : zarr.Array
        Activations of a layer.
    values, rounded : array
        One step's activations before and after, of the same shape.
    dtype : str
        The type rounded to; nothing is recorded for float32.
    """
    if dtype != "float32":
        errors = Errors()
        errors.add(values, rounded)
        errors.record(array, dtype)


class Errors:
    """What rounding changes in a layer of a step, of which the parts come one after the other."""

    def __init__(self) -> None:
        self.largest = self._errors = self._values = 0.0

    def add(self, values: np.ndarray, rounded: np.ndarray) -> None:
        """Measure what rounding changed; values that are not finite are left out.

        Parameters
        ----------
        values, rounded : array
            Before and after, of the same shape.
        """
        exact = np.asarray(values, float)[np.isfinite(values)]
        error = np.abs(np.asarray(rounded, float)[np.isfinite(values)] - exact)
        nonzero = exact != 0
        if nonzero.any():
            largest = float((error[nonzero] / np.abs(exact[nonzero])).max())
            self.largest = max(self.largest, largest)
            self._errors = float(np.hypot(self._errors, np.linalg.norm(error)))
            self._values = float(np.hypot(self._values, np.linalg.norm(exact)))

    @property
    def rms(self) -> float:
        """RMS of the errors over RMS of the values."""
        return self._errors / self._values if self._values else 0.0

    def record(self, array: zarr.Array, dtype: str) -> None:
        """Keep the largest errors so far in the attributes of an array.

        Parameters
        ----------
        array : zarr.Array
            Activations of a layer; gets the attributes `rounded_to`, `relative_error_bound` (of
            values in the type's normal range), `largest_relative_error` (of any value that is not
            0) and `rms_relative_error` (the worst step's).
        dtype : str
            The type rounded to; nothing is recorded for float32.
        """
        if dtype == "float32":
            return
        known = nodes.attributes(array)
        largest = max(self.largest, float(known.get("largest_relative_error", 0.0)))
        found: dict[str, Any] = {
            "rounded_to": dtype,
            "relative_error_bound": PRECISIONS[dtype].bound,
            "largest_relative_error": largest,
            "rms_relative_error": max(self.rms, float(known.get("rms_relative_error", 0.0))),
        }
        if any(known.get(key) != value for key, value in found.items()):
            array.update_attributes(found)


_WORST = ("largest_relative_error", "rms_relative_error")


def merge_errors(array: zarr.Array, found: Mapping[str, Any]) -> None:
    """Keep the largest rounding errors of an array and of another that has some of its steps.

    Parameters
    ----------
    array : zarr.Array
        Activations of a layer.
    found : mapping
        Attributes of the other, as `Errors.record` makes them.
    """
    if "rounded_to" not in found:
        return
    known = nodes.attributes(array)
    worst = {key: max(float(found[key]), float(known.get(key, 0.0))) for key in _WORST}
    told = {key: found[key] for key in ("rounded_to", "relative_error_bound")} | worst
    if any(known.get(key) != value for key, value in told.items()):
        array.update_attributes(told)


def rounding_errors(values: np.ndarray, rounded: np.ndarray) -> tuple[float, float]:
    """Measure what rounding changed; values that are not finite are left out.

    Parameters
    ----------
    values, rounded : array
        Before and after, of the same shape.

    Returns
    -------
    largest : float
        Largest error relative to its own value.
    rms : float
        RMS of the errors over RMS of the values.
    """
    errors = Errors()
    errors.add(values, rounded)
    return errors.largest, errors.rms


def _round(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "float16":
        return values.astype("float16").astype("float32")
    if dtype == "bfloat16":
        # Half of the last bit kept, less one where that bit is even, carries as rounding must.
        bits = values.view("uint32")
        bits = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        return np.where(np.isfinite(values), bits.view("float32"), values)
    return values
