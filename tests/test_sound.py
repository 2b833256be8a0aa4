"""Sound files are read in their own scale and written back; what is no sound is refused in a sentence."""

import builtins
import importlib.util

import numpy as np
import pytest
import scipy.io.wavfile

from siren_jax import InputError, load_sound
from siren_jax.metrics import snr
from siren_jax.plot import sound_comparison
from siren_jax.signals import Sound, encode_sound, kind_of, resample

RATE = 8000
needs_soundfile = pytest.mark.skipif(
    importlib.util.find_spec("soundfile") is None, reason="other formats than WAV need the extra `audio`"
)


@pytest.fixture(params=[pytest.param("libsndfile", marks=needs_soundfile), "scipy"])
def reader(request, monkeypatch):
    """Both readers of WAV files."""
    if request.param == "scipy":
        without(monkeypatch, "soundfile", "av")


def without(monkeypatch, *names):
    """The extras as if they were not installed."""
    real = builtins.__import__

    def refusing(name, *arguments, **keywords):
        if name in names:
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refusing)


def wave(channels=1, seconds=0.5, frequency=440.0):
    time = np.arange(int(seconds * RATE)) / RATE
    return np.stack([0.8 / (k + 1) * np.sin(2 * np.pi * frequency * (k + 1) * time) for k in range(channels)], axis=1)


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize(
    ("dtype", "full", "zero"), [(np.uint8, 128, 128), (np.int16, 2**15, 0), (np.int32, 2**31, 0), (np.float32, 1, 0)]
)
def test_a_wav_file_of_any_type_is_in_its_own_full_scale(reader, dtype, full, zero, channels, tmp_path):
    truth = wave(channels)
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, (truth * full + zero).astype(dtype))
    sound = load_sound(tmp_path / "a.wav")
    assert sound.rate == RATE
    assert sound.seconds == 0.5
    # The file is rounded towards zero by up to one step of its type, float32 to 2^-24 of the value.
    step = 1 / full if full > 1 else 0
    assert np.allclose(sound.samples, truth, rtol=1e-7, atol=step + 1e-7)


@needs_soundfile
@pytest.mark.parametrize(("suffix", "least"), [(".wav", 80), (".flac", 80), (".ogg", 15)])
def test_what_is_written_is_read_again(suffix, least, tmp_path):
    sound = Sound(wave(2).astype(np.float32), RATE)
    with open(tmp_path / f"a{suffix}", "wb") as file:
        encode_sound(file, sound, suffix)
    again = load_sound(tmp_path / f"a{suffix}")
    assert again.rate == RATE
    assert snr(again.samples[: len(sound.samples)], sound.samples) > least  # Vorbis loses what is not heard
    assert kind_of(tmp_path / f"a{suffix}") == "sound"


@needs_soundfile
def test_a_long_ogg_is_written(tmp_path):
    """libsndfile's encoder runs out of stack on long arrays: it gets blocks."""
    time = np.arange(2**22) / RATE
    with open(tmp_path / "a.ogg", "wb") as file:
        encode_sound(file, Sound(np.sin(2000 * time)[:, None].astype(np.float32), RATE), ".ogg")
    assert len(load_sound(tmp_path / "a.ogg").samples) == 2**22
    with open(tmp_path / "b.ogg", "wb") as file, pytest.raises(InputError, match="up to 200,000 samples a second"):
        encode_sound(file, Sound(wave().astype(np.float32), 384_000), ".ogg")
    with open(tmp_path / "b.flac", "wb") as file, pytest.raises(InputError, match="up to 8 channels"):
        encode_sound(file, Sound(wave(9).astype(np.float32), RATE), ".flac")


def test_a_written_wav_is_clipped_at_full_scale_and_does_not_wrap(tmp_path):
    with open(tmp_path / "a.wav", "wb") as file, pytest.warns(UserWarning, match="67 % of the samples are beyond"):
        encode_sound(file, Sound(np.array([[-1.5], [1.5], [0.5]], np.float32), RATE))
    assert scipy.io.wavfile.read(tmp_path / "a.wav")[1].tolist() == [-32768, 32767, 16384]


def test_the_first_bytes_tell_a_sound_whatever_its_name(reader, tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.png", RATE, wave())
    assert kind_of(tmp_path / "a.png") == "sound"
    assert np.allclose(load_sound(tmp_path / "a.png").samples, wave())


@pytest.mark.parametrize("rate", [16000, 4000, 5000])
def test_resampling_keeps_what_both_rates_can_hold(rate):
    resampled = resample(Sound(wave(seconds=1).astype(np.float32), RATE), rate)
    truth = 0.8 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    middle = slice(rate // 10, -rate // 10)  # the filter sees silence beyond the ends
    assert snr(resampled.samples[middle, 0], truth[middle]) > 45


def test_resampling_removes_what_a_lower_rate_cannot_hold():
    resampled = resample(Sound(wave(seconds=1, frequency=3000).astype(np.float32), RATE), 4000)
    assert np.abs(resampled.samples[400:-400]).max() < 0.01  # 3 kHz would come back as 1 kHz, at 0.8


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_downsampling_divides_the_rate(factor, tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, wave())
    sound = load_sound(tmp_path / "a.wav", downsample=factor)
    assert sound.rate == round(RATE / factor)
    truth = 0.8 * np.sin(2 * np.pi * 440 * np.arange(len(sound.samples)) / sound.rate)
    inner = slice(20, -20)  # twice the filter's reach
    assert snr(sound.samples[inner, 0], truth[inner]) > 45


def test_a_part_is_those_samples_of_the_whole(reader, tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, wave(2))
    whole, part = load_sound(tmp_path / "a.wav"), load_sound(tmp_path / "a.wav", between=(0.1, 0.25))
    assert np.array_equal(part.samples, whole.samples[800:2000])
    with pytest.raises(InputError, match=r"within 0 to 0\.5 s, but is 0\.4 0\.6"):
        load_sound(tmp_path / "a.wav", between=(0.4, 0.6))


def test_what_is_too_long_is_refused_but_for_a_part(reader, monkeypatch, tmp_path):
    monkeypatch.setattr("siren_jax.signals.sound.MAX_LENGTH", 1000)
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, wave())
    with pytest.raises(InputError, match=r"a\.wav' is too long: over 1,000 samples in each of 1"):
        load_sound(tmp_path / "a.wav")
    assert len(load_sound(tmp_path / "a.wav", between=(0.0, 0.1)).samples) == 800


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(100), "is silent"),
        (np.zeros(0), "has 0"),
        (np.ones(1), "has 1"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
    ],
    ids=["silent", "empty", "one sample", "nan"],
)
def test_what_cannot_be_fitted_is_refused(reader, samples, message, tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, samples.astype(np.float32))
    with pytest.raises(InputError, match=message):
        load_sound(tmp_path / "a.wav")


def test_a_clipped_sound_is_taken_with_a_warning(reader, tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, np.clip(3 * wave(), -1, 1).astype(np.float32))
    with pytest.warns(UserWarning, match="% of its samples are at full scale"):
        load_sound(tmp_path / "a.wav")


def test_samples_beyond_full_scale_are_not_clipped(reader, tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, (3 * wave()).astype(np.float32))
    assert load_sound(tmp_path / "a.wav").peak == pytest.approx(2.4, rel=1e-3)  # of a sine at 18 samples a wave


@needs_soundfile
@pytest.mark.parametrize("content", [b"RIFF\x00\x00\x00\x00WAVEfmt ", b"fLaC but nothing else", b"OggS" + b"\xff" * 99])
def test_a_damaged_file_is_refused(content, tmp_path):
    (tmp_path / "a.wav").write_bytes(content)
    assert kind_of(tmp_path / "a.wav") == "sound"
    with pytest.raises(InputError, match="damaged"):
        load_sound(tmp_path / "a.wav")


@needs_soundfile
def test_a_sound_that_is_cut_short_is_taken_with_a_warning_unless_its_length_was_unknown(tmp_path, recwarn):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, wave().astype(np.float32))
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:-4000])
    with pytest.warns(UserWarning, match=f"cut short: {len(whole):,} bytes"):
        assert len(load_sound(tmp_path / "a.wav").samples) == RATE // 2 - 1000
    streamed = whole[:4] + b"\xff" * 4 + whole[8:]  # as FFmpeg writes it to a pipe
    (tmp_path / "a.wav").write_bytes(streamed)
    recwarn.clear()
    load_sound(tmp_path / "a.wav")
    assert not recwarn


def test_a_truncated_wav_is_refused_by_scipy_too(monkeypatch, tmp_path):
    without(monkeypatch, "soundfile", "av")
    (tmp_path / "a.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    with pytest.raises(InputError, match="damaged"):
        load_sound(tmp_path / "a.wav")
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, np.zeros((9, 2), np.int16))
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-2])
    with pytest.raises(InputError, match="silent"), pytest.warns(UserWarning, match="80 bytes are promised, 78"):
        load_sound(tmp_path / "a.wav")


def test_another_format_without_the_extra_names_it(monkeypatch, tmp_path):
    without(monkeypatch, "soundfile", "av")
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    with pytest.raises(InputError, match=r"siren-jax\[audio\]"):
        load_sound(tmp_path / "a.flac")
    with open(tmp_path / "b.flac", "wb") as file, pytest.raises(InputError, match=r"siren-jax\[audio\]"):
        encode_sound(file, Sound(wave().astype(np.float32), RATE), ".flac")
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, wave())
    assert load_sound(tmp_path / "a.wav").rate == RATE


def test_no_file_and_an_empty_one_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        kind_of(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        kind_of(tmp_path / "a.wav")


def test_the_figure_of_a_sound_names_the_channel_that_it_shows():
    sound = np.hstack([wave(), 2 * wave(), wave()])
    assert sound_comparison(sound, sound, rate=RATE).axes[0].get_ylabel() == "amplitude, channel 2 of 3"
    assert sound_comparison(sound[:, :1], sound[:, :1], rate=RATE).axes[0].get_ylabel() == "amplitude"
