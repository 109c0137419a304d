"""What the tests of `pagewire profile` share: a load that discards what it receives in the kernel,
and a report that is held against its schema, its folded stacks and its flame graph."""

import collections
import json
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import unittest
import xml.etree.ElementTree

import jsonschema

from support import BINARY, SANITIZER, SOURCE, TestFolder, wait_until

GUARD_S = 300 if SANITIZER else 180
IS_ROOT = os.geteuid() == 0
# Nobody else's: of each user the kernel counts what samples may lock of memory.
NOBODY_ID = 60_000 + os.getpid() % 5_000
NOBODY = ("setpriv", f"--reuid={NOBODY_ID}", "--regid=65534", "--clear-groups")
PATHS = os.environ["PATH"] + ":/usr/sbin:/sbin"
BODY_BYTES = 8 << 20


def schema():
    with open(os.path.join(SOURCE, "docs/profile.schema.json"), encoding="utf-8") as file:
        return json.load(file)


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask_for_ever(port, target, answered):
    """One client. MSG_TRUNC drops the bytes inside the kernel, so that the server stays the
    bottleneck. `answered` is set once it has had an answer."""
    request = f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode()
    place = bytearray(1 << 20)
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(request)
                while client.recv_into(place, 0, socket.MSG_TRUNC):
                    pass
            answered.set()
        except OSError:
            pass  # the server ends at the end of a test


class Load:
    """Clients in processes of their own, as long as the context lasts."""

    def __init__(self, port, target="/body.bin", clients=2):
        self.answered = [multiprocessing.Event() for _ in range(clients)]
        self.clients = [multiprocessing.Process(target=ask_for_ever, args=(port, target, event),
                                                daemon=True) for event in self.answered]

    def __enter__(self):
        for client in self.clients:
            client.start()
        wait_until(lambda: all(event.is_set() for event in self.answered), "all are answered",
                   GUARD_S)
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

    def profile(self, target, *arguments, under=(), code=0, once_it_samples=None):
        """The JSON, valid, with the folded stacks that belong to it under "folded"."""
        folded = self.folder.outside("folded.txt")
        svg = self.folder.outside("flames.svg")
        output = self.output_of_profile(
            [*under, BINARY, "profile", str(target), "--json", "--folded", folded, "--svg", svg,
             *arguments], code, once_it_samples)
        report = json.loads(output)
        jsonschema.validate(report, schema())
        with open(folded, encoding="utf-8") as file:
            report["folded"] = collections.Counter()
            for line in file:
                stack, count = line.rsplit(" ", 1)
                report["folded"][stack] += int(count)
        self.assertEqual(report["folded"].total(), report["samples"])
        self.assertEqual(sum(stack["samples"] for stack in report["stacks"]), report["samples"])
        self.assert_flames_agree(svg, report)
        return report

    def output_of_profile(self, command, code=0, once_it_samples=None):
        """`once_it_samples` is called when its events count, and it has its signals."""
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as profile:
            try:
                if once_it_samples is not None:
                    wait_until(lambda: profile.poll() is not None or self.samples(profile.pid),
                               "it samples", GUARD_S)
                    once_it_samples(profile)
                output, errors = profile.communicate(timeout=GUARD_S)
            finally:
                profile.kill()
        self.assertNotIn("Sanitizer", errors)
        if "no permission" in errors or "no perf events" in errors:
            self.skipTest(errors)
        self.assertEqual((profile.returncode, errors), (code, ""), output)
        return output

    def samples(self, pid):
        """Its events are open, and it sleeps, which it does once it has begun to count: before, it
        opens the others and reads the kernel's symbols."""
        try:
            return any("perf_event" in os.readlink(f"/proc/{pid}/fd/{number}")
                       for number in os.listdir(f"/proc/{pid}/fd")) and self.sleeps(pid)
        except OSError:  # one was closed in between
            return False

    @staticmethod
    def sleeps(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "S"

    def assert_flames_agree(self, svg, report):
        """XML that refers to nothing, whose lowest frame has all samples, and each frame above it
        no more than the one that it stands on."""
        with open(svg, encoding="utf-8") as file:
            self.assertEqual(re.findall(r"https?://[^\"]+", file.read()),
                             ["http://www.w3.org/2000/svg"])
        frames = [each for each in xml.etree.ElementTree.parse(svg).iter()
                  if each.get("class", "").split()[:1] == ["f"]]
        whole = [re.search(r" (\d+) samples", frame[0].text) for frame in frames
                 if frame.get("data-d") == "0"]
        self.assertEqual(sum(int(found[1]) for found in whole), report["samples"])
        for depth in range(max((int(frame.get("data-d")) for frame in frames), default=0)):
            below, above = (sum(float(frame.get("data-w")) for frame in frames
                                if frame.get("data-d") == str(level))
                            for level in (depth, depth + 1))
            self.assertLessEqual(above, below + 1e-4)

    def profile_long_enough(self, target, *arguments, least=300, first="2.5", **others):
        """Until there are samples to judge by, however little CPU others leave."""
        for seconds in (first, "10", "20"):
            report = self.profile(target, "-t", seconds, *arguments, **others)
            if report["samples"] >= least:
                break
        return report

    def refused(self, code, *arguments, naming=(), under=()):
        done = subprocess.run([*under, BINARY, "profile", *arguments], capture_output=True,
                              text=True, timeout=GUARD_S, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        for word in naming:
            self.assertIn(word, done.stderr)

    @staticmethod
    def children_of(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return file.read().split()

    def as_nobody(self):
        if not IS_ROOT or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv")
        return NOBODY
