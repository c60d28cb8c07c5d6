"""An unpickler that constructs plain data and nothing else.

`find_class` knows exact pairs of a module and a name, and imports nothing. What a pickle may do
with a thing of the table is in the table too: how it is made of arguments, and how it takes up a
state. Every other name becomes an `Inert` stand-in and is noted as foreign.
"""

from __future__ import annotations

import pickle
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

# What real checkpoints stay far below: a pickle holds the structure, not the weights.
SIZE_LIMIT = 2**28  # bytes of one pickle
OPERATION_LIMIT = 10_000_000
DEPTH_LIMIT = 100  # containers within one another
EXPANDED_LIMIT = 10_000_000  # entries, those of a container counted wherever it is mentioned

# Beyond it, integers repeat their hashes, so that a table of them can be made very slow.
_LARGEST_KEY = 2**61 - 2

_RECENT = 64  # the last memo entries, among which a thing that is just being made is found


@dataclass(frozen=True, eq=False)
class Name:
    """What a name in a pickle stands for.

    Attributes
    ----------
    thing : object
        What a mere mention gives: a class of plain data, or a mark.
    make : callable, optional
        Takes the arguments of a call and returns the object; without it the thing cannot be called.
    """

    thing: Any
    make: Callable[..., Any] | None = None


class Foreign(frozenset[str]):
    """Names that are not plain data; `called` says whether one of them is called."""

    called = False


class Inert:
    """Stands for a foreign class or function, and for whatever it would have made."""

    __slots__ = ()


INERT = Inert()


class Unpickler(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Read one pickle.

    Parameters
    ----------
    file : binary file
        At the beginning of a pickle; it is left at its end.
    names : mapping of (str, str) to Name
        By module and name.
    states : mapping of type to callable
        How an object of the type takes up a pickled state; returns the object, or the one that
        takes its place.
    persistent : callable
        Gives what a persistent identifier stands for.

    Attributes
    ----------
    foreign : set of str
        Dotted names that are not in the table.
    called : bool
        Whether one of these is called with arguments, as a function is, and not only made an empty
        object of that takes up a state, as of a class of plain fields.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore

    def __init__(
        self,
        file: BinaryIO,
        names: Mapping[tuple[str, str], Name],
        states: Mapping[type, Callable[[Any, Any], Any]],
        persistent: Callable[[Any], Any],
    ):
        super().__init__(_Bounded(file), encoding="utf-8")
        self.foreign: set[str] = set()
        self.called = False
        self._names, self._states, self._persistent = names, states, persistent
        self._made: dict[int, Name] = {}

    def load(self) -> Any:
        """Read the pickle; a ValueError where it is malformed, or larger than any checkpoint's."""
        try:
            tree = self._run()
        except (ValueError, MemoryError, OSError):
            raise
        except Exception as error:
            raise ValueError(f"its pickle is cut off or malformed ({error})") from None
        check_extent(tree)
        return tree

    def _run(self) -> Any:
        self._unframer = pickle._Unframer(self._file_read, self._file_readline)  # type: ignore
        self.read, self.readinto = self._unframer.read, self._unframer.readinto
        self.readline = self._unframer.readline
        self.metastack: list[Any] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        self.proto = 0
        read, dispatch = self.read, self.dispatch
        try:
            for _ in range(OPERATION_LIMIT):
                key = read(1)
                if not key:
                    raise EOFError("it ends too early")
                dispatch[key[0]](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        raise ValueError(f"its pickle has more than {OPERATION_LIMIT:,} operations")

    def find_class(self, module: str, name: str) -> Any:
        """Look a name up; nothing is imported."""
        # Pickles of protocol 2, torch's own, carry the names that modules had in Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        known = self._names.get((module, name))
        if known is None:
            # Whoever wrote the file chose the name: it is put into sentences and tables.
            self.foreign.add(f"{module}.{name}".encode("unicode_escape").decode()[:200])
            return INERT
        self._made[id(known.thing)] = known
        return known.thing

    def persistent_load(self, pid: Any) -> Any:
        """Give what an identifier beside the pickle stands for."""
        return self._persistent(pid)

    def get_extension(self, code: int) -> Any:
        """Refuse codes of a registry that is not in the file."""
        raise ValueError("its pickle is malformed (an extension code)")

    def _decode_string(self, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:  # bytes of Python 2
            return value.decode("latin1")

    def _call(self, thing: Any, arguments: Any) -> Any:
        if isinstance(thing, Inert):
            return INERT
        known = self._made.get(id(thing))
        if known is None or known.thing is not thing or known.make is None:
            raise ValueError(f"its pickle is malformed (it calls {_title(thing)})")
        return known.make(*arguments)

    def _instantiate(self, klass, args):
        self.called = self.called or isinstance(klass, Inert)
        self.append(self._call(klass, args))

    def _op_reduce(self):
        arguments = self.stack.pop()
        self.called = self.called or isinstance(self.stack[-1], Inert)
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _op_newobj(self):
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _op_newobj_ex(self):
        named = self.stack.pop()
        if named:
            raise ValueError("its pickle is malformed (it constructs with keywords)")
        self._op_newobj()

    def _op_build(self):
        state = self.stack.pop()
        before = self.stack[-1]
        if isinstance(before, Inert):
            return
        take = self._states.get(type(before))
        if take is None:
            raise ValueError(f"its pickle is malformed (it changes {_title(before)})")
        after = take(before, state)
        if after is not before:
            self.stack[-1] = after
            for _, key in zip(range(_RECENT), reversed(self.memo), strict=False):
                if self.memo[key] is before:
                    self.memo[key] = after

    def _op_bytearray8(self):
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    def _op_appends(self):
        items = self.pop_mark()
        self._extend(items)

    def _op_append(self):
        self._extend([self.stack.pop()])

    def _op_additems(self):
        items = self.pop_mark()
        self._extend(items)

    def _extend(self, items):
        target = self.stack[-1]
        if type(target) is set:
            for item in items:
                check_key(item)
            target.update(items)
        elif type(target) in (list, deque):
            target.extend(items)
        elif not isinstance(target, Inert):
            raise ValueError(f"its pickle is malformed (it appends to {_title(target)})")

    def _op_frozenset(self):
        items = self.pop_mark()
        for item in items:
            check_key(item)
        self.append(frozenset(items))

    def _op_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _op_setitems(self):
        self._set(self.pop_mark())

    def _op_dict(self):
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def _set(self, items):
        target = self.stack[-1]
        if isinstance(target, Inert):
            return
        if type(target) not in _MAPPINGS:
            raise ValueError(f"its pickle is malformed (it sets items of {_title(target)})")
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            target[key] = value

    for _code, _method in {
        pickle.REDUCE: _op_reduce, pickle.NEWOBJ: _op_newobj, pickle.NEWOBJ_EX: _op_newobj_ex,
        pickle.BUILD: _op_build, pickle.APPEND: _op_append, pickle.APPENDS: _op_appends,
        pickle.ADDITEMS: _op_additems, pickle.FROZENSET: _op_frozenset,
        pickle.BYTEARRAY8: _op_bytearray8, pickle.SETITEM: _op_setitem,
        pickle.SETITEMS: _op_setitems, pickle.DICT: _op_dict,
    }.items():  # fmt: skip
        dispatch[_code[0]] = _method


class AttributeDict(dict):
    """Takes the place of Lightning's mapping of hyperparameters."""


_MAPPINGS = (dict, OrderedDict, Counter, defaultdict, AttributeDict)


def check_key(key: Any, depth: int = 0) -> None:
    """Raise a ValueError where hashing a key would take long or deep."""
    if isinstance(key, (tuple, frozenset)):
        if depth > 3:
            raise ValueError("its pickle is malformed (a key is nested deeply)")
        for part in key:
            check_key(part, depth + 1)
    elif isinstance(key, int) and abs(key) > _LARGEST_KEY:
        raise ValueError("its pickle is malformed (a key is a huge number)")


def check_extent(tree: Any) -> None:
    """Raise a ValueError where containers are nested too deeply or mention one another too often.

    A container that is mentioned many times costs a file nothing, but whoever walks the tree meets
    it each time.

    Parameters
    ----------
    tree : object
        Mappings, lists, tuples and sets within one another.
    """
    extents: dict[int, tuple[int, int]] = {}  # by identity: entries in all, depth; 0 while open
    stack = [tree] if isinstance(tree, _CONTAINERS) else []
    while stack:
        top = stack[-1]
        inner = [part for part in _parts(top) if isinstance(part, _CONTAINERS)]
        if id(top) not in extents:
            extents[id(top)] = 0, 0
            if any(extents.get(id(part)) == (0, 0) for part in inner):
                raise ValueError("its contents contain themselves")
            fresh = [part for part in inner if id(part) not in extents]
            if fresh:
                stack.extend(fresh)
                if len(stack) > EXPANDED_LIMIT:
                    raise ValueError(f"it has more than {EXPANDED_LIMIT:,} entries")
                continue
        stack.pop()
        if extents[id(top)] != (0, 0):
            continue
        below = [extents[id(part)] for part in inner]
        extent = max(1, len(top)) + sum(entries for entries, _ in below)
        depth = 1 + max((d for _, d in below), default=0)
        if extent > EXPANDED_LIMIT:
            raise ValueError(f"its contents come to more than {EXPANDED_LIMIT:,} entries")
        if depth > DEPTH_LIMIT:
            raise ValueError(f"its contents are nested more than {DEPTH_LIMIT} deep")
        extents[id(top)] = extent, depth


_CONTAINERS = (*_MAPPINGS, list, tuple, set, frozenset, deque)


def _parts(container: Any) -> Any:
    return container.values() if isinstance(container, dict) else container


def _title(thing: Any) -> str:
    return getattr(thing, "__name__", None) or f"a {type(thing).__name__}"


class _Bounded:
    """A file of which at most `SIZE_LIMIT` bytes are read."""

    def __init__(self, file: BinaryIO):
        self._file, self._left = file, SIZE_LIMIT

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._left:
            raise ValueError(f"its pickle is malformed or takes more than {SIZE_LIMIT >> 20} MiB")
        self._left -= size
        return self._file.read(size)

    def readline(self) -> bytes:
        line = self._file.readline(self._left + 1)
        if len(line) > self._left:
            raise ValueError(f"its pickle takes more than {SIZE_LIMIT >> 20} MiB")
        self._left -= len(line)
        return line

    def readinto(self, buffer: Any) -> int:
        raw = self.read(len(buffer))
        buffer[: len(raw)] = raw
        return len(raw)
