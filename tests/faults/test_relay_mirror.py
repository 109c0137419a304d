"""--mirror from outside: what it holds equals what was relayed, and neither a recorder that does
not read, nor one that is killed, nor a full disk is felt by the stream."""

import hashlib
import json
import os
import random
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

from relay_parts import RelayTest
from support_faults import BINARY, report, wait_until

from support import more_than_sockets_hold

MIB = 1 << 20
LIMIT_S = 60


def mirror(*arguments, **others):
    return subprocess.run([BINARY, "mirror", *arguments], capture_output=True, timeout=LIMIT_S,
                          check=False, **others)


def read_all(sock, into):
    while data := sock.recv(MIB):
        into.append(data)


class MirrorTest(RelayTest):
    def setUp(self):
        self.origin = self.listener()
        self.folder = tempfile.TemporaryDirectory(prefix="pagewire-mirror-")
        self.addCleanup(self.folder.cleanup)
        self.file = os.path.join(self.folder.name, "mirror")

    def listener(self, port=0):
        listener = socket.create_server(("127.0.0.1", port))
        listener.settimeout(LIMIT_S)
        self.addCleanup(listener.close)
        return listener

    def to(self):
        return f"127.0.0.1:{self.origin.getsockname()[1]}"

    def tunnel(self, relay):
        client = socket.create_connection(relay.address, timeout=LIMIT_S)
        upstream, _ = self.origin.accept()
        upstream.settimeout(LIMIT_S)
        self.addCleanup(client.close)
        self.addCleanup(upstream.close)
        return client, upstream

    def send(self, source, sink, data):
        """Through the relay, compared."""
        sender = threading.Thread(target=source.sendall, args=(data,))
        sender.start()
        came = bytearray()
        while len(came) < len(data):
            part = sink.recv(MIB)
            self.assertTrue(part, "ended early")
            came += part
        sender.join()
        self.assertTrue(bytes(came) == data, "relayed wrongly")

    def settled(self, relay, relayed):
        """Every byte is mirrored or dropped."""
        def look():
            return (relay.metric("pagewire_relay_mirror_bytes_total")
                    + relay.metric("pagewire_relay_mirror_dropped_bytes_total") == relayed)
        wait_until(look, "every byte is mirrored or counted as dropped", LIMIT_S)

    def listed(self, *files, code=None):
        done = mirror("--json", *files)
        if code is not None:
            self.assertEqual(done.returncode, code, done.stderr.decode())
        return [json.loads(line) for line in done.stdout.splitlines()]

    def extracted(self, connection, direction, *files):
        done = mirror(*files, "--extract", str(connection), "--direction", direction)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout

    def check_pieces(self, raw, sent):
        """Of records that a recorder got: each byte is the one that its offset says; how many."""
        at = count = 0
        while at + 32 <= len(raw):
            _, offset, _, length, direction, flags, mark = struct.unpack_from("<QQqIBB2s", raw, at)
            self.assertEqual(mark, b"PW")
            at += 32
            piece = raw[at:at + length]
            at += length
            if flags & 3 == 0 and direction == 1:
                self.assertTrue(piece == sent[offset:offset + len(piece)], f"wrong at {offset}")
                count += len(piece)
        return count


class FileTest(MirrorTest):
    def test_which_file_it_is(self):
        """What is there is never touched, so the one that was taken is said at start."""
        with open(self.file, "w", encoding="ascii") as before:
            before.write("before")
        relay = self.start(self.to(), "--name", "db", "--mirror", self.file)
        self.assertIn(f"mirror of db: {self.file}.1", relay.lines)
        relay.stop()
        with open(self.file, encoding="ascii") as before:
            self.assertEqual(before.read(), "before")

    def test_a_folder_or_a_device_is_refused(self):
        for name, why in ((self.folder.name, "Is a directory"), ("/dev/null", "File exists")):
            with self.subTest(name=name):
                with self.assertRaisesRegex(AssertionError, f"cannot open the mirror {name}: open: "
                                                            f"{why}"):
                    self.start(self.to(), "--mirror", name)
                self.assertFalse(os.path.exists(f"{name}.1"))

    def test_equals_what_was_relayed(self):
        for path in ("auto", "splice", "copy"):
            with self.subTest(path=path):
                file = f"{self.file}-{path}"
                relay = self.start(self.to(), "--path", path, "--mirror", file)
                client, upstream = self.tunnel(relay)
                rng = random.Random(path)
                said = {"up": bytearray(), "down": bytearray()}
                # In pieces that the lane has room for, so that nothing may be missing.
                for size in (1, 100, 5_000, 200_000, 16_384, 77, 300_000, 2_000, 150_000, 64_000):
                    for direction, source, sink in (("up", client, upstream),
                                                    ("down", upstream, client)):
                        data = rng.randbytes(size)
                        self.send(source, sink, data)
                        said[direction] += data
                        self.settled(relay, len(said["up"]) + len(said["down"]))
                dropped = relay.metric("pagewire_relay_mirror_dropped_bytes_total")
                self.assertEqual(dropped, 0)
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(upstream.recv(1), b"")
                upstream.close()
                self.assertEqual(client.recv(1), b"")
                relay.wait_for_idle()
                relay.stop()
                [one] = self.listed(file, code=0)
                self.assertEqual((one["up_end"], one["down_end"]), ("fin", "fin"))
                self.assertEqual(one["opened"]["upstream"], self.to())
                # As text: as a number jq and JavaScript would round it.
                self.assertIsInstance(one["connection"], str)
                self.assertGreater(int(one["connection"]), 2**53)
                for direction in ("up", "down"):
                    got = self.extracted(one["connection"], direction, file)
                    self.assertEqual(hashlib.sha256(got).hexdigest(),
                                     hashlib.sha256(said[direction]).hexdigest())

    def test_one_direction_over_several_files(self):
        relay = self.start(self.to(), "--mirror", self.file, "--mirror-direction", "down",
                           "--mirror-rotate", "1M")
        client, upstream = self.tunnel(relay)
        data = random.Random(1).randbytes(4 * MIB)
        for at in range(0, len(data), 200_000):
            self.send(upstream, client, data[at:at + 200_000])
            self.settled(relay, min(at + 200_000, len(data)))
        self.send(client, upstream, b"not mirrored")
        client.close()
        upstream.close()
        relay.wait_for_idle()
        relay.stop()
        files = [self.file] + [f"{self.file}.{n}" for n in range(1, len(os.listdir(
            self.folder.name)))]
        self.assertGreaterEqual(len(files), 4)
        self.assertTrue(all(os.path.getsize(name) <= MIB for name in files))
        [one] = self.listed(*files, code=0)
        self.assertEqual((one["up_bytes"], one["down_bytes"]), (0, len(data)))
        self.assertTrue(self.extracted(one["connection"], "down", *files) == data)
        self.assertEqual(self.listed(*files[1:], code=1)[0]["down_bytes"]
                         + self.listed(files[0])[0]["down_bytes"], len(data))

    @unittest.skipUnless(os.geteuid() == 0, "mounting a tmpfs needs root")
    def test_a_full_disk(self):
        under = ("unshare", "-m", "sh", "-c",
                 f'mount -t tmpfs -o size=1m tmpfs {self.folder.name} && exec "$@"', "sh")
        relay = self.start(self.to(), "--mirror", self.file, under=under)
        client, upstream = self.tunnel(relay)
        data = random.Random(2).randbytes(12 * MIB)
        self.send(upstream, client, data)
        wait_until(lambda: relay.metric("pagewire_relay_mirror_failures_total") > 0,
                   "the disk is full", LIMIT_S)
        self.send(upstream, client, data)  # the stream goes on as before
        wait_until(lambda: relay.metric("pagewire_relay_mirror_dropped_bytes_total") > 0,
                   "what found no room is counted", LIMIT_S)
        inside = f"/proc/{relay.process.pid}/root{self.file}"
        with open(inside, "rb") as file:
            self.assertGreater(self.check_pieces(file.read(), data + data), 0)
        # Whole records only, though the disk was full within one.
        [one] = self.listed(inside)
        self.assertEqual(mirror(inside, "--json").stderr, b"")
        self.assertLessEqual(one["down_bytes"], MIB)
        client.close()
        upstream.close()


class RecorderTest(MirrorTest):
    def setUp(self):
        super().setUp()
        self.recorder = self.listener()
        self.recorder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # of what it accepts
        self.target = f"127.0.0.1:{self.recorder.getsockname()[1]}"

    def test_one_that_does_not_read(self):
        relay = self.start(self.to(), "--mirror", self.target)
        recorder, _ = self.recorder.accept()
        self.addCleanup(recorder.close)
        client, upstream = self.tunnel(relay)
        data = random.Random(3).randbytes(more_than_sockets_hold())
        self.send(upstream, client, data)
        parts = []
        reader = threading.Thread(target=read_all, args=(recorder, parts))
        reader.start()
        self.settled(relay, len(data))
        dropped = relay.metric("pagewire_relay_mirror_dropped_bytes_total")
        self.assertGreater(dropped, 0)
        self.send(upstream, client, b"behind the gap")
        self.settled(relay, len(data) + 14)
        client.close()
        upstream.close()
        relay.wait_for_idle()
        relay.stop()
        reader.join(LIMIT_S)
        raw = b"".join(parts)
        count = self.check_pieces(raw, data + b"behind the gap")
        with open(self.file, "wb") as file:
            file.write(raw)
        [one] = self.listed(self.file, code=1)
        self.assertEqual((one["down_bytes"], one["down_missing"], one["down_end"]),
                         (count, dropped, "fin"))
        report(f"{dropped} bytes of {len(data)} dropped and marked")

    def test_one_that_is_killed(self):
        relay = self.start(self.to(), "--mirror", self.target)
        first, _ = self.recorder.accept()
        client, upstream = self.tunnel(relay)
        data = random.Random(4).randbytes(24 * MIB)
        self.send(upstream, client, data)
        first.recv(100_000)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        second, _ = self.recorder.accept()
        self.addCleanup(second.close)
        parts = []
        reader = threading.Thread(target=read_all, args=(second, parts))
        reader.start()
        self.settled(relay, len(data))
        self.send(upstream, client, b"to the second")
        self.settled(relay, len(data) + 13)
        client.close()
        upstream.close()
        relay.wait_for_idle()
        self.assertEqual(relay.metric("pagewire_relay_mirror_opened_total"), 2)
        relay.stop()
        reader.join(LIMIT_S)
        raw = b"".join(parts)
        self.assertGreaterEqual(self.check_pieces(raw, data + b"to the second"), 13)
        self.assertIn(b"to the second", raw)


class CommandTest(unittest.TestCase):
    def test_says_what_is_wrong(self):
        for arguments, said in (((), "no FILE is named"), (("--x",), "there is no flag --x"),
                                (("f", "--extract", "1"), "--extract and --direction go together"),
                                (("f", "--extract", "a"), "takes a connection's number")):
            done = mirror(*arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr.decode())
        done = mirror("/nowhere")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, b"", b"pagewire mirror: /nowhere: open: No such file or directory\n"))
        done = mirror("-", input=b"something else than a mirror, long enough")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no record at 0", done.stderr.decode())


if __name__ == "__main__":
    unittest.main()
