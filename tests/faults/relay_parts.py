"""What the tests of the relay from outside share: a started `pagewire relay`, and what it holds."""

import os
import re
import signal
import subprocess
import threading
import unittest
import urllib.request

from support_faults import BINARY, wait_until

ADDRESS = re.compile(r"(127\.0\.0\.1):(\d+)")


class RunningRelay:
    def __init__(self, *flags, to, under=()):
        self.command = [*under, BINARY, "relay", "--listen", "127.0.0.1:0",
                        "--admin", "127.0.0.1:0", "--to", to, "--workers", "2", *flags]
        self.lines = []
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self.collect, daemon=True)
        self.reader.start()
        self.address = self.admin = None
        wait_until(self.find_addresses, "the start-up lines with the addresses")

    def collect(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def find_addresses(self):
        if self.process.poll() is not None:
            self.reader.join(60)
            raise AssertionError(f"{self.command} ended with {self.process.returncode}:\n"
                                 + "\n".join(self.lines))
        for line in list(self.lines):
            for host, port in ADDRESS.findall(line):
                if re.search(r"admin|metrics|healthz", line):
                    self.admin = (host, int(port))
                elif "->" not in line.split(port)[0] and self.address is None:
                    self.address = (host, int(port))
        return self.address and self.admin

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.admin[0]}:{self.admin[1]}/metrics",
                                    timeout=60) as answer:
            return answer.read().decode()

    def metric(self, name):
        """The sum over its labels."""
        return int(sum(float(value) for value in re.findall(
            rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.metrics(), re.MULTILINE)))

    def wait_for_idle(self):
        wait_until(lambda: self.metric("pagewire_relay_connections_open") == 0,
                   "no connection is open any more")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        """What it ended with, and what it said."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            try:
                self.process.send_signal(number)
                self.process.wait(60)
                break
            except subprocess.TimeoutExpired:  # connections of a test that failed: once more
                continue
        self.reader.join(60)
        self.process.stdout.close()
        return self.process.returncode, "\n".join(self.lines)


class RelayTest(unittest.TestCase):
    def start(self, to, *flags, under=()):
        relay = RunningRelay(*flags, to=to, under=under)
        self.addCleanup(self.stop, relay)
        return relay

    def stop(self, relay):
        code, said = relay.stop()
        self.assertEqual(code, 0, said)
