"""Weights that are kept once for two names, in few bits, or in several files with an index."""

import json

import pytest
import torch
from safetensors.torch import load_model, save_file, save_model
from tiny_run import save_checkpoint, sweep_in, sweep_of
from torch import nn

from dynamics import checkpoints, models, store
from dynamics.extraction import crawl
from dynamics.progress import silent


class Tied(nn.Module):
    """An embedding that is also the last layer: one parameter, or two on the same numbers."""

    def __init__(self, value=0.0, *, shared="parameter"):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.middle = nn.Linear(3, 3)
        self.last = nn.Linear(3, 5, bias=False)
        if shared == "parameter":
            self.last.weight = self.embed.weight
        elif shared == "numbers":
            self.last.weight = nn.Parameter(self.embed.weight.data)
        with torch.no_grad():
            for number, weight in enumerate(self.parameters()):
                weight.copy_(value + torch.arange(weight.numel()).reshape(weight.shape) + number)


@pytest.mark.parametrize("shared", ["parameter", "numbers"])
def test_tied_weights_are_taken_as_the_library_of_safetensors_does(tmp_path, shared):
    path = tmp_path / "step=1.safetensors"
    save_model(Tied(1.0), str(path))
    expected, found = Tied(shared=shared), Tied(shared=shared)
    load_model(expected, str(path))
    models.load_strictly(found, checkpoints.read(path))
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


def test_a_name_that_is_only_in_the_text_beside_the_tensors_is_filled_in(tmp_path):
    path = tmp_path / "step=1.safetensors"
    source = Tied(1.0)
    save_model(source, str(path))
    state = checkpoints.read(path)
    assert state.keys() == source.state_dict().keys()
    assert state["last.weight"] is state["embed.weight"]
    # Networks that do not tie them have them twice, those without one of them need it not.
    untied = Tied(shared="nothing")
    models.load_strictly(untied, state)
    assert torch.equal(untied.last.weight, source.embed.weight)
    for part in ("last", "embed"):
        smaller = Tied(shared="nothing")
        delattr(smaller, part)
        models.load_strictly(smaller, state)
        first = next(iter(smaller.state_dict()))
        assert torch.equal(smaller.state_dict()[first], state[first])
    # What is no alias is text.
    save_file(
        {"a.b": torch.ones(2)}, path, metadata={"format": "a.b", "global_step": "7", "x": "y"}
    )
    assert checkpoints.read(path).keys() == {"a.b"}


def linear(weight, **more):
    return {"weight": weight, "bias": torch.zeros(2), **more}


EIGHTS = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
WEIGHT = torch.tensor([[0.5, -1.3, 3.0], [100.0, 0.01, -2.0]])


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("dtype", EIGHTS)
def test_numbers_of_eight_bits_are_those_that_torch_makes_of_them(tmp_path, ending, dtype):
    path = tmp_path / f"step=1.{ending}"
    state = linear(WEIGHT.to(dtype))
    (torch.save if ending == "pt" else save_file)(state, path)
    network = nn.Linear(3, 2)
    notes = models.load_strictly(network, checkpoints.read(path))
    assert torch.equal(network.weight, WEIGHT.to(dtype).to(torch.float32))
    kind = str(dtype).removeprefix("torch.")
    assert notes == [f"weights of {kind} computed in float32"]
    broken = linear(torch.full((2, 3), float("nan")).to(dtype))
    with pytest.raises(ValueError, match="NaN or infinite weights: 6 of 6 in weight"):
        models.load_strictly(network, broken)


@pytest.mark.parametrize(
    ("weight", "more", "words"),
    [
        (WEIGHT.to(torch.float8_e4m3fn), {"weight_scale": torch.ones(1)}, "with a scale beside it"),
        (WEIGHT.char(), {}, "quantised or of whole numbers (int8)"),
        (WEIGHT.abs().byte(), {}, "quantised or of whole numbers (uint8)"),
        (torch.ones(2, 3, dtype=torch.uint16), {}, "quantised or of whole numbers (uint16)"),
        (torch.ones(2, 3, dtype=torch.uint32), {}, "quantised or of whole numbers (uint32)"),
        (torch.ones(2, 3, dtype=torch.uint64), {}, "quantised or of whole numbers (uint64)"),
        (torch.ones(2, 3, dtype=torch.int16), {}, "of whole numbers (int16)"),
        (torch.ones(2, 3, dtype=torch.int64), {}, "of whole numbers (int64)"),
        (WEIGHT.to(torch.complex64), {}, "of complex numbers (complex64)"),
        (torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8), {}, "quantised (qint8)"),
    ],
)
def test_what_only_stands_for_weights_is_refused_by_name_and_type(tmp_path, weight, more, words):
    path = tmp_path / "step=1.pt"
    torch.save(linear(weight, **more), path)
    state = checkpoints.read(path)
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    with pytest.raises(ValueError, match="the checkpoint does not fit it: weight is ") as error:
        models.load_strictly(network, state, ignore=["*_scale"], what="it")
    assert words in str(error.value)
    assert torch.equal(network.weight, before)
    if not weight.is_quantized:
        save_file(linear(weight, **more), tmp_path / "step=1.safetensors")
        again = checkpoints.read(tmp_path / "step=1.safetensors")
        with pytest.raises(ValueError, match="weight is "):
            models.load_strictly(network, again, ignore=["*_scale"])


def test_sparse_weights_are_made_dense_and_those_without_numbers_refused():
    network = nn.Linear(3, 2)
    models.load_strictly(network, linear(WEIGHT.to_sparse()))
    assert torch.equal(network.weight, WEIGHT)
    with pytest.raises(ValueError, match="weight has a shape and no numbers"):
        models.load_strictly(network, linear(torch.empty(2, 3, device="meta")))


def test_a_type_that_torch_has_not_is_named_with_its_tensor(tmp_path):
    path = tmp_path / "step=1.safetensors"
    save_file({"layer.weight": torch.zeros(4, dtype=torch.uint8)}, path)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"dtype":"U8"', b'"dtype":"Q9"'))
    with pytest.raises(ValueError, match=r"layer\.weight is of the type Q9, which torch has not"):
        checkpoints.read(path)


def test_quantised_weights_are_a_row_that_names_one(tmp_path):
    content = sweep_in(tmp_path, (5, 9), untrained=0)
    path = tmp_path / "checkpoints" / "epoch=0-step=9.ckpt"
    inside = torch.load(path)
    name = "visible_encoder.encoder_layers.0.norm1.weight"
    inside["state_dict"][name] = inside["state_dict"][name].to(torch.uint16)
    torch.save(inside, path)
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent) == {"done": 1, "failed": 1, "new": 2}
    assert f"{name} is quantised or of whole numbers (uint16)" in store.failures(sweep.store)[9]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
def test_the_families_that_rename_weights_see_what_they_are_of(tmp_path, dtype):
    """Whether or not the library translates names of earlier versions on the way."""
    pytest.importorskip("transformers")
    config = {"model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": [8, 8],
              "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2,
              "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}  # fmt: skip
    state = models.load("huggingface", config=config, seed=1).network.state_dict()
    few = {n: v.to(dtype) if v.ndim > 1 and "pos_conv" not in n else v for n, v in state.items()}
    old = {
        n.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): v
        for n, v in few.items()
    }
    sound = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    for given in (few, old):
        torch.save(given, tmp_path / "step=1.pt")
        if dtype == torch.int8:
            with pytest.raises(ValueError, match=r"is quantised or of whole numbers \(int8\)"):
                models.load("huggingface", tmp_path / "step=1.pt", config=config)
            continue
        found = models.load("huggingface", tmp_path / "step=1.pt", config=config)
        expected = models.load(
            "huggingface", {n: v.to(torch.float32) for n, v in few.items()}, config=config
        )
        assert torch.equal(found(sound)["layer0"], expected(sound)["layer0"])
        assert "weights of float8_e4m3fn computed in float32" in found.notes


FIRST = {"embed.weight": torch.ones(5, 3), "middle.weight": torch.full((3, 3), 2.0)}
SECOND = {"middle.bias": torch.full((3,), 3.0)}
WHERE = dict.fromkeys(FIRST, "one.safetensors") | dict.fromkeys(SECOND, "two.safetensors")


def sharded(folder, first=FIRST, second=SECOND, where=WHERE, text=None):
    folder.mkdir(exist_ok=True)
    save_file(first, folder / "one.safetensors")
    save_file(second, folder / "two.safetensors", metadata=text)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_shards_are_joined_as_their_index_says(tmp_path):
    taken = checkpoints.take(sharded(tmp_path))
    assert taken.weights.keys() == WHERE.keys() and (taken.note, taken.hint) == ("", "")


def test_what_the_index_lists_and_no_shard_has_is_said_where_a_network_needs_it(tmp_path):
    where = WHERE | {"last.weight": "two.safetensors"}
    taken = checkpoints.take(sharded(tmp_path, where=where))
    assert taken.note == "no shard has last.weight"
    said = "its model.safetensors.index.json says that last.weight is in two.safetensors, which has"
    assert taken.hint.startswith(said)
    # A network that ties it to another needs it not, as in transformers.
    network = Tied()
    models.load_strictly(network, taken.weights)
    assert torch.equal(network.last.weight, FIRST["embed.weight"])


def test_a_tie_across_shards_is_in_the_text_of_one(tmp_path):
    where = WHERE | {"last.weight": "two.safetensors"}
    folder = sharded(tmp_path, where=where, text={"last.weight": "embed.weight"})
    taken = checkpoints.take(folder)
    assert torch.equal(taken.weights["last.weight"], FIRST["embed.weight"])
    assert (taken.note, taken.hint) == ("", "")


def test_what_a_shard_has_beyond_the_index_is_taken_as_transformers_does(tmp_path):
    more = SECOND | {"more.weight": torch.ones(2)}
    assert "more.weight" in checkpoints.read(sharded(tmp_path, second=more))


def test_a_weight_in_two_shards_must_be_the_same_in_both(tmp_path):
    twice = SECOND | {"middle.weight": FIRST["middle.weight"].clone()}
    assert checkpoints.read(sharded(tmp_path, second=twice)).keys() == WHERE.keys()
    twice["middle.weight"][0, 0] = 7.0
    with pytest.raises(ValueError, match=r"has middle\.weight in one\.safetensors and in two\.s"):
        checkpoints.read(sharded(tmp_path, second=twice))


def test_a_shard_that_is_missing_is_named_locally_and_remotely(tmp_path):
    folder = sharded(tmp_path / "checkpoint-5")
    (folder / "two.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks two\.safetensors, which its model\.safetensors"):
        checkpoints.read(folder)
    (found,) = checkpoints.find(f"local://{tmp_path}")
    assert found.step == 5


def test_a_folder_whose_index_lists_too_much_is_a_row_with_the_reason(tmp_path):
    content = sweep_in(tmp_path, (), untrained=0)
    save_checkpoint(tmp_path, 5, seed=1)
    state = torch.load(tmp_path / "epoch=0-step=5.ckpt")["state_dict"]
    names = sorted(state)
    where = {n: "one.safetensors" if n < names[5] else "two.safetensors" for n in names}
    first, second = (
        {n: state[n].clone() for n in names if where[n] == part and n != names[-1]}
        for part in ("one.safetensors", "two.safetensors")
    )
    sharded(tmp_path / "checkpoints" / "checkpoint-5", first, second, where)
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent)["failed"] == 1
    assert f"says that {names[-1]} is in two.safetensors" in store.failures(sweep.store)[5]
