"""Control networks whose weights are those of a checkpoint, each tensor's entries shuffled."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from plots_results import results as made
from sklearn.decomposition import PCA
from test_crawl import arrays
from tiny_run import SIZES, sweep_in, sweep_of

from dynamics import accessor, emergence, models, plots, sounds, store
from dynamics.extraction import crawl
from dynamics.models import encodecmae
from dynamics.progress import silent


class Net(torch.nn.Module):
    """Tied weights, a norm with running statistics, and a constant that no training made."""

    def __init__(self):
        super().__init__()
        self.one, self.two = torch.nn.Linear(5, 5), torch.nn.Linear(5, 5)
        self.two.weight = self.one.weight
        self.norm = torch.nn.BatchNorm1d(5)
        self.norm.running_var.copy_(torch.arange(1.0, 6.0))
        self.register_buffer("window", torch.hann_window(7))


def permuted(seed, network=None):
    torch.manual_seed(0)
    network = network or Net()
    models.permute(network, seed)
    return network


def test_every_tensor_keeps_its_entries_and_loses_their_order():
    torch.manual_seed(0)
    before, after = Net().state_dict(), permuted(3).state_dict()
    for name, values in before.items():
        np.testing.assert_array_equal(np.sort(values.ravel()), np.sort(after[name].ravel()))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"one.weight", "one.bias", "norm.running_var"} <= moved
    assert "window" not in moved and "norm.num_batches_tracked" not in moved
    assert torch.equal(after["one.weight"], after["two.weight"])
    # the order of one tensor by hand: of its name and the seed alone
    digest = hashlib.sha256(b"3 one.weight").digest()
    order = np.random.default_rng(list(digest)).permutation(25)
    expected = before["one.weight"].numpy().ravel()[order].reshape(5, 5)
    np.testing.assert_array_equal(after["one.weight"], expected)


def test_a_seed_gives_the_same_order_and_another_seed_another():
    one, again, other = (permuted(seed).state_dict()["one.weight"] for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.fixture
def content(tmp_path):
    return sweep_in(tmp_path, (0, 9, 100))


def expected_of(seed, of):
    """Activations of sound 2 in layer 1 by a network that is built and shuffled here."""
    model = encodecmae.build(None, **SIZES, seed=of)
    models.permute(model, seed)
    waves = sounds.load("synthetic", per_kind=1, seconds=0.4).waveforms(model.sample_rate)
    with torch.inference_mode():
        return model(torch.tensor(waves[2])[None])["layer1"][0].mean(0).numpy()


@pytest.mark.guards(7)
def test_permuted_networks_are_rows_of_the_controls_of_every_run(content):
    sweep = sweep_of(content, seed=3, untrained={"fresh": 3, "permuted": 2})
    assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 0, "new": 3}
    controls = store.open(sweep.store)["controls/activations/layer1"].to_dataset()
    # the run has a step 0 of its own, so that it needs no fresh networks
    assert controls["kind"].to_numpy().tolist() == ["permuted", "permuted"]
    assert controls["control"].to_numpy().tolist() == [1000, 1001]
    for place, seed in enumerate((3, 4)):
        found = controls["activation"].isel(control=place, stimulus=2)
        # float32 through two layers; the last checkpoint was made of seed 2
        np.testing.assert_allclose(found, expected_of(seed, 2), atol=1e-5)
    table = store.open(sweep.store)["controls/checkpoints"]
    assert "last checkpoint shuffled by seed 4" in table["uri"].to_numpy()[1]
    last = store.open(sweep.store)["checkpoints"]["sha256"].sel(step=100).item()
    assert table["sha256"].to_numpy()[1] == f"permuted-4 of {last}"
    before = {p: p.stat().st_mtime_ns for p in sweep.store.rglob("c/*")}
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    assert before == {p: p.stat().st_mtime_ns for p in sweep.store.rglob("c/*")}
    # more of them are added; those there were stay
    more = sweep_of(content, seed=3, untrained={"permuted": 3})
    crawl.crawl(more, advance=silent)
    again = arrays(sweep.store, "controls/")["layer1"]
    np.testing.assert_array_equal(again[:2], controls["activation"])
    assert len(again) == 3


def test_layers_of_permuted_networks_are_kept_by_components_of_their_own(content):
    sweep = sweep_of(content, untrained={"permuted": 2}, components=3)
    crawl.crawl(sweep, advance=silent)
    found = store.open(sweep.store)["controls/activations/layer1"].to_dataset()["activation"]
    waves = sounds.load("synthetic", per_kind=1, seconds=0.4).waveforms(24000)
    for place in range(2):
        model = encodecmae.build(None, **SIZES, seed=2)
        models.permute(model, place)
        with torch.inference_mode():
            each = [model(torch.tensor(wave)[None])["layer1"][0].mean(0).numpy() for wave in waves]
        expected = PCA(3, svd_solver="full").fit_transform(np.array(each, float))
        own = found.isel(control=place).to_numpy()
        assert own.shape == expected.shape
        signs = np.sign((own * expected).sum(0))
        # float32 through two layers
        np.testing.assert_allclose(own * signs, expected, atol=1e-4 * np.abs(expected).max())
    assert crawl.crawl(sweep, advance=silent)["new"] == 0


def test_fresh_and_permuted_networks_stand_side_by_side(content, tmp_path):
    (tmp_path / "checkpoints" / "epoch=0-step=0.ckpt").unlink()
    sweep = sweep_of(content, untrained={"fresh": 2, "permuted": 1, "of": 9})
    crawl.crawl(sweep, advance=silent)
    controls = store.open(sweep.store)["controls/activations/layer1"].to_dataset()
    assert controls["kind"].to_numpy().tolist() == ["fresh", "fresh", "permuted"]
    found = controls["activation"].isel(control=2, stimulus=2)
    np.testing.assert_allclose(found, expected_of(0, 1), atol=1e-5)
    # a sweep of fresh ones alone has the same ones
    alone = sweep_of(content, untrained=2, store=str(tmp_path / "alone.zarr"))
    crawl.crawl(alone, advance=silent)
    np.testing.assert_array_equal(
        controls["activation"].isel(control=slice(2)), arrays(alone.store, "controls/")["layer1"]
    )
    assert store.open(alone.store).attrs["identity"] == store.open(sweep.store).attrs["identity"]


def test_while_a_run_trains_its_last_checkpoint_is_not_known(content):
    sweep = sweep_of(content, untrained={"permuted": 1})
    next(crawl.watch(sweep))
    assert "controls" not in store.open(sweep.store).children


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (-1, "give a number of fresh networks, at least 0"),
        ("all", "give a number of fresh networks"),
        ({"permutted": 3}, "did you mean `permuted`"),
        ({"permuted": 1001}, "`permuted` is 1001: give a number from 0 to 1000"),
        ({"fresh": True}, "`fresh` is True"),
        ({"of": 3}, "give `permuted` as well"),
    ],
)
def test_what_is_no_number_of_controls_is_one_sentence(content, given, said):
    with pytest.raises(ValueError, match=said):
        sweep_of(content, untrained=given)


def test_a_step_that_is_not_there_is_said_before_anything_is_written(content):
    sweep = sweep_of(content, untrained={"permuted": 1, "of": 10})
    with pytest.raises(ValueError, match=r"weights of step 10.* there are 0, 9, 100"):
        crawl.crawl(sweep, advance=silent)
    assert not sweep.store.exists()


def with_permuted(level):
    results = made()
    score = results["score"].isel(step=0, drop=True)
    shuffled = xr.concat([score * 0 + level - 0.01, score * 0 + level + 0.01], "permuted")
    return results.assign(permuted_score=shuffled)


def test_the_level_of_permuted_networks_is_drawn_tabulated_and_counted_from():
    results = with_permuted(0.2)
    assert emergence.levels.level(results, "permuted") == pytest.approx(0.2)
    last = results["score"].isel(step=-1).mean("neuroid")
    assert accessor  # registers `dataset.dynamics`
    found = results.dynamics.gain(above="permuted")
    np.testing.assert_allclose(found["estimate"], last - 0.2, atol=1e-12)
    assert found.attrs["baseline"].startswith("mean score of networks with permuted weights")
    table = emergence.summary_of(results)
    np.testing.assert_allclose(table["gain_over_permuted"], last - 0.2, atol=1e-12)
    ax = plots.plot_curves(results)
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    assert lines["permuted weights, mean of layers"][0] == pytest.approx(0.2)
    assert "permuted_score" not in made()
    assert "gain_over_permuted" not in emergence.summary_of(made())


def stopping(function, *, at):
    """The function, which at its n-th call is stopped by Ctrl-C."""
    calls = itertools.count(1)

    def called(*given, **more):
        if next(calls) == at:
            raise KeyboardInterrupt
        return function(*given, **more)

    return called


@pytest.mark.slow
@pytest.mark.guards(1)
def test_stopped_anywhere_and_resumed_the_controls_are_the_same_bytes(
    content, monkeypatch, tmp_path
):
    content["untrained"] = {"fresh": 1, "permuted": 3}
    reference = sweep_of(content, store=str(tmp_path / "reference.zarr"))
    crawl.crawl(reference, advance=silent)
    sweep = sweep_of(content)
    for name in ("write_activations", "commit", "commit"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(store, name, stopping(getattr(store, name), at=2))
            crawl.crawl(sweep, advance=silent)
    crawl.crawl(sweep, advance=silent)
    for group in ("", "controls/"):
        expected = arrays(reference.store, group)
        assert {len(values) for values in expected.values()} == {3}
        for layer, values in arrays(sweep.store, group).items():
            np.testing.assert_array_equal(values, expected[layer])
