"""Which format a checkpoint has, and the training step it belongs to.

Contents speak first; names are asked only where the contents are silent.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

from dynamics.checkpoints.inspect import STEP_KEYS, Contents, inspect, tensors
from dynamics.checkpoints.names import step_from_name as step_from_name
from dynamics.checkpoints.sidecars import read_json
from dynamics.checkpoints.unpickling import Inert

# Where training loops put their checkpoints below the folder that people name.
LAYOUTS = ("checkpoints", "ckpts", "ckpt", "save", "lightning_logs/version_*/checkpoints")

# Wrappers around the state dict, the one that training loops mean by "the model" first.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "model_weight", "net", "network",
             "weights", "params")  # fmt: skip

# Weights of a model folder, the ones that need no pickle first.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
)

# Files beside the weights that hold no network.
NO_WEIGHTS = re.compile(
    r"((optimizer|optim|lr_?scheduler|scheduler|scaler|sampler|random_states?)([-_].*)?|"
    r".*optim_states?|rng_state.*|training_args|trainer_state|dataloader.*|dataset|counter|brain|"
    r"intra_epoch|lr_annealing.*)\.[a-z]+",
    re.IGNORECASE,
)

# Weights of a folder that the file of its model is beside; a number in such a name is no step.
OWN_WEIGHTS = re.compile(
    r"(adapter_|pytorch_|diffusion_pytorch_)?model(_\d+)?([-.]\d+-of-\d+)?\.(bin|safetensors)|"
    r"consolidated[-.\d]*\.\w+",
    re.IGNORECASE,
)

# Subfolders in which DeepSpeed, Megatron and accelerate put the weights of one checkpoint.
INNER = ("checkpoint", "mp_rank_00", "pytorch_model", "pytorch_model_fsdp_0", "model")

# Folders whose every file belongs to one checkpoint.
WHOLE = ("speechbrain", "torch-distributed", "deepspeed", "parts")

DEEPSPEED = "mp_rank_00_model_states.pt"

# Where a step hides one level below the top, by the habits of several training loops.
_NESTED = ("trainer", "trainer_state", "state", "meta", "metadata", "__metadata__", "extra_state",
           "progress", "train_state", "info")  # fmt: skip


def recognise(contents: Contents) -> tuple[str, int | None]:
    """Format and step of a file from its inside.

    Parameters
    ----------
    contents : Contents
        What `inspect` gave.

    Returns
    -------
    format : str
        ``lightning``, ``s3prl``, ``fairseq``, ``safetensors``, ``torch``, or ``""`` where the file
        holds no weights.
    step : int or None
        Number of updates that the file itself states.
    """
    tree = contents.tree
    if _is_whole_module(contents):
        return "torch", step_inside(tree) if isinstance(tree, Mapping) else None
    if not isinstance(tree, Mapping) or next(tensors(_weights_only(tree)), None) is None:
        return "", None
    step = step_inside(tree)
    if contents.kind == "safetensors":
        return "safetensors", step
    if "pytorch-lightning_version" in tree or ("state_dict" in tree and "global_step" in tree):
        return "lightning", step
    if "Step" in tree and ("Config" in tree or "Upstream_Config" in tree):
        return "s3prl", step
    if "optimizer_history" in tree or ("model" in tree and ("args" in tree or "cfg" in tree)):
        return "fairseq", step
    return "torch", step


def note_of(contents: Contents) -> str:
    """Say what of a file needs trust; empty where nothing does."""
    whole = _is_whole_module(contents)
    classes = contents.classes if whole else here(contents.classes)
    if not classes:
        return ""
    what = "a whole pickled network, which " if whole else ""
    return f"{what}would construct {_own(classes)}: needs trust_checkpoints"


def here(classes: Iterable[str]) -> set[str]:
    """Return the classes of a file whose package is installed here: only these could run.

    What is not plain data and is not here either, such as the configuration of somebody's training
    script, is read past: a stand-in takes its place, and nothing is imported. Where something is
    called, whatever it is, all of it counts as here.
    """
    if getattr(classes, "called", True):
        return set(classes)
    return {name for name in classes if _exists(name.partition(".")[0])}


def _exists(package: str) -> bool:
    if package == "__main__":  # of the script that wrote the file
        return False
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError, AttributeError):
        return True


def _own(classes: Iterable[str]) -> str:
    """Return the class that tells most: one that is not torch's own, where there is one."""
    return min(
        classes, key=lambda name: (name.startswith(("torch.", "torch_", "collections")), name)
    )


def _is_whole_module(contents: Contents) -> bool:
    """Whether a file holds a network as an object, and not its weights by name."""
    if not contents.classes or not contents.storages:
        return False
    tree = contents.tree
    if isinstance(tree, Inert):
        return True
    if not isinstance(tree, Mapping) or next(tensors(_weights_only(tree)), None) is not None:
        return False
    return any(isinstance(tree.get(name), Inert) for name in WRAPPERS)


def step_inside(tree: Mapping) -> int | None:
    """Read the number of updates from a checkpoint's own entries; None where none states it."""
    for key in STEP_KEYS:
        step = _whole(tree.get(key))
        if step is not None:
            return step
    history = tree.get("optimizer_history")
    if isinstance(history, (list, tuple)) and history and isinstance(history[-1], Mapping):
        step = _whole(history[-1].get("num_updates"))
        if step is not None:
            return step
    for name in _NESTED:
        inner = tree.get(name)
        if isinstance(inner, Mapping):
            for key in STEP_KEYS:
                step = _whole(inner.get(key))
                if step is not None:
                    return step
    return None


def epoch_inside(tree: Any) -> int | None:
    """Read the epoch that a checkpoint states; None where it states none."""
    return _whole(tree.get("epoch")) if isinstance(tree, Mapping) else None


def recognise_folder(
    names: Iterable[str], open_file: Callable[[str], BinaryIO]
) -> tuple[str, int | None]:
    """Format and step of a folder that is one checkpoint.

    Parameters
    ----------
    names : iterable of str
        File names directly inside the folder.
    open_file : callable
        Opens one of them for reading bytes.

    Returns
    -------
    format : str
        ``huggingface``, ``speechbrain``, ``torch-distributed``, ``deepspeed``, ``parts`` (see
        `parts_of`), or ``""`` where the folder is not one checkpoint of these.
    step : int or None
        Number of updates that its files state.
    """
    names = set(names)
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return "torch-distributed", None
    if "CKPT.yaml" in names:
        return "speechbrain", _speechbrain_step(names, open_file)
    if any(name.endswith("_model_states.pt") and "mp_rank_" in name for name in names):
        return _deepspeed(names, open_file)
    if any(name in names for name in WEIGHT_FILES):
        step = None
        if "trainer_state.json" in names:
            with open_file("trainer_state.json") as file:
                step = _json_step(file)
        return "huggingface", step
    return "", None


def parts_of(names: Iterable[str]) -> str:
    """Say why the files of a folder of the format ``parts`` are no whole network, and what helps.

    Parameters
    ----------
    names : iterable of str
        File names directly inside the folder.

    Returns
    -------
    str
        One sentence.
    """
    names = sorted(names)
    if any(name.startswith(("zero_pp_rank_", "bf16_zero_pp_rank_")) for name in names):
        return (
            "DeepSpeed's ZeRO stage 3 has left a part of every weight in each of its files: join "
            "them with the script zero_to_fp32.py that DeepSpeed put beside them"
        )
    if any("mp_rank_" in name for name in names):
        return (
            "its weights are split over several files mp_rank_*_model_states.pt: join them with "
            "the tool of the training framework"
        )
    return (
        "its weights are shards without the index that says which there are: it is still being "
        "written, or its *.index.json was left behind"
    )


def _deepspeed(names, open_file) -> tuple[str, int | None]:
    ranks = [name for name in names if re.fullmatch(r"mp_rank_\d+_model_states\.pt", name)]
    if ranks != [DEEPSPEED]:
        return "parts", None
    with open_file(DEEPSPEED) as file:
        return "deepspeed", recognise(inspect(file))[1]


def _json_step(file: BinaryIO) -> int | None:
    try:
        state = read_json(file)
    except ValueError:
        return None
    return _whole(state.get("global_step")) if isinstance(state, Mapping) else None


def _speechbrain_step(names, open_file) -> int | None:
    """Read the optimiser's step from the text that SpeechBrain's Brain keeps beside the weights."""
    for name in ("brain.ckpt", "CKPT.yaml"):
        if name not in names:
            continue
        with open_file(name) as file:
            text = file.read(65536).decode("utf-8", "replace")
        for key in ("optimizer_step", "step", "steps", "global_step"):
            found = re.search(rf"^{key}:\s*(\d{{1,18}})\s*$", text, re.MULTILINE)
            if found:
                return int(found[1])
    return None


def _weights_only(tree: Mapping) -> Mapping:
    """Leave out what an optimiser file holds: moments are tensors, but no network."""
    if set(tree) == {"state", "param_groups"}:
        return {}
    return {key: value for key, value in tree.items() if "optim" not in str(key).lower()}


def _whole(value: Any) -> int | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # What the store counts in; a number beyond it counts no updates.
    if not 0 <= value < 2**63 or value != int(value):
        return None
    return int(value)
