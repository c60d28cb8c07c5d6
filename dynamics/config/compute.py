"""The key `compute`: where the work is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynamics.compute import BATCH, LOCAL, Compute
from dynamics.tables import nearest

_NUMBERS = {"minimum": 1, "maximum": 1, "cores": 1, "processes": 1, "gpus_per_worker": 0, "wait": 0}


def read_compute(value: Any) -> str | dict[str, Any]:
    """Check what a sweep says of where it runs.

    Parameters
    ----------
    value : object
        A kind or address, or a mapping with the fields of `Compute`.

    Returns
    -------
    str or dict
        The same.

    Raises
    ------
    ValueError
        If it is neither.
    """
    given = {"kind": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
        raise ValueError(f"give {_KINDS}, or a mapping with one of these as `kind`")
    kind = given["kind"]
    if ":" not in kind and kind != LOCAL and kind not in BATCH:
        close = nearest(kind, [LOCAL, *BATCH])
        raise ValueError(f"{kind!r} is unknown; " + (f"did you mean `{close}`?" if close else
                         f"there is {_KINDS}"))  # fmt: skip
    for key, one in given.items():
        if key not in Compute._fields:
            close = nearest(str(key), Compute._fields)
            known = ", ".join(Compute._fields)
            raise ValueError(f"it has no `{key}`; " + (f"did you mean `{close}`?" if close else
                             f"it has {known}"))  # fmt: skip
        default = Compute._field_defaults[key]
        if key in _NUMBERS:
            least: Any = _NUMBERS[key]
            whole = isinstance(one, int | float if key == "wait" else int)
            if not whole or isinstance(one, bool) or one < least:
                raise ValueError(f"`{key}` is {one!r}: give a number, at least {least}")
        elif not isinstance(one, Mapping if key == "options" else str):
            raise ValueError(f"`{key}` is {one!r}: give a value such as {default!r}")
    found = Compute(**given)
    if found.maximum < found.minimum:
        raise ValueError(f"`maximum` is {found.maximum}, fewer than `minimum`, {found.minimum}")
    if found.gpus_per_worker and found.processes > 1 and kind in ("slurm", "pbs"):
        raise ValueError("workers of one job would take the same GPU: set `processes` to 1")
    if found.processes > found.cores and kind in ("slurm", "pbs"):
        raise ValueError(f"`processes` is {found.processes}, more than `cores`, {found.cores}")
    return value if isinstance(value, str) else dict(given)


_KINDS = "`local`, `slurm`, `pbs`, `kubernetes` or the address of a dask scheduler"


def chosen(section: str | Mapping[str, Any], asked: str | None) -> Compute | None:
    """Return where the work is to be done.

    Parameters
    ----------
    section : str or mapping
        What the sweep says.
    asked : str or None
        What the command says: a kind or an address, which goes before it.

    Returns
    -------
    Compute or None
        The kind that was asked for, with the other settings of the sweep; None for this machine.

    Raises
    ------
    ValueError
        If what was asked for is neither a kind nor an address.
    """
    known = Compute(**({"kind": section} if isinstance(section, str) else section))
    if asked is not None:
        known = known._replace(kind=asked)
        try:
            read_compute(known._asdict())
        except ValueError as error:
            raise ValueError(f"`--scheduler {asked}`: {error}") from None
    return None if known.kind == LOCAL else known
