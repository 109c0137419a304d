"""MSG_ZEROCOPY and SEND_ZC where they do not copy: loopback and veth always do, the guest's
virtio-net card does not. The server runs in the guest, the client here, behind a tap device; it
compares every byte. That nothing was copied is asked twice: of the server's metrics, which say what
the kernel said, and of a probe on skb_copy_ubufs, the kernel's function that does it. The same
server over the guest's loopback shows that both would have noticed."""

import collections
import unittest

from support_guest import (BINARY, GUEST_ADDRESS, Guest, GuestServer, Image, Tap, coded_folder,
                           enter_network_namespace, report, why_no_guest)

from support import RawClient, fetch_metrics, first_difference, request_head, settle, wait_until

MIB = 1 << 20
SIZES = {"small.bin": 17_000, "odd.bin": 3 * MIB + 123, "big.bin": 16 * MIB}
RANGES = ((0, 65_536), (4095, 100_000), (3 * MIB - 1, 124))
CLIENTS, ROUNDS = 4, 3
# The names of one account of sends, as MSG_ZEROCOPY and as io_uring keep it.
ACCOUNTS = {
    "zerocopy": ("pagewire_zerocopy_completions_total", "pagewire_zerocopy_copied_total",
                 ("pagewire_zerocopy_in_flight_bytes",)),
    "uring": ("pagewire_uring_notifications_total", "pagewire_uring_copied_notifications_total",
              ("pagewire_uring_buffers_in_flight", "pagewire_uring_operations_in_flight")),
}
Counted = collections.namedtuple("Counted", "completed copied held")


def setUpModule():
    enter_network_namespace()


def counted(served, path):
    completed, copied, held = ACCOUNTS["zerocopy" if path == "zerocopy" else "uring"]
    now = fetch_metrics(served)

    def total(name):
        return int(now.total(f"^{name}$"))
    return Counted(total(completed), total(copied), sum(total(name) for name in held))


class ZeroCopy:
    """What runs in each kernel that is a subclass."""

    kernel = None
    paths = ()
    # From Linux 6.10 on a send of io_uring may share the last packet of the one before it
    # (io_link_skb). Its notification then says "copied", though nothing was.
    stacks = False

    @classmethod
    def setUpClass(cls):
        if why := why_no_guest(cls.kernel, network=True):
            raise unittest.SkipTest(why)
        folder, cls.bodies = coded_folder(cls, SIZES)
        image = Image()
        image.add_program(BINARY, "/bin/pagewire", strip=True)
        tap = Tap()
        cls.addClassCleanup(tap.close)
        cls.guest = Guest(cls.kernel, image, tap=tap, disk_mib=64, disk_from=folder.root)
        cls.addClassCleanup(cls.guest.stop)
        cls.probe("copies", "p:copies skb_copy_ubufs")
        if cls.stacks:
            cls.probe("stacked", "r:stacked io_link_skb ret=$retval:s32", "ret == 0")

    @classmethod
    def probe(cls, name, event, condition="0"):
        """Has the kernel note the calls of a function of its; "0" is no condition."""
        cls.guest.run(f"cd /sys/kernel/tracing && echo '{event}' >> kprobe_events && echo"
                      f" '{condition}' > events/kprobes/{name}/filter && echo 1 >"
                      f" events/kprobes/{name}/enable")

    def noted(self, name):
        return int(self.guest.run(f"grep -c ' {name}: ' /sys/kernel/tracing/trace",
                                  check=False).output)

    def serving(self, path):
        server = GuestServer(self.guest, "pagewire serve /disk --listen :8080 --admin :9180"
                             f" --workers 1 --path {path} --zerocopy-copied-streak 0")
        self.addCleanup(server.stop)
        server.address, server.admin = (GUEST_ADDRESS, 8080), (GUEST_ADDRESS, 9180)
        return server

    def read_everything(self, served):
        """Several connections at once, kept alive, whole files and ranges."""
        clients = [RawClient(served.address, timeout=60) for _ in range(CLIENTS)]
        received = 0
        for _ in range(ROUNDS):
            for name, body in self.bodies.items():
                for client in clients:
                    client.send(request_head(f"/{name}"))
                for client in clients:
                    got = client.read().body
                    self.assertIsNone(first_difference(got, body), name)
                    received += len(got)
        for offset, count in RANGES:
            message = clients[0].get("/odd.bin",
                                     fields=(f"Range: bytes={offset}-{offset + count - 1}",))
            self.assertEqual(message.status, 206)
            wanted = self.bodies["odd.bin"][offset:offset + count]
            self.assertIsNone(first_difference(message.body, wanted), (offset, count))
            received += len(wanted)
        for client in clients:
            client.close()
        return received

    def check(self, path):
        served = self.serving(path)
        self.guest.run("echo > /sys/kernel/tracing/trace")
        received = self.read_everything(served)
        now = wait_until(lambda: (c := counted(served, path)).held == 0 and c.completed > 0 and c,
                         "the kernel has let go of everything", timeout=60)
        copies, stacked = self.noted("copies"), self.noted("stacked")
        report(f"{self.guest.release} {path}: {received / MIB:.1f} MiB compared, {now.completed}"
               f" sends completed, {now.copied} of them reported as copied, skb_copy_ubufs ran"
               f" {copies} times" + (f", io_link_skb {stacked} times" if self.stacks else ""))
        self.assertEqual(copies, 0)
        self.assertLessEqual(now.copied, stacked)
        settle(served)
        metrics = fetch_metrics(served)
        self.assertEqual(metrics.total("_zerocopy_fallbacks_total$", why="enobufs"), 0)
        self.assertGreater(metrics.total("^pagewire_path_bytes_total$", path=path), received * 0.9)

        self.guest.run("wget -q -O /dev/null http://127.0.0.1:8080/big.bin", limit_s=120)
        # The figures of before are stored until the worker's next tick.
        wait_until(lambda: (c := counted(served, path)).held == 0 and c.copied > now.copied,
                   "over loopback they are copied, and told of as such", timeout=60)
        self.assertGreater(self.noted("copies"), 0)

    def test_without_copying(self):
        for path in self.paths:
            with self.subTest(path=path):
                try:
                    self.check(path)
                finally:
                    self.doCleanups()


class Debian12(ZeroCopy, unittest.TestCase):
    kernel = "debian-12"
    paths = ("zerocopy", "uring_zc")

    def test_what_this_kernel_has_not(self):
        """SQPOLL is left alone before Linux 6.14, and the server says why."""
        done = self.guest.run("pagewire serve /disk --path uring_zc_sqpoll --listen :8081"
                              " --admin off", check=False)
        self.assertEqual(done.status, 1, done.output)
        self.assertIn("Linux 6.14", done.output)


class Newest(ZeroCopy, unittest.TestCase):
    kernel = "newest"
    paths = ("zerocopy", "uring_zc", "uring_zc_sqpoll")
    stacks = True


if __name__ == "__main__":
    unittest.main()
