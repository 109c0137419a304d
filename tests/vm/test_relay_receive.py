"""What clients of a relay send over TLS, in kernels that decrypt it: TlsRxSw counts, strace shows
splice from the client's socket, and the upstream, on this machine, gets every byte. The ends of
streams are in test_relay_receive_ends.py."""

import random
import re
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from support_guest import GUEST_ADDRESS, NOT_WHOLE, WHOLE, enter_network_namespace, report
from support_receive import AES_MODULES, PORT, VERSIONS, ReceiveCase, context_of, in_background

from support import TlsSocket, coded_bytes, echo, fetch_metrics, read_all, wait_until

MIB = 1 << 20
BULK = 3 * MIB + 123
SUITES = {
    ("1.3", "AES-128-GCM"): "TLS_AES_128_GCM_SHA256",
    ("1.3", "AES-256-GCM"): "TLS_AES_256_GCM_SHA384",
    ("1.3", "ChaCha20"): "TLS_CHACHA20_POLY1305_SHA256",
    ("1.2", "AES-128-GCM"): "ECDHE-ECDSA-AES128-GCM-SHA256",
    ("1.2", "AES-256-GCM"): "ECDHE-ECDSA-AES256-GCM-SHA384",
    ("1.2", "ChaCha20"): "ECDHE-ECDSA-CHACHA20-POLY1305",
}
MOST_PLAIN = 16 * 1024


def setUpModule():
    enter_network_namespace()


class HttpUpstream:
    """Takes one PUT a connection and answers with `answer`; `bodies` are what came."""

    def __init__(self, answer):
        self.answer, self.bodies = answer, []

    def __call__(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(1 << 16)
        head, _, body = data.partition(b"\r\n\r\n")
        size = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        parts = [body]
        left = size - len(body)
        while left > 0:
            parts.append(connection.recv(min(left, 1 << 18)))
            left -= len(parts[-1])
        self.bodies.append(b"".join(parts))
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                           % len(self.answer) + self.answer)
        while connection.recv(1 << 16):
            pass


class Receive(ReceiveCase):
    def put(self, upstream, version, suite, data):
        """By curl, whose answer is compared as well."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            ciphers = "--tls13-ciphers" if version == "1.3" else "--ciphers"
            done = subprocess.run(
                ["curl", "-k", "-sS", "--http1.1", "--max-time", "120", f"--tlsv{version}",
                 "--tls-max", version, ciphers, suite, "-H", "Expect:", "-T", file.name,
                 f"https://{GUEST_ADDRESS}:{PORT}/put"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_same(done.stdout, upstream.answer)
        self.check_same(upstream.bodies.pop(), data)

    # ---------------------------------------------------------------- who decrypts

    def test_1_why_it_is_not_the_kernel(self):
        upstream = HttpUpstream(coded_bytes(0, 100_000, 5))
        data = coded_bytes(1 << 40, 500_000)

        def put_and_check(reason, cipher="AES-256-GCM", flags=""):
            relay = self.relay(upstream, flags)
            for version in VERSIONS:
                self.put(upstream, version, SUITES[version, cipher], data)
            self.wait_for(relay, "pagewire_relay_tls_receive_total", 2, ktls="none", reason=reason)
            self.wait_for(relay, "pagewire_relay_path_switches_total", 2, reason="tls-receive")
            wait_until(lambda: f"ktls_rx=none:{reason}" in self.last_line(), "it is in the log")
            self.doCleanups()
        put_and_check("module-not-loaded")
        self.load("tls", *AES_MODULES)
        put_and_check("cipher", cipher="ChaCha20")
        put_and_check("off", flags="--tls-ktls off")
        put_and_check("off", flags="--tls-ktls-receive off")

    def test_2_every_version_and_cipher(self):
        self.load()
        upstream = HttpUpstream(coded_bytes(0, BULK, 5))
        relay = self.relay(upstream)
        broken = self.tls_stat("TlsDecryptError")
        for number, ((version, cipher), suite) in enumerate(SUITES.items(), 1):
            with self.subTest(version=version, cipher=cipher):
                before = self.tls_stat("TlsRxSw")
                spliced = self.total(relay, "pagewire_relay_path_bytes_total", path="splice")
                self.put(upstream, version, suite, coded_bytes(number << 40, BULK))
                self.wait_for_end(relay, "done", number)
                self.wait_for_lines(number)
                rise = self.tls_stat("TlsRxSw") - before
                spliced = self.total(relay, "pagewire_relay_path_bytes_total",
                                     path="splice") - spliced
                report(f"{self.guest.release} TLS {version} {cipher}: TlsRxSw rose by {rise},"
                       f" {spliced:.0f} of {2 * BULK} bytes spliced; {self.last_line()}")
                self.assertEqual(rise, 1)
                self.assertEqual(self.by_kernel(relay), number)
                self.assertGreater(spliced, 2 * BULK * 0.9)
                self.assertIn("ktls=kernel ktls_rx=kernel", self.last_line())
        self.assertEqual(self.total(relay, "pagewire_relay_path_switches_total",
                                    reason="tls-receive"), 0)
        self.assertEqual(self.total(relay, "pagewire_tls_clean_closes_total"), len(SUITES))
        self.assertEqual(self.tls_stat("TlsDecryptError"), broken)

    def test_3_bulk_goes_by_splice(self):
        """From the client's socket: no call that reads bytes has more than its beginning."""
        self.load()
        self.guest.run("rm -f /tmp/trace.*")
        upstream = HttpUpstream(b"ok")
        self.relay(upstream, under="strace -D -ff -o /tmp/trace -e trace=splice,recvfrom,recvmsg,"
                                   "recvmmsg,read,readv,setsockopt")
        self.put(upstream, "1.3", SUITES["1.3", "AES-256-GCM"], coded_bytes(1 << 40, BULK))
        wait_until(lambda: self.guest.trace_of_socket("TLS_RX")[1].get("splice", 0) > BULK * 0.95,
                   "strace has seen the body go by splice")
        lines, taken = self.guest.trace_of_socket("TLS_RX")
        report(f"{self.guest.release} strace of the client's socket, from its keys on:")
        for line in lines[:6]:
            report(f"  {line[:150]}")
        report(f"  bytes by call: {taken}")
        spliced = taken.pop("splice")
        self.assertGreater(spliced, BULK * 0.95)
        self.assertLess(sum(taken.values()), BULK * 0.05, taken)

    # ---------------------------------------------------------------- bytes

    def test_4_messages_to_and_fro(self):
        self.load()
        relay = self.relay(echo)
        for version in VERSIONS:
            client = self.connect(version)
            for number in range(150):
                message = coded_bytes(number << 20, 1 + number * 37 % 3000)
                client.sendall(message)
                got = b""
                while len(got) < len(message):
                    got += client.recv(1 << 16)
                self.check_same(got, message)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(client), b"")
        self.wait_for_end(relay, "done", 2)
        self.assertEqual(self.by_kernel(relay), 2)
        self.assertEqual(self.total(relay, "pagewire_relay_path_bytes_total", path="splice"), 0)
        self.wait_for(relay, "pagewire_relay_pipes_in_use", 0)

    def test_5_records_of_every_length_both_ways_at_once(self):
        self.load()
        relay = self.relay(echo, flags="--pipe-size 64K")
        seed = random.randrange(1 << 32)
        report(f"seed {seed}")
        chance = random.Random(seed)
        for version in VERSIONS:
            for lengths in ((1, MOST_PLAIN), (MOST_PLAIN - 50, MOST_PLAIN), (1, 300),
                            (4000, 4200)):
                self.stream_both_ways(version, lambda: chance.randint(*lengths),  # noqa: B023
                                      60_000 if lengths[1] < 1000 else 1_500_000)
        self.wait_for_end(relay, "done", 8)
        self.assertEqual(self.by_kernel(relay), 8)
        self.wait_for(relay, "pagewire_relay_pipes_in_use", 0)

    def stream_both_ways(self, version, length, total):
        client = self.connect(version)
        data = coded_bytes(1 << 40, total)
        sent, got = 0, []
        received = 0
        while sent < total or received < total:
            if sent < total and sent - received < 200_000:
                size = min(length(), total - sent)
                client.sendall(data[sent:sent + size])
                sent += size
            else:
                got.append(client.recv(1 << 18))
                received += len(got[-1])
        self.check_same(b"".join(got), data)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"")
        self.assertTrue(client.peer_closed)

    def test_5_many_at_once_and_a_mirror(self):
        self.load()
        self.guest.run("rm -f /tmp/mirror*")
        got = {}

        def keep(connection):
            data = read_all(connection)
            got[data[:8]] = data
        relay = self.relay(keep, flags="--mirror /tmp/mirror")
        streams = [coded_bytes(number << 40, 400_000) for number in range(6)]

        def send(data, version):
            client = self.connect(version)
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            read_all(client)
        threads = [in_background(send, data, list(VERSIONS)[number % 2])
                   for number, data in enumerate(streams)]
        for thread in threads:
            thread.join()
        self.wait_for_end(relay, "done", len(streams))
        for data in streams:
            self.check_same(got[data[:8]], data)
        # Another thread writes it.
        wait_until(lambda: sum(self.total(relay, f"pagewire_relay_mirror_{what}bytes_total")
                               for what in ("", "dropped_")) >= sum(map(len, streams)),
                   "all has been mirrored, or counted as missing")

    def test_5_what_follows_the_handshake_at_once(self):
        """In one piece with the client's Finished, while the upstream is still to be found."""
        self.load()
        relay = self.relay(echo)
        for number, version in enumerate(VERSIONS, 1):
            raw = socket.create_connection((GUEST_ADDRESS, PORT), timeout=60)
            self.addCleanup(raw.close)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            client = TlsSocket(raw, context=context_of(version))
            data = coded_bytes(0, 50_000)
            client.sendall(data)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
            client.shutdown(socket.SHUT_WR)
            self.check_same(read_all(client), data)
            self.wait_for_end(relay, "done", number)
        received = fetch_metrics(relay)
        report(f"{self.guest.release}: " + " ".join(
            f"{reason or 'kernel'}={count:.0f}" for reason in ("", "socket-state") if (
                count := received.total("^pagewire_relay_tls_receive_total$", reason=reason))))

    def test_5_a_slow_upstream(self):
        """What has gathered comes in more records than the smallest pipe has places for."""
        self.load()
        go_on, got = threading.Event(), []

        def rest_then_read(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            go_on.wait()
            got.append(read_all(connection))
        relay = self.relay(rest_then_read, flags="--pipe-size 32K")
        self.addCleanup(go_on.set)
        client = self.connect()
        client.raw.settimeout(None)  # it is kept waiting
        data = coded_bytes(0, 12 * MIB)
        seed = random.randrange(1 << 32)
        report(f"seed {seed}")

        def send(chance=random.Random(seed), at=0):
            while at < len(data):
                size = chance.randint(1, MOST_PLAIN)
                client.sendall(data[at:at + size])
                at += size
        sender = in_background(send)
        marks = []

        def stands():
            marks.append(self.total(relay, "pagewire_relay_bytes_total", direction="up"))
            time.sleep(0.1)
            return len(marks) > 5 and marks[-1] == marks[-5] > 0
        wait_until(stands, "no more bytes are taken")
        self.assertTrue(sender.is_alive())
        go_on.set()
        sender.join()
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"")
        self.check_same(got[0], data)

    def test_5_an_urgent_byte_is_one_of_the_stream(self):
        self.load()
        relay = self.relay(echo)
        client = self.connect()
        data = coded_bytes(0, 40_000)
        client.tls.write(data)
        records = client.to_send.read()
        client.raw.sendall(records[:9_000])
        client.raw.send(records[9_000:9_001], socket.MSG_OOB)
        client.raw.sendall(records[9_001:])
        client.shutdown(socket.SHUT_WR)
        self.check_same(read_all(client), data)
        self.wait_for_end(relay, "done")


class Debian12(Receive, unittest.TestCase):
    kernel = "debian-12"


class Newest(Receive, unittest.TestCase):
    kernel = "newest"

    def setUp(self):
        if not WHOLE:
            self.skipTest(NOT_WHOLE)


if __name__ == "__main__":
    unittest.main()
