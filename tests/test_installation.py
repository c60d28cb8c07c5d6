"""What is installed is what is stated, loads, and is bounded by what was tried."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dynamics import installation, models

HOME = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Programs of tests and of the command line; each is run where it is used.
NO_MODULES = {"ruff", "mypy"}


def stated(*lists):
    """Requirements of some lists, without the package's own extras."""
    texts = [text for each in lists for text in each]
    found = [Requirement(text) for text in texts]
    return {canonicalize_name(each.name): each for each in found if each.name != installation.OURS}


def pinned(name):
    """Versions that a file of exact ones names."""
    lines = (HOME / ".ci" / name).read_text().splitlines()
    pairs = (re.match(r"([\w.-]+)(?:\[\w+\])?==([^\s;]+)", line) for line in lines)
    return {canonicalize_name(pair[1]): pair[2] for pair in pairs if pair}


# What asks for machines that are not there; its tests take a stand-in.
BATCH = {"kubernetes"}
EVERY = stated(PROJECT["dependencies"], *(EXTRAS[name] for name in EXTRAS if name not in BATCH))


def test_the_tests_bring_every_extra():
    (own,) = (r for t in EXTRAS["test"] if (r := Requirement(t)).name == installation.OURS)
    assert own.extras == EXTRAS.keys() - {"test"} - BATCH


@pytest.mark.parametrize("name", EVERY)
def test_what_is_stated_is_installed_within_its_bounds(name):
    assert EVERY[name].specifier.contains(version(name), prereleases=True)


def test_torch_and_torchaudio_are_one_exact_pair():
    for pair in installation.PAIRS:
        versions = {version(name).partition("+")[0] for name in pair}
        assert len(versions) == 1
        for name in pair:
            assert [(s.operator, s.version) for s in EVERY[name].specifier] == [("==", *versions)]


@pytest.mark.parametrize("adapter", models.ADAPTERS)
def test_the_libraries_of_every_adapter_load(adapter):
    module = models._module(adapter)
    installation.load(*reversed(getattr(module, "LIBRARIES", ())))
    for name in getattr(module, "LIBRARIES", ()):
        assert canonicalize_name(name) in stated(PROJECT["dependencies"])


@pytest.mark.slow
def test_every_package_of_every_extra_loads_without_a_flood_of_warnings():
    """Each in one process: whatever does not stand beside the others shows."""
    modules = {}
    for module, names in packages_distributions().items():
        for name in map(canonicalize_name, names):
            top = (distribution(name).read_text("top_level.txt") or "").split()
            if name in EVERY and not module.startswith("_") and (not top or module in top):
                modules.setdefault(name, []).append(module)
    wanted = [m for name in EVERY.keys() - NO_MODULES for m in modules[name][:1]]
    program = (
        "import importlib, sys\n"
        "from dynamics.models.s3prl import import_hub\n"
        "import_hub()\n"
        f"for name in {sorted(wanted)!r}:\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # One warning a package and a line of its source are many already.
    assert len(done.stderr.splitlines()) <= 12, done.stderr


def test_versions_known_to_work_together_are_within_the_bounds():
    together = pinned("constraints.txt")
    for name, requirement in EVERY.items():
        assert requirement.specifier.contains(together[name], prereleases=True), name


def test_the_lowest_versions_that_are_tried_are_the_lower_bounds():
    lowest = pinned("lowest.txt")
    dependencies = stated(PROJECT["dependencies"])
    for name, number in lowest.items():
        if name in dependencies:
            bounds = {s.operator: s.version for s in dependencies[name].specifier}
            assert bounds[">="] == number, name
    # What brings a torch of its own, or several gigabytes, is tried as it is.
    left = {"torch", "torchaudio", "s3prl", "transformers", "safetensors"}
    assert dependencies.keys() - lowest.keys() == left


def test_the_library_of_the_hub_tells_nobody_what_it_is_used_for():
    told = "import dynamics; from huggingface_hub import constants as c; "
    told += "raise SystemExit(not c.HF_HUB_DISABLE_TELEMETRY)"
    for chosen, code in (({}, 0), ({"HF_HUB_DISABLE_TELEMETRY": "0"}, 1)):
        kept = {"PATH", "HOME", "PYTHONPATH"} & os.environ.keys()
        given = {name: os.environ[name] for name in kept} | chosen
        assert subprocess.run([sys.executable, "-c", told], env=given).returncode == code
