"""Verify what a store holds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import zarr

from dynamics.store import hashes, nodes
from dynamics.store.damage import some
from dynamics.store.layout import ADDED, COLUMNS, DONE, FAILED, PENDING
from dynamics.store.nodes import activation_of
from dynamics.store.place import Where, place_of
from dynamics.store.read import (
    content_of,
    controls,
    controls_group,
    kept_at,
    layer_names,
    open_group,
    records,
    steps,
)


def verify(where: Where) -> dict[int, str]:
    """Read every done step and compare it with the hash that was taken when it was committed.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Returns
    -------
    dict of int to str
        What is wrong with each bad step; empty for a sound store, and where the table of
        checkpoints cannot be read, of which `verify_results` says what is wrong.
    """
    root = open_group(where)
    try:
        found, rows = records(root), steps(root)
    except (ValueError, LookupError):
        return {}
    faults = {}
    layers = _layers_of(root) if any(each["status"] == DONE for each in found.values()) else {}
    for step, record in sorted(found.items()):
        fault = ""
        if record["status"] == DONE:
            fault = _fault(root, layers, rows[step], record["content"])
        if record["status"] in (DONE, FAILED) and not fault:
            fault = _fault_of_record(record)
        if not fault:
            continue
        now = records(root, "content", hashes.HASH)[step]
        if all(record[name] == value for name, value in now.items()):  # not done again meanwhile
            faults[step] = fault
    return faults


def _fault_of_record(record: Mapping[str, Any]) -> str:
    """Say what is wrong with a row of the table that has a hash."""
    expected = record.get(hashes.HASH, "")
    if not expected or hashes.of_record(record) == expected:
        return ""
    return "has a row in the table of checkpoints that holds other values than were written"


def check(where: Where) -> None:
    """Raise unless the table of checkpoints and the coordinates of activations are as written.

    What starts from a store calls it: stimuli are joined, and results known, by what stands there.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Raises
    ------
    ValueError
        If something was lost or holds other values; all of it is looked at by `verify`.
    """
    faults = verify_tables(where)
    # Results that are lost as a whole are computed again.
    known = {path: fault for path, fault in faults.items() if path.partition("/")[0] != "results"}
    if known:
        path, fault = next(iter(known.items()))
        raise ValueError(f"store {where}: {path} {fault}: `dynamics verify` says how to mend it")


def verify_tables(where: Where) -> dict[str, str]:
    """Compare the table of checkpoints and the coordinates of activations with their hashes.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Returns
    -------
    dict of str to str
        What is wrong, by path; little is read for it.
    """
    root = open_group(where)
    found = _faults_of_tables(root)
    for start in ("", "controls/"):
        if start and ("controls" in found or controls_group(root) is None):
            continue
        if f"{start}checkpoints" not in found:
            rows = records(nodes.group(root, start) if start else root)
            odd = [step for step, row in sorted(rows.items()) if _fault_of_record(row)]
            if odd:
                found[f"{start}checkpoints"] = (
                    f"holds other values of step {some(odd, 1)} than were written"
                )
    return found


def verify_results(where: Where) -> dict[tuple[str, int | None], str]:
    """Compare results, coordinates and the table with their hashes; see `verify` for activations.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Returns
    -------
    dict of (str, int or None) to str
        What is wrong by the path of a group and the step, None where it is of no step; empty for
        a sound store.
    """
    root = open_group(where)
    faults: dict[tuple[str, int | None], str] = {
        (path, None): fault for path, fault in _faults_of_tables(root).items()
    }
    for path, target in _groups(root, "results", faults):
        for name, metric in _groups(target, "", faults, path):
            try:
                found = _faults_of_results(metric)
            except Exception as error:
                found = {None: _unreadable(error)}
            for step, each in found.items():
                faults[name, step] = each
    return faults


def _faults_of_tables(root: zarr.Group) -> dict[str, str]:
    """Say what is wrong with tables of checkpoints, coordinates and the list of results."""
    faults: dict[str, str] = {}

    def look(path: str, found: Callable[[], str]) -> None:
        if fault := _fault_in(found):
            faults[path] = fault

    def constants(path: str) -> str:
        found = hashes.faults_of_constants(nodes.group(root, path))
        return "; ".join(f"{name} {fault}" for name, fault in found.items())

    look("controls", lambda: (controls_group(root) and "") or "")
    there = "controls" not in faults and controls_group(root) is not None
    for start in ("", "controls/") if there else ("",):
        look(f"{start}checkpoints", functools.partial(_fault_of_table, root, start))
        look(f"{start}activations", functools.partial(constants, f"{start}activations"))
    for name, fault in hashes.faults_of_constants(root).items():
        faults.setdefault(name, fault)
    look("results", lambda: (nodes.group(root, "results") and "") or "")
    if "results" not in faults:
        for name, fault in hashes.faults_of_constants(nodes.group(root, "results")).items():
            faults[f"results/{name}"] = fault
    return faults


def _fault_in(look: Callable[[], str]) -> str:
    """Return what a look finds, or why it cannot be had."""
    try:
        return look()
    except Exception as error:
        return _unreadable(error)


def _unreadable(error: Exception) -> str:
    """Say why something cannot be read; what a disk, a server or a library raises goes on."""
    if isinstance(error, (OSError, ImportError)):
        raise error
    # Whatever zarr makes of a damaged description or chunk.
    told = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be read ({told.partition(': `dynamics verify`')[0]:.300})"


def _groups(
    parent: zarr.Group, name: str, faults: dict[tuple[str, int | None], str], path: str = ""
) -> Iterator[tuple[str, zarr.Group]]:
    """Yield the groups in a group with their paths; what is wrong with others is put down."""
    path = path or name
    if (path, None) in faults:
        return
    group = nodes.group(parent, name) if name else parent
    for below in nodes.names(group):
        try:
            found = nodes.member(group, below)
        except Exception as error:
            faults[f"{path}/{below}", None] = _unreadable(error)
            continue
        if isinstance(found, zarr.Group):
            yield f"{path}/{below}", found


def _faults_of_results(group: zarr.Group) -> dict[int | None, str]:
    found: dict[int | None, str] = {}
    for name, fault in hashes.faults_of_constants(group).items():
        found[None] = f"{name} {fault}"
    rows = hashes.faults_of_steps(group)
    steps = nodes.values(group, "step").tolist() if -1 not in rows else []
    for row, fault in rows.items():
        found[steps[row] if row >= 0 and steps[row] >= 0 else None] = fault
    return found


def _fault_of_table(root: zarr.Group, start: str = "") -> str:
    """Say what is wrong with the table of checkpoints, and with the steps of activations."""
    root = nodes.group(root, start.rstrip("/")) if start else root
    table = nodes.group(root, "checkpoints")
    there = nodes.members(table)
    if lost := [name for name in COLUMNS if name not in ADDED and name not in there]:
        return f"`{lost[0]}` is lost"
    for name, node in there.items():
        if name in COLUMNS and not hashes.has_steps(node):
            return f"`{name}` has lost its steps"
    named, filled = nodes.values(table, "step") >= 0, nodes.values(table, "content") != ""
    if without := int((filled[: len(named)] & ~named[: len(filled)]).sum()):
        return f"`step` of {without} rows is lost"
    rows = records(root)
    done = {step: row for step, row in rows.items() if row["status"] == DONE}
    for step, row in done.items():
        if lost := [name for name in ("uri", "sha256", "content") if not row[name]]:
            return f"`{lost[0]}` of step {step} is lost"
    odd = [step for step, row in rows.items() if row["status"] not in (DONE, FAILED, PENDING)]
    if odd:
        return f"`status` of step {odd[0]} holds {rows[odd[0]]['status']!r:.40}"
    waiting = [step for step, row in rows.items() if row["status"] == PENDING and row["content"]]
    if len(waiting) > 1:  # one may have been stopped just before
        return f"`status` of step {some(waiting, 1)} is lost"
    if done and not nodes.has(root, "activations/step"):
        return "`activations/step` is lost"
    if done:
        own, where = nodes.values(root, "activations/step"), steps(root)
        if wrong := [s for s in done if where[s] >= len(own) or own[where[s]] != s]:
            return f"`activations/step` holds another step in the place of {wrong[0]}"
    return ""


def verify_controls(where: Where) -> dict[int, str]:
    """Return what `verify` finds in the several untrained networks of a store, by their number."""
    try:
        there = controls(where)
    except (ValueError, LookupError):  # `verify_results` says why
        return {}
    return verify(place_of(where) / "controls") if there else {}


def _layers_of(root: zarr.Group) -> dict[str, Any]:
    """Open all layers, from input to output; in the place of what is lost, what that raised."""
    found: dict[str, Any] = {}
    try:
        names = layer_names(root)
    except Exception as error:
        return {"": error}
    for layer in names:
        try:
            found[layer] = nodes.array(root, activation_of(layer))
        except Exception as error:
            found[layer] = error
    return found


def _fault(root: zarr.Group, layers: Mapping[str, Any], row: int, expected: str) -> str:
    """Say what is wrong with a step of layers, each an array or what opening it raised."""
    broken: list[str] = []
    try:
        found = content_of(
            (layer, chain(_watched(layer, array, row, broken), kept_at(root, layer, row)))
            for layer, array in layers.items()
        )
    except Exception as error:
        return _unreadable(error)
    if found != expected:
        return "holds other values than were committed"
    return f"has values of layer {broken[0]} that are not finite" if broken else ""


def _watched(layer: str, array: Any, row: int, broken: list[str]) -> Iterator[np.ndarray]:
    """Yield the parts of a step of a layer; it is broken where values are not finite.

    With time, NaN may stand past the end of a stimulus.
    """
    if isinstance(array, Exception):
        raise array
    over = False
    for _, first, values in nodes.parts_of(array, row):
        yield values
        finite = np.isfinite(values)
        over = over and first > 0  # where a stimulus's parts have ended, no other has values
        if finite.all() and not over:
            continue
        ended = np.isnan(values).all(axis=2) if values.ndim == 3 else np.zeros(len(values), bool)
        inside = finite | ended[..., None]
        ends = values.ndim == 3 and inside.all() and not (np.diff(ended.astype(int)) < 0).any()
        if layer not in broken and (not ends or (over and not ended.all())):
            broken.append(layer)
        over = bool(ended[:, -1].all()) if values.ndim == 3 else False
