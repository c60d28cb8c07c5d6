"""The key `windows`: how sounds are heard that are longer than a network takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dynamics.tables import nearest


def read_windows(value: Any) -> str | dict[str, float]:
    """Return ``auto``, ``none`` or seconds by the names that `dynamics.models.Windows` has."""
    if value is None or value in ("auto", "none"):
        return value or "none"
    if not isinstance(value, Mapping):
        raise ValueError("expected `auto`, `none` or {context: ..., stride: ..., lookahead: ...}")
    for key, seconds in value.items():
        least = _SECONDS.get(key)
        if least is None:
            close = nearest(str(key), _SECONDS)
            hint = f"did you mean `{close}`?" if close else f"they have {', '.join(_SECONDS)}"
            raise ValueError(f"windows have no `{key}`; {hint}")
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not least <= seconds < math.inf:
            raise ValueError(f"`{key}` is {seconds!r}: give seconds, at least {least:g}")
    return {str(key): float(seconds) for key, seconds in value.items()}


# What windows have, and the least of each, in seconds.
_SECONDS = {"context": 0.0, "stride": 1e-3, "lookahead": 0.0}
