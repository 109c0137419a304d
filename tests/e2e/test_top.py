"""pagewire top beside serve: on a terminal, narrow and wide, with keys, and its server going and
coming; --once and --json. Beside a relay: test_top_relay."""

import json
import os
import re
import signal
import socket
import threading
import unittest

import jsonschema

from support import BINARY, SOURCE, Pagewire, RawClient, TestFolder, free_port, run_pagewire
from support.server import PATIENCE_S
from support.terminal import OnTerminal

FAST = ("--interval", "200ms")


class TopTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        cls.folder.coded("big.bin", 2 << 20)
        cls.folder.coded("small.bin", 900)

    def serve(self, *flags, **others):
        server = Pagewire(self.folder.root, "--workers", "2", *flags, **others)
        self.addCleanup(server.kill)
        return server

    def load(self, server):
        """Asks for both files, over and over, until the test is over."""
        over = threading.Event()

        def ask():
            while not over.wait(0.005):
                try:
                    with RawClient(server.address) as client:
                        for target in ("/big.bin", "/small.bin", "/small.bin"):
                            client.get(target)
                except (OSError, EOFError):  # it was stopped
                    return
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE_S)
        self.addCleanup(over.set)

    @staticmethod
    def url(server):
        return "http://{}:{}".format(*server.admin)

    def watch(self, server, *flags, **terminal):
        top = OnTerminal([BINARY, "top", "--admin", self.url(server), *FAST, *flags], **terminal)
        self.addCleanup(top.__exit__)
        return top

    def test_shows_paths_and_reasons(self):
        server = self.serve()
        self.load(server)
        top = self.watch(server)
        top.wait_for(r"^[0-9.]+ Gbit/s  [0-9.,]+ requests/s  \d+ connections  CPU [0-9.]+%")
        top.wait_for(r"^sendfile +[0-9.]+% .*large-body 100%")
        top.wait_for(r"^copy +[0-9.]+% .*(in-memory|small-body) 100%")
        top.wait_for(r"^WORKER +Gbit/s +req/s +conns +CPU +user +system +events/wake")
        top.wait_for(r"^0 +[0-9.]+")
        top.wait_for(r"^1 +[0-9.]+")
        first = top.wait_for(r"up \d+ s")
        top.wait_for("no errors")
        top.wait_for(f"up (?!{first[0][3:]})")  # it goes on
        top.press("q")
        self.assertEqual(top.wait(), 0)
        self.assertIn(b"\x1b[?1", top.seen, "the terminal's keypad mode was given back")

    def test_keys(self):
        server = self.serve()
        self.load(server)
        top = self.watch(server)
        top.wait_for("^sendfile ")
        top.wait_for(r"sort: throughput")
        # In one picture: others may leave the load no CPU for an interval, and what sent nothing in
        # it is not shown.
        top.wait_for(r"^sendfile .*(\n.*)*\ncopy ")
        top.press("s")
        top.wait_for(r"sort: requests")
        top.wait_for(r"^copy .*(\n.*)*\nsendfile ")
        top.press("r")
        top.wait_for(r"sort: requests \(reversed\)")
        top.wait_for(r"^sendfile .*(\n.*)*\ncopy ")
        top.press("p")
        top.wait_for(r"\[paused\]")
        top.wait_for(r"p go on")  # in the last row, which is drawn last
        before = top.screen.text()
        top.read(0.6)
        self.assertEqual(top.screen.text(), before, "paused")
        top.press("p")
        top.wait_for(r"up (?!{})".format(re.search(r"up ([^]]*?)\s\s", before)[1]))
        top.wait_for(r"p pause")
        self.assertNotIn("[paused]", top.screen.text())
        top.press("-")
        top.wait_for(r"every 0.25 s")
        top.press("+")
        top.press("?")
        top.wait_for(r"^up, down +scroll")
        top.press("?x")
        top.wait_for("^sendfile ")
        top.press("q")
        self.assertEqual(top.wait(), 0)

    def test_narrow_low_and_resized(self):
        server = self.serve()
        self.load(server)
        top = self.watch(server, columns=40, rows=12)
        top.wait_for(r"^WORKER +Gbit/s +req/s")
        top.wait_for(r"^q quit  h keys  p pause  s sort: through\Z")
        self.assertTrue(all(len(line) <= 40 for line in top.screen.text().split("\n")))
        top.press("\x1b[B" * 20)  # down, by the arrow key of an ANSI terminal or by PageDown
        top.press("\x1bOB" * 20)
        top.wait_for(r"^sendfile +[0-9.]+% .*larg")
        top.resize(110, 40)
        top.wait_for(r"^WORKER +Gbit/s +req/s +conns +CPU +user +system +events/wake")
        top.wait_for(r"^copy .*(in-memory|small-body) 100%")
        top.resize(1, 1)
        top.read(0.5)
        top.resize(9, 3)
        top.read(0.5)
        top.resize(60, 30)
        top.wait_for(r"^PATH +share")
        top.press("q")
        self.assertEqual(top.wait(), 0)

    def test_server_goes_and_comes_again(self):
        port = free_port()  # nobody is given it meanwhile
        top = None
        for _ in range(5):  # of a path there are figures only if the load had a CPU at the end
            server = self.serve(admin=f"127.0.0.1:{port}")
            self.load(server)
            top = top or self.watch(server)
            top.wait_for("^sendfile ")
            server.stop()
            top.wait_for(r"cannot read the metrics for \d+ s: Connection refused; trying again")
            if "\nsendfile " in top.screen.text():
                break
        self.assertIn("\nsendfile ", top.screen.text(), "the last figures stay")
        self.assertRegex(top.screen.text(), r"(?m)^1 +[0-9.<]+", "the workers', too")
        again = self.serve(admin=f"127.0.0.1:{port}")
        top.wait_for(r"the server was restarted|nothing was sent")
        top.wait_for(r"\A(?![\s\S]*restarted)[\s\S]*nothing was sent")
        self.load(again)
        top.wait_for(r"^sendfile +[0-9.]+%")
        top.press("q")
        self.assertEqual(top.wait(), 0)

    def test_signals_give_the_terminal_back(self):
        top = self.watch(self.serve())
        top.wait_for("^WORKER")
        top.process.send_signal(signal.SIGTERM)
        self.assertEqual(top.wait(), 0)
        self.assertEqual(top.screen.row, top.screen.rows - 1, "the cursor is in the last row")

    def test_terminals_that_cannot_be_drawn_on(self):
        server = self.serve()
        top = self.watch(server, term="no-such-terminal")
        self.assertEqual(top.wait(), 1)
        self.assertIn(b'a terminal of the type "no-such-terminal" (TERM); --once', top.seen)
        done = run_pagewire("top", "--admin", self.url(server))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("this is no terminal; --once", done.stderr)
        top = self.watch(server, LC_ALL="C")
        top.wait_for("^WORKER")  # and no other characters than ASCII
        self.assertTrue(top.seen.isascii())

    def test_once(self):
        server = self.serve()
        self.load(server)
        for interval in ("300ms", "3s", "20s"):  # long enough for the load to have had a CPU
            done = run_pagewire("top", "--admin", self.url(server), "--once", "--interval",
                                interval)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            if "nothing was sent" not in done.stdout and "\nsendfile " in done.stdout:
                break
        self.assertRegex(done.stdout, r"(?m)^sendfile +[0-9.]+% .*large-body 100%$")

    def test_json(self):
        server = self.serve()
        self.load(server)
        for interval in ("3s", "10s", "30s"):
            done = run_pagewire("top", "--admin", str(server.admin[1]), "--once", "--json",
                                "--interval", interval)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            report = json.loads(done.stdout)
            # What the server, or the load, has waited for a CPU is little of it.
            if all(abs(sum(row[key] for row in report["workers"]) - report[key]) < report[key] / 10
                   for key in ("gbit_per_s", "requests_per_s")) and len(report["paths"]) == 2:
                break
        self.assertGreaterEqual(report["interval_s"], 3)
        self.assertEqual([row["worker"] for row in report["workers"]], ["0", "1"])
        for key in ("gbit_per_s", "requests_per_s"):
            self.assertGreater(report[key], 0)
            # The workers are read one after the other, while they go on.
            self.assertAlmostEqual(sum(row[key] for row in report["workers"]), report[key],
                                   delta=report[key] / 10)
        paths = {row["path"]: row for row in report["paths"]}
        self.assertEqual(set(paths), {"sendfile", "copy"})
        self.assertAlmostEqual(sum(row["share"] for row in paths.values()), 1, places=6)
        self.assertEqual(paths["sendfile"]["reasons"], {"large-body": 1})
        self.assertAlmostEqual(sum(paths["copy"]["reasons"].values()), 1, places=6)
        self.assertGreater(paths["sendfile"]["share"], 0.9)
        self.assertLess(paths["sendfile"]["bytes_per_call"], (2 << 20) + 4096)
        self.assertIsNone(report["ktls_share"])
        self.assertEqual(report["errors_per_s"], {})
        with open(os.path.join(SOURCE, "docs/top.schema.json"), encoding="utf-8") as file:
            jsonschema.validate(report, json.load(file))

    def test_bad_flags(self):
        for flags, said in ((("--admin", "https://h"), "--admin takes an http address"),
                            (("--admin", "h:0"), "--admin takes an http address"),
                            (("--admin", "h:1/a b"), "--admin takes an http address"),
                            (("--json",), "--json is for --once"),
                            (("--interval", "1"), "--interval takes a time"),
                            (("--onse",), "did you mean --once?"),
                            (("now",), "takes nothing but flags")):
            done = run_pagewire("top", *flags)
            self.assertEqual(done.returncode, 2, flags)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("--once", run_pagewire("top", "--help").stdout)

    def test_what_answers_otherwise(self):
        """Nobody, somebody else's server, garbage, half an answer, silence."""
        server = self.serve()
        url = "http://{}:{}".format(*server.addresses[0])
        cases = [(f"{url}/none", "the answer has status 404; is this an admin listener?"),
                 (f"{url}/small.bin", "line 1 of it is no metric"),
                 ("http://no-such-host.invalid:1", "cannot find the host no-such-host.invalid")]
        for answer, said in ((b"SSH-2.0-x\r\n", "the answer is not HTTP"),
                             (b"", "closed without an answer"),
                             (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\na 1\n",
                              "the answer broke off")):
            cases.append((self.answer_with(answer), said))
        cases.append((self.answer_with(None), "no answer within 5 s"))
        for address, said in cases:
            done = run_pagewire("top", "--once", "--json", "--admin", address, timeout=120)
            self.assertEqual((done.returncode, done.stdout), (1, ""), address)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def answer_with(self, answer):
        """One connection is answered so; None: never."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            connection, _ = listener.accept()
            self.addCleanup(connection.close)
            if answer is None:
                return
            connection.recv(4096)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
        threading.Thread(target=serve, daemon=True).start()
        return "127.0.0.1:{}".format(listener.getsockname()[1])


if __name__ == "__main__":
    unittest.main()
