"""`pagewire bench send`, raw, with clients that are not ours: nc, curl, plain sockets; and with
`bench sink`. Every byte is compared with the file."""

import hashlib
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
import unittest

from support import BINARY, TestFolder, coded_bytes, first_difference, run_pagewire
from support.bench_sender import BenchSender

PATHS = ("sendfile", "splice", "vmsplice", "zerocopy", "mmap", "uring_zc", "uring_zc_sqpoll",
         "uring_splice", "copy")
GUARD_S = 120
SIZE = 32 * (1 << 20) + 12_345  # several turns, and more than two sockets hold


def receive(port, host="127.0.0.1"):
    """Everything until the FIN; a reset is an error."""
    pieces = []
    with socket.create_connection((host, port), timeout=GUARD_S) as client:
        while piece := client.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def digest_of(command):
    """SHA-256 of what a client writes to its standard output."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
        watchdog = threading.Timer(GUARD_S, client.kill)
        watchdog.start()
        try:
            return hashlib.file_digest(client.stdout, "sha256").hexdigest()
        finally:
            watchdog.cancel()


class SendCase(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.file = self.folder.coded("big.bin", SIZE)

    def same(self, got, wanted):
        self.assertIsNone(first_difference(got, wanted))


class ClientsTest(SendCase):
    def test_nc_and_curl_by_each_path(self):
        wanted = hashlib.sha256(coded_bytes(0, SIZE)).hexdigest()
        for path in PATHS:
            with BenchSender(self.file, "--path", path, "--count", "3") as sender:
                port = str(sender.port)
                commands = (["nc", "-d", "127.0.0.1", port],
                            # It closes its half at once.
                            ["nc", "-N", "127.0.0.1", port],
                            # It sends a request, which must not turn the end into a reset.
                            ["curl", "--silent", "--show-error", "--http0.9",
                             f"http://127.0.0.1:{port}/big.bin"])
                for command in commands:
                    self.assertEqual(digest_of(command), wanted, command)
                for result in sender.results(3):
                    self.assertEqual((result["path"], int(result["bytes"])), (path, SIZE))
                    self.assertAlmostEqual(float(result["mb"]), SIZE / 1e6, delta=0.06)
                    rate = float(result["mb_per_s"])
                    self.assertAlmostEqual(float(result["gbit_per_s"]), rate * 8 / 1e3, delta=0.02)
                sender.wait()
                self.assertEqual(sender.complained, [])

    def test_sizes_around_pages_and_turns(self):
        for size in (0, 1, 4095, 4096, 65_537, (512 << 10) - 1, 512 << 10, (512 << 10) + 1):
            file = self.folder.coded("small.bin", size)
            for path in PATHS:
                with BenchSender(file, "--path", path, "--count", "1") as sender:
                    self.same(receive(sender.port), coded_bytes(0, size))
                    sender.wait()
                    self.assertIn(f"({size} bytes)", sender.said[1])

    def test_many_at_once(self):
        with BenchSender(self.file) as sender:
            got = [None] * 8
            def run(place):
                got[place] = receive(sender.port)
            threads = [threading.Thread(target=run, args=(place,)) for place in range(len(got))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(GUARD_S)
            for data in got:
                self.same(data, coded_bytes(0, SIZE))
            sender.results(len(got))

    def test_a_client_that_talks_all_the_time(self):
        with BenchSender(self.file) as sender, socket.socket() as client:
            # With little room, it has nearly everything once everything has arrived: from then on
            # the sender waits 5 s, and a word after that would be answered with a reset.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            client.settimeout(GUARD_S)
            client.connect(("127.0.0.1", sender.port))
            got = bytearray()
            while piece := client.recv(1 << 18):
                got += piece
                client.sendall(b"?" * 100)
            self.same(bytes(got), coded_bytes(0, SIZE))

    def test_the_time_ends_with_the_last_byte_not_with_the_clients_fin(self):
        hold_s = 4
        with BenchSender(self.file, "--count", "1") as sender:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", sender.port), timeout=GUARD_S) as client:
                left = SIZE
                while left:
                    left -= len(client.recv(1 << 20))
                received_s = time.monotonic() - began
                time.sleep(hold_s)
            [result] = sender.results(1)
            self.assertLess(float(result["seconds"]), received_s + 0.75 * hold_s)
            sender.wait()

    def test_every_interface(self):
        with BenchSender(self.file, listen=":0") as sender:
            self.same(receive(sender.port), coded_bytes(0, SIZE))
            if sender.listening[1] == "[::]":
                self.same(receive(sender.port, "::1"), coded_bytes(0, SIZE))

    def test_zc_path_and_its_other_name_for_copy(self):
        with BenchSender(self.file, environment={"ZC_PATH": "readwrite"}) as sender:
            self.same(receive(sender.port), coded_bytes(0, SIZE))
            self.assertEqual(sender.results(1)[0]["path"], "copy")


class SinkTest(SendCase):
    def sink(self, sender, *flags):
        """The megabytes that it says it received."""
        done = run_pagewire("bench", "sink", f"127.0.0.1:{sender.port}", *flags, timeout=GUARD_S)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        said = re.match(r"([0-9.]+) MB in [0-9.]+ s", done.stdout)
        self.assertTrue(said, done.stdout)
        return float(said[1])

    def test_counts_each_byte(self):
        with BenchSender(self.file) as sender:
            for flags in ((), ("--touch",)):
                megabytes = self.sink(sender, "-P", "3", *flags)
                self.assertAlmostEqual(megabytes, 3 * SIZE / 1e6, delta=0.06)
            self.assertEqual([int(one["bytes"]) for one in sender.results(6)], [SIZE] * 6)

    def test_time_is_up_in_the_middle(self):
        """The client that goes is one line; the next is served."""
        with BenchSender(self.folder.coded("large.bin", 1 << 30, windows=[])) as sender:
            megabytes = self.sink(sender, "-P", "1", "-t", "0.05")
            if megabytes < 1_000:
                self.assertRegex(sender.complaint(), r"^127\.0\.0\.1:\d+: [0-9.]+ MB in .*, then "
                                 r"broken off: (Connection reset by peer|Broken pipe)$")
            self.assertAlmostEqual(self.sink(sender, "-P", "1"), (1 << 30) / 1e6, delta=0.06)


class FileTest(SendCase):
    def broken_off(self, sender, change):
        """One client that has read a little when the file is changed; it must see a reset."""
        with socket.create_connection(("127.0.0.1", sender.port), timeout=GUARD_S) as client:
            client.recv(1 << 16)
            change()
            with self.assertRaises(ConnectionResetError):
                while client.recv(1 << 20):
                    pass

    def test_shrinks_while_it_is_sent(self):
        for path in PATHS:
            self.folder.coded("big.bin", SIZE)
            with BenchSender(self.file, "--path", path) as sender:
                self.broken_off(sender, lambda: os.truncate(self.file, 1 << 20))
                self.assertRegex(sender.complaint(),
                                 "the file (shrank|changed) while it was sent$")
                # As it is now, to whoever comes now.
                self.same(receive(sender.port), coded_bytes(0, 1 << 20))
                self.assertEqual(len(sender.complained), 1, sender.output)

    def test_overwritten_in_place_while_it_is_sent(self):
        def overwrite():
            with open(self.file, "r+b") as file:
                file.write(coded_bytes(0, 8, salt=7))
        with BenchSender(self.file) as sender:
            self.broken_off(sender, overwrite)
            self.assertRegex(sender.complaint(), "the file changed while it was sent$")
            self.same(receive(sender.port), coded_bytes(0, 8, salt=7) + coded_bytes(8, SIZE - 8))

    def test_replaced_by_rename(self):
        """The file that was opened at the start goes on being sent."""
        with BenchSender(self.file) as sender:
            os.replace(self.folder.coded("other.bin", 1_000, salt=9), self.file)
            self.same(receive(sender.port), coded_bytes(0, SIZE))

    def test_a_path_that_cannot(self):
        """splice without descriptors for its pipe: said once, and the line names what was used."""
        with BenchSender(self.file, "--path", "splice") as sender:
            highest = max(int(fd) for fd in os.listdir(f"/proc/{sender.pid}/fd"))
            limits = (highest + 2, resource.prlimit(sender.pid, resource.RLIMIT_NOFILE)[1])
            resource.prlimit(sender.pid, resource.RLIMIT_NOFILE, limits)
            idle = sender.sockets()
            for _ in range(2):
                self.same(receive(sender.port), coded_bytes(0, SIZE))
                # The next one needs its descriptor.
                sender.wait_for(lambda: sender.sockets() == idle, "the connection is closed")
            used = {result["path"] for result in sender.results(2)}
            self.assertEqual(len(used), 1)
            self.assertNotIn("splice", used)
            self.assertEqual(sender.complaint(),
                             f"splice cannot send this file here: going on by {used.pop()}")
            self.assertEqual(len(sender.complained), 1, sender.output)


class EndTest(SendCase):
    def test_ctrl_c_in_the_middle(self):
        with BenchSender(self.file) as sender, \
                socket.create_connection(("127.0.0.1", sender.port), timeout=GUARD_S) as client:
            client.recv(1 << 16)
            sender.signal(signal.SIGINT)
            sender.wait()
            # A part of the file must not look like the whole.
            with self.assertRaises(ConnectionResetError):
                while client.recv(1 << 20):
                    pass
            self.assertRegex(sender.complaint(), r"then broken off: stopped$")

    def test_count(self):
        with BenchSender(self.file, "--count", "2") as sender:
            for _ in range(2):
                self.same(receive(sender.port), coded_bytes(0, SIZE))
            sender.wait()
            self.assertEqual(len(sender.said), 3, sender.output)

    def test_nothing_is_held_for_a_connection_that_is_over(self):
        with BenchSender(self.file, "--path", "splice") as sender:
            idle = sender.sockets()

            def receive_and_wait(number):
                receive(sender.port)
                sender.results(number)
                sender.wait_for(lambda: sender.sockets() == idle, "the connection is closed")
            receive_and_wait(1)
            before = sender.descriptors()  # with the pipe, which is kept
            for number in (2, 3, 4):
                receive_and_wait(number)
            self.assertEqual(sender.descriptors(), before)

    def test_cannot_start(self):
        with BenchSender(self.file) as other:
            for naming, arguments in (
                    ("No such file or directory", ("missing.bin", "--listen", "127.0.0.1:0")),
                    ("not a regular file", (self.folder.root, "--listen", "127.0.0.1:0")),
                    ("Address already in use",
                     (self.file, "--listen", f"127.0.0.1:{other.port}"))):
                done = subprocess.run([BINARY, "bench", "send", *arguments], timeout=GUARD_S,
                                      capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout), (1, ""), arguments)
                self.assertRegex(done.stderr, rf"\Apagewire bench send: [^\n]*{naming}\n\Z")


if __name__ == "__main__":
    unittest.main()
