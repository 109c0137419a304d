"""The files that are served: position-coded (each 8 bytes hold their own offset, little-endian), on
a disk, written out and warm in the page cache before anything is measured."""

import ctypes
import mmap
import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK_BYTES = 1 << 24  # the low three bytes of a word repeat with this period
LIMIT_BYTES = 1 << 32  # byte 3 alone numbers the blocks


def write_file(path: Path, size: int) -> None:
    if size % 8 or size > LIMIT_BYTES:
        raise ValueError(f"size {size}: a multiple of 8 up to {LIMIT_BYTES} is needed")
    block = bytearray(array("Q", range(0, min(size, BLOCK_BYTES), 8)).tobytes())
    with open(path, "wb") as out:
        for number in range((size + BLOCK_BYTES - 1) // BLOCK_BYTES):
            block[3::8] = bytes([number]) * (len(block) // 8)
            out.write(block[: size - number * BLOCK_BYTES])
        out.flush()
        os.fsync(out.fileno())  # no write-back while something is measured
    path.chmod(0o644)


def warm(path: Path) -> None:
    with open(path, "rb", buffering=0) as source:
        while source.read(1 << 22):
            pass


@contextmanager
def locked_in_memory(path: Path) -> Iterator[None]:
    """Its pages are read, and stay in the page cache whatever the kernel thinks of them."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long]
    libc.mlock.argtypes = libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size = path.stat().st_size
    fd = os.open(path, os.O_RDONLY)
    start = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    if start == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap", str(path))
    try:
        if libc.mlock(start, size) != 0:  # ENOMEM, EPERM: RLIMIT_MEMLOCK, for others than root
            raise OSError(ctypes.get_errno(), "mlock", str(path))
        yield
    finally:
        libc.munmap(start, size)
