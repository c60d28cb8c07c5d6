"""What resampled curves say about the variance of the curve on all stimuli.

Resampled curves have a dimension `resample` and the attributes `spread`, by which the variance
over resamples is multiplied to be that of the full sample, and `paired`, 1 where resamples 2 k
and 2 k + 1 are complementary halves of the stimuli.

Deviations of subsets from their mean, times (n - d) / d (Shao & Wu 1989, Ann Stat 17:1176), are
right for a score that is nearly linear in the stimuli. A cross-validated score is not: refitting
adds variance of its own, which overlapping subsets each show in full. Complementary halves share
no stimulus, so E (a - b)^2 / 2 is the variance at n / 2 whatever the score, and half of that the
variance at n as far as variance falls with 1 / n.

All of these speak of this network and this brain before other stimuli of the same kind. What
another initialisation would do takes several runs to know.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr


class Scheme(NamedTuple):
    """How resamples were made.

    Attributes
    ----------
    spread : float
        Factor on the variance over resamples.
    paired : bool
        Whether resamples are complementary halves, two by two.
    """

    spread: float = 1.0
    paired: bool = False

    @classmethod
    def of(cls, resampled: xr.DataArray) -> Scheme:
        """Read the scheme from the attributes of resampled curves."""
        scheme = cls(
            float(resampled.attrs.get("spread", 1.0)), bool(resampled.attrs.get("paired", 0))
        )
        if scheme.paired and resampled.sizes["resample"] % 2:
            raise ValueError(
                f"{resampled.sizes['resample']} resamples are no pairs of halves: give all of them"
            )
        return scheme

    @property
    def attrs(self) -> dict[str, float]:
        """The attributes that `of` reads."""
        return {"spread": self.spread, "paired": int(self.paired)}

    def freedom(self, resamples: int) -> int:
        """Return the degrees of freedom of variances from so many resamples."""
        return resamples // 2 if self.paired else resamples - 1

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Scale deviations so that their squares sum up to `freedom` times the variance.

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
            return np.sqrt(self.spread) * (values[0::2] - values[1::2]) / 2
        return np.sqrt(self.spread) * (values - values.mean(0))

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
            return np.sqrt(self.spread) * (one - other) / 2
        return np.sqrt(self.spread) * (values - values.mean("resample"))

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
        freedom = count if self.paired else count - 1
        return np.sqrt((off**2).sum("resample") / freedom.where(count > 1))

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
            off = np.sqrt(self.spread) * (values - values.mean("resample"))
            return (estimate + off).fillna(np.inf)
        off = self.of_values(values)
        both = xr.concat([estimate + off, estimate - off], "resample")
        one, other = (values.isel(resample=slice(side, None, 2)) for side in (0, 1))
        never = xr.concat([one.isnull(), other.isnull()], "resample")
        return both.fillna(xr.where(never, np.inf, estimate))


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
        return Scheme(1.0, paired=True)
    if method == "jackknife":
        return Scheme((resamples - 1) ** 2 / resamples)
    if method != "bootstrap":
        raise ValueError(
            f"there is no resampling {method!r}: halves, subsample, bootstrap or jackknife"
        )
    return Scheme()
