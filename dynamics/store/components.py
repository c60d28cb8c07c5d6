"""What the components of layers keep of their variance: a value a step beside the activations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import zarr

from dynamics.store import nodes
from dynamics.store.layout import DONE, TABLE_CHUNK, new_array
from dynamics.store.place import Where
from dynamics.store.read import layer_names, open_group, records, steps

KEPT = "variance_kept"


class Kept(NamedTuple):
    """What components keep of a layer.

    Attributes
    ----------
    features : int
        Features that the layer has.
    components : int
        Components that are kept of them.
    share : float
        Part of the variance of the features that lies along these.
    """

    features: int
    components: int
    share: float


def write_kept(root: zarr.Group, row: int, kept: Mapping[str, Kept]) -> None:
    """Write what components keep of each layer at a step.

    Parameters
    ----------
    root : zarr.Group
        The store; the layers have their groups.
    row : int
        Row of the step.
    kept : mapping of str to Kept
        By layer; empty where layers have all their features.
    """
    for layer, each in kept.items():
        path = nodes.kept_of(layer)
        group = nodes.group(root, path.rpartition("/")[0])
        if KEPT not in group:
            new_array(
                group,
                KEPT,
                (len(steps(root)),),
                "float64",
                fill=np.nan,
                dims=("step",),
                chunks=(TABLE_CHUNK,),
                attrs={
                    "description": "part of the variance of the layer's features that its "
                    "components keep, over all stimuli and samples of the step",
                    "units": "1",
                    "features": each.features,
                },
            )
        nodes.array(root, path)[row] = each.share


def variance_kept(where: Where) -> dict[str, Kept]:
    """Say what the components of each layer keep, at the step where that is least.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Returns
    -------
    dict of str to Kept
        By layer, from input to output; empty where layers have all their features, or no step is
        done.
    """
    root = open_group(where)
    if "components" not in nodes.attributes(root)["identity"]:
        return {}
    rows = steps(root)
    done = [rows[step] for step, row in records(root, "status").items() if row["status"] == DONE]
    found = {}
    for layer in layer_names(root) if done else ():
        array = nodes.array(root, nodes.kept_of(layer))
        kept = nodes.array(root, nodes.activation_of(layer)).shape[-1]
        features = int(nodes.attributes(array)["features"])
        found[layer] = Kept(features, kept, float(np.asarray(array[:])[done].min()))
    return found


def in_words(kept: Mapping[str, Kept]) -> str:
    """Say what components keep of all layers, as ``128 of 1,024; keeps at least 97.3 % of ...``."""
    counts = _range(each.components for each in kept.values())
    features = _range(each.features for each in kept.values())
    # Down, so that "at least" holds; 1e-6 for what is whole up to rounding.
    least = math.floor(1000 * min(each.share for each in kept.values()) + 1e-6) / 10
    return f"{counts} of {features}; keeps at least {least:g} % of the variance in every layer"


def _range(numbers: object) -> str:
    every = sorted(set(numbers))  # type: ignore[call-overload]
    return f"{every[0]:,}" if len(every) == 1 else f"{every[0]:,} to {every[-1]:,}"
