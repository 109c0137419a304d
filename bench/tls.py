#!/usr/bin/env python3
"""Compare pagewire serve over HTTPS with nginx and h2o, on this machine: bodies and handshakes."""

import argparse
import sys

import command
import reporting
import verdicts
from measure import Contestant, Plan, Row, measure_row
from servers import Server
from tls_contestant import HandshakeContestant, TlsContestant
from tls_servers import NAMES, cipher_ms_per_gbit, known_tls_servers, make_certificate

LOADS = [Row("1k", 1 << 10, 64), Row("400k", 400 << 10, 16), Row("6m", 6 << 20, 8)]
HANDSHAKES = [Row("full", 1 << 10, 16), Row("resumed", 1 << 10, 16)]
ROWS = [row.name for row in LOADS + HANDSHAKES]
SUITES = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"]
METHOD = (
    "TLS 1.3, X25519, one certificate of ECDSA P-256 for all. To decrypt costs the client what it "
    "costs the server to encrypt, so it decrypts and compares the bodies of the sample (and each "
    "connection's first answer) and of the others reads the record headers, whose lengths have to "
    "add up to each answer's to the byte. A handshake is connect, handshake, close_notify, FIN and "
    "the server's FIN; those of a row are 16 at once. Requests of a handshake row are handshakes.")


def parse_arguments() -> argparse.Namespace:
    parser = command.parser_for("tls", __doc__)
    add = parser.add_argument
    add("--only", metavar="ROW", action="append", choices=ROWS,
        help="measure this row; repeatable: " + " ".join(ROWS))
    add("--servers", metavar="LIST", help=f"comma-separated, of: {NAMES}")
    add("--suite", metavar="SUITE", action="append", choices=SUITES,
        help="of loads, and the first one of handshakes; repeatable: " + " ".join(SUITES))
    add("--sample", type=int, default=1, metavar="N",
        help="connections of a load that decrypt and compare every byte (1)")
    add("--pagewire-flags", default="", metavar="FLAGS", help="more flags for pagewire serve")
    return command.parse(parser, ("bench_load_tls",))


def pick_servers(known: list[Server], wanted: str | None) -> list[Server]:
    names = (wanted or NAMES.replace(" ", ",")).split(",")
    unknown = set(names) - set(NAMES.split())
    if unknown:
        sys.exit(f"--servers: {', '.join(sorted(unknown))} is not one of: {NAMES}")
    return [server for server in known if server.name in names]


def contest(plan: Plan, row: Row, title: str, contestants: list[Contestant]) -> dict:
    done = measure_row(row, title, contestants, plan.rounds)
    best = reporting.cheapest(done, peers_of(contestants))
    return done | {"baseline": best[0] if best else None}


def peers_of(contestants: list[Contestant]) -> set[str]:
    return {one.name for one in contestants if one.server.kind == "peer"}


def measure_loads(plan: Plan, arguments: argparse.Namespace,
                  servers: list[Server]) -> tuple[list[dict], list[str]]:
    rows, lines = [], []
    for row in (row for row in LOADS if is_wanted(row, arguments)):
        for suite in arguments.suite or SUITES:
            contestants = [TlsContestant(plan, row, server, suite, arguments.sample)
                           for server in servers if serves(server, row)]
            rows.append(contest(plan, row, f"{row.title}, {suite}", contestants))
            lines.append(verdicts.baseline_text(rows[-1]))
            lines += verdicts.of_peers(rows[-1], peers_of(contestants), verdicts.TLS_RATIO_BARS)
    return rows, lines


def measure_handshakes(plan: Plan, arguments: argparse.Namespace,
                       servers: list[Server]) -> tuple[list[dict], list[str]]:
    rows, lines = [], []
    suite = (arguments.suite or SUITES)[0]
    for row in (row for row in HANDSHAKES if is_wanted(row, arguments)):
        contestants = [HandshakeContestant(plan, row, server, suite)
                       for server in servers if serves(server, row)]
        done = contest(plan, row, f"handshakes, {row.name}", contestants) | {"size_bytes": 0}
        rows.append(done)
        # Who gives no tickets has less to do, and is there to see how much that is.
        alike = {name for name in peers_of(contestants) if not name.endswith("-no-tickets")}
        lines += verdicts.of_handshakes(done, alike)
    return rows, lines


def is_wanted(row: Row, arguments: argparse.Namespace) -> bool:
    return not arguments.only or row.name in arguments.only


def serves(server: Server, row: Row) -> bool:
    return server.rows is None or row.name in server.rows


def of_ciphers(arguments: argparse.Namespace) -> list[str]:
    return [f"{suite}: the cipher alone, by openssl speed in blocks of 16 KiB, costs "
            f"{cipher_ms_per_gbit(suite, arguments.server_cpu):.1f} ms of CPU per Gbit"
            for suite in arguments.suite or SUITES]


def main() -> int:
    arguments = parse_arguments()
    environment = command.describe("tls", arguments)
    wanted = [row for row in LOADS + HANDSHAKES if is_wanted(row, arguments)]
    with command.plan_for(arguments, environment, wanted) as plan:
        certificate = make_certificate(plan.folder / "certificate")
        known = known_tls_servers(arguments.build, certificate, arguments.pagewire_flags)
        servers = pick_servers(known, arguments.servers)
        lines = [f"{server.name}: {server.version_text() or server.why_missing()}"
                 for server in servers] + of_ciphers(arguments)
        loads, of_loads = measure_loads(plan, arguments, servers)
        handshakes, of_handshakes = measure_handshakes(plan, arguments, servers)
    rows = loads + handshakes
    lines += of_loads + of_handshakes
    for row in rows:
        lines += verdicts.disturbances(row)
    settings = command.settings_of(arguments) | {"--sample": str(arguments.sample)}
    if arguments.pagewire_flags:
        settings["--pagewire-flags"] = arguments.pagewire_flags
    report = reporting.report("serve", "pagewire serve over HTTPS against its peers", environment,
                              settings, rows, [*lines, METHOD, verdicts.METHOD])
    reporting.write(report, plan.pagewire, arguments)
    return 0 if command.is_complete(rows) else 1


if __name__ == "__main__":
    command.run(main)
