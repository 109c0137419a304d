"""The files that are served: position-coded (each 8 bytes hold their own offset, little-endian), on
a disk, written out and warm in the page cache before anything is measured."""

import os
from array import array
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
