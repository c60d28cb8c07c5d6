"""Check arrays at the door and turn activations into Gram matrices.

Every linear metric of a layer X (n stimuli, p features) depends on X only through its Gram matrix
K = X X', because n is nearly always smaller than p. The matrix is made once and handed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from dynamics.metrics.reuse import gram_once
from dynamics.metrics.validation import plain, takes

Array = np.ndarray | torch.Tensor


@takes(X="activations")
def gram(X: Array, *, name: str = "X") -> Array:
    """Linear Gram matrix of the column-centred activations, in double precision.

    Columns are centred over all rows first. Centring again on any subset of rows gives the same
    matrix as centring the subset alone, so nothing is lost, and a large common offset of the
    activations costs no precision.

    Parameters
    ----------
    X : array of shape (n, p)
        Activations in any unit, NumPy or torch; finite floats.
    name : str
        What to call the array in an error.

    Returns
    -------
    array of shape (n, n)
        K = Xc Xc', of the kind (and on the device) of `X`.

    Raises
    ------
    TypeError
        If `X` holds integers or booleans.
    ValueError
        If `X` is not two-dimensional or holds a value that is not finite.
    """
    return gram_once(X, lambda: _gram(X, name))


def _gram(X: Array, name: str) -> Array:
    tensor = activations(X, name=name)
    tensor = tensor - tensor.mean(0)
    return like(tensor @ tensor.T, X)


@takes(layers="layers")
def grams(layers: Array | Mapping[str, Array]) -> tuple[tuple[str, ...], Array]:
    """Gram matrices of several layers, stacked.

    Parameters
    ----------
    layers : array of shape (n, p) or mapping of names to such arrays
        The widths p may differ, the rows may not.

    Returns
    -------
    names : tuple of str
        Names of the layers; a single array is called ``"X"``.
    K : array of shape (layers, n, n)
        See `gram`.

    Raises
    ------
    ValueError
        If there is no layer, or the layers' rows differ in number.
    """
    named = check_layers(layers)
    matrices = [as_tensor(gram(X, name=name)) for name, X in named.items()]
    return tuple(named), like(torch.stack(matrices), next(iter(named.values())))


@takes(K="complete matrices")
def centre(K: Array) -> Array:
    """Doubly centred Gram matrices, H K H with H = I - 11'/n.

    Parameters
    ----------
    K : array of shape (..., n, n)
        Gram matrices.

    Returns
    -------
    array of shape (..., n, n)
        The Gram matrices of the column-centred activations.
    """
    tensor = as_tensor(K)
    rows = tensor.mean(-1, keepdim=True)
    centred = tensor - rows - rows.mT + rows.mean(-2, keepdim=True)
    return like(centred, K)


def check_layers(layers: Array | Mapping[str, Array]) -> dict[str, Array]:
    """Layers by name, with equally many rows; a single array becomes the one layer ``"X"``."""
    named = dict(layers) if isinstance(layers, Mapping) else {"X": layers}
    if not named:
        raise ValueError("there is no layer to compare: give at least one array of activations")
    counts = {name: len(X) for name, X in named.items()}
    if len(set(counts.values())) > 1:
        low, high = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        raise ValueError(
            f"layer {low!r} has {counts[low]} stimuli and layer {high!r} has {counts[high]}: "
            "give every layer the same stimuli in the same order"
        )
    return named


def activations(X: Array, *, name: str = "X", repeated: bool = False) -> torch.Tensor:
    """Check one layer's activations and return them as a double-precision tensor (n, p).

    With `repeated` an array of (n, p, repetitions) is as good.
    """
    tensor = torch.as_tensor(plain(X, name, floats=True))
    if tensor.ndim != 2 and not (repeated and tensor.ndim == 3):
        more = " or (stimuli, features, repetitions)" if repeated else ""
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}: give an array of (stimuli, features){more}"
        )
    if tensor.shape[1] == 0:
        raise ValueError(f"{name} has no features: leave it out")
    if len(tensor) == 0:
        raise ValueError(f"{name} has no stimuli: give at least one")
    tensor = tensor.double()
    finite = torch.isfinite(tensor)
    if not finite.all():
        row, column = (~finite).nonzero()[0, :2].tolist()
        raise ValueError(
            f"{name} has {int((~finite).sum())} values that are not finite, the first at stimulus "
            f"{row}, feature {column}: leave out the stimuli or features concerned"
        )
    return tensor


def gram_matrices(K: Array, *, name: str = "K") -> torch.Tensor:
    """Check Gram matrices (..., n, n) and return them as a double-precision tensor."""
    tensor = as_tensor(K)
    if tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2]:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}: give Gram matrices of ([layers, ]stimuli, "
            "stimuli)"
        )
    finite = torch.isfinite(tensor)
    if not finite.all():
        row, column = (~finite).nonzero()[0, -2:].tolist()
        raise ValueError(
            f"{name} has values that are not finite, the first at stimuli {row} and {column}: "
            "leave out the stimuli or layers concerned"
        )
    return tensor


def responses(Y: Array, *, name: str = "Y") -> torch.Tensor:
    """Check a brain target (n, v) or (n, v, repetitions); one column may be given as (n,)."""
    tensor = as_tensor(Y)
    if tensor.ndim == 1:
        tensor = tensor[:, None]
    if tensor.ndim not in (2, 3):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}: give (stimuli, neuroids) or "
            "(stimuli, neuroids, repetitions)"
        )
    if len(tensor) == 0:
        raise ValueError(f"{name} has no stimuli: give at least one")
    if 0 in tensor.shape[1:]:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: give at least one neuroid")
    finite = torch.isfinite(tensor)
    if not finite.all():
        bad = (~finite).any(0).reshape(tensor.shape[1], -1).any(1).nonzero().ravel()
        raise ValueError(
            f"{name} has values that are not finite in {len(bad)} neuroids, the first is neuroid "
            f"{int(bad[0])}: leave these neuroids out"
        )
    return tensor


def same_rows(X: Array, Y: Array, *, names: tuple[str, str] = ("X", "Y")) -> None:
    """Raise a ValueError with both counts unless the arrays have equally many rows."""
    if len(X) != len(Y):
        raise ValueError(
            f"{names[0]} has {len(X)} stimuli and {names[1]} has {len(Y)}: "
            "give both the same stimuli in the same order"
        )


def as_tensor(x: Array | Iterable) -> torch.Tensor:
    """Double-precision tensor on the device where the array lives."""
    given = plain(x, "an array")
    if isinstance(given, torch.Tensor):
        return given.double()
    return torch.as_tensor(np.asarray(given, dtype=np.float64))


def like(result: torch.Tensor, *given: Array) -> Array:
    """Return the result as torch if any of the given arrays is torch, else as NumPy."""
    if any(isinstance(x, torch.Tensor) for x in given):
        return result
    return result.cpu().numpy()
