"""A first sweep for a folder of checkpoints: what is in it, and the YAML that it suggests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dynamics import checkpoints, datasets, faults, models, sources
from dynamics.checkpoints import Checkpoint, Taken
from dynamics.checkpoints.names import SUFFIXES

# Layers that one names of a network of one's own, at most.
_MOST_LAYERS = 48

# What no weight tells of a network whose weights fit.
_CHECK = {
    "encodecmae": "no weight tells the number of attention heads: check `heads`",
    "s3prl": "files of one family fit several upstreams: check `name`",
    "torchaudio": "no weight tells whether waveforms are normalised: check `normalise`",
}


@dataclass
class Proposal:
    """What a folder of checkpoints suggests.

    Attributes
    ----------
    sweep : dict
        Keys of a sweep.
    about : dict of str to list of str
        What to say of a key, in lines.
    notes : list of str
        What to look at before it runs.
    """

    sweep: dict[str, Any]
    about: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the YAML, with what is said of each key above it."""
        lines = ["# A sweep as `dynamics init` suggests it; every key is in the README."]
        lines += [f"# TO DO: {note}" for note in self.notes]
        for key, value in self.sweep.items():
            lines += [f"# {line}" for line in self.about.get(key, [])]
            lines.append(_yaml(key, value))
        return "\n".join(lines) + "\n"


def propose(folder: str | Path) -> Proposal:
    """Look at a folder of checkpoints and suggest a sweep.

    Parameters
    ----------
    folder : str or Path
        As `checkpoints` of a sweep: a folder, a glob or a URL.

    Returns
    -------
    Proposal
        A sweep with the adapter whose network takes the weights, where there is one.

    Raises
    ------
    FileNotFoundError, ValueError
        As `dynamics.checkpoints.find`.
    """
    found = checkpoints.find(str(folder))
    sweep: dict[str, Any] = {"run": _name_of(folder), "checkpoints": str(folder)}
    proposal = Proposal(sweep)
    proposal.about["checkpoints"] = _about_steps(found, folder)
    _propose_model(found, proposal)
    _propose_sounds(proposal)
    return proposal


def _name_of(folder: str | Path) -> str:
    places = [
        part for part in re.split(r"[/\\@]", str(folder)) if part and not set(part) & set("*?[")
    ]
    if places and places[-1].lower().endswith(SUFFIXES):
        places[-1] = places[-1].rpartition(".")[0]
    telling = [part for part in places if part not in ("checkpoints", "ckpt", "ckpts", "save")]
    return re.sub(r"[^\w.-]+", "-", (telling or places or ["run"])[-1])


def _about_steps(found: Sequence[Checkpoint], folder: str | Path) -> list[str]:
    formats = sorted({each.format for each in found})
    known = {"inside": "inside the files", "name": "in their names", "list": "in a list"}
    where = " and ".join(sorted({known.get(each.known_by, each.known_by) for each in found}))
    few = f"{found[0].step:,}" + f" to {found[-1].step:,}" * (len(found) > 1)
    lines = [
        f"{len(found)} checkpoint{'s' * (len(found) > 1)} ({', '.join(formats)}), "
        f"{found[0].unit} {few}, by what stands {where}"
    ]
    if found[0].unit == "epochs" and all(each.known_by == "name" for each in found):
        lines.append("by their names these are epochs, not updates: the axis will count epochs")
    if said := checkpoints.about(found):
        lines.append(said)
    lines += [f"left out: {kind.told()}" for kind in checkpoints.left_out(str(folder),
              [each.uri for each in found])]  # fmt: skip
    return lines


def _propose_model(found: Sequence[Checkpoint], proposal: Proposal) -> None:
    """Try the adapters on the newest checkpoint that can be read."""
    sweep, about = proposal.sweep, proposal.about
    newest, taken, fault = _newest(found)
    if taken is None or newest is None:
        sweep["model"] = {
            "name": "module",
            "arguments": {"factory": "my_module:my_function", "layers": ["*"]},
        }
        proposal.notes.append(f"no checkpoint could be read ({fault}): say which network it is")
        return
    average = "; `weights: ema`, or a name of theirs, takes those" * ("not those of" in taken.note)
    about["weights"] = [(taken.note or "the file holds one set of weights") + average]
    sweep["weights"] = "trained"
    for name, arguments in _candidates(newest, taken):
        try:
            model = models.load(name, newest.uri, state=taken.weights, **arguments)
        except Exception:
            continue
        sweep["model"] = {"name": name, "arguments": arguments} if arguments else name
        about["model"] = [
            f"its weights fit ({', '.join(model.layers[:3])}{', ...' * (len(model.layers) > 3)}: "
            f"{len(model.layers)} layers)"
        ]
        if name in _CHECK:
            about["model"].append(_CHECK[name])
        return
    _propose_own(taken.weights, proposal)


def _propose_own(weights: Mapping[str, Any], proposal: Proposal) -> None:
    """Suggest a network of one's own: a class of a file here that the names fit, or a blank."""
    about = [
        "no adapter takes these weights, so it is a network of your own: `factory` is a function"
    ]
    about += ["(or class) that returns it; `dynamics models module` says more"]
    wrapper = _wrapper_of(weights)
    for prefix in dict.fromkeys((wrapper, "")):
        names = [name.removeprefix(prefix) for name in weights]
        tops = {name.partition(".")[0] for name in names}
        for source in sources.networks_with(tops, Path.cwd())[:1]:
            arguments: dict[str, Any] = {"factory": source.factory, "layers": _layers(names)}
            if source.needed:
                arguments["options"] = dict.fromkeys(source.needed)
                proposal.notes.append(f"give {', '.join(source.needed)} under `options`")
            about.append(f"{source.factory} has {', '.join(sorted(tops))}, as these weights have")
            proposal.sweep["model"] = {"name": "module", "arguments": arguments}
            proposal.about["model"] = about
            return
    if wrapper:
        about.append(
            f"every name begins with {wrapper!r}: leave that out of `layers` where the function "
            "returns what is under it"
        )
    blank = {"factory": "my_module:my_function", "layers": _layers(weights)}
    proposal.sweep["model"] = {"name": "module", "arguments": blank}
    proposal.about["model"] = about
    proposal.notes.append("write your own module and function at `factory`, choose `layers`")


def _newest(found: Sequence[Checkpoint]) -> tuple[Checkpoint | None, Taken | None, str]:
    fault = "none is on this machine"
    for checkpoint in reversed(found[-5:]):
        if checkpoints.is_remote(checkpoint.uri):
            continue
        try:
            return checkpoint, checkpoints.take(checkpoint.uri), ""
        except Exception as error:
            fault = faults.sentence(faults.row(error))
    return None, None, fault


def _candidates(newest: Checkpoint, taken: Taken) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yield adapters with the arguments under which weights may fit, the likeliest first."""
    yield "huggingface", {}
    width = _width_of(taken.weights)
    heads = [h for h in dict.fromkeys((12, width // 64, 8, 6, 4)) if h and width % h == 0]
    yield from (("encodecmae", {"heads": h}) for h in heads[:1])
    from dynamics.models.torchaudio import FACTORIES

    if any("conv_layers" in name for name in taken.weights):  # its networks take long to build
        yield from (("torchaudio", {"name": name}) for name in FACTORIES)
    if newest.format in ("s3prl", "fairseq"):
        from dynamics.models.s3prl import upstreams

        names = [name for name in upstreams() if name.endswith(("_local", "_custom"))]
        # Its own pretraining first; the files of a family fit several of these.
        own = [f"{name}_local" for name in ("tera", "mockingjay", "audio_albert", "apc", "npc")]
        names.sort(key=lambda name: own.index(name) if name in own else len(own))
        yield from (("s3prl", {"name": name}) for name in names)


def _width_of(weights: Mapping[str, Any]) -> int:
    """Return the commonest last axis of the matrices of a network."""
    sizes = [value.shape[-1] for value in weights.values() if value.ndim == 2]
    return max(set(sizes), key=sizes.count, default=0)


def _wrapper_of(names: Iterable[str]) -> str:
    """Return what all names begin with, up to a point; empty where there is no such thing."""
    shared: list[str] = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            if shared and all(part.isdigit() for part in parts):
                shared.pop()  # the list of the blocks is a part of what is under it
            break
        shared.append(f"{parts[0]}.")
    return "".join(shared)


def _layers(names: Iterable[str]) -> list[str]:
    """Name what has weights; of numbered blocks the blocks, not what is inside them."""
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    blocks = {name: re.match(r"(.*?)\.\d+(?=\.|$)", name) for name in modules if name}
    deep = {block[1] for name, block in blocks.items() if block and block[0] != name}
    found = dict.fromkeys(
        name if not block else block[0] if block[1] in deep else f"{block[1]}.*"
        for name, block in blocks.items()
    )
    return list(found)[:_MOST_LAYERS] or ["*"]


def _propose_sounds(proposal: Proposal) -> None:
    here = datasets.find("natsound165-neuron2015") is not None
    proposal.sweep |= {"stimuli": "natsound165", "targets": ["nh2015-components"]}
    proposal.sweep["metrics"] = ["ridge", "rsa"]
    proposal.about["stimuli"] = [
        "165 natural sounds and six fMRI components (Norman-Haignere et al. 2015), "
        + ("which are here" if here else "downloaded once"),
        "or a folder of your own sounds; a target may be a file of your own recordings",
    ]


def _yaml(key: str, value: Any) -> str:
    if isinstance(value, dict | list):
        return yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=None).rstrip()
    return f"{key}: {yaml.safe_dump(value).removesuffix('...' + chr(10)).rstrip()}"
