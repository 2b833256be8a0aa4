"""Initial weights of a fit from a file: a start that was learned from other signals, or an earlier fit."""

import os
from importlib import resources

import jax.numpy as jnp
from flax import nnx

from siren_jax.errors import InputError
from siren_jax.fields.precision import cast
from siren_jax.fitting.recipes import Recipe
from siren_jax.networks import initializers
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField, load
from siren_jax.subjects.subject import Subject

PACKAGED = ("photos",)
"""Names of the starts in this package."""
LEARNED = "learned_start"
"""Entry of a field's record that says that it was learned as a start, for signals with many omegas."""


def read_start(start: str | os.PathLike[str] | NeuralField) -> NeuralField:
    """A field with the initial weights of a fit.

    Args:
        start: "photos" for the package's own start, which was learned from photographs; or a path, or a field.

    Raises:
        InputError: the file cannot be read, or its network is no SIREN with a linear last layer.
    """
    if isinstance(start, NeuralField):
        field, name = start, "the start"
    elif start in PACKAGED:
        with resources.as_file(resources.files("siren_jax.subjects") / f"{start}.siren") as path:
            field, name = load(path), repr(start)
    else:
        field, name = load(start), repr(os.fspath(start))
    network = field.network
    if not isinstance(network, SIREN) or network.outermost != "linear":
        raise InputError(f"a fit starts from a sine network with a linear last layer, but {name} has another network.")
    return field


def started(start: NeuralField, subject: Subject, recipe: Recipe, *, keep_omega: bool = True) -> tuple[SIREN, str]:
    """The initial SIREN of a fit that has a start, in float32, and the source of its first omega.

    If the signal has another number of channels, each begins as the mean of the start's channels.

    Args:
        start: from `read_start`.
        subject: the signal.
        recipe: settings of the fit.
        keep_omega: whether a start that was not learned as one keeps its own first omega. A learned start has that of
            the recipe, which may be chosen for the signal.

    Raises:
        InputError: the start has another number of coordinates, or is periodic and would get another first omega.
    """
    network = start.network
    assert isinstance(network, SIREN)
    coordinates, channels = subject.features
    if network.in_features != coordinates:
        raise InputError(
            f"the start is a function of {network.in_features} coordinates, but the signal has {coordinates}; take a "
            f"start that was learned from signals with {coordinates}."
        )
    own, reason = network.first_omega, "start"
    if LEARNED in start.record or not keep_omega:
        own, reason = (recipe.first_omega, "recipe") if recipe.first_omega else subject.choose_omega()
    found = _like(network, channels, own)
    single = lambda part: cast(nnx.state(part, nnx.Param), jnp.float32)
    for layer, given in zip(found.layers, network.layers, strict=True):
        nnx.update(layer, single(given))
    for name, part in nnx.to_flat_state(single(network.output)):
        values = part[...]
        if channels != network.out_features:
            values = jnp.broadcast_to(values.mean(axis=-1, keepdims=True), (*values.shape[:-1], channels))
        getattr(found.output, str(name[-1]))[...] = values
    return found, reason


def _like(network: SIREN, channels: int, first_omega: float) -> SIREN:
    """A network with the sizes, periods, places and windows of another; its weights are ones."""
    if network.periodic and first_omega != network.first_omega:
        raise InputError(
            f"the start is periodic with first_omega {network.first_omega:g}; {first_omega:g} would change its whole "
            "numbers of periods, so leave out first_omega."
        )
    return SIREN(
        network.in_features,
        channels,
        width=network.width,
        depth=network.depth,
        first_omega=first_omega,
        omega=network.omega,
        use_bias=network.use_bias,
        kernel_init=initializers.ones,
        periodic={axis: period for axis, period in enumerate(network.periodic) if period is not None},
        graded={axis: pairs for axis, pairs in enumerate(network.graded) if pairs},
        windows=network.windows,
        rngs=nnx.Rngs(0),
    )
