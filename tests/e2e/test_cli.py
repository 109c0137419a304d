"""The command line: what it explains, what it refuses, with which exit code, in one line."""

import os
import re
import socket
import unittest
import urllib.error
import urllib.request

from support import Pagewire, TestFolder, run_pagewire
from support.server import PATIENCE_S

FLAGS = ("--listen", "--admin", "--workers", "--pin", "--path", "--cors", "--listing",
         "--access-log", "--log-format", "--config", "--check-config", "--max-connections",
         "--head-timeout", "--idle-timeout", "--drain-timeout", "--min-rate", "--server-header")
# For what ends behind it: where the machine has no time for its kernel threads, paths seem to
# stall, and each that does is one more line.
NO_SELF_TEST = ("--self-test", "off")


def fetch(url):
    return urllib.request.urlopen(url, timeout=PATIENCE_S)


class CliCase(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.root = self.folder.root

    def refused(self, code, *arguments, naming=()):
        """Ends with `code`, one line on stderr that names what is wrong, nothing on stdout."""
        if code == 1:
            arguments += NO_SELF_TEST
        done = run_pagewire(*arguments)
        said = f"{arguments}: {done.returncode}\n{done.stderr}"
        self.assertEqual(done.returncode, code, said)
        self.assertEqual(done.stdout, "", said)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z", said)
        for word in naming:
            self.assertIn(word, done.stderr, said)

    def config(self, text):
        with open(self.folder.outside("pagewire.toml"), "w", encoding="utf-8") as file:
            file.write(text)
        return file.name


class HelpTest(CliCase):
    def test_help_lists_the_commands(self):
        for arguments in (("--help",), ("-h",)):
            done = run_pagewire(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("serve", done.stdout)
            self.assertIn("--version", done.stdout)

    def test_no_argument_explains(self):
        done = run_pagewire()
        self.assertIn("serve", done.stdout + done.stderr)
        self.assertIn(done.returncode, (0, 2))

    def test_help_of_serve_is_complete(self):
        done = run_pagewire("serve", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for flag in FLAGS:
            self.assertRegex(done.stdout, rf"(?m)(^|[ ,\]\[]){flag}\b", flag)
        self.assertIn("ROOT", done.stdout)
        self.assertIn("8080", done.stdout)
        self.assertIn("9180", done.stdout)

    def test_version(self):
        done = run_pagewire("--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\Apagewire [0-9]+\.[0-9]+\.[0-9]+.*\n\Z")


class RefusalTest(CliCase):
    def test_wrong_flags(self):
        for flags, naming in (
                (("--nonsense",), ("--nonsense",)),
                (("--workers", "none"), ("--workers", "number")),
                (("--workers", "0"), ("--workers",)),
                (("--workers", "-1"), ("--workers",)),
                (("--workers", "99999999999999999999"), ("--workers",)),
                (("--workers",), ("--workers",)),
                (("--path", "teleport"), ("--path", "sendfile", "splice", "vmsplice", "tee",
                                           "zerocopy", "mmap", "copy", "auto")),
                (("--log-format", "xml"), ("--log-format", "combined", "json")),
                (("--listen", "nowhere"), ("--listen",)),
                (("--listen", "127.0.0.1:99999"), ("--listen",)),
                (("--admin", "maybe"), ("--admin", "off")),
                (("--head-timeout", "soon"), ("--head-timeout",)),
                (("--idle-timeout", "-5s"), ("--idle-timeout",)),
                (("--max-connections", "1e3"), ("--max-connections",)),
                (("--cors=perhaps",), ("--cors",))):
            with self.subTest(flags):
                self.refused(2, "serve", self.root, *flags, naming=naming)

    def test_unknown_command(self):
        self.refused(2, "frobnicate", naming=("frobnicate",))
        self.refused(2, "--frobnicate", naming=("--frobnicate",))

    def test_two_roots(self):
        self.refused(2, "serve", self.root, "/elsewhere", naming=("/elsewhere",))

    def test_missing_root(self):
        missing = self.folder.outside("missing")
        self.refused(1, "serve", missing, "--listen", "127.0.0.1:0", "--admin", "off",
                     naming=(missing, "No such file"))

    def test_root_that_is_a_file(self):
        name = self.folder.write("file", "x")
        self.refused(1, "serve", name, "--listen", "127.0.0.1:0", "--admin", "off",
                     naming=(name,))

    def test_unreadable_root(self):
        os.chmod(self.root, 0)
        self.addCleanup(os.chmod, self.root, 0o755)
        done = self.run_as_nobody("serve", self.root, "--listen", "127.0.0.1:0", "--admin", "off")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n]*Permission denied[^\n]*\n\Z")
        self.assertIn(self.root, done.stderr)

    def run_as_nobody(self, *args):
        """Root reads everything and listens everywhere, so pagewire runs as nobody (65534)."""
        drop = {}
        if os.geteuid() == 0:
            drop = {"user": 65534, "group": 65534, "extra_groups": []}
        try:
            return run_pagewire(*args, *NO_SELF_TEST, cwd="/", **drop)
        except PermissionError:
            self.skipTest("nobody may not run the binary where this checkout lies")

    def test_port_that_needs_root(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as first:
            if int(first.read()) < 2:
                self.skipTest("here every port is for everybody")
        done = self.run_as_nobody("serve", "/", "--listen", "127.0.0.1:1", "--admin", "off")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n]*127\.0\.0\.1:1: Permission denied[^\n]*"
                                      r"CAP_NET_BIND_SERVICE[^\n]*\n\Z")

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.refused(1, "serve", self.root, "--listen", address, "--admin", "off",
                         naming=(address, "in use"))
            self.refused(1, "serve", self.root, "--listen", "127.0.0.1:0", "--admin", address,
                         naming=(address, "in use", "--admin takes another address"))

    def test_port_of_another_pagewire(self):
        """SO_REUSEPORT must not let two servers of one user share a port by mistake."""
        with Pagewire(self.root, admin="off") as server:
            address = "%s:%d" % server.address
            self.refused(1, "serve", self.root, "--listen", address, "--admin", "off",
                         naming=(address, "in use"))

    def test_log_that_cannot_be_opened(self):
        name = self.folder.outside("missing/access.log")
        self.refused(1, "serve", self.root, "--listen", "127.0.0.1:0", "--admin", "off",
                     "--access-log", name, naming=(name,))


class ConfigTest(CliCase):
    def test_file_is_used_and_flags_win(self):
        self.folder.write("a.txt", "a")
        name = self.config(f'root = "{self.root}"\nlisten = ["127.0.0.1:0", "127.0.0.1:0"]\n'
                           'workers = 1\ncors = true\nadmin = "127.0.0.1:0"\n'
                           'head-timeout = "500ms"\nlog-format = "json"\n')
        with Pagewire(None, "--config", name, listen=(), admin=None) as server:
            self.wait_for(server, 2)
            for host, port in server.addresses:
                with fetch(f"http://{host}:{port}/a.txt") as answer:
                    self.assertEqual(answer.read(), b"a")
                    self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")
            self.assertIsNotNone(server.admin)
        with Pagewire(None, "--config", name, "--no-cors", admin="off") as server:
            self.assertEqual(len(server.addresses), 1)
            self.assertIsNone(server.admin)
            with fetch(server.url("/a.txt")) as answer:
                self.assertIsNone(answer.headers["Access-Control-Allow-Origin"])

    def wait_for(self, server, count):
        server.wait_for_addresses(count, with_admin=True)

    def test_unknown_key_is_named_with_its_line(self):
        name = self.config('workers = 1\n\nworkerz = 2\n')
        self.refused(2, "serve", self.root, "--config", name, naming=("workerz", ":3"))

    def test_wrong_values_are_named_with_their_line(self):
        for line, word in (('workers = "many"', "workers"), ("workers = 0", "workers"),
                           ("cors = 3", "cors"), ("path = 1", "path"),
                           ('path = "teleport"', "path"), ("listen = [1]", "listen"),
                           ('head-timeout = "soon"', "head-timeout")):
            with self.subTest(line):
                name = self.config("# first line\n" + line + "\n")
                self.refused(2, "serve", self.root, "--config", name, naming=(word, ":2"))

    def test_file_that_is_no_toml(self):
        for text in ("workers = = 1\n", "root = /srv\n", "cors = on\n", "memory-body = 16K\n"):
            with self.subTest(text):
                name = self.config(text)
                self.refused(2, "serve", self.root, "--config", name,
                             naming=(name, ":1", "quotes", "true or false"))

    def test_missing_file(self):
        done = run_pagewire("serve", self.root, "--config", self.folder.outside("none.toml"))
        self.assertIn(done.returncode, (1, 2))
        self.assertRegex(done.stderr, r"\A[^\n]*none\.toml[^\n]*\n\Z")

    def test_check_config(self):
        name = self.config(f'root = "{self.root}"\nworkers = 3\n')
        done = run_pagewire("serve", "--config", name, "--check-config")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^\s*workers\s*=\s*3\b")
        done = run_pagewire("serve", "--config", name, "--check-config", "--workers", "2")
        self.assertRegex(done.stdout, r"(?m)^\s*workers\s*=\s*2\b")

    def test_what_check_config_prints_is_a_config(self):
        done = run_pagewire("serve", self.root, "--check-config", "--path", "splice", "--cors",
                            "--listen", "127.0.0.1:18080", "--cache-control", "*.x=max-age=1")
        self.assertEqual(done.returncode, 0, done.stderr)
        again = run_pagewire("serve", "--config", self.config(done.stdout), "--check-config")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(self.settings(again.stdout), self.settings(done.stdout))

    def settings(self, text):
        return [line for line in text.splitlines() if re.match(r"[a-z-]+ *=", line)]

    def test_check_config_refuses_what_serve_refuses(self):
        self.refused(2, "serve", "--config", self.config("nonsense = 1\n"), "--check-config",
                     naming=("nonsense",))


class StartTest(CliCase):
    def test_ipv6_and_several_addresses(self):
        self.folder.write("a.txt", "a")
        if not self.has_ipv6():
            self.skipTest("no IPv6 loopback here")
        with Pagewire(self.root, listen=("127.0.0.1:0", "[::1]:0"), admin="off") as server:
            self.assertEqual([host for host, _ in server.addresses], ["127.0.0.1", "::1"])
            for host, port in server.addresses:
                shown = f"[{host}]" if ":" in host else host
                with fetch(f"http://{shown}:{port}/a.txt") as answer:
                    self.assertEqual(answer.read(), b"a")

    @staticmethod
    def has_ipv6():
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
            return True
        except OSError:
            return False

    def test_output_is_plain_when_it_is_no_terminal(self):
        with Pagewire(self.root) as server:
            pass
        self.assertNotRegex(server.output, r"[\x1b\r]")

    def test_server_header_can_be_switched_off(self):
        self.folder.write("a.txt", "a")
        for value, present in (("on", True), ("off", False)):
            with Pagewire(self.root, "--server-header", value, admin="off") as server:
                for target in ("/a.txt", "/none"):
                    try:
                        headers = fetch(server.url(target)).headers
                    except urllib.error.HTTPError as error:
                        headers = error.headers
                    self.assertEqual("Server" in headers, present, target)

    def test_connection_limit(self):
        def ask_one_too_many(server):
            """What it reads. The reset may be there before it has asked, or has been connected."""
            try:
                with socket.create_connection(server.address, timeout=PATIENCE_S) as extra:
                    extra.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
                    return extra.recv(4096)
            except (ConnectionResetError, BrokenPipeError):
                return b""
        self.folder.write("a.txt", "a")
        with Pagewire(self.root, "--max-connections", "2", "--workers", "1", admin="off") as server:
            kept = [socket.create_connection(server.address, timeout=PATIENCE_S) for _ in range(2)]
            for each in kept:
                each.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertIn(b" 200 ", each.recv(4096))
            answer = ask_one_too_many(server)
            self.assertTrue(answer == b"" or b" 503 " in answer.split(b"\r\n")[0], answer)
            for each in kept:
                each.close()


if __name__ == "__main__":
    unittest.main()
