"""The page of a bench report in Chromium: nothing is fetched, nothing overlaps or is cut off, on
wide and narrow screens, in both colour schemes and on paper. Screenshots stay under
build/browser/."""

import copy
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from support import SANITIZER, SOURCE
from support.browser import CHROMIUM, SHOTS, why_no_browser
from support.whole_rounds import run_bench

GUARD_S = 900 if SANITIZER else 400
TINY = ("-t", "0.1", "--warmup", "0.05", "--repeat", "2", "-P", "2")
SIZES = [1024 << i for i in range(0, 17, 2)] + [1024 << i for i in (1, 3, 5, 7)]


class BenchPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if missing := why_no_browser():
            raise unittest.SkipTest(missing)
        cls.root = tempfile.mkdtemp(prefix="pagewire-page-")
        cls.addClassCleanup(shutil.rmtree, cls.root, ignore_errors=True)
        cls.bench("run", "--mode", "request", "--size", "64K", *TINY, "--json", "run.json")
        with open(os.path.join(cls.root, "run.json"), encoding="utf-8") as file:
            cls.measured = json.load(file)

    @classmethod
    def bench(cls, *arguments):
        done = run_bench(*arguments, timeout=GUARD_S, cwd=cls.root)
        if done.returncode:
            raise AssertionError(f"{arguments}: {done.returncode}\n{done.stderr}")

    def look(self, name, report):
        with open(os.path.join(self.root, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(report, file)
        page = os.path.join(self.root, f"{name}.html")
        self.bench("report", f"{name}.json", "--html", page)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.mjs")
        done = subprocess.run(["node", script, page, SHOTS], capture_output=True, text=True,
                              timeout=GUARD_S, check=False,
                              env=os.environ | {"CHROMIUM": CHROMIUM})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def check(self, name, report, pictures):
        seen = self.look(name, report)
        self.assertEqual(seen["errors"], [])
        self.assertEqual([it for it in seen["requests"] if not it.startswith(("file:", "data:"))],
                         [])
        self.assertEqual(len([it for it in seen["requests"] if it.startswith("file:")]), 1)
        for view, found in seen["views"].items():
            said = f"{name}, {view}"
            self.assertEqual(found["overlaps"], [], said)
            self.assertEqual(found["outside"], [], said)
            self.assertEqual(found["pictures"], pictures, said)
            self.assertFalse(found["sideways"], f"{said} scrolls sideways")
            self.assertEqual(found["json"], 1)
        wide, dark = seen["views"]["wide"], seen["views"]["dark"]
        self.assertEqual(wide["background"], "rgb(255, 255, 255)")
        for what in ("background", "picture_background"):
            self.assertNotEqual(wide[what], dark[what])
        self.assertEqual(seen["views"]["paper"]["background"], "rgb(255, 255, 255)")
        self.assertGreater(seen["pages"], 0)

    def test_run(self):
        self.check("bench-run", self.measured, pictures=4)

    def test_many_with_long_names(self):
        report = copy.deepcopy(self.measured)
        row = report["rows"][0]
        row["contenders"] += [copy.deepcopy(it) for it in row["contenders"] * 2][:6]
        for number, contender in enumerate(row["contenders"][:-1]):
            if contender["name"] != "copy" or number > 4:
                contender["name"] = f"server-with-a-long-name-{number}-1.22.1"
        row["title"] = "a row with a title that says everything there is to say " * 4
        row["contenders"][-1].update(name="absent", unavailable="not installed", rounds=[])
        report["title"] = row["title"]
        self.check("bench-many", report, pictures=4)

    def test_sweep_of_13_sizes(self):
        report = copy.deepcopy(self.measured)
        report["kind"] = "sweep"
        first = report["rows"][0]
        report["rows"] = []
        for size in sorted(SIZES):
            row = copy.deepcopy(first)
            row["size_bytes"], row["title"] = size, f"{size} B x 2, request"
            for number, contender in enumerate(row["contenders"]):
                self.scale(contender, 1 + 30_000 * (1 + number) / size)
            report["rows"].append(row)
        report["break_evens"] = [
            {"path": "sendfile", "size_bytes": 12_000, "ci95": [8192, 16384], "reason": None},
            {"path": "splice", "size_bytes": 13_000, "ci95": [8192, 65536], "reason": None},
            {"path": "mmap", "size_bytes": 60_000_000, "ci95": None, "reason": None}]
        self.check("bench-sweep", report, pictures=4)

    @staticmethod
    def scale(contender, factor):
        for one in contender["rounds"]:
            for metric in ("cpu_ms_per_gbit", "latency_p99_us"):
                figure = one["figures"][metric]
                if figure["value"] is not None:
                    figure["value"] *= factor


if __name__ == "__main__":
    unittest.main()
