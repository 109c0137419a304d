"""One row of a comparison: start its contestants, check what they send, measure them in turns.

Contestants are interleaved and their order is rotated from round to round, because one run of a few
seconds varies by 30% with large files (how sender, ACKs and wake-ups interleave) and because the
machine drifts; what is compared are medians.
"""

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import reporting

WENT_WRONG = (RuntimeError, OSError, subprocess.SubprocessError)


@dataclass(frozen=True)
class Row:
    name: str
    size: int
    connections: int
    mode: str = "request"

    @property
    def title(self) -> str:
        return f"{size_text(self.size)} x {self.connections}"


@dataclass(frozen=True)
class Plan:
    """How to measure; the same for all rows."""
    build: Path
    folder: Path
    rounds: int
    seconds: float
    warm_up_s: float
    server_cpu: int
    client_cpu: int
    tsc_mhz: float | None

    @property
    def pagewire(self) -> Path:
        return self.build / "pagewire"

    def file_of(self, row: Row) -> Path:
        return self.folder / "root" / f"{row.name}.bin"

    def on_client_cpu(self, *command: object) -> list[str]:
        """Ended by the kernel when we die (prctl(2), PR_SET_PDEATHSIG)."""
        return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(self.client_cpu),
                *map(str, command)]


class Contestant(Protocol):
    """What goes wrong is raised, as one of WENT_WRONG, with the reason as its text."""
    name: str

    def start(self, stack: ExitStack) -> None:
        """Runs until the stack is unwound."""

    def verify(self) -> int:
        """Compares every byte of what it sends; how many. Also warms it."""

    def run_once(self) -> tuple[float, dict]:
        """Seconds of the window, and every figure."""


def size_text(size: int) -> str:
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift:
            return f"{size / (1 << shift):g} {unit}"
    return f"{size} B"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure_row(row: Row, title: str, contestants: list[Contestant], rounds: int) -> dict:
    """Contenders stand in the order in which they were given; the baseline is not chosen yet."""
    say(f"{title}:")
    missing: dict[str, str] = {}
    verified: dict[str, int] = {}
    done: dict[str, list[dict]] = {one.name: [] for one in contestants}
    number = 0
    with ExitStack() as stack:
        running = [one for one in contestants if started(one, stack, verified, missing)]
        for turn in range(rounds):
            first = turn % len(running) if running else 0
            for one in running[first:] + running[:first]:
                number += 1
                done[one.name].append(measure_once(one, number))
                say(f"  round {turn + 1}/{rounds} {one.name}: {cost_text(done[one.name][-1])}")
    contenders = [reporting.contender(one.name, done[one.name], verified.get(one.name, 0),
                                      missing.get(one.name)) for one in contestants]
    return reporting.row(title, row.size, row.connections, row.mode, None, contenders)


def started(one: Contestant, stack: ExitStack, verified: dict[str, int],
            missing: dict[str, str]) -> bool:
    try:
        one.start(stack)
        verified[one.name] = one.verify()
    except WENT_WRONG as error:
        missing[one.name] = str(error) or type(error).__name__
        say(f"  {one.name}: left out: {missing[one.name]}")
        return False
    return True


def measure_once(one: Contestant, number: int) -> dict:
    try:
        seconds, figures = one.run_once()
    except WENT_WRONG as error:
        return reporting.failed_round(number, str(error) or type(error).__name__)
    return reporting.good_round(number, seconds, figures)


def cost_text(done: dict) -> str:
    if done["failed"]:
        return done["failed"]
    cost, rate, each, count = (done["figures"][name]["value"] for name in (
        "cpu_ms_per_gbit", "throughput_gbit_per_s", "cpu_us_per_request", "requests_per_s"))
    if cost is None:
        return f"{each:.1f} us of CPU each, {count:,.0f} a second"
    return f"{cost:.2f} ms of CPU per Gbit, {rate:.2f} Gbit/s"
