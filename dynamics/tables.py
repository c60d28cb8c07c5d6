"""Tables of names: how an entry is looked up, what it is for and which arguments it takes."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
_ELSEWHERE = re.compile(r"As (?:for|of|in) \x60([\w.]+)\x60[.,;]? ?")


class ArgumentError(TypeError, ValueError):
    """An argument that a user gave is wrong: the message says whose, which and what is right."""


class Argument(NamedTuple):
    """What an entry of a table takes.

    Attributes
    ----------
    default : object
        ``inspect.Parameter.empty`` where it must be given.
    about : str
        What it is, from the docstring.
    """

    default: Any
    about: str

    @property
    def needed(self) -> bool:
        """Whether it must be given."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Later:
    """A function of a module that is imported when the function is first asked for.

    Attributes
    ----------
    module, name : str
        Where it is.
    whole : bool
        Whether the module's first line says what the entry is, not the function's.
    """

    module: str
    name: str
    whole: bool = False

    def load(self) -> Callable[..., Any]:
        """Return the function."""
        return getattr(importlib.import_module(self.module), self.name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.load()(*args, **kwargs)


class Table(dict[str, T]):
    """Entries that a sweep can name: functions, or records with a `function`.

    Parameters
    ----------
    what : str
        What an entry is called in messages, such as ``"metric"``.
    entries : mapping
        By name.
    filled : sequence of str
        Arguments that are not a user's to give.
    shared : mapping of str to str
        Arguments that every entry takes in a sweep, with what they are.
    beside : str
        What can be named beside the entries, to end the list of a message.
    """

    def __init__(
        self,
        what: str,
        entries: Mapping[str, T],
        *,
        filled: Iterable[str] = (),
        shared: Mapping[str, str] | None = None,
        beside: str = "",
    ):
        super().__init__(entries)
        self.what, self.filled, self.shared = what, tuple(filled), dict(shared or {})
        self.beside = beside

    def find(self, name: str) -> T:
        """Return an entry; a ValueError names what there is, and what is nearest."""
        if name not in self:
            raise ValueError(_unknown(self.what, name, self, self.beside))
        return self[name]

    def summary(self, name: str) -> str:
        """Return one line about an entry."""
        entry: Any = self.find(name)
        whole = isinstance(entry, Later) and entry.whole
        told = importlib.import_module(entry.module) if whole else entry
        return (inspect.getdoc(_function(told)) or name).partition("\n")[0].strip()

    def parameters(self, name: str) -> Mapping[str, inspect.Parameter]:
        """Return all that the function of an entry takes."""
        return inspect.signature(_called(self.find(name))).parameters

    def arguments(self, name: str) -> dict[str, Argument]:
        """Return the arguments of an entry that are a user's to give, without the shared ones."""
        taken, function = self.parameters(name), _function(self[name])
        return {
            key: Argument(one.default, _about(function, key))
            for key, one in taken.items()
            if key not in self.filled and one.kind is not inspect.Parameter.VAR_KEYWORD
        }

    def check(
        self, name: str, given: Iterable[str], *, more: Iterable[str] = (), who: str = ""
    ) -> None:
        """Find what is wrong with the arguments that a user gives to an entry.

        Parameters
        ----------
        name : str
            Of the entry.
        given : iterable of str
            Names of the arguments.
        more : iterable of str
            What may be given besides, as all of `shared` in a sweep.
        who : str
            What the entry is called in the message; by default what the table's are, and its name.

        Raises
        ------
        ArgumentError
            As of `check_arguments`.
        """
        given, own = list(given), self.arguments(name)
        kinds = [each.kind for each in self.parameters(name).values()]
        rest = given if inspect.Parameter.VAR_KEYWORD in kinds else ()
        needed = [key for key, each in own.items() if each.needed]
        who = who or f"{self.what} {name!r}"
        about = {key: own[key].about for key in needed}
        check_arguments(who, given, [*own, *more, *rest], needed=about)


def check_arguments(
    who: str, given: Iterable[str], known: Iterable[str], *, needed: Iterable[str] = ()
) -> None:
    """Find an argument that is none, or one that is lacking; no value is looked at.

    Parameters
    ----------
    who : str
        What takes the arguments, for the message.
    given : iterable of str
        Names of the arguments that a user gave.
    known : iterable of str
        Those that there are.
    needed : iterable of str
        Those that must be given; a mapping says what each is.

    Raises
    ------
    ArgumentError
        For the first such argument; the message lists what is taken, or names the nearest one.
    """
    given, known = list(given), list(known)
    for key in given:
        if key in known:
            continue
        if not known:
            raise ArgumentError(f"{who} takes no arguments, not {key!r}: leave it out")
        close = nearest(key, known)
        hint = f"did you mean `{close}`? " if close else ""
        raise ArgumentError(f"{who} takes no argument {key!r}: {hint}it takes {', '.join(known)}")
    for key in needed:
        if key not in given:
            about = needed[key].rstrip(".") if isinstance(needed, Mapping) else ""
            told = f": {about}" if about else ""
            raise ArgumentError(f"{who} needs the argument `{key}`{told}")


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raise a ValueError where a name is not among those known; the nearest one is told.

    Parameters
    ----------
    what : str
        What the name is of, for the message.
    name : str
        The name.
    known : iterable of str
        What there is.
    """
    known = list(known)
    if name not in known:
        raise ValueError(_unknown(what, name, known))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that a misspelt one is most like; empty where none is."""
    return next(iter(difflib.get_close_matches(str(name), list(known), n=1)), "")


def _unknown(what: str, name: str, known: Iterable[str], beside: str = "") -> str:
    known = list(known)
    close = nearest(name, known)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"unknown {what} {str(name)!r}: there are {', '.join(known)}{beside}{hint}"


def _called(entry: Any) -> Callable[..., Any]:
    """Return what an entry calls: of a record its function, of a later one what it imports."""
    entry = getattr(entry, "function", entry)
    return entry.load() if isinstance(entry, Later) else entry


def _function(entry: Any) -> Any:
    """Return the function whose docstring tells of an entry."""
    entry = _called(entry)
    return _function(entry.func) if isinstance(entry, partial) else entry


def _about(function: Any, name: str) -> str:
    """Read what an argument is from a numpydoc docstring, also where that names another one's."""
    text = (inspect.getdoc(function) or "").partition("Parameters\n----------\n")[2]
    text = re.split(r"\n\n?[A-Z]\w+\n-{4,}\n", "\n" + text)[0]
    for heading, about in re.findall(r"\n(\S.*)((?:\n(?: .*|(?=\n)))*)", text):
        if name in re.split(r",\s*", heading.partition(" : ")[0]):
            about = " ".join(about.split())
            elsewhere = _ELSEWHERE.match(about)
            if elsewhere is None:
                return about
            told = _about(_named(elsewhere[1], function), name)
            return f"{told} {about[elsewhere.end() :]}".strip()
    return ""


def _named(name: str, function: Any) -> Any:
    module, _, last = name.rpartition(".")
    if module:
        return getattr(importlib.import_module(module), last, None)
    return getattr(inspect.getmodule(function), last, None)
