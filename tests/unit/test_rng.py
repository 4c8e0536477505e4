"""Random numbers by counter."""

from __future__ import annotations

import numpy as np
import pytest

from daskseg.kernels import rng

# From the known-answer file of Random123 (philox4x32, 10 rounds).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox__gives_the_known_answers(counter, key, words):
    found = rng.philox(*[np.uint64(word) for word in (*counter, *key)])
    assert tuple(int(word) for word in found) == words


def test_uniform__is_the_first_53_bits_of_philox():
    a, b, _, _ = rng.philox(*[np.uint64(word) for word in (7, 1, rng.SAMPLE, 0, 5, 2)])
    bits = ((int(a) << 32) | int(b)) >> 11
    found = rng.uniform(5 + (2 << 32), rng.SAMPLE, 7 + (1 << 32), 1)
    assert found.tolist() == [(bits + 1) / 2**53]


def test_uniform__depends_on_the_row_alone():
    whole = rng.uniform(3, rng.SAMPLE, 100, 1000)
    np.testing.assert_array_equal(rng.uniform(3, rng.SAMPLE, 350, 20), whole[250:270])


def test_uniform__is_above_zero_and_spread():
    draws = rng.uniform(0, rng.SAMPLE, 0, 100_000)
    assert draws.min() > 0
    assert draws.max() <= 1
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert np.abs(counts - 10_000).max() < 500


@pytest.mark.parametrize(("seed", "purpose"), [(1, 1), (0, 2), (2**40, 1)])
def test_uniform__differs_by_seed_and_purpose(seed, purpose):
    base = rng.uniform(0, 1, 0, 100)
    assert not np.intersect1d(base, rng.uniform(seed, purpose, 0, 100)).size


def test_generator__repeats_and_differs_by_stream():
    first = rng.generator(1, rng.PILOT, 0).random(3).tolist()
    assert rng.generator(1, rng.PILOT, 0).random(3).tolist() == first
    assert rng.generator(1, rng.PILOT, 1).random(3).tolist() != first
    assert rng.generator(2, rng.PILOT, 0).random(3).tolist() != first
