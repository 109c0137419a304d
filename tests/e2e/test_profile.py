"""`pagewire profile` on servers that are not ours, nginx and Python's, under a load that discards
what it receives in the kernel; and on what cannot be profiled, or only in part."""

import json
import os
import shutil
import signal
import subprocess
import sys
import unittest
import xml.etree.ElementTree

from support_profile import (BODY_BYTES, GUARD_S, IS_ROOT, NOBODY_ID, PATHS, Load, ProfileCase,
                             is_listening)

from support import BINARY, free_port, run_pagewire, wait_until

LONG = str(10 * GUARD_S)  # seconds: a profile that does not end sooner ends its test
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
            # Its master listens before it forks.
            wait_until(lambda: self.children_of(master.pid), "nginx has a worker")
            worker = self.children_of(master.pid)[0]
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
        with Load(port):
            report = self.profile_long_enough(server.pid)
        if not report["kernel_seen"] or not report["kernel_named"]:
            self.skipTest(str(report["notes"]))
        self.assertEqual(report["verdict"]["advice"], "zero_copy_would_pay", report["verdict"])
        self.assertIn("sendto", report["copied_in_percent"])
        # A thread for each request: those that began after the profile did are in it, too.
        self.assertTrue([stack for stack in report["folded"] if "python" in stack.lower()])
        svg = xml.etree.ElementTree.parse(self.folder.outside("flames.svg"))
        frames = [each for each in svg.iter() if each.get("class", "").split()[:1] == ["f"]]
        self.assertGreater(len(frames), 10)


class PartialTest(ProfileCase):
    def spinning(self, **popen):
        return self.start(sys.executable, "-c", "while True: pass", **popen)

    def test_an_idle_process(self):
        sleeper = self.start("sleep", "600")
        wait_until(lambda: self.sleeps(sleeper.pid), "it sleeps")
        report = self.profile(sleeper.pid, "-t", "0.3")
        self.assertEqual(report["samples"], 0)
        self.assertEqual(report["verdict"]["advice"], "unknown")
        self.assertIn("Too few samples", report["verdict"]["text"])

    def test_a_parent_whose_children_work(self):
        parent = self.start("sh", "-c", "sleep 600 & wait")
        wait_until(lambda: self.children_of(parent.pid), "it has a child")
        [child] = self.children_of(parent.pid)
        self.addCleanup(os.kill, int(child), signal.SIGKILL)
        # The shell's copy of itself becomes it, and the shell waits.
        wait_until(lambda: self.name_of(child) == "sleep" and self.sleeps(parent.pid), "both sleep")
        report = self.profile(parent.pid, "-t", "0.3")
        self.assertIn("of sleep", str(report["notes"]))

    @staticmethod
    def name_of(pid):
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()

    def test_a_process_that_ends_meanwhile(self):
        process = self.spinning()

        def end(_):
            process.kill()
            process.wait()  # it is gone, and no zombie
        report = self.profile(process.pid, "-t", LONG, once_it_samples=end)
        self.assertIn("it ended meanwhile", report["notes"])

    def test_a_process_whose_parent_does_not_notice_its_end(self):
        process = self.spinning()
        report = self.profile(process.pid, "-t", LONG, once_it_samples=lambda _: process.kill())
        self.assertIn("it ended meanwhile", report["notes"])

    def test_ctrl_c_keeps_what_was_seen(self):
        process = self.spinning()
        report = self.profile(process.pid, "-t", LONG,
                              once_it_samples=lambda profile: profile.send_signal(signal.SIGINT))
        self.assertIn("it was stopped early", report["notes"])

    def test_nobody_sees_its_own_user_mode(self):
        nobody = self.as_nobody()
        os.chmod(self.folder.base, 0o777)
        process = self.start(*nobody, sys.executable, "-S", "-c", "while True: pass")
        wait_until(lambda: os.stat(f"/proc/{process.pid}").st_uid == NOBODY_ID, "it is nobody's")
        report = self.profile_long_enough(process.pid, least=1, first="1", under=nobody)
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
        report = self.profile_long_enough(process.pid, least=100, first="0.6",
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
        sleeper = self.start("sleep", "600")
        self.refused(1, str(sleeper.pid), under=self.as_nobody(), naming=("belongs to root",))

    def test_help(self):
        done = run_pagewire("profile", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for flag in ("PID|NAME", "--time", "--json", "--folded", "--svg"):
            self.assertIn(flag, done.stdout)
        self.assertIn("profile", run_pagewire("--help").stdout)


if __name__ == "__main__":
    unittest.main()
