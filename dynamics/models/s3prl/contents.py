"""Contents of a checkpoint for s3prl: read without running anything, changed, written again."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

# Key under which the JSON files of a checkpoint folder are kept beside its weights.
_FOLDER = "files of the folder"
_DTYPE = re.compile(r'("(?:torch_)?dtype":\s*")(?:bfloat16|float16|float64)"')


def read_contents(path: Path, trust: bool, state: Mapping[str, torch.Tensor] | None = None) -> Any:
    """Read a file, or the JSON files of a transformers folder, whose weights may be given."""
    from dynamics.checkpoints import read, read_file

    if not path.is_dir():
        return in_single(_without_optimizer(read_file(path, trust=trust)))
    names = [file.name for file in path.glob("*.json") if file.is_file()]
    texts = {n: _text(path / n) for n in names if not n.endswith(".index.json")}
    weights = read(path, trust=trust) if state is None else dict(state)
    return {_FOLDER: texts, "state_dict": in_single(weights)}


def in_single(tree: Any) -> Any:
    """Return contents with numbers of eight bits in single precision: no library computes so."""
    if isinstance(tree, torch.Tensor):
        small = tree.is_floating_point() and tree.dtype.itemsize == 1
        return tree.to(torch.float32) if small else tree
    if isinstance(tree, Mapping) and any(map(_has_small, tree.values())):
        kind: Any = type(tree)
        return kind((key, in_single(value)) for key, value in tree.items())
    return tree


def _has_small(tree: Any) -> bool:
    if isinstance(tree, torch.Tensor):
        return tree.is_floating_point() and tree.dtype.itemsize == 1
    return isinstance(tree, Mapping) and any(map(_has_small, tree.values()))


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two weights are equal, also where they are not numbers."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one is other or torch.equal(one, other)


def _text(path: Path) -> str:
    from dynamics.checkpoints.sidecars import JSON_LIMIT

    if path.stat().st_size > JSON_LIMIT:
        raise ValueError(f"{path.name} takes more than {JSON_LIMIT >> 20} MiB")
    return path.read_text()


def write_contents(contents: Any, folder: Path) -> str:
    """Write them as s3prl reads them; return the path of the file, or of the folder."""
    if not (isinstance(contents, Mapping) and _FOLDER in contents):
        torch.save(contents, folder / "contents.ckpt")
        return str(folder / "contents.ckpt")
    from safetensors.torch import save_file

    for name, text in contents[_FOLDER].items():
        # s3prl's front ends give single precision, whatever the weights were saved in.
        single = _DTYPE.sub(r'\1float32"', text)
        (folder / name).write_text(single)
    state = {
        name: (value.float() if value.is_floating_point() else value).contiguous()
        for name, value in contents["state_dict"].items()
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def refuse_calls(tree: Any, where: str) -> None:
    """Raise a ValueError where a setting in a checkpoint would call a function when evaluated.

    Parameters
    ----------
    tree : object
        Contents of a checkpoint.
    where : str
        Its path, for the message.
    """
    for key, text in _strings(tree):
        try:
            parsed = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        if any(isinstance(node, ast.Call) for node in ast.walk(parsed)):
            raise ValueError(
                f"the setting {key!r} of {where!r} is {text[:60]!r}, which s3prl may run as code: "
                "set `trust_checkpoints: true` if you trust its author"
            )


def arrived(network: torch.nn.Module, contents: Any) -> float:
    """Return the part of a network's parameters that are also in a checkpoint, by their values."""
    from dynamics.checkpoints import weights_of

    def print_of(tensor):
        return tuple(tensor.shape), float(tensor.detach().sum(dtype=torch.float64))

    there = {print_of(value) for value in weights_of(contents).values()}
    sizes = [(p.numel(), print_of(p) in there) for p in network.parameters()]
    return sum(n for n, found in sizes if found) / max(1, sum(n for n, _ in sizes))


def _without_optimizer(tree: Any) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    return {k: v for k, v in tree.items() if "optim" not in str(k).lower() and k != "Scheduler"}


def replaced(tree: Any, names: Mapping[int, str], state: Mapping[str, torch.Tensor]) -> Any:
    """Return contents with other weights; `names` has the name of each tensor by its id."""
    if isinstance(tree, torch.Tensor):
        return state[names[id(tree)]] if id(tree) in names else tree
    if isinstance(tree, Mapping):
        kind: Any = type(tree)
        return kind((key, replaced(value, names, state)) for key, value in tree.items())
    return tree


def _strings(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, str):
        yield key, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _strings(value, str(name))
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _strings(value, key)
    elif hasattr(tree, "__dict__") and not isinstance(tree, torch.Tensor):
        yield from _strings(vars(tree), key)
