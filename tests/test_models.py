from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from dynamics import models


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


@pytest.mark.slow
def test_importing_the_package_imports_no_model_library():
    code = (
        "import sys, dynamics.models; "
        "print([m for m in ('s3prl', 'transformers', 'torchaudio') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_an_unknown_adapter_lists_those_there_are():
    with pytest.raises(ValueError, match=r"unknown adapter 'hubret'.*huggingface.*s3prl"):
        models.load("hubret")


def test_weights_are_copied_exactly_and_keep_the_module_dtype(network):
    state = {
        name: torch.full_like(value, 2) if value.is_floating_point() else value + 5
        for name, value in network.state_dict().items()
    }
    models.load_strictly(network, {name: value.double() for name, value in state.items()})
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
        assert value.dtype == state[name].dtype


def test_missing_and_left_over_weights_are_named_with_the_nearest(network):
    state = dict(network.state_dict())
    state["0.wieght"] = state.pop("0.weight")
    with pytest.raises(ValueError) as caught:
        models.load_strictly(network, state, what="the toy")
    message = str(caught.value)
    assert "does not fit the toy" in message
    assert "lacks 1 weights (0.weight)" in message
    assert "nearest to 0.weight is 0.wieght" in message


def test_wrong_shapes_state_what_was_found_and_expected(network):
    state = {**network.state_dict(), "0.weight": torch.zeros(5, 3)}
    with pytest.raises(ValueError, match=r"0\.weight is 5x3 in the checkpoint and 4x3"):
        models.load_strictly(network, state)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused_and_nothing_is_copied(network, bad, dtype):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = {name: value.clone() for name, value in before.items()}
    state["0.bias"][0] = 7.0
    state["1.weight"] = state["1.weight"].to(dtype)
    state["1.weight"][2] = bad
    with pytest.raises(ValueError, match=r"1 of 4 in 1\.weight"):
        models.load_strictly(network, state)
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_large_finite_half_precision_weights_are_accepted():
    models.check_finite({"w": torch.full((1000, 1000), 60000.0, dtype=torch.float16)})


def test_ignored_and_optional_names_may_differ(network):
    state = dict(network.state_dict())
    del state["1.num_batches_tracked"]
    state["head.weight"] = torch.zeros(2)
    models.load_strictly(network, state, ignore=["head.*"], optional=["*.num_batches_tracked"])
    with pytest.raises(ValueError, match=r"head\.weight"):
        models.load_strictly(network, state, optional=["*.num_batches_tracked"])


def small(width=8):
    return torch.nn.Sequential(torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, width, 100, 50))


def test_an_untrained_control_has_the_sizes_of_the_checkpoint_and_other_weights(tmp_path):
    torch.save({"step": 5, "model": small().state_dict()}, tmp_path / "a.pt")
    arguments = {"factory": f"{__name__}:small", "layers": "1"}
    one, two, other = (
        models.untrained("module", tmp_path / "a.pt", seed=seed, **arguments) for seed in (1, 1, 2)
    )
    weight = "network.1.weight"
    np.testing.assert_array_equal(one.state_dict()[weight], two.state_dict()[weight])
    assert not torch.equal(one.state_dict()[weight], other.state_dict()[weight])
    with pytest.raises(ValueError, match="8x1x100 in the checkpoint and 9x1x100"):
        models.untrained("module", tmp_path / "a.pt", options={"width": 9}, **arguments)


def test_the_versions_of_an_adapter_name_its_libraries_and_a_factorys_source(tmp_path, monkeypatch):
    import importlib.metadata

    found = models.versions("s3prl", {"name": "fbank"})
    assert found["s3prl"] == importlib.metadata.version("s3prl")
    assert set(found) == {"training-dynamics", "torch", "soxr", "s3prl", "torchaudio"}
    monkeypatch.syspath_prepend(tmp_path)
    digests = set()
    for number in (1, 2):
        (tmp_path / f"mine{number}.py").write_text(f"def make():\n    return {number}\n")
        factory = f"mine{number}:make"
        digests.add(models.versions("module", {"factory": factory, "layers": "x"})[factory])
    assert len(digests) == 2 and all(len(digest) == 12 for digest in digests)


def test_every_adapter_has_a_line_about_it_and_a_revision():
    for name in models.ADAPTERS:
        assert 20 < len(models.summary(name)) < 100
        assert models.revision(name) >= 1


def test_an_adapter_that_makes_no_model_is_one_sentence(monkeypatch):
    class Half:
        sample_rate, layers = 16000, ("first",)

    monkeypatch.setitem(models.ADAPTERS, "half", lambda state: Half())
    with pytest.raises(TypeError, match="'half' made a Half without `load_weights`"):
        models.load("half", {})
