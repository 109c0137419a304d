#!/usr/bin/env python3
"""The same file by pagewire's paths and by others: raw, beside iperf3, over HTTP."""

import argparse

import command
import reporting
import verdicts
from figures import TCP_REMARK
from http_contestant import HttpContestant
from measure import Contestant, Plan, Row, measure_row, size_text
from raw_contestant import (RawContestant, iperf3_client, iperf3_server, pagewire_sender,
                            pagewire_sink)
from servers import known_servers, nginx, pagewire_server, python_server

PATHS = "sendfile,splice,mmap,copy"
BASELINES = {"stream": "pagewire[copy]", "iperf3": "iperf3", "request": "nginx"}
UNITS = {"K": 10, "M": 20, "G": 30}
REMARKS = [
    "One sender on one CPU, its client on another; contenders of a table share the client and the "
    "work, and take turns. CPU: the scheduler's run time of the sender's process tree. Raw "
    "streams are billed from the client's first packet to its last, requests between two moments "
    "of a window. Compare within a table: each has its own client, and a slower client changes "
    "what the sender pays.",
    "iperf3's client copies every byte to user space, which pagewire's sink does not, so the bill "
    "of a sender differs between the two tables. iperf3 sends one block of 128 KiB again and "
    "again, from memory or (-Z) from a file of that size, which stays in the CPU's cache; pagewire "
    "sends the whole file.",
    TCP_REMARK,
    "haproxy is not among them: it proxies and cannot serve files.",
]


def size(text: str) -> int:
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 0)
    value = int(number) << unit
    if value < 1 or value % 8 or value > 1 << 32:
        raise argparse.ArgumentTypeError("a multiple of 8 up to 4G, such as 256M")
    return value


def parse_arguments() -> argparse.Namespace:
    parser = command.parser_for("peers", __doc__)
    add = parser.add_argument
    add("--size", type=size, default=256 << 20, metavar="N", help="of the file (256M)")
    add("--connections", "-P", type=command.at_least_one, default=4, metavar="N", help="(4)")
    add("--only", metavar="TABLE", action="append", choices=list(BASELINES),
        help="this table only; repeatable: " + " ".join(BASELINES))
    add("--paths", default=PATHS, metavar="LIST", help=f"pagewire's ({PATHS})")
    return command.parse(parser)


def contestants_of(plan: Plan, row: Row, table: str, paths: list[str]) -> list[Contestant]:
    build = plan.build
    if table == "stream":
        return [RawContestant(plan, row, pagewire_sender(build, path), pagewire_sink(build))
                for path in paths]
    if table == "iperf3":
        own = [RawContestant(plan, row, pagewire_sender(build, path, "--iperf3"), iperf3_client())
               for path in paths]
        return own + [RawContestant(plan, row, iperf3_server("iperf3"), iperf3_client()),
                      RawContestant(plan, row, iperf3_server("iperf3 -Z"), iperf3_client("-Z"))]
    servers = [pagewire_server(build, path, "") for path in paths]
    servers += [server for server in known_servers(build, [], "") if server.kind == "peer"]
    servers += [nginx("nginx-aio", "sendfile on; aio threads;", threaded=True), python_server()]
    return [HttpContestant(plan, row, server) for server in servers]


def title_of(table: str, row: Row) -> str:
    what = {"stream": "raw stream to pagewire's sink", "iperf3": "raw stream to iperf3's client",
            "request": "HTTP"}[table]
    return f"{size_text(row.size)} x {row.connections}, {what}"


def main() -> int:
    arguments = parse_arguments()
    environment = command.describe("peers", arguments)
    tables = arguments.only or list(BASELINES)
    rows, remarks = [], []
    for_all = Row("object", arguments.size, arguments.connections)
    with command.plan_for(arguments, environment, [for_all]) as plan:
        for table in tables:
            mode = "request" if table == "request" else "stream"
            row = Row("object", arguments.size, arguments.connections, mode)
            contestants = contestants_of(plan, row, table, arguments.paths.split(","))
            done = measure_row(row, title_of(table, row), contestants, plan.rounds)
            rows.append(done | {"baseline": BASELINES[table]})
            remarks += [f"{done['title']}: {one.name} is {one.server.version_text()}"
                        for one in contestants if one.server.kind == "peer"]
            remarks += verdicts.disturbances(done)
    settings = command.settings_of(arguments) | {
        "--size": str(arguments.size), "--connections": str(arguments.connections),
        "--paths": arguments.paths}
    report = reporting.report("peers", "pagewire's paths beside its peers", environment, settings,
                              rows, remarks + REMARKS)
    reporting.write(report, plan.pagewire, arguments)
    return 0 if command.is_complete(rows) else 1


if __name__ == "__main__":
    command.run(main)
