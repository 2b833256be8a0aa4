"""`siren-jax solve`: solves a differential equation of the catalogue with a SIREN."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx

from siren_jax._types import RefinementMethod
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import Output, Training, check_positive
from siren_jax.cli.training import train
from siren_jax.equations import Ansatz, Problem, distil, march
from siren_jax.equations.catalogue import CASES
from siren_jax.errors import InputError
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.progress import Progress
from siren_jax.fitting.recipes import TUNED
from siren_jax.fitting.refinement import METHODS, MOST, bytes_of, check_size
from siren_jax.fitting.result import Fit
from siren_jax.subjects.solution import Solution

# Options of a network that is trained.
TRAINED = (
    *("model", "depth", "first_omega", "omega", "start", "weight_scale", "steps", "learning_rate", "schedule"),
    "skip_nonfinite",
)
FIRST = 0.25  # share of --seconds for Adam; --refine-with has the rest


@dataclass(frozen=True)
@documented
class Solve:
    """Solve a differential equation with a network, by its residual and its boundary and initial conditions. The error
    is measured against an independent solution.

    Most equations are solved without Adam: by random sines or plane waves, whose last layer is a least-squares problem,
    in one slab of time after another if the solution evolves, or by Gauss-Newton on a small network. For the others,
    and with --refine 0 or an option of the training such as --steps or --depth, Adam trains a network, and
    --refine-with refines it.

    A solution in slabs of time is written as NAME.slabs.zip, which siren_jax.equations.load_slabs opens. It contains a
    .siren file for each slab."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME", help=f"Equation: {', '.join(CASES)}.")]
    refine: Annotated[int | None, optional("N", "each equation has its own; no limit with --seconds")] = None
    """Number of steps of --refine-with after those of Adam; 0 for none. For a solution in slabs of time, the largest
    number of steps in each slab; a slab that they do not solve is halved."""
    refine_with: Annotated[
        RefinementMethod | None,
        optional("{" + ",".join(METHODS) + "}", "each equation has its own; lbfgs after Adam"),
    ] = None
    """Method of the steps of --refine. broyden and gauss-newton reach smaller errors with networks of up to some 3,000
    parameters, such as --width 20 --depth 2 --first-omega 3 --omega 1. With more than 8,000 parameters, gauss-newton
    draws new points in every step, for up to 8,000 residuals. A step of broyden takes about as long as one of
    lbfgs; a step of gauss-newton takes longer and gains more. last-layer learns the last layer alone, by least squares,
    with more than 8,000 sines by conjugate gradients. All but lbfgs compute in float64."""
    double: bool = False
    """Compute the steps of --refine in float64 and write a float64 network, as all methods but lbfgs always do. The
    relative error of a float32 network stays above about 1e-5 %. A step of lbfgs takes longer."""
    target_error: Annotated[float | None, optional("PERCENT", "none")] = None
    """Stop as soon as the relative L2 error is no larger than this many percent. --steps, --seconds and --refine limit
    the fit."""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    output: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)

    def run(self) -> int:
        self.training.check(depth=0)  # of sines; `sizes` checks that of a network that is trained
        self.output.check()
        check_positive(self, ("target_error",))
        if self.refine is not None and self.refine < 0:
            raise InputError(f"--refine takes a number of steps, 0 for none, but is {self.refine}.")
        if self.name not in CASES:
            raise InputError(f"{self.name!r} is not an equation of the catalogue; choose one of {', '.join(CASES)}.")
        for name in ("batch_size", "target_psnr"):
            if getattr(self.training, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} does not apply to an equation; leave it out.")
        case = CASES[self.name]()
        training = self.training
        base = TUNED["values"]._replace(
            learning_rate=case.learning_rate, steps=case.steps, first_omega=case.first_omega, weight_scale=1.0
        )
        direct = None if self._trains() else case.direct
        if direct and self.refine_with not in (None, direct.method):
            direct = None
        method = self.refine_with or (direct.method if direct else "lbfgs")
        refined = (direct.steps if direct else case.refined) if self.refine is None else self.refine
        seconds = None
        if training.seconds is not None and refined:
            first = 0 if direct else FIRST
            refined, seconds = self.refine, (1 - first) * training.seconds
            training = replace(training, seconds=first * training.seconds or None)
        if self.double and not (refined or seconds):
            raise InputError(
                "--double applies to the steps of --refine, but there are none; give --refine, or leave it out."
            )
        network, problem, memory, marches = None, case.problem, 0, bool(direct and direct.slabs)
        batches, fresh = direct.batches if direct else case.batches, False
        if direct:
            network = direct.network(training.width or direct.width, nnx.Rngs(training.seed))
            problem = direct.problem or problem
            problem = Problem([term for term in problem.terms if term.name not in direct.needless])
        if marches:
            self._check_slabs()
        if refined or seconds:
            width, depth = (network.width, network.depth) if network else training.sizes(case.width, case.depth)
            sides = [len(case.domain.low), *[width] * (depth + 1), len(case.channels)]
            layers = [(n + 1) * m for n, m in pairwise(sides)]
            count = layers[-1] if method == "last-layer" else sum(layers)
            residuals = 0
            if fresh := method == "gauss-newton" and count > MOST:
                batches = 1
                residuals = problem.residual_count(lambda x: jnp.zeros(len(case.channels), x.dtype))
            check_size(method, count, residuals)  # before the steps of Adam
            memory = bytes_of(method, count, residuals, self.double or None)

        subject = Solution(case, marches=marches)

        def in_slabs(fitted: Fit, watch: Callable[..., Any], checkpoints: Checkpoints | None) -> Fit:
            assert direct
            assert direct.slabs
            assert network
            del fitted
            slabs = direct.slabs
            ends = np.linspace(0, 1, slabs + 1) if isinstance(slabs, int) else np.array(slabs)
            ends = (ends - ends[0]) / (ends[-1] - ends[0])
            place = lambda progress: f"slab {np.searchsorted(ends, progress.share - 1e-9)} of {len(ends) - 1}"
            marched = march(
                problem,
                network,
                slabs,
                key=jax.random.key(training.seed),
                steps=refined or direct.steps,
                batches=direct.batches,
                seconds=seconds,
                watch=lambda progress: watch(progress, place(progress)),
                checkpoints=checkpoints,
            )
            end = marched.network.edges[-1]
            if end < case.domain.high[0]:
                subject.note = f"until {case.axes[0]} = {end:.3g}"
            return marched.as_fit()

        def polish(fitted: Fit, watch: Callable[[Progress], Any], checkpoints: Checkpoints | None) -> Fit:
            return problem.refine(
                fitted.network,
                key=jax.random.key(training.seed),
                batches=batches,
                fresh=fresh,
                steps=refined,
                seconds=seconds,
                method=method,
                watch=watch,
                checkpoints=checkpoints,
                mesh=training.mesh(),
                double=self.double or None,
            )

        def plain(fitted: Fit) -> Fit:
            """The fit, with a plain network of the same values."""
            assert isinstance(fitted.network, Ansatz)
            start, key = fitted.network.network, jax.random.key(training.seed)
            optimizer = training.recipe(base).optimizer(start)
            same = distil(fitted.network, start, case.domain, key=key, optimizer=optimizer)
            return replace(fitted, network=same.network)

        return train(
            replace(self, training=training),
            {},
            subject,
            self.name,
            training.recipe(base),
            {"equation": self.name},
            width=case.width,
            depth=case.depth,
            target=self.target_error,
            patience=1,  # in some cases the time span grows over the budget, and L-BFGS follows
            unknown=case.ansatz if case.ansatz and not marches else (lambda network: network),
            then=in_slabs if marches else polish if refined or seconds else None,
            kept=plain if case.ansatz and not marches else None,
            memory=memory,
            untrained=network,
        )

    def _check_slabs(self) -> None:
        """Refuses options that a solution in slabs of time has no use for."""
        given = {**vars(self.output), "devices": self.training.devices}
        for name in ("live", "preview_every", "tensorboard", "devices"):
            if given[name]:
                raise InputError(
                    f"--{name.replace('_', '-')} does not apply to a solution in slabs of time; leave it out, or train "
                    "a network with --steps."
                )

    def _trains(self) -> bool:
        """Whether an option of the training is given, or no step after it."""
        usual, given = Training(), self.training
        return self.refine == 0 or any(getattr(given, name) != getattr(usual, name) for name in TRAINED)
