"""The relay where the kernel says no: errors of splice, pipes that are not to be had, descriptors
that have run out, peers that vanish; and what thousands of connections leave behind.

Each stream arrives whole or ends with a reset; what was done instead is counted."""

import os
import resource
import shutil
import socket
import subprocess
import threading
import time
import unittest

from support_faults import (BINARY, SANITIZER, Strace, coded_bytes, dies_with_us, fetch_metrics,
                            first_difference, lone_user, report, settle, wait_until,
                            why_no_strace)

from support import Relay, Upstream, echo, read_all, reset

BULK = 4 << 20
# `./dev soak relay` makes 100,000.
CONNECTIONS = int(os.environ.get("PAGEWIRE_SOAK_CONNECTIONS") or (500 if SANITIZER else 5_000))
# What the helper holds: more than fs.pipe-user-pages-soft allows a user (16,384 pages).
HOLDER = """
import os, sys, time
pipes = [os.pipe() for _ in range(1100)]
print("held", flush=True)
sys.stdin.read()
"""


class RelayFault(unittest.TestCase):
    def upstream(self, serve):
        upstream = Upstream(serve)
        self.addCleanup(upstream.close)
        return upstream

    def relay(self, *flags, to, **others):
        relay = Relay("--workers", "1", *flags, to=[to.address], **others)
        self.addCleanup(relay.kill)
        return relay

    def total(self, relay, name, **labels):
        return fetch_metrics(relay).total(name, **labels)

    def exchange(self, relay, data, patience=60):
        """Up, back from an echo, and compared."""
        with relay.connect(timeout=patience) as client:
            sender = threading.Thread(target=self.send, args=(client, data), daemon=True)
            sender.start()
            got = read_all(client)
            sender.join()
        self.assertIsNone(first_difference(got, data))

    @staticmethod
    def send(client, data):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)


class InjectedErrors(RelayFault):
    """strace makes splice fail. Whole streams, or a reset."""

    def setUp(self):
        why = why_no_strace()
        if why:
            self.skipTest(why)
        self.echo = self.upstream(echo)

    def check_whole(self, path, expression):
        relay = self.relay("--path", path, to=self.echo)
        with Strace(relay, expression):
            for salt in range(3):
                self.exchange(relay, coded_bytes(0, BULK, salt=salt))
        wait_until(lambda: self.total(relay, "pagewire_relay_connections_open") == 0 and
                   self.total(relay, "pagewire_relay_pipes_in_use") == 0, "all has ended")
        return relay

    def test_splice_that_cannot_be_had_falls_to_copy(self):
        for expression in ("splice:error=EINVAL", "splice:error=ENOMEM", "splice:error=ENOSYS",
                           "splice:error=EINVAL:when=2+2",  # from pipes into sockets
                           "splice:error=ENOMEM:when=5+7"):
            for path in ("auto", "splice"):
                with self.subTest(expression=expression, path=path):
                    relay = self.check_whole(path, expression)
                    settle(relay)
                    self.assertGreater(self.total(relay, "pagewire_relay_path_switches_total",
                                                  reason="splice-failed"), 0)
                    relay.stop()

    def test_interruptions_are_gone_through(self):
        for expression in ("splice:error=EINTR:when=1+2", "splice:error=EINTR:when=2+3",
                           "sendto:error=EINTR:when=1+2", "recvfrom:error=EINTR:when=1+2"):
            with self.subTest(expression=expression):
                self.check_whole("auto", expression).stop()

    def test_pipes_that_cannot_be_made(self):
        for expression in ("pipe2:error=EMFILE", "pipe2:error=ENFILE"):
            with self.subTest(expression=expression):
                relay = self.check_whole("auto", expression)
                settle(relay)
                self.assertGreater(self.total(relay, "pagewire_relay_path_switches_total",
                                              reason="no-descriptors"), 0)
                self.assertEqual(
                    self.total(relay, "pagewire_relay_path_bytes_total", path="splice"), 0)
                relay.stop()

    def test_an_error_of_the_connection_is_a_reset(self):
        data = coded_bytes(0, 64 << 20)
        upstream = self.upstream(lambda connection: connection.sendall(data))
        for expression in ("splice:error=ECONNRESET:when=20", "splice:error=EPIPE:when=21",
                           "splice:error=ETIMEDOUT:when=20", "splice:error=EIO:when=21"):
            with self.subTest(expression=expression):
                relay = self.relay("--path", "splice", to=upstream)
                with Strace(relay, expression), relay.connect() as client:
                    with self.assertRaises(ConnectionResetError):
                        read_all(client)
                settle(relay)
                self.assertEqual(self.total(relay, "pagewire_relay_ends_total", end="done"), 0)
                relay.stop()


class PipePages(RelayFault):
    def test_a_user_beyond_the_soft_limit_copies(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to become another user who has reached the limit")
        with open("/proc/sys/fs/pipe-user-pages-soft", encoding="ascii") as file:
            if not 0 < int(file.read()) <= 16_384:
                self.skipTest("fs.pipe-user-pages-soft is not the usual one")

        python = shutil.which("python3", path="/usr/bin")  # ours may lie where nobody may look
        if python is None:
            self.skipTest("there is no /usr/bin/python3")

        user = lone_user()

        def become_that_user():
            dies_with_us()()
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)

        with subprocess.Popen([python, "-c", HOLDER], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, preexec_fn=become_that_user) as holder:
            self.assertEqual(holder.stdout.readline(), b"held\n")
            relay = self.relay(to=self.upstream(echo), preexec_fn=become_that_user)
            self.exchange(relay, coded_bytes(0, BULK))
            settle(relay)
            self.assertGreater(self.total(relay, "pagewire_relay_path_switches_total",
                                          reason="pipe-shrunk"), 0)
            self.assertEqual(self.total(relay, "pagewire_relay_path_bytes_total", path="splice"), 0)
            holder.stdin.close()


class Descriptors(RelayFault):
    def test_beyond_the_limit_clients_are_refused_and_nothing_spins(self):
        def low_limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        relay = self.relay(to=self.upstream(echo), preexec_fn=low_limit)
        clients, refused = [], 0
        for _ in range(60):
            try:
                client = relay.connect()
                self.addCleanup(client.close)
                client.sendall(b"x")
                if client.recv(1) == b"x":
                    clients.append(client)
                    continue
            except OSError:
                pass  # refused as it came, or while it sent
            refused += 1
        self.assertGreater(refused, 0)
        self.assertGreater(len(clients), 10)
        before = relay.cpu_seconds()
        time.sleep(0.5)
        self.assertLess(relay.cpu_seconds() - before, 0.25, "it spins")
        for client in clients:
            client.sendall(b"y")
            self.assertEqual(client.recv(1), b"y")
        for client in clients:
            client.close()
        wait_until(lambda: self.total(relay, "pagewire_relay_connections_open") == 0, "all gone")
        self.exchange(relay, coded_bytes(0, BULK))


class Peers(RelayFault):
    def test_a_queue_is_reset_with_its_client(self):
        """Bytes that stand in pipes when a client goes are nobody else's."""
        data = coded_bytes(0, 32 << 20)
        relay = self.relay("--path", "splice",
                           to=self.upstream(lambda connection: connection.sendall(data)))
        for _ in range(10):
            client = relay.connect(receive_buffer=65536)
            wait_until(lambda: self.total(relay, "pagewire_relay_pipes_in_use") > 0,
                       "bytes stand in a pipe")
            reset(client)
            # Else the next one would be taken for holding what this one held.
            wait_until(lambda: self.total(relay, "pagewire_relay_connections_open") == 0 and
                       self.total(relay, "pagewire_relay_pipes_in_use") == 0, "gone")
        with relay.connect(timeout=60) as client:
            self.assertIsNone(first_difference(read_all(client), data))

    def test_bytes_around_urgent_ones_pass(self):
        got = []

        def collect(connection):
            got.append(read_all(connection))
        for path in ("auto", "splice", "copy"):
            with self.subTest(path=path):
                got.clear()
                relay = self.relay("--path", path, to=self.upstream(collect))
                with relay.connect() as client:
                    expected = b""
                    for number in range(8):
                        data = coded_bytes(0, 100 if number % 2 else 300_000, salt=number)
                        client.sendall(data)
                        client.send(b"!", socket.MSG_OOB)
                        client.sendall(b"after")
                        expected += data + b"after"
                    client.shutdown(socket.SHUT_WR)
                    wait_until(lambda: got, "all is through")
                self.assertIsNone(first_difference(got[0].replace(b"!after", b"after"), expected))
                relay.stop()

    def test_transparent_behind_a_listener_for_both_families(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, for IP_TRANSPARENT")
        peers = []
        upstream = Upstream(lambda connection: peers.append(connection.getpeername()[0]))
        self.addCleanup(upstream.close)
        relay = Relay("--workers", "1", "--transparent", to=[upstream.address], listen=("[::]:0",))
        self.addCleanup(relay.kill)
        with socket.create_connection(("127.0.0.1", relay.address[1]), timeout=60,
                                      source_address=("127.0.0.9", 0)) as client:
            self.assertEqual(client.recv(1), b"")
        self.assertEqual(peers, ["127.0.0.9"])

    def test_transparent_without_the_right_says_so(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to give the right up")
        done = subprocess.run(
            ["setpriv", "--bounding-set", "-net_admin,-net_raw",
             "--inh-caps", "-net_admin,-net_raw",
             BINARY, "relay",
             "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--transparent", "--admin", "off"],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("transparent", done.stderr)
        self.assertIn("CAP_NET_ADMIN", done.stderr)


class Leftovers(RelayFault):
    def memory_kib(self, relay):
        with open(f"/proc/{relay.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def many(self, relay, count):
        """Connections of every kind, in threads: messages, bulk, resets of either side."""
        done = []

        def run(first):
            for number in range(first, count, 4):
                with relay.connect(timeout=60) as client:
                    size = 150_000 if number % 50 == 0 else 200
                    resets = number % 7 == 0
                    try:
                        client.sendall(b"R" if resets else b"E")
                        self.send(client, coded_bytes(0, size))
                        got = read_all(client)
                        assert not resets and len(got) == size + 1, (number, len(got))
                    except OSError:  # reset, or not connected any more
                        assert resets, number
                done.append(number)
        threads = [threading.Thread(target=run, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(done), count)
        wait_until(lambda: self.total(relay, "pagewire_relay_connections_open") == 0, "all gone")

    def test_nothing_is_left(self):
        def echo_or_reset(connection):
            first = connection.recv(1)
            if first == b"R":
                reset(connection)
                return
            connection.sendall(first)
            echo(connection)
        relay = self.relay(to=self.upstream(echo_or_reset))
        begun = relay.descriptors()
        self.many(relay, CONNECTIONS // 10)
        memory = self.memory_kib(relay)
        self.many(relay, CONNECTIONS - CONNECTIONS // 10)
        settle(relay)
        metrics = fetch_metrics(relay)
        self.assertEqual(metrics.total("pagewire_relay_ends_total"), CONNECTIONS)
        self.assertEqual(metrics.total("pagewire_relay_connections_total"), CONNECTIONS)
        wait_until(lambda: self.total(relay, "pagewire_relay_pipes_in_use") == 0, "no pipe in use")
        idle = fetch_metrics(relay).total("pagewire_relay_pipes_idle")
        # Waits, for the connection of the last look at the metrics.
        wait_until(lambda: relay.descriptors() <= begun + 2 * idle, "no descriptor is left")
        grown = self.memory_kib(relay) - memory
        report(f"{CONNECTIONS} connections: {grown} KiB more memory than after a tenth of them, "
               f"{relay.descriptors() - begun} descriptors more, of {idle:.0f} idle pipes")
        if not SANITIZER:
            self.assertLess(grown, 1024)


if __name__ == "__main__":
    unittest.main()
