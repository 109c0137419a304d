"""A relay's status page in Chromium: its figures move, each upstream stands there once with its
state, and nothing of serve is shown. Screenshots stay under build/browser/."""

import json
import os
import subprocess
import threading
import unittest

from support import SANITIZER, SOURCE, Relay, TestFolder, Upstream, free_port
from support.browser import CHROMIUM, SHOTS, why_no_browser
from support.server import PATIENCE_S

LIMIT_S = 900 if SANITIZER else 400
ANSWER = b"0123456789abcdef" * (1 << 14)  # 256 KiB


def give(connection):
    for _ in connection.makefile("rb"):
        connection.sendall(ANSWER)


class RelayStatusPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if missing := why_no_browser():
            raise unittest.SkipTest(missing)
        folder = TestFolder()
        cls.addClassCleanup(folder.close)
        cls.upstream = Upstream(give)
        cls.addClassCleanup(cls.upstream.close)
        cls.dead = ("127.0.0.1", free_port())
        relay = Relay("--workers", "2", "--check", "--check-interval", "100ms", "--fall", "1",
                      "--mirror", os.path.join(folder.root, "mirror"),
                      to=[cls.upstream.address, cls.dead])
        cls.addClassCleanup(relay.kill)
        over = threading.Event()
        thread = threading.Thread(target=cls.load, args=(relay, over), daemon=True)
        thread.start()
        cls.addClassCleanup(thread.join, PATIENCE_S)
        cls.addClassCleanup(over.set)
        cls.url = "http://{}:{}/".format(*relay.admin)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "status_relay.mjs")
        done = subprocess.run(["node", script, cls.url, SHOTS], stdout=subprocess.PIPE, text=True,
                              env=os.environ | {"CHROMIUM": CHROMIUM}, timeout=LIMIT_S, check=True)
        cls.seen = json.loads(done.stdout)
        if "broken" in cls.seen:
            raise AssertionError(cls.seen["broken"] + str(cls.seen["errors"]))

    @staticmethod
    def load(relay, over):
        while not over.wait(0.005):
            with relay.connect() as client, client.makefile("rb") as answers:
                client.sendall(b"a\n" * 4)
                answers.read(4 * len(ANSWER))

    def test_figures(self):
        later = self.seen["later"]
        for figure in ("gbit", "down", "requests", "cpu", "per_gbit"):
            self.assertGreater(later[figure], 0, figure)
        self.assertLess(later["up"], later["down"])
        self.assertRegex(later["about"], "^relay · 2 workers · up")
        self.assertRegex(later["paths"], "splice.*%.*Switches of path: .*bulk [0-9.]+/s")
        self.assertEqual([row[0] for row in later["workers"]], ["0", "1"])
        self.assertRegex(later["ends"], "^done[0-9.]+$")
        self.assertIn("Errorsnone", later["health"])
        self.assertEqual(len(later["charts"]), 3)
        self.assertTrue(all(ink > 0 for ink in later["charts"]))

    def test_each_upstream_once_with_its_state(self):
        alive, dead = ("{}:{}".format(*address) for address in (self.upstream.address, self.dead))
        rows = {row[0]: row for row in self.seen["later"]["upstreams"]}
        self.assertEqual(len(self.seen["later"]["upstreams"]), 2)
        self.assertEqual(rows[alive][1], "up")
        self.assertEqual(rows[dead][1:], ["down", "0", "0", "0"])
        [route] = self.seen["later"]["routes"]
        self.assertEqual(route[:2], ["relay", "1 of 2"])
        self.assertEqual(len(route), 7, "with the mirror's two")

    def test_nothing_of_serve(self):
        titles = " ".join(self.seen["later"]["titles"])
        for of_serve in ("p99", "Request time", "disk", "page cache", "Requests"):
            self.assertNotIn(of_serve, titles)
        self.assertIn("Run pagewire doctor", self.seen["later"]["doctor"])
        self.assertNotIn("--doctor-report", self.seen["later"]["doctor"])

    def test_every_width_and_scheme(self):
        for name, view in self.seen["views"].items():
            self.assertFalse(view["sideways"], name)
            self.assertEqual(view["wide"], [], name)
            self.assertEqual([row[0] for row in view["upstreams"]],
                             [row[0] for row in self.seen["later"]["upstreams"]], name)

    def test_console_policy_and_requests(self):
        self.assertEqual(self.seen["errors"], [])
        self.assertEqual(self.seen["views"]["small"]["violations"], [])
        self.assertEqual({address for address in self.seen["requests"]
                          if not address.startswith("data:")},
                         {self.url, self.url + "metrics", self.url + "doctor.json"})


if __name__ == "__main__":
    unittest.main()
