"""Sound files are read in their own scale and written back; what is no sound is refused in a sentence."""

import builtins
import contextlib
import importlib.util
import struct

import numpy as np
import pytest
import scipy.io.wavfile
import scipy.signal

from siren_jax import InputError, load_sound
from siren_jax.formats.file_kind import kind_of
from siren_jax.metrics import snr
from siren_jax.plot import sound_comparison
from siren_jax.signals import Sound, encode_sound, resample
from siren_jax.signals.sound import resampled

try:
    import av
    import soundfile
except ImportError:
    av = soundfile = None

RATE = 8000
needs_soundfile = pytest.mark.skipif(
    importlib.util.find_spec("soundfile") is None, reason="other formats than WAV need the extra `audio`"
)
needs_extras = pytest.mark.skipif(soundfile is None, reason="needs the extras `audio` and `video`")


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
    with pytest.warns(UserWarning, match=f"declares {len(whole):,} bytes"):
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
    with pytest.raises(InputError, match="silent"), pytest.warns(UserWarning, match="declares 80 bytes, but it has 78"):
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


def speech(rate, seconds, channels=1, pause=1e-3):
    """Words of a gliding voice in noise, and nearly silent pauses: an encoder spends its bits unevenly on them."""
    time = np.arange(rate * seconds) / rate
    noise = np.random.default_rng(0).standard_normal(len(time))
    voice = 0.4 * np.sin(2 * np.pi * (200 * time + 20 * time**2)) + 0.05 * noise
    voice *= np.where(np.sin(2 * np.pi * 0.7 * time) > -0.3, 1, pause)
    return np.stack([voice / (k + 1) for k in range(channels)], axis=1).astype(np.float32)


def in_one_go(path):
    """The whole file by a single call, so that nothing is sought."""
    with soundfile.SoundFile(path) as file:
        return file.read(file.frames, dtype="float32", always_2d=True)


def encode(path, samples, rate, codec, container=None, **options):
    """A file by FFmpeg; `options` are the encoder's."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    settings = {} if container is None else container
    with av.open(str(path), "w", options=settings) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout, options=options)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        context = stream.codec_context
        cutter = av.AudioResampler(context.format, layout, rate, frame_size=context.frame_size or 1024)
        for part in (*cutter.resample(frame), *cutter.resample(None)):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))


ENCODINGS = [
    (form, kind)
    for form, kinds in {
        "WAV": "PCM_U8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW IMA_ADPCM MS_ADPCM GSM610 G721_32 NMS_ADPCM_16 "
        "NMS_ADPCM_24 NMS_ADPCM_32",
        "WAVEX": "PCM_24 FLOAT",
        "RF64": "PCM_16",
        "W64": "PCM_16 GSM610",
        "AIFF": "PCM_S8 PCM_24 IMA_ADPCM GSM610 DWVW_16",
        "AU": "G721_32 G723_24 G723_40 ULAW",
        "CAF": "PCM_16 ALAC_16",
        "FLAC": "PCM_16 PCM_24",
        "OGG": "VORBIS OPUS",
        "XI": "DPCM_16",
        "SD2": "PCM_16",
    }.items()
    for kind in kinds.split()
]


@needs_soundfile
@pytest.mark.parametrize(("form", "kind"), ENCODINGS)
def test_parts_of_every_encoding_are_those_of_the_whole(form, kind, tmp_path):
    path = tmp_path / f"a.{form.lower()}"
    soundfile.write(path, speech(RATE, 2), 44100 if form == "XI" else RATE, subtype=kind, format=form)
    if form == "AIFF" and kind.startswith("DWVW"):
        with pytest.raises(soundfile.LibsndfileError):  # not even once
            in_one_go(path)
        whole = load_sound(path).samples
        assert snr(whole, speech(RATE, 2)) > 80  # 16 bits
    else:
        whole = in_one_go(path)
        assert np.array_equal(load_sound(path).samples, whole)
    rate = load_sound(path).rate
    for start in (0.01, 0.02, 0.0713, 0.1):
        first, last = round(start * rate), round((start + 0.2) * rate)
        assert np.array_equal(load_sound(path, between=(start, start + 0.2)).samples, whole[first:last])


@needs_extras
@pytest.mark.parametrize("hidden", ["", "av"], ids=["FFmpeg", "libsndfile"])
def test_a_part_of_an_mp3_of_variable_rate_begins_right(hidden, monkeypatch, tmp_path):
    """MP3 borrows bits from earlier frames, so that a decoder that begins in the middle gets the first ones wrong."""
    path = tmp_path / "a.mp3"
    with soundfile.SoundFile(path, "w", 22050, 2, bitrate_mode="AVERAGE", compression_level=0.5) as file:
        file.write(speech(22050, 12, channels=2, pause=0))
    whole = in_one_go(path)
    without(monkeypatch, hidden)
    monkeypatch.setattr("siren_jax.formats.sounds.BLOCK", 2**12)  # soundfile seeks after each
    assert np.allclose(load_sound(path).samples, whole, atol=1e-5)  # two decoders in float32: 3e-6 was seen
    for start in np.random.default_rng(1).uniform(3, 11, 20):
        part = load_sound(path, between=(start, start + 0.7)).samples  # longer than a pause
        assert np.allclose(part, whole[round(start * 22050) :][: len(part)], atol=1e-5)


@needs_extras
def test_an_mp3_that_does_not_say_how_long_it_is(monkeypatch, tmp_path):
    """Its first frame, of silence, is small: libsndfile takes it for all, and the file for shorter than it is."""
    truth = np.concatenate([speech(44100, 8), np.zeros((44100, 1), np.float32)])
    truth[:4410] = np.random.default_rng(0).uniform(-0.9, 0.9, (4410, 1))
    options = {"flags": "+qscale", "global_quality": "472"}  # variable rate, medium
    encode(tmp_path / "a.mp3", truth, 44100, "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}, **options)
    assert abs(len(load_sound(tmp_path / "a.mp3").samples) - len(truth)) < 3 * 1152  # whole frames, and a delay
    without(monkeypatch, "av")
    with pytest.warns(UserWarning, match=r"does not declare its length: .*pip install 'siren-jax\[video\]'"):
        assert len(load_sound(tmp_path / "a.mp3").samples) < 0.9 * len(truth)


@needs_extras
@pytest.mark.parametrize(
    ("suffix", "codec", "least"),
    [
        (".m4a", "aac", 15),
        (".mp4", "aac", 15),
        (".mkv", "aac", 15),
        (".webm", "libopus", 10),
        (".mov", "pcm_s16le", 75),
        (".m4a", "alac", 75),
        (".mp3", "libmp3lame", 15),
        (".opus", "libopus", 10),
    ],
)
def test_sound_alone_in_any_container_is_a_sound_from_its_first_sample_on(suffix, codec, least, tmp_path):
    truth = speech(48000, 2)
    encode(tmp_path / f"a{suffix}", truth, 48000, codec)
    assert kind_of(tmp_path / f"a{suffix}") == "sound"
    sound = load_sound(tmp_path / f"a{suffix}")
    assert sound.rate == 48000
    assert len(truth) <= len(sound.samples) <= len(truth) + 1024  # a last frame of AAC is filled up
    assert snr(sound.samples[: len(truth)], truth) > least  # what an encoder loses; shifted by a frame it is below 0
    part = load_sound(tmp_path / f"a{suffix}", between=(0.5, 0.75)).samples
    assert np.array_equal(part, sound.samples[24000:36000])
    with pytest.raises(InputError, match="a start before a stop within 0 to"):
        load_sound(tmp_path / f"a{suffix}", between=(1.5, 2.5))


@needs_extras
def test_what_ffmpeg_alone_reads_names_its_extra(monkeypatch, tmp_path):
    encode(tmp_path / "a.m4a", speech(48000, 1), 48000, "aac")
    without(monkeypatch, "av")
    with pytest.raises(InputError, match=r"M4A, MP4 and more need the extra: pip install 'siren-jax\[video\]'"):
        load_sound(tmp_path / "a.m4a")
    without(monkeypatch, "av", "soundfile")
    with pytest.raises(InputError, match=r"needs an extra: .*\[audio\].*\[video\]"):
        load_sound(tmp_path / "a.m4a")


def wav(samples, *, bits=16, kind=1, container=None, length=None, riff=None, before=b"", after=b"", extensible=False):
    """Bytes of a WAV file by hand: `length` and `riff` are what the header says of the data and of the file."""
    container = container or (bits + 7) // 8
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, 1, RATE, RATE * container, container, bits)
    if extensible:
        head = head[:-2] + struct.pack("<HHHIH", 8 * container, 22, bits, 4, kind)
        head += b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    if kind == 3:
        data = samples.astype(f"<f{container}").tobytes()
    elif container == 1:
        data = (samples * 128 + 128).astype(np.uint8).tobytes()
    else:
        whole = (samples * 2.0**31).astype("<i4").reshape(-1, 1).view(np.uint8)
        data = whole[:, 4 - container :].tobytes()
    length = len(data) if length is None else length
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + before + b"data" + struct.pack("<I", length) + data
    body += b"\0" * (len(data) % 2) + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


COARSE = np.round(wave()[:801, 0] * 64) / 128  # exact in 8 bits; an odd number of bytes then
LIST = b"LIST\x12\0\0\0INFOISFT\x05\0\0\0made\0\0"


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("bits", "kind", "container"),
    [(8, 1, 1), (12, 1, 2), (16, 1, 2), (20, 1, 3), (24, 1, 3), (24, 1, 4), (32, 1, 4), (32, 3, 4), (64, 3, 8)],
)
def test_a_wav_of_any_width_is_exact(reader, bits, kind, container, extensible, tmp_path):
    """12 bits in 2 bytes, and 24 in 4, are the upper ones."""
    content = wav(COARSE, bits=bits, kind=kind, container=container, extensible=extensible, after=LIST)
    (tmp_path / "a.wav").write_bytes(content)
    assert np.array_equal(load_sound(tmp_path / "a.wav").samples[:, 0], COARSE)


@pytest.mark.parametrize("riff", [None, 0, 2**32 - 1])
@pytest.mark.parametrize("length", [0, 2**32 - 1])
@pytest.mark.parametrize(("bits", "before"), [(16, b""), (24, LIST), (8, b"")])
def test_a_wav_whose_header_does_not_know_its_length_is_read_to_its_end(reader, riff, length, bits, before, tmp_path):
    """A recorder that was cut off leaves zeros; FFmpeg and SoX write the largest numbers to a pipe."""
    content = wav(COARSE, bits=bits, length=length, riff=riff, before=before)
    (tmp_path / "a.wav").write_bytes(content[:-1] if bits != 16 else content)  # padding would be a sample of 8 bits
    with contextlib.nullcontext() if length else pytest.warns(UserWarning, match="was not closed by its writer"):
        sound = load_sound(tmp_path / "a.wav")
    assert np.array_equal(sound.samples[:, 0], COARSE)
    with pytest.warns(UserWarning, match="was not closed") if length == 0 else contextlib.nullcontext():
        assert np.array_equal(load_sound(tmp_path / "a.wav", between=(0.02, 0.05)).samples[:, 0], COARSE[160:400])


def test_chunks_behind_a_sound_of_no_samples_are_no_samples(reader, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(COARSE[:0], after=LIST))
    with pytest.raises(InputError, match="has 0"):
        load_sound(tmp_path / "a.wav")


def test_no_message_of_python_is_passed_on(monkeypatch, tmp_path):
    without(monkeypatch, "soundfile", "av")
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1")
    with pytest.raises(InputError) as refusal:
        load_sound(tmp_path / "a.wav")
    assert str(refusal.value).endswith("is damaged. Other kinds of WAV need the extra: pip install 'siren-jax[audio]'.")


@pytest.mark.parametrize("new", [5512, 1000, 6001, 11025, 88200])
def test_blocks_are_resampled_as_the_whole(new, monkeypatch):
    sound = speech(44100, 2, channels=2)
    monkeypatch.setattr("siren_jax.signals.sound.RESAMPLED", 2**14)
    cuts = np.cumsum(np.random.default_rng(0).integers(1, 30000, 20))
    made = np.concatenate(list(resampled(np.split(sound, cuts), 44100, new)))
    divisor = np.gcd(44100, new)
    whole = scipy.signal.resample_poly(sound, new // divisor, 44100 // divisor, axis=0, padtype="edge")
    assert made.shape == whole.shape
    assert np.allclose(made, whole, atol=1e-6)  # float32


def test_what_is_short_enough_after_downsampling_is_taken(reader, monkeypatch, tmp_path):
    monkeypatch.setattr("siren_jax.signals.sound.MAX_LENGTH", 1000)
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, wave().astype(np.float32))
    sound = load_sound(tmp_path / "a.wav", downsample=8)
    assert np.array_equal(sound.samples, resample(Sound(wave().astype(np.float32), RATE), 1000).samples)
    with pytest.raises(InputError, match="fewer samples a second with downsample="):
        load_sound(tmp_path / "a.wav", downsample=2)


@pytest.mark.parametrize(
    "between", [(0.3, 0.2), (-0.1, 0.2), (0.2, 0.2), (0.6, 0.7), (0.1, 1e300), (float("nan"), 0.2)]
)
def test_a_part_outside_a_sound_is_refused(reader, between, tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, wave())
    with pytest.raises(InputError, match="a start before a stop within 0 to"):
        load_sound(tmp_path / "a.wav", between=between)


def test_a_silent_part_says_which(reader, tmp_path):
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, np.concatenate([wave(), np.zeros((RATE, 1))]))
    with pytest.raises(InputError, match=r"is silent from 0\.6 to 0\.9 s"):
        load_sound(tmp_path / "a.wav", between=(0.6, 0.9))


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (192000, 6), (96000, 2)])
def test_any_rate_and_number_of_channels_is_taken(reader, rate, channels, tmp_path):
    truth = (wave(channels) + 0.1).astype(np.float32)  # with an offset
    scipy.io.wavfile.write(tmp_path / "a.wav", rate, truth)
    sound = load_sound(tmp_path / "a.wav")
    assert sound.rate == rate
    assert np.array_equal(sound.samples, truth)


@needs_soundfile
def test_a_flac_that_is_cut_short_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.flac", speech(RATE, 4), RATE)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is damaged: flac decoder lost sync"):
        load_sound(tmp_path / "a.flac")
