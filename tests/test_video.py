"""Video files are read upright, in the size that is asked for, and written back; what is no video is refused."""

import builtins
import contextlib
import warnings
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from siren_jax import InputError, load_image, load_video
from siren_jax.metrics import psnr
from siren_jax.signals import encode_video, kind_of

try:
    import av
except ImportError:
    av = None
needs_av = pytest.mark.skipif(av is None, reason="other formats than GIF need the extra `video`")
# dB that x264 at its rate 16 with halved colour, and the 256 colours of a GIF, keep of `clip`: 38 and 35, and 3 less.
SUFFIXES = pytest.mark.parametrize(("suffix", "least"), [pytest.param(".mp4", 35, marks=needs_av), (".gif", 32)])


def clip(t=6, h=32, w=48, c=3):
    """A smooth pattern that moves; every frame, row, column and channel differs."""
    frame, row, column = np.meshgrid(np.arange(t) / 6, np.arange(h) / 32, np.arange(w) / 48, indexing="ij")
    phases = [2 * row + column + frame / 2 + k for k in range(c)]
    return np.stack([np.round(127.5 + 100 * np.sin(2 * phase)) for phase in phases], axis=-1).astype(np.uint8)


def write(path, frames, rate=25.0):
    with open(path, "wb") as file:
        encode_video(file, iter(frames), rate, path.suffix)
    return path


@pytest.fixture
def without_av(monkeypatch):
    real = builtins.__import__

    def refusing(name, *arguments, **keywords):
        if name == "av":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refusing)


@SUFFIXES
def test_what_is_written_is_read_again(suffix, least, tmp_path):
    path = write(tmp_path / f"a{suffix}", clip())
    video = load_video(path)
    assert kind_of(path) == "video"
    assert (video.frames.shape, video.frames.dtype) == (clip().shape, np.uint8)
    assert video.rate == 25
    assert video.seconds == 6 / 25
    assert psnr(video.frames, clip(), value_range=255.0) > least


@SUFFIXES
def test_a_video_of_equal_channels_is_grey(suffix, least, tmp_path):
    video = load_video(write(tmp_path / f"a{suffix}", clip(c=1)))
    assert video.frames.shape == clip(c=1).shape
    assert psnr(video.frames, clip(c=1), value_range=255.0) > least


@needs_av
def test_odd_sides_grow_by_a_repeated_row_and_column_in_an_mp4_alone(tmp_path):
    odd = clip(h=31, w=47)
    with pytest.warns(UserWarning, match="31 x 47 pixels become 32 x 48"):
        video = load_video(write(tmp_path / "a.mp4", odd))
    assert video.frames.shape == (6, 32, 48, 3)
    assert psnr(video.frames[:, :31, :47], odd, value_range=255.0) > 35
    assert load_video(write(tmp_path / "a.gif", odd)).frames.shape == odd.shape


@needs_av
@pytest.mark.parametrize("rate", [24000 / 1001, 12.5, 60.0])
def test_the_rate_is_kept_to_the_frame(rate, tmp_path):
    assert load_video(write(tmp_path / "a.mp4", clip(t=30), rate)).rate == pytest.approx(rate, rel=1e-9)


@SUFFIXES
def test_it_is_made_smaller_while_it_is_read(suffix, least, tmp_path):
    path = write(tmp_path / f"a{suffix}", clip(h=64, w=96))
    small = load_video(path, downsample=2)
    assert small.frames.shape == (6, 32, 48, 3)
    blocks = clip(h=64, w=96).reshape(6, 32, 2, 48, 2, 3).mean(axis=(2, 4))
    assert psnr(small.frames, blocks, value_range=255.0) > least
    assert load_video(path, size=24).frames.shape == (6, 16, 24, 3)


@SUFFIXES
def test_a_part_is_those_frames_of_the_whole(suffix, least, tmp_path):
    path = write(tmp_path / f"a{suffix}", clip(t=10))
    whole, part = load_video(path), load_video(path, between=(0.12, 0.28))
    assert np.array_equal(part.frames, whole.frames[3:7])


@needs_av
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_is_upright(degrees, tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.pix_fmt, stream.width, stream.height = "yuv420p", 48, 32
        stream.set_display_rotation(degrees)  # counterclockwise, to be shown as it was meant
        for frame in clip():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    upright = np.rot90(clip(), degrees // 90, axes=(1, 2))
    video = load_video(tmp_path / "a.mp4")
    assert video.frames.shape == upright.shape
    assert psnr(video.frames, upright, value_range=255.0) > 35


def test_a_gif_needs_no_extra(without_av, tmp_path):
    path = write(tmp_path / "a.gif", clip())
    assert load_video(path).frames.shape == clip().shape
    with pytest.raises(InputError, match=r"siren-jax\[video\]"):
        write(tmp_path / "a.mp4", clip())
    (tmp_path / "b.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(InputError, match=r"siren-jax\[video\]"):
        load_video(tmp_path / "b.mp4")


def test_transparency_of_a_gif_is_laid_over_white(tmp_path):
    frames = [Image.new("RGBA", (4, 4), (255, 0, 0, 0)) for _ in range(2)]
    for number, frame in enumerate(frames):
        frame.putpixel((number, 0), (0, 0, 255, 255))
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], disposal=2)
    video = load_video(tmp_path / "a.gif")
    assert video.rate == 10  # no duration
    assert video.frames[1, 0, 1].tolist() == [0, 0, 255]
    assert video.frames[1, 3, 3].tolist() == [255, 255, 255]


@needs_av
def test_a_wrong_extension_does_not_matter(tmp_path):
    path = write(tmp_path / "a.mp4", clip()).rename(tmp_path / "a.png")
    assert kind_of(path) == "video"
    assert len(load_video(path).frames) == 6


@needs_av
def test_a_picture_in_a_container_of_videos_is_a_picture(tmp_path):
    Image.fromarray(clip()[0]).save(tmp_path / "a.avif")
    Image.fromarray(clip()[0]).save(tmp_path / "a.gif")
    assert kind_of(tmp_path / "a.avif") == kind_of(tmp_path / "a.gif") == "image"


@needs_av
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_video_keeps_what_is_there(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}  # the header first
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "1", "bf": "0"})
        stream.pix_fmt, stream.width, stream.height = "yuv420p", 48, 32
        for frame in clip(t=20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_video(path).frames) == 20
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.warns(UserWarning, match=r"cut short: .* frames could be decoded"):
        video = load_video(path)
    assert 2 <= len(video.frames) < 20


@needs_av
@pytest.mark.parametrize("content", [b"\0\0\0\x18ftypmp42 nothing else", b"\x1aE\xdf\xa3" + b"\xff" * 99])
def test_a_damaged_video_is_refused(content, tmp_path):
    (tmp_path / "a.mp4").write_bytes(content)
    assert kind_of(tmp_path / "a.mp4") == "video"
    with pytest.raises(InputError, match=r"damaged: [^\[]*$"):
        load_video(tmp_path / "a.mp4")


def test_a_gif_cut_anywhere_is_refused_or_keeps_what_is_there(tmp_path):
    content = write(tmp_path / "a.gif", clip(h=4, w=5)).read_bytes()
    outcomes = set()
    for length in range(4, len(content) - 1):  # from the signature on
        (tmp_path / "a.gif").write_bytes(content[:length])
        kind_of(tmp_path / "a.gif")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(InputError):
                load_image(tmp_path / "a.gif")
            try:
                outcomes.add(len(load_video(tmp_path / "a.gif").frames))
            except InputError as error:
                outcomes |= {said for said in ("damaged GIF", "one is a picture") if said in str(error)} or {str(error)}
    assert outcomes <= {"damaged GIF", "one is a picture", 2, 3, 4, 5, 6}
    assert {"damaged GIF", "one is a picture", 3, 5} <= outcomes


def test_a_frame_of_a_gif_that_lasts_is_repeated(tmp_path):
    frames = [Image.fromarray(frame) for frame in clip(t=3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[40, 120, 40])
    with pytest.warns(UserWarning, match="uneven duration, 40 to 120 ms: they become 25 frames a second"):
        video = load_video(tmp_path / "a.gif")
    assert (len(video.frames), video.rate) == (5, 25)
    assert np.array_equal(video.frames[1], video.frames[3])
    assert not np.array_equal(video.frames[0], video.frames[1])


@pytest.mark.parametrize("rate", [24.0, 30.0])
def test_a_gif_lasts_as_long_as_the_video(rate, tmp_path):
    """Its durations are hundredths of a second, so that those of the frames differ."""
    video = load_video(write(tmp_path / "a.gif", clip(t=12), rate))
    assert len(video.frames) == 12
    assert video.seconds == pytest.approx(12 / rate, abs=0.005)


@pytest.mark.parametrize(("suffix", "rate"), [(".gif", 0.001), (".gif", 60.0), (".mp4", 1e-4), (".mp4", 1e10)])
def test_a_rate_that_a_format_does_not_have_is_refused(suffix, rate, tmp_path):
    with pytest.raises(InputError, match="frames a second"):
        write(tmp_path / f"a{suffix}", clip(), rate)


@needs_av
def test_pixels_that_are_not_square_are_shown_as_meant(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.pix_fmt, stream.width, stream.height = "yuv420p", 48, 32
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        for frame in clip():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    assert load_video(tmp_path / "a.mp4").frames.shape == (6, 32, 72, 3)
    assert load_video(tmp_path / "a.mp4", size=36).frames.shape == (6, 16, 36, 3)


@needs_av
def test_a_name_is_a_file_and_never_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.mp4", clip()).rename("http:12 30.mp4")
    assert len(load_video("http:12 30.mp4").frames) == 6


@needs_av
def test_a_playlist_leads_nowhere(tmp_path):
    write(tmp_path / "a.mp4", clip())
    (tmp_path / "b.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/a.mp4\n#EXT-X-ENDLIST\n")
    (tmp_path / "c.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/a.mp4'\n")
    for name in ("b.mp4", "c.mp4"):
        with pytest.raises(InputError, match="damaged"):
            load_video(tmp_path / name)


@needs_av
def test_one_frame_is_a_picture(tmp_path):
    path = write(tmp_path / "a.mp4", clip(t=1))
    with pytest.raises(InputError, match=r"at least 2 frames, but .* has 1; one is a picture"):
        load_video(path)


@needs_av
@pytest.mark.parametrize(
    ("between", "message"),
    [
        ((0.2, 0.1), "a start before a stop"),
        ((-1.0, 0.1), "from 0 s on"),
        ((0.1, 9.0), "ends after"),
        ((8.0, 9.0), "has 0 from 8 to 9 s"),
        ((0.0, 1e308), "ends after"),
    ],
)
def test_a_part_outside_the_video_is_refused(between, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load_video(write(tmp_path / "a.mp4", clip()), between=between)


@needs_av
def test_a_sound_in_a_container_of_videos_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="holds no video"):
        load_video(tmp_path / "a.mkv")


@needs_av
def test_memory_is_bounded_while_it_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr("siren_jax.signals.video.MAX_BYTES", 3 * 32 * 48 * 3)
    path = write(tmp_path / "a.mp4", clip())
    with pytest.raises(InputError, match="over 3 frames of 32 x 48 pixels"):
        load_video(path)
    assert len(load_video(path, downsample=2).frames) == 6
