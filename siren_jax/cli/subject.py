"""What a fit is about, as its session sees it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from flax import nnx

from siren_jax.fit import Objective, Sample
from siren_jax.neural_field import NeuralField
from siren_jax.signals import SampleDataset


@runtime_checkable
class Subject(Protocol):
    """A signal that is fitted: how good a network is, and what is written of it."""

    @property
    def dataset(self) -> SampleDataset: ...

    @property
    def objective(self) -> Objective:
        """What a fit minimises; see `fit`."""
        ...

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the objective's terms."""
        ...

    @property
    def measure(self) -> str:
        """Name of the quality, in the metrics: "psnr" or "snr"."""
        ...

    @property
    def note(self) -> str:
        """What has to be said of the quality: "mean aligned", or nothing."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """Names of what `write` writes."""
        ...

    def sampler(self, batch_size: int) -> Sample:
        """Draws batches of so many points for the objective."""
        ...

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        """The network as a signal, for a `.siren` file."""
        ...

    def estimate(self, network: nnx.Module) -> float:
        """Quality in dB on some thousand samples."""
        ...

    def quality(self, network: nnx.Module) -> float:
        """Quality in dB that a target is compared with: on all samples, or on as many as a second allows."""
        ...

    def figure(self, network: nnx.Module, title: str) -> Any:
        """Truth and prediction side by side, a Matplotlib figure."""
        ...

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        """Writes the signal as the network has it, and returns its figures of merit, the quality first.

        `path` gives a file name its directory.
        """
        ...
