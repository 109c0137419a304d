"""pagewire top beside a relay: each upstream once, workers, ends, the queue, the mirror; on a
terminal and as JSON."""

import json
import os
import threading
import unittest

import jsonschema

from support import (BINARY, SOURCE, Relay, TestFolder, Upstream, fetch_metrics, free_port,
                     run_pagewire, wait_until)
from support.server import PATIENCE_S
from support.terminal import OnTerminal

BIG = b"0123456789abcdef" * (1 << 14)  # 256 KiB


def give(connection):
    """What is asked for: a line "big" is answered with BIG, any other one with itself."""
    for line in connection.makefile("rb"):
        connection.sendall(BIG if line == b"big\n" else line)


class TopOfRelayTest(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.upstream = Upstream(give)
        self.addCleanup(self.upstream.close)
        self.dead = ("127.0.0.1", free_port())

    def relay(self, *flags, to=None):
        relay = Relay("--workers", "2", *flags, to=to or [self.upstream.address])
        self.addCleanup(relay.kill)
        return relay

    def load(self, relay):
        """Connections one after the other, each with something small and something large, until the
        test is over."""
        over = threading.Event()

        def ask():
            while not over.wait(0.005):
                with relay.connect() as client, client.makefile("rb") as answers:
                    client.sendall(b"small\n")
                    answers.readline()
                    client.sendall(b"big\n" * 4)
                    answers.read(4 * len(BIG))
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE_S)
        self.addCleanup(over.set)

    def watch(self, relay, **terminal):
        top = OnTerminal([BINARY, "top", "--interval", "200ms", "--admin",
                          "{}:{}".format(*relay.admin)], **terminal)
        self.addCleanup(top.__exit__)
        return top

    def report_of(self, relay, holds, intervals=("500ms", "5s", "20s")):
        """Of an interval in which the load, and the relay's threads, have had a CPU."""
        for interval in intervals:
            report = self.report(relay, interval)
            if holds(report):
                break
        return report

    def report(self, relay, interval):
        done = run_pagewire("top", "--admin", "{}:{}".format(*relay.admin), "--once", "--json",
                            "--interval", interval)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        with open(os.path.join(SOURCE, "docs/top.schema.json"), encoding="utf-8") as file:
            jsonschema.validate(report, json.load(file))
        return report

    def test_picture(self):
        relay = self.relay("--check", "--check-interval", "100ms", "--fall", "1",
                           to=[self.upstream.address, self.dead])
        self.load(relay)
        top = self.watch(relay, columns=110, rows=40)
        top.wait_for(r"^[0-9.]+ Gbit/s  \([0-9.<]+ up, [0-9.]+ down\)  [0-9.]+ new connections/s  "
                     r"\d+ connections  CPU [0-9.]+%")
        top.wait_for(r"^\d+ tunnels  pipes \d+ in use, \d+ idle  retries [0-9.]+/s")
        top.wait_for(r"^splice +[0-9.]+% +[0-9.]+ +[0-9.]+ KiB$")
        top.wait_for(r"^ends:  done [0-9.]+/s$")
        top.wait_for(r"^switches:.*  bulk [0-9.]+/s")
        top.wait_for(r"^WORKER +Gbit/s up +down +new/s +conns +CPU")
        top.wait_for(r"^0 +[0-9.<]+ +[0-9.]+")
        top.wait_for(r"^relay +1 of 2 ")
        alive, dead = ("{}:{}".format(*address) for address in (self.upstream.address, self.dead))
        top.wait_for(rf"^{alive} +up +\d+ +[0-9.]+$")
        top.wait_for(rf"^{dead} +DOWN +0 +0$")
        screen = top.screen.text()
        self.assertEqual((screen.count(alive), screen.count(dead)), (1, 1), screen)
        for of_serve in ("requests/s", "resp/s", "cold waits", "_"):
            self.assertNotIn(of_serve, screen)
        top.resize(40, 40)
        top.wait_for(rf"^{dead[:20]}.* DOWN ")
        self.assertTrue(all(len(line) <= 40 for line in top.screen.text().split("\n")))
        top.press("q")
        self.assertEqual(top.wait(), 0)

    def test_json(self):
        relay = self.relay("--mirror", os.path.join(self.folder.root, "mirror"))
        self.load(relay)
        rates = "gbit_per_s", "gbit_down_per_s", "new_connections_per_s"
        report = self.report_of(relay, lambda report: (
            report["new_connections_per_s"] * report["interval_s"] > 20
            and all(abs(sum(row[key] for row in report["workers"]) - report[key])
                    < report[key] / 10 for key in rates)))
        self.assertEqual(report["program"], "relay")
        for key in ("gbit_per_s", "gbit_up_per_s", "gbit_down_per_s", "new_connections_per_s"):
            self.assertGreater(report[key], 0, key)
        self.assertAlmostEqual(report["gbit_up_per_s"] + report["gbit_down_per_s"],
                               report["gbit_per_s"], delta=report["gbit_per_s"] / 10)
        self.assertGreater(report["gbit_down_per_s"], 100 * report["gbit_up_per_s"])
        self.assertEqual([row["worker"] for row in report["workers"]], ["0", "1"])
        for key in rates:
            # The workers are read one after the other, while they go on.
            self.assertAlmostEqual(sum(row[key] for row in report["workers"]), report[key],
                                   delta=report[key] / 10)
        self.assertEqual({row["path"] for row in report["paths"]}, {"splice", "copy"})
        self.assertAlmostEqual(sum(row["share"] for row in report["paths"]), 1, places=6)
        self.assertEqual(set(report["ends_per_s"]), {"done"})
        self.assertIn("bulk", report["switches_per_s"])
        self.assertTrue(report["splice_usable"])
        self.assertEqual(report["errors_per_s"], {})
        [route] = report["relays"]
        self.assertEqual(route["relay"], "relay")
        self.assertGreater(route["mirror"]["gbit_per_s"], 0)
        [upstream] = route["upstreams"]
        self.assertEqual(upstream["address"], "{}:{}".format(*self.upstream.address))
        self.assertAlmostEqual(upstream["connects_per_s"], report["new_connections_per_s"],
                               delta=report["new_connections_per_s"] / 4 + 4)

    def test_failures_and_the_queue(self):
        relay = self.relay("--max-upstream-connections", "1", "--retries", "0",
                           "--queue-timeout", "60s")
        with relay.connect(), relay.connect(), relay.connect():
            wait_until(lambda: fetch_metrics(relay).total("relay_queued$") == 2, "two wait")
            report = self.report(relay, "100ms")
            self.assertEqual((report["connections"], report["tunnels"]), (3, 1))
            self.assertEqual(sum(row["connections"] for row in report["workers"]), 3)
            self.assertEqual(report["relays"][0]["queued"], 2)
            self.assertEqual(report["relays"][0]["upstreams"][0]["connections"], 1)
            self.assertIsNone(report["relays"][0]["mirror"])
        broken = self.relay("--retries", "0", to=[self.dead])
        over = threading.Event()

        def knock():
            while not over.wait(0.05):
                broken.connect().close()
        knocks = threading.Thread(target=knock, daemon=True)
        knocks.start()
        report = self.report_of(broken, lambda report: (
            report["ends_per_s"] and report["relays"][0]["upstreams"][0]["failures_per_s"]))
        over.set()
        knocks.join()
        [upstream] = report["relays"][0]["upstreams"]
        self.assertEqual(set(upstream["failures_per_s"]), {"refused"})
        self.assertTrue({"connect-failed", "client-reset"} & set(report["ends_per_s"]), report)


if __name__ == "__main__":
    unittest.main()
