"""The 165 natural sounds' components and folds, joined by stimulus name, for oracle tests."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy.io import loadmat


def load(data_root: Path, order: str = "file") -> SimpleNamespace:
    """Components R, categories, one-hot categories, ECoG time-means and folds, row by row.

    order: "file" keeps the order of components.mat; "number" sorts by stimulus number.
    """
    folder = data_root / "natsound165-neuron2015" / "data"
    if not (folder / "components.mat").is_file():
        import pytest

        pytest.skip("components.mat is not in DYNAMICS_DATA")
    matrix = loadmat(folder / "components.mat", squeeze_me=True)
    names = [str(name) for name in matrix["stim_names"]]
    rows = np.arange(len(names))
    if order == "number":
        rows = np.argsort([int(name.split("_")[0].removeprefix("stim")) for name in names])
    names = [names[i] for i in rows]
    category = matrix["category_labels"].astype(str)[rows]
    with open(data_root / "braindnn" / "stratified-folds.csv") as file:
        fold = {row["stimulus"]: int(row["fold"]) for row in csv.DictReader(file)}
    path = data_root / "song-ecog-current-biology" / "data" / "ecog_component_responses.mat"
    ecog = loadmat(path, squeeze_me=True)
    there = {str(name).removesuffix(".wav"): i for i, name in enumerate(ecog["stim_names"])}
    ecog_rows = [there[name] for name in names]
    return SimpleNamespace(
        names=names,
        R=matrix["R"][rows],
        categories=category,
        onehot=(category[:, None] == np.unique(category)).astype(float),
        ecog=ecog["R"][ecog_rows].mean(1).astype(float),
        ecog_time=ecog["R"][ecog_rows].astype(float),
        folds=np.array([fold[name] for name in names]),
    )
