"""Files of signals: is there one, and what does it hold?"""

import os

from siren_jax.errors import InputError

# (offset, bytes): the kind of file that they are found in.
_SIGNATURES = (
    (8, b"AVI ", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),  # Matroska, WebM
    (0, b"fLaC", "sound"),
    (0, b"OggS", "sound"),
    (0, b"ID3", "sound"),
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
# Of files that begin as an MP4 does: AVIF, HEIF and the raw photographs of a camera.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_PICTURE_BRANDS = (b"avif", b"avis", b"crx ", *_HEIF_BRANDS)
_SUFFIXES: dict[str, str] = {
    **dict.fromkeys(
        (".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".mp3", ".au", ".caf", ".w64"), "sound"
    ),
    **dict.fromkeys((".ply", ".obj", ".stl", ".off", ".glb", ".3mf", ".xyz"), "shape"),
    **dict.fromkeys((".gltf", ".step", ".stp", ".iges", ".igs", ".fbx", ".dae", ".usd", ".usdz", ".blend"), "shape"),
    **dict.fromkeys((".las", ".laz", ".e57", ".pcd", ".3ds", ".vtk", ".x3d", ".wrl"), "shape"),  # refused by name
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"), "video"),
}


def check_file(path: str, needed: str) -> None:
    """Raises an InputError where there is no file, or nothing in it.

    Args:
        path: of the file.
        needed: what it should be: "a picture file".
    """
    if not os.path.exists(path):
        raise InputError(f"there is no file {path!r}.")
    if os.path.isdir(path):
        raise InputError(f"{path!r} is a directory; {needed} is needed.")
    if not os.path.isfile(path):
        raise InputError(
            f"{path!r} is a pipe or a device, but {needed} is read more than once; write it to a file first, and give "
            "the name of that."
        )
    if os.path.getsize(path) == 0:
        raise InputError(f"{path!r} is empty; {needed} is needed.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path!r} cannot be read: permission denied.")


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of signal in a file: "sound", "video", "shape", or "image", which is what is left.

    By its first bytes, and by its name where they do not tell. A GIF of several frames is a video.

    Raises:
        InputError: there is no such file, or nothing in it.
    """
    path = os.fspath(path)
    check_file(path, "a picture, a sound, a video or a shape")
    with open(path, "rb") as file:
        start = file.read(16)
    for offset, signature, kind in _SIGNATURES:
        if start[offset:].startswith(signature):
            return kind
    if start[4:8] == b"ftyp":
        return "image" if start[8:12] in _PICTURE_BRANDS else "sound" if start[8:11] == b"M4A" else "video"
    if start.startswith(b"GIF8"):
        return "video" if _is_animated(path) else "image"
    return _SUFFIXES.get(os.path.splitext(path)[1].lower(), "image")


def is_heif(start: bytes) -> bool:
    """Whether a file with these first bytes is a HEIF picture, other than AVIF: HEIC of phones, above all."""
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS and b"avif" not in start[16:40]


def _is_animated(path: str) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as file:
            return getattr(file, "is_animated", False)
    except Exception:  # whatever Pillow's parser trips over; reading it as a picture will tell
        return False
