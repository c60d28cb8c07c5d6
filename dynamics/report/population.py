"""Before what population intervals hold, in words for sentences and captions."""

from __future__ import annotations

from collections.abc import Iterable

from dynamics.report.numbers import listed

# What a word of what limits are over stands for.
_OTHERS = {
    "categories of stimuli": "sounds of other categories",
    "groups of stimuli": "other groups of sounds",
    "stimuli": "other sounds of these categories",
    "sounds": "other sounds of these categories",
    "subjects": "other people",
    "initialisations": "other initialisations",
    "test folds": "other splits of these sounds",
}


def population(over: str) -> str:
    """Say for what limits over some units hold, and whose they remain.

    Parameters
    ----------
    over : str
        What limits are over, as `dynamics.emergence.curves.over_in_words` has it.

    Returns
    -------
    str
        Such as "other sounds of these categories, in these people, this network only".
    """
    left, known = over, []
    for word, others in _OTHERS.items():
        if word in left:
            left = left.replace(word, "")
            known.append(others)
    said = [listed(known) or f"other {over}"]
    said += [] if "subjects" in over else ["in these people"]
    said += [] if "initialisations" in over else ["this network only"]
    return ", ".join(said)


def populations(over: Iterable[str]) -> str:
    """Say it of several, and what is not in the limits.

    Parameters
    ----------
    over : iterable of str
        As for `population`; empty ones do not count.

    Returns
    -------
    str
        Sentences.
    """
    each = [one for one in dict.fromkeys(over) if one]
    held = "; ".join(f"{one}: {population(one)}" for one in each)
    lacking = [
        words
        for key, words in {
            "subjects": "other people",
            "categories": "sounds of other kinds",
            "initialisations": "another initialisation",
        }.items()
        if not any(key in one for one in each)
    ]
    left = f" What {listed(lacking)} would change is not in them." if lacking else ""
    return f"They hold for ({held}).{left}"
