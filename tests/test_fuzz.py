"""What nobody would write is taken, or refused with one sentence; nothing else is printed."""

import logging
import warnings

import fuzzing
import pytest

FEW, MANY = 25, 1500


def wrong(kind, number, folder, start=0):
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = (fuzzing.one(kind, start + seed, folder) for seed in range(number))
            return [each for each in found if each]
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_what_nobody_would_write_is_one_sentence(kind, tmp_path, capfd):
    assert not wrong(kind, FEW, tmp_path)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.benchmark
@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_what_nobody_would_write_is_one_sentence_in_ten_thousand_cases(kind, tmp_path, capfd):
    assert not wrong(kind, MANY, tmp_path, start=1000)
    found = capfd.readouterr()
    assert found.err == "" == found.out
