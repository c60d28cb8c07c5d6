"""Contrasts of a curve's steps beside what chance does to them, and which step may be the highest.

The latter at a cost that hardly grows faster than the steps.

A step goes if another one is significantly higher, by the largest of the standardised contrasts
of all steps with it. Of that largest contrast only one thing is asked: in how many draws of what
chance does it is as large as in the curve. Bounds answer that for nearly all steps; contrasts
are made one by one only where bounds leave it open, so that the answer is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, wraps
from typing import ParamSpec, TypeVar

import numpy as np
import xarray as xr
from scipy import stats
from threadpoolctl import ThreadpoolController

from dynamics.emergence.resampling import BLOCK, Scheme

Given = ParamSpec("Given")
Made = TypeVar("Made")

FEWEST_DEVIATIONS = 10
"""Degrees of freedom below which nothing is said of how contrasts go together."""

_WITNESSES, _AT_ONCE = 8, 64
_SETS = 100  # of errors that are drawn
_KNOWN = 60  # degrees of freedom
# What rounding may do to a contrast from sums of squares, and where that is too much to use.
_ROUNDING, _UNSOUND = 1e-3, 1e-6
_NONE = 1e-12  # an error of a contrast that does not vary


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def in_one_thread(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """Let NumPy's products have one thread: shared out, small ones take longer, and much more work.

    A hundred products of 50 draws by 25 deviations took ten times the processor on two cores.
    """

    @wraps(function)
    def alone(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return alone


class Noise:
    """Draws of what the contrasts would do by chance, the same draws for every curve.

    With `common` errors are drawn once for all steps, as `Highest` can count with.
    """

    def __init__(self, resampled: xr.DataArray, draws: int, seed: int, *, common: bool = False):
        self.scheme, number = Scheme.of(resampled), resampled.sizes["resample"]
        self.divisor = self.scheme.divisor(number)
        self.mix = _mix(self.scheme, number, draws, seed)
        self.freedom = self.scheme.freedom(number)
        # Of many deviations every error is known, and one of all steps stands for each.
        self.common = common or self.freedom > _KNOWN
        if not self.common:
            sets = _SETS * max(1, round(self.freedom))
            self.normal, self.again = _normal(draws, sets, self.mix.shape[1], self.divisor, seed)
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def errors(self, cloud: np.ndarray) -> np.ndarray:
        """Return standard errors (steps,) of contrasts (resamples, steps)."""
        return np.sqrt((self.scheme.deviations(cloud) ** 2).sum(0) / self.divisor)

    def maxima(self, cloud: np.ndarray) -> np.ndarray:
        """Return the largest standardised contrast (draws,) where nothing changes.

        Errors are drawn as the contrasts are: each has one of its own, and over 40 steps the
        largest ratio is larger than with one error for all. Few deviations cannot show how
        contrasts go together: then the ratios are as large as they may be at most (Bonferroni).
        """
        # A p value and a limit are asked of the same contrasts, one after the other.
        if self._last is None or not np.array_equal(self._last[0], cloud):
            self._last = cloud, self._maxima(cloud)
        return self._last[1]

    @in_one_thread
    def _maxima(self, cloud: np.ndarray) -> np.ndarray:
        errors = self.errors(cloud)
        use = np.isfinite(errors) & (errors > 1e-12)
        if not use.any():
            return np.zeros(len(self.mix))
        if self.freedom < FEWEST_DEVIATIONS and not self.common:
            level = (np.arange(len(self.mix)) + 0.5) / len(self.mix) / use.sum()
            return stats.t.isf(level, self.freedom)
        standard = self.scheme.deviations(cloud)[:, use] / errors[use]
        at_once = max(1, BLOCK // len(self.mix))
        blocks = range(0, standard.shape[1], at_once)
        return np.max([self._ratios(standard[:, i : i + at_once]) for i in blocks], axis=0)

    def _ratios(self, standard: np.ndarray) -> np.ndarray:
        """Return the largest ratio (draws,) of drawn contrasts (deviations, some) to drawn errors.

        There are fewer sets of errors than of contrasts.
        """
        if self.common:
            return (self.mix @ standard).max(1)
        freedom = round(self.freedom)
        drawn = self.again @ standard
        error = np.sqrt((drawn.reshape(-1, freedom, standard.shape[1]) ** 2).mean(1))
        found = np.empty(len(self.normal))
        for place in range(len(error)):
            mine = slice(place, None, len(error))
            found[mine] = (self.normal[mine] @ (standard / error[place])).max(1)
        return found

    def largest(self, contrast: np.ndarray, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return standardised contrasts and their adjusted p values, (steps,) each."""
        errors = self.errors(cloud)
        known = np.isfinite(contrast) & np.isfinite(errors)
        use = known & (errors > 1e-12)
        statistic = np.divide(contrast, errors, out=np.full(len(contrast), np.nan), where=use)
        # Where nothing varies a curve that moved has certainly moved.
        sure = known & ~use
        statistic[sure] = np.where(contrast[sure] > 1e-12, np.inf, 0.0)
        maxima = np.sort(self.maxima(np.where(use, cloud, 0.0))) if use.any() else np.zeros(0)
        beaten = len(maxima) - np.searchsorted(maxima, statistic, side="left")
        least = 1 / (1 + len(self.mix))
        p = (1 + beaten) * least
        return statistic, np.where(
            use, p, np.where(sure, np.where(statistic > 0, least, 1.0), np.nan)
        )

    def critical(self, cloud: np.ndarray, confidence: float) -> tuple[float, np.ndarray]:
        """Return the quantile of the largest contrast, and the standard errors."""
        finite = np.where(np.isfinite(cloud), cloud, 0.0)
        return float(np.quantile(self.maxima(finite), confidence)), self.errors(cloud)


# The draws of one seed are those of every curve with as many resamples.
@lru_cache(maxsize=4)
def _mix(scheme: Scheme, resamples: int, draws: int, seed: int) -> np.ndarray:
    return _kept(scheme.mixing(resamples, draws=draws, seed=seed))


@lru_cache(maxsize=4)
def _normal(
    draws: int, sets: int, rows: int, divisor: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, 1])
    first, second = (
        _kept(rng.standard_normal((number, rows)) / np.sqrt(divisor)) for number in (draws, sets)
    )
    return first, second


def _kept(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


class Highest:
    """Contrasts of every step of one curve with every other one.

    Parameters
    ----------
    noise : Noise
        Draws of chance.
    scores : array of shape (steps,)
        The curve.
    cloud : array of shape (resamples, steps)
        The same on resamples.
    level : float
        Familywise error.
    """

    def __init__(self, noise: Noise, scores: np.ndarray, cloud: np.ndarray, level: float):
        self.noise, self.scores, self.cloud, self.level = noise, scores, cloud, level
        self.off = noise.scheme.deviations(cloud)
        self.power = (self.off**2).sum(0)
        # A step goes where no more draws than this have a contrast as large.
        draws = len(noise.mix)
        self.allowed = int(((1 + np.arange(draws + 1)) * (1 / (1 + draws)) <= level).sum()) - 1
        # The most that a contrast of a draw can be, and the height that enough cannot get to.
        self.most = np.sqrt((noise.mix**2).sum(1) * noise.divisor)
        self.beyond = np.sort(self.most)[::-1][min(max(self.allowed, 0), draws - 1)]
        # Smaller errors are not known from sums of squares, or are none.
        largest = np.sqrt(np.nanmax(self.power, initial=0) / noise.divisor)
        self.least = max(_UNSOUND * largest, _NONE * (1 + _ROUNDING))
        self._tops: tuple[list[np.ndarray], np.ndarray] | None = None

    @in_one_thread
    def first(self, places: np.ndarray) -> int | None:
        """Return the first of some places than which no step is significantly higher.

        Parameters
        ----------
        places : array of int
            Steps in the order in which to look at them; those with scores on all resamples.

        Returns
        -------
        int or None
            One of them.
        """
        for place in places[~self._are_beaten(places)]:
            if not self._goes(int(place)):
                return int(place)
        return None

    def _are_beaten(self, places: np.ndarray) -> np.ndarray:
        """Which places one of the highest steps beats by more than any draw could."""
        beaten = np.zeros(len(places), bool)
        for top in places[np.argsort(self.scores[places])[::-1][:_WITNESSES]]:
            ratio, _, sound = self._rough(int(top), places)
            beaten |= sound & (-ratio > (1 + _ROUNDING) * self.beyond)
        return beaten

    def _rough(self, place: int, others: np.ndarray | slice) -> tuple[np.ndarray, ...]:
        """Return standardised contrasts of others with a place and errors, and which are sound."""
        product = self.off[:, place] @ self.off[:, others]
        squares = self.power[others] + self.power[place] - 2 * product
        rough = np.sqrt(np.maximum(squares, 0) / self.noise.divisor)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (self.scores[others] - self.scores[place]) / rough
        return ratio, rough, (rough > self.least) & np.isfinite(ratio)

    def _goes(self, place: int) -> bool:
        """Whether some step is significantly higher than this one."""
        ratio, rough, sound = self._rough(place, slice(None))
        if (ratio[sound] > (1 + _ROUNDING) * self.beyond).any():
            return True
        there = np.isfinite(self.scores) & np.isfinite(self.power)
        unsure = np.flatnonzero(there & ~sound)
        errors = self._errors(place, unsure)
        contrast = self.scores[unsure] - self.scores[place]
        if not sound.any() or ((errors <= _NONE) & (contrast > _NONE)).any():
            # Where nothing varies a step that is higher certainly is.
            own = self.cloud - self.cloud[:, [place]]
            p = self.noise.largest(self.scores - self.scores[place], own)[1]
            return bool(np.nanmin(p) <= self.level)
        most = ratio[sound].max()
        near = np.flatnonzero(sound & (ratio >= most - _ROUNDING * abs(most)))
        near = np.r_[near, unsure[errors > _NONE]]
        heights = (self.scores[near] - self.scores[place]) / self._errors(place, near)
        top = int(near[heights.argmax()])
        # At least what the errors are: nothing where they are not known from sums of squares.
        errors = np.where(sound, rough * (1 - _ROUNDING), 0.0)
        errors[place] = np.inf
        return self._is_rare(place, top, float(heights.max()), errors)

    def _errors(self, place: int, others: np.ndarray) -> np.ndarray:
        return self.noise.errors(self.cloud[:, others] - self.cloud[:, [place]])

    def _is_rare(self, place: int, top: int, height: float, least: np.ndarray) -> bool:
        """Whether no more draws than allowed have any contrast with a place as high as this."""
        mix, own = self.noise.mix, self.off[:, place]
        alone = mix @ (self.off[:, top] - own) / self._errors(place, np.array([top]))[0]
        if (alone >= height).sum() > self.allowed:
            return False
        blocks, tops = self._tops_of_blocks()
        steps = np.concatenate(blocks)
        # A contrast is as high only if chance adds to its step as much more than to this one.
        bounds = height * np.minimum.reduceat(least[steps], np.arange(0, len(steps), _AT_ONCE))
        draws = np.flatnonzero(self.most >= height * (1 - _ROUNDING))
        open_ = tops[draws] - (mix[draws] @ own)[:, None] >= bounds
        if self._are_few(draws, open_, own, least, height):
            return True
        hit = np.zeros(len(mix), bool)
        for block in blocks:
            errors = self._errors(place, block)
            use = errors > _NONE
            standard = (self.off[:, block[use]] - own[:, None]) / errors[use]
            hit |= (mix @ standard).max(1, initial=-np.inf) >= height
            if hit.sum() > self.allowed:
                return False
        return True

    def _are_few(
        self,
        draws: np.ndarray,
        open_: np.ndarray,
        own: np.ndarray,
        least: np.ndarray,
        height: float,
    ) -> bool:
        """Whether no more draws than allowed are as high, with no larger errors than there are.

        `open_` (draws, blocks) is where that is not settled.
        """
        left, hit = open_.sum(1), np.zeros(len(draws), bool)
        with np.errstate(divide="ignore", invalid="ignore"):
            standard = (self.off - own[:, None]) / least
        for number in np.argsort(open_.sum(0))[::-1]:
            if (hit | (left > 0)).sum() <= self.allowed:
                return True
            some = np.flatnonzero(open_[:, number])
            block = self._tops_of_blocks()[0][number]
            values = self.noise.mix[draws[some]] @ standard[:, block]
            # Where no error is known anything may be.
            hit[some] |= ~(values < height * (1 - _ROUNDING)).all(1)
            left[some] -= 1
            if hit.sum() > self.allowed:
                return False
        return True

    def _tops_of_blocks(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Return blocks of neighbouring steps, and in each draw the most that chance adds in them.

        They are the same for every place.
        """
        if self._tops is None:
            there = np.flatnonzero(np.isfinite(self.scores) & np.isfinite(self.power))
            blocks = [there[i : i + _AT_ONCE] for i in range(0, len(there), _AT_ONCE)]
            tops = [(self.noise.mix @ self.off[:, block]).max(1) for block in blocks]
            self._tops = blocks, np.stack(tops, 1)
        return self._tops
