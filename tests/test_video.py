"""Video files are read upright, in the size that is asked for, and written back; what is no video is refused."""

import builtins
import contextlib
import struct
import warnings
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from siren_jax import InputError, load_image, load_video
from siren_jax.formats.file_kind import kind_of
from siren_jax.metrics import psnr
from siren_jax.signals import encode_video

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


RED_TO_TEAL = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [128, 128, 128], [50, 200, 220]])
MATRICES = {"BT.709": (1, 0.2126, 0.0722), "BT.601": (6, 0.299, 0.114)}  # FFmpeg's number; weights of red and blue


def patches():
    """Six patches of 16 x 16 pixels, of RED_TO_TEAL."""
    return np.repeat(RED_TO_TEAL, 16, axis=0)[None].repeat(16, axis=0).astype(np.uint8)


def grey(number, h=32, w=48):
    """A frame that says its number."""
    return np.full((h, w, 3), 10 + 8 * number, np.uint8)


def numbers(video):
    return np.round((video.frames.mean(axis=(1, 2, 3)) - 10) / 8).astype(int).tolist()


def planes(rgb, matrix, full, bits):
    """Brightness and two colours, halved, by the definition of both standards."""
    _, kr, kb = MATRICES[matrix]
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    top, scale = 2**bits - 1, 2 ** (bits - 8)
    low, of_y, of_uv = (0, top, top) if full else (16 * scale, 219 * scale, 224 * scale)
    halved = [c.reshape(c.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for c in (u, v)]
    whole = [low + of_y * y, *(128 * scale + of_uv * c for c in halved)]
    return [np.clip(np.round(c), 0, top).astype(np.uint8 if bits == 8 else "<u2") for c in whole]


def frame_of(values, format):
    """A frame whose planes have these values."""
    frame = av.VideoFrame(values[0].shape[1], values[0].shape[0], format)
    for plane, rows in zip(frame.planes, values, strict=True):
        buffer = np.zeros((plane.height, plane.line_size), np.uint8)
        buffer[:, : rows.nbytes // len(rows)] = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
        plane.update(buffer.tobytes())
    return frame


def encode(
    path, frames, *, codec="libx264", format="yuv420p", times=None, base=Fraction(1, 25), prepare=None, **options
):
    """A file by FFmpeg of frames or arrays of RGB; `times` in units of `base`, `prepare` gets stream and codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            codec, rate=1 / base, options=options or ({"crf": "4"} if "x264" in codec else {})
        )
        first = frames[0]
        stream.height, stream.width = (first.height, first.width) if hasattr(first, "height") else first.shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = format, base
        if prepare is not None:
            prepare(stream, stream.codec_context)
        for number, frame in enumerate(frames):
            if isinstance(frame, np.ndarray):
                frame = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[-1] == 4 else "rgb24")
                frame = frame.reformat(format=format)
            frame.pts, frame.time_base = number if times is None else times[number], base
            for name in ("colorspace", "color_range", "color_trc"):
                setattr(frame, name, getattr(stream.codec_context, name))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@SUFFIXES
def test_what_is_written_is_read_again(suffix, least, tmp_path):
    path = write(tmp_path / f"a{suffix}", clip())
    video = load_video(path)
    assert kind_of(path) == "video"
    assert (video.frames.shape, video.frames.dtype) == (clip().shape, np.uint8)
    assert video.rate == 25
    assert video.seconds == 6 / 25
    assert psnr(video.frames, clip(), data_range=255.0) > least


@SUFFIXES
def test_a_video_of_equal_channels_is_grey(suffix, least, tmp_path):
    video = load_video(write(tmp_path / f"a{suffix}", clip(c=1)))
    assert video.frames.shape == clip(c=1).shape
    assert psnr(video.frames, clip(c=1), data_range=255.0) > least


@needs_av
def test_odd_sides_grow_by_a_repeated_row_and_column_in_an_mp4_alone(tmp_path):
    odd = clip(h=31, w=47)
    with pytest.warns(UserWarning, match="31 x 47 pixels become 32 x 48"):
        video = load_video(write(tmp_path / "a.mp4", odd))
    assert video.frames.shape == (6, 32, 48, 3)
    assert psnr(video.frames[:, :31, :47], odd, data_range=255.0) > 35
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
    assert psnr(small.frames, blocks, data_range=255.0) > least
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
    assert psnr(video.frames, upright, data_range=255.0) > 35


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
    with pytest.warns(UserWarning, match=r"truncated: .* frames could be decoded"):
        video = load_video(path)
    assert 2 <= len(video.frames) < 20


@needs_av
@pytest.mark.parametrize("content", [b"\0\0\0\x18ftypmp42 nothing else", b"\x1aE\xdf\xa3" + b"\xff" * 99])
def test_a_damaged_video_is_refused(content, tmp_path):
    (tmp_path / "a.mp4").write_bytes(content)
    assert kind_of(tmp_path / "a.mp4") == "video"
    with pytest.raises(InputError, match=r"damaged: [^\[]*$"):
        load_video(tmp_path / "a.mp4")


@pytest.mark.slow
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
    with pytest.warns(UserWarning, match="uneven duration, 40 to 120 ms: they become 25 frames per second"):
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


SCREEN = [0, 1, 2, 3, 13, 14, 15, 20, 21, 22]  # tenths of a second, as a screen recorder writes changes


@needs_av
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize("origin", [0, 7])
def test_frames_of_uneven_duration_are_shown_at_their_times(suffix, origin, tmp_path):
    times = [origin + time for time in SCREEN]
    path = encode(tmp_path / f"a{suffix}", list(map(grey, range(10))), times=times, base=Fraction(1, 10))
    shown = [sum(time <= tenth for time in SCREEN) - 1 for tenth in range(23)]
    with pytest.warns(UserWarning, match="uneven duration, 100 to 1,000 ms: they become 10 frames per second, each"):
        video = load_video(path)
    assert (video.rate, numbers(video)) == (10, shown)
    with pytest.warns(UserWarning, match="uneven"):
        assert numbers(load_video(path, between=(0.2, 1.5))) == shown[2:15]


@needs_av
@pytest.mark.parametrize(("suffix", "base"), [(".mp4", 90000), (".mkv", 1000)])
def test_frames_of_nearly_even_duration_are_each_shown_once(suffix, base, tmp_path):
    """A camera's clock: within half a period of even times."""
    shifts = np.random.default_rng(0).integers(-base // 400, base // 400, 20)  # 2.5 ms of 33
    times = [round(number * base / 30 + shift) for number, shift in enumerate(shifts - shifts[0])]
    path = encode(tmp_path / f"a{suffix}", list(map(grey, range(20))), times=times, base=Fraction(1, base))
    video = load_video(path)
    assert numbers(video) == list(range(20))
    assert video.rate == pytest.approx(30, rel=0.02)  # by the last frame's shift and duration
    assert numbers(load_video(path, between=(5 / 30, 11 / 30))) == list(range(5, 11))


@needs_av
def test_a_frame_that_lasts_a_moment_is_left_out_with_a_word(tmp_path):
    path = encode(tmp_path / "a.mkv", list(map(grey, range(5))), times=[0, 40, 41, 80, 120], base=Fraction(1, 1000))
    with pytest.warns(
        UserWarning, match=r"1 to 40 ms: they become 120 frames .*; 1 too short to be shown are left out"
    ):
        video = load_video(path)
    assert set(numbers(video)) == {0, 2, 3, 4}


@needs_av
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov", ".ts"])
def test_a_video_begins_with_its_first_frame_whenever_that_is(suffix, tmp_path):
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    frames = list(map(grey, range(6)))
    video = load_video(encode(tmp_path / f"a{suffix}", frames, codec=codec, times=list(range(25, 31))))
    assert (video.rate, numbers(video)) == (25, list(range(6)))


@needs_av
def test_an_edit_list_is_obeyed(tmp_path):
    path = encode(tmp_path / "a.mp4", list(map(grey, range(20))), bf="0", g="5", crf="4")
    content = bytearray(path.read_bytes())
    entry = content.index(b"elst") + 12  # behind the version and the number of entries: milliseconds, 1/12800 s
    content[entry : entry + 8] = (320).to_bytes(4, "big") + (5 * 512).to_bytes(4, "big")
    path.write_bytes(content)
    assert numbers(load_video(path)) == list(range(5, 13))


@needs_av
@pytest.mark.parametrize(("format", "bits"), [("yuv420p", 8), ("yuv420p10le", 10)])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_are_those_that_the_tags_mean(matrix, full, format, bits, tmp_path):
    def tag(stream, context):
        context.colorspace, context.color_range = MATRICES[matrix][0], 2 if full else 1

    frames = [frame_of(planes(patches(), matrix, full, bits), format) for _ in range(2)]
    path = encode(tmp_path / "a.mp4", frames, format=format, prepare=tag)
    shown = load_video(path).frames[0].reshape(16, 6, 16, 3)[4:12, :, 4:12]
    assert np.abs(shown - RED_TO_TEAL[None, :, None].astype(float)).max() <= 3  # of 255; the other matrix is 20 off


@needs_av
def test_an_mp4_says_which_colours_it_has(tmp_path):
    """Players guess by the size otherwise."""
    write(tmp_path / "a.mp4", [patches()] * 2)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, limited
    stored = frame.to_ndarray()[8, 8:88:16]
    assert np.abs(stored.astype(int) - planes(patches(), "BT.709", False, 8)[0][8, 8:88:16]).max() <= 2


def test_a_frame_of_a_gif_that_restores_the_one_before_it_leaves_no_trace(tmp_path):
    def frame(x, y, w, h, colour, disposal):
        codes = np.uint8([code for _ in range(w * h) for code in (4, colour)] + [5])  # clear, a pixel, …, end
        bits = np.packbits(np.unpackbits(codes[:, None], axis=1, count=3, bitorder="little"), bitorder="little")
        parts = [bits[first : first + 255].tobytes() for first in range(0, len(bits), 255)]
        blocks = b"".join(bytes([len(part)]) + part for part in parts)
        control = b"\x21\xf9\4" + struct.pack("<BHBB", disposal << 2, 10, 0, 0)
        return control + b"," + struct.pack("<HHHHB", x, y, w, h, 0) + b"\2" + blocks + b"\0"

    colours = np.array([[255, 0, 0], [0, 0, 255], [0, 255, 0], [0, 0, 0]], np.uint8)
    frames = frame(0, 0, 12, 8, 0, 1), frame(1, 1, 4, 4, 1, 3), frame(7, 2, 3, 3, 2, 1)  # 3: to what was there before
    header = b"GIF89a" + struct.pack("<HHBBB", 12, 8, 0x81, 0, 0) + colours.tobytes()
    (tmp_path / "a.gif").write_bytes(header + b"".join(frames) + b";")
    shown = np.zeros((3, 8, 12), int)
    shown[1, 1:5, 1:5], shown[2, 2:5, 7:10] = 1, 2
    assert np.array_equal(load_video(tmp_path / "a.gif").frames, colours[shown])


@needs_av
def test_what_is_not_shown_as_meant_is_said(tmp_path):
    def hdr(stream, context):
        context.color_trc = 18

    def alpha(stream, context):
        stream.metadata["alpha_mode"] = "1"

    pictures = [patches()] * 2
    path = encode(tmp_path / "a.mp4", pictures, prepare=hdr)
    with pytest.warns(UserWarning, match=r"is HDR \(HLG\)"):
        load_video(path)
    path = encode(tmp_path / "b.mpg", pictures, codec="mpeg2video", flags="+ilme+ildct")
    with pytest.warns(UserWarning, match="is interlaced"):
        load_video(path)
    path = encode(tmp_path / "c.mp4", [np.zeros((720, 64, 3), np.uint8)] * 2)
    with pytest.warns(UserWarning, match=r"BT\.601 is assumed"):
        load_video(path)
    path = encode(tmp_path / "d.webm", pictures, codec="libvpx-vp9", format="yuva420p", prepare=alpha)
    with pytest.warns(UserWarning, match="transparency, which FFmpeg leaves out"):
        load_video(path)


@needs_av
@pytest.mark.parametrize(("codec", "format"), [("qtrle", "argb"), ("png", "rgba"), ("prores_ks", "yuva444p10le")])
def test_transparency_is_laid_over_white(codec, format, tmp_path):
    alpha = np.repeat([0, 100, 255], 32)[None, :, None].repeat(16, axis=0)
    pictures = [np.concatenate([patches(), alpha], axis=-1).astype(np.uint8)] * 2
    options = {"profile": "4444"} if codec == "prores_ks" else {}
    video = load_video(encode(tmp_path / "a.mov", pictures, codec=codec, format=format, **options))
    over = patches() * (alpha / 255) + 255 * (1 - alpha / 255)
    inner = np.s_[4:12, np.arange(96) % 16 // 4 % 3 > 0]  # away from edges, which ProRes smears
    assert np.abs(video.frames[0][inner] - over[inner]).max() <= 2


@needs_av
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", ["", "hflip", "vflip"])
def test_a_turned_and_mirrored_video_is_as_shown(degrees, mirrored, tmp_path):
    def turn(stream, context):
        stream.set_display_rotation(degrees, **({mirrored: True} if mirrored else {}))

    video = load_video(encode(tmp_path / "a.mp4", list(clip(t=2)), prepare=turn))
    # FFmpeg's matrix turns first, and then mirrors.
    shown = np.rot90(clip(t=2), degrees // 90, axes=(1, 2))
    shown = {"hflip": shown[:, :, ::-1], "vflip": shown[:, ::-1]}.get(mirrored, shown)
    assert video.frames.shape == shown.shape
    assert psnr(video.frames, shown, data_range=255.0) > 35


@pytest.mark.parametrize("disposal", [1, 2])
def test_partial_frames_of_a_gif_are_whole_ones(disposal, tmp_path):
    frames = [np.where(np.arange(30)[None, :, None] // 5 == number, 0, 255) for number in range(4)]
    pictures = [Image.fromarray(np.broadcast_to(frame, (8, 30, 3)).astype(np.uint8)) for frame in frames]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=40, disposal=disposal)
    video = load_video(tmp_path / "a.gif")
    assert np.array_equal(video.frames, np.broadcast_to(np.stack(frames), (4, 8, 30, 1)))


@needs_av
def test_a_sound_in_a_container_of_videos_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert kind_of(tmp_path / "a.mkv") == "sound"
    with pytest.raises(InputError, match="contains no video"):
        load_video(tmp_path / "a.mkv")


@needs_av
def test_memory_is_bounded_while_it_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr("siren_jax.signals.video.MAX_BYTES", 3 * 32 * 48 * 3)
    path = write(tmp_path / "a.mp4", clip())
    with pytest.raises(InputError, match="over 3 frames of 32 x 48 pixels"):
        load_video(path)
    assert len(load_video(path, downsample=2).frames) == 6
