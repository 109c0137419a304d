"""What the kernel says of a server's process tree and its CPU; as src/bench/meter.h, for programs
that are not ours.

Sources: /proc/PID/task/TID/schedstat of every thread of every process below a root (field 1: the
nanoseconds on a CPU, at most one tick late for a thread that runs just now; field 2: how long a
thread was ready and had to wait, which tells that another program had the server's CPU),
/proc/PID/stat (user and system time, sampled at ticks where CONFIG_TICK_CPU_ACCOUNTING is set;
faults), /proc/PID/task/TID/status (context switches), /proc/stat (softirq and steal), and ss(8) for
the TCP_INFO of sockets that are another program's.
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SS_LIMIT_S = 60


@dataclass(frozen=True)
class Sample:
    """One moment; differences of two are a window. Sums over all threads of the tree."""
    at_ns: int
    run_ns: int
    wait_ns: int        # ready to run, but another ran
    user_s: float
    system_s: float
    voluntary: int      # context switches
    involuntary: int
    minor_faults: int
    major_faults: int
    softirq_s: float    # of the server's CPU, whoever was charged for it
    ksoftirqd_ns: int   # of the server's CPU: network work that nobody was charged for
    steal_s: float      # of the machine
    machine_s: float    # all states of all CPUs, what steal is a share of


@dataclass(frozen=True)
class TcpInfo:
    """Of the connections that a server had at one moment, each since it began."""
    connections: int
    retransmits: int          # segments
    busy_ms: int              # there was something to send
    receiver_limited_ms: int
    send_buffer_limited_ms: int


class Meter:
    """Samples one process tree on one CPU."""

    def __init__(self, root_pid: int, cpu: int):
        self.root_pid, self.cpu = root_pid, cpu
        self.ksoftirqd = ksoftirqd_pid(cpu)

    def sample(self) -> Sample:
        sums = dict.fromkeys(("run_ns", "wait_ns", "user_s", "system_s", "voluntary",
                              "involuntary", "minor_faults", "major_faults"), 0)
        for pid in tree_of(self.root_pid):
            for key, value in (of_threads(pid) | of_process(pid)).items():
                sums[key] += value
        ksoftirqd_ns = of_threads(self.ksoftirqd)["run_ns"] if self.ksoftirqd else 0
        return Sample(at_ns=time.monotonic_ns(), ksoftirqd_ns=ksoftirqd_ns, **sums,
                      **of_machine(self.cpu))


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in path.read_text().split()]
    return found


def tree_of(pid: int) -> list[int]:
    pids = [pid]
    for member in pids:  # grows while it is walked
        pids += children_of(member)
    return pids


def of_threads(pid: int) -> dict:
    sums = {"run_ns": 0, "wait_ns": 0, "voluntary": 0, "involuntary": 0}
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            run, wait, _slices = (thread / "schedstat").read_text().split()
            status = (thread / "status").read_text()
        except OSError:  # the thread has ended since the listing
            continue
        sums["run_ns"] += int(run)
        sums["wait_ns"] += int(wait)
        sums["voluntary"] += switches(status, "voluntary")
        sums["involuntary"] += switches(status, "nonvoluntary")
    return sums


def switches(status: str, kind: str) -> int:
    return int(re.search(rf"^{kind}_ctxt_switches:\s*(\d+)$", status, re.MULTILINE)[1])


def of_process(pid: int) -> dict:
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2:].split()  # the name may hold spaces and brackets
    return {"minor_faults": int(fields[7]), "major_faults": int(fields[9]),
            "user_s": int(fields[11]) / TICKS_PER_SECOND,
            "system_s": int(fields[12]) / TICKS_PER_SECOND}


def of_machine(cpu: int) -> dict:
    found = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == "cpu":  # user nice system idle iowait irq softirq steal; guest is in user
            found["steal_s"] = int(ticks[7]) / TICKS_PER_SECOND
            found["machine_s"] = sum(int(tick) for tick in ticks[:8]) / TICKS_PER_SECOND
        elif name == f"cpu{cpu}":
            found["softirq_s"] = int(ticks[6]) / TICKS_PER_SECOND
    return found


def ksoftirqd_pid(cpu: int) -> int | None:
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == f"ksoftirqd/{cpu}":
                return int(path.parent.name)
        except OSError:
            continue
    return None


def tcp_info(port: int) -> TcpInfo | None:
    """Of the connections to a server's port, seen from the server; None without ss(8) or without
    any connection."""
    try:
        done = subprocess.run(["ss", "-tinHO", f"sport = :{port}"], capture_output=True, text=True,
                              check=True, timeout=SS_LIMIT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("ESTAB")]
    return parse_tcp_info(lines) if lines else None


def parse_tcp_info(lines: list[str]) -> TcpInfo:
    """ss leaves out what is 0: a connection without `retrans` has had none."""
    def total(pattern: str) -> int:
        found = (re.search(pattern, line) for line in lines)
        return sum(int(match[1]) for match in found if match)
    return TcpInfo(connections=len(lines), retransmits=total(r"\sretrans:\d+/(\d+)"),
                   busy_ms=total(r"\sbusy:(\d+)ms"),
                   receiver_limited_ms=total(r"\srwnd_limited:(\d+)ms"),
                   send_buffer_limited_ms=total(r"\ssndbuf_limited:(\d+)ms"))


def private_bytes(root_pid: int) -> int:
    """Memory that only these processes have: Private_* of /proc/PID/smaps_rollup."""
    return rollup_bytes(root_pid, ("Private_Clean:", "Private_Dirty:"))


def pss_bytes(root_pid: int) -> int:
    """With their share of what they have together: Pss of /proc/PID/smaps_rollup."""
    return rollup_bytes(root_pid, ("Pss:",))


def rollup_bytes(root_pid: int, names: tuple[str, ...]) -> int:
    total_kib = 0
    for pid in tree_of(root_pid):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(names):
                total_kib += int(line.split()[1])
    return total_kib * 1024


def slab_bytes() -> int:
    """The kernel's, for the whole machine."""
    return int(re.search(r"^Slab:\s+(\d+) kB", Path("/proc/meminfo").read_text(),
                         re.MULTILINE)[1]) * 1024
