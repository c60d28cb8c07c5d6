"""How far a sound through windows is from the same sound at once, for every kind of network.

Run ``python tests/benchmarks/bench_windows.py``. Networks have random weights and small sizes, so
that nothing is fetched. What is printed is the root mean square of the differences over the
deviation of a feature, and the correlation, at 20 samples a second: through the adapter's own
windows, and through windows with the same seconds on both sides of what is kept, which tells how
far from an edge of a window a layer must be to be as it is without.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from goals import goal

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench_long import Net

from dynamics import models, sounds
from dynamics.extraction import extract, hearing, poolings

AROUND = (0.5, 1.0, 2.0, 4.0)
POOLING = poolings.make("time", rate=20)


def networks(folder: Path) -> Iterator[tuple[str, models.Model, models.Hearing]]:
    """Yield names, networks with random weights, and what their adapters say of them."""
    import transformers
    from test_models_huggingface import NETWORKS, saved

    arguments = {"factory": "bench_long:Net", "layers": ["first", "second"], "sample_rate": 2000,
                 "takes": "batch channel samples"}  # fmt: skip
    torch.manual_seed(0)
    torch.save(Net().state_dict(), folder / "step=0.pt")
    model = models.load("module", folder / "step=0.pt", **arguments)
    yield "convolutions that look back (module)", model, models.hears("module", arguments)
    NETWORKS["whisper"]["max_source_positions"] = 1500
    NETWORKS["audio-spectrogram-transformer"]["max_length"] = 1024
    transformers.utils.logging.disable_progress_bar()
    for name in NETWORKS:
        (folder / name).mkdir()
        _, path = saved(folder / name, name)
        own = models.hears("huggingface", {}, checkpoint=path)
        yield f"{name} (huggingface)", models.load("huggingface", path), own
    from dynamics.models import encodecmae

    for layers in (2, 5):
        small = {"width": 48, "heads": 4, "feed_forward": 96, "mels": 64}
        model = encodecmae.build(None, layers=layers, **small)
        yield f"encodecmae, {layers} layers", model, models.hears("encodecmae", {})


def sound(seconds: float) -> sounds.StimulusSet:
    """Noise whose level and colour change several times a second, as speech does."""

    def source() -> tuple[np.ndarray, int]:
        rng, rate = np.random.default_rng(0), 16000
        count = round(seconds * rate)
        knots = rng.standard_normal((2, int(8 * seconds) + 2))
        level, colour = (
            np.interp(np.arange(count) / rate * 8, np.arange(len(k)), k) for k in knots
        )
        white = rng.standard_normal(count + 1)
        wave = white[1:] + np.tanh(colour) * white[:-1]
        return (0.05 * np.exp(level) * wave).astype("float32"), rate

    return sounds.StimulusSet("noise", ("noise",), ("noise",), np.array([seconds]), (source,))


def apart(model: models.Model, stimuli: sounds.StimulusSet, how: models.Windows, whole):
    """Return the distance and the correlation of the layer that is furthest from the whole."""
    found = hearing.gathered(hearing.blocks(model, stimuli, how, POOLING), stimuli, POOLING)
    worst, least = 0.0, 1.0
    for layer, expected in whole.items():
        a, b = (each[0] - expected[0].mean(0) for each in (found[layer], expected))
        worst = max(worst, float(np.sqrt(((a - b) ** 2).mean() / (b**2).mean())))
        least = min(least, float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))
    return worst, least


def main() -> None:
    """Measure every network."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    columns = "".join(f" {f'{seconds:g} s around':>14}" for seconds in AROUND)
    print(f"{'network':40} {'own windows':>14} {'apart (r)':>14}{columns}")
    exact = np.inf
    with tempfile.TemporaryDirectory() as folder:
        for name, model, own in networks(Path(folder)):
            limit = own.limit or 40.0
            stimuli = sound(min(limit, 40.0) - 0.1)
            whole = extract.extract(model, extract.batches(model, stimuli), pooling=POOLING)
            # A network that takes no more than a window is tried through windows of a half.
            how = own.windows if own.limit is None else models.Windows(*(
                round(part / 2, 2) for part in (
                    own.windows.context, own.windows.stride, own.windows.lookahead
                )
            ))  # fmt: skip
            told = f"{how.context:g}, {how.stride:g}, {how.lookahead:g}"
            cells = [apart(model, stimuli, how, whole)]
            stride = min(3.0, limit / 8)
            cells += [
                apart(model, stimuli, models.Windows(around, stride, around), whole)
                for around in AROUND
                if 2 * around + stride < limit
            ]
            print(f"{name:40} {told:>14}" + "".join(f" {a:>7.2g} {r:.4f}" for a, r in cells),
                  flush=True)  # fmt: skip
            if name.startswith("convolutions"):
                exact = cells[2][0]
    goal("convolutions, 1 s from the edges", exact, most=1e-5)


if __name__ == "__main__":
    main()
