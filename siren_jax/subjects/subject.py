"""The subject of a fit: a signal, with everything that is needed to fit a network to it and to write the result."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from flax import nnx

from siren_jax.fitting.descent import Objective, Sample
from siren_jax.fitting.progress import LOOK
from siren_jax.neural_field import NeuralField
from siren_jax.signals import OmegaChoice, SampleDataset, choose_omega

# Peak memory of `siren-jax fit` at 2048² pixels, grey and RGB, compared with 512²: 155 and 262 bytes a pixel.
BYTES_OF_SAMPLE, BYTES_OF_VALUE = 100, 55


class Measure(NamedTuple):
    """A measure of the quality of a fit."""

    name: str
    """Name in the metrics and in the option of the target."""
    label: str
    unit: str = "dB"
    decimals: int = 1
    less_is_better: bool = False
    look: float = LOOK
    """Share of the completed steps after which a fit compares the quality with its target again."""

    def reaches(self, value: float, target: float) -> bool:
        return value <= target if self.less_is_better else value >= target

    def tell(self, value: float | None, further: int = 0) -> str:
        """A value as text with its unit, with `further` decimals more than usual."""
        if value is None or value != value:
            return f"{self.label} undefined"
        small = self.less_is_better and 0 < value < 10**-self.decimals
        shown = f"{value:.{1 + further}e}" if small else f"{value:.{self.decimals + further}f}"
        return f"{self.label} {shown} {self.unit}"


PSNR, SNR = Measure("psnr", "PSNR"), Measure("snr", "SNR")
CHAMFER = Measure("chamfer", "Chamfer distance", "% of the diagonal", decimals=3, less_is_better=True, look=1 / 8)


@runtime_checkable
class Subject(Protocol):
    """A signal to fit: what a network is fitted to, how its quality is measured, and which files are written."""

    @property
    def points(self) -> int:
        """Number of points that batches are drawn from."""
        ...

    @property
    def features(self) -> tuple[int, int]:
        """Number of coordinates of a point, and of channels of its value."""
        ...

    @property
    def memory(self) -> int:
        """Estimated memory of the fit and its results for the signal, in bytes."""
        ...

    @property
    def objective(self) -> Objective:
        """Objective that a fit minimises; see `fit`."""
        ...

    @property
    def weights(self) -> Mapping[str, float]:
        """Weights of the objective's terms."""
        ...

    @property
    def measure(self) -> Measure:
        """Measure of the quality."""
        ...

    @property
    def comparable_losses(self) -> bool:
        """Whether losses of different steps can be compared."""
        ...

    @property
    def note(self) -> str:
        """A note on the quality, such as "mean aligned", or an empty string."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on how the signal was read."""
        ...

    @property
    def suffix(self) -> str:
        """Suffix of the file that `field(…).save` writes."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that `write` writes."""
        ...

    def choose_omega(self) -> OmegaChoice:
        """The first omega that suits the signal."""
        ...

    def sampler(self, batch_size: int) -> Sample:
        """A function that draws batches of this many points for the objective."""
        ...

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        """The network as a signal, for a `.siren` file."""
        ...

    def estimate(self, network: nnx.Module) -> float:
        """Quality on a few thousand points."""
        ...

    def quality(self, network: nnx.Module) -> float:
        """Quality that is compared with a target: on all points, or on as many as take a second or two."""
        ...

    def figure(self, network: nnx.Module, title: str) -> Any:
        """Truth and prediction side by side, a Matplotlib figure."""
        ...

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        """Writes the signal of the network, and returns its metrics, the quality first.

        `path` adds the directory to a file name.
        """
        ...


class Sampled:
    """The common part of subjects that are arrays of samples."""

    dataset: SampleDataset
    rate: float | None = None
    """Samples per second of a sound, or frames per second of a video."""
    comparable_losses = True
    suffix = ".siren"
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        return len(self.dataset)

    @property
    def features(self) -> tuple[int, int]:
        return len(self.dataset.shape), self.dataset.channels

    @property
    def memory(self) -> int:
        return len(self.dataset) * (BYTES_OF_SAMPLE + BYTES_OF_VALUE * self.dataset.channels)

    def choose_omega(self) -> OmegaChoice:
        return choose_omega(self.dataset.signal, self.dataset.frame)
