"""A checkpoint as a module of HEAR, and a module of HEAR as a model."""

import importlib
import sys

import numpy as np
import pytest
import soxr
import torch
import yaml
from tiny_run import sweep_in

from dynamics import hear, models

MODULE = """
import torch

class Net(torch.nn.Module):
    sample_rate = 8000
    scene_embedding_size = timestamp_embedding_size = 5

    def __init__(self):
        super().__init__()
        self.body = torch.nn.ModuleDict({"conv": torch.nn.Conv1d(1, 5, 400, stride=80)})

def load_model(model_file_path=""):
    torch.manual_seed(3)
    net = Net()
    if model_file_path:
        net.load_state_dict(torch.load(model_file_path))
    return net

def get_timestamp_embeddings(audio, model):
    found = model.body["conv"](audio[:, None]).transpose(1, 2)
    stamps = 25.0 + 10.0 * torch.arange(found.shape[1])
    return found, stamps.expand(len(found), -1)

def get_scene_embeddings(audio, model):
    return get_timestamp_embeddings(audio, model)[0].mean(1)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "heard_net.py").write_text(MODULE)
    (tmp_path / "half_net.py").write_text("def load_model(path=''):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield "heard_net"
    for name in ("heard_net", "half_net"):
        sys.modules.pop(name, None)


def test_a_layer_at_a_step_is_what_hear_asks_for(tmp_path, monkeypatch):
    content = sweep_in(tmp_path, (10, 100))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    model = hear.load_model(f"{path}@10:layer0")
    assert (model.step, model.layer, model.sample_rate) == (10, "layer0", 48000)
    audio = 0.1 * torch.randn(3, 24000, generator=torch.Generator().manual_seed(0))
    found, stamps = hear.get_timestamp_embeddings(audio, model)
    scene = hear.get_scene_embeddings(audio, model)
    assert found.shape == (3, stamps.shape[1], model.timestamp_embedding_size)
    assert scene.shape == (3, model.scene_embedding_size)
    own = models.load(
        "encodecmae", tmp_path / "checkpoints" / "epoch=0-step=10.ckpt",
        **content["model"]["arguments"],
    )  # fmt: skip
    at_own = np.stack([soxr.resample(each, 48000, 24000, quality="VHQ") for each in audio.numpy()])
    expected = own(torch.from_numpy(at_own))["layer0"]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(scene, expected.mean(1))
    first, spacing = own.frame_times["layer0"]
    np.testing.assert_allclose(stamps[0, :2], [1000 * first, 1000 * (first + spacing)], rtol=1e-6)
    last = hear.load_model(str(path))
    assert (last.step, last.layer) == (100, own.layers[-1])


@pytest.mark.parametrize("seconds", [1.07, 1.98, 4.0])
def test_the_kit_and_its_validator_find_what_they_ask_for(tmp_path, monkeypatch, seconds):
    """The calls of heareval's embeddings and the conditions of hearvalidator, line by line."""
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(sweep_in(tmp_path, (10,))))
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("dynamics.hear")
    model = module.load_model("run.yaml", **{})
    assert isinstance(model, torch.nn.Module)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    assert model.sample_rate in (16000, 22050, 44100, 48000)
    assert type(model.scene_embedding_size) is type(model.timestamp_embedding_size) is int
    samples = int(seconds * model.sample_rate)
    audio = np.random.default_rng(0).uniform(-1, 1, (2, samples)).astype("f4")
    with torch.no_grad():
        heard = torch.tensor(audio, device=device)
        scene = module.get_scene_embeddings(heard, model)
        frames, stamps = module.get_timestamp_embeddings(heard, model)
    assert scene.dtype == frames.dtype == stamps.dtype == torch.float32
    scene, frames, stamps = (each.detach().cpu().numpy() for each in (scene, frames, stamps))
    assert scene.shape == (2, model.scene_embedding_size)
    assert frames.shape == (*stamps.shape, model.timestamp_embedding_size) and len(frames) == 2
    gaps = np.diff(stamps)
    assert (gaps > 0).all() and abs(gaps - gaps.mean()).max() < 1 and gaps.max() <= 50
    assert stamps.min() < gaps.mean() + 1
    assert 1000 * seconds - 2 * gaps.mean() <= stamps.max() <= 1000 * seconds


@pytest.mark.parametrize(
    ("own", "taken"),
    [(16000, 16000), (24000, 48000), (8000, 16000), (11025, 22050), (96000, 48000)],
)
def test_sounds_come_at_a_rate_of_hear(own, taken):
    assert hear._taken(own) == taken


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model.pt", "names no sweep"),
        ("run.yaml@7", "no step 7: there are 10, 100"),
        ("run.yaml:layer9", "no layer 'layer9': there are layer0"),
    ],
)
def test_what_names_no_layer_is_said(tmp_path, monkeypatch, text, words):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(sweep_in(tmp_path, (10, 100))))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        hear.load_model(text)


def test_a_module_of_hear_is_a_model_with_two_layers(module):
    model = models.load("hear", package=module)
    assert model.layers == ("timestamp", "scene") and model.sample_rate == 8000
    assert model.frame_times["timestamp"] == (0.025, pytest.approx(0.01))
    wave = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    found = model(wave)
    api = sys.modules[module]
    np.testing.assert_array_equal(
        found["timestamp"], api.get_timestamp_embeddings(wave, api.load_model())[0].detach()
    )
    assert found["scene"].shape == (2, 1, 5) and not model.batchable and model.batch_equal_lengths
    assert int(model.frames(torch.tensor([8000]))["timestamp"][0]) == found["timestamp"].shape[1]


def test_checkpoints_of_a_module_are_exchanged_and_a_prefix_is_added_or_taken_off(module, tmp_path):
    own = models.load("hear", package=module).network.state_dict()
    new = {name: value + 1 for name, value in own.items()}
    for change in (lambda n: n, lambda n: f"net.{n}", lambda n: n.removeprefix("body.conv.")):
        state = {change(name): value for name, value in new.items()}
        prefix = {"weight": "body.conv.", "net.body.conv.weight": "net."}.get(next(iter(state)), "")
        model = models.load("hear", state, package=module, prefix=prefix)
        assert all(torch.equal(model.network.state_dict()[n], v) for n, v in new.items())
    bare = {name.removeprefix("body.conv."): value for name, value in new.items()}
    with pytest.raises(ValueError, match=r"`prefix: 'body\.conv\.'` adds it"):
        models.load("hear", bare, package=module)


def test_what_is_no_module_of_hear_is_said(module):
    for name, words in (
        ("half_net", "is no HEAR module: it has no get_timestamp_embeddings"),
        ("gone_net", "cannot import the HEAR module 'gone_net'"),
    ):
        with pytest.raises(ValueError, match=words):
            models.check("hear", {"package": name})
