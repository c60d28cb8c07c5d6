"""The key `untrained`: how many control networks there are, and of what kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dynamics.store.layout import PERMUTED_FROM
from dynamics.tables import nearest


class Controls(NamedTuple):
    """How many networks of each kind, and of which step the permuted ones are.

    Attributes
    ----------
    fresh : int
        With fresh weights.
    permuted : int
        With the weights of a checkpoint, the entries of every tensor shuffled.
    of : int or None
        Step of that checkpoint; None for the last.
    """

    fresh: int = 1
    permuted: int = 0
    of: int | None = None


def read_untrained(value: Any) -> int | dict[str, int]:
    """Check what a sweep says of control networks.

    Parameters
    ----------
    value : object
        A number of fresh networks, or a mapping with `fresh`, `permuted` and `of`.

    Returns
    -------
    int or dict of str to int
        The same.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if not isinstance(value, Mapping):
        if not isinstance(value, int) or value < 0:
            raise ValueError(
                "give a number of fresh networks, at least 0, or {fresh: 3, permuted: 3}"
            )
        return int(value)
    for key, number in value.items():
        if key not in Controls._fields:
            close = nearest(str(key), Controls._fields)
            known = ", ".join(Controls._fields)
            known = ", ".join(Controls._fields)
            hint = f"did you mean `{close}`?" if close else f"they have {known}"
            raise ValueError(f"control networks have no `{key}`; {hint}")
        most = PERMUTED_FROM if key != "of" else 2**62
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= most:
            raise ValueError(f"`{key}` is {number!r}: give a number from 0 to {most}")
    if "of" in value and not value.get("permuted"):
        raise ValueError("`of` is the step whose weights are permuted: give `permuted` as well")
    return {str(key): number for key, number in value.items()}
