"""Bytes from strangers are read, or refused in words, whatever is changed in a file that was sound."""

import warnings
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS
from siren_jax import InputError

SEEDS = {name: list(target.seeds()) for name, target in TARGETS.items()}


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A valid input with a few bytes replaced, taken out or put in, perhaps cut short."""
    data = bytearray(draw(st.sampled_from(SEEDS[name])))
    for _ in range(draw(st.integers(0, 4))):
        place, length = draw(st.integers(0, len(data))), draw(st.integers(0, 9))
        data[place : place + length] = draw(st.binary(max_size=9))
    return bytes(data[: draw(st.sampled_from([len(data), draw(st.integers(0, len(data)))]))])


def survives(name: str, data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(InputError):  # any other exception fails the test
            TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_sound(name):
    for seed in SEEDS[name]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TARGETS[name].run(seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_damaged_is_read_or_refused(name):
    @settings(max_examples=40 if name == "arguments" else 150)
    @given(damaged(name))
    def with_any(data):
        survives(name, data)

    with_any()


@given(st.binary(max_size=200))
def test_what_is_anything_is_read_or_refused(data):
    for name in set(TARGETS) - {"arguments"}:
        survives(name, data)
