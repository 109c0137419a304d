#!/usr/bin/env python3
"""Compare pagewire relay with HAProxy and nginx stream, on this machine: bulk, exchanges, new
connections, and what idle ones cost."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import command
import relay_verdicts
import reporting
import verdicts
from measure import WENT_WRONG, Contestant, Plan, Row, measure_row, say
from relay_contestant import ConnectContestant, RelayContestant, measure_idle_memory
from relay_servers import NAMES, known_relays

BULK = [Row("6m-8", 6 << 20, 8), Row("6m-64", 6 << 20, 64)]
EXCHANGE = Row("1k", 1 << 10, 256)
CONNECTS = Row("connects", 1 << 10, 64)
BUSY = Row("busy", 6 << 20, 8)
IDLE = "idle"
ROWS = [row.name for row in (*BULK, EXCHANGE, CONNECTS, BUSY)] + [IDLE]
IN_NAMESPACE = "PAGEWIRE_BENCH_CONGESTION"


def parse_arguments() -> argparse.Namespace:
    parser = command.parser_for("relay", __doc__)
    add = parser.add_argument
    add("--only", metavar="ROW", action="append", choices=ROWS,
        help="measure this; repeatable: " + " ".join(ROWS))
    add("--relays", metavar="LIST", help=f"comma-separated, of: {NAMES}")
    add("--pagewire-flags", default="", metavar="FLAGS", help="more flags for pagewire relay")
    add("--idle-connections", type=command.at_least_one, default=5000, metavar="N",
        help="beside the busy ones, and in the measurement of memory (5000)")
    add("--congestion", default="reno", metavar="NAME",
        help="everybody's congestion control, in a network namespace for this run; \"system\": as "
        "it is (reno; needs CAP_SYS_ADMIN)")
    return command.parse(parser, ("bench_connects",))


def enter_namespace(congestion: str) -> None:
    """HAProxy and nginx cannot choose theirs, and with BBR over loopback every one is paced by
    timers, which says nothing about relays. Needs CAP_SYS_ADMIN."""
    if congestion == "system" or os.environ.get(IN_NAMESPACE):
        return
    os.environ[IN_NAMESPACE] = congestion
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                          sys.executable, *sys.argv])


def prepare_namespace(congestion: str) -> None:
    """Ports in TIME_WAIT are not kept: new connections take more than there are, and what is
    measured then is the kernel's search for a free one."""
    if congestion == "system":
        return
    ipv4 = Path("/proc/sys/net/ipv4")
    (ipv4 / "tcp_congestion_control").write_text(congestion)
    (ipv4 / "tcp_max_tw_buckets").write_text("0")


def pick(name: str, wanted: str | None) -> bool:
    return wanted is None or name in wanted.split(",")


class Bench:
    def __init__(self, plan: Plan, arguments: argparse.Namespace):
        self.plan, self.arguments = plan, arguments
        make_all = known_relays(plan.build, arguments.pagewire_flags)
        self.names = [server.name for server in make_all(0) if pick(server.name, arguments.relays)]
        self.peers = {server.name for server in make_all(0) if server.kind == "peer"}

        def make(name: str, port: int):
            return next(server for server in make_all(port) if server.name == name)
        self.makers = {name: partial(make, name) for name in self.names}

    def wants(self, name: str) -> bool:
        return not self.arguments.only or name in self.arguments.only

    def versions(self) -> list[str]:
        relays = [make(0) for make in self.makers.values()]
        return [f"{one.name}: {one.version_text() or one.why_missing()}" for one in relays]

    def row(self, row: Row, title: str, contestants: list[Contestant],
            metric: str = "cpu_ms_per_gbit") -> dict:
        done = measure_row(row, title, contestants, self.plan.rounds)
        best = reporting.cheapest(done, self.peers, metric)
        return done | {"baseline": best[0] if best else None}

    def each(self, row: Row, kind: type = RelayContestant) -> list[Contestant]:
        return [kind(self.plan, row, make) for make in self.makers.values()]

    def measure(self) -> tuple[list[dict], list[str]]:
        rows, lines = [], []
        for row in (row for row in BULK if self.wants(row.name)):
            rows.append(self.row(row, row.title, self.each(row)))
            lines += relay_verdicts.of_bulk(rows[-1])
        if self.wants(EXCHANGE.name):
            title = "1 KiB answers on 256 kept connections"
            rows.append(self.row(EXCHANGE, title, self.each(EXCHANGE), "cpu_us_per_request"))
            lines += relay_verdicts.of_exchanges(rows[-1], self.peers)
        if self.wants(CONNECTS.name):
            title = "new connections, 64 at once"
            done = self.row(CONNECTS, title, self.each(CONNECTS, ConnectContestant),
                            "cpu_us_per_request") | {"size_bytes": 0}
            rows.append(done)
            lines += relay_verdicts.of_connects(done, self.peers)
        if self.wants(BUSY.name):
            rows.append(self.busy_row())
            lines += relay_verdicts.of_busy(rows[-1], self.names)
        if self.wants(IDLE):
            lines += relay_verdicts.of_idle(self.idle_memory(),
                                            self.arguments.idle_connections)
        return rows, lines

    def busy_row(self) -> dict:
        idle = self.arguments.idle_connections
        contestants: list[Contestant] = []
        for name, make in self.makers.items():
            contestants.append(RelayContestant(self.plan, BUSY, make))
            contestants.append(RelayContestant(self.plan, BUSY, make, idle,
                                               name + relay_verdicts.WITH_IDLE))
        return self.row(BUSY, f"{BUSY.title}, alone and beside {idle:,} idle connections",
                        contestants)

    def idle_memory(self) -> dict[str, dict | str]:
        """By name; a text where there is none, and why."""
        found: dict[str, dict | str] = {}
        row = Row("1k", 1 << 10, self.arguments.idle_connections)
        for name, make in self.makers.items():
            say(f"memory of {name}")
            try:
                found[name] = measure_idle_memory(RelayContestant(self.plan, row, make), 8,
                                                  row.connections)
            except WENT_WRONG as error:
                found[name] = str(error) or type(error).__name__
        return found


def main() -> int:
    arguments = parse_arguments()
    enter_namespace(arguments.congestion)
    prepare_namespace(arguments.congestion)
    environment = command.describe("relay", arguments)
    with command.plan_for(arguments, environment, [*BULK, EXCHANGE, CONNECTS, BUSY]) as plan:
        bench = Bench(plan, arguments)
        rows, lines = bench.measure()
        lines = bench.versions() + lines
    for row in rows:
        lines += verdicts.disturbances(row)
    settings = command.settings_of(arguments) | {
        "--idle-connections": str(arguments.idle_connections),
        "--congestion": arguments.congestion}
    if arguments.pagewire_flags:
        settings["--pagewire-flags"] = arguments.pagewire_flags
    report = reporting.report("peers", "pagewire relay against its peers", environment, settings,
                              rows, [*lines, relay_verdicts.METHOD])
    reporting.write(report, plan.pagewire, arguments)
    return 0 if command.is_complete(rows) else 1


if __name__ == "__main__":
    command.run(main)
