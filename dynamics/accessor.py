"""Statistics and figures on results as methods: `results.dynamics.half_time()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from dynamics import emergence
from dynamics.analysis import values
from dynamics.emergence import curves, summary
from dynamics.emergence.aggregate import average
from dynamics.emergence.intake import taken


@xr.register_dataset_accessor("dynamics")
class Dynamics:
    """Methods on the results of one target and metric.

    Every statistic takes `by` and `over`, and what the function of the same name in
    `dynamics.emergence` takes. It returns a dataset of `estimate` and, with resamples, `lower`
    and `upper`; `p` where there is a test; and `status`, which says why there is none, such as
    "no untrained level" or "no score at the last step", for which no other step stands in.
    Attributes say what the intervals are over, from what level gains count (`baseline`), the
    `last_step`, how many neuroids without any score were left out, and how many have a score at
    some steps only (`neuroids_with_gaps`): means at the other steps are over the others.

    `over` is what the intervals are over: ``"stimuli"`` (other sounds, these people; needs scores
    on resamples of the stimuli), ``"subjects"`` (other people, these sounds; needs three subjects
    at least, and no resamples) or ``"both"`` (needs both). By default it is what figures, report
    and tables have: both where there are both, else stimuli. Without resamples there are estimates
    over ``"stimuli"`` and no intervals; the attribute `no_intervals` says why (none were asked
    for, or the metric has none, or they are kept as means of regions alone) and what to do.

    Of several runs of one recipe `replicates` makes results whose `over` is ``"initialisations"``
    (other seeds, these sounds) or ``"both"`` (other seeds before other sounds).

    `value` is what of a metric is meant: ``"score"``, ``"r2"``, ``"r2_corrected"`` or what else
    `dynamics.analysis.values.of` takes; by default what the results are of.

    Parameters
    ----------
    results : xarray.Dataset
        With `score` (step, layer, neuroid or subject) and, for intervals, `resample_score` with
        one more dimension, `resample`, and the attributes of a `dynamics.emergence.Scheme`.
    """

    def __init__(self, results: xr.Dataset):
        self._given = results

    def __repr__(self) -> str:
        made = [name for name in vars(type(self)) if not name.startswith("_")]
        figures = [name for name in made if name.startswith("plot_")]
        statistics = [name for name in made if name not in figures]
        return (
            f"statistics: {', '.join(statistics)}\nfigures: {', '.join(figures)}\n"
            "such as `results.dynamics.half_time(by='region')`; `help(results.dynamics)` tells more"
        )

    @property
    def _results(self) -> xr.Dataset:
        """The results, mended where something was done to them that can be undone."""
        return taken(self._given)

    def _of(self, value: str | None) -> xr.Dataset:
        return values.of(self._results, value)

    def _ask(
        self,
        function: Callable[..., Any],
        value: str | None,
        by: str | None,
        over: str | None,
        *first: Any,
        **arguments: Any,
    ) -> Any:
        """Call a function of results, its first arguments, `by` and `over`."""
        results = self._of(value)
        if over == curves.units_of(results):  # what subjects are called where they are runs
            over = "subjects"
        over = over or curves.default_over(results, by)
        return function(results, *first, by, over, **arguments)

    def curves(self, *, by: str | None = None, value: str | None = None) -> xr.DataArray:
        """Return curves: scores averaged over neuroids, within each subject first.

        Parameters
        ----------
        by : str, optional
            Average within each value of this coordinate instead (``"region"``, ``"subject"``);
            ``"neuroid"`` leaves every neuroid to itself.

        Returns
        -------
        xarray.DataArray
            With a dimension `step`, up to the last step at which any curve has a score.

        Raises
        ------
        ValueError
            If there is no `score`, or no such coordinate.
        """
        results = self._of(value)
        curves.variable(results, "score")
        return average(curves.scored(results)["score"], by=by)

    def resampled(
        self, *, by: str | None = None, over: str | None = None, value: str | None = None
    ) -> xr.DataArray | None:
        """Return the same curves on resamples; None where there are none.

        Parameters
        ----------
        by : str, optional
            As in `curves`.
        over : str, optional
            What is resampled: ``"stimuli"`` (other sounds, these people), ``"subjects"`` (other
            people, these sounds) or ``"both"``.

        Returns
        -------
        xarray.DataArray or None
            With dimensions `step` and `resample`.

        Raises
        ------
        ValueError
            If there are no subjects, or fewer than three, to resample.
        """
        return self._ask(curves.pair, value, by, over)[1]

    def half_time(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Step at which each curve has made half (or another `fraction`) of its final gain."""
        return self._ask(summary.statistic, value, by, over, "half_time", **arguments)

    def statistic(
        self,
        name: str,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Any statistic of `dynamics.emergence.STATISTICS` that is a function of curves."""
        return self._ask(summary.statistic, value, by, over, name, **arguments)

    def onset(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Step at which each curve leaves its baseline.

        With resamples also `detected`: the first measured step that is above the untrained level
        by a test that is controlled over steps, and its `p`.
        """
        return self._ask(summary.onset, value, by, over, **arguments)

    def plateau(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Level over the last decades of training, and `step`: when nine tenths are there."""
        return self._ask(summary.plateau, value, by, over, **arguments)

    def peak(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Step of the highest score; the limits hold every step that may be the peak."""
        return self._ask(summary.peak, value, by, over, **arguments)

    def decline(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Highest minus last score, and whether that is more than noise; `lower` is one-sided."""
        return self._ask(summary.decline, value, by, over, **arguments)

    def fall(
        self, *, by: str | None = None, over: str | None = None, value: str | None = None
    ) -> xr.Dataset:
        """How far each curve falls below the untrained level: `dynamics.emergence.fall_test`."""
        return self._ask(summary.fall, value, by, over)

    def gain(
        self,
        *,
        above: str = "untrained",
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Last score above ``"untrained"`` networks, the ``"baseline"`` or ``"permuted"`` ones.

        These were scored on the same resamples, so that what is common to both cancels.
        """
        return self._ask(summary.gain, value, by, over, above, **arguments)

    def area(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Mean gain of each curve over log(1 + step)."""
        return self._ask(summary.statistic, value, by, over, "area", **arguments)

    def ceiling_fraction(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Last score over the noise ceiling, which is taken as exact."""
        return self._ask(summary.ceiling_fraction, value, by, over, **arguments)

    def order(
        self,
        *,
        dim: str = "layer",
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Rank the curves along a dimension, as `dynamics.emergence.order`.

        Along ``"layer"``, or along what `by` names.
        """
        return self._ask(summary.needing, value, by, over, emergence.order, dim=dim, **arguments)

    def compare(
        self,
        *,
        dim: str = "layer",
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Compare all pairs along a dimension, which comes first: `dynamics.emergence.compare`."""
        return self._ask(summary.needing, value, by, over, emergence.compare, dim=dim, **arguments)

    def compare_with(
        self, other: xr.Dataset, *, value: str | None = None, **arguments: Any
    ) -> xr.Dataset:
        """Compare with the results of another run, as `dynamics.emergence.compare_runs`."""
        return emergence.compare_runs(self._of(value), values.of(taken(other), value), **arguments)

    def replicates(self, *, by: str | None = None, value: str | None = None) -> xr.Dataset:
        """Take the runs along `run` as one recipe's, as `dynamics.emergence.replicates`.

        Their statistics have intervals over initialisations.
        """
        return emergence.replicates(values.of(self._given, value), by=by)

    def best_layer(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Find the best layer at every step, as `dynamics.emergence.best_layer`."""
        return self._ask(summary.needing, value, by, over, emergence.best_layer, **arguments)

    def correlate(
        self,
        task: xr.Dataset | xr.DataArray,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Correlate with a probe's `score` over checkpoints, as `dynamics.emergence.correlate`."""
        return self._ask(summary.correlate, value, by, over, task, **arguments)

    def fit(
        self, *, by: str | None = None, value: str | None = None, **arguments: Any
    ) -> xr.DataArray:
        """Fit every curve, as `dynamics.emergence.fit`."""
        return emergence.fit(self.curves(by=by, value=value), **arguments)

    def bands(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        **arguments: Any,
    ) -> xr.Dataset:
        """Pointwise limits of the scores at every step, as `dynamics.emergence.bands`."""
        return self._ask(summary.needing, value, by, over, emergence.bands, **arguments)

    def summarize(
        self,
        *,
        by: str | None = None,
        over: str | None = None,
        value: str | None = None,
        confidence: float = 0.95,
    ) -> xr.Dataset:
        """Every statistic of every curve in one table, with ``<name>_lower`` and ``_upper``."""
        found = self._ask(summary.summary_of, value, by, over, confidence=confidence)
        return found.rename({"detected_p": "onset_p"} if "detected_p" in found else {})

    def plot_curves(self, **arguments: Any) -> Any:
        """Draw emergence curves; arguments and result as in `dynamics.plots.plot_curves`."""
        from dynamics import plots

        return plots.plot_curves(self._given, **arguments)

    def plot_heatmap(self, **arguments: Any) -> Any:
        """Draw layers by steps; arguments and result as in `dynamics.plots.plot_heatmap`."""
        from dynamics import plots

        return plots.plot_heatmap(self._given, **arguments)

    def plot_order(self, **arguments: Any) -> Any:
        """Draw when each curve emerges; arguments and result as in `dynamics.plots.plot_order`."""
        from dynamics import plots

        return plots.plot_order(self._given, **arguments)

    def plot_best_layer(self, **arguments: Any) -> Any:
        """Draw the best layer over training; as in `dynamics.plots.plot_best_layer`."""
        from dynamics import plots

        return plots.plot_best_layer(self._given, **arguments)
