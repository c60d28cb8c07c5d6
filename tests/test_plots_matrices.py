import numpy as np
import pytest
import xarray as xr
from plots_results import LAYERS, STEPS, results, without

from dynamics import emergence, metrics, plots


def cells(ax, which):
    mesh = [c for c in ax.collections if hasattr(c, "get_coordinates")][which]
    return mesh.get_array(), mesh.get_coordinates()[0, :, 0]


def test_the_heat_map_has_the_input_layer_below_and_cells_as_wide_as_the_log_axis_says():
    data = results()
    ax = plots.plot_heatmap(data)
    expected = emergence.mean_curve(data).transpose("layer", "step").to_numpy()
    zero, zero_edges = cells(ax, 1)
    rest, edges = cells(ax, 3)
    np.testing.assert_allclose(np.column_stack([zero, rest]), expected)
    # Halfway between two steps on a logarithmic axis is their geometric mean.
    np.testing.assert_allclose(edges[1:-1], np.sqrt(STEPS[1:-1] * STEPS[2:]))
    assert zero_edges[1] < edges[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == LAYERS


def test_steps_without_data_are_masked_and_the_levels_stand_beside_the_colour_bar():
    ax = plots.plot_heatmap(without(results(), 10, 1000))
    mask = np.ma.getmaskarray(cells(ax, 3)[0])
    np.testing.assert_array_equal(mask, np.tile([False, True, False, True, False], (3, 1)))
    bar = ax.figure.axes[1]
    assert bar.get_title(loc="right") == "baseline 0.70 ▲\nceiling 0.90 ▲"


@pytest.mark.parametrize("steps", [[0], [100], [0, 1], [10, 100]])
def test_few_steps_and_no_untrained_network_have_a_heat_map(steps):
    data = results().sel(step=steps)
    ax = plots.plot_heatmap(data)
    ax.figure.canvas.draw()
    assert ("no untrained" in ax.get_xlabel()) == (0 not in steps)
    shown = [text.get_text() for text in ax.get_xticklabels()]
    assert shown == [str(step) for step in steps]


@pytest.fixture
def similarity():
    near = np.exp(-0.2 * np.abs(np.arange(6)[:, None] - np.arange(6)))
    return xr.DataArray(
        np.stack([near**power for power in (1, 2, 3)]),
        dims=("layer", "step", "step_other"),
        coords={"layer": LAYERS, "step": STEPS, "step_other": STEPS},
        attrs={"metric": "cka"},
    )


def test_the_matrix_of_steps_has_step_0_apart_on_both_axes(similarity):
    ax = plots.plot_similarity(similarity, layer="layer1")
    blocks = [c.get_array() for c in ax.collections if hasattr(c, "get_coordinates")]
    matrix = similarity.sel(layer="layer1").to_numpy()
    for block, part in zip(blocks, [(0, 0), (slice(1, None), 0), (0, slice(1, None))]):
        np.testing.assert_allclose(block.ravel(), matrix[part].ravel())
    np.testing.assert_allclose(blocks[3], matrix[1:, 1:])
    assert ax.figure.axes[1].get_ylabel() == "Linear CKA (debiased)"
    # The diagonal of ones would take up the range of the colours.
    assert ax.collections[-1].norm.vmax == pytest.approx(np.exp(-0.2) ** 2)


def test_layers_side_by_side_have_the_same_colours(similarity):
    axes = plots.facet_similarity(similarity)
    assert [ax.get_title() for ax in axes] == LAYERS
    limits = {(ax.collections[-1].norm.vmin, ax.collections[-1].norm.vmax) for ax in axes}
    assert len(limits) == 1


def test_what_is_no_matrix_of_steps_is_refused(similarity):
    with pytest.raises(ValueError, match="`step_other` is missing"):
        plots.plot_similarity(similarity.isel(step_other=0))
    with pytest.raises(ValueError, match="no layer 'x': there are layer0"):
        plots.plot_similarity(similarity, layer="x")
    with pytest.raises(ValueError, match="`layer` is missing"):
        plots.facet_similarity(similarity.isel(layer=0))


@pytest.fixture
def pairs():
    near = np.exp(-0.2 * np.abs(np.arange(3)[:, None] - np.arange(3)))
    near[0, 2] = 0.1  # not symmetric, as no metric is, to tell rows from columns
    return xr.DataArray(
        np.stack([near**power for power in range(1, 7)]),
        dims=("step", "layer", "layer_other"),
        coords={"step": STEPS, "layer": LAYERS, "layer_other": LAYERS},
        attrs={"metric": "procrustes"},
    )


def test_layers_are_compared_at_the_last_step_with_the_input_at_the_lower_left(pairs):
    ax = plots.plot_layer_similarity(pairs)
    matrix = pairs.isel(step=-1).transpose("layer_other", "layer").to_numpy()
    np.testing.assert_array_equal(ax.collections[-1].get_array().reshape(3, 3), matrix)
    for axis in (ax.xaxis, ax.yaxis):
        assert [text.get_text() for text in axis.get_ticklabels()] == LAYERS
    assert ax.get_title() == "step 10⁴"
    assert ax.figure.axes[1].get_ylabel() == "Procrustes similarity"
    # The diagonal of ones would take up the range of the colours.
    assert ax.collections[-1].norm.vmax == pytest.approx(np.exp(-0.2) ** 6)


def test_layers_along_training_are_in_the_same_colours_from_untrained_to_last(pairs):
    axes = plots.facet_layer_similarity(pairs)
    titles = [ax.get_title() for ax in axes]
    assert titles == ["step 0 (untrained)", "step 10", "step 1,000", "step 10⁴"] or titles == [
        "step 0 (untrained)", "step 100", "step 1,000", "step 10⁴"
    ]  # fmt: skip
    assert len({(ax.collections[-1].norm.vmin, ax.collections[-1].norm.vmax) for ax in axes}) == 1
    chosen = plots.facet_layer_similarity(pairs, steps=[1, 100])
    shown = [ax.collections[-1].get_array().ravel() for ax in chosen]
    expected = pairs.sel(step=[1, 100]).transpose("step", "layer_other", "layer")
    np.testing.assert_array_equal(shown, expected.to_numpy().reshape(2, 9))
    (alone,) = plots.facet_layer_similarity(pairs.isel(step=[0]))
    assert alone.get_title() == "step 0 (untrained)"


def test_what_is_no_matrix_of_layers_is_refused(pairs):
    with pytest.raises(ValueError, match="`layer_other` is missing"):
        plots.plot_layer_similarity(pairs.isel(layer_other=0))
    with pytest.raises(ValueError, match="`step` is missing"):
        plots.facet_layer_similarity(pairs.isel(step=0))
    with pytest.raises(ValueError, match="no step 7: there are 0, 1"):
        plots.plot_layer_similarity(pairs, step=7)


@pytest.fixture
def activations():
    rng = np.random.default_rng(1)
    categories = np.array(["song", "bell", "song", "rain", "bell", "rain", "song", "bell"])
    X = rng.standard_normal((6, 8, 20))
    return xr.DataArray(
        X,
        dims=("step", "stimulus", "feature"),
        coords={"step": STEPS, "category": ("stimulus", categories)},
    )


def test_dissimilarities_are_sorted_by_category(activations):
    axes = plots.plot_rdms(activations, steps=[0, 1000], order=["song", "rain", "bell"])
    sorting = [0, 2, 6, 3, 5, 1, 4, 7]
    for ax, place in zip(axes, (0, 4)):
        D = metrics.rdm(activations.to_numpy()[place])
        np.testing.assert_allclose(ax.images[0].get_array(), D[np.ix_(sorting, sorting)])
    assert [ax.get_title() for ax in axes] == ["step 0 (untrained)", "step 1,000"]
    bars = axes[0].child_axes[0].images[0].get_array()
    np.testing.assert_array_equal(bars, [[0, 0, 0, 1, 1, 2, 2, 2]])
    (legend,) = axes[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["song", "rain", "bell"]


def test_four_steps_are_chosen_along_the_log_axis(activations):
    axes = plots.plot_rdms(activations)
    titles = [ax.get_title() for ax in axes]
    assert titles[0] == "step 0 (untrained)" and titles[-1] == "step 10⁴" and len(titles) == 4


def test_mismatched_categories_and_steps_are_refused(activations):
    with pytest.raises(ValueError, match="3 categories for 8 stimuli"):
        plots.plot_rdms(activations, categories=["a", "b", "c"])
    with pytest.raises(ValueError, match="do not match: bell"):
        plots.plot_rdms(activations, order=["song", "rain"])
    with pytest.raises(ValueError, match="no step 7: there are 0, 1"):
        plots.plot_rdms(activations, steps=[7])
    with pytest.raises(ValueError, match="no coordinate `category`"):
        plots.plot_rdms(activations.drop_vars("category"))
    apart = plots.plot_rdms(activations.drop_vars("category"), categories=activations["category"])
    for ax, other in zip(apart, plots.plot_rdms(activations)):
        np.testing.assert_array_equal(ax.images[0].get_array(), other.images[0].get_array())
