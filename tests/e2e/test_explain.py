"""`serve --explain`, the self-test's cache and options, as a user meets them; and that what is
explained is what the access log says of a real request."""

import os
import re
import unittest

from support import (Pagewire, RawClient, TestFolder, coded_bytes, fetch_metrics, run_pagewire,
                     wait_until)

LARGE = 400_000
SMALL = 20_000


class ExplainTest(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.root = self.folder.root
        self.folder.coded("large.bin", LARGE)
        self.folder.coded("small.bin", SMALL)
        self.environment = {**os.environ, "XDG_CACHE_HOME": self.folder.outside("cache")}

    def run_serve(self, *arguments):
        return run_pagewire("serve", self.root, *arguments, env=self.environment)

    def run_unstalled(self, *arguments):
        def look():
            ended = self.run_serve(*arguments)
            # As paths seem to on a machine that has no time for its kernel threads: asked again.
            return None if ": stalled after " in ended.stderr else ended
        return wait_until(look, "a self-test in which no path stalls")

    def explain(self, *arguments):
        """The lines as a dictionary; those without a name of their own stand under "paths"."""
        done = self.run_unstalled(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        found = {"paths": {}}
        for line in done.stdout.splitlines():
            what, text = line[:13].strip(), line[13:]
            if what:
                found[what] = text
            elif ": " in text:
                found["paths"].update([text.split(": ", 1)])
        return found

    def refused(self, status, *arguments, naming=()):
        done = self.run_unstalled(*arguments)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        for word in naming:
            self.assertIn(word, done.stderr)

    def test_it_says_everything_the_choice_rests_on(self):
        found = self.explain("--explain", "/large.bin")
        self.assertEqual(found["file"], os.path.join(os.path.realpath(self.root), "large.bin"))
        self.assertIn(f"{LARGE} bytes", found["size"])
        self.assertRegex(found["residency"], r"^\d+ bytes in memory$|^not known: ")
        self.assertRegex(found["filesystem"], r"^\S+ on \S+$")
        self.assertRegex(found["self-test"], r"^took [0-9.]+ ms$|^none: ")
        self.assertEqual(found["paths"]["sendfile"], "usable")
        self.assertEqual(found["paths"]["copy"], "usable")
        self.assertEqual(found["calibration"], "none")
        self.assertEqual(found["choice"], "path=sendfile reason=large-body")

    def test_the_choice_follows_the_flags(self):
        for flags, choice in [
                (("--small-body", "1M"), "path=copy reason=small-body"),
                (("--path", "splice"), "path=splice reason=pinned"),
                (("--explain-range", "bytes=5-9"), "path=copy reason=small-body"),
                (("--explain-range", "bytes=1-300000,-7"), "path=sendfile reason=large-body"),
                (("--explain-range", "bytes=0-8,-7"), "path=copy reason=small-body")]:
            found = self.explain("--explain", "large.bin", *flags)
            self.assertEqual(found["choice"], choice, flags)
        self.folder.write("empty.bin", b"")
        found = self.explain("--explain", "/empty.bin")
        self.assertEqual(found["choice"], "path=copy reason=head-only")

    def test_the_log_says_the_same(self):
        self.folder.coded("a b%20+\u00e9?.bin", SMALL)
        self.folder.coded("tiny.bin", 3000)
        self.folder.age("tiny.bin")
        names = {"large.bin": "/large.bin", "small.bin": "/small.bin", "tiny.bin": "/tiny.bin",
                 "a b%20+\u00e9?.bin": "/a%20b%2520+%C3%A9%3F.bin"}
        flags = ("--workers", "1", "--access-log", "-")
        with Pagewire(self.root, *flags, env=self.environment) as server:
            for name, target in names.items():
                with RawClient(server.address) as client:
                    self.assertEqual(client.get(target).status, 200)
                line = wait_until(
                    lambda t=target: next((x for x in server.lines if f"GET {t} " in x), None),
                    "the access log's line")
                explained = self.explain("--explain", name)["choice"]
                self.assertEqual(re.search(r"path=\S+ reason=\S+", line)[0], explained)

    def test_what_is_no_file(self):
        os.mkdir(self.folder.path("folder"))
        os.symlink("/etc/hostname", self.folder.path("out"))
        for name, naming in [("/missing", "404"), ("/folder", "is a folder"), ("/folder/", "404"),
                             ("/../large.bin", "outside ROOT"), ("a/../../b", "outside ROOT"),
                             ("/out", "404"), ("/.hidden", "404"), ("/", "404")]:
            self.refused(1, "--explain", name, naming=(name, naming))
        self.refused(1, "--listing", "--explain", "/folder/", naming=("listing",))
        self.refused(1, "--explain", "/large.bin", "--explain-range", "bytes=900000-",
                     naming=("416",))
        self.refused(2, "--explain", "/large.bin", "--explain-range", "5-9", naming=("bytes=",))
        self.refused(2, "--explain", "", naming=("explain",))

    def test_the_second_start_finds_the_result_of_the_first(self):
        kept = os.path.join(self.environment["XDG_CACHE_HOME"], "pagewire")
        self.assertRegex(self.explain("--explain", "/large.bin")["self-test"], "^took ")

        # A self-test that ran out of time, on a busy machine, is not kept.
        def found():
            explained = self.explain("--explain", "/large.bin")
            return explained["self-test"] == "from an earlier start" and explained
        found_paths = wait_until(found, "a start that finds the result of an earlier one")["paths"]
        self.assertEqual(found_paths["sendfile"], "usable")
        [name] = os.listdir(kept)
        always = self.explain("--explain", "/large.bin", "--self-test", "always")
        self.assertRegex(always["self-test"], "^took ")
        off = self.explain("--explain", "/large.bin", "--self-test", "off")
        self.assertEqual(off["self-test"], "none: --self-test off")
        with open(os.path.join(kept, name), "w", encoding="ascii") as file:
            file.write("nonsense\n")
        self.assertRegex(self.explain("--explain", "/large.bin")["self-test"], "^took ")
        self.assertEqual(os.listdir(kept), [name])
        wait_until(found, "a start that finds what replaced the nonsense")

    def test_nothing_is_left_in_root(self):
        before = sorted(os.listdir(self.root))
        self.explain("--explain", "/large.bin", "--self-test", "always")
        self.assertEqual(sorted(os.listdir(self.root)), before)

    def test_the_metrics_say_which_paths_can_be_used(self):
        with Pagewire(self.root, env=self.environment) as server:
            with RawClient(server.address) as client:
                self.assertEqual(client.get("/large.bin").body, coded_bytes(0, LARGE))
            metrics = fetch_metrics(server)
            for path in ("sendfile", "copy"):
                self.assertEqual(
                    metrics.total("^pagewire_path_usable$", path=path, why="ok"), 1)
            took = metrics.total("^pagewire_self_test_duration_seconds$")
            self.assertGreater(took, 0)

    def test_the_help_names_the_paths(self):
        done = run_pagewire("serve", "--help")
        text = re.sub(r"\s+", " ", done.stdout)
        self.assertIn("sendfile splice", text)
        for flag in ("--explain", "--explain-range", "--self-test"):
            self.assertIn(flag, text)


if __name__ == "__main__":
    unittest.main()
