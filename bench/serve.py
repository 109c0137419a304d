#!/usr/bin/env python3
"""Compare pagewire serve with nginx, h2o, lighttpd, caddy and the barest loops, on this machine."""

import argparse
import sys

import command
import reporting
import verdicts
from http_contestant import HttpContestant
from idle import measure_idle
from measure import Plan, Row, measure_row
from servers import Server, known_servers

ROWS = [Row("1k", 1 << 10, 64), Row("32k", 32 << 10, 64), Row("400k", 400 << 10, 16),
        Row("6m", 6 << 20, 8), Row("1g", 1 << 30, 4)]
NAMES = "pagewire nginx nginx-copy h2o lighttpd caddy floor-send floor-uring floor-sendfile"


def parse_arguments() -> argparse.Namespace:
    parser = command.parser_for("serve", __doc__)
    add = parser.add_argument
    add("--only", metavar="ROW", action="append", choices=[row.name for row in ROWS],
        help="measure this row; repeatable: " + " ".join(row.name for row in ROWS))
    add("--servers", metavar="LIST", help=f"comma-separated, of: {NAMES}")
    add("--path", default="auto", metavar="P",
        help="pagewire's egress path; comma-separated ones are measured side by side (auto)")
    add("--pagewire-flags", default="", metavar="FLAGS", help="more flags for pagewire serve")
    add("--idle", action="store_true",
        help="instead of the rows: memory of an idle connection of pagewire")
    add("--idle-connections", type=command.at_least_one, default=10_000, metavar="N",
        help="(10000)")
    return command.parse(parser)


def pick_servers(arguments: argparse.Namespace) -> list[Server]:
    known = known_servers(arguments.build, arguments.path.split(","), arguments.pagewire_flags)
    if arguments.servers is None:
        return known
    wanted = arguments.servers.split(",")
    unknown = set(wanted) - set(NAMES.split())
    if unknown:
        sys.exit(f"--servers: {', '.join(sorted(unknown))} is not one of: {NAMES}")
    return [server for server in known
            if server.name in wanted or (server.kind == "subject" and "pagewire" in wanted)]


def names_of(servers: list[Server], kind: str) -> set[str]:
    return {server.name for server in servers if server.kind == kind}


def measure_rows(plan: Plan, rows: list[Row], servers: list[Server]) -> list[dict]:
    done = []
    for row in rows:
        contestants = [HttpContestant(plan, row, server) for server in servers
                       if server.rows is None or row.name in server.rows]
        measured = measure_row(row, row.title, contestants, plan.rounds)
        best = reporting.cheapest(measured, names_of(servers, "peer"))
        done.append(measured | {"baseline": best[0] if best else None})
    return done


def remarks_on(rows: list[dict], servers: list[Server]) -> list[str]:
    lines = [f"{server.name}: {server.version_text() or server.why_missing()}"
             for server in servers if server.kind != "floor"]
    for row in rows:
        lines.append(verdicts.baseline_text(row))
        lines += verdicts.of_peers(row, names_of(servers, "peer"), verdicts.PEER_RATIO_BARS)
        lines += verdicts.of_floors(row, names_of(servers, "floor"))
        lines += verdicts.disturbances(row)
    return lines


def main() -> int:
    arguments = parse_arguments()
    servers = pick_servers(arguments)
    environment = command.describe("serve", arguments)
    rows = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    settings = command.settings_of(arguments) | {"--path": arguments.path}
    if arguments.pagewire_flags:
        settings["--pagewire-flags"] = arguments.pagewire_flags
    if arguments.idle:
        rows = [Row("1k", 1 << 10, arguments.idle_connections)]
    with command.plan_for(arguments, environment, rows) as plan:
        if arguments.idle:
            idle = measure_idle(plan, rows[0], servers[0])
            done, remarks = [], [verdicts.of_idle(idle)]
            complete = idle["bytes_per_connection"] is not None
        else:
            done = measure_rows(plan, rows, servers)
            remarks = [*remarks_on(done, servers), verdicts.METHOD]
            complete = command.is_complete(done)
    report = reporting.report("serve", "pagewire serve against its peers", environment, settings,
                              done, remarks)
    reporting.write(report, plan.pagewire, arguments)
    return 0 if complete else 1


if __name__ == "__main__":
    command.run(main)
