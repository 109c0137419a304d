"""pagewire relay and its upstreams: balancing, checks, retries, the queue, the PROXY protocol, and
names whose addresses change. Each upstream says who it is, so that a test can count."""

import collections
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import unittest

from support import (Relay, Upstream, coded_bytes, fetch_metrics, free_port, read_all,
                     run_pagewire, settle, wait_until)
from support.server import PATIENCE_S

V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PAYLOAD = coded_bytes(0, 100_000)


class Named:
    """An upstream that greets with its name, then reads until FIN, and closes. `heard` is what came
    on each connection that has ended. It can go and come back at its address."""

    def __init__(self, name, at=None):
        self.name, self.heard = name, []
        # While it is gone, nobody is given its port.
        self.upstream = Upstream(self.serve, at=at or ("127.0.0.1", free_port()))
        self.address = self.upstream.address

    def serve(self, connection):
        connection.sendall(self.name.encode() + b"\n")
        self.heard.append(read_all(connection))

    def leave(self):
        self.upstream.close()
        # What was queued on it has gone, too: nobody is taken in any more.
        self.upstream.thread.join(PATIENCE_S)

    def come_back(self):
        self.upstream = Upstream(self.serve, at=self.address)


class UpstreamsCase(unittest.TestCase):
    def named(self, *names, **others):
        made = [Named(name, **others) for name in names]
        for each in made:
            self.addCleanup(lambda each=each: each.upstream.close())
        return made

    def relay(self, *flags, to, workers=1, **others):
        relay = Relay("--workers", str(workers), "--access-log", "-", "--log-format", "json",
                      *flags, to=[each.address for each in to], **others)
        self.addCleanup(relay.kill)
        return relay

    def connect(self, relay, source="127.0.0.1"):
        client = socket.create_connection(relay.address, timeout=PATIENCE_S,
                                          source_address=(source, 0))
        self.addCleanup(client.close)
        return client

    def who(self, client):
        """The name of the upstream that this client was given; "" when it was reset."""
        try:
            return client.makefile("rb").readline().decode().strip()
        except ConnectionResetError:
            return ""

    def ask(self, relay, source="127.0.0.1"):
        try:
            with self.connect(relay, source) as client:
                return self.who(client)
        except ConnectionResetError:  # before connect() had returned
            return ""

    def check_heard(self, upstream, *expected):
        """In any order. A failure shows sizes, not the bytes."""
        if sorted(upstream.heard) != sorted(expected):
            self.fail(f"heard {[len(each) for each in upstream.heard]} bytes, not what was sent: "
                      f"{[len(each) for each in expected]}")
        upstream.heard.clear()

    def total(self, relay, name, **labels):
        return fetch_metrics(relay).total(f"^pagewire_relay_{name}$", **labels)

    def wait_for(self, relay, name, value, **labels):
        wait_until(lambda: self.total(relay, name, **labels) == value,
                   f"{name} {labels} is {value}")

    def log_of(self, relay, count):
        def lines():
            return [json.loads(line) for line in list(relay.lines) if line.startswith("{")]
        wait_until(lambda: len(lines()) >= count, f"{count} lines in the log")
        return lines()


class BalanceTest(UpstreamsCase):
    def test_roundrobin_over_all_workers(self):
        relay = self.relay(to=self.named("a", "b", "c"), workers=2)
        counts = collections.Counter(self.ask(relay) for _ in range(30))
        self.assertEqual(counts, {"a": 10, "b": 10, "c": 10})
        settle(relay)
        self.assertEqual(self.total(relay, "upstream_connects_total"), 30)
        self.wait_for(relay, "upstream_connections", 0)

    def test_leastconn_fills_the_gaps(self):
        relay = self.relay("--balance", "leastconn", to=self.named("a", "b", "c"), workers=2)
        clients, names = [], []
        for _ in range(9):  # each has its place before the next: two workers that choose at once
            clients.append(self.connect(relay))  # may choose the same
            names.append(self.who(clients[-1]))
        self.assertEqual(collections.Counter(names), {"a": 3, "b": 3, "c": 3})
        for name, client in zip(names, clients):
            if name == "b":
                client.close()
        self.wait_for(relay, "upstream_connections", 6)
        again = [self.connect(relay) for _ in range(3)]
        self.assertEqual([self.who(client) for client in again], ["b", "b", "b"])

    def test_hash_keeps_clients_where_they_are(self):
        upstreams = self.named("a", "b", "c")
        relay = self.relay("--balance", "hash", to=upstreams, workers=2)
        sources = [f"127.0.0.{i}" for i in range(2, 26)]
        before = {source: self.ask(relay, source) for source in sources}
        self.assertEqual(set(before.values()), {"a", "b", "c"})
        self.assertEqual({source: self.ask(relay, source) for source in sources}, before)
        upstreams[1].leave()
        after = {source: self.ask(relay, source) for source in sources}
        for source in sources:
            if before[source] == "b":
                self.assertIn(after[source], ("a", "c"))
            else:
                self.assertEqual(after[source], before[source])
        upstreams[1].come_back()
        self.assertEqual({source: self.ask(relay, source) for source in sources}, before)


class FailuresTest(UpstreamsCase):
    def test_killed_and_returned(self):
        """No client notices, before or after the checks do."""
        upstreams = self.named("a", "b")
        relay = self.relay("--check", "--check-interval", "100ms", "--rise", "2", "--fall", "2",
                           to=upstreams)
        self.assertEqual({self.ask(relay) for _ in range(4)}, {"a", "b"})
        upstreams[0].leave()
        self.assertEqual({self.ask(relay) for _ in range(8)}, {"b"})
        host, port = upstreams[0].address
        self.wait_for(relay, "upstream_up", 0, address=f"{host}:{port}")
        tries = self.total(relay, "upstream_connects_total", address=f"{host}:{port}")
        self.assertEqual({self.ask(relay) for _ in range(8)}, {"b"})
        self.assertEqual(
            self.total(relay, "upstream_connects_total", address=f"{host}:{port}"), tries)
        wait_until(lambda: f"upstream {host}:{port} is down: refused" in relay.output, "it says so")
        upstreams[0].come_back()
        self.wait_for(relay, "upstream_up", 1, address=f"{host}:{port}")
        self.assertEqual(collections.Counter(self.ask(relay) for _ in range(8)), {"a": 4, "b": 4})
        wait_until(lambda: f"upstream {host}:{port} is up" in relay.output, "it says so, too")
        self.assertGreaterEqual(
            self.total(relay, "upstream_checks_total", address=f"{host}:{port}", result="refused"),
            2)
        self.assertEqual(
            self.total(relay, "upstream_downs_total", address=f"{host}:{port}"), 1)

    def test_all_down(self):
        upstreams = self.named("a")
        upstreams[0].leave()
        relay = self.relay("--check", "--check-interval", "100ms", to=upstreams)
        self.wait_for(relay, "upstream_up", 0)
        self.assertEqual(self.ask(relay), "")
        self.assertEqual(self.log_of(relay, 1)[0]["end"], "no-upstream")

    def test_retries_on_another(self):
        upstreams = self.named("a", "b")
        upstreams[0].leave()
        relay = self.relay(to=upstreams)
        client = self.connect(relay)
        client.sendall(PAYLOAD)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), b"b\n")
        self.check_heard(upstreams[1], PAYLOAD)
        settle(relay)
        self.assertEqual(self.total(relay, "retries_total"), 1)
        self.assertEqual(self.total(relay, "upstream_connect_failures_total", reason="refused"), 1)
        self.assertEqual(self.log_of(relay, 1)[0]["tries"], 2)

    def test_retries_on_a_full_backlog(self):
        """Nobody answers the SYN: the connect timeout, then the other one."""
        silent = socket.create_server(("127.0.0.1", 0), backlog=0)
        filler = socket.create_connection(silent.getsockname())
        with silent, filler:
            [b] = self.named("b")
            dead = Named.__new__(Named)
            dead.address = silent.getsockname()
            relay = self.relay("--connect-timeout", "200ms", to=[dead, b])
            self.assertEqual(self.ask(relay), "b")
            settle(relay)
            self.assertEqual(
                self.total(relay, "upstream_connect_failures_total", reason="timeout"), 1)

    def test_waits_for_the_only_one(self):
        """As it restarts: tried again a second later, and the most often that can be set, because
        this test may be late."""
        [a] = self.named("a")
        a.leave()
        relay = self.relay("--retries", "7", to=[a])
        client = self.connect(relay)
        wait_until(lambda: self.total(relay, "upstream_connect_failures_total",
                                      reason="refused") > 0, "a failure")
        a.come_back()
        self.assertEqual(self.who(client), "a")

    def test_no_retries(self):
        upstreams = self.named("a")
        upstreams[0].leave()
        relay = self.relay("--retries", "0", to=upstreams)
        self.assertEqual(self.ask(relay), "")
        [line] = self.log_of(relay, 1)
        self.assertEqual((line["end"], line["tries"], line["complete"]),
                         ("connect-failed", 1, False))


class QueueTest(UpstreamsCase):
    flags = ("--max-upstream-connections", "1", "--max-queue", "2", "--queue-timeout", "60s")

    def test_in_order_and_full(self):
        relay = self.relay(*self.flags, to=self.named("a"), workers=2)
        holder = self.connect(relay)
        self.assertEqual(self.who(holder), "a")
        waiters = []
        for waiting in (1, 2):
            waiters.append(self.connect(relay))
            self.wait_for(relay, "queued", waiting)
        self.assertEqual(self.ask(relay), "")  # no place for a third
        self.wait_for(relay, "ends_total", 1, end="queue-full")
        holder.close()
        self.assertEqual(self.who(waiters[0]), "a")
        settle(relay)
        self.assertEqual(self.total(relay, "queued"), 1)
        self.assertEqual(self.total(relay, "upstream_connections"), 1)
        waiters[0].close()
        self.assertEqual(self.who(waiters[1]), "a")
        waiters[1].close()
        waited = [line for line in self.log_of(relay, 4) if line["queued_s"] > 0]
        self.assertEqual([line["end"] for line in waited], ["done", "done"])
        for line in waited:
            self.assertGreaterEqual(line["connect_s"], line["queued_s"])

    def test_timeout(self):
        relay = self.relay(*self.flags[:-1], "300ms", to=self.named("a"))
        self.assertEqual(self.who(self.connect(relay)), "a")
        self.assertEqual(self.ask(relay), "")
        self.wait_for(relay, "ends_total", 1, end="queue-timeout")

    def test_one_that_leaves(self):
        relay = self.relay(*self.flags, to=self.named("a"))
        holder = self.connect(relay)
        self.assertEqual(self.who(holder), "a")
        leaver = self.connect(relay)
        self.wait_for(relay, "queued", 1)
        leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.close()
        self.wait_for(relay, "queued", 0)
        holder.close()
        self.wait_for(relay, "upstream_connections", 0)
        self.assertEqual(self.ask(relay), "a")

    def test_drain_serves_those_that_wait(self):
        [a] = self.named("a")
        relay = self.relay(*self.flags, "--drain-timeout", "120s", to=[a], workers=2)
        holder = self.connect(relay)
        self.assertEqual(self.who(holder), "a")
        waiter = self.connect(relay)
        waiter.sendall(PAYLOAD)
        waiter.shutdown(socket.SHUT_WR)
        self.wait_for(relay, "queued", 1)
        relay.process.send_signal(signal.SIGTERM)

        def refused():
            with contextlib.suppress(OSError), socket.create_connection(relay.address, PATIENCE_S):
                return False
            return True
        wait_until(refused, "no new clients")
        holder.close()
        self.assertEqual(read_all(waiter), b"a\n")
        self.assertEqual(relay.process.wait(PATIENCE_S), 0)
        self.assertTrue([each for each in a.heard if each] == [PAYLOAD], "the others sent nothing")


def v2_header(source, destination, tlvs=b""):
    block = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    block += struct.pack(">HH", source[1], destination[1]) + tlvs
    return V2_SIGNATURE + b"\x21\x11" + struct.pack(">H", len(block)) + block


class ProxyProtocolTest(UpstreamsCase):
    source, destination = ("192.0.2.9", 4711), ("198.51.100.3", 443)
    v1 = b"PROXY TCP4 192.0.2.9 198.51.100.3 4711 443\r\n"

    def finish(self, client):
        client.shutdown(socket.SHUT_WR)
        return read_all(client)

    def test_out(self):
        """The addresses of the connection itself."""
        [a] = self.named("a")
        for version in ("v1", "v2"):
            with self.subTest(version=version):
                relay = self.relay("--send-proxy", version, to=[a])
                client = self.connect(relay)
                ours, theirs = client.getsockname(), client.getpeername()
                client.sendall(b"hello")
                self.assertEqual(self.finish(client), b"a\n")
                expected = (v2_header(ours, theirs) if version == "v2" else
                            f"PROXY TCP4 127.0.0.1 127.0.0.1 {ours[1]} {theirs[1]}\r\n".encode())
                self.check_heard(a, expected + b"hello")

    def test_in_byte_by_byte(self):
        [a] = self.named("a")
        relay = self.relay("--accept-proxy", "--proxy-timeout", "60s", to=[a])
        headers = (self.v1, v2_header(self.source, self.destination, b"\x05\0\3abc"),
                   b"PROXY UNKNOWN\r\n")
        for header in headers:
            with self.subTest(header=header):
                client = self.connect(relay)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for i in range(len(header)):
                    client.sendall(header[i:i + 1])
                client.sendall(PAYLOAD)
                self.assertEqual(self.finish(client), b"a\n")
                self.check_heard(a, PAYLOAD)
        log = self.log_of(relay, 3)
        self.assertEqual([line["client"] for line in log[:2]], ["192.0.2.9:4711"] * 2)
        self.assertEqual([line.get("proxied_by") for line in log], ["127.0.0.1"] * 2 + [None])
        self.assertTrue(log[2]["client"].startswith("127.0.0.1:"))

    def test_in_with_all_that_follows_at_once(self):
        [a] = self.named("a")
        relay = self.relay("--accept-proxy", "--send-proxy", "v1", to=[a])
        client = self.connect(relay)
        client.sendall(v2_header(self.source, self.destination) + PAYLOAD)
        self.assertEqual(self.finish(client), b"a\n")
        self.check_heard(a, self.v1 + PAYLOAD)

    def test_in_decides_about_hash(self):
        relay = self.relay("--accept-proxy", "--balance", "hash", to=self.named("a", "b", "c"))
        names = collections.defaultdict(set)
        for host in [f"192.0.2.{i}" for i in range(1, 17)] * 2:
            client = self.connect(relay)
            client.sendall(v2_header((host, 1), self.destination))
            names[host].add(self.who(client))
        self.assertEqual({len(each) for each in names.values()}, {1})
        self.assertEqual(set.union(*names.values()), {"a", "b", "c"})

    def test_in_bad_or_cut(self):
        [a] = self.named("a")
        relay = self.relay("--accept-proxy", "--proxy-timeout", "60s", to=[a])
        for bad in (b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 1.2.3.4\r\n",
                    V2_SIGNATURE + b"\x31\x11\0\0"):
            client = self.connect(relay)
            client.sendall(bad)
            self.assertEqual(self.who(client), "", bad)
        cut = self.connect(relay)
        cut.sendall(self.v1[:20])
        cut.shutdown(socket.SHUT_WR)
        self.assertEqual(self.who(cut), "")
        self.wait_for(relay, "ends_total", 4, end="proxy-header")
        self.wait_for(relay, "connections_open", 0)
        self.assertEqual(a.upstream.served, 0)

    def test_in_late(self):
        [a] = self.named("a")
        relay = self.relay("--accept-proxy", "--proxy-timeout", "200ms", to=[a])
        for late in (b"", self.v1[:-1], V2_SIGNATURE):
            with contextlib.suppress(ConnectionResetError):  # before sendall() had returned
                client = self.connect(relay)
                client.sendall(late)
                self.assertEqual(self.who(client), "", late)
        self.wait_for(relay, "ends_total", 3, end="proxy-timeout")
        self.wait_for(relay, "connections_open", 0)
        self.assertEqual(a.upstream.served, 0)


def mount_namespaces():
    """Whether this user may have a mount namespace; the reason why not."""
    if shutil.which("unshare") is None:
        return "there is no unshare"
    tried = subprocess.run(["unshare", "-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"],
                           capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode != 0 else ""


class NamesTest(UpstreamsCase):
    """A hosts file of the test's own, in a mount namespace of the relay's; nobody asks a server."""

    def setUp(self):
        if reason := mount_namespaces():
            print(f"skipped: no mount namespace: {reason}")
            self.skipTest(reason)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        with open(os.path.join(self.folder.name, "nsswitch.conf"), "w", encoding="ascii") as file:
            file.write("hosts: files\n")

    def hosts(self, *addresses):
        """In place: what is mounted is this file."""
        text = "".join(f"{address} upstream.test\n" for address in addresses)
        with open(os.path.join(self.folder.name, "hosts"), "w", encoding="ascii") as file:
            file.write(text)

    def start(self, port, *flags):
        mounts = " && ".join(f'mount --bind "{self.folder.name}/{name}" "/etc/{name}"'
                             for name in ("hosts", "nsswitch.conf"))
        relay = Relay("--workers", "2", *flags, to=[("upstream.test", port)],
                      under=("unshare", "-m", "sh", "-c", mounts + ' && exec "$0" "$@"'))
        self.addCleanup(relay.kill)
        return relay

    def test_addresses_change(self):
        [a] = self.named("a")
        port = a.address[1]
        [b] = self.named("b", at=("127.0.0.2", port))
        self.hosts("127.0.0.1")
        relay = self.start(port, "--resolve-interval", "100ms", "--check", "--check-interval",
                           "100ms")
        self.assertEqual({self.ask(relay) for _ in range(4)}, {"a"})
        kept = self.connect(relay)
        self.assertEqual(self.who(kept), "a")

        self.hosts("127.0.0.1", "127.0.0.2")
        self.wait_for(relay, "upstream_up", 2)
        settle(relay)  # each worker has looked for a new list
        self.assertEqual(collections.Counter(self.ask(relay) for _ in range(8)), {"a": 4, "b": 4})
        self.hosts("127.0.0.2")
        wait_until(lambda: f"upstream.test is now 127.0.0.2:{port}" in relay.output, "the change")
        wait_until(lambda: {self.ask(relay) for _ in range(4)} == {"b"}, "only b is asked")

        failures = self.total(relay, "lookup_failures_total")
        self.hosts()
        wait_until(lambda: self.total(relay, "lookup_failures_total") > failures, "a failure")
        self.assertEqual({self.ask(relay) for _ in range(4)}, {"b"})
        wait_until(lambda: "its addresses stay" in relay.output, "it says so")
        # A connection to what is gone goes on to its own end.
        kept.sendall(b"still here")
        kept.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(kept), b"")
        self.assertIn(b"still here", a.heard)
        relay.stop()

    def test_without_any_address(self):
        self.hosts()
        with self.assertRaisesRegex(AssertionError, "cannot look up upstream.test: "):
            self.start(1, "--resolve-timeout", "1s")


class SettingsTest(unittest.TestCase):
    def checked(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            return run_pagewire("relay", "--config", file.name, "--check-config")

    def test_a_file_with_several_relays(self):
        """What is shown is a file that means the same."""
        shown = self.checked("""
            [[relay]]
            name = "db"
            listen = ["127.0.0.1:0"]
            to = ["db.example:5432", "10.0.0.7:5432"]
            check = true
            rise = 3
            send-proxy = "v2"
            retries = 7
            [[relay]]
            name = "web"
            listen = ["127.0.0.1:0"]
            to = ["[::1]:80"]
            accept-proxy = true
            resolve-interval = "0"
            """)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        again = self.checked(shown.stdout)
        self.assertEqual(again.stdout.split("\n")[1:], shown.stdout.split("\n")[1:])
        for said in ('"db.example:5432", "10.0.0.7:5432"', "check = true", "rise = 3",
                     'send-proxy = "v2"', "retries = 7", "accept-proxy = true"):
            self.assertIn(said, shown.stdout)

    def test_wrong_ones(self):
        for flags in (("--retries", "8"), ("--send-proxy", "v3"), ("--rise", "0"),
                      ("--check-interval", "5ms"), ("--to", ":80"), ("--to", "http://a:80")):
            ran = run_pagewire("relay", "--to", "a.example:1", *flags, "--check-config")
            self.assertEqual(ran.returncode, 2, flags)
            self.assertIn(f"{flags[0]} takes ", ran.stderr)


if __name__ == "__main__":
    unittest.main()
