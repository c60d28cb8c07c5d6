"""Classes that a checkpoint may name beyond torch's own list, because they only hold data."""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import importlib
import pathlib
from typing import Any

import numpy as np


class StandIn:
    """Takes the place of a class that a checkpoint only mentions, such as a callback's type."""


class AttributeDict(dict):
    """Takes the place of Lightning's mapping of hyperparameters."""


_PLAIN = {
    "argparse.Namespace": argparse.Namespace,
    "collections.defaultdict": collections.defaultdict,
    "builtins.dict": dict,
    "builtins.list": list,
    "builtins.tuple": tuple,
    "builtins.int": int,
    "builtins.float": float,
    "builtins.str": str,
    "builtins.bool": bool,
    "builtins.frozenset": frozenset,
    "builtins.slice": slice,
    "builtins.range": range,
    "typing.Any": Any,
    "datetime.date": datetime.date,
    "datetime.datetime": datetime.datetime,
    "datetime.timedelta": datetime.timedelta,
    # A path of either system is read as a pure one: it cannot touch a disk.
    "pathlib.PosixPath": pathlib.PurePosixPath,
    "pathlib.PurePosixPath": pathlib.PurePosixPath,
    "pathlib.WindowsPath": pathlib.PureWindowsPath,
    "pathlib.PureWindowsPath": pathlib.PureWindowsPath,
    "pathlib._local.PosixPath": pathlib.PurePosixPath,
    "pathlib._local.WindowsPath": pathlib.PureWindowsPath,
    "lightning_fabric.utilities.data.AttributeDict": AttributeDict,
    "lightning.fabric.utilities.data.AttributeDict": AttributeDict,
    "pytorch_lightning.utilities.parsing.AttributeDict": AttributeDict,
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": StandIn,
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping": StandIn,
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint": StandIn,
}

# Configuration containers of fairseq and others. Interpolations in them run when somebody looks a
# value up, never when they are read.
_OMEGACONF = (
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.Metadata",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.StringNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.BytesNode",
    "omegaconf.nodes.PathNode",
)


@functools.cache
def harmless() -> dict[str, Any]:
    """Table of dotted name in a file to the object that takes its place.

    Returns
    -------
    dict
        Standard-library containers, paths, dates, numpy scalars and arrays, omegaconf containers
        (where omegaconf is installed) and Lightning's mappings.
    """
    table: dict[str, Any] = dict(_PLAIN)
    scalar = np.float64(0).__reduce__()[0]
    reconstruct = np.zeros(1).__reduce__()[0]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[f"{module}.scalar"] = scalar
        table[f"{module}._reconstruct"] = reconstruct
    table["numpy.ndarray"] = np.ndarray
    table["numpy.dtype"] = np.dtype
    for code in "?bBhHiIlLqQefdFD":
        kind = type(np.dtype(code))
        table[f"numpy.dtypes.{kind.__name__}"] = kind
    for name in _OMEGACONF:
        module, _, attribute = name.rpartition(".")
        try:
            table[name] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            continue
    return table


def torch_allows() -> set[str]:
    """Return the names that torch's own restricted unpickler accepts without being told."""
    from torch import _weights_only_unpickler

    return set(_weights_only_unpickler._get_allowed_globals())
