"""Responses in short windows, latency by latency, and spaces compared at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from dynamics.metrics.kernels import Array, as_tensor, check_layers, like, same_rows
from dynamics.metrics.missing import mean_there
from dynamics.metrics.pairwise import find, prepared
from dynamics.metrics.validation import takes


class Windows(NamedTuple):
    """Windows of samples.

    Attributes
    ----------
    centres : array of shape (n_windows,)
        Seconds from the onset to the middle of each.
    starts : array of shape (n_windows,), int
        First sample of each.
    length : int
        Samples of each.
    """

    centres: np.ndarray
    starts: np.ndarray
    length: int

    @property
    def from_onset(self) -> np.ndarray:
        """Which windows are centred at the onset or later; all where none is."""
        after = self.centres >= 0
        return after if after.any() else ~after


def windows_of(times: Array, window: float, step: float | None = None) -> Windows:
    """Cut a time axis into windows.

    Parameters
    ----------
    times : array of shape (t,)
        Seconds after the onset, in even steps.
    window : float
        Seconds of a window; of one sample where that is shorter than a sample.
    step : float, optional
        Seconds from one window to the next; by default as long as a window, so that they touch.

    Returns
    -------
    Windows
        Whole ones, from the first sample.

    Raises
    ------
    ValueError
        If `window` or `step` is not above 0, or longer than the responses.
    """
    seconds = np.asarray(times, float)
    step = window if step is None else step
    for name, value in (("window", window), ("step", step)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
            raise ValueError(f"{name} is {value!r}: give seconds above 0")
    sample = float(np.diff(seconds).mean()) if len(seconds) > 1 else 1.0
    length, every = (max(1, round(value / sample)) for value in (window, step))
    if length > len(seconds):
        raise ValueError(
            f"a window of {window:g} s is longer than the responses of "
            f"{len(seconds) * sample:g} s: give a shorter `window`"
        )
    starts = np.arange(0, len(seconds) - length + 1, every)
    return Windows(seconds[starts] + (length - 1) / 2 * sample, starts, length)


def windowed(Y: Array, windows: Windows, number: int, *, lag: int = 0) -> Any:
    """Average over a window what is there, so many samples earlier.

    Parameters
    ----------
    Y : array of shape (n, t, v)
        Responses or activations, NaN where there are none.
    windows : Windows
        From `windows_of`.
    number : int
        Which window.
    lag : int
        By how many samples the window lies earlier.

    Returns
    -------
    array of shape (n, v)
        NaN where the window has nothing.
    """
    first = int(windows.starts[number]) - lag
    part = Y[:, max(first, 0) : max(first + windows.length, 0)]
    if part.shape[1] == 0:
        return like(torch.full((Y.shape[0], Y.shape[2]), torch.nan, dtype=torch.float64), Y)
    return mean_there(part, 1)


@takes(layers="layers", Y="responses")
def rsa_time(
    layers: Array | Mapping[str, Array],
    Y: Array,
    *,
    times: Array | Sequence[float],
    window: float = 0.1,
    step: float | None = None,
    lag: float = 0.0,
    cross: bool = False,
    distance: str = "correlation",
    compare: str = "spearman",
    zscore: bool = True,
) -> dict[str, Array]:
    """Compare the RDMs of layers with that of responses at each latency.

    Parameters
    ----------
    layers : array of shape (n, p) or (n, t, p), or mapping of names to such arrays
        Activations, averaged over each stimulus, or over time at the times of the responses.
    Y : array of shape (n, t, v)
        Responses, none missing.
    times : array of shape (t,)
        Seconds after the onset.
    window, step : float
        Of the windows over which responses (and activations over time) are averaged, see
        `windows_of`.
    lag : float
        Seconds by which activations over time lie before the responses.
    cross : bool
        Compare activations in every window with responses in every window (King & Dehaene 2014,
        Trends Cogn Sci 18:203), in place of those at the lag.
    distance, compare, zscore
        As for `rsa`; `compare` is spearman, pearson or cosine.

    Returns
    -------
    dict of arrays
        ``score`` (layers, latencies), or (layers, windows of activations, latencies) where
        `cross`; ``time`` (latencies,): seconds. NaN where there are no activations.

    Raises
    ------
    ValueError
        If shapes do not fit, `cross` is asked of activations without time, as `windows_of`, and as
        `rsa`.
    """
    how = {"distance": distance, "compare": compare, "zscore": zscore}
    cut = {"window": window, "step": step, "lag": lag, "cross": cross}
    return _over_time("rsa", layers, Y, np.asarray(times, float), how, **cut)


@takes(layers="layers", Y="responses")
def cka_time(
    layers: Array | Mapping[str, Array],
    Y: Array,
    *,
    times: Array | Sequence[float],
    window: float = 0.1,
    step: float | None = None,
    lag: float = 0.0,
    cross: bool = False,
    debiased: bool = True,
) -> dict[str, Array]:
    """Compare layers with responses by linear CKA at each latency.

    Parameters
    ----------
    layers, Y, times, window, step, lag, cross
        As for `rsa_time`.
    debiased
        As for `cka`.

    Returns
    -------
    dict of arrays
        As from `rsa_time`.

    Raises
    ------
    ValueError
        As `rsa_time`, and as `cka`.
    """
    cut = {"window": window, "step": step, "lag": lag, "cross": cross}
    return _over_time("cka", layers, Y, np.asarray(times, float), {"debiased": debiased}, **cut)


def _over_time(
    metric: str,
    layers: Array | Mapping[str, Array],
    Y: Array,
    times: np.ndarray,
    arguments: Mapping[str, Any],
    *,
    window: Any,
    step: Any,
    lag: Any,
    cross: Any,
) -> dict[str, Array]:
    named, form = check_layers(layers), find(metric)
    windows = windows_of(times, window, step)
    if Y.ndim != 3 or Y.shape[1] != len(times):
        raise ValueError(
            f"Y has shape {tuple(Y.shape)} and there are {len(times)} times: give (stimuli, times, "
            "neuroids)"
        )
    prepare = partial(prepared, form, arguments=arguments)
    count = len(windows.starts)
    brain = [prepare(windowed(Y, windows, number)) for number in range(count)]
    earlier = 0 if cross or len(times) < 2 else round(lag / float(np.diff(times).mean()))
    found = []
    for name, X in named.items():
        same_rows(X, Y, names=(f"layer {name!r}", "Y"))
        if cross and X.ndim == 2:
            raise ValueError(f"layer {name!r} has no time axis to be crossed: leave out `cross`")
        if X.ndim == 2:
            found.append(form.compare([prepare(X)], brain)[0])
            continue
        if X.ndim != 3 or X.shape[1] != len(times):
            raise ValueError(
                f"layer {name!r} has shape {tuple(X.shape)} and there are {len(times)} times: "
                "resample it to (stimuli, times, features)"
            )
        table = torch.full((count, count), torch.nan, dtype=torch.float64)
        for number in range(count):
            part = windowed(X, windows, number, lag=earlier)
            if torch.isfinite(as_tensor(part)).all():
                others = list(range(count)) if cross else [number]
                row = form.compare([prepare(part)], [brain[other] for other in others])[0]
                table[number, others] = row.cpu()
        found.append(table if cross else table.diagonal())
    return {
        "score": like(torch.stack([each.cpu() for each in found]), Y),
        "time": windows.centres,
    }
