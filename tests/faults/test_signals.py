"""Signals under load: SIGHUP storms, SIGTERM with transfers in flight, and a second SIGTERM."""

import errno
import glob
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from support_faults import (PATHS, SANITIZER, FaultTest, Pagewire, RawClient, coded_bytes,
                            dies_with_us, drain, first_difference, helper, report, request_head,
                            total, wait_until)

MIB = 1 << 20
BIG = 6 * MIB + 99
SMALL = 40_000
CLIENTS = 24
GUARD_S = 180 if SANITIZER else 60


class Load:
    """Clients that ask for small and big files in turn until the server ends their connection.
    An answer is whole and right, or it ends with the connection and what came is right."""

    def __init__(self, server, bodies, clients=CLIENTS):
        self.server = server
        self.bodies = bodies
        self.lock = threading.Lock()
        self.whole = self.cut = 0
        self.wrong = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(number,))
                        for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def ask(self, number):
        targets = sorted(self.bodies)
        client = None
        try:
            with RawClient(self.server.address) as client:
                while not self.stopped.is_set():
                    self.ask_once(client, targets[number % len(targets)])
                    number += 1
        except (EOFError, ConnectionError):
            # Between two answers, or in a body (counted there), but never within a head.
            if client is not None and client.buffer:
                with self.lock:
                    self.wrong.append(f"ended after {client.buffer!r}")
        except Exception as error:  # pylint: disable=broad-except
            with self.lock:
                self.wrong.append(repr(error))

    def ask_once(self, client, target):
        wanted = self.bodies[target]
        client.send(request_head(target))
        message = client.read_head()
        if message.get("content-length") != str(len(wanted)):
            raise AssertionError(f"{target}: {message.status} {message.fields}")
        got, cut = client.buffer[:len(wanted)], False
        client.buffer = client.buffer[len(got):]
        try:
            while len(got) < len(wanted):
                piece = client.socket.recv(len(wanted) - len(got))
                if not piece:
                    raise EOFError
                got += piece
        except (EOFError, ConnectionError):
            cut = True
        with self.lock:
            if got != wanted[:len(got)]:
                self.wrong.append(first_difference(got, wanted))
            self.cut += cut
            self.whole += not cut
        if cut:
            raise EOFError

    def join(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(GUARD_S)

    def wait_for_whole(self, count):
        wait_until(lambda: self.whole > count or self.wrong, f"more than {count} whole answers",
                   GUARD_S)


class Signals(FaultTest):

    def setUp(self):
        super().setUp()
        self.big = coded_bytes(0, BIG, salt=31)
        self.small = coded_bytes(0, SMALL, salt=32)
        self.folder.write("big.bin", self.big)
        self.folder.write("small.bin", self.small)
        self.bodies = {"/big.bin": self.big, "/small.bin": self.small}

    def test_sighup_storm(self):
        """The log is renamed and opened anew all the time, while thousands of clients come and go:
        no wrong byte, and every request is a line in one of the files or counted as dropped."""
        for number in range(4):
            self.folder.coded(f"coded{number}.bin", 4 * MIB, salt=number + 1)
        folder = self.folder.outside("logs")
        os.mkdir(folder)
        log = os.path.join(folder, "access.log")
        clients = 400 if SANITIZER else 3000
        with self.serving("--access-log", log) as server:
            floods = signals = 0
            while signals <= 100:  # mostly one; another where that was too quick for our signals
                floods += 1
                signals = self.flood_and_storm(server, clients, log, signals)
            wait_until(lambda: total(server, "pagewire_connections_open") == 0, "all have gone")
            requests = total(server, "pagewire_requests_total")

            def accounted():
                dropped = total(server, "pagewire_log_dropped_total")
                return self.lines(folder) + dropped == requests
            wait_until(accounted, f"{requests} requests are lines, or counted as dropped")
            report(f"{signals} SIGHUPs over {floods * clients} clients and {requests} requests, "
                   f"{total(server, 'pagewire_log_dropped_total')} lines dropped")

    def flood_and_storm(self, server, clients, log, signals):
        """Signals until the clients have gone; returns how many there are now."""
        flood = subprocess.Popen(
            [helper("fault_flood"), str(server.address[1]), str(clients), "500", "5", "4",
             str(4 * MIB), "200000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while flood.poll() is None:
            if signals % 20 == 0 and os.path.exists(log):
                os.rename(log, os.path.join(os.path.dirname(log), f"{signals}.log"))
            server.signal(signal.SIGHUP)
            signals += 1
            time.sleep(0.001)
        out, errors = flood.communicate()
        counts = {name: int(value) for name, value in map(str.split, out.splitlines())}
        self.assertEqual([counts[name] for name in (
            "wrong_bytes", "bad_heads", "surplus_bytes", "cut_short", "not_connected",
            "stuck")], [0] * 6, errors)
        return signals

    @staticmethod
    def lines(folder):
        count = 0
        for name in glob.glob(os.path.join(folder, "*.log")):
            with open(name, "rb") as file:
                count += file.read().count(b"\n")
        return count

    def test_sigterm_under_load(self):
        """What is in flight is finished, the server ends with 0 and in time."""
        for path in PATHS:
            with self.subTest(path=path):
                server = Pagewire(self.folder.root, "--workers", "2", "--path", path,
                                  "--drain-timeout", "1h", preexec_fn=dies_with_us())
                try:
                    load = Load(server, self.bodies)
                    load.wait_for_whole(CLIENTS)
                    start = time.monotonic()
                    server.signal(signal.SIGTERM)
                    server.process.wait(2 * GUARD_S)
                    server.wait()
                    seconds = time.monotonic() - start
                finally:
                    server.kill()
                load.join()
                report(f"{path}: SIGTERM with {CLIENTS} busy clients: ended with 0 after "
                       f"{seconds:.2f} s, {load.whole} answers whole, {load.cut} cut")
                self.assertEqual(load.wrong, [])
                self.assertEqual(load.cut, 0, "an answer in flight was not finished")
                self.assertGreater(load.whole, CLIENTS)

    def test_drain_timeout(self):
        """Readers that never finish are cut off when the time is over; still 0, never whole."""
        for path in PATHS:
            with self.subTest(path=path):
                server = Pagewire(self.folder.root, "--workers", "2", "--path", path,
                                  "--drain-timeout", "1s", preexec_fn=dies_with_us())
                try:
                    stuck = [self.open_mid_transfer(server, "/big.bin", BIG, 1000)
                             for _ in range(8)]
                    self.wait_until_stuck(server, path)
                    start = time.monotonic()
                    server.signal(signal.SIGTERM)
                    wait_until(lambda: "draining" in server.output, "it says that it drains")
                    wait_until(lambda: self.refused(server), "new clients are refused")
                    server.wait()
                    seconds = time.monotonic() - start
                finally:
                    server.kill()
                self.assertGreater(seconds, 0.9)
                report(f"{path}: 8 stuck readers, drain timeout 1 s: ended with 0 "
                       f"after {seconds:.2f} s")
                for client, got in stuck:
                    got, _ = drain(client, got)
                    self.assertLess(len(got), BIG)
                    self.assertIsNone(first_difference(got, self.big[:len(got)]))
                    client.close()

    @staticmethod
    def refused(server):
        with socket.socket() as newcomer:
            return newcomer.connect_ex(server.address) == errno.ECONNREFUSED

    def test_signal_storms_end_it_at_once(self):
        """SIGTERM again and again, SIGHUP and SIGINT between: it ends, and no answer is wrong."""
        storms = ([signal.SIGTERM], [signal.SIGHUP, signal.SIGTERM],
                  [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
        for number, storm in enumerate(storms):
            with self.subTest(storm=number):
                server = Pagewire(self.folder.root, "--workers", "2", preexec_fn=dies_with_us())
                stuck = None
                try:
                    load = Load(server, self.bodies, clients=8)
                    stuck = self.open_mid_transfer(server, "/big.bin", BIG, 1000)
                    load.wait_for_whole(8)
                    start = time.monotonic()
                    # Signals that come before the last one of the kind was taken are one.
                    for one in itertools.cycle(storm):
                        if server.process.poll() is not None:
                            break
                        self.assertLess(time.monotonic() - start, GUARD_S, "it does not end")
                        server.signal(one)
                        time.sleep(0.002)
                    # Not 0: a response was in flight, and the second signal says not to wait.
                    server.wait(expected=1)
                    report(f"storm {number}: ended {time.monotonic() - start:.2f} s after the "
                           f"first signal")
                finally:
                    server.kill()
                load.join()
                self.assertEqual(load.wrong, [])
                got, _ = drain(*stuck)
                self.assertLess(len(got), BIG)
                self.assertIsNone(first_difference(got, self.big[:len(got)]))


if __name__ == "__main__":
    unittest.main()
