"""Tables of many runs: models by target and region, best layers, half-times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from dynamics import emergence
from dynamics.collection.opening import Compared, Opened
from dynamics.emergence.best_layers import pick_layer
from dynamics.emergence.choice import confidence_of_chosen
from dynamics.emergence.last_step import ALL, is_single, last_of, regions_of
from dynamics.emergence.of_models import summaries

_KEYS = ("target", "metric", "region")


def models(every: Sequence[Compared], opened: Sequence[Opened]) -> pd.DataFrame:
    """Tabulate the last score of every run by target, metric and region, the best first.

    Parameters
    ----------
    every : sequence of Compared
        The results.
    opened : sequence of Opened
        All runs, in the order of the collection.

    Returns
    -------
    pandas.DataFrame
        A row a target, metric, region and run: the run's coordinates, what
        `dynamics.emergence.of_models.summaries` says, and `note`: why there is no score.
    """
    rows = []
    known = {one.name: one for one in opened}
    for each in every:
        where = {"target": each.target, "metric": each.metric}
        for name, results in each.results.items():
            own, gap = known[name].coordinates, known[name].gap
            for region, row in summaries(last_of(results)).items():
                rows.append({**where, "region": region, "run": name, **own, **row, "note": gap})
        for name, why in each.left_out.items():
            own = known[name].coordinates
            rows.append({**where, "region": ALL, "run": name, **own, "note": why})
    table = pd.DataFrame(rows)
    if "score" not in table:
        return table
    return _in_order(table, by="score", ascending=False)


def best_layers(table: pd.DataFrame) -> pd.DataFrame:
    """Pick from the table of models which layer is best in which region.

    Parameters
    ----------
    table : pandas.DataFrame
        From `models`.

    Returns
    -------
    pandas.DataFrame
        Columns target, metric, region, run, layer, depth, `support` (part of the halves of the
        stimuli on which it is the best), score (of the layer that the other half chooses), highest
        (its own, on the stimuli that chose it) and `chosen_on`.
    """
    wanted = [*_KEYS, "run", "layer", "depth", "support", "score", "highest", "chosen_on"]
    if "layer" not in table:
        return pd.DataFrame(columns=wanted)
    return table.loc[table["layer"].notna(), wanted].reset_index(drop=True)


def half_times(every: Sequence[Compared]) -> pd.DataFrame:
    """Tabulate when each run has made half of its final gain, by region.

    Parameters
    ----------
    every : sequence of Compared
        The results.

    Returns
    -------
    pandas.DataFrame
        A row a target, metric, region and run, of the layer that ends best there: `half_time`
        (steps), `fraction` of the run's training, `low`, `high`, `status`; no row for a run of a
        single trained network, which has no when.
    """
    rows = []
    for each in every:
        for name, results in each.results.items():
            if is_single(results):
                continue
            last = float(results["step"][-1])
            for region, part in regions_of(results).items():
                one, layer = pick_layer(part)
                # The layer is that which ends best on these stimuli: limits hold for all at once.
                each_by_itself = confidence_of_chosen(part, None)
                found, _ = emergence.steps_by(
                    one.expand_dims(layer=[layer]), confidence=each_by_itself
                )
                at = found.isel(layer=0)
                when = float(at["estimate"])
                rows.append(
                    {
                        "target": each.target,
                        "metric": each.metric,
                        "region": region,
                        "run": name,
                        "layer": layer,
                        "half_time": when,
                        "fraction": when / last if last > 0 else np.nan,
                        "low": float(at["lower"]) if "lower" in at else np.nan,
                        "high": float(at["upper"]) if "upper" in at else np.nan,
                        "status": str(at["status"].item()),
                        "over": str(found.attrs.get("over", "")),
                    }
                )
    table = pd.DataFrame(rows)
    return table if table.empty else _in_order(table, by="half_time", ascending=True)


def by_pair(
    table: pd.DataFrame, function: Callable[[pd.DataFrame], pd.DataFrame]
) -> Iterable[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield what a function makes of each target and metric of a table."""
    for pair, some in table.groupby(["target", "metric"], sort=False):
        yield (str(pair[0]), str(pair[1])), function(some)


def _in_order(table: pd.DataFrame, *, by: str, ascending: bool) -> pd.DataFrame:
    """Sort runs within each target and metric by their value over all regions; the rest last."""
    own = table[table["region"] == ALL].set_index(["target", "metric", "run"])[by]
    keys = pd.MultiIndex.from_frame(table[["target", "metric", "run"]])
    pairs = pd.factorize(pd.MultiIndex.from_frame(table[["target", "metric"]]))[0]
    regions = pd.factorize(table["region"])[0]
    values = own.reindex(keys).to_numpy(dtype=float)
    values = np.where(np.isfinite(values), values if ascending else -values, np.inf)
    runs = pd.factorize(table["run"])[0]
    return table.iloc[np.lexsort((regions, runs, values, pairs))].reset_index(drop=True)
