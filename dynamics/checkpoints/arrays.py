"""NumPy's scalars, dtypes and arrays in a pickle, made of checked parts.

NumPy trusts a pickled dtype: its flags can say that bytes hold no pointers where the fields say
that they do. Here a dtype is made from its description alone, and numbers are taken from bytes only
where the dtype holds no objects and their count is right.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from dynamics.checkpoints.unpickling import Name

_CODE = re.compile(r"[<>=|]?[?biufcSUVMmO]\d{0,9}")
_UNIT = re.compile(r"[A-Za-z]{1,7}")
_MOST_FIELDS = 1000


def dtype(code: Any, *_: Any) -> np.dtype:
    """Make a dtype from its code, such as ``"f8"``."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ValueError(f"a dtype {code!r:.40}")
    return np.dtype(code)


def complete_dtype(before: np.dtype, state: Any) -> np.dtype:
    """Return the dtype that a pickled state describes: byte order, unit, fields or a shape."""
    _, order, base, names, fields, size, *rest = state
    if base is not None:
        inner, shape = base
        after = np.dtype((_checked(inner), _shape(shape)))
    elif fields is not None:
        if len(names) > _MOST_FIELDS:
            raise ValueError("a dtype of too many fields")
        after = np.dtype({
            "names": list(names),
            "formats": [_checked(fields[name][0]) for name in names],
            "offsets": [fields[name][1] for name in names],
            "itemsize": size,
        })  # fmt: skip
    elif before.kind in "Mm" and len(rest) > 2:
        unit, count = rest[2][1][:2]
        unit = unit.decode() if isinstance(unit, bytes) else unit
        if not _UNIT.fullmatch(unit) or not isinstance(count, int):
            raise ValueError("a unit of time that is none")
        name = "" if unit == "generic" else f"[{count}{unit}]"
        after = np.dtype(f"{before.kind}8{name}")
    elif before.kind in "SUV" and isinstance(size, int) and 0 < size < 2**31:
        width = size // 4 if before.kind == "U" else size
        after = np.dtype(f"{before.kind}{width}")
    else:
        after = before
    after = after.newbyteorder(order) if order in ("<", ">") else after
    return before if after == before else after


def scalar(kind: Any, raw: Any = b"") -> Any:
    """Make one number, text or date from its bytes."""
    kind, raw = _checked(kind), _bytes(raw)
    if kind.hasobject or len(raw) != kind.itemsize:
        raise ValueError("a scalar that does not fit its dtype")
    return np.frombuffer(raw, kind)[0] if raw else np.zeros(1, kind)[0]


def empty(kind: Any, *_: Any) -> np.ndarray:
    """Make the array that a state is then filled into."""
    if kind is not np.ndarray:
        raise ValueError("an array of a class of its own")
    return np.empty(0, "i1")


def fill(array: np.ndarray, state: Any) -> np.ndarray:
    """Fill an array with its pickled shape, dtype and content."""
    *_, shape, kind, fortran, content = state
    kind, shape = _checked(kind), _shape(shape)
    if kind.kind == "O" or (kind.names and kind.hasobject):  # then it is a list, of rows
        if not isinstance(content, list) or len(content) != math.prod(shape):
            raise ValueError("an array whose size and shape differ")
    else:
        content = _content(content, kind, shape)
    state = 1, shape, kind, bool(fortran), content
    array.__setstate__(state)  # type: ignore[arg-type]
    return array


def from_buffer(raw: Any, kind: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """Make an array as pickles of protocol 5 describe it."""
    kind, shape = _checked(kind), _shape(shape)
    content = _content(bytes(raw), kind, shape)
    if not content:
        return np.zeros(shape, kind)
    return np.frombuffer(content, kind).reshape(shape, order="F" if order == "F" else "C").copy("K")


def _content(raw: Any, kind: np.dtype, shape: tuple[int, ...]) -> bytes:
    raw = _bytes(raw)
    if kind.hasobject or len(raw) != math.prod(shape) * kind.itemsize:
        raise ValueError("an array whose size and shape differ")
    return raw


def _checked(kind: Any) -> np.dtype:
    if not isinstance(kind, np.dtype):
        raise ValueError("an array without a dtype")
    return kind


def _shape(shape: Any) -> tuple[int, ...]:
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
        raise ValueError("a shape that is none")
    return shape


def _bytes(raw: Any) -> bytes:
    # Python 2 kept the bytes of an array as text.
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(raw, bytes):
        raise ValueError("an array without content")
    return raw


_SCALARS = ("bool_", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
            "uint64", "float16", "float32", "float64", "complex64", "complex128", "str_", "bytes_",
            "datetime64", "timedelta64", "longlong", "ulonglong", "intc", "uintc")  # fmt: skip


def array_names() -> dict[tuple[str, str], Name]:
    """Return NumPy's names in pickles, by the modules of its versions 1 and 2."""
    table = {("numpy", "ndarray"): Name(np.ndarray), ("numpy", "dtype"): Name(np.dtype, dtype)}
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "scalar"] = Name(scalar, scalar)
        table[f"{core}.multiarray", "_reconstruct"] = Name(empty, empty)
        table[f"{core}.numeric", "_frombuffer"] = Name(from_buffer, from_buffer)
    for name in _SCALARS:
        table["numpy", name] = Name(getattr(np, name))
    for code in "?bBhHiIlLqQefdFD":
        kind = type(np.dtype(code))
        table["numpy.dtypes", kind.__name__] = Name(kind)
    return table
