"""What a metric's entry in a sweep is checked for before anything runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_methods import example, sweep

from dynamics import analysis
from dynamics.analysis import METHODS
from dynamics.config import Choice


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (dict(name="rigde"), "unknown metric 'rigde': there are ridge"),
        (dict(name="rsa", arguments={"comapre": "x"}), "did you mean `compare`.*it takes distance"),
        (dict(name="cka", arguments={"targets": ["brian"]}), "'brian', of which there is none"),
        (dict(name="cka", arguments={"targets": "brain"}), "must be a list"),
    ],
)
def test_unknown_names_are_one_sentence(choice, message):
    with pytest.raises(ValueError, match=message):
        analysis.check_choice(Choice(**choice), ["brain"])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("rsa", {"compare": "spearmann"}, "no comparison 'spearmann'"),
        ("rsa", {"distance": "cosin"}, "no distance 'cosin'"),
        ("rsa", {"choose": "best"}, "no layer choice 'best'"),
        ("rsa", {"geotopological": [0.9, 0.1]}, "out of order"),
        ("rsa", {"geotopological": 0.9}, "give two quantiles"),
        ("rsa", {"by": "area"}, "no grouping 'area'"),
        ("ridge", {"protocol": "pepinio"}, "no protocol 'pepinio'"),
        ("ridge", {"alphas": [1.0, -1.0]}, "penalties that are positive"),
        ("ridge", {"missing": "drop"}, "use one of error, mask"),
        ("mutual_knn", {"k": 60}, "60 neighbours among 50 stimuli"),
        ("svcca", {"variance": 2.0}, "variance is 2.0"),
        ("banded", {"candidates": 2}, "2 candidates cannot hold"),
    ],
)
def test_bad_values_show_in_a_rehearsal(name, arguments, message):
    choice = Choice(name=name, label="mine", arguments=arguments)
    with pytest.raises(ValueError, match=f"metric 'mine': .*{message}"):
        analysis.rehearse(choice, 50, {"stimulus": 50, "neuroid": 3})


def test_groups_of_one_neuroid_are_told_and_refused_where_there_are_no_others():
    target = replace(example()[1], regions=np.array(["core"] * 11 + ["tip"]))
    lonely = replace(target, subjects=np.arange(12))
    choice = Choice(name="rsa", label="mine", arguments={"by": "subject_region"})
    said = analysis.told_of_groups(choice, "brain", target)
    assert said.startswith("metric 'mine', target 'brain': tip of s2 has fewer than two neuroids")
    with pytest.raises(
        ValueError, match=r"core of 0, core of 1, .* and 4 more have fewer than two"
    ):
        analysis.told_of_groups(choice, "brain", lonely)
    for other in ({"distance": "euclidean"}, {"by": "subject"}):
        choice = Choice(name="rsa", arguments={"by": "subject_region"} | other)
        assert not analysis.told_of_groups(choice, "brain", target)
    assert not analysis.told_of_groups(Choice(name="cka"), "brain", lonely)


# Those that a target's own lengths decide are rehearsed with it, in a file of their own.
@pytest.mark.parametrize("name", sorted(n for n, each in METHODS.items() if each.units is None))
def test_every_metric_passes_its_rehearsal_with_its_defaults(name):
    analysis.rehearse(Choice(name=name), 50, {"time": 5, "repetition": 3})


def test_what_a_metric_needs_is_asked_of_the_target():
    crossnobis = Choice(name="rsa", arguments={"distance": "crossnobis"})
    with pytest.raises(ValueError, match="needs repetitions, and target 'x' has none"):
        analysis.check_fit(crossnobis, "x", {"neuroid": 3}, baseline=True, times=False)
    analysis.check_fit(crossnobis, "x", {"repetition": 3}, baseline=True, times=False)
    gaps = {"baseline": True, "times": False, "gaps": "neuroid 'n4' (1 in all)"}
    masked = Choice(name="ridge", arguments={"missing": "mask"})
    analysis.check_fit(masked, "x", {"neuroid": 3}, **gaps)
    analysis.check_fit(Choice(name="effective_dimensionality"), "x", {"neuroid": 3}, **gaps)
    for name in ("ridge", "banded", "variance_partition"):
        with pytest.raises(ValueError, match=f"in neuroid 'n4'.*metric '{name}'.*: set its arg"):
            analysis.check_fit(Choice(name=name), "x", {"neuroid": 3}, **gaps)
    # Groups of neuroids are compared on the stimuli that they have.
    analysis.check_fit(Choice(name="rsa"), "x", {"neuroid": 3}, **gaps)
    with pytest.raises(ValueError, match="needs a baseline model"):
        analysis.check_fit(
            Choice(name="variance_partition"), "x", {"neuroid": 3}, baseline=False, times=False
        )


@pytest.mark.parametrize("value", [-1, True, 1.5, "many"])
def test_numbers_of_shuffles_are_checked(value):
    with pytest.raises(ValueError, match="permutations must be 0 or more"):
        analysis.shuffling(Choice(name="rsa", arguments={"permutations": value}), sweep())
    with pytest.raises(ValueError, match="no shuffle 'within'"):
        analysis.shuffling(Choice(name="rsa", arguments={"shuffle": "within"}), sweep())
