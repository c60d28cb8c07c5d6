"""The command that shows a brain target: what is in it, and what could be done with it."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynamics.cli import readable
from dynamics.cli.console import Json, Plugins, load_plugins, out, told

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from dynamics.config import Sweep
    from dynamics.sounds import StimulusSet

# Readers of what lies in files of other kinds, by the ends of their names.
_READERS = {
    "recording": (".fif", ".fif.gz", ".edf", ".bdf", ".vhdr", ".set", ".cnt"),
    "nwb": (".nwb",),
    "variables": (".mat", ".h5", ".hdf5"),
    "images": (".nii", ".nii.gz", ".gii"),
}


_NO_RUN = "no run"

Source = Annotated[
    str,
    typer.Argument(
        help="a file, a name that `dynamics brains` lists, or the YAML file of a sweep",
        show_default=False,
    ),
]
Arguments = Annotated[
    list[str] | None,
    typer.Option("--argument", "-a", help="KEY=VALUE for the reader, the value as in YAML"),
]
Label = Annotated[str, typer.Option(help="which target of a sweep (default: the first)")]
Stimuli = Annotated[str, typer.Option(help="folder of the sounds, or the name of a stimulus set")]


def target(
    source: Source,
    argument: Arguments = None,
    label: Label = "",
    stimuli: Stimuli = "",
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="write the target to this file (.nc or .zarr)"),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Show or convert a recording: what it holds, what fits it.

    Example: dynamics target a_raw.fif -a events=a_events.tsv --stimuli sounds -o a.nc
    """
    from dynamics.brains.overview import in_words, overview

    load_plugins(plugin)
    if output is not None and output.suffix not in (".nc", ".zarr"):
        raise ValueError(f"'{output}' is neither .nc nor .zarr: give it one of these endings")
    data, sounds, sweep = loaded_target(source, read_arguments(argument or []), label, stimuli)
    found: dict[str, Any] = overview(data, sounds)
    found["metrics"] = _metrics(data, sounds, sweep, label)
    if output is not None:
        _write(data, output)
    if as_json:
        told(found)
        return
    words = [*in_words(found), *((name, said) for name, said in found["metrics"].items())]
    width = max(len(term) for term, _ in words)
    for place, (term, said) in enumerate(words):
        if place == len(words) - len(found["metrics"]):
            _print("what metrics would do with it:")
        _print(readable(f"{term:<{width}}  {said}"))
    if output is not None:
        _print(f"written: {output}; name it among the `targets` of a sweep")


COMMANDS = (target,)


def read_arguments(given: list[str]) -> dict[str, Any]:
    """Read arguments of a reader: ``key=value``, the value as in YAML."""
    import yaml

    found: dict[str, Any] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise ValueError(f"--argument {each!r} is no KEY=VALUE: write for instance rate=100")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(
                f"--argument {key}: {value!r} is no YAML: put quotes around a text with signs"
            ) from None
    return found


def loaded_target(
    source: str, arguments: dict[str, Any], label: str, stimuli: str
) -> tuple[xr.Dataset, StimulusSet | None, Sweep | None]:
    """Load a target, the sounds where they are named, and the sweep where there is one."""
    from dynamics import brains, sounds
    from dynamics.brains.targets import load_brain
    from dynamics.config import load_config
    from dynamics.tables import check_name

    heard = sounds.load(stimuli) if stimuli else None
    if source.endswith((".yaml", ".yml")):
        sweep = load_config(source)
        if not sweep.targets:
            raise ValueError(f"'{source}' names no targets: add some, or give a file")
        labels = {choice.label: choice for choice in sweep.targets}
        if label:
            check_name("target", label, labels)
        choice = labels[label or next(iter(labels))]
        choice = choice.model_copy(update={"arguments": choice.arguments | arguments})
        heard = heard or sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
        return load_brain(choice, heard), heard, sweep
    if label:
        raise ValueError("`--label` is for the YAML file of a sweep: leave it out")
    name = _reader(source)
    if name != source:
        key = "files" if name == "images" else "path"
        mine = {Path(source).name.partition(".")[0]: source} if key == "files" else source
        arguments = {key: mine} | arguments
    if name == "simulated":
        if heard is None:
            raise ValueError("a simulated listener hears sounds: name them by `--stimuli`")
        arguments.setdefault("stimuli", heard)
    return brains.load(name, **arguments), heard, None


def _reader(source: str) -> str:
    """Name the reader of a file of another kind; else the source itself."""
    from dynamics.brains.trials import is_of_trials

    low = source.lower()
    if low.endswith(".npz") and is_of_trials(Path(source).expanduser()):
        return "trials"
    for reader, ends in _READERS.items():
        if low.endswith(ends):
            if reader == "variables" and Path(source).expanduser().is_file():
                from dynamics.brains.matlab import is_cnd

                return "cnd" if is_cnd(source) else reader
            return reader
    return source


def _metrics(
    data: xr.Dataset, sounds: StimulusSet | None, sweep: Sweep | None, label: str
) -> dict[str, str]:
    """Say of each metric whether it works, or what it needs."""
    from dynamics import analysis
    from dynamics.config import validate
    from dynamics.extraction import poolings
    from dynamics.sweep import fits

    if sweep is not None:
        times = poolings.make(sweep.pooling.name, **sweep.pooling.arguments).rate is not None
        label = label or sweep.targets[0].label
    else:
        times, label = True, str(data.attrs.get("name", "target"))
        content: dict[str, Any] = dict.fromkeys(("checkpoints", "model", "stimuli"), "none")
        # What is tried on all samples of a target is tried with as little as will do.
        tried: list[Any] = [
            name if own.units is None else {"name": name, "arguments": {"components": 1}}
            for name, own in analysis.METHODS.items()
        ]
        content |= {"run": _NO_RUN, "targets": [label], "metrics": tried}
        sweep = validate(content, origin="a sweep")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # about gaps and names, of which the overview has told
    try:
        said = fits(sweep, label, data, sounds or _named(data), times=times)
    finally:
        logging.disable(before)
    own = re.compile(r"^metric '[^']*'(, target '[^']*')?: ")
    return {name: own.sub("", why) or _works(sweep, name, data) for name, why in said.items()}


def _works(sweep: Sweep, label: str, data: xr.Dataset) -> str:
    """Say that a metric works, and with what."""
    from dynamics import analysis

    own = analysis.find(next(each.name for each in sweep.metrics if each.label == label))
    supposed = sweep.run == _NO_RUN
    if "time" in own.needs:
        steps = data["time"].to_numpy()[1:2] - data["time"].to_numpy()[:1]
        rate = f"{{name: time, arguments: {{rate: {1 / float(steps[0]):.6g}}}}}"
        return f"works, with `pooling: {rate}`" if supposed else "works"
    averaged = (
        ""
        if "course" in own.needs or "time" not in data["response"].dims
        else (", on responses averaged over time")
    )
    more = ", with a `baseline`" if "baseline" in own.needs and supposed else ""
    return f"works{more}{averaged if own.per != 'layer' else ''}"


def _named(data: xr.Dataset) -> StimulusSet:
    """Stand-ins for the sounds of a target, by name."""
    import numpy as np

    from dynamics.sounds import UNLABELLED, StimulusSet

    names = data["stimulus"].to_numpy().astype(str).tolist()
    labels = [UNLABELLED] * len(names)
    if "category" in data.coords:
        labels = data["category"].to_numpy().astype(str).tolist()
    return StimulusSet("of the target", tuple(names), tuple(labels), np.ones(len(names)),
                       (_silence,) * len(names))  # fmt: skip


def _silence() -> tuple[np.ndarray, int]:
    import numpy as np

    return np.zeros(1, np.float32), 1


def _write(data: xr.Dataset, output: Path) -> None:
    from dynamics.filesystems import replacing
    from dynamics.store.attributes import portable

    plain = data.assign_attrs(portable(data.attrs))
    plain.attrs = portable(data.attrs)
    with replacing(output) as beside:
        if output.suffix == ".zarr":
            plain.to_zarr(beside, mode="w", consolidated=False)
        else:
            plain.to_netcdf(beside, engine="h5netcdf")


def _print(text: str) -> None:
    out.print(text, soft_wrap=True, markup=False, highlight=False)
