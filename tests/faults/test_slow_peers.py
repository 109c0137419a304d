"""A thousand slow clients: heads that come byte by byte, readers that take a trickle, and windows
that stay shut. Another client's requests go on meanwhile, and each slow one is cut off in time.

The other client's p99 is measured with and without the slow ones, and printed. It must stay under
twice its idle value, or under a bound that only a machine busy with something else explains; of
some rounds the best one counts."""

import multiprocessing
import resource
import socket
import threading
import time
import unittest

from support_faults import (FaultTest, RawClient, coded_bytes, ends, percentile_ms, report,
                            request_head, settle, total, wait_until)

from support import TLS, TlsSocket

SLOW = 200 if TLS else 1000  # a handshake in Python takes milliseconds
SMALL = 32 * 1024
BIG = 4 * 1024 * 1024
ROUNDS = 5
REQUESTS = 250
UNTIL_BUSY_EXPLAINS_MS = 20.0


class SlowPeers(FaultTest):

    def setUp(self):
        super().setUp()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit[1] != resource.RLIM_INFINITY and limit[1] < 2 * SLOW:
            self.skipTest(f"RLIMIT_NOFILE is {limit[1]} here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], 2 * SLOW), limit[1]))
        self.small = coded_bytes(0, SMALL, salt=11)
        self.folder.write("small.bin", self.small)
        self.folder.coded("big.bin", BIG, salt=12)
        self.sockets = []

    def serving(self, *flags, **others):
        # The allocator keeps what the slow ones have filled: with TLS each a buffer of 132 KiB.
        slack_mib = 24 + SLOW * 132 // 1024 if TLS else 24
        return super().serving(*flags, workers=1, slack_mib=slack_mib, **others)

    def connect_slow(self, server, request, receive_buffer=None):
        """SLOW connections that have sent `request` and, as yet, read nothing."""
        self.addCleanup(self.close_slow)
        for _ in range(SLOW):
            slow = socket.socket()
            if receive_buffer:
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
                # Small segments keep the server's send buffers small too (the kernel counts them
                # in segments): a thousand of some megabytes would be the kernel's memory.
                slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
            slow.connect(server.address)
            slow = TlsSocket(slow) if TLS else slow
            self.sockets.append(slow)
            slow.sendall(request)
            slow.setblocking(False)

    def close_slow(self):
        for slow in self.sockets:
            slow.close()
        self.sockets.clear()

    def p99_ms(self, server):
        """Of the other client: a kept connection, one request after the other."""
        times = []
        with RawClient(server.address) as client:
            for _ in range(REQUESTS):
                start = time.monotonic()
                body = client.get("/small.bin").body
                times.append(time.monotonic() - start)
                self.assertEqual(body, self.small)
        return percentile_ms(times, 0.99)

    def compare(self, server, what, idle_ms):
        """The best of some rounds, while the slow ones are there."""
        with_slow_ms = []
        bound_ms = max(2 * idle_ms, UNTIL_BUSY_EXPLAINS_MS)
        for _ in range(ROUNDS):
            with_slow_ms.append(self.p99_ms(server))
            if with_slow_ms[-1] < 2 * idle_ms:
                break
        report(f"{what}: another client's p99 {idle_ms:.2f} ms without, "
               f"{min(with_slow_ms):.2f} ms with {SLOW} of them")
        self.assertLess(min(with_slow_ms), bound_ms)

    def idle_p99_ms(self, server):
        return sorted(self.p99_ms(server) for _ in range(3))[1]

    def wait_until_cut_off(self, server, why):
        wait_until(lambda: ends(server, why) == SLOW, f"all {SLOW} are cut off as {why}", 30)
        ended = 0
        for slow in map(self.undecrypted, self.sockets):
            slow.settimeout(15)
            try:
                while slow.recv(1 << 20):
                    pass
                ended += 1
            except ConnectionResetError:
                ended += 1
        self.assertEqual(ended, SLOW)
        self.close_slow()

    def test_slow_heads(self):
        head = request_head("/small.bin", fields=["X-Padding: " + "x" * 4000])
        # The clock of a head starts with its first byte, and no later byte sets it back.
        with self.serving("--head-timeout", "3s") as server:
            idle_ms = self.idle_p99_ms(server)
            self.connect_slow(server, head[:1])
            started = time.monotonic()
            dripping = self.apart(self.drip, head)
            try:
                self.compare(server, "slow heads", idle_ms)
                self.assertEqual(self.answer_of_first(), 408)
                report(f"slow heads: 408 came {time.monotonic() - started:.1f} s "
                       f"after the first byte (limit 3 s)")
            finally:
                self.end(dripping)
            self.wait_until_cut_off(server, "head-timeout")
            settle(server)
            self.assertEqual(total(server, "pagewire_requests_total", status="408"), SLOW)

    @staticmethod
    def undecrypted(slow):
        """For whoever wants no bytes, but their end."""
        return slow.raw if TLS else slow

    @staticmethod
    def apart(work, *arguments):
        """Runs work in a process of its own, so that it does not delay what is measured here."""
        process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
        process.start()
        return process

    @staticmethod
    def end(process):
        process.terminate()
        process.join()

    def drip(self, head):
        for place in range(1, len(head)):
            for slow in self.sockets:
                try:
                    slow.sendall(head[place:place + 1])
                except OSError:  # cut off by the server
                    continue
            time.sleep(0.05)

    def answer_of_first(self):
        self.sockets[0].settimeout(30)
        first = self.sockets[0].recv(1000)
        self.assertTrue(first.startswith(b"HTTP/1.1 "), first)
        return int(first.split()[1])

    def test_zero_windows(self):
        """They ask for megabytes and never read."""
        for path in ("tls_copy",) if TLS else ("sendfile", "splice"):
            with self.subTest(path=path), self.serving(
                    "--path", path, "--rate-window", "1h", "--min-rate", "16K") as server:
                idle_ms = self.idle_p99_ms(server)
                self.connect_slow(server, request_head("/big.bin"), receive_buffer=4096)
                self.compare(server, f"zero windows, {path}", idle_ms)
                self.assertGreaterEqual(total(server, "pagewire_connections_open"), SLOW)
                self.close_slow()
            with self.subTest(path=path), self.serving(
                    "--path", path, "--rate-window", "1s", "--min-rate", "16K") as server:
                self.connect_slow(server, request_head("/big.bin"), receive_buffer=4096)
                self.wait_until_cut_off(server, "slow-reader")

    def test_slow_readers(self):
        """They read all the time, a little: below the minimum rate is cut off, above is not."""
        with self.serving("--path", "sendfile", "--rate-window", "3s", "--min-rate",
                          "64K") as server:
            idle_ms = self.idle_p99_ms(server)
            steady = RawClient(server.address, receive_buffer=65536)
            self.addCleanup(steady.close)
            steady.send(request_head("/big.bin"))
            self.connect_slow(server, request_head("/big.bin"), receive_buffer=4096)
            sipping = self.apart(self.sip)
            reading = threading.Thread(target=self.read_steadily, args=(steady,))
            reading.start()
            try:
                self.compare(server, "slow readers", idle_ms)
                wait_until(lambda: ends(server, "slow-reader") == SLOW, "all are cut off", 30)
            finally:
                self.end(sipping)
                reading.join()
                steady.close()
            self.assertEqual(self.steady_bytes, BIG)
            self.wait_until_cut_off(server, "slow-reader")

    def sip(self):
        while True:
            for slow in map(self.undecrypted, self.sockets):
                try:
                    slow.recv(50)
                except OSError:  # nothing there yet, or cut off
                    continue
            time.sleep(0.1)

    def read_steadily(self, client):
        """Some 700 KB/s: ten times the minimum."""
        self.assertEqual(client.read_head().status, 200)
        self.steady_bytes = 0
        while self.steady_bytes < BIG:
            self.steady_bytes += len(client.read_exactly(min(65536, BIG - self.steady_bytes)))
            time.sleep(0.09)


if __name__ == "__main__":
    unittest.main()
