"""The zarr schema of a run: the only writer of arrays.

Layout of ``<run>.zarr`` (zarr format 3)::

    attrs                     schema, run, identity of everything that shaped the numbers
    checkpoints/              step, uri, sha256, bytes, modified, status, error, content, seconds
                              (step)
    activations/              step, stimulus, category: coordinates of every layer
    activations/<layer>/      activation (step, stimulus, feature), one chunk a step;
                              (step, stimulus, time, feature) beside `time` where it is kept;
                              of sounds that were heard through windows in chunks of one stimulus
                              and a stretch of time, beside `duration` of the stimuli;
                              variance_kept (step) where features are components
    results/<target>/<metric> step, checkpoint, score (step, layer, ...), one chunk a step

Rows of a step axis stand in order of arrival and are never moved. A row counts once its step is
committed (its ``status`` is "done", or its ``checkpoint`` hash is set), which is the last thing
written for it; `open` drops the others and sorts the rest.
"""

from __future__ import annotations

from dynamics.store.activations import (
    amend,
    commit,
    plan,
    write_activations,
)
from dynamics.store.blocks import erase, write_blocks
from dynamics.store.components import variance_kept
from dynamics.store.direct import Offer, Written, adopt, offered, reaches, write_there
from dynamics.store.health import (
    check,
    verify,
    verify_controls,
    verify_results,
    verify_tables,
)
from dynamics.store.layout import (
    DONE,
    FAILED,
    PENDING,
    PERMUTED_FROM,
    MisfitError,
    is_written,
    package_version,
)
from dynamics.store.locking import lock, unlock
from dynamics.store.making import begin, begin_controls, counting, note_counting
from dynamics.store.mending import redo, redo_damaged, redo_results
from dynamics.store.nodes import activation_of, storable
from dynamics.store.place import Place, Where, place_of
from dynamics.store.precision import PRECISIONS
from dynamics.store.read import (
    bytes_of_step,
    controls,
    failures,
    layer_names,
    notes,
    open_group,
    read_activations,
    read_times,
    records,
    statuses,
    steps,
)
from dynamics.store.results import (
    begin_result,
    committed,
    made_with,
    unmarked,
    write_constant,
    write_label,
    write_pairs,
    write_result,
)
from dynamics.store.summary import Summary, summarise
from dynamics.store.tree import open

__all__ = [
    "DONE",
    "FAILED",
    "PENDING",
    "PERMUTED_FROM",
    "PRECISIONS",
    "MisfitError",
    "Offer",
    "Place",
    "Summary",
    "Where",
    "Written",
    "activation_of",
    "adopt",
    "amend",
    "begin",
    "begin_controls",
    "begin_result",
    "bytes_of_step",
    "check",
    "commit",
    "committed",
    "controls",
    "counting",
    "erase",
    "failures",
    "is_written",
    "layer_names",
    "lock",
    "made_with",
    "note_counting",
    "notes",
    "offered",
    "open",
    "open_group",
    "package_version",
    "place_of",
    "plan",
    "reaches",
    "read_activations",
    "read_times",
    "records",
    "redo",
    "redo_damaged",
    "redo_results",
    "statuses",
    "steps",
    "storable",
    "summarise",
    "unlock",
    "unmarked",
    "variance_kept",
    "verify",
    "verify_controls",
    "verify_results",
    "verify_tables",
    "write_activations",
    "write_blocks",
    "write_constant",
    "write_label",
    "write_pairs",
    "write_result",
    "write_there",
]
