"""What goes wrong while `pagewire bench` measures: files that change, processes that are killed,
missing permission, full disks, Ctrl-C. Each gives one clear line, keeps what was measured, and
leaves no process, namespace, port or file behind."""

import contextlib
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
import unittest

from support_faults import (BINARY, SANITIZER, FaultTest, coded_bytes, dies_with_us, report,
                            wait_until)
from support import more_than_sockets_hold
from support.whole_rounds import STARVED, TRIES
from test_disk_errors import mounted, setUpModule, why_no_mount  # noqa: F401  pylint: disable=W0611

MIB = 1 << 20
NOBODY = 65534
# A guard against hanging, not a promise of speed.
GUARD_S = 600 if SANITIZER else 120
TINY = ("--size", "1M", "-t", "0.1", "--warmup", "0.05", "--repeat", "2", "-P", "2")
# So long that whatever is done to it, is done in mid-round.
LONG = ("--size", "8M", "-t", "3", "--warmup", "0.1", "--repeat", "15", "-P", "2",
        "--path", "sendfile,copy", "--no-instrument")
TWO_PATHS = ("--path", "sendfile,copy")
CLIENT, SERVER = "pw-bench-client", "pw-bench-server"


def children(pid):
    """The children of a process: pid -> name."""
    found = {}
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            for child in map(int, file.read().split()):
                with open(f"/proc/{child}/comm", encoding="ascii") as comm:
                    found[child] = comm.read().strip()
    return found


def stat_of(pid):
    """The state of a process, and when it started, which tells it from a later one of its number;
    None when it has ended, also while it waits for its parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (fields[0], fields[19])


def started(pid):
    stat = stat_of(pid)
    return stat and stat[1]


def moved_bytes(pid):
    """Bytes that the process has read from files and written to them; sendfile counts as both,
    copy's send to a socket as neither."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/io", encoding="ascii") as file:
        return sum(map(int, re.findall(r"(?m)^[rw]char: (\d+)", file.read())))
    return 0


def namespaces_of(pid):
    """The network namespaces that a process is in or holds open, each with a name of it."""
    found = {}
    with contextlib.suppress(OSError):
        found[os.readlink(f"/proc/{pid}/ns/net")] = f"/proc/{pid}/ns/net"
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                if link.startswith("net:"):
                    found[link] = f"/proc/{pid}/fd/{fd}"
    return found


def listeners(pid):
    """The listening sockets of a process: inode -> port, as seen from its namespace."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    found = {}
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    found[fields[9]] = int(fields[1].rsplit(":", 1)[1], 16)
    return found


class Traces:
    """What a running bench has in the system, and whether it has gone. Others may come and go
    meanwhile: only what was the bench's own is looked for. Its namespaces are held open here until
    close(), because a number that is free is the next one's."""

    def __init__(self, process, pids):
        self.pids = {pid: started(pid) for pid in pids}
        members = (process.pid, *self.pids)
        names = {link: name for pid in members for link, name in namespaces_of(pid).items()}
        self.namespaces = names.keys() - namespaces_of(os.getpid()).keys()
        self.open = [os.open(names[link], os.O_RDONLY) for link in self.namespaces]
        self.sockets = {}
        for pid in self.pids:
            self.sockets.update(listeners(pid))

    def left(self):
        """A text that names what is still there, or ""."""
        alive = [pid for pid, start in self.pids.items() if start and started(pid) == start]
        others = [int(name) for name in os.listdir("/proc")
                  if name.isdigit() and int(name) != os.getpid()]
        held = [each for pid in others if self.namespaces
                for each in namespaces_of(pid).keys() & self.namespaces]
        with open("/proc/net/tcp", encoding="ascii") as file:
            inodes = {line.split()[9] for line in file.readlines()[1:]}
        ports = [port for inode, port in self.sockets.items() if inode in inodes]
        return "".join(f"{what} {which} " for what, which in (
            ("processes", alive), ("namespaces", held), ("ports", ports)) if which)

    def close(self):
        for fd in self.open:
            os.close(fd)
        self.open.clear()


class BenchFault(FaultTest):
    def setUp(self):
        super().setUp()
        self.cwd = self.folder.root

    def start(self, *arguments, **popen):
        """A bench that runs; it must have ended when the test does."""
        also = popen.pop("preexec_fn", None)
        popen.setdefault("stdout", subprocess.PIPE)
        process = subprocess.Popen(
            [BINARY, "bench", *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, cwd=popen.pop("cwd", self.cwd), preexec_fn=dies_with_us(also), **popen)

        def end():
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self.addCleanup(end)
        return process

    @contextlib.contextmanager
    def in_mid_round(self, process, rounds_before=0):
        """Waits until a round is under way: gives server, client, and their traces.
        `rounds_before` rounds have been seen to begin before it. Within the block the bench itself
        stands still, so that the round does not end before what is to be done to it is done."""
        clients = set()

        def look():
            self.assertIsNone(process.poll(), "it ended before the test's time came")
            by_name = {name: pid for pid, name in children(process.pid).items()}
            if CLIENT not in by_name or SERVER not in by_name:
                return None
            # The comparison of every byte has a server and a client, too, but only for one file.
            if moved_bytes(by_name[SERVER]) < 40 * MIB:
                return None
            clients.add(by_name[CLIENT])
            if len(clients) <= rounds_before:
                return None
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: (stat_of(process.pid) or "T")[0] == "T", "it stands", GUARD_S)
            if all(started(by_name[name]) for name in (CLIENT, SERVER)):
                return by_name
            process.send_signal(signal.SIGCONT)
            return None
        by_name = wait_until(look, "a round is under way", timeout=GUARD_S)
        traces = Traces(process, by_name.values())
        self.addCleanup(traces.close)
        try:
            yield by_name[SERVER], by_name[CLIENT], traces
        finally:
            process.send_signal(signal.SIGCONT)

    def ended(self, process, code):
        """Waits for the end; returns standard output and standard error."""
        out, errors = process.communicate(timeout=GUARD_S)
        self.code = process.returncode
        if code is not None:
            self.assertEqual(self.code, code, f"{out}\n{errors}")
        self.assertNotIn("Sanitizer", errors)
        return out, errors

    def ended_unstarved(self, code, start):
        """ended() of what start() starts; again if one of its rounds was starved."""
        for _ in range(TRIES):
            out, errors = self.ended(start(), None)
            if STARVED not in errors:
                break
        self.assertEqual(self.code, code, f"{out}\n{errors}")
        return out, errors

    def load(self, name="r.json"):
        with open(os.path.join(self.cwd, name), encoding="utf-8") as file:
            return json.load(file)

    def check_partial(self, result, word):
        self.assertTrue(result["partial"])
        self.assertIn(word, result["partial_reason"])

    def check_gone(self, traces):
        try:
            wait_until(lambda: not traces.left(), "nothing is left", timeout=GUARD_S)
        except AssertionError as error:
            raise AssertionError(traces.left()) from error
        traces.close()


class Interrupted(BenchFault):
    def stopped_by(self, number, code, *flags, own_namespaces=0):
        process = self.start("run", *LONG, *flags, "--json", "r.json", "--html", "r.html")
        # Two rounds are over, so that there is something to keep.
        with self.in_mid_round(process, rounds_before=2) as (_, _, traces):
            self.assertEqual(len(traces.sockets), 1)
            self.assertEqual(len(traces.namespaces), own_namespaces)
            start = time.monotonic()
            process.send_signal(number)
        out, errors = self.ended(process, code)
        report(f"ended {time.monotonic() - start:.2f} s after the signal")
        self.check_gone(traces)
        result = self.load()
        self.check_partial(result, "interrupted")
        whole = [each for contender in result["rows"][0]["contenders"]
                 for each in contender["rounds"]]
        self.assertGreaterEqual(len(whole), 2)
        self.assertIn("PARTIAL", out)
        self.assertEqual(errors.count("\n"), 1, errors)
        self.assertEqual(sorted(os.listdir(self.cwd)), ["r.html", "r.json"])

    def test_ctrl_c_in_mid_round(self):
        self.stopped_by(signal.SIGINT, 130)

    def test_sigterm_in_mid_round(self):
        self.stopped_by(signal.SIGTERM, 143)

    @unittest.skipIf(os.geteuid() != 0, "network namespaces need the root user")
    def test_ctrl_c_between_two_namespaces(self):
        self.stopped_by(signal.SIGINT, 130, "--net", "veth", own_namespaces=2)

    @unittest.skipIf(os.geteuid() != 0, "network namespaces need the root user")
    def test_the_end_between_two_namespaces(self):
        process = self.start("run", *LONG, "-t", "5", "--repeat", "1", "--net", "veth")
        with self.in_mid_round(process) as (_, _, traces):
            self.assertEqual(len(traces.namespaces), 2)
        self.ended(process, 0)
        self.check_gone(traces)

    def test_ctrl_c_of_a_terminal_goes_to_every_process(self):
        """The children are in the same process group and get it, too."""
        process = self.start("run", *LONG, "--json", "r.json", start_new_session=True)
        with self.in_mid_round(process, rounds_before=1) as (_, _, traces):
            os.killpg(process.pid, signal.SIGINT)
        self.ended(process, 130)
        self.check_partial(self.load(), "interrupted")
        self.check_gone(traces)

    def test_ctrl_c_before_the_first_round(self):
        process = self.start("run", "--size", "2G", "--json", "r.json")
        wait_until(lambda: moved_bytes(process.pid) > 16 * MIB, "it writes the file",
                   timeout=GUARD_S)
        process.send_signal(signal.SIGINT)
        _, errors = self.ended(process, 130)
        self.assertRegex(errors, "stopped while a file|nothing was measured, no report is written")
        self.assertEqual(os.listdir(self.cwd), [])

    def test_ctrl_c_in_a_sweep_saves_no_calibration(self):
        process = self.start("sweep", "--sizes", "64K,1M", "-t", "2", "--path", "sendfile,copy",
                             "--save", "c.json", "--json", "r.json")
        with self.in_mid_round(process):
            process.send_signal(signal.SIGINT)
        _, errors = self.ended(process, 130)
        self.assertNotIn("c.json", os.listdir(self.cwd))
        if "r.json" in os.listdir(self.cwd):
            self.check_partial(self.load(), "interrupted")
            self.assertIn("c.json is not written", errors)

    def test_a_second_one_ends_it_at_once(self):
        """Here it waits for a standard output that nobody reads, with the report half written."""
        process = self.start("run", *TINY, *TWO_PATHS, "--json", "-", pipesize=4096)
        size = fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ)
        wait_until(lambda: self.waiting_bytes(process) == size, "the pipe is full", timeout=GUARD_S)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(GUARD_S), 130)

    @staticmethod
    def waiting_bytes(process):
        count = fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4))
        return int.from_bytes(count, sys.byteorder)

    def test_sigkill_leaves_no_process(self):
        for flags in ((), ("--net", "veth")) if os.geteuid() == 0 else ((),):
            process = self.start("run", *LONG, *flags)
            with self.in_mid_round(process) as (_, _, traces):
                process.kill()
                process.wait()
            self.check_gone(traces)
            self.assertEqual(os.listdir(self.cwd), [])


class SourceChanges(BenchFault):
    def test_the_file_shrinks(self):
        for mode in ("stream", "request"):
            with self.subTest(mode):
                name = self.folder.write("big.bin", coded_bytes(0, 8 * MIB))
                process = self.start("run", "--file", name, *LONG[2:], "--mode", mode, "--json",
                                     "r.json")
                with self.in_mid_round(process, rounds_before=1) as (_, _, traces):
                    os.truncate(name, 1000)
                out, errors = self.ended(process, 1)
                self.assertRegex(errors, r"\A[^\n]*the file shrank[^\n]*\n\Z")
                result = self.load()
                self.check_partial(result, "file")
                figures = [each["figures"] for each in result["rows"][0]["contenders"][0]["rounds"]
                           if not each["failed"]]
                self.assertGreaterEqual(len(figures), 1, "the round before is kept")
                self.assertIn("PARTIAL", out)
                self.check_gone(traces)


class ProcessesDie(BenchFault):
    def test_one_of_the_two_is_killed(self):
        """Its round has failed, with the reason; those before are kept, nothing is left."""
        for which, word in ((0, "server"), (1, "client")):
            with self.subTest(word):
                process = self.start("run", *LONG, "-t", "5", "--repeat", "1", "--json", "r.json")
                with self.in_mid_round(process, rounds_before=1) as (*pair, traces):
                    os.kill(pair[which], signal.SIGKILL)
                out, errors = self.ended(process, 1)
                self.assertIn(word, errors)
                result = self.load()
                failed = [each["failed"] for contender in result["rows"][0]["contenders"]
                          for each in contender["rounds"] if each["failed"]]
                self.assertEqual(len(failed), 1, out)
                self.assertIn(word, failed[0])
                self.check_gone(traces)


class Permission(BenchFault):
    def setUp(self):
        super().setUp()
        # Where nobody can read the binary and write the file.
        self.binary = shutil.copy(BINARY, self.folder.outside("pagewire"))
        os.chmod(self.cwd, 0o777)

    def as_nobody(self, *arguments):
        command = [self.binary, "bench", *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
                       *command]
        for _ in range(TRIES):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=GUARD_S, cwd=self.cwd, check=False)
            if STARVED not in done.stderr:
                break
        self.assertNotIn("Sanitizer", done.stderr)
        return done

    def test_no_permission_for_namespaces(self):
        done = self.as_nobody("run", *TINY, "--net", "veth")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\A[^\n]*--net veth[^\n]*Operation not permitted[^\n]*\n\Z")
        self.assertEqual(os.listdir(self.cwd), [])

    def test_no_permission_for_perf(self):
        done = self.as_nobody("run", *TINY, "--path", "sendfile,copy", "--json", "r.json")
        self.assertEqual(done.returncode, 0, done.stderr)
        for contender in self.load()["rows"][0]["contenders"]:
            summary = contender["summary"]
            self.assertIsNotNone(summary["throughput_gbit_per_s"]["median"])
            self.assertIsNotNone(summary["cpu_ms_per_gbit"]["median"])
            for name in ("syscalls_per_s", "copy_share_percent", "llc_misses_per_gbit"):
                self.assertIsNone(summary[name]["median"], name)
                self.assertTrue(summary[name]["reason"], name)
        self.assertIn("what is missing", done.stdout)


class DiskFull(BenchFault):
    def full(self, start, why):
        """Two small reports are written, the large ones are one line each, the table is printed."""
        out, errors = self.ended_unstarved(1, start)
        self.assertRegex(out, r"(?m)^copy ")
        lines = [line for line in errors.splitlines() if "it sends only" not in line]  # tee
        self.assertTrue(lines, out)
        for line in lines:
            self.assertRegex(line, rf"r\.(json|html|csv): .*{why}")
        return [re.search(r"r\.\w+", line)[0] for line in lines]

    def test_a_limit_on_the_size_of_files(self):
        name = self.folder.write("data.bin", coded_bytes(0, MIB))

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024, 16 * 1024))
        with open(os.path.join(self.cwd, "r.json"), "w", encoding="ascii") as file:
            file.write("as it was")

        def start():
            return self.start("run", "--file", name, *TINY[2:], "--path", "sendfile,copy", "--json",
                              "r.json", "--html", "r.html", "--md", "r.md", preexec_fn=limit)
        self.assertEqual(self.full(start, "File too large"), ["r.json", "r.html"])
        self.assertEqual(sorted(os.listdir(self.cwd)), ["data.bin", "r.json", "r.md"])
        with open(os.path.join(self.cwd, "r.json"), encoding="ascii") as file:
            self.assertEqual(file.read(), "as it was")

    @unittest.skipIf(why_no_mount(), why_no_mount())
    def test_a_full_disk(self):
        disk = self.folder.outside("disk")
        os.mkdir(disk)
        with mounted("tmpfs", "pagewire-test", disk, "size=16k"):
            failed = self.full(lambda: self.start(
                "run", *TINY, *TWO_PATHS, "--json", f"{disk}/r.json", "--html", f"{disk}/r.html",
                "--md", f"{disk}/r.md"), "No space left on device")
            self.assertIn("r.html", failed)
            self.assertNotIn("r.html", os.listdir(disk))
            self.assertIn("r.md", os.listdir(disk))
            self.assertEqual([name for name in os.listdir(disk) if "part" in name], [])
            # And one for the file that is sent.
            process = self.start("run", *TINY, "--folder", disk)
            out, errors = self.ended(process, 1)
            self.assertEqual(out, "")
            self.assertRegex(errors, r"\A[^\n]*No space left on device[^\n]*\n\Z")


class SinkGoesAway(BenchFault):
    def test_the_next_client_is_served(self):
        data = coded_bytes(0, more_than_sockets_hold())
        self.folder.write("big.bin", data)
        process = self.start("send", "big.bin", "--listen", "127.0.0.1:0")
        port = int(re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.assertRegex(process.stderr.readline(), r"pagewire bench send: .*127\.0\.0\.1:\d+")
        with socket.create_connection(("127.0.0.1", port)) as client:
            got = b""
            while piece := client.recv(MIB):
                got += piece
        self.assertEqual(got, data)
        process.send_signal(signal.SIGTERM)
        self.ended(process, 0)


if __name__ == "__main__":
    unittest.main()
