"""A file is written whole or not at all, whoever interrupts, and nothing else is touched."""

import os
from types import SimpleNamespace

import pytest

from siren_jax import InputError
from siren_jax.files.atomic import check_space, clear_leftovers, replacing, write_atomically

NAMES = [
    "plain",
    "two words",
    "-dash",
    "日本 ω",
    "a\nb",
    "[x]*?",
    "x" * 255,
    b"\xff\xfe".decode("utf-8", "surrogateescape"),
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_file_of_any_name_is_written_alone(name, tmp_path):
    path = os.path.join(tmp_path, name)
    write_atomically(path, lambda file: file.write(b"one"), overwrite=False)
    write_atomically(path, lambda file: file.write(b"two"), overwrite=True)
    with open(path, "rb") as file:
        assert file.read() == b"two"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_file_stays_as_it_was_if_writing_fails(error, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fails(file):
        file.write(b"half")
        raise error

    with pytest.raises(InputError if isinstance(error, OSError) else error):
        write_atomically(path, fails, overwrite=True)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_refused_where_it_does_not_fit(tmp_path, monkeypatch):
    disk = SimpleNamespace(total=1000, free=99)
    monkeypatch.setattr("siren_jax.files.atomic.shutil.disk_usage", lambda _: disk)
    check_space(tmp_path / "file", 99)
    with pytest.raises(InputError, match="file' may take 100 bytes, but 99 are free; make room"):
        check_space(tmp_path / "file", 100)
    disk.total = disk.free = 0  # a file system that does not report its size
    check_space(tmp_path / "file", 100)


def test_what_exists_is_not_overwritten_unasked(tmp_path):
    (tmp_path / "file").write_bytes(b"before")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(InputError, match="exists"):
            write_atomically(tmp_path / name, lambda file: file.write(b"after"), overwrite=False)
    assert (tmp_path / "file").read_bytes() == b"before"


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"before")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "link", lambda file: file.write(b"after"), overwrite=True)
    assert (tmp_path / "precious").read_bytes() == b"before"
    assert not (tmp_path / "link").is_symlink()


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        write_atomically(tmp_path / "no" / "file", lambda file: file.write(b""), overwrite=False)


def test_new_files_have_the_permissions_that_the_process_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", lambda file: file.write(b""), overwrite=False)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_leftovers_are_cleared_and_nothing_else(name, tmp_path):
    others = {name, "notes.partial", f".{name[:20]}x.0123456", ".other.01234567.partial"}
    for other in others:
        open(os.path.join(tmp_path, other), "wb").close()
    path = os.path.join(tmp_path, name)
    with pytest.raises(InputError), replacing(path, overwrite=True) as temporary:  # the next line moves it out of reach
        os.rename(temporary, temporary.replace(temporary[-16:], "fedcba98.partial"))
    assert len(os.listdir(tmp_path)) == len(others) + 1  # as a process leaves it that is killed
    clear_leftovers(path)
    assert set(os.listdir(tmp_path)) == others
