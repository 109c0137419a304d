"""The admin listener: /healthz and /metrics; and that the figures add up."""

import base64
import hashlib
import http.client
import os
import re
import time
import unittest

from support import (Pagewire, RawClient, TestFolder, coded_bytes, fetch_metrics, request_head,
                     settle, wait_until)
from support.server import PATIENCE_S

SIZE = 300_000
DURATION = "pagewire_request_duration_seconds"


class AdminTest(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.folder.coded("a.bin", SIZE)
        self.folder.coded("b.bin", 100)

    def serve(self, *flags, **others):
        server = Pagewire(self.folder.root, *flags, **others)
        self.addCleanup(server.stop)
        return server

    def ask(self, server, target, method="GET"):
        connection = http.client.HTTPConnection(*server.admin, timeout=PATIENCE_S)
        self.addCleanup(connection.close)
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def test_healthz(self):
        server = self.serve()
        status, _, body = self.ask(server, "/healthz")
        self.assertEqual((status, body.strip()), (200, b"ok"))
        self.assertEqual(self.ask(server, "/healthz", "HEAD")[::2], (200, b""))

    def test_what_else_is_asked(self):
        server = self.serve()
        self.assertEqual(self.ask(server, "/a.bin")[0], 404)
        self.assertEqual(self.ask(server, "/metrics", "POST")[0], 405)
        with RawClient(server.admin) as client:
            client.send(b"nonsense\r\n\r\n")
            self.assertEqual(client.read().status, 400)
        self.assertEqual(self.ask(server, "/healthz")[0], 200)

    def test_page(self):
        """It may load nothing from anywhere; whether it works is for tests/browser."""
        server = self.serve()
        status, headers, body = self.ask(server, "/")
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "text/html; charset=utf-8")
        policy = dict(rule.split(" ", 1)
                      for rule in headers["Content-Security-Policy"].split("; "))
        self.assertEqual(policy["default-src"], "'none'")
        for element, rule in ((b"script", "script-src"), (b"style", "style-src")):
            parts = re.findall(b"<%b>(.*?)</%b>" % (element, element), body, re.S)
            hashes = [base64.b64encode(hashlib.sha256(part).digest()).decode() for part in parts]
            # A program that was built without node has a page without either.
            self.assertEqual(policy.get(rule, "'none'"),
                             " ".join(f"'sha256-{each}'" for each in hashes) or "'none'")
        self.assertEqual(policy["frame-ancestors"], "'none'")
        self.assertTrue(body.startswith(b"<!doctype html>") and body.endswith(b"</html>\n"))
        self.assertEqual(int(headers["Content-Length"]), len(body))
        self.assertEqual(self.ask(server, "/?x", "HEAD")[::2], (200, b""))

    def test_doctor_report(self):
        """A file of the doctor's, as it is now; null while there is none."""
        self.assertEqual(self.ask(self.serve(), "/doctor.json")[2], b"null\n")
        name = os.path.join(self.folder.root, "report.json")
        server = self.serve("--doctor-report", name)
        status, headers, body = self.ask(server, "/doctor.json")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        self.assertEqual(body, b"null\n")
        self.assertIn(f"no report of doctor in {name} now: No such file", server.output)
        self.folder.write("report.json", b'{"kind": "doctor"}\n')
        os.utime(name, (784111777, 784111777))
        _, headers, body = self.ask(server, "/doctor.json")
        self.assertEqual(body, b'{"kind": "doctor"}\n')
        self.assertEqual(headers["Last-Modified"], "Sun, 06 Nov 1994 08:49:37 GMT")
        self.folder.write("report.json", b"x" * (2 << 20))  # more than a report ever is
        self.assertEqual(self.ask(server, "/doctor.json")[2], b"null\n")

    def test_admin_is_not_on_the_public_listener(self):
        server = self.serve()
        with RawClient(server.address) as client:
            for target in ("/", "/metrics", "/healthz", "/doctor.json"):
                self.assertEqual(client.get(target).status, 404)

    def test_off(self):
        server = self.serve(admin="off")
        self.assertIsNone(server.admin)
        with RawClient(server.address) as client:
            self.assertEqual(client.get("/b.bin").status, 200)

    def test_metrics_type(self):
        _, headers, _ = self.ask(self.serve(), "/metrics")
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))

    def test_every_sample_has_a_type(self):
        metrics = fetch_metrics(self.serve())
        for name, _, _ in metrics.samples:
            base = name
            for suffix in ("_bucket", "_sum", "_count"):
                if name not in metrics.types:
                    base = base.removesuffix(suffix)
            self.assertIn(base, metrics.types, name)

    def test_requests_bytes_and_reasons_add_up(self):
        server = self.serve("--workers", "2")
        sent = 0
        for _ in range(4):
            with RawClient(server.address) as client:
                for target, method in (("/a.bin", "GET"), ("/b.bin", "GET"), ("/none", "GET"),
                                       ("/a.bin", "HEAD"), ("/a.bin", "POST")):
                    answer = client.get(target, method)
                    sent += len(answer.body)
                    self.assertFalse(answer.closes)
                client.send(request_head("/a.bin", fields=("Range: bytes=9-18",)))
                answer = client.read()
                self.assertEqual(answer.body, coded_bytes(9, 10))
                sent += 10
        requests = "pagewire_requests_total"
        settle(server)
        metrics = fetch_metrics(server)
        for status, count in (("200", 12), ("206", 4), ("404", 4), ("405", 4)):
            self.assertEqual(metrics.total(requests, status=status), count, status)
        self.assertEqual(metrics.total(requests), 24)
        self.assertEqual(metrics.total("_path_responses_total$"), 24)
        self.assertEqual(metrics.total("_path_reasons_total$"), 24)
        total = metrics.total("_path_bytes_total$")
        self.assertTrue(sent < total < sent + 24 * 1024, (sent, total))
        for name, labels, average in metrics.find("_bytes_per_call$"):
            moved = metrics.total("_path_bytes_total$", **labels)
            calls = metrics.total("_path_calls_total$", **labels)
            self.assertAlmostEqual(average, moved / calls, delta=average / 1000, msg=name)
        self.assertEqual(metrics.total("connections_accepted_total$"), 4)

    def test_histogram_adds_up(self):
        server = self.serve()
        begin = time.monotonic()
        with RawClient(server.address) as client:
            for _ in range(50):
                client.get("/b.bin")
        settle(server)
        longest_s = time.monotonic() - begin  # that any of them can have taken
        metrics = fetch_metrics(server)
        self.assertEqual(metrics.types[DURATION], "histogram")
        buckets = [(float(labels["le"]), value)
                   for _, labels, value in metrics.find(f"^{DURATION}_bucket$")]
        self.assertEqual(buckets, sorted(buckets))
        counts = [count for _, count in buckets]
        self.assertEqual(counts, sorted(counts), "cumulative")
        self.assertEqual(buckets[-1], (float("inf"), 50))
        self.assertEqual(metrics.total(f"^{DURATION}_count$"), 50)
        self.assertTrue(0 < metrics.total(f"^{DURATION}_sum$") < 50 * longest_s)

    def test_open_connections(self):
        server = self.serve()
        gauge = "pagewire_connections_open$"
        clients = [RawClient(server.address) for _ in range(7)]
        for client in clients:
            self.assertEqual(client.get("/b.bin").status, 200)
        settle(server)
        self.assertEqual(fetch_metrics(server).total(gauge), 7)
        for client in clients:
            client.close()
        wait_until(lambda: fetch_metrics(server).total(gauge) == 0, "no connection open")

    def test_broken_off_transfers_are_counted(self):
        self.folder.coded("big.bin", 64 << 20)
        server = self.serve()
        client = RawClient(server.address, receive_buffer=4096)
        client.send(request_head("/big.bin"))
        client.read_head()
        client.reset()
        wait_until(lambda: fetch_metrics(server).total("connection_ends_total$",
                                                       why="peer-reset") == 1, "the reset counted")
        self.assertLess(fetch_metrics(server).total("_path_bytes_total$"), 64 << 20)


if __name__ == "__main__":
    unittest.main()
