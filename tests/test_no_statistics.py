"""Figures and report make no statistics of their own: they ask `dynamics.emergence`."""

import ast
from importlib import import_module
from inspect import ismodule
from pathlib import Path

import pytest

import dynamics

ROOT = Path(dynamics.__file__).parent
ROOMS = ("plots", "report", "cli")
MAKES = {
    *("mean", "median", "std", "var", "quantile", "percentile", "average", "corrcoef", "cov"),
    *("nanmean", "nanmedian", "nanstd", "nanvar", "nanquantile", "nanpercentile"),
    *("argmax", "argmin", "nanargmax", "nanargmin", "groupby", "ptp"),
}
FORBIDDEN = ("dynamics.metrics", "scipy.stats", "statsmodels", "sklearn")
ALLOWED = {
    ("plots/surface.py", "_brain"): "corners of triangles: geometry of the cortex",
    ("plots/surface.py", "_draw_brain"): "depth of triangles: geometry of the cortex",
    ("plots/surface.py", "_nearest"): "distance to a surface, to tell which one is meant",
    ("plots/steps.py", "spread_steps"): "the step nearest to a place on the axis",
    ("plots/two_runs.py", "plot_steps_of_runs"): "the layer nearest to the depth asked for",
}


def found(source, where):
    """Yield the function and the name of every statistic that a module makes or imports."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
        for name in names:
            if name.startswith(FORBIDDEN):
                yield where, "", name
    for top in tree.body:
        for node in ast.walk(top):
            name = getattr(getattr(node, "func", None), "attr", "")
            if isinstance(node, ast.Call) and name in MAKES:
                yield where, getattr(top, "name", ""), name


def everywhere():
    for room in ROOMS:
        for path in sorted((ROOT / room).glob("*.py")):
            yield from found(path.read_text(), f"{room}/{path.name}")


def test_figures_report_and_commands_make_no_statistics():
    made = [each for each in everywhere() if each[:2] not in ALLOWED]
    assert made == []


def test_what_is_allowed_is_there():
    assert set(ALLOWED) == {each[:2] for each in everywhere()} & set(ALLOWED)


@pytest.mark.parametrize(
    "line",
    ["x.mean('step')", "np.nanquantile(x, 0.5)", "from dynamics import metrics",
     "from scipy import stats", "curve.argmax('layer')"],
)  # fmt: skip
def test_a_statistic_is_seen(line):
    assert list(found(line, "plots/new.py"))


@pytest.mark.parametrize("room", ["emergence", "plots", "report"])
def test_no_name_of_a_room_hides_its_file(room):
    package = import_module(f"dynamics.{room}")
    files = {path.stem for path in (ROOT / room).glob("[!_]*.py")}
    hidden = {name for name in files if not ismodule(getattr(package, name, package))}
    assert hidden == set()
