"""The command line of `pagewire bench`: small runs by the real binary, every report that it can
write, what it refuses, and the calibration's way from a sweep into a server."""

import copy
import csv
import io
import json
import os
import pty
import re
import resource
import select
import signal
import socket
import subprocess
import threading
import time
import unittest
import xml.etree.ElementTree

from support import (BINARY, SANITIZER, Pagewire, RawClient, TestFolder, coded_bytes, run_pagewire,
                     wait_until)
from support.whole_rounds import measure_whole_rounds, run_bench

PATHS = ["sendfile", "splice", "vmsplice", "tee", "zerocopy", "mmap", "uring_zc",
         "uring_zc_sqpoll", "uring_splice", "copy"]
UNFIT = "tee"  # for the file of TINY
# A guard against hanging, not a promise of speed.
GUARD_S = 600 if SANITIZER else 300
TINY = ("--size", "1M", "-t", "0.1", "--warmup", "0.05", "--repeat", "2", "-P", "2")
COMMANDS = {
    "run": ("--file", "--size", "--zero", "--path", "--time", "--connections", "--repeat",
            "--warmup", "--net", "--cold", "--rate", "--pin", "--mode", "--no-instrument",
            "--json", "--csv", "--html", "--svg", "--md"),
    "sweep": ("--sizes", "--path", "--time", "--save", "--json", "--html"),
    "send": ("--listen", "--path", "--zero", "--iperf3", "--count", "ZC_PATH"),
    "sink": ("--connections", "--time", "--touch"),
    "compare": ("--threshold", "99"),
    "report": ("--json", "--csv", "--html", "--svg", "--md"),
}


class BenchCase(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.root = self.folder.root

    def bench(self, *arguments, code=0, into=None, **others):
        """Runs to the end in an empty folder. Every round of a report `into` received something."""
        others.setdefault("cwd", self.root)
        if into is not None:
            arguments += ("--json", into)
            others["report_of"] = lambda _: self.load(into)
        done = run_bench(*arguments, timeout=GUARD_S, **others)
        said = f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.assertEqual(done.returncode, code, said)
        self.assertNotIn("Sanitizer", done.stderr)
        return done

    def refused(self, code, *arguments, naming=(), **others):
        done = self.bench(*arguments, code=code, **others)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        for word in naming:
            self.assertIn(word, done.stderr)

    def load(self, name):
        with open(os.path.join(self.root, name), encoding="utf-8") as file:
            return json.load(file)

    def store(self, name, value):
        with open(os.path.join(self.root, name), "w", encoding="utf-8") as file:
            json.dump(value, file)
        return name


class HelpTest(BenchCase):
    def test_help(self):
        done = self.bench("--help")
        for command in COMMANDS:
            self.assertRegex(done.stdout, rf"(?m)^  {command}\b")
        self.assertIn("pagewire bench run", done.stdout)
        self.assertIn("bench", run_pagewire("--help").stdout)
        self.assertIn("pagewire bench", run_pagewire().stdout)

    def test_help_of_each_command(self):
        for command, flags in COMMANDS.items():
            for ask in ("--help", "-h"):
                done = self.bench(command, ask)
                self.assertEqual(done.stderr, "")
                self.assertIn("Examples:\n", done.stdout)
                for flag in flags:
                    self.assertIn(flag, done.stdout, command)

    def test_refusals(self):
        for arguments, naming in (
                (("rnu",), ("rnu", "run")),
                (("--json", "x"), ("--json", "pagewire bench run")),
                (("run", "--path", "sendfil"), ("--path", "sendfile", "mmap", "readwrite")),
                (("run", "--paht", "all"), ("--paht", "--path")),
                (("run", "-t", "long"), ("--time", "seconds")),
                (("run", "--pin", "0"), ("--pin",)),
                (("run", "--pin", "0,4095"), ("--pin", "4095")),
                (("run", "--json", "-", "--csv", "-"), ("standard output",)),
                (("run", "--file", "f", "--size", "1M"), ("--file", "--size")),
                (("sweep", "--sizes", "1K,x"), ("--sizes",)),
                (("send",), ("FILE",)),
                (("sink",), ("HOST:PORT",)),
                (("sink", "nonsense"), ("nonsense",)),
                (("compare", "a.json"), ("B.json",)),
                (("compare", "a", "b", "--threshold", "5"), ("--threshold", "5%")),
                (("report",), ("IN.json",))):
            with self.subTest(arguments=arguments):
                code = 1 if arguments == ("sink", "nonsense") else 2
                self.refused(code, *arguments, naming=naming)

    def test_what_cannot_be_run_is_one_line(self):
        for arguments, naming in (
                (("run", "--file", "missing.bin"), ("missing.bin", "No such file")),
                (("run", "--folder", "missing"), ("missing", "No such file")),
                (("run", "--json", "missing/r.json"), ("--json", "missing/r.json", "No such file")),
                (("run", "--html", "."), ("--html", "directory")),
                (("sweep", "--save", "missing/c.json"), ("--save", "No such file")),
                (("send", "missing.bin", "--listen", "127.0.0.1:0"), ("missing.bin",))):
            with self.subTest(arguments=arguments):
                self.refused(1, *arguments, naming=naming)
        self.assertEqual(os.listdir(self.root), [])


class RunTest(BenchCase):
    def test_every_report_of_a_run(self):
        flags = ("run", *TINY, "--path", "all", "--json", "r.json", "--csv", "r.csv", "--html",
                 "r.html", "--svg", "r.svg", "--md", "r.md")
        done = self.bench(*flags)
        self.assertNotIn("\x1b", done.stdout + done.stderr, "no terminal, no escapes")
        for path in PATHS:
            self.assertRegex(done.stdout, rf"(?m)^{path} ")  # figures, or why there are none
        self.assertEqual(sorted(os.listdir(self.root)),
                         ["r.csv", "r.html", "r.json", "r.md", "r.svg"], "nothing else is left")
        self.check_json(self.load("r.json"), flags)
        with open(os.path.join(self.root, "r.csv"), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertGreater(len(rows), 4 * 2 * 10)
        svg = xml.etree.ElementTree.parse(os.path.join(self.root, "r.svg"))
        self.assertTrue(svg.getroot().tag.endswith("svg"))
        with open(os.path.join(self.root, "r.html"), encoding="utf-8") as file:
            self.assertIn("<svg", file.read())
        with open(os.path.join(self.root, "r.md"), encoding="utf-8") as file:
            self.assertIn("| ", file.read())

    def check_json(self, report, flags):
        self.assertEqual((report["schema_version"], report["kind"], report["partial"]),
                         (1, "run", False))
        self.assertEqual(report["environment"]["command_line"], ["pagewire", "bench", *flags])
        version = run_pagewire("--version").stdout.split()[1]
        self.assertEqual(report["environment"]["pagewire_version"], version)
        row, = report["rows"]
        self.assertEqual((row["size_bytes"], row["connections"], row["mode"]),
                         (1 << 20, 2, "stream"))
        self.assertEqual([contender["name"] for contender in row["contenders"]], PATHS)
        for contender in row["contenders"]:
            if contender["name"] == UNFIT:
                self.assertIn("whole files of at most 64 KiB", contender["unavailable"])
                self.assertEqual(contender["rounds"], [])
                continue
            self.assertEqual(contender["verified_bytes"], 1 << 20, contender["name"])
            billed = [each for each in contender["rounds"] if not each["instrumented"]]
            self.assertEqual(len(billed), 2)
            self.assertEqual(len(contender["rounds"]), 3)

    def test_a_report_on_standard_output(self):
        for flag, check in (("--json", json.loads),
                            ("--csv", lambda text: next(csv.DictReader(io.StringIO(text)))),
                            ("--svg", xml.etree.ElementTree.fromstring)):
            done = self.bench("run", *TINY, "--path", "copy", "--no-instrument", flag, "-")
            check(done.stdout)
            self.assertRegex(done.stderr, r"(?m)^copy ")
        self.assertEqual(os.listdir(self.root), [])

    def test_paths_by_other_names_and_a_file_of_ours(self):
        with open(os.path.join(self.root, "data"), "wb") as file:
            file.write(coded_bytes(0, 300_001))
        self.bench("run", "--file", "data", "-t", "0.1", "--repeat", "1", "--warmup", "0",
                   "-P", "1", "--path", "readwrite,sendfile,copy", "--no-instrument",
                   "--json", "r.json")
        row, = self.load("r.json")["rows"]
        self.assertEqual([each["name"] for each in row["contenders"]], ["copy", "sendfile"])
        self.assertEqual(row["size_bytes"], 300_001)
        self.assertEqual(row["contenders"][0]["verified_bytes"], 300_001)

    def test_zeros_by_every_path(self):
        self.bench("run", "--zero", "32K", "-t", "0.1", "--repeat", "1", "--warmup", "0", "-P", "2",
                   "--path", "all", "--mode", "request", "--no-instrument", "--json", "r.json")
        row, = self.load("r.json")["rows"]
        for contender in row["contenders"]:
            self.assertIsNone(contender["unavailable"], contender["name"])
            self.assertEqual(contender["verified_bytes"], 32 << 10)
        self.assertEqual(self.load("r.json")["settings"]["--file"], "/dev/zero")

    def test_requests_at_an_offered_rate_without_pinning(self):
        self.bench("run", "--mode", "request", "--size", "16K", "-t", "1", "--repeat", "1",
                   "--path", "copy", "--rate", "0.05", "--pin", "off", into="r.json")
        row, = self.load("r.json")["rows"]
        self.assertEqual((row["mode"], row["offered_gbit_per_s"]), ("request", 0.05))
        summary = row["contenders"][0]["summary"]
        self.assertIsNotNone(summary["latency_p50_us"]["median"])

    def test_more_connections_than_the_soft_limit_of_descriptors(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.bench("run", *TINY, "--path", "sendfile", "-P", "100", "--json", "r.json",
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
        [contender] = self.load("r.json")["rows"][0]["contenders"]
        self.assertEqual([one["failed"] for one in contender["rounds"]], [None] * 3)

    @unittest.skipIf(os.geteuid() != 0, "network namespaces need the root user")
    def test_between_two_namespaces(self):
        self.bench("run", *TINY, "--net", "veth", "--path", "sendfile,copy", "--no-instrument",
                   "--json", "r.json")
        report = self.load("r.json")
        self.assertEqual(report["environment"]["network"], "veth")

    def test_alone_it_makes_a_file_and_measures_everything(self):
        done = self.bench()
        for path in PATHS:
            self.assertRegex(done.stdout, rf"(?m)^{path} ")
        self.assertEqual(os.listdir(self.root), [])


class TerminalTest(BenchCase):
    def on_terminal(self, *arguments, **environment):
        """Runs with standard output and standard error on a terminal; returns what it got."""
        ours, its = pty.openpty()
        process = subprocess.Popen([BINARY, "bench", *arguments], stdin=subprocess.DEVNULL,
                                   stdout=its, stderr=its, cwd=self.root,
                                   env={**os.environ, "TERM": "xterm", **environment})
        os.close(its)
        text = b""
        end = time.monotonic() + GUARD_S
        try:
            while time.monotonic() < end and select.select([ours], [], [], GUARD_S)[0]:
                text += os.read(ours, 65536)
        except OSError:  # EIO: the other end was closed
            pass
        finally:
            os.close(ours)
            process.kill()
            process.wait()
        return text.decode()

    def test_a_bar_that_goes_away_and_colours_that_can_be_switched_off(self):
        flags = ("run", *TINY, "-t", "0.5", "--path", "copy", "--no-instrument")
        plain = {"NO_COLOR": ""}
        text = self.on_terminal(*flags, **plain)
        self.assertRegex(text, r"\r\x1b\[Kround 1 of 2: copy .*\d+%")
        table = text[text.rindex("\x1b[K"):]
        self.assertIn("throughput", table, "the bar is taken away before the table")
        self.assertRegex(text, r"\x1b\[[0-9;]*m")
        without = self.on_terminal(*flags, NO_COLOR="1")
        self.assertNotRegex(without, r"\x1b\[[0-9;]*m")
        dumb = self.on_terminal(*flags, TERM="dumb")
        self.assertNotIn("\x1b", dumb)


class CompareTest(BenchCase):
    @classmethod
    def setUpClass(cls):
        cls.report = measure_whole_rounds(*TINY, "--repeat", "3", "--path", "sendfile,copy",
                                          "--no-instrument", timeout=GUARD_S)
        # Rounds that agree with each other, so that a change of 20% is beyond the noise.
        for contender in cls.report["rows"][0]["contenders"]:
            for number, each in enumerate(contender["rounds"]):
                for name, figure in each["figures"].items():
                    if figure["value"] is not None:
                        figure["value"] = (100.0 + number) * (2 if name == "copied_bytes" else 1)

    def changed(self, factor):
        report = copy.deepcopy(self.report)
        for contender in report["rows"][0]["contenders"]:
            for each in contender["rounds"]:
                each["figures"]["cpu_ms_per_gbit"]["value"] *= factor
        return report

    def test_exit_codes(self):
        self.store("a.json", self.report)
        for name, factor, flags, code in (
                ("same", 1.0, (), 0), ("worse", 1.2, (), 99), ("better", 0.8, (), 0),
                ("within", 1.2, ("--threshold", "50%"), 0),
                ("fraction", 1.2, ("--threshold", "0.05"), 99)):
            with self.subTest(name):
                self.store("b.json", self.changed(factor))
                done = self.bench("compare", "a.json", "b.json", *flags, code=code)
                self.assertIn("copy", done.stdout)
                self.assertEqual(done.stderr, "")

    def test_files_that_do_not_match(self):
        self.store("a.json", self.report)
        other = copy.deepcopy(self.report)
        other["rows"][0]["size_bytes"] = 7
        other["rows"][0]["title"] = "7 B x 2, stream"
        self.store("size.json", other)
        self.store("version.json", {**self.report, "schema_version": 99})
        with open(os.path.join(self.root, "text.json"), "w", encoding="utf-8") as file:
            file.write("no JSON")
        for name in ("size.json", "version.json", "text.json", "missing.json", "."):
            with self.subTest(name):
                self.refused(2, "compare", "a.json", name)
        self.refused(2, "compare", "missing.json", "a.json", naming=("missing.json", "No such"))

    def test_report_shows_and_converts_what_was_stored(self):
        self.store("a.json", self.report)
        done = self.bench("report", "a.json", "--html", "a.html", "--md", "a.md")
        self.assertRegex(done.stdout, r"(?m)^sendfile ")
        self.assertEqual(sorted(os.listdir(self.root)), ["a.html", "a.json", "a.md"])
        self.bench("report", "a.json", "--json", "again.json")
        self.bench("report", "again.json", "--json", "thrice.json")
        self.assertEqual(self.load("again.json")["rows"], self.load("thrice.json")["rows"])
        self.refused(2, "report", "missing.json", naming=("missing.json",))
        self.store("odd.json", {"kind": "run"})
        self.refused(2, "report", "odd.json", naming=("odd.json",))

    def test_a_standard_output_that_takes_nothing(self):
        self.store("a.json", self.report)
        ours, its = os.pipe()
        os.close(ours)
        for target, naming in ((its, "Broken pipe"),
                               (os.open("/dev/full", os.O_WRONLY), "No space left on device")):
            done = subprocess.run([BINARY, "bench", "report", "a.json"], stdout=target,
                                  stderr=subprocess.PIPE, text=True, timeout=GUARD_S,
                                  cwd=self.root, check=False)
            os.close(target)
            self.assertEqual(done.returncode, 1)
            self.assertIn(naming, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)


class CalibrationTest(BenchCase):
    def small_body(self, *flags):
        done = run_pagewire("serve", self.root, *flags, "--check-config")
        self.assertEqual(done.returncode, 0, done.stderr)
        return re.search(r'(?m)^small-body = "(.*)"$', done.stdout)[1], done

    def test_from_a_sweep_into_a_server(self):
        self.bench("sweep", "--sizes", "1K,16K,64K", "--path", "sendfile,copy", "-t", "0.1",
                   "--warmup", "0.05", "--repeat", "2", "--save", "c.json", into="s.json")
        self.assertEqual(sorted(os.listdir(self.root)), ["c.json", "s.json"])
        report = self.load("s.json")
        self.assertEqual(report["kind"], "sweep")
        self.assertEqual([row["size_bytes"] for row in report["rows"]], [1024, 16384, 65536])
        self.assertEqual([point["path"] for point in report["break_evens"]], ["sendfile"])
        with Pagewire(self.root, "--calibration", os.path.join(self.root, "c.json")) as server:
            self.assertNotIn("this is", server.output, "measured here")
            wait_until(lambda: "c.json: bodies up to " in server.output, "what it took")
        costs = self.load("c.json")["costs"]
        self.assertEqual([(cost["path"], cost["size_bytes"]) for cost in costs],
                         [(path, size) for size in (1024, 16384, 65536)
                          for path in ("sendfile", "copy")])
        for cost in costs:
            self.assertGreater(cost["cpu_ms_per_gbit"], 0)
            self.assertLessEqual(cost["ci95"]["low"], cost["cpu_ms_per_gbit"])
            self.assertGreaterEqual(cost["ci95"]["high"], cost["cpu_ms_per_gbit"])

    def calibration(self, size, **changes):
        here = self.bench("run", *TINY, "--repeat", "1", "--path", "copy", "--no-instrument",
                          "--json", "-")
        environment = json.loads(here.stdout)["environment"]
        return self.store("c.json", {
            "kind": "calibration", "schema_version": 1, "date": environment["date"],
            "kernel": environment["kernel"], "cpu_model": environment["cpu_model"],
            "filesystem": "ext4",
            "break_evens": [{"path": "sendfile", "size_bytes": size, "ci95": None,
                             "reason": None}], **changes})

    def test_it_sets_the_largest_body_that_is_copied(self):
        name = os.path.join(self.root, self.calibration(40_960))
        size, done = self.small_body("--calibration", name)
        self.assertEqual((size, done.stderr), ("40K", ""))
        self.assertIn(f'calibration = "{name}"\n', done.stdout)
        self.assertEqual(self.small_body("--calibration", name, "--small-body", "3K")[0], "3K")
        self.assertEqual(self.small_body()[0], "16K")
        config = self.folder.outside("edge.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'calibration = "{name}"\n')
        self.assertEqual(self.small_body("--config", config)[0], "40K")
        self.assertEqual(self.small_body("--config", config, "--calibration", "off")[0], "16K")

    def test_the_path_follows_it(self):
        """A body of 30 KiB: by sendfile without it, copied with it, as the access log says."""
        name = os.path.join(self.root, self.calibration(40_960))
        self.folder.coded("body.bin", 30 << 10)
        for flags, path in (((), "sendfile"), (("--calibration", name), "copy")):
            with Pagewire(self.root, "--access-log", "-", *flags) as server:
                with RawClient(server.address) as client:
                    self.assertEqual(client.get("/body.bin").body, coded_bytes(0, 30 << 10))
                line = wait_until(lambda s=server: [x for x in s.lines if "body.bin" in x], path)[0]
                self.assertRegex(line, rf"\b{path}\b")

    def test_a_path_that_was_surely_cheaper_is_taken(self):
        def cost(path, size, low, high):
            return {"path": path, "size_bytes": size, "cpu_ms_per_gbit": (low + high) / 2,
                    "ci95": {"low": low, "high": high}}
        self.calibration(16384, costs=[
            cost("splice", 1 << 20, 20, 22), cost("sendfile", 1 << 20, 25, 30),
            cost("splice", 64 << 10, 20, 26), cost("sendfile", 64 << 10, 25, 30),
            cost("mmap", 4 << 20, 1, 30), cost("sendfile", 4 << 20, 31, 32)])
        flags = ("--calibration", os.path.join(self.root, "c.json"), "--access-log", "-")
        for name, size in (("big.bin", 1 << 20), ("middle.bin", 64 << 10), ("vast.bin", 4 << 20)):
            self.folder.coded(name, size)
        with Pagewire(self.root, *flags) as server:
            wait_until(lambda: "by splice at 1M" in server.output, "what it took")
            self.assertIn("1 of its 6 intervals are too wide to use (such as mmap at 4M",
                          server.output)
            for name, size, found in (("big.bin", 1 << 20, "path=splice reason=calibrated"),
                                      ("middle.bin", 64 << 10, "path=sendfile reason=large-body"),
                                      ("vast.bin", 4 << 20, "path=sendfile reason=large-body")):
                with RawClient(server.address) as client:
                    self.assertEqual(client.get("/" + name).body, coded_bytes(0, size))
                line = wait_until(
                    lambda n=name: next((x for x in server.lines if f"/{n} " in x), None), name)
                self.assertIn(found, line)

    def test_another_machine_is_a_warning_and_a_bad_file_an_error(self):
        self.calibration(8192, kernel="5.10.0-other", cpu_model="Another CPU")
        size, done = self.small_body("--calibration", os.path.join(self.root, "c.json"))
        self.assertEqual(size, "8K")
        self.assertEqual(done.stderr.count("\n"), 2, done.stderr)
        self.assertIn("5.10.0-other", done.stderr)
        self.assertIn("Another CPU", done.stderr)
        self.store("bad.json", {"kind": "run"})
        for name in ("missing.json", "bad.json", "."):
            done = run_pagewire("serve", self.root, "--calibration", os.path.join(self.root, name))
            self.assertEqual((done.returncode, done.stdout), (2, ""), name)
            self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
            self.assertIn(name, done.stderr)


class EndsTest(BenchCase):
    """send and sink against each other."""

    def sender(self, *flags, **environment):
        process = subprocess.Popen([BINARY, "bench", "send", *flags, "--listen", "127.0.0.1:0"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, cwd=self.root,
                                   env={**os.environ, **environment})

        def end():
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()
        self.addCleanup(end)
        watch = threading.Timer(GUARD_S, process.kill)
        watch.start()
        self.addCleanup(watch.cancel)
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        self.assertTrue(found, line + (process.stderr.read() if process.poll() else ""))
        return process, int(found[1]), line

    def test_the_whole_file_by_each_path(self):
        data = coded_bytes(0, 3_000_001)
        self.folder.write("big.bin", data)
        for path in (*PATHS, "readwrite"):
            process, port, line = self.sender("big.bin", "--path", path, "--count", "1")
            self.assertIn("copy" if path == "readwrite" else path, line)
            with socket.create_connection(("127.0.0.1", port)) as client:
                got = b""
                while piece := client.recv(1 << 20):
                    got += piece
            self.assertEqual(got, data)
            self.assertIn("MB/s", process.stdout.readline())
            self.assertEqual(process.wait(GUARD_S), 0)

    def test_zc_path(self):
        self.folder.write("f", b"x" * 100)
        self.assertIn("splice", self.sender("f", ZC_PATH="splice")[2])
        self.assertIn("mmap", self.sender("f", "--path", "mmap", ZC_PATH="splice")[2])
        self.refused(2, "send", "f", naming=("ZC_PATH", "sendfile"),
                     env={**os.environ, "ZC_PATH": "sendfill"})

    def test_sink_and_ctrl_c(self):
        self.folder.coded("big.bin", 2_000_000)
        process, port, _ = self.sender("big.bin")
        for flags in ((), ("--touch",)):
            done = self.bench("sink", f"127.0.0.1:{port}", "-P", "2", *flags)
            self.assertIn("4.0 MB in ", done.stdout)
            self.assertIn("2 connections finished", done.stdout)
            for _ in range(2):  # a connection whose end was not seen would be broken off
                self.assertIn("2.0 MB in ", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(GUARD_S), 0)
        self.assertEqual(process.stderr.read(), "")
        with socket.socket() as nobody:  # the sender's port may be another program's by now
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            self.refused(1, "sink", f"127.0.0.1:{port}", naming=(str(port), "refused"))


if __name__ == "__main__":
    unittest.main()
