"""Derivatives of a SIREN up to the fifth order, composed with `jax.grad`, compared with closed forms.

Claim (Sitzmann et al. 2020, Section 3.1): a derivative of a SIREN is a composition of phase-shifted sines and therefore
a SIREN, so derivatives of every order behave well. In JAX, plain composition replaces PyTorch's `create_graph=True`:

    second = jax.grad(jax.grad(f))
    fifth = jax.grad(jax.grad(jax.grad(second)))

The exact values are computed by NumPy in float64: for a polynomial with `np.polynomial`; for a network of one sine
layer with the closed form f⁽ᵏ⁾(x) = Σ_i a_i (omega·w_i)^k sin(omega·(w_i x + b_i) + kπ/2); for a deeper network with
the Taylor series of its layers.

Expected: the largest error, relative to the largest |f⁽ᵏ⁾|, is below 5e-6 in float32 and 5e-15 in float64 at every
order, although |f⁽⁵⁾| reaches 1e8. One minute on two CPU cores.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from flax import nnx

from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ORDERS = range(6)
POLYNOMIAL = np.polynomial.Polynomial([0.5, -1.0, -2.0, 1.0, 0.5, 1.0])


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/higher_derivatives")  # folder of the figures and of numbers.json
    width: int = 256  # units of every sine layer
    depth: int = 3  # sine layers after the first in the deep network
    omega: float = 30.0  # omega of every layer
    points: int = 1001  # number of points, equally spaced in [-1, 1], including the ends
    seed: int = 0  # seed of the weights


QUICK = Config(width=128, points=201, quick=True)
SMOKE = Config(width=16, depth=1, points=51, smoke=True)


def composed(f: Callable, order: int) -> Callable:
    """The derivative of a given order of f: R -> R."""
    return f if order == 0 else jax.grad(composed(f, order - 1))


def weights(linear: nnx.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias as NumPy arrays in float64."""
    assert linear.bias is not None
    return np.asarray(linear.kernel[...], float), np.asarray(linear.bias[...], float)


def one_sine_layer(network: SIREN, x: np.ndarray) -> np.ndarray:
    """Derivatives of all orders of a network of depth 0 at the points x, in closed form, `(orders, points)`."""
    (w, b), (a, c) = weights(network.layers[0].linear), weights(network.output)
    omega = network.layers[0].omega
    phase = omega * (x[:, None] * w + b)
    return np.stack([((omega * w) ** k * np.sin(phase + k * np.pi / 2)) @ a[:, 0] + c[0] * (k == 0) for k in ORDERS])


def taylor_series(network: SIREN, x: np.ndarray) -> np.ndarray:
    """Derivatives of all orders of a network of any depth: k! times the k-th coefficient of its Taylor series.

    The series is propagated from layer to layer.

    For z(t) = Σ z_k t^k, s = sin z and c = cos z, the equations s' = c·z' and c' = -s·z' give
    k·s_k = Σ_j j·z_j·c_{k-j} and k·c_k = -Σ_j j·z_j·s_{k-j}, j = 1 … k.
    """
    h = np.zeros((len(ORDERS), len(x), 1))
    h[0], h[1] = x[:, None], 1.0
    for layer in network.layers:
        w, b = weights(layer.linear)
        z = layer.omega * (h @ w)
        z[0] += layer.omega * b
        s, c = np.zeros_like(z), np.zeros_like(z)
        s[0], c[0] = np.sin(z[0]), np.cos(z[0])
        for k in ORDERS[1:]:
            s[k] = sum(j * z[j] * c[k - j] for j in range(1, k + 1)) / k
            c[k] = -sum(j * z[j] * s[k - j] for j in range(1, k + 1)) / k
        h = s
    w, b = weights(network.output)
    y = (h @ w)[..., 0]
    y[0] += b[0]
    return y * np.array([math.factorial(k) for k in ORDERS])[:, None]


def draw(name: str, x: np.ndarray, exact: np.ndarray, measured: dict[str, np.ndarray], path: Path) -> None:
    """Draws a row for each order: the composed derivative over the exact one, and the errors of both dtypes."""
    figure, axes = plt.subplots(len(ORDERS), 2, figsize=(11, 13), layout="constrained", sharex=True)
    for k, (left, right) in enumerate(axes):
        left.plot(x, exact[k], color="#56B4E9", linewidth=3, label="exact, NumPy in float64")
        left.plot(x, measured["float32"][k], "k--", linewidth=1, label="composed jax.grad, float32")
        left.set_ylabel(f"order {k}\n[value{['', ' / coordinate'][k > 0]}{'²³⁴⁵'[k - 2] if k > 1 else ''}]")
        scale = np.max(np.abs(exact[k]))
        for dtype, colour in (("float32", "#D55E00"), ("float64", "#0072B2")):
            error = np.abs(measured[dtype][k] - exact[k]) / scale
            label = f"{dtype}, max {error.max():.0e}" if error.any() else f"{dtype}, exact"
            right.semilogy(x, np.maximum(error, 1e-18), ".", markersize=2, color=colour, label=label)
        right.set(ylim=(1e-19, 1e-3), yticks=[1e-18, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3], ylabel="error / largest value")
        right.legend(loc="upper right", ncols=2, fontsize=8, markerscale=4)
    axes[0, 0].set_title("function and derivatives")
    axes[0, 1].set_title("error of the composed derivatives (0 drawn at 1e-18)")
    for axis in axes[-1]:
        axis.set_xlabel("x [coordinate]")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"Derivatives to the fifth order: {name.replace('_', ' ')}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(config: Config) -> dict[str, dict[str, list[float]]]:
    """For every function and dtype, the largest relative error of the orders 0 to 5."""
    if min(config.width, config.points, config.depth + 1) < 1:
        raise InputError("width and points must be at least 1 and depth at least 0; correct the settings.")
    make_folder(config)

    def siren(depth: int) -> SIREN:
        omega = config.omega
        return SIREN(1, 1, width=config.width, depth=depth, first_omega=omega, omega=omega, rngs=nnx.Rngs(config.seed))

    x = np.linspace(-1, 1, config.points, dtype=np.float32)  # the same points, exactly, in both dtypes
    double, shallow, deep = x.astype(float), siren(0), siren(config.depth)
    cases = {
        "polynomial": (
            lambda x: jnp.polyval(jnp.asarray(POLYNOMIAL.coef[::-1], x.dtype), x),
            np.stack([POLYNOMIAL.deriv(k)(double) for k in ORDERS]),
        ),
        "one_sine_layer": (lambda x: shallow(x[None])[0], one_sine_layer(shallow, double)),
        f"SIREN_of_depth_{config.depth}": (lambda x: deep(x[None])[0], taylor_series(deep, double)),
    }
    numbers = {}
    print(f"{'function':17} order   largest |f|  error float32  error float64")
    for name, (f, exact) in cases.items():
        measured = {}
        for dtype in ("float32", "float64"):
            with jax.enable_x64(dtype == "float64"):
                points = jnp.asarray(x, dtype)
                measured[dtype] = np.stack([jax.jit(jax.vmap(composed(f, k)))(points) for k in ORDERS]).astype(float)
        scale = np.max(np.abs(exact), axis=1)
        numbers[name] = {dtype: (np.max(np.abs(y - exact), axis=1) / scale).tolist() for dtype, y in measured.items()}
        for k in ORDERS:
            print(
                f"{name:17}{k:6}{scale[k]:14.2e}{numbers[name]['float32'][k]:15.1e}{numbers[name]['float64'][k]:15.1e}"
            )
        draw(name, double, exact, measured, config.out / f"{name}.png")
    save_numbers(config, numbers)
    return numbers


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
