"""A disk whose every read takes as long as one likes: an ext4 image behind nbdkit's delay filter,
exported as a file by nbdfuse and mounted read-only through a loop device.

Mounts live in a mount namespace of this process, so that nothing stays when it is killed. Needs the
root user.
"""

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = ("nbdkit", "nbdfuse", "mkfs.ext4", "mount", "umount", "fusermount3")
READY_LIMIT_S = 20
CLONE_NEWNS = 0x00020000


def why_not() -> str | None:
    if os.geteuid() != 0:
        return "mounting needs the root user"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (./dev setup bench)"
    if not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        return "this kernel has no FUSE or no loop devices"
    return None


def enter_mount_namespace() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")


def run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


@contextmanager
def mounted(device: Path, folder: Path, options: str) -> Iterator[None]:
    run("mount", "-t", "ext4", "-o", options, device, folder)
    try:
        yield
    finally:
        run("umount", folder)


class SlowDisk:
    def __init__(self, folder: Path, device: Path):
        self.folder, self.device = folder, device

    def chill(self, files: list[Path]) -> None:
        """Drops the files' pages, and those of the device beneath."""
        for path in (*files, self.device):
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


@contextmanager
def slow_disk(base: Path, size: int, delay_ms: int,
              write_files: Callable[[Path], None]) -> Iterator[SlowDisk]:
    image, export, folder = base / "image", base / "export", base / "root"
    export.mkdir()
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-F", image)
    with mounted(image, folder, "loop"):
        write_files(folder)
    device = export / "nbd"
    command = ["setpriv", "--pdeathsig", "TERM", "nbdfuse", str(export), "[", "nbdkit",
               "--exit-with-parent", "--filter=delay", "file", str(image), f"rdelay={delay_ms}ms",
               "]"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(device)
            # noload: a read-only mount must not want to write its journal.
            with mounted(device, folder, "loop,ro,noload"):
                yield SlowDisk(folder, device)
        finally:
            subprocess.run(["fusermount3", "-u", str(export)], check=False)
            try:
                process.wait(READY_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + READY_LIMIT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} did not appear")
        time.sleep(0.02)
