"""HTTPS in kernels that have TLS. One boot, in which the modules are loaded one after the other, so
that a server sees a kernel whose TLS is not loaded, one that lacks the cipher, and one that has
everything; then the proof that what goes out is the kernel's: TlsTxSw counts, and strace shows
sendfile for the body and nothing else. nginx stands beside it, with the kernel's TLS and without.

The clients are curl and openssl s_client on this machine: they know nothing of pagewire's code."""

import os
import re
import select
import subprocess
import tempfile
import time
import unittest

from support_guest import (BINARY, BUILD, GUEST_ADDRESS, NOT_WHOLE, TEST_FLAGS, WHOLE, Guest,
                           GuestServer, Image, Tap, coded_folder, enter_network_namespace, report,
                           report_tests, why_no_guest)

from support import RawClient, fetch_metrics, first_difference, request_head, settle, wait_until

MIB = 1 << 20
SIZES = {"small.bin": 17_000, "odd.bin": 3 * MIB + 123, "big.bin": 16 * MIB}
AES_MODULES = ("aesni_intel", "ghash_clmulni_intel", "ghash_generic", "ctr", "gcm", "ccm", "seqiv")
CHACHA_MODULES = ("chacha", "chacha_x86_64", "poly1305_x86_64", "chacha20poly1305")
SUITES = {
    ("1.3", "AES-128-GCM"): "TLS_AES_128_GCM_SHA256",
    ("1.3", "AES-256-GCM"): "TLS_AES_256_GCM_SHA384",
    ("1.3", "ChaCha20"): "TLS_CHACHA20_POLY1305_SHA256",
    ("1.2", "AES-128-GCM"): "ECDHE-ECDSA-AES128-GCM-SHA256",
    ("1.2", "AES-256-GCM"): "ECDHE-ECDSA-AES256-GCM-SHA384",
    ("1.2", "ChaCha20"): "ECDHE-ECDSA-CHACHA20-POLY1305",
}
# The tests of these that encrypt little, for AES is emulated, on both ends. TinyBuffers: with 6.1
# the pipes' paths waited for ever (docs/KERNEL_NOTES.md).
SOME_PATHS = "--gtest_filter=*/sendfile:*/splice:*/copy:-*BeyondFourGibibytes*"
SOME_SOCKETS = ("--gtest_filter=*ASlowReader*:*AnEmptyPipeGoesBack*:*TinyBuffers*/sendfile"
                ":*TinyBuffers*splice")
CONFORMANCE = {
    "egress_slices_test": TEST_FLAGS if WHOLE else SOME_PATHS,
    "egress_socket_test": TEST_FLAGS if WHOLE else SOME_SOCKETS,
    "egress_source_test": "--gtest_filter=*OverwrittenInPlace*:*BeforeTheFirstStep*:*DeletedGoes*",
}
NGINX = """
daemon off; master_process off; user root root; pid /tmp/nginx-%(name)s; error_log stderr warn;
events { worker_connections 64; }
http {
  access_log off; sendfile on; root /disk;
  server {
    listen %(port)d ssl; ssl_certificate /tls/cert.pem; ssl_certificate_key /tls/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3; %(options)s
  }
}
"""
SLOW_READERS, SLOWLY_READ = 40, 400_000
ROUNDS = 3
COMPARED = "TLS_AES_256_GCM_SHA384"


def setUpModule():
    enter_network_namespace()


def make_certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-days", "30",
         "-subj", "/CN=guest"], check=True, capture_output=True)


def fetch(name, version="1.3", suite=None, port=8443, fields=(), copies=1):
    """A body by curl; with `copies` so many times on one connection, behind each other."""
    flags = ["--tls13-ciphers" if version == "1.3" else "--ciphers", suite] if suite else []
    urls = [f"https://{GUEST_ADDRESS}:{port}/{name}"] * copies
    done = subprocess.run(
        ["curl", "-k", "-sS", "--http1.1", "--max-time", "120", f"--tlsv{version}", "--tls-max",
         version, *flags, *fields, *urls], capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"curl: {done.returncode} {done.stderr.decode()}")
    return done.stdout


class OpensslClient:
    """openssl s_client, which can send a KeyUpdate: K asks for one of the server's, k does not."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{GUEST_ADDRESS}:8443", "-tls1_3", "-brief"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.buffer = b""

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def read(self, within=60):
        """Until a body has come whole, or the server has closed: the body, or None."""
        end = time.monotonic() + within
        while True:
            head, blank, rest = self.buffer.partition(b"\r\n\r\n")
            size = re.search(rb"(?i)content-length: (\d+)", head)
            if blank and size and len(rest) >= int(size[1]):
                self.buffer = rest[int(size[1]):]
                return rest[:int(size[1])]
            ready, _, _ = select.select([self.process.stdout], [], [],
                                        max(end - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"no answer within {within} s: {self.buffer[:200]}")
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return None
            self.buffer += data

    def update_key(self, letter):
        """What is typed before s_client has taken the letter would be taken for a part of it."""
        self.type(f"{letter}\n")
        told = b""
        while b"KEYUPDATE" not in told:
            # Its body has to go on, too: it waits for nobody while it writes.
            ready, _, _ = select.select([self.process.stderr, self.process.stdout], [], [], 60)
            if not ready:
                raise AssertionError(f"s_client has not taken {letter}: {told}")
            if self.process.stderr in ready:
                told += os.read(self.process.stderr.fileno(), 4096)
            if self.process.stdout in ready:
                self.buffer += os.read(self.process.stdout.fileno(), 1 << 16)

    def wait_for_answer(self):
        """Until its first bytes have come."""
        if not select.select([self.process.stdout], [], [], 60)[0]:
            raise AssertionError("no answer within 60 s")

    def ask(self, name, fields=""):
        self.type(f"GET /{name} HTTP/1.1\r\nHost: guest\r\n{fields}\r\n")

    def get(self, name):
        self.ask(name)
        return self.read()

    def close(self):
        self.process.kill()
        self.process.communicate()


class Tls:
    """What runs in each kernel that is a subclass. The tests go from a kernel without its TLS
    modules to one with all of them, in the order of their names."""

    kernel = None
    rekeys = False  # takes a second key (Linux 6.14)

    @classmethod
    def setUpClass(cls):
        if why := why_no_guest(cls.kernel, network=True):
            raise unittest.SkipTest(why)
        folder, cls.bodies = coded_folder(cls, SIZES)
        tap = Tap()
        cls.addClassCleanup(tap.close)
        cls.guest = Guest(cls.kernel, cls.make_image(), tap=tap, disk_mib=256,
                          disk_from=folder.root, modules=("tls", *AES_MODULES, *CHACHA_MODULES))
        cls.addClassCleanup(cls.guest.stop)
        cls.guest.run("mkdir -p /var/log/nginx /var/lib/nginx")

    @classmethod
    def make_image(cls):
        image = Image()
        image.add_program(BINARY, "/bin/pagewire", strip=True)
        for program in ("strace", "nginx"):
            image.add_program(program, f"/usr/bin/{program}")
        for program in CONFORMANCE:
            image.add_program(os.path.join(BUILD, program), f"/tests/{program}", strip=True)
        image.add_text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
        image.add_text("/etc/group", "root:x:0:\n")
        with tempfile.TemporaryDirectory() as folder:
            make_certificate(folder)
            for name in ("cert.pem", "key.pem"):
                image.add(f"{folder}/{name}", f"/tls/{name}")
        for name, port, options in (("kernel", 8444, "ssl_conf_command Options KTLS;"),
                                    ("user", 8445, "")):
            image.add_text(f"/nginx/{name}.conf",
                           NGINX % {"name": name, "port": port, "options": options})
        return image

    # ---------------------------------------------------------------- asking

    def serve(self, name="pagewire", port=8443, admin=9180, flags="", under=""):
        server = GuestServer(
            self.guest, f"pagewire serve /disk --listen 127.0.0.1:0 --listen-tls :{port}"
            f" --tls-cert /tls/cert.pem --tls-key /tls/key.pem --admin :{admin} --workers 1"
            f" --access-log /tmp/{name}.access {flags}", name=name, under=under)
        self.addCleanup(server.stop)
        server.admin = (GUEST_ADDRESS, admin)
        return server

    def tls_stat(self, name):
        return int(self.guest.run(f"grep {name} /proc/net/tls_stat").output.split()[1])

    def kernel_connections(self):
        """Sockets that the kernel has encrypted for."""
        return self.tls_stat("TlsTxSw")

    @staticmethod
    def connections(server, **labels):
        settle(server)
        return int(fetch_metrics(server).total("^pagewire_tls_connections_total$", **labels))

    def assert_served(self, name, *arguments, **options):
        got = fetch(name, *arguments, **options)
        self.assertIsNone(first_difference(got, self.bodies[name]), (name, arguments))

    def assert_not_by_the_kernel(self, server, reason, version="1.3", cipher="AES-256-GCM"):
        """Whole bodies all the same, with the reason in the metrics and in the access log."""
        before = self.connections(server, ktls="none", reason=reason)
        self.assert_served("odd.bin", version, SUITES[version, cipher])
        self.assertEqual(self.connections(server, ktls="none", reason=reason), before + 1)
        last = f"tail -n 1 /tmp/{server.name}.access"
        wait_until(lambda: f"ktls=none:{reason}" in self.guest.run(last).output, "it is in the log")
        line = self.guest.run(last).output
        report(f"{self.guest.release} TLS {version} {cipher}: {line.partition(' tls=')[2]}")

    # ---------------------------------------------------------------- the stages

    def test_1_a_kernel_whose_tls_is_not_loaded(self):
        server = self.serve()
        self.assert_not_by_the_kernel(server, "module-not-loaded")
        # For the comparison below: what a server found at its start it keeps to.
        type(self).user_space = GuestServer(
            self.guest, "pagewire serve /disk --listen 127.0.0.1:0 --listen-tls :8446 --tls-cert"
            " /tls/cert.pem --tls-key /tls/key.pem --admin off --workers 1", name="user_space")

    def test_2_a_kernel_without_the_cipher(self):
        self.guest.load("tls", *AES_MODULES)
        server = self.serve()
        self.assert_served("odd.bin", "1.3", SUITES["1.3", "AES-256-GCM"])
        self.assertEqual(self.connections(server, ktls="kernel"), 1)
        for version in ("1.2", "1.3"):
            self.assert_not_by_the_kernel(server, "cipher", version, "ChaCha20")

    def test_3_every_version_and_cipher(self):
        self.guest.load(*CHACHA_MODULES)
        server = self.serve()
        for (version, cipher), suite in SUITES.items():
            with self.subTest(version=version, cipher=cipher):
                before, counted = self.kernel_connections(), self.connections(server, ktls="kernel")
                for name in SIZES:
                    self.assert_served(name, version, suite)
                part = fetch("odd.bin", version, suite, fields=("-r", "4095-104094"))
                self.assertIsNone(first_difference(part, self.bodies["odd.bin"][4095:104095]))
                twice = fetch("odd.bin", version, suite, copies=2)
                self.assertIsNone(first_difference(twice, self.bodies["odd.bin"] * 2))
                rise = self.kernel_connections() - before
                report(f"{self.guest.release} TLS {version} {cipher}: {len(SIZES) + 2} connections,"
                       f" TlsTxSw rose by {rise}")
                self.assertEqual(rise, len(SIZES) + 2)
                self.assertEqual(self.connections(server, ktls="kernel") - counted, rise)
        self.assertEqual(self.connections(server, ktls="none"), 0)
        self.assertIn("ktls=kernel", self.guest.run("tail -n 1 /tmp/pagewire.access").output)

    def test_4_the_body_goes_by_sendfile(self):
        """On the socket, in the clear for whoever asks the kernel to send it: no call but sendfile
        has the body's bytes."""
        self.guest.run("rm -f /tmp/trace.*")
        # A file for each thread: in a common one a call may be cut in two by another thread's.
        self.serve(under="strace -D -ff -o /tmp/trace -e trace=sendfile,write,writev,pwrite64,"
                         "sendto,sendmsg,sendmmsg,splice,vmsplice,tee,setsockopt")
        self.assert_served("big.bin", "1.3", SUITES["1.3", "AES-256-GCM"])
        # strace is behind what it traces.
        traced = self.guest.trace_of_socket
        wait_until(lambda: traced("TLS_TX")[1].get("sendfile", 0) >= SIZES["big.bin"],
                   "strace has seen the body go by sendfile")
        lines, taken = traced("TLS_TX")
        report(f"{self.guest.release} strace of the TLS socket, its first calls:")
        for line in lines[:5]:
            report(f"  {line[:150]}")
        report(f"  bytes by call: {taken}")
        self.assertEqual(taken.pop("sendfile"), SIZES["big.bin"])
        self.assertLess(sum(taken.values()), 4096, taken)

    def test_5_key_updates(self):
        """One that asks for no answer is taken. One that asks for a new key of the kernel's is
        answered where the kernel takes a second one."""
        self.guest.load("tls", *AES_MODULES)
        server = self.serve()
        client = OpensslClient()
        self.addCleanup(client.close)
        self.assertEqual(client.get("small.bin"), self.bodies["small.bin"])
        client.update_key("k")
        self.assertEqual(client.get("small.bin"), self.bodies["small.bin"])
        self.assertEqual(self.connections(server, ktls="kernel"), 1)
        if self.rekeys:
            self.check_that_keys_change(server, client)
        else:
            self.check_that_it_ends(server, client)

    def check_that_keys_change(self, server, client):
        """Between whole bodies, and asked for while one is under way; the end is as prompt as ever,
        for which the server counts records under all keys."""
        before = self.tls_stat("TlsTxRekeyOk")
        bodies = 0

        def answered():
            """Each by itself: those that come together are answered by one (RFC 8446 4.6.3)."""
            nonlocal bodies
            bodies += 1
            wait_until(lambda: self.tls_stat("TlsTxRekeyOk") - before >= bodies, "a new key")
        for name in ("odd.bin", "small.bin", "odd.bin"):
            client.update_key("K")
            self.assertIsNone(first_difference(client.get(name), self.bodies[name]), name)
            answered()
            client.ask(name)
            client.wait_for_answer()
            client.update_key("K")
            self.assertIsNone(first_difference(client.read(), self.bodies[name]), name)
            answered()
            client.update_key("k")
        client.ask("odd.bin", "Connection: close\r\n")
        self.assertIsNone(first_difference(client.read(), self.bodies["odd.bin"]))
        self.assertIsNone(client.read())
        wait_until(lambda: fetch_metrics(server).total("^pagewire_connections_open$") == 0, "gone")
        settle(server)
        metrics = fetch_metrics(server)
        self.assertEqual(metrics.total("^pagewire_tls_key_updates_total$"), 1 + bodies * 3 // 2)
        self.assertEqual(metrics.total("^pagewire_tls_failures_total$"), 0)
        self.assertEqual(metrics.total("^pagewire_tls_truncations_total$"), 0)
        self.assertEqual(metrics.total("^pagewire_connection_ends_total$"), 0)
        self.assertEqual(self.connections(server, ktls="kernel"), 1)
        rekeyed = self.tls_stat("TlsTxRekeyOk") - before
        report(f"{self.guest.release}: {bodies} KeyUpdates answered, TlsTxRekeyOk rose by"
               f" {rekeyed}")
        self.assertEqual(rekeyed, bodies)

    def check_that_it_ends(self, server, client):
        """With close_notify and the reason counted: it never stalls."""
        client.update_key("K")
        self.assertIsNone(client.read())
        wait_until(lambda: fetch_metrics(server).total("^pagewire_tls_failures_total$",
                                                       result="cannot-rekey") == 1, "counted")
        wait_until(lambda: fetch_metrics(server).total("^pagewire_tls_key_updates_total$") == 2,
                   "both are counted, when the connection has gone")
        self.assert_served("small.bin")

    def test_6_a_slow_reader_gets_the_end(self):
        """The kernel takes more than the TCP queue has room for, and drops it at a FIN that comes
        too early: the last answer's end has to arrive, and close_notify behind it. With small send
        buffers a FIN at once loses some of it each third time on 6.1."""
        self.guest.load("tls", *AES_MODULES)
        setting = "/proc/sys/net/ipv4/tcp_wmem"
        usual = self.guest.run(f"cat {setting}").output.strip()
        self.addCleanup(self.guest.run, f"echo {usual} > {setting}")
        self.guest.run(f"echo 4096 16384 32768 > {setting}")
        server = self.serve()
        for number in range(SLOW_READERS):
            with self.subTest(reader=number), RawClient(
                    (GUEST_ADDRESS, 8443), receive_buffer=4096, timeout=60, tls=True) as client:
                client.send(request_head("/odd.bin", fields=(
                    f"Range: bytes=0-{SLOWLY_READ - 1}", "Connection: close")))
                got = client.read().body
                self.assertIsNone(first_difference(got, self.bodies["odd.bin"][:SLOWLY_READ]))
                self.assertEqual(client.read_rest(), b"")
        self.assertEqual(self.connections(server, ktls="kernel"), SLOW_READERS)


class Debian12(Tls, unittest.TestCase):
    kernel = "debian-12"

    def test_7_every_path_under_kernel_tls(self):
        for program, flags in CONFORMANCE.items():
            with self.subTest(program=program):
                done = self.guest.run(
                    "mkdir -p /disk/tests && cd /disk/tests && TMPDIR=/disk/tests"
                    f" PAGEWIRE_ROUNDS=5 PAGEWIRE_TEST_KTLS=1 /tests/{program} {flags}",
                    limit_s=300, check=False)
                self.assertEqual(done.status, 0, report_tests(program, done.output))

    @unittest.skipUnless(WHOLE, NOT_WHOLE)
    def test_8_beside_nginx(self):
        """CPU in the same boot, as ratios; where the machine is emulated AES costs so much that
        they say little else. Nothing is asserted about them."""
        servers = {"pagewire + kernel TLS": (self.serve(), 8443),
                   "pagewire, user space": (self.user_space, 8446)}
        self.addCleanup(self.user_space.stop)
        for name, port, label in (("kernel", 8444, "nginx + kernel TLS"),
                                  ("user", 8445, "nginx, user space")):
            servers[label] = (GuestServer(self.guest, f"nginx -c /nginx/{name}.conf",
                                          name=f"nginx-{name}",
                                          ready=f"[ -s /tmp/nginx-{name} ]"), port)
            self.addCleanup(servers[label][0].stop)
        costs = {label: [] for label in servers}
        for _ in range(ROUNDS):
            for label, (server, port) in servers.items():
                before, cpu = self.kernel_connections(), server.cpu_ns()
                self.assert_served("big.bin", "1.3", COMPARED, port=port)
                costs[label].append((server.cpu_ns() - cpu) / (SIZES["big.bin"] * 8))
                by_kernel = self.kernel_connections() - before
                self.assertEqual(by_kernel, 1 if "kernel" in label else 0, label)
        # The least of them: what else is going on on this machine only adds.
        least = {label: min(cost) for label, cost in costs.items()}
        report(f"{self.guest.release} {COMPARED}, 16 MiB, the least CPU per bit of {ROUNDS} rounds,"
               " nginx + kernel TLS being 1")
        for label, cost in least.items():
            report(f"  {label:24}{cost / least['nginx + kernel TLS']:6.2f}")


class Newest(Tls, unittest.TestCase):
    kernel = "newest"
    rekeys = True

    def setUp(self):
        if not WHOLE and "key_updates" not in self.id():
            self.skipTest(NOT_WHOLE)


if __name__ == "__main__":
    unittest.main()
