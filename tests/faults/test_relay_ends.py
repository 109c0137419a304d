"""How tunnels end when a side breaks off: what was said before a reset arrives, and a relay that is
killed leaves no stream behind that looks complete. And what could keep one busy in vain: a header
that drips in, and a connection to itself."""

import contextlib
import fcntl
import http.client
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

from support_faults import (LIBC, coded_bytes, fetch_metrics, first_difference, report, wait_until,
                            why_no_strace)

from support import Metrics, Relay, Upstream, echo, read_all, reset, wait_until_it_stands

GUARD_S = 60

# Below the windows of loopback, so that all of it can leave before the reset does.
SIZES = (1, 1_000, 100_000)


def all_has_left(connection):
    """Waits until the other end's kernel has every byte: a reset drops what is still to be sent."""
    def left():
        count = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(count, sys.byteorder) == 0
    wait_until(left, "every byte has left", GUARD_S)


class RelayEnds(unittest.TestCase):
    def upstream(self, serve):
        upstream = Upstream(serve)
        self.addCleanup(upstream.close)
        return upstream

    def relay(self, *flags, to):
        relay = Relay("--workers", "1", *flags, to=[to.address])
        self.addCleanup(relay.kill)
        return relay

    def read_to_reset(self, connection):
        """All that comes in front of a reset; a FIN is an error."""
        got = bytearray()
        try:
            while data := connection.recv(1 << 18):
                got += data
        except ConnectionResetError:
            return bytes(got)
        raise AssertionError(f"FIN behind {len(got)} bytes")


class BytesBeforeAReset(RelayEnds):
    """The relay stands still meanwhile, so that it hears of the bytes and of the reset at once."""

    def between(self, relay, action):
        relay.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: self.stands_still(relay), "it stands still")
            action()
        finally:
            relay.signal(signal.SIGCONT)

    @staticmethod
    def stands_still(relay):
        """Every thread of it: they hear of the signal one by one."""
        folder = f"/proc/{relay.pid}/task"
        for thread in os.listdir(folder):
            with open(f"{folder}/{thread}/stat", encoding="ascii") as file:
                if file.read().rsplit(")", 1)[1].split()[0] != "T":
                    return False
        return True

    def test_of_the_upstream_arrive(self):
        for path in ("auto", "splice", "copy"):
            for size in SIZES:
                with self.subTest(path=path, size=size):
                    ready, go, gone = (threading.Event() for _ in range(3))

                    def serve(connection, size=size, ready=ready, go=go, gone=gone):
                        connection.recv(1)
                        ready.set()
                        go.wait(GUARD_S)
                        connection.sendall(coded_bytes(0, size))
                        all_has_left(connection)
                        reset(connection)
                        gone.set()
                    relay = self.relay("--path", path, to=self.upstream(serve))
                    with relay.connect() as client:
                        client.sendall(b"x")
                        self.assertTrue(ready.wait(GUARD_S))
                        self.between(relay, lambda go=go, gone=gone: (
                            go.set(), self.assertTrue(gone.wait(GUARD_S))))
                        got = self.read_to_reset(client)
                    self.assertIsNone(first_difference(got, coded_bytes(0, size)))
                    wait_until(lambda relay=relay: fetch_metrics(relay).total(
                        "pagewire_relay_ends_total", end="upstream-reset") == 1, "it is counted")
                    relay.stop()

    def test_of_the_client_arrive(self):
        for path in ("auto", "splice", "copy"):
            for size in SIZES:
                with self.subTest(path=path, size=size):
                    ready, got = threading.Event(), []

                    def serve(connection, ready=ready, got=got):
                        ready.set()
                        got.append(self.read_to_reset(connection))
                    relay = self.relay("--path", path, to=self.upstream(serve))
                    client = relay.connect()
                    self.assertTrue(ready.wait(GUARD_S))
                    # Before that it passes on nothing.
                    wait_until(lambda relay=relay: fetch_metrics(relay).total(
                        "pagewire_relay_tunnels_open") == 1, "the tunnel stands")
                    self.between(relay, lambda client=client, size=size: (
                        client.sendall(coded_bytes(0, size)), all_has_left(client),
                        reset(client)))
                    wait_until(lambda got=got: got, "the upstream hears of the end")
                    self.assertIsNone(first_difference(got[0], coded_bytes(0, size)))
                    relay.stop()

    def test_of_an_upstream_that_answers_before_it_has_heard_all(self):
        """Closing with bytes unread is a reset: the relay may meet it as it sends on."""
        answer = coded_bytes(0, 20_000)
        ready, go, gone = (threading.Event() for _ in range(3))

        def serve(connection):
            connection.recv(1)
            ready.set()
            go.wait(GUARD_S)
            connection.sendall(answer)
            all_has_left(connection)
            connection.close()
            gone.set()
        relay = self.relay(to=self.upstream(serve))
        with relay.connect() as client:
            client.sendall(b"x" + coded_bytes(0, 50_000))
            self.assertTrue(ready.wait(GUARD_S))
            self.between(relay, lambda: (client.sendall(coded_bytes(0, 50_000)), go.set(),
                                         self.assertTrue(gone.wait(GUARD_S))))
            self.assertIsNone(first_difference(self.read_to_reset(client), answer))

    def test_a_sink_that_is_full_does_not_hold_the_end_back(self):
        """The rest goes as far as the client takes it, and then it is a reset."""
        def serve(connection):
            connection.setblocking(False)
            sent = 0
            while True:
                try:
                    sent += connection.send(coded_bytes(sent, 1 << 16))
                except BlockingIOError:
                    if full.wait(0.01):
                        break
            reset(connection)
        full = threading.Event()
        relay = self.relay(to=self.upstream(serve))
        with relay.connect(receive_buffer=65536) as client:
            wait_until_it_stands(
                relay, lambda: fetch_metrics(relay).total("pagewire_relay_bytes_total"))
            full.set()
            wait_until(lambda: fetch_metrics(relay).total(
                "pagewire_relay_ends_total", end="upstream-reset") == 1, "it has ended")
            got = self.read_to_reset(client)
        self.assertIsNone(first_difference(got, coded_bytes(0, len(got))))


class KilledRelay(RelayEnds):
    """The kernel closes a dead process's sockets: both sides must hear a reset, not a FIN."""

    def test_both_sides_hear_a_reset(self):
        got, ready = [], threading.Event()

        def serve(connection):
            connection.sendall(b"hello")
            self.assertEqual(connection.recv(5, socket.MSG_WAITALL), b"world")
            ready.set()
            got.append(self.read_to_reset(connection))
        relay = self.relay(to=self.upstream(serve))
        with relay.connect() as client:
            self.assertEqual(client.recv(5, socket.MSG_WAITALL), b"hello")
            client.sendall(b"world")
            self.assertTrue(ready.wait(GUARD_S))
            os.kill(relay.pid, signal.SIGKILL)
            self.assertEqual(self.read_to_reset(client), b"")
            wait_until(lambda: got, "the upstream hears of the end")
        self.assertEqual(got, [b""])

    def test_a_half_closed_one_too(self):
        """The FIN that was passed on stands; what the other direction lacks is told by a reset."""
        begun, got = threading.Event(), []

        def serve(connection):
            self.assertEqual(read_all(connection), b"question")
            begun.set()
            try:
                while True:
                    connection.sendall(coded_bytes(0, 1 << 16))
            except OSError as error:
                got.append(error)
        relay = self.relay(to=self.upstream(serve))
        with relay.connect(receive_buffer=65536) as client:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            self.assertTrue(begun.wait(GUARD_S))
            wait_until(lambda: fetch_metrics(relay).total("pagewire_relay_pipes_in_use") == 1,
                       "the relay holds bytes for the client")
            os.kill(relay.pid, signal.SIGKILL)
            self.assertGreater(len(self.read_to_reset(client)), 0)
            wait_until(lambda: got, "the upstream hears of the end")

    def test_a_stream_that_ended_in_order_before_is_whole(self):
        """All of it stands in the kernel's queues when the relay dies: it still arrives."""
        data = coded_bytes(0, 200_000)
        relay = self.relay(to=self.upstream(lambda connection: connection.sendall(data)))
        with relay.connect(receive_buffer=8192) as client:
            client.shutdown(socket.SHUT_WR)
            wait_until(lambda: fetch_metrics(relay).total(
                "pagewire_relay_ends_total", end="done") == 1, "the tunnel has ended")
            os.kill(relay.pid, signal.SIGKILL)
            self.assertIsNone(first_difference(read_all(client), data))


class DrippingHeader(RelayEnds):
    """A PROXY header of version 2 with TLVs, as long as is taken, in small pieces."""

    HEADER = (b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">BBH", 0x21, 0x11, 16_384 - 16)
              + socket.inet_aton("192.0.2.9") + socket.inet_aton("198.51.100.3")
              + struct.pack(">HH", 4711, 443)
              + struct.pack(">BH", 4, 16_384 - 16 - 12 - 3) + bytes(16_384 - 16 - 12 - 3))

    def drip(self, client, data, pieces):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = -(-len(data) // pieces)
        for at in range(0, len(data), size):
            client.sendall(data[at:at + size])
            time.sleep(0.0005)

    def test_it_is_not_looked_at_with_each_piece(self):
        why = why_no_strace()
        if why:
            self.skipTest(why)
        pieces = 600
        relay = self.relay("--accept-proxy", "--proxy-timeout", "600s", to=self.upstream(echo))
        with tempfile.NamedTemporaryFile("r") as calls, relay.connect() as client:
            with subprocess.Popen(["strace", "-f", "-e", "trace=recvfrom", "-o", calls.name, "-p",
                                   str(relay.pid)], stderr=subprocess.PIPE, text=True) as tracer:
                self.assertIn("attached", tracer.stderr.readline())
                self.drip(client, self.HEADER + b"hello", pieces)
                self.assertEqual(client.recv(5, socket.MSG_WAITALL), b"hello")
                tracer.send_signal(signal.SIGINT)
                tracer.wait(GUARD_S)
            looks = calls.read().count("MSG_PEEK")
        report(f"{looks} looks at a header of {len(self.HEADER)} bytes in {pieces} pieces")
        self.assertGreater(looks, 0)
        self.assertLess(looks, pieces / 10)

    def test_bytes_behind_it_pass_one_by_one(self):
        """The socket tells of single bytes again."""
        relay = self.relay("--accept-proxy", "--proxy-timeout", "600s", to=self.upstream(echo))
        with relay.connect() as client:
            self.drip(client, self.HEADER, 20)
            for number in range(20):
                client.sendall(b"%c" % number)
                self.assertEqual(client.recv(1), b"%c" % number)

    def test_a_fin_within_it_is_heard_at_once(self):
        relay = self.relay("--accept-proxy", "--proxy-timeout", "600s", to=self.upstream(echo))
        with relay.connect() as client:
            self.drip(client, self.HEADER[:-1], 20)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(self.read_to_reset(client), b"")
        self.assertEqual(
            fetch_metrics(relay).total("pagewire_relay_ends_total", end="proxy-header"), 1)

    def test_a_whole_one_that_does_not_come_times_out(self):
        relay = self.relay("--accept-proxy", "--proxy-timeout", "200ms", to=self.upstream(echo))
        with relay.connect() as client:
            try:
                self.drip(client, self.HEADER[:-1], 20)
            except ConnectionResetError:  # we were so slow that it is over by now
                return
            self.assertEqual(self.read_to_reset(client), b"")


class ConnectedToItself(unittest.TestCase):
    """Where the only port that the kernel may choose is the one to be connected to, TCP connects a
    socket with itself, and a client would be its own upstream."""

    PORT = 40_000

    def in_a_network_of_its_own(self, body):
        """In a thread, whose network namespace is its own and that of what it starts."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            self.skipTest("needs root and ip, for a network namespace")
        failures = []

        def run():
            clone_newnet = 0x40000000
            try:
                self.assertEqual(LIBC.unshare(clone_newnet), 0)
                subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
                body()
            except BaseException as problem:  # pylint: disable=broad-except
                failures.append(problem)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    def ports_to_choose_from(self, first, last):
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as file:
            file.write(f"{first} {last}")

    @staticmethod
    def metrics(relay, port):
        """From a port that is named, which leaves the one to choose alone. Each takes one once."""
        asked = http.client.HTTPConnection(*relay.admin, timeout=GUARD_S,
                                           source_address=("127.0.0.1", port))
        with contextlib.closing(asked):
            asked.request("GET", "/metrics")
            return Metrics(asked.getresponse().read().decode())

    def test_it_is_a_connection_that_failed(self):
        def body():
            with Relay("--workers", "1", "--retries", "0", to=[("127.0.0.1", self.PORT)]) as relay:
                self.ports_to_choose_from(self.PORT, self.PORT)
                with self.assertRaises(ConnectionResetError), relay.connect() as client:
                    client.sendall(b"hello")
                    client.recv(5)
                    raise AssertionError("the client hears itself")
                metrics = self.metrics(relay, self.PORT - 1)
                self.assertEqual(metrics.total("pagewire_relay_ends_total", end="connect-failed"),
                                 1)
                self.assertEqual(metrics.total("pagewire_relay_upstream_connect_failures_total",
                                               reason="refused"), 1)
        self.in_a_network_of_its_own(body)

    def test_a_check_does_not_pass(self):
        def body():
            with Relay("--workers", "1", "--check", "--check-interval", "100ms", "--fall", "1",
                       to=[("127.0.0.1", self.PORT)]) as relay:
                self.ports_to_choose_from(self.PORT, self.PORT)
                ports = iter(range(self.PORT + 1, self.PORT + 10_000))

                def refused():
                    return self.metrics(relay, next(ports)).total(
                        "pagewire_relay_upstream_checks_total", result="refused")
                before = refused()
                wait_until(lambda: refused() > before + 4, "checks", GUARD_S, pause=0.05)
                self.assertEqual(self.metrics(relay, next(ports)).total(
                    "pagewire_relay_upstream_checks_total", result="ok"), 0)
        self.in_a_network_of_its_own(body)


if __name__ == "__main__":
    unittest.main()
