"""docs/METRICS.md against what serve and relay really export; test_deploy has the dashboard and the
rules."""

import os
import re
import shutil
import subprocess
import unittest

from support import (SOURCE, Pagewire, RawClient, TestFolder, TlsSocket, fetch_metrics, settle,
                     tls_flags, wait_until)
from support.relay import Relay, Upstream

OF_A_RELAY = "\n## Of a relay\n"


def text_of(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def documented(text):
    """Name, type, unit with labels, and question of each row."""
    return re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]+) \| ([^|]+) \|$",
                      text, re.M)


class MetricsDocumentedTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = TestFolder()
        cls.addClassCleanup(folder.close)
        folder.coded("a.bin", 300_000)
        with Pagewire(folder.root, *tls_flags()) as server:
            with RawClient(server.address) as client:
                client.get("/a.bin")
            wait_until(lambda: fetch_metrics(server).total("tcp_closed_connections_total$")
                       and fetch_metrics(server).total("_worker_events_total$") > 1,
                       "the connection is closed, and a tick later")
            settle(server)
            cls.metrics = fetch_metrics(server)
        cls.documented = documented(text_of(SOURCE, "docs/METRICS.md").split(OF_A_RELAY)[0])

    def test_every_metric_is_documented_and_the_other_way_round(self):
        documented = {name: kind for name, kind, _, _ in self.documented}
        self.assertEqual(len(documented), len(self.documented), "one is there twice")
        self.assertEqual(documented, self.metrics.types)

    def test_labels_are_those_that_are_exported(self):
        for name, _, unit, _ in self.documented:
            labels = set(re.findall(r"`([a-z]+)`", unit))
            for _, its, _ in self.metrics.find(f"^{name}$"):
                self.assertEqual(set(its), labels, name)

    def test_names_end_as_their_unit_wants_it(self):
        for name, kind, unit, question in self.documented:
            self.assertEqual(kind == "counter", name.endswith("_total"), name)
            for word in ("seconds", "bytes"):
                if name.startswith("pagewire_path_bytes_per_call"):
                    continue
                self.assertEqual(unit.startswith(word), word in name.split("_")[-2:], name)
            self.assertGreater(len(question), 10, name)

    def test_new_figures_of_a_connection(self):
        total = self.metrics.total
        self.assertEqual(total("^pagewire_tcp_closed_connections_total$"), 1)
        self.assertLessEqual(total("^pagewire_tcp_limited_seconds_total$"),
                             total("^pagewire_tcp_busy_seconds_total$") + 1e-3)
        self.assertEqual(total("^pagewire_worker_requests_total$"),
                         total("^pagewire_requests_total$"))
        self.assertEqual(total("^pagewire_worker_sent_bytes_total$"),
                         total("^pagewire_path_bytes_total$"))
        self.assertGreater(total("^pagewire_worker_wakeups_total$"), 0)
        self.assertGreater(total("^pagewire_worker_events_total$"), 0)
        self.assertGreaterEqual(total("^pagewire_residency_asked_bytes_total$"), 300_000)
        self.assertEqual(total("^pagewire_residency_asked_bytes_total$"),
                         total("^pagewire_residency_found_bytes_total$"))
        self.assertGreater(total("^process_cpu_seconds_total$"), 0)
        self.assertTrue(5 < total("^process_open_fds$") < total("^process_max_fds$"))
        self.assertGreater(total("^pagewire_host_tcp_sent_segments_total$"), 0)


class RelayMetricsDocumentedTest(unittest.TestCase):
    SHARED = re.compile("process_|pagewire_(build_info|log_dropped_total|process_|host_|"
                        "worker_(cpu|wakeups|events)|tls_)")

    def test_every_metric_is_documented_and_the_other_way_round(self):
        folder = TestFolder()
        self.addCleanup(folder.close)
        upstream = Upstream(lambda connection: connection.sendall(b"x" * 1000))
        self.addCleanup(upstream.close)
        relay = Relay("--mirror", os.path.join(folder.root, "mirror"), *tls_flags()[2:],
                      to=[upstream.address])
        self.addCleanup(relay.kill)
        with relay.connect() as raw:
            client = TlsSocket(raw)
            while client.recv(4096):
                pass
        settle(relay)  # what has labels of its own is there once it was counted
        metrics = fetch_metrics(relay)
        above, below = text_of(SOURCE, "docs/METRICS.md").split(OF_A_RELAY)
        own = {name: kind for name, kind, _, _ in documented(below)}
        shared = {name: kind for name, kind, _, _ in documented(above) if self.SHARED.match(name)}
        self.assertLess(20, len(own))
        self.assertEqual({**own, **{name: kind for name, kind in shared.items()
                                    if name in metrics.types}}, metrics.types)
        for name, _, unit, _ in documented(below):
            for _, its, _ in metrics.find(f"^{name}$"):
                self.assertEqual(set(its), set(re.findall(r"`([a-z]+)`", unit)), name)


class PromtoolTest(unittest.TestCase):
    """What Prometheus itself says of the text."""

    def setUp(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is missing: ./dev test installs it (package prometheus)")

    def test_text(self):
        folder = TestFolder()
        self.addCleanup(folder.close)
        with Pagewire(folder.root, *tls_flags()) as server:
            host, port = server.admin
            text = subprocess.run(["curl", "-fsS", f"http://{host}:{port}/metrics"], check=True,
                                  capture_output=True, text=True, timeout=30).stdout
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
