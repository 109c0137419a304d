#!/usr/bin/env python3
"""What cold files on a slow disk do to those who want hot ones, in pagewire and in its peers."""

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import command
import corpus
import reporting
import slow_disk
from measure import WENT_WRONG, say
from servers import Running, Server, Setting, free_port, known_servers, nginx

COLD_FILES = 8
COLD_SIZE = 64 << 20
HOT_SIZE = 32 << 10
HOT_CONNECTIONS = 64
PATHS = "auto,sendfile,splice,mmap,copy"
LATE_MS = 10
MARGIN_S = 60
COLUMNS = ("server", "alone: p99", "max", "req/s", "with cold load: p99", "max", "late", "req/s",
           "p99 ratio", "cold MB/s")


@dataclass(frozen=True)
class Setup:
    arguments: argparse.Namespace
    disk: slow_disk.SlowDisk
    work: Path

    @property
    def cold_files(self) -> list[Path]:
        return [self.disk.folder / name for name in cold_names()]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench cold", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=command.at_least_one, default=3, help="interleaved (3)")
    add("--seconds", type=float, default=5.0, help="length of each of a round's two windows (5)")
    add("--warm-up", type=float, default=0.5, help="seconds before each (0.5)")
    add("--rate", type=command.at_least_one, default=2000, metavar="N",
        help="hot requests a second, of all clients together, at fixed moments (2000)")
    add("--delay-ms", type=command.at_least_one, default=300, metavar="MS",
        help="of each read of the disk (300)")
    add("--paths", default=PATHS, metavar="LIST", help=f"pagewire's ({PATHS})")
    add("--servers", metavar="LIST", help="comma-separated names of the table's; all else is left "
                                          "out (pagewire stands for all its paths)")
    add("--build", type=command.absolute, default=reporting.REPOSITORY / "build/release",
        metavar="DIR", help="where the binaries are (build/release)")
    add("--work-dir", type=command.absolute, default=Path("/var/tmp"), metavar="DIR",
        help="where the disk's image goes (/var/tmp)")
    add("--server-cpu", type=int, default=0, help="(0)")
    add("--client-cpu", type=int, default=1, help="(1)")
    add("--json", metavar="FILE", help="every round's figures")
    add("--md", metavar="FILE", help="write the table as Markdown")
    return command.parse(parser)


def cold_names() -> list[str]:
    return [f"cold{number}.bin" for number in range(COLD_FILES)]


def contestants(arguments: argparse.Namespace) -> list[Server]:
    known = [server for server in known_servers(arguments.build, arguments.paths.split(","), "")
             if server.kind != "floor" and server.name != "nginx-copy"]
    known.append(nginx("nginx-aio", "aio threads; sendfile on;", threaded=True))
    if arguments.servers is None:
        return known
    wanted = arguments.servers.split(",")
    return [server for server in known
            if server.name in wanted or (server.kind == "subject" and "pagewire" in wanted)]


def hot_client(setup: Setup, url: str) -> subprocess.Popen:
    return load_client(setup, setup.arguments.seconds, "-c", str(HOT_CONNECTIONS),
                       "-r", str(setup.arguments.rate), url)


def load_client(setup: Setup, seconds: float, *more: str) -> subprocess.Popen:
    arguments = setup.arguments
    words = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(arguments.client_cpu),
             str(arguments.build / "bench_load"), "-t", f"{seconds:g}",
             "-w", f"{arguments.warm_up:g}", *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(client: subprocess.Popen, limit_s: float) -> dict:
    try:
        output, complaint = client.communicate(timeout=limit_s)
    except BaseException:
        client.kill()
        client.wait()
        raise
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"the load client gave no result: {complaint.strip()}")
    return json.loads(lines[-1])


def hot_figures(said: dict) -> dict:
    latency = said["latency_us_closed_loop"]
    longest_us = max(latency["max"] or 0, said["oldest_unanswered_us"])
    return {"p50_ms": ms(latency["p50"]), "p99_ms": ms(latency["p99"]), "max_ms": ms(longest_us),
            "late": said["late"], "requests": said["requests"],
            "requests_per_s": said["requests_per_s"],
            "errors": {kind: count for kind, count in said["errors_by_kind"].items() if count}}


def ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def measure_once(setup: Setup, server: Server) -> dict:
    """Hot requests alone, then with the cold load beside them."""
    arguments = setup.arguments
    setup.disk.chill(setup.cold_files)
    at = Setting(root=setup.disk.folder, folder=setup.work / server.name, port=free_port(),
                 build=arguments.build, file=setup.disk.folder / "hot.bin", size=HOT_SIZE,
                 max_connections=1024)
    limit_s = arguments.seconds + arguments.warm_up + MARGIN_S
    with Running(server, at, arguments.server_cpu) as running:
        alone = hot_figures(result_of(hot_client(setup, running.url), limit_s))
        base = running.url.rsplit("/", 1)[0]
        # A little longer than the hot window, so that it covers that.
        cold = load_client(setup, arguments.seconds + 3 * arguments.warm_up, "-c",
                           str(COLD_FILES), *(f"{base}/{name}" for name in cold_names()))
        with cold:
            time.sleep(arguments.warm_up)  # until every cold client waits for the disk
            beside = hot_figures(result_of(hot_client(setup, running.url), limit_s))
            said = result_of(cold, limit_s)
    return {"alone": alone, "beside": beside,
            "cold": {"bytes": said["body_bytes"], "mb_per_s": said["body_bytes"] / 1e6 /
                     said["seconds"]}}


def measure(setup: Setup, servers: list[Server]) -> dict[str, list[dict]]:
    rounds: dict[str, list[dict]] = {server.name: [] for server in servers}
    for number in range(setup.arguments.rounds):
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:
            say(f"round {number + 1}: {server.name}")
            try:
                reason = server.why_missing()
                if reason is not None:
                    raise RuntimeError(reason)
                rounds[server.name].append(measure_once(setup, server))
            except WENT_WRONG as error:
                say(f"{server.name}: {error}")
                rounds[server.name].append({"failed": str(error)})
    return rounds


def middle(values: list[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def row_of(name: str, rounds: list[dict]) -> list[str]:
    """Medians, but of the longest and of the late ones the worst round."""
    good = [one for one in rounds if "failed" not in one]
    if not good:
        return [name, rounds[0]["failed"] if rounds else "not run"] + [""] * (len(COLUMNS) - 2)

    def values(window: str, key: str) -> list[float]:
        return [one[window][key] for one in good if one[window][key] is not None]

    def shown(found: list[float], pick, digits: int = 2) -> str:
        return f"{pick(found):.{digits}f}" if found else "none answered"
    ratios = [one["beside"]["p99_ms"] / one["alone"]["p99_ms"] for one in good
              if one["beside"]["p99_ms"] and one["alone"]["p99_ms"]]
    return [name, shown(values("alone", "p99_ms"), middle), shown(values("alone", "max_ms"), max),
            shown(values("alone", "requests_per_s"), middle, 0),
            shown(values("beside", "p99_ms"), middle), shown(values("beside", "max_ms"), max),
            shown(values("beside", "late"), max, 0),
            shown(values("beside", "requests_per_s"), middle, 0), shown(ratios, middle),
            shown(values("cold", "mb_per_s"), middle, 1)]


def table(setup: Setup, rounds: dict[str, list[dict]]) -> str:
    arguments = setup.arguments
    rows = [row_of(name, found) for name, found in rounds.items()]
    lines = ["| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    return "\n".join([
        f"Hot requests ({HOT_SIZE >> 10} KiB x {HOT_CONNECTIONS}) alone, and with {COLD_FILES} "
        f"clients on cold files of {COLD_SIZE >> 20} MiB beside them. Each read of the disk takes "
        f"{arguments.delay_ms} ms; one worker; {arguments.rounds} rounds of "
        f"{arguments.seconds:g} s; {arguments.rate} hot requests a second.", "", *lines, "",
        f"Times in ms, from the moment a request was due: of p99 and requests per second the "
        f"median of the rounds, of the longest answer (or of the longest wait that had none) and "
        f"of the late ones (over {LATE_MS} ms) the worst round. What a server that stood still "
        "never answered is in no percentile: look at max and at requests per second."])


def main() -> int:
    arguments = parse_arguments()
    reason = slow_disk.why_not()
    if reason is not None:
        sys.exit(f"no slow disk: {reason}")
    servers = contestants(arguments)
    environment = command.describe("cold", arguments)
    slow_disk.enter_mount_namespace()

    def write_files(folder: Path) -> None:
        corpus.write_file(folder / "hot.bin", HOT_SIZE)
        for name in cold_names():
            say(f"writing {name}")
            corpus.write_file(folder / name, COLD_SIZE)
    with ExitStack() as stack:
        work = stack.enter_context(command.work_folder(arguments))
        size = COLD_FILES * COLD_SIZE * 9 // 8 + (64 << 20)
        disk = stack.enter_context(
            slow_disk.slow_disk(work, size, arguments.delay_ms, write_files))
        setup = Setup(arguments, disk, work)
        # A kernel that reclaims what it takes for cold (DAMON) drops pages of busy files, too, and
        # then every server has to wait for the disk: that is not what is asked here.
        stack.enter_context(corpus.locked_in_memory(disk.folder / "hot.bin"))
        rounds = measure(setup, servers)
    text = table(setup, rounds)
    print(text)
    if arguments.md:
        Path(arguments.md).write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        everything = {"environment": environment, "delay_ms": arguments.delay_ms,
                      "seconds": arguments.seconds, "rounds": rounds}
        Path(arguments.json).write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    return 0 if all("failed" not in one for found in rounds.values() for one in found) else 1


if __name__ == "__main__":
    command.run(main)
