"""Tensors in a pickle: described from it alone, or made of the storages beside it.

A pickle states shapes, strides and offsets as it likes. They are held against the storage here, so
that a tensor never reaches beyond it and none is larger than a file of its kind can mean.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dynamics.checkpoints.unpickling import INERT, Inert, Name

REPEATED_LIMIT = 2**28  # elements of a tensor that repeats those of a smaller storage

# Storage classes by the name that a file gives them.
_ELEMENTS = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool, "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128, "QInt8Storage": torch.qint8,
    "QUInt8Storage": torch.quint8, "QInt32Storage": torch.qint32,
    "QUInt4x2Storage": torch.quint4x2, "QUInt2x4Storage": torch.quint2x4,
    "UntypedStorage": torch.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """What a checkpoint says of a tensor without its numbers.

    Attributes
    ----------
    shape : tuple of int
        Size along each axis.
    dtype : str
        Storage type as the file names it, for example ``"FloatStorage"`` or ``"F32"``.
    key : str
        Name of the storage inside the file; empty where there is none.
    offset : int
        First element within the storage.
    stride : tuple of int
        Elements between neighbours along each axis; empty where the file does not say.
    """

    shape: tuple[int, ...]
    dtype: str
    key: str = ""
    offset: int = 0
    stride: tuple[int, ...] = ()


@dataclass(frozen=True)
class StorageKind:
    """A class of storages."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A storage that a pickle refers to; `start` and `size` count elements."""

    kind: str
    key: str
    size: int
    start: int = 0

    @property
    def element(self) -> torch.dtype:
        """Type of its elements."""
        return _ELEMENTS[self.kind]


class Described:
    """Gives a `TensorSpec` for every tensor.

    Parameters
    ----------
    size : callable, optional
        Gives the bytes of a storage by its key, or None where the file has no such storage.
    """

    def __init__(self, size: Callable[[str], int | None] | None = None):
        self._size = size
        self.storages: dict[str, int] = {}  # bytes by key, as the pickle states them

    def persistent(self, pid: Any) -> Any:
        """Take the reference to a storage apart."""
        sort, *rest = pid if isinstance(pid, tuple) else (None,)
        if sort in ("module", b"module"):
            return rest[0]
        if sort not in ("storage", b"storage"):
            raise ValueError("a reference to something else than a storage")
        kind, key, _, size, *view = rest
        if not isinstance(kind, StorageKind) or not _whole([size]):
            raise ValueError("a storage of an unknown kind")
        storage = Storage(kind.name, str(key), size)
        taken = size * storage.element.itemsize
        there = taken if self._size is None else self._size(storage.key)
        if there is None or there < taken:
            raise ValueError(f"the file is cut off: the numbers of storage {storage.key} are gone")
        self.storages[storage.key] = max(taken, self.storages.get(storage.key, 0))
        if view and view[0] is not None:
            _, start, length = view[0]
            if not _whole([start, length]) or start + length > size:
                raise ValueError("a view that leaves its storage")
            storage = Storage(kind.name, str(key), length, start)
        return storage

    def dense(self, spec, storage, dtype, requires_grad, flags):
        """Describe a strided tensor."""
        return spec

    def quantized(self, spec, storage, parameters):
        """Describe a quantized tensor."""
        return spec

    def sparse(self, layout, parts):
        """Describe a sparse tensor."""
        values, size = parts[1:3] if layout == torch.sparse_coo else parts[2:4]
        return TensorSpec(_shape(size), values.dtype)

    def nested(self, buffer, sizes, strides, offsets):
        """Describe a list of tensors of different sizes."""
        return TensorSpec((sizes.shape[0],), buffer.dtype)

    def meta(self, dtype, size, stride, requires_grad):
        """Describe a tensor without numbers."""
        return TensorSpec(_shape(size), str(dtype), stride=_shape(stride))

    def moved(self, data, dtype, requires_grad):
        """Describe a tensor of another device, kept as an array or as a tensor here."""
        return TensorSpec(tuple(data.shape), str(dtype))

    def parameter(self, data, requires_grad):
        """Describe a parameter."""
        return data

    def names(self) -> dict[tuple[str, str], Name]:
        """Return torch's names in pickles."""
        utils: dict[str, Callable[..., Any]] = {
            "_rebuild_tensor": self._tensor,
            "_rebuild_tensor_v2": self._tensor,
            "_rebuild_tensor_v3": self._tensor_v3,
            "_rebuild_qtensor": self._quantized,
            "_rebuild_sparse_tensor": lambda layout, parts: self.sparse(layout, tuple(parts)),
            "_rebuild_nested_tensor": lambda *parts: self.nested(*parts),
            "_rebuild_meta_tensor_no_storage": lambda *parts: self.meta(*parts),
            "_rebuild_parameter": self._parameter,
            "_rebuild_parameter_with_state": self._parameter,
            **dict.fromkeys(_MOVED, self._moved),
        }
        made = {("torch._utils", name): Name(_Mark(name), make) for name, make in utils.items()}
        made["torch._tensor", "_rebuild_from_type_v2"] = Name(_Mark("typed"), self._typed)
        made["torch.nn.parameter", "Parameter"] = Name(torch.nn.Parameter, self._parameter)
        # By the marks, a function among the arguments of another is found again.
        self._functions = {id(entry.thing): entry.make for entry in made.values()}
        return _CONSTANTS | made

    def _tensor(self, storage, offset, size, stride, requires_grad=False, _=None, flags=None):
        return self._spec(storage, offset, size, stride, storage.element, requires_grad, flags)

    def _tensor_v3(self, storage, offset, size, stride, grad, _, dtype, flags=None):
        if not isinstance(dtype, torch.dtype):
            raise ValueError("a tensor without a dtype")
        return self._spec(storage, offset, size, stride, dtype, grad, flags)

    def _spec(self, storage, offset, size, stride, dtype, requires_grad, flags):
        typed = storage.kind != "UntypedStorage"
        spec = _fitting(storage, offset, size, stride, dtype, storage.kind if typed else str(dtype))
        return self.dense(spec, storage, dtype, bool(requires_grad), flags)

    def _quantized(self, storage, offset, size, stride, parameters, *_):
        spec = _fitting(storage, offset, size, stride, storage.element, storage.kind)
        return self.quantized(spec, storage, tuple(parameters))

    def _parameter(self, data, requires_grad=True, *_):
        if not isinstance(data, (TensorSpec, torch.Tensor)):
            raise ValueError("a parameter that is no tensor")
        return self.parameter(data, bool(requires_grad))

    def _moved(self, data, dtype, _, requires_grad):
        if not hasattr(data, "shape") or not isinstance(dtype, torch.dtype):
            raise ValueError("a tensor without numbers")
        return self.moved(data, dtype, bool(requires_grad))

    def _typed(self, function, kind, arguments, _=None):
        make = self._functions.get(id(function))
        if isinstance(function, Inert):
            return INERT
        if make is None or make == self._typed or not (kind in _TENSORS or kind is INERT):
            raise ValueError("a tensor of an unknown class")
        return make(*arguments)


class _Mark:
    """Stands for a function of torch in a pickle."""

    def __init__(self, name: str):
        self.__name__ = name


class Loaded(Described):
    """Makes every tensor; `storage` gives a storage's bytes by its key and type of element."""

    def __init__(
        self,
        storage: Callable[[str, torch.dtype], torch.UntypedStorage],
        size: Callable[[str], int | None] | None = None,
    ):
        super().__init__(size)
        self._make = storage
        self._there: dict[str, torch.UntypedStorage] = {}

    def _storage(self, key: str, element: torch.dtype) -> torch.UntypedStorage:
        """Return one storage for all tensors that share it."""
        if key not in self._there:
            self._there[key] = self._make(key, element)
        return self._there[key]

    def dense(self, spec, storage, dtype, requires_grad, flags):
        """Make a strided tensor, on the storage itself."""
        tensor = torch.empty((0,), dtype=dtype)
        tensor.set_(self._storage(spec.key, dtype), spec.offset, spec.shape, spec.stride)
        if flags:
            known = {name: bool(flags[name]) for name in ("conj", "neg") if name in flags}
            torch._utils.set_tensor_metadata(tensor, known)
        return tensor.requires_grad_() if requires_grad else tensor

    def quantized(self, spec, storage, parameters):
        """Make a quantized tensor."""
        _, scales, zeros, *axis = parameters
        if isinstance(scales, torch.Tensor) and not (
            scales.shape == zeros.shape == (spec.shape[axis[0]],)
        ):
            raise ValueError("scales that do not fit a quantized tensor")
        typed = torch.storage.TypedStorage(
            wrap_storage=self._storage(spec.key, storage.element),
            dtype=storage.element,
            _internal=True,
        )
        return torch._utils._rebuild_qtensor(
            typed, spec.offset, spec.shape, spec.stride, parameters, False, OrderedDict()
        )

    def sparse(self, layout, parts):
        """Make a sparse tensor, its indices checked."""
        if layout == torch.sparse_coo:
            indices, values, size, *merged = parts
            merged = bool(merged[0]) if merged and merged[0] is not None else None
            return torch.sparse_coo_tensor(
                indices, values, _shape(size), check_invariants=True, is_coalesced=merged
            )
        outer, inner, values, size = parts
        return torch.sparse_compressed_tensor(
            outer, inner, values, _shape(size), layout=layout, check_invariants=True
        )

    def nested(self, buffer, sizes, strides, offsets):
        """Make a list of tensors, each within the buffer."""
        reach = offsets + ((sizes - 1).clamp(min=0) * strides).sum(1)
        if min(sizes.min(), strides.min(), offsets.min()) < 0 or reach.max() >= buffer.numel():
            raise ValueError("a nested tensor that leaves its buffer")
        if sizes.prod(1).sum() > buffer.numel():
            raise ValueError("a nested tensor that is larger than its buffer")
        return torch._utils._rebuild_nested_tensor(buffer, sizes, strides, offsets)

    def meta(self, dtype, size, stride, requires_grad):
        """Make a tensor without numbers."""
        return torch.empty_strided(_shape(size), _shape(stride), dtype=dtype, device="meta")

    def moved(self, data, dtype, requires_grad):
        """Make a tensor of another device here."""
        tensor = data if isinstance(data, torch.Tensor) else torch.from_numpy(data)
        return tensor.to(dtype)

    def parameter(self, data, requires_grad):
        """Make a parameter."""
        return torch.nn.Parameter(data.detach(), requires_grad)


def _fitting(storage, offset, size, stride, dtype, name: str) -> TensorSpec:
    """Describe a tensor, and refuse one that leaves its storage."""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    size, stride = _shape(size), _shape(stride)
    if len(size) != len(stride) or not _whole([offset]):
        raise ValueError("a tensor whose shape and strides differ")
    count, bytes_there = math.prod(size), storage.size * storage.element.itemsize
    reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if count and reach * dtype.itemsize > bytes_there:
        raise ValueError(f"a tensor of shape {list(size)} leaves its storage")
    if count * dtype.itemsize > bytes_there and count > REPEATED_LIMIT:
        raise ValueError(f"a tensor of shape {list(size)} is larger than the file")
    return TensorSpec(size, name, storage.key, storage.start + offset, stride)


def _shape(size: Any) -> tuple[int, ...]:
    if not isinstance(size, (tuple, list)) or len(size) > 64 or not _whole(size):
        raise ValueError("a shape that is none")
    return tuple(size)


def _whole(numbers: Sequence[Any]) -> bool:
    return all(type(number) is int and 0 <= number < 2**62 for number in numbers)


def _size(numbers: Any = ()) -> tuple[int, ...]:
    return torch.Size(_shape(numbers))


def _layout(name: Any) -> torch.layout:
    return torch.serialization._get_layout(name)


def _device(kind: Any, index: Any = None) -> torch.device:
    return torch.device(kind) if index is None else torch.device(kind, index)


_MOVED = (
    "_rebuild_device_tensor_from_numpy",
    "_rebuild_device_tensor_from_cpu_tensor",
    "_rebuild_xla_tensor",
)

_TENSORS = (torch.Tensor, torch.nn.Parameter)

_MENTIONED = {
    str(thing).removeprefix("torch."): thing
    for thing in vars(torch).values()
    if isinstance(thing, (torch.dtype, torch.memory_format, torch.qscheme))
}

_CONSTANTS: dict[tuple[str, str], Name] = {
    **{("torch", name): Name(thing) for name, thing in _MENTIONED.items()},
    **{
        (module, kind): Name(StorageKind(kind))
        for module in ("torch", "torch.cuda")
        for kind in _ELEMENTS
        if kind != "UntypedStorage"
    },
    ("torch.storage", "UntypedStorage"): Name(StorageKind("UntypedStorage")),
    ("torch.storage", "_UntypedStorage"): Name(StorageKind("UntypedStorage")),
    ("torch", "Tensor"): Name(torch.Tensor),
    ("torch._tensor", "Tensor"): Name(torch.Tensor),
    ("torch", "Size"): Name(torch.Size, _size),
    ("torch", "device"): Name(torch.device, _device),
    ("torch.serialization", "_get_layout"): Name(_layout, _layout),
}
