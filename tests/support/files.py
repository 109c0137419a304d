"""Position-coded files: every 8 bytes hold their own offset, little-endian, so that a byte from a
wrong place cannot pass for the right one (zeros would)."""

import array
import os
import shutil
import sys
import tempfile
import time

WORD = 8
CHUNK = 1 << 20


def coded_bytes(offset, count, salt=0):
    """The bytes [offset, offset + count) of a coded file. `salt` (below 2^16) tells files apart: it
    stands in the top 16 bits of every word."""
    first = offset - offset % WORD
    last = -(-(offset + count) // WORD) * WORD
    tag = salt << 48
    words = array.array("Q", range(tag + first, tag + last, WORD))
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()[offset - first:offset - first + count]


def write_coded(path, size, salt=0, windows=None):
    """Writes a coded file of `size` bytes. With `windows`, a list of (offset, count), only those
    are written and the rest is a hole: for files larger than a test has time to write."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, count in windows if windows is not None else [(0, size)]:
            file.seek(offset)
            end = min(offset + count, size)
            while offset < end:
                step = min(CHUNK, end - offset)
                file.write(coded_bytes(offset, step, salt))
                offset += step
    return path


def first_difference(got, wanted):
    """None when equal, else a short text: where they part, and what stands there."""
    if got == wanted:
        return None
    place = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b),
                 min(len(got), len(wanted)))
    return (f"{len(got)} bytes instead of {len(wanted)}, first difference at {place}: "
            f"{got[place:place + 8].hex()} instead of {wanted[place:place + 8].hex()}")


class TestFolder:
    """A ROOT of its own in a temporary folder, removed by close()."""

    __test__ = False

    def __init__(self):
        self.base = tempfile.mkdtemp(prefix="pagewire-test-")
        os.chmod(self.base, 0o755)
        self.root = os.path.join(self.base, "root")
        os.mkdir(self.root)

    def path(self, name):
        """The full name of a file beneath ROOT; its folders are made."""
        full = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        return full

    def outside(self, name):
        """The full name of a file beside ROOT, which no request may reach."""
        return os.path.join(self.base, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return self.path(name)

    def coded(self, name, size, salt=0, windows=None):
        return write_coded(self.path(name), size, salt, windows)

    def age(self, name, seconds=10):
        """Sets a file's mtime back: one that was written a moment ago may be written again within
        the same tick of the clock, so a careful cache does not keep its bytes yet."""
        past = time.time() - seconds
        os.utime(self.path(name), (past, past))

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def close(self):
        shutil.rmtree(self.base, ignore_errors=True)
