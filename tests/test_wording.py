"""What a report says of metrics over time: what they came to for the target at hand."""

import numpy as np
import plots_results
import pytest
import xarray as xr

from dynamics import analysis
from dynamics.analysis import METHODS
from dynamics.brains.targets import make_target
from dynamics.emergence.remarks import about_shared
from dynamics.report import protocol
from dynamics.report.findings import Result

RATE = 20.0


def target_of(seconds, *, repetitions=1, start=0.0, folds=3):
    rng = np.random.default_rng(0)
    lengths = [round(each * RATE) for each in seconds]
    shape = (len(lengths), max(lengths), 2, repetitions)
    values = rng.standard_normal(shape)
    for row, t in enumerate(lengths):
        values[row, t:] = np.nan
    names = [f"s{i}" for i in range(len(lengths))]
    dims = ("stimulus", "time", "neuroid", "repetition")
    coords = {"stimulus": names, "time": start + np.arange(max(lengths)) / RATE}
    data = xr.Dataset({"response": (dims, values)}, coords, {"name": "t"})
    data = data.isel(repetition=0) if repetitions == 1 else data
    heard = xr.Dataset(coords={"stimulus": names, "category": ("stimulus", ["x"] * len(names))})
    return make_target(data, heard, n_folds=folds)


def told(name, target, **given):
    return METHODS[name].told(analysis.arguments(name) | given, target)


def test_folds_of_whole_stimuli():
    found = told("encode_continuous", target_of([4, 5, 6.5] * 4), windows=[[0, 0.2]])
    assert found["details"].startswith(
        "Predicted are 1,240 samples of 12 responses (4 to 6.5 s), 20 a second, from activations 0 "
        "to 0.2 s, a delay every 0.05 s, earlier. Folds are 3 sets of whole stimuli"
    )
    assert "CC_max" not in found["details"] and found["cites"] == "li"


def test_folds_of_blocks_with_a_guard_and_trimmed_ends():
    found = told("encode_continuous", target_of([120.0]), windows=[[0, 0.4]], block=10.0,
                 guard=2.0, trim=(1.0, 0.5))  # fmt: skip
    for words in (
        "2,400 samples of 1 responses (120 s each)", "The first 1 and last 0.5 s",
        "3 sets of blocks of 10 s, and training keeps 2.4 s (the longest delay and a guard of 2 s)",
    ):  # fmt: skip
        assert words in found["details"]
    assert "stretches of sound" in found["halves"]


def test_repetitions_and_volumes():
    found = told("encode_continuous", target_of([4.0] * 12, repetitions=2), hrf="canonical")
    assert "activations convolved with the canonical haemodynamic response, 0 s" in found["details"]
    assert "CC_max" in found["details"] and found["cites"] == "li hsu schoppe"
    found = told("encode_continuous", target_of([4.0] * 12), protocol="lebel")
    assert "reach into the story before, as in the study" in found["details"]


def test_delays_and_windows_of_stimuli_of_one_length():
    target = target_of([2.0] * 12, start=-0.5, folds=4)
    found = told("encode_timeresolved", target, windows=[[0, 0], [0, 0.1]])["details"]
    assert "40 samples of each of 12 responses, 20 a second" in found
    assert "0 to 0.1 s (2 windows), a delay every 0.05 s," in found and "4 sets of" in found
    found = told("rsa_time", target, window=0.1, activations="time", lag=0.2, cross=True)
    assert "20 windows of 2 samples (0.1 s), centred −0.475 to 1.42 s" in found["details"]
    assert "those from the onset on count" in found["details"]
    assert "the same windows, 0.2 s before the responses" in found["details"]
    assert "King & Dehaene" in found["details"] and found["cites"] == "king"
    assert "averaged over each sound" in told("cka_time", target)["details"]


def shared(whole, left):
    found = plots_results.results()
    ratio = left / whole
    score = found["score"] * 0 + whole
    beyond = (score * ratio).assign_attrs(units="1")
    return found.assign(score=score, shared_score=beyond)


def test_how_much_a_shared_time_course_explains():
    said = about_shared(shared(0.4, 0.1))
    assert said.startswith("of the score of 0.40 at the last step (layer0) 0.10 is left once the")
    assert said.endswith("so most of it is a time course that all stimuli share")
    assert "so a part of it is" in about_shared(shared(0.4, 0.28), due=True)
    assert about_shared(shared(0.4, 0.38), due=True) == ""
    assert about_shared(shared(0.4, 0.38)).endswith("from responses and predictions")
    assert about_shared(plots_results.results()) == ""
    lost = shared(0.4, 0.1)
    # Neuroids that lack either are in neither mean.
    lost["shared_score"][..., :4] = np.nan
    lost["score"][..., :4] = 0.9
    assert about_shared(lost) == said
    assert about_shared(lost.assign_attrs(value="r2")) == ""


def test_the_report_says_them_and_cites():
    data = shared(0.4, 0.1).assign_attrs(
        identity={"metric": "encode_continuous", "seed": 0, "arguments": {"block": 10}},
        details="Predicted are 7 samples.", cites="li hsu", halves="9 stretches of sound",
    )  # fmt: skip
    found = [(Result("t", "mine", data), [])]
    cited = {}
    said = protocol._metrics(found, cited)
    assert "Predicted are 7 samples." in said and {"li", "hsu"} <= set(cited)
    assert set(cited) <= set(protocol.REFERENCES)
    assert "In t by “mine”, of the score of 0.40" in protocol._shared(
        [(Result("t", "mine", data), [])]
    )
    halves = protocol._resamples(found[0][0], cited)
    assert "complementary halves of the 9 stretches of sound" in halves


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_citation_is_known(name):
    own = METHODS[name]
    every = [own, *(own.by({key[0]: key[1]}) for key in own.variants)]
    for each in every:
        assert set(each.citations) <= set(protocol.REFERENCES)
