"""What resampled curves say about the variance of the curve on all stimuli.

Resampled curves have a dimension `resample` and the attributes `spread`, by which the variance
over resamples is multiplied to be that of the full sample, and `paired`, 1 where resamples 2 k
and 2 k + 1 are complementary halves of the stimuli.

Deviations of subsets from their mean, times (n - d) / d (Shao & Wu 1989, Ann Stat 17:1176), are
right for a score that is nearly linear in the stimuli. A cross-validated score is not: refitting
adds variance of its own, which overlapping subsets each show in full. Complementary halves share
no stimulus, so E (a - b)^2 / 2 is the variance at n / 2 whatever the score, and half of that the
variance at n as far as variance falls with 1 / n. Two corrections go with it. The error of a
correlation r falls with 1 - r^2 as well, and r is larger on all stimuli than on half of them
(Fisher's z has no such factor). And contrasts of neighbouring steps came out 4 % too small in
simulations, mostly where the score is low, which the factor of 1.04 makes up for. It is a
compromise: with it errors of contrasts came out between 5 % too small and 20 % too large for
half-times, 5 to 30 % too large on the way to a plateau, and up to 20 % too small at the first steps
of a slow rise.

Scores of pairs of stimuli (RSA, CKA) have a part of their variance that falls with 1 / n^2, which
halves show twice: standard errors came out 1.2 to 1.4 times too wide. The same part makes the mean
of two complementary halves differ from pair to pair, by as much as it is shown too often, so that
(mean squared half difference) - (variance of the pairs' means) has every part once: `once`. In
simulations of RSA (n = 60, 165; correlations of 0 to .3) limits of 95 % held in 99 % of cases and
hold in 95.

All of these speak of this network and this brain before other stimuli of the same kind. What
another initialisation would do takes several runs to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from dynamics.emergence.statistics import check
from dynamics.store.attributes import check_scheme

_SHORT = 1.04
_PAIRS = 10  # of halves, of which two variances can be told apart
# Most numbers in one array of what is drawn: 32 MiB in double precision.
BLOCK = 2**22


class Scheme(NamedTuple):
    """How resamples were made.

    Attributes
    ----------
    variance_factor : float
        Factor on the variance over resamples.
    paired : bool
        Whether resamples are complementary halves, two by two.
    correlation : bool
        Whether the scores are correlations of fewer stimuli than the full sample has, whose
        deviations `stabilised` brings to the level of the full sample's score.
    limit : float
        Most degrees of freedom, where fewer units than resamples are behind them; 0: no limit.
    squares : bool
        Whether scores are made of pairs of stimuli, so that `stabilised` counts once what halves
        show twice.
    """

    variance_factor: float = 1.0
    paired: bool = False
    correlation: bool = False
    limit: float = 0.0
    squares: bool = False

    @classmethod
    def of(cls, resampled: xr.DataArray) -> Scheme:
        """Read the scheme from the attributes of resampled curves.

        Parameters
        ----------
        resampled : xarray.DataArray
            Scores on resamples.

        Returns
        -------
        Scheme
            What their attributes say.

        Raises
        ------
        ValueError
            If they are of results, by their name, and an attribute is lost. Or if halves come
            without their complements.

        Notes
        -----
        Arrays that never were results and have no attributes are independent resamples of as
        much as the full sample, such as bootstraps.
        """
        if str(resampled.name or "").rpartition("resample_")[1]:
            check_scheme(resampled)
        attrs = resampled.attrs
        scheme = cls(
            float(attrs.get("spread", 1.0)),
            bool(attrs.get("paired", 0)),
            bool(attrs.get("correlation", 0)),
            float(attrs.get("limit", 0.0)),
            bool(attrs.get("squares", 0)),
        )
        if scheme.paired and resampled.sizes["resample"] % 2:
            raise ValueError(
                f"{resampled.sizes['resample']} resamples are no pairs of halves: give all of them"
            )
        return scheme

    @property
    def attrs(self) -> dict[str, float]:
        """The attributes that `of` reads."""
        found = {
            "spread": self.variance_factor,
            "paired": int(self.paired),
            "correlation": int(self.correlation),
            "limit": self.limit,
        }
        return found | ({"squares": 1} if self.squares else {})

    def divisor(self, resamples: int) -> int:
        """Return by what a sum of squared deviations of so many resamples is divided."""
        return resamples // 2 if self.paired else resamples - 1

    def freedom(self, resamples: int) -> float:
        """Return the degrees of freedom of variances from so many resamples."""
        found = self.divisor(resamples)
        return min(found, self.limit) if self.limit else found

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Scale deviations so that their squares sum up to `divisor` times the variance.

        Parameters
        ----------
        values : array of shape (resamples, ...)
            A statistic on every resample.

        Returns
        -------
        array of shape (resamples or pairs, ...)
            Deviations.
        """
        if self.paired:
            return np.sqrt(self.variance_factor) * (values[0::2] - values[1::2]) / 2
        return np.sqrt(self.variance_factor) * (values - values.mean(0))

    def mixing(self, resamples: int, *, draws: int, seed: int) -> np.ndarray:
        """Draw weights that make chance deviations of those of so many resamples.

        Parameters
        ----------
        resamples : int
            How many resamples there are.
        draws : int
            How many deviations to make.
        seed : int
            Seed of the weights.

        Returns
        -------
        array of shape (draws, resamples or pairs)
            Weights on `deviations`. As variances are estimated from as many deviations only, the
            sums have a multivariate t distribution and not a normal one.
        """
        rng = np.random.default_rng(seed)
        number = resamples // 2 if self.paired else resamples
        mix = rng.standard_normal((draws, number)) / np.sqrt(self.divisor(resamples))
        freedom = self.freedom(resamples)
        return mix / np.sqrt(rng.chisquare(freedom, size=(draws, 1)) / freedom)

    def of_values(self, values: xr.DataArray) -> xr.DataArray:
        """Deviations as `deviations`, of labelled values; missing ones are left out.

        Parameters
        ----------
        values : xarray.DataArray
            With a dimension `resample`.

        Returns
        -------
        xarray.DataArray
            With a dimension `resample`, half as long for pairs.
        """
        values = values.drop_vars(["resample", "status"], errors="ignore")
        if self.paired:
            one, other = (values.isel(resample=slice(side, None, 2)) for side in (0, 1))
            return (one - other) * (np.sqrt(self.variance_factor) / 2)
        return (values - values.mean("resample")) * np.sqrt(self.variance_factor)

    def error(self, values: xr.DataArray) -> xr.DataArray:
        """Return the standard error of a statistic from its values on resamples.

        Parameters
        ----------
        values : xarray.DataArray
            With a dimension `resample`; missing values are left out.

        Returns
        -------
        xarray.DataArray
            Without the dimension `resample`; NaN with fewer than two deviations.
        """
        off = self.of_values(values)
        count = off.notnull().sum("resample")
        divisor = count if self.paired else count - 1
        return ((off**2).sum("resample") / divisor.where(count > 1)) ** 0.5

    def cloud(self, estimate: xr.DataArray, values: xr.DataArray) -> xr.DataArray:
        """Return what the full sample's statistic might have been: estimate plus deviations.

        Parameters
        ----------
        estimate : xarray.DataArray
            The statistic; where it is missing the mean over resamples stands in.
        values : xarray.DataArray
            The same with a dimension `resample`.

        Returns
        -------
        xarray.DataArray
            With a dimension `resample`, infinite where a resample has no value.
        """
        values = values.drop_vars(["resample", "status"], errors="ignore")
        estimate = estimate.drop_vars("status", errors="ignore").fillna(values.mean("resample"))
        if not self.paired:
            off = np.sqrt(self.variance_factor) * (values - values.mean("resample"))
            return (estimate + off).fillna(np.inf)
        off = self.of_values(values)
        both = xr.concat([estimate + off, estimate - off], "resample")
        one, other = (values.isel(resample=slice(side, None, 2)) for side in (0, 1))
        never = xr.concat([one.isnull(), other.isnull()], "resample")
        return both.fillna(xr.where(never, np.inf, estimate))


def drawn_curves(
    curve: xr.DataArray, resampled: xr.DataArray, *, draws: int = 400, seed: int = 0
) -> Iterator[xr.DataArray]:
    """Draw what the curves on another sample might have been, whole sets of curves at once.

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As `aligned` returns them.
    draws : int
        How many.
    seed : int
        Seed of the draws.

    Yields
    ------
    xarray.DataArray
        With a dimension `draw`: a multivariate t distribution around the curves. Resamples
        without a score are left out of that score's deviations; NaN where none has one. So many
        draws at a time as a block of memory holds.
    """
    found, number = Scheme.of(resampled), resampled.sizes["resample"]
    off = xr.DataArray(found.deviations(resampled.to_numpy()), dims=resampled.dims)
    known = off.notnull().sum("resample")
    scale = (off.sizes["resample"] / known.where(known > 0)) ** 0.5
    off = off.fillna(0.0)
    mix = found.mixing(number, draws=draws, seed=seed)
    at_once = max(1, BLOCK // max(1, curve.size))
    for first in range(0, draws, at_once):
        some = xr.DataArray(mix[first : first + at_once], dims=("draw", "resample"))
        yield curve + xr.dot(some, off, dim="resample") * scale


def stabilised(curve: xr.DataArray, resampled: xr.DataArray) -> xr.DataArray:
    """Bring the deviations of scores on resamples to the level of the full sample's.

    The standard error of a correlation r falls with 1 - r^2 (Fisher 1921), so deviations around
    a mean of m over resamples are multiplied by (1 - r^2) / (1 - m^2). Where scores are of pairs of
    stimuli those of halves are multiplied by `once` as well.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores on all stimuli.
    resampled : xarray.DataArray
        The same with a dimension `resample` and the attributes of a `Scheme`.

    Returns
    -------
    xarray.DataArray
        `resampled` itself where the scheme says nothing of correlations or pairs of stimuli.
    """
    found = Scheme.of(resampled)
    if not (found.correlation or found.squares):
        return resampled
    mean = resampled.mean("resample")
    factor = xr.ones_like(mean)
    if found.correlation:
        known = (abs(curve) < 1) & (abs(mean) < 1)
        factor = ((1 - curve**2) / (1 - mean**2).where(known)).fillna(1.0)
    if found.squares and found.paired:
        axis = resampled.get_axis_num("resample")
        factor = factor * mean.copy(data=once(np.moveaxis(resampled.to_numpy(), axis, 0)))
    done = found._replace(correlation=False, squares=False).attrs
    attrs = {key: value for key, value in resampled.attrs.items() if key != "squares"} | done
    return (mean + (resampled - mean) * factor).assign_attrs(attrs)


def once(cloud: np.ndarray) -> np.ndarray:
    """Return by what deviations of halves are multiplied that show squares of stimuli twice.

    Parameters
    ----------
    cloud : array of shape (resamples, ...)
        Scores of complementary halves, two by two.

    Returns
    -------
    array of shape (...)
        From the root of a half, where all variance is of pairs of stimuli, to 1; 1 of fewer than
        ten pairs of halves, which cannot tell.
    """
    one, other = cloud[0::2], cloud[1::2]
    if len(one) < _PAIRS:
        return np.ones(cloud.shape[1:])
    shown = (((one - other) / 2) ** 2).mean(0)
    between = ((one + other) / 2).var(0, ddof=1)
    part = np.divide(between, shown, out=np.zeros_like(shown), where=shown > 0)
    return np.sqrt(np.clip(1 - np.nan_to_num(part), 0.5, 1.0))


def aligned(curve: xr.DataArray, resampled: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Check that curve and resamples belong together; return them without stray coordinates."""
    steps = check(curve)
    if "resample" not in resampled.dims or set(resampled.dims) - {"resample"} != set(curve.dims):
        raise ValueError(
            f"the curve has dimensions {curve.dims}, its resamples {resampled.dims}: they must "
            "have the same and `resample`"
        )
    if not np.array_equal(check(resampled), steps):
        raise ValueError("curve and resamples have different steps: select the same of both")
    return curve, stabilised(curve, resampled).transpose("resample", *curve.dims)


def squared(curve: xr.DataArray, resampled: xr.DataArray) -> xr.DataArray:
    """Square correlations on resamples, 0 where negative, so that they speak of r^2 on all stimuli.

    The deviations of r are those of `stabilised`, but around the r of all stimuli and not around
    the mean over resamples, which is lower: r^2 moves by 2 r for each unit of r.

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        Correlations, as for `stabilised`.

    Returns
    -------
    xarray.DataArray
        With the dimensions of `resampled`, and the attributes of its scheme less `correlation`.
    """
    found = stabilised(curve, resampled)
    shifted = (curve + (found - found.mean("resample"))).transpose(*resampled.dims)
    return (shifted.clip(min=0) ** 2).assign_attrs(resampled.attrs | {"correlation": 0})


def scheme(method: str, *, n: int, kept: int, resamples: int) -> Scheme:
    """Look up how resamples of a method speak about the full sample.

    Parameters
    ----------
    method : str
        ``"halves"`` (complementary pairs), ``"subsample"``, ``"bootstrap"`` or ``"jackknife"``.
    n, kept, resamples : int
        Stimuli, stimuli in a subset, and resamples.

    Returns
    -------
    Scheme
        Its `attrs` belong on the resampled scores.

    Raises
    ------
    ValueError
        If the method is unknown, or a subset leaves out nothing.
    """
    if method == "subsample":
        if not 0 < kept < n:
            raise ValueError(f"a subset keeps {kept} of {n} stimuli: it must leave some out")
        return Scheme(kept / (n - kept))
    if method == "halves":
        return Scheme(_SHORT**2, paired=True, correlation=True)
    if method == "jackknife":
        return Scheme((resamples - 1) ** 2 / resamples)
    if method != "bootstrap":
        raise ValueError(
            f"there is no resampling {method!r}: halves, subsample, bootstrap or jackknife"
        )
    return Scheme()
