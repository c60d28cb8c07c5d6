"""The one door through which arrays of any library and layout enter the metrics.

Behind it an array is a NumPy array that torch can take as it is (real numbers of this machine's
byte order, positive strides, writable) or a torch tensor that holds its values (dense, without a
gradient). An ordinary array passes untouched.
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

P = ParamSpec("P")
R = TypeVar("R")

# Where axes belong if an array names them; an axis of another name is one of features.
_PLACES = {"stimulus": 0, "stimuli": 0, "presentation": 0, "time": 1, "times": 1, "time_bin": 1,
           "repetition": 3, "repetitions": 3, "repeat": 3}  # fmt: skip


def takes(**kinds: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that the arguments named come through the door.

    Parameters
    ----------
    **kinds : str
        For each argument a name in `KINDS`; None passes.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def through_the_door(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            given = bound.arguments
            for name, kind in kinds.items():
                if given.get(name) is not None:
                    called = given.get("name", name) if kind == "activations" else name
                    given[name] = KINDS[kind](given[name], called)
            return function(*bound.args, **bound.kwargs)

        return through_the_door

    return decorate


def plain(x: Any, name: str = "X", *, floats: bool = False, complete: bool = False) -> Any:
    """Real numbers as a NumPy array or torch tensor; masked entries are NaN.

    Parameters
    ----------
    x : array of any library, DataFrame or nested list
        Values; an array that is neither NumPy's nor torch's becomes NumPy's. Names of rows and
        columns are not looked at.
    name : str
        What to call the array in an error.
    floats : bool
        Refuse integers and booleans, which are no activations.
    complete : bool
        Refuse masked entries rather than make them NaN.

    Returns
    -------
    array
        The array itself where nothing is to be done.

    Raises
    ------
    TypeError
        If the values are not real numbers, or integers although `floats`.
    ValueError
        If rows of a list differ in length, or an entry is masked although `complete`.
    """
    if isinstance(x, torch.Tensor):
        return _tensor(x, name, floats)
    values, mask = _unpacked(x, name)
    if isinstance(values, torch.Tensor):
        return _tensor(values, name, floats)
    if values.dtype.kind == "O":
        if floats and isinstance(x, np.ndarray):
            _check_kind("O", "object", name, floats)
        values, missing = _from_objects(values, mask, name)
        mask = missing if mask is None else mask | missing
    kind = values.dtype.kind
    if kind == "V" and values.dtype.type is not np.void:  # bfloat16 and the like
        values, kind = values.astype(np.float64), "f"
    _check_kind(kind, values.dtype, name, floats)
    if mask is not None and mask.any():
        if complete:
            raise ValueError(
                f"{name} has {int(mask.sum())} masked entries: leave out what they belong to"
            )
        filled = values.astype(values.dtype if kind == "f" else np.float64)
        filled[mask] = np.nan
        values = filled
    return _for_torch(values)


def labels(x: Any, name: str = "folds") -> Any:
    """Labels or whole numbers (folds, orders) as a NumPy array; a single number passes."""
    if isinstance(x, (int, np.integer)):
        return x
    if isinstance(x, torch.Tensor):
        return x.detach().cpu().numpy()
    values, mask = _unpacked(x, name)
    if mask is not None and mask.any():
        raise ValueError(
            f"{name} has {int(mask.sum())} masked entries: give every stimulus its own"
        )
    values = np.asarray(values)
    return values if values.dtype.kind in "OVUST" else _for_torch(values)


def _activations(x: Any, name: str) -> Any:
    return _not_one_number(plain(_in_order(x), name, floats=True), name)


def _responses(x: Any, name: str) -> Any:
    return _not_one_number(plain(_in_order(x), name), name)


def _layers(x: Any, name: str) -> Any:
    if isinstance(x, Mapping):
        return {key: _activations(value, str(key)) for key, value in x.items()}
    return _activations(x, "X" if name == "layers" else name)


def _several(x: Any, name: str) -> Any:
    if isinstance(x, Mapping):
        return _layers(x, name)
    every = x if hasattr(x, "ndim") else list(x)
    return [_activations(value, f"{name}[{i}]") for i, value in enumerate(every)]


def _courses(x: Any, name: str) -> Any:
    """Responses to each stimulus, (times, neuroids); of a mapping those of each name."""
    every = list(x)
    if not every:
        raise ValueError(f"{name} has no stimuli: give an array (times, neuroids) for each")
    found = [plain(_in_order(part), f"{name}[{i}]") for i, part in enumerate(every)]
    widths = {tuple(part.shape[1:]) for part in found}
    if len(widths) > 1 or any(part.ndim != 2 or len(part) == 0 for part in found):
        odd = next((i for i, part in enumerate(found) if part.ndim != 2 or len(part) == 0
                    or part.shape[1:] != found[0].shape[1:]), 0)  # fmt: skip
        raise ValueError(
            f"{name}[{odd}] has shape {tuple(found[odd].shape)}: give (times, neuroids) for each "
            "stimulus, of as many neuroids each"
        )
    return found


def _layers_of_courses(x: Any, name: str) -> Any:
    if not isinstance(x, Mapping):
        x = {"X": x}
    if not x:
        raise ValueError("there are no layers: give at least one")
    return {key: [_activations(part, str(key)) for part in parts] for key, parts in x.items()}


def _matrices(x: Any, name: str, *, complete: bool = False) -> Any:
    dims = getattr(x, "dims", None)
    if isinstance(dims, tuple) and len(set(dims)) == len(dims):
        square = [d for d in dims if str(d).startswith("stimul")]
        if len(square) == 2 and list(dims[-2:]) != square:
            x = x.transpose(..., *square)
    found = plain(x, name, complete=complete)
    if found.ndim < 2 or 0 in found.shape[-2:]:
        raise ValueError(
            f"{name} has shape {tuple(found.shape)}: give matrices of ([..., ]stimuli, stimuli)"
        )
    return found


KINDS: dict[str, Callable[[Any, str], Any]] = {
    "activations": _activations,
    "layers": _layers,
    "several": _several,
    "courses": _courses,
    "layers of courses": _layers_of_courses,
    "responses": _responses,
    "matrices": _matrices,
    "complete matrices": lambda x, name: _matrices(x, name, complete=True),
    "numbers": plain,
    "complete": lambda x, name: plain(x, name, complete=True),
    "labels": labels,
}


def _not_one_number(x: Any, name: str) -> Any:
    if x.ndim == 0:
        raise ValueError(f"{name} is a single number: give an array with a row for each stimulus")
    return x


def _in_order(x: Any) -> Any:
    """Bring an array whose axes have names (of xarray) to stimuli, times, features, repetitions."""
    dims = getattr(x, "dims", None)
    if not isinstance(dims, tuple) or not any(_PLACES.get(str(d)) == 0 for d in dims):
        return x
    order = sorted(dims, key=lambda d: _PLACES.get(str(d), 2))
    return x if order == list(dims) else x.transpose(*order)


def _tensor(x: torch.Tensor, name: str, floats: bool) -> torch.Tensor:
    if x.device.type == "meta":
        raise ValueError(f"{name} is on torch's meta device and holds no values: load them")
    kind = "c" if x.is_complex() else "f" if x.is_floating_point() else "i"
    if x.is_quantized:
        x, kind = x.dequantize(), "f"
    _check_kind(kind, str(x.dtype).removeprefix("torch."), name, floats)
    if x.requires_grad:
        x = x.detach()
    if x.layout != torch.strided:
        x = x.to_dense()
    return x.cpu() if x.device.type == "mps" else x  # which has no double precision


def _check_kind(kind: str, dtype: Any, name: str, floats: bool) -> None:
    wanted = "not activations" if floats else "not real numbers"
    if kind == "c":
        raise TypeError(
            f"{name} holds {dtype} values, {wanted}: give real numbers, for instance "
            "the magnitudes, or the real and imaginary parts as features of their own"
        )
    if kind not in "fiub" and not floats:
        raise TypeError(f"{name} holds {dtype} values, not numbers: give an array of numbers")
    if floats and kind != "f":
        raise TypeError(
            f"{name} holds {dtype} values, not activations: "
            "convert it to floats if that is what you mean"
        )


def _unpacked(x: Any, name: str) -> tuple[Any, np.ndarray | None]:
    """Values (NumPy's, or a tensor inside another array) and where they are masked."""
    if type(x) is np.ndarray:
        return x, None
    if hasattr(x, "dims") and hasattr(x, "coords"):  # of xarray, whose `data` may be masked
        return _unpacked(x.data, name)
    if hasattr(x, "__dask_graph__"):
        return _unpacked(x.compute(), name)
    if isinstance(x, np.ma.MaskedArray):
        return np.asarray(x.data), np.ma.getmaskarray(x)
    if hasattr(x, "toarray") and hasattr(x, "nnz"):  # sparse, of SciPy
        return np.asarray(x.toarray()), None
    if isinstance(x, torch.Tensor):
        return x, None
    if isinstance(x, (list, tuple)) and any(hasattr(e, "ndim") and e.ndim for e in x):
        return _stacked(x, name)
    if isinstance(x, (list, tuple)):
        x = [e.item() if isinstance(e, torch.Tensor) else e for e in x]
    try:
        return np.asarray(x), None
    except ValueError:
        raise ValueError(
            f"{name} is a list whose rows differ in length: give as many values in every row"
        ) from None


def _stacked(parts: Any, name: str) -> tuple[Any, np.ndarray | None]:
    found = [_unpacked(part, name) for part in parts]
    if len({tuple(values.shape) for values, _ in found}) > 1:
        raise ValueError(
            f"{name} is a list whose rows differ in length: give as many values in every row"
        )
    if all(isinstance(values, torch.Tensor) for values, _ in found):
        return torch.stack([values.detach() for values, _ in found]), None
    arrays = [v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v for v, _ in found]
    masks = [
        np.zeros(v.shape, bool) if mask is None else mask for v, (_, mask) in zip(arrays, found)
    ]
    return np.stack(arrays), np.stack(masks)


def _from_objects(
    values: np.ndarray, mask: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that Python holds one by one; None and pandas' NA count as masked."""
    flat = values.ravel().tolist()
    hidden = np.zeros(values.shape, bool) if mask is None else mask
    missing = [
        bool(h) or v is None or v is np.ma.masked or type(v).__name__ == "NAType"
        for v, h in zip(flat, hidden.ravel().tolist())
    ]
    there = [v.item() if isinstance(v, torch.Tensor) and v.ndim == 0 else v
             for v, gone in zip(flat, missing) if not gone]  # fmt: skip
    for value in there:
        if not isinstance(value, (numbers.Number, Decimal, np.generic)):
            raise TypeError(
                f"{name} holds {type(value).__name__} values, not numbers: give an array of numbers"
            )
    whole = bool(there) and all(isinstance(v, (numbers.Integral, np.bool_)) for v in there)
    odd = next((v for v in there if isinstance(v, (complex, np.complexfloating))), None)
    if odd is not None:
        _check_kind("c", type(odd).__name__, name, floats=False)
    out = np.zeros(values.size)
    try:
        out[~np.array(missing, bool)] = [float(v) for v in there]
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} holds objects that are not numbers: give numbers") from None
    if whole and np.abs(out).max() < 2**53:
        out = out.astype(np.int64)
    return out.reshape(values.shape), np.array(missing, bool).reshape(values.shape)


def _for_torch(x: np.ndarray) -> np.ndarray:
    """Return the array itself if torch takes it without a word, else a copy."""
    x = np.asarray(x)
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            return x.astype(np.float64)
    fits = all(s >= 0 and s % x.itemsize == 0 for s in x.strides) if x.itemsize else True
    if fits and x.dtype.isnative and x.flags.writeable and x.flags.aligned:
        return x
    # In the order of the original, so that sums are taken in the same order.
    return np.array(x, dtype=x.dtype.newbyteorder("="), order="K", subok=False)
