"""What the numbers of checkpoints count: an epoch is no step, and a counter that stands is none."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re

import numpy as np
import pytest
import torch
import xarray as xr
from report_store import make

from dynamics import checkpoints, emergence, plots, report, store
from dynamics.cli.program import app
from dynamics.config import validate
from dynamics.extraction import crawl
from dynamics.plots.steps import step_title
from dynamics.report import numbers
from dynamics.report.numbers import counted, counting

WEIGHTS = {"weight": torch.ones(2, 1, 3), "bias": torch.zeros(2)}


def save(folder, **files):
    folder.mkdir(exist_ok=True)
    for number, (name, inside) in enumerate(files.items()):
        weights = {key: value + number for key, value in WEIGHTS.items()}
        torch.save({"model": weights, **inside}, folder / f"{name}.pt")
    return folder


def units(found):
    return [(c.step, c.unit) for c in found]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"epoch_0": {}, "epoch_1": {}}, [(1, "epochs"), (2, "epochs")]),
        ({"epoch_1": {}, "epoch_2": {}}, [(1, "epochs"), (2, "epochs")]),
        ({"model_0": {"epoch": 0}, "model_5": {"epoch": 5}}, [(1, "epochs"), (6, "epochs")]),
        ({"model_1": {"epoch": 0}, "model_2": {"epoch": 1}}, [(1, "epochs"), (2, "epochs")]),
        ({"first": {"epoch": 0}, "then": {"epoch": 3}}, [(1, "epochs"), (4, "epochs")]),
        ({"epoch_0": {"step": 9}, "epoch_1": {"step": 18}}, [(9, "steps"), (18, "steps")]),
        ({"step_0": {}, "step_1": {}, "step_2": {}}, [(0, "steps"), (1, "steps"), (2, "steps")]),
        ({"model_1": {}, "model_2": {}, "model_3": {}}, [(1, "saves"), (2, "saves"), (3, "saves")]),
        ({"model_1": {}, "model_2": {}, "model_4": {}}, [(1, "steps"), (2, "steps"), (4, "steps")]),
    ],
)  # fmt: skip
def test_names_and_contents_say_what_is_counted(files, expected, tmp_path):
    assert units(checkpoints.find(save(tmp_path / "run", **files))) == expected


def test_a_user_says_what_nothing_tells(tmp_path):
    folder = save(tmp_path / "run", epoch_0={}, epoch_1={})
    assert units(checkpoints.find(folder, unit="steps")) == [(0, "steps"), (1, "steps")]
    places = {n: str(folder / f"epoch_{n}.pt") for n in (0, 1)}
    assert units(checkpoints.find(places, unit="epochs")) == [(0, "epochs"), (1, "epochs")]
    assert units(checkpoints.find(places, unit="tokens"))[1] == (1, "tokens")
    with pytest.raises(ValueError, match=r"step_unit.*what is counted"):
        validate(
            {"run": "a", "checkpoints": "b", "model": "module", "stimuli": "synthetic",
             "step_unit": "once in a while"},
            origin="test",
        )  # fmt: skip


def test_epochs_beside_steps_are_said(tmp_path, caplog):
    folder = save(tmp_path / "run", epoch_3={}, step_100={})
    assert units(checkpoints.find(folder)) == [(3, "steps"), (100, "steps")]
    assert "1 of 2 checkpoints, such as 'epoch_3.pt', state an epoch" in caplog.text


def test_a_counter_that_stands_still_is_not_believed(tmp_path, caplog):
    folder = save(tmp_path / "run", **{f"step_{n}": {"step": 0} for n in (10, 20, 30)})
    found = checkpoints.find(folder)
    assert [c.step for c in found] == [10, 20, 30]
    assert "3 checkpoints state step 0 inside, every one" in caplog.text
    assert all("not believed" in c.note for c in found)
    assert checkpoints.as_listed is not None
    # Copies of one network are one checkpoint still, and a counter that moves counts.
    copies = tmp_path / "copies"
    copies.mkdir()
    for n in (5, 6):
        torch.save({"model": WEIGHTS, "step": 5}, copies / f"step_{n}.pt")
    assert [c.step for c in checkpoints.find(copies)] == [5]


def test_other_orders_are_said_with_both(tmp_path, caplog):
    folder = save(tmp_path / "run", step_10={"step": 20}, step_20={"step": 10})
    for name, when in (("step_10", 1000), ("step_20", 9000)):
        os.utime(folder / f"{name}.pt", (when, when))
    assert [c.step for c in checkpoints.find(folder)] == [10, 20]
    names, times = [record.getMessage() for record in caplog.records]
    assert "'step_20.pt' is of step 10, 'step_10.pt' of 20" in names
    assert "step 10 ('step_20.pt') at 1970-01-01" in times and "step 20 ('step_10.pt')" in times
    caplog.clear()
    for name, when in (("step_10", 9000), ("step_20", 1000)):
        os.utime(folder / f"{name}.pt", (when, when))
    checkpoints.find(folder)
    assert len(caplog.records) == 1


@pytest.fixture
def content(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\n\n\ndef build():\n    return torch.nn.Sequential("
        "torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, 2, 400, 400))\n"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    for n in (0, 1):
        torch.manual_seed(n)
        torch.save(torch.nn.Sequential(torch.nn.Identity(), torch.nn.Conv1d(1, 2, 400, 400))
                   .state_dict(), folder / f"epoch_{n}.pt")  # fmt: skip
    return {
        "run": "epochs", "store": str(tmp_path / "epochs.zarr"), "checkpoints": str(folder),
        "model": {"name": "module", "arguments": {"factory": f"{tmp_path / 'net.py'}:build",
                                                  "layers": ["1"]}},
        "stimuli": {"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.2}},
    }  # fmt: skip


def quiet(note="", amount=1):
    pass


def test_an_epoch_after_training_is_no_untrained_network(content, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    content["model"]["arguments"]["factory"] = "net:build"
    sweep = validate(content, origin="test")
    crawl.crawl(sweep, advance=quiet)
    rows = store.records(store.open_group(sweep.store))
    assert sorted(rows) == [0, 1, 2] and rows[1]["uri"].endswith("epoch_0.pt")
    assert rows[0]["uri"].startswith("untrained:")
    assert "is no untrained network" in caplog.text
    tree = dict(store.open(sweep.store).attrs)
    assert (tree["step_unit"], tree["step_offset"]) == ("epochs", 1)
    steps = store.open(sweep.store)["activations"].children["1"].to_dataset()["step"]
    assert steps.attrs["counts"] == "epochs" and step_title(2, steps) == "epoch 2"
    # What was counted from 0 goes on so when its first file is gone.
    (tmp_path / "run" / "epoch_0.pt").unlink()
    assert units(crawl.discover(sweep)) == [(2, "epochs")]


def test_a_store_of_before_goes_on_as_it_was(content, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    content["model"]["arguments"]["factory"] = "net:build"
    sweep = validate(content | {"step_unit": "steps"}, origin="test")
    crawl.crawl(sweep, advance=quiet)
    before = dict(store.open(sweep.store).attrs)
    assert "step_unit" not in before
    again = validate(content, origin="test")
    assert crawl.crawl(again, advance=quiet)["new"] == 0
    assert dict(store.open(sweep.store).attrs) == before
    assert units(crawl.discover(again)) == [(0, "steps"), (1, "steps")]


def results(unit):
    steps = xr.DataArray([0, 1, 2, 3], dims="step", attrs={"counts": unit} if unit else {})
    score = np.linspace(0, 1, 4)[:, None, None] + np.zeros((4, 2, 3))
    coords = {"step": steps, "layer": ["a", "b"], "neuroid": list("xyz")}
    return xr.Dataset({"score": (("step", "layer", "neuroid"), score)}, coords)


def test_axes_name_what_is_counted():
    for unit, name in (("", "Training step"), ("epochs", "Training epoch"),
                       ("saves", "Saved checkpoint"), ("tokens", "Training tokens")):  # fmt: skip
        assert plots.plot_curves(results(unit)).get_xlabel() == f"{name} (0: untrained)"


@pytest.mark.parametrize("unit", ["epochs", "saves", "tokens", ""])
def test_statistics_name_what_is_counted(unit):
    one = (unit or "steps").removesuffix("s")
    importlib.import_module("dynamics.accessor")  # registers `dataset.dynamics`
    found = results(unit)
    table = emergence.summary_of(found)
    assert table["half_time"].notnull().all()
    assert table.attrs["baseline"] == f"score of the untrained network, {one} 0"
    for name in ("half_time", "onset", "plateau_step", "peak_step"):
        assert table[name].attrs["units"] == one
        assert one in table[name].attrs["description"] and "1" not in table[name].attrs["units"]
    assert found.dynamics.half_time().attrs["baseline"].endswith(f"{one} 0")
    later = emergence.half_time(found["score"].isel(step=slice(1, None)))
    assert later.attrs["units"] == one and f"score at {one} 1" in later.attrs["baseline"]


def test_sentences_name_what_is_counted():
    assert counted("Step by step, step=3") == "Step by step, step=3"
    with counting("epochs"):
        assert counted("Step by step of 9 steps, step=3") == "Epoch by epoch of 9 epochs, step=3"
        assert counted("a line a step") == "a line an epoch"
        assert numbers.unit() == "epoch"
    with counting("saves"):
        assert counted("the last step") == "the last save"
    assert numbers.unit() == "step"


def test_a_page_names_what_is_counted_and_leaves_names_as_they_are(tmp_path, monkeypatch):
    path = make(tmp_path / "run.zarr", run="step study", parts=("one step", "b"), resamples=0)
    tree = store.open(path)
    monkeypatch.setattr("dynamics.report.page.figures.pictures", lambda *_: [])
    plain = report.render(tree)
    tree.attrs["step_unit"] = "epochs"
    page = report.render(tree)
    assert "step study" in page and "one step" in page and "epoch study" not in page
    assert "Epoch by epoch" in page and "from epoch 0 to epoch 10,000" in page
    # The page's program is the one of which its policy has the hash.
    programs = [re.search(r"<script>(.*?)</script>", each, re.DOTALL)[1] for each in (plain, page)]
    assert programs[0] == programs[1]
    words = re.sub(r"step study|one step|<style.*?</style>|<script.*?</script>|<[^>]+>", " ", page,
                   flags=re.DOTALL)  # fmt: skip
    assert not re.search(r"\bsteps?\b", words, re.IGNORECASE)


def test_the_table_of_checkpoints_says_it(content, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logging.getLogger().handlers = logging.getLogger().handlers
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    app(["checkpoints", "sweep.json"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "their numbers count epochs, from 0: 'epoch_0.pt' was trained for 1" in said
    app(["checkpoints", "sweep.json", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert [(each["step"], each["unit"]) for each in told] == [(1, "epochs"), (2, "epochs")]
