"""--engine: what it says of itself, what becomes of it without io_uring, and that the responses
that the io_uring loop sends in batches stay whole, in order and counted."""

import http.client
import re
import shutil
import subprocess
import tempfile
import unittest

from support import (Pagewire, RawClient, TestFolder, coded_bytes, fetch_metrics, request_head,
                     settle)
from support.server import BINARY, PATIENCE_S, SANITIZER

FILES = 16


@unittest.skipIf(SANITIZER or shutil.which("strace") is None, "a sanitized program is not traced")
class WithoutUring(unittest.TestCase):
    """As in a container whose seccomp filter forbids it."""

    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)

    def under(self, fault="inject=io_uring_setup:error=EPERM", log="/dev/null"):
        """-D: the server is the process started, so that signals reach it."""
        return ["strace", "-D", "-f", "-qq", "-o", log, "-e", fault]

    def said_by_server(self, *flags, **others):
        with Pagewire(self.folder.root, *flags, admin="off", under=self.under(**others)) as server:
            with RawClient(server.address) as client:
                self.assertEqual(client.get("/none").status, 404)
        return server.output

    def test_asked_for_by_name_it_ends_and_says_why(self):
        done = subprocess.run(
            [*self.under(), BINARY, "serve", self.folder.root, "--listen", "127.0.0.1:0",
             "--admin", "off", "--engine", "uring"],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot make the uring loop: io_uring_setup: Operation not permitted",
                      done.stderr)

    def test_auto_serves(self):
        said = self.said_by_server("--engine", "auto")
        self.assertIn("engine epoll", said)
        self.assertIn("no io_uring here", said)

    def test_auto_serves_when_there_is_too_little_for_all_workers(self):
        """As with a low limit on locked memory: the last worker's ring is one too many."""
        flags = ("--engine", "auto", "--workers", "2", "--self-test", "off")
        with tempfile.NamedTemporaryFile("r") as log:
            self.said_by_server(*flags, fault="trace=io_uring_setup", log=log.name)
            # The second half of a call that another interrupted is "<... io_uring_setup resumed>".
            rings = len(re.findall(r"io_uring_setup\(", log.read()))
        self.assertGreaterEqual(rings, 3)  # the last ones are the probe's and the workers'
        fault = f"inject=io_uring_setup:error=ENOMEM:when={rings}+"
        said = self.said_by_server(*flags, fault=fault)
        self.assertIn("engine epoll", said)
        self.assertIn("no io_uring for all workers", said)


class Engines(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        for number in range(FILES):
            self.folder.write(f"{number}.bin", self.content(number))
            self.folder.age(f"{number}.bin")

    @staticmethod
    def content(number):
        return coded_bytes(0, 500 + 37 * number, salt=number)

    def serve(self, engine):
        server = Pagewire(self.folder.root, "--engine", engine, "--workers", "1")
        self.addCleanup(server.stop)
        return server

    def test_it_says_what_runs(self):
        for engine, runs in (("auto", "uring"), ("epoll", "epoll"), ("uring", "uring")):
            with self.subTest(engine=engine):
                server = self.serve(engine)
                self.assertIn(f"engine {runs}", server.output)
                metrics = fetch_metrics(server)
                self.assertEqual(metrics.total("pagewire_engine_info", engine=runs), 1)
                connection = http.client.HTTPConnection(*server.admin, timeout=PATIENCE_S)
                self.addCleanup(connection.close)
                connection.request("GET", "/healthz")
                self.assertEqual(connection.getresponse().headers["Pagewire-Engine"], runs)

    def test_pipelined_responses_stay_whole_in_order_and_counted(self):
        clients, rounds = 20, 30
        for engine in ("epoll", "uring"):
            with self.subTest(engine=engine):
                server = self.serve(engine)
                open_clients = [RawClient(server.address) for _ in range(clients)]
                heads = b"".join(request_head(f"/{number}.bin") for number in range(FILES))
                received = 0
                for client in open_clients:
                    self.addCleanup(client.close)
                for client in open_clients:
                    client.send(heads * rounds)
                for client in open_clients:
                    for number in list(range(FILES)) * rounds:
                        message = client.read()
                        self.assertEqual(message.body, self.content(number))
                        received += len(message.body)
                settle(server)
                metrics = fetch_metrics(server)
                requests = clients * rounds * FILES
                self.assertEqual(metrics.total("pagewire_requests_total", status="200"), requests)
                self.assertEqual(
                    metrics.total("pagewire_path_responses_total", path="copy"), requests)
                self.assertGreater(
                    metrics.total("pagewire_path_bytes_total", path="copy"), received)
                # A worker passes these on at its next tick, and at the first one some were made.
                calls = metrics.total("pagewire_uring_enter_calls_total")
                self.assertEqual(calls > 0, engine == "uring")
                self.assertLess(calls, requests)

    def test_client_that_goes_with_its_answers_in_flight(self):
        server = self.serve("uring")
        heads = request_head("/1.bin") * 200
        for _ in range(200):
            with RawClient(server.address) as client:
                client.send(heads)
                client.reset()
        with RawClient(server.address) as client:
            self.assertEqual(client.get("/2.bin").body, self.content(2))


if __name__ == "__main__":
    unittest.main(verbosity=2)
