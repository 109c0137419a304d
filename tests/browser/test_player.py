"""The demo page in Chromium, served by pagewire: it plays, in both renditions, with nothing on the
console and no failed request. Screenshots stay under build/browser/."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from support import SOURCE, Pagewire, fetch_metrics
from support.browser import CHROMIUM, SHOTS, why_no_browser

DEMO = os.path.join(SOURCE, "build/demo")


class PlayerTest(unittest.TestCase):
    def setUp(self):
        if missing := why_no_browser():
            self.skipTest(missing)
        if not os.path.exists(os.path.join(DEMO, "player.js")):
            self.skipTest("build/demo is missing: ./dev test makes it")
        self.profile = tempfile.mkdtemp(prefix="pagewire-chromium-")
        self.addCleanup(shutil.rmtree, self.profile, ignore_errors=True)

    def play(self, url):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "play.mjs")
        done = subprocess.run(
            ["node", script, url, os.path.join(SHOTS, "player.png"), self.profile],
            capture_output=True, text=True, timeout=400, check=False,
            env=os.environ | {"CHROMIUM": CHROMIUM})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_demo_plays(self):
        with Pagewire(DEMO, "--cors") as server:
            seen = self.play(server.url("/"))
            metrics = fetch_metrics(server)
        self.assertNotIn("broken", seen, json.dumps(seen, indent=1))
        self.assertEqual((seen["errors"], seen["failed"]), ([], []))
        begin, end, switched = seen["begin"], seen["end"], seen["switched"]

        self.assertGreater(end["time_s"], begin["time_s"] + 0.9)
        self.assertGreater(end["frames"], begin["frames"])
        self.assertIsNone(end["error"])
        self.assertEqual(end["renditions"], ["Auto", "360p", "720p"])
        self.assertEqual(end["pressed"], "Auto")
        self.assertRegex(end["rendition"], r"^(640×360|1280×720) · [0-9.]+ Mbit/s$")
        self.assertRegex(end["buffer"], r"^[0-9.]+ s$")
        self.assertNotEqual(switched["height"], end["height"])
        self.assertEqual(switched["pressed"], f"{switched['height']}p")
        self.assertTrue(switched["notice"], "no notice is shown")
        self.assertFalse(seen["narrow"]["sideways"], "a narrow page must not scroll sideways")

        self.check_requests(seen, metrics)
        for name in ("player.png", "player-narrow.png"):
            self.assertGreater(os.path.getsize(os.path.join(SHOTS, name)), 10_000)

    def check_requests(self, seen, metrics):
        """Both renditions came from this server, and nothing was asked of any other."""
        for rendition in ("v0", "v1"):
            self.assertTrue(any(re.fullmatch(rf"/{rendition}/seg_\d+\.ts", path)
                                for path in seen["requests"]), seen["requests"])
        self.assertLessEqual(set(seen["statuses"]), {"200", "206", "304"})
        self.assertGreater(metrics.total("_path_bytes_total$", path="sendfile"), 500_000)


if __name__ == "__main__":
    unittest.main()
