"""A file that changes in mid-transfer: truncated, overwritten, replaced by rename, deleted.

What pagewire promises: a response whose file shrank or was written to before its last step never
completes its length; the connection ends with a reset and the reason is counted. A file that was
replaced or deleted goes on whole, because the old one is still open.
What it cannot promise, because the queue of a socket refers to the page cache: bytes that the
kernel holds already may change with the file (truncation zeroes the rest of the last page)."""

import os
import unittest

from support_faults import (PATHS, FaultTest, RawClient, coded_bytes, drain, ends, first_difference,
                            request_head, settle, wait_until)

PAGE = 4096
SIZE = 8 * 1024 * 1024 + 1234
# The second request, sent along with the first: its answer may never be seen behind a short body.
SECOND = request_head("/second.bin")
OLD = coded_bytes(0, SIZE, salt=1)
NEW = coded_bytes(0, SIZE, salt=2)
ZEROS = bytes(SIZE)


def truncation_points(sent):
    """New ends of the file, around where the server stands and around pages."""
    page = sent - sent % PAGE
    return sorted({0, 1, PAGE, sent // 2, page - 1, page, page + 1, sent - 1, sent, sent + 1,
                   page + PAGE, sent + 100_000, (sent + SIZE) // 2, SIZE - PAGE, SIZE - 1})


class FileChanges(FaultTest):

    def setUp(self):
        super().setUp()
        self.second = coded_bytes(0, 5000, salt=7)
        self.folder.write("second.bin", self.second)
        self.number = 0

    def fresh_file(self, size=SIZE):
        """The name of a new file of OLD's bytes."""
        self.number += 1
        name = f"file{self.number}.bin"
        self.folder.write(name, OLD[:size])
        return name

    def start(self, server, name, take):
        return self.open_mid_transfer(server, "/" + name, SIZE, take, then=SECOND)

    def check_cut(self, got, kept, other, size=SIZE):
        """Cut short; below `kept` the old bytes, from there on the old one or `other`'s of its
        place."""
        self.assertLess(len(got), size, "the promised length was completed")
        self.assertIsNone(first_difference(got[:kept], OLD[:min(kept, len(got))]))
        for begin in range(kept, len(got), PAGE):
            end = min(begin + PAGE, len(got))
            if got[begin:end] != OLD[begin:end]:
                strange = [i for i in range(begin, end) if got[i] not in (OLD[i], other[i])]
                self.assertEqual(strange, [], "bytes that are neither old nor new")

    def test_truncated(self):
        for path in PATHS:
            with self.subTest(path=path), \
                    self.serving("--path", path, "--quantum", "64K") as server:
                name = self.fresh_file()
                client, got = self.start(server, name, 0)
                sent = self.wait_until_stuck(server, path)
                self.assertLess(sent, SIZE - 200_000, "not in mid-transfer")
                client.close()
                points = truncation_points(sent)
                for point in points:
                    self.truncate_once(server, path, point)
                # Near the end the last look at the file may come first, and copy looks each time.
                surely = sum(point < SIZE - 200_000 for point in points
                             if path not in ("copy", "tls_copy"))
                settle(server)
                self.assertGreaterEqual(ends(server, "source-truncated"), surely)
                self.assertEqual(ends(server, "source-truncated") + ends(server, "source-changed"),
                                 len(points))
                self.assert_alive(server, "/second.bin", self.second)

    def truncate_once(self, server, path, point):
        name = self.fresh_file()
        take = (point * 7) % 50_000
        client, got = self.start(server, name, take)
        self.wait_until_stuck(server, path)
        os.truncate(self.folder.path(name), point)
        got, _ = drain(client, got)
        self.check_cut(got, point, ZEROS)
        client.close()
        os.unlink(self.folder.path(name))

    def test_truncated_and_written_again(self):
        """`cp new old` while old is being sent: the length is the same again, the bytes are not."""
        for path in PATHS:
            with self.subTest(path=path), self.serving("--path", path) as server:
                name = self.fresh_file()
                client, got = self.start(server, name, 1000)
                sent = self.wait_until_stuck(server, path)
                self.assertLess(sent, SIZE)
                self.folder.write(name, NEW)
                got, _ = drain(client, got)
                self.check_cut(got, 1000, NEW)
                settle(server)
                self.assertEqual(ends(server, "source-changed") + ends(server, "source-truncated"),
                                 1)

    def test_overwritten_in_place(self):
        """Cut off, and every byte is the old or the new one of its place."""
        for path in PATHS:
            for where in (0, SIZE // 2, SIZE - 8):
                with self.subTest(path=path, where=where), self.serving("--path", path) as server:
                    name = self.fresh_file()
                    client, got = self.start(server, name, 1000)
                    sent = self.wait_until_stuck(server, path)
                    self.assertLess(sent, SIZE)
                    with open(self.folder.path(name), "r+b") as file:
                        file.seek(where)
                        file.write(NEW[where:where + (1 << 20)])
                    got, _ = drain(client, got)
                    self.check_cut(got, 1000, NEW)
                    settle(server)
                    self.assertEqual(ends(server, "source-changed"), 1)

    def test_replaced_by_rename_and_deleted(self):
        """The old body goes out whole, then the pipelined answer, and later requests see the new
        file within the validity of the open-file cache."""
        for path in PATHS:
            with self.subTest(path=path), \
                    self.serving("--path", path, "--open-file-validity", "200ms") as server:
                for change in ("replace", "delete"):
                    name = self.fresh_file()
                    client, got = self.start(server, name, 777)
                    sent = self.wait_until_stuck(server, path)
                    self.assertGreater(sent, 0)
                    target = self.folder.path(name)
                    if change == "replace":
                        os.rename(self.folder.write("new.bin", NEW), target)
                    else:
                        os.unlink(target)
                    got += client.read_exactly(SIZE - len(got))
                    self.assertIsNone(first_difference(got, OLD))
                    after = client.read()
                    self.assertEqual((after.status, after.body), (200, self.second))
                    if change == "replace":
                        wait_until(lambda: client.get("/" + name).body == NEW, "the new file")
                    else:
                        wait_until(lambda: client.get("/" + name).status == 404, "404")
                    client.close()
                settle(server)
                self.assertEqual(ends(server, "source-changed") + ends(server, "source-truncated"),
                                 0)

    def test_truncated_between_requests(self):
        """The cache's entry is older than the truncation, and trusted for long: the next answer on
        a kept connection is the file as it is now, and the one behind it is in step."""
        for path in PATHS:
            with self.subTest(path=path), \
                    self.serving("--path", path, "--open-file-validity", "1h") as server:
                # The small one goes out in one step, so that only the calls themselves can tell.
                cases = [(size, point) for size in (200_000, SIZE)
                         for point in (0, 1, PAGE, size // 2, size - 1)]
                for size, point in cases:
                    self.truncate_between(server, size, point)
                settle(server)
                self.assertEqual(ends(server, "source-truncated") + ends(server, "source-changed"),
                                 0)
                self.assert_alive(server, "/second.bin", self.second)

    def truncate_between(self, server, size, point):
        name = self.fresh_file(size)
        with RawClient(server.address) as client:
            self.assertEqual(client.get("/" + name).body, OLD[:size])
            os.truncate(self.folder.path(name), point)
            client.send(request_head("/" + name) + SECOND)
            now, behind = client.read(), client.read()
            self.assertEqual((now.status, now.body), (200, OLD[:point]))
            self.assertEqual((behind.status, behind.body), (200, self.second))
        os.unlink(self.folder.path(name))


if __name__ == "__main__":
    unittest.main()
