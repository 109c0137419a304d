"""Where the kernel decrypts what clients of a relay send, it leaves to the program: the ends of
streams, alerts, KeyUpdates, and what is no record. Each as it is without the kernel
(tests/e2e/test_relay_tls.py)."""

import contextlib
import os
import select
import socket
import ssl
import struct
import subprocess
import time
import unittest

from support_guest import GUEST_ADDRESS, NOT_WHOLE, WHOLE, enter_network_namespace, report
from support_receive import PORT, VERSIONS, ReceiveCase, in_background

from support import coded_bytes, echo, first_difference, read_all, wait_until


def setUpModule():
    enter_network_namespace()


class LineClient:
    """openssl s_client, which sends lines, and a KeyUpdate (K asks for one of ours, k does not) or
    a ClientHello (R) for a line of that letter alone."""

    def __init__(self, version):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{GUEST_ADDRESS}:{PORT}", "-brief",
             "-tls" + version.replace(".", "_")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.got, self.told = b"", b""

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def press(self, letter, answer):
        """What comes before s_client has taken the letter would be taken for a part of its line."""
        self.send(letter + b"\n")
        wait_until(lambda: answer in self.look().told, f"s_client has taken {letter}")
        self.told = b""

    def look(self, within=0.0):
        pipes = [self.process.stdout, self.process.stderr]
        for pipe in select.select(pipes, [], [], within)[0]:
            data = os.read(pipe.fileno(), 1 << 16)
            if pipe is self.process.stdout:
                self.got += data
            else:
                self.told += data
        return self

    def expect(self, data, within=60):
        end = time.monotonic() + within
        while len(self.got) < len(data) and time.monotonic() < end:
            self.look(0.1)
        if difference := first_difference(self.got, data):
            raise AssertionError(difference)
        self.got = b""

    def close(self):
        with self.process:  # closes the pipes as well
            self.process.kill()


def numbered(first, count):
    """Lines that tell where they stand, none of which begins with a letter of s_client's."""
    return b"".join(b"%015d\n" % number for number in range(first, first + count))


class Ends(ReceiveCase):
    rekeys = False  # takes a second key (Linux 6.14)

    # ---------------------------------------------------------------- ends

    def test_half_close_of_either_side(self):
        self.load()
        got = []

        def finish_then_read(connection):
            connection.sendall(b"first")
            connection.shutdown(socket.SHUT_WR)
            got.append(read_all(connection))
        relay = self.relay(finish_then_read)
        for number, version in enumerate(VERSIONS, 1):
            client = self.connect(version)
            self.assertEqual(read_all(client), b"first")
            self.assertTrue(client.peer_closed)
            data = coded_bytes(number << 40, 300_000)
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            self.wait_for_end(relay, "done", number)
            wait_until(lambda number=number: len(got) == number, "the upstream has read its FIN")
            self.check_same(got[-1], data)

    def cut(self, how, end, outcome=None, version="1.3"):
        """Whatever cuts the stream short resets both sides, and is counted."""
        relay = self.relay(read_all)
        client = self.connect(version)
        client.sendall(b"x" * 1000)
        wait_until(lambda: self.total(relay, "pagewire_relay_bytes_total", direction="up") >= 1000,
                   "the upstream has them")
        self.assertEqual(self.by_kernel(relay), 1)
        how(client)
        self.wait_for_end(relay, end)
        wait_until(lambda: relay.upstream.errors, "the upstream sees the reset")
        self.assertIsInstance(relay.upstream.errors[0], ConnectionResetError)
        with self.assertRaises(ConnectionResetError):
            while client.raw.recv(1 << 16):
                pass
        if outcome:
            self.assertEqual(self.total(relay, "pagewire_tls_failures_total", result=outcome), 1)
        self.wait_for(relay, "pagewire_relay_connections_open", 0)
        self.wait_for(relay, "pagewire_relay_pipes_in_use", 0)
        self.doCleanups()

    def records(self, client, size):
        client.tls.write(coded_bytes(0, size))
        return bytearray(client.to_send.read())

    def test_streams_cut_short(self):
        self.load()
        for version in VERSIONS:
            with self.subTest(version=version, what="FIN without close_notify"):
                self.cut(lambda client: client.raw.shutdown(socket.SHUT_WR), "tls-truncated",
                         version=version)
            with self.subTest(version=version, what="FIN within a record"):
                def half_a_record(client):
                    client.raw.sendall(self.records(client, 5000)[:2500])
                    client.raw.shutdown(socket.SHUT_WR)
                self.cut(half_a_record, "tls-truncated", version=version)
            with self.subTest(version=version, what="reset"):
                def reset(client):
                    client.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                          struct.pack("ii", 1, 0))
                    client.raw.close()
                self.cut_by_client(reset, version)

    def cut_by_client(self, how, version):
        relay = self.relay(read_all)
        client = self.connect(version)
        client.sendall(b"x" * 1000)
        wait_until(lambda: self.total(relay, "pagewire_relay_bytes_total", direction="up") >= 1000,
                   "the upstream has them")
        how(client)
        self.wait_for_end(relay, "client-reset")
        wait_until(lambda: relay.upstream.errors, "the upstream sees the reset")
        self.doCleanups()

    def test_what_is_no_record(self):
        self.load()

        def forged(size):
            def forge(client):
                records = self.records(client, size)
                records[-100] ^= 1
                client.raw.sendall(records)
            return forge
        before = self.tls_stat("TlsDecryptError")
        for version in VERSIONS:
            with self.subTest(version=version, what="forged"):
                self.cut(forged(5000), "tls-failed", "bad-record", version)
            with self.subTest(version=version, what="forged behind bulk"):
                self.cut(forged(800_000), "tls-failed", "bad-record", version)
        self.assertGreaterEqual(self.tls_stat("TlsDecryptError"), before + 4)
        for name, header, outcome in (
                ("another version", struct.pack("!BHH", 23, 0x0501, 100), "protocol"),
                ("too long", struct.pack("!BHH", 23, 0x0303, 0xffff), "oversized"),
                ("too short", struct.pack("!BHH", 23, 0x0303, 3), "bad-record")):
            with self.subTest(what=name):
                self.cut(lambda client, header=header: client.raw.sendall(header + b"x" * 2000),
                         "tls-failed", outcome)
            with self.subTest(what=name + ", behind bulk"):
                self.cut(lambda client, header=header: client.raw.sendall(
                    self.records(client, 500_000) + header + b"x" * 2000), "tls-failed", outcome)

    def test_bytes_behind_close_notify_count_for_nothing(self):
        """Records are dropped, and so is what is none, while the answer goes on."""
        self.load()
        answer = coded_bytes(0, 200_000)
        for what in "records", "garbage":
            with self.subTest(what=what):
                got = []

                def respond(connection, got=got):
                    got.append(read_all(connection))
                    connection.sendall(answer)
                relay = self.relay(respond)
                client = self.connect("1.3")
                client.sendall(b"all")
                try:
                    client.tls.unwrap()
                except ssl.SSLError:
                    pass
                closing = client.to_send.read()
                # OpenSSL writes nothing behind it: so records are those of another connection,
                # which do not decrypt, but nobody may try.
                more = self.records(self.connect("1.3"), 40_000)
                client.raw.sendall(closing + (more if what == "records" else b"no record" * 1000))
                self.check_same(read_all(client), answer)
                self.assertEqual(got, [b"all"])
                self.wait_for_end(relay, "done")
                self.assertEqual(self.total(relay, "pagewire_tls_failures_total"), 0)
                self.doCleanups()

    def test_memory_that_is_short(self):
        """splice's ENOMEM, which the kernel calls a bad record from then on: a reset, and no
        client that is blamed. (strace leaves out what the kernel does; it is not to be had.)"""
        self.load()
        for number in 1, 2:  # the first, and one behind which there are bytes in the pipe
            with self.subTest(number=number):
                relay = self.relay(read_all)
                self.inject(f"splice:error=ENOMEM:when={number}")
                client = self.connect("1.3")

                def send(client=client):
                    with contextlib.suppress(ConnectionError):
                        client.sendall(coded_bytes(0, 4 << 20))
                sender = in_background(send)
                self.wait_for_end(relay, "client-reset")
                sender.join()
                wait_until(lambda relay=relay: relay.upstream.errors, "the upstream sees a reset")
                self.assertEqual(self.total(relay, "pagewire_tls_failures_total"), 0)
                self.assertEqual(self.total(relay, "pagewire_relay_path_switches_total",
                                            reason="splice-failed"), 0)
                self.wait_for(relay, "pagewire_relay_pipes_in_use", 0)
                self.assertIn("INJECTED", self.guest.run("cat /tmp/trace").output)
            self.doCleanups()

    def inject(self, expression):
        """From now on, of each thread of the relay's."""
        self.guest.run("rm -f /tmp/trace; strace -f -o /tmp/trace -p $(cat /tmp/relay.pid) "
                       f"-e trace=splice -e inject={expression} 2> /tmp/strace.log & "
                       "until grep -q attached /tmp/strace.log; do sleep 0.1; done")

    # ---------------------------------------------------------------- other records

    def lines(self, version):
        client = LineClient(version)
        self.addCleanup(client.close)
        client.send(numbered(0, 10))
        client.expect(numbered(0, 10))
        return client

    def test_key_updates(self):
        self.load()
        for letter in b"k", b"K":
            with self.subTest(letter=letter):
                relay = self.relay(echo)
                client = self.lines("1.3")
                if self.rekeys:
                    self.check_that_keys_change(relay, client, letter)
                else:
                    self.check_that_it_ends(relay, client, letter)
                self.assertEqual(self.by_kernel(relay), 1)
                self.doCleanups()

    def check_that_keys_change(self, relay, client, letter):
        broken = self.tls_stat("TlsDecryptError")
        before = {name: self.tls_stat(name) for name in ("TlsRxRekeyOk", "TlsTxRekeyOk")}
        rounds = 4
        for number in range(rounds):
            client.press(letter, b"KEYUPDATE")
            some = numbered(number * 100_000, 20_000 if number % 2 else 10)
            sender = in_background(client.send, some)
            client.expect(some)
            sender.join()
        rise = {name: self.tls_stat(name) - count for name, count in before.items()}
        report(f"{self.guest.release}: {rounds} times {letter.decode()}: {rise}")
        self.assertEqual(rise["TlsRxRekeyOk"], rounds)
        self.assertEqual(rise["TlsTxRekeyOk"], rounds if letter == b"K" else 0)
        self.assertEqual(self.total(relay, "pagewire_tls_failures_total"), 0)
        self.assertEqual(self.tls_stat("TlsDecryptError"), broken)
        client.process.stdin.close()
        self.wait_for(relay, "pagewire_relay_connections_open", 0)
        self.wait_for(relay, "pagewire_tls_key_updates_total", rounds)

    def check_that_it_ends(self, relay, client, letter):
        client.press(letter, b"KEYUPDATE")
        self.wait_for_end(relay, "tls-failed")
        self.assertEqual(self.total(relay, "pagewire_tls_failures_total",
                                    result="cannot-rekey"), 1)
        wait_until(lambda: relay.upstream.errors, "the upstream sees the reset")
        self.wait_for_lines(1)
        report(f"{self.guest.release}: {letter.decode()}: {self.last_line()}")

    def test_no_renegotiation(self):
        self.load()
        relay = self.relay(echo)
        client = self.lines("1.2")
        client.send(b"R\n")
        self.wait_for_end(relay, "tls-failed")
        self.assertEqual(self.total(relay, "pagewire_tls_failures_total",
                                    result="renegotiation"), 1)


class Debian12(Ends, unittest.TestCase):
    kernel = "debian-12"


class Newest(Ends, unittest.TestCase):
    kernel = "newest"
    rekeys = True

    def setUp(self):
        if not WHOLE and "key_updates" not in self.id():
            self.skipTest(NOT_WHOLE)


if __name__ == "__main__":
    unittest.main()
