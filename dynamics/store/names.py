"""Names of layers as names of groups, and texts of columns: any becomes one that a store takes."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from dynamics.faults import written_out

# Coordinates beside the groups of layers: xarray refuses a child with the name of a variable.
TAKEN = ("step", "stimulus", "category", "time", "feature", "control", "zarr.json", "c")
_LONGEST = 200  # of the 255 bytes that disks allow


def group_name(layer: str) -> str:
    """Return the name of a layer's group; the layer's own is among the group's attributes.

    Parameters
    ----------
    layer : str
        Name of a layer, such as ``encoder.layers.3`` or ``block/3``.

    Returns
    -------
    str
        The same where it can be one; else with the signs that cannot be as ``%2F`` and the like,
        so that different layers have different groups.
    """
    name = "".join(quote(sign, safe="") if sign in '/\\%:*?"<>|' or ord(sign) < 32 else sign
                   for sign in layer)  # fmt: skip
    if not name or name in TAKEN or name[0] == "." or name.startswith("__") or name != name.strip():
        name = "".join(f"%{byte:02X}" for byte in (name[:1] or "%").encode()) + name[1:]
        name = name[:-1] + "%20" if name.endswith(" ") else name
    if len(name.encode()) > _LONGEST:
        mark = hashlib.sha256(layer.encode()).hexdigest()[:16]
        name = f"{name.encode()[: _LONGEST - 20].decode(errors='ignore')}%{mark}"
    return name


def activation_of(layer: str) -> str:
    """Return the path of a layer's array of activations in a store."""
    return f"activations/{group_name(layer)}/activation"


def storable(value: Any) -> Any:
    """Return a value of a row as a store can hold it: see `dynamics.faults.written_out`."""
    return written_out(value) if isinstance(value, str) else value
