"""The access log: both formats, what stands in it, and SIGHUP after a rename."""

import json
import os
import re
import signal
import time
import unittest

from support import (TLS, Pagewire, RawClient, TestFolder, coded_bytes, request_head, run_pagewire,
                     wait_until)

SIZE = 300_000
COMBINED = re.compile(
    r'(\S+) - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "([^"]*)" (\d{3}) (\d+) '
    r'"([^"]*)" "([^"]*)" rt=(\d+\.\d+) path=(\S+) reason=(\S+)( incomplete)?'
    + (r' tls=TLSv1\.3 cipher=TLS_\w+ ktls=\S+' if TLS else ""))
# What sends a large body, and a small one of a file; and a large one where that path is pinned.
LARGE = ("tls_copy", "tls-user") if TLS else ("sendfile", "large-body")
SMALL = ("tls_copy", "tls-user") if TLS else ("copy", "small-body")
PINNED = (2 * [("tls_copy", "pin-unfit")] if TLS
          else [("splice", "pinned"), ("mmap", "pinned")])


class LogTest(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.folder.coded("big.bin", SIZE)
        self.folder.coded("small.bin", 100)
        self.folder.age("small.bin")
        self.file = self.folder.outside("access.log")

    def serve(self, form, *flags):
        server = Pagewire(self.folder.root, "--access-log", self.file, "--log-format", form,
                          "--workers", "1", *flags, admin="off")
        self.addCleanup(server.stop)
        return server

    def lines(self, count, name=None):
        """The lines of the log, as soon as there are `count`."""
        def read():
            with open(name or self.file, encoding="utf-8") as file:
                text = file.read()
            lines = text.splitlines()
            return lines if len(lines) >= count and text.endswith("\n") else None
        lines = wait_until(read, f"{count} lines in the log")
        self.assertEqual(len(lines), count, lines)
        return lines

    def ask_all(self, server):
        with RawClient(server.address) as client:
            client.get("/big.bin", fields=("User-Agent: probe/1", "Referer: http://a.test/"))
            client.get("/small.bin")
            client.get("/big.bin", fields=("Range: bytes=10-19",))
            client.get("/none")
            client.get("/big.bin", "HEAD")
            client.send(b"NONSENSE\r\n\r\n")
            client.read_rest()

    def test_combined(self):
        begin = time.monotonic()
        self.ask_all(self.serve("combined"))
        rows = [COMBINED.fullmatch(line) for line in self.lines(6)]
        self.assertTrue(all(rows), self.lines(6))
        self.assertEqual([row[3] for row in rows], ["200", "200", "206", "404", "200", "400"])
        self.assertEqual([int(row[4]) for row in rows[:3]], [SIZE, 100, 10])
        self.assertEqual(int(rows[4][4]), 0)
        self.assertEqual(rows[0][1], "127.0.0.1")
        self.assertEqual(rows[0][2], "GET /big.bin HTTP/1.1")
        self.assertEqual((rows[0][5], rows[0][6]), ("http://a.test/", "probe/1"))
        self.assertEqual((rows[0][8], rows[0][9]), LARGE)
        self.assertEqual((rows[2][8], rows[2][9]), SMALL)
        self.assertEqual(rows[1][9], "in-memory")
        self.assertEqual(rows[4][9], "head-only")
        self.assertLess(float(rows[0][7]), time.monotonic() - begin)

    def test_json(self):
        begin = time.monotonic()
        self.ask_all(self.serve("json"))
        rows = [json.loads(line) for line in self.lines(6)]
        self.assertEqual([row["status"] for row in rows], [200, 200, 206, 404, 200, 400])
        self.assertEqual([row["body_bytes"] for row in rows[:3]], [SIZE, 100, 10])
        self.assertTrue(all(row["bytes"] > row["body_bytes"] for row in rows))
        self.assertTrue(all(row["complete"] for row in rows))
        first = rows[0]
        self.assertEqual((first["method"], first["target"]), ("GET", "/big.bin"))
        self.assertEqual((first["path"], first["reason"]), LARGE)
        self.assertEqual((first["user_agent"], first["referer"]), ("probe/1", "http://a.test/"))
        self.assertEqual(rows[2]["range"], "bytes=10-19")
        self.assertEqual(rows[4]["reason"], "head-only")
        self.assertTrue(0 < first["duration_s"] < time.monotonic() - begin)
        self.assertRegex(first["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")

    def test_pinned_path_is_logged(self):
        for number, path in enumerate(("splice", "mmap"), 1):
            with RawClient(self.serve("json", "--path", path).address) as client:
                client.get("/big.bin")
            self.lines(number)  # each server writes its line when it comes to it
        rows = [json.loads(line) for line in self.lines(2)]
        self.assertEqual([(row["path"], row["reason"]) for row in rows], PINNED)

    def test_nothing_sent_can_forge_a_line(self):
        evil = 'x" 200 0 "-" "-" \\ \u00ff'
        for form in ("combined", "json"):
            self.file = self.folder.outside(form + ".log")
            with RawClient(self.serve(form).address) as client:
                client.send(request_head("/small.bin", fields=(f"User-Agent: {evil}",
                                                               "Referer: \"\\\"")))
                self.assertEqual(client.read().status, 200)
                client.get("/%0aforged%22")
            lines = self.lines(2)
            if form == "combined":
                self.assertTrue(all(COMBINED.fullmatch(line) for line in lines), lines)
            else:
                self.assertEqual(json.loads(lines[0])["referer"], '"\\"')

    def test_broken_off_answer_has_what_was_sent(self):
        self.folder.coded("huge.bin", 64 << 20)
        server = self.serve("json")
        client = RawClient(server.address, receive_buffer=4096)
        client.send(request_head("/huge.bin"))
        client.read_head()
        client.read_exactly(1)  # a head may come before its body
        client.reset()
        row = json.loads(self.lines(1)[0])
        self.assertEqual((row["status"], row["complete"]), (200, False))
        self.assertTrue(0 < row["body_bytes"] < 64 << 20, row)

    def test_reopened_on_sighup(self):
        server = self.serve("combined")
        old = self.file + ".1"
        with RawClient(server.address) as client:
            client.get("/small.bin")
            self.lines(1)
            os.rename(self.file, old)
            client.get("/big.bin")
            self.lines(2, old)
            server.signal(signal.SIGHUP)
            wait_until(lambda: os.path.exists(self.file), "the new file")
            client.get("/none")
            self.assertIn("/none", self.lines(1)[0])
            self.assertEqual(len(self.lines(2, old)), 2)

    def test_no_line_is_lost_at_the_end(self):
        server = self.serve("json")
        with RawClient(server.address) as client:
            client.send(request_head("/small.bin") * 200)
            for _ in range(200):
                self.assertEqual(client.read().body, coded_bytes(0, 100))
        server.stop()
        with open(self.file, encoding="utf-8") as file:
            self.assertEqual(len([json.loads(line) for line in file]), 200)

    def test_log_on_standard_output(self):
        server = Pagewire(self.folder.root, "--access-log", "-", "--log-format", "json",
                          admin="off")
        with RawClient(server.address) as client:
            client.get("/small.bin")
        server.stop()
        rows = [json.loads(line) for line in server.lines if line.startswith("{")]
        self.assertEqual([row["target"] for row in rows], ["/small.bin"])

    def test_log_is_appended_to(self):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write("before\n")
        with RawClient(self.serve("combined").address) as client:
            client.get("/small.bin")
        self.assertEqual(self.lines(2)[0], "before")

    def test_check_config_does_not_touch_the_log(self):
        done = run_pagewire("serve", self.folder.root, "--access-log", self.file, "--check-config")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse(os.path.exists(self.file))


if __name__ == "__main__":
    unittest.main()
