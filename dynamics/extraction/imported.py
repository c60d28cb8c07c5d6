"""Activations that others computed, in the place of checkpoints and a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynamics.checkpoints import Checkpoint
from dynamics.checkpoints.array_files import ArrayFile
from dynamics.config import Sweep
from dynamics.config.activations import Activations
from dynamics.extraction.array_layouts import files_of, inside_of, names_of, step_of
from dynamics.extraction.runner import Extracted, Layers
from dynamics.sounds import StimulusSet
from dynamics.sounds.audio import natural_order, without_suffix

FORMAT = "activations"


def find(sweep: Sweep) -> list[Checkpoint]:
    """List the steps of which there are activations, in the place of checkpoints.

    Parameters
    ----------
    sweep : Sweep
        With `activations`.

    Returns
    -------
    list of Checkpoint
        Sorted by step.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ValueError
        If a file cannot be read, or a step is no number.
    """
    given = _given(sweep)
    places: dict[int, list[Path]] = {}
    for file, known in files_of(given):
        if "step" in known or "{step}" not in given.layout:
            steps = {step_of(given, known)}
        else:
            steps = {step_of(given, fields) for _, fields in inside_of(given, file, known)}
        for step in steps:
            places.setdefault(step, []).append(file)
    if not places:
        raise FileNotFoundError(
            f"no array in '{given.path}' lies where the layout {given.layout!r} says"
        )
    return [_row(given, step, files) for step, files in sorted(places.items())]


def check(sweep: Sweep, stimuli: StimulusSet) -> None:
    """Find out whether there are names of the sounds; no array is read.

    Parameters
    ----------
    sweep : Sweep
        With `activations`.
    stimuli : StimulusSet
        Its sounds.

    Raises
    ------
    ValueError, FileNotFoundError
        If there are none, or a sound is not among them.
    """
    given = _given(sweep)
    if "{stimulus}" in given.layout:
        return  # each step says which it has
    if given.stimuli and (names := names_of(given)) is not None:
        _rows(names, stimuli, str(given.path))


def extracted(
    todo: Sequence[Checkpoint], sweep: Sweep, stimuli: StimulusSet
) -> Iterator[Extracted]:
    """Read steps, one after the other, as `dynamics.extraction.runner.extracted` runs them.

    Parameters
    ----------
    todo : sequence of Checkpoint
        From `find`.
    sweep : Sweep
        The sweep.
    stimuli : StimulusSet
        Its sounds, whose names choose and order the rows.

    Yields
    ------
    checkpoint, sha256, noted : Extracted
        What is wrong with a step is raised by `noted`.
    """
    files = list(files_of(_given(sweep))) if todo else []
    for checkpoint in todo:
        try:
            layers = read(sweep, checkpoint.step, stimuli, files)
        except ValueError as error:
            yield checkpoint, "", _raising(error)
        else:
            yield checkpoint, content_of(layers), lambda layers=layers: (layers, "")  # type: ignore[misc]


def _raising(error: ValueError) -> Any:
    def noted() -> tuple[Layers, str]:
        raise error

    return noted


def check_done(
    done: Sequence[Checkpoint],
    records: Mapping[int, Mapping[str, Any]],
    sweep: Sweep,
    stimuli: StimulusSet,
) -> None:
    """Compare done steps whose files were written again with what is in the store.

    Parameters
    ----------
    done : sequence of Checkpoint
        Steps that are done.
    records : mapping of int to mapping
        Their rows in the store.
    sweep, stimuli
        As for `extracted`.

    Raises
    ------
    ValueError
        If one holds other numbers now.
    """

    def stamp(record: Mapping[str, Any]) -> tuple[Any, Any]:
        return record["bytes"], record.get("modified")

    written = [c for c in done if stamp(records[c.step]) != (c.bytes, c.modified)]
    files = list(files_of(_given(sweep))) if written else []
    for checkpoint in written:
        found = content_of(read(sweep, checkpoint.step, stimuli, files))
        if found != records[checkpoint.step]["sha256"]:
            raise ValueError(
                f"the activations of step {checkpoint.step} in '{checkpoint.uri}' are others than "
                f"those in store {sweep.store}: take them with `dynamics redo {sweep.store} --step "
                f"{checkpoint.step}`, or choose another `store`"
            )


def content_of(layers: Mapping[str, np.ndarray]) -> str:
    """Hash activations: SHA-256 over names, shapes and values of the layers, as float32."""
    total = hashlib.sha256()
    for name, values in layers.items():
        total.update(repr((name, values.shape)).encode())
        total.update(np.ascontiguousarray(values, "<f4").tobytes())
    return total.hexdigest()


def read(
    sweep: Sweep, step: int, stimuli: StimulusSet, files: Sequence[tuple[Path, dict[str, str]]]
) -> dict[str, np.ndarray]:
    """Read every layer of one step, its rows in the order of the sounds.

    Parameters
    ----------
    sweep : Sweep
        With `activations`.
    step : int
        One that `find` gave.
    stimuli : StimulusSet
        The sounds.
    files : sequence of (Path, dict of str to str)
        From `dynamics.extraction.array_layouts.files_of`: of many steps they are listed once.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features)
        float32, in the order of `layers`, by default in natural order of their names.

    Raises
    ------
    ValueError
        If an array is missing or has another shape, holds no numbers or not only finite ones, a
        sound is missing, or a pickle would construct anything but arrays.
    """
    given = _given(sweep)
    found: dict[str, dict[str, np.ndarray]] = {}
    names: Sequence[str] | None = None
    for file, known in files:
        if "step" in known and step_of(given, known) != step:
            continue
        if "{step}" not in given.layout and step != given.step:
            continue
        opened = ArrayFile(file)
        for key, fields in inside_of(given, file, known, opened):
            layer = fields["layer"]
            if step_of(given, fields) == step and (not given.layers or layer in given.layers):
                where = _Where(file, key)
                values = _numbers(given, opened.read(key), where, "stimulus" not in fields)
                found.setdefault(layer, {})[fields.get("stimulus", "")] = values
        if names is None and "{stimulus}" not in given.layout:
            names = names_of(given, opened)
    order = given.layers or sorted(found, key=natural_order)
    if lacking := [layer for layer in order if layer not in found]:
        raise ValueError(
            f"'{given.path}' has no layer {lacking[0]!r} at step {step}: there are "
            f"{', '.join(sorted(found, key=natural_order)[:10]) or 'none'}"
        )
    return {layer: _assembled(layer, found[layer], names, stimuli, given.path) for layer in order}


@dataclass
class _Where:
    file: Path
    key: str

    def __str__(self) -> str:
        return f"'{self.key}' of '{self.file}'" if self.key else f"'{self.file}'"


def _given(sweep: Sweep) -> Activations:
    assert sweep.activations is not None
    return sweep.activations


def _numbers(given: Activations, values: np.ndarray, where: _Where, several: bool) -> np.ndarray:
    """Return an array as float32, averaged where that is asked for."""
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{where} holds {values.dtype}, and no real numbers")
    shape = values.shape
    if given.average is not None:
        if not -values.ndim <= given.average < values.ndim:
            raise ValueError(f"{where} has the shape {shape}, and so no axis {given.average}")
        values = values.mean(given.average, dtype=np.float64)
    if values.ndim != 1 + several:
        wanted = "(stimuli, features)" if several else "(features,)"
        raise ValueError(
            f"{where} has the shape {shape}: give {wanted}, or the axis of time as `average`"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{where} has values that are not finite")
    return values.astype(np.float32)


def _assembled(
    layer: str,
    arrays: Mapping[str, np.ndarray],
    names: Sequence[str] | None,
    stimuli: StimulusSet,
    where: str,
) -> np.ndarray:
    if "" in arrays:
        values = arrays[""]
        if names is None:
            raise ValueError(
                f"nothing says which row of '{where}' is which sound: give `stimuli`, a list, a "
                "text file with a name a line, or the key of an array of names"
            )
        if len(names) != len(values):
            raise ValueError(
                f"layer {layer} in '{where}' has {len(values)} rows for {len(names)} names of "
                "sounds"
            )
        return values[_rows(names, stimuli, where)]
    shapes = {values.shape for values in arrays.values()}
    if len(shapes) > 1:
        few = " and ".join(map(str, sorted(shapes)[:2]))
        raise ValueError(f"layer {layer} in '{where}' has sounds of the shapes {few}")
    every = list(arrays)
    return np.stack([arrays[every[row]] for row in _rows(every, stimuli, where)])


def _rows(names: Sequence[str], stimuli: StimulusSet, where: str) -> list[int]:
    """Return the row of each sound by its name, with or without a suffix."""
    rows: dict[str, int] = {}
    for row, name in enumerate(map(without_suffix, names)):
        if name in rows:
            raise ValueError(f"'{where}' names the sound '{name}' twice")
        rows[name] = row
    wanted = [without_suffix(name) for name in stimuli.names]
    if lacking := [name for name in wanted if name not in rows]:
        raise ValueError(
            f"'{where}' has no activations of '{lacking[0]}' ({len(lacking)} of {len(wanted)} "
            f"sounds of {stimuli.name} in all; it has {', '.join(list(rows)[:3])}, ...)"
        )
    return [rows[name] for name in wanted]


def _row(given: Activations, step: int, files: Sequence[Path]) -> Checkpoint:
    stats = [path.stat() for path in dict.fromkeys(files)]
    uri = str(files[0]) if len(stats) == 1 else given.path
    return Checkpoint(
        step, uri, sum(s.st_size for s in stats), max(s.st_mtime for s in stats), FORMAT,
        known_by="name" if "{step}" in given.layout else "list",
    )  # fmt: skip
