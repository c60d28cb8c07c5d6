"""How long a sound the networks of a family take at once, and through which windows longer ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Windows:
    """How a network hears a sound that is too long for it.

    Attributes
    ----------
    context : float
        Seconds before those that are kept of a window.
    stride : float
        Seconds of each window that are kept.
    lookahead : float
        Seconds after those; 0 where a layer is to be causal at the resolution of the stride.
    """

    context: float = 12.0
    stride: float = 3.0
    lookahead: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("context", 0.0), ("stride", 1e-3), ("lookahead", 0.0)):
            value = getattr(self, name)
            right = isinstance(value, int | float) and not isinstance(value, bool)
            if not right or not least <= value < math.inf:
                raise ValueError(
                    f"`{name}` of windows is {value!r}: give seconds, at least {least:g}"
                )

    @property
    def length(self) -> float:
        """Seconds of a whole window."""
        return self.context + self.stride + self.lookahead

    def __str__(self) -> str:
        return (
            f"windows of {self.length:g} s (context {self.context:g} s, stride {self.stride:g} s, "
            f"lookahead {self.lookahead:g} s)"
        )


class Hearing(NamedTuple):
    """What an adapter says of its networks.

    Attributes
    ----------
    windows : Windows
        Through which they hear sounds that are longer than one of these, if nothing else is asked
        for; by default as long as the crops that most networks of speech are trained on.
    limit : float or None
        Seconds that they take at most; None where there is no limit.
    causal : bool or None
        Whether a frame depends on nothing after it; None where that depends on the network.
    note : str
        What else there is to say, such as of networks that take less.
    absolute : bool
        Whether they know where in their input a frame is, so that what they make of it through a
        window is not what they make of it in the whole sound.
    """

    windows: Windows = Windows()
    limit: float | None = None
    causal: bool | None = False
    note: str = ""
    absolute: bool = False


def about(hearing: Hearing) -> str:
    """Say in a sentence how networks hear sounds that are longer than a window.

    Parameters
    ----------
    hearing : Hearing
        An adapter's.

    Returns
    -------
    str
        With what lies ahead of a frame that it can depend on.
    """
    own = hearing.windows
    limit = "" if hearing.limit is None else f", and take {hearing.limit:g} s at most"
    words = {
        True: "causal: a frame depends on nothing after it",
        False: f"not causal: {ahead(own)}",
        None: f"causal or not, as the network is: {ahead(own)}",
    }
    note = f"; {hearing.note}" if hearing.note else ""
    return f"{own} for longer sounds{limit}{note}; {words[hearing.causal]}"


def ahead(windows: Windows) -> str:
    """Say how much before and after a frame it can depend on, in windows."""
    before, least = windows.context + windows.stride, windows.lookahead
    return (
        f"in a window a frame may see up to {before:g} s before it and {least:g} to "
        f"{windows.stride + least:g} s after it"
    )
