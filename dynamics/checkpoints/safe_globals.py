"""Names that a checkpoint may mention because they only hold data.

Each stands for a plain thing, and states how one of it is made from arguments that anybody may
have written: a factory that would take long, take much memory, or call something is not in here.
"""

from __future__ import annotations

import argparse
import datetime
import decimal
import fractions
import functools
import importlib
import pathlib
import types
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dynamics.checkpoints import arrays
from dynamics.checkpoints.unpickling import AttributeDict, Name, check_key

_LARGEST_NUMBER = 10_000  # characters of a number that is written as text


class StandIn:
    """Takes the place of an object that is only kept, such as a callback or a generator's state.

    Attributes
    ----------
    arguments : tuple
        Of the call that would have made it.
    state : object
        What it would have taken up.
    """

    def __init__(self, *arguments: Any):
        self.arguments, self.state = arguments, None


def _ordered(items: Any = ()) -> OrderedDict:
    return OrderedDict(_pairs(items))


def _attributes(items: Any = ()) -> AttributeDict:
    return AttributeDict(_pairs(items))


def _counted(items: Any = ()) -> Counter:
    return Counter(dict(_pairs(items)))


def _plain_dict(items: Any = ()) -> dict:
    return dict(_pairs(items))


def _default(factory: Any = None, items: Any = ()) -> defaultdict:
    return defaultdict(factory if factory in _FACTORIES else None, _pairs(items))


def _pairs(items: Any) -> list[tuple[Any, Any]]:
    pairs = list(items.items()) if isinstance(items, dict) else [tuple(p) for p in _listed(items)]
    for key, _ in pairs:
        check_key(key)
    return pairs


def _listed(items: Any) -> Any:
    if not isinstance(items, (list, tuple, set, frozenset, deque)):
        raise ValueError("a container that is made of something else")
    return items


def _collected(kind: type) -> Callable[..., Any]:
    def collect(items: Any = ()) -> Any:
        for item in _listed(items) if kind in (set, frozenset) else ():
            check_key(item)
        return kind(_listed(items))

    return collect


def _queue(items: Any = (), longest: int | None = None) -> deque:
    return deque(_listed(items), longest)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Give bytes, which pickles of protocol 2 hold as text."""
    if encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise ValueError("bytes in an unusual encoding")
    return str.encode(text, encoding)


def _raw(kind: type) -> Callable[..., Any]:
    def collect(content: Any = b"", *encoding: Any) -> Any:
        if isinstance(content, str):
            return kind(_encoded(content, *encoding))
        if not isinstance(content, (bytes, bytearray, list, tuple)):
            raise ValueError("bytes that are made of something else")
        return kind(content)

    return collect


def _numbers(kind: type) -> Callable[..., Any]:
    """Make a thing of numbers, texts and bytes, none of them long."""

    def make(*arguments: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, (str, bytes)) and len(argument) > _LARGEST_NUMBER:
                raise ValueError("a number that is too long")
            if not isinstance(argument, (str, bytes, int, float, type(None), *_TIMES)):
                raise ValueError(f"a {kind.__name__} of something else")
        return kind(*arguments)

    return make


def _fraction(*parts: Any) -> fractions.Fraction:
    if not all(isinstance(part, int) for part in parts):
        (text,) = parts
        # An exponent would make a small text a huge number.
        parts = tuple(int(part) for part in str.split(text[:_LARGEST_NUMBER], "/"))
    return fractions.Fraction(*parts)


def _kind(thing: Any) -> type:
    """Give the class of None, which has no name of its own in a pickle."""
    if thing is not None:
        raise ValueError("the class of an object")
    return type(None)


def _path(kind: type) -> Callable[..., Any]:
    def make(*parts: Any) -> Any:
        if not all(isinstance(part, str) for part in parts):
            raise ValueError("a path of something else")
        return kind(*parts)

    return make


def _bare(kind: Any) -> Callable[..., Any]:
    """Make an object without any content, which its state brings."""

    def make(*arguments: Any) -> Any:
        if arguments:
            raise ValueError(f"a {kind.__name__} with arguments")
        return kind.__new__(kind)

    return make


def _reconstructed(kind: Any, base: Any = object, content: Any = None) -> Any:
    """Make an object as the oldest protocols do."""
    if kind not in (argparse.Namespace, types.SimpleNamespace, StandIn) or base is not object:
        raise ValueError("an object of an unusual class")
    return kind()


_TIMES = (datetime.tzinfo, datetime.timedelta)
_FACTORIES = (None, list, dict, set, tuple, int, float, str, bool, OrderedDict, Counter, deque)

_MENTIONED = (object, int, float, str, bool, type(None))

_PLAIN: dict[str, Name] = {
    **{f"builtins.{kind.__name__}": Name(kind) for kind in _MENTIONED},
    "builtins.Ellipsis": Name(...),
    "builtins.dict": Name(dict, _plain_dict),
    **{f"builtins.{k.__name__}": Name(k, _collected(k)) for k in (list, tuple, set, frozenset)},
    "builtins.bytes": Name(bytes, _raw(bytes)),
    "builtins.bytearray": Name(bytearray, _raw(bytearray)),
    "builtins.complex": Name(complex, _numbers(complex)),
    "builtins.slice": Name(slice, slice),
    "builtins.range": Name(range, range),
    "_codecs.encode": Name(_encoded, _encoded),
    "copyreg._reconstructor": Name(_reconstructed, _reconstructed),
    "collections.OrderedDict": Name(OrderedDict, _ordered),
    "collections.Counter": Name(Counter, _counted),
    "collections.defaultdict": Name(defaultdict, _default),
    "collections.deque": Name(deque, _queue),
    "argparse.Namespace": Name(argparse.Namespace, _bare(argparse.Namespace)),
    "types.SimpleNamespace": Name(types.SimpleNamespace, _bare(types.SimpleNamespace)),
    "typing.Any": Name(Any),
    "typing.Dict": Name(dict),
    "typing.List": Name(list),
    "builtins.type": Name(type, _kind),
    "decimal.Decimal": Name(decimal.Decimal, _numbers(decimal.Decimal)),
    "fractions.Fraction": Name(fractions.Fraction, _fraction),
    "uuid.UUID": Name(uuid.UUID, _bare(uuid.UUID)),
    **{
        f"datetime.{kind.__name__}": Name(kind, _numbers(kind))
        for kind in (datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
                     datetime.timezone)
    },
    # A path of either system is read as a pure one: it cannot touch a disk.
    **{
        f"{module}.{name}": Name(kind, _path(kind))
        for module in ("pathlib", "pathlib._local")
        for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath)
        for name in (kind.__name__, kind.__name__.removeprefix("Pure"))
    },
    **{
        name: Name(AttributeDict, _attributes)
        for name in (
            "lightning_fabric.utilities.data.AttributeDict",
            "lightning.fabric.utilities.data.AttributeDict",
            "pytorch_lightning.utilities.parsing.AttributeDict",
        )
    },
}  # fmt: skip

# Kept as a mere `StandIn`: nobody who reads weights needs them.
_KEPT = (
    "functools.partial",
    "torch._C.Generator",
    "numpy.random._pickle.__randomstate_ctor",
    "numpy.random._pickle.__generator_ctor",
    "numpy.random._pickle.__bit_generator_ctor",
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
    "numpy.random.bit_generator.SeedSequence",
    "numpy.random._mt19937.MT19937",
    "numpy.random._pcg64.PCG64",
    "numpy.random._pcg64.PCG64DXSM",
    "numpy.random._philox.Philox",
    "numpy.random._sfc64.SFC64",
    "pandas._libs.tslibs.timestamps._unpickle_timestamp",
    "pandas._libs.tslibs.timestamps.Timestamp",
    "pandas._libs.tslibs.timedeltas._timedelta_unpickle",
    "pandas._libs.tslibs.timedeltas.Timedelta",
    "pandas._libs.tslibs.nattype._nat_unpickle",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
    "lightning.pytorch.callbacks.early_stopping.EarlyStopping",
)

# Configuration containers of fairseq and others. Interpolations in them run when somebody looks a
# value up, never when they are read.
_OMEGACONF = {
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.base": ("Metadata", "ContainerMetadata"),
    "omegaconf.nodes": ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode",
                        "BytesNode", "PathNode"),
}  # fmt: skip


def names() -> dict[tuple[str, str], Name]:
    """Return the table by module and name, without that of omegaconf.

    Returns
    -------
    dict of (str, str) to Name
        Containers of the standard library, paths, dates and numbers, NumPy's scalars and arrays,
        Lightning's mappings, and what is kept as a `StandIn`.
    """
    plain = {tuple(name.rpartition(".")[::2]): entry for name, entry in _PLAIN.items()}
    kept = {tuple(name.rpartition(".")[::2]): Name(StandIn, StandIn) for name in _KEPT}
    return plain | kept | arrays.array_names()  # type: ignore[return-value]


@functools.cache
def omegaconf_names() -> dict[tuple[str, str], Name]:
    """Return the containers of omegaconf; an empty table where it is not installed."""
    table = {}
    for module, kinds in _OMEGACONF.items():
        for kind in kinds:
            try:
                found = getattr(importlib.import_module(module), kind)
            except (ImportError, AttributeError):
                continue
            table[module, kind] = Name(found, _bare(found))
    return table


def is_omegaconf(module: str) -> bool:
    """Tell whether a module is one whose classes `omegaconf_names` gives."""
    return module in _OMEGACONF


def _update(thing: Any, state: Any) -> Any:
    """Take up attributes as they are."""
    for name in state or ():
        if not isinstance(name, str) or (name.startswith("__") and name.endswith("__")):
            raise ValueError("an attribute that is none")
    vars(thing).update(state or {})
    return thing


def _keep(thing: StandIn, state: Any) -> StandIn:
    thing.state = state
    return thing


def _ignore(thing: Any, state: Any) -> Any:
    return thing


def _metadata(thing: OrderedDict, state: Any) -> OrderedDict:
    """Take up the versions of its modules, which torch hangs onto a state dict."""
    found = state.get("_metadata") if isinstance(state, dict) else None
    if isinstance(found, Mapping):
        thing._metadata = found  # type: ignore[attr-defined]
    return thing


def _identifier(_: Any, state: Any) -> uuid.UUID:
    return uuid.UUID(int=state["int"])


def _settings(thing: Any, state: Any) -> Any:
    thing.__setstate__(dict(state)) if hasattr(thing, "__setstate__") else _update(thing, state)
    return thing


@functools.cache
def states() -> dict[type, Callable[[Any, Any], Any]]:
    """Return how objects of the table take up a pickled state.

    Returns
    -------
    dict of type to callable
        Takes the object and the state; returns the object, or the one that takes its place.
    """
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSUVMmO"}
    return {
        argparse.Namespace: _update,
        types.SimpleNamespace: _update,
        StandIn: _keep,
        AttributeDict: _ignore,
        deque: _ignore,
        OrderedDict: _metadata,
        uuid.UUID: _identifier,
        np.ndarray: arrays.fill,
        **dict.fromkeys(kinds, arrays.complete_dtype),
    }


def state_of_omegaconf() -> dict[type, Callable[[Any, Any], Any]]:
    """Return how the containers of omegaconf take up a state; only where a file mentions one."""
    return {entry.thing: _settings for entry in omegaconf_names().values()}
