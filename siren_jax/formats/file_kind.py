"""Checks of a signal's file before it is decoded: whether it is readable, and which kind of signal it contains."""

import os

from siren_jax.errors import InputError

# (offset, bytes, kind): bytes that identify a kind of file.
_SIGNATURES = (
    (8, b"AVI ", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),  # Matroska, WebM
    (0, b"FLV\x01", "video"),
    (0, b"\0\0\1\xba", "video"),  # MPEG, as on a DVD
    (0, b"\x30\x26\xb2\x75", "video"),  # Windows Media
    (0, b"fLaC", "sound"),
    (0, b"OggS", "sound"),
    (0, b"ID3", "sound"),
    *((0, b"\xff" + bytes([second]), "sound") for second in (0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xF1, 0xF9)),  # MP3, AAC
    (0, b"#!AMR", "sound"),
    (0, b"wvpk", "sound"),
    (0, b"TTA1", "sound"),
    (0, b"caff", "sound"),
    (0, b".snd", "sound"),
    (0, b"riff", "sound"),  # Wave64
    (0, b"RF64", "sound"),
    (8, b"WAVE", "sound"),
    (8, b"AIF", "sound"),
    (0, b"ply\n", "shape"),
    (0, b"ply\r", "shape"),
    (0, b"glTF", "shape"),
    (0, b"OFF\n", "shape"),
    (0, b"OFF\r", "shape"),
)
# Pictures among the files that begin like an MP4: AVIF, HEIF and raw photographs of a camera.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_PICTURE_BRANDS = (b"avif", b"avis", b"crx ", *_HEIF_BRANDS)
_SOUNDS = ".wav .flac .ogg .oga .opus .aif .aiff .mp3 .mp2 .au .caf .w64 .m4a .m4b .aac .ac3 .amr .wma .mka .ape"
_VIDEOS = ".mp4 .m4v .mov .3gp .mkv .webm .avi .mpg .mpeg .vob .ts .m2ts .mts .wmv .flv .ogv .mxf .y4m"
_SUFFIXES: dict[str, str] = {
    **dict.fromkeys(_SOUNDS.split(), "sound"),
    **dict.fromkeys((".ply", ".obj", ".stl", ".off", ".glb", ".3mf", ".xyz"), "shape"),
    **dict.fromkeys((".gltf", ".step", ".stp", ".iges", ".igs", ".fbx", ".dae", ".usd", ".usdz", ".blend"), "shape"),
    **dict.fromkeys((".las", ".laz", ".e57", ".pcd", ".3ds", ".vtk", ".x3d", ".wrl"), "shape"),  # refused by name
    **dict.fromkeys(_VIDEOS.split(), "video"),
}


def check_file(path: str, needed: str) -> None:
    """Raises an `InputError` unless the path leads to a readable file that is not empty.

    Args:
        path: path of the file.
        needed: expected kind of file, for the message, such as "a picture file".
    """
    if not os.path.exists(path):
        raise InputError(f"there is no file {path!r}.")
    if os.path.isdir(path):
        raise InputError(f"{path!r} is a directory; {needed} is needed.")
    if not os.path.isfile(path):
        raise InputError(
            f"{path!r} is a pipe or a device, but {needed} is read more than once; write it to a file first, and give "
            "the name of that file."
        )
    if os.path.getsize(path) == 0:
        raise InputError(f"{path!r} is empty; {needed} is needed.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path!r} cannot be read: permission denied.")


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of signal in a file: "sound", "video", "shape", or "image" for anything else.

    The first bytes decide or, if they are not known, the name. A GIF with several frames is a video. If the extra
    `video` is installed, an MP4, WebM or other container with only sound is a sound.

    Raises:
        InputError: the file is missing, empty or not readable.
    """
    path = os.fspath(path)
    check_file(path, "a picture, a sound, a video or a shape")
    kind = _declared_kind(path)
    return "sound" if kind == "video" and _is_sound_alone(path) else kind


def _declared_kind(path: str) -> str:
    with open(path, "rb") as file:
        start = file.read(64)
    if start.startswith(b"OggS") and b"\x80theora" in start:
        return "video"
    for offset, signature, kind in _SIGNATURES:
        if start[offset:].startswith(signature):
            return kind
    if start[4:8] == b"ftyp":
        return "image" if start[8:12] in _PICTURE_BRANDS else "sound" if start[8:11] in (b"M4A", b"M4B") else "video"
    if start.startswith(b"GIF8"):
        return "video" if _is_animated(path) else "image"
    return _SUFFIXES.get(os.path.splitext(path)[1].lower(), "image")


def is_heif(start: bytes) -> bool:
    """Whether a file with these first bytes is a HEIF picture other than AVIF, such as a phone's HEIC."""
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS and b"avif" not in start[16:40]


def _is_sound_alone(path: str) -> bool:
    """Whether a video container, such as an MP4, has sound and no video; a cover picture does not count as video."""
    try:
        import av
        from av.error import FFmpegError
        from av.stream import Disposition
    except ImportError:
        return False  # the error of reading it as a video names the extra
    try:
        with open(path, "rb") as file, av.open(file, options={"protocol_whitelist": "file"}) as container:
            videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
            return not videos and bool(container.streams.audio)
    except (FFmpegError, OSError, ValueError):
        return False  # the error of reading it as a video gives the reason


def _is_animated(path: str) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as file:
            return getattr(file, "is_animated", False)
    except Exception:  # Pillow's parser may raise any error; reading it as a picture reports it
        return False
