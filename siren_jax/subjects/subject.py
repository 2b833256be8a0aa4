"""What a fit is about, as its session sees it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from flax import nnx

from siren_jax.fitting.descent import Objective, Sample
from siren_jax.fitting.progress import LOOK
from siren_jax.neural_field import NeuralField
from siren_jax.signals import OmegaChoice, SampleDataset, choose_omega

# Peak memory of `siren-jax fit` at 2048² pixels, grey and RGB, beside that at 512²: 155 and 262 bytes a pixel.
BYTES_OF_SAMPLE, BYTES_OF_VALUE = 100, 55


class Measure(NamedTuple):
    """What the quality of a fit is told in."""

    name: str
    """In the metrics and in the option of its target."""
    label: str
    unit: str = "dB"
    decimals: int = 1
    less_is_better: bool = False
    look: float = LOOK
    """Share of the steps taken after which a fit compares it with its target again."""

    def reaches(self, value: float, target: float) -> bool:
        return value <= target if self.less_is_better else value >= target

    def tell(self, value: float | None, further: int = 0) -> str:
        """With the unit, and so many more decimals than usual."""
        if value is None or value != value:
            return f"{self.label} undefined"
        return f"{self.label} {value:.{self.decimals + further}f} {self.unit}"


PSNR, SNR = Measure("psnr", "PSNR"), Measure("snr", "SNR")


@runtime_checkable
class Subject(Protocol):
    """A signal that is fitted: how good a network is, and what is written of it."""

    @property
    def points(self) -> int:
        """How many there are for a batch to draw from."""
        ...

    @property
    def features(self) -> tuple[int, int]:
        """Coordinates of a point, and channels of its value."""
        ...

    @property
    def memory(self) -> int:
        """Bytes that the fit and its results take for the signal, about."""
        ...

    @property
    def objective(self) -> Objective:
        """What a fit minimises; see `fit`."""
        ...

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the objective's terms."""
        ...

    @property
    def measure(self) -> Measure:
        """Of the quality."""
        ...

    @property
    def comparable_losses(self) -> bool:
        """Whether a loss that is lower, at whichever step, is better."""
        ...

    @property
    def note(self) -> str:
        """What has to be said of the quality: "mean aligned", or nothing."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """Names of what `write` writes."""
        ...

    def choose_omega(self) -> OmegaChoice:
        """The first omega that suits the signal."""
        ...

    def sampler(self, batch_size: int) -> Sample:
        """Draws batches of so many points for the objective."""
        ...

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        """The network as a signal, for a `.siren` file."""
        ...

    def estimate(self, network: nnx.Module) -> float:
        """Quality on some thousand points."""
        ...

    def quality(self, network: nnx.Module) -> float:
        """Quality that a target is compared with: on all points, or on as many as a second or two allow."""
        ...

    def figure(self, network: nnx.Module, title: str) -> Any:
        """Truth and prediction side by side, a Matplotlib figure."""
        ...

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        """Writes the signal as the network has it, and returns its figures of merit, the quality first.

        `path` gives a file name its directory.
        """
        ...


class Sampled:
    """What subjects share that are arrays of samples."""

    dataset: SampleDataset
    comparable_losses = True

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
