"""Where the arrays of others lie: files, keys inside them, and what their places say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dynamics.checkpoints.array_files import ArrayFile
from dynamics.config.activations import FIELDS, SUFFIXES, Activations
from dynamics.sounds.audio import natural_order


def names_of(given: Activations, opened: ArrayFile | None = None) -> list[str] | None:
    """Return names of rows: of the list, of a text file, or of an array beside the layers."""
    if not isinstance(given.stimuli, str):
        return list(given.stimuli)
    key = given.stimuli or "stimulus"
    if opened is None and given.is_file:
        opened = ArrayFile(Path(given.path))
    if opened is not None and key in opened.keys:
        return _texts(opened, key)
    if not given.stimuli:
        return None
    for place in (Path(key), Path(given.path) / key):
        if place.is_file() and place.suffix not in SUFFIXES:
            lines = place.read_text(encoding="utf-8").splitlines()
            return [line.strip() for line in lines if line.strip()]
        if place.is_file():
            file = ArrayFile(place)
            return _texts(file, file.keys[0])
    if opened is None:
        return None
    raise ValueError(f"`stimuli` is {key!r}: there is no such file, nor an array in {opened.path}")


def _texts(file: ArrayFile, key: str) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in file.read(key).tolist()]


def files_of(given: Activations) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the files of a layout with what their names say."""
    root = Path(given.path)
    if not root.exists():
        raise FileNotFoundError(f"there are no activations at '{given.path}'")
    if given.is_file:
        yield root, {}
        return
    pattern = _pattern(given, given.parts[0])
    every = sorted(root.rglob("*"), key=lambda path: natural_order(path.as_posix()))
    for path in every:
        match = pattern.fullmatch(path.relative_to(root).as_posix())
        if match and path.is_file():
            yield path, match.groupdict()


def inside_of(
    given: Activations, file: Path, known: Mapping[str, str], opened: ArrayFile | None = None
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the arrays of a file that a layout means, with all that their places say."""
    pattern = _pattern(given, given.parts[1])
    for key in (opened or ArrayFile(file)).keys:
        if match := pattern.fullmatch(key):
            yield key, {**known, **match.groupdict()}


def _pattern(given: Activations, layout: str) -> re.Pattern[str]:
    """Return what matches a part of a layout; a layer may lie in groups of its own."""
    text = re.escape(layout)
    steps = "|".join(map(re.escape, given.steps)) or r"\d+"
    for field, inner in zip(FIELDS, (steps, r".+", r"[^/]+")):
        text = text.replace(re.escape("{" + field + "}"), f"(?P<{field}>{inner})")
    return re.compile(text)


def step_of(given: Activations, fields: Mapping[str, str]) -> int:
    """Return the step that a place says."""
    if "step" not in fields:
        return given.step
    return given.steps[fields["step"]] if given.steps else int(fields["step"])
