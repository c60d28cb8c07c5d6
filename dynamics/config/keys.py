"""Every key of a sweep in words: for the README, the JSON schema and the help of the command."""

from __future__ import annotations

from typing import Any

from dynamics.config.sweep import Sweep

# As the README shows them: keys, defaults, what they are.
KEYS: tuple[tuple[str, str, str], ...] = (
    (
        "`run`",
        "",
        "name of the run, and of its store",
    ),
    (
        "`checkpoints`",
        "",
        "folder, glob, list, URL of any [fsspec](https://filesystem-spec.readthedocs.io) file"
        " system, `hf://owner/name` with the branches of a hub repository as "
        "`hf://owner/name@step*` (of stages that share steps one: `@stage1/*`), or a mapping "
        "of step to place; the step inside a file counts before its name, and a name that can"
        " be read in two ways is an error",
    ),
    (
        "`model`",
        "",
        "an adapter (`dynamics models`) with its `arguments`",
    ),
    (
        "`stimuli`",
        "",
        "a stimulus set or a folder of audio files, with `events` for parts of them",
    ),
    (
        "`activations`",
        "none",
        "in place of `checkpoints` and `model`: what others computed, with `path`, `layout`, "
        "`stimuli` and more (`dynamics help own`)",
    ),
    (
        "`targets`",
        "none",
        "brain recordings: names, or files (`.nc`, netCDF 3 or 4, `.zarr`, `.npz`) with "
        "`response`, `stimulus` and `neuroid`; or `recording` (EEG, MEG, ECoG), `nwb`, `cnd`,"
        " `images` (NIfTI, GIFTI, CIFTI), `variables` (`.mat`, HDF5), `trials` (`.npz`, an "
        "array a sound), `tuckute-release` (voxels of NH2015 and B2021) with arguments that "
        "`dynamics brains NAME` lists (extra `recordings`)",
    ),
    (
        "`metrics`",
        "`[ridge, rsa]`",
        "what compares layers with targets (`dynamics metrics`)",
    ),
    (
        "`probes`",
        "none",
        "downstream tasks",
    ),
    (
        "`self_similarity`",
        "none",
        "metrics of whole spaces, between steps and between layers",
    ),
    (
        "`baseline`",
        "`spectrotemporal`",
        "an adapter without weights, drawn beside every curve; `null` for none",
    ),
    (
        "`select`",
        "`all`",
        "`every 5`, `log 20` (spaced evenly on a log axis), `100-2000`, or a list of steps",
    ),
    (
        "`step_unit`",
        "`auto`",
        "what the numbers of checkpoints count, as axis and report say it: `steps`, `epochs`, "
        "`saves`, `tokens` ...; `auto`: what names and contents tell (an epoch is no step: "
        "`epoch_0`, saved after it, is 1 on the axis and not the untrained network, unless "
        "`checkpoints` is a mapping that says 0, or this `steps`)",
    ),
    (
        "`weights`",
        "`trained`",
        "which weights are taken where a checkpoint holds several sets (in one file, or in "
        "files or folders side by side): those that were trained; `ema`, their average; or "
        "the name of a key or file (`teacher`, `model_ema.pt`). Which were taken, and which "
        "there are, stands in the row's `note`; where none is plainly the trained network, or"
        " what is asked for is not there, the row is an error that names them",
    ),
    (
        "`duplicates`",
        "`newer`",
        "of two checkpoints of one step: `newer`, `older`, or `error`",
    ),
    (
        "`untrained`",
        "1",
        "networks with fresh weights at step 0, where the run has no such step; "
        "`{fresh: 3, permuted: 3}` has as well, of every run, networks with the last "
        "checkpoint's weights (or those of step `of`), the entries of every tensor shuffled",
    ),
    (
        "`pooling`",
        "`mean`",
        "what is kept of a layer's frames",
    ),
    (
        "`windows`",
        "`auto`",
        "how sounds are heard that are longer than the network takes, or than a window: seconds of "
        "`context`, `stride` and `lookahead`; `auto`: what the adapter says (`dynamics models "
        "NAME`) and `none`: every sound at once",
    ),
    (
        "`components`",
        "none",
        "how many leading principal components of every layer are kept in the place of its "
        "features, fitted at every step",
    ),
    (
        "`dtype`",
        "`float32`",
        "of the activations in the store, or `float16`, `bfloat16`",
    ),
    (
        "`store`, `figures`",
        "`store/<run>.zarr`, `store/<run>/figures`",
        "where results land",
    ),
    (
        "`storage_options`",
        "none",
        "endpoint, credentials and the like for remote checkpoints",
    ),
    (
        "`store_options`",
        "`storage_options`",
        "the same for a remote store",
    ),
    (
        "`keep`",
        "2",
        "remote checkpoints on this disk at once",
    ),
    (
        "`trust_checkpoints`",
        "`false`",
        "lets checkpoints run code while they are read",
    ),
    (
        "`batch_size`",
        "16",
        "stimuli that pass through the network together",
    ),
    (
        "`device`",
        "`auto`",
        "where networks run: the GPU where there is one",
    ),
    (
        "`workers`",
        "0",
        "processes that compare; 0 for one a core",
    ),
    (
        "`compute`",
        "`local`",
        "where work is done: this machine, the address of a dask scheduler, or workers that "
        "`slurm`, `pbs` or `kubernetes` is asked for (`dynamics help running`)",
    ),
    (
        "`folds`",
        "5",
        "of the stimuli, for targets that bring none; `folds` among a metric's arguments "
        "overrules it",
    ),
    (
        "`resamples`",
        "50",
        "halves of the stimuli on which every score is computed again; 0 for no intervals",
    ),
    (
        "`halves`",
        "`stimuli`",
        "what halves keep whole: `categories` (or `groups`, the target's coordinate `group`), 8 at "
        "least, make limits that hold for other categories; of `stimuli` they hold for other "
        "stimuli of these",
    ),
    (
        "`resample_neuroids`",
        "500",
        "neuroids up to which each one's resamples are kept; beyond, means of subjects and regions",
    ),
    (
        "`permutations`, `shuffle`",
        "0, `auto`",
        "shuffles of the null: within each `category`, `overall`, or within categories where "
        "there are any",
    ),
    (
        "`seed`",
        "0",
        "of halves, shuffles and untrained networks",
    ),
    (
        "`value`",
        "`score`",
        "which value of the metrics figures, tables and report show: `r2`, `r2_corrected` "
        "(over the reliability of repeated responses), `over_ceiling` (r over the noise ceiling); "
        "`{ridge: r2}` for one metric alone; nothing is computed again",
    ),
    (
        "`report`",
        "`true`",
        "whether `run` writes one",
    ),
    (
        "`pretrain`",
        "none",
        "how `dynamics pretrain` trains a reference network",
    ),
    (
        "`plugins`",
        "none",
        "modules with metrics and the like of your own (`dynamics help own`)",
    ),
)


def table() -> str:
    """Return the table of all keys in Markdown, as it stands in the README."""
    rows = [f"| {keys} | {default} | {about} |" for keys, default, about in KEYS]
    return "\n".join(
        ["| key | default | |", "|---|---|---|", *(r.replace("|  |", "| |") for r in rows)]
    )


def about() -> dict[str, str]:
    """Return what each key is, by its name."""
    return {key.strip("` "): text for keys, _, text in KEYS for key in keys.split(",")}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a sweep, for editors that complete and check YAML.

    Returns
    -------
    dict
        Draft 2020-12, with a description of each key. An editor finds less than
        `dynamics.config.load_config`, which knows every table.
    """
    schema = _named(Sweep.model_json_schema())
    needed = schema.pop("required")
    schema["required"] = [key for key in needed if key not in ("checkpoints", "model")]
    schema["anyOf"] = [{"required": ["checkpoints", "model"]}, {"required": ["activations"]}]
    schema["$defs"]["Pretraining"].pop("required")  # its folder is that of the checkpoints
    told = about()
    for key, one in schema["properties"].items():
        one["description"] = told[key]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _named(part: Any) -> Any:
    """Let an entry of a table be its name alone, and one entry stand without a list."""
    if isinstance(part, list):
        return [_named(each) for each in part]
    if not isinstance(part, dict):
        return part
    if part.get("$ref") == "#/$defs/Choice":
        return {"anyOf": [{"type": "string"}, part]}
    found = {key: _named(value) for key, value in part.items()}
    if found.get("type") == "array" and part.get("items") == {"$ref": "#/$defs/Choice"}:
        rest = {key: found.pop(key) for key in ("default", "title") if key in found}
        return {"anyOf": [found, *found["items"]["anyOf"]], **rest}
    return found
