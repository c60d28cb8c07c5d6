"""Networks that somebody's source files define, found by reading; nothing of them is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# Files that are looked through, and bytes of one, at most.
_MOST_FILES, _MOST_BYTES = 300, 2**20


class Source(NamedTuple):
    """A class that may have made the weights of a checkpoint.

    Attributes
    ----------
    factory : str
        ``"module:Class"``.
    needed : tuple of str
        Arguments that it must be given.
    """

    factory: str
    needed: tuple[str, ...]


def networks_with(attributes: Iterable[str], folder: Path) -> list[Source]:
    """Find the classes in a folder that have all modules which weights are named after.

    Parameters
    ----------
    attributes : iterable of str
        What the names of the weights begin with, up to the first point.
    folder : Path
        Its Python files, and those of its subfolders, are read.

    Returns
    -------
    list of Source
        Those with the fewest other attributes first.
    """
    wanted, found = set(attributes), []
    for path in _files(folder):
        module = ".".join(path.relative_to(folder).with_suffix("").parts)
        for kind in _classes(path):
            own = {name for node in ast.walk(kind) for name in _set_by(node)}
            if wanted and wanted <= own:
                found.append((len(own), Source(f"{module}:{kind.name}", _needed(kind))))
    return [source for _, source in sorted(found)]


def _files(folder: Path) -> Iterator[Path]:
    paths = [p for pattern in ("*.py", "*/*.py") for p in sorted(folder.glob(pattern))]
    for path in paths[:_MOST_FILES]:
        parts = path.relative_to(folder).with_suffix("").parts
        if all(part.isidentifier() for part in parts) and path.stat().st_size <= _MOST_BYTES:
            yield path


def _classes(path: Path) -> Iterator[ast.ClassDef]:
    """Yield the classes of a file that say they are modules of torch, or something derived."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.bases:
            bases = [ast.unparse(base) for base in node.bases]
            if not any("LightningModule" in base for base in bases):
                yield node


def _set_by(node: ast.AST) -> Iterator[str]:
    """Yield the attribute of `self` that a node of a syntax tree assigns to."""
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    ):
        yield node.attr


def _needed(kind: ast.ClassDef) -> tuple[str, ...]:
    for node in kind.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            given = node.args
            plain = [*given.posonlyargs, *given.args][1:]
            first = plain[: len(plain) - len(given.defaults)]
            named = [a for a, d in zip(given.kwonlyargs, given.kw_defaults) if d is None]
            return tuple(each.arg for each in (*first, *named))
    return ()
