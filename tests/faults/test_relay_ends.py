"""How tunnels end when a side breaks off: what was said before a reset arrives, and a relay that is
killed leaves no stream behind that looks complete."""

import os
import signal
import socket
import threading
import unittest

from support_faults import coded_bytes, fetch_metrics, first_difference, wait_until

from support import Relay, Upstream, read_all, reset

# Below the windows of loopback, so that all of it can leave before the reset does.
SIZES = (1, 1_000, 100_000)


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
            action()
        finally:
            relay.signal(signal.SIGCONT)

    def test_of_the_upstream_arrive(self):
        for path in ("auto", "splice", "copy"):
            for size in SIZES:
                with self.subTest(path=path, size=size):
                    ready, go, gone = (threading.Event() for _ in range(3))

                    def serve(connection, size=size, ready=ready, go=go, gone=gone):
                        connection.recv(1)
                        ready.set()
                        go.wait(10)
                        connection.sendall(coded_bytes(0, size))
                        reset(connection)
                        gone.set()
                    relay = self.relay("--path", path, to=self.upstream(serve))
                    with relay.connect() as client:
                        client.sendall(b"x")
                        self.assertTrue(ready.wait(10))
                        self.between(relay, lambda go=go, gone=gone: (go.set(), gone.wait(10)))
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
                    self.assertTrue(ready.wait(10))
                    self.between(relay, lambda client=client, size=size: (
                        client.sendall(coded_bytes(0, size)), reset(client)))
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
            go.wait(10)
            connection.sendall(answer)
            connection.close()
            gone.set()
        relay = self.relay(to=self.upstream(serve))
        with relay.connect() as client:
            client.sendall(b"x" + coded_bytes(0, 50_000))
            self.assertTrue(ready.wait(10))
            self.between(relay, lambda: (client.sendall(coded_bytes(0, 50_000)), go.set(),
                                         gone.wait(10)))
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
            counts = [-1, -2]

            def stands():
                counts.append(fetch_metrics(relay).total("pagewire_relay_bytes_total"))
                return counts[-1] > 0 and len(set(counts[-3:])) == 1
            wait_until(stands, "nothing moves any more")
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
            self.assertTrue(ready.wait(10))
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
            self.assertTrue(begun.wait(10))
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


if __name__ == "__main__":
    unittest.main()
