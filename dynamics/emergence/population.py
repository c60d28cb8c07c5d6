"""Before what population intervals hold, in words for sentences and captions."""

from __future__ import annotations

from collections.abc import Iterable

# What a word of what limits are over stands for.
_OTHERS = {
    "categories of stimuli": "sounds of other categories",
    "groups of stimuli": "other groups of sounds",
    "stimuli": "other sounds of these categories",
    "sounds": "other sounds of these categories",
    "subjects": "other people",
    "neuroids": "other neuroids",
    "initialisations": "other initialisations",
    "these runs": "",
    "runs": "other runs",
    "test folds": "other splits of these sounds",
}
_OF_SOUNDS = ("sounds", "stimuli", "folds")


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
    said = [listed(list(dict.fromkeys(filter(None, known)))) or f"other {over}"]
    # A task has no people.
    of_brains = any(each in over for each in ("stimuli", "neuroids", "initialisations"))
    said += ["in these people"] if of_brains and "subjects" not in over else []
    only = known and not any(each in over for each in _OF_SOUNDS)
    said += ["these sounds"] if only else []
    if "these runs" in over:
        said.append("these runs")
    elif "initialisations" not in over and "runs" not in over:
        said.append("this network only")
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


def limits_over(over: str, *, percent: float = 95) -> str:
    """Say what limits are over, and for what they hold, where there is room for a line or two.

    Parameters
    ----------
    over : str
        As for `population`.
    percent : float
        How sure they are.

    Returns
    -------
    str
        Such as "95 % over stimuli: other sounds of these categories, in these people, this network
        only".
    """
    return f"{percent:.3g} % over {over}: {population(over)}"


def listed(names: list[str]) -> str:
    """Join names as a sentence does."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
