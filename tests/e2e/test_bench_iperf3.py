"""`pagewire bench send --iperf3` with the iperf3 client of the system: what its JSON says is what
was sent, whatever it asks for; and what it cannot have, it is told in its own words."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import unittest

from support import TestFolder, two_sockets_hold
from support.bench_sender import BenchSender

# Not uring_zc_sqpoll: what is under way when a test ends is received and not counted as sent.
PATHS = ("sendfile", "splice", "vmsplice", "zerocopy", "mmap", "uring_zc", "uring_splice", "copy")
GUARD_S = 120
MIB = 1 << 20
BLOCK = 128 << 10
SIZE = 8 * MIB + 12_345  # many times round in a second
ONLY_REVERSE = "refused: only reverse TCP tests (iperf3 -R)"
# What a test's last moment leaves in the buffers of a connection was sent and is not received.
BUFFERS = two_sockets_hold()
# The client alone measures how long a test is. Sender and client may stand still for two seconds of
# it, and something is sent all the same.
TEST_S = "3"
CLOCKS_S = 0.05  # a timer that goes by ticks, and what is printed of seconds


def iperf3(sender, *flags, host="127.0.0.1"):
    """The JSON of a client's run."""
    done = subprocess.run(["iperf3", "-c", host, "-p", str(sender.port), "-J", *flags],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=GUARD_S, check=False)
    return json.loads(done.stdout)


def written(sender):
    """Bytes, as the kernel counts them for its process: sendfile is among them."""
    with open(f"/proc/{sender.pid}/io", encoding="ascii") as file:
        return int(re.search(r"^wchar: (\d+)$", file.read(), re.MULTILINE)[1])


@unittest.skipIf(shutil.which("iperf3") is None, "there is no iperf3 here (apt-get install iperf3)")
class Iperf3Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        cls.file = cls.folder.coded("big.bin", SIZE)

    def reverse(self, sender, *flags, number=1, **others):
        """One test that goes well. Its client's JSON, and our line about it, which must agree."""
        said = iperf3(sender, "-R", *flags, **others)
        self.assertNotIn("error", said, f"{flags}\n{sender.output}")
        line = sender.results(number)[-1]
        end = said["end"]
        self.assertEqual(end["sum_sent"]["bytes"], int(line["bytes"]), sender.output)
        self.assertEqual(sum(one["sender"]["bytes"] for one in end["streams"]), int(line["bytes"]))
        self.assertAlmostEqual(end["sum_sent"]["seconds"], float(line["seconds"]), delta=0.006)
        self.assertIn(f"the client received {end['sum_received']['bytes']} bytes", line["rest"])
        return said, line


class AgreementTest(Iperf3Case):
    def test_time_on_one_and_four_streams_by_each_path(self):
        for path in PATHS:
            with BenchSender(self.file, "--iperf3", "--path", path) as sender:
                for number, streams in enumerate((1, 4) if path in ("sendfile", "copy") else (4,),
                                                 1):
                    said, line = self.reverse(sender, "-P", str(streams), "-t", TEST_S,
                                              number=number)
                    end = said["end"]
                    self.assertEqual(len(end["streams"]), streams)
                    self.assertEqual(line["path"], path)
                    self.assertIn(f"{streams} stream", line["rest"])
                    sent, received = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
                    self.assertGreater(received, 0)
                    self.assertLessEqual(received, sent)
                    self.assertLessEqual(sent - received, 0.05 * sent + streams * BUFFERS)
                    # Two readings of the same rate: theirs of what the server said, and ours.
                    theirs = end["sum_sent"]["bits_per_second"] / 1e9
                    ours = float(line["gbit_per_s"])
                    self.assertAlmostEqual(theirs, ours, delta=0.05 * ours + 0.01)
                    self.assertGreaterEqual(end["sum_sent"]["retransmits"], 0)
                    self.assertIn(f"{end['sum_sent']['retransmits']} retransmits", line["rest"])
                    self.assertTrue(end["sender_tcp_congestion"])
                self.assertEqual(sender.complained, [])

    def test_the_cpu_time_is_this_process_s(self):
        """Against the clock of /proc, which started with the process."""
        with BenchSender(self.file, "--iperf3", "--path", "copy") as sender:
            said, _ = self.reverse(sender, "-t", TEST_S)
            percent = said["end"]["cpu_utilization_percent"]
            with open(f"/proc/{sender.pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            test_seconds = said["end"]["sum_sent"]["seconds"]
            self.assertGreater(percent["remote_total"], 0)
            self.assertLessEqual(percent["remote_total"] / 100 * test_seconds, seconds + 0.03)
            self.assertAlmostEqual(percent["remote_total"],
                                   percent["remote_user"] + percent["remote_system"], delta=0.01)

    def test_bytes_and_blocks_end_a_test(self):
        with BenchSender(self.file, "--iperf3") as sender:
            for number, (flags, whole) in enumerate((
                    (("-n", "20M"), 20 * MIB),
                    (("-n", "20M", "-P", "3"), 20 * MIB),
                    (("-n", "1000"), BLOCK),
                    (("-n", "1M", "-l", "1000", "-P", "2"), 1_049_000),
                    (("-k", "51", "-P", "2"), None)), 1):
                said, line = self.reverse(sender, *flags, number=number)
                received = said["end"]["sum_received"]["bytes"]
                if whole is None:
                    # The client counts a block for each read, and ends when it has as many.
                    self.assertLessEqual(int(line["bytes"]), 51 * BLOCK)
                    continue
                # Whole blocks, and not one more than it takes.
                self.assertEqual(int(line["bytes"]), whole, flags)
                self.assertGreaterEqual(received, min(whole, 1000), flags)
                self.assertLessEqual(received, whole, flags)

    def test_omitted_time_is_not_counted(self):
        with BenchSender(self.file, "--iperf3") as sender:
            begun = time.monotonic()
            said, line = self.reverse(sender, "-t", TEST_S, "-O", "1", "-P", "2")
            whole_s = time.monotonic() - begun
            self.assertGreater(float(line["seconds"]), 0.5)
            # However late anybody was: the whole has that second, and our time has not.
            self.assertLessEqual(float(line["seconds"]), whole_s - 1 + CLOCKS_S,
                                 "the omitted second is counted")
            self.assertGreater(said["end"]["sum_sent"]["bytes"], 0)

    def test_a_rate_is_kept(self):
        """Never more than -b asked for, but for the block that each stream begins with."""
        with BenchSender(self.file, "--iperf3") as sender:
            said, line = self.reverse(sender, "-t", TEST_S, "-b", "40M", "-P", "2")
            most = 2 * (40e6 / 8 * float(line["seconds"]) + BLOCK + 40e6 / 8 * 0.01)
            self.assertGreater(said["end"]["sum_sent"]["bytes"], 0)
            self.assertLessEqual(int(line["bytes"]), most)


class OptionsTest(Iperf3Case):
    def test_options_that_are_honoured_or_do_no_harm(self):
        with BenchSender(self.file, "--iperf3") as sender:
            self.reverse(sender, "-n", "5M", "-w", "128K", "-C", "cubic", "-M", "1400", "-N", "-S",
                         "32", "-Z", "-T", "hello", "--dont-fragment", "--repeating-payload")
            said, _ = self.reverse(sender, "-n", "5M", "-C", "reno", number=2)
            self.assertEqual(said["end"]["sender_tcp_congestion"], "reno")
            said, line = self.reverse(sender, "-n", "5M", "--get-server-output", number=3)
            self.assertEqual(said["server_output_text"].rstrip("\n"), line.string)
            self.reverse(sender, "-n", "5M", "--fq-rate", "1G", number=4)
            self.reverse(sender, "-n", "5M", "-l", "1M", number=5)
            self.reverse(sender, "-n", "5M", "-P", "128", number=6)

    def test_ipv6(self):
        with BenchSender(self.file, "--iperf3", listen=":0") as sender:
            if sender.listening[1] != "[::]":
                self.skipTest("no IPv6 in this kernel")
            self.reverse(sender, "-6", "-n", "5M", host="::1")

    def test_what_is_refused(self):
        with BenchSender(self.file, "--iperf3") as sender:
            not_ours = "an option you are trying to set is not implemented yet"
            cases = [(("-n", "1M"), not_ours, ONLY_REVERSE),
                     (("--bidir", "-n", "1M"), not_ours, ONLY_REVERSE),
                     (("-R", "-u", "-n", "1M"), not_ours, ONLY_REVERSE),
                     (("-R", "-n", "1M", "-C", "nosuch"), "unable to set TCP_CONGESTION",
                      "refused: -C nosuch: setsockopt(TCP_CONGESTION): No such file")]
            for number, (flags, theirs, ours) in enumerate(cases, 1):
                self.assertIn(theirs, iperf3(sender, *flags).get("error", ""), flags)
                self.assertRegex(sender.complaint(number), rf"^127\.0\.0\.1:\d+: {re.escape(ours)}")
            self.reverse(sender, "-n", "5M")
            self.assertEqual(len(sender.complained), len(cases), sender.output)

    def test_an_empty_file(self):
        file = self.folder.coded("empty.bin", 0)
        with self.assertRaisesRegex(AssertionError, "empty.bin: it is empty"):
            BenchSender(file, "--iperf3")


class EndsTest(Iperf3Case):
    def client(self, sender, *flags):
        """One that runs for as long as the test wants it to; killed in any case."""
        before = written(sender)
        process = subprocess.Popen(
            ["iperf3", "-c", "127.0.0.1", "-p", str(sender.port), "-R", "-J", *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        self.addCleanup(end)
        watch = threading.Timer(GUARD_S, process.kill)
        watch.start()
        self.addCleanup(watch.cancel)
        sender.wait_for(lambda: written(sender) > before + MIB, "a test under way")
        return process

    def test_a_second_client_is_told_that_the_server_is_busy(self):
        with BenchSender(self.file, "--iperf3") as sender:
            first = self.client(sender, "-t", "10")
            first.send_signal(signal.SIGSTOP)  # its test is not over before it goes on
            self.assertIn("the server is busy", iperf3(sender, "-R", "-t", "1").get("error", ""))
            self.assertRegex(sender.complaint(), "refused: another test is running$")
            first.send_signal(signal.SIGCONT)
            self.assertNotIn("error", json.loads(first.communicate(timeout=GUARD_S)[0]))
            self.reverse(sender, "-n", "5M", number=2)

    def test_a_client_that_is_stopped_or_killed(self):
        with BenchSender(self.file, "--iperf3") as sender:
            before = sender.descriptors()
            for number, (end, line) in enumerate((
                    (signal.SIGINT, "the client ended the test before its time, after "),
                    (signal.SIGKILL, "(closed the connection|went away .*) in its test, after ")
                    ), 1):
                self.client(sender, "-t", "60", "-P", "2").send_signal(end)
                self.assertRegex(sender.complaint(number), rf"^127\.0\.0\.1:\d+: {line}")
                sender.wait_for(lambda: sender.descriptors() == before, "the same descriptors")
            self.reverse(sender, "-n", "5M")

    def test_ctrl_c_here(self):
        with BenchSender(self.file, "--iperf3") as sender:
            client = self.client(sender, "-t", "60")
            sender.signal(signal.SIGINT)
            sender.wait()
            said = json.loads(client.communicate(timeout=GUARD_S)[0])
            self.assertIn("error", said)
            self.assertRegex(sender.complaint(), r"^127\.0\.0\.1:\d+: stopped, after ")

    def test_count(self):
        with BenchSender(self.file, "--iperf3", "--count", "2") as sender:
            for number in (1, 2):
                self.reverse(sender, "-n", "5M", number=number)
            sender.wait()

    def test_the_file_changes_in_the_middle(self):
        file = self.folder.coded("changing.bin", SIZE)
        with BenchSender(file, "--iperf3") as sender:
            client = self.client(sender, "-t", "60")
            os.truncate(file, MIB)
            said = json.loads(client.communicate(timeout=GUARD_S)[0])
            self.assertIn("unable to write to stream socket", said.get("error", ""))
            self.assertRegex(sender.complaint(), "the file (shrank|changed) while it was sent, "
                             "after ")
            self.reverse(sender, "-n", "5M")


if __name__ == "__main__":
    unittest.main()
