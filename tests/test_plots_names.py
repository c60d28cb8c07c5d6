"""Real names in figures: long, of other alphabets, of many layers, regions, models and steps."""

from __future__ import annotations

import itertools
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from dynamics import emergence, plots
from dynamics.plots import names, style
from dynamics.plots.panels import legend_below, wrapped

WAV2VEC2 = [f"wav2vec2.encoder.layers.{i}.feed_forward.intermediate_dense" for i in range(12)]
DEEP = [f"model.encoder.transformer.layers.{i}" for i in range(48)]
ATLAS = [
    "ctx_lh_G_temp_sup-G_T_transv (Heschl's gyrus, anterior transverse)",
    "ctx_rh_G_temp_sup-Plan_tempo (planum temporale)",
    "ctx_lh_S_temporal_sup_posterior_segment",
    "Right-Cerebral-White-Matter-of-the-temporal-pole",
]
JAPANESE = ["一次聴覚野", "上側頭回", "平面側頭", "聴覚連合野（外側）"]
TARGET = "norman_haignere_2015_voxels_of_all_listeners_parcellated_destrieux"
RUN = "wav2vec2-large-xlsr-53-continued-pretraining-on-french-parliament-2024-seed-17"
STEPS = np.array([0, 1, 10, 100, 1000, 10000])


def results(layers, regions=JAPANESE, steps=STEPS, *, neuroids=20):
    rng = np.random.default_rng(0)
    rise = 0.1 + 0.5 / (1 + np.exp(-(np.log1p(steps) - np.log1p(steps).mean())))
    height = np.linspace(0.6, 1, len(layers))
    score = (rise[:, None] * height)[:, :, None] + 0.02 * rng.standard_normal(
        (len(steps), len(layers), neuroids)
    )
    noise = 0.03 * rng.standard_normal((8, *score.shape))
    attrs = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
    return xr.Dataset(
        {
            "score": (("step", "layer", "neuroid"), score),
            "resample_score": (("resample", "step", "layer", "neuroid"), score + noise, attrs),
            "baseline": ("neuroid", np.full(neuroids, 0.45)),
        },
        coords={
            "step": steps,
            "layer": layers,
            "neuroid": [f"n{i}" for i in range(neuroids)],
            "region": ("neuroid", [regions[i % len(regions)] for i in range(neuroids)]),
            "ceiling": ("neuroid", np.full(neuroids, 0.8)),
        },
        attrs={"identity": {"metric": "ridge"}},
    )


def drawings(found):
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"run": RUN}), f"/results/{TARGET}/ridge": found}
    )
    every = plots.figures_of(tree, "ridge", [TARGET], only=["all"])
    return {each.kind + each.other: each.draw for each in every}


def texts(figure):
    """Every text that is drawn, with its box in pixels."""
    found = []
    for ax in figure.axes:
        if not ax.get_visible():
            continue
        found += [ax.title, ax._left_title, ax._right_title, *ax.texts]
        for axis in (ax.xaxis, ax.yaxis):
            found.append(axis.label)
            # Those that are drawn: ticks beyond the limits have labels as well.
            found += [tick.label1 for tick in axis._update_ticks() if tick.label1.get_visible()]
    found += [figure._suptitle] if figure._suptitle is not None else []
    for legend in figure.legends:
        found += [*legend.get_texts(), legend.get_title()]
    found = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in found]


def check(figure: Figure):
    """Nothing is cut, nothing overlaps, and the axes are still most of the figure."""
    style.lay_out(figure)
    box, written = figure.bbox, texts(figure)
    for said, own in written:
        inside = own.x0 > -2 and own.x1 < box.x1 + 2 and own.y0 > -2 and own.y1 < box.y1 + 2
        assert inside, f"{said!r} is cut"
    for (one, a), (other, b) in itertools.combinations(written, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        # Boxes of letters have some air of their own.
        assert wide < 2 or high < 0.35 * min(a.height, b.height), f"{one!r} and {other!r} overlap"
    shown = [ax for ax in figure.axes if ax.get_visible() and not hasattr(ax, "_colorbar")]
    assert all(ax.get_window_extent().width > 0.12 * box.width for ax in shown)
    plt.close(figure)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "regions", "steps"),
    [
        (WAV2VEC2, ATLAS, STEPS),
        (DEEP, JAPANESE, STEPS),
        (["encoder"], ATLAS, STEPS),
        (["feature_projection.projection", *WAV2VEC2[:3]], JAPANESE, np.array([20000])),
    ],
    ids=["long", "deep", "single", "one step"],
)
def test_all_figures_of_a_target_hold_real_names(layers, regions, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for draw in drawings(results(layers, regions, steps)).values():
            check(draw())


def test_two_thousand_steps_are_drawn():
    steps = np.unique(np.r_[0, np.linspace(100, 400_000, 1999).astype(int)])
    found = results(WAV2VEC2[:3], steps=steps, neuroids=4)
    for kind in ("emergence", "heatmap"):
        check(drawings(found)[kind]())


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 6, 12, 36])
def test_one_to_thirty_six_models_hold_their_names(number):
    def name(i):
        return f"facebook/wav2vec2-large-{i}-960h-lv60-self" if number > 6 else f"モデル{i}"

    models = {name(i): results(WAV2VEC2[:2], neuroids=3) for i in range(number)}
    check(style.figure_of(plots.plot_models(models)))
    if number > 1:
        stacked = plots.stack(models)
        check(style.figure_of(plots.plot_curves(stacked, hue="run")))
        check(style.figure_of(plots.plot_order(stacked, by="run")))


def test_layers_against_layers_and_categories_hold_their_names():
    near = np.exp(-0.1 * np.abs(np.subtract.outer(range(12), range(12))))
    similarity = xr.DataArray(
        np.stack([near] * 3),
        dims=("step", "layer", "layer_other"),
        coords={"step": [0, 100, 10000], "layer": WAV2VEC2, "layer_other": WAV2VEC2},
    )
    check(style.figure_of(plots.facet_layer_similarity(similarity)[0]))
    categories = [
        "a very long category such as environmental sounds, indoors",
        "動物の声",
        "speech",
    ]
    activations = xr.DataArray(
        np.random.default_rng(0).standard_normal((2, 12, 9)),
        dims=("step", "stimulus", "feature"),
        coords={"step": [0, 10], "category": ("stimulus", categories * 4)},
    )
    check(style.figure_of(plots.plot_rdms(activations)[0]))


def test_axes_of_the_users_own_are_left_alone():
    figure, ax = plt.subplots()
    ax.set_title("kept " * 40)
    plots.plot_heatmap(results(WAV2VEC2), ax=ax)
    assert len(ax.get_yticklabels()[0].get_text()) > 20
    assert figure.get_layout_engine() is None


def test_beginnings_that_all_names_have_are_dropped():
    assert names.short_names(DEEP) == [str(i) for i in range(48)]
    assert names.short_names(WAV2VEC2)[11] == "11.feed_forward.intermediate_dense"
    assert names.short_names(["layer0", "layer1"]) == ["layer0", "layer1"]
    assert names.short_names(["a.b", "a.b.c"]) == ["b", "b.c"]
    assert names.short_names(["only.one"]) == ["only.one"]
    assert names.short_names(["a/x", "b/x"]) == ["a/x", "b/x"]
    assert names.short_names([]) == []


@pytest.mark.parametrize("letters", [6, 10, 18])
@pytest.mark.parametrize(
    "given",
    [
        WAV2VEC2,
        [f"{name}-of-all-listeners" for name in DEEP],
        [f"Glasser_L_area_{i}_ROI_auditory_association" for i in range(36)],
        ["x" * 40, "x" * 20 + "y" + "x" * 19],
        ["short", "short"],
    ],
)
def test_shortened_names_are_short_and_still_differ(given, letters):
    found = names.apart(given, letters)
    assert len(set(found)) == len(set(given))
    assert all(len(name) <= max(letters, 8) for name in found)


@pytest.mark.parametrize("letters", [8, 20, 200])
def test_broken_lines_hold_every_letter_or_say_that_some_are_left_out(letters):
    text = "simulated brain: norman_haignere_2015, ridge\nsecond"
    found = names.broken(text, letters)
    assert max(map(len, found.split("\n"))) <= letters
    if "…" not in found:
        assert found.replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")
    assert ("…" in found) == (letters == 8)


def test_what_no_font_has_is_written_as_its_number():
    assert names.printable("聴覚野 Ünï α ρ ▲ −0.1\nx") == "聴覚野 Ünï α ρ ▲ −0.1\nx"
    assert names.printable("a\u0007b\tc") == "a<U+0007>b c"
    assert names.printable("\U0001f3b5") in ("\U0001f3b5", "<U+1F3B5>")


def test_no_word_of_a_caption_is_left_alone_on_its_last_line():
    words = "(other sounds of these categories and other people, this network only)"
    first, last = wrapped(words, Figure(figsize=(85 / 25.4, 2))).splitlines()
    assert abs(len(first) - len(last)) < 12
    assert f"{first} {last}" == words


def test_lines_are_as_few_as_fit_and_as_equal_as_can_be():
    text = "(other sounds of these categories, in these people, this network only)"
    lines = names.even(text, 66).split("\n")
    assert " ".join(lines) == text and len(lines) == 2 and max(map(len, lines)) <= 40
    assert names.even(text, 200) == text
    assert names.even("Encoding score (Pearson r), A1", 26, names.broken) == (
        "Encoding score\n(Pearson r), A1"
    )
    assert names.even("a_very_long_name_of_one_word", 10) == "a_very_lon\ng_name_of_\none_word"


def test_no_entry_of_a_legend_stands_alone_in_a_row():
    figure = Figure(figsize=(7, 3))
    lines = {f"layer{i}": plt.Line2D([0], [0]) for i in range(7)}
    legend_below(figure, lines)
    assert figure.legends[0]._ncols == 4


@pytest.mark.parametrize(("layers", "turned"), [(DEEP[:8], 0), (DEEP, 90), (ATLAS, 90)])
def test_names_of_layers_lie_where_they_have_room(layers, turned):
    data = results(layers, steps=STEPS[[0, -1]])
    ax = plots.plot_layer_scores(data)
    assert ax.get_xticklabels()[0].get_rotation() == turned
