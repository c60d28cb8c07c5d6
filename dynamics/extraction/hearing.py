"""How the sounds of a sweep are heard: each at once, or the long ones through windows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from dynamics import checkpoints, models, store
from dynamics.checkpoints import Checkpoint
from dynamics.config import Sweep
from dynamics.extraction import extract, poolings, spans_in_windows, windows
from dynamics.extraction.poolings import Pooling
from dynamics.extraction.windows import Block
from dynamics.faults import SoundError
from dynamics.models import Hearing, Model, Windows
from dynamics.sounds import StimulusSet
from dynamics.store import nodes

logger = logging.getLogger(__name__)

# Every network takes sounds of so many seconds; for these its adapter is not asked.
_SHORT = 5.0


def resolved(sweep: Sweep, stimuli: StimulusSet, found: Sequence[Checkpoint] = ()) -> Sweep:
    """Return a sweep whose `windows` are those that its sounds are heard through.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    stimuli : StimulusSet
        Its sounds.
    found : sequence of Checkpoint
        Its checkpoints: a configuration beside one can tell how long a sound the network takes.

    Returns
    -------
    Sweep
        With seconds, or with ``none`` where every sound fits into a window. Where nothing else is
        asked for, a store that was begun is gone on with as it was.

    Raises
    ------
    ValueError
        If windows are longer than what the network takes, or shorter than a sample of the pooling.
    """
    how = _chosen(sweep, stimuli, found)
    return sweep.model_copy(update={"windows": "none" if how is None else asdict(how)})


def positions(sweep: Sweep, found: Sequence[Checkpoint] = ()) -> str:
    """Say what windows change for networks with absolute positions; empty for others.

    Parameters
    ----------
    sweep : Sweep
        As `resolved` returned it.
    found : sequence of Checkpoint
        Its checkpoints.
    """
    name, arguments = sweep.model.name, sweep.model.arguments
    how = windows_of(sweep)
    if how is None or not models.hears(name, arguments, checkpoint=_beside(found)).absolute:
        return ""
    return (
        f"the networks of `{name}` know where in their input a frame is: through windows most "
        "frames are at other places than in the whole sound, so that activations to long sounds "
        "do not compare with those to sounds that are heard at once"
    )


def windows_of(sweep: Sweep) -> Windows | None:
    """Return the windows of a sweep that `resolved` returned; None where there are none."""
    return Windows(**sweep.windows) if isinstance(sweep.windows, Mapping) else None


def _chosen(sweep: Sweep, stimuli: StimulusSet, found: Sequence[Checkpoint]) -> Windows | None:
    longest = float(max(stimuli.heard.durations, default=0.0))
    given = sweep.windows
    if given == "none" or (given == "auto" and longest <= _SHORT):
        return None
    if given == "auto" and (known := _stored(sweep)) is not None:
        return Windows(**known) if known else None
    hearing = models.hears(sweep.model.name, sweep.model.arguments, checkpoint=_beside(found))
    how = hearing.windows
    if isinstance(given, Mapping):
        how = replace(how, **given)
    if windows.fits(how, longest):
        if given != "auto":
            logger.warning(
                "`windows`: the longest sound has %.3g s, and %s take %.3g s: every sound is heard "
                "at once", longest, how, how.length,
            )  # fmt: skip
        return None
    pooling = poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
    check(how, hearing, pooling, gathered=stimuli.within is None)
    return how


def check(how: Windows, hearing: Hearing, pooling: Pooling, *, gathered: bool = True) -> None:
    """Raise a ValueError that says what to change where windows cannot be used.

    Parameters
    ----------
    how : Windows
        The windows.
    hearing : Hearing
        What the adapter says of its networks.
    pooling : Pooling
        What is kept of the frames.
    gathered : bool
        Whether it is to be put together of windows, not of parts of the sounds.
    """
    sample = 0.0 if pooling.rate is None else 1 / pooling.rate
    longest = max(how.length, how.stride + how.lookahead + sample)
    if hearing.limit is not None and longest > hearing.limit + 1e-6:
        raise ValueError(
            f"`windows`: {how} are too long for the network, which takes {hearing.limit:g} s at "
            "most: lower `context`, `stride` or `lookahead`"
        )
    if gathered:
        windows.check_pooling(pooling)
    if sample > how.length:
        raise ValueError(
            f"`windows`: {how} are shorter than a sample of the pooling "
            f"({sample:g} s): lengthen `context` or `stride`, or raise the pooling's rate"
        )


def _stored(sweep: Sweep) -> dict[str, float] | None:
    """Return the windows of a store that holds steps, empty if it has none; None without steps."""
    try:
        root = store.open_group(sweep.place)
    except (FileNotFoundError, ValueError):
        return None
    if store.DONE not in store.statuses(root).values():
        return None
    return nodes.attributes(root)["identity"].get("windows", {})


def _beside(found: Sequence[Checkpoint]) -> str | None:
    """Return a path of a checkpoint that is on this machine, if there is one."""
    local = (c.uri for c in found if not checkpoints.is_remote(c.uri))
    return next((str(checkpoints.local_path(uri)) for uri in local), None)


def blocks(
    model: Model,
    stimuli: StimulusSet,
    how: Windows,
    pooling: Pooling,
    *,
    batch_size: int = 16,
    short: Callable[[Model], Iterable[extract.Batch]] | None = None,
) -> Iterator[Block]:
    """Run a network over sounds, the long ones through windows.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    stimuli : StimulusSet
        The sounds.
    how : Windows
        The windows.
    pooling : Pooling
        What to keep.
    batch_size : int
        Windows, or short sounds, that pass through the network together.
    short : callable, optional
        Takes the model and returns batches of the sounds that `short` returns, where these are
        kept for the next network.

    Yields
    ------
    Block
        First of the sounds that fit into a window, which are heard as a set of them alone is, to
        the bit; then of the long ones.

    Raises
    ------
    NotFiniteError
        If an activation is not finite.
    SoundError
        If the network does not take windows of this length.
    """
    limit = getattr(model, "window", None)
    if limit is not None and round(how.length * model.sample_rate) > limit:
        raise SoundError(
            f"`windows`: {how} are too long for the network, which takes "
            f"{limit / model.sample_rate:g} s at most: lower `context`, `stride` or `lookahead`"
        )
    few, many = _divided(stimuli, how)
    if len(few):
        sounds_at_once = stimuli.subset(few.tolist())
        batches = (
            extract.batches(model, sounds_at_once, batch_size=batch_size)
            if short is None
            else short(model)
        )
        for batch, layers in extract.pooled(model, batches, pooling):
            counts = pooling.counts(batch.durations)
            for place, row in enumerate(few[batch.rows].tolist()):
                values = {name: each[place].astype("float32") for name, each in layers.items()}
                if counts is not None:
                    values = {name: each[: counts[place]] for name, each in values.items()}
                yield Block(row, 0, values)
    recordings, within = stimuli.heard, stimuli.within
    # What is pooled over parts needs every window, also where no sample of the whole is in it.
    whole = pooling if within is None else poolings.make("mean")
    sounds = (
        (
            windows.plan(model, how, whole, row, float(recordings.durations[row])),
            recordings.stream(row, model.sample_rate),
        )
        for row in many.tolist()
    )
    if within is None:
        yield from windows.heard(model, sounds, pooling, batch_size=batch_size)
    else:
        found = windows.frames_of(model, sounds, batch_size=batch_size)
        yield from spans_in_windows.pooled(found, within, pooling)


def short(stimuli: StimulusSet, how: Windows | None) -> StimulusSet:
    """Return the sounds that are heard at once: those that fit into a window, or all."""
    return stimuli if how is None else stimuli.subset(_divided(stimuli, how)[0].tolist())


def _divided(stimuli: StimulusSet, how: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of stimuli that are heard at once, and of sounds that are too long for it."""
    heard = stimuli.heard
    fits = np.array([windows.fits(how, float(each)) for each in heard.durations], bool)
    few = fits if stimuli.within is None else fits[stimuli.within.recording]
    return np.flatnonzero(few), np.flatnonzero(~fits)


def gathered(
    found: Iterable[Block], stimuli: StimulusSet, pooling: Pooling
) -> dict[str, np.ndarray]:
    """Put blocks together.

    Parameters
    ----------
    found : iterable of Block
        Of all stimuli.
    stimuli : StimulusSet
        The stimuli.
    pooling : Pooling
        What was kept.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features) or (n_stimuli, n_times, n_features)
        As from `dynamics.extraction.extract.extract`.
    """
    times = pooling.times(stimuli.durations)
    middle = () if times is None else (len(times),)
    out: dict[str, np.ndarray] = {}
    for block in found:
        for layer, values in block.values.items():
            if layer not in out:
                shape = (len(stimuli), *middle, values.shape[-1])
                out[layer] = np.full(shape, np.nan, np.float32)
            if times is None:
                out[layer][block.row] = values
            else:
                out[layer][block.row, block.first : block.first + len(values)] = values
    return out


def features(
    adapter: str, stimuli: StimulusSet, *, pooling: Pooling, **arguments: Any
) -> dict[str, np.ndarray]:
    """Return the pooled features of a model without weights, which hears long sounds in windows.

    Parameters
    ----------
    adapter, stimuli, pooling, **arguments
        As for `dynamics.extraction.extract.features`.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features) or (n_stimuli, n_times, n_features)
        From there, where all sounds fit into the adapter's own window.
    """
    how = models.hears(adapter, arguments).windows
    if how is None or not len(_divided(stimuli, how)[1]):
        return extract.features(adapter, stimuli, pooling=pooling, **arguments)
    key = (adapter, repr(sorted(arguments.items())), stimuli.digest, pooling)
    if key not in _FEATURES:
        _FEATURES.clear()
        model = models.load(adapter, None, **arguments)
        _FEATURES[key] = gathered(blocks(model, stimuli, how, pooling), stimuli, pooling)
    return _FEATURES[key]


# The last ones: a baseline is asked for them once for every target and metric.
_FEATURES: dict[Any, dict[str, np.ndarray]] = {}
