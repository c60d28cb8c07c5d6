"""One HTML file that says what was run and what was found, without any network."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from dynamics import store
from dynamics.analysis import values
from dynamics.filesystems import replacing
from dynamics.report.figures import data_uri
from dynamics.report.page import render

logger = logging.getLogger(__name__)

__all__ = ["data_uri", "default_place", "render", "write"]


def write(
    path: store.Where,
    *,
    output: str | Path | None = None,
    pictures: Mapping[str, str] | None = None,
    value: str | Mapping[str, str] = "score",
    only: Sequence[str] = (),
    paths: bool = False,
) -> Path:
    """Write the report of a store.

    Parameters
    ----------
    path : str or Path
        A store, such as ``store/demo.zarr``; it may still be growing.
    output : str or Path, optional
        The file; by default `default_place`.
    pictures : mapping of str to str, optional
        Figures that are drawn already, from `dynamics.sweep.plot`; the others are drawn.
    value : str or mapping of str to str
        Which value of the metrics is shown, as in `dynamics.analysis.values.of_tree`.
    only : sequence of str
        Which figures, as in `dynamics.plots.figures_of`.
    paths : bool
        Whether the folders of this machine are shown, where checkpoints and store are.

    Returns
    -------
    Path
        The file. It is written beside and then renamed, so a reader never sees half of it.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If what is there is not a store.
    OSError
        If the file cannot be written.
    """
    final = default_place(path) if output is None else Path(output)
    if final.is_dir():
        raise IsADirectoryError(
            f"{final} is a folder: give the report a file name, say report.html"
        )
    tree = values.of_tree(store.open(path), value)
    text = render(tree, place=str(path), pictures=pictures, only=only, paths=paths)
    with replacing(final) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")
    return final


def default_place(path: store.Where) -> Path:
    """Where the report of a store goes: beside its figures, ``store/<run>/report.html``."""
    place = store.place_of(path)
    path = place.local or Path("store") / place.where.rstrip("/").rpartition("/")[2]
    folder = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-report")
    return folder / "report.html"
