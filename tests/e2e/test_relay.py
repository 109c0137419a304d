"""pagewire relay between real clients and upstreams: bytes, half-close, resets, limits, the log,
signals. Data is position-coded."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from support import (Metrics, Relay, TlsSocket, Upstream, coded_bytes, echo, fetch_metrics,
                     first_difference, free_port, more_than_sockets_hold, read_all, reset,
                     settle, tls_flags, wait_until)
from support.server import PATIENCE_S

BULK = 8 << 20


def send_all_then_fin(client, data):
    """In a thread of its own, so that the test can read meanwhile."""
    def run():
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the test looks at what the other side got
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class RelayCase(unittest.TestCase):
    def upstream(self, serve):
        upstream = Upstream(serve)
        self.addCleanup(upstream.close)
        return upstream

    def relay(self, *flags, to, **others):
        relay = Relay("--workers", "1", *flags, to=[upstream.address for upstream in to], **others)
        self.addCleanup(relay.kill)
        return relay

    def connect(self, relay, **others):
        client = relay.connect(**others)
        self.addCleanup(client.close)
        return client

    def metrics(self, relay):
        return fetch_metrics(relay)

    def wait_for(self, relay, name, value, **labels):
        wait_until(lambda: self.metrics(relay).total(name, **labels) == value,
                   f"{name}{labels} is {value}")

    def check_same(self, got, expected):
        self.assertIsNone(first_difference(got, expected))


class BytesTest(RelayCase):
    def exchange(self, relay, size):
        client = self.connect(relay)
        data = coded_bytes(0, size)
        sender = send_all_then_fin(client, data)
        self.check_same(read_all(client), data)
        sender.join()

    def test_bulk_and_small_by_every_path(self):
        upstream = self.upstream(echo)
        for path in ("auto", "splice", "copy"):
            with self.subTest(path=path):
                relay = self.relay("--path", path, to=[upstream])
                for size in (0, 1, 1000, 100_000, BULK):
                    self.exchange(relay, size)
                settle(relay)
                metrics = self.metrics(relay)
                spliced = metrics.total("pagewire_relay_path_bytes_total", path="splice")
                copied = metrics.total("pagewire_relay_path_bytes_total", path="copy")
                sent = 2 * (1 + 1000 + 100_000 + BULK)
                self.assertEqual(spliced + copied, sent)
                self.assertEqual(metrics.total("pagewire_relay_bytes_total"), sent)
                if path == "copy":
                    self.assertEqual(spliced, 0)
                elif path == "splice":  # recv, which has the last word on the end, may find some
                    self.assertGreater(spliced, BULK)
                else:
                    self.assertGreater(spliced, BULK)
                self.wait_for(relay, "pagewire_relay_ends_total", 5, end="done")
                self.wait_for(relay, "pagewire_relay_connections_open", 0)
                relay.stop()

    def test_messages_to_and_fro(self):
        relay = self.relay(to=[self.upstream(echo)])
        client = self.connect(relay)
        for number in range(200):
            message = coded_bytes(number * 64, 64)
            client.sendall(message)
            self.check_same(client.recv(64, socket.MSG_WAITALL), message)
        settle(relay)
        metrics = self.metrics(relay)
        self.assertEqual(metrics.total("pagewire_relay_path_bytes_total", path="splice"), 0)

    def test_many_at_once_keep_their_bytes_apart(self):
        relay = self.relay(to=[self.upstream(echo)])
        size, clients = 1 << 20, []
        for number in range(24):
            client = self.connect(relay)
            data = coded_bytes(number << 32, size)
            clients.append((client, data, send_all_then_fin(client, data)))
        for client, data, sender in clients:
            self.check_same(read_all(client), data)
            sender.join()

    def test_a_reader_that_rests_gets_everything(self):
        data = coded_bytes(0, more_than_sockets_hold())
        relay = self.relay(to=[self.upstream(lambda connection: connection.sendall(data))])
        client = self.connect(relay, receive_buffer=65536)
        wait_until(lambda: self.metrics(relay).total("pagewire_relay_pipes_in_use") == 1,
                   "the relay holds bytes for the reader")
        self.check_same(read_all(client), data)
        self.wait_for(relay, "pagewire_relay_pipes_in_use", 0)


class EndsTest(RelayCase):
    def test_half_close_of_the_client(self):
        def count_then_answer(connection):
            got = read_all(connection)
            connection.sendall(b"%d" % len(got))
        relay = self.relay(to=[self.upstream(count_then_answer)])
        client = self.connect(relay)
        client.sendall(b"x" * 12345)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"12345")

    def test_half_close_of_the_upstream(self):
        got = []

        def finish_then_read(connection):
            connection.sendall(b"first")
            connection.shutdown(socket.SHUT_WR)
            got.append(read_all(connection))
        relay = self.relay(to=[self.upstream(finish_then_read)])
        client = self.connect(relay)
        self.assertEqual(read_all(client), b"first")
        data = coded_bytes(0, 300_000)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: got, "the upstream has read it")
        self.check_same(got[0], data)
        self.wait_for(relay, "pagewire_relay_ends_total", 1, end="done")

    def test_reset_of_the_client_reaches_the_upstream(self):
        begun, ends = threading.Event(), []

        def watch(connection):
            connection.recv(10)
            begun.set()
            try:
                ends.append(connection.recv(10))
            except ConnectionResetError:
                ends.append("reset")
        relay = self.relay(to=[self.upstream(watch)])
        client = self.connect(relay)
        client.sendall(b"0123456789")
        self.assertTrue(begun.wait(PATIENCE_S))
        reset(client)
        wait_until(lambda: ends, "the upstream hears of the end")
        self.assertEqual(ends, ["reset"])
        self.wait_for(relay, "pagewire_relay_ends_total", 1, end="client-reset")

    def test_reset_of_the_upstream_reaches_the_client(self):
        for size in (0, 5, 3 << 20):
            with self.subTest(size=size):
                def send_then_reset(connection, size=size):
                    connection.sendall(coded_bytes(0, size))
                    reset(connection)
                relay = self.relay(to=[self.upstream(send_then_reset)])
                client = self.connect(relay)
                with self.assertRaises(ConnectionResetError):
                    read_all(client)
                # A reset that comes before the relay has seen the connection stand is one that did
                # not come about: it is tried again, some seconds long.
                wait_until(lambda relay=relay: sum(
                    self.metrics(relay).total("pagewire_relay_ends_total", end=end)
                    for end in ("upstream-reset", "connect-failed")) == 1, "the end is counted")
                relay.stop()

    def test_no_upstream_is_a_reset(self):
        dead = ("127.0.0.1", free_port())
        relay = Relay("--workers", "1", to=[dead])
        self.addCleanup(relay.kill)
        client = self.connect(relay)
        with self.assertRaises(ConnectionResetError):
            client.recv(1)
        self.wait_for(relay, "pagewire_relay_ends_total", 1, end="connect-failed")
        self.wait_for(relay, "pagewire_relay_connections_open", 0)

    def test_another_upstream_takes_over_before_the_first_byte(self):
        dead = ("127.0.0.1", free_port())
        alive = self.upstream(echo)
        relay = Relay("--workers", "1", to=[dead, alive.address])
        self.addCleanup(relay.kill)
        for _ in range(4):
            client = self.connect(relay)
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(client), b"hello")
        settle(relay)
        self.assertGreater(self.metrics(relay).total("pagewire_relay_retries_total"), 0)


class LimitsTest(RelayCase):
    def check_reset(self, client):
        with self.assertRaises(ConnectionResetError):
            client.recv(1)

    def test_idle_timeout(self):
        relay = self.relay("--idle-timeout", "300ms", to=[self.upstream(echo)])
        self.check_reset(self.connect(relay))
        self.wait_for(relay, "pagewire_relay_ends_total", 1, end="idle-timeout")

    def test_half_closed_timeout(self):
        done = threading.Event()
        self.addCleanup(done.set)
        relay = self.relay("--half-closed-timeout", "300ms",
                           to=[self.upstream(lambda _connection: done.wait())])
        client = self.connect(relay)
        client.shutdown(socket.SHUT_WR)
        self.check_reset(client)
        self.wait_for(relay, "pagewire_relay_ends_total", 1, end="half-closed-timeout")

    def test_connect_timeout(self):
        # Its queue is full: SYNs are dropped, and no connection comes about.
        with socket.socket() as listener, socket.socket() as first:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            first.connect(listener.getsockname())
            relay = Relay("--workers", "1", "--connect-timeout", "200ms",
                          to=[listener.getsockname()])
            self.addCleanup(relay.kill)
            self.check_reset(self.connect(relay))
            self.wait_for(relay, "pagewire_relay_ends_total", 1, end="connect-failed")

    def test_max_connections(self):
        relay = self.relay("--max-connections", "2", to=[self.upstream(echo)])
        for _ in range(2):
            client = self.connect(relay)
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
        try:
            self.check_reset(self.connect(relay))
        except ConnectionResetError:
            pass  # before connect(2) had returned
        self.wait_for(relay, "pagewire_relay_refused_total", 1)

    def test_no_pipes(self):
        data = coded_bytes(0, BULK)
        relay = self.relay("--max-pipes", "0",
                           to=[self.upstream(lambda connection: connection.sendall(data))])
        self.check_same(read_all(self.connect(relay)), data)
        settle(relay)
        metrics = self.metrics(relay)
        self.assertGreater(
            metrics.total("pagewire_relay_path_switches_total", reason="pipe-limit"), 0)
        self.assertEqual(metrics.total("pagewire_relay_path_bytes_total", path="splice"), 0)

    def test_handshakes_of_a_second(self):
        relay = self.relay("--handshake-rate", "1", "--handshake-timeout", "60s", *tls_flags()[2:],
                           to=[self.upstream(echo)])
        served, refused = 0, 0
        # All at once: it counts those that it takes in, however long their handshakes last.
        for client in [self.connect(relay) for _ in range(20)]:
            try:
                TlsSocket(client)
                served += 1
            except OSError:
                refused += 1
        self.assertGreater(served, 0)
        self.assertGreater(refused, 0)
        self.wait_for(relay, "pagewire_tls_handshakes_total", refused, result="over-limit")
        self.assertEqual(self.metrics(relay).total("pagewire_relay_refused_total"), refused)


class WatchingTest(RelayCase):
    def test_access_log(self):
        with tempfile.TemporaryDirectory() as folder:
            log = os.path.join(folder, "relay.log")
            upstream = self.upstream(echo)
            relay = self.relay("--access-log", log, "--log-format", "json", "--name", "here",
                               to=[upstream])
            client = self.connect(relay)
            client.sendall(b"12345")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(client), b"12345")
            wait_until(lambda: os.path.getsize(log) > 0, "the line is written")
            with open(log, encoding="utf-8") as file:
                line = json.loads(file.read())
            host, port = client.getsockname()
            self.assertEqual(line["client"], f"{host}:{port}")
            self.assertEqual(line["relay"], "here")
            self.assertEqual(line["upstream"], "%s:%d" % upstream.address)
            self.assertEqual((line["up_bytes"], line["down_bytes"]), (5, 5))
            self.assertEqual((line["path"], line["reason"], line["end"], line["complete"]),
                             ("copy", "small", "done", True))
            os.rename(log, log + ".1")
            relay.signal(signal.SIGHUP)
            wait_until(lambda: os.path.exists(log), "the log is opened anew")

    def test_plain_log_line(self):
        relay = self.relay("--access-log", "-", to=[self.upstream(echo)])
        client = self.connect(relay)
        client.sendall(b"12345")
        client.shutdown(socket.SHUT_WR)
        read_all(client)
        wait_until(lambda: " up=5 down=5 " in relay.output, "the line")
        self.assertRegex(relay.output, r"path=copy reason=small end=done")

    def test_drain(self):
        relay = self.relay("--drain-timeout", "120s", to=[self.upstream(echo)])
        client = self.connect(relay)
        client.sendall(b"before")
        self.assertEqual(client.recv(6), b"before")
        relay.signal(signal.SIGTERM)
        wait_until(lambda: "draining 1 connection" in relay.output, "it says so")

        def refused():
            with socket.socket() as late:
                return late.connect_ex(relay.address) != 0
        wait_until(refused, "nobody new is taken")
        client.sendall(b"after")
        self.assertEqual(client.recv(5), b"after")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"")
        relay.wait(expected=0)

    def test_the_end_of_a_drain_is_a_reset(self):
        relay = self.relay("--drain-timeout", "200ms", to=[self.upstream(echo)])
        client = self.connect(relay)
        client.sendall(b"x")
        self.assertEqual(client.recv(1), b"x")
        relay.signal(signal.SIGTERM)
        with self.assertRaises(ConnectionResetError):
            client.recv(1)
        relay.wait(expected=0)
        self.assertIn("connections were cut off", relay.output)

    def test_a_second_signal_is_a_reset(self):
        reads, got = threading.Event(), []

        def slow(connection):
            reads.wait()
            got.append(len(read_all(connection)))
        upstream = self.upstream(slow)
        self.addCleanup(reads.set)
        relay = self.relay("--drain-timeout", "120s", to=[upstream])
        client = self.connect(relay)
        # More than all buffers take: the relay is in the midst of it when it ends.
        send_all_then_fin(client, coded_bytes(0, more_than_sockets_hold()))
        self.wait_for(relay, "pagewire_relay_connections_open", 1)
        wait_until(lambda: self.metrics(relay).total("pagewire_relay_bytes_total") > 0,
                   "bytes flow")
        relay.signal(signal.SIGTERM)
        wait_until(lambda: "draining 1 connection" in relay.output, "it says so")
        relay.signal(signal.SIGTERM)
        relay.wait(expected=1)
        reads.set()
        wait_until(lambda: got or upstream.errors, "the upstream hears of the end")
        self.assertEqual(got, [])
        self.assertIsInstance(upstream.errors[0], ConnectionResetError)

    def test_the_second_message_waits_for_no_acknowledgement(self):
        relay = self.relay(to=[self.upstream(echo)])
        with tempfile.NamedTemporaryFile("r") as calls:
            tracer = subprocess.Popen(
                ["strace", "-f", "-e", "trace=sendto,setsockopt", "-o", calls.name, "-p",
                 str(relay.pid)], stderr=subprocess.PIPE, text=True)
            self.addCleanup(tracer.kill)
            if "attached" not in tracer.stderr.readline():
                self.skipTest("strace may not attach here")
            client = self.connect(relay)
            for message in b"one", b"two":
                client.sendall(message)
                self.assertEqual(client.recv(3), message)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(PATIENCE_S)
            tracer.stderr.close()
            seen = re.findall(r'TCP_NODELAY|"one"|"two"', calls.read())
        # Up, and the echo of it down, whose socket has TCP_NODELAY from its listener. The option
        # sends what Nagle has kept (tcp(7)): behind the second message it leaves none behind.
        self.assertEqual(seen, ['"one"', '"one"', '"two"', "TCP_NODELAY", '"two"'])

    def test_a_bulk_transfer_moves_by_splice_and_epoll_alone(self):
        data = coded_bytes(0, 64 << 20)
        relay = self.relay("--path", "splice",
                           to=[self.upstream(lambda connection: connection.sendall(data))])
        client = self.connect(relay)
        with tempfile.NamedTemporaryFile("r") as counts:
            tracer = subprocess.Popen(
                ["strace", "-f", "-c", "-o", counts.name, "-p", str(relay.pid)],
                stderr=subprocess.PIPE, text=True)
            self.addCleanup(tracer.kill)
            if "attached" not in tracer.stderr.readline():
                self.skipTest("strace may not attach here")
            self.check_same(read_all(client), data)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(PATIENCE_S)
            tracer.stderr.close()
            lines = [line.split() for line in counts.read().splitlines()]
        # % time, seconds, usecs/call, calls, errors if there were any, name
        done = {line[-1]: int(line[3]) - (int(line[4]) if len(line) == 6 else 0)
                for line in lines if len(line) >= 5 and line[3].isdigit() and line[-1] != "total"}
        moving = done["splice"] + done["epoll_wait"]
        self.assertGreater(done["splice"], 64)
        # How often depends on who else has the CPUs: --coalesce-us, each of which saves an
        # epoll_wait at least; the push of what is held back when the upstream is late; the tick's.
        asides = [done.get(name, 0) for name in ("clock_nanosleep", "setsockopt", "getrusage")]
        self.assertLessEqual(max(asides), done["epoll_wait"], done)
        self.assertLess(sum(done.values()) - sum(asides) - moving, moving / 10, done)


class MetricsTextTest(RelayCase):
    def test_it_is_well_formed(self):
        relay = self.relay(to=[self.upstream(echo)])
        self.assertIsInstance(self.metrics(relay), Metrics)
        self.assertEqual(self.metrics(relay).total("pagewire_relay_splice_usable"), 1)


if __name__ == "__main__":
    unittest.main()
