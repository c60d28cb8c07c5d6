"""How numbers are written."""

from __future__ import annotations

import math
import re

NONE = "–"


def step(value: float) -> str:
    """Write a training step: a measured one exactly, one between two with three digits."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞"
    if value >= 1000 and value != round(value):
        value = float(f"{value:.3g}")
    if value < 10 and value != round(value):
        return f"{value:.1f}"
    return f"{value:,.0f}"


def level(value: float, digits: int = 2) -> str:
    """Write a score with a true minus sign and no negative zero."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


# Tags, and what is no text for readers; of a script what it shows.
_UNREAD = re.compile(
    r"(<style.*?</style>|<code.*?</code>|<script.*?</script>|<[^>]+>)", re.DOTALL | re.IGNORECASE
)
_STEP = re.compile(r"\b([Ss])tep(s?)\b(?!=)")
_SHOWN = re.compile(r"\b([Ss])tep() (?=\$\{)")


def in_unit(page: str, unit: str) -> str:
    """Name in the texts of a page what steps count, where it is something else.

    Parameters
    ----------
    page : str
        HTML.
    unit : str
        Such as ``"epochs"``.

    Returns
    -------
    str
        The page; itself for ``"steps"``.
    """
    if unit == "steps":
        return page
    one = unit.removesuffix("s")

    def named(match: re.Match[str]) -> str:
        word = one + ("s" if match[2] else "")
        return (word.capitalize() if match[1] == "S" else word) + " " * match[0].endswith(" ")

    parts = _UNREAD.split(page)
    return "".join((_SHOWN if part.startswith("<") else _STEP).sub(named, part) for part in parts)


def percent(value: float) -> str:
    """Write a part as so many of a hundred."""
    return f"{100 * value:.0f} %" if math.isfinite(value) else NONE


def p_value(value: float) -> str:
    """Write a p value; below a thousandth only that."""
    if math.isnan(value):
        return NONE
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def p_equals(value: float) -> str:
    """Write "p = ..." or "p < ..."."""
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def steps_between(low: float, high: float) -> str:
    """Write the limits of a step; a round bracket where the interval is open above."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{step(low)}, ∞)" if math.isinf(high) else f"[{step(low)}, {step(high)}]"


def levels_between(low: float, high: float, digits: int = 2) -> str:
    """Write the limits of a score."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{level(low, digits)}, {level(high, digits)}]"


def with_limits(text: str, limits: str) -> str:
    """Put limits behind an estimate where there are any."""
    return f"{text} {limits}" if limits else text


def listed(names: list[str]) -> str:
    """Join names as a sentence does."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
