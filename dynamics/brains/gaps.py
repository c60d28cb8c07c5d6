"""What a brain target lacks: found, left out, counted and put into words."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynamics.metrics.correlation import varying
from dynamics.sounds.audio import without_suffix

_NAMED = 5


def without_dead_repetitions(values: np.ndarray, dims: Sequence[Any]) -> np.ndarray:
    """Take out repetitions in which a neuroid is constant although it varies in another.

    Parameters
    ----------
    values : array of shape (n_stimuli[, n_times], n_neuroids[, n_repetitions])
        Responses, NaN where there is none.
    dims : sequence of str
        Names of these dimensions.

    Returns
    -------
    array of the same shape
        With NaN in place of such repetitions.
    """
    if "repetition" not in dims:
        return values
    varies = varying(values.reshape(-1, *values.shape[-2:]))
    dead = ~varies & varies.any(1, keepdims=True)
    return np.where(dead, np.nan, values) if dead.any() else values


def find_gaps(
    values: np.ndarray, response: xr.DataArray, *, durations: np.ndarray | None = None
) -> dict[str, Any]:
    """Find what of a target is missing, or cannot be used.

    Parameters
    ----------
    values : array of shape (n_stimuli[, n_times], n_neuroids[, n_repetitions])
        Responses, NaN where there is none.
    response : xarray.DataArray
        With the names of these dimensions, and of stimuli and neuroids.
    durations : array of shape (n_stimuli,), optional
        Seconds of the sounds: a response that ends with its sound, or at most two samples before,
        lacks nothing.

    Returns
    -------
    dict
        ``stimuli``, ``neuroids``: names of those left out, the first without a response, the
        others without responses that vary; ``sizes``: how many of each dimension there are;
        ``repetitions``, ``samples``: how many responses (stimulus, neuroid) are means of fewer
        than all of these; ``lacking``: how many neuroids lack stimuli that others have. Empty
        where nothing is missing.
    """
    n, v = response.sizes["stimulus"], response.sizes["neuroid"]
    there = np.isfinite(values)
    timed, repeated = "time" in response.dims, "repetition" in response.dims
    full = there.reshape(n, response.sizes.get("time", 1), v, -1)
    sampled = full.any(3)  # (stimulus, time, neuroid)
    repetition = full.any(1)  # (stimulus, neuroid, repetition)
    known = sampled.any(1)
    flat = np.where(there, values, np.nan).reshape(full.shape)
    live = varying(flat.transpose(0, 1, 3, 2).reshape(-1, v))
    heard = known.any(1)
    out: dict[str, Any] = {}
    if not heard.all():
        out["stimuli"] = response["stimulus"].to_numpy()[~heard].astype(str).tolist()
    if not live.all():
        out["neuroids"] = _names(response, "neuroid")[~live].tolist()
    if repeated and (fewer := int((known & ~repetition.all(2)).sum())):
        out["repetitions"] = fewer
    if timed and durations is not None and "time" in response.coords:
        sampled = sampled | _over(sampled, response["time"].to_numpy(), durations)[:, :, None]
    if timed and (fewer := int((known & ~sampled.all(1)).sum())):
        out["samples"] = fewer
    if lacking := int((known.any(0) & ~known[heard].all(0)).sum()):
        out["lacking"] = lacking
    sizes = {str(dim): int(size) for dim, size in response.sizes.items()}
    return out | {"sizes": sizes} if out else {}


def describe_gaps(found: Mapping[str, Any]) -> str:
    """Put into words what `find_gaps` found; empty for nothing."""
    if not found:
        return ""
    sizes, said = found["sizes"], []
    for kind, why in (
        ("stimuli", "to which there is no response"),
        ("neuroids", "without responses that vary"),
    ):
        if names := found.get(kind):
            whole = sizes[{"stimuli": "stimulus", "neuroids": "neuroid"}[kind]]
            some = ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
            said.append(f"{len(names)} of {whole} {kind} left out, {why} ({some})")
    whole = sizes["stimulus"] * sizes["neuroid"]
    for kind, dim in (("repetitions", "repetition"), ("samples", "time")):
        if count := found.get(kind):
            said.append(f"{count} of {whole} responses are means of fewer than {sizes[dim]} {kind}")
    if count := found.get("lacking"):
        said.append(f"{count} of {sizes['neuroid']} neuroids lack stimuli that others have")
    return "; ".join(said)


def extents(data: xr.Dataset, names: Sequence[str], durations: np.ndarray) -> str:
    """Say how much of sounds and responses over time is used, where one outlasts the other.

    Parameters
    ----------
    data : xarray.Dataset
        A target as `dynamics.brains.load` returns it, joined with the sounds.
    names : sequence of str
        Names of the sounds.
    durations : array of shape (n_stimuli,)
        Their seconds.

    Returns
    -------
    str
        A clause; empty where no end differs by more than a second and two samples.
    """
    response = data["response"]
    if "time" not in response.dims or "time" not in data.coords or data.sizes["time"] < 2:
        return ""
    times = data["time"].to_numpy().astype(float)
    spacing = float(np.diff(times).mean())
    others: list[Hashable] = [dim for dim in response.dims if dim not in ("stimulus", "time")]
    there = response.notnull().any(others).transpose("stimulus", "time").to_numpy()
    last = there.shape[1] - 1 - there[:, ::-1].argmax(1)
    ends = times[last] + spacing / 2
    seconds = dict(zip(map(without_suffix, map(str, names)), durations))
    sounds = np.array([seconds[str(name)] for name in data["stimulus"].to_numpy()])
    heard, said = there.any(1), []
    late, early = ends - sounds, sounds - ends
    least = 1 + 2 * spacing
    if (some := heard & (early > least)).any():
        said.append(
            f"{some.sum()} of {len(ends)} sounds go on after their responses, whose ends, "
            f"{early[some].sum():.0f} of {sounds[heard].sum():.0f} s, are not used"
        )
    if (some := heard & (late > least)).any():
        said.append(
            f"{some.sum()} of {len(ends)} responses go on after their sounds, by "
            f"{late[some].max():.0f} s at most, where a layer's mean stands in; the metric's "
            "`trim` leaves out an end"
        )
    return "; ".join(said)


def _over(sampled: np.ndarray, times: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Return which samples (stimulus, time) come after a sound and all responses to it."""
    later: np.ndarray = np.logical_or.reduce(sampled, axis=2)[:, ::-1].cumsum(1)[:, ::-1]
    spacing = float(np.diff(times).mean()) if len(times) > 1 else 0.0
    return (later == 0) & (times > (durations - 2 * spacing)[:, None])


def _names(response: xr.DataArray, dim: str) -> np.ndarray:
    known = response[dim].to_numpy() if dim in response.coords else np.arange(response.sizes[dim])
    return known.astype(str)
