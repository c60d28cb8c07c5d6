"""Tables of many runs: models by target and region, best layers, half-times, differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from dynamics import emergence
from dynamics.collection.opening import Compared, Opened
from dynamics.emergence.best_layers import pick_layer
from dynamics.emergence.choice import confidence_of_chosen
from dynamics.emergence.crossed import crossed, is_crossed, shown_lower
from dynamics.emergence.of_models import (
    ALL,
    is_single,
    last_of,
    regions_of,
    summaries,
)
from dynamics.emergence.resampling import Scheme, stabilised
from dynamics.emergence.testing import benjamini_hochberg
from dynamics.filesystems import replacing
from dynamics.letters import in_markdown, in_sheet
from dynamics.store.attributes import identity_of

_KEYS = ("target", "metric", "region")


class Finals(NamedTuple):
    """Last scores of the runs in each one's best layer, to be compared.

    Attributes
    ----------
    score : xarray.DataArray
        Along `run`.
    resampled : xarray.DataArray or None
        With `resample` besides, of the stimuli alone; None where some run has none, or theirs are
        not of the same stimuli.
    """

    score: xr.DataArray
    resampled: xr.DataArray | None


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
        score, resampled = finals(each)
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


def finals(each: Compared, region: str = ALL) -> Finals:
    """Return the last score of every run in its best layer, and on common halves of the stimuli.

    Of halves one chooses the layer and the other has its score (`dynamics.emergence.crossed`), so
    that a run of many layers is not ahead of one of few by the luck of the highest.

    Parameters
    ----------
    each : Compared
        The results.
    region : str
        Which region; `ALL` for the mean.

    Returns
    -------
    Finals
        Of the runs that have the region.
    """
    scores, again, schemes = {}, {}, []
    for name, results in each.results.items():
        last = last_of(results)
        own = last.score.of(region)
        if not own.values.size:
            continue
        mean = np.nanmean(own.by_subject(), axis=1)
        place = int(np.argmax(np.where(np.isfinite(mean), mean, -np.inf)))
        scores[name] = float(mean[place])
        if last.again is not None:
            schemes.append(last.scheme)
            halves = _cloud(mean, last.again.of(region).by_subject().mean(-1), last.scheme)
            again[name] = halves[:, place]
            if is_crossed(last.scheme, len(halves), len(mean)):
                found = crossed(mean[:, None], halves[..., None])
                scores[name], again[name] = float(found.score[0]), found.again[:, 0]
    names = list(scores)
    score = xr.DataArray(list(scores.values()), dims="run", coords={"run": names}, name="final")
    lengths = {len(values) for values in again.values()}
    together = len(again) == len(names) > 0 and len(lengths) == 1 and len(set(schemes)) == 1
    if not together or not paired(each):
        return Finals(score, None)
    cloud = xr.DataArray(
        np.stack([again[name] for name in names], 1),
        dims=("resample", "run"),
        coords={"run": names},
        attrs=schemes[0]._replace(correlation=False, squares=False).attrs,
    )
    return Finals(score, cloud)


def _cloud(mean: np.ndarray, again: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Return scores (layer, resample) as (resample, layer), at the level of the full sample."""
    curve = xr.DataArray(mean, dims="layer")
    found = stabilised(curve, xr.DataArray(again, dims=("layer", "resample"), attrs=scheme.attrs))
    return found.transpose("resample", "layer").to_numpy()


def paired(each: Compared) -> bool:
    """Whether resample k of all runs is of the same stimuli, as far as the results say.

    Parameters
    ----------
    each : Compared
        The results.

    Returns
    -------
    bool
        True where seed and number of resamples agree, and are known.
    """
    own = [identity_of(results) for results in each.results.values()]
    return all(
        all(one.get(key) is not None and one.get(key) == own[0].get(key) for one in own)
        for key in ("seed", "resamples")
    )


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
    score, resampled = finals(each)
    if resampled is None or score.sizes["run"] < 2:
        return pd.DataFrame()
    from scipy import stats

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


def wide(table: pd.DataFrame, *, show: str = "score") -> pd.DataFrame:
    """Lay out the table of models as papers do: a row a run, a column a region, the best on top.

    Parameters
    ----------
    table : pandas.DataFrame
        From `models`, of one target and metric.
    show : str
        ``"score"`` with its limits, ``"median"`` with its error over subjects, or any other number.

    Returns
    -------
    pandas.DataFrame
        Texts; the first row is the noise ceiling where there is one.
    """
    regions = list(dict.fromkeys(table["region"]))
    runs = list(dict.fromkeys(table["run"]))
    rows = []
    if "ceiling" in table and table["ceiling"].notna().any():
        own = table.groupby("region", sort=False)["ceiling"].median()
        # Of r over the reliability it is 1 by construction.
        own = {"r2": own**2, "r2_corrected": own * np.nan}.get(show, own)
        rows.append({"run": "noise ceiling", **{r: _number(own.get(r, np.nan)) for r in regions}})
    for run in runs:
        mine = table[table["run"] == run].set_index("region")
        cells = {r: _cell(mine.loc[r], show) if r in mine.index else "" for r in regions}
        if show == "score" and "layer" in mine and ALL in mine.index:
            layer = mine.loc[ALL, "layer"]
            cells["best layer"] = "" if pd.isna(layer) else str(layer)
        rows.append({"run": run, **cells})
    found = pd.DataFrame(rows)
    if "note" in table:
        notes = table.groupby("run", sort=False)["note"].first()
        found["note"] = [str(notes.get(run, "") or "") for run in found["run"]]
        if not found["note"].any():
            found = found.drop(columns="note")
    return found


def _cell(row: pd.Series, show: str) -> str:
    value = row.get(show, np.nan)
    if pd.isna(value):
        return ""
    if show == "score" and np.isfinite(row.get("low", np.nan)):
        return f"{_number(value)} [{_number(row['low'])}, {_number(row['high'])}]"
    if show == "median" and np.isfinite(row.get("error", np.nan)):
        return f"{_number(value)} ± {_number(row['error'])}"
    return _number(value)


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"


def markdown(table: pd.DataFrame) -> str:
    """Write a table in Markdown.

    Parameters
    ----------
    table : pandas.DataFrame
        Any table; numbers are written to three digits after the point, steps as whole numbers.

    Returns
    -------
    str
        With a line end.
    """
    columns = [str(name) for name in table.columns]
    numeric = [pd.api.types.is_numeric_dtype(table[name]) for name in table.columns]
    lines = [
        "| " + " | ".join(map(in_markdown, columns)) + " |",
        "|" + "|".join("---:" if right else "---" for right in numeric) + "|",
    ]
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join(written(value) for value in row) + " |")
    return "\n".join(lines) + "\n"


def written(value: Any) -> str:
    """Write a value of a table for those who read it: three digits, whole steps, no NaN."""
    if isinstance(value, str):
        return in_markdown(value)
    if pd.isna(value):
        return ""
    if isinstance(value, float) and np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, float) and (abs(value) >= 100 or value == int(value)):
        return f"{value:,.0f}"
    if isinstance(value, float) and 0 < abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def write(folder: Path, name: str, table: pd.DataFrame, text: str = "") -> list[Path]:
    """Write a table as CSV, with all its digits, and as Markdown.

    Parameters
    ----------
    folder : Path
        Where.
    name : str
        Of the files, without suffix.
    table : pandas.DataFrame
        The table.
    text : str
        The Markdown, where it is not the table itself.

    Returns
    -------
    list of Path
        The files; each is written beside and then renamed.
    """
    safe = table.rename(columns=in_sheet)
    # Texts are of a type of their own in pandas 3, and objects before.
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(in_sheet, na_action="ignore")
    made: dict[str, str] = {
        ".csv": safe.to_csv(index=False, lineterminator="\n"),
        ".md": text or markdown(table),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, content in made.items():
        path = folder / f"{name}{suffix}"
        with replacing(path) as beside:
            beside.write_text(content, encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


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
