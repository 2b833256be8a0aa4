"""Nothing needs what Windows lacks: modules and functions of Unix are blocked, and a picture is fitted."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

PROGRAM = """
import importlib, os, pkgutil, signal, sys

LACKING = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix_ipc"}


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in LACKING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


import concurrent.futures, multiprocessing, subprocess, tempfile, uuid  # of Python itself, made for either system
import jax, orbax.checkpoint, optax, flax, matplotlib, skimage, scipy, filelock, rich, tyro, safetensors  # of others

filelock.FileLock = filelock.SoftFileLock  # on Windows filelock takes another one than here, too
for name in LACKING:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocked())
for name in ("sysconf", "getuid", "geteuid", "getgid", "fork", "fchmod", "chown", "mkfifo", "O_DIRECTORY"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "SIGWINCH", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
opened, sync, flags_of = os.open, os.fsync, {}


def opens(path, flags, *rest, **named):
    if os.path.isdir(path) and "siren_jax" in sys._getframe(1).f_globals["__name__"]:
        raise PermissionError(13, "Permission denied")
    descriptor = opened(path, flags, *rest, **named)
    flags_of[descriptor] = flags
    return descriptor


def syncs(descriptor):
    if flags_of.get(descriptor, os.O_RDWR) & (os.O_RDWR | os.O_WRONLY) == 0:
        raise OSError(9, "Bad file descriptor")
    sync(descriptor)


os.open, os.fsync = opens, syncs
import siren_jax

for found in pkgutil.walk_packages(siren_jax.__path__, "siren_jax."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
from siren_jax.cli import main

code = main(["fit", "a.png", "--out", "out", "--width", "8", "--depth", "1", "--steps", "3"])
assert main(["info", "out/a.siren"]) == code == 0
"""


@pytest.mark.slow
def test_a_picture_is_fitted_without_what_windows_lacks(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "metrics.json").read_text().count('"peak_rss_mb": null') == 1
