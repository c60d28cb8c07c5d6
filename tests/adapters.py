"""What the adapters of several families are tested for alike."""

from __future__ import annotations

import numpy as np
import torch

from dynamics import sounds
from dynamics.extraction import extract, poolings


def equal_lengths_share_a_batch(model, *, seconds=0.5):
    """Assert that sounds of one length give the same alone and together."""
    assert not model.batchable and model.batch_equal_lengths
    rng = torch.Generator().manual_seed(0)
    batch = 0.1 * torch.randn(3, int(seconds * model.sample_rate), generator=rng)
    with torch.no_grad():
        together = model(batch)
        alone = [model(batch[row : row + 1]) for row in range(3)]
    for layer in model.layers:
        for row in range(3):
            scale = alone[row][layer].abs().max()
            # float32 in other batch shapes, as a part of the layer's largest value
            np.testing.assert_allclose(
                together[layer][row] / scale, alone[row][layer][0] / scale, atol=1e-5
            )


def a_click_keeps_its_time(model, *, layer=0, tolerance=0.015):
    """Assert that a click's effect on a layer, resampled to 50 Hz, is centred on the click.

    Only for layers before anything spreads over the whole sound: attention, recurrence, or the
    normalisation of a waveform.
    """
    rate, pooling = model.sample_rate, poolings.make("time", rate=50)

    def sound(when):
        rng = np.random.default_rng(0)
        samples = 0.02 * rng.standard_normal(2 * rate)
        if when:
            half = rate // 200
            place = slice(round(when * rate) - half, round(when * rate) + half)
            samples[place] += 0.5 * rng.standard_normal(2 * half)
        return samples.astype("float32"), rate

    clicks = (0.0, 0.4, 0.83, 1.3)
    stimuli = sounds.StimulusSet(
        name="clicks",
        names=tuple(map(str, clicks)),
        categories=("click",) * 4,
        durations=np.full(4, 2.0),
        sources=tuple(lambda when=when: sound(when) for when in clicks),
    )
    found = extract.extract(model, extract.batches(model, stimuli), pooling=pooling)
    values, times = found[model.layers[layer]], pooling.times(stimuli.durations)
    for row, when in enumerate(clicks[1:], 1):
        effect = (np.abs(values[row] - values[0]).sum(1)) ** 2
        centre = (effect * times).sum() / effect.sum()
        # within the frames that see the click, its weight depends on the random filters
        assert abs(centre - when) < tolerance, (when, centre)
