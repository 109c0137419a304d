#!/usr/bin/env python3
"""Measure here what the text that pagewire began with says: readwrite, sendfile, mmap, splice."""

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import command
import corpus
import reporting
import seed_text
import verdicts
from figures import TCP_REMARK
from measure import Plan, Row, measure_row, say, size_text
from peers import size
from raw_contestant import (RawContestant, iperf3_client, iperf3_server, pagewire_sender,
                            pagewire_sink, readwrite_loop)

PATHS = ["copy", "sendfile", "mmap", "splice"]
BUFFER_BYTES = 64 << 10
MEMORY_FOLDER = Path("/dev/shm")
SPARE_BYTES = 1 << 30
RUN_LIMIT_S = 3600
REMARKS = [
    "readwrite 64K is a plain loop of read and write with a buffer of 64 KiB (bench/floor), "
    "measured after the paths' rounds by pagewire's sink over its whole life; copy is pagewire's "
    "own path, which reads up to 256 KiB at once.",
    TCP_REMARK,
    "Loopback: the sender's CPU holds the receiver's softirqs; the text does not say what was "
    "between its two ends, nor how fast its clock was.",
    "18% of a core at 38.2 Gbit/s says that the text's sender waited for something else, a card "
    "or its client, while its readwrite was short of CPU: the two bills are not at equal load. "
    "Here every sender has a core to fill.",
]


def parse_arguments() -> argparse.Namespace:
    parser = command.parser_for("seed", __doc__)
    add = parser.add_argument
    add("--size", type=size, default=4 << 30, metavar="N", help="of the file (4G)")
    add("--streams", type=lambda text: [command.at_least_one(one) for one in text.split(",")],
        default=[1, 8], metavar="LIST", help="streams at once (1,8)")
    parser.set_defaults(rounds=3)
    return command.parse(parser)


def why_no_memory_folder(size_bytes: int) -> str | None:
    """A file in tmpfs is memory that is given back at the end."""
    try:
        free = shutil.disk_usage(MEMORY_FOLDER).free
    except OSError as error:
        return f"{MEMORY_FOLDER}: {error.strerror}"
    available = next(int(line.split()[1]) << 10 for line in open("/proc/meminfo")
                     if line.startswith("MemAvailable:"))
    wanted = 2 * size_bytes + SPARE_BYTES  # the file on the disk is in the page cache as well
    if free < size_bytes or available < wanted:
        return (f"tmpfs: {size_text(min(free, available))} are free, {size_text(wanted)} of memory "
                "are needed")
    return None


@contextmanager
def folder_in_memory(plan: Plan, row: Row) -> Iterator[Plan]:
    with tempfile.TemporaryDirectory(prefix="pagewire-bench-", dir=MEMORY_FOLDER) as name:
        in_memory = replace(plan, folder=Path(name))
        in_memory.file_of(row).parent.mkdir()
        say(f"writing {row.name}.bin in memory")
        corpus.write_file(in_memory.file_of(row), row.size)
        yield in_memory


def run_paths(plan: Plan, row: Row) -> dict:
    """The report of `pagewire bench run`."""
    corpus.warm(plan.file_of(row))
    with tempfile.TemporaryDirectory(prefix="pagewire-bench-", dir=plan.folder) as name:
        into = Path(name) / "run.json"
        done = subprocess.run(
            # We keep to the client's CPU, and what we start would inherit that.
            ["taskset", "-c", f"{plan.server_cpu},{plan.client_cpu}", plan.pagewire, "bench", "run",
             "--file", plan.file_of(row), "--path", ",".join(PATHS),
             "-t", str(plan.seconds), "--warmup", str(plan.warm_up_s), "-P", str(row.connections),
             "--repeat", str(plan.rounds), "--pin", f"{plan.server_cpu},{plan.client_cpu}",
             "--json", into], stdout=subprocess.DEVNULL, check=False, timeout=RUN_LIMIT_S)
        if done.returncode != 0:
            raise RuntimeError(f"pagewire bench run ended with {done.returncode}")
        return json.loads(into.read_text())


def measure_paths(plan: Plan, row: Row, where: str) -> tuple[dict, list[str]]:
    title = f"{size_text(row.size)} x {row.connections}, {where}"
    ran = run_paths(plan, row)
    [done] = ran["rows"]
    loop = measure_row(row, title, [RawContestant(plan, row, readwrite_loop(plan.build,
                                                                           BUFFER_BYTES),
                                                  pagewire_sink(plan.build))], plan.rounds)
    before = sum(len(one["rounds"]) for one in done["contenders"])
    for one in loop["contenders"]:
        for number, around in enumerate(one["rounds"], before + 1):
            around["number"] = number
    remarks = [f"{title}: {remark}" for remark in ran["remarks"]]
    if ran["partial"]:
        remarks.append(f"{title}: ended early: {ran['partial_reason']}")
    contenders = loop["contenders"] + done["contenders"]
    return done | {"title": title, "contenders": contenders}, remarks


def measure_iperf3(plan: Plan, row: Row, where: str) -> dict:
    """What the text's table was made with: iperf3's client, here for each of pagewire's paths."""
    contestants = [RawContestant(plan, row, pagewire_sender(plan.build, path, "--iperf3"),
                                 iperf3_client()) for path in PATHS]
    contestants += [RawContestant(plan, row, iperf3_server("iperf3"), iperf3_client()),
                    RawContestant(plan, row, iperf3_server("iperf3 -Z"), iperf3_client("-Z"))]
    title = f"{size_text(row.size)} x {row.connections}, {where}, iperf3's client"
    done = measure_row(row, title, contestants, plan.rounds)
    return done | {"baseline": "pagewire[copy]"}


def measure(arguments: argparse.Namespace, environment: dict) -> tuple[list[dict], list[str]]:
    rows, remarks = [], []
    file = Row("seed", arguments.size, 1, "stream")
    with ExitStack() as stack:
        disk = stack.enter_context(command.plan_for(arguments, environment, [file]))
        places = [(environment["filesystem"] or "disk", disk)]
        reason = why_no_memory_folder(arguments.size)
        if reason is None:
            places.insert(0, ("tmpfs", stack.enter_context(folder_in_memory(disk, file))))
        else:
            remarks.append(f"not measured on tmpfs: {reason}")
        for where, plan in places:
            for streams in arguments.streams:
                row, said = measure_paths(plan, replace(file, connections=streams), where)
                rows.append(row)
                remarks += said
        where, plan = places[0]
        rows.append(measure_iperf3(plan, file, where))
    return rows, remarks


def main() -> int:
    arguments = parse_arguments()
    environment = command.describe("seed", arguments)
    rows, remarks = measure(arguments, environment)
    lines = seed_text.arithmetic()
    for row in rows:
        lines += seed_text.beside_the_text(row) + seed_text.ratios(row) + seed_text.why(row)
        remarks += verdicts.disturbances(row)
    settings = command.settings_of(arguments) | {
        "--size": str(arguments.size), "--streams": ",".join(map(str, arguments.streams))}
    report = reporting.report("seed", "The founding text's table, measured here", environment,
                              settings, rows, lines + remarks + REMARKS)
    reporting.write(report, arguments.build / "pagewire", arguments)
    return 0 if command.is_complete(rows) else 1


if __name__ == "__main__":
    command.run(main)
