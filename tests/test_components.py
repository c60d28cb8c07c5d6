"""Layers by their leading components: what is kept, what it leaves equal, and what stops it."""

import shutil

import numpy as np
import pytest
import soundfile
from sklearn.decomposition import PCA
from test_crawl import arrays
from tiny_run import save_checkpoint, sweep_in, sweep_of
from typer.testing import CliRunner
from zarr.storage import LocalStore

from dynamics import metrics, report, sounds, store, sweep
from dynamics.analysis import analyze
from dynamics.cli.program import app
from dynamics.cluster import cluster
from dynamics.extraction import components, crawl, room
from dynamics.extraction.windows import Block
from dynamics.metrics.principal_components import Pairs, Rows
from dynamics.progress import silent
from dynamics.store.components import Kept, in_words

TIMED = {"name": "time", "arguments": {"rate": 20}}
WINDOWS = {"context": 1.0, "stride": 1.0, "lookahead": 0.5}


def rows_of(n, p, *, seed=0, rank=None):
    rng = np.random.default_rng(seed)
    rank = min(n, p) if rank is None else rank
    scales = np.exp(-np.arange(rank) / 4)
    X = (rng.standard_normal((n, rank)) * scales) @ rng.standard_normal((rank, p))
    return (X + rng.standard_normal(p)).astype("float32")


def fitted(X, number, *, parts=1):
    rows = Rows(X.shape[1], number)
    for part in np.array_split(X, parts):
        rows.add(part)
    return rows.basis()


@pytest.mark.parametrize("n, p", [(12, 30), (30, 30), (31, 30), (200, 30), (400, 7)])
@pytest.mark.parametrize("parts", [1, 13])
def test_components_are_those_of_scikit_learn_up_to_sign_whatever_the_parts(n, p, parts):
    X, number = rows_of(n, p), 5
    basis = fitted(X, number, parts=parts)
    expected = PCA(number, svd_solver="full").fit(X.astype("float64"))
    scores, theirs = basis.scores(X), expected.transform(X.astype("float64"))
    signs = np.sign((scores * theirs).sum(0))
    # float32 scores of sizes around 1: 1e-5 is some hundred roundings.
    np.testing.assert_allclose(scores * signs, theirs, atol=1e-5 * np.abs(theirs).max())
    assert basis.share == pytest.approx(expected.explained_variance_ratio_.sum(), abs=1e-9)
    largest = basis.axes[np.abs(basis.axes).argmax(0), np.arange(number)]
    assert (largest > 0).all()
    np.testing.assert_array_equal(fitted(X, number, parts=parts).axes, basis.axes)


@pytest.mark.parametrize("n, p", [(12, 30), (200, 30)])
def test_planted_dimensions_are_found_and_what_is_beyond_them_is_zero(n, p):
    X = rows_of(n, p, rank=3).astype("float64")
    basis = fitted(X, 3)
    assert basis.share == pytest.approx(1.0, abs=1e-10)
    np.testing.assert_allclose(basis.scores(X) @ basis.axes.T + X.mean(0), X, atol=1e-5)
    assert 0.5 < fitted(X, 1).share < 0.99
    more = fitted(np.repeat(X[:4], n // 4, 0), 6)
    assert (more.scores(X)[:, 3:] == 0).all() and more.share == pytest.approx(1.0)
    still = fitted(np.ones((n, p), "float32"), 2)
    assert (still.scores(X) == 0).all() and still.share == 1.0


@pytest.mark.parametrize("n, p", [(40, 60), (90, 20)])
def test_all_components_leave_spaces_and_predictions_as_they_were(n, p):
    X, rng = (
        np.random.default_rng(0).standard_normal((n, p)).astype("float32"),
        np.random.default_rng(1),
    )
    Y = X @ rng.standard_normal((p, 12)) / p**0.5 + rng.standard_normal((n, 12))
    S = components.reduced({"a": X}, p)["a"].astype("float64")
    X = X.astype("float64")
    near = {"abs": 1e-6}  # float32 scores
    for function in (metrics.cka, metrics.procrustes):
        assert float(function(S, Y)) == pytest.approx(float(function(X, Y)), **near)
    plain = {"distance": "euclidean", "zscore": False}
    assert float(metrics.rsa(S, Y, **plain)) == pytest.approx(
        float(metrics.rsa(X, Y, **plain)), **near
    )
    folds = {"folds": np.arange(n) % 5}
    found, expected = (np.asarray(metrics.encode(A, Y, **folds)["r"]) for A in (S, X))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # What weighs features one by one does not, which is why a sweep refuses it.
    assert abs(float(metrics.rsa(S, Y)) - float(metrics.rsa(X, Y))) > 0.01


def test_axes_that_a_fit_would_turn_are_found_again():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 30)).astype("float32")  # all variances alike
    stored = fitted(X, 8).scores(X)
    near = X + 1e-6 * rng.standard_normal(X.shape).astype("float32")
    assert np.abs(fitted(X + 1e-2 * rng.standard_normal(X.shape), 8).scores(X) - stored).max() > 0.1
    pairs = Pairs(30, 8)
    pairs.add(near, stored)
    np.testing.assert_allclose(pairs.basis().scores(near), stored, atol=1e-5)
    other = Pairs(30, 8)
    changed = X + 1e-2 * rng.standard_normal(X.shape)
    other.add(changed, stored)
    assert np.abs(other.basis().scores(changed) - stored).max() > 1e-2


@pytest.fixture
def content(tmp_path):
    """A sweep of two checkpoints over three sounds, two of which are longer than a window."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, seconds in {"long": 4.3, "middle": 3.0, "short": 1.5}.items():
        soundfile.write(
            folder / f"{name}.wav", 0.1 * rng.standard_normal(int(seconds * 8000)), 8000
        )
    return sweep_in(tmp_path, (9, 10), stimuli=str(folder), targets=[], windows="none") | {
        "untrained": 0
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": TIMED},
        {"pooling": "mean+deviation", "dtype": "float16"},
        {"pooling": TIMED, "windows": WINDOWS},
    ],
)
def test_a_store_holds_the_components_of_what_it_would_hold(content, tmp_path, changes):
    number = 4 if changes["pooling"] is TIMED else 2
    whole = sweep_of(content, **changes, store=str(tmp_path / "whole.zarr"))
    few = sweep_of(content, **changes, components=number)
    for each in (whole, few):
        assert crawl.crawl(each, advance=silent)["done"] == 2
    assert "components" not in store.open_group(whole.store).attrs["identity"]
    tree = store.open(few.store)
    for layer, values in arrays(whole.store).items():
        dataset = tree[f"activations/{layer}"].to_dataset()
        kept = dataset["variance_kept"]
        assert kept.dims == ("step",) and "variance" in kept.attrs["description"]
        for at in range(2):
            rows = values[at].reshape(-1, values.shape[-1])
            there = np.isfinite(rows[:, 0])
            found = dataset["activation"][at].to_numpy().reshape(-1, number)
            assert np.isnan(found[~there]).all()
            exact = rows[there].astype("float64")
            pca = PCA(number, svd_solver="full").fit(exact)
            theirs = pca.transform(exact)
            signs = np.sign((found[there] * theirs).sum(0))
            rounded = 2e-3 if whole.dtype == "float16" else 1e-5
            close = {"atol": rounded * np.abs(theirs).max()}
            np.testing.assert_allclose(found[there] * signs, theirs, **close)
            share = pca.explained_variance_ratio_.sum()
            assert float(kept[at]) == pytest.approx(share, abs=rounded)
    told = store.variance_kept(few.store)
    assert {each[:2] for each in told.values()} == {(values.shape[-1], number)}
    assert store.variance_kept(whole.store) == {}
    assert store.verify(few.store) == {}
    said = CliRunner().invoke(app, ["status", str(few.store)]).output
    assert f"components: {in_words(told)}" in " ".join(said.split())
    page = report.write(few.store, output=tmp_path / "report.html").read_text()
    assert f"over all stimuli and samples: {in_words(told)}." in page


def test_words_of_what_is_kept_are_never_too_high():
    kept = {"a": Kept(1024, 128, 0.97996), "b": Kept(512, 128, 1 - 1e-16)}
    expected = "128 of 512 to 1,024; keeps at least 97.9 % of the variance in every layer"
    assert in_words(kept) == expected
    assert in_words({"a": Kept(64, 64, 1.0)}).startswith("64 of 64; keeps at least 100 % of")


def test_verification_sees_another_share_and_a_step_done_again_is_the_same(content):
    sweep_ = sweep_of(content, pooling=TIMED, components=4, windows=WINDOWS)
    crawl.crawl(sweep_, advance=silent)
    before = undated(sweep_.store)
    array = store.open_group(sweep_.store, mode="r+")["activations/layer1/variance_kept"]
    array[1] = 0.5
    assert "other values" in store.verify(sweep_.store)[10]
    with pytest.raises(ValueError, match="other values than were committed"):
        store.read_activations(sweep_.store, 10)
    store.redo(sweep_.store, [10])
    assert crawl.crawl(sweep_, advance=silent)["new"] == 1
    assert undated(sweep_.store).identical(before)


@pytest.mark.parametrize("windows", ["none", WINDOWS])
def test_another_version_is_compared_whatever_way_axes_turn(content, tmp_path, windows):
    one = sweep_of(content, pooling=TIMED, components=4, windows=windows, untrained=0)
    crawl.crawl(one, advance=silent)
    root = store.open_group(one.store, mode="r+")
    root.attrs["versions"] = {"torch": "0.1"}
    array, others = (root[f"activations/layer{n}/activation"] for n in (0, 1))
    for each in (array, others):  # as another library could have made them
        each[0] = np.asarray(each[0])[..., [1, 0, 2, 3]] * [1, -1, 1, 1]
    store.commit(root, 9)
    save_checkpoint(tmp_path / "checkpoints", 50, seed=5)
    assert crawl.crawl(one, advance=silent)["new"] == 1
    root.attrs["versions"] = {"torch": "0.1"}
    array[0] = np.asarray(array[0]) * 1.01  # no turned axes make that of the same network
    store.commit(root, 9)
    save_checkpoint(tmp_path / "checkpoints", 60, seed=6)
    with pytest.raises(ValueError, match=r"step 9, extracted again .* differs in layer layer0 by"):
        crawl.crawl(one, advance=silent)


def undated(path):
    tree = store.open(path).load()
    for node in tree.subtree:
        node.attrs.pop("created", None)
        if "seconds" in node:
            node.dataset = node.to_dataset().drop_vars("seconds")
    return tree


@pytest.mark.slow
@pytest.mark.guards(1)
@pytest.mark.parametrize("windows", ["none", WINDOWS])
def test_stopped_at_any_write_a_store_of_components_is_resumed_the_same(content, tmp_path, windows):
    (tmp_path / "checkpoints" / "epoch=0-step=9.ckpt").unlink()
    content |= {"windows": windows, "pooling": TIMED, "components": 3, "untrained": 2}
    sweep_ = sweep_of(content)
    original, copies = LocalStore.set, []

    async def copy_and_set(self, key, value):
        copies.append(None)
        if "variance_kept" in key or "/activation/" in f"/{key}" or len(copies) % 9 == 0:
            copies[-1] = tmp_path / "copies" / str(len(copies)) / "tiny.zarr"
            shutil.copytree(self.root, copies[-1])
        await original(self, key, value)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalStore, "set", copy_and_set)
        crawl.crawl(sweep_, advance=silent)
    reference = undated(sweep_.store)
    some = [path for path in copies if path]
    assert len(some) > 10
    for path in some[:: max(1, len(some) // 8)]:
        crawl.crawl(sweep_of(content, store=str(path)), advance=silent)
        assert undated(path).identical(reference)
        assert store.verify(path) == store.verify_controls(path) == {}


@pytest.mark.slow
@pytest.mark.guards(10)
def test_workers_of_a_cluster_reduce_as_one_process_does(content, tmp_path):
    content |= {"windows": WINDOWS, "pooling": TIMED, "components": 3}
    one = sweep_of(content, store=str(tmp_path / "alone.zarr"))
    crawl.crawl(one, advance=silent)
    with cluster(None, workers=1) as client:
        crawl.crawl(sweep_of(content), scheduler=client.scheduler.address, advance=silent)
    found, expected = undated(sweep_of(content).store), undated(one.store)
    found.name = expected.name
    assert found.identical(expected)


def test_untrained_networks_are_reduced_as_the_others(content):
    sweep_ = sweep_of(content, pooling=TIMED, components=4, untrained=2)
    crawl.crawl(sweep_, advance=silent)
    found = arrays(sweep_.store, "controls/")
    assert {values.shape[-1] for values in found.values()} == {4}
    tree = store.open(sweep_.store)
    for layer, values in found.items():
        np.testing.assert_array_equal(values[0], tree[f"activations/{layer}"]["activation"][0])
        assert tree[f"controls/activations/{layer}"]["variance_kept"].dims == ("control",)


def test_a_layer_of_fewer_features_has_as_many_components_and_none_is_an_error():
    layers = {"wide": rows_of(40, 20), "narrow": rows_of(40, 6)}
    found = components.reduced(layers, 10)
    assert {layer: values.shape for layer, values in found.items()} == {
        "wide": (40, 10),
        "narrow": (40, 6),
    }
    assert found.kept["narrow"].share == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"is 30, and no layer .* has more than 20 features"):
        components.reduced(layers, 30)


def test_blocks_are_gone_through_twice_and_never_held():
    layers = {"a": rows_of(600, 10)}
    seen = []

    def passes():
        for first in range(0, 600, 40):
            seen.append(first)
            yield Block(0, first, {"a": layers["a"][first : first + 40]})

    found = components.of_blocks(passes, 4)
    first = next(found)
    assert len(seen) == 15 + 1 and first.values.kept["a"][:2] == (10, 4)
    scores = np.concatenate([first.values["a"], *(block.values["a"] for block in found)])
    np.testing.assert_allclose(scores, components.reduced(layers, 4)["a"], atol=1e-5)


@pytest.mark.parametrize(
    "given, sentence",
    [
        (0.95, "give a whole number of components, the same for every step; the store says what"),
        (0, "give a whole number of components"),
        (True, "give a whole number of components"),
        ("many", "give a whole number of components"),
    ],
)
def test_components_that_are_none_are_one_sentence_with_their_key(content, given, sentence):
    with pytest.raises(ValueError, match="test: `components`: ") as raised:
        sweep_of(content, components=given)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"components": 3}, "`components` is 3, and activations to 3 stimuli have 2 at most"),
        (
            {"components": 900, "pooling": TIMED},
            "`components` is 900, and activations to 176 samples in time have 175 at most",
        ),
        (
            {"components": 17, "pooling": TIMED},
            "no layer of the network has more than 16 features after pooling: lower it",
        ),
        (
            {"components": 17, "pooling": TIMED, "windows": WINDOWS},
            "no layer of the network has more than 16 features after pooling: lower it",
        ),
    ],
)
def test_more_components_than_there_can_be_end_the_crawl_with_nothing_done(
    content, changes, sentence
):
    sweep_ = sweep_of(content, **changes)
    with pytest.raises(ValueError, match="lower it, or leave it out") as raised:
        crawl.crawl(sweep_, advance=silent)
    assert sentence in str(raised.value)
    if sweep_.store.exists():
        assert set(store.statuses(store.open_group(sweep_.store)).values()) == {store.PENDING}


def test_activations_that_others_computed_are_not_reduced(content):
    one = sweep_of(content, pooling=TIMED, components=4)
    stimuli = sounds.load(one.stimuli.name)
    with pytest.raises(ValueError, match="leave it out with `activations`"):
        components.check(one.model_copy(update={"activations": "theirs"}), stimuli)
    components.check(one, stimuli)


def test_a_store_of_other_components_is_another_store(content):
    one = sweep_of(content, pooling=TIMED, components=4)
    stimuli = sounds.load(one.stimuli.name)
    root = store.begin(
        one.store, run="tiny", identity=crawl.identify(one, stimuli) | {"components": 3}
    )
    store.plan(root, [(9, "a", 1)])
    store.commit(root, 9)
    with pytest.raises(ValueError, match="made with components = 3, this sweep has 4: choose"):
        crawl.crawl(one, advance=silent)


@pytest.mark.parametrize(
    "key, choice",
    [
        ("metrics", "rsa"),
        ("metrics", {"name": "rsa", "arguments": {"distance": "euclidean"}}),
        ("metrics", "pwcca"),
        ("metrics", "mutual_knn"),
        ("self_similarity", "rsa"),
    ],
)
def test_metrics_of_single_features_are_refused_before_the_crawl(tmp_path, key, choice):
    rest = {"metrics": ["ridge"], key: [choice], "components": 4}
    content = sweep_in(tmp_path, (0, 9)) | rest
    with pytest.raises(ValueError, match="weighs features one by one, and `components` puts mix"):
        sweep.check_names(sweep_of(content))
    sweep.check_names(sweep_of(content, components=None))


@pytest.mark.slow
def test_what_is_left_compares_components(tmp_path):
    plain = {"name": "rsa", "arguments": {"distance": "euclidean", "zscore": False}}
    content = sweep_in(tmp_path, (9,), metrics=["ridge", plain], resamples=0, untrained=0)
    one = sweep_of(content, components=6, baseline=None)
    sweep.check(one)
    crawl.crawl(one, advance=silent)
    assert analyze.analyze(one, advance=silent)["new"] == 2
    for metric in ("ridge", "rsa"):
        scores = store.open(one.store)[f"results/simulated/{metric}"]["score"]
        assert np.isfinite(scores).all()


def test_the_estimate_of_room_says_what_is_kept(content, monkeypatch, caplog):
    monkeypatch.setattr(room, "_LEAST", 100)
    sweep_ = sweep_of(content, pooling=TIMED, components=4)
    crawl.crawl(sweep_, advance=silent)
    assert "8 features in 2 layers and 2 steps as float32" in caplog.text
    assert "(components: 4 of 16; keeps at least " in caplog.text
