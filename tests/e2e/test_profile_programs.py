"""`pagewire profile` on programs that make it hard: threads that come and go, names stripped, the
program replaced while it runs, in a mount namespace of its own, code that is made at run time,
names that would break a file's format; and on pagewire itself, whose paths must be billed to what
they are."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from support_profile import BODY_BYTES, IS_ROOT, Load, ProfileCase

from support import Pagewire, Relay, tls_flags, wait_until

BURN = r"""
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static volatile unsigned sum;
__attribute__((noinline)) void NAME(void) { for (unsigned i = 0; i < 3000000; ++i) sum += i; }
__attribute__((noinline)) static void *once(void *unused) { NAME(); return unused; }
__attribute__((noinline)) static void *for_ever(void *unused) { for (;;) NAME(); return unused; }
int main(int count, char **arguments) {
  pthread_t thread;
  int many = count > 1 ? atoi(arguments[1]) : 0;
  for (int i = 0; i < many; ++i) pthread_create(&thread, 0, for_ever, 0);
  while (count > 2) {  /* a new one as soon as the last has ended */
    pthread_create(&thread, 0, once, 0);
    pthread_join(thread, 0);
  }
  for (;;) NAME();
}
"""


def fetch_for_ever(url):
    """By curl, many times on a connection."""
    while True:
        subprocess.run(["curl", "-ksS", *(["-o", "/dev/null", url] * 20)], check=False,
                       stderr=subprocess.DEVNULL)


class ProgramsTest(ProfileCase):
    def compile(self, function="burn_cycles", *flags):
        """A program that spends its time in that function."""
        if not shutil.which("cc"):
            self.skipTest("no C compiler here")
        program = self.folder.outside(f"program{len(os.listdir(self.folder.base))}")
        subprocess.run(["cc", "-O1", "-pthread", f"-DNAME={function}", *flags, "-x", "c", "-", "-o",
                        program], input=BURN, text=True, check=True)
        return program

    @staticmethod
    def runs(process, program):
        return os.readlink(f"/proc/{process.pid}/exe") == program

    @staticmethod
    def cpu_seconds(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            user, system = file.read().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def share(self, report, word):
        """Of the samples, with the word on the stack."""
        hits = sum(count for stack, count in report["folded"].items() if word in stack)
        return hits / max(report["samples"], 1)

    def profiled(self, target, seconds="1"):
        report = self.profile_long_enough(target, least=50, first=seconds)
        self.assertGreater(report["samples"], 10)
        return report

    def test_many_threads_and_those_born_meanwhile(self):
        process = self.start(self.compile(), "40", "new ones")
        wait_until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 40, "it has threads")
        for seconds in ("1", "5", "20"):  # the one that is new is one of 41 that want two CPUs
            report = self.profiled(process.pid, seconds)
            # By their CPU time, not by the wall's. While the profile itself waits for a CPU between
            # the threads' account and its events, or has no room for samples, the account goes on.
            by_samples = report["samples"] / report["frequency_hz"] / report["cpu_seconds"]
            if self.share(report, "once;burn_cycles") > 0 and abs(by_samples - 1) < 0.25:
                break
        self.assertGreater(self.share(report, "for_ever;burn_cycles"), 0.5)
        self.assertGreater(self.share(report, "once;burn_cycles"), 0)
        self.assertAlmostEqual(by_samples, 1, delta=0.25)

    def test_a_thread_stands_for_its_process(self):
        process = self.start(self.compile(), "2")
        tasks = f"/proc/{process.pid}/task"
        wait_until(lambda: len(os.listdir(tasks)) == 3, "it has threads")
        thread = max(map(int, os.listdir(tasks)))
        report = self.profiled(thread)
        self.assertEqual([each["pid"] for each in report["processes"]], [process.pid])
        self.assertGreater(self.share(report, "burn_cycles"), 0.5)

    def test_a_stripped_program_has_its_name_alone(self):
        program = self.compile()
        if not shutil.which("strip"):
            self.skipTest("no strip here")
        subprocess.run(["strip", program], check=True)
        report = self.profiled(self.start(program).pid)
        self.assertGreater(self.share(report, f"[{os.path.basename(program)}]"), 0.5)
        self.assertEqual(self.share(report, "burn_cycles"), 0)

    def test_a_program_that_was_replaced_while_it_runs(self):
        program, other = self.compile("the_old_one"), self.compile("the_new_one")
        process = self.start(program)
        wait_until(lambda: self.runs(process, program), "it runs")
        os.replace(other, program)
        report = self.profiled(process.pid)
        self.assertEqual(self.share(report, "the_new_one"), 0)
        self.assertGreater(self.share(report, "the_old_one"), 0.5)
        self.assertNotIn("(deleted)", str(report["folded"]))

    def test_files_are_those_of_its_own_mount_namespace(self):
        """A container: another program under the same name."""
        if not IS_ROOT:
            self.skipTest("mounting needs root")
        tried = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"],
                               capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            self.skipTest(f"no mount namespace: {tried.stderr}")
        place = self.folder.outside("place")
        os.mkdir(place)
        for name, function in (("inner", "in_the_container"), ("outer", "on_the_host")):
            os.rename(self.compile(function), self.folder.outside(name))
        shutil.copy(self.folder.outside("outer"), place + "/server")
        process = self.start(
            "unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {place} && "
            f"cp {self.folder.outside('inner')} {place}/server && exec {place}/server")
        wait_until(lambda: self.runs(process, place + "/server"), "it runs")
        report = self.profiled(process.pid)
        self.assertEqual(self.share(report, "on_the_host"), 0)
        self.assertGreater(self.share(report, "in_the_container"), 0.5)

    def test_code_that_is_made_at_run_time(self):
        if not shutil.which("node"):
            self.skipTest("no node here")
        script = self.folder.outside("jit.js")
        with open(script, "w", encoding="ascii") as file:
            file.write("function spinInJavaScript(n) { let s = 0; for (let i = 0; i < n; ++i) "
                       "s = (s * 31 + i) % 1000003; return s }\n"
                       "for (let t = 0;;) t += spinInJavaScript(100000)\n")
        # It writes a log into the folder that it is in.
        process = self.start("node", "--perf-basic-prof", script, cwd=self.folder.base)
        names = f"/tmp/perf-{process.pid}.map"
        self.addCleanup(lambda: os.path.exists(names) and os.remove(names))

        def is_compiled():
            if not os.path.exists(names):
                return False
            with open(names, encoding="utf-8", errors="replace") as file:
                return "*spinInJavaScript" in file.read()
        wait_until(is_compiled, "it is compiled")
        report = self.profiled(process.pid)
        self.assertGreater(self.share(report, "*spinInJavaScript"), 0.5)

    def test_names_that_would_break_the_files(self):
        program = self.folder.outside('a;b<&"]]>')
        os.rename(self.compile(), program)
        process = self.start(program)
        wait_until(lambda: self.runs(process, program), "it runs")
        report = self.profiled(process.pid)
        for stack in report["folded"]:
            self.assertTrue(stack.startswith('a_b<&"]]>;'), stack)

    def test_all_of_one_name(self):
        program = self.folder.outside("name-of-several")
        os.rename(self.compile(), program)
        processes = [self.start(program), self.start(program, "1")]
        for process in processes:
            wait_until(lambda started=process: self.runs(started, program), "it runs")
        report = self.profiled("name-of-several")
        self.assertEqual({each["pid"] for each in report["processes"]},
                         {process.pid for process in processes})

    def test_those_of_a_name_that_may_be_sampled(self):
        nobody = self.as_nobody()
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        os.chmod(self.folder.base, 0o777)
        program = folder + "/mine-and-others"
        os.rename(self.compile(), program)
        self.start(program)
        mine = self.start(*nobody, program)
        wait_until(lambda: self.runs(mine, program), "it runs")
        report = self.profile("mine-and-others", "-t", "1", under=nobody)
        self.assertEqual([each["pid"] for each in report["processes"]], [mine.pid])
        self.assertIn("being root's", str(report["notes"]))

    def test_who_has_ended_is_accounted_by_samples(self):
        process = self.start(self.compile())

        def end(_):
            so_far = self.cpu_seconds(process.pid)
            wait_until(lambda: self.cpu_seconds(process.pid) > so_far + 0.3, "it burns cycles")
            process.kill()
            process.wait()
        report = self.profile(process.pid, "-t", "600", once_it_samples=end)
        self.assertGreater(report["samples"], 0)
        self.assertAlmostEqual(report["cpu_seconds"] * report["frequency_hz"], report["samples"],
                               delta=1)


class PagewireTest(ProfileCase):
    """Our own paths, whose categories are known."""

    def setUp(self):
        super().setUp()
        self.folder.coded("body.bin", BODY_BYTES)

    def whole(self, report):
        if not report["kernel_seen"] or not report["kernel_named"]:
            self.skipTest(str(report["notes"]))
        self.assertGreater(report["samples"], 100)
        self.assertAlmostEqual(sum(report["percent"].values()), 100, places=3)
        # What nobody has put into a table is not much of it.
        self.assertLess(report["percent"]["other_kernel"], 10, report["percent"])
        return report

    def of_a_load(self, server):
        with Load(server.address[1]):
            return self.whole(self.profile_long_enough(server.pid))

    def test_sendfile_and_copy(self):
        with Pagewire(self.folder.root, "--path", "copy", "--workers", "1") as server:
            copied = self.of_a_load(server)
        with Pagewire(self.folder.root, "--path", "sendfile", "--workers", "1") as server:
            sent = self.of_a_load(server)
        self.assertEqual(copied["verdict"]["advice"], "zero_copy_would_pay", copied["verdict"])
        self.assertEqual(sent["verdict"]["advice"], "little_to_gain", sent["verdict"])
        self.assertGreater(copied["percent"]["copy"], 15)
        self.assertLess(sent["percent"]["copy"], 3)
        self.assertGreater(sent["percent"]["splice"] + sent["percent"]["page_cache"], 3)
        self.assertTrue([stack for stack in sent["folded"] if "pagewire::" in stack])

    def test_tls_of_user_space_is_libcryptos(self):
        if not shutil.which("curl"):
            self.skipTest("no curl here")
        flags = (*tls_flags(), "--tls-ktls", "off", "--workers", "1")
        with Pagewire(self.folder.root, *flags) as server:
            host, port = server.tls_addresses[0]
            client = multiprocessing.Process(target=fetch_for_ever, daemon=True,
                                             args=(f"https://{host}:{port}/body.bin",))
            client.start()
            try:
                report = self.whole(self.profile_long_enough(server.pid))
            finally:
                client.terminate()
                client.join()
        self.assertGreater(report["percent"]["tls"], 10, report["percent"])
        self.assertGreater(report["percent"]["copy"], 3, report["percent"])

    def test_a_relay_that_splices(self):
        with Pagewire(self.folder.root, "--path", "sendfile") as upstream, \
                Relay("--path", "splice", "--workers", "1", to=[upstream.address]) as relay, \
                Load(relay.address[1]):
            spliced = self.whole(self.profile_long_enough(relay.pid))
        with Pagewire(self.folder.root, "--path", "sendfile") as upstream, \
                Relay("--path", "copy", "--workers", "1", to=[upstream.address]) as relay, \
                Load(relay.address[1]):
            copied = self.whole(self.profile_long_enough(relay.pid))
        self.assertLess(spliced["percent"]["copy"], 5, spliced["percent"])
        self.assertGreater(spliced["percent"]["splice"], 3, spliced["percent"])
        self.assertEqual(copied["verdict"]["advice"], "zero_copy_would_pay", copied["verdict"])
        self.assertGreater(copied["percent"]["tcp_receive"] + copied["percent"]["copy"], 10)


if __name__ == "__main__":
    unittest.main()
