"""Tables of many runs as papers have them, and as files: CSV and Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynamics.emergence.last_step import ALL
from dynamics.filesystems import replacing
from dynamics.letters import in_markdown, in_sheet


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
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = safe[column].map(in_sheet, na_action="ignore")
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


def _cell(row: pd.Series, show: str) -> str:
    value = row.get(show, np.nan)
    if pd.isna(value):
        return ""
    if show == "score" and np.isfinite(row.get("low", np.nan)):
        return f"{_number(value)} ({_number(row['low'])}, {_number(row['high'])})"
    if show == "median" and np.isfinite(row.get("error", np.nan)):
        return f"{_number(value)} ± {_number(row['error'])}"
    return _number(value)


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"
