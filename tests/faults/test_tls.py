"""What comes to an https port and is no https, and what TLS allows a peer to do to its server:
nothing leaks, each is counted by its reason, and the server goes on."""

import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import unittest

from support_faults import MIB, FaultTest, coded_bytes, first_difference, settle, total, wait_until

from support import RawClient, TlsSocket, request_head, tls_flags
from support.tls_socket import client_context, wait_for_fin

BIG = 8 * MIB
SMALL = 1000
DROPPED = 10_000
DROPPED_AT_ONCE = 1_000  # less than a listener's queue holds
BURST = 30
GUARD_S = 60
# States of /proc/net/tcp (net/tcp_states.h).
ESTABLISHED, CLOSE_WAIT = 1, 8


def client_hello():
    """A whole ClientHello, as Python's OpenSSL sends it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def record(kind, payload, length=None):
    return struct.pack("!BHH", kind, 0x0303, len(payload) if length is None else length) + payload


class Tls(FaultTest):

    def setUp(self):
        super().setUp()
        self.big = coded_bytes(0, BIG, salt=3)
        self.folder.write("big.bin", self.big)
        self.small = coded_bytes(0, SMALL, salt=4)
        self.folder.write("small.bin", self.small)

    def serving_tls(self, *flags, **others):
        return self.serving(*tls_flags(), *flags, **others)

    def client(self, server, tls=True, **options):
        client = RawClient(server.tls_addresses[0], tls=tls, **options)
        self.addCleanup(client.close)
        return client

    def assert_goes_on(self, server):
        with RawClient(server.tls_addresses[0], tls=True) as client:
            message = client.get("/small.bin")
        self.assertEqual((message.status, message.body), (200, self.small))

    def handshakes(self, server, result):
        return total(server, "pagewire_tls_handshakes_total", result=result)

    def failures(self, server, result):
        return total(server, "pagewire_tls_failures_total", result=result)

    def send_raw(self, server, data, step=None):
        """Sends bytes that are no TLS, or not all of it; returns what came back until the end."""
        with self.client(server, tls=False) as client:
            try:
                for at in range(0, len(data), step or len(data)):
                    client.send(data[at:at + (step or len(data))])
                return client.read_rest()
            except ConnectionError:  # EPIPE: it had already sent its FIN
                return b""

    def test_plain_http(self):
        with self.serving_tls() as server:
            for head in (request_head("/small.bin"), request_head("/", "DELETE"), b"O"):
                with self.client(server, tls=False) as client:
                    client.send(head)
                    message = client.read()
                    self.assertEqual(message.status, 400, head)
                    self.assertTrue(message.closes)
                    self.assertIn(b"https", message.body)
            settle(server)
            self.assertEqual(self.handshakes(server, "plain-http"), 3)
            self.assert_goes_on(server)

    def test_garbage_and_oversized_records(self):
        hello = client_hello()
        with self.serving_tls() as server:
            cases = (("garbage", bytes(range(1, 65))), ("garbage", b"\0" * 2000),
                     ("oversized", record(22, b"x" * 100, 0xffff)),
                     ("protocol", record(23, b"x" * 100)),
                     ("protocol", record(21, b"\x02\x28")),
                     ("protocol", record(22, b"\x0b\0\0\0")))
            for number, (result, data) in enumerate(cases):
                before = self.handshakes(server, result)
                self.send_raw(server, data, 1 if number % 2 else None)
                settle(server)
                self.assertEqual(self.handshakes(server, result), before + 1, data[:10])
            # A hello whose bytes are broken one after the other.
            for place in range(0, len(hello), 23):
                broken = bytearray(hello)
                broken[place] ^= 0x55
                with self.client(server, tls=False) as client:
                    client.send(bytes(broken))
                    client.half_close()
                    try:
                        client.read_rest()
                    except ConnectionResetError:
                        pass
            self.assert_goes_on(server)

    def test_half_handshakes(self):
        hello = client_hello()
        with self.serving_tls() as server:
            for size in (1, 100, len(hello)):  # those that go by themselves
                with self.client(server, tls=False) as client:
                    client.send(hello[:size])
            wait_until(lambda: self.handshakes(server, "peer-gone") == 3, "they are counted")
            self.assert_goes_on(server)
        with self.serving_tls("--handshake-timeout", "1s") as server:
            waiting = []
            for size in (0, 1, 5, 6, 100, len(hello)):
                client = self.client(server, tls=False)
                client.send(hello[:size])
                waiting.append(client.socket)
            for each in waiting:
                self.assertTrue(wait_for_fin(each, GUARD_S), "the handshake timeout ends it")
            settle(server)
            self.assertEqual(self.handshakes(server, "timeout"), len(waiting))

    def test_opened_and_dropped(self):
        """Each with a hello, a part of one, or nothing, and then a RST or a FIN."""
        hello = client_hello()
        with self.serving_tls() as server:
            address = server.tls_addresses[0]

            def some(first, end, step):
                for number in range(first, end, step):
                    with socket.socket() as client:
                        client.connect(address)
                        client.sendall(hello[:(0, 3, len(hello) // 2, len(hello))[number // 2 % 4]])
                        if number % 2:
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                              struct.pack("ii", 1, 0))
            for begin in range(0, DROPPED, DROPPED_AT_ONCE):
                end = begin + DROPPED_AT_ONCE
                threads = [threading.Thread(target=some, args=(begin + first, end, 4))
                           for first in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                # The last ones may still stand in the queue of a listener, where they are not
                # open. One that finds it full and resets is never accepted.
                wait_until(lambda end=end: total(
                    server, "pagewire_connections_accepted_total") == end,
                    "every one has been accepted", GUARD_S)
            wait_until(lambda: total(server, "pagewire_connections_open") == 0, "all are gone")
            self.assert_goes_on(server)

    def s_client(self, server, text, *flags):
        """openssl s_client, told `text`; returns what it printed. Each line is given when the
        output holds what the one before it brings: a command counts only in front of what is read
        at once."""
        host, port = server.tls_addresses[0]
        with subprocess.Popen(
                ["openssl", "s_client", "-connect", f"{host}:{port}", *flags],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                bufsize=0) as client:
            output = bytearray()

            def collect():
                while piece := os.read(client.stdout.fileno(), MIB):
                    output.extend(piece)
            reader = threading.Thread(target=collect)
            reader.start()
            try:
                for line, brings, times in text:
                    client.stdin.write(line)
                    wait_until(lambda b=brings, t=times: output.count(b) >= t
                               or not reader.is_alive(), f"{times} times {brings}", GUARD_S)
                client.stdin.close()
            except BrokenPipeError:
                pass  # the server has ended it
            finally:
                reader.join(GUARD_S)
                client.kill()
                reader.join()
            return bytes(output)

    def test_key_updates(self):
        ask = b"GET /small.bin HTTP/1.1\r\nHost: x\r\n"
        with self.serving_tls() as server:
            text = ((b"K\n", b"KEYUPDATE", 1), (ask + b"\r\n", self.small, 1),
                    (b"K\n", b"KEYUPDATE", 2),
                    (ask + b"Connection: close\r\n\r\n", self.small, 2))
            output = self.s_client(server, text, "-tls1_3")
            self.assertEqual(output.count(b"KEYUPDATE"), 2, output)
            self.assertEqual(output.count(b"HTTP/1.1 200 OK"), 2, output)
            self.assertEqual(output.count(self.small), 2)
            wait_until(lambda: total(server, "pagewire_tls_key_updates_total") == 2, "counted")
            many = [(b"K\n", b"KEYUPDATE", number + 1) for number in range(41)]
            self.s_client(server, many, "-tls1_3")
            settle(server)
            self.assertEqual(self.failures(server, "key-updates"), 1)
            self.assert_goes_on(server)

    def test_renegotiation(self):
        with self.serving_tls() as server:
            output = self.s_client(server, ((b"R\n", b"no renegotiation", 1),), "-tls1_2")
            self.assertIn(b"no renegotiation", output)
            settle(server)
            self.assertEqual(self.failures(server, "renegotiation"), 1)
            self.assert_goes_on(server)

    def test_truncation_is_told_apart(self):
        with self.serving_tls() as server:
            with self.client(server) as client:
                self.assertEqual(client.get("/small.bin").body, self.small)
                client.socket.raw.shutdown(socket.SHUT_WR)  # FIN without close_notify
                self.assertEqual(client.socket.recv(1), b"", "the server says close_notify")
            wait_until(lambda: total(server, "pagewire_tls_truncations_total") == 1, "counted")
            settle(server)
            self.assertEqual(total(server, "pagewire_tls_clean_closes_total"), 0)
            with self.client(server) as client:
                self.assertEqual(client.get("/small.bin").body, self.small)
                client.half_close()
                self.assertEqual(client.socket.recv(1), b"", "close_notify is answered")
            wait_until(lambda: total(server, "pagewire_tls_clean_closes_total") == 1, "counted")
            settle(server)
            self.assertEqual(total(server, "pagewire_tls_truncations_total"), 1)

    def test_a_fin_that_comes_while_ours_is_owed(self):
        """The last answer fits into a full socket, and close_notify behind it does not: the
        client's FIN ends nothing before both have gone."""
        for way in ("close_notify", "fin"):
            with self.subTest(way=way), self.serving_tls("--linger-timeout", "1h",
                                                         workers=1) as server:
                client, size = self.client_that_is_owed_a_fin(server)
                before = total(server, "pagewire_connection_ends_total")
                if way == "close_notify":
                    self.open_what_is_here(client)
                    client.half_close()
                else:
                    client.socket.raw.shutdown(socket.SHUT_WR)
                wait_until(lambda: self.state_of(server, client) == CLOSE_WAIT, "the FIN is there")
                self.assert_goes_on(server)  # a turn of the worker's, which has seen it by then
                self.assertIsNone(first_difference(client.read_exactly(size), self.big[:size]))
                self.assertEqual(client.read_rest(), b"")
                self.assertTrue(client.socket.peer_closed, "close_notify has come")
                self.assertTrue(wait_for_fin(client.socket.raw, GUARD_S))
                client.close()
                wait_until(lambda: total(server, "pagewire_connections_open") == 0, "it has gone")
                settle(server)
                self.assertEqual(total(server, "pagewire_connection_ends_total"), before)

    @staticmethod
    def open_what_is_here(client):
        """OpenSSL would throw away the records that it finds behind our close_notify."""
        try:
            while True:
                client.buffer += client.socket.tls.read(MIB)
        except ssl.SSLWantReadError:
            pass

    def client_that_is_owed_a_fin(self, server):
        """Its body fills the socket, and close_notify finds no room. Which one does depends on the
        kernel, and a little on how fast it sends: a few searches."""
        for _ in range(6):
            client, size = self.search_body_that_fills(server)
            if client is not None:
                print(f"    {size} bytes fill a socket", file=sys.stderr)
                return client, size
        raise AssertionError(f"close_notify found room behind every body, up to {size} bytes")

    def search_body_that_fills(self, server):
        """By halving: with a smaller one the server has sent its FIN, with a larger one it has not
        sent the body. Returns the client, which has read no more than the head, and the size of the
        body; no client: it was not met."""
        small, large = 100_000, BIG
        while large - small > 16:
            size = (small + large) // 2
            client = self.client(server, receive_buffer=16384)
            answered = total(server, "pagewire_requests_total")
            client.send(request_head("/big.bin", fields=(f"Range: bytes=0-{size - 1}",
                                                         "Connection: close")))
            self.assertEqual(client.read_head().status, 206)
            self.wait_until_stuck(server, "tls_copy")
            whole = total(server, "pagewire_requests_total") > answered
            if whole and self.state_of(server, client) == ESTABLISHED:
                return client, size
            small, large = (size, large) if whole else (small, size)
            client.close()
        return None, small

    @staticmethod
    def state_of(server, client):
        """Of the server's end (/proc/net/tcp); None when there is none."""
        ports = f":{server.tls_addresses[0][1]:04X}", f":{client.socket.getsockname()[1]:04X}"
        with open("/proc/net/tcp", encoding="ascii") as file:
            for line in file:
                _, ours, theirs, state, *_ = line.split()
                if ours.endswith(ports[0]) and theirs.endswith(ports[1]):
                    return int(state, 16)
        return None

    def test_a_request_behind_close_notify_is_answered(self):
        with self.serving_tls() as server, self.client(server) as client:
            client.send(request_head("/big.bin"))
            client.half_close()
            self.assertIsNone(first_difference(client.read().body, self.big))
            self.assertTrue(client.is_closed())

    def test_records_of_no_key_in_mid_connection(self):
        with self.serving_tls() as server:
            for data in (record(23, b"x" * 40), record(21, b"\x01\0"), b"GET / HTTP/1.1\r\n\r\n",
                         record(23, b"x" * 20_000)):
                with self.client(server) as client:
                    self.assertEqual(client.get("/small.bin").body, self.small)
                    client.socket.raw.sendall(data)
                    self.assertTrue(wait_for_fin(client.socket.raw, GUARD_S))
            settle(server)
            counts = {why: self.failures(server, why)
                      for why in ("bad-record", "protocol", "garbage", "oversized")}
            self.assertEqual(sum(counts.values()), 4, counts)
            self.assertGreaterEqual(counts["bad-record"], 1, counts)
            self.assertEqual(counts["oversized"], 1, counts)
            self.assert_goes_on(server)

    def test_gone_in_mid_transfer(self):
        """A reset, and an alert with a FIN, while a response is under way and reading is paused."""
        with self.serving_tls() as server:
            for number in range(20):
                client = self.client(server, receive_buffer=16384)
                client.send(request_head("/big.bin"))
                client.read_exactly(10_000)
                if number % 2:
                    client.socket.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                 struct.pack("ii", 1, 0))
                client.close()
            wait_until(lambda: total(server, "pagewire_connections_open") == 0, "all are noticed")
            self.assert_goes_on(server)

    def test_the_handshake_limit(self):
        """A burst: the server finds all in the queue of its listener at once."""
        with self.serving_tls("--handshake-rate", "5", workers=1) as server:
            server.signal(signal.SIGSTOP)
            clients = [self.client(server, tls=False) for _ in range(BURST)]
            server.signal(signal.SIGCONT)
            results = []
            for client in clients:
                try:
                    client.socket = TlsSocket(client.socket)
                    results.append(client.get("/small.bin").status)
                except (OSError, EOFError):
                    results.append(0)
                client.close()
            self.assertGreater(results.count(200), 0)
            settle(server)
            over = self.handshakes(server, "over-limit")
            self.assertEqual(over, results.count(0))
            self.assertGreater(over, 0)
            time.sleep(1.1)
            self.assert_goes_on(server)

    def test_what_the_log_says(self):
        log = self.folder.outside("access.log")
        with self.serving_tls("--access-log", log, "--log-format", "json") as server:
            self.assert_goes_on(server)
            self.assert_goes_on(server)
            wait_until(lambda: os.path.getsize(log) > 0, "a line")
            with open(log, encoding="utf-8") as file:
                row = json.loads(file.readline())
            self.assertEqual((row["tls"], row["path"]), ("TLSv1.3", "tls_copy")
                             if row["ktls"] == "none" else ("TLSv1.3", "copy"))
            self.assertRegex(row["cipher"], "^TLS_")
            self.assertIn(row["ktls"], ("none", "kernel", "kernel-nic"))
            self.assertEqual(row["ktls"] == "none", row["ktls_reason"] != "")
            told = wait_until(lambda: re.findall(r"TLS records are made .*ktls=\S+", server.output),
                              "it says who makes the records")
            self.assertEqual(len(told), 1, server.output)
            print(f"    {told[0]}", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
