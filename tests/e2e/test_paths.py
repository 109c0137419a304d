"""Each --path over files of every awkward size, ranges at awkward places, byte by byte; /metrics
and the trace of the system calls say that the path is what was asked for."""

import glob
import random
import re
import shutil
import subprocess
import unittest

from support import (SANITIZER, Pagewire, RawClient, TestFolder, coded_bytes, fetch_metrics,
                     first_difference, request_head, run_pagewire, settle, wait_until)

PATHS = ("copy", "mmap", "sendfile", "splice", "tee", "uring_splice", "uring_zc",
         "uring_zc_sqpoll", "vmsplice", "zerocopy")
MIB = 1 << 20
SIZES = (0, 1, 4095, 4096, 4097, 32 * 1024, 32 * 1024 + 1, 400 * 1024, 6 * MIB)
HUGE = 5 * 1024 * MIB + 3
# Where the huge file has bytes: its ends, and around 2^31 and 2^32, where 32-bit arithmetic breaks.
WINDOW = 64 * 1024
PLACES = (0, 2 ** 31, 2 ** 32, HUGE - WINDOW)


def windows_of_huge():
    return [(max(0, place - WINDOW), 2 * WINDOW) for place in PLACES]


class PathsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        for size in SIZES:
            cls.folder.coded(f"{size}.bin", size)
        cls.folder.coded("huge.bin", HUGE, windows=windows_of_huge())

    def serve(self, path, *flags):
        """With nothing kept in memory, so that each body really goes by a path."""
        return Pagewire(self.folder.root, "--path", path, "--memory-body", "0", "--workers", "1",
                        *flags)

    def setUp(self):
        self.received = 0

    def check(self, client, name, first, count, size):
        """One range of a coded file, byte by byte. count == size asks without a Range."""
        self.received += count
        fields = () if count == size else (f"Range: bytes={first}-{first + count - 1}",)
        answer = client.get("/" + name, fields=fields)
        self.assertEqual(answer.status, 206 if fields else 200)
        self.assertEqual(answer.get("content-length"), str(count))
        self.assertIsNone(first_difference(answer.body, coded_bytes(first, count)),
                          f"{name} [{first}, +{count})")

    def check_everything(self, server):
        dice = random.Random(1)
        with RawClient(server.address) as client:
            for size in SIZES:
                self.check(client, f"{size}.bin", 0, size, size)
                for _ in range(6 if size > 1 else 0):
                    first = dice.randrange(size)
                    count = min(size - first, dice.choice((1, 2, 4095, 4096, 4097, size)))
                    if count < size:
                        self.check(client, f"{size}.bin", first, count, size)
            for place in PLACES:
                self.check(client, "huge.bin", max(0, place - 5), 11, HUGE)
                self.check(client, "huge.bin", place, WINDOW, HUGE)
            answer = client.get("/6291456.bin", fields=("Range: bytes=1-4096,1048575-3145729,-7",))
            self.received += len(answer.body)
            self.assertEqual([body for _, _, body in answer.parts()],
                             [coded_bytes(1, 4096), coded_bytes(1048575, 2097155),
                              coded_bytes(6 * MIB - 7, 7)])

    def check_slow_reader(self, server):
        """A tiny receive buffer and pauses: every write of the server is a partial one."""
        with RawClient(server.address, receive_buffer=4096) as client:
            client.send(request_head("/409600.bin") * 2 + request_head("/1.bin"))
            for _ in range(2):
                self.assertIsNone(first_difference(client.read().body, coded_bytes(0, 409600)))
            self.assertEqual(client.read().body, coded_bytes(0, 1))
        self.received += 2 * 409600 + 1

    def check_pinned(self, path, *flags):
        with self.serve(path, *flags) as server:
            self.check_everything(server)
            self.check_slow_reader(server)
            settle(server)
            metrics = fetch_metrics(server)
            pinned = metrics.total("_reasons_total$", path=path, reason="pinned")
            self.assertGreater(pinned, 40, metrics.find("_reasons_total"))
            for other in set(PATHS) - {path}:
                # The answer without a body (0.bin) is nothing but a head, which copy sends.
                most = 1024 if other == "copy" else 0
                self.assertLessEqual(metrics.total("_path_bytes_total$", path=other), most, other)
            moved = metrics.total("_path_bytes_total$", path=path)
            responses = metrics.total("_path_responses_total$", path=path)
            self.assertGreater(moved, self.received)
            self.assertLess(moved, self.received + 600 * responses, "no more than the heads on top")
            self.assertEqual(metrics.total("_reasons_total$", reason="pin-unfit"), 0)

    def test_copy(self):
        self.check_pinned("copy")

    def test_mmap(self):
        self.check_pinned("mmap")

    def test_sendfile(self):
        self.check_pinned("sendfile")

    def test_splice(self):
        self.check_pinned("splice")

    def test_vmsplice(self):
        self.check_pinned("vmsplice")

    def test_tee(self):
        """Whole small files by tee; the rest, for which it does not fit, by others."""
        with self.serve("tee") as server:
            self.check_everything(server)
            with RawClient(server.address) as client:
                for _ in range(20):
                    self.check(client, "32769.bin", 0, 32769, 32769)
            settle(server)
            metrics = fetch_metrics(server)
            self.assertGreater(metrics.total("_path_bytes_total$", path="tee"), 20 * 32769)
            self.assertGreater(metrics.total("_reasons_total$", path="tee", reason="pinned"), 20)
            self.assertGreater(metrics.total("_reasons_total$", reason="pin-unfit"), 20)

    def test_readahead_in_the_metrics(self):
        for option, files, asked in (("auto", 1, 0), ("off", 0, 0), ("2M", 1, 2 * MIB)):
            with self.serve("auto", "--readahead", option) as server:
                with RawClient(server.address) as client:
                    for size in (400 * 1024, 6 * MIB, 6 * MIB):
                        self.check(client, f"{size}.bin", 0, size, size)
                settle(server)
                metrics = fetch_metrics(server)
                self.assertEqual(metrics.total("_readahead_files_total$"), files, option)
                self.assertEqual(metrics.total("_readahead_asked_bytes_total$"), asked, option)

    def test_zerocopy(self):
        # On loopback the kernel copies in the end, which would have the path given up.
        self.check_pinned("zerocopy", "--zerocopy-copied-streak", "0")

    def test_auto(self):
        with self.serve("auto") as server:
            self.check_everything(server)
            settle(server)
            metrics = fetch_metrics(server)
            self.assertGreater(metrics.total("_reasons_total$", path="copy", reason="small-body"),
                               0)
            self.assertGreater(
                metrics.total("_reasons_total$", path="sendfile", reason="large-body"), 0)
            for other in ("mmap", "splice", "tee", "vmsplice"):
                self.assertEqual(metrics.total("_path_bytes_total$", path=other), 0)

    def test_small_files_in_memory(self):
        self.folder.age("4097.bin")
        with Pagewire(self.folder.root, "--workers", "1") as server:
            with RawClient(server.address) as client:
                for _ in range(3):
                    self.check(client, "4097.bin", 0, 4097, 4097)
                self.check(client, "4097.bin", 4090, 7, 4097)
            # The client has the last byte before the worker has counted it.
            wait_until(lambda: fetch_metrics(server).total("_reasons_total$",
                                                           reason="in-memory") == 4, "all counted")

    def test_every_path_is_known_here(self):
        """A new path has to be added to this test: --help lists what there is."""
        done = run_pagewire("serve", "--path", "nonsense", self.folder.root)
        self.assertEqual(done.returncode, 2)
        for path in PATHS:
            self.assertIn(path, done.stderr)
        named = re.findall(r"[a-z_]+", done.stderr.split("--path", 1)[1])
        known = set(PATHS) | {"auto"}
        self.assertEqual(len([word for word in named if word in known]), len(known), done.stderr)

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    @unittest.skipIf(SANITIZER, "a sanitized program cannot be traced (LeakSanitizer uses ptrace)")
    def test_sendfile_reads_no_body(self):
        """A 6 MiB body: sendfile calls, one small head, and no read of the file."""
        trace = self.folder.outside("trace")
        with self.serve("auto") as server:
            with RawClient(server.address) as client:
                self.check(client, "6291456.bin", 0, 6 * MIB, 6 * MIB)
                tracer = subprocess.Popen(
                    ["strace", "-ff", "-o", trace, "-e", "trace=sendfile,read,pread64,"
                     "preadv,preadv2,write,writev,sendto,sendmsg,splice", "-p", str(server.pid)],
                    stderr=subprocess.PIPE, text=True)
                try:
                    self.wait_for_tracer(server.pid, tracer)
                    self.check(client, "6291456.bin", 0, 6 * MIB, 6 * MIB)
                    # strace is behind what it traces.
                    wait_until(lambda: self.sent_by_sendfile(self.calls(trace)) >= 6 * MIB,
                               "strace has seen the body go by sendfile")
                finally:
                    tracer.terminate()
                    tracer.communicate()
        calls = self.calls(trace)
        self.assertEqual(self.sent_by_sendfile(calls), 6 * MIB, calls)
        heads = [call for call in calls if re.match(r"send(to|msg)\(.*HTTP/1\.1 200", call)]
        self.assertEqual(len(heads), 1, calls)
        self.assertLess(int(heads[0].rsplit("= ", 1)[1]), 1024)
        for call in calls:
            self.assertNotRegex(call, r"^(pread64|preadv\(|splice|writev)")
            if call.startswith("preadv2("):  # a look whether the page is in memory
                self.assertLessEqual(int(call.rsplit("= ", 1)[1].split()[0]), 1, call)
            if call.startswith("read("):
                self.assertLess(int(call.rsplit("= ", 1)[1].split()[0]), 4096, call)

    @staticmethod
    def calls(trace):
        """Of a file for each thread: in a common one a call may be cut in two by another's."""
        calls = []
        for name in glob.glob(trace + ".*"):
            with open(name, encoding="utf-8") as file:
                calls += file.readlines()
        return calls

    @staticmethod
    def sent_by_sendfile(calls):
        return sum(int(match[1]) for call in calls
                   if (match := re.match(r"sendfile\(.* = (\d+)", call)))

    def wait_for_tracer(self, pid, tracer):
        """Until it says so: then it has told every thread to stop. Who is traced (TracerPid) may
        still make a call that it does not see."""
        said = next((line for line in tracer.stderr if f"Process {pid} attached" in line), None)
        self.assertIsNotNone(said, "strace ended")


if __name__ == "__main__":
    unittest.main()
