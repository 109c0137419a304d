"""How long the server waits for whom: readers who go on taking in what is queued are waited for,
those who do not are cut off and leave nothing in the kernel, and nobody holds up the end."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
import unittest

from support_faults import (BINARY, FaultTest, RawClient, coded_bytes, dies_with_us, ends,
                            first_difference, request_head, settle, total, wait_until)

from support import free_port

SIZE = 300_000
GUARD_S = 60
GRACE_S = 1.0  # which the server gives an idle client when it is to end


def sockets_of_port(port):
    """Of the kernel's TCP sockets, the states of those whose local port it is, listeners aside."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in list(file)[1:]]
    listening = "0A"
    return [row[3] for row in rows
            if int(row[1].split(":")[1], 16) == port and row[3] != listening]


class Patience(FaultTest):

    def setUp(self):
        super().setUp()
        self.body = coded_bytes(0, SIZE, salt=5)
        self.folder.write("body.bin", self.body)

    def read_slowly(self, client, count, bytes_per_s):
        got = b""
        while len(got) < count:
            piece = client.socket.recv(min(8192, count - len(got)))
            if not piece:
                break
            got += piece
            time.sleep(len(piece) / bytes_per_s)
        return got

    def test_reader_of_a_queued_response_outlives_the_idle_timeout(self):
        # All so long that we may be stopped for a while, and less than the reading takes.
        flags = ("--idle-timeout", "3s", "--linger-timeout", "3s", "--rate-window", "4s",
                 "--min-rate", "2000")
        for closing in (False, True):
            with self.subTest(closing=closing), self.serving(*flags) as server:
                client = RawClient(server.address, receive_buffer=8192)
                fields = ["Connection: close"] if closing else []
                client.send(request_head("/body.bin", fields=fields))
                message = client.read_head()
                self.assertEqual(message.status, 200)
                rest = client.buffer
                client.buffer = b""
                rest += self.read_slowly(client, SIZE - len(rest), 50_000)
                self.assertIsNone(first_difference(rest, self.body))
                self.assertEqual(client.socket.recv(1), b"", "idle at last, and closed")
                settle(server)
                self.assertEqual(ends(server, "slow-reader"), 0)
                client.close()

    def test_who_takes_nothing_leaves_nothing(self):
        """The answer is whole in the send buffer and its reader does not read: neither an idle nor
        a lingering connection may leave it to the kernel, which would keep it for minutes."""
        # The idle timeout runs before the request as well, when we are the ones to be slow.
        flags = ("--idle-timeout", "3s", "--linger-timeout", "300ms", "--rate-window", "500ms",
                 "--min-rate", "5000")
        for fields in ([], ["Connection: close"]):
            with self.subTest(fields=fields), self.serving(*flags) as server:
                clients = []
                for _ in range(20):
                    clients.append(RawClient(server.address, receive_buffer=8192))
                    clients[-1].send(request_head("/body.bin", fields=fields))
                wait_until(lambda: ends(server, "slow-reader") == len(clients), "all are cut off",
                           GUARD_S)
                port = server.address[1]
                wait_until(lambda: not sockets_of_port(port), "nothing is left in the kernel")
                for client in clients:
                    client.close()

    def test_drain_answers_what_is_under_way(self):
        """Clients that ask again as soon as they are answered: each is answered until it is told
        that the connection closes. Not one that was stopped for so long that the server took it for
        idle: that is judged from its last request on, since the answer came at some time after."""
        with self.serving("--drain-timeout", "1h") as server:
            clients = [RawClient(server.address) for _ in range(20)]
            told, late, failures = [], [], []

            def ask(client):
                asked, gap_s = time.monotonic(), None
                try:
                    while True:
                        before, gap_s = asked, None
                        client.send(request_head("/body.bin"))
                        asked = time.monotonic()
                        gap_s = asked - before
                        message = client.read()
                        if message.body != self.body:
                            failures.append("a wrong body")
                        if message.closes:
                            told.append(client)
                            return client.close()
                except (OSError, EOFError) as error:
                    if gap_s is None:  # it did not even go out
                        gap_s = time.monotonic() - asked
                    if gap_s < GRACE_S * 0.9:
                        failures.append(repr(error))
                    else:
                        late.append(client)
                except AssertionError as error:
                    failures.append(repr(error))
                return None

            threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
            for thread in threads:
                thread.start()
            wait_until(lambda: total(server, "pagewire_requests_total") > 200, "load")
            server.signal(signal.SIGTERM)
            for thread in threads:
                thread.join(GUARD_S)
            self.assertEqual((failures, len(told) + len(late)), ([], len(clients)))
            self.assertTrue(told)
            self.expect_end(server)

    def test_drain_does_not_wait_for_a_body_that_came(self):
        with self.serving("--drain-timeout", "1h") as server:
            client = RawClient(server.address)
            client.send(request_head("/body.bin", fields=["Content-Length: 10"]) + b"01234")
            self.assertEqual(client.read().body, self.body)
            server.signal(signal.SIGTERM)
            wait_until(lambda: "draining" in server.output, "it drains")
            client.send(b"56789")
            self.assertEqual(client.socket.recv(1), b"")
            client.close()
            self.expect_end(server)

    def expect_end(self, server):
        """Ended by itself; so serving() must not look at it any more."""
        server.process.wait(GUARD_S)
        self.assertEqual(server.process.returncode, 0)
        self.assert_back = lambda *_: None

    def test_output_that_nobody_reads_holds_up_nothing(self):
        """The access log goes to a pipe that is full, and so does what the end has to say."""
        address = ("127.0.0.1", free_port())
        process = subprocess.Popen(
            [BINARY, "serve", self.folder.root, "--listen", f"{address[0]}:{address[1]}",
             "--admin", "off", "--access-log", "-"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=dies_with_us())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        output = b""
        while not re.search(rb"Ctrl-C", output):
            more = os.read(process.stdout.fileno(), 4096)
            self.assertTrue(more, "it has ended")
            output += more
        with RawClient(address) as client:
            for _ in range(2000):  # twice what a pipe holds
                self.assertEqual(client.get("/body.bin", "HEAD").status, 200)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        self.assertIn(process.wait(GUARD_S), (0, 1))


if __name__ == "__main__":
    unittest.main()
