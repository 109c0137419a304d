"""TLS in front of a relay, in kernels that have TLS: what clients are sent is spliced into a socket
that the kernel encrypts for, and comes whole, to a client that reads slowly as well."""

import socket
import subprocess
import tempfile
import unittest

from support_guest import (BINARY, GUEST_ADDRESS, NOT_WHOLE, WHOLE, Guest, GuestServer, Image, Tap,
                           coded_folder, enter_network_namespace, report, why_no_guest)

from support import TlsSocket, fetch_metrics, first_difference, read_all, settle, wait_until
from support.certificates import Certificate

MIB = 1 << 20
SIZES = {"small.bin": 500, "odd.bin": 3 * MIB + 123, "big.bin": 8 * MIB}
MODULES = ("tls", "aesni_intel", "ghash_clmulni_intel", "ghash_generic", "ctr", "gcm", "ccm",
           "seqiv")


def setUpModule():
    enter_network_namespace()


class RelayTls:
    kernel = None

    @classmethod
    def setUpClass(cls):
        if why := why_no_guest(cls.kernel, network=True):
            raise unittest.SkipTest(why)
        folder, cls.bodies = coded_folder(cls, SIZES)
        tap = Tap()
        cls.addClassCleanup(tap.close)
        image = Image()
        image.add_program(BINARY, "/bin/pagewire", strip=True)
        with tempfile.TemporaryDirectory() as made:
            certificate = Certificate(made, "guest", "DNS:guest.test")
            image.add(certificate.chain, "/tls/cert.pem")
            image.add(certificate.key, "/tls/key.pem")
        cls.guest = Guest(cls.kernel, image, tap=tap, disk_mib=64, disk_from=folder.root,
                          modules=MODULES)
        cls.addClassCleanup(cls.guest.stop)
        cls.guest.load(*MODULES)

    def relay(self):
        upstream = GuestServer(self.guest, "pagewire serve /disk --listen 127.0.0.1:8000"
                               " --admin off --workers 1", name="upstream")
        self.addCleanup(upstream.stop)
        relay = GuestServer(self.guest, "pagewire relay --listen :8443 --to 127.0.0.1:8000"
                            " --tls-cert /tls/cert.pem --tls-key /tls/key.pem --admin :9181"
                            " --workers 1 --access-log /tmp/relay.access", name="relay")
        self.addCleanup(relay.stop)
        relay.admin = (GUEST_ADDRESS, 9181)
        return relay

    def total(self, relay, name, **labels):
        return fetch_metrics(relay).total(f"^{name}$", **labels)

    def fetch(self, name, *flags):
        done = subprocess.run(
            ["curl", "-k", "-sS", "--http1.1", "--max-time", "120", *flags, "-H",
             "Connection: close", f"https://{GUEST_ADDRESS}:8443/{name}"],
            capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIsNone(first_difference(done.stdout, self.bodies[name]), (name, flags))

    def test_bytes_and_ends(self):
        relay = self.relay()
        for flags in (["--tls-max", "1.2"], ["--tlsv1.3"]):
            for name in SIZES:
                self.fetch(name, *flags)
        self.fetch("odd.bin", "--limit-rate", "1M")
        connections = 2 * len(SIZES) + 1
        settle(relay)
        self.assertEqual(self.total(relay, "pagewire_tls_connections_total", ktls="kernel"),
                         connections)
        spliced = self.total(relay, "pagewire_relay_path_bytes_total", path="splice")
        self.assertGreater(spliced, 2 * SIZES["big.bin"])
        # curl closes when it has the length that it was told; what comes then it answers by RST.
        wait_until(lambda: sum(self.total(relay, "pagewire_relay_ends_total", end=end)
                               for end in ("done", "client-reset")) == connections,
                   "all have ended, and none for TLS's sake")
        logged = "grep -m 1 path=splice /tmp/relay.access"
        wait_until(lambda: self.guest.run(logged, check=False).status == 0, "it is in the log")
        line = self.guest.run(logged).output
        for part in "reason=bulk", "tls=TLSv1.2", "ktls=kernel":
            self.assertIn(part, line)
        ends = {end: self.total(relay, "pagewire_relay_ends_total", end=end)
                for end in ("done", "client-reset")}
        report(f"{self.guest.release}: {ends}, {spliced:.0f} bytes spliced; {line.strip()}")

    def test_close_notify_and_truncation(self):
        relay = self.relay()
        request = b"GET /odd.bin HTTP/1.0\r\n\r\n"
        with socket.create_connection((GUEST_ADDRESS, 8443), timeout=60) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            client = TlsSocket(raw)
            client.sendall(request)
            body = read_all(client).partition(b"\r\n\r\n")[2]
            self.assertTrue(client.peer_closed)
            self.assertIsNone(first_difference(body, self.bodies["odd.bin"]))
            client.shutdown(socket.SHUT_WR)
        with socket.create_connection((GUEST_ADDRESS, 8443), timeout=60) as raw:
            client = TlsSocket(raw)
            raw.shutdown(socket.SHUT_WR)
            with self.assertRaises(ConnectionResetError):
                while raw.recv(1 << 16):
                    pass
        for end in "done", "tls-truncated":
            wait_until(lambda end=end: self.total(relay, "pagewire_relay_ends_total", end=end) == 1,
                       f"one connection has ended: {end}")


class Debian12(RelayTls, unittest.TestCase):
    kernel = "debian-12"


class Newest(RelayTls, unittest.TestCase):
    kernel = "newest"

    def setUp(self):
        if not WHOLE:
            self.skipTest(NOT_WHOLE)


if __name__ == "__main__":
    unittest.main()
