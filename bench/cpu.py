"""CPU time of a process tree, from the scheduler.

Source: /proc/PID/task/TID/schedstat of every thread of every process below a root. Field 1 is the
nanoseconds on a CPU; it lags behind by at most one tick for a thread that runs just now. Field 2 is
how long a thread was ready and had to wait: it tells that another program had the server's CPU. The
split into user and system is from /proc/PID/stat, which the kernel samples at ticks where
CONFIG_TICK_CPU_ACCOUNTING is set: a proportion, not a measurement in nanoseconds.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CpuSample:
    at_ns: int
    run_ns: int         # of all threads
    wait_ns: int        # ready to run, but another ran
    user_s: float
    system_s: float
    ksoftirqd_ns: int   # of the server's CPU: network work that nobody was charged for


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


def run_and_wait_ns(pid: int) -> tuple[int, int]:
    run_ns, wait_ns = 0, 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            run, wait, _slices = path.read_text().split()
        except OSError:  # the thread has ended since the listing
            continue
        run_ns += int(run)
        wait_ns += int(wait)
    return run_ns, wait_ns


def user_and_system_s(pid: int) -> tuple[float, float]:
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2:].split()  # the name may hold spaces and brackets
    return int(fields[11]) / TICKS_PER_SECOND, int(fields[12]) / TICKS_PER_SECOND


def ksoftirqd_pid(cpu: int) -> int | None:
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == f"ksoftirqd/{cpu}":
                return int(path.parent.name)
        except OSError:
            continue
    return None


def sample(root_pid: int, softirq_pid: int | None) -> CpuSample:
    run_ns, wait_ns, user_s, system_s = 0, 0, 0.0, 0.0
    for pid in tree_of(root_pid):
        run, wait = run_and_wait_ns(pid)
        run_ns += run
        wait_ns += wait
        user, system = user_and_system_s(pid)
        user_s += user
        system_s += system
    softirq_ns = run_and_wait_ns(softirq_pid)[0] if softirq_pid else 0
    return CpuSample(time.monotonic_ns(), run_ns, wait_ns, user_s, system_s, softirq_ns)


def private_bytes(root_pid: int) -> int:
    """Memory that only these processes have: Private_* of /proc/PID/smaps_rollup."""
    total_kib = 0
    for pid in tree_of(root_pid):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total_kib += int(line.split()[1])
    return total_kib * 1024
