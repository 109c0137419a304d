"""Peers that break off: thousands of clients that reset or half-close at random bytes, on every
path, and pipes that the kernel made small. Every body byte is checked against the file that its
client asked for: a byte that another client left behind in a pipe or a buffer cannot pass."""

import os
import shutil
import subprocess
import time
import unittest
from unittest import mock

from support_faults import (BINARY, PATHS, SANITIZER, FaultTest, Held, helper, lone_user, report,
                            settle, total)

from support.server import ENGINE

MIB = 1 << 20
FILES = 4
FILE_BYTES = 16 * MIB
# 13,000 in all; most where a buffer outlives a step.
CLIENTS = {"splice": 4000, "vmsplice": 2000, "sendfile": 2000, "zerocopy": 3000, "mmap": 1000,
           "copy": 1000}
AT_ONCE = 2000
MOST_BYTES = 300_000
SEED = int(os.environ.get("PAGEWIRE_SEED", "20240607"))


class Peers(FaultTest):

    def setUp(self):
        super().setUp()
        for number in range(FILES):
            self.folder.coded(f"coded{number}.bin", FILE_BYTES, salt=number + 1)

    def flood(self, server, clients, at_once=AT_ONCE):
        done = subprocess.run(
            [helper("fault_flood"), *(str(argument) for argument in (
                server.address[1], clients, at_once, SEED, FILES, FILE_BYTES, MOST_BYTES))],
            capture_output=True, text=True, timeout=480, check=True)
        counts = {name: int(value) for name, value in map(str.split, done.stdout.splitlines())}
        wrong = {name: counts[name] for name in ("wrong_bytes", "bad_heads", "surplus_bytes",
                                                 "cut_short", "not_connected", "stuck")}
        self.assertEqual(set(wrong.values()), {0},
                         f"seed {SEED}: {wrong}\n{done.stderr}\n{server.output}")
        self.assertEqual(counts["clients"], clients)
        self.assertGreater(counts["resets"], clients // 4)
        self.assertGreater(counts["half_closes"], clients // 4)
        self.assertGreater(counts["whole_responses"], clients // 2)
        return counts

    def test_resets_and_half_closes(self):
        for path in PATHS:
            with self.subTest(path=path), self.serving("--path", path) as server:
                start = time.monotonic()
                # A sanitized server is slower by its own factor, not by what it does wrong. What a
                # path keeps does not depend on the loop: the other one's twin is shorter.
                clients = CLIENTS[path] // (4 if SANITIZER or ENGINE else 1)
                counts = self.flood(server, clients)
                report(f"{path}: {clients} clients, {counts['resets']} resets, "
                       f"{counts['half_closes']} half-closes, "
                       f"{counts['body_bytes'] / MIB:.0f} MiB checked, "
                       f"{time.monotonic() - start:.1f} s; now {Held(server)}")
                settle(server)
                self.assertEqual(total(server, "pagewire_connections_accepted_total"), clients)

    @unittest.skipIf(os.geteuid() != 0, "only the root user can become another one")
    def test_pipes_that_the_kernel_made_small(self):
        """An ordinary user's pipes shrink to a page or two once it holds fs.pipe-user-pages-soft
        pages. Here that user holds them all before the server starts."""
        user = lone_user()
        hoard, sizes = hoard_pipe_pages(user)
        if hoard is None:
            self.skipTest(sizes)
        try:
            # That user may not reach the folder that the tests are built in.
            binary = shutil.copy(BINARY, self.folder.outside("pagewire"))
            with mock.patch("support.server.BINARY", binary), \
                    self.serving("--path", "splice", "--idle-pipes", "16", user=user,
                                 group=user, extra_groups=[]) as server:
                # Fewer bytes at once: a transfer of 4 KiB a call is what is being tested.
                counts = self.flood(server, 300, at_once=100)
                report(f"small pipes: a new one of this user has {sizes} bytes, "
                       f"{counts['body_bytes'] / MIB:.0f} MiB checked")
                per_call = (total(server, "pagewire_path_bytes_total", path="splice")
                            / total(server, "pagewire_path_calls_total", path="splice"))
                self.assertLess(per_call, 2 * 8192, "the server's pipes were not small")
        finally:
            hoard.stdin.close()
            hoard.wait()


HOARD = """
import fcntl, os, sys
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
F_GETPIPE_SZ = 1032
ends = []
while True:
    ends.append(os.pipe())
    size = fcntl.fcntl(ends[-1][1], F_GETPIPE_SZ)
    if size < 65536 or len(ends) > 4000:
        break
print(size, flush=True)
sys.stdin.read()
"""


def hoard_pipe_pages(uid):
    """A process of that user that holds pipes until a new one comes out small. Returns it, and the
    size of that one; or None and the reason why there is none."""
    process = subprocess.Popen(["/usr/bin/env", "python3", "-c", HOARD.format(uid=uid)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    size = process.stdout.readline().strip()
    process.stdout.close()
    if size.isdigit() and int(size) < 65536:
        return process, int(size)
    process.stdin.close()
    process.wait()
    return None, f"pipes do not shrink here (fs.pipe-user-pages-soft is off?): {size!r}"


if __name__ == "__main__":
    unittest.main()
