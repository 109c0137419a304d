"""docs/METRICS.md, the dashboard and the alert rules against what the server really exports."""

import json
import os
import re
import shutil
import subprocess
import unittest

from support import (SOURCE, Pagewire, RawClient, TestFolder, TlsSocket, fetch_metrics, tls_flags,
                     wait_until)
from support.relay import Relay, Upstream

DEPLOY = os.path.join(SOURCE, "deploy")
RULES = os.path.join(DEPLOY, "prometheus")
OF_A_RELAY = "\n## Of a relay\n"
NAME = re.compile(r"\b(?:pagewire|process)_[a-z0-9_]+")


def text_of(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def expressions():
    """Of the dashboard and the rules: where, and the expression."""
    board = json.loads(text_of(DEPLOY, "grafana/pagewire.json"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    rules = text_of(RULES, "pagewire.rules.yml")
    for rule in re.findall(r"^ +expr: (\|\n(?: {10}.*\n)+|.*\n)", rules, re.M):
        yield "rules", rule


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
            cls.metrics = fetch_metrics(server)
        cls.documented = documented(text_of(SOURCE, "docs/METRICS.md").split(OF_A_RELAY)[0])

    def exported(self):
        """Also the samples that a histogram has."""
        names = set(self.metrics.types)
        for name, kind in self.metrics.types.items():
            if kind == "histogram":
                names |= {name + suffix for suffix in ("_bucket", "_sum", "_count")}
        return names

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

    def test_dashboard_and_rules_use_nothing_else(self):
        exported = self.exported()
        found = 0
        for where, expression in expressions():
            names = NAME.findall(re.sub(r'"[^"]*"', "", expression))
            self.assertTrue(names, f"{where}: {expression}")
            found += len(names)
            for name in names:
                self.assertIn(name, exported, where)
        self.assertGreater(found, 60)

    def test_every_rate_is_of_a_counter(self):
        counters = {name for name, kind in self.metrics.types.items() if kind != "gauge"}
        for where, expression in expressions():
            for name in re.findall(r"\b(?:rate|increase)\(([a-z_]+)", expression):
                self.assertIn(re.sub("_(bucket|sum|count)$", "", name), counters, where)

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
    SHARED = re.compile("process_|pagewire_(build_info|log_dropped_total|process_|host_|tls_)")

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
    """What Prometheus itself says of the rules and of the text."""

    def setUp(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is missing: ./dev test installs it (package prometheus)")

    def promtool(self, *arguments, **others):
        done = subprocess.run(["promtool", *arguments], cwd=RULES, capture_output=True, text=True,
                              timeout=60, check=False, **others)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_rules(self):
        self.promtool("check", "rules", "pagewire.rules.yml")
        self.promtool("test", "rules", "pagewire.rules.test.yml")

    def test_expressions_of_the_dashboard(self):
        board = json.loads(text_of(DEPLOY, "grafana/pagewire.json"))
        rules = {"groups": [{"name": "dashboard", "rules": [
            {"record": "panel", "labels": {"number": f"{panel['id']}{target['refId']}"},
             "expr": target["expr"].replace("$__rate_interval", "1m")}
            for panel in board["panels"] for target in panel["targets"]]}]}
        folder = TestFolder()
        self.addCleanup(folder.close)
        path = os.path.join(folder.root, "rules.yml")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(rules, file)  # JSON is YAML
        self.promtool("check", "rules", path)

    def test_text(self):
        folder = TestFolder()
        self.addCleanup(folder.close)
        with Pagewire(folder.root, *tls_flags()) as server:
            host, port = server.admin
            text = subprocess.run(["curl", "-fsS", f"http://{host}:{port}/metrics"], check=True,
                                  capture_output=True, text=True, timeout=30).stdout
        self.promtool("check", "metrics", input=text)


if __name__ == "__main__":
    unittest.main()
