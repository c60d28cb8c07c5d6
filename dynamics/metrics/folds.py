"""Cross-validation folds: stratified by category, grouped, or given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from dynamics.metrics.kernels import Array
from dynamics.metrics.validation import labels as plain_labels


def stratified_folds(
    categories: Sequence | np.ndarray | None,
    n_folds: int = 5,
    seed: int = 0,
    *,
    groups: Sequence | np.ndarray | None = None,
    n: int | None = None,
) -> np.ndarray:
    """Assign stimuli to folds so that every fold has its share of every category.

    Groups are placed one by one, large ones first, each into the fold that has least of the
    group's categories so far, then into the smallest fold. Without groups each stimulus is a
    group of its own, and fold sizes differ by one at most for each category.

    Parameters
    ----------
    categories : sequence of length n, or None
        Category of each stimulus; None for one category (then give `n`).
    n_folds : int
        Number of folds, at least 2.
    seed : int
        Seed of the order in which stimuli are placed.
    groups : sequence of length n, optional
        Stimuli of one group (excerpts of a recording, say) always share a fold.
    n : int, optional
        Number of stimuli where `categories` is None.

    Returns
    -------
    array of shape (n,), int64
        Fold of each stimulus, 0 to n_folds - 1.

    Raises
    ------
    ValueError
        If there are fewer stimuli (or groups) than folds, a category has fewer members than
        folds (see `merge_small`), or lengths differ.
    """
    labels = np.zeros(n or 0, int) if categories is None else _sortable(categories)
    members = np.arange(len(labels)) if groups is None else labelled(groups, "groups")
    if len(members) != len(labels):
        raise ValueError(
            f"there are {len(labels)} categories and {len(members)} groups: give one of each a "
            "stimulus"
        )
    _, category = np.unique(labels, return_inverse=True)
    _, group = np.unique(members, return_inverse=True)
    n_groups = int(group.max()) + 1 if len(group) else 0
    if n_folds < 2 or n_groups < n_folds:
        unit = "stimuli" if groups is None else "groups"
        raise ValueError(
            f"{n_groups} {unit} cannot be split into {n_folds} folds: use between 2 and "
            f"{max(n_groups, 2)} folds"
        )
    for label, count in sorted(Counter(labels.tolist()).items()):
        if count < n_folds:
            raise ValueError(
                f"category {label!r} has {count} stimuli for {n_folds} folds, so some folds would "
                "have none of it: use fewer folds, or join small categories with "
                "`dynamics.metrics.merge_small`"
            )
    # scikit-learn's `StratifiedGroupKFold` draws other folds, which would be other scores.
    content = np.zeros((n_groups, int(category.max()) + 1))
    np.add.at(content, (group, category), 1)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_groups)
    main = content.argmax(1)
    order = order[np.lexsort((main[order], -content.sum(1)[order]))]
    filled = np.zeros((n_folds, content.shape[1]))
    fold_of_group = np.zeros(n_groups, np.int64)
    tie = rng.permutation(n_folds)
    for index in order:
        load = filled @ content[index]
        fold_of_group[index] = np.lexsort((tie, filled.sum(1), load))[0]
        filled[fold_of_group[index]] += content[index]
    return fold_of_group[group]


def merge_small(categories: Sequence | np.ndarray, n_folds: int = 5) -> np.ndarray:
    """Join the categories that have fewer members than there are folds.

    Parameters
    ----------
    categories : sequence of length n
        Category of each stimulus.
    n_folds : int
        Number of folds.

    Returns
    -------
    array of shape (n,), str
        The categories, with all small ones called ``"others"``; if these are too few together,
        with the smallest of the other categories.
    """
    labels = np.asarray(categories).astype(str)
    names, counts = np.unique(labels, return_counts=True)
    ascending = np.argsort(counts, kind="stable")
    small = int((counts < n_folds).sum())
    while 0 < small < len(names) and counts[ascending[:small]].sum() < n_folds:
        small += 1
    others = np.isin(labels, names[ascending[:small]])
    return np.where(others, "others", labels)


def labelled(
    labels: Sequence | np.ndarray, what: str, names: Sequence[str] | None = None
) -> np.ndarray:
    """Labels of stimuli that can be told apart, or a ValueError that names who has none.

    Parameters
    ----------
    labels : sequence of length n
        Numbers, words or truth values.
    what : str
        ``"folds"`` or ``"groups"``, for the error.
    names : sequence of str, optional
        What to call the stimuli in the error; by default their numbers.

    Returns
    -------
    array of shape (n,)
        The labels.

    Raises
    ------
    ValueError
        If a label is None, NaN or empty. (As words, too, which they become beside words.)
    """
    array = _sortable(labels)
    for row, value in enumerate(np.asarray(labels).ravel().tolist()):
        # NaN alone differs from itself.
        if value is None or value != value or str(value).strip().lower() in _NO_LABEL:
            who = row if names is None else repr(str(names[row]))
            raise ValueError(
                f"{what} has no label for stimulus {who}: give every stimulus a {what[:-1]}"
            )
    return array


_NO_LABEL = ("", "nan", "none", "<na>", "nat")


def _sortable(labels: Sequence | np.ndarray) -> np.ndarray:
    """Labels as an array that can be sorted; what is of several types becomes words."""
    array = np.asarray(labels)
    if array.dtype.kind != "O":
        return array
    kinds = {type(value) for value in array.tolist()}
    return np.array(array.tolist()) if kinds <= {int} or kinds <= {str} else array.astype(str)


def check_folds(
    folds: Sequence | Array, n: int, *, names: Sequence[str] | None = None
) -> np.ndarray:
    """Fold numbers 0 to F - 1 in the order of the given labels.

    Parameters
    ----------
    folds : sequence of length n
        Label of each stimulus' fold.
    n : int
        Number of stimuli.
    names : sequence of length n, optional
        What to call the stimuli in an error.

    Returns
    -------
    array of shape (n,), int64
        Fold of each stimulus.

    Raises
    ------
    ValueError
        If the length is not `n`, a stimulus has no label, or there are fewer than 2 folds.
    """
    labels = np.asarray(plain_labels(folds))
    if labels.shape != (n,):
        raise ValueError(
            f"folds has shape {labels.shape} for {n} stimuli: give one fold number a stimulus"
        )
    found, numbers = np.unique(labelled(labels, "folds", names), return_inverse=True)
    if len(found) < 2:
        raise ValueError("all stimuli are in one fold: give at least 2 folds")
    return numbers.astype(np.int64)


def make_folds(
    n: int,
    *,
    folds: int | Sequence | Array | None,
    seed: int,
    categories: Sequence | np.ndarray | None,
    groups: Sequence | np.ndarray | None,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """Given folds checked, or new ones: stratified by category where there are categories.

    No group of stimuli may be in several of the given folds. `names` are for errors.
    """
    for name, labels in (("categories", categories), ("groups", groups)):
        if labels is not None and len(labels) != n:
            raise ValueError(f"{name} has {len(labels)} entries for {n} stimuli: give one each")
    if folds is not None and not isinstance(folds, (int, np.integer)):
        known = check_folds(folds, n, names=names)
        members = None if groups is None else labelled(groups, "groups", names)
        for label in [] if members is None else np.unique(members):
            if len(set(known[members == label])) > 1:
                raise ValueError(
                    f"group {label.item()!r} is in several of the given folds: give folds that "
                    "keep groups together, or the number of folds"
                )
        return known
    if groups is not None:
        labelled(groups, "groups", names)
    return stratified_folds(
        categories, 5 if folds is None else int(folds), seed, groups=groups, n=n
    )
