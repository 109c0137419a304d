#!/usr/bin/env python3
"""Compare pagewire serve with nginx, h2o, lighttpd and the barest loops, on this machine."""

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import corpus
import environment
import report as reports
from idle import measure_idle
from measure import ROWS, Plan, Row, measure_row, say
from servers import Server, known_servers

REPOSITORY = Path(__file__).resolve().parent.parent
NAMES = "pagewire nginx nginx-copy h2o lighttpd floor-send floor-sendfile"


def at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench serve", description=__doc__)
    add = parser.add_argument
    add("--only", metavar="ROW", action="append", choices=[row.name for row in ROWS],
        help="measure this row; repeatable: " + " ".join(row.name for row in ROWS))
    add("--servers", metavar="LIST", help=f"comma-separated, of: {NAMES}")
    add("--rounds", type=at_least_one, default=5, help="rounds, interleaved (5)")
    add("--seconds", type=float, default=2.0, help="length of one measurement (2)")
    add("--warm-up", type=float, default=0.3, help="seconds before each (0.3)")
    add("--path", default="auto", metavar="P",
        help="pagewire's egress path; comma-separated ones are measured side by side (auto)")
    add("--pagewire-flags", default="", metavar="FLAGS", help="more flags for pagewire serve")
    add("--idle", action="store_true",
        help="instead of the rows: memory of an idle connection of pagewire")
    add("--idle-connections", type=at_least_one, default=10_000, metavar="N", help="(10000)")
    add("--markdown", metavar="FILE", type=Path, help="write the tables as Markdown")
    add("--json", metavar="FILE", type=Path, help="write everything, each round too, as JSON")
    add("--build", type=Path, default=REPOSITORY / "build/release", metavar="DIR",
        help="where the binaries are (build/release)")
    add("--work-dir", type=Path, default=Path("/var/tmp"), metavar="DIR",
        help="where the temporary files go: a disk, 1.1 GB (/var/tmp)")
    add("--server-cpu", type=int, default=0, help="(0)")
    add("--client-cpu", type=int, default=1, help="(1)")
    arguments = parser.parse_args()
    if arguments.seconds <= 0 or arguments.warm_up < 0:
        parser.error("--seconds must be above 0 and --warm-up not below it")
    return arguments


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


def check_machine(arguments: argparse.Namespace) -> None:
    if not (arguments.build / "bench_load").exists():
        sys.exit(f"{arguments.build / 'bench_load'} is not built (./dev build)")
    allowed = os.sched_getaffinity(0)
    for cpu in (arguments.server_cpu, arguments.client_cpu):
        if cpu not in allowed:
            sys.exit(f"CPU {cpu} cannot be used here (allowed: {sorted(allowed)})")


def end_on_signal(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # unwinds: every server and client is ended on the way out


def make_corpus(folder: Path, rows: list[Row]) -> None:
    root = folder / "root"
    root.mkdir()
    folder.chmod(0o755)  # servers give up root and read as another user
    root.chmod(0o755)
    for row in rows:
        say(f"writing {row.name}.bin")
        corpus.write_file(root / f"{row.name}.bin", row.size)


def measure(arguments: argparse.Namespace, servers: list[Server]) -> tuple[list[dict], dict | None]:
    rows = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    if arguments.idle:
        rows = [Row("1k", 1 << 10, arguments.idle_connections)]
    with tempfile.TemporaryDirectory(prefix="pagewire-bench-", dir=arguments.work_dir) as name:
        plan = Plan(build=arguments.build, folder=Path(name), rounds=arguments.rounds,
                    seconds=arguments.seconds, warm_up_s=arguments.warm_up,
                    server_cpu=arguments.server_cpu, client_cpu=arguments.client_cpu)
        make_corpus(plan.folder, rows)
        if arguments.idle:
            return [], measure_idle(plan, rows[0], servers[0])
        return [measure_row(plan, row, servers) for row in rows], None


def main() -> int:
    arguments = parse_arguments()
    check_machine(arguments)
    servers = pick_servers(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_on_signal)
    described = environment.describe()
    os.sched_setaffinity(0, {arguments.client_cpu})  # what we do must not disturb the server
    rows, idle = measure(arguments, servers)
    kinds = {server.name: server.kind for server in servers}
    reports.add_ratios(rows, kinds)
    result = {
        "environment": described,
        "servers": {server.name: {"kind": server.kind, "version": server.version_text(),
                                  "reason": server.why_missing()} for server in servers},
        "settings": {"rounds": arguments.rounds, "seconds": arguments.seconds,
                     "warm_up_s": arguments.warm_up, "pagewire_flags": arguments.pagewire_flags},
        "method": reports.METHOD, "rows": rows, "idle": idle,
    }
    print(reports.text(result))
    if arguments.markdown:
        arguments.markdown.write_text(reports.markdown(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    incomplete = any("reason" in of for row in rows for of in row["results"].values())
    return 1 if incomplete or (idle and idle["bytes_per_connection"] is None) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
