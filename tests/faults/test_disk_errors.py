"""Disks that fail: EIO under a real ext4, on every path, and a full disk under the access log.

The failing disk is an ext4 image behind nbdkit's error filter (support_disk.py): while a trigger
file exists, every read of the device says EIO."""

import os
import re
import unittest

from support_disk import FailingDisk, enter_mount_namespace, mounted, why_no_mount
from support_faults import (PATHS, FaultTest, RawClient, coded_bytes, drain, ends, first_difference,
                            request_head, settle, total, wait_until)

MIB = 1 << 20
BIG = 10 * MIB + 77
HOT = coded_bytes(0, 100_000, salt=3)
BODY = coded_bytes(0, BIG, salt=4)


def setUpModule():  # pylint: disable=invalid-name
    enter_mount_namespace()


def fill(folder):
    with open(os.path.join(folder, "hot.bin"), "wb") as file:
        file.write(HOT)
    for number in range(len(PATHS)):
        with open(os.path.join(folder, f"big{number}.bin"), "wb") as file:
            file.write(BODY)
    os.mkdir(os.path.join(folder, "unseen"))
    with open(os.path.join(folder, "unseen", "file.bin"), "wb") as file:
        file.write(HOT)


@unittest.skipIf(why_no_mount(), why_no_mount())
class ReadErrors(FaultTest):

    def setUp(self):
        super().setUp()
        self.disk = FailingDisk(fill)
        self.addCleanup(self.disk.close)
        self.disk.keep("hot.bin")

    def test_read_errors(self):
        for number, path in enumerate(PATHS):
            name = f"big{number}.bin"
            with self.subTest(path=path), \
                    self.serving("--path", path, root=self.disk.folder) as server:
                self.assert_alive(server, "/hot.bin", HOT)
                self.fail_at_once(server, name)
                settle(server)
                self.assertEqual(ends(server, "read-error"), 1)
                self.fail_in_mid_transfer(server, path, name)
                settle(server)
                self.assertEqual(ends(server, "read-error"), 2)
                self.disk.chill(name)
                self.assert_alive(server, "/" + name, BODY)

    def fail_at_once(self, server, name):
        """A cold file: cut off before its first page, while hot ones go on."""
        self.disk.chill(name)
        with self.disk.broken(), RawClient(server.address) as client:
            client.send(request_head("/" + name) + request_head("/hot.bin"))
            stream, _ = drain(client, b"")
            head, _, got = stream.partition(b"\r\n\r\n")
            self.assertIn(f"Content-Length: {BIG}\r\n".encode() if head else b"", head)
            self.assertEqual(got, b"")
            self.assert_alive(server, "/hot.bin", HOT)
        # Whole again as soon as the disk is.
        self.assert_alive(server, "/" + name, BODY)

    def fail_in_mid_transfer(self, server, path, name):
        self.disk.chill(name)
        before = total(server, "pagewire_path_bytes_total", path=path)
        client, got = self.open_mid_transfer(server, "/" + name, BIG, 10_000,
                                             then=request_head("/hot.bin"))
        sent = self.wait_until_stuck(server, path) - before
        self.assertLess(sent, BIG - MIB, "not in mid-transfer")
        self.disk.chill(name, held=True)  # of what was read ahead
        with self.disk.broken():
            got, _ = drain(client, got)
        self.assertLess(len(got), BIG)
        self.assertIsNone(first_difference(got, BODY[:len(got)]))

    def test_folder_that_cannot_be_read(self):
        with self.serving(root=self.disk.folder) as server:
            self.assert_alive(server, "/hot.bin", HOT)
            with self.disk.broken(), RawClient(server.address) as client:
                message = client.get("/unseen/file.bin")
                self.assertEqual(message.status, 500)
                self.assertEqual(client.get("/hot.bin").body, HOT)
            with RawClient(server.address) as client:
                wait_until(lambda: client.get("/unseen/file.bin").body == HOT, "the file again")


class LogDiskFull(FaultTest):
    requests = 3000

    def setUp(self):
        super().setUp()
        self.body = coded_bytes(0, 3000, salt=5)
        self.folder.write("file.bin", self.body)

    def ask(self, server, count):
        with RawClient(server.address) as client:
            for _ in range(count):
                message = client.get("/file.bin?" + "x" * 200)
                self.assertEqual((message.status, message.body), (200, self.body))

    def test_log_to_a_full_device(self):
        with self.serving("--access-log", "/dev/full") as server:
            self.ask(server, self.requests)
            wait_until(lambda: total(server, "pagewire_log_dropped_total") == self.requests,
                       "every line is counted as dropped")

    @unittest.skipIf(why_no_mount(), why_no_mount())
    def test_log_disk_fills_up_and_gets_room_again(self):
        folder = self.folder.outside("log")
        os.mkdir(folder)
        with mounted("tmpfs", "pagewire-test", folder, "size=64k"):
            self.fill_up(os.path.join(folder, "access.log"))

    def fill_up(self, log):
        with self.serving("--access-log", log) as server:
            self.ask(server, self.requests)
            wait_until(lambda: total(server, "pagewire_log_dropped_total") > 0, "dropped lines")
            # The line that the disk's end tore is written to its end once there is room.
            wait_until(lambda: self.lines_begun(log) + total(server, "pagewire_log_dropped_total")
                       == self.requests, "every line is written or counted")
            dropped = total(server, "pagewire_log_dropped_total")
            os.truncate(log, 0)
            self.ask(server, 10)
            wait_until(lambda: self.whole_lines(log) >= 10, "lines again")
            settle(server)
            self.assertEqual(total(server, "pagewire_log_dropped_total"), dropped)
            self.assertEqual(self.whole_lines(log), 10)

    @staticmethod
    def lines_begun(log):
        with open(log, "rb") as file:
            text = file.read()
        return len(text.splitlines())  # the last one may be a part

    @staticmethod
    def whole_lines(log):
        with open(log, "rb") as file:
            return len(re.findall(rb"(?m)^127\.0\.0\.1 - - \[.*\] \"GET .*\n", file.read()))


if __name__ == "__main__":
    unittest.main()
