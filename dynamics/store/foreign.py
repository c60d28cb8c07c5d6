"""What other programs do to a store: consolidate its metadata, or write it anew their own way."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from dynamics.store import nodes

_ROOMS = ("", "checkpoints", "activations", "results", "controls")


def prepare_to_write(root: zarr.Group) -> None:
    """Take consolidated metadata away, and refuse a store that cannot grow.

    Consolidated metadata list what there was: whoever trusts them, as xarray does, would not see
    what is written from now on. They may be made again when all is written.

    Parameters
    ----------
    root : zarr.Group
        The root group of a store that is open for writing.

    Raises
    ------
    ValueError
        If the store was written by xarray, as a copy: texts in it have the width that they had.
    """
    sync(_unconsolidated(root))
    try:
        status = nodes.array(root, "checkpoints/status")
    except KeyError:
        return  # one that is still to be made
    if isinstance(status.dtype, np.dtype) and status.dtype.kind in "US":
        raise ValueError(
            f"the store {root.store} is a copy that xarray or another program wrote, which cannot "
            "grow: read from it, and write to the store itself or to a copy of its files "
            "(`cp -r`)"
        )


async def _unconsolidated(root: zarr.Group) -> None:
    node: Any = root._async_group
    for room in _ROOMS:
        key = "/".join(filter(None, (node.path, room, "zarr.json")))
        found = await node.store.get(key, default_buffer_prototype())
        if found is None:
            continue
        content = json.loads(found.to_bytes())
        if content.pop("consolidated_metadata", None) is not None:
            buffer = default_buffer_prototype().buffer.from_bytes(
                json.dumps(content, indent=2).encode()
            )
            await node.store.set(key, buffer)
