"""Unknowns made from a network: in a domain's units, with coefficients or conditions, or with complex values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Complex, Float

from siren_jax._types import Field, KnowsDerivatives
from siren_jax.equations.domains import Domain
from siren_jax.errors import InputError
from siren_jax.fields.operators import laplacian, value_jacobian
from siren_jax.networks.layers import check_points
from siren_jax.neural_field import NeuralField

T = TypeVar("T")
Derivatives = tuple[Float[Array, "c"], Float[Array, "c d"], list[Float[Array, "c"]]]


class _Unknown(nnx.Module):
    """An unknown made from a network; it is fitted with the recipe of this network."""

    def __init__(self, network: nnx.Module):
        self.network = network

    @property
    def width(self) -> int | None:
        """Width of the network, for recipes."""
        return getattr(self.network, "width", None)

    @property
    def first_omega(self) -> float | None:
        """First omega of the network, for recipes."""
        return getattr(self.network, "first_omega", None)

    @property
    def first_layer(self) -> tuple[str | int, ...] | None:
        """Path of the first layer's parameters within the network, for recipes."""
        return getattr(self.network, "first_layer", None)

    @property
    def last_layer(self) -> tuple[str | int, ...] | None:
        """Path of the network's last layer in the parameters of this module."""
        path = getattr(self.network, "last_layer", None)
        return None if path is None else ("network", *path)

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Derivatives of the network, by autodiff if the network does not provide them."""
        return derivatives_at(self.network, x, weights)


class Scaled(_Unknown):
    """u(x) = N((x - centre) / half): a network that sees every coordinate of a domain from -1 to 1.

    Domains keep their true units: points, derivatives and solutions are those of x. The network's omegas are in
    radians per half of the domain, whatever its units are. `solution` saves it as a plain SIREN in true units.

    Use it where a coordinate is far from -1 to 1, such as 0 to 100, 0 to 0.001 or 2000 to 2020. There, the first
    layer's weights and biases would need very different learning rates, and float32 would lose digits. A float32 file
    of a solution far from the origin does lose them: its phases round to about 6e-8·omega·centre/half. There, `refine`
    with `double=True`.

    Args:
        network: N, of any kind.
        domain: its centre and half its size along each coordinate are those of its box; with time, also of the span.

    >>> from siren_jax.equations import Interval
    >>> u = Scaled(nnx.Linear(1, 1, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)), Interval(0, 100))
    >>> u(jnp.array([100.0])).item(), u(jnp.array([50.0])).item()
    (1.0, 0.0)
    """

    def __init__(self, network: nnx.Module, domain: Domain):
        super().__init__(network)
        self.centre = tuple((low + high) / 2 for low, high in zip(domain.low, domain.high, strict=True))
        self.half = tuple((high - low) / 2 for low, high in zip(domain.low, domain.high, strict=True))

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.network(self.scaled(x))

    def scaled(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """The coordinates that the network sees.

        Raises:
            InputError: points have another number of coordinates than the domain.
        """
        check_points(x, len(self.centre))
        return (x - jnp.array(self.centre, x.dtype)) / jnp.array(self.half, x.dtype)

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Derivatives by the chain rule, from one pass over the network."""
        rows = tuple(tuple(a / h**2 for a, h in zip(row, self.half, strict=True)) for row in weights)
        value, slope, sums = derivatives_at(self.network, self.scaled(x), rows)
        return value, slope / jnp.array(self.half, x.dtype), sums


class WithCoefficients(_Unknown):
    """A network and unknown numbers, for inverse problems; a residual reads a number as `u["name"]`.

    Args:
        network: the unknown function, of any kind.
        **coefficients: initial value of each number.

    Raises:
        InputError: `u["name"]` with a name that does not exist.

    >>> from siren_jax import SIREN
    >>> u = WithCoefficients(SIREN(2, 1, width=8, rngs=nnx.Rngs(0)), speed=1.0)
    >>> u["speed"].item(), u(jnp.zeros(2)).shape
    (1.0, (1,))
    """

    def __init__(self, network: nnx.Module, **coefficients: float):
        super().__init__(network)
        self.coefficients = nnx.Dict({name: nnx.Param(jnp.float32(x)) for name, x in coefficients.items()})

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.network(x)

    def __getitem__(self, name: str) -> Float[Array, ""]:
        names = [str(known) for known in self.coefficients]
        if name not in names:
            raise InputError(f"there is no coefficient {name!r}; the coefficients are: {', '.join(names) or 'none'}.")
        return self.coefficients[name][...]


class Ansatz(_Unknown):
    """u(x) = offset(x) + factor(x)·N(x): conditions that hold by construction, where the factor is zero.

    Lagaris, Likas and Fotiadis 1998, Equation 2; "hard" conditions, which need no terms. With the initial value as the
    offset and the time as the factor, a fit also begins with this value at all times.

    Args:
        network: N, of any kind.
        offset: function of a point `(d,)`; one number for all channels, or `(c,)`.
        factor: function of a point; one number.

    >>> from siren_jax import SIREN
    >>> network = SIREN(2, 1, width=8, rngs=nnx.Rngs(0))
    >>> u = Ansatz(network, offset=lambda x: x[1] ** 2, factor=lambda x: x[0])
    >>> u(jnp.array([0.0, 3.0])).tolist()
    [9.0]
    """

    def __init__(
        self,
        network: nnx.Module,
        *,
        offset: Callable[[Float[Array, "d"]], Array],
        factor: Callable[[Float[Array, "d"]], Array],
    ):
        super().__init__(network)
        # A neural field has parameters, which are not to be fitted; its method is a function to Flax.
        self.offset, self.factor = (f.__call__ if isinstance(f, NeuralField) else f for f in (offset, factor))

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return jnp.vectorize(self._at, signature="(d)->(c)")(x)

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Derivatives by the product rule, from one pass over the network."""
        value, slope, sums = derivatives_at(self.network, x, weights)
        a, a_slope, a_sums = derivatives_at(lambda x: jnp.broadcast_to(self.offset(x), value.shape), x, weights)
        b, b_slope, b_sums = derivatives_at(lambda x: jnp.reshape(self.factor(x), 1), x, weights)
        curvatures = [
            a_sum + b_sum * value + 2 * jnp.sum(jnp.array(row) * b_slope * slope, axis=-1) + b * network_sum
            for row, a_sum, b_sum, network_sum in zip(weights, a_sums, b_sums, sums, strict=True)
        ]
        return a + b * value, a_slope + value[:, None] * b_slope + b * slope, curvatures

    def _at(self, x: Float[Array, "d"]) -> Float[Array, "c"]:
        return self.offset(x) + self.factor(x) * self.network(x)


@dataclass(frozen=True, eq=False)
class ComplexField:
    """A field of real channels as a field of complex values: the first half are real parts, the second imaginary parts.

    v_k(x) = u_k(x) + i·u_{n+k}(x)  for u: R^d -> R^2n. Operators act on v as on u, without further evaluations:

        def residual(u, x):
            v = ComplexField(u)
            return laplacian(v)(x) + k**2 * v(x) - source(x)

    Args:
        field: a field with an even number of channels.
        count: n; channels beyond 2n, such as a further unknown, are ignored. By default there are none.

    Raises:
        InputError: an odd number of channels, or fewer than twice the count.

    >>> from siren_jax import gradient
    >>> v = ComplexField(lambda x: jnp.array([x[0], 3 * x[0]]))
    >>> v(jnp.ones(1)).tolist(), gradient(v)(jnp.ones(1)).tolist()
    ([(1+3j)], [(1+3j)])
    """

    field: Field
    count: int | None = None

    def __call__(self, x: Float[Array, "... d"]) -> Complex[Array, "... n"]:
        return self._joined(self.field(x))

    def value_jacobian(self, x: Float[Array, "d"]) -> tuple[Complex[Array, "n"], Complex[Array, "n d"]]:
        """Value and Jacobian of the field, joined into complex numbers."""
        value, slope = value_jacobian(self.field)(x)
        return self._joined(value), self._joined(slope.T).T

    def derivatives(
        self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]
    ) -> tuple[Complex[Array, "n"], Complex[Array, "n d"], list[Complex[Array, "n"]]]:
        """Derivatives of the field, joined into complex numbers."""
        value, slope, sums = derivatives_at(self.field, x, weights)
        return self._joined(value), self._joined(slope.T).T, [self._joined(each) for each in sums]

    def _joined(self, parts: Float[Array, "... c"]) -> Complex[Array, "... n"]:
        c = parts.shape[-1]
        n = c // 2 if self.count is None else self.count
        if not 0 < 2 * n <= c or (self.count is None and c % 2):
            wanted = "an even number" if self.count is None else f"at least {2 * n}"
            raise InputError(f"a complex value takes two channels, so {wanted} in all, but the field has {c}.")
        return parts[..., :n] + 1j * parts[..., n : 2 * n]


def part_of(network: Any, kind: type[T]) -> T | None:
    """The part of an unknown of this kind: the network itself, or one within it."""
    while network is not None and not isinstance(network, kind):
        network = getattr(network, "network", None)
    return network


def derivatives_at(field: Callable[[Array], Array], x: Array, weights: tuple[tuple[float, ...], ...]) -> Derivatives:
    """Value, Jacobian and weighted Laplacians, by autodiff if the field does not provide them."""
    if isinstance(field, KnowsDerivatives):
        return field.derivatives(x, weights)
    value, jacobian = value_jacobian(field)(x)
    return value, jacobian, [laplacian(field, weights=row)(x) for row in weights]
