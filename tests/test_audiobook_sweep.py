"""METRICS.md's oracle, the audiobook from 24 log-mel bands, through a sweep: file, run, results."""

import numpy as np
import pytest
import yaml
from test_continuous import log_mel
from tiny_run import save_checkpoint, sweep_in

from dynamics import store, sweep
from dynamics.config import load_config


@pytest.mark.slow
def test_a_sweep_of_the_audiobook_gives_the_numbers_of_an_independent_program(
    data_root, tmp_path, in_this_process
):
    soundfile = pytest.importorskip("soundfile")
    with np.load(data_root / "naplib-speech" / "responses.npz") as file:
        lengths = {name: len(file[name]) for name in sorted(file.files)}
    mel = {}
    for name, samples in lengths.items():
        sound, rate = soundfile.read(data_root / "naplib-speech" / "sounds" / f"{name}.flac")
        mel[name] = log_mel(sound, rate, samples)
    every = np.concatenate(list(mel.values()))
    mel = {name: (x - every.mean(0)) / every.std(0) for name, x in mel.items()}
    np.savez(tmp_path / "mel.npz", **mel)
    encoding = {
        "windows": [[0, 0.35]], "components": 24, "centre": "all", "folds": 6, "resamples": 0,
        "alphas": np.logspace(0, 7, 15).tolist(),
    }  # fmt: skip
    content = sweep_in(
        tmp_path, [0], stimuli="naplib-speech", targets=["naplib-speech"], workers=1, report=False,
        baseline={"name": str(tmp_path / "mel.npz"), "arguments": {"rate": 100}},
        pooling={"name": "time", "arguments": {"rate": 100}},
        metrics=[{"name": "encode_continuous", "arguments": encoding}],
    )  # fmt: skip
    sizes = {"layers": 1, "width": 4, "feed_forward": 4}  # the numbers are the baseline's
    save_checkpoint(tmp_path / "checkpoints", 0, seed=0, **sizes)
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    sweep.run(load_config(tmp_path / "sweep.yaml"))
    results = store.open(content["store"])["results/naplib-speech/encode_continuous"].to_dataset()
    expected = [0.764, 0.783, 0.770, 0.682, 0.731, 0.605]
    np.testing.assert_allclose(results["baseline"].squeeze(), expected, atol=0.005)
