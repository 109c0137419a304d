"""The status page in Chromium, beside a server that works: its figures move, nothing is on the
console, nothing is asked of anybody else, nothing is wider than a phone; and the server is stopped
and started again. Screenshots stay under build/browser/."""

import json
import os
import subprocess
import threading
import unittest

from support import SANITIZER, SOURCE, Pagewire, RawClient, TestFolder, free_port
from support.browser import CHROMIUM, SHOTS, why_no_browser

GUARD_S = 900 if SANITIZER else 400
# What of docs/doctor.schema.json the page shows.
DOCTOR = {
    "verdict": {
        "text": "Large files leave by sendfile. HTTPS is encrypted in user space, because this "
                "kernel has no TLS: <b>that</b> costs 24 ms a Gbit.",
        "changes": [{"check": "kernel-tls", "what": "Let the kernel encrypt",
                     "mend": "modprobe tls && echo tls | tee /etc/modules-load.d/tls.conf"}]},
    "checks": [{"status": "ok"}, {"status": "failed"}, {"status": "ok"}]}


class StatusPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if missing := why_no_browser():
            raise unittest.SkipTest(missing)
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        cls.folder.coded("big.bin", 4 << 20)
        cls.folder.coded("small.bin", 900)
        cls.seen = cls.look()
        # What stands only in a picture is looked at by a person; how it was, when it failed.
        if "broken" in cls.seen:
            raise AssertionError(cls.seen["broken"] + str(cls.seen["errors"]))

    @classmethod
    def look(cls):
        report = os.path.join(cls.folder.root, "doctor.json")
        with open(report, "w", encoding="utf-8") as file:
            json.dump(DOCTOR, file)
        # Of a port that nobody is given while the server is stopped.
        server = Pagewire(cls.folder.root, "--workers", "2", "--doctor-report", report,
                          admin=f"127.0.0.1:{free_port()}")
        over = threading.Event()
        threads = cls.load(server, over)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "status.mjs")
        cls.url = "http://{}:{}/".format(*server.admin)
        node = subprocess.Popen(["node", script, cls.url, SHOTS], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True,
                                env=os.environ | {"CHROMIUM": CHROMIUM})
        guard = threading.Timer(GUARD_S, node.kill)
        guard.start()
        try:
            answer = node.stdout.readline()
            if answer == "restart\n":
                server.stop()  # first, so that the last figures are those of a load
                over.set()
                node.stdout.readline()
                server = Pagewire(cls.folder.root, admin="{}:{}".format(*server.admin))
                over = threading.Event()
                threads += cls.load(server, over)
                node.stdin.write("started\n")
                node.stdin.flush()
                answer = node.stdout.readline()
            return json.loads(answer)
        finally:
            guard.cancel()
            over.set()
            for thread in threads:
                thread.join()
            server.kill()
            node.kill()
            node.communicate()

    @staticmethod
    def load(server, over):
        def ask(pause, *targets):
            while not over.wait(pause):
                try:
                    with RawClient(server.address) as client:
                        for target in targets:
                            client.get(target)
                except (OSError, EOFError):  # it was stopped
                    return
        threads = [threading.Thread(target=ask, args=arguments)
                   for arguments in ((0.01, "/big.bin"), (0.002, "/small.bin", "/small.bin"),
                                     (0.03, "/none", "/big.bin", "/small.bin"))]
        for thread in threads:
            thread.start()
        return threads

    def test_figures(self):
        begin, later = self.seen["begin"], self.seen["later"]
        for seen in (begin, later):
            for figure in ("gbit", "requests", "cpu", "per_gbit", "p99"):
                self.assertGreater(seen[figure], 0, figure)
            self.assertIn("large-body 100%", seen["paths"])
            self.assertEqual([row[0] for row in seen["workers"]], ["0", "1"])
            self.assertRegex(seen["about"], "(uring|epoll) · 2 workers · up")
            self.assertIn("Errorsnone", seen["health"])
        self.assertIn("<b>that</b> costs 24 ms a Gbit.", later["doctor"], "a text, no markup")
        self.assertIn("Let the kernel encrypt\nmodprobe tls", later["doctor"])
        self.assertIn("2 ok, 1 failed, ", later["doctor"])
        self.assertEqual(len(later["charts"]), 3)
        self.assertNotEqual([begin[key] for key in ("gbit", "requests", "p99")],
                            [later[key] for key in ("gbit", "requests", "p99")], "they move")
        self.assertTrue(all(ink > 0 for ink in later["charts"]))
        # Four more seconds of curves and areas.
        self.assertGreater(later["charts"][0], begin["charts"][0])

    def test_heat(self):
        """Buckets of the request time: more columns each second, and not all of one strength."""
        begin, later = self.seen["begin"]["heat"], self.seen["later"]["heat"]
        self.assertGreater(begin["pixels"], 0)
        self.assertGreater(later["pixels"], begin["pixels"])
        self.assertGreater(later["strengths"], 1)
        self.assertGreater(self.seen["views"]["dark"]["heat"]["pixels"], 0, "in another colour")

    def test_nothing_of_a_relay(self):
        for title in ("Up", "Upstreams", "New connections"):
            self.assertNotIn(title, self.seen["later"]["titles"])

    def test_nothing_on_the_console_and_nothing_asked_of_others(self):
        # The server ends, perhaps with a question of the page's before it.
        stopped = "ERR_CONNECTION", "ERR_EMPTY_RESPONSE"
        self.assertEqual([line for line in self.seen["errors"]
                          if not any(word in line for word in stopped)], [])
        self.assertEqual({address for address in self.seen["requests"]
                          if not address.startswith("data:")},
                         {self.url, self.url + "metrics", self.url + "doctor.json"})

    def test_policy(self):
        """The page keeps to it, and what is not of the page does not."""
        self.assertEqual(self.seen["later"]["violations"], [])
        smuggled = self.seen["smuggled"]
        self.assertFalse(smuggled["script"])
        self.assertFalse(smuggled["styles"])
        self.assertEqual(sorted(smuggled["violations"]),
                         ["script-src-elem inline", "style-src-attr inline",
                          "style-src-elem inline"])
        self.assertEqual(len(self.seen["refused"]), 3, self.seen["refused"])
        self.assertIn("Content Security Policy", self.seen["refused"][0])

    def test_every_width_and_scheme(self):
        for name, view in self.seen["views"].items():
            self.assertFalse(view["sideways"], name)
            self.assertEqual(view["wide"], [], name)
        self.assertNotEqual(self.seen["views"]["wide"]["background"],
                            self.seen["views"]["dark"]["background"])

    def test_pause(self):
        self.assertEqual(self.seen["asked_while_paused"], 0)
        self.assertEqual(self.seen["state_while_paused"], "paused", "whatever still came in")

    def test_server_goes_and_comes_again(self):
        lost = self.seen["lost"]
        self.assertRegex(lost["notice"], r"does not answer for \d+ s")
        # Null is a dash. If others had the CPUs in the last second they are 0, and were before.
        self.assertIsNotNone(lost["gbit"], "the last figures stay")
        self.assertTrue(lost["gbit"] > 0 or lost["gbit"] == self.seen["before"]["gbit"], lost)
        self.assertEqual([row[0] for row in lost["workers"]], ["0", "1"])
        self.assertEqual(self.seen["again"]["notice"], "")


if __name__ == "__main__":
    unittest.main()
