"""Certificates of a running server: by name, renewed under load, wrong ones at start and at a
reload, tickets at any worker, client certificates."""

import os
import shutil
import signal
import ssl
import threading
import unittest

from support import (Pagewire, TestFolder, coded_bytes, first_difference, request_head,
                     run_pagewire, wait_until)
from support.certificates import Certificate, SecureClient, client_context, https_address

SIZE = 16 << 20
READ_ANEW = "certificates read anew"


class CertificatesTest(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.folder.coded("big.bin", SIZE)
        self.folder.coded("small.bin", 100)
        self.store = TestFolder()
        self.addCleanup(self.store.close)

    def make(self, name, subject_names, **others):
        return Certificate(self.store.root, name, subject_names, **others)

    def serve(self, *flags):
        server = Pagewire(self.folder.root, "--listen-tls", "127.0.0.1:0", "--workers", "2", *flags,
                          admin="off")
        self.addCleanup(server.kill)
        self.address = https_address(server)
        return server

    def client(self, **others):
        client = SecureClient(self.address, **others)
        self.addCleanup(client.close)
        return client

    def certificate_of(self, name=None):
        with SecureClient(self.address, name=name) as client:
            return client.certificate

    def hang_up(self, server, expected):
        """SIGHUP, and the line that it brings."""
        before = len(server.lines)
        server.signal(signal.SIGHUP)
        return wait_until(
            lambda: next((line for line in server.lines[before:] if expected in line), None),
            f"a line with '{expected}'")

    def test_by_name(self):
        first = self.make("first", "DNS:a.test")
        second = self.make("second", "DNS:*.b.test,DNS:b.test")
        config = os.path.join(self.store.root, "edge.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f'[[certificate]]\nchain = "{second.chain}"\nkey = "{second.key}"\n')
        server = self.serve(*first.flags, "--config", config)
        for name in (None, "a.test", "c.test", "x.y.b.test"):
            self.assertEqual(self.certificate_of(name), first.der, name)
        for name in ("b.test", "x.b.test", "X.B.Test"):
            self.assertEqual(self.certificate_of(name), second.der, name)
        server.stop()

    def test_reload_disturbs_nobody(self):
        old = self.make("server", "DNS:a.test")
        old_der = old.der
        server = self.serve(*old.flags)
        slow = self.client(receive_buffer=65536)
        slow.send(request_head("/big.bin"))
        answer = slow.read_head()
        idle = self.client()
        self.assertEqual(idle.get("/small.bin").status, 200)
        new = self.make("server", "DNS:a.test")
        self.hang_up(server, READ_ANEW)
        self.assertNotEqual(new.der, old_der)
        # Of both workers: each takes its own in its next round.
        for _ in range(16):
            wait_until(lambda: self.certificate_of() == new.der, "the new certificate")
        body = slow.read_body(answer, "GET")
        self.assertIsNone(first_difference(body, coded_bytes(0, SIZE)))
        self.assertEqual(idle.get("/small.bin").status, 200)
        self.assertEqual(idle.certificate, old_der)
        server.stop()

    def test_reload_under_load(self):
        server = self.serve(*self.make("server", "DNS:a.test").flags)
        failures = []
        over = threading.Event()

        def ask():
            while not over.is_set():
                try:
                    with SecureClient(self.address) as client:
                        for _ in range(3):
                            if client.get("/small.bin").body != coded_bytes(0, 100):
                                failures.append("a wrong body")
                except (OSError, AssertionError) as error:
                    failures.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                self.hang_up(server, READ_ANEW)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        server.stop()

    def test_a_bad_new_file_keeps_the_old_ones(self):
        certificate = self.make("server", "DNS:a.test")
        der = certificate.der
        server = self.serve(*certificate.flags)
        for spoil, reason in (
                (lambda: shutil.copy(self.make("other", "").key, certificate.key),
                 f"the key {certificate.key} does not belong to the certificate"),
                (lambda: os.truncate(certificate.chain, 0),
                 f"{certificate.chain} holds no certificate in PEM"),
                (lambda: os.remove(certificate.chain),
                 f"cannot read the certificate {certificate.chain}: No such file or directory")):
            spoil()
            line = self.hang_up(server, "the certificates stay as they were: ")
            self.assertIn(reason, line)
            self.assertEqual(self.certificate_of(), der)
        renewed = self.make("server", "DNS:a.test")
        self.hang_up(server, READ_ANEW)
        wait_until(lambda: self.certificate_of() == renewed.der, "the new certificate")
        server.stop()

    def refused(self, *flags):
        """The one line of a start that fails; a path that seems to stall, as they do on a machine
        that has no time for its kernel threads, would be another line."""
        done = run_pagewire("serve", self.folder.root, "--listen", "127.0.0.1:0", "--admin", "off",
                            "--listen-tls", "127.0.0.1:0", "--self-test", "off", *flags)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("pagewire serve: "), lines[0])
        return lines[0]

    def test_wrong_files_at_start(self):
        good = self.make("good", "DNS:a.test")
        locked = self.make("locked", "DNS:a.test", password="secret")
        missing = os.path.join(self.store.root, "missing")
        self.assertIn("does not belong to",
                      self.refused("--tls-cert", good.chain, "--tls-key",
                                   self.make("other", "").key))
        self.assertIn("is encrypted", self.refused(*locked.flags))
        self.assertIn("No such file", self.refused("--tls-cert", missing, "--tls-key", good.key))
        self.assertIn("holds no certificate",
                      self.refused("--tls-cert", good.key, "--tls-key", good.key))
        self.assertIn("No such file", self.refused(*good.flags, "--tls-client-ca", missing))
        self.assertIn("holds no successful OCSP response",
                      self.refused(*good.flags, "--tls-ocsp", good.key))

    def session_of(self, **others):
        with SecureClient(self.address, **others) as client:
            client.get("/small.bin")  # behind the handshake of TLS 1.3 comes the ticket
            return client.socket.session

    def test_tickets_hold_at_every_worker_and_across_a_reload(self):
        server = self.serve(*self.make("server", "DNS:a.test").flags)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context()
            context.minimum_version = context.maximum_version = version
            session = self.session_of(context=context)
            for turn in range(8):
                with SecureClient(self.address, context=context, session=session) as client:
                    self.assertEqual(client.get("/small.bin").status, 200)
                    self.assertTrue(client.socket.session_reused, f"{version}, {turn}")
                if turn == 3:
                    self.hang_up(server, READ_ANEW)
        server.stop()

    def test_client_certificates(self):
        authority = self.make("authority", "")
        known = self.make("known", "", issuer=authority)
        stranger = self.make("stranger", "")
        server = self.serve(*self.make("server", "DNS:a.test").flags, "--tls-client-ca",
                            authority.chain)
        with SecureClient(self.address, context=client_context(known)) as client:
            self.assertEqual(client.get("/small.bin").status, 200)
        for certificate in (None, stranger):
            with self.assertRaises((ssl.SSLError, OSError)):
                # With TLS 1.3 the client is told only after its own handshake.
                with SecureClient(self.address, context=client_context(certificate)) as client:
                    client.get("/small.bin")
        server.stop()


if __name__ == "__main__":
    unittest.main()
