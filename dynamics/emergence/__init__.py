"""When a curve over training steps gets where, with what certainty, and which comes first."""

from __future__ import annotations

from dynamics.emergence.aggregate import over_subjects, with_subjects
from dynamics.emergence.best_layers import best_layer
from dynamics.emergence.choice import confidence_of_each, summary_of_chosen
from dynamics.emergence.comparing import compare, compare_two, order
from dynamics.emergence.comparing_runs import compare_runs
from dynamics.emergence.correlations import correlate
from dynamics.emergence.curve_fits import FITS, fit
from dynamics.emergence.curves import mean_curve, resampled_curve
from dynamics.emergence.initialisations import replicates
from dynamics.emergence.intervals import METHODS, bands, interval
from dynamics.emergence.levels import level
from dynamics.emergence.parts import bands_by, curve_and_band, curves_by, steps_by
from dynamics.emergence.pathway import along_map, maps_of, spatial, temporal
from dynamics.emergence.resampling import Scheme, scheme, squared, stabilised
from dynamics.emergence.statistics import (
    area,
    ceiling_fraction,
    final,
    gain,
    half_time,
    onset,
    peak,
    plateau,
    plateau_step,
)
from dynamics.emergence.summary import summarize, summary_of
from dynamics.emergence.table import STATISTICS, Given, Statistic
from dynamics.emergence.testing import (
    CORRECTIONS,
    benjamini_hochberg,
    decline_test,
    fall_test,
    holm,
    onset_test,
    onset_test_subjects,
    peak_range,
)

__all__ = [
    "CORRECTIONS",
    "FITS",
    "METHODS",
    "STATISTICS",
    "Given",
    "Scheme",
    "Statistic",
    "along_map",
    "area",
    "bands",
    "bands_by",
    "benjamini_hochberg",
    "best_layer",
    "ceiling_fraction",
    "compare",
    "compare_runs",
    "compare_two",
    "confidence_of_each",
    "correlate",
    "curve_and_band",
    "curves_by",
    "decline_test",
    "fall_test",
    "final",
    "fit",
    "gain",
    "half_time",
    "holm",
    "interval",
    "level",
    "maps_of",
    "mean_curve",
    "onset",
    "onset_test",
    "onset_test_subjects",
    "order",
    "over_subjects",
    "peak",
    "peak_range",
    "plateau",
    "plateau_step",
    "replicates",
    "resampled_curve",
    "scheme",
    "spatial",
    "squared",
    "stabilised",
    "steps_by",
    "summarize",
    "summary_of",
    "summary_of_chosen",
    "temporal",
    "with_subjects",
]
