"""Fields in slabs of time: each point is evaluated by the network of its slab."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from siren_jax._types import Field, RefinementMethod
from siren_jax.equations.unknowns import Derivatives, derivatives_at
from siren_jax.fields.precision import precision_of
from siren_jax.fitting.last_layer import learned_parameters
from siren_jax.networks.layers import check_points, count_parameters

TOGETHER = 1024  # points that are evaluated at once: each has the parameters of its slab


class Slabs(nnx.Module):
    """A field in slabs of time, u(t, x) = N_k((t - t_k)/(t_{k+1} - t_k), x) for t_k < t ≤ t_{k+1}.

    Each network N_k sees the times of its slab from 0 to 1. Before the first slab and after the last one, u is the
    continuation of their networks. As the networks of `march` are in float64, use the field within
    `with jax.enable_x64(True):`.

    Args:
        networks: N_k, with the same parameters except for the learned ones.
        edges: t_0, t_1, …, one more than networks.
        method: the method that has learned the parameters.
    """

    def __init__(self, networks: Sequence[nnx.Module], edges: Sequence[float], method: RefinementMethod):
        self.edges = tuple(map(float, edges))
        """Times of the slabs' ends, from the start on."""
        self.method = method
        self.network = nnx.clone(networks[0])
        with precision_of(networks[0]):
            rows = [ravel_pytree(nnx.state(network, self._learned(network)))[0] for network in networks]
            self.rows = nnx.Param(jnp.stack(rows))

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        at = lambda x: self._slab(x)(x)
        if x.ndim == 1:
            return at(x)
        found = jax.lax.map(at, x.reshape(-1, x.shape[-1]), batch_size=TOGETHER)
        return found.reshape(*x.shape[:-1], -1)

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Derivatives at a point, from one pass over the network of its slab."""
        return self._slab(x).derivatives(x, weights)

    @property
    def parameters(self) -> int:
        """Number of parameters: those that all slabs share, and the learned ones of each."""
        return count_parameters(self) - self.rows[...].shape[1]  # `network` has learned ones too, of the first slab

    def network_of(self, slab: int | Array) -> nnx.Module:
        """N_k of a slab."""
        graphdef, learned, rest = nnx.split(self.network, self._learned(self.network), ...)
        return nnx.merge(graphdef, ravel_pytree(learned)[1](self.rows[...][slab]), rest)

    def _slab(self, x: Float[Array, "d"]) -> "InSlab":
        edges = jnp.asarray(self.edges, x.dtype)
        slab = jnp.searchsorted(edges[1:-1], x[0])
        return InSlab(self.network_of(slab), edges[slab], edges[slab + 1] - edges[slab])

    def _learned(self, network: nnx.Module) -> Any:
        return learned_parameters(network) if self.method == "last-layer" else nnx.Param


@dataclass(frozen=True, eq=False)
class InSlab:
    """u(t, x) = N((t - start)/length, x), with derivatives by the chain rule."""

    network: Field
    start: Array
    length: Array

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.network(self._local(x))

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Derivatives of the network: that in time is a row of its own, as the length may be traced."""
        in_time, in_space = (1.0, *[0.0] * (x.shape[-1] - 1)), [(0.0, *row[1:]) for row in weights]
        timed = [in_time for row in weights if row[0]]
        asked = tuple(dict.fromkeys(row for row in (*in_space, *timed) if any(row)))
        value, slope, found = derivatives_at(self.network, self._local(x), asked)
        scale = jnp.ones(x.shape[-1], x.dtype).at[0].set(1 / self.length)
        second = dict(zip(asked, found, strict=True)) | {(0.0,) * x.shape[-1]: jnp.zeros_like(value)}
        sums = [
            second[rest] + row[0] * second[in_time] / self.length**2 if row[0] else second[rest]
            for rest, row in zip(in_space, weights, strict=True)
        ]
        return value, slope * scale, sums

    def _local(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        check_points(x, x.shape[-1])
        return x.at[..., 0].set((x[..., 0] - self.start) / self.length)
