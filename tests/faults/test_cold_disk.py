"""A disk that does not answer must stop nobody but those who want what is on it.

The disk is an ext4 image behind nbdkit's pause filter (support_disk.py). While it is paused, a cold
request waits as long as one likes; with one worker, hot ones must be answered all the same."""

import contextlib
import os
import signal
import socket
import time
import unittest

from support_disk import PausingDisk, enter_mount_namespace, mounted, why_no_mount
from support_faults import (MIB, PATHS, FaultTest, Pagewire, RawClient, coded_bytes, drain, ends,
                            first_difference, request_head, settle, total, wait_until,
                            why_no_strace)

from support import TLS

BIG = 12 * MIB + 77
HOT = coded_bytes(0, 100_000, salt=3)
SMALL = coded_bytes(0, 5_000, salt=9)
BODY = coded_bytes(0, BIG, salt=4)
BIG_FILES = 6  # one for each path
UNSEEN = 24
HOT_REQUESTS = 60
DESERTERS = 300
# Of the server with its clients, who may be stopped for a while themselves.
SHORT_PATIENCE = ("--min-rate", "1K", "--rate-window", "3s", "--idle-timeout", "3s")
LOOK_TRUSTED_S = 0.2  # twice what the server believes a look at the page cache


def setUpModule():  # pylint: disable=invalid-name
    enter_mount_namespace()


def write(folder, name, data):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def listed_names():
    """A directory of many blocks."""
    return [f"{number:0200}" for number in range(300)]


def fill(folder):
    write(folder, "hot.bin", HOT)
    write(folder, "small.bin", SMALL)
    for number in range(BIG_FILES):
        write(folder, f"big{number}.bin", BODY)
    os.mkdir(os.path.join(folder, "quick"))
    os.mkdir(os.path.join(folder, "listed"))
    for name in listed_names():
        write(folder, f"listed/{name}", b"")
    for number in range(UNSEEN):
        unseen = os.path.join(folder, f"unseen{number}")
        os.mkdir(unseen)
        write(unseen, "file.bin", HOT)
        write(unseen, "index.html", SMALL)
        write(unseen, "script.js", SMALL)
        write(unseen, "script.js.gz", HOT)
        # A directory of its own block, which no reading ahead of the kernel's can have seen.
        os.utime(unseen)


@unittest.skipIf(why_no_mount(), why_no_mount())
class ColdDisk(FaultTest):
    workers = 1

    @classmethod
    def setUpClass(cls):
        cls.disk = PausingDisk(fill)
        cls.disk.keep("hot.bin", "small.bin")
        cls.unseen = iter(range(UNSEEN))

    @classmethod
    def tearDownClass(cls):
        cls.disk.close()

    @contextlib.contextmanager
    def on_disk(self, *flags, **others):
        with self.serving(*flags, root=self.disk.folder, **others) as server:
            self.assert_alive(server, "/hot.bin", HOT)
            self.assert_alive(server, "/small.bin", SMALL)
            yield server

    def chill(self, server, name, held=False):
        """Drops the file's pages when no worker believes any more that it has seen them, and no
        helper is about to read some of them ahead."""
        wait_until(lambda: total(server, "pagewire_disk_jobs_pending") == 0, "no job is left")
        time.sleep(LOOK_TRUSTED_S)  # at least; a busy machine may make it longer
        self.disk.chill(name, held=held)

    def forget_device(self):
        """What no file's pages hold and no name stands for has to come from the disk again."""
        self.disk.chill()

    def never_seen(self):
        """A folder whose names the kernel has not looked up yet."""
        self.forget_device()
        return f"unseen{next(self.unseen)}"

    def ask_cold(self, server, request, **others):
        """A client whose request waits for the disk."""
        before = total(server, "pagewire_disk_jobs_total")
        client = RawClient(server.address, **others)
        self.addCleanup(client.close)
        client.send(request)
        wait_until(lambda: total(server, "pagewire_disk_jobs_total") > before
                   and total(server, "pagewire_disk_jobs_pending") > 0, "a job for the helpers")
        return client

    @staticmethod
    def bytes_on_their_way(server, client):
        """That the server's socket has for this client and the client's has not."""
        ports = f":{server.address[1]:04X}", f":{client.socket.getsockname()[1]:04X}"
        with open("/proc/net/tcp", encoding="ascii") as file:
            for line in file:
                _, ours, theirs, _, queues, *_ = line.split()
                if ours.endswith(ports[0]) and theirs.endswith(ports[1]):
                    return int(queues.split(":")[0], 16)
        raise AssertionError("the connection has gone")

    def assert_hot_go_on(self, server, client):
        """Hot requests are answered, many of them, while `client` gets nothing."""
        with RawClient(server.address) as hot:
            for number in range(HOT_REQUESTS):
                name, body = (("/hot.bin", HOT), ("/small.bin", SMALL))[number % 2]
                message = hot.get(name)
                self.assertEqual(message.status, 200)
                self.assertIsNone(first_difference(message.body, body))
        client.socket.setblocking(False)
        with self.assertRaises(BlockingIOError, msg="the cold request was answered by then"):
            client.socket.recv(1)
        client.socket.settimeout(30)

    def take_until_job(self, server, client):
        """What is queued for the client, until its next bytes wait for the disk."""
        pieces, client.buffer = [client.buffer], b""
        fetches = total(server, "pagewire_disk_jobs_total", kind="fetch")

        def take():
            """True when a fetch waits for the disk, and its client has all that came before it."""
            waits = total(server, "pagewire_disk_jobs_total", kind="fetch") > fetches
            if waits:
                settle(server)  # with TLS, what was sealed may still go out
            nothing_more = waits and self.bytes_on_their_way(server, client) == 0
            before = len(pieces)
            with contextlib.suppress(BlockingIOError):
                client.socket.setblocking(False)
                while piece := client.socket.recv(MIB):
                    pieces.append(piece)
            return nothing_more and len(pieces) == before
        wait_until(take, "a job for the helpers, and all before it is here", 60)
        return b"".join(pieces)

    def test_cold_pages_on_every_path(self):
        for number, path in enumerate(PATHS):
            name = f"big{number}.bin"
            with self.subTest(path=path), self.on_disk("--path", path) as server:
                self.assert_alive(server, "/" + name, BODY)
                self.chill(server, name)
                with self.disk.paused():
                    client = self.ask_cold(server, request_head("/" + name))
                    self.assert_hot_go_on(server, client)
                message = client.read()
                self.assertIsNone(first_difference(message.body, BODY))
                client.close()
                settle(server)
                self.assertEqual(total(server, "pagewire_residency_unseen_total"), 0)

    def test_pages_that_are_being_read(self):
        """They are in the page cache, as cachestat(2) counts, but nobody can have them yet."""
        for number, path in enumerate(PATHS):
            name = f"big{number}.bin"
            with self.subTest(path=path), self.on_disk("--path", path) as server:
                self.assert_alive(server, "/" + name, BODY)
                self.chill(server, name)
                with self.disk.paused():
                    with open(os.path.join(self.disk.folder, name), "rb") as file:
                        os.posix_fadvise(file.fileno(), 0, 2 * MIB, os.POSIX_FADV_WILLNEED)
                    client = self.ask_cold(server, request_head("/" + name))
                    self.assert_hot_go_on(server, client)
                self.assertIsNone(first_difference(client.read().body, BODY))
                client.close()

    def test_cold_pages_in_mid_transfer(self):
        for number, path in enumerate(PATHS):
            name = f"big{number}.bin"
            with self.subTest(path=path), self.on_disk("--path", path) as server:
                self.assert_alive(server, "/" + name, BODY)
                client, got = self.open_mid_transfer(server, "/" + name, BIG, 10_000)
                self.wait_until_stuck(server, path)
                self.chill(server, name, held=True)
                with self.disk.paused():
                    got += self.take_until_job(server, client)
                    self.assert_hot_go_on(server, client)
                got += client.read_exactly(BIG - len(got))
                self.assertIsNone(first_difference(got, BODY))
                client.close()

    def test_cold_names(self):
        gzip = ["Accept-Encoding: gzip"]
        for target, fields, status, body in (
                ("file.bin", [], 200, HOT), ("none.bin", [], 404, None),
                ("", [], 200, SMALL), ("file.bin", ["Range: bytes=7-99"], 206, HOT[7:100]),
                ("script.js", gzip, 200, HOT), ("no/such/folder", [], 404, None)):
            with self.subTest(target=target, fields=fields), self.on_disk() as server:
                target = f"/{self.never_seen()}/{target}"
                with self.disk.paused():
                    client = self.ask_cold(
                        server, request_head(target, fields=fields) + request_head("/hot.bin"))
                    self.assert_hot_go_on(server, client)
                message = client.read()
                self.assertEqual(message.status, status)
                if body is not None:
                    self.assertIsNone(first_difference(message.body, body))
                self.assertEqual(client.read().body, HOT)  # the pipelined one
                client.close()

    def test_head_of_a_cold_name(self):
        with self.on_disk() as server:
            target = f"/{self.never_seen()}/file.bin"
            with self.disk.paused():
                client = self.ask_cold(server, request_head(target, method="HEAD"))
                self.assert_hot_go_on(server, client)
            message = client.read(method="HEAD")
            self.assertEqual((message.status, message.get("content-length")),
                             (200, str(len(HOT))))
            client.close()

    def test_one_job_for_many(self):
        with self.on_disk() as server:
            target = f"/{self.never_seen()}/file.bin"
            before = total(server, "pagewire_disk_jobs_total", kind="open")
            with self.disk.paused():
                clients = [self.ask_cold(server, request_head(target))]
                for _ in range(20):
                    clients.append(RawClient(server.address))
                    clients[-1].send(request_head(target))
                self.assert_hot_go_on(server, clients[0])
                settle(server)
                self.assertEqual(total(server, "pagewire_disk_jobs_total", kind="open"), before + 1)
            for client in clients:
                self.assertIsNone(first_difference(client.read().body, HOT))
                client.close()

    def test_listing_of_a_cold_directory(self):
        with self.on_disk("--listing") as server, RawClient(server.address) as first:
            # Of the directory's blocks this reads two.
            self.assertEqual(first.get("/listed/index.html").status, 404)
            self.forget_device()
            with self.disk.paused():
                client = self.ask_cold(
                    server, request_head("/listed/") + request_head("/hot.bin"))
                self.assert_hot_go_on(server, client)
            message = client.read()
            self.assertEqual(message.status, 200)
            for name in listed_names():
                self.assertIn(f'<a href="{name}">'.encode(), message.body)
            self.assertEqual(client.read().body, HOT)  # the pipelined one
            client.close()

    def test_quick_names_do_not_wait_behind_long_reads(self):
        """All helpers are at pages of a disk that stands still; the name is on another one."""
        quick = os.path.join(self.disk.folder, "quick")
        with mounted("tmpfs", "tmpfs", quick, "size=1m"), \
                self.on_disk("--disk-threads", "2") as server:
            names = [f"big{number}.bin" for number in range(4)]
            for name in names:
                self.assert_alive(server, "/" + name, BODY)
            for name in names:
                self.chill(server, name)
            with self.disk.paused():
                clients = [self.ask_cold(server, request_head("/" + name)) for name in names]
                with RawClient(server.address) as client:
                    # The kernel knows a name that is not there only once somebody has looked.
                    self.assertEqual(client.get("/quick/none.bin").status, 404)
                self.assertGreaterEqual(
                    total(server, "pagewire_disk_jobs_total", kind="open"), 1)
                self.assert_hot_go_on(server, clients[0])
            for client in clients:
                self.assertIsNone(first_difference(client.read().body, BODY))
                client.close()

    def test_clients_that_go_while_they_wait(self):
        with self.on_disk() as server:
            self.assert_alive(server, "/big0.bin", BODY)
            self.chill(server, "big0.bin")
            target = f"/{self.never_seen()}/file.bin"
            with self.disk.paused():
                first = self.ask_cold(server, request_head("/big0.bin"))
                second = self.ask_cold(server, request_head(target))
                first.reset()
                second.reset()
                wait_until(lambda: ends(server, "peer-reset") == 2, "both have gone")
                self.assert_alive(server, "/hot.bin", HOT)
            self.assert_alive(server, "/big0.bin", BODY)
            self.assert_alive(server, target, HOT)
            wait_until(lambda: total(server, "pagewire_disk_jobs_pending") == 0, "no job is left")

    def test_many_that_ask_for_cold_ranges_and_go(self):
        """They keep the disk from nobody: what they asked for is not read."""
        with self.on_disk("--disk-threads", "2") as server:
            self.assert_alive(server, "/big0.bin", BODY)
            self.chill(server, "big0.bin")
            target = f"/{self.never_seen()}/file.bin"
            before = total(server, "pagewire_disk_jobs_total", kind="fetch")

            def asked():
                return total(server, "pagewire_disk_jobs_total", kind="fetch") - before
            with self.disk.paused():
                clients = [RawClient(server.address) for _ in range(DESERTERS)]
                for number, client in enumerate(clients):
                    first = number * 16384
                    client.send(request_head(
                        "/big0.bin", fields=[f"Range: bytes={first}-{first + 4095}"]))
                # Not quite all: what somebody was at when the file was chilled has stayed.
                wait_until(lambda: asked() > DESERTERS * 0.8, "their jobs")
                for client in clients:
                    client.reset()
                wait_until(lambda: ends(server, "peer-reset") == DESERTERS, "all have gone")
                live = self.ask_cold(server, request_head(target))
                self.assert_alive(server, "/hot.bin", HOT)
                settle(server)  # a tick tells the helpers
            self.assertIsNone(first_difference(live.read().body, HOT))
            live.close()
            wait_until(lambda: total(server, "pagewire_disk_jobs_pending") == 0, "no job is left")
            dropped = total(server, "pagewire_disk_jobs_dropped_total")
            self.assertGreaterEqual(dropped, DESERTERS * 0.8 - 2)  # the helpers were at three

    def test_a_slow_disk_is_not_a_slow_reader(self):
        with self.on_disk(*SHORT_PATIENCE) as server:
            self.assert_alive(server, "/big0.bin", BODY)
            self.chill(server, "big0.bin")
            with self.disk.paused():
                client = self.ask_cold(server, request_head("/big0.bin"))
                self.assert_hot_go_on(server, client)
                self.let_patience_end(server)
            self.assertIsNone(first_difference(client.read().body, BODY))
            client.close()

    def let_patience_end(self, server):
        """Twice, by the server's own clock."""
        for _ in range(2):
            with RawClient(server.address) as idle:
                self.assertTrue(idle.is_closed(within=60))

    @unittest.skipIf(TLS, "the kernel does not read for whoever encrypts by itself")
    def test_the_kernel_reads_for_us(self):
        """Without helpers uring_splice waits in a thread of the kernel's, not in the worker."""
        flags = ("--disk-threads", "0", "--path", "uring_splice", *SHORT_PATIENCE)
        for timeout, end in (("1h", "whole"), ("3s", "disk-timeout")):
            with self.subTest(end=end), self.on_disk(*flags, "--disk-timeout", timeout) as server:
                self.assert_alive(server, "/big0.bin", BODY)
                self.chill(server, "big0.bin")
                with self.disk.paused(), RawClient(server.address) as client:
                    client.send(request_head("/big0.bin"))
                    self.let_patience_end(server)
                    settle(server)
                    self.assertEqual(ends(server, "slow-reader"), 0)
                    if end == "whole":
                        self.disk.resume()
                        self.assertIsNone(first_difference(client.read().body, BODY))
                    else:
                        self.assertEqual(drain(client, b"")[1], "reset")
                        settle(server)
                        self.assertEqual(ends(server, end), 1)

    def test_disk_timeout(self):
        # So long that the disk answers in time when it is not paused.
        with self.on_disk("--disk-timeout", "5s") as server:
            self.assert_alive(server, "/big0.bin", BODY)
            self.chill(server, "big0.bin")
            unseen = self.never_seen()
            with self.disk.paused():
                pages = self.ask_cold(server, request_head("/big0.bin"))
                names = [(method, self.ask_cold(
                    server, request_head(f"/{unseen}/{name}", method=method)))
                         for method, name in (("GET", "file.bin"), ("HEAD", "script.js"))]
                self.assertEqual(drain(pages, b""), (b"", "reset"))
                # No head has gone for a name: that can be told.
                for method, client in names:
                    message = client.read(method=method)
                    self.assertEqual((message.status, message.get("connection")), (503, "close"))
                    self.assertTrue(client.is_closed())
                settle(server)
                self.assertEqual(ends(server, "disk-timeout"), 3)
                self.assertEqual(total(server, "pagewire_requests_total", status="503"), 2)
                self.assert_alive(server, "/hot.bin", HOT)
            wait_until(lambda: total(server, "pagewire_disk_jobs_pending") == 0, "no job is left")
            self.assert_alive(server, "/big0.bin", BODY)

    def test_drain_waits_for_the_disk(self):
        with Pagewire(self.disk.folder, "--workers", "1") as server:
            self.assert_alive(server, "/big0.bin", BODY)
            self.chill(server, "big0.bin")
            with self.disk.paused():
                client = self.ask_cold(server, request_head("/big0.bin"))
                server.signal(signal.SIGTERM)
                self.assertFalse(self.accepts(server))
            self.assertIsNone(first_difference(client.read().body, BODY))
            self.assertTrue(client.is_closed())
            server.wait(0)

    def test_drain_timeout_while_the_disk_is_waited_for(self):
        with Pagewire(self.disk.folder, "--workers", "1", "--drain-timeout", "200ms") as server:
            self.assert_alive(server, "/big0.bin", BODY)
            self.chill(server, "big0.bin")
            target = f"/{self.never_seen()}/file.bin"
            with self.disk.paused():
                clients = [self.ask_cold(server, request_head("/big0.bin")),
                           self.ask_cold(server, request_head(target))]
                server.signal(signal.SIGTERM)
                for client in clients:
                    self.assertEqual(drain(client, b""), (b"", "reset"))
            server.wait(0)

    @staticmethod
    def accepts(server):
        def refused():
            with socket.socket() as client:
                return client.connect_ex(server.address) != 0
        return not wait_until(refused, "the listener is closed")

    def test_without_helpers(self):
        with self.on_disk("--disk-threads", "0") as server:
            self.chill(server, "big0.bin")
            self.assert_alive(server, "/big0.bin", BODY)
            self.assert_alive(server, f"/{self.never_seen()}/file.bin", HOT)
            settle(server)
            self.assertEqual(total(server, "pagewire_disk_jobs_total"), 0)


@unittest.skipIf(why_no_strace(), why_no_strace())
class DisturbedWalk(FaultTest):
    def test_is_tried_again(self):
        """A mount elsewhere can make the kernel give a walk up: that is no work for a helper."""
        self.folder.write("hot.bin", HOT)
        # Of each thread's calls every second one fails. -D: the server is the process started.
        under = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null",
                 "-e", "trace=openat2", "-e", "inject=openat2:error=EAGAIN:when=2+2"]
        with Pagewire(self.folder.root, "--workers", "1", "--open-file-validity", "1ms",
                      under=under) as server:
            for _ in range(20):
                self.assert_alive(server, "/hot.bin", HOT)
                time.sleep(0.002)
            # Published at the next tick.
            wait_until(lambda: total(server, "pagewire_open_file_cache_revalidated_total") > 5,
                       "names looked at again")
            settle(server)
            self.assertEqual(total(server, "pagewire_disk_jobs_total", kind="open"), 0)


if __name__ == "__main__":
    unittest.main()
