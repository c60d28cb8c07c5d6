"""Layers that are read by hooks: as they were when they ran, and none lost in silence."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dynamics import models

HERE = __name__


class InPlace(nn.Module):
    """Every way of writing into what a layer gave: an activation, a sum, a view, a dataclass."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 6, 40, stride=20)
        self.act = nn.ReLU(inplace=True)
        self.proj = nn.Conv1d(6, 6, 1)
        self.boxed = Boxed()

    def forward(self, x):
        h = self.act(self.conv(x.unsqueeze(1)))
        r = self.proj(h)
        r += h
        out = self.boxed(r)
        out.values[:, :3].mul_(2)  # a view
        return out.values


@dataclasses.dataclass
class Box:
    values: torch.Tensor


class Boxed(nn.Module):
    def forward(self, x):
        return Box(values=x + 1)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(1, 16, 400, stride=320)
        layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.blocks = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])

    def forward(self, x, lengths=None):
        h = self.front(x.unsqueeze(1)).transpose(1, 2)
        mask = None
        if lengths is not None:
            frames = (lengths - 400) // 320 + 1
            mask = torch.arange(h.shape[1]) >= frames[:, None]
        return self.blocks[0](self.encoder(h, src_key_padding_mask=mask))


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(1, 5, 20, stride=20)

    def forward(self, x):
        return self.front(functional.dropout(x, 0.5).unsqueeze(1))  # on in evaluation mode as well


class Chunked(nn.Module):
    """Calls its layer once a second of sound."""

    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(1, 5, 20, stride=20)

    def forward(self, x):
        return torch.cat([self.front(part.unsqueeze(1)) for part in x.split(16000, 1)], 2)


def scripted():
    return nn.Sequential(nn.Unflatten(1, (1, -1)), torch.jit.script(nn.Sequential(InnerConv())))


class InnerConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 5, 20, 20)

    def forward(self, x):
        return self.conv(x)


def compiled(*, inner=False):
    net = InPlace()
    if inner:
        net.proj = torch.compile(net.proj)
        net.conv.compile()
        return net
    return torch.compile(net)


def load(factory, layers, **arguments):
    return models.load("module", None, factory=f"{HERE}:{factory}", layers=layers, **arguments)


def noise(samples=16000, batch=1):
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(1))


LAYERS = ["conv", "act", "proj", "boxed"]


def right(model, x):
    w = model.network.state_dict()
    conv = functional.conv1d(x[:, None], w["conv.weight"], w["conv.bias"], stride=20)
    act = conv.clamp(min=0)
    proj = functional.conv1d(act, w["proj.weight"], w["proj.bias"])
    return {"conv": conv, "act": act, "proj": proj, "boxed": proj + act + 1}


@pytest.mark.parametrize("inference", [False, True])
def test_what_is_written_into_a_layers_output_afterwards_is_not_recorded(inference):
    model, x = load("InPlace", LAYERS), noise()
    with torch.inference_mode(inference):
        found = model(x)
        for layer, values in right(model, x).items():
            np.testing.assert_array_equal(found[layer], values.transpose(1, 2), err_msg=layer)


@pytest.mark.parametrize("options", [{}, {"inner": True}])
def test_a_compiled_network_gives_the_layers_of_the_plain_one_by_either_name(options):
    prefix = "" if options else "_orig_mod."
    model = load("compiled", [prefix + layer for layer in LAYERS], options=options)
    assert set(model.layers) == set(LAYERS)
    x = noise()
    found = model(x)
    for layer, values in right(model, x).items():
        np.testing.assert_allclose(found[layer], values.transpose(1, 2), atol=1e-6, err_msg=layer)


@pytest.mark.parametrize(
    "layers", [["encoder.layers.*"], ["encoder.layers.?", "encoder"], ["encoder.layers.*.linear1"]]
)
def test_inner_modules_of_torchs_transformer_run_and_padding_changes_nothing(layers):
    model = load("Transformer", layers, lengths="lengths")
    assert model.batchable
    batch, lengths = noise(16000, 2), torch.tensor([16000, 7000])
    batch[1, 7000:] = 0
    with torch.no_grad():
        together, alone = model(batch, lengths), model(batch[1:, :7000], lengths[1:])
    for layer, counts in model.frames(lengths).items():
        count = int(counts[1])
        assert alone[layer].shape[1] == count == 21 and together[layer].shape[1] == 49
        np.testing.assert_allclose(together[layer][1, :count], alone[layer][0], atol=1e-5)
    assert torch.backends.mha.get_fastpath_enabled()  # left as it was


@pytest.mark.parametrize(
    ("factory", "layers", "message"),
    [
        ("Transformer", ["front", "blocks.1"], "none of blocks.1 ran in the forward pass"),
        ("Transformer", ["front", "blocks.*", "bloks.*"], r"no submodule matches 'bloks\.\*'"),
        ("Transformer", ["front", "encoder.layers.0.self_attn.out_proj"], "without calling them"),
        (
            "scripted",
            ["1.0.conv"],
            "scripted and traced modules call no hooks",
        ),
        ("Chunked", ["front"], "front#2 runs another number of times .* leave front out"),
    ],
)
def test_layers_that_never_run_are_named(factory, layers, message):
    with pytest.raises(ValueError, match=message):
        load(factory, layers)


def test_modules_of_a_pattern_that_do_not_run_are_named_in_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        model = load("Transformer", "blocks*")
    assert model.layers == ("blocks.0",)
    assert "blocks.1 did not run in the forward pass and give no layer" in caplog.text


def test_noise_in_evaluation_mode_is_the_same_each_time_and_keeps_sounds_apart():
    model, x = load("Noisy", "front"), noise()
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(model(x)["front"], model(x)["front"])
    assert torch.equal(state, torch.random.get_rng_state())
    assert not model.batchable and not model.batch_equal_lengths
