"""How numbers are written."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from contextvars import ContextVar

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


_STEP = re.compile(r"(\ba )?\b([Ss])tep(s?)\b(?!=)")
_counts: ContextVar[str] = ContextVar("counts", default="steps")


@contextlib.contextmanager
def counting(what: str) -> Iterator[None]:
    """Write sentences in what steps count, such as ``"epochs"``, as long as this is open."""
    token = _counts.set(what)
    try:
        yield
    finally:
        _counts.reset(token)


def unit() -> str:
    """Return what a step counts, in one word."""
    return _counts.get().removesuffix("s")


def units() -> str:
    """Return the same of several."""
    return f"{unit()}s"


def counted(text: str) -> str:
    """Name in a text of this program, without names of users in it yet, what steps count.

    Parameters
    ----------
    text : str
        Such as ``"Every layer at every step."``.

    Returns
    -------
    str
        The text in the unit of `counting`.
    """

    def named(match: re.Match[str]) -> str:
        article, large, several = match.groups()
        word = units() if several else unit()
        word = word.capitalize() if large == "S" else word
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}" if article else word

    return _STEP.sub(named, text)


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
