"""A path that fails while the server starts: one line, another path, and whole answers.

strace makes the system call fail from its second use on; the first is the probe's, which asks
only whether the kernel has the call."""

import os
import re
import subprocess
import unittest

from support_faults import (BINARY, FaultTest, Pagewire, RawClient, coded_bytes, fetch_metrics,
                            first_difference, settle, total, why_no_strace)

SIZE = 3 * 1024 * 1024 + 7


def failing(*expressions):
    """A command that runs pagewire so that calls fail. -D: the server is the process started, and
    strace its child, so that signals reach the server."""
    calls = ",".join(expression.split(":")[0] for expression in expressions)
    command = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null",
               "-e", f"trace={calls}"]
    for expression in expressions:
        command += ["-e", f"inject={expression}"]
    return command


@unittest.skipIf(why_no_strace(), why_no_strace())
class SelfTest(FaultTest):
    def setUp(self):
        super().setUp()
        self.wanted = coded_bytes(0, SIZE, salt=5)
        self.folder.write("file.bin", self.wanted)
        self.environment = {**os.environ, "XDG_CACHE_HOME": self.folder.outside("cache")}

    def run_serve(self, expression, *flags):
        return subprocess.run([*failing(expression), BINARY, "serve", self.folder.root, *flags],
                              capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env=self.environment)

    def serve_and_fetch(self, *expressions, flags=(), good_calls=0):
        """What a server says that starts with the failing call; the file must come whole."""
        with Pagewire(self.folder.root, "--workers", "1", *flags, under=failing(*expressions),
                      env=self.environment) as server:
            with RawClient(server.address) as client:
                for _ in range(good_calls):
                    part = client.get("/file.bin", fields=("Range: bytes=0-19999",))
                    self.assertEqual(part.body, self.wanted[:20000])
                message = client.get("/file.bin")
            self.assertEqual(message.status, 200)
            self.assertIsNone(first_difference(message.body, self.wanted))
            settle(server)
            return server, fetch_metrics(server)

    def test_a_failing_path_is_quarantined(self):
        server, metrics = self.serve_and_fetch("sendfile:error=EIO:when=2+")
        lines = [line for line in server.lines if "quarantined" in line]
        self.assertEqual(len(lines), 1, server.output)
        self.assertRegex(lines[0], r"^pagewire serve: path sendfile is quarantined on \S+ on \S+: "
                                   r"sendfile: Input/output error after 0 of \d+ bytes$")
        self.assertEqual(metrics.total("^pagewire_path_usable$", path="sendfile",
                                       why="quarantined"), 0)
        self.assertEqual(metrics.total("^pagewire_path_usable$", path="copy", why="ok"), 1)
        self.assertEqual(metrics.total("^pagewire_path_responses_total$", path="sendfile"), 0)
        self.assertEqual(metrics.total("^pagewire_path_reasons_total$", reason="quarantined"), 1)
        # And it is not kept: the next start tests again and finds nothing wrong.
        with Pagewire(self.folder.root, "--workers", "1", env=self.environment) as healthy:
            self.assertNotIn("quarantined", healthy.output)
            self.assert_alive(healthy, "/file.bin", self.wanted)
            settle(healthy)
            self.assertEqual(
                total(healthy, "pagewire_path_reasons_total", reason="large-body"), 1)

    def test_a_path_that_says_it_sent_and_did_not(self):
        server, metrics = self.serve_and_fetch("sendfile:retval=4096:when=2+")
        self.assertIn("path sendfile is quarantined", server.output)
        self.assertIn("stalled after", server.output)
        self.assertEqual(metrics.total("^pagewire_path_reasons_total$", reason="quarantined"), 1)

    def test_a_filesystem_that_cannot_be_spliced_is_no_fault(self):
        server, metrics = self.serve_and_fetch("sendfile:error=EINVAL:when=2+")
        self.assertNotIn("quarantined", server.output)
        self.assertEqual(metrics.total("^pagewire_path_usable$", path="sendfile",
                                       why="unsupported"), 0)
        self.assertEqual(metrics.total("^pagewire_path_reasons_total$", reason="no-sendfile"), 1)

    def test_a_pin_that_cannot_be_used_is_refused(self):
        for expression, says in [
                ("splice:error=EIO:when=2+", "--path splice is quarantined: splice(file): "),
                ("splice:error=EINVAL:when=2+", "--path splice is unsupported: "),
                ("splice:error=ENOSYS", "--path splice is unavailable: splice(2) is refused")]:
            with self.subTest(inject=expression):
                done = self.run_serve(expression, "--path", "splice", "--listen", "127.0.0.1:0")
                self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
                self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
                self.assertIn(says, done.stderr)

    def test_a_pin_without_a_self_test_is_the_users_word(self):
        """Not tested, so not refused; what it cannot do goes on by another path."""
        server, metrics = self.serve_and_fetch("splice:error=EINVAL:when=2+",
                                               flags=("--path", "splice", "--self-test", "off"))
        self.assertNotIn("quarantined", server.output)
        self.assertEqual(metrics.total("^pagewire_path_reasons_total$", reason="pinned"), 1)

    def test_explain_says_what_was_wrong(self):
        done = self.run_serve("sendfile:error=EIO:when=2+", "--explain", "/file.bin")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("sendfile: quarantined: sendfile: Input/output error", done.stdout)
        self.assertIn("reason=quarantined", done.stdout)

    def test_a_cold_body_does_not_go_by_a_mapping(self):
        with open(self.folder.path("file.bin"), "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        done = self.run_serve("sendfile:error=EIO:when=2+", "--explain", "/file.bin")
        if re.search(r"residency +0 bytes", done.stdout) is None:
            self.skipTest("the file stays in memory here, or the kernel does not tell")
        self.assertIn("path=copy reason=cold-body", done.stdout)

    def test_nothing_falls_to_a_quarantined_path(self):
        """sendfile says EINVAL after the self-test. splice would be next, but has failed there; so
        the response goes by mmap. strace counts the calls of each thread, so that the worker can
        make as many good ones as the self-test did."""
        trace = self.folder.outside("trace")
        subprocess.run(["strace", "-qq", "-o", trace, "-e", "trace=sendfile", BINARY, "serve",
                        self.folder.root, "--explain", "/file.bin"], check=True, timeout=60,
                       stdout=subprocess.DEVNULL, env=self.environment)
        with open(trace, encoding="ascii") as file:
            calls = sum(line.startswith("sendfile(") for line in file)
        self.assertGreater(calls, 3, "the probe's, and one for each transfer")
        server, metrics = self.serve_and_fetch(
            "splice:error=EIO:when=2+", f"sendfile:error=EINVAL:when={calls + 1}+",
            flags=("--self-test", "always"), good_calls=calls)
        self.assertIn("path splice is quarantined", server.output)
        for path, responses in (("sendfile", calls), ("splice", 0), ("mmap", 1)):
            self.assertEqual(metrics.total("^pagewire_path_responses_total$", path=path),
                             responses, path)


if __name__ == "__main__":
    unittest.main()
