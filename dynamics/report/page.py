"""The page of a report: everything that is known, put into the template."""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

import jinja2
import xarray as xr
from markupsafe import Markup

from dynamics.emergence.population import listed, populations
from dynamics.letters import plain, without_folders
from dynamics.report import (
    dissimilarity,
    figures,
    findings,
    narrative,
    orders,
    profiles,
    protocol,
    provenance,
    tables,
)
from dynamics.report.findings import Found, Result
from dynamics.report.numbers import counted, counting, level, unit, units
from dynamics.store import FAILED
from dynamics.store.attributes import mapping


def render(
    tree: xr.DataTree,
    *,
    place: str = "",
    pictures: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    paths: bool = False,
) -> str:
    """Write the report of a store as HTML.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    place : str
        Where the store is, for the last line.
    pictures : mapping of str to str, optional
        Figures that are drawn already: addresses of `data_uri` by the name of the figure.
    only : sequence of str
        Which figures, as in `dynamics.plots.figures_of`.
    paths : bool
        Whether the folders of this machine are shown, where checkpoints and store are.

    Returns
    -------
    str
        One page with everything in it: no address in it leads outside.
    """
    with counting(str(tree.attrs.get("step_unit", "steps"))):
        return _page(tree, place, pictures or {}, only, paths)


def _page(
    tree: xr.DataTree,
    place: str,
    pictures: Mapping[str, str],
    only: Sequence[str],
    paths: bool,
) -> str:
    results, left_out = findings.results_of(tree)
    found = [(result, findings.curves_of(result)) for result in results]
    content = {
        **_head(tree, results, left_out, place),
        **_findings(found),
        **_stepwise(tree, found),
        **_tables(found, str(tree.attrs.get("run", "run"))),
        "pictures": figures.pictures(tree, found, pictures, only),
    }
    content["methods"], content["references"] = protocol.paragraphs(tree, found)
    content["sections"] = [
        (name, counted(title))
        for name, title, key in _SECTIONS
        if not key or any(map(content.get, key))
    ]
    script = files(__package__).joinpath("report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    content |= {
        "script": script,
        "script_hash": f"sha256-{digest}",
        "style": files(__package__).joinpath("report.css").read_text(encoding="utf-8"),
    }
    return _environment(paths).get_template("report.html").render(content)


_SECTIONS = (
    ("findings", "Findings", ("findings",)),
    ("figures", "Figures", ("pictures",)),
    ("steps", "Step by step", ("profile", "rdms")),
    ("table", "Table of emergence", ("tables",)),
    ("run", "What was run", ()),
    ("methods", "Methods", ()),
)


def shown(value: Any, *, paths: bool = False) -> Any:
    """Return what stands on a page: of names no marks that would turn the text around them."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return plain(value if paths else without_folders(value))


def _environment(paths: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dynamics.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=functools.partial(shown, paths=paths),
    )
    # Jinja's own filter sorts, and what comes first is meant to.
    environment.filters["groupby_in_order"] = lambda items, name: [
        (key, list(members))
        for key, members in groupby(items, key=lambda each: getattr(each, name))
    ]
    return environment


def _head(
    tree: xr.DataTree, results: list[Result], left_out: list[str], place: str
) -> dict[str, Any]:
    rows = provenance.checkpoints(tree, results)
    identity = mapping(tree.attrs.get("identity"))
    done = [row["step"] for row in rows if row["status"] == "done"]
    reach = f", from {unit()} {done[0]:,} to {unit()} {done[-1]:,}," if len(done) > 1 else ""
    brains = listed(
        list(dict.fromkeys(r.target for r in results if not r.is_probe)) or ["no brain"]
    )
    number = "1 checkpoint" if len(done) == 1 else f"{len(done)} checkpoints"
    lead = (
        f"{number}{reach} of a model read by the adapter {identity.get('adapter', '?')}; what its "
        f"layers make of the stimuli {identity.get('stimuli', '?')} is compared with {brains}."
    )
    return {
        "run": str(tree.attrs.get("run", "run")),
        "lead": lead,
        "notices": provenance.notices(rows, results, left_out),
        "facts": provenance.facts(tree, results),
        "targets": provenance.targets(results),
        "checkpoints": rows,
        "failures": [row for row in rows if row["status"] == FAILED],
        "notes": provenance.notes(rows),
        "store": place,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _findings(found: Found) -> dict[str, Any]:
    said = []
    for result, curves in found:
        mean, parts = curves[0], curves[1:]
        baseline = (result.identity.get("baseline") or {}).get("name", "")
        whole = f"the {mean.what}" if mean.what.startswith("mean") else "the curve"
        if result.is_probe:
            whole = "the score"
        name = f"By {result.shown}, {whole} in {result.target}"
        told = (orders.order_of_parts(curves), orders.order_of_layers(mean))
        said.append(
            {
                "target": result.target,
                "metric": result.shown,
                "simulated": bool(result.data.attrs.get("simulated")),
                "description": str(result.data.attrs.get("description", "")),
                "mean": narrative.about(mean, name=name, baseline=str(baseline)),
                "parts": [
                    (part.name, narrative.about(part, brief=True).removeprefix(part.name))
                    for part in parts
                ],
                "orders": [" ".join(sentences) for sentences in told if sentences],
            }
        )
    return {"findings": said, "glance": tables.glance(found), "bracket_hint": _bracket_hint(found)}


def _bracket_hint(found: Found) -> str:
    """Say what the intervals are over: of every metric where that differs."""
    metrics: dict[str, dict[str, None]] = {}
    for result, (mean, *_) in found:
        if mean.resampled is not None:
            metrics.setdefault(mean.over, {})[result.shown] = None
    if not metrics:
        return "There are no intervals, as the results hold no resamples."
    over = [
        f"over {what}" + (f" by {listed(list(named))}" if len(metrics) > 1 else "")
        for what, named in metrics.items()
    ]
    return (
        f"Square brackets hold 95 % intervals {listed(over)}; one that ends in ∞) is open above: "
        "that the curve never gets there is not excluded. Those of the layer that ends highest, "
        f"which is chosen on the same stimuli, hold for all layers at once. {populations(metrics)}"
    )


def _stepwise(tree: xr.DataTree, found: Found) -> dict[str, Any]:
    series = [profiles.scaled(one) for one in profiles.series(found)]
    rdms = dissimilarity.dissimilarities(tree)
    named = [
        (group, [(place, series[place]["name"]) for place in places])
        for group, places in groupby(range(len(series)), key=lambda i: series[i]["group"])
    ]
    steps = series[0]["steps"] if series else rdms.steps if rdms else [0]
    content: dict[str, Any] = {
        "series_names": named,
        "last": len(steps) - 1,
        "last_step": f"{steps[-1]:,}",
        "profile": profiles.last(series[0]) if series else None,
        "rdms": None,
        "unit": unit(),
        "units": units(),
        "data": plain(
            {
                "unit": unit(),
                "series": series,
                "rdms": dissimilarity.plain(rdms) if rdms else None,
            }
        ),
    }
    if rdms:
        shown = (
            f"{rdms.shown} of {rdms.total} stimuli" if rdms.shown < rdms.total else "All stimuli"
        )
        ordered = ", sorted by category (the coloured edge)" if rdms.categories else ""
        content["rdms"] = {
            "frames": list(zip(rdms.layers, rdms.sprites)),
            "count": len(rdms.steps),
            "last": f"{rdms.steps[-1]:,}",
            "low": level(rdms.low),
            "high": level(rdms.high),
            "categories": rdms.categories,
            "text": f"{shown}{ordered}; activations z-scored over all stimuli; one scale for all "
            f"layers and {units()}. {len(rdms.steps)} {units()} are drawn: the nearest one is "
            "shown.",
        }
    return content


def _tables(found: Found, run: str) -> dict[str, Any]:
    made = [tables.emergence_table(result, curves) for result, curves in found]
    columns = dict(heading for table in made for heading in table.headings)
    encoded = base64.b64encode(tables.as_csv(found).encode()).decode()
    return {
        "tables": made,
        "columns": list(columns.items()),
        "table_hint": "Estimates with limits of 95 % under them; a star marks a decline with p at "
        "most 0.05. The best layer of a curve is the one that ends highest: its limits and p "
        "values are those of one that was chosen among all, so they hold for all layers at once; "
        "those of other layers are each layer's own.",
        "csv": f"data:text/csv;charset=utf-8;base64,{encoded}",
        "csv_name": f"{run}-emergence.csv",
    }
