"""What the fault tests share beyond tests/support: reading a body byte by byte against its code,
standing in mid-transfer, strace's fault injection, and the account of what a server holds.

Nothing here fails because the machine was slow: every wait has a bound of many seconds, and
measured times are printed."""

import contextlib
import ctypes
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from support import (BINARY, SANITIZER, TLS, Pagewire, RawClient, TestFolder,  # noqa: E402
                     coded_bytes, fetch_metrics, first_difference, request_head, settle,
                     wait_until, wait_until_it_stands)

__all__ = ["BINARY", "LIBC", "MIB", "PATHS", "SANITIZER", "FaultTest", "Held", "Pagewire",
           "RawClient", "Strace", "TestFolder", "coded_bytes", "dies_with_us", "drain", "ends",
           "fetch_metrics", "first_difference", "helper", "lone_user", "percentile_ms", "report",
           "request_head", "settle", "total", "wait_until", "why_no_strace"]

LIBC = ctypes.CDLL(None, use_errno=True)
PATHS = ("tls_copy",) if TLS else ("sendfile", "splice", "vmsplice", "zerocopy", "mmap", "copy")
MIB = 1 << 20


def report(text):
    """A measured figure, for whoever reads the run."""
    print(f"    {text}", file=sys.stderr, flush=True)


def helper(name):
    """A C++ helper of tests/faults: it is built next to pagewire."""
    path = os.path.join(os.path.dirname(BINARY), name)
    if not os.path.exists(path):
        raise AssertionError(f"{path} is not built: ninja -C {os.path.dirname(path)} {name}")
    return path


def lone_user():
    """A user of this process's own, without a name: what the kernel allows each user (pages of
    pipes) is then nobody else's, whatever runs beside this."""
    return 20_000 + os.getpid() % 40_000


def percentile_ms(seconds, share):
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1e3


def ends(server, why):
    return int(fetch_metrics(server).total("^pagewire_connection_ends_total$", why=why))


def total(server, name, **labels):
    return int(fetch_metrics(server).total(f"^{name}$", **labels))


class Held:
    """What a server holds: descriptors, those of them that are pipes, mappings of files under its
    root, resident memory, connections that it counts as open."""

    def __init__(self, server):
        folder = f"/proc/{server.pid}/fd"
        links = []
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                links.append(os.readlink(os.path.join(folder, name)))
        self.links = links
        self.sockets = sum(link.startswith("socket:") for link in links)
        self.pipes = sum(link.startswith("pipe:") for link in links)
        self.files = sum(link.startswith("/") for link in links)
        served = server.command[server.command.index("serve") + 1] + os.sep
        with open(f"/proc/{server.pid}/maps", encoding="ascii") as file:
            self.mappings = sum(served in line for line in file)
        with open(f"/proc/{server.pid}/status", encoding="ascii") as file:
            self.resident_mib = int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) / 1024

    def __str__(self):
        return (f"{len(self.links)} descriptors ({self.sockets} sockets, {self.pipes} pipe ends, "
                f"{self.files} files), {self.mappings} mapped windows, "
                f"{self.resident_mib:.1f} MiB resident")


def dies_with_us(also=None):
    """For Popen's preexec_fn: a test that is killed leaves no server behind."""
    def prepare():
        pr_set_pdeathsig = 1
        LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)
        if also is not None:
            also()
    return prepare


class FaultTest(unittest.TestCase):
    """A folder to serve, servers on it, and the promise that they hold nothing afterwards."""

    # The stated limits of what a worker keeps for reuse: 64 idle pipes (two ends each), and the
    # open-file cache, of which a test never fills more than this.
    workers = 2
    idle_pipe_ends = 64 * 2
    cached_files = 300

    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)

    @contextlib.contextmanager
    def serving(self, *flags, root=None, workers=None, slack_mib=24, **popen):
        """A server that must hold nothing more at the end than at its start, and end with 0."""
        workers = workers or self.workers
        flags = ("--workers", str(workers), *flags)
        popen["preexec_fn"] = dies_with_us(popen.get("preexec_fn"))
        with Pagewire(root or self.folder.root, *flags, **popen) as server:
            before = Held(server)
            yield server
            self.assert_back(server, before, workers, slack_mib)

    def assert_back(self, server, before, workers, slack_mib):
        """Waits until sockets, pipes, mappings and memory are what they were, pools excepted."""
        # Not under a sanitizer, whose quarantine keeps what is freed.
        resident_mib = math.inf if SANITIZER else before.resident_mib + slack_mib

        def back():
            now = Held(server)
            back.now = now
            return (now.sockets <= before.sockets
                    and now.pipes <= before.pipes + workers * self.idle_pipe_ends
                    and now.files <= before.files + workers * self.cached_files
                    and now.mappings <= before.mappings
                    and now.resident_mib < resident_mib)
        try:
            wait_until(back, "what the server holds is back at its start")
        except AssertionError as error:
            raise AssertionError(f"before: {before}\nnow: {back.now}\n{back.now.links}") from error
        wait_until(lambda: total(server, "pagewire_connections_open") == 0, "no connection counted")

    def assert_alive(self, server, target, wanted):
        """The server answers a new connection, whole."""
        with RawClient(server.address) as client:
            message = client.get(target)
        self.assertEqual(message.status, 200)
        self.assertIsNone(first_difference(message.body, wanted))

    def open_mid_transfer(self, server, target, size, take, then=b""):
        """A client that has taken `take` body bytes and then stopped, so that the server stands in
        mid-transfer: returns it, with the bytes taken. `then` is sent behind the request."""
        client = RawClient(server.address, receive_buffer=16384)
        self.addCleanup(client.close)
        client.send(request_head(target) + then)
        message = client.read_head()
        self.assertEqual(message.status, 200)
        self.assertEqual(message.get("content-length"), str(size))
        return client, client.read_exactly(take)

    def wait_until_stuck(self, server, path):
        """Until the path's byte count stands still: the sockets are full. Returns the count."""
        return wait_until_it_stands(
            server, lambda: total(server, "pagewire_path_bytes_total", path=path))


def drain(client, got):
    """Reads to the end, whatever kind of end it is. Returns all bytes and "eof" or "reset"."""
    pieces = [got, client.buffer]
    client.buffer = b""
    try:
        while piece := client.socket.recv(MIB):
            pieces.append(piece)
        return b"".join(pieces), "eof"
    except ConnectionResetError:
        return b"".join(pieces), "reset"


class Strace:
    """strace attached to a server with fault injection, until the block ends. It sees only the
    threads' calls from then on. Needs ptrace: the root user, or a parent.

    Whoever is traced (TracerPid) may still run on for a while; strace says "attached" when it has
    told every thread to stop, after which none makes a call that it does not see."""

    def __init__(self, server, *expressions):
        self.server = server
        # Only the calls that are injected into are stopped; the others run at full speed.
        names = ",".join(expression.split(":")[0] for expression in expressions)
        self.command = ["strace", "-f", "--seccomp-bpf", "-e", f"trace={names}"]
        for expression in expressions:
            self.command += ["-e", f"inject={expression}"]
        self.command += ["-o", "/dev/null", "-p", str(server.pid)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True, preexec_fn=dies_with_us())
        said = []
        for line in self.process.stderr:
            said.append(line)
            if re.search(rf"Process {self.server.pid} attached", line):
                return self
        self.__exit__()
        raise AssertionError(f"{self.command}: {''.join(said)}")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def why_no_strace():
    """Why fault injection by strace is not to be had here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    if SANITIZER:
        return "a sanitized program is not traced"
    probe = subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", "inject=getpid:error=EIO",
                            "true"], capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else f"strace cannot trace here: {probe.stderr.strip()}"
