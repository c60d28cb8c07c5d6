"""Whether the workers of a cluster have what this process has, before they begin."""

from __future__ import annotations

import functools
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dynamics.installation import OURS, version_of

# What numbers and bytes of a store depend on.
_PACKAGES = (OURS, "torch", "zarr")


class Wanted(NamedTuple):
    """What a worker must have.

    Attributes
    ----------
    versions : tuple of (str, str)
        Of Python and packages, by name.
    places : tuple of (str, str)
        Paths that it must see, each with what is there.
    """

    versions: tuple[tuple[str, str], ...]
    places: tuple[tuple[str, str], ...]


def wanted(places: Mapping[str, str]) -> Wanted:
    """Return what this process has.

    Parameters
    ----------
    places : mapping of str to str
        Paths, by what is there in words.

    Returns
    -------
    Wanted
        For `lacks`; of what is here, and of paths that are there.
    """
    there = {what: path for what, path in places.items() if os.path.exists(path)}
    return Wanted(tuple(_versions().items()), tuple(there.items()))


def _versions() -> dict[str, str]:
    python = ".".join(map(str, sys.version_info[:2]))
    # A build for another device is the same version.
    return {"Python": python} | {n: version_of(n).partition("+")[0] for n in _PACKAGES}


def lacks(asked: Wanted) -> str:
    """Say what of it this process, a worker, has not; empty where it has all."""
    here = _versions()
    for name, version in asked.versions:
        if here[name] != version:
            return (
                f"has {name} {here[name]} where the command has {version}: install the same there"
            )
    for what, path in asked.places:
        if not os.access(path, os.R_OK):
            return f"does not see {what} ({path}): mount it there under the same path"
    return ""


@functools.lru_cache(maxsize=8)
def _lacks(asked: Wanted) -> str:
    return lacks(asked)


def in_place(asked: Wanted, function: Callable, *given: Any, **named: Any) -> Any:
    """Call a function on a worker that has what it needs; what runs there.

    Raises
    ------
    OSError
        If it has not, with its host.
    """
    if lack := _lacks(asked):
        _lacks.cache_clear()  # it may be mended meanwhile
        raise OSError(f"the worker on {socket.gethostname()} {lack}")
    return function(*given, **named)


def told(asked: Wanted) -> tuple[str, str]:
    """Return the host of a worker and what it lacks; what runs there."""
    return socket.gethostname(), lacks(asked)


def sentence(answers: Sequence[Any]) -> str:
    """Say of many workers what is amiss.

    Parameters
    ----------
    answers : sequence
        What `told` returned, or raised, on each; None of those that did not answer.

    Returns
    -------
    str
        Of the first, and how many others there are; empty where nothing is amiss.
    """
    faulty = []
    for each in answers:
        if isinstance(each, ImportError | AttributeError):
            faulty.append(f"a worker cannot load this package ({each}): install it there")
        elif isinstance(each, tuple) and each[1]:
            faulty.append(f"the worker on {each[0]} {each[1]}")
    others = f" (and {len(faulty) - 1} workers more)" if len(faulty) > 1 else ""
    return f"{faulty[0]}{others}" if faulty else ""
