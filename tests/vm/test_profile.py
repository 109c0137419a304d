"""`pagewire profile` in kernels of the guests: what only one's own machine may change (who may use
perf and read kallsyms, kernel TLS), and names of functions as old and new kernels have them."""

import json
import os
import subprocess
import threading
import unittest

import jsonschema

from support_guest import (BINARY, GUEST_ADDRESS, NOT_WHOLE, WHOLE, Guest, GuestServer, Image, Tap,
                           coded_folder, enter_network_namespace, report, why_no_guest)
from test_tls import AES_MODULES, make_certificate

from support import SOURCE, TestFolder, wait_until

AS_NOBODY = "as --reuid=65534 --regid=65534 --clear-groups"
MIB = 1 << 20
ENOUGH = 101  # samples


def setUpModule():
    enter_network_namespace()


class Load:
    """curl, one download after the other, as long as the context lasts."""

    def __init__(self, url):
        self.url, self.ends = url, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ends.is_set():
            subprocess.run(["curl", "-ksS", "--http1.1", "--max-time", "60", "-o", "/dev/null",
                            self.url], check=False, stderr=subprocess.DEVNULL)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()


class Profile:
    """What runs in each kernel that is a subclass."""

    kernel = None

    @classmethod
    def setUpClass(cls):
        if why := why_no_guest(cls.kernel, network=True):
            raise unittest.SkipTest(why)
        with open(os.path.join(SOURCE, "docs/profile.schema.json"), encoding="utf-8") as file:
            cls.schema = json.load(file)
        folder, _ = coded_folder(cls, {"big.bin": 8 * MIB})
        certificates = TestFolder()
        cls.addClassCleanup(certificates.close)
        make_certificate(certificates.root)
        image = Image()
        image.add_program(BINARY, "/bin/pagewire", strip=True)
        image.add_program("setpriv", "/bin/as")  # busybox has a smaller one of that name
        for name in ("cert.pem", "key.pem"):
            image.add(f"{certificates.root}/{name}", f"/tls/{name}")
        tap = Tap()
        cls.addClassCleanup(tap.close)
        cls.guest = Guest(cls.kernel, image, tap=tap, disk_mib=64, disk_from=folder.root,
                          modules=("tls", *AES_MODULES))
        cls.addClassCleanup(cls.guest.stop)

    def profile(self, target, seconds=2, under=""):
        done = self.guest.run(f"{under} pagewire profile {target} -t {seconds} --json", check=False)
        self.assertEqual(done.status, 0, done.output)
        found = json.loads(done.output)
        jsonschema.validate(found, self.schema)
        if found["samples"] >= ENOUGH:
            self.assertLess(found["percent"]["other_kernel"], 15, found["percent"])
        return found

    def profile_long_enough(self, target, seconds, least=ENOUGH):
        """Until there are samples to judge by, however little CPU others leave."""
        for each in (seconds, 10, 30):
            found = self.profile(target, each)
            if found["samples"] >= least:
                break
        return found

    def serving(self, flags):
        server = GuestServer(self.guest, f"pagewire serve /disk --workers 1 {flags}")
        self.addCleanup(server.stop)
        return self.guest.run(f"cat {server.file('pid')}").output.strip()

    def shares(self, flags, url):
        pid = self.serving(flags)
        with Load(url):
            wait_until(lambda: self.profile(pid, 0.5)["samples"] > 20, "there is a load", 120)
            found = self.profile_long_enough(pid, 6)
        report(f"{self.guest.release} {flags.split()[0]}: " + ", ".join(
            f"{name} {share:.0f}%" for name, share in found["percent"].items() if share >= 1))
        self.assertGreaterEqual(found["samples"], ENOUGH)
        self.assertTrue(found["kernel_seen"] and found["kernel_named"], found["notes"])
        return found

    def test_1_http_by_sendfile(self):
        url = f"http://{GUEST_ADDRESS}:8080/big.bin"
        sent = self.shares("--listen :8080 --admin off --path sendfile", url)
        # Looks at the page cache read single bytes, which costs more where all is emulated.
        self.assertNotEqual(sent["verdict"]["advice"], "zero_copy_would_pay", sent["verdict"])
        self.assertLess(sent["percent"]["tls"], 1, "a virtio card is no encryption")

    def test_2_http_by_copies(self):
        url = f"http://{GUEST_ADDRESS}:8080/big.bin"
        copied = self.shares("--listen :8080 --admin off --path copy", url)
        self.assertEqual(copied["verdict"]["advice"], "zero_copy_would_pay", copied["verdict"])
        self.assertLess(copied["percent"]["tls"], 1, copied["percent"])

    def test_3_kernel_tls(self):
        self.guest.load("tls", *AES_MODULES)
        found = self.shares("--listen-tls :8443 --admin off --tls-cert /tls/cert.pem "
                            "--tls-key /tls/key.pem", f"https://{GUEST_ADDRESS}:8443/big.bin")
        # AES is emulated here: nearly all is encryption.
        self.assertGreater(found["percent"]["tls"], 40, found["percent"])
        self.assertLess(found["percent"]["copy"], 5, found["percent"])
        encrypting = [stack for stack in found["stacks"] if stack["category"] == "tls"]
        self.assertTrue(any("_[k]" in stack["frames"][-1] for stack in encrypting))

    def spinning(self):
        """Of nobody's."""
        self.guest.run(f"{AS_NOBODY} sh -c 'while :; do :; done' > /dev/null 2>&1 & "
                       "echo $! > /tmp/spin.pid")
        self.addCleanup(self.guest.run, "kill -9 $(cat /tmp/spin.pid)")
        pid = self.guest.run("cat /tmp/spin.pid").output.strip()
        # It begins as root's.
        self.guest.run(f"until [ $(stat -c %u /proc/{pid}) = 65534 ]; do sleep 0.1; done")
        return pid

    def test_4_every_level_of_perf_event_paranoid(self):
        switch = "/proc/sys/kernel/perf_event_paranoid"
        usual = self.guest.run(f"cat {switch}").output.strip()
        self.addCleanup(self.guest.run, f"echo {usual} > {switch}")
        pid = self.spinning()
        for level in (-1, 0, 1, 2, 3):
            self.guest.run(f"echo {level} > {switch}")
            done = self.guest.run(f"{AS_NOBODY} pagewire profile {pid} -t 3 --json", check=False)
            report(f"perf_event_paranoid {level}: exit status {done.status}")
            if done.status == 1:  # Debian's kernels: above 2 nothing without CAP_PERFMON
                self.assertGreater(level, 2, done.output)
                self.assertIn(f"kernel.perf_event_paranoid is {level}", done.output)
                continue
            found = json.loads(done.output)
            jsonschema.validate(found, self.schema)
            self.assertGreater(found["samples"], 10)
            self.assertEqual(found["kernel_seen"], level < 2)
            if level >= 2:
                self.assertIn(f"perf_event_paranoid is {level}", str(found["notes"]))

    def test_5_hidden_names_of_the_kernel(self):
        switch = "/proc/sys/kernel/kptr_restrict"
        usual = self.guest.run(f"cat {switch}").output.strip()
        self.addCleanup(self.guest.run, f"echo {usual} > {switch}")
        self.guest.run(f"echo 2 > {switch}")
        found = self.profile_long_enough(self.spinning(), 1, least=1)
        self.assertFalse(found["kernel_named"])
        self.assertIn("kptr_restrict is 2", str(found["notes"]))

    def test_6_a_lowered_limit_of_samples(self):
        switch = "/proc/sys/kernel/perf_event_max_sample_rate"
        usual = self.guest.run(f"cat {switch}").output.strip()
        self.addCleanup(self.guest.run, f"echo {usual} > {switch}")
        self.guest.run(f"echo 200 > {switch}")
        found = self.profile_long_enough(self.spinning(), 2, least=11)
        self.assertEqual(found["frequency_hz"], 200)
        self.assertGreater(found["samples"], 10)


@unittest.skipUnless(WHOLE, NOT_WHOLE)
class Debian12Test(Profile, unittest.TestCase):
    kernel = "debian-12"


class NewestTest(Profile, unittest.TestCase):
    kernel = "newest"


if __name__ == "__main__":
    unittest.main()
