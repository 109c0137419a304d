"""The figures of `pagewire bench` beside those of tools that are not ours: strace, GNU time, iperf3
and ss. What is compared is accounting (do both count the same thing?), never speed: a slow or busy
machine changes both sides."""

import json
import mmap
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from support import BINARY, SANITIZER, TestFolder, coded_bytes, first_difference, two_sockets_hold
from support.whole_rounds import STARVED, TRIES, received_in_every_round

PATHS = ("sendfile", "splice", "vmsplice", "zerocopy", "mmap", "copy")
SIZE = 8 << 20
LIMIT_S = 60
STREAMS = 4
BUFFERS = two_sockets_hold()  # of one connection, both ends
LISTENS = re.compile(r"on 127\.0\.0\.1:(\d+)")
RESULT = re.compile(r"([\d.]+) MB in ([\d.]+) s, ([\d.]+) MB/s")


def why_no(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def why_no_strace():
    if SANITIZER:
        return "a sanitized program cannot be traced (LeakSanitizer uses ptrace)"
    return why_no("strace")


def bench_run(*flags, prefix=(), cwd=None, start=None):
    """The report of `pagewire bench run`. `start(process)` is called while it runs. Of a run in
    which no round was starved and something was received in each, if it can be had."""
    for _ in range(TRIES):
        code, output, report = bench_once(*flags, prefix=prefix, cwd=cwd, start=start)
        if code == 0 and received_in_every_round(report):
            return report
        if code != 0 and STARVED not in output:
            break
    raise AssertionError(f"bench run {' '.join(flags)} ended with {code}:\n{output}")


def bench_once(*flags, prefix, cwd, start):
    with tempfile.TemporaryDirectory() as folder:
        into = os.path.join(folder, "run.json")
        process = subprocess.Popen([*prefix, BINARY, "bench", "run", *flags, "--json", into],
                                   cwd=cwd or folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            if start is not None:
                start(process)
            output, _ = process.communicate(timeout=LIMIT_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            return process.returncode, output, None
        with open(into, encoding="utf-8") as file:
            return 0, output, json.load(file)


def figures(report, instrumented=False):
    """Metric -> value, of the one path's last round of that kind."""
    [contender] = report["rows"][0]["contenders"]
    [*_, done] = [one for one in contender["rounds"] if one["instrumented"] == instrumented]
    return {name: one["value"] for name, one in done["figures"].items()} | {
        "seconds": done["seconds"]}


class Sender:
    """`pagewire bench send`, listening. Use as a context manager; ended by SIGTERM or --count."""

    def __init__(self, file, *flags, prefix=()):
        self.lines = []
        self.process = subprocess.Popen(
            [*prefix, BINARY, "bench", "send", file, "--listen", "127.0.0.1:0", *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.port = int(self.line_with(LISTENS)[1])

    def line_with(self, pattern):
        """The match of the next line that has one; fails at the program's end."""
        watchdog = threading.Timer(LIMIT_S, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stdout:
                self.lines.append(line)
                match = pattern.search(line)
                if match:
                    return match
        finally:
            watchdog.cancel()
        raise AssertionError(f"bench send ended without {pattern.pattern}:\n{''.join(self.lines)}")

    def wait(self):
        """Its own end, after --count."""
        output, _ = self.process.communicate(timeout=LIMIT_S)
        if self.process.returncode != 0:
            raise AssertionError(f"ended with {self.process.returncode}:\n{''.join(self.lines)}"
                                 f"{output}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def receive(port):
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as stream:
        while part := stream.recv(1 << 18):
            got += part
    return bytes(got)


class Trace:
    """A log of strace -yy, call by call."""

    CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")

    def __init__(self, path):
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        self.calls = [(match[1], match[2].split(", "), int(match[3]))
                      for match in map(self.CALL.match, lines) if match]

    @staticmethod
    def target(name, arguments):
        """The descriptor, with its name, that the call writes to."""
        return arguments[2] if name == "splice" else arguments[0]

    def sent(self):
        """Name of each call -> bytes that it gave to a TCP socket."""
        sums = {}
        for name, arguments, result in self.calls:
            if name not in ("read", "pread64", "preadv2", "recvfrom") and result > 0 \
                    and "<TCP" in self.target(name, arguments):
                sums[name] = sums.get(name, 0) + result
        return sums

    def reads_of(self, file):
        """Where the program read more than a byte, and how much. A byte is a look at what is in
        memory: how many of those there are hangs on what was evicted. read(2), which has no offset,
        counts as one from the beginning."""
        offset = {"read": lambda _: 0, "pread64": lambda arguments: int(arguments[-1]),
                  "preadv2": lambda arguments: int(arguments[-2])}
        return [(offset[name](arguments), result) for name, arguments, result in self.calls
                if name in offset and file in arguments[0] and result > 1]

    def read_from(self, file):
        return sum(count for _, count in self.reads_of(file))


class BytesTest(unittest.TestCase):
    """Bytes and copies of each path, by strace's account of return values."""

    SENT_BY = {"sendfile": {"sendfile"}, "splice": {"splice"}, "vmsplice": {"splice", "sendto"},
               "zerocopy": {"sendto", "sendmsg"}, "mmap": {"sendto", "sendmsg"},
               "copy": {"sendto", "sendmsg"}}
    # Where the program itself reads the file from, if it does. mmap, zerocopy and vmsplice read the
    # last page, so that they see a file that has become shorter, and again what the socket did not
    # take of it; copy reads all of it.
    LAST_PAGE = SIZE - mmap.PAGESIZE
    READS_FROM = {"sendfile": None, "splice": None, "vmsplice": LAST_PAGE, "zerocopy": LAST_PAGE,
                  "mmap": LAST_PAGE, "copy": 0}

    @classmethod
    def setUpClass(cls):
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        cls.file = cls.folder.coded("big.bin", SIZE)

    def trace(self, path):
        log = self.folder.outside(f"{path}.strace")
        calls = "sendfile,splice,read,pread64,preadv2,write,writev,sendto,sendmsg"
        with Sender(self.file, "--path", path, "--count", "1", prefix=(
                "strace", "-f", "-yy", "-o", log, "-e", f"trace={calls}")) as sender:
            body = receive(sender.port)
            sender.wait()
        self.assertIsNone(first_difference(body, coded_bytes(0, SIZE)))
        return Trace(log)

    @unittest.skipIf(why_no_strace(), why_no_strace())
    def test_strace_sees_the_bytes_where_each_path_says_they_go(self):
        for path in PATHS:
            with self.subTest(path=path):
                trace = self.trace(path)
                sent = trace.sent()
                self.assertEqual(sum(sent.values()), SIZE, sent)
                self.assertLessEqual(set(sent), self.SENT_BY[path])
                reads = [offset for offset, _ in trace.reads_of(self.file)]
                self.assertEqual(min(reads, default=None), self.READS_FROM[path])
                if path == "copy":
                    self.assertGreaterEqual(trace.read_from(self.file), SIZE)
                    self.assertLessEqual(trace.read_from(self.file), 16 * SIZE)

    @unittest.skipIf(why_no_strace(), why_no_strace())
    def test_copies_per_byte_are_those_that_strace_sees(self):
        """Bytes that calls moved through user memory, over bytes sent. Copy reads again what the
        socket did not take, so it has a range."""
        for path in PATHS:
            with self.subTest(path=path):
                trace = self.trace(path)
                through_memory = trace.read_from(self.file) + sum(
                    count for name, count in trace.sent().items() if name.startswith("send")
                    and name != "sendfile")
                seen = through_memory / SIZE
                report = bench_run("--file", self.file, "--path", path, "-t", "0.3", "--warmup",
                                   "0.1", "--repeat", "1", "--no-instrument")
                ours = figures(report)["copies_per_byte"]
                if path == "copy":
                    self.assertGreaterEqual(seen, 2)
                    self.assertGreaterEqual(ours, 1.99)
                else:
                    self.assertAlmostEqual(ours, seen, delta=0.05)


class CpuTest(unittest.TestCase):
    """CPU time, by GNU time (wait4(2)) around all that bench runs."""

    ATTEMPTS = 3  # what another program does to our caches is in one of them, not in all
    WITHIN = 0.25
    BUSY_PERCENT = 10  # of the time; then both sides also pay for others
    FLAGS = ("--path", "copy", "--warmup", "0", "--repeat", "1", "--no-instrument", "-P", "4")

    def time_of(self, seconds):
        """User and system seconds of bench run and all its processes, and its report."""
        with tempfile.NamedTemporaryFile("r") as said:
            report = bench_run("--file", self.file, "-t", seconds, *self.FLAGS, prefix=(
                "/usr/bin/time", "-f", "%U %S", "-o", said.name))
            user, system = said.read().split()[-2:]
        return float(user) + float(system), report

    @unittest.skipUnless(os.path.exists("/usr/bin/time"), "not installed: /usr/bin/time")
    def test_time_sees_the_cpu_of_server_and_client(self):
        folder = TestFolder()
        self.addCleanup(folder.close)
        self.file = folder.coded("big.bin", SIZE)
        said, waited = [], 0
        for _ in range(self.ATTEMPTS):
            around, short = self.time_of("0.05")  # starting, checking every byte, describing
            total, long = self.time_of("4")
            ours = self.ours(long) - self.ours(short)
            said.append(f"time: {total:.2f} s - {around:.2f} s, bench: {ours:.2f} s")
            if ours > 0.2 and abs((total - around) / ours - 1) <= self.WITHIN:
                return
            waited = max(waited, figures(long)["server_wait_percent"] or 0)
        if waited > self.BUSY_PERCENT:
            self.skipTest(f"the server waited for its CPU for {waited:.0f}% of the time: {said}")
        self.fail("; ".join(said))

    @staticmethod
    def ours(report):
        """CPU seconds of server and client, as the report has them."""
        found = figures(report)
        return (found["cpu_percent"] + found["client_cpu_percent"]) / 100 * found["seconds"]


class Iperf3Test(unittest.TestCase):
    """The bytes and the rate of one test, as iperf3's client and as bench send tell them."""

    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)
        self.file = self.folder.coded("big.bin", SIZE)

    def run_client(self, port, *flags):
        done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-R", "-J", *flags],
                              capture_output=True, text=True, timeout=LIMIT_S, check=False)
        said = json.loads(done.stdout)
        self.assertNotIn("error", said)
        return said["end"]

    @unittest.skipIf(why_no("iperf3"), why_no("iperf3"))
    def test_iperf3_sees_the_bytes_and_the_rate_that_we_say(self):
        for path in ("sendfile", "copy"):
            with self.subTest(path=path), Sender(self.file, "--iperf3", "--path", path) as sender:
                end = self.run_client(sender.port, "-P", str(STREAMS), "-t", "3")
                megabytes, seconds, rate = map(float, sender.line_with(RESULT).groups())
                received, sent = end["sum_received"], end["sum_sent"]
                # What stood in socket buffers when the test ended was sent and not received.
                self.assertLessEqual(received["bytes"], sent["bytes"])
                self.assertAlmostEqual(sent["bytes"] / 1e6, megabytes, delta=0.06)
                self.assertGreater(received["bytes"], 0)
                self.assertLessEqual(sent["bytes"] - received["bytes"], STREAMS * BUFFERS)
                # What iperf3 makes of its own bytes and of the test's seconds.
                theirs = sent["bits_per_second"] / 8e6
                self.assertAlmostEqual(theirs / rate, 1, delta=0.05,
                                       msg=f"iperf3 {theirs:.1f} MB/s, bench send {rate} MB/s")


class SyscallTest(unittest.TestCase):
    """Calls per byte, by strace around the same run. At an offered rate far below what can be done,
    so that being traced changes nothing but the time that a call takes."""

    # A call that another process of the trace interrupted is on two lines; the second has its end.
    CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>).* = (-?\d+)")

    def calls_of_last_server(self, log):
        """Name and result of each call of the process that sent last: the instrumented round's."""
        by_process, last = {}, None
        with open(log, encoding="utf-8", errors="replace") as file:
            for pid, name, result in (match.groups() for match in map(self.CALL.match, file)
                                      if match):
                by_process.setdefault(pid, []).append((name, int(result)))
                last = pid if name == "sendfile" else last
        self.assertIsNotNone(last, "nobody called sendfile")
        return by_process[last]

    @unittest.skipIf(why_no_strace(), why_no_strace())
    def test_strace_sees_the_bytes_per_call_that_the_tracepoint_counts(self):
        folder = TestFolder()
        self.addCleanup(folder.close)
        file, log = folder.coded("big.bin", SIZE), folder.outside("strace")
        report = bench_run("--file", file, "--path", "sendfile", "-P", "2", "-t", "2", "--warmup",
                           "0.2", "--repeat", "1", "--rate", "0.2",
                           prefix=("strace", "-f", "-o", log))
        ours = figures(report, instrumented=True)["bytes_per_syscall"]
        if ours is None:
            [contender] = report["rows"][0]["contenders"]
            self.skipTest(contender["summary"]["bytes_per_syscall"]["reason"])
        calls = self.calls_of_last_server(log)
        sends = [number for number, (name, _) in enumerate(calls) if name == "sendfile"]
        window = calls[sends[0]:sends[-1]]
        sent = sum(max(0, result) for name, result in window if name == "sendfile")
        self.assertAlmostEqual(sent / len(window) / ours, 1, delta=0.15,
                               msg=f"strace {sent / len(window):.0f} B a call, bench {ours:.0f}")


def network_namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:  # it has ended
        return None


def descendants(pid):
    found = [pid]
    for member in found:
        try:
            with open(f"/proc/{member}/task/{member}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
        except OSError:
            pass
    return found[1:]


def of_process(pid):
    """Whose network namespace, for inside()."""
    return "-t", str(pid), "-n"


def inside(where, *command):
    done = subprocess.run(["nsenter", *where, *command], capture_output=True, text=True,
                          timeout=LIMIT_S, check=False)
    return done.stdout


def why_no_lossy_network():
    if os.geteuid() != 0:
        return "namespaces and tc need root"
    return why_no("nsenter", "ss", "nstat", "tc", "ip")


class RetransmitTest(unittest.TestCase):
    """TCP's retransmits, by ss in the server's namespace. A token bucket with a short queue loses
    packets, so that the figure is not simply 0."""

    SECONDS, WARM_UP = 3, 1
    MOST_BLIND_S = 0.2  # between two looks, else the bounds are too far apart

    def watch(self, process):
        """Spoils the server's link, then notes the retransmits of each of its connections."""
        # Connection -> [(asked, told, retransmits so far)]; the first one is from before it.
        self.seen = {}
        self.spoilt, space = False, None
        deadline, before = time.monotonic() + LIMIT_S, time.monotonic()
        while process.poll() is None and time.monotonic() < deadline:
            asked = time.monotonic()
            for pid in descendants(process.pid):
                if network_namespace(pid) == network_namespace(os.getpid()):
                    continue
                listening = inside(of_process(pid), "ss", "-tlnH").split()
                if len(listening) < 4:
                    continue  # the client's side, or it has ended
                self.spoilt = self.spoilt or self.spoil(pid)
                space = space or self.keep_namespace(pid)
                if space:
                    self.note(space, f"sport = :{listening[3].split(':')[-1]}", before)
                break
            before = asked
            time.sleep(0.03)
        self.note_rest(space)

    def spoil(self, pid):
        """False when the process has ended meanwhile: the next one is in the same namespace."""
        where = of_process(pid)
        links = inside(where, "ip", "-o", "link", "show", "type", "veth")
        for link in re.findall(r"^\d+: ([^:@]+)", links, re.MULTILINE):
            inside(where, "tc", "qdisc", "add", "dev", link, "root", "tbf", "rate", "200mbit",
                   "burst", "32kb", "limit", "64kb")
            return "tbf" in inside(where, "tc", "qdisc", "show", "dev", link)
        return False

    def keep_namespace(self, pid):
        """It, beyond the end of its processes; None when there is none any more."""
        try:
            kept = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        except OSError:
            return None
        self.addCleanup(os.close, kept)
        return f"--net=/proc/{os.getpid()}/fd/{kept}"

    @staticmethod
    def of_all(space):
        """Retransmits of all connections that there were in the namespace."""
        return int(inside((space,), "nstat", "-asz", "TcpRetransSegs").split()[-2])

    def note(self, space, which, before):
        asked, of_all = time.monotonic(), self.of_all(space)
        for line in inside((space,), "ss", "-tinHO", which).splitlines():
            state, _, _, local, peer, *_ = line.split()
            if state == "ESTAB":
                total = re.search(r"\sretrans:\d+/(\d+)", line)
                self.seen.setdefault((local, peer), [(before, before, 0)]).append(
                    (asked, time.monotonic(), int(total[1]) if total else 0))
                self.of_all_before = of_all

    def note_rest(self, space):
        """What came behind the last look at a connection, which ss shows no more."""
        if self.seen:
            asked, rest = time.monotonic(), self.of_all(space) - self.of_all_before
            series = self.longest_series()
            series.append((asked, time.monotonic(), series[-1][2] + rest))

    def longest_series(self):
        return max(self.seen.values(), key=lambda one: one[-1][0] - one[0][0])

    def watched(self):
        """Whether there was no long time without a look, from before the connection to its end."""
        series = self.longest_series() if self.seen else []
        blind = [after[1] - before[0] for before, after in zip(series, series[1:])]
        return bool(blind) and max(blind) <= self.MOST_BLIND_S

    def bounds(self, seconds):
        """The least and the most that any window of that length has, after the warm-up: from the
        looks around its two ends, of which each saw what was between asking and being told."""
        series = self.longest_series()
        first, last = series[0][0] + self.WARM_UP, series[-1][0] - seconds  # it opens between
        least, most = [], []
        for (asked, told, total), (next_asked, next_told, next_total) in zip(series, series[1:]):
            if next_asked >= first and asked <= last:  # opens between the two times of asking
                ends = [one for _, end, one in series if end <= asked + seconds]
                least.append(ends[-1] - next_total if ends else 0)
            if next_told >= first and told <= last:  # opens between the two times of being told
                ends = [one for end, _, one in series if end >= next_told + seconds]
                most.append((ends or [series[-1][2]])[0] - total)
        return min(least), max(most)

    @unittest.skipIf(why_no_lossy_network(), why_no_lossy_network())
    def test_ss_sees_the_retransmits_that_we_report(self):
        folder = TestFolder()
        self.addCleanup(folder.close)
        file = folder.coded("big.bin", SIZE)
        for _ in range(TRIES):  # we may be too late for a run, or be stopped in the middle of it
            report = bench_run("--file", file, "--path", "sendfile", "--net", "veth", "-P", "1",
                               "-t", str(self.SECONDS), "--warmup", str(self.WARM_UP), "--repeat",
                               "1", "--no-instrument", start=self.watch)
            if self.spoilt and self.watched():
                break
        if not self.watched():
            self.skipTest("the machine is too busy: ss was kept waiting in every run")
        self.assertTrue(self.spoilt, "the link was never made to lose packets")
        ours = figures(report)["retransmits"]
        least, most = self.bounds(figures(report)["seconds"])  # a busy machine makes it longer
        self.assertGreater(ours, 0, "a lossy link without a retransmit")
        self.assertGreaterEqual(ours, least)
        self.assertLessEqual(ours, most)


if __name__ == "__main__":
    unittest.main()
