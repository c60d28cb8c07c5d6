"""The model of a collection: many sweeps and stores in one YAML file, and what tells them apart."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from dynamics import plugins
from dynamics.config import paths, yaml_file
from dynamics.config.matrix import Scalar, coordinates_of, fill, name_of, told
from dynamics.config.sweep import Sweep, checked, validate
from dynamics.store.place import Place

MOST = 1000
STEP = "step"
"""The coordinate that every run has: training itself."""
_POWER = re.compile(r"[-+]?\d+(\.\d*)?[eE]\d+")


class Run(NamedTuple):
    """One run of a collection.

    Attributes
    ----------
    name : str
        Under which it is filed.
    place : Place
        Its store, which may not be there yet.
    coordinates : dict
        What tells it apart: parameters, hours, language, family, seed.
    sweep : Sweep or None
        What makes the store; None of a store that is given.
    """

    name: str
    place: Place
    coordinates: Mapping[str, Scalar]
    sweep: Sweep | None = None


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _numbers(value: Any) -> Any:
    """Read 1.2e6 as a number, which YAML takes for a text without a sign in its exponent."""
    if isinstance(value, Mapping):
        return {key: _numbers(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers(one) for one in value]
    return float(value) if isinstance(value, str) and _POWER.fullmatch(value) else value


class Entry(_Section):
    """Some runs: of a YAML, of many by a glob, of a template with a matrix, or stores."""

    config: str = ""
    store: str = ""
    template: str | dict[str, Any] = ""
    matrix: Annotated[dict[str, list[Any]], BeforeValidator(_numbers)] = {}
    name: str = ""
    coordinates: Annotated[dict[str, Scalar], BeforeValidator(_numbers)] = {}
    store_options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _is_one_kind(self) -> Entry:
        given = [key for key in ("config", "store", "template") if getattr(self, key)]
        if len(given) != 1:
            found = " and ".join(f"`{key}`" for key in given) or "none of them"
            raise ValueError(f"give a run one of `config`, `store` and `template`, not {found}")
        if bool(self.matrix) != bool(self.template):
            raise ValueError(
                "`template` and `matrix` go together: what is filled in, and with what"
            )
        if empty := [key for key, values in self.matrix.items() if not values]:
            raise ValueError(f"the matrix has no value of {empty[0]!r}")
        return self


def _entry(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {"config" if value.endswith((".yaml", ".yml")) else "store": value}


Entries = Annotated[
    tuple[Annotated[Entry, BeforeValidator(_entry)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, (str, Mapping)) else value),
]


class _File(_Section):
    """What the YAML file of a collection holds; the README tells every key."""

    collection: str
    runs: Entries = Field(min_length=1)
    shared: dict[str, Any] = {}
    output: Path = Path()
    value: str | dict[str, str] = "score"
    trends: tuple[str, ...] = ()
    surface: tuple[str, ...] = ()
    contrast: dict[str, tuple[Scalar, Scalar]] = {}
    replicates: str = ""

    @field_validator("trends", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _named(self) -> _File:
        if not self.collection or any(c in self.collection for c in "/\\\0"):
            raise ValueError(f"collection {self.collection!r} must be a plain file name")
        if len(self.surface) not in (0, 2) or len(set(self.surface)) < len(self.surface):
            raise ValueError(
                f"a surface is over two numbers: give two coordinates, not {list(self.surface)}"
            )
        if len(self.contrast) > 2:
            raise ValueError("a contrast is of one coordinate, or of two: an interaction")
        if wrong := [k for k in self.contrast if not k.startswith(("run.", "listener."))]:
            raise ValueError(
                f"the contrast names {wrong[0]!r}: write `run.<coordinate of runs>` or "
                "`listener.<coordinate of the target>`"
            )
        if not any(key.startswith("run.") for key in self.contrast) and self.contrast:
            raise ValueError("a contrast needs a `run.<coordinate>`: runs are what is compared")
        return self


class Collection(NamedTuple):
    """Many runs, and how they are compared.

    Attributes
    ----------
    name : str
        Of the collection.
    runs : tuple of Run
        In the order of the file.
    output : Path
        Folder of tables, figures and report.
    value : str or mapping
        Which value of the metrics is shown, as in a sweep.
    trends : tuple of str
        Coordinates of numbers over which trends are fitted; "step" is training itself.
    surface : tuple of str
        Two of them, over both of which one surface is fitted; empty for none.
    contrast : mapping
        Of ``run.<coordinate>`` or ``listener.<coordinate>`` to the two values that are compared.
    replicates : str
        Coordinate that tells runs of one kind apart which are replicates: the seed.
    """

    name: str
    runs: tuple[Run, ...]
    output: Path
    value: str | Mapping[str, str] = "score"
    trends: tuple[str, ...] = ()
    surface: tuple[str, ...] = ()
    contrast: Mapping[str, tuple[Scalar, Scalar]] = {}
    replicates: str = ""


def is_collection(path: str | Path) -> bool:
    """Whether a YAML file has the key `runs` of a collection.

    Parameters
    ----------
    path : str or Path
        The file; faults in it are left to whoever reads it.
    """
    try:
        return "runs" in yaml_file.read(path)[0]
    except (ValueError, OSError):
        return False


def load_collection(path: str | Path) -> Collection:
    """Read the YAML file of a collection, and those of its runs.

    Parameters
    ----------
    path : str or Path
        The YAML file.

    Returns
    -------
    Collection
        Paths are relative to the file, those in another file to that; see `dynamics.config.paths`.

    Raises
    ------
    FileNotFoundError
        If a file that it names is missing, or a glob finds none.
    ValueError
        If it is not valid, two of its runs have one name or one store, or what compares them names
        a coordinate that no run has, or that is no number; the message says where.
    """
    content, lines = yaml_file.read(path)
    file = checked(_File, content, origin=str(path), lines=lines)
    folder = Path(path).parent
    plugins.look_in(Path.cwd(), folder)
    runs: list[Run] = []
    for number, entry in enumerate(file.runs):
        origin = f"{path}, line {lines.get(('runs', number), lines.get(('runs',), 0))}"
        runs += _runs_of(entry, file.shared, origin, folder)
        if len(runs) > MOST:
            raise ValueError(f"{origin}: these are more than {MOST} runs: make several collections")
    _check_coordinates(file, runs, str(path))
    return collect(
        runs,
        name=file.collection,
        origin=str(path),
        output=Path(
            paths.place(str(file.output), folder, output=True)
            if file.output != Path()
            else f"store/{file.collection}"
        ),
        value=file.value,
        trends=file.trends,
        surface=file.surface,
        contrast=file.contrast,
        replicates=file.replicates,
    )


def _check_coordinates(file: _File, runs: list[Run], origin: str) -> None:
    """Raise a ValueError where runs are compared along what none of them has."""
    known: dict[str, list[Scalar]] = {}
    for run in runs:
        for key, value in run.coordinates.items():
            known.setdefault(key, []).append(value)
    numbers = [(what, key) for what in ("trends", "surface") for key in getattr(file, what)]
    names = [("contrast", key.removeprefix("run.")) for key in file.contrast if key[:4] == "run."]
    names += [("replicates", file.replicates)] if file.replicates else []
    for what, key in [each for each in numbers if each[1] != STEP] + names:
        if key not in known:
            there = ", ".join(known) or "none: give runs `coordinates`"
            raise ValueError(
                f"{origin}: `{what}` names {key!r}, which no run has: there are {there}"
            )
        wrong = [x for x in known[key] if isinstance(x, (str, bool))]
        if (what, key) in numbers and wrong:
            raise ValueError(f"{origin}: `{what}` names {key!r}, which is no number: {wrong[0]!r}")


def collect(runs: list[Run], *, name: str, origin: str = "", **how: Any) -> Collection:
    """Make a collection of runs whose names and stores differ.

    Parameters
    ----------
    runs : list of Run
        The runs.
    name : str
        Of the collection.
    origin : str
        Where they come from, for messages.
    **how
        As the attributes of `Collection`.

    Returns
    -------
    Collection
        The collection.

    Raises
    ------
    ValueError
        If two have one name, or one store.
    """
    for what, keys in (
        ("name", [run.name for run in runs]),
        ("store", [str(run.place) for run in runs]),
    ):
        if twice := next((key for key in keys if keys.count(key) > 1), ""):
            where = f"{origin}: " if origin else ""
            raise ValueError(
                f"{where}two runs have the {what} {twice!r}: give each a {what} of its own"
            )
    how.setdefault("output", Path("store") / name)
    return Collection(name=name, runs=tuple(runs), **how)


def _runs_of(entry: Entry, shared: Mapping[str, Any], origin: str, folder: Path) -> Iterator[Run]:
    """Yield the runs of an entry; faults in one of them say where it stands."""
    if entry.store:
        given = paths.place(entry.store, folder)
        for where in _globbed(given, origin):
            place = Place(where, entry.store_options)
            stem = Path(where.rstrip("/")).stem
            name = entry.name if entry.name and where == given else stem
            yield Run(name, place, entry.coordinates)
    elif entry.config:
        found = _globbed(paths.place(entry.config, folder), origin)
        for path in found:
            content, lines = yaml_file.read(path)
            own = paths.resolved(content, Path(path).parent)
            sweep = validate(paths.resolved(shared, folder) | own, origin=path, lines=lines)
            name = entry.name if entry.name and len(found) == 1 else sweep.run
            yield Run(name, sweep.place, entry.coordinates, sweep)
    else:
        yield from _filled(entry, shared, origin, folder)


def _globbed(pattern: str, origin: str) -> list[str]:
    if "://" in pattern or not glob.has_magic(pattern):
        return [pattern]
    if not (found := sorted(glob.glob(pattern, recursive=True))):
        raise FileNotFoundError(f"{origin}: nothing is called {pattern}")
    return found


def _filled(entry: Entry, shared: Mapping[str, Any], origin: str, folder: Path) -> Iterator[Run]:
    """Yield a run for every combination of the matrix' values."""
    template, beside = entry.template, folder
    if isinstance(template, str):
        path = paths.place(template, folder)
        template, beside = dict(yaml_file.read(path)[0]), Path(path).parent
    for values in itertools.product(*entry.matrix.values()):
        cell = dict(zip(entry.matrix, values))
        common = paths.resolved(fill(shared, cell, origin), folder)
        trained = {key: common[key] for key in ("pretrain",) if key in common}
        filled = common | paths.resolved(trained | fill(template, cell, origin), beside)
        before = template.get("run", shared.get("run", ""))
        if filled.get("run", "") == before:  # nothing in it tells runs apart
            parts = [str(filled.get("run") or "run"), *(str(name_of(value)) for value in values)]
            filled["run"] = "-".join(parts)
        own = fill(dict(entry.coordinates), cell, origin)
        sweep = validate(filled, origin=f"{origin} ({told(cell)})")
        yield Run(sweep.run, sweep.place, {**coordinates_of(cell), **own}, sweep)
