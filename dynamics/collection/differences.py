"""Which of many runs is better: differences of all pairs on the same stimuli."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from dynamics.collection.opening import Compared
from dynamics.collection.tables import by_pair
from dynamics.emergence.crossed import shown_lower
from dynamics.emergence.last_step import ALL
from dynamics.emergence.resampling import Scheme
from dynamics.emergence.testing import benjamini_hochberg


def differences(each: Compared) -> pd.DataFrame:
    """Compare the last scores of all pairs of runs on the same halves of the stimuli.

    Parameters
    ----------
    each : Compared
        The results.

    Returns
    -------
    pandas.DataFrame
        A row a pair: `difference` (first minus second) with limits of 95 % over stimuli, `p` and
        `p_adjusted` (false discovery rate over all pairs); empty without common resamples.
    """
    score, resampled = each.finals
    if resampled is None or score.sizes["run"] < 2:
        return pd.DataFrame()
    scheme, number = Scheme.of(resampled), resampled.sizes["resample"]
    off = scheme.deviations(resampled.to_numpy())
    one, other = np.triu_indices(score.sizes["run"], 1)
    difference = score.to_numpy()[one] - score.to_numpy()[other]
    error = np.sqrt(((off[:, one] - off[:, other]) ** 2).sum(0) / scheme.divisor(number))
    freedom = scheme.freedom(number)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(np.abs(difference) / error, freedom)
    half = stats.t.ppf(0.975, freedom) * error
    names = score["run"].to_numpy()
    return pd.DataFrame(
        {
            "target": each.target,
            "metric": each.metric,
            "first": names[one],
            "second": names[other],
            "difference": difference,
            "low": difference - half,
            "high": difference + half,
            "p": p,
            "p_adjusted": benjamini_hochberg(p),
        }
    )


def with_lower(table: pd.DataFrame, every: Sequence[Compared]) -> pd.DataFrame:
    """Add to the table of models whether another run is shown to be better.

    Parameters
    ----------
    table : pandas.DataFrame
        From `models`.
    every : sequence of Compared
        The results.

    Returns
    -------
    pandas.DataFrame
        With a column `p_lower`, of the whole: corrected for all pairs of runs; NaN without common
        halves.
    """
    found: dict[tuple[str, ...], float] = {}
    for each in every:
        score, resampled = each.finals
        if resampled is not None and score.sizes["run"] > 1:
            p = shown_lower(score.to_numpy(), resampled)
            runs = score["run"].to_numpy().tolist()
            found |= {(each.target, each.metric, run): one for run, one in zip(runs, p)}
    if table.empty:
        return table
    keys = zip(table["target"], table["metric"], table["run"], table["region"])
    return table.assign(
        p_lower=[found.get(tuple(key), np.nan) if at == ALL else np.nan for *key, at in keys]
    )


def sentences(table: pd.DataFrame) -> list[str]:
    """Say of each target and metric among how many runs the best one is.

    Parameters
    ----------
    table : pandas.DataFrame
        From `models`.

    Returns
    -------
    list of str
        A sentence for each that has p values.
    """
    said: list[str] = []
    if "p_lower" not in table:
        return said
    for (target, metric), some in by_pair(table[table["p_lower"].notna()], lambda found: found):
        able = some.loc[some["p_lower"] > 0.05, "run"]
        first = some["run"].iloc[0]
        others = f", or {len(able) - 1} others that are not shown to be worse" * (len(able) > 1)
        others = others.replace("1 others that are", "1 other that is")
        said.append(
            f"Of {len(some)} runs in {target} by {metric}, the best is {first}{others} "
            "(differences on the same stimuli, corrected for all pairs)."
        )
    return said
