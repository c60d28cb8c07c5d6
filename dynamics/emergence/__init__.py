"""When a curve over training steps gets where, with what certainty, and which comes first."""

from __future__ import annotations

from dynamics.emergence.changes import decline_test, onset_test, onset_test_subjects, peak_range
from dynamics.emergence.comparisons import (
    CORRECTIONS,
    benjamini_hochberg,
    compare,
    compare_two,
    holm,
)
from dynamics.emergence.correlations import correlate
from dynamics.emergence.curves import half_time, onset, plateau_step
from dynamics.emergence.fits import FITS, fit, left_out_error
from dynamics.emergence.intervals import METHODS, STATISTICS, bands, interval
from dynamics.emergence.layers import best_layer
from dynamics.emergence.levels import area, ceiling_fraction, final, gain, peak, plateau
from dynamics.emergence.orders import order
from dynamics.emergence.refits import resample_scores
from dynamics.emergence.resamples import Scheme, scheme, squared, stabilised
from dynamics.emergence.runs import compare_runs
from dynamics.emergence.subjects import over_subjects, with_subjects
from dynamics.emergence.summary import summarize

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
