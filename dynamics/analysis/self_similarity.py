"""Steps, layers and runs compared with each other: where training changes what.

One task is a block of steps against another; a layer at a time is held, as what the metrics need
of it (a Gram matrix of the stimuli, for instance). A new step is compared with those that are
there, and nothing else is computed again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from dynamics import (
    analysis,
    metrics,
    progress,
    store,
)
from dynamics.analysis.scoring import without_time
from dynamics.brains.targets import N_FOLDS
from dynamics.config import Choice, Sweep
from dynamics.metrics.pairwise import Form
from dynamics.store import nodes

DIMENSIONALITY = "effective_dimensionality"
_BLOCK_BYTES = 2**28
_MOST_STEPS = 32


def check(sweep: Sweep) -> None:
    """Find unknown names and bad values in a sweep's `self_similarity`.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Raises
    ------
    ValueError
        For an unknown metric, argument or value, in one sentence.
    """
    if sweep.self_similarity and "self" in [target.label for target in sweep.targets]:
        raise ValueError("with `self_similarity` no target can have the label 'self': change it")
    rng = np.random.default_rng(0)
    spaces = list(rng.standard_normal((2, 60, 4)))
    for choice in sweep.self_similarity:
        if choice.name == DIMENSIONALITY:
            continue
        form = _form(choice.name)
        folds: dict[str, Any] = {"folds": np.arange(60) % 5} if form.folded else {}
        try:
            metrics.similarities(spaces, metric=form, **choice.arguments, **folds)
        except (TypeError, ValueError) as error:
            raise ValueError(f"self_similarity {choice.label!r}: {error}") from None


def missing(sweep: Sweep) -> list[int]:
    """Return the steps of a store that `analyze` has not compared yet.

    Parameters
    ----------
    sweep : Sweep
        The sweep; the lock of its store must be held.

    Returns
    -------
    list of int
        None where the sweep wants no such comparison.

    Raises
    ------
    ValueError
        If a label was used with other arguments before.
    """
    if not sweep.self_similarity:
        return []
    groups = _begin(store.open_group(sweep.place, mode="r+"), sweep)
    hashes = _hashes(sweep.place)
    have = [store.committed(group) for group in groups.values()]
    return [s for s in hashes if any(known.get(s) != hashes[s] for known in have)]


def analyze(sweep: Sweep, client: Any, *, advance: progress.Advance) -> None:
    """Compare the steps of a store with each other, and the layers of each step; what is missing.

    Parameters
    ----------
    sweep : Sweep
        With `self_similarity`.
    client : dask.distributed.Client
        Its workers see the store under the same path.
    advance : callable
        Called after each step.
    """
    root = store.open_group(sweep.place, mode="r+")
    groups, hashes, wanted = _begin(root, sweep), _hashes(sweep.place), missing(sweep)
    done = [s for s in hashes if s not in wanted]
    n = nodes.array(root, "activations/stimulus").shape[0]
    block = max(1, min(_MOST_STEPS, _BLOCK_BYTES // (8 * n * n * max(1, len(groups)))))
    given = (sweep.place.resolved(), _specs(sweep, root))
    for some in _cut(wanted, block):
        others = _cut(done, block)
        tables = [
            client.submit(
                compare_steps,
                *given,
                some,
                part,
                called=f"compare steps {some[0]}..{some[-1]} with {part[0]}..{part[-1]}",
            )
            for part in [*others, some]
        ]
        profiles = [
            client.submit(compare_layers, *given, step, called=f"compare layers of step {step}")
            for step in some
        ]
        rows = {
            name: np.concatenate([found[name] for found in client.gather(tables)], 1)
            for name, _, _ in given[1]
        }
        for place, (step, profile) in enumerate(zip(some, client.gather(profiles))):
            known = [*done, *some[: place + 1]]
            for label, group in groups.items():
                values: dict[str, tuple[tuple[str, ...], np.ndarray]] = (
                    {} if label in rows else {"score": (("layer",), profile[label])}
                )
                if label in rows:
                    row = rows[label][place, : len(known)]
                    store.write_pairs(group, step, known, row, attrs=_about("two steps"))
                    dims = ("layer", "layer_other")
                    values["layer_similarity"] = (dims, profile[label])
                attrs = {
                    "layer_similarity": _about("two layers at one step"),
                    "score": {"description": "participation ratio of the covariance", "units": "1"},
                }
                store.write_result(group, step, values, checkpoint=hashes[step], attrs=attrs)
            advance(note=f"step {step} with {len(known)}")
        done += some


def compare_steps(
    path: store.Where,
    specs: Sequence[tuple[str, Form, Mapping]],
    first: list[int],
    second: list[int],
) -> dict[str, np.ndarray]:
    """Compare blocks of steps layer by layer; what runs on a worker.

    Parameters
    ----------
    path : str, Path or Place
        The store.
    specs : sequence of (label, form, arguments)
        What to compare them by.
    first, second : list of int
        Training steps.

    Returns
    -------
    dict of str to array of shape (n_first, n_second, n_layers)
        Similarities by label.
    """
    root = store.open_group(path)
    layers = store.layer_names(root)
    shape = (len(first), len(second), len(layers))
    out = {label: np.empty(shape) for label, _, _ in specs}
    for number, layer in enumerate(layers):
        a = [_read(root, layer, step) for step in first]
        b = a if first == second else [_read(root, layer, step) for step in second]
        for label, metric, arguments in specs:
            out[label][..., number] = metrics.similarities(
                a, None if b is a else b, metric=metric, **arguments
            )
    return out


def compare_layers(
    path: store.Where, specs: Sequence[tuple[str, Form, Mapping]], step: int
) -> dict[str, np.ndarray]:
    """Compare the layers of one step, and count their dimensions; what runs on a worker.

    Parameters
    ----------
    path, specs
        As in `compare_steps`.
    step : int
        Training step.

    Returns
    -------
    dict of str to array of shape (n_layers, n_layers)
        Similarities by label; under "effective_dimensionality" an array (n_layers,).
    """
    spaces = [without_time(X).astype(float) for X in store.read_activations(path, step).values()]
    with metrics.shared(most=_BLOCK_BYTES):
        out = {label: _table(spaces, metric, arguments) for label, metric, arguments in specs}
    out[DIMENSIONALITY] = np.array([metrics.effective_dimensionality(X) for X in spaces])
    return out


def _table(spaces: list[np.ndarray], metric: Form, arguments: Mapping) -> np.ndarray:
    """Similarities of spaces in blocks that fit into memory."""
    n = len(spaces[0])
    size = max(1, _BLOCK_BYTES // (8 * n * n))
    cuts = [range(k, min(k + size, len(spaces))) for k in range(0, len(spaces), size)]
    table: np.ndarray = np.empty((len(spaces), len(spaces)))
    for a in cuts:
        for b in cuts:
            if b.start > a.start:
                continue
            second = None if a == b else [spaces[k] for k in b]
            part = metrics.similarities([spaces[k] for k in a], second, metric=metric, **arguments)
            table[a.start : a.stop, b.start : b.stop] = part
            table[b.start : b.stop, a.start : a.stop] = part.T
    return table


def similarity_of_runs(
    first: str | Path,
    second: str | Path,
    *,
    metric: str = "cka",
    layers: str = "",
    seed: int = 0,
    **arguments: Any,
) -> xr.DataArray:
    """Compare every step of one run with every step of another, on the stimuli of both.

    Parameters
    ----------
    first, second : str or Path
        Stores.
    metric : str
        A name in `dynamics.analysis.METHODS`, of one that compares spaces.
    layers : str
        ``"same"``: layers of the same name with each other. ``"all"``: every layer with every
        other. By default the first where both runs have the same layers, else the second.
    seed : int
        Of the folds of ``"svcca"`` and ``"pwcca"``.
    **arguments
        As for `dynamics.metrics.similarities`.

    Returns
    -------
    xarray.DataArray
        Similarity (step_a, step_b, layer), or (step_a, step_b, layer_a, layer_b), with the relative
        depth of layers, from 0 of the first to 1 of the last, as `depth_a` and `depth_b`.

    Raises
    ------
    FileNotFoundError
        If there is no such store.
    ValueError
        If the runs share fewer than 4 stimuli, or no layer where `layers` is "same", or the
        metric is unknown.
    """
    form = _form(metric)
    roots = [_sound(path) for path in (first, second)]
    steps = [list(_hashes(path)) for path in (first, second)]
    names = [nodes.strings(nodes.values(root, "activations/stimulus")).tolist() for root in roots]
    shared = [name for name in names[0] if name in set(names[1])]
    if len(shared) < 4:
        raise ValueError(
            f"{first} and {second} share {len(shared)} stimuli: compare runs that heard the same"
        )
    rows = [np.array([each.index(name) for name in shared]) for each in names]
    own = [store.layer_names(root) for root in roots]
    same = [layer for layer in own[0] if layer in own[1]]
    layers = layers or ("same" if own[0] == own[1] else "all")
    if layers not in ("same", "all") or (layers == "same" and not same):
        raise ValueError(
            f"layers is {layers!r} and the runs have {', '.join(own[0])} and {', '.join(own[1])}: "
            "use same for layers of one name, or all"
        )
    if form.folded:
        folds = metrics.stratified_folds(None, N_FOLDS, seed, n=len(shared))
        arguments = {"folds": folds} | arguments
    pairs = [(a, a) for a in same] if layers == "same" else [(a, b) for a in own[0] for b in own[1]]
    block = max(1, min(_MOST_STEPS, _BLOCK_BYTES // (16 * len(shared) ** 2)))

    def compared(pair: tuple[str, str]) -> np.ndarray:
        table: np.ndarray = np.empty((len(steps[0]), len(steps[1])))
        for some in _cut(range(len(steps[0])), block):
            a = [_read(roots[0], pair[0], steps[0][k])[rows[0]] for k in some]
            for others in _cut(range(len(steps[1])), block):
                b = [_read(roots[1], pair[1], steps[1][k])[rows[1]] for k in others]
                found = metrics.similarities(a, b, metric=form, **arguments)
                table[some[0] : some[-1] + 1, others[0] : others[-1] + 1] = found
        return table

    with metrics.shared(most=_BLOCK_BYTES):
        table = np.stack([compared(pair) for pair in pairs], -1)
    dims: tuple[str, ...] = ("step_a", "step_b", "layer")
    coords: dict[str, Any] = {"step_a": steps[0], "step_b": steps[1], "layer": same}
    if layers == "all":
        dims = ("step_a", "step_b", "layer_a", "layer_b")
        table = table.reshape(*table.shape[:2], len(own[0]), len(own[1]))
        coords = {"step_a": steps[0], "step_b": steps[1], "layer_a": own[0], "layer_b": own[1]}
    for side, names in zip("ab", own):
        dim = "layer" if layers == "same" else f"layer_{side}"
        places = [names.index(layer) for layer in np.asarray(coords[dim])]
        coords[f"depth_{side}"] = (dim, relative_depth(len(names))[places])
    attrs = {
        "description": f"{metric} of two runs",
        "units": "1",
        "metric": metric,
        "run_a": str(roots[0].attrs.get("run", first)),
        "run_b": str(roots[1].attrs.get("run", second)),
        "stimuli": len(shared),
    }
    return xr.DataArray(table, coords, dims, name="similarity", attrs=attrs)


def relative_depth(number: int) -> np.ndarray:
    """Return places between input and output: 0 of the first layer, 1 of the last (or only) one.

    Parameters
    ----------
    number : int
        How many layers there are.

    Returns
    -------
    array of shape (number,)
        Ascending.
    """
    return np.ones(1) if number == 1 else np.linspace(0, 1, number)


def _begin(root: zarr.Group, sweep: Sweep) -> dict[str, zarr.Group]:
    layers = store.layer_names(root)
    choices = [c for c in sweep.self_similarity if c.name != DIMENSIONALITY]
    groups = {}
    for choice in [*choices, Choice(name=DIMENSIONALITY)]:
        identity = {"metric": choice.name, "arguments": choice.arguments, "seed": sweep.seed}
        coordinates: dict[str, tuple[str, npt.ArrayLike]] = {"layer": ("layer", layers)}
        if choice.name != DIMENSIONALITY:
            coordinates["layer_other"] = ("layer_other", layers)
        groups[choice.label] = store.begin_result(
            root, "self", choice.label, identity=identity, coordinates=coordinates
        )
    return groups


def _form(metric: str) -> Form:
    """Return how a metric compares two spaces; a ValueError where it does not."""
    own = analysis.METHODS.get(metric)
    if own is None or own.space is None:
        able = [name for name, each in analysis.METHODS.items() if each.space is not None]
        raise ValueError(
            f"there is no similarity {metric!r} of two spaces: use one of {', '.join(able)}"
        )
    return own.space


def _specs(sweep: Sweep, root: zarr.Group) -> list[tuple[str, Form, dict]]:
    categories = nodes.strings(nodes.values(root, "activations/category"))
    merged = metrics.merge_small(categories, N_FOLDS)
    folds = {"folds": metrics.stratified_folds(merged, N_FOLDS, sweep.seed)}
    return [
        (c.label, form, {**c.arguments, **(folds if form.folded else {})})
        for c in sweep.self_similarity
        if c.name != DIMENSIONALITY
        for form in [_form(c.name)]
    ]


def _hashes(path: store.Where) -> dict[int, str]:
    """Return the complete steps of a store in order, with the hashes of their checkpoints."""
    rows = store.records(store.open_group(path))
    return {
        step: row["sha256"] for step, row in sorted(rows.items()) if row["status"] == store.DONE
    }


def _sound(path: store.Where) -> zarr.Group:
    """Open a store all of whose activations are what was committed."""
    store.check(path)
    if faults := store.verify(path):
        step, fault = next(iter(faults.items()))
        raise ValueError(f"step {step} of store {path} {fault}: `dynamics verify` says what to do")
    return store.open_group(path)


def _read(root: zarr.Group, layer: str, step: int) -> np.ndarray:
    """Read one layer of one step, (n, p), averaged over time."""
    row = store.steps(root)[step]
    X = nodes.values(root, store.activation_of(layer), row)
    return without_time(X).astype(float)


def _cut(values: Sequence[int], size: int) -> list[list[int]]:
    every = list(values)
    return [every[size * k : size * (k + 1)] for k in range(math.ceil(len(every) / size))]


def _about(what: str) -> dict[str, str]:
    return {"description": f"similarity of {what}", "units": "1"}
