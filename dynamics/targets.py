"""Brain targets as an analyzer needs them: plain arrays, joined with the store by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynamics import brains, metrics
from dynamics.config import Choice
from dynamics.sounds import StimulusSet

N_FOLDS = 5


@dataclass(frozen=True)
class Target:
    """What a worker needs of a brain target; plain arrays.

    Attributes
    ----------
    rows : array of shape (n_joined,)
        Places of the target's stimuli among those of the store.
    response : array of shape (n_joined, n_neuroids[, n_repetitions])
        Brain responses.
    folds : array of shape (n_joined,)
        Cross-validation fold of every stimulus.
    subjects : array of shape (n_neuroids,)
        Subject of every neuroid.
    """

    rows: np.ndarray
    response: np.ndarray
    folds: np.ndarray
    subjects: np.ndarray

    @property
    def mean_response(self) -> np.ndarray:
        """Responses averaged over repetitions, of shape (n_joined, n_neuroids)."""
        return self.response.mean(2) if self.response.ndim == 3 else self.response

    def of_subject(self, name: str, *, mean: bool = True) -> np.ndarray:
        """Return one subject's responses, by default averaged over repetitions."""
        values = self.mean_response if mean else self.response
        return values[:, self.subjects.astype(str) == name]

    @property
    def subject_names(self) -> list[str]:
        """The subjects, sorted."""
        return sorted(set(map(str, self.subjects)))


def load_brain(choice: Choice, stimuli: StimulusSet) -> xr.Dataset:
    """Load a sweep's target; a simulated listener hears the sweep's own stimuli.

    Parameters
    ----------
    choice : Choice
        The target.
    stimuli : StimulusSet
        The sweep's stimuli.

    Returns
    -------
    xarray.Dataset
        As `dynamics.brains.load` returns it.
    """
    arguments = dict(choice.arguments)
    if choice.name == "simulated":
        arguments.setdefault("stimuli", stimuli)
    return brains.load(choice.name, **arguments)


def make_target(data: xr.Dataset, activations: xr.Dataset, *, origin: str, seed: int = 0) -> Target:
    """Join a brain target with the stimuli of a store, by name.

    Parameters
    ----------
    data : xarray.Dataset
        A target as `dynamics.brains.load` returns it.
    activations : xarray.Dataset
        With coordinates `stimulus` and `category`.
    origin : str
        What holds the activations, for messages.
    seed : int
        For the assignment of folds, where the target brings none.

    Returns
    -------
    Target
        Plain arrays in the order of the target's stimuli.
    """
    names = activations["stimulus"].to_numpy().tolist()
    data = brains.join(data, names)
    place = {name: row for row, name in enumerate(names)}
    rows = np.array([place[str(name)] for name in data["stimulus"].to_numpy()])
    categories = activations["category"].to_numpy()[rows]
    if "fold" in data.coords:
        folds = data["fold"].to_numpy().astype(int)
    else:
        folds = metrics.stratified_folds(categories, N_FOLDS, seed=seed)
    response = data["response"]
    dims = ("stimulus", "neuroid", "repetition") if "repetition" in response.dims else (
        "stimulus", "neuroid")  # fmt: skip
    if set(response.dims) != set(dims):
        raise ValueError(
            f"target {data.attrs.get('name', '?')!r} has dimensions {response.dims}, encoding and "
            f"RSA need (stimulus, neuroid[, repetition]): average it over time first"
        )
    subjects = (
        data["subject"].to_numpy().astype(str)
        if "subject" in data.coords
        else np.full(data.sizes["neuroid"], "all")
    )
    values = response.transpose(*dims).to_numpy().astype(float)
    if not np.isfinite(values).all():
        bad = np.flatnonzero(
            ~np.isfinite(values).all(axis=tuple(i for i in range(values.ndim) if i != 1))
        )
        raise ValueError(
            f"target {data.attrs.get('name', '?')!r} of {origin} has missing values in neuroid "
            f"'{data['neuroid'].to_numpy()[bad[0]]}': drop or fill them"
        )
    return Target(rows, values, folds, subjects)


def checksums(target: Target) -> list[float]:
    """Return numbers by which a target can be known again, whatever machine computed it.

    A hash of the bytes would change with the last bit, which the number of threads can flip. A
    projection on fixed random weights does not, and shows a change of a hundredth of a standard
    deviation in a single one of a million values.

    Parameters
    ----------
    target : Target
        The brain target.

    Returns
    -------
    list of float
        Projections of responses, rows and folds, each over the norm; compare with a tolerance
        of 1e-6.
    """
    found = []
    for number, array in enumerate((target.response, target.rows + 1, target.folds + 1)):
        values = np.asarray(array, float).ravel()
        weights = np.random.default_rng(number).standard_normal(values.size)
        found.append(float(weights @ values / max(np.linalg.norm(values), np.finfo(float).tiny)))
    return found
