"""The YAML of a sweep, which may come from anybody: read within bounds, with its lines."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

# Ten thousand checkpoints by their addresses are 20,000 entries of 1.5 MB, read in some seconds.
SIZE_LIMIT = 2**21  # bytes
ENTRIES_LIMIT = 50_000
DEPTH_LIMIT = 50
NUMBER_LIMIT = 2**63

Lines = dict[tuple, int]
"""Line number of every path of keys."""


def read(path: str | Path) -> tuple[Mapping[str, Any], Lines]:
    """Read a YAML file of plain data.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    content : mapping
        What it holds.
    lines : dict of tuple to int
        Line number of every path of keys.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no file, larger than a config can be, not YAML of plain data, or names a key
        twice; the message names the file and, where there is one, the line.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise ValueError(f"{path} is {what}: name the YAML file of a sweep")
    if not path.is_file():
        raise FileNotFoundError(f"no config file at {path}")
    with path.open("rb") as file:
        raw = file.read(SIZE_LIMIT + 1)
    if len(raw) > SIZE_LIMIT:
        raise ValueError(
            f"{path} is larger than the {SIZE_LIMIT >> 20} MiB that a config may have: name the "
            "YAML file of a sweep"
        )
    node, content = _parsed(path, raw)
    if node is None or not isinstance(content, Mapping):
        raise ValueError(f"{path}: expected a mapping of keys such as `run:` and `checkpoints:`")
    lines: Lines = {}
    for key, number in _lines(node):
        if key in lines:  # YAML would take the last
            raise ValueError(
                f"{path}, line {number}: the key `{'.'.join(map(str, key))}` stands in line "
                f"{lines[key]} already: keep one of them"
            )
        lines[key] = number
    return content, lines


class _Loader(yaml.SafeLoader):
    """Plain data only; what is too deep, too much or no value is refused as it is met."""

    depth = entries = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.depth, self.entries = self.depth + 1, self.entries + 1
        if self.depth > DEPTH_LIMIT:
            raise _fault(f"nested more than {DEPTH_LIMIT} deep", self.peek_event().start_mark)
        if self.entries > ENTRIES_LIMIT:
            raise _fault(_TOO_MANY, self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, OverflowError, TypeError, AttributeError, KeyError):
            # A date or number that YAML's grammar allows and Python has none of.
            kind = node.tag.rpartition(":")[2]
            raise _fault(f"{node.value!r:.60} is no {kind}", node.start_mark) from None
        if isinstance(value, int) and abs(value) >= NUMBER_LIMIT:
            raise _fault("a number beyond 2^63", node.start_mark)
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise _fault(f"{value!r:.60} has half a character", node.start_mark)
        return value


_TOO_MANY = f"it comes to more than {ENTRIES_LIMIT:,} entries"


def _fault(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, mark)


def _parsed(path: Path, raw: bytes) -> tuple[yaml.Node | None, Any]:
    """Parse once: the nodes, whose lines are known, and what they hold."""
    node, problem = None, "not UTF-8 text"
    try:
        loader = _Loader(raw.decode("utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check_extent(node)
        return node, loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        problem = f"the character #x{error.character:04x} in it"
        line = _line(raw.decode("utf-8")[: error.position].encode())
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or str(error)
    except UnicodeDecodeError as error:
        line = _line(raw[: error.start])
    problem = " ".join(problem.split())[:200]
    raise ValueError(f"{path}{line}: not valid YAML ({problem})") from None


def _line(before: bytes) -> str:
    return f", line {before.count(10) + 1}"  # line feeds


def _check_extent(node: yaml.Node) -> None:
    """Count entries, those behind an alias wherever it stands; refuse too many, or a circle."""
    extents: dict[int, int] = {}

    def extent(one: yaml.Node) -> int:
        if id(one) in extents:
            if extents[id(one)] == 0:
                raise _fault("it contains itself", one.start_mark)
            return extents[id(one)]
        extents[id(one)] = 0
        total = 1 + sum(map(extent, _within(one)))
        if total > ENTRIES_LIMIT:
            raise _fault(_TOO_MANY, one.start_mark)
        extents[id(one)] = total
        return total

    extent(node)


def _within(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _lines(node: yaml.Node, path: tuple = ()) -> Iterator[tuple[tuple, int]]:
    """Yield the line number of every path of keys; keys that are equal as written are one key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key.value, Hashable) else str(key.value)
            here = (*path, name)
            yield here, key.start_mark.line + 1
            yield from _lines(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            here = (*path, number)
            yield here, value.start_mark.line + 1
            yield from _lines(value, here)
