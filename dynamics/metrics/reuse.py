"""What is made of the layers of a step once, for all targets, metrics, halves and shuffles.

Inside `shared` a Gram matrix is known by the activations that it is of, and a decomposition by the
matrix that is decomposed, bit for bit. Whoever asks for the same gets what was made, which is what
doing it again would give, to the last bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

Array = np.ndarray | torch.Tensor
Made = TypeVar("Made")

MOST = 2**30
"""Bytes up to which Gram matrices and decompositions are kept; what is beyond is made again."""


class _Shelf:
    """What was made so far, and how many bytes more may be kept."""

    def __init__(self, most: int):
        self._made: dict[Hashable, Any] = {}
        self._left = float(most)
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._made:
                return self._made[key]
        value = make()
        size = _bytes(value)
        with self._lock:
            if key not in self._made and size <= self._left:
                self._made[key] = value
                self._left -= size
        return value


class _Inside(NamedTuple):
    """The shelf, and the layers that are shared: of each place in memory which it is."""

    shelf: _Shelf
    layers: Mapping[Hashable, object]


_inside: ContextVar[_Inside | None] = ContextVar("inside", default=None)


@contextlib.contextmanager
def shared(*layers: Array, most: int = MOST) -> Iterator[None]:
    """Inside, Gram matrices of these layers and all decompositions are made once.

    Within another such context these layers are added to its own, and share its bytes.

    Parameters
    ----------
    *layers : array of shape (n, p)
        Activations; they must not be changed inside.
    most : int
        Bytes that are kept at most.
    """
    around = _inside.get() or _Inside(_Shelf(most), {})
    own = {_place(X): object() for X in layers}
    token = _inside.set(around._replace(layers={**around.layers, **own}))
    try:
        yield
    finally:
        _inside.reset(token)


def gram_once(X: Array, make: Callable[[], Array]) -> Array:
    """Return what is made of a layer that is shared, as a copy; of another array make it."""
    inside = _inside.get()
    layer = None if inside is None else inside.layers.get(_place(X))
    if inside is None or layer is None:
        return make()
    made = torch.as_tensor(inside.shelf.get(_key("gram", layer), make))
    return made.clone() if isinstance(X, torch.Tensor) else made.numpy().copy()


def once(what: str, make: Callable[[], Made], *of: torch.Tensor | Hashable) -> Made:
    """Make something, or return what was made `of` the same before; it must not be changed.

    Parameters
    ----------
    what : str
        What is made.
    make : callable
        Makes it.
    *of : tensors, or what can be the key of a dictionary
        All that it depends on.

    Returns
    -------
    object
        What `make` returns, of tensors in whatever lists, mappings and tuples.
    """
    inside = _inside.get()
    if inside is None:
        return make()
    parts = [_content(each) if isinstance(each, torch.Tensor) else each for each in of]
    return inside.shelf.get(_key(what, *parts), make)


def _key(*parts: Hashable) -> Hashable:
    # Libraries sum in another order on another number of threads.
    return torch.get_num_threads(), *parts


def _place(X: Array) -> Hashable:
    """Where an array lies in memory, and how: the same for an array and a tensor that share it."""
    if isinstance(X, torch.Tensor):
        size, kind = X.element_size(), str(X.dtype).removeprefix("torch.")
        return X.data_ptr(), tuple(X.shape), tuple(size * s for s in X.stride()), kind
    return X.__array_interface__["data"][0], X.shape, X.strides, X.dtype.name


def _content(X: torch.Tensor) -> Hashable:
    """Digest of the values, bit for bit; a decomposition takes hundreds of times as long."""
    values = np.ascontiguousarray(X.detach().cpu().numpy())
    digest = hashlib.blake2b(values.data, digest_size=20).digest()
    return digest, tuple(X.shape), str(X.dtype), str(X.device)


def _bytes(value: Any) -> float:
    """How large something is; infinite where that is not known, as it is then not kept."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return float(value.nbytes)
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes, value))
    return 8.0 if value is None or isinstance(value, (int, float, np.generic)) else np.inf
