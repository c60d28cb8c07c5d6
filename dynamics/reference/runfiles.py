"""Files of a pretraining run: checkpoints in Lightning's layout, and the state to go on from."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dynamics.checkpoints.reading import read_file
from dynamics.filesystems import replacing

# A suffix that no search for checkpoints takes for one.
STATE_FILE = "trainer.state"
_ENTRIES = {"step", "network", "optimiser", "settings"}


@dataclass(frozen=True)
class Saved:
    """Where an interrupted run goes on.

    Attributes
    ----------
    step : int
        Updates done.
    network : dict
        State dict of the network.
    optimiser : dict
        State dict of the optimiser.
    """

    step: int
    network: dict[str, Any]
    optimiser: dict[str, Any]


def resume(folder: Path, settings: Mapping[str, Any]) -> Saved | None:
    """Read the state of a run, after making sure that the folder can be written.

    Parameters
    ----------
    folder : Path
        Of the run; made where it is missing.
    settings : mapping
        Must equal those of the run that is there.

    Returns
    -------
    Saved or None
        None where there is nothing yet.

    Raises
    ------
    OSError
        Where the folder cannot be written.
    ValueError
        Where it holds another run, or its state is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write checkpoints to {str(folder)!r} ({error.strerror}): choose another folder"
        ) from None
    path = folder / STATE_FILE
    if not os.path.lexists(path):
        if any(folder.glob("*.ckpt")):
            raise ValueError(
                f"{folder} holds checkpoints but no {STATE_FILE} to go on from: "
                "choose another folder, or remove them"
            )
        return None
    try:
        saved, before = _state_of(read_file(path))
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is damaged ({reason}): remove the folder to train anew") from None
    changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
    if changed:
        key = changed[0]
        raise ValueError(
            f"{folder} holds a run with {key} = {before.get(key)}, not {settings.get(key)}: "
            "choose another `folder`, or remove this one to train anew"
        )
    return saved


def _state_of(content: Any) -> tuple[Saved, dict[str, Any]]:
    """Take apart what `save_state` wrote; a ValueError where it is something else."""
    if not isinstance(content, dict) or not set(content) >= _ENTRIES:
        raise ValueError("it holds no state of a pretraining run")
    step, *mappings = (content[name] for name in ("step", "network", "optimiser", "settings"))
    if type(step) is not int or not 0 <= step < 2**63:
        raise ValueError(f"its step is {step!r:.40}")
    if not all(isinstance(each, dict) for each in mappings):
        raise ValueError("it holds no state of a pretraining run")
    network, optimiser, settings = mappings
    return Saved(step, network, optimiser), settings


def save_state(folder: Path, saved: Saved, settings: Mapping[str, Any]) -> None:
    """Replace the state to go on from.

    Parameters
    ----------
    folder : Path
        Of the run.
    saved : Saved
        The state.
    settings : mapping
        In plain types.
    """
    content = {
        "step": saved.step,
        "network": saved.network,
        "optimiser": saved.optimiser,
        "settings": dict(settings),
    }
    _write(folder / STATE_FILE, content)


def save_checkpoint(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    *,
    step: int,
    settings: Mapping[str, Any],
) -> Path:
    """Write a checkpoint in the layout of PyTorch Lightning, in plain types alone.

    Parameters
    ----------
    folder : Path
        Of the run.
    weights : mapping of str to Tensor
        The state dict.
    step : int
        Updates done.
    settings : mapping
        Saved as ``hyper_parameters``.

    Returns
    -------
    Path
        The file. The same weights give the same bytes.
    """
    path = folder / f"epoch=0-step={step:06d}.ckpt"
    content = {
        "epoch": 0,
        "global_step": step,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": {name: value.detach() for name, value in weights.items()},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hyper_parameters": dict(settings),
    }
    _write(path, content)
    return path


def _write(path: Path, content: dict[str, Any]) -> None:
    # torch puts a path's own name into the file, so that only a buffer gives equal bytes.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path, sync=True) as beside:
        beside.write_bytes(buffer.getbuffer())
