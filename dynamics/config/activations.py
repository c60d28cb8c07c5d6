"""The key `activations`: what others computed, and how it lies in their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

SUFFIXES = (".h5", ".hdf5", ".npz", ".npy", ".pkl", ".pickle")
FIELDS = ("step", "layer", "stimulus")
_FIELD = re.compile(r"\{(\w*)\}")


class Activations(BaseModel):
    """Activations that others computed; the README tells every key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    layout: str
    stimuli: str | tuple[str, ...] = ""
    layers: Annotated[
        tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)
    ] = ()
    step: int = Field(default=1, ge=0)
    steps: dict[str, int] = {}
    average: int | None = None

    @field_validator("steps", mode="before")
    @classmethod
    def _texts(cls, given: object) -> object:
        return {str(key): one for key, one in given.items()} if isinstance(given, dict) else given

    @field_validator("layout")
    @classmethod
    def _known(cls, layout: str) -> str:
        fields = _FIELD.findall(layout)
        wrong = next((f for f in fields if f not in FIELDS or fields.count(f) > 1), None)
        if wrong is not None or "layer" not in fields:
            raise ValueError(
                "give the place of an array with {layer}, and {step} and {stimulus} where there "
                "are several, each once, such as 'step{step}.npz/{layer}'"
            )
        return layout

    @model_validator(mode="after")
    def _in_files(self) -> Activations:
        _ = self.parts
        return self

    @property
    def parts(self) -> tuple[str, str]:
        """The layout of files in the folder, and that of arrays in a file; empty where it is one.

        Raises a ValueError where a folder's layout names no kind of file.
        """
        if self.is_file:
            return "", self.layout
        parts = self.layout.split("/")
        for number, part in enumerate(parts):
            if PurePosixPath(part).suffix in SUFFIXES:
                return "/".join(parts[: number + 1]), "/".join(parts[number + 1 :])
        raise ValueError(
            f"the layout {self.layout!r} names no file in the folder: end a part of it with one of "
            f"{', '.join(SUFFIXES)}"
        )

    @property
    def is_file(self) -> bool:
        """Whether `path` is one file and no folder."""
        return PurePosixPath(self.path).suffix in SUFFIXES


NAME = "activations"
"""What stands in the place of a model where there are activations."""


def in_place_of_checkpoints(content: Any) -> Any:
    """Fill in what `activations` takes the place of; a ValueError where that is given as well.

    Parameters
    ----------
    content : object
        What a sweep holds, not validated yet.

    Returns
    -------
    object
        With `checkpoints` and `model`, or as it was where there are no activations.
    """
    given = content.get(NAME) if isinstance(content, Mapping) else None
    if given is None:
        return content
    path = given.get("path", "") if isinstance(given, Mapping) else ""
    filled = {"checkpoints": path, "model": {"name": NAME, "label": NAME, "arguments": {}}}
    if more := [key for key, one in filled.items() if content.get(key, one) != one]:
        raise ValueError(f"`{NAME}` are in place of `checkpoints` and `model`: drop `{more[0]}`")
    for key, kept in _KEPT.items():
        if content.get(key, kept[0]) not in kept:
            raise ValueError(f"`{NAME}` are as others pooled them: drop `{key}`")
    return {**content, **filled}


# Keys that speak of what a network is made to do, with what they may be.
_KEPT: dict[str, tuple[Any, ...]] = {
    "pooling": ("mean", {"name": "mean", "label": "mean", "arguments": {}}),
    "windows": ("auto",),
    "pretrain": (None,),
    "components": (None,),
}
