"""What a user may ask of checkpoints, in words; nothing is imported for it."""

from __future__ import annotations

from typing import Any

TRAINED = "trained"
AUTO = "auto"


def check_wanted(wanted: Any) -> str:
    """Return what a user asks for, or raise a ValueError where that can be no name of weights.

    Parameters
    ----------
    wanted : object
        Value of the key `weights`.

    Returns
    -------
    str
        ``trained``, ``ema``, or the name of a key or a file.
    """
    whole = isinstance(wanted, str) and wanted.strip() == wanted and wanted.isprintable()
    if whole and wanted and not set("/\\") & set(wanted):
        return wanted
    raise ValueError(
        "expected `trained`, `ema`, or the name of a key or a file in the checkpoints, such as "
        "`teacher` or `model_ema.pt`"
    )


def check_unit(unit: object) -> str:
    """Return what an axis counts, or raise a ValueError: a plural word such as ``epochs``."""
    if not isinstance(unit, str) or not unit.isidentifier() or (unit != AUTO and unit[-1] != "s"):
        raise ValueError("expected `auto`, or what is counted: steps, epochs, saves, tokens ...")
    return unit
