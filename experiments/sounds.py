"""Synthesised sounds at 44.1 kHz, as functions of the time in seconds."""

import numpy as np
import scipy.signal
from numpy import ndarray

RATE = 44100


def pluck(time: ndarray) -> ndarray:
    """Four plucked strings, one after the other: noise in a delay line that averages neighbouring samples."""
    sound = np.zeros_like(time)
    noise = np.random.default_rng(0)
    for number, pitch in enumerate((220, 330, 262, 392)):
        period = int(RATE / pitch)
        feedback = np.zeros(period + 2)
        feedback[0], feedback[period:] = 1, -0.498
        burst = np.zeros(len(time) - number * 15000)
        burst[:period] = noise.uniform(-1, 1, period)
        sound[number * 15000 :] += scipy.signal.lfilter([1.0], feedback, burst)
    return sound


def voice(time: ndarray) -> ndarray:
    """A gliding buzz through three formants, in five syllables."""
    pitch = 120 + 30 * np.sin(2 * np.pi * 1.3 * time) + 20 * np.sin(2 * np.pi * 3.1 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    buzz = sum(np.sin(k * phase) / k for k in range(1, 40))
    formants = [scipy.signal.iirpeak(f, f / width, fs=RATE) for f, width in ((700, 80), (1200, 90), (2500, 120))]
    spoken = sum(scipy.signal.lfilter(*peak, buzz) / (i + 1) for i, peak in enumerate(formants))  # pyright: ignore
    return spoken * np.sin(2 * np.pi * 1.25 * time) ** 2


def chirp(time: ndarray) -> ndarray:
    """A tone that rises from 100 Hz to 3 kHz, with a smooth beginning and end."""
    return scipy.signal.chirp(time, 100, time[-1], 3000) * np.hanning(len(time))


def bells(time: ndarray) -> ndarray:
    """Inharmonic partials that decay at their own rates."""
    sound = np.zeros_like(time)
    for start, pitch in ((0.0, 440), (0.6, 587), (1.2, 370)):
        after = np.maximum(time - start, 0)
        partials = (np.sin(2 * np.pi * pitch * r * after) * np.exp(-2 * r * after) / r for r in (1, 2.76, 5.4, 8.93))
        sound += sum(partials)
    return sound


def drums(time: ndarray) -> ndarray:
    """Drum beats of falling pitch, with bursts of noise between them."""
    sound, noise = np.zeros_like(time), np.random.default_rng(1).normal(size=len(time))
    for start in np.arange(0, 2, 0.5):
        after, later = np.maximum(time - start, 0), np.maximum(time - start - 0.25, 0)
        sound += np.sin(2 * np.pi * (60 * after + 3 * (1 - np.exp(-40 * after)))) * np.exp(-8 * after)
        sound += 0.2 * noise * np.exp(-30 * later) * (later > 0)
    return sound


def flute(time: ndarray) -> ndarray:
    """A melody of a few harmonics with vibrato, and breath noise."""
    pitch = np.array([523, 587, 659, 784])[np.minimum((2 * time).astype(int), 3)]
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.006 * np.sin(2 * np.pi * 5 * time))) / RATE
    band = scipy.signal.butter(2, (800, 4000), "band", fs=RATE)
    breath = scipy.signal.lfilter(*band, np.random.default_rng(2).normal(size=len(time)))  # pyright: ignore
    tone = np.sin(phase) + 0.3 * np.sin(2 * phase) + 0.1 * np.sin(3 * phase)
    return (tone + 0.03 * breath) * (0.6 + 0.4 * np.sin(4 * np.pi * time) ** 2)  # pyright: ignore


def organ(time: ndarray) -> ndarray:
    """Two chords with many harmonics."""
    chords = ((131, 165, 196, 262), (110, 147, 175, 220))
    pipes = [
        sum(np.sin(2 * np.pi * k * pitch * time + k * pitch) / k**1.5 for k in (1, 2, 3, 4, 6, 8) for pitch in chord)
        for chord in chords
    ]
    return np.where(time < 1, *pipes)


SYNTHESISED = {f.__name__: f for f in (pluck, voice, chirp, bells, drums, flute, organ)}
