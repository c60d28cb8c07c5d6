"""The order of the house: who may know whom, and that what the README says of it is so."""

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest

import dynamics

HERE = Path(__file__).parent
HOUSE = HERE.parent / "dynamics"
README = HERE.parent / "README.md"

# From the top of the house to its ground: a room imports from rooms below it alone.
FLOORS = """
cli
collection
sweep
reference
report accessor hear
plots
probes
analysis
emergence
extraction
brains
models
config
checkpoints
store
sounds
datasets
cluster
workers
compute environment submitted
plugins
metrics
filesystems
faults tables progress lookahead
installation
secrets letters
"""


def _name(path: Path) -> str:
    return ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(path): path for path in sorted(HOUSE.rglob("*.py"))}


def _room(module: str) -> str:
    """Return the folder or file right under the package that a module belongs to."""
    return module.split(".")[1] if "." in module else "dynamics"


def _imports(path: Path):
    """Yield the modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dynamics"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("dynamics"))


def _neighbours() -> dict[str, set[str]]:
    found = defaultdict(set)
    for module, path in MODULES.items():
        found[_room(module)] |= {_room(other) for other in _imports(path)} - {_room(module)}
    return found


def test_rooms_know_only_what_is_below_them():
    floor = {room: place for place, line in enumerate(FLOORS.split("\n")) for room in line.split()}
    upward = [
        (room, other)
        for room, others in _neighbours().items()
        for other in others
        if room in floor and other in floor and floor[other] <= floor[room]
    ]
    assert not upward


def test_no_rooms_know_each_other_in_a_circle():
    neighbours = _neighbours()
    neighbours.pop("dynamics")  # the public face names everything, when it is asked

    def beyond(room: str) -> set[str]:
        seen, todo = set(), [room]
        while todo:
            fresh = neighbours.get(todo.pop(), set()) - seen
            seen |= fresh
            todo += fresh
        return seen

    assert not {room for room in neighbours if room in beyond(room)}


def test_no_files_import_each_other_in_a_circle():
    files = {module: set(_imports(path)) - {module} for module, path in MODULES.items()}
    faces = {module for module, path in MODULES.items() if path.stem == "__init__"}

    def beyond(module: str) -> set[str]:
        seen, todo = set(), [module]
        while todo:
            # What a package's face hands on is asked for by name, in its own file.
            fresh = files.get(todo.pop(), set()) - seen - faces
            seen |= fresh
            todo += fresh
        return seen

    assert not {module for module in files if module in beyond(module)}


def test_only_commands_and_the_demonstration_know_the_reference_run():
    knowing = {_room(m) for m, path in MODULES.items() if "dynamics.reference" in
               {".".join(other.split(".")[:2]) for other in _imports(path)}}  # fmt: skip
    assert knowing == {"reference", "sweep"}


@pytest.mark.parametrize("package", sorted(m for m, p in MODULES.items() if p.stem == "__init__"))
def test_no_attribute_of_a_package_hides_a_module_of_its(package):
    made = importlib.import_module(package)
    inside = [m for m in MODULES if m.rpartition(".")[0] == package]
    for module in inside:
        short = module.rpartition(".")[2]
        here = vars(made).get(short)
        assert here is None or isinstance(here, ModuleType), f"{package}.{short} is no module"


def test_the_readme_says_of_every_room_what_is_in_it():
    text = README.read_text(encoding="utf-8").split("## Where things live")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", text, re.MULTILINE)
    told = {name for left, _ in rows for name in re.findall(r"`([\w.]+)/?`", left)}
    rooms = {path.parent.name for path in HOUSE.glob("*/__init__.py")}
    files = {path.name for path in HOUSE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert sorted((rooms | files) ^ told) == []
    for left, right in rows:
        (first, *_) = re.findall(r"`(\w+/)`", left) or [""]
        for name in re.findall(r"`(\w+\.py)`", right):
            assert (HOUSE / first / name).exists(), f"{first}{name}"


@pytest.mark.parametrize("before", sorted(dynamics._BEFORE))
def test_scripts_of_before_find_modules_by_their_names(before):
    today = importlib.import_module(f"dynamics.{dynamics._BEFORE[before]}")
    assert importlib.import_module(f"dynamics.{before}") is today
    assert getattr(dynamics, before) is today
    assert today.__spec__.name == f"dynamics.{dynamics._BEFORE[before]}" == today.__name__
