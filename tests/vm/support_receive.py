"""A relay in a guest whose kernel may decrypt what clients send; its upstream and its clients are
on this machine."""

import socket
import ssl
import tempfile
import threading
import unittest

from support_guest import (BINARY, GUEST_ADDRESS, HOST_ADDRESS, Guest, GuestServer, Image, Tap,
                           why_no_guest)

from support import TlsSocket, Upstream, fetch_metrics, first_difference, settle, wait_until
from support.certificates import Certificate
from support.tls_socket import client_context

PORT, ADMIN = 8443, 9181
AES_MODULES = ("aesni_intel", "ghash_clmulni_intel", "ghash_generic", "ctr", "gcm", "ccm", "seqiv")
CHACHA_MODULES = ("chacha", "chacha_x86_64", "poly1305_x86_64", "chacha20poly1305")
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context_of(version):
    context = client_context()
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def in_background(call, *arguments):
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    return thread


class ReceiveCase:
    kernel = None

    @classmethod
    def setUpClass(cls):
        if why := why_no_guest(cls.kernel, network=True):
            raise unittest.SkipTest(why)
        tap = Tap()
        cls.addClassCleanup(tap.close)
        image = Image()
        image.add_program(BINARY, "/bin/pagewire", strip=True)
        image.add_program("strace", "/usr/bin/strace")
        with tempfile.TemporaryDirectory() as made:
            certificate = Certificate(made, "guest", "DNS:guest.test")
            image.add(certificate.chain, "/tls/cert.pem")
            image.add(certificate.key, "/tls/key.pem")
        cls.guest = Guest(cls.kernel, image, tap=tap,
                          modules=("tls", *AES_MODULES, *CHACHA_MODULES))
        cls.addClassCleanup(cls.guest.stop)

    def load(self, *modules):
        self.guest.load(*(modules or ("tls", *AES_MODULES, *CHACHA_MODULES)))

    def relay(self, serve, flags="", under=""):
        upstream = Upstream(serve, at=(HOST_ADDRESS, 0))
        self.addCleanup(upstream.close)
        self.guest.run("rm -f /tmp/relay.access")
        relay = GuestServer(
            self.guest, f"pagewire relay --listen :{PORT} --to {HOST_ADDRESS}:{upstream.address[1]}"
            f" --tls-cert /tls/cert.pem --tls-key /tls/key.pem --admin :{ADMIN} --workers 1"
            f" --access-log /tmp/relay.access {flags}", name="relay", under=under)
        self.addCleanup(relay.stop)
        relay.admin = (GUEST_ADDRESS, ADMIN)
        relay.upstream = upstream
        return relay

    def connect(self, version="1.3", receive_buffer=None):
        raw = socket.socket()
        self.addCleanup(raw.close)
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(60)
        raw.connect((GUEST_ADDRESS, PORT))
        return TlsSocket(raw, context=context_of(version))

    def total(self, relay, name, **labels):
        return fetch_metrics(relay).total(f"^{name}$", **labels)

    def wait_for(self, relay, name, value, **labels):
        wait_until(lambda: self.total(relay, name, **labels) == value,
                   f"{name}{labels} is {value}")

    def wait_for_end(self, relay, end, value=1):
        self.wait_for(relay, "pagewire_relay_ends_total", value, end=end)
        settle(relay)

    def tls_stat(self, name):
        found = self.guest.run(f"grep '^{name} ' /proc/net/tls_stat", check=False)
        return int(found.output.split()[1]) if found.status == 0 else 0

    def by_kernel(self, relay):
        return self.total(relay, "pagewire_relay_tls_receive_total", ktls="kernel")

    def last_line(self):
        return self.guest.run("tail -n 1 /tmp/relay.access").output.strip()

    def wait_for_lines(self, count):
        """Of the log, which is written behind what the metrics tell."""
        wait_until(lambda: int(self.guest.run("wc -l < /tmp/relay.access").output) >= count,
                   f"{count} lines in the log")

    def check_same(self, got, expected):
        self.assertIsNone(first_difference(got, expected))
