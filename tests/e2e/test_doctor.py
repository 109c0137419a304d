"""`pagewire doctor` as a user runs it: the JSON against its schema, exit statuses, terminals, and
machines on which something is missing, hidden or forbidden."""

import ctypes
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import unittest

import jsonschema

from support import BINARY, SANITIZER, SOURCE, TestFolder, run_pagewire

GUARD_S = 120
OF_A_CARD = {"scatter-gather", "checksum", "segmentation", "tls-offload", "queues", "rings",
             "steering"}
STATUS_OF = {"ok": 0, "warning": 1, "failed": 2}
IS_ROOT = os.geteuid() == 0
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
SYSCTLS = ("net/core/somaxconn", "net/core/optmem_max", "net/ipv4/tcp_wmem",
           "net/ipv4/tcp_congestion_control", "fs/pipe-max-size", "kernel/io_uring_disabled")


def schema():
    with open(os.path.join(SOURCE, "docs/doctor.schema.json"), encoding="utf-8") as file:
        return json.load(file)


def deny(*numbers):
    """For preexec_fn: a seccomp filter under which these system calls say EPERM."""
    load, jump_equal, give = 0x20, 0x15, 0x06
    allow, refuse = 0x7fff0000, 0x00050001
    code = [(load, 0, 0, 0)]
    for number in numbers:
        code += [(jump_equal, 0, 1, number), (give, 0, 0, refuse)]
    code.append((give, 0, 0, allow))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))

    class Filter(ctypes.Structure):
        _fields_ = [("size", ctypes.c_ushort), ("code", ctypes.c_void_p)]
    description = Filter(len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)

    def apply():
        no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
        if (libc.prctl(no_new_privileges, 1, 0, 0, 0) != 0 or
                libc.prctl(set_seccomp, mode_filter, ctypes.byref(description), 0, 0) != 0):
            raise OSError(ctypes.get_errno(), "prctl")
    apply.keeps = program
    return apply


class DoctorCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        cls.root = cls.folder.root
        cls.folder.coded("file.bin", 300_000)
        cls.reports = {}

    def doctor(self, *arguments, under=(), **others):
        """The JSON, valid and in agreement with the exit status."""
        if under or others:
            return self.run_doctor(*arguments, under=under, **others)
        if arguments not in self.reports:
            self.reports[arguments] = self.run_doctor(*arguments)
        return self.reports[arguments]

    def run_doctor(self, *arguments, under=(), **others):
        done = subprocess.run(
            [*under, BINARY, "doctor", "--json", "--root", self.root, *arguments],
            capture_output=True, text=True, timeout=GUARD_S, stdin=subprocess.DEVNULL, check=False,
            **others)
        self.assertNotIn("Sanitizer", done.stderr)
        self.assertIn(done.returncode, (0, 1, 2), done.stderr + done.stdout)
        report = json.loads(done.stdout)
        jsonschema.validate(report, schema())
        self.assertEqual(done.returncode, STATUS_OF[report["worst"]])
        self.assertEqual(done.stderr, "")
        return report

    def check(self, report, name, interface=None):
        found = [check for check in report["checks"]
                 if check["name"] == name and interface in (None, check["interface"])]
        self.assertTrue(found, name)
        return found[0]

    def under(self, *command):
        """What runs doctor; skips where that is not permitted."""
        if not IS_ROOT:
            self.skipTest(f"{command[0]} needs root")
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            self.skipTest(f"{' '.join(command)}: {tried.stderr.strip()}")
        return command


class ReportTest(DoctorCase):
    def test_the_report_is_whole(self):
        before = {name: self.sysctl(name) for name in SYSCTLS}
        report = self.run_doctor()
        self.assertEqual({name: self.sysctl(name) for name in SYSCTLS}, before)
        self.assertEqual(os.listdir(self.root), ["file.bin"])
        self.assertEqual({check["group"] for check in report["checks"]},
                         {"kernel", "network", "filesystem", "machine"})
        self.assertEqual(report["is_root"], IS_ROOT)
        bodies = [path["body"].split(",")[0] for path in report["verdict"]["paths"]]
        self.assertEqual(bodies, ["small", "large", "cold", "large over TLS"])
        wrong = [check for check in report["checks"] if check["status"] in ("warning", "failed")]
        self.assertEqual(len(report["verdict"]["changes"]),
                         min(3, len({check["mend"] for check in wrong})))

    @staticmethod
    def sysctl(name):
        try:
            with open("/proc/sys/" + name, encoding="ascii") as file:
                return file.read()
        except OSError:
            return None

    def test_the_verdict_is_what_serve_says(self):
        report = self.doctor()
        explained = run_pagewire("serve", self.root, "--explain", "/file.bin").stdout
        choice = re.search(r"path=(\S+) reason=(\S+)", explained)
        large = report["verdict"]["paths"][1]
        self.assertEqual((large["path"], large["reason"]), choice.groups())

    def test_every_link_leads_to_a_section(self):
        report = self.doctor("--iface", "lo")
        with open(os.path.join(SOURCE, "docs/DOCTOR.md"), encoding="utf-8") as file:
            sections = set(re.findall(r"^### (\S+)$", file.read(), re.MULTILINE))
        named = {check["link"].split("#")[1] for check in report["checks"]}
        self.assertEqual(named | OF_A_CARD, sections)
        self.assertEqual(named, {check["name"] for check in report["checks"]})

    def test_loopback_says_what_cannot_be_seen_there_and_nothing_of_a_card(self):
        report = self.doctor("--iface", "lo")
        self.assertEqual(report["interfaces"], ["lo"])
        self.assertIn("no card", self.check(report, "driver", "lo")["found"])
        self.assertEqual({check["name"] for check in report["checks"]
                          if check["group"] == "network"}, {"driver", "link"})

    def test_commands_name_the_interface(self):
        for check in self.doctor()["checks"]:
            self.assertNotIn("IFACE", check["mend"] or "")

    def test_without_kernel_tls_it_says_what_to_do(self):
        tls = self.check(self.doctor(), "kernel-tls")
        if tls["status"] == "ok":
            self.skipTest("this kernel has TLS")
        self.assertEqual(tls["status"], "warning")
        self.assertIn("modprobe", tls["mend"])
        report = self.doctor("--tls")
        self.assertEqual(self.check(report, "kernel-tls")["status"], "failed")
        self.assertEqual(report["worst"], "failed")
        self.assertEqual(report["verdict"]["changes"][0]["check"], "kernel-tls")
        self.assertEqual(report["verdict"]["paths"][3]["path"], "tls_copy")

    def test_a_calibration_reaches_the_chooser(self):
        with open(self.folder.outside("c.json"), "w", encoding="utf-8") as file:
            file.write("{}")
        done = run_pagewire("doctor", "--calibration", file.name)
        self.assertEqual(done.returncode, 3)
        self.assertIn("calibration", done.stderr)


    def test_it_calibrates_for_itself_and_for_serve(self):
        file = self.folder.outside("calibration.json")
        done = subprocess.run([BINARY, "doctor", "--json", "--root", self.root, "--calibrate", file,
                               "-t", "0.05"], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=4 * GUARD_S, check=False)
        self.assertIn(done.returncode, (0, 1, 2), done.stderr)
        # Short rounds may be too uncertain to be used, which it says; nothing else.
        for line in done.stderr.splitlines():
            self.assertIn("doctor: warning: calibration", line)
        report = json.loads(done.stdout)
        jsonschema.validate(report, schema())
        self.assertEqual(done.returncode, STATUS_OF[report["worst"]])
        self.assertTrue(report["calibration"])
        with open(file, encoding="utf-8") as saved:
            costs = json.load(saved)["costs"]
        self.assertEqual({cost["path"] for cost in costs}, {"sendfile", "copy"})
        self.assertEqual(len(costs), 12)
        explained = run_pagewire("serve", self.root, "--explain", "/file.bin", "--calibration",
                                 file)
        self.assertEqual(explained.returncode, 0, explained.stderr)
        choice = re.search(r"path=(\S+) reason=(\S+)", explained.stdout)
        self.assertIn(choice[1], {path["path"] for path in report["verdict"]["paths"]})

    def test_it_is_quick(self):
        # Its own time, by the CPU: what others take from it makes nothing of it slower.
        before = os.times()
        self.run_doctor("--iface", "lo")
        after = os.times()
        used = (after.children_user - before.children_user +
                after.children_system - before.children_system)
        self.assertLess(used, (30 if SANITIZER else 3) + 0.1 * os.cpu_count())


class RefusalTest(DoctorCase):
    def refused(self, *arguments, naming=()):
        done = run_pagewire("doctor", *arguments)
        self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        for word in naming:
            self.assertIn(word, done.stderr)

    def test_what_cannot_be_run(self):
        self.refused("--iface", "no-such0", naming=("no-such0", "no such interface"))
        self.refused("--iface", "a-name-that-is-too-long", naming=("no such interface",))
        self.refused("--root", self.root + "/missing", naming=("missing", "No such file"))
        self.refused("--root", self.root + "/file.bin", naming=("no folder",))
        self.refused("--rot", "x", naming=("--rot", "did you mean --root"))
        self.refused("extra", naming=("nothing but flags",))
        self.refused("--calibrate", self.root + "/no/c.json", naming=("--calibrate", "c.json"))

    def test_help(self):
        done = run_pagewire("doctor", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for flag in ("--root", "--iface", "--tls", "--json", "--verbose", "--calibrate"):
            self.assertIn(flag, done.stdout)
        self.assertIn("doctor", run_pagewire("--help").stdout)

    def test_a_full_disk_for_its_output(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full")
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([BINARY, "doctor", "--iface", "lo"], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=GUARD_S, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("No space", done.stderr)


class TextTest(DoctorCase):
    def on_a_terminal(self, columns, **environment):
        """What it prints on a terminal that wide."""
        master, slave = pty.openpty()
        subprocess.run(["stty", "cols", str(columns), "rows", "50"], stdin=slave, check=True)
        process = subprocess.Popen([BINARY, "doctor", "--root", self.root, "--iface", "lo"],
                                   stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                                   env={**os.environ, "TERM": "xterm", **environment})
        os.close(slave)
        said = b""
        try:
            while piece := os.read(master, 65536):
                said += piece
        except OSError:  # EIO: the other end has closed
            pass
        os.close(master)
        self.assertIn(process.wait(GUARD_S), (0, 1, 2))
        return said.decode().replace("\r\n", "\n")

    def test_narrow_and_coloured_on_a_terminal(self):
        text = self.on_a_terminal(40)
        self.assertIn("\x1b[32mok", text)
        for line in re.sub(r"\x1b\[[0-9;]*m", "", text).split("\n"):
            # Words are not cut: names of sysctls and links are for copying.
            self.assertTrue(len(line) <= 40 or " " not in line.strip(), line)

    def test_plain_elsewhere(self):
        self.assertNotIn("\x1b", self.on_a_terminal(100, NO_COLOR="1"))
        done = run_pagewire("doctor", "--root", self.root, "--iface", "lo", "--verbose",
                            timeout=GUARD_S)
        self.assertNotIn("\x1b", done.stdout)
        for word in ("looked at", "Verdict", "Network lo", "docs/DOCTOR.md#io-uring"):
            self.assertIn(word, done.stdout)


class MissingTest(DoctorCase):
    def test_nobody_is_told_what_root_would_see(self):
        os.chmod(self.root, 0o755)
        report = self.doctor(under=self.under(*NOBODY))
        self.assertFalse(report["is_root"])
        cold = self.check(report, "cold-reads")
        self.assertEqual(cold["status"], "unknown")
        self.assertIn("ROOT", cold["reason"])
        self.assertIn("sendfile", self.check(report, "paths")["found"])
        os.chmod(self.root, 0o777)
        report = self.doctor(under=self.under(*NOBODY))
        self.assertIsNotNone(self.check(report, "large-folios")["as_root"])
        self.assertNotIn("ROOT", self.check(report, "cold-reads")["reason"] or "")

    def test_a_network_namespace_without_any_interface(self):
        report = self.doctor(under=self.under("unshare", "--net"))
        self.assertEqual(report["interfaces"], [])
        self.assertEqual(self.check(report, "zero-copy-calls")["status"], "unknown")
        # Nobody has seen that the kernel lacks it.
        self.assertEqual(self.check(report, "kernel-tls")["status"], "unknown")

    def test_a_card_without_scatter_gather(self):
        if not shutil.which("ethtool", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            self.skipTest("no ethtool here")
        command = self.under("unshare", "--net")
        script = ("ip link set lo up && ip link add v0 type veth peer name v1 && "
                  "ip link set v0 up && ip link set v1 up && "
                  "ethtool -K v0 sg off tx off >/dev/null && exec \"$@\"")
        report = self.doctor("--iface", "v0", under=(*command, "sh", "-c", script, "sh"))
        self.assertIn("veth", self.check(report, "driver", "v0")["found"])
        bare = self.check(report, "scatter-gather", "v0")
        self.assertEqual((bare["status"], bare["found"]), ("failed", "off"))
        self.assertIn("ethtool -K v0", bare["mend"])
        names = {check["name"] for check in report["checks"] if check["interface"] == "v0"}
        self.assertEqual(names, OF_A_CARD | {"driver", "link"})
        # Without checksums what was lent is copied, whatever scatter-gather says.
        self.assertIn("copies", self.check(report, "checksum", "v0")["costs"])
        self.assertIn("does not reach", report["verdict"]["text"])

    def test_without_proc_and_sys(self):
        if SANITIZER:
            self.skipTest("LeakSanitizer needs /proc")
        command = self.under("unshare", "--mount")
        script = "mount -t tmpfs none /proc && mount -t tmpfs none /sys && exec \"$@\""
        report = self.doctor(under=(*command, "sh", "-c", script, "sh"))
        for name in ("tcp-buffers", "backlog", "optmem", "congestion", "steal"):
            check = self.check(report, name)
            self.assertEqual(check["status"], "unknown", check)
            self.assertIn("/proc", check["reason"])

    def test_a_seccomp_filter(self):
        if os.uname().machine != "x86_64":
            self.skipTest("the numbers of the system calls are those of x86-64")
        io_uring_setup, sendfile, cachestat = 425, 40, 451
        report = self.doctor(preexec_fn=deny(io_uring_setup, sendfile, cachestat))
        ring = self.check(report, "io-uring")
        self.assertEqual(ring["status"], "warning")
        self.assertIn("seccomp", ring["found"] + ring["mend"])
        calls = self.check(report, "zero-copy-calls")
        self.assertEqual(calls["status"], "failed")
        self.assertIn("sendfile: EPERM", calls["found"])
        self.assertEqual(self.check(report, "cachestat")["status"], "warning")
        self.assertEqual(report["verdict"]["engine"], "epoll")
        self.assertNotEqual(report["verdict"]["paths"][1]["path"], "sendfile")
        # Another filesystem would change nothing about it.
        self.assertIn("seccomp", self.check(report, "paths")["mend"])

    def mounted(self, script):
        """Runs doctor in a mount namespace of its own, in which `script` has made the ROOT."""
        command = self.under("unshare", "--mount")
        tried = subprocess.run([*command, "sh", "-c", script], capture_output=True, text=True,
                               check=False)
        if tried.returncode != 0:
            self.skipTest(tried.stderr.strip())
        return self.doctor(under=(*command, "sh", "-c", script + ' && exec "$@"', "sh"))

    def test_a_root_that_cannot_be_written(self):
        report = self.mounted(f"mount --bind {self.root} {self.root} && "
                              f"mount -o remount,bind,ro {self.root}")
        cold = self.check(report, "cold-reads")
        self.assertEqual(cold["status"], "unknown")
        self.assertIn("EROFS", cold["reason"])
        self.assertIn("sendfile", self.check(report, "paths")["found"])

    def test_a_root_in_memory(self):
        report = self.mounted(f"mount -t tmpfs none {self.root} && echo x > {self.root}/file.bin")
        self.assertEqual(report["filesystem"], "tmpfs")
        self.assertIn("no disk", self.check(report, "cold-reads")["found"])

    def test_a_root_on_overlayfs(self):
        base = self.folder.base
        report = self.mounted(
            f"mount -t tmpfs none {base} && mkdir {base}/l {base}/u {base}/w {self.root} && "
            f"echo x > {base}/l/file.bin && mount -t overlay -o "
            f"lowerdir={base}/l,upperdir={base}/u,workdir={base}/w none {self.root}")
        self.assertEqual(report["filesystem"], "overlay")
        kind = self.check(report, "filesystem")
        self.assertEqual(kind["status"], "warning")
        self.assertIn("bind mount", kind["mend"])
        self.assertEqual(self.check(report, "cachestat")["status"], "warning")


if __name__ == "__main__":
    unittest.main()
