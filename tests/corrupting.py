"""A store with something of every kind, what may happen to its files, and how that shows."""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import warnings

import numpy as np
import typer
from tiny_store import CATEGORIES, STIMULI, activations

from dynamics import store
from dynamics.cli import _told, stores
from dynamics.cli.console import out

STEPS = (30, 0, 10, 20)
LAYERS = ["first", "second"]


def whole(path):
    """Write something of every kind; of a store that has some of it, what is missing."""
    root = store.begin(path, run="test", identity={})
    for group in (root, store.begin_controls(root)):
        store.plan(group, [(step, f"file-{step}", 10) for step in STEPS], modified=[1.5] * 4)
        rows = store.records(group)
        for step in (step for step in STEPS if rows[step]["status"] != "done"):
            layers = activations(step)
            store.write_activations(group, step, layers, stimuli=STIMULI, categories=CATEGORIES)
            about = {"uri": f"file-{step}", "bytes": 10, "modified": 1.5}
            store.commit(group, step, sha256=f"hash-{step}", seconds=1.0, **about)
    coordinates = {"layer": ("layer", LAYERS), "region": ("neuroid", ["left", "right"])}
    group = store.begin_result(root, "brain", "ridge", identity={}, coordinates=coordinates)
    if not store.is_written(group, "protocol"):
        store.write_label(group, "protocol", "five folds", "how the scores were made")
    if not store.is_written(group, "baseline"):
        store.write_constant(group, "baseline", ("neuroid",), [0.5, 0.25], description="level")
    for step in (step for step in STEPS if step not in store.committed(group)):
        rng = np.random.default_rng(step)
        shape = ("layer", "neuroid")
        values = {n: (shape, rng.standard_normal((2, 2))) for n in ("score", "r2")}
        store.write_result(group, step, values, checkpoint=f"hash-{step}")
    alike = store.begin_result(
        root, "self", "cka", identity={}, coordinates={"layer": ("layer", LAYERS)}
    )
    for step in (step for step in STEPS if step not in store.committed(alike)):
        others = [s for s in STEPS if s in store.committed(alike)] + [step]
        store.write_pairs(alike, step, others, np.array([_alike(step, each) for each in others]))
        store.write_result(alike, step, {}, checkpoint=f"hash-{step}")
    return path


def _alike(a, b):
    """Return what two steps have in common, in either order."""
    rng = np.random.default_rng(max(STEPS.index(a), STEPS.index(b)))
    return rng.standard_normal((len(STEPS), 2))[min(STEPS.index(a), STEPS.index(b))]


def seen(path):
    """Return all that a reader gets from a store."""
    tree = store.open(path).load()
    return {
        f"{node.path}/{name}": variable.to_numpy()
        for node in tree.subtree
        for name, variable in node.to_dataset(inherit=False).variables.items()
    }


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(a, second[name], equal_nan=a.dtype.kind == "f") for name, a in first.items()
    )


def delete(path, rng, files):
    path.unlink()


def truncate(path, rng, files):
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(0, len(content)))])


def flip(path, rng, files):
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def swap(path, rng, files):
    other = files[int(rng.integers(len(files)))]
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def empty(path, rng, files):
    path.write_bytes(b"")


def delete_folder(path, rng, files):
    shutil.rmtree(path.parent)


KINDS = (delete, truncate, flip, swap, empty, delete_folder)


def corrupted(path, files, seed):
    """Do something to one of the files of a store; say what."""
    rng = np.random.default_rng(seed)
    chosen = files[seed % len(files)]
    kind = KINDS[(seed // len(files) + seed) % len(KINDS)]
    kind(chosen, rng, files)
    return f"{kind.__name__} {chosen.relative_to(path)}"


def restore(path, content):
    """Make a store hold these files as they were, and no others."""
    for each in sorted(path.rglob("*"), reverse=True):
        if each.is_dir() and not any(each.iterdir()):
            each.rmdir()
        elif each.is_file() and each not in content:
            each.unlink()
    for each, held in content.items():
        if not each.is_file() or each.read_bytes() != held:
            each.parent.mkdir(parents=True, exist_ok=True)
            each.write_bytes(held)


class Told(logging.Handler):
    """What is said while something is tried: warnings, an error, or lines of a command."""

    def __init__(self):
        super().__init__()
        self.warned = []

    def emit(self, record):
        self.warned.append(record.getMessage())

    def attempt(self, function, *given, **named):
        """Return what a function returns, and what is said where it fails or warns."""
        self.warned.clear()
        logger = logging.getLogger("dynamics")
        logger.addHandler(self)
        try:
            with warnings.catch_warnings(), out.capture() as printed:
                warnings.simplefilter("error", RuntimeWarning)
                found = function(*given, **named)
            return (printed.get() or found), "; ".join(m for m in self.warned if "verify`" in m)
        except typer.Exit as end:
            return printed.get(), f"exit {end.exit_code}"
        except Exception as error:
            told = _told(error)
            assert told and "\n" not in told, f"{error!r}"
            return None, told
        finally:
            logger.removeHandler(self)


def entering(path, told):
    """Return the steps whose activations are read by an analysis and are not what was written."""
    wrong = []
    for place in (path, path / "controls"):
        for step in STEPS:
            found, _ = told.attempt(store.read_activations, place, step)
            expected = activations(step)
            if found is not None and not (list(found) == list(expected) and same(found, expected)):
                wrong.append(f"{place.name} {step}")
    return wrong


def mended(path, told):
    """Do what `dynamics verify` says, and what a crawl and an analysis do; say what is left."""
    for _ in range(3):
        lines, verdict = told.attempt(stores.verify, str(path))
        if not verdict:
            return ""
        for line in re.findall(
            "^  dynamics redo (.*)$", lines or "  dynamics redo . --damaged", re.M
        ):
            _, *words = shlex.split(line)
            if "--damaged" in words:
                told.attempt(stores.redo, str(path), damaged=True)
                break
            options = dict(zip(words[::2], words[1::2]))
            chosen = {
                key[2:]: [int(options[key])] for key in ("--step", "--control") if key in options
            }
            told.attempt(stores.redo, str(path), results=options.get("--results"), **chosen)
        _, fault = told.attempt(whole, path)
        if fault:
            return fault
    return f"{verdict}: {lines}"
