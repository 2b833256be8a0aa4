"""Figures of sounds."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from siren_jax.plot.colors import COLORS

COLUMNS = 2000  # columns of a spectrogram, and of a waveform, from the least to the greatest sample
SMALL = 280  # columns of a small waveform
DECIBELS = 80  # range of a spectrogram below the loudest
WINDOW = 0.03  # seconds


def sound_comparison(
    truth: Float[ndarray, "n c"], prediction: Float[ndarray, "n c"], *, rate: int, title: str = ""
) -> Figure:
    """Waveforms, their difference, and the spectrograms of a sound and of its prediction.

    Args:
        truth: samples; of several channels, only the loudest is shown, and named.
        prediction: samples of a network.
        rate: samples per second.
        title: title of the figure, one line.
    """
    loudest_channel = _loudest(truth)
    which = f", channel {loudest_channel + 1} of {truth.shape[1]}" if truth.shape[1] > 1 else ""
    truth, prediction = (np.asarray(sound[:, loudest_channel], np.float64) for sound in (truth, prediction))
    figure = Figure(figsize=(9, 9.5), layout="constrained")
    waves = figure.subplots(4, 1, height_ratios=(1, 0.8, 1.2, 1.2), sharex=True)
    peak = 1.05 * max(np.abs(truth).max(), 1e-9)
    for name, wave, color in (("ground truth", truth, COLORS[5]), ("prediction", prediction, COLORS[0])):
        _waveform(waves[0], wave, rate, color, name, overlaid=name == "prediction")
    waves[0].set(ylim=(-peak, peak), ylabel="amplitude" + which)
    waves[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)  # above: sounds fill their panel
    _waveform(waves[1], prediction - truth, rate, COLORS[1], "error")
    waves[1].set_ylabel("prediction - truth")
    waves[1].margins(y=0.05)
    for axis in waves[:2]:
        axis.grid(alpha=0.3)
    loudest = None
    for axis, name, wave in ((waves[2], "ground truth", truth), (waves[3], "prediction", prediction)):
        extent, level = _spectrogram(wave, rate)
        loudest = level.max() if loudest is None else loudest
        picture = axis.imshow(
            level - loudest, extent=extent, origin="lower", aspect="auto", vmin=-DECIBELS, vmax=0, cmap="magma"
        )
        axis.set_ylabel(f"{name}\nfrequency, kHz")
    figure.colorbar(picture, ax=list(waves[2:]), label="dB below the loudest")
    waves[-1].set_xlabel("seconds")
    waves[-1].set_xlim(0, len(truth) / rate)
    figure.suptitle(title)
    return figure


def waveform(samples: Float[ndarray, "n c"], length: int | float, unit: str = "seconds") -> Figure:
    """The waveform of a sound, small; of several channels, only the loudest.

    Args:
        samples: samples of each channel, evenly spaced.
        length: length of the sound in the unit.
        unit: unit of time.
    """
    wave = np.asarray(samples[:, _loudest(samples)], np.float64)
    figure = Figure(figsize=(4.3, 1.7), layout="constrained")
    axis = figure.subplots()
    for outlined in (False, True):  # filled, with an outline that stays visible where the sound is quiet
        _waveform(axis, wave, len(wave) / length, COLORS[0], "", overlaid=outlined, columns=SMALL)
    axis.set(xlim=(0, length), xlabel=unit, ylabel="amplitude")
    axis.grid(alpha=0.3)
    return figure


def _loudest(samples: Float[ndarray, "n c"]) -> int:
    """The channel with the most power."""
    return int(np.argmax(np.mean(np.square(samples, dtype=np.float64), axis=0)))


def _waveform(
    axis,
    wave: Float[ndarray, "n"],
    rate: int | float,
    color: str,
    label: str,
    *,
    overlaid: bool = False,
    columns: int = COLUMNS,
) -> None:
    width = max(1, -(-len(wave) // columns))
    if width < 3:
        axis.plot(np.arange(len(wave)) / rate, wave, color=color, linewidth=0.8, label=label)
        return
    whole = len(wave) // width * width
    groups = wave[:whole].reshape(-1, width)
    times = (np.arange(len(groups)) + 0.5) * width / rate
    line = {"linewidth": 0.5, "edgecolor": color, "facecolor": "none"} if overlaid else {"color": color, "linewidth": 0}
    axis.fill_between(times, groups.min(axis=1), groups.max(axis=1), label=label, **line)


def _spectrogram(wave: Float[ndarray, "n"], rate: int) -> tuple[tuple[float, float, float, float], ndarray]:
    """Edges of the spectrogram in seconds and kilohertz, and decibels by frequency and time."""
    import scipy.signal

    window = int(min(len(wave), max(16, WINDOW * rate)))
    hop = max(1, window // 2, len(wave) // COLUMNS)
    before = window // 2  # the first window is centred on the first sample, and the last one near the last
    wave = np.pad(wave, (before, window + (-len(wave)) % hop), mode="symmetric")
    frequencies, times, power = scipy.signal.spectrogram(
        wave, rate, nperseg=window, noverlap=max(0, window - hop), mode="psd", scaling="spectrum"
    )
    times = times - before / rate
    if hop > window:  # windows lie side by side; only some are shown
        times, power = times[:: hop // window], power[:, :: hop // window]
    half = (times[1] - times[0] if len(times) > 1 else window / rate) / 2
    top = frequencies[-1] + frequencies[1] / 2
    extent = (times[0] - half, times[-1] + half, -frequencies[1] / 2000, top / 1000)
    return extent, 10 * np.log10(np.maximum(power, 1e-20))
