"""Which weights are taken where a checkpoint holds several sets, and what is said of it."""

from pathlib import Path

import fsspec
import pytest
import torch
from safetensors.torch import save_file
from tiny_run import SIZES, sweep_in, sweep_of
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dynamics import checkpoints, models, store
from dynamics.checkpoints import transfer
from dynamics.extraction import crawl
from dynamics.models import encodecmae
from dynamics.progress import silent


class Net(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            for number, weight in enumerate(self.parameters()):
                weight.fill_(value + number / 100)


PLAIN, EMA = Net(1.0).state_dict(), Net(2.0).state_dict()
PARAMETERS = [name for name, _ in Net(0).named_parameters()]
ADAM = {"state": {0: {"exp_avg": torch.ones(4, 3), "exp_avg_sq": torch.ones(4, 3)}},
        "param_groups": [{"lr": 0.1}]}  # fmt: skip


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def averaged(count=3):
    model = AveragedModel(Net(2.0))
    model.n_averaged.fill_(count)
    return model.state_dict()


# As training loops leave them.
FILES = {
    "ema_state_dict": {"state_dict": PLAIN, "ema_state_dict": EMA},
    "timm": {"state_dict": PLAIN, "state_dict_ema": EMA, "epoch": 3, "optimizer": ADAM},
    "ema": {"model": PLAIN, "ema": EMA, "optimizer": ADAM},
    "model_ema": {"model": PLAIN, "model_ema": EMA, "scaler": {"scale": 2.0}},
    "of DDP": {"model": under("module.", PLAIN), "ema_model": under("module.", EMA)},
    "averaged model": {"model": PLAIN, "swa_model": averaged()},
    "icefall": {"model": PLAIN, "model_avg": EMA, "grad_scaler": {}, "sampler": None},
    "fairseq": {"model": PLAIN, "args": None, "extra_state": {"ema": EMA, "val_loss": 2.0}},
    "fairseq, twice": {
        "model": PLAIN,
        "cfg": {},
        "extra_state": {"ema": EMA, "ema_fp32_params": EMA},
    },
    "callback": {
        "state_dict": PLAIN,
        "global_step": 5,
        "pytorch-lightning_version": "2.4",
        "callbacks": {
            "ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)},
            "EMACallback": {"decay": 0.99, "ema_weights": EMA},
        },
    },
    "two callbacks": {
        "state_dict": PLAIN,
        "callbacks": {"EMA": {"ema_state_dict": EMA}, "Other": {"buffer": torch.ones(3)}},
    },
    "Lightning's WeightAveraging": {
        "state_dict": EMA,
        "current_model_state": PLAIN,
        "averaging_state": {"n_averaged": torch.tensor(3)},
        "global_step": 5,
    },
    "ema_pytorch": {
        "model": PLAIN,
        "ema": {
            "initted": torch.tensor(True),
            "step": torch.tensor(7),
            **under("online_model.", PLAIN),
            **under("ema_model.", EMA),
        },
    },
    "parameters alone": {"model": PLAIN, "ema": {n: EMA[n] for n in PARAMETERS}},
    "a bare list": {
        "model": PLAIN,
        "ema": {"decay": 0.9, "shadow_params": [EMA[n] for n in PARAMETERS]},
    },
    "composer": {
        "state": {"model": PLAIN, "algorithms": [("EMA", {"ema_model": {"named": EMA}})]},
    },
    "one network and its average": {"encoder": PLAIN, "encoder_ema": EMA},
    "average first": {"ema": EMA, "generator": PLAIN, "step": 5},
}


def as_trained(state):
    """Leave off the name of the only network of a file, which an adapter leaves off too."""
    known = [k for k in state for tail in ("encoder.0.weight",) if k.endswith(tail)]
    (first,) = {name.removesuffix("encoder.0.weight") for name in known}
    return {name.removeprefix(first): value for name, value in state.items()}


def same(state, expected):
    state = as_trained(state)
    return state.keys() == expected.keys() and all(
        torch.equal(state[name], expected[name]) for name in PARAMETERS
    )


@pytest.mark.parametrize("name", FILES)
def test_the_trained_weights_are_taken_and_on_request_their_average(tmp_path, name):
    path = tmp_path / "step=5.pt"
    torch.save(FILES[name], path)
    taken = checkpoints.take(path)
    assert same(taken.weights, PLAIN)
    assert "the trained weights taken" in taken.note and ", not those of " in taken.note
    average = checkpoints.take(path, weights="ema")
    assert same(average.weights, EMA)
    assert average.note.startswith("weights of ") and " taken, not of " in average.note
    found, asked = checkpoints.find(path), checkpoints.find(path, weights="ema")
    assert found[0].note == taken.note and asked[0].note == average.note


def test_a_set_is_also_asked_for_by_its_whole_name_or_its_last_part(tmp_path):
    path = tmp_path / "step=5.pt"
    content = FILES["fairseq, twice"]
    extra = {**content["extra_state"], "ema": Net(3.0).state_dict()}
    content = content | {"extra_state": extra}
    torch.save(content, path)
    for wanted in ("ema_fp32_params", "extra_state.ema_fp32_params"):
        assert same(checkpoints.read(path, weights=wanted), EMA)
    assert same(checkpoints.read(path, weights="ema"), Net(3.0).state_dict())
    assert same(checkpoints.read(path, weights="model"), PLAIN)
    with pytest.raises(ValueError, match="may mean each of them") as error:
        checkpoints.read(path, weights="average")
    assert "extra_state.ema and extra_state.ema_fp32_params" in str(error.value)


def test_a_file_without_the_set_says_which_it_holds(tmp_path):
    path = tmp_path / "step=5.pt"
    torch.save({"model": PLAIN, "ema": EMA}, path)
    with pytest.raises(ValueError, match=r"holds no weights 'teacher': it holds model and ema$"):
        checkpoints.read(path, weights="teacher")
    torch.save(PLAIN, path)
    with pytest.raises(ValueError, match=r"'ema': it holds the trained weights$"):
        checkpoints.read(path, weights="ema")
    torch.save({"model": PLAIN, "ema": [torch.ones(3), torch.ones(2)]}, path)
    with pytest.raises(ValueError, match="in ema tensors without names"):
        checkpoints.read(path, weights="ema")
    (found,) = checkpoints.find(path, weights="ema")
    assert "holds no weights 'ema'" in found.note


def test_what_only_looks_like_an_average_is_none(tmp_path):
    """Codebooks that are updated by moving averages, averages of losses, moments."""
    state = PLAIN | {"quantizer.ema_count": torch.ones(4), "quantizer._ema_w": torch.ones(4, 3)}
    tree = {"model": state, "loss_ema": {"value": torch.ones(1)}, "ema_loss": torch.tensor(1.0),
            "optimizer": {"ema": EMA}}  # fmt: skip
    path = tmp_path / "step=5.pt"
    torch.save(tree, path)
    taken = checkpoints.take(path)
    assert taken.weights.keys() == state.keys() and taken.note == ""
    with pytest.raises(ValueError, match="holds no weights 'ema'"):
        checkpoints.read(path, weights="ema")
    # An encoder and a decoder alike are no copies of each other.
    torch.save({"encoder": PLAIN, "decoder": PLAIN}, path)
    taken = checkpoints.take(path)
    assert len(taken.weights) == 2 * len(PLAIN) and taken.note == ""
    assert checkpoints.read(path, weights="decoder").keys() == under("decoder.", PLAIN).keys()


def test_an_average_that_is_all_there_is_is_taken_and_said(tmp_path):
    path = tmp_path / "step=5.pt"
    for content in (averaged(), {"ema": EMA}):
        torch.save(content, path)
        for wanted in ("trained", "ema"):
            taken = checkpoints.take(path, weights=wanted)
            assert "its only weights are an average" in taken.note
    torch.save(PLAIN, tmp_path / "step=6-EMA.pt")
    for wanted in ("trained", "ema"):
        taken = checkpoints.take(tmp_path / "step=6-EMA.pt", weights=wanted)
        assert taken.note == "an average of weights by the name of its file"


def test_copies_among_the_names_of_one_state_are_told_by_their_prefix(tmp_path):
    path = tmp_path / "step=5.ckpt"
    dotless = {name.replace(".", ""): EMA[name] for name in PARAMETERS}
    counts = {"decay": torch.tensor(0.9), "num_updates": torch.tensor(3)}
    for copy in (
        under("ema_model.", EMA),
        under("model_ema.", dotless | counts),
        under("teacher.", EMA),
    ):
        torch.save({"state_dict": under("model.", PLAIN) | copy}, path)
        word = next(iter(copy)).partition(".")[0]
        assert word in checkpoints.take(path).note
        taken = checkpoints.take(path, weights=word)
        assert taken.weights.keys() == under("model.", PLAIN).keys()
        assert same(taken.weights, EMA)
    # A part with a copy of its own: what is beside it is shared.
    torch.save({"state_dict": PLAIN | {f"ema_{n}": EMA[n] for n in EMA if "encoder" in n}}, path)
    taken = checkpoints.take(path, weights="ema")
    assert taken.weights.keys() == PLAIN.keys() and "2 weights beside the copy" in taken.note
    assert torch.equal(taken.weights["encoder.0.weight"], EMA["encoder.0.weight"])
    assert torch.equal(taken.weights["head.weight"], PLAIN["head.weight"])


def test_a_student_and_a_teacher_need_a_word_of_the_user(tmp_path):
    path = tmp_path / "step=5.pt"
    for content in (
        {"student": PLAIN, "teacher": EMA, "optimizer": ADAM},
        {"state_dict": under("student.", PLAIN) | under("teacher.", EMA)},
    ):
        torch.save(content, path)
        taken = checkpoints.take(path)
        assert taken.weights.keys() >= under("teacher.", EMA).keys()
        assert "it holds student and teacher, none of which is plainly" in taken.hint
        assert "set `weights`" in checkpoints.find(path)[0].note
        for wanted, expected in (("student", PLAIN), ("teacher", EMA)):
            assert same(checkpoints.read(path, weights=wanted), expected)


def arrived(checkpoint, folder):
    return None if checkpoint.format == "several" else transfer.download(checkpoint, folder)


@pytest.fixture(params=["local", "remote", "remote, by its name"])
def place(request, tmp_path):
    """Give a function that puts files where a run is, and returns what finds and reads them."""
    if request.param == "local":

        def found(**options):
            return [(c, c.uri) for c in checkpoints.find(tmp_path / "run", **options)]
    else:
        memory = fsspec.filesystem("memory")

        def found(**options):
            if memory.exists("/sets"):
                memory.rm("/sets", recursive=True)
            memory.put(str(tmp_path / "run"), "/sets", recursive=True)
            inside = request.param == "remote"
            listed = checkpoints.find("memory://sets", look_inside=inside, **options)
            return [(c, arrived(c, tmp_path / f"here-{n}")) for n, c in enumerate(listed)]

    return tmp_path / "run", found


def put(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, content in files.items():
        if stem.endswith("_safe"):
            save_file(content, folder / f"{stem.removesuffix('_safe')}.safetensors")
        else:
            torch.save(content, folder / f"{stem}.pt")


LOOP = {"optimizer": ADAM, "step": 100}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model": PLAIN, "ema_model": EMA}, "weights of model taken, not of ema_model"),
        ({"model_safe": PLAIN, "model_ema_safe": EMA}, "weights of model taken, not of model_ema"),
        ({"model_safe": PLAIN, "pytorch_model": PLAIN, "ema_safe": EMA}, "model taken, not of ema"),
        ({"unet": PLAIN, "unet_ema": EMA, "training_state": LOOP}, "unet taken, not of unet_ema"),
        ({"model": PLAIN, "ema": EMA, "optimizer_state": ADAM, "trainer_state": {}}, "not of ema"),
    ],
)  # fmt: skip
def test_a_folder_with_an_average_beside_the_network(place, files, words):
    run, found = place
    for step in (100, 200):
        put(run / f"step_{step}", **files)
    listed = found()
    assert [c.step for c, _ in listed] == [100, 200]
    for checkpoint, path in listed:
        taken = checkpoints.take(path, weights=checkpoint.weights)
        assert same(taken.weights, PLAIN) and taken.note.endswith(words)
        assert checkpoint.note.endswith(words)
    digests = [checkpoints.digest(path, weights=c.weights) for c, path in listed]
    for (checkpoint, path), before in zip(found(weights="ema"), digests):
        taken = checkpoints.take(path, weights=checkpoint.weights)
        assert same(taken.weights, EMA) and taken.note.startswith("weights of ")
        assert checkpoint.note == taken.note
        assert checkpoints.digest(path, weights=checkpoint.weights) != before
    (checkpoint, path), _ = found(weights="teacher")
    with pytest.raises(ValueError, match="holds no weights 'teacher'"):
        checkpoints.take(path, weights=checkpoint.weights)


def test_a_folder_of_a_student_and_a_teacher_is_a_row_that_names_them(place):
    run, found = place
    for step in (100, 200):
        put(run / f"step_{step}", student=PLAIN, teacher=EMA, optimizer=ADAM)
    (first, _), _ = listed = found()
    assert [c.step for c, _ in listed] == [100, 200] and first.format == "several"
    assert "student and teacher, none of which is plainly the trained network" in first.note
    assert "`weights: student`" in first.note
    for wanted, expected in (("student", PLAIN), ("teacher", EMA), ("teacher.pt", EMA)):
        (checkpoint, path), _ = found(weights=wanted)
        assert checkpoint.format == "folder"
        assert same(checkpoints.read(path, weights=wanted), expected)
    assert "no weights 'ema': it holds student and teacher" in found(weights="ema")[0][0].note


def test_a_run_of_several_files_in_a_folder_is_no_checkpoint(place):
    run, found = place
    put(run, **{"step=5": PLAIN})
    put(run / "run_2", best=PLAIN | {}, last=EMA)
    torch.save({"model": PLAIN, "global_step": 7}, run / "run_2" / "best.pt")
    put(run / "run_30", **{"step=1": PLAIN, "step=2": EMA})
    assert [c.step for c, _ in found()] == [5]


def test_averages_in_files_of_their_own_beside_the_network_of_the_same_step(place):
    run, found = place
    put(run, **{"step=100-EMA": EMA, "step=200-EMA": EMA, "step=300": PLAIN})
    put(run, **{"step=100": PLAIN, "step=200": PLAIN})
    for checkpoint, path in found():
        assert same(checkpoints.read(path), PLAIN)
        assert ("EMA" in checkpoint.note) == (checkpoint.step < 300)
    *both, (last, path) = found(weights="ema")
    for checkpoint, there in both:
        assert same(checkpoints.read(there, weights=checkpoint.weights), EMA)
        assert "-EMA.pt taken, not step=" in checkpoint.choice in checkpoint.note
    with pytest.raises(ValueError, match="holds no weights 'ema'"):
        checkpoints.read(path, weights=last.weights)
    put(run, **{"student_step=400": PLAIN, "teacher_step=400": EMA})
    assert found()[-1][0].format == "several"
    chosen, path = found(weights="teacher")[-1]
    assert chosen.format != "several" and same(checkpoints.read(path), EMA)


@pytest.mark.parametrize("wanted", ["", " ema", "a/b", "two\nlines", 3, None, ["ema"], True])
def test_what_can_be_no_name_of_weights_is_refused(wanted):
    with pytest.raises(ValueError, match="expected `trained`, `ema`, or the name of a key"):
        checkpoints.check_wanted(wanted)


def lightning(folder, step, plain, ema=None, key="ema_state_dict"):
    content = {"state_dict": encodecmae.build(None, **SIZES, seed=plain).state_dict()}
    content |= {"global_step": step, "epoch": 0}
    if ema is not None:
        content[key] = encodecmae.build(None, **SIZES, seed=ema).state_dict()
    torch.save(content, folder / f"epoch=0-step={step}.ckpt")


def activations(sweep):
    layers = store.open(sweep.store)["activations"]
    return {name: layers[name]["activation"].to_numpy() for name in layers.children}


@pytest.mark.slow
def test_a_crawl_takes_the_average_where_the_sweep_says_so_and_says_it_in_every_row(tmp_path):
    content = sweep_in(tmp_path, (), untrained=0)
    folder, alone = tmp_path / "checkpoints", tmp_path / "alone"
    alone.mkdir()
    for step, plain in ((10, 1), (20, 2)):
        lightning(folder, step, plain, ema=plain + 50)
        lightning(alone, step, plain + 50)
    lightning(folder, 30, 3)
    lightning(alone, 30, 53)
    plain = sweep_of(content)
    assert crawl.crawl(plain, advance=silent)["done"] == 3
    said = "the trained weights taken (state_dict), not those of ema_state_dict"
    assert store.notes(plain.store) == {said: [10, 20]}

    other = sweep_of(content, weights="ema")
    with pytest.raises(ValueError, match="made with weights = 'trained', this sweep has 'ema'"):
        crawl.crawl(other, advance=silent)
    other = sweep_of(content, weights="ema", store=str(tmp_path / "ema.zarr"))
    assert crawl.crawl(other, advance=silent) == {"done": 2, "failed": 1, "new": 3}
    assert "no weights 'ema': it holds state_dict" in store.failures(other.store)[30]
    said = "weights of ema_state_dict taken, not of state_dict"
    assert store.notes(other.store) == {said: [10, 20]}
    assert store.open_group(other.store).attrs["identity"]["weights"] == "ema"

    reference = sweep_of(
        content, checkpoints=str(alone), select=[10, 20], store=str(tmp_path / "reference.zarr")
    )
    crawl.crawl(reference, advance=silent)
    for layer, expected in activations(reference).items():
        assert (activations(other)[layer] == expected).all()
        assert abs(activations(plain)[layer][:2] - expected).max() > 0.01
    # Without the key, nothing in a store has changed.
    assert "weights" not in store.open_group(plain.store).attrs["identity"]
    assert crawl.crawl(sweep_of(content, weights="trained"), advance=silent)["new"] == 0


def test_what_two_networks_in_one_file_are_is_asked_where_they_do_not_fit(tmp_path):
    content = sweep_in(tmp_path, (), untrained=0)
    state = {seed: encodecmae.build(None, **SIZES, seed=seed).state_dict() for seed in (1, 2)}
    torch.save({"student": state[1], "teacher": state[2], "step": 5}, tmp_path / "checkpoints/a.pt")
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent)["failed"] == 1
    assert "it holds student and teacher, none" in store.failures(sweep.store)[5]
    sweep = sweep_of(content, weights="teacher")
    assert crawl.crawl(sweep, advance=silent)["done"] == 1


def test_a_value_that_can_be_no_name_is_refused_with_the_config(tmp_path):
    content = sweep_in(tmp_path, ())
    for wanted in (["ema"], "", "a/b", {"name": "ema"}):
        with pytest.raises(ValueError, match="`weights`: expected `trained`, `ema`, or the name"):
            sweep_of(content, weights=wanted)


def test_every_family_takes_the_weights_that_are_asked_for(tmp_path):
    path = tmp_path / "step=1.pt"
    sizes = {"extractor_mode": "group_norm", "extractor_conv_bias": False, "aux_num_out": None,
             "extractor_conv_layer_config": [(8, 10, 5), (8, 3, 2)], "encoder_embed_dim": 16,
             "encoder_projection_dropout": 0.0, "encoder_pos_conv_kernel": 8,
             "encoder_pos_conv_groups": 2, "encoder_num_layers": 1, "encoder_num_heads": 2,
             "encoder_attention_dropout": 0.0, "encoder_ff_interm_features": 24,
             "encoder_ff_interm_dropout": 0.0, "encoder_dropout": 0.0,
             "encoder_layer_norm_first": False, "encoder_layer_drop": 0.0}  # fmt: skip
    arguments = {"name": "wav2vec2_model", "options": sizes}
    plain, ema = (models.load("torchaudio", seed=seed, **arguments) for seed in (1, 2))
    states = (under("model.", each.network.state_dict()) for each in (plain, ema))
    torch.save(dict(zip(("state_dict", "ema"), states)), path)
    sound = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    for wanted, expected in (("trained", plain), ("ema", ema)):
        model = models.load("torchaudio", path, weights=wanted, **arguments)
        assert torch.equal(model(sound)["layer0"], expected(sound)["layer0"])


def test_the_plain_network_is_found_beside_its_average_in_the_names_of_one_state():
    """Whether or not the family may be a part of what was trained."""
    plain, ema = Net(1.0), under("ema_model.", EMA)
    for state in (under("model.", PLAIN) | ema, ema | under("net.model.", PLAIN)):
        for parts in (True, False):
            network = Net(0.0)
            notes = models.load_strictly(network, state, parts=parts)
            assert torch.equal(network.head.weight, plain.head.weight)
            assert any("weights left aside (ema_model)" in note for note in notes)
    lacking = {n: v for n, v in under("teacher.", EMA).items() if "head.bias" not in n}
    with pytest.raises(ValueError, match="does not fit"):
        models.load_strictly(Net(0.0), under("student.", PLAIN) | lacking, parts=True)
    models.load_strictly(Net(0.0), averaged())
    with pytest.raises(ValueError, match="does not fit"):
        models.load_strictly(Net(0.0), under("model.", PLAIN) | under("other.", EMA))


def test_a_folder_in_the_checkpoint_may_hold_the_average(place):
    run, found = place
    for step in (100, 200):
        put(run / f"checkpoint-{step}", model_safe=PLAIN)
        put(run / f"checkpoint-{step}" / "ema", model_safe=EMA)
        put(run / f"step_{step + 1}" / "model", model_safe=PLAIN)
        put(run / f"step_{step + 1}" / "model_ema", model_safe=EMA)
    names = {"checkpoint": ("the folder itself", "ema"), "step": ("the folder model", "model_ema")}
    for checkpoint, path in found():
        assert same(checkpoints.read(path, weights=checkpoint.weights), PLAIN)
        name, other = names["checkpoint" if checkpoint.step % 100 == 0 else "step"]
        assert checkpoint.choice == f"weights of {name} taken, not of {other}"
    listed = found(weights="ema")
    assert [c.step for c, _ in listed] == [100, 101, 200, 201]
    for checkpoint, path in listed:
        assert same(checkpoints.read(path, weights=checkpoint.weights), EMA)
        assert checkpoint.choice.endswith("ema taken, not of the others")
        if checkpoint.uri.startswith("/"):
            with checkpoints.as_listed(checkpoint, Path(path)) as there:
                assert checkpoints.digest(there, weights="ema")


def test_averages_of_the_parts_of_a_network_are_joined(tmp_path):
    parts = {"encoder": PLAIN, "decoder": {"out.weight": torch.ones(2, 2)}}
    copies = {"encoder_ema": EMA, "decoder_ema": {"out.weight": torch.full((2, 2), 2.0)}}
    torch.save(parts | copies | {"step": 5}, tmp_path / "a.pt")
    taken = checkpoints.take(tmp_path / "a.pt")
    assert taken.weights.keys() == {f"{p}.{n}" for p, state in parts.items() for n in state}
    taken = checkpoints.take(tmp_path / "a.pt", weights="ema")
    assert taken.weights["encoder.encoder.0.weight"][0, 0] == 2
    assert taken.weights["decoder.out.weight"][0, 0] == 2 and len(taken.weights) == len(PLAIN) + 1
    assert "weights of encoder_ema and decoder_ema taken, not of encoder and decoder" in taken.note
    # As SpeechBrain has them: a file each.
    folder = tmp_path / "CKPT+5"
    put(folder, **parts, **copies)
    (folder / "CKPT.yaml").write_text("optimizer_step: 5\n")
    state = checkpoints.read(folder, weights="trained")
    assert state.keys() == {f"{p}.{n}" for p, state in parts.items() for n in state}
    state = checkpoints.read(folder, weights="ema")
    assert len(state) == len(PLAIN) + 1
    assert {round(float(v.max())) for n, v in state.items() if n.endswith("weight")} == {2}


def test_a_distributed_checkpoint_with_an_average(tmp_path):
    from torch.distributed import checkpoint as distributed

    state = {"model": PLAIN, "ema": EMA}
    distributed.save(state, checkpoint_id=str(tmp_path / "step-5"), no_dist=True)
    for wanted, expected in (("trained", PLAIN), ("ema", EMA)):
        taken = checkpoints.take(tmp_path / "step-5", weights=wanted)
        assert taken.weights.keys() == expected.keys()
        assert same(taken.weights, expected) and "ema" in taken.note


def test_lightnings_own_averages(tmp_path):
    """Its callback puts the average into the place of the trained weights."""
    lightning = pytest.importorskip("lightning.pytorch")
    if not hasattr(lightning.callbacks, "EMAWeightAveraging"):
        pytest.skip("this version of lightning has none")
    seen = {}

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 2)

        def training_step(self, batch, _):
            return self.one(batch).square().mean()

        def on_train_batch_end(self, *_):
            seen[self.global_step] = self.one.weight.detach().clone()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.3)

    saving = lightning.callbacks.ModelCheckpoint(
        tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1
    )
    trainer = lightning.Trainer(
        max_steps=4,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[lightning.callbacks.EMAWeightAveraging(decay=0.5), saving],
    )
    rng = torch.Generator().manual_seed(0)
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.randn(16, 3, generator=rng)))
    found = checkpoints.find(tmp_path)
    assert [c.step for c in found] == [2, 4]
    for checkpoint in found:
        taken = checkpoints.take(checkpoint.uri)
        assert "(current_model_state), not those of state_dict" in taken.note
        assert torch.equal(taken.weights["one.weight"], seen[checkpoint.step])
        average = checkpoints.read(checkpoint.uri, weights="ema")["one.weight"]
        assert not torch.equal(average, seen[checkpoint.step])
        inside = torch.load(checkpoint.uri, weights_only=False)["state_dict"]
        assert torch.equal(average, inside["one.weight"])


def conv():
    return nn.Sequential(nn.Conv1d(1, 4, 400, stride=200))


def test_a_folder_of_transformers_and_a_module_take_the_weights_that_are_asked_for(tmp_path):
    pytest.importorskip("transformers")
    config = {"model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": [8, 8],
              "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2,
              "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}  # fmt: skip
    module = {"factory": "test_weights:conv", "layers": "0", "takes": "batch channel samples"}
    sound = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    for adapter, arguments in (("huggingface", {"config": config}), ("module", module)):
        two = [models.load(adapter, seed=seed, **arguments) for seed in (1, 2)]
        plain, ema = (each.network.state_dict() for each in two)
        folder = tmp_path / adapter / "checkpoint-5"
        put(folder, model_safe=plain, ema_model_safe=ema)
        for wanted, expected in zip(("trained", "ema"), two):
            model = models.load(adapter, folder, weights=wanted, **arguments)
            layer = model.layers[-1]
            assert torch.equal(model(sound)[layer], expected(sound)[layer])
