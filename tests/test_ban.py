"""Four recurrent areas: their arithmetic, padding, and training on the labels of a folder."""

import numpy as np
import pytest
import soundfile
import torch
from pydantic import ValidationError

from dynamics import models
from dynamics.models.ban import AREAS, build
from dynamics.models.mel import SAMPLE_RATE, log_mel
from dynamics.reference import Pretraining, pretrain
from dynamics.reference.labelled import Labelled

TINY = {
    "objective": "labels", "steps": 40, "checkpoints": 3, "first_checkpoint": 5, "width": 12,
    "mels": 20, "kernel": 3, "recurrences": 1, "batch_size": 8, "clip_seconds": 0.2,
    "learning_rate": 0.01, "warmup": 5, "threads": 1,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Tones and noises, a subfolder each; the last of each only tests."""
    rng = np.random.default_rng(0)
    rows = ["name,label,split"]
    for kind in ("noise", "tone"):
        (tmp_path / "sounds" / kind).mkdir(parents=True)
        for number in range(6):
            time = np.arange(6000) / SAMPLE_RATE
            tone = np.sin(2 * np.pi * (300 + 50 * number) * time)
            wave = 0.1 * (rng.standard_normal(6000) if kind == "noise" else tone)
            name = f"{kind}{number}"
            soundfile.write(tmp_path / "sounds" / kind / f"{name}.wav", wave, SAMPLE_RATE)
            rows.append(f"{name},{kind},{'test' if number == 5 else 'train'}")
    (tmp_path / "sounds" / "labels.csv").write_text("\n".join(rows))
    return tmp_path / "sounds"


def settings(tmp_path, folder, **changes):
    source = {"folder": folder}
    return Pretraining(folder=tmp_path / "run", **{**TINY, "sources": [source], **changes})


def test_an_area_hears_what_it_is_given_and_its_own_state():
    model = build(width=6, mels=8, kernel=3, recurrences=2, seed=1)
    wave = 0.1 * torch.randn(1, 12000, generator=torch.Generator().manual_seed(0))
    found = model(wave)
    assert list(found) == list(AREAS) == ["A1", "belt", "PB", "T2T3"]
    x = log_mel(wave, mels=8)[0].double().numpy()
    for name in AREAS:
        area = model.areas[name].double()
        feed, lateral = (part.weight.detach().numpy() for part in (area.feed, area.lateral))
        bias, norm = area.feed.bias.detach().numpy(), area.norm

        def through(weight, values):
            padded = np.pad(values, ((1, 1), (0, 0)))
            return sum(padded[k : k + len(values)] @ weight[:, :, k].T for k in range(3))

        def settled(drive, norm=norm):
            mean, power = drive.mean(1, keepdims=True), drive.var(1, keepdims=True)
            scaled = (drive - mean) / np.sqrt(power + norm.eps)
            return np.maximum(scaled * norm.weight.numpy() + norm.bias.numpy(), 0)

        given = through(feed, x) + bias
        state = settled(given)
        for _ in range(2):
            state = settled(given + through(lateral, state))
        # The network runs in single precision.
        np.testing.assert_allclose(found[name][0], state, atol=2e-5)
        x = state


def test_padding_changes_no_number():
    model = build(width=8, mels=16, seed=2)
    waves = 0.1 * torch.randn(2, 12000, generator=torch.Generator().manual_seed(0))
    waves[0, 7000:] = 0
    both = model(waves, torch.tensor([7000, 12000]))
    alone = model(waves[:1, :7000])
    for layer in AREAS:
        count = int(model.frames(torch.tensor([7000]))[layer][0])
        np.testing.assert_allclose(both[layer][0, :count], alone[layer][0], atol=1e-5)
        assert not both[layer][0, count:].any()


@pytest.mark.slow
def test_labels_are_learned_and_the_adapter_reads_the_checkpoints(tmp_path, folder):
    given = settings(tmp_path, folder)
    losses = {}
    pretrain(given, progress=lambda step, loss, rate: losses.__setitem__(step, loss))
    assert losses[40] < 0.3 < losses[1], "two classes begin at ln 2"
    last = tmp_path / "run" / "epoch=0-step=000040.ckpt"
    model = models.load("ban", last, **given.adapter_arguments)
    content = torch.load(last, weights_only=True)
    weight = content["state_dict"]["areas.T2T3.lateral.weight"]
    assert torch.equal(model.areas["T2T3"].lateral.weight, weight) and weight.shape == (12, 12, 3)
    fresh = models.untrained("ban", last, seed=0, **given.adapter_arguments)
    assert fresh.areas["A1"].feed.weight.shape == (12, 20, 3)
    # What only tests is never heard, and the same settings give the same bytes.
    heard = Labelled(folder, leave_out=(), hours=20, seed=0)
    assert heard.classes == ("noise", "tone") and len(heard.names) == 10
    again = pretrain(settings(tmp_path / "again", folder))
    assert (again / last.name).read_bytes() == last.read_bytes()


def test_a_run_goes_on_where_it_stopped(tmp_path, folder):
    whole = pretrain(settings(tmp_path, folder, save_every=5))

    def stop(step, loss, rate):
        if step == 23:
            raise KeyboardInterrupt

    given = settings(tmp_path / "b", folder, save_every=5)
    with pytest.raises(KeyboardInterrupt):
        pretrain(given, progress=stop)
    pretrain(given)
    name = "epoch=0-step=000040.ckpt"
    assert (given.folder / name).read_bytes() == (whole / name).read_bytes()


def test_what_cannot_be_learned_is_one_sentence(tmp_path, folder):
    with pytest.raises(ValidationError, match="labels are learned of one source"):
        settings(tmp_path, folder, sources=[{"synthetic": True}])
    with pytest.raises(ValidationError, match="odd number of frames"):
        settings(tmp_path, folder, kernel=4)
    with pytest.raises(ValueError, match="no two classes to learn"):
        pretrain(settings(tmp_path, folder, sources=[{"folder": folder / "tone"}]))
    with pytest.raises(ValueError, match=r"not a BAN: it has no weight areas\.A1"):
        build({"x": torch.ones(2)})
    # Runs of masked prediction are called what they were.
    masked = Pretraining(folder=tmp_path)
    assert not {"objective", "kernel", "recurrences"} & set(masked.identity)
