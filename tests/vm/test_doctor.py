"""`pagewire doctor` in kernels that have what the usual machine has not: kernel TLS, as no module,
with and without its ciphers, and whole; a network card whose features can be switched; a disk; no
hardware for AES. Each report is held against its schema, its exit status, and what the guest itself
says."""

import json
import os
import re
import unittest

import jsonschema

from support_guest import (BINARY, NOT_WHOLE, WHOLE, Guest, Image, Tap, coded_folder,
                           enter_network_namespace, report, why_no_guest)

from support import SOURCE, wait_until

AES_MODULES = ("aesni_intel", "ghash_clmulni_intel", "ghash_generic", "ctr", "gcm", "ccm", "seqiv")
CHACHA_MODULES = ("chacha", "chacha_x86_64", "poly1305_x86_64", "chacha20poly1305")
STATUS_OF = {"ok": 0, "warning": 1, "failed": 2}
OF_A_CARD = {"driver", "link", "scatter-gather", "checksum", "segmentation", "tls-offload",
             "queues", "rings", "steering"}
CIPHERS = [f"{cipher} {version}" for cipher in ("AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305")
           for version in ("1.3", "1.2")]


def setUpModule():
    enter_network_namespace()


def boot(case, kernel, tools, queues=1, **guest):
    """The guest of a class: with a card, a disk, and besides pagewire and ethtool these programs,
    under the names that are their values."""
    if why := why_no_guest(kernel, network=True):
        raise unittest.SkipTest(why)
    with open(os.path.join(SOURCE, "docs/doctor.schema.json"), encoding="utf-8") as file:
        case.schema = json.load(file)
    folder, _ = coded_folder(case, {"file.bin": 300_000})
    image = Image()
    image.add_program(BINARY, "/bin/pagewire", strip=True)
    for program, name in {"ethtool": "/bin/ethtool", **tools}.items():
        image.add_program(program, name)
    tap = Tap(queues=queues)
    case.addClassCleanup(tap.close)
    case.guest = Guest(kernel, image, tap=tap, disk_mib=64, disk_from=folder.root, **guest)
    case.addClassCleanup(case.guest.stop)
    # What is not operational yet is not looked at.
    state = "/sys/class/net/eth0/operstate"
    wait_until(lambda: case.guest.run(f"cat {state}").output.strip() == "up", "eth0 is up")


class Doctor:
    """What runs in each kernel that is a subclass: one boot, in which modules are loaded one after
    the other."""

    kernel = None
    rekeys = False
    has_cachestat = False

    @classmethod
    def setUpClass(cls):
        # busybox has a smaller one of that name
        boot(cls, cls.kernel, {"setpriv": "/bin/as"},
             modules=("tls", *AES_MODULES, *CHACHA_MODULES))

    def doctor(self, *arguments, under=""):
        done = self.guest.run(f"{under} pagewire doctor --json --root /disk {' '.join(arguments)}",
                              check=False)
        self.assertIn(done.status, (0, 1, 2), done.output)
        found = json.loads(done.output)
        jsonschema.validate(found, self.schema)
        self.assertEqual(done.status, STATUS_OF[found["worst"]])
        self.assertNotIn("IFACE", done.output)
        return found

    def check(self, found, name, interface=None):
        checks = [check for check in found["checks"]
                  if check["name"] == name and interface in (None, check["interface"])]
        self.assertTrue(checks, name)
        return checks[0]

    def modules(self):
        return {line.split()[0] for line in self.guest.run("cat /proc/modules").output.splitlines()}

    def counted(self):
        """TlsTxSw of the guest's kernel."""
        text = self.guest.run("cat /proc/net/tls_stat").output
        return int(re.search(r"^TlsTxSw\s+(\d+)$", text, re.M)[1])

    def test_1_the_module_is_not_loaded(self):
        modules = self.modules()
        found = self.doctor("--tls")
        tls = self.check(found, "kernel-tls")
        self.assertEqual(tls["status"], "failed", tls)
        self.assertIn("not loaded", tls["found"])
        self.assertIn("modprobe tls", tls["mend"])
        self.assertEqual(found["verdict"]["paths"][3]["path"], "tls_copy")
        self.assertEqual(self.check(self.doctor(), "kernel-tls")["status"], "warning")
        self.assertIn("not there", self.check(found, "tls-counters")["found"])
        # Root may have the kernel load modules by trying; doctor does not.
        self.assertEqual(self.modules(), modules)

    def test_2_a_cipher_is_missing(self):
        self.guest.load("tls")
        tls = self.check(self.doctor("--tls"), "kernel-tls")
        self.assertIn(tls["status"], ("failed", "warning"), tls)
        # Newer kernels have AES built in.
        self.assertRegex(tls["found"], "no cipher works: ENOENT|; not ChaCha20-Poly1305.*: ENOENT")
        self.assertIn("modprobe -a gcm", tls["mend"])

    def test_3_kernel_tls_with_every_cipher(self):
        self.guest.load(*AES_MODULES, *CHACHA_MODULES)
        before = self.counted()
        found = self.doctor("--tls")
        tls = self.check(found, "kernel-tls")
        self.assertEqual((tls["status"], tls["found"]), ("ok", ", ".join(CIPHERS)))
        # Its own connections, one for each cipher and one for the second key, are not in it.
        self.assertIn(f"{before} connections encrypted by the CPU",
                      self.check(found, "tls-counters")["found"])
        self.assertEqual(self.counted() - before, len(CIPHERS) + 1)
        large = found["verdict"]["paths"][3]
        self.assertEqual((large["path"], large["reason"]), ("sendfile", "large-body"))
        self.assertIn("reaches plain HTTP and HTTPS", found["verdict"]["text"])
        change = self.check(found, "key-update")
        self.assertEqual(change["status"], "ok" if self.rekeys else "warning", change)
        self.assertIn("second key", change["looked_at"])

    def test_4_the_card_and_the_disk(self):
        found = self.doctor()
        self.assertEqual(found["interfaces"], ["eth0", "lo"])
        names = {check["name"] for check in found["checks"] if check["interface"] == "eth0"}
        self.assertEqual(names, OF_A_CARD)
        self.assertEqual(self.check(found, "driver", "eth0")["found"], "virtio_net")
        told = self.guest.run("ethtool -k eth0").output
        for name, feature in (("scatter-gather", "tx-scatter-gather"),
                              ("checksum", "tx-checksum-ip-generic")):
            on = re.search(rf"{feature}: (\w+)", told)[1] == "on"
            self.assertEqual(self.check(found, name, "eth0")["status"], "ok" if on else "failed")
        queues = len(self.guest.run("ls -d /sys/class/net/eth0/queues/tx-*").output.split())
        self.assertIn(f"{queues} send queue", self.check(found, "steering", "eth0")["found"])
        self.assertEqual(found["filesystem"], "ext4")
        self.assertRegex(self.check(found, "cold-reads")["found"], r"^[0-9.]+ ms for a page")
        self.assertEqual(self.check(found, "cachestat")["status"],
                         "ok" if self.has_cachestat else "warning")
        self.assertEqual(self.check(found, "rwf-nowait")["status"], "ok")
        copies = self.check(found, "copy-bandwidth")["found"]
        rates = [float(rate) for rate in re.findall(r"([0-9.]+) (?:GB/s|from memory|by \d+ cores)",
                                                    copies)]
        self.assertEqual(len(rates), 3, copies)
        # A clock that stands still would make them anything.
        self.assertLess(max(rates), 1000, copies)

    def test_5_a_card_that_cannot_gather(self):
        self.guest.run("ethtool -K eth0 sg off tx off")
        self.addCleanup(self.guest.run, "ethtool -K eth0 sg on tx on")
        found = self.doctor("--iface", "eth0")
        self.assertEqual(self.check(found, "scatter-gather", "eth0")["status"], "failed")
        self.assertEqual(self.check(found, "checksum", "eth0")["status"], "failed")
        self.assertIn("ethtool -K eth0 sg on tx on", self.check(found, "scatter-gather")["mend"])
        self.assertIn("does not reach plain HTTP", found["verdict"]["text"])

    def test_6_without_root(self):
        found = self.doctor("--tls", under="as --reuid=65534 --regid=65534 --clear-groups")
        self.assertFalse(found["is_root"])
        self.assertEqual(self.check(found, "kernel-tls")["status"], "ok")
        self.assertEqual(self.check(found, "scatter-gather", "eth0")["status"], "ok")
        self.assertIsNotNone(self.check(found, "cold-reads")["reason"])

    def test_7_io_uring_is_forbidden(self):
        switch = "/proc/sys/kernel/io_uring_disabled"
        if self.guest.run(f"test -e {switch}", check=False).status != 0:
            self.skipTest("before Linux 6.6 there is no kernel.io_uring_disabled")
        self.guest.run(f"echo 2 > {switch}")
        self.addCleanup(self.guest.run, f"echo 0 > {switch}")
        found = self.doctor()
        ring = self.check(found, "io-uring")
        self.assertEqual(ring["status"], "warning")
        self.assertEqual(ring["mend"], "sysctl -w kernel.io_uring_disabled=0")
        self.assertEqual(found["verdict"]["engine"], "epoll")
        self.assertEqual(self.guest.run(f"cat {switch}").output.strip(), "2")

    def test_8_how_long_it_took(self):
        report(f"{self.guest.release}: {self.doctor()['took_s']:.1f} s")


class LargeMachineTest(unittest.TestCase):
    """Two nodes, and a card of two queues at the second one."""

    doctor, check = Doctor.doctor, Doctor.check

    @classmethod
    def setUpClass(cls):
        # As above.
        boot(cls, "newest", {"taskset": "/bin/on"}, queues=2, numa=True)

    def test_1_queues(self):
        found = self.doctor("--iface", "eth0")
        self.assertEqual(self.check(found, "queues")["found"], "2 to send, at most 2; 2 CPUs")
        self.assertIn("2 receive queues, RPS off; 2 send queues, XPS on; qdisc mq",
                      self.check(found, "steering")["found"])
        self.guest.run("ethtool -L eth0 combined 1")
        self.addCleanup(self.guest.run, "ethtool -L eth0 combined 2")
        queues = self.check(self.doctor("--iface", "eth0"), "queues")
        self.assertEqual((queues["status"], queues["mend"]),
                         ("warning", "ethtool -L eth0 combined 2"))

    def test_2_nodes(self):
        near = self.check(self.doctor("--iface", "eth0"), "numa")
        self.assertEqual(near["status"], "ok")
        self.assertIn("eth0 is at node 1, as are 1 of the 2 CPUs", near["found"])
        far = self.check(self.doctor("--iface", "eth0", under="on 1"), "numa")
        self.assertEqual(far["status"], "warning")
        self.assertIn("numactl --cpunodebind=1", far["mend"])
        self.assertEqual(
            self.check(self.doctor("--iface", "eth0", under="on 2"), "numa")["status"], "ok")


@unittest.skipUnless(WHOLE, NOT_WHOLE)
class Debian12Test(Doctor, unittest.TestCase):
    kernel = "debian-12"


class NewestTest(Doctor, unittest.TestCase):
    kernel = "newest"
    rekeys = True
    has_cachestat = True


if __name__ == "__main__":
    unittest.main()
