"""System calls that fail where no disk or peer can be made to: strace makes them say so.

Each failing call either ends its own connection before the promised length, or the response goes
on by another path; the worker goes on in any case, and answers whole as soon as the fault is
over."""

import time
import unittest

from support_faults import (PATHS, FaultTest, RawClient, Strace, coded_bytes, drain, ends,
                            first_difference, report, request_head, settle, total, wait_until,
                            why_no_strace)

BIG = 6 * 1024 * 1024 + 5
SMALL = 30_000

CUT, FALLS_BACK, GOES_ON = "cut", "falls back", "goes on by the same path"

# path, what strace injects into each worker, and what becomes of the response. `when=3+` lets the
# response begin.
CASES = [
    ("sendfile", "sendfile:error=EIO", CUT),
    ("sendfile", "sendfile:error=EIO:when=3+", CUT),
    ("sendfile", "sendfile:error=ENOMEM", CUT),
    ("sendfile", "sendfile:error=EINVAL", FALLS_BACK),
    ("sendfile", "sendfile:error=ENOSYS", FALLS_BACK),
    ("sendfile", "sendfile:error=EINVAL:when=3+", CUT),
    ("sendfile", "sendfile:error=EINTR:when=1+2", FALLS_BACK),
    ("sendfile", "sendfile:error=EPIPE", CUT),
    ("splice", "splice:error=EIO", CUT),
    ("splice", "splice:error=EIO:when=5+", CUT),
    ("splice", "splice:error=ENOMEM:when=6+", CUT),
    ("splice", "splice:error=EINVAL", FALLS_BACK),
    ("splice", "splice:error=EINVAL:when=2+", FALLS_BACK),  # from the pipe into the socket
    ("splice", "splice:error=EINTR:when=1+3", FALLS_BACK),
    ("splice", "pipe2:error=EMFILE", FALLS_BACK),
    ("splice", "pipe2:error=ENFILE", FALLS_BACK),
    ("vmsplice", "vmsplice:error=ENOSYS", FALLS_BACK),
    ("vmsplice", "vmsplice:error=ENOMEM", FALLS_BACK),
    ("vmsplice", "vmsplice:error=EIO:when=3+", CUT),
    ("vmsplice", "vmsplice:error=EFAULT:when=2+", CUT),
    ("vmsplice", "vmsplice:error=EINTR:when=1+2", FALLS_BACK),
    ("vmsplice", "splice:error=EINVAL", FALLS_BACK),  # from the pipe into the socket
    ("vmsplice", "pipe2:error=EMFILE", FALLS_BACK),
    ("vmsplice", "mmap:error=ENOMEM", FALLS_BACK),  # neither a window nor pages to give away
    ("mmap", "mmap:error=ENOMEM", FALLS_BACK),
    ("mmap", "mmap:error=ENODEV", FALLS_BACK),
    ("mmap", "sendto:error=EIO:when=2+", CUT),
    ("mmap", "sendto:error=ENOBUFS:when=2+", CUT),
    ("zerocopy", "mmap:error=ENOMEM", FALLS_BACK),
    ("zerocopy", "mmap:error=ENOMEM:when=2+", GOES_ON),
    ("zerocopy", "setsockopt:error=ENOPROTOOPT", FALLS_BACK),
    ("zerocopy", "sendto:error=EIO:when=2+", CUT),
    ("zerocopy", "sendto:error=ENOBUFS:when=2+", CUT),  # also without MSG_ZEROCOPY
    ("copy", "preadv2:error=EIO", CUT),
    ("copy", "preadv2:error=EIO:when=3+", CUT),
    ("copy", "preadv2:error=EINTR:when=1+2", FALLS_BACK),
    ("copy", "sendto:error=ENOMEM:when=2+", CUT),
    ("copy", "sendto:error=ECONNRESET:when=2+", CUT),
]

# A failing open or stat is a status, not a broken connection.
OPEN_CASES = [
    ("openat2:error=EMFILE", 503),
    ("openat2:error=ENFILE", 503),
    ("openat2:error=ENOMEM", 503),
    ("openat2:error=EIO", 500),
    ("openat2:error=EACCES", 403),
    ("openat2:error=ENOENT", 404),
]


@unittest.skipIf(why_no_strace(), why_no_strace())
class InjectedErrors(FaultTest):

    def setUp(self):
        super().setUp()
        self.big = coded_bytes(0, BIG, salt=21)
        self.small = coded_bytes(0, SMALL, salt=22)
        self.folder.write("big.bin", self.big)
        self.folder.write("small.bin", self.small)

    def test_errors_in_mid_response(self):
        for path in PATHS:
            with self.serving("--path", path, "--idle-pipes", "0", workers=1) as server:
                for expression, outcome in [case[1:] for case in CASES if case[0] == path]:
                    with self.subTest(path=path, inject=expression):
                        self.inject(server, path, expression, outcome)

    def inject(self, server, path, expression, outcome):
        self.assert_alive(server, "/big.bin", self.big)  # its file is open from now on
        settle(server)
        cut_before = self.cut_off(server)
        by_path = total(server, "pagewire_path_responses_total", path=path)
        with Strace(server, expression), RawClient(server.address) as client:
            client.send(request_head("/big.bin") + request_head("/missing"))
            if outcome == CUT:
                stream, _ = drain(client, b"")
                head, _, got = stream.partition(b"\r\n\r\n")
                self.assertIn(f"Content-Length: {BIG}\r\n".encode() if head else b"", head)
                self.assertLess(len(got), BIG)
                self.assertIsNone(first_difference(got, self.big[:len(got)]))
            else:
                message = client.read()
                self.assertEqual(message.status, 200)
                self.assertIsNone(first_difference(message.body, self.big))
                self.assertEqual(client.read().status, 404)
            # The worker goes on, with what does not need the failing call.
            if "send" not in expression or "sendfile" in expression:
                self.assert_answers_404(server)
        settle(server)
        self.assertEqual(self.cut_off(server) - cut_before, 1 if outcome == CUT else 0)
        if outcome == FALLS_BACK and "EINTR" not in expression:
            self.assertEqual(total(server, "pagewire_path_responses_total", path=path), by_path)
        self.assert_alive(server, "/big.bin", self.big)

    def assert_answers_404(self, server):
        with RawClient(server.address) as client:
            self.assertEqual(client.get("/missing").status, 404)

    @staticmethod
    def cut_off(server):
        return ends(server, "read-error") + ends(server, "peer-reset")

    def test_opens_that_fail(self):
        with self.serving("--open-file-validity", "0", workers=1) as server:
            for expression, status in OPEN_CASES:
                with self.subTest(inject=expression):
                    name = expression.replace(":", "-").replace("=", "-") + ".bin"
                    self.folder.write(name, self.small)
                    with RawClient(server.address) as client:
                        with Strace(server, expression):
                            self.assertEqual(client.get("/" + name).status, status)
                        wait_until(lambda: client.get("/" + name).body == self.small,
                                   "the file, once it can be opened")

    def test_epoll_and_receive_fail(self):
        """A failing recv ends its connection; a failing epoll_ctl refuses the new one. A failing
        epoll_wait must not spin. strace cannot make an operation of io_uring fail."""
        with self.serving("--engine", "epoll", workers=1) as server:
            for expression in ("recvfrom:error=ENOMEM", "recvfrom:error=ECONNRESET",
                               "epoll_ctl:error=ENOMEM", "epoll_ctl:error=ENOSPC"):
                with self.subTest(inject=expression):
                    with Strace(server, expression), RawClient(server.address) as client:
                        client.send(request_head("/small.bin"))
                        self.assertEqual(drain(client, b"")[0], b"")
                    self.assert_alive(server, "/small.bin", self.small)

    def test_slow_calls(self):
        """Every call of the path takes 2 ms more: slower, not wrong."""
        with self.serving("--path", "splice", workers=1) as server:
            with Strace(server, "splice:delay_enter=2000"):
                start = time.monotonic()
                self.assert_alive(server, "/big.bin", self.big)
                report(f"2 ms more a splice: 6 MiB took {time.monotonic() - start:.2f} s")


if __name__ == "__main__":
    unittest.main()
