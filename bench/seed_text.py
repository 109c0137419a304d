"""The table of the text that pagewire began with, and what of it holds in a report. Pure.

What the text says of its machine: EPYC 7313, kernel 6.5, a file of 4 GiB, one iperf3 stream.
"""

from dataclasses import dataclass

from reporting import find, median

GBIT_BYTES = 125e6
BASE_GHZ, BOOST_GHZ = 3.0, 3.7  # of an EPYC 7313, by its data sheet: it never runs faster
SAME_WITHIN = 1.25


@dataclass(frozen=True)
class Said:
    name: str
    gbit_per_s: float
    cpu_percent: float
    mega_cycles_per_gbit: float

    @property
    def implied_ghz(self) -> float:
        """The clock at which the three figures agree: cycles/Gbit = share x clock / (Gbit/s)."""
        return self.mega_cycles_per_gbit * 1e6 * self.gbit_per_s / (self.cpu_percent / 100) / 1e9


TEXT = (Said("readwrite", 9.4, 92, 310), Said("sendfile", 38.2, 18, 14),
        Said("mmap", 12.1, 78, 258))
RATIOS = (("readwrite", "sendfile"), ("mmap", "sendfile"), ("readwrite", "mmap"))


@dataclass(frozen=True)
class Seen:
    gbit_per_s: float
    cpu_percent: float
    cycles_per_gbit: float


def names_of(said: str) -> tuple[str, ...]:
    """Contenders that stand for one of the text's, the likest first: readwrite is the loop with 64
    KiB where a row has it, else pagewire's copy; iperf3 sends by write, with -Z by sendfile."""
    others = {"readwrite": ("readwrite 64K", "pagewire[copy]", "copy", "iperf3"),
              "sendfile": ("pagewire[sendfile]", "sendfile", "iperf3 -Z")}
    return others.get(said, (f"pagewire[{said}]", said))


def seen_in(row: dict, said: str) -> dict[str, Seen]:
    """By contender; the first is the one that ratios are made with."""
    found = {}
    for name in names_of(said):
        one = find(row, name)
        values = [median(one, metric) for metric in
                  ("throughput_gbit_per_s", "cpu_percent", "cycles_per_gbit")] if one else [None]
        if None not in values:
            found[name] = Seen(*values)
    return found


def first_of(row: dict, said: str) -> Seen | None:
    return next(iter(seen_in(row, said).values()), None)


def beside_the_text(row: dict) -> list[str]:
    """What a reader wants to see side by side; a line for each of the text's."""
    lines = []
    for said in TEXT:
        here = [f"{name} {seen.gbit_per_s:.1f} Gbit/s, {seen.cpu_percent:.0f}%, "
                f"{seen.cycles_per_gbit / 1e6:.0f} M" for name, seen in
                seen_in(row, said.name).items()]
        lines.append(f"{row['title']}: {said.name}: text {said.gbit_per_s} Gbit/s, "
                     f"{said.cpu_percent:.0f}% of a core, {said.mega_cycles_per_gbit:.0f} M cycles "
                     f"per Gbit; here {'; '.join(here) or 'no figure'}")
    return lines


def ratios(row: dict) -> list[str]:
    by_name = {said.name: said for said in TEXT}
    parts = []
    for over, under in RATIOS:
        a, b = first_of(row, over), first_of(row, under)
        if a and b:
            there = by_name[over].mega_cycles_per_gbit / by_name[under].mega_cycles_per_gbit
            parts.append(verdict(f"cycles per Gbit {over} : {under}", there,
                                 a.cycles_per_gbit / b.cycles_per_gbit))
    a, b = first_of(row, "sendfile"), first_of(row, "readwrite")
    if a and b:
        there = by_name["sendfile"].gbit_per_s / by_name["readwrite"].gbit_per_s
        parts.append(verdict("Gbit/s sendfile : readwrite", there, a.gbit_per_s / b.gbit_per_s))
    return [f"{row['title']}: ratios, text and here: {'; '.join(parts)}"] if parts else []


def verdict(what: str, there: float, here: float) -> str:
    same_side = (there > 1) == (here > 1)
    if 1 / SAME_WITHIN <= here / there <= SAME_WITHIN:
        word = "holds"
    elif same_side:
        word = "holds in direction, not in size"
    else:
        word = "does not hold"
    return f"{what} {there:.1f} and {here:.1f}, {word}"


def why(row: dict) -> list[str]:
    """Where the ratio of readwrite to sendfile comes from: what both pay, and what copying adds."""
    readwrite, sendfile = first_of(row, "readwrite"), first_of(row, "sendfile")
    if readwrite is None or sendfile is None:
        return []
    there = (TEXT[0].mega_cycles_per_gbit - TEXT[1].mega_cycles_per_gbit) * 1e6 / GBIT_BYTES
    here = (readwrite.cycles_per_gbit - sendfile.cycles_per_gbit) / GBIT_BYTES
    base_there = TEXT[1].mega_cycles_per_gbit * 1e6 / GBIT_BYTES
    base_here = sendfile.cycles_per_gbit / GBIT_BYTES
    line = (f"{row['title']}: the ratio is (what both pay + what copying adds) / what both pay. "
            f"Cycles a byte: both pay {base_there:.2f} in the text and {base_here:.2f} here, "
            f"copying adds {there:.2f} in the text and {here:.2f} here")
    one = find(row, "sendfile") or find(row, "pagewire[sendfile]")
    softirq = median(one, "cpu_softirq_percent") if one else None
    if softirq is not None:
        line += (f". With sendfile, softirqs had {softirq:.0f}% of the sender's CPU; on loopback "
                 "they hold the receiver's half of TCP, which a sender over a card does not pay")
    return [line]


def arithmetic() -> list[str]:
    """Does the text agree with itself?"""
    clocks = [f"{said.name} {said.implied_ghz:.1f} GHz" for said in TEXT]
    too_fast = [said for said in TEXT if said.implied_ghz > BOOST_GHZ]
    line = ("the text's own arithmetic: its cycles per Gbit follow from its Gbit/s and CPU share "
            f"at a clock of {', '.join(clocks)}")
    for said in too_fast:
        low, high = (said.cpu_percent * ghz * 10 / said.gbit_per_s for ghz in (BASE_GHZ, BOOST_GHZ))
        line += (f"; an EPYC 7313 ends at {BOOST_GHZ} GHz, so the cycles of {said.name} should be "
                 f"{low:.0f} to {high:.0f} M, not {said.mega_cycles_per_gbit:.0f}, or its share is "
                 "not that of one core")
    return [line]
