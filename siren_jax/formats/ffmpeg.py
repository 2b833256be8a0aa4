"""Decoding of sounds and videos by FFmpeg, through PyAV."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from siren_jax.errors import InputError


def has_pyav() -> bool:
    """Whether the extra `video` is installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def opened(file: IO[bytes], path: str, kind: str) -> Iterator[Any]:
    """PyAV's container of an open file.

    Args:
        file: file opened for reading. FFmpeg would misread a file name with a colon as a protocol.
        path: path of the file, for messages.
        kind: expected kind of the file, "video" or "sound".

    Raises:
        InputError: FFmpeg cannot open or decode the file.
    """
    import av
    from av.error import FFmpegError

    try:
        with av.open(file, options={"protocol_whitelist": "file"}) as container:  # playlists are not followed
            yield container
    except InputError:
        raise
    except (FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error  # without FFmpeg's number and the path
        raise InputError(f"{path!r} is not a {kind} that FFmpeg reads, or is damaged: {reason}.") from None


class Frames:
    """The decoded frames of a stream, ordered by time. Packets that cannot be decoded are left out."""

    def __init__(self, container: Any, stream: Any):
        self._container, self._stream = container, stream
        self.damaged = False
        """Whether a packet has been left out so far."""

    def __iter__(self) -> Iterator[Any]:
        from av.error import FFmpegError, InvalidDataError

        packets, count = self._container.demux(self._stream), 0
        while True:
            try:
                if (packet := next(packets, None)) is None:
                    return
                decoded = packet.decode()
            except InvalidDataError:
                self.damaged = True
                continue
            except FFmpegError:
                if not count:
                    raise
                self.damaged = True
                return
            count += len(decoded)
            yield from decoded
