"""Names of weights are resolved as the libraries' own loaders do; what is missing is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from dynamics import models
from dynamics.models.encodecmae import fresh_state
from dynamics.models.weights import load_strictly, remembered


class Net(nn.Module):
    """A weight norm, a batch norm, tied weights, and a buffer that no checkpoint has."""

    def __init__(self, width=6, *, norm=parametrizations.weight_norm):
        super().__init__()
        self.conv = norm(nn.Conv1d(1, width, 40, stride=20))
        self.norm = nn.BatchNorm1d(width)
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)
        self.two.weight = self.one.weight
        self.register_buffer("position_ids", torch.arange(5))
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1
        x = self.norm(self.conv(x.unsqueeze(1))).transpose(1, 2)
        return self.two(self.one(x)) * self.calls.clamp(max=1)


def network(seed, **options):
    torch.manual_seed(seed)
    net = Net(**options).eval()
    with torch.no_grad():
        for tensor in (*net.parameters(), net.norm.running_mean):
            tensor.add_(0.1 * torch.randn_like(tensor))
    return net


def old_names(state):
    pairs = (("parametrizations.weight.original0", "weight_g"),
             ("parametrizations.weight.original1", "weight_v"))  # fmt: skip
    for new, old in pairs:
        state = {name.replace(new, old): value for name, value in state.items()}
    return state


def wrapped(word):
    return lambda state: {f"{word}{name}": value for name, value in state.items()}


def within(word):
    return lambda state: {
        name.replace("norm.", f"norm.{word}.", 1): value for name, value in state.items()
    }


VARIANTS = {
    "as it is": dict,
    "earlier torch": old_names,
    "DDP": wrapped("module."),
    "compiled": wrapped("_orig_mod."),
    "Lightning of a compiled one in DDP": wrapped("model._orig_mod.module."),
    "Fabric": wrapped("_forward_module."),
    "compiled in parts": within("_orig_mod"),
    "FSDP": within("_fsdp_wrapped_module"),
    "checkpointed, earlier torch": lambda s: within("_checkpoint_wrapped_module")(old_names(s)),
    "any one prefix": wrapped("student.encoder."),
    "without the tied weight": lambda s: {n: v for n, v in s.items() if n != "two.weight"},
    "without constants": lambda s: {
        n: v for n, v in s.items() if "position_ids" not in n and "num_batches" not in n
    },
    "with a constant of a later version": lambda s: s | {"one.position_ids": torch.arange(3)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_names_give_the_numbers_of_the_network_that_was_saved(variant):
    saved, x = network(1), 0.1 * torch.randn(2, 4000)
    state = VARIANTS[variant](saved.state_dict())
    model = models.load("module", state, factory=f"{__name__}:Net", layers="two", seed=7)
    with torch.no_grad():
        # float32: another memory layout sums in another order
        np.testing.assert_allclose(model(x)["two"], saved(x), atol=1e-6)
    assert bool(model.notes) is (variant not in ("as it is", "without constants",
                                                 "with a constant of a later version"))  # fmt: skip


def test_weight_norms_are_translated_both_ways_as_torch_does():
    new, old = network(1), network(2, norm=torch.nn.utils.weight_norm)
    load_strictly(old, new.state_dict())
    x = 0.1 * torch.randn(1, 4000)
    with torch.no_grad():
        np.testing.assert_array_equal(old(x), new(x))
        by_torch = network(3)
        by_torch.load_state_dict(old.state_dict())  # torch's own hook
        ours = network(4)
        load_strictly(ours, old.state_dict())
        np.testing.assert_array_equal(ours(x), by_torch(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {n: v for n, v in s.items() if n != "conv.weight_g"}, "lacks 1 weights"),
        (lambda s: {n: v for n, v in s.items() if not n.endswith("e.weight") and
                    n != "two.weight"}, "lacks 2 weights .*one.weight"),
        (lambda s: s | {"conv.weight_v": torch.zeros(6, 1, 39)}, "6x1x39 in the checkpoint"),
        (lambda s: s | {"one.weight": torch.zeros(6, 6, dtype=torch.int8)}, "quantised"),
        (lambda s: wrapped("student.")(s) | wrapped("teacher.")(s), "lacks"),
        (lambda s: wrapped("student.")(s) | {"loss.weight": torch.ones(1)}, "lacks"),
    ],
)  # fmt: skip
def test_what_is_missing_misshapen_or_there_twice_is_refused_and_nothing_is_copied(change, message):
    target = network(5)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_strictly(target, change(old_names(network(1).state_dict())))
    for name, value in target.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_buffers_of_the_checkpoint_before_do_not_stay():
    net = network(1)
    initial = remembered(net, ["*.running_mean"])
    state = network(2).state_dict()
    load_strictly(net, state | {"position_ids": torch.arange(5) + 7}, initial=initial)
    net(torch.randn(1, 4000))
    load_strictly(net, {n: v for n, v in state.items() if n != "position_ids"}, initial=initial)
    assert net.position_ids.tolist() == [0, 1, 2, 3, 4] and float(net.calls) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_are_computed_in_single_and_said(dtype):
    saved = network(1)
    rounded = {
        n: v.to(dtype) if v.is_floating_point() else v for n, v in saved.state_dict().items()
    }
    model = models.load("module", rounded, factory=f"{__name__}:Net", layers="two")
    saved.load_state_dict(rounded)
    x = 0.1 * torch.randn(1, 4000)
    with torch.no_grad():
        # float32: another memory layout sums in another order
        np.testing.assert_allclose(model(x)["two"], saved(x), atol=1e-6)
    name = str(dtype).removeprefix("torch.")
    assert model.notes == [f"weights of {name} computed in float32"]


def test_a_feed_forward_block_that_is_kept_once_serves_every_layer_of_encodecmae():
    state = fresh_state(heads=2, layers=3, width=8, feed_forward=12, inputs=16, seed=3)
    shared = {n: v for n, v in state.items() if not ("ff_layer" in n and "layers.0" not in n)}
    assert len(shared) == len(state) - 8
    whole = models.load("encodecmae", state, heads=2)
    for given in (shared, wrapped("module.")(shared), wrapped("model._orig_mod.")(shared)):
        model = models.load("encodecmae", given, heads=2)
        x = 0.1 * torch.randn(1, 24000)
        np.testing.assert_array_equal(model(x)["layer2"], whole(x)["layer2"])
        assert "one feed-forward block for all layers" in model.notes
    two = {n: v for n, v in state.items() if not ("ff_layer" in n and "layers.2" in n)}
    with pytest.raises(ValueError, match="lacks 4 weights"):
        models.load("encodecmae", two, heads=2)
