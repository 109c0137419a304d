"""pagewire relay with TLS in front: clients speak TLS, upstreams get plain TCP. Bytes both ways,
the ends of streams, what is no TLS, handshakes that stand still, certificates. Data is
position-coded."""

import fcntl
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import termios
import threading
import unittest

from support import (Relay, TlsSocket, Upstream, coded_bytes, echo, fetch_metrics, first_difference,
                     more_than_sockets_hold, read_all, reset, run_pagewire, settle, wait_until,
                     wait_until_it_stands)
from support.certificates import Certificate
from support.server import PATIENCE_S
from support.tls_socket import client_context

BULK = 4 << 20
BYTES = "pagewire_relay_bytes_total"
VERSIONS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
GARBAGE = (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(1, 65)), b"\0" * 2000,
           struct.pack("!BHH", 22, 0x0303, 0xffff) + b"x" * 100,
           struct.pack("!BHH", 23, 0x0303, 100) + b"x" * 100)


def context_of(version, **others):
    context = client_context(**others)
    context.minimum_version = context.maximum_version = version
    return context


class RelayTlsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.certificate = Certificate(cls.folder, "relay", "DNS:relay.test")

    def upstream(self, serve):
        upstream = Upstream(serve)
        self.addCleanup(upstream.close)
        return upstream

    def relay(self, *flags, serve, certificate=None):
        upstream = self.upstream(serve)
        relay = Relay("--workers", "1", *(certificate or self.certificate).flags, *flags,
                      to=[upstream.address])
        relay.upstream = upstream
        self.addCleanup(relay.stop)
        return relay

    def raw(self, relay, **others):
        client = relay.connect(**others)
        self.addCleanup(client.close)
        return client

    def connect(self, relay, context=None, receive_buffer=None, **others):
        raw = self.raw(relay, receive_buffer=receive_buffer)
        client = TlsSocket(raw, **({"context": context} if context else {}), **others)
        self.addCleanup(raw.close)
        return client

    def total(self, relay, name, **labels):
        return fetch_metrics(relay).total(name, **labels)

    def wait_for(self, relay, name, value, **labels):
        wait_until(lambda: self.total(relay, name, **labels) == value,
                   f"{name}{labels} is {value}")

    def wait_for_end(self, relay, end, value=1):
        self.wait_for(relay, "pagewire_relay_ends_total", value, end=end)
        settle(relay)

    def check_same(self, got, expected):
        self.assertIsNone(first_difference(got, expected))

    def nothing_left(self, relay):
        self.wait_for(relay, "pagewire_relay_connections_open", 0)
        self.wait_for(relay, "pagewire_relay_tunnels_open", 0)
        self.wait_for(relay, "pagewire_relay_pipes_in_use", 0)


def send_all(client, data):
    """In a thread of its own, as long as it takes; nobody else may use the client meanwhile."""
    client.raw.settimeout(None)
    thread = threading.Thread(target=lambda: client.sendall(data), daemon=True)
    thread.start()
    return thread


class BytesTest(RelayTlsCase):
    def test_bulk_down(self):
        data = coded_bytes(0, BULK)
        relay = self.relay(serve=lambda connection: connection.sendall(data))
        for version in VERSIONS:
            client = self.connect(relay, context_of(version))
            self.check_same(read_all(client), data)
            self.assertTrue(client.peer_closed)
            client.shutdown(socket.SHUT_WR)
        self.wait_for_end(relay, "done", 2)
        metrics = fetch_metrics(relay)
        self.assertEqual(metrics.total(BYTES, direction="down"), 2 * BULK)
        by_kernel = metrics.total("pagewire_tls_connections_total", ktls="kernel")
        self.assertEqual(metrics.total("pagewire_relay_path_switches_total",
                                       reason="tls-user-space"), 2 - by_kernel)
        self.assertEqual(metrics.total("pagewire_relay_path_bytes_total", path="copy") < 2 * BULK,
                         by_kernel == 2)

    def test_bulk_up(self):
        got = []

        def keep(connection):
            got.append(read_all(connection))
            connection.sendall(b"%d" % len(got[-1]))
        relay = self.relay(serve=keep)
        for version in VERSIONS:
            data = coded_bytes(got and 1 << 32 or 0, BULK)
            client = self.connect(relay, context_of(version))
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)  # close_notify is the upstream's FIN
            self.assertEqual(read_all(client), b"%d" % BULK)
            self.check_same(got[-1], data)
        self.wait_for_end(relay, "done", 2)
        self.assertEqual(self.total(relay, BYTES, direction="up"), 2 * BULK)
        self.assertEqual(self.total(relay, "pagewire_relay_path_switches_total",
                                    reason="tls-receive"), 2)
        self.assertEqual(self.total(relay, "pagewire_tls_clean_closes_total"), 2)
        self.nothing_left(relay)

    def test_both_at_once_on_many(self):
        """Each sends a chunk before it reads the last one's echo: both directions are busy."""
        relay = self.relay(serve=echo)
        clients = [self.connect(relay) for _ in range(8)]
        chunk, rounds = 100_000, 6
        got = [b""] * len(clients)
        for number in range(rounds):
            for which, client in enumerate(clients):
                client.sendall(coded_bytes((which << 32) + number * chunk, chunk))
            for which, client in enumerate(clients):
                while len(got[which]) < number * chunk:
                    got[which] += client.recv(1 << 16)
        for which, client in enumerate(clients):
            while len(got[which]) < rounds * chunk:
                got[which] += client.recv(1 << 16)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(client), b"")
            self.check_same(got[which], coded_bytes(which << 32, rounds * chunk))
        self.wait_for_end(relay, "done", len(clients))
        self.nothing_left(relay)

    def test_messages_to_and_fro(self):
        relay = self.relay(serve=echo)
        for version in VERSIONS:
            client = self.connect(relay, context_of(version))
            for number in range(100):
                message = coded_bytes(number * 64, 64)
                client.sendall(message)
                got = b""
                while len(got) < 64:
                    got += client.recv(64)
                self.check_same(got, message)

    def test_what_follows_the_handshake_at_once(self):
        """In one piece with the client's Finished, while the upstream is still to be found."""
        relay = self.relay(serve=echo)
        raw = self.raw(relay)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        client = TlsSocket(raw)
        data = coded_bytes(0, 50_000)
        client.sendall(data)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        client.shutdown(socket.SHUT_WR)
        self.check_same(read_all(client), data)

    def test_slow_reader(self):
        data = coded_bytes(0, more_than_sockets_hold())
        sent = threading.Event()

        def send(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            connection.sendall(data)
            sent.set()
        relay = self.relay(serve=send)
        client = self.connect(relay, receive_buffer=1 << 14)
        wait_until_it_stands(relay, lambda: self.total(relay, BYTES, direction="down"))
        self.assertFalse(sent.is_set())
        self.check_same(read_all(client), data)
        self.assertTrue(sent.wait(PATIENCE_S))

    def test_slow_upstream(self):
        go_on, got = threading.Event(), []

        def rest_then_read(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            go_on.wait()
            got.append(read_all(connection))
        relay = self.relay(serve=rest_then_read)
        self.addCleanup(go_on.set)
        client = self.connect(relay)
        data = coded_bytes(0, more_than_sockets_hold())
        sender = send_all(client, data)
        wait_until_it_stands(relay, lambda: self.total(relay, BYTES, direction="up"))
        self.assertTrue(sender.is_alive())
        if "PAGEWIRE_SANITIZER" not in os.environ:  # whose own memory is more
            with open(f"/proc/{relay.process.pid}/status", encoding="ascii") as status:
                rss_kib = int(next(line for line in status if line.startswith("VmRSS")).split()[1])
            self.assertLess(rss_kib << 10, len(data))
        go_on.set()
        sender.join()
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"")
        self.check_same(got[0], data)


class EndsTest(RelayTlsCase):
    def test_half_close_of_the_upstream(self):
        got = []

        def finish_then_read(connection):
            connection.sendall(b"first")
            connection.shutdown(socket.SHUT_WR)
            got.append(read_all(connection))
        relay = self.relay(serve=finish_then_read)
        client = self.connect(relay)
        self.assertEqual(read_all(client), b"first")
        self.assertTrue(client.peer_closed)
        self.assertEqual(client.raw.recv(10), b"")  # the FIN behind close_notify
        data = coded_bytes(0, 300_000)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        self.wait_for_end(relay, "done")
        wait_until(lambda: got, "the upstream has read its FIN")
        self.check_same(got[0], data)

    def test_bytes_behind_close_notify_count_for_nothing(self):
        got = []

        def answer(connection):
            got.append(read_all(connection))
            connection.sendall(b"answer" * 10_000)
        relay = self.relay(serve=answer)
        client = self.connect(relay)
        client.sendall(b"all")
        try:
            client.tls.unwrap()
        except ssl.SSLError:
            pass
        client.to_send.write(b"no record at all" * 1000)
        client.flush()
        self.assertEqual(read_all(client), b"answer" * 10_000)
        self.assertEqual(got, [b"all"])
        self.wait_for_end(relay, "done")

    def cut(self, relay, how, end):
        client = self.connect(relay)
        client.sendall(b"x" * 1000)
        wait_until(lambda: self.total(relay, BYTES, direction="up") >= 1000,
                   "the upstream has them")
        how(client)
        self.wait_for_end(relay, end)
        wait_until(lambda: relay.upstream.errors, "the upstream sees the reset")
        self.assertIsInstance(relay.upstream.errors[0], ConnectionResetError)
        with self.assertRaises(ConnectionResetError):
            while client.raw.recv(1 << 16):
                pass
        self.nothing_left(relay)

    def test_truncation_is_a_reset(self):
        relay = self.relay(serve=read_all)
        self.cut(relay, lambda client: client.raw.shutdown(socket.SHUT_WR), "tls-truncated")
        self.assertEqual(self.total(relay, "pagewire_tls_truncations_total"), 1)

    def test_truncation_within_a_record_is_a_reset(self):
        def half_a_record(client):
            client.tls.write(b"y" * 5000)
            client.raw.sendall(client.to_send.read()[:2500])
            client.raw.shutdown(socket.SHUT_WR)
        self.cut(self.relay(serve=read_all), half_a_record, "tls-truncated")

    def test_a_forged_record_is_a_reset(self):
        def forge(client):
            client.tls.write(b"y" * 5000)
            record = bytearray(client.to_send.read())
            record[100] ^= 1
            client.raw.sendall(record)
        relay = self.relay(serve=read_all)
        self.cut(relay, forge, "tls-failed")
        self.assertEqual(self.total(relay, "pagewire_tls_failures_total", result="bad-record"), 1)

    def test_reset_of_the_upstream(self):
        def send_and_reset(connection):
            connection.sendall(b"some")
            connection.recv(4)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        relay = self.relay(serve=send_and_reset)
        client = self.connect(relay)
        self.assertEqual(client.recv(4), b"some")
        client.sendall(b"done")
        with self.assertRaises(ConnectionResetError):
            read_all(client)
        self.assertFalse(client.peer_closed)
        self.wait_for_end(relay, "upstream-reset")

    def test_key_update_is_answered(self):
        """By the openssl command, of which a line with K asks for a KeyUpdate."""
        relay = self.relay("--tls-ktls", "off", serve=echo)
        host, port = relay.address
        client = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-connect", f"{host}:{port}", "-tls1_3",
             "-no_ign_eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        limit = threading.Timer(PATIENCE_S, client.kill)
        limit.start()
        self.addCleanup(limit.cancel)
        with client:
            for text in (b"before\n", b"K\n", b"after\n"):
                client.stdin.write(text)
                client.stdin.flush()
                # Only a line that it reads by itself is a command.
                wait_until(lambda: fcntl.ioctl(client.stdin, termios.FIONREAD, b"\0" * 4)
                           == b"\0" * 4, "the client has read its line")
                if text != b"K\n":
                    self.assertEqual(client.stdout.readline(), text)
            client.stdin.close()
            client.kill()
        self.wait_for(relay, "pagewire_relay_connections_open", 0)
        settle(relay)
        self.assertEqual(self.total(relay, "pagewire_tls_key_updates_total"), 1)


class HandshakeTest(RelayTlsCase):
    def test_what_is_no_tls_reaches_no_upstream(self):
        relay = self.relay(serve=echo)
        for data in GARBAGE:
            client = self.raw(relay)
            client.sendall(data)
            try:
                said = read_all(client)
            except ConnectionResetError:
                said = b""
            self.assertIn(said[:1], (b"", b"\x15"))  # an alert, if anything
        self.wait_for_end(relay, "tls-handshake", len(GARBAGE))
        self.assertEqual(self.total(relay, "pagewire_tls_handshakes_total"), len(GARBAGE))
        self.assertEqual(self.total(relay, "pagewire_tls_handshakes_total", result="plain-http"), 1)
        self.assertEqual(relay.upstream.served, 0)
        self.nothing_left(relay)
        client = self.connect(relay)
        client.sendall(b"still here")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"still here")

    def test_an_alert_says_why(self):
        relay = self.relay("--tls-min-version", "1.3", serve=echo)
        with self.assertRaisesRegex(ssl.SSLError, "(?i)alert protocol version"):
            self.connect(relay, context_of(ssl.TLSVersion.TLSv1_2))
        self.wait_for(relay, "pagewire_tls_handshakes_total", 1, result="nothing-shared")

    def test_handshakes_that_stand_still(self):
        relay = self.relay("--handshake-timeout", "300ms", serve=echo)
        silent, half = self.raw(relay), self.raw(relay)
        for client, begin in (half, b"\x16\x03\x01\x02\0\x01"), (silent, b""):
            with self.assertRaises(ConnectionResetError):
                client.sendall(begin)  # which may be late
                client.recv(1)
        self.wait_for_end(relay, "handshake-timeout", 2)
        self.wait_for(relay, "pagewire_tls_handshakes_total", 2, result="timeout")
        self.assertEqual(relay.upstream.served, 0)

    def test_a_client_that_leaves_before_its_handshake(self):
        relay = self.relay("--handshake-timeout", "60s", serve=echo)
        client = self.raw(relay)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(1), b"")
        self.wait_for(relay, "pagewire_tls_handshakes_total", 1, result="peer-gone")

    def test_any_alpn_is_passed_over(self):
        relay = self.relay(serve=echo)
        context = client_context()
        context.set_alpn_protocols(["h2", "postgresql"])
        self.assertIsNone(self.connect(relay, context).tls.selected_alpn_protocol())

    def test_tickets_resume(self):
        relay = self.relay(serve=echo)
        context, session = client_context(), None
        for _ in range(2):
            client = self.connect(relay, context, session=session)
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")  # the ticket came before
            self.assertEqual(client.tls.session_reused, session is not None)
            session = client.tls.session
        settle(relay)
        self.assertEqual(self.total(relay, "pagewire_tls_handshakes_completed_total",
                                    resumed="yes"), 1)

    def test_proxy_header_before_tls(self):
        relay = self.relay("--accept-proxy", "--send-proxy", "v1", "--access-log", "-",
                           "--log-format", "json", serve=echo)
        header = b"PROXY TCP4 192.0.2.9 198.51.100.3 4711 443\r\n"
        raw = self.raw(relay)
        raw.sendall(header)
        client = TlsSocket(raw)
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), header + b"hello")
        line = wait_until(lambda: next((line for line in list(relay.lines) if '"client"' in line),
                                       None), "a line of the log")
        entry = json.loads(line)
        self.assertEqual(entry["client"], "192.0.2.9:4711")
        self.assertEqual((entry["tls"], entry["end"], entry["complete"]), ("TLSv1.3", "done", True))
        self.assertIn(entry["ktls"], ("none", "kernel"))

    def test_certificates_are_read_anew(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        certificate = Certificate(folder.name, "own", "DNS:one.test")
        relay = self.relay(serve=echo, certificate=certificate)
        first = self.connect(relay)
        before = first.tls.getpeercert(binary_form=True)
        self.assertEqual(before, certificate.der)
        with open(certificate.key, "w", encoding="ascii") as file:
            file.write("no key")
        relay.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the certificates stay as they were" in relay.output, "the refusal")
        certificate = Certificate(folder.name, "own", "DNS:two.test")
        relay.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "certificates read anew" in relay.output, "the reload")
        self.assertEqual(self.connect(relay).tls.getpeercert(binary_form=True), certificate.der)
        self.assertNotEqual(before, certificate.der)
        first.sendall(b"goes on")
        self.assertEqual(first.recv(10), b"goes on")


class TablesAndUsageTest(RelayTlsCase):
    def test_one_table_with_and_one_without(self):
        upstream = self.upstream(echo)
        path = os.path.join(self.folder, "two.toml")
        to = "%s:%d" % upstream.address
        with open(path, "w", encoding="ascii") as file:
            file.write(f'[[relay]]\nlisten = ["127.0.0.1:0"]\nto = ["{to}"]\n'
                       f'tls-cert = "{self.certificate.chain}"\n'
                       f'tls-key = "{self.certificate.key}"\n'
                       f'[[relay]]\nlisten = ["127.0.0.1:0"]\nto = ["{to}"]\n')
        relay = Relay("--config", path, to=[], listen=[])
        self.addCleanup(relay.stop)
        wait_until(lambda: len(relay.addresses) == 2 or relay.wait_for_addresses(2, True),
                   "both relays")
        secure = TlsSocket(socket.create_connection(relay.addresses[0], timeout=PATIENCE_S))
        plain = socket.create_connection(relay.addresses[1], timeout=PATIENCE_S)
        for client in secure, plain:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(client), b"hello")
            client.close()

    def test_usage(self):
        for flags, word in ((["--tls-cert", "a.pem"], "tls-key"), (["--tls-key", "a"], "tls-cert"),
                            (["--tls-client-ca", "a"], "tls-cert")):
            done = run_pagewire("relay", "--to", "127.0.0.1:1", *flags)
            self.assertEqual(done.returncode, 2)
            self.assertIn(word, done.stderr)
        done = run_pagewire("relay", "--to", "127.0.0.1:1", "--listen", "127.0.0.1:0",
                            "--admin", "off", "--tls-cert", "/nowhere.pem", "--tls-key", "/n.key")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere.pem", done.stderr)


class LeaksTest(RelayTlsCase):
    def test_nothing_is_left_of_hundreds(self):
        relay = self.relay(serve=echo)
        context = client_context()
        idle = None
        for number in range(200):
            client = self.connect(relay, context)
            client.sendall(b"x" * 100)
            if number % 4 == 1:
                client.raw.shutdown(socket.SHUT_WR)
            elif number % 4 == 2:
                client.recv(100)
                client.shutdown(socket.SHUT_WR)
                read_all(client)
            elif number % 4 == 3:
                reset(client.raw)
            client.raw.close()
            if number == 50:
                self.nothing_left(relay)
                idle = relay.held()
        self.nothing_left(relay)
        self.assertEqual(relay.held(), idle)


if __name__ == "__main__":
    unittest.main()
