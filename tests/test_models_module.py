from __future__ import annotations

import numpy as np
import pytest
import torch
from adapters import a_click_keeps_its_time, equal_lengths_share_a_batch
from torch import nn

from dynamics import checkpoints, models

HERE = __name__


class Convolutional(nn.Module):
    """Maps (batch, channel, frequency, time), a recurrent layer (time, batch, feature), a head."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.front = nn.Conv1d(1, 8, 400, stride=160)
        self.map = nn.Conv2d(1, width, 3, padding=1)
        self.recurrent = nn.LSTM(8 * width, 6)
        self.shared = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.front(x.unsqueeze(1))
        x = self.map(x.unsqueeze(1))
        x, _ = self.recurrent(x.flatten(1, 2).permute(2, 0, 1))
        x = self.shared(self.shared(x))
        return self.head(x.mean(0))


class Masked(nn.Module):
    """Knows the lengths and uses no neighbour, so that padding cannot matter."""

    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(1, 5, 20, stride=20)
        self.norm = nn.LayerNorm(5)

    def forward(self, x, sizes):
        assert len(sizes) == len(x)
        return self.norm(self.front(x).transpose(1, 2))


class Mixing(nn.Module):
    """Subtracts the mean of the batch, as some networks with batch statistics do."""

    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(1, 5, 20, stride=20)

    def forward(self, x):
        return self.front((x - x.mean(0)).unsqueeze(1))


class Elsewhere(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.Linear(1, 1)
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        return self.used(x.unsqueeze(-1))


LAYERS = ["front", "map", "recurrent", "shared", "head"]


def load(checkpoint=None, layers=LAYERS, factory="Convolutional", **options):
    return models.load("module", checkpoint, factory=f"{HERE}:{factory}", layers=layers, **options)


def test_outputs_of_every_kind_become_batch_time_feature(tmp_path):
    torch.manual_seed(0)
    network = Convolutional().eval()
    torch.save({"model": network.state_dict(), "step": 12}, tmp_path / "a.pt")
    (found,) = checkpoints.find(tmp_path)
    model = load(found.uri)
    assert model.layers == ("front", "map", "recurrent", "shared", "shared#2", "head")
    x = 0.1 * torch.randn(3, 16000)
    with torch.no_grad():
        out = model(x)
        front = network.front(x.unsqueeze(1))
        maps = network.map(front.unsqueeze(1))
        recurrent, _ = network.recurrent(maps.flatten(1, 2).permute(2, 0, 1))
        expected = {
            "front": front.transpose(1, 2),
            "map": maps.permute(0, 3, 1, 2).flatten(2),
            "recurrent": recurrent.transpose(0, 1),
            "shared": network.shared(recurrent).transpose(0, 1),
            "shared#2": network.shared(network.shared(recurrent)).transpose(0, 1),
            "head": network(x).unsqueeze(1),
        }
    for layer, values in expected.items():
        np.testing.assert_allclose(out[layer], values, atol=1e-6, err_msg=layer)


def test_frames_and_their_times_are_measured():
    model = load()
    assert model.frames(torch.tensor([16000, 400, 719]))["map"].tolist() == [98, 1, 2]
    assert model.frame_times["front"] == pytest.approx((200 / 16000, 160 / 16000), abs=1e-4)
    assert model.frames(torch.tensor([8000]))["head"].tolist() == [1]
    a_click_keeps_its_time(model)
    given = load(layers="front", frame_times={"front": (0.0, 0.5)})
    assert given.frame_times == {"front": (0.0, 0.5)}


def test_a_network_that_looks_at_the_padding_runs_one_by_one_and_says_why():
    model = load()
    assert not model.batchable
    assert "do not mask" in model.why_not_batchable
    equal_lengths_share_a_batch(model)


def test_a_network_that_mixes_its_batch_runs_one_by_one_whatever_the_lengths():
    model = load(factory="Mixing", layers="front")
    assert not model.batchable and not model.batch_equal_lengths


def test_a_network_that_takes_lengths_is_batched_and_padding_changes_nothing():
    model = load(
        factory="Masked", layers=["front", "norm"], takes="batch channel samples", lengths="sizes"
    )
    assert model.batchable
    batch = torch.randn(2, 4000)
    lengths = torch.tensor([4000, 1730])
    together = model(batch, lengths)
    alone = model(batch[1:, :1730])
    count = int(model.frames(lengths)["norm"][1])
    assert count == 86 == alone["norm"].shape[1]
    np.testing.assert_allclose(together["norm"][1, :count], alone["norm"][0], atol=1e-5)


def test_weights_are_exchanged_and_misfits_named():
    model, other = load(seed=0), load(seed=1)
    x = 0.1 * torch.randn(1, 16000)
    before = model(x)["head"]
    state = {f"encoder.{name}": value for name, value in other.network.state_dict().items()}
    prefixed = load(prefix="encoder.")
    prefixed.load_weights(state | {"decoder.weight": torch.zeros(1)})
    np.testing.assert_array_equal(prefixed(x)["head"], other(x)["head"])
    model.load_weights(other.network.state_dict())
    np.testing.assert_array_equal(model(x)["head"], other(x)["head"])
    assert not torch.equal(before, model(x)["head"])
    with pytest.raises(ValueError, match=r"map\.weight is 4x1x3x3 in the checkpoint and 7x1x3x3"):
        load(other.network.state_dict(), options={"width": 7})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "blocks.*"}, r"no submodule matches 'blocks\.\*': there are front, map"),
        ({"factory": "Absent"}, "cannot import the factory"),
        ({"takes": "samples batch"}, "`takes` is 'samples batch'"),
        ({"factory": "Elsewhere", "layers": "unused"}, "none of unused ran"),
        ({"factory": "LAYERS"}, "is a list, not a function"),
    ],
)
def test_what_cannot_work_is_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_an_unknown_argument_lists_the_known_ones():
    with pytest.raises(TypeError, match=r"takes no argument 'layer'.*factory, layers"):
        models.load("module", layer="x")
