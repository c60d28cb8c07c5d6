"""Metrics that compare whole spaces at each latency, with the responses in short windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamics.analysis import spaces
from dynamics.analysis.groups import block_of, fewest_for
from dynamics.analysis.variables import Variables, first_halves
from dynamics.brains.targets import Target
from dynamics.metrics.kernels import gram
from dynamics.metrics.latencies import Windows, windowed, windows_of
from dynamics.metrics.missing import FEWEST_IN_ALL
from dynamics.metrics.pairwise import PAIRWISE, prepared

Layers = Mapping[str, np.ndarray]
Score = Callable[..., Variables]
WINDOW = 0.1


def rsa_time(
    layers: Layers,
    target: Target,
    *,
    window: float = WINDOW,
    step: float | None = None,
    activations: str = "mean",
    lag: float = 0.0,
    cross: bool = False,
    distance: str = "correlation",
    compare: str = "spearman",
    zscore: bool = True,
    by: str = "subject",
    resamples: int = 10,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Compare dissimilarities of stimuli (RDMs) in layer and brain at each latency.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p) or (n, t, p)
        Activations averaged over each sound, or at the times of the responses.
    target : Target
        With responses over time.
    window : float
        Seconds over which responses are averaged at each latency.
    step : float, optional
        Seconds from one latency to the next; by default as long as the window.
    activations : str
        ``"mean"``: over the whole sound, the same at every latency; ``"time"``: in the window of
        the responses, `lag` seconds earlier.
    lag : float
        Seconds by which activations over time lie before the responses.
    cross : bool
        Whether to compare activations in every window with responses in every window as well.
    distance, compare, zscore, by
        As for `dynamics.analysis.spaces.rsa`.
    resamples : int
        How many of the sweep's halves of the stimuli to use, the first ones: an even number.
    halves, orders
        Resamples and shuffles.

    Returns
    -------
    Variables
        `score` (layer, subject): mean over the latencies from the onset on; `time_score` (layer,
        time, subject); `best_time` (layer, subject) in seconds; `cross_score` (layer, sound_time,
        time, subject) on request.

    Raises
    ------
    ValueError
        If the target has no time axis, an argument has no such value, and as for `rsa`.
    """
    if distance == "crossnobis":
        raise ValueError("repetitions are averaged over time: use another distance than crossnobis")
    own: dict[str, Any] = {"distance": distance, "zscore": zscore}

    def score(made: np.ndarray | None, some: Layers, part: Target, **how: Any) -> Variables:
        rdms = spaces.rdms_of(some, distance, zscore=zscore) if made is None else made
        return spaces.compared_rdms(rdms, some, part, compare=compare, by=by, **own, **how)

    def make(some: Layers) -> np.ndarray:
        return spaces.rdms_of(some, distance, zscore=zscore)

    found = _Latencies(target, window, step, activations, lag, by, make, score)
    values = found.scored(layers, first_halves(halves, resamples), orders)
    return values | (found.crossed(layers, "rsa", compare=compare, **own) if cross else {})


def cka_time(
    layers: Layers,
    target: Target,
    *,
    window: float = WINDOW,
    step: float | None = None,
    activations: str = "mean",
    lag: float = 0.0,
    cross: bool = False,
    debiased: bool = True,
    by: str = "subject",
    resamples: int = 10,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Compare spaces by linear centred kernel alignment at each latency.

    Parameters
    ----------
    window, step, activations, lag, cross, by, resamples
        As for `rsa_time`.
    debiased
        As for `dynamics.analysis.spaces.cka`.
    """

    def score(made: np.ndarray | None, some: Layers, part: Target, **how: Any) -> Variables:
        grams = make(some) if made is None else made
        return spaces.compared_grams(grams, part, by=by, debiased=debiased, **how)

    def make(some: Layers) -> np.ndarray:
        return np.stack([np.asarray(gram(X)) for X in some.values()])

    found = _Latencies(target, window, step, activations, lag, by, make, score)
    values = found.scored(layers, first_halves(halves, resamples), orders)
    return values | (found.crossed(layers, "cka", debiased=debiased) if cross else {})


class _Latencies:
    """A target cut into windows, and what is compared in each; one is held at a time."""

    def __init__(
        self,
        target: Target,
        window: float,
        step: float | None,
        activations: str,
        lag: float,
        by: str,
        make: Callable[[Layers], np.ndarray],
        score: Score,
    ):
        if target.course is None or target.times is None:
            raise ValueError("latencies need responses over time: use a target with a time axis")
        if activations not in ("mean", "time"):
            raise ValueError(f"there are no activations {activations!r}: use mean or time")
        self.target, self.course, self.by = target, target.course, by
        self.windows = windows_of(target.times, window, step)
        self.lag = round(lag / float(np.diff(target.times).mean()))
        self.timed, self.make, self.score = activations == "time", make, score

    def scored(
        self, layers: Layers, halves: np.ndarray | None, orders: np.ndarray | None
    ) -> Variables:
        """Score every latency, and average those from the onset on."""
        if not self.timed:
            layers = {name: _averaged(X) for name, X in layers.items()}
        made = None if self.timed else self.make(layers)
        every: list[Variables | None] = []
        fault: ValueError | None = None
        for number in range(len(self.windows.starts)):
            try:
                some, part = self._at(layers, number)
                every.append(self.score(made, some, part, halves=halves, orders=orders))
            except ValueError as error:  # too few stimuli, or none that vary, at this latency
                fault = fault or error
                every.append(None)
        known = next((each for each in every if each is not None), None)
        if known is None:
            assert fault is not None
            raise fault
        after = self.windows.from_onset
        values: Variables = {}
        for name in ("score", "resample_score", "null_score"):
            if name in known:
                dims, first = known[name]
                empty = np.full_like(first, np.nan)
                whole = [empty if each is None else each[name][1] for each in every]
                values[name] = (dims, _mean([whole[at] for at in np.flatnonzero(after)]))
                if name == "score":
                    stacked = np.stack(whole, 1)
                    values["time_score"] = (("layer", "time", "subject"), stacked)
                    values["best_time"] = (("layer", "subject"), self._best(stacked))
        return values

    def _best(self, scores: np.ndarray) -> np.ndarray:
        best = self.windows.centres[np.nan_to_num(scores, nan=-np.inf).argmax(1)]
        return np.where(np.isfinite(scores).any(1), best, np.nan)

    def _at(self, layers: Layers, number: int) -> tuple[Layers, Target]:
        """Activations and responses of a window; stimuli without activations have no response."""
        Y = windowed(self.course, self.windows, number)
        if self.timed:
            parts = {
                name: windowed(X, self.windows, number, lag=self.lag) for name, X in layers.items()
            }
            silent = ~np.all([np.isfinite(X).all(1) for X in parts.values()], axis=0)
            if silent.all():
                raise ValueError("there are no activations at this latency")
            layers = {name: np.where(silent[:, None], 0.0, X) for name, X in parts.items()}
            Y = np.where(silent[:, None], np.nan, Y)
        return layers, replace(self.target, response=Y, course=None, times=None)

    def crossed(self, layers: Layers, metric: str, **arguments: Any) -> Variables:
        """Compare every window of activations with every window of responses.

        On the stimuli and neuroids of a group that both windows have whole.
        """
        fewest = fewest_for(arguments.get("distance", "none"))
        count, form = len(self.windows.starts), PAIRWISE[metric]
        groups = list(self.target.groups(self.by).values())
        out = np.full((len(layers), count, count, len(groups)), np.nan)
        heard = [self._heard(layers, number) for number in range(count)]
        for group, members in enumerate(groups):
            brain = [self._block(members, number) for number in range(count)]
            made: dict[tuple[int, bytes], Any] = {}  # of the brain, which every layer needs
            for place, X in enumerate(layers.values()):
                for i in range(count):
                    part = windowed(X, self.windows, i)
                    mine: dict[bytes, Any] = {}
                    for j, (Y, rows, columns) in enumerate(brain):
                        both = rows[heard[i][rows]]
                        if len(both) < FEWEST_IN_ALL or len(columns) < fewest:
                            continue
                        key = both.tobytes()
                        if key not in mine:
                            mine[key] = prepared(form, part[both], arguments)
                        if (j, key) not in made:
                            made[j, key] = prepared(form, Y[np.ix_(both, columns)], arguments)
                        table = form.compare([mine[key]], [made[j, key]])
                        out[place, i, j, group] = float(table[0, 0])
        return {"cross_score": (("layer", "sound_time", "time", "subject"), out)}

    def _block(self, members: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Responses in a window, and stimuli and neuroids of a group that have all of them."""
        Y = windowed(self.course, self.windows, number)
        part = replace(self.target, response=Y, course=None, times=None)
        return Y, *block_of(part, members)

    def _heard(self, layers: Layers, number: int) -> np.ndarray:
        """Which stimuli have activations in a window."""
        parts = [windowed(X, self.windows, number) for X in layers.values()]
        return np.all([np.isfinite(X).all(1) for X in parts], axis=0)


def _averaged(X: np.ndarray) -> np.ndarray:
    """Average activations over each sound; NaN is past its end."""
    return np.nanmean(X, axis=1) if X.ndim == 3 else X


def _mean(values: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over latencies of those that have a score."""
    stacked = np.stack(values)
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0.0).sum(0)
    with np.errstate(invalid="ignore"):
        return np.where(known.any(0), total / known.sum(0), np.nan)


def coordinates(
    arguments: Mapping[str, Any], target: Target
) -> dict[str, tuple[str, npt.ArrayLike]]:
    """Return latencies with how many stimuli have responses at each, and times of activations."""
    assert target.times is not None and target.course is not None  # `check_fit` has looked
    windows: Windows = windows_of(target.times, arguments["window"], arguments["step"])
    every = (windowed(target.course, windows, number) for number in range(len(windows.starts)))
    counts = [int(np.isfinite(each).any(1).sum()) for each in every]
    found: dict[str, tuple[str, npt.ArrayLike]] = {
        "time": ("time", windows.centres),
        "stimuli_per_latency": ("time", counts),
    }
    if arguments["cross"]:
        found["sound_time"] = ("sound_time", windows.centres)
    return found
