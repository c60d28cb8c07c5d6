"""Whether a done step would be the same today: after other versions, after its file has changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import zarr

from dynamics import faults, models, store
from dynamics.checkpoints import Checkpoint
from dynamics.extraction import extract
from dynamics.extraction.runner import Network, Read, read_ahead
from dynamics.extraction.windows import Block
from dynamics.store import nodes

logger = logging.getLogger(__name__)


def check_versions(root: zarr.Group, network: Network, done: Sequence[Checkpoint]) -> None:
    """Extract a done step again where the code or a library is another than when it was done.

    Parameters
    ----------
    root : zarr.Group
        The store; its attributes then have the versions of now.
    network : Network
        The sweep's.
    done : sequence of Checkpoint
        Those of done steps; the first that can be read is compared.

    Raises
    ------
    ValueError
        If the numbers are others; both versions are named.
    """
    sweep, attrs = network.sweep, nodes.attributes(root)
    recorded = attrs.get("versions", {})
    current = models.versions(sweep.model.name, sweep.model.arguments)
    if recorded == current:
        return
    changed = {name: recorded.get(name, "unknown") for name in current}
    changed = {name: old for name, old in changed.items() if old != current[name]}
    names = ", ".join(f"{name} {old} -> {current[name]}" for name, old in changed.items())
    for checkpoint, read in read_ahead(done, sweep):
        if isinstance(read, Exception):
            continue
        distance, layer = _distance(checkpoint, read, network)
        if distance > extract.AGREEMENT:
            raise ValueError(
                f"step {checkpoint.step}, extracted again with other versions than are in store "
                f"{sweep.store} ({names}), differs in layer {layer} by {distance:.2g} of its "
                f"largest value (at most {extract.AGREEMENT:g}): choose another `store`, or "
                "install the versions of before"
            )
        logger.info("%s: step %d is the same to %.1g", names, checkpoint.step, distance)
        break
    else:
        if done:
            logger.warning("%s: no checkpoint of a done step can be read to compare", names)
    if recorded:
        root.attrs["earlier_versions"] = [*attrs.get("earlier_versions", []), recorded]
    root.attrs["versions"] = current


def check_files(
    root: zarr.Group,
    network: Network,
    done: Sequence[Checkpoint],
    records: Mapping[int, Mapping[str, Any]],
) -> None:
    """Compare done steps whose checkpoint was moved or written again with what is in the store.

    Parameters
    ----------
    root : zarr.Group
        The store; its table then says where and how old the files are now.
    network : Network
        The sweep's.
    done : sequence of Checkpoint
        Those of done steps.
    records : mapping of int to mapping
        The table of checkpoints by step.

    Raises
    ------
    ValueError
        If one has other weights now. Other bytes alone are none: training loops save a network
        twice, and people take the optimiser out of old files.
    """
    sweep, same = network.sweep, {}
    changed = [c for c in done if has_changed(c, records[c.step])]
    for checkpoint, read in read_ahead(changed, sweep) if changed else ():
        step, record = checkpoint.step, records[checkpoint.step]
        if isinstance(read, Exception):
            logger.warning("step %d is left as it is, its file cannot be read: %s", step, read)
            continue
        if read.sha256 != record["sha256"] and (fault := _difference(checkpoint, read, network)):
            raise ValueError(
                f"step {step} in store {sweep.store} came from {record['uri']}, and "
                f"{checkpoint.uri} is another network now ({fault}): do the step again with "
                f"`dynamics redo {sweep.store} --step {step}`, or choose another `store`"
            )
        fields = {"uri": checkpoint.uri, "bytes": checkpoint.bytes, "modified": checkpoint.modified}
        same[step] = fields
    if same:
        store.amend(root, same)


def has_changed(checkpoint: Checkpoint, record: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was moved or written again since its row was; its bytes are not read."""
    then, now = float(record.get("modified", np.nan)), checkpoint.modified
    written = now != then and bool(now) and np.isfinite(then) and bool(then)  # where both are known
    return (
        written
        or record["bytes"] != checkpoint.bytes
        or record["uri"] != store.storable(checkpoint.uri)
    )


def _difference(checkpoint: Checkpoint, read: Read, network: Network) -> str:
    try:
        distance, layer = _distance(checkpoint, read, network)
    except Exception as fault:
        return faults.sentence(faults.row(fault))
    if not np.isfinite(distance):
        return f"layer {layer} has another shape"
    if distance > extract.AGREEMENT:
        return f"layer {layer} differs by {distance:.2g} of its largest value"
    return ""


def _distance(checkpoint: Checkpoint, read: Read, network: Network) -> tuple[float, str]:
    """Return how far the activations of a checkpoint are from those in the store, and the layer."""
    sweep = network.sweep
    rounding = store.PRECISIONS[sweep.dtype].bound
    if not network.streams:
        stored = store.read_activations(sweep.place, checkpoint.step)
        whole = network.layers(read, like=lambda layer, _: stored.get(layer))
        assert isinstance(whole, Mapping)
        return extract.distance(whole, stored, rounding=rounding)
    root = store.open_group(sweep.place)
    row, layers = store.steps(root)[checkpoint.step], store.layer_names(root)
    arrays = {layer: nodes.array(root, store.activation_of(layer)) for layer in layers}

    def there(layer: str, block: Block) -> np.ndarray | None:
        found = block.values.get(layer)
        if found is None or layer not in arrays:
            return None
        return np.asarray(arrays[layer][row, block.row, block.first : block.first + len(found)])

    blocks = cast("Iterator[Block]", network.layers(read, like=there))
    pairs = (
        (layer, block.values.get(layer), there(layer, block))
        for block in blocks
        for layer in dict.fromkeys([*block.values, *layers])
    )
    return extract.largest(pairs, rounding=rounding)
