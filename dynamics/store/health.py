"""Say how a store is doing, verify what it holds, and mark steps to be done again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from dynamics.store import hashes, nodes
from dynamics.store.activations import content_hash
from dynamics.store.layout import ADDED, COLUMNS, DONE, FAILED, PENDING
from dynamics.store.locking import lock
from dynamics.store.nodes import activation_of
from dynamics.store.place import Where, place_of, reading, sizes_of, writing
from dynamics.store.read import (
    controls,
    controls_group,
    layer_names,
    open_group,
    records,
    steps,
)
from dynamics.store.repository import save
from dynamics.store.results import uncommit

# Table (of steps, or of untrained networks), layer and row of a chunk of activations.
_CHUNK = re.compile(r"((?:.*/)?)activations/([^/]+)/activation/c/(\d+)")


@dataclass(frozen=True)
class Summary:
    """How far a store is.

    Attributes
    ----------
    done, failed, pending : int
        Numbers of steps.
    layers : int
        Number of layers.
    bytes : int
        Size of all files.
    files : int
        Number of files (objects, in an object store).
    activation_bytes : int
        Size of the activations, compressed.
    ratio : float
        Bytes of the activations as float32 over `activation_bytes`; NaN where there are none.
    files_per_step : float
        Files of activations per step that has some.
    seconds_per_step : float
        Median time of a done step; NaN where there is none.
    seconds_left : float
        Estimate for the pending steps; NaN where there is no done step.
    """

    done: int
    failed: int
    pending: int
    layers: int
    bytes: int
    files: int
    activation_bytes: int
    ratio: float
    files_per_step: float
    seconds_per_step: float
    seconds_left: float


def summarise(where: Where) -> Summary:
    """Say how far a store is.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Returns
    -------
    Summary
        Counts, size and estimates.
    """
    root = open_group(where)
    rows = records(root, "status", "seconds").values()
    found = [row["status"] for row in rows]
    seconds = [row["seconds"] for row in rows if row["status"] == DONE]
    rate = float(np.median(seconds)) if seconds else float("nan")
    with reading(where):
        sizes = sizes_of(root)
    layers = layer_names(root)
    matches = {key: match for key in sizes if (match := _CHUNK.match(key))}
    bytes_of_chunks = sum(sizes[key] for key in matches)
    written = {match.group(1, 3) for match in matches.values()}
    whole = sum(
        4 * count * int(np.prod(nodes.array(root, f"activations/{layer}/activation").chunks))
        for layer, count in Counter(match[2] for match in matches.values()).items()
    )
    pending = found.count(PENDING)
    return Summary(
        done=found.count(DONE),
        failed=found.count(FAILED),
        pending=pending,
        layers=len(layers),
        bytes=sum(sizes.values()),
        files=len(sizes),
        activation_bytes=bytes_of_chunks,
        ratio=whole / bytes_of_chunks if matches else float("nan"),
        files_per_step=len(matches) / len(written) if written else float("nan"),
        seconds_per_step=rate,
        seconds_left=rate * pending if pending else 0.0,
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
        What is wrong with each bad step; empty for a sound store.
    """
    root = open_group(where)
    found, rows, faults = records(root), steps(root), {}
    for step, record in sorted(found.items()):
        fault = ""
        if record["status"] == DONE:
            fault = _fault(root, rows[step], record["content"])
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
    faults: dict[tuple[str, int | None], str] = {}
    for start in ("", "controls/") if controls_group(root) is not None else ("",):
        if fault := _fault_of_table(nodes.group(root, start) if start else root):
            faults[f"{start}checkpoints", None] = fault
        activations = nodes.group(root, f"{start}activations")
        for name, fault in hashes.faults_of_constants(activations).items():
            faults[f"{start}activations", None] = f"{name} {fault}"
    for name, fault in hashes.faults_of_constants(root).items():
        faults[name, None] = fault
    for name, fault in hashes.faults_of_constants(nodes.group(root, "results")).items():
        faults[f"results/{name}", None] = fault
    for target, below in nodes.members(nodes.group(root, "results")).items():
        for metric, group in nodes.members(below).items() if _is_group(below) else ():
            if _is_group(group):
                for step, fault in _faults_of_results(group).items():
                    faults[f"results/{target}/{metric}", step] = fault
    return faults


def _is_group(node: object) -> bool:
    return isinstance(node, zarr.Group)


def _faults_of_results(group: zarr.Group) -> dict[int | None, str]:
    found: dict[int | None, str] = {}
    for name, fault in hashes.faults_of_constants(group).items():
        found[None] = f"{name} {fault}"
    rows = hashes.faults_of_steps(group)
    steps = nodes.values(group, "step").tolist() if -1 not in rows else []
    for row, fault in rows.items():
        found[steps[row] if row >= 0 and steps[row] >= 0 else None] = fault
    return found


def _fault_of_table(root: zarr.Group) -> str:
    """Say what is wrong with the table of checkpoints, and with the steps of activations."""
    table = nodes.group(root, "checkpoints")
    there = nodes.members(table)
    if lost := [name for name in COLUMNS if name not in ADDED and name not in there]:
        return f"`{lost[0]}` is lost"
    for name, node in there.items():
        if name in COLUMNS and not hashes.has_steps(node):
            return f"`{name}` has lost its steps"
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
        return f"`status` of step {waiting[0]} and {len(waiting) - 1} more is lost"
    if done and not nodes.has(root, "activations/step"):
        return "`activations/step` is lost"
    if done:
        own, where = nodes.values(root, "activations/step"), steps(root)
        if wrong := [s for s in done if where[s] >= len(own) or own[where[s]] != s]:
            return f"`activations/step` holds another step in the place of {wrong[0]}"
    return ""


def verify_controls(where: Where) -> dict[int, str]:
    """Return what `verify` finds in the several untrained networks of a store, by their number."""
    return verify(place_of(where) / "controls") if controls(where) else {}


def redo(where: Where, chosen: Sequence[int], *, untrained: Sequence[int] = ()) -> None:
    """Mark steps as pending, so that the next crawl does them again.

    Parameters
    ----------
    where : str, Path or Place
        A store.
    chosen : sequence of int
        Training steps.
    untrained : sequence of int
        Numbers of untrained networks.

    Raises
    ------
    ValueError
        If a step or network is not in the store; none is marked then.
    """
    with lock(where):
        root = open_group(where, mode="r+")
        tables = [(root, "step", chosen)]
        if untrained:
            group = controls_group(root)
            if group is None:
                raise ValueError(f"store {where} has no controls: its sweep asks for none")
            tables.append((group, "untrained network", untrained))
        for group, name, numbers in tables:
            rows = steps(group)
            if unknown := [number for number in numbers if number not in rows]:
                raise ValueError(
                    f"store {where} has no {name} {unknown[0]}: it has {_some(sorted(rows))}"
                )
        with writing(root):
            for group, _, numbers in tables:
                rows = steps(group)
                for number in numbers:
                    nodes.array(group, "checkpoints/status")[rows[number]] = PENDING
                    nodes.array(group, "checkpoints/content")[rows[number]] = ""
                if numbers:
                    _forget_lost_coordinates(nodes.group(group, "activations"))
            save(root, f"redo {', '.join(map(str, [*chosen, *untrained]))}")


def redo_results(where: Where, target: str, metric: str, chosen: Sequence[int] = ()) -> None:
    """Have results computed again by the next `analyze` or `probe`.

    Parameters
    ----------
    where : str, Path or Place
        A store.
    target, metric : str
        Their labels.
    chosen : sequence of int
        Steps; by default all, with coordinates and levels: the group is removed.

    Raises
    ------
    ValueError
        If there are no such results, or no such step.
    """
    name = f"results/{target}/{metric}"
    with lock(where):
        root = open_group(where, mode="r+")
        known_groups = hashes.stated(nodes.group(root, "results"))
        if name not in root and (chosen or f"{target}/{metric}/" not in known_groups):
            raise ValueError(f"store {where} has no {name}: `dynamics verify` names what there is")
        with writing(root):
            if not chosen:
                if name in root:
                    del root[name]
                hashes.note_group(nodes.group(root, "results"), f"{target}/{metric}", there=False)
            group = nodes.group(root, name if chosen else "results")
            known = nodes.values(group, "step").tolist() if chosen else []
            if unknown := [step for step in chosen if step not in known]:
                raise ValueError(f"{name} has no step {unknown[0]}: it has {_some(sorted(known))}")
            for step in chosen:
                uncommit(group, known.index(step))
            save(root, f"redo {name}")


def _forget_lost_coordinates(group: zarr.Group) -> None:
    """Have coordinates of activations written again with the next step, if one is damaged."""
    if not hashes.faults_of_constants(group):
        return
    for name in {*nodes.members(group), *hashes.stated(group)} - {"step"}:
        if name in group and isinstance(group[name], zarr.Group):
            continue
        if name in group:
            del group[name]
        hashes.note(group, name, None)


def _fault(root: zarr.Group, row: int, expected: str) -> str:
    try:
        found = content_hash(root, row)
    except Exception as error:  # whatever the decompressor makes of a damaged chunk
        return f"cannot be read ({' '.join(str(error).split()) or type(error).__name__})"
    if found != expected:
        return "holds other values than were committed"
    for layer in layer_names(root):
        if not _whole(nodes.parts_of(nodes.array(root, activation_of(layer)), row)):
            return f"has values of layer {layer} that are not finite"
    return ""


def _whole(parts: Iterable[tuple[int, int, np.ndarray]]) -> bool:
    """Whether values are finite; with time, NaN may stand past the end of a stimulus."""
    over = False
    for _, first, values in parts:
        finite = np.isfinite(values)
        over = over and first > 0  # where a stimulus's parts have ended, no other has values
        if finite.all() and not over:
            continue
        ended = np.isnan(values).all(axis=2) if values.ndim == 3 else np.zeros(len(values), bool)
        inside = finite | ended[..., None]
        if values.ndim < 3 or not inside.all() or (np.diff(ended.astype(int)) < 0).any():
            return False
        if over and not ended.all():
            return False
        over = bool(ended[:, -1].all())
    return True


def _some(values: Sequence[int], most: int = 12) -> str:
    shown = ", ".join(map(str, values[:most]))
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
