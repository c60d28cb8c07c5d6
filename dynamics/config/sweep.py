"""The model of a sweep: its keys, what they may be, and what is said of one that is not right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from dynamics import plugins, secrets
from dynamics.checkpoints.wanted import AUTO, TRAINED, check_unit, check_wanted
from dynamics.compute import Compute
from dynamics.config import paths, yaml_file
from dynamics.config.activations import Activations, in_place_of_checkpoints
from dynamics.config.compute import chosen, read_compute
from dynamics.config.controls import Controls, read_untrained
from dynamics.config.pretraining import Pretraining
from dynamics.config.windows import read_windows
from dynamics.store.place import Place
from dynamics.tables import nearest

Model = TypeVar("Model", bound=BaseModel)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Choice(_Section):
    """An entry of a table (models, stimuli, poolings, targets, metrics) with its arguments.

    In YAML either the bare name, or ``{name: ..., label: ..., arguments: {...}}``; the label, by
    default the name, is what results are filed under.
    """

    name: str
    label: str = ""
    arguments: dict[str, Any] = {}

    @model_validator(mode="after")
    def _default_label(self) -> Choice:
        if not self.label:
            object.__setattr__(self, "label", PurePath(self.name).stem)
        if "/" in self.label:
            raise ValueError(f"label {self.label!r} must not contain a slash")
        return self

    @property
    def is_file(self) -> bool:
        """Whether it names a file of arrays."""
        return PurePath(self.name).suffix in (".npz", ".nc", ".zarr")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, (str, Mapping)) else value


NamedChoice = Annotated[Choice, BeforeValidator(_named)]
# One alone needs no list.
NamedChoices = Annotated[tuple[NamedChoice, ...], BeforeValidator(_several)]


def _path_or_url(value: Any) -> Path | str:
    if not isinstance(value, (str, Path)):
        raise ValueError("expected a path or URL")
    return value if isinstance(value, str) and "://" in value else Path(value)


StorePlace = Annotated[Path | str, PlainValidator(_path_or_url)]


def _components(value: Any) -> Any:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(
        "give a whole number of components, the same for every step; the store says what part of "
        "the variance they keep"
    )


class Sweep(_Section):
    """A checkpoint sweep: which checkpoints, which sounds, which brains, which metrics.

    The README tells every key and its default.
    """

    plugins: tuple[str, ...] = Field(default=(), validate_default=True)
    run: str
    checkpoints: str | dict[int, str] | tuple[str, ...]
    model: NamedChoice
    activations: Activations | None = None
    stimuli: NamedChoice
    targets: NamedChoices = ()
    metrics: NamedChoices = Field(default=(Choice(name="ridge"), Choice(name="rsa")), min_length=1)
    probes: NamedChoices = ()
    self_similarity: NamedChoices = ()
    baseline: NamedChoice | None = Choice(name="spectrotemporal")
    store: StorePlace = Path()
    store_options: dict[str, Any] | None = None
    figures: Path = Path()
    pooling: NamedChoice = Choice(name="mean")
    windows: Annotated[str | dict[str, float], PlainValidator(read_windows)] = "auto"
    components: Annotated[int | None, BeforeValidator(_components)] = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    batch_size: int = Field(default=16, ge=1)
    device: str = "auto"
    workers: int = Field(default=0, ge=0)
    compute: Annotated[str | dict[str, Any], PlainValidator(read_compute)] = "local"
    seed: int = Field(default=0, ge=0)
    folds: int = Field(default=5, ge=2)
    resamples: int = Field(default=50, ge=0, multiple_of=2)
    halves: Literal["stimuli", "categories", "groups"] = "stimuli"
    resample_neuroids: int = Field(default=500, ge=0)
    permutations: int = Field(default=0, ge=0)
    shuffle: Literal["auto", "overall", "category"] = "auto"
    select: Any = "all"
    step_unit: Annotated[str, PlainValidator(check_unit)] = AUTO
    weights: Annotated[str, PlainValidator(check_wanted)] = TRAINED
    duplicates: Literal["newer", "older", "error"] = "newer"
    keep: int = Field(default=2, ge=1)
    storage_options: dict[str, Any] = {}
    trust_checkpoints: bool = False
    untrained: Annotated[int | dict[str, int], PlainValidator(read_untrained)] = 1
    pretrain: Pretraining | None = None
    report: bool = True
    value: str | dict[str, str] = "score"

    @field_validator("plugins")
    @classmethod
    def _load_plugins(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # Every name below may be of one of them.
        plugins.load_installed()
        plugins.load(names)
        return names

    @model_validator(mode="before")
    @classmethod
    def _activations_into_checkpoints(cls, content: Any) -> Any:
        return in_place_of_checkpoints(content)

    @model_validator(mode="before")
    @classmethod
    def _pretrain_into_checkpoints(cls, content: Any) -> Any:
        if isinstance(content, Mapping) and isinstance(content.get("pretrain"), Mapping):
            if not isinstance(content.get("checkpoints"), str):
                raise ValueError("with a section `pretrain`, `checkpoints` must be a local folder")
            section = {"folder": content["checkpoints"], **content["pretrain"]}
            return {**content, "pretrain": section}
        return content

    @model_validator(mode="after")
    def _default_places(self) -> Sweep:
        secrets.keep(self.storage_options)
        secrets.keep(self.store_options)
        if not self.run or any(c in self.run for c in "/\\\0"):
            raise ValueError(f"run {self.run!r} must be a plain file name")
        if self.store == Path():
            object.__setattr__(self, "store", Path("store") / f"{self.run}.zarr")
        if self.figures == Path():
            folder = self.store if isinstance(self.store, Path) else Path("store") / self.run
            object.__setattr__(self, "figures", folder.with_suffix("") / "figures")
        return self

    @property
    def place(self) -> Place:
        """The store with what its library needs: `store_options`, or else `storage_options`."""
        options = self.storage_options if self.store_options is None else self.store_options
        return Place(str(self.store), options)

    def where(self, asked: str | None) -> Compute | None:
        """Where its work is done, unless the command says otherwise; None for this machine."""
        return chosen(self.compute, asked)

    @property
    def controls(self) -> Controls:
        """How many control networks `untrained` asks for, of which kinds."""
        given = self.untrained
        return Controls(**({"fresh": given} if isinstance(given, int) else given))

    @model_validator(mode="after")
    def _labels_differ(self) -> Sweep:
        # Results of tasks and of targets are filed side by side.
        both = (*self.targets, *self.probes)
        for what, choices in (
            ("targets", self.targets),
            ("metrics", self.metrics),
            ("probes", self.probes),
            ("self_similarity", self.self_similarity),
            ("targets and probes", both),
        ):
            labels = [choice.label for choice in choices]
            twice = sorted({label for label in labels if labels.count(label) > 1})
            if twice:
                raise ValueError(
                    f"`{what}` names {twice[0]!r} twice: give one a `label` of its own"
                )
        return self


def load_config(path: str | Path | Mapping[str, Any]) -> Sweep:
    """Read and validate the YAML file of a sweep.

    Parameters
    ----------
    path : str, Path or mapping
        The YAML file; or what one holds, such as a dictionary of a notebook, whose paths are
        relative to the working directory.

    Returns
    -------
    Sweep
        The validated sweep; its paths are relative to the file, see `dynamics.config.paths`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not YAML of plain data, is larger than a config can be, or a key is unknown,
        missing, there twice or has a value of the wrong kind; the message names the file, the
        line and the key.
    """
    if isinstance(path, Mapping):
        plugins.look_in(Path.cwd())
        return validate(paths.resolved(path, Path.cwd()), origin="the sweep")
    content, lines = yaml_file.read(path)
    # Where a sweep's own modules are: plugins, and the factory of a network.
    plugins.look_in(Path.cwd(), Path(path).parent)
    return validate(paths.resolved(content, Path(path).parent), origin=str(path), lines=lines)


def validate(
    content: Mapping[str, Any], *, origin: str, lines: Mapping[tuple, int] | None = None
) -> Sweep:
    """Make a `Sweep` of a mapping, or say in one sentence what is wrong with it.

    Parameters
    ----------
    content : mapping
        What the YAML holds.
    origin : str
        Where it came from, for messages.
    lines : mapping, optional
        Line number of every key path.

    Returns
    -------
    Sweep
        The validated sweep.

    Raises
    ------
    ValueError
        Naming origin, line and key of the first fault.
    """
    return checked(Sweep, content, origin=origin, lines=lines)


def checked(
    model: type[Model],
    content: Mapping[str, Any],
    *,
    origin: str,
    lines: Mapping[tuple, int] | None = None,
) -> Model:
    """Make a pydantic model of a mapping; the first fault is a ValueError of one sentence.

    Parameters
    ----------
    model : type
        The model.
    content, origin, lines
        As for `validate`.

    Returns
    -------
    BaseModel
        An instance.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        location = tuple(part for part in first["loc"] if not _is_internal(part))
        known = list(_fields_at(model, location[:-1]))
        raise ValueError(_sentence(first, location, known, origin, lines or {})) from None


def _is_internal(part: Any) -> bool:
    """Whether a part of a location names a branch of a union, not a key of the config."""
    return isinstance(part, str) and ("[" in part or "(" in part or part in ("str", "int"))


def _sentence(
    fault: Mapping[str, Any],
    location: tuple,
    known: list[str],
    origin: str,
    lines: Mapping[tuple, int],
) -> str:
    line = next(
        (lines[location[:n]] for n in range(len(location), 0, -1) if location[:n] in lines), 0
    )
    where = f"{origin}, line {line}" if line else origin
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        close = nearest(str(location[-1]), known)
        hint = f"did you mean `{close}`?" if close else f"known keys are {', '.join(known)}"
        return f"{where}: unknown key `{key}`; {hint}"
    if fault["type"] == "missing":
        return f"{where}: the key `{key}` is missing"
    message = fault["msg"].removeprefix("Value error, ").partition(" for <class")[0]
    if not location:  # of several keys together, which the message names
        return f"{where}: {message}"
    told = f"{where}: `{key}`: {message[:1].lower()}{message[1:]}"
    hidden = any(secrets.is_secret(str(part)) or "options" in str(part) for part in location)
    return told if hidden else f"{told} (found {fault['input']!r:.80})"


def _fields_at(model: type[BaseModel], location: tuple) -> Iterator[str]:
    """Yield the keys that are known at a place: of the model, or of the section named first."""
    section: Any = model
    if location:
        field = model.model_fields.get(str(location[0]))
        section = next(iter(_models_in(field.annotation if field else None)), model)
    yield from section.model_fields


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
