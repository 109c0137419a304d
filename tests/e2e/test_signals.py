"""SIGTERM and SIGINT: no new connection, what is in flight arrives whole, exit 0; a second signal
ends at once; the drain timeout is kept."""

import signal
import socket
import time
import unittest

from support import (Pagewire, RawClient, TestFolder, coded_bytes, first_difference, request_head,
                     wait_until)
from support.server import PATIENCE_S

with open("/proc/sys/net/ipv4/tcp_wmem", encoding="ascii") as limits:
    SIZE = max(24 << 20, 2 * int(limits.read().split()[2]))
PATIENT = ("--linger-timeout", "60s", "--drain-timeout", "120s")


class SignalsTest(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.folder.coded("big.bin", SIZE)
        self.folder.coded("small.bin", 100)

    def serve(self, *flags, **others):
        server = Pagewire(self.folder.root, *flags, **({"admin": "off"} | others))
        self.addCleanup(server.kill)
        return server

    def slow_download(self, server):
        """A download that stands still after its head, far larger than any socket buffer."""
        client = RawClient(server.address, receive_buffer=65536)
        self.addCleanup(client.close)
        client.send(request_head("/big.bin"))
        answer = client.read_head()
        self.assertEqual(answer.status, 200)
        return client, answer

    def refuses(self, server):
        try:
            with socket.create_connection(server.address, timeout=PATIENCE_S):
                return False
        except OSError:
            return True

    def check_drain(self, number, *flags):
        # None of its timeouts can be what ends it.
        server = self.serve(*PATIENT, *flags)
        client, answer = self.slow_download(server)
        idle = RawClient(server.address)
        self.addCleanup(idle.close)
        self.assertEqual(idle.get("/small.bin").status, 200)
        server.signal(number)
        wait_until(lambda: self.refuses(server), "new connections refused")
        self.assertTrue(idle.is_closed(), "an idle connection ends at once")
        time.sleep(0.5)
        self.assertIsNone(server.process.poll(), "the server waits for the download")
        body = client.read_body(answer, "GET")
        self.assertIsNone(first_difference(body, coded_bytes(0, SIZE)))
        self.assertTrue(client.is_closed())
        client.close()  # the server lingers until then
        server.wait(expected=0)

    def test_sigterm_drains(self):
        self.check_drain(signal.SIGTERM)

    def test_sigint_drains(self):
        self.check_drain(signal.SIGINT)

    def test_drains_on_every_path(self):
        for path in ("copy", "mmap", "splice", "vmsplice", "zerocopy"):
            with self.subTest(path):
                self.check_drain(signal.SIGTERM, "--path", path)

    def test_pipelined_request_after_the_signal(self):
        """A request that was already there is answered, or the connection ends: never half."""
        server = self.serve(*PATIENT)
        client, answer = self.slow_download(server)
        client.send(request_head("/small.bin"))
        server.signal(signal.SIGTERM)
        time.sleep(0.1)
        self.assertIsNone(first_difference(client.read_body(answer, "GET"), coded_bytes(0, SIZE)))
        try:
            second = client.read()
            self.assertEqual((second.status, second.body), (200, coded_bytes(0, 100)))
            self.assertTrue(second.closes)
        except (EOFError, ConnectionResetError):
            pass
        client.close()
        server.wait(expected=0)

    def test_nothing_in_flight_ends_at_once(self):
        self.serve("--drain-timeout", "120s").stop()

    def test_drain_timeout(self):
        server = self.serve("--drain-timeout", "700ms", "--workers", "2")
        client, _ = self.slow_download(server)
        begin = time.monotonic()
        server.signal(signal.SIGTERM)
        server.process.wait(PATIENCE_S)
        self.assertGreater(time.monotonic() - begin, 0.4)
        # What came is a prefix of the file: cut off, not wrong, and nothing that looks complete.
        try:
            rest = client.read_rest()
        except ConnectionResetError:
            rest = b""
        self.assertLess(len(rest), SIZE)
        self.assertEqual(rest, coded_bytes(0, len(rest)))
        server.wait(expected=server.process.returncode)
        self.assertIn(server.process.returncode, (0, 1), server.output)

    def test_second_signal_ends_at_once(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
            server = self.serve("--drain-timeout", "120s")
            self.slow_download(server)
            server.signal(first)
            wait_until(lambda server=server: "draining" in server.output, "it says that it drains")
            server.signal(second)
            server.process.wait(PATIENCE_S)

    def test_broken_pipe_does_not_kill(self):
        """SIGPIPE: the client leaves in the middle of a body, on every path."""
        for path in ("copy", "mmap", "sendfile", "splice", "zerocopy"):
            server = self.serve("--path", path)
            for leave in (RawClient.reset, RawClient.close):
                client, _ = self.slow_download(server)
                leave(client)
            with RawClient(server.address) as client:
                self.assertEqual(client.get("/small.bin").status, 200)
            server.stop()

    def test_sighup_without_a_log_changes_nothing(self):
        server = self.serve()
        client, answer = self.slow_download(server)
        for _ in range(20):
            server.signal(signal.SIGHUP)
        self.assertIsNone(first_difference(client.read_body(answer, "GET"), coded_bytes(0, SIZE)))
        self.assertEqual(client.get("/small.bin").status, 200)
        server.stop()

    def test_descriptors_come_back(self):
        server = self.serve("--workers", "1", "--path", "splice")
        with RawClient(server.address) as client:  # opens what stays: the file, a pooled pipe
            client.get("/big.bin")
            client.get("/small.bin")
        wait_until(lambda: server.descriptors() == server.descriptors(), "a stable count")
        before = server.descriptors()
        for _ in range(30):
            client, _ = self.slow_download(server)
            client.reset()
        with RawClient(server.address) as client:
            client.get("/big.bin")
        wait_until(lambda: server.descriptors() <= before + 2, "descriptors back at the start")
        server.stop()

    def test_healthz_says_draining(self):
        server = self.serve(*PATIENT, admin="127.0.0.1:0")
        client, answer = self.slow_download(server)
        server.signal(signal.SIGTERM)

        def draining():
            try:
                with RawClient(server.admin) as admin:
                    return admin.get("/healthz").status == 503
            except OSError:
                return False
        wait_until(draining, "/healthz answers 503 while draining")
        client.read_body(answer, "GET")
        client.close()
        server.wait(expected=0)


if __name__ == "__main__":
    unittest.main()
