from itertools import combinations

import numpy as np
import pytest

from dynamics.plots import style

# Machado, Oliveira & Fernandes 2009 (10.1109/TVCG.2009.113), full severity, on linear RGB.
SIGHT = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def lab(colours, sight):
    """CIELAB (D65) of sRGB colours as seen with the given cones."""
    rgb = np.asarray(colours, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SIGHT[sight].T, 0, 1)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    f = seen @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(f > (6 / 29) ** 3, np.cbrt(f), f / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.column_stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])]
    )


def nearest(colours, sight):
    return min(np.linalg.norm(a - b) for a, b in combinations(lab(colours, sight), 2))


def test_red_and_green_are_what_the_simulation_confuses():
    pair = [(0.8, 0.2, 0.2), (0.35, 0.5, 0.1)]
    assert nearest(pair, "deuteranopia") < nearest(pair, "all cones") / 2


# A difference of 2.3 is just noticeable side by side (Mahy et al. 1994); lines need more.
@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_groups_can_be_told_apart(sight):
    assert nearest(style.group_colours(7), sight) > 10


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_layers_can_be_told_apart_and_seen_on_white(sight):
    colours = style.layer_colours(6)
    assert nearest(colours, sight) > 8
    assert (lab(colours, sight)[:, 0] < 88).all()
    assert (np.diff(lab(colours, sight)[:, 0]) > 5).all()


def test_beyond_seven_groups_colour_and_marker_are_unique_together():
    looks = set(zip(style.group_colours(20), style.group_markers(20)))
    assert len(looks) == 20
