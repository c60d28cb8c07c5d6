"""Statistics and figures on results as methods: `results.dynamics.half_time()`."""

from __future__ import annotations

from typing import Any

import xarray as xr

from dynamics import emergence
from dynamics.averages import average


@xr.register_dataset_accessor("dynamics")
class Dynamics:
    """Methods on the results of one target and metric.

    Parameters
    ----------
    results : xarray.Dataset
        With `score` (step, layer, neuroid or subject) and, for intervals, `resample_score` with
        one more dimension, `resample`, and an attribute `spread`.
    """

    def __init__(self, results: xr.Dataset):
        self._results = results

    def curves(self, *, by: str | None = None) -> xr.DataArray:
        """Return curves: scores averaged over neuroids, within each subject first.

        Parameters
        ----------
        by : str, optional
            Average within each value of this coordinate instead (``"region"``, ``"subject"``);
            ``"neuroid"`` leaves every neuroid to itself.

        Returns
        -------
        xarray.DataArray
            With a dimension `step`.

        Raises
        ------
        ValueError
            If there is no `score`, or no such coordinate.
        """
        return average(self._variable("score"), by=by)

    def resampled(self, *, by: str | None = None) -> xr.DataArray | None:
        """Return the same curves on resamples of the stimuli; None where there are none.

        Parameters
        ----------
        by : str, optional
            As in `curves`.

        Returns
        -------
        xarray.DataArray or None
            With dimensions `step` and `resample`.
        """
        if "resample_score" not in self._results:
            return None
        return average(self._results["resample_score"], by=by)

    def half_time(self, *, by: str | None = None, **arguments: Any) -> xr.Dataset:
        """Half-time of every curve, with an interval where there are resamples.

        Parameters
        ----------
        by : str, optional
            As in `curves`.
        **arguments
            As in `dynamics.emergence.half_time`, and `method` and `confidence` as in
            `dynamics.emergence.interval`.

        Returns
        -------
        xarray.Dataset
            `estimate` with the coordinate `status`; `lower`, `upper`.
        """
        return self._when("half_time", by, arguments)

    def onset(self, *, by: str | None = None, **arguments: Any) -> xr.Dataset:
        """Onset of every curve, with an interval and a test where there are resamples.

        Parameters
        ----------
        by : str, optional
            As in `curves`.
        **arguments
            As in `dynamics.emergence.onset`, and `method` and `confidence`.

        Returns
        -------
        xarray.Dataset
            As `half_time`; with resamples also `detected` and `p`: the first step above the
            untrained level, controlled over steps.
        """
        found = self._when("onset", by, arguments)
        resampled = self.resampled(by=by)
        if resampled is not None:
            known = {k: arguments[k] for k in ("baseline", "direction") if k in arguments}
            test = emergence.onset_test(self.curves(by=by), resampled, **known)
            found = found.assign(detected=test["detected"], p=test["detected_p"])
        return found

    def compare(self, *, dim: str = "layer", by: str | None = None, **arguments: Any) -> xr.Dataset:
        """Compare all pairs of curves along a dimension: which comes first.

        Parameters
        ----------
        dim : str
            ``"layer"``, or what `by` names.
        by : str, optional
            As in `curves`.
        **arguments
            As in `dynamics.emergence.compare`.

        Returns
        -------
        xarray.Dataset
            As `dynamics.emergence.compare`.

        Raises
        ------
        ValueError
            If there are no resamples.
        """
        resampled = self.resampled(by=by)
        if resampled is None:
            raise ValueError(
                "the results have no `resample_score`: analyze with resamples to compare curves"
            )
        return emergence.compare(self.curves(by=by), resampled, dim=dim, **arguments)

    def plot_curves(self, **arguments: Any) -> Any:
        """Draw emergence curves; arguments and result as in `dynamics.plots.plot_curves`."""
        from dynamics import plots

        return plots.plot_curves(self._results, **arguments)

    def plot_heatmap(self, **arguments: Any) -> Any:
        """Draw layers by steps; arguments and result as in `dynamics.plots.plot_heatmap`."""
        from dynamics import plots

        return plots.plot_heatmap(self._results, **arguments)

    def plot_order(self, **arguments: Any) -> Any:
        """Draw when each curve emerges; arguments and result as in `dynamics.plots.plot_order`."""
        from dynamics import plots

        return plots.plot_order(self._results, **arguments)

    def plot_best_layer(self, **arguments: Any) -> Any:
        """Draw the best layer over training; as in `dynamics.plots.plot_best_layer`."""
        from dynamics import plots

        return plots.plot_best_layer(self._results, **arguments)

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self._results:
            raise ValueError(
                f"the dataset has {', '.join(map(str, self._results.data_vars)) or 'no variables'}"
                f", not `{name}`: select the results of one target and metric"
            )
        return self._results[name]

    def _when(self, statistic: str, by: str | None, arguments: dict[str, Any]) -> xr.Dataset:
        curve, resampled = self.curves(by=by), self.resampled(by=by)
        if resampled is None:
            arguments = {k: v for k, v in arguments.items() if k not in ("method", "confidence")}
            return xr.Dataset({"estimate": getattr(emergence, statistic)(curve, **arguments)})
        return emergence.interval(curve, resampled, statistic=statistic, **arguments)
