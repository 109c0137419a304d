"""A thousand slow clients: heads that come byte by byte, readers that take a trickle, and windows
that stay shut. Another client's requests go on meanwhile, and each slow one is cut off in time.

The other client's p99 is printed, and that of a client of a second server, which has no slow ones;
they ask in turns, so that what else the machine is busy with delays both. The one must stay under
twice the other, or under a bound that only a busy machine explains; of many rounds the best one
counts. Meanwhile no slow one is cut off: that is tried with another server."""

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
ROUNDS_FOR_S = 60
REQUESTS = 250
GUARD_S = 60
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

    def p99s_ms(self, *servers):
        """Of a client of each: a kept connection, one request after the other."""
        clients = [RawClient(server.address) for server in servers]
        times = [[] for _ in servers]
        for _ in range(REQUESTS):
            for client, its in zip(clients, times):
                start = time.monotonic()
                body = client.get("/small.bin").body
                its.append(time.monotonic() - start)
                self.assertEqual(body, self.small)
        for client in clients:
            client.close()
        return [percentile_ms(its, 0.99) for its in times]

    def compare(self, server, what):
        """Rounds while the slow ones are there, until one shows that they delay nobody."""
        end = time.monotonic() + ROUNDS_FOR_S
        with self.serving() as without:
            while True:
                with_slow_ms, idle_ms = self.p99s_ms(server, without)
                if with_slow_ms < max(2 * idle_ms, UNTIL_BUSY_EXPLAINS_MS):
                    break
                self.assertLess(time.monotonic(), end,
                                f"{what}: {with_slow_ms:.2f} ms with, {idle_ms:.2f} ms without")
        report(f"{what}: another client's p99 {idle_ms:.2f} ms without, "
               f"{with_slow_ms:.2f} ms with {SLOW} of them")

    def wait_until_cut_off(self, server, why):
        wait_until(lambda: ends(server, why) == SLOW, f"all {SLOW} are cut off as {why}", GUARD_S)
        ended = 0
        for slow in map(self.undecrypted, self.sockets):
            slow.settimeout(GUARD_S)
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
        with self.serving("--head-timeout", "1h") as server:
            self.connect_slow(server, head[:1])
            dripping = self.apart(self.drip, head)
            try:
                self.compare(server, "slow heads")
            finally:
                self.end(dripping)
            self.close_slow()
        # The clock of a head starts with its first byte, and no later byte sets it back.
        with self.serving("--head-timeout", "3s") as server:
            self.connect_slow(server, head[:1])
            started = time.monotonic()
            dripping = self.apart(self.drip, head)
            try:
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
        self.sockets[0].settimeout(GUARD_S)
        first = self.sockets[0].recv(1000)
        self.assertTrue(first.startswith(b"HTTP/1.1 "), first)
        return int(first.split()[1])

    def test_zero_windows(self):
        """They ask for megabytes and never read."""
        for path in ("tls_copy",) if TLS else ("sendfile", "splice"):
            with self.subTest(path=path), self.serving(
                    "--path", path, "--rate-window", "1h", "--min-rate", "16K") as server:
                self.connect_slow(server, request_head("/big.bin"), receive_buffer=4096)
                self.compare(server, f"zero windows, {path}")
                self.assertGreaterEqual(total(server, "pagewire_connections_open"), SLOW)
                self.close_slow()
            with self.subTest(path=path), self.serving(
                    "--path", path, "--rate-window", "1s", "--min-rate", "16K") as server:
                self.connect_slow(server, request_head("/big.bin"), receive_buffer=4096)
                self.wait_until_cut_off(server, "slow-reader")

    def test_slow_readers(self):
        """They read all the time, a little: below the minimum rate is cut off, above is not."""
        with self.serving("--path", "sendfile", "--rate-window", "1h") as server:
            self.connect_slow(server, request_head("/big.bin"), receive_buffer=4096)
            sipping = self.apart(self.sip)
            try:
                self.compare(server, "slow readers")
            finally:
                self.end(sipping)
            self.close_slow()
        # The window is so long that we may be stopped for a while.
        with self.serving("--path", "sendfile", "--rate-window", "5s", "--min-rate",
                          "8K") as server:
            self.connect_slow(server, request_head("/big.bin"), receive_buffer=4096)
            sipping = self.apart(self.sip)
            steady = RawClient(server.address, receive_buffer=65536)
            self.addCleanup(steady.close)
            steady.send(request_head("/big.bin"))
            reading = threading.Thread(target=self.read_steadily, args=(steady,))
            reading.start()
            try:
                wait_until(lambda: ends(server, "slow-reader") == SLOW, "all are cut off", GUARD_S)
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
        """Some 700 KB/s: far above the minimum, while the slow ones take some 500 bytes."""
        self.assertEqual(client.read_head().status, 200)
        self.steady_bytes = 0
        while self.steady_bytes < BIG:
            self.steady_bytes += len(client.read_exactly(min(65536, BIG - self.steady_bytes)))
            time.sleep(0.09)


if __name__ == "__main__":
    unittest.main()
