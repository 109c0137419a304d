"""`pagewire profile` on servers that are not ours, nginx and Python's, under a load that discards
what it receives in the kernel; and on what cannot be profiled, or only in part."""

import collections
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree

import jsonschema

from support import BINARY, SANITIZER, SOURCE, TestFolder, run_pagewire, wait_until

GUARD_S = 120 if SANITIZER else 60
IS_ROOT = os.geteuid() == 0
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
PATHS = os.environ["PATH"] + ":/usr/sbin:/sbin"
BODY_BYTES = 8 << 20
NGINX = """
daemon off; pid {base}/nginx.pid; error_log {base}/error.log; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile {sendfile};
  client_body_temp_path {base}/b; proxy_temp_path {base}/p; fastcgi_temp_path {base}/f;
  uwsgi_temp_path {base}/u; scgi_temp_path {base}/s;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def schema():
    with open(os.path.join(SOURCE, "docs/profile.schema.json"), encoding="utf-8") as file:
        return json.load(file)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask_for_ever(port, target):
    """One client. MSG_TRUNC drops the bytes inside the kernel, so that the server stays the
    bottleneck."""
    request = f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode()
    place = bytearray(1 << 20)
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(request)
                while client.recv_into(place, 0, socket.MSG_TRUNC):
                    pass
        except OSError:
            pass  # the server ends at the end of a test


class Load:
    """Clients in processes of their own, as long as the context lasts."""

    def __init__(self, port, target="/body.bin", clients=2):
        self.clients = [multiprocessing.Process(target=ask_for_ever, args=(port, target),
                                                daemon=True) for _ in range(clients)]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.terminate()
            client.join()


class ProfileCase(unittest.TestCase):
    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)

    def start(self, *command, **popen):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, **popen)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def profile(self, target, *arguments, under=(), code=0):
        """The JSON, valid, with the folded stacks that belong to it under "folded"."""
        folded = self.folder.outside("folded.txt")
        done = subprocess.run(
            [*under, BINARY, "profile", str(target), "--json", "--folded", folded, *arguments],
            capture_output=True, text=True, timeout=GUARD_S, stdin=subprocess.DEVNULL, check=False)
        self.assertNotIn("Sanitizer", done.stderr)
        if "no permission" in done.stderr or "no perf events" in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual((done.returncode, done.stderr), (code, ""), done.stdout)
        report = json.loads(done.stdout)
        jsonschema.validate(report, schema())
        with open(folded, encoding="utf-8") as file:
            report["folded"] = collections.Counter()
            for line in file:
                stack, count = line.rsplit(" ", 1)
                report["folded"][stack] += int(count)
        self.assertEqual(report["folded"].total(), report["samples"])
        return report

    def profile_long_enough(self, target, *arguments):
        """Until there are samples to judge by, however little CPU others leave."""
        for seconds in ("2.5", "10", "20"):
            report = self.profile(target, "-t", seconds, *arguments)
            if report["samples"] >= 300:
                break
        return report

    def refused(self, code, *arguments, naming=(), under=()):
        done = subprocess.run([*under, BINARY, "profile", *arguments], capture_output=True,
                              text=True, timeout=GUARD_S, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        for word in naming:
            self.assertIn(word, done.stderr)

    def as_nobody(self):
        if not IS_ROOT or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv")
        return NOBODY


class ServersTest(ProfileCase):
    def nginx(self, sendfile):
        """Its master, listening, and the port."""
        program = shutil.which("nginx", path=PATHS)
        if not program:
            self.skipTest("no nginx here")
        port = free_port()
        settings = NGINX.format(base=self.folder.base, root=self.folder.root, port=port,
                                sendfile=sendfile, user="user root;" if IS_ROOT else "")
        configuration = self.folder.outside(f"nginx-{sendfile}.conf")
        with open(configuration, "w", encoding="utf-8") as file:
            file.write(settings)
        master = subprocess.Popen([program, "-c", configuration], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # SIGTERM, so that it ends its worker.
        self.addCleanup(master.wait)
        self.addCleanup(master.terminate)
        wait_until(lambda: is_listening(port), "nginx listens")
        return master, port

    def test_nginx_with_and_without_sendfile(self):
        self.folder.coded("body.bin", BODY_BYTES)
        seen = {}
        for sendfile in ("off", "on"):
            master, port = self.nginx(sendfile)
            with open(f"/proc/{master.pid}/task/{master.pid}/children", encoding="ascii") as file:
                worker = file.read().split()[0]
            with Load(port):
                seen[sendfile] = self.profile_long_enough(worker)
            master.terminate()
            master.wait()
        off, on = seen["off"], seen["on"]
        for report in seen.values():
            if not report["kernel_seen"] or not report["kernel_named"]:
                self.skipTest(str(report["notes"]))
            self.assertEqual(report["processes"][0]["name"], "nginx")
            self.assertGreater(report["samples"], 100)
        self.assertEqual(off["verdict"]["advice"], "zero_copy_would_pay", off["verdict"])
        self.assertGreater(off["percent"]["copy"], 10)
        self.assertTrue(set(off["copied_in_percent"]) & {"pread64", "writev"})
        self.assertEqual(on["verdict"]["advice"], "little_to_gain", on["verdict"])
        self.assertLess(on["percent"]["copy"], 5)
        self.assertTrue([stack for stack in on["folded"] if "sendfile" in stack])
        self.assertTrue([stack for stack in on["folded"] if "ngx_" in stack], "names of nginx's")
        if on["syscalls"] is not None:
            calls = {call["name"]: call for call in on["syscalls"]}
            self.assertGreater(calls["sendfile"]["bytes_per_call"], 4096)

    def test_a_python_server(self):
        self.folder.coded("body.bin", BODY_BYTES)
        port = free_port()
        server = self.start(sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1",
                            cwd=self.folder.root)
        wait_until(lambda: is_listening(port), "the server listens")
        svg = self.folder.outside("flames.svg")
        with Load(port):
            report = self.profile_long_enough(server.pid, "--svg", svg)
        if not report["kernel_seen"] or not report["kernel_named"]:
            self.skipTest(str(report["notes"]))
        self.assertEqual(report["verdict"]["advice"], "zero_copy_would_pay", report["verdict"])
        self.assertIn("sendto", report["copied_in_percent"])
        # A thread for each request: those that began after the profile did are in it, too.
        self.assertTrue([stack for stack in report["folded"] if "python" in stack.lower()])
        tree = xml.etree.ElementTree.parse(svg)
        frames = [each for each in tree.iter() if each.get("class", "").split()[:1] == ["f"]]
        self.assertGreater(len(frames), 10)
        with open(svg, encoding="utf-8") as file:
            self.assertEqual(re.findall(r"https?://[^\"]+", file.read()),
                             ["http://www.w3.org/2000/svg"])


class PartialTest(ProfileCase):
    def spinning(self, **popen):
        return self.start(sys.executable, "-c", "while True: pass", **popen)

    def test_an_idle_process(self):
        sleeper = self.start("sleep", "60")
        report = self.profile(sleeper.pid, "-t", "0.3")
        self.assertEqual(report["samples"], 0)
        self.assertEqual(report["verdict"]["advice"], "unknown")
        self.assertIn("Too few samples", report["verdict"]["text"])

    def test_a_parent_whose_children_work(self):
        parent = self.start("sh", "-c", "sleep 60 & wait")
        wait_until(lambda: self.children_of(parent.pid), "it has a child")
        report = self.profile(parent.pid, "-t", "0.3")
        self.assertIn("of sleep", str(report["notes"]))
        os.kill(int(self.children_of(parent.pid)[0]), signal.SIGKILL)

    @staticmethod
    def children_of(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return file.read().split()

    def test_a_process_that_ends_meanwhile(self):
        short = self.start(sys.executable, "-c",
                           "import time\nend = time.time() + 1\nwhile time.time() < end: pass")
        # Reaped at once, so that it is gone and no zombie.
        before = time.monotonic()
        done = subprocess.Popen([BINARY, "profile", str(short.pid), "-t", "30", "--json"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        short.wait()
        output, errors = done.communicate(timeout=GUARD_S)
        if done.returncode == 1 and "no permission" in errors:
            self.skipTest(errors)
        self.assertEqual(done.returncode, 0, errors)
        self.assertIn("it ended meanwhile", json.loads(output)["notes"])
        self.assertLess(time.monotonic() - before, 25)

    def test_ctrl_c_keeps_what_was_seen(self):
        process = self.spinning()
        profile = subprocess.Popen([BINARY, "profile", str(process.pid), "-t", "60", "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # Its events are open: from then on it listens to signals.
        wait_until(lambda: profile.poll() is not None or self.samples(profile.pid), "it samples")
        profile.send_signal(signal.SIGINT)
        output, errors = profile.communicate(timeout=GUARD_S)
        if profile.returncode == 1 and "no permission" in errors:
            self.skipTest(errors)
        self.assertEqual(profile.returncode, 0, errors)
        self.assertIn("it was stopped early", json.loads(output)["notes"])

    @staticmethod
    def samples(pid):
        try:
            return any("perf_event" in os.readlink(f"/proc/{pid}/fd/{number}")
                       for number in os.listdir(f"/proc/{pid}/fd"))
        except OSError:  # one was closed in between
            return False

    def test_nobody_sees_its_own_user_mode(self):
        nobody = self.as_nobody()
        os.chmod(self.folder.base, 0o777)
        process = self.start(*nobody, sys.executable, "-S", "-c", "while True: pass")
        wait_until(lambda: os.stat(f"/proc/{process.pid}").st_uid == 65534, "it is nobody's")
        report = self.profile(process.pid, "-t", "1", under=nobody)
        if report["kernel_seen"]:
            self.skipTest("kernel.perf_event_paranoid lets everybody see the kernel")
        self.assertGreater(report["samples"], 0)
        self.assertIn("perf_event_paranoid", str(report["notes"]))
        self.assertEqual(report["verdict"]["advice"], "unknown")
        self.assertIsNone(report["syscalls"])
        self.assertTrue(report["no_syscalls"])

    def test_hidden_kernel_symbols(self):
        if not IS_ROOT:
            self.skipTest("needs root")
        hidden = self.folder.outside("kallsyms")
        with open(hidden, "w", encoding="ascii") as file:
            file.write("0000000000000000 T _stext\n0000000000000000 T memcpy\n")
        script = f"mount --bind {hidden} /proc/kallsyms && exec \"$@\""
        tried = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", "true"],
                               capture_output=True, check=False)
        if tried.returncode != 0:
            self.skipTest(tried.stderr.decode())
        process = self.start("dd", "if=/dev/zero", "of=/dev/null", "bs=64k")
        report = self.profile(process.pid, "-t", "0.6",
                              under=("unshare", "--mount", "sh", "-c", script, "sh"))
        self.assertFalse(report["kernel_named"])
        self.assertIn("kptr_restrict", str(report["notes"]))
        self.assertTrue([stack for stack in report["folded"] if "[hidden]_[k]" in stack])
        self.assertEqual(report["verdict"]["advice"], "unknown")


class RefusalTest(ProfileCase):
    def test_what_cannot_be_profiled(self):
        self.refused(1, "999999999", naming=("no process 999999999",))
        self.refused(1, "no-such-program", naming=("no process is called no-such-program",))
        self.refused(2, naming=("PID|NAME is missing",))
        self.refused(2, "1", "-t", "0", naming=("seconds",))
        self.refused(2, "1", "--svgg", "x", naming=("did you mean --svg",))
        self.refused(1, "1", "--svg", self.folder.root + "/no/x.svg", naming=("--svg", "x.svg"))

    def test_somebody_elses_process(self):
        sleeper = self.start("sleep", "60")
        self.refused(1, str(sleeper.pid), under=self.as_nobody(), naming=("belongs to root",))

    def test_help(self):
        done = run_pagewire("profile", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for flag in ("PID|NAME", "--time", "--json", "--folded", "--svg"):
            self.assertIn(flag, done.stdout)
        self.assertIn("profile", run_pagewire("--help").stdout)


if __name__ == "__main__":
    unittest.main()
