"""What every adapter that cannot take padding is tested for."""

from __future__ import annotations

import numpy as np
import torch


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
