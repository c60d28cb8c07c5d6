from __future__ import annotations

import natsound
import numpy as np
import pytest
import torch

from dynamics.metrics import encode

PEPINO = {
    "onehot": [0.466, 0.174, 0.166, 0.548, 0.878, 0.630],
    "ecog": [0.786, 0.713, 0.532, 0.905, 0.960, 0.886],
}


@pytest.mark.parametrize("features", ["onehot", "ecog"])
def test_pepino_protocol_gives_the_published_code_s_numbers(data_root, features):
    sounds = natsound.load(data_root)
    result = encode(getattr(sounds, features), sounds.R, protocol="pepino", folds=sounds.folds)
    # The numbers are known to three decimals.
    np.testing.assert_allclose(result["r2"], PEPINO[features], atol=6e-4)


@pytest.mark.parametrize("features", ["onehot", "ecog"])
def test_default_protocol_is_within_three_hundredths_of_pepino(data_root, features):
    sounds = natsound.load(data_root)
    result = encode(getattr(sounds, features), sounds.R, folds=sounds.folds)
    np.testing.assert_allclose(result["r2"], PEPINO[features], atol=0.03)


def test_pepino_layer_choice_includes_each_single_layer(data_root):
    sounds = natsound.load(data_root)
    layers = {"category": sounds.onehot, "ecog": sounds.ecog}
    result = encode(layers, sounds.R, protocol="pepino", folds=sounds.folds)
    np.testing.assert_allclose(result["layer_r2"][0], PEPINO["onehot"], atol=6e-4)
    np.testing.assert_allclose(result["layer_r2"][1], PEPINO["ecog"], atol=6e-4)
    assert (result["layer"][:, 4] == 1).all()
    assert result["layer_names"].tolist() == ["category", "ecog"]


def example(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 20))
    return X, X[:, :3] + rng.normal(size=(n, 3))


def test_repetitions_are_averaged():
    X, Y = example()
    noise = np.random.default_rng(1).normal(size=(60, 3, 2))
    repeated = Y[..., None] + noise - noise.mean(2, keepdims=True)
    a, b = encode(X, Y), encode(X, repeated)
    np.testing.assert_allclose(a["r"], b["r"], atol=1e-9)


def test_groups_of_stimuli_never_straddle_and_categories_are_spread():
    X, Y = example()
    groups, categories = np.arange(60) // 3, np.repeat(["a", "b"], 30)
    found = encode(X, Y, groups=groups, categories=categories)
    assert (found["folds"].reshape(20, 3) == found["folds"][::3, None]).all()
    np.testing.assert_array_equal(np.bincount(found["folds"][:30]), [6] * 5)
    with pytest.raises(ValueError, match="4 groups cannot be split into 5 folds"):
        encode(X, Y, groups=np.arange(60) // 15)
    with pytest.raises(ValueError, match="categories has 59 entries for 60 stimuli"):
        encode(X, Y, categories=categories[1:])


def test_same_seed_same_numbers_and_torch_in_torch_out():
    X, Y = example()
    a, b = encode(X, Y, seed=3), encode(torch.as_tensor(X), torch.as_tensor(Y), seed=3)
    assert isinstance(b["r2"], torch.Tensor)
    np.testing.assert_allclose(a["r2"], b["r2"], atol=1e-12)
    assert (encode(X, Y, seed=4)["folds"] != a["folds"]).any()


@pytest.mark.parametrize(
    ("X", "Y", "more", "error", "message"),
    [
        (np.ones((9, 2), int), np.ones((9, 1)), {}, TypeError, "int64"),
        (np.ones((9, 2), bool), np.ones((9, 1)), {}, TypeError, "bool"),
        (np.ones((9, 2)), np.ones((8, 1)), {}, ValueError, "9 stimuli and Y has 8"),
        (np.ones((4, 2)), np.ones((4, 1)), {}, ValueError, "4 stimuli cannot be split into 5"),
        (np.full((9, 2), np.inf), np.ones((9, 1)), {}, ValueError, "stimulus 0, feature 0"),
        (
            np.ones((9, 2)),
            np.ones((9, 1)),
            {"protocol": "x"},
            ValueError,
            "default, pepino, tuckute",
        ),
        ({}, np.ones((9, 1)), {}, ValueError, "no layer"),
        (
            {"a": np.ones((9, 2)), "b": np.ones((8, 2))},
            np.ones((9, 1)),
            {},
            ValueError,
            "'b' has 8 stimuli and layer 'a' has 9",
        ),
    ],
)
def test_bad_input_is_one_sentence(X, Y, more, error, message):
    with pytest.raises(error, match=message) as caught:
        encode(X, Y, **more)
    assert "\n" not in str(caught.value)


def test_noise_corrected_score_recovers_that_of_noiseless_responses():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 10))
    signal = X[:, :4] + rng.normal(size=(400, 4))
    Y = signal[..., None] + 1.5 * rng.normal(size=(400, 4, 3))
    corrected, noiseless = encode(X, Y), encode(X, signal)
    np.testing.assert_allclose(corrected["r2_corrected"], noiseless["r2"], atol=0.08)
    assert (corrected["r2"] < noiseless["r2"] - 0.1).all()
    np.testing.assert_allclose(
        corrected["r2_corrected"], corrected["r2"] / corrected["ceiling"] ** 2
    )


def test_missing_neuroid_is_named_or_masked():
    X, Y = example()
    Y[3, 1] = np.nan
    with pytest.raises(ValueError, match="neuroid 1"):
        encode(X, Y)
    masked, alone = encode(X, Y, missing="mask"), encode(X, Y[:, [0, 2]])
    np.testing.assert_allclose(masked["r2"][[0, 2]], alone["r2"], atol=1e-9)
    some = np.arange(len(Y)) != 3
    one = encode(X[some], Y[some, 1], folds=masked["folds"][some])
    np.testing.assert_allclose(masked["r2"][1], one["r2"][0])
    assert masked["fold_r"].shape == (1, 5, 3)
    assert np.isnan(masked["prediction"][3]).tolist() == [False, True, False]
    Y[masked["folds"] == 0, 1] = np.nan
    nearly = encode(X, Y, missing="mask", folds=masked["folds"])
    assert np.isnan(nearly["r2"]).tolist() == [False, True, False]
    assert nearly["layer"][:, 1].tolist() == [-1] * 5
    with pytest.raises(ValueError, match="no neuroid has 2 stimuli in every fold"):
        encode(X, np.full_like(Y, np.nan), missing="mask")
    with pytest.raises(ValueError, match="error, mask"):
        encode(X, Y, missing="x")
