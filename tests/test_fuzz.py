"""What nobody would write is taken, or refused with one sentence; nothing else is printed."""

import logging
import resource
import time
import warnings

import fuzzing
import pytest

FEW, MANY = 25, 1500
# Of a store there is most that may be amiss; gigabytes and seconds that no case may need.
OTHERWISE, MEMORY, SECONDS = {"metadata": 2000}, 3.0, 30.0


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
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_what_nobody_would_write_is_one_sentence_in_ten_thousand_cases(kind, tmp_path, capfd):
    assert sum(OTHERWISE.get(each, MANY) for each in fuzzing.KINDS) >= 10_000
    before = time.process_time()
    number = OTHERWISE.get(kind, MANY)
    assert not wrong(kind, number, tmp_path, start=1000)
    assert (time.process_time() - before) / number < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 < MEMORY
    found = capfd.readouterr()
    assert found.err == "" == found.out
