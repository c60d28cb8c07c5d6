"""The stores of a collection, opened: what each has, what it lacks, and who may stand beside whom.

A store that is missing or half done is a gap that is said, never an error: the others are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynamics import store
from dynamics.analysis import values
from dynamics.collection.finals import Finals, finals
from dynamics.config.collection import Collection, Run, collect
from dynamics.emergence.comparing_runs import QUESTION, same, short
from dynamics.faults import sentence
from dynamics.store.attributes import identity_of, mapping

PROBE = "probe"
# What of a store's own identity has to be equal for its results to be beside each other's.
_STIMULI = ("stimuli_sha256",)
_WORDS = {
    "stimuli_sha256": "stimuli, by their digest",
    "target_checksums": "responses, by their checksums",
    "task_sha256": "task, by its digest",
    "arguments": "arguments of the metric",
    "version": "version of the metric",
}


class Opened(NamedTuple):
    """A run of a collection.

    Attributes
    ----------
    name : str
        Of the run.
    coordinates : mapping
        What tells it apart.
    tree : xarray.DataTree or None
        Its store, lazily; None where there is none.
    gap : str
        What it lacks, in words; empty where nothing.
    """

    name: str
    coordinates: Mapping[str, Any]
    tree: xr.DataTree | None
    gap: str = ""


@dataclass(frozen=True, eq=False)
class Compared:
    """The runs' results of one target by one metric, and who is left out and why.

    Attributes
    ----------
    target, metric : str
        Labels.
    results : dict of str to xarray.Dataset
        By run, in the order of the collection; all answers to one question.
    left_out : dict of str to str
        Reason by run.
    """

    target: str
    metric: str
    results: dict[str, xr.Dataset]
    left_out: dict[str, str]

    @cached_property
    def finals(self) -> Finals:
        """Last scores of all runs, read once."""
        return finals(self.results)


def gather(what: Any, *, name: str = "comparison") -> Collection:
    """Make a collection of whatever names one.

    Parameters
    ----------
    what : Collection, path, mapping of str to path, or sequence of path
        A collection, its YAML file, stores by name, or stores (a single one too), which go by
        their runs' names.
    name : str
        Of a collection of stores.

    Returns
    -------
    Collection
        As `dynamics.config.load_collection`.

    Raises
    ------
    ValueError
        If nothing is given, or two stores have one name.
    """
    from dynamics.config import load_collection

    if isinstance(what, Collection):
        return what
    if isinstance(what, Mapping):
        return collect([Run(str(key), store.place_of(one), {}) for key, one in what.items()],
                       name=name)  # fmt: skip
    given = [what] if isinstance(what, (str, Path, store.Place)) else list(what)
    if not given:
        raise ValueError("there is nothing to compare: give a collection's YAML file or stores")
    if len(given) == 1 and str(given[0]).endswith((".yaml", ".yml")):
        return load_collection(str(given[0]))
    places = [_place(one) for one in given]
    short = [PurePosixPath(place.where.rstrip("/")).stem for place in places]
    names = [one if short.count(one) == 1 else place.where for one, place in zip(short, places)]
    return collect([Run(one, place, {}) for one, place in zip(names, places)], name=name)


def _place(one: Any) -> store.Place:
    from dynamics.config import load_config

    return load_config(one).place if str(one).endswith((".yaml", ".yml")) else store.place_of(one)


def open_runs(collection: Collection) -> list[Opened]:
    """Open the store of every run; one that is not there is a gap.

    Parameters
    ----------
    collection : Collection
        The runs.

    Returns
    -------
    list of Opened
        In the order of the collection, with the values that it shows in the place of scores.
    """
    return [_opened(run, collection.value) for run in collection.runs]


def _opened(run: Run, value: str | Mapping[str, str]) -> Opened:
    try:
        tree = store.open(run.place)
    except (OSError, ValueError) as error:
        return Opened(run.name, run.coordinates, None, sentence(error))
    gap = _unfinished(tree)
    try:
        tree = values.of_tree(tree, value)
    except ValueError as error:
        return Opened(run.name, run.coordinates, None, sentence(error))
    return Opened(run.name, run.coordinates, tree, gap)


def _unfinished(tree: xr.DataTree) -> str:
    """Say how many steps of a store are not done."""
    if "checkpoints" not in tree.children:
        return "no checkpoint is in it yet"
    status = Counter(map(str, tree["checkpoints"]["status"].to_numpy()))
    total = sum(status.values())
    if not status[store.DONE]:
        return "none of its steps is done"
    said = []
    if status[store.PENDING]:
        said.append(f"{status[store.PENDING]} of {total} steps are missing")
    if status[store.FAILED]:
        said.append(f"{status[store.FAILED]} of {total} steps failed")
    if not any(path.startswith("/results/") for path in tree.groups):
        said.append("it has no results")
    return ", ".join(said)


def compared(opened: Sequence[Opened], *, probes: bool = False) -> list[Compared]:
    """Put the results of all runs beside each other that answer one question.

    Runs of another protocol, target or set of stimuli than most are left out, with the reason.

    Parameters
    ----------
    opened : sequence of Opened
        The runs.
    probes : bool
        Whether downstream tasks are meant, and not brains.

    Returns
    -------
    list of Compared
        One a target and metric that any run has, in the order in which they appear.
    """
    pairs = dict.fromkeys(
        pair for one in opened if one.tree is not None for pair in _pairs(one.tree, probes)
    )
    return [_of_pair(opened, *pair) for pair in pairs]


def _pairs(tree: xr.DataTree, probes: bool) -> list[tuple[str, str]]:
    found = []
    for path in tree.groups:
        parts = path.strip("/").split("/")
        if len(parts) != 3 or parts[0] != "results" or parts[1] == "self":
            continue
        if (parts[2] == PROBE) == probes and "score" in tree[path].data_vars:
            found.append((parts[1], parts[2]))
    return found


def _of_pair(opened: Sequence[Opened], target: str, metric: str) -> Compared:
    every: dict[str, tuple[xr.Dataset, dict[str, Any]]] = {}
    left_out: dict[str, str] = {}
    for one in opened:
        if one.tree is None:
            left_out[one.name] = one.gap
        elif f"/results/{target}/{metric}" not in one.tree.groups:
            none = one.gap and not any(path.startswith("/results/") for path in one.tree.groups)
            why = f"it has no results of {target} by {metric}"
            left_out[one.name] = one.gap if none else why
        else:
            results = one.tree[f"results/{target}/{metric}"].to_dataset()
            if not results.sizes.get("step", 0):
                left_out[one.name] = f"no step of {target} by {metric} is done"
                continue
            every[one.name] = results, _question(one.tree, results)
    asked = _most([question for _, question in every.values()])
    differs = {
        name: [key for key in asked if not same(asked[key], question.get(key))]
        for name, (_, question) in every.items()
    }
    kept = {name: results for name, (results, _) in every.items() if not differs[name]}
    whose = "most have" if 2 * len(kept) > len(every) else f"{next(iter(kept), '')} has"
    for name, (_, question) in every.items():
        if differs[name]:
            left_out[name] = _told(differs[name], question, asked, whose)
    order = [one.name for one in opened]
    return Compared(
        target, metric, kept, dict(sorted(left_out.items(), key=lambda x: order.index(x[0])))
    )


def _question(tree: xr.DataTree, results: xr.Dataset) -> dict[str, Any]:
    """Return what has to be equal for two runs' scores to mean the same."""
    identity, own = identity_of(results), mapping(tree.attrs.get("identity"))
    is_probe = identity.get("metric") == PROBE
    # Of a metric that was changed since, scores of before are another number.
    keys = ("metric", "score", "task_sha256") if is_probe else (*QUESTION, "version")
    found = {key: identity.get(key) for key in keys}
    return found if is_probe else found | {key: own.get(key) for key in _STIMULI}


def _most(questions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the question that most runs answer, the first of those that as many do."""

    def votes(one: Mapping[str, Any]) -> int:
        return sum(all(same(one[key], each.get(key)) for key in one) for each in questions)

    return max(questions, key=votes, default={})


def _told(
    differs: Sequence[str], own: Mapping[str, Any], asked: Mapping[str, Any], whose: str
) -> str:
    """Say in what a run differs from others, and what they have in common."""
    named = [
        f"{_WORDS.get(key, key)}: {_value(key, own)} where {whose} {_value(key, asked)}"
        for key in differs
    ]
    same = [_WORDS.get(key, key) for key in asked if key not in differs and asked[key] is not None]
    words = ", ".join(word.partition(",")[0] for word in same) or "nothing"
    return f"other {'; other '.join(named)} (in common: {words})"


def _value(key: str, question: Mapping[str, Any]) -> str:
    value = question.get(key)
    if value is None or value == {}:
        return "none"
    return str(value)[:8] if key.endswith("sha256") else short(value)


def coordinates_of(opened: Sequence[Opened]) -> tuple[dict[str, list[Any]], list[str]]:
    """Return every coordinate of the runs, and say which are not of all runs.

    Parameters
    ----------
    opened : sequence of Opened
        The runs.

    Returns
    -------
    coordinates : dict of str to list
        A value a run; NaN (of numbers) or an empty text where a run has none.
    said : list of str
        A sentence for each that some runs lack.
    """
    names = dict.fromkeys(key for one in opened for key in one.coordinates)
    found, said = {}, []
    for key in names:
        given = [one.coordinates.get(key) for one in opened]
        numbers = all(isinstance(x, (int, float)) for x in given if x is not None)
        empty: Any = np.nan if numbers else ""
        found[key] = [empty if x is None else x if numbers else str(x) for x in given]
        if lacking := [one.name for one, x in zip(opened, given) if x is None]:
            said.append(
                f"{len(lacking)} of {len(opened)} runs have no `{key}` ({some(lacking)}): "
                "they are left out where it is asked for"
            )
    return found, said


def some(names: Sequence[str], most: int = 3) -> str:
    """Name some runs, and how many others there are.

    Parameters
    ----------
    names : sequence of str
        The runs.
    most : int
        How many are named.

    Returns
    -------
    str
        Such as "a, b, c and 33 others".
    """
    left = len(names) - most
    others = f" and {left} other{'s' * (left > 1)}" if left > 0 else ""
    return ", ".join(names[:most]) + others
