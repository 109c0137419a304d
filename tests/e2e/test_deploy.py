"""The dashboard and the alert rules: against Grafana's types, by promtool, and in a Prometheus that
scrapes a serve and a relay."""

import contextlib
import glob
import itertools
import json
import math
import os
import re
import shutil
import socket
import subprocess
import threading
import unittest

from support import (SOURCE, Pagewire, RawClient, Relay, TestFolder, Upstream, tls_flags,
                     wait_until)
from support.prometheus import Prometheus

BOARD = os.path.join(SOURCE, "deploy/grafana/pagewire.json")
RULES = os.path.join(SOURCE, "deploy/prometheus")
RULES_FILE = os.path.join(RULES, "pagewire.rules.yml")
PATIENCE_S = 60
COLUMNS = 24
NAME = re.compile(r"\b(?:pagewire|process)_[a-z0-9_]+")
# label=~"a|b": the label, how, the words.
MATCHER = re.compile(r'\b([a-z]+)(=~|!~|!=|=)"([^"]*)"')


def text_of(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def board():
    return json.loads(text_of(BOARD))


def panels():
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def targets():
    """(the panel's title, the target) of each query of the dashboard."""
    return [(panel["title"], target) for panel in panels() for target in panel["targets"]]


def rules():
    """(name, expression) of each rule."""
    return re.findall(r"^ +- (?:alert|record): (\w+)\n +expr: (\|\n(?: {10}.*\n)+|.*\n)",
                      text_of(RULES_FILE), re.M)


class DashboardTest(unittest.TestCase):
    def test_grafana_types(self):
        """By Grafana's own description of its JSON (@grafana/schema) and tsc."""
        modules = os.path.join(SOURCE, "web/node_modules")
        tsc = os.path.join(modules, "typescript/bin/tsc")
        if not shutil.which("node") or not os.path.exists(tsc):
            self.skipTest("node, typescript or @grafana/schema is missing: ./dev test installs it")
        folder = TestFolder()
        self.addCleanup(folder.close)
        os.symlink(modules, os.path.join(folder.root, "node_modules"))
        shutil.copy(os.path.join(SOURCE, "tests/support/dashboard_types.ts"), folder.root)
        folder.write("board.ts", b'import type { Board } from "./dashboard_types";\n'
                     b"export const board: Board = %b;\n" % text_of(BOARD).encode())
        folder.write("tsconfig.json", json.dumps({
            "files": ["board.ts"],
            "compilerOptions": {"strict": True, "noEmit": True, "skipLibCheck": True, "types": [],
                                "module": "esnext", "moduleResolution": "bundler",
                                "target": "es2022"}}).encode())
        done = subprocess.run(["node", tsc, "--project", folder.root], cwd=folder.root,
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_what_an_import_needs(self):
        self.assertRegex(board()["uid"], r"^[\w-]{1,40}$")
        # 36 is the first with data sources as objects, as they are here.
        self.assertGreaterEqual(board()["schemaVersion"], 36)
        self.assertNotIn("id", board(), "of one Grafana's database")
        self.assertNotIn("__inputs", board(), "a variable asks for the data source")

    def test_panels(self):
        ids = [panel["id"] for panel in board()["panels"]]
        self.assertEqual(len(set(ids)), len(ids))
        for one, other in itertools.combinations([each["gridPos"] for each in board()["panels"]],
                                                 2):
            apart = (one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                     or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"])
            self.assertTrue(apart, f"{one} and {other} overlap")
        for panel in board()["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], COLUMNS, panel["title"])
        for panel in panels():
            letters = [target["refId"] for target in panel["targets"]]
            self.assertEqual(len(set(letters)), len(letters), panel["title"])

    def test_every_data_source_is_the_variable(self):
        wanted = {"type": "prometheus", "uid": "${datasource}"}
        for title, target in targets():
            self.assertEqual(target["datasource"], wanted, title)
        for panel in panels():
            self.assertEqual(panel["datasource"], wanted, panel["title"])
        variables = {variable["name"]: variable for variable in board()["templating"]["list"]}
        self.assertEqual(variables["datasource"]["type"], "datasource")
        self.assertEqual(variables["instance"]["datasource"], wanted)

    def test_variables(self):
        """Each that is used is there, and every query is of the instances that were chosen."""
        defined = {variable["name"] for variable in board()["templating"]["list"]}
        for title, target in targets():
            used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval"}
            self.assertEqual(used, {"instance"}, title)
        self.assertEqual(defined, {"datasource", "instance"})
        for title, target in targets():
            chosen = target["expr"].count('{instance=~"$instance"')
            of_all = len(re.findall(r"and on \(instance\) \w+", target["expr"]))
            self.assertEqual(chosen + of_all, len(NAME.findall(target["expr"])), title)


class PromtoolTest(unittest.TestCase):
    def setUp(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is missing: ./dev test installs it (package prometheus)")

    def test_rules(self):
        for arguments in (("check", "rules", "pagewire.rules.yml"),
                          ("test", "rules", "pagewire.rules.test.yml")):
            done = subprocess.run(["promtool", *arguments], cwd=RULES, capture_output=True,
                                  text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_rule_is_set_off_by_its_test(self):
        fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n +- exp_labels",
                               text_of(RULES, "pagewire.rules.test.yml")))
        self.assertEqual(fired, {name for name, _ in rules()})
        self.assertGreater(len(fired), 15)


class PrometheusTest(unittest.TestCase):
    """Every query and rule in a Prometheus that scrapes a serve and a relay to which happens what
    the panels show."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which("prometheus"):
            raise unittest.SkipTest("prometheus is missing: ./dev test installs it")
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        cls.folder.coded("large.bin", 4 << 20)
        cls.folder.coded("small.bin", 900)
        cls.serve = Pagewire(cls.folder.root, "--max-connections", "8", *tls_flags())
        cls.addClassCleanup(cls.serve.kill)
        upstream = Upstream(lambda connection: connection.sendall(b"x" * 300_000))
        cls.addClassCleanup(upstream.close)
        nobody = socket.socket()  # who is asked on a port that it has and does not listen on
        nobody.bind(("127.0.0.1", 0))
        cls.addClassCleanup(nobody.close)
        # no-host.invalid is looked up in vain; the others serve the relay's clients.
        cls.relay = Relay("--mirror", os.path.join(cls.folder.root, "mirror"), "--to",
                          "no-host.invalid:1", "--resolve-interval", "1s",
                          "--max-connections", "8",
                          to=[upstream.address, nobody.getsockname()])
        cls.addClassCleanup(cls.relay.kill)
        over = threading.Event()
        for load in (cls.load_serve, cls.load_relay):
            thread = threading.Thread(target=cls.repeat, args=(load, over), daemon=True)
            thread.start()
            cls.addClassCleanup(thread.join, PATIENCE_S)
        cls.addClassCleanup(over.set)
        cls.prometheus = Prometheus([cls.serve, cls.relay], RULES_FILE)
        cls.addClassCleanup(cls.prometheus.close)

    @staticmethod
    def repeat(load, over):
        while not over.wait(0.05):
            try:
                load()
            except (OSError, AssertionError):
                pass  # one that was turned away

    @classmethod
    def load_serve(cls):
        with RawClient(cls.serve.addresses[0]) as client:
            client.get("/large.bin")
            client.get("/small.bin")
            client.get("/small.bin", method="BREW")  # 501
        with RawClient(cls.serve.tls_addresses[0], tls=True) as client:
            client.get("/small.bin")
        with RawClient(cls.serve.addresses[0], receive_buffer=4096) as client:
            client.send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            client.read_head()
            client.reset()
        cls.crowd(cls.serve.addresses[0])

    @classmethod
    def load_relay(cls):
        with cls.relay.connect() as client:
            while client.recv(1 << 18):
                pass
        cls.crowd(cls.relay.address)

    @staticmethod
    def crowd(address):
        """More than --max-connections at once."""
        with contextlib.ExitStack() as clients:
            for _ in range(40):
                clients.enter_context(socket.create_connection(address, timeout=PATIENCE_S))

    def expanded(self, expression):
        """As Grafana asks: all instances chosen, the interval that belongs to the scrapes."""
        instances = [labels["instance"] for labels, _ in
                     self.prometheus.query("pagewire_build_info")]
        chosen = "|".join(re.escape(instance).replace("\\", "\\\\") for instance in instances)
        return (expression.replace("$instance", f"({chosen})")
                .replace("$__rate_interval", "3s"))

    def until_there_is_data(self, what, expression):
        """A sample of each query, and one that is a number."""
        found = []

        def look():
            found[:] = self.prometheus.query(self.expanded(expression))
            return any(math.isfinite(value) for _, value in found)
        wait_until(look, f"data of {what}: {expression}", PATIENCE_S)
        return found

    def test_every_query_of_the_dashboard_has_data(self):
        for title, target in targets():
            samples = self.until_there_is_data(title, target["expr"])
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                self.assertTrue(any(label in labels for labels, _ in samples),
                                f"{title}: no {label} in {samples[:3]}")

    def test_variable_finds_both(self):
        [variable] = [each for each in board()["templating"]["list"] if each["type"] == "query"]
        series, label = re.fullmatch(r"label_values\((\w+), (\w+)\)",
                                     variable["query"]["query"]).groups()
        self.until_there_is_data("the variable", series)
        wait_until(lambda: {labels[label] for labels, _ in self.prometheus.query(series)}
                   == {"{}:{}".format(*each.admin) for each in (self.serve, self.relay)},
                   "both are found")

    def test_every_rule_is_evaluated(self):
        def states():
            return {rule["name"]: rule["health"] for group in
                    self.prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]}
        wait_until(lambda: "unknown" not in states().values(), "all have been evaluated")
        self.assertEqual(states(), {name: "ok" for name, _ in rules()})

    def test_every_series_of_the_rules_exists(self):
        for name, expression in rules():
            for series in NAME.findall(re.sub(r'"[^"]*"', "", expression)):
                self.until_there_is_data(name, f"count({series})")

    def test_every_rate_is_of_a_counter(self):
        for series in ("pagewire_requests_total", "pagewire_relay_connections_total"):
            self.until_there_is_data("the first scrape", series)
        types = {name: facts[0]["type"] for name, facts in
                 self.prometheus.get("/api/v1/metadata").items()}
        for where, expression in [(title, target["expr"]) for title, target in targets()] + rules():
            for name in re.findall(r"\b(?:rate|increase)\(([a-z_]+)", expression):
                family = re.sub("_(bucket|sum|count)$", "", name)
                self.assertIn(types.get(family), ("counter", "histogram"), f"{where}: {name}")


class WordsTest(unittest.TestCase):
    def test_every_value_of_a_label_is_one_that_the_program_has(self):
        """why="read-error" in a rule would never fire if the program said "read_error"."""
        sources = glob.glob(os.path.join(SOURCE, "src/**/*.cpp"), recursive=True)
        program = set(re.findall('"([^"\n]*)"', "".join(text_of(path) for path in sources)))
        looked = 0
        for where, expression in [(title, target["expr"]) for title, target in targets()] + rules():
            for label, how, words in MATCHER.findall(expression):
                if label in ("instance", "status"):
                    continue
                self.assertIn(how, ("=", "=~", "!="))
                for word in words.split("|"):
                    looked += 1
                    self.assertTrue(word in program, f"{where}: {label}={word}")
        self.assertGreater(looked, 8)


if __name__ == "__main__":
    unittest.main()
