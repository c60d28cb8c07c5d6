"""When a curve over training steps gets where, with what certainty, and which comes first."""

from __future__ import annotations

from dynamics.emergence.best_layers import best_layer
from dynamics.emergence.comparing import (
    CORRECTIONS,
    benjamini_hochberg,
    compare,
    compare_two,
    holm,
)
from dynamics.emergence.comparing_runs import compare_runs
from dynamics.emergence.correlations import correlate
from dynamics.emergence.curve_fits import FITS, fit, left_out_error
from dynamics.emergence.intervals import METHODS, STATISTICS, bands, interval
from dynamics.emergence.levels import area, ceiling_fraction, final, gain, peak, plateau
from dynamics.emergence.orders import order
from dynamics.emergence.refits import resample_scores
from dynamics.emergence.resampling import Scheme, scheme, squared, stabilised
from dynamics.emergence.statistics import half_time, onset, plateau_step
from dynamics.emergence.subjects import over_subjects, with_subjects
from dynamics.emergence.summary import summarize
from dynamics.emergence.testing import decline_test, onset_test, onset_test_subjects, peak_range

__all__ = [
    "CORRECTIONS",
    "FITS",
    "METHODS",
    "STATISTICS",
    "Scheme",
    "area",
    "bands",
    "benjamini_hochberg",
    "best_layer",
    "ceiling_fraction",
    "compare",
    "compare_runs",
    "compare_two",
    "correlate",
    "decline_test",
    "final",
    "fit",
    "gain",
    "half_time",
    "holm",
    "interval",
    "left_out_error",
    "onset",
    "onset_test",
    "onset_test_subjects",
    "order",
    "over_subjects",
    "peak",
    "peak_range",
    "plateau",
    "plateau_step",
    "resample_scores",
    "scheme",
    "squared",
    "stabilised",
    "summarize",
    "with_subjects",
]
