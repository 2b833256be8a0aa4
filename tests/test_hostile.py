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


@settings(max_examples=150)
@given(damaged("siren"))
def test_networks(data):
    survives("siren", data)


@settings(max_examples=150)
@given(damaged("image"))
def test_pictures(data):
    survives("image", data)


@settings(max_examples=150)
@given(damaged("sound"))
def test_sounds(data):
    survives("sound", data)


@settings(max_examples=100)
@given(damaged("mesh"))
def test_meshes(data):
    survives("mesh", data)


@settings(max_examples=40)
@given(damaged("arguments"))
def test_arguments(data):
    survives("arguments", data)


@given(st.binary(max_size=200))
def test_anything(data):
    for name in set(TARGETS) - {"arguments"}:
        survives(name, data)
