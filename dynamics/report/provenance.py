"""What was run: the checkpoints, failures, versions, seeds and hashes of a store."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import xarray as xr

from dynamics.emergence.levels import has_controls
from dynamics.emergence.population import listed
from dynamics.progress import size_of
from dynamics.report.findings import Result
from dynamics.report.numbers import NONE, unit, units
from dynamics.secrets import public
from dynamics.store import DONE, FAILED, package_version
from dynamics.store.attributes import mapping

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "xarray", "zarr", "matplotlib", "seaborn")
_WORDS = {
    "adapter": "Model adapter",
    "arguments": "Model arguments",
    "stimuli": "Stimuli",
    "stimuli_sha256": "Stimuli, SHA-256",
    "pooling": "Pooling over time",
    "windows": "Windows through which long sounds were heard, s",
    "components": "Components kept of a layer",
    "revision": "Revision of extraction and adapter",
    "dtype": "Activations rounded to",
    "weights": "Weights of each checkpoint",
}


def facts(tree: xr.DataTree, results: list[Result]) -> list[tuple[str, str]]:
    """Name what shaped a store.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    results : list of Result
        Its results.

    Returns
    -------
    list of (str, str)
        Terms and descriptions, for a list of definitions.
    """
    attrs = tree.attrs
    found = [("Run", str(attrs.get("run", "?")))]
    for key, value in mapping(attrs.get("identity")).items():
        found.append((_WORDS.get(key, key.replace("_", " ").capitalize()), _text(value)))
    seeds = sorted({str(r.identity["seed"]) for r in results if "seed" in r.identity})
    found += [("Seed of folds and resamples", ", ".join(seeds))] if seeds else []
    found += [("Resamples", text)] if (text := _resamples(results)) else []
    for kind, told in (("untrained", "Untrained controls"), ("permuted", "Permuted controls")):
        controls = sorted({len(r.data.attrs[kind]) for r in results if kind in r.data.attrs})
        found += [(told, ", ".join(map(str, controls)))] if controls else []
    written = {str(r.data.attrs.get("package_version", "?")) for r in results}
    written.add(str(attrs.get("package_version", "?")))
    found += [
        ("Store begun", str(attrs.get("created", "?"))),
        ("Store's schema", str(attrs.get("schema", "?"))),
        ("Written by version", ", ".join(sorted(written))),
        ("Report made by", f"training-dynamics {package_version()}, {_environment()}"),
    ]
    return found


def _resamples(results: list[Result]) -> str:
    """Say how many resamples there are, and of which metrics where they differ in that."""
    by_number: dict[int, dict[str, None]] = {}
    for result in results:
        if number := result.data.sizes.get("resample", 0):
            by_number.setdefault(number, {})[result.metric] = None
    if len(by_number) == 1:
        return str(*by_number)
    return "; ".join(f"{number} ({listed(list(of))})" for number, of in by_number.items())


def targets(results: list[Result]) -> list[dict[str, str]]:
    """Describe every target and metric: name, kind, arguments, checksums."""
    rows = []
    for result in results:
        own = result.identity
        rows.append(
            {
                "target": result.target,
                "metric": result.metric,
                "description": str(result.data.attrs.get("description", "")),
                "arguments": _text(own.get("arguments") or {}),
                "steps": str(result.data.sizes["step"]),
                "checksums": ", ".join(f"{x:.6g}" for x in own.get("target_checksums", [])),
            }
        )
    return rows


def checkpoints(tree: xr.DataTree, results: list[Result]) -> list[dict[str, Any]]:
    """Describe every checkpoint of a store, in order of training.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    results : list of Result
        Its results.

    Returns
    -------
    list of dict
        `step`, `status`, `uri` (without what may be a secret), `sha256`, `bytes`, `size`,
        `seconds`, `time`, `error`, and `scored`: how many of the results have it.
    """
    table = tree["checkpoints"].to_dataset()
    columns = {str(name): table[name].to_numpy().tolist() for name in table.variables}
    have = [set(result.data["step"].to_numpy().tolist()) for result in results]
    rows = []
    for place, step in enumerate(columns["step"]):
        row = {name: values[place] for name, values in columns.items()}
        seconds = float(row["seconds"])
        rows.append(
            row
            | {
                "uri": public(str(row["uri"])),
                "size": size_of(row["bytes"]) if row["bytes"] else NONE,
                "time": f"{seconds:.1f}" if math.isfinite(seconds) else NONE,
                "scored": sum(step in steps for steps in have),
            }
        )
    return rows


def notes(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Say how weights were taken and fitted to the network.

    Parameters
    ----------
    rows : list of dict
        As `checkpoints` gives them.

    Returns
    -------
    list of (str, str)
        Each distinct note, and in words of which steps it is.
    """
    said: dict[str, list[int]] = {}
    done = [row for row in rows if row["status"] == DONE]
    for row in done:
        for note in filter(None, str(row.get("note", "")).split("; ")):
            said.setdefault(note, []).append(row["step"])
    return [
        (
            note,
            f"{unit()} {steps[0]:,}"
            if len(steps) == 1
            else f"{len(steps)} of {len(done)} {units()}",
        )
        for note, steps in said.items()
    ]


def notices(
    rows: list[dict[str, Any]], results: list[Result], left_out: list[str]
) -> list[tuple[str, str]]:
    """Say what a reader must know before anything else.

    Parameters
    ----------
    rows : list of dict
        As `checkpoints` gives them.
    results : list of Result
        Results of the store.
    left_out : list of str
        Sentences on groups that are not shown.

    Returns
    -------
    list of (str, str)
        A heading and a sentence each.
    """
    said = []
    simulated = sorted({r.target for r in results if r.data.attrs.get("simulated")})
    if simulated:
        said.append((
            "Simulated brain",
            f"{', '.join(simulated)}: these responses were generated by a program. Nothing below "
            "about them is a finding about people.",
        ))  # fmt: skip
    if heard := sorted({r.target for r in results if r.data.attrs.get("of_stimuli")}):
        said.append(("No brain", f"{', '.join(heard)}: what the stimuli are, and no recording."))
    counts = {status: sum(row["status"] == status for row in rows) for status in (DONE, FAILED)}
    pending = len(rows) - sum(counts.values())
    behind = [r for r in results if r.data.sizes["step"] < counts[DONE]]
    if pending or behind:
        verb = "is" if pending == 1 else "are"
        parts = [f"{pending} of {len(rows)} checkpoints {verb} still to be done"] if pending else []
        parts += [
            f"{r.target} by {r.metric} has {r.data.sizes['step']} of {counts[DONE]} complete "
            f"{units()}"
            for r in behind
        ]
        said.append(("Not complete", f"{'; '.join(parts)}. This report shows what is there."))
    if counts[FAILED]:
        many = "checkpoints" if counts[FAILED] > 1 else "checkpoint"
        said.append((
            "Failures",
            f"{counts[FAILED]} {many} of {len(rows)} could not be used; the reasons are under "
            "“What was run”.",
        ))  # fmt: skip
    if not results:
        said.append((
            "No results", "This store holds activations only: `dynamics analyze` compares them "
            "with brains.",
        ))  # fmt: skip
    late = [r for r in results if int(r.data["step"][0]) > 0]
    apart = any(has_controls(r.data) for r in late)
    if results and len(late) == len(results) and not apart:
        said.append((
            "No untrained network",
            f"There is no {unit()} 0, so gains count from the first checkpoint.",
        ))  # fmt: skip
    if left_out:
        said.append(("Not shown", " ".join(left_out)))
    return said


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and not value:
        return NONE
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} ({_text(each)})" if isinstance(each, Mapping) else f"{key} = {_text(each)}"
            for key, each in value.items()
        )
    return json.dumps(value, ensure_ascii=False)


def _environment() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
