"""One row of the comparison: start its servers, check what they send, measure them in turns.

Competitors are interleaved and their order is rotated from round to round, because one run of a few
seconds varies by 30% with large files (how sender, ACKs and wake-ups interleave) and because the
machine drifts; what is compared are medians.
"""

import json
import statistics
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import corpus
import cpu
from servers import Running, Server, Setting, free_port


@dataclass(frozen=True)
class Row:
    name: str
    size: int
    connections: int

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


ROWS = [Row("1k", 1 << 10, 64), Row("32k", 32 << 10, 64), Row("400k", 400 << 10, 16),
        Row("6m", 6 << 20, 8), Row("1g", 1 << 30, 4)]
VERIFY_LIMIT_S = 120
FIGURES = ("cpu_us_per_request", "cpu_ms_per_gbit", "user_share", "gbit_per_s", "requests_per_s",
           "p50_us", "p99_us", "server_cpu_busy", "server_cpu_wait", "client_cpu_busy",
           "ksoftirqd_share")
RANGED = ("cpu_us_per_request", "cpu_ms_per_gbit", "gbit_per_s")


def size_text(size: int) -> str:
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift:
            return f"{size >> shift} {unit}"
    return f"{size} B"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def client_command(plan: Plan, row: Row, *arguments: str) -> list[str]:
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(plan.client_cpu),
            str(plan.build / "bench_load"), "-c", str(row.connections), "-s", str(row.size),
            *arguments]


def last_json(output: str) -> dict:
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError("the load client gave no result")
    return json.loads(lines[-1])


def verify(plan: Plan, row: Row, running: Running) -> None:
    """Every connection reads one whole body and compares every byte; also warms the server."""
    command = client_command(plan, row, "--verify", "-n", str(row.connections), running.url)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False,
                          timeout=VERIFY_LIMIT_S)
    result = last_json(done.stdout)
    wanted = row.connections * row.size
    if result["errors"] or result["verified_bytes"] != wanted:
        raise RuntimeError(f"{running.server.name} sends wrong bytes for {row.title}: "
                           f"{result['verified_bytes']} of {wanted} right, "
                           f"errors {result['errors_by_kind']}")


def run_once(plan: Plan, row: Row, running: Running, softirq_pid: int | None) -> dict:
    command = client_command(plan, row, "-t", str(plan.seconds), "-w", str(plan.warm_up_s),
                             running.url)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        watchdog = threading.Timer(plan.seconds + plan.warm_up_s + 30, client.kill)
        watchdog.start()
        try:
            began = client.stdout.readline().strip() == "begin"
            before = cpu.sample(running.pid, softirq_pid)
            line = client.stdout.readline()
            after = cpu.sample(running.pid, softirq_pid)
        except BaseException:
            client.kill()
            raise
        finally:
            watchdog.cancel()
    if not began or not line:
        return {"failed": "the load client ended without a result (see above)"}
    return figures(row, json.loads(line), before, after)


def figures(row: Row, client: dict, before: cpu.CpuSample, after: cpu.CpuSample) -> dict:
    if client["errors"]:
        kinds = {kind: count for kind, count in client["errors_by_kind"].items() if count}
        return {"failed": f"errors: {kinds}", "client": client}
    if not client["body_bytes"]:
        return {"failed": "no byte of a body arrived within the window", "client": client}
    # Rates, not sums: our samples are taken up to a tick after the client's window begins.
    cpu_share = (after.run_ns - before.run_ns) / (after.at_ns - before.at_ns)
    cpu_ns = cpu_share * client["seconds"] * 1e9
    requests = client["body_bytes"] / row.size  # parts of bodies count as parts of requests
    gbit = client["body_bytes"] * 8 / 1e9
    user_s, system_s = after.user_s - before.user_s, after.system_s - before.system_s
    latency = client["latency_us_closed_loop"]
    return {
        "cpu_us_per_request": cpu_ns / 1e3 / requests,
        "cpu_ms_per_gbit": cpu_ns / 1e6 / gbit,
        "user_share": user_s / (user_s + system_s) if user_s + system_s > 0 else None,
        "gbit_per_s": gbit / client["seconds"],
        "requests_per_s": requests / client["seconds"],
        "p50_us": latency["p50"],
        "p99_us": latency["p99"],
        "server_cpu_busy": cpu_share,
        "server_cpu_wait": (after.wait_ns - before.wait_ns) / (after.at_ns - before.at_ns),
        "client_cpu_busy": client["client_cpu_ns"] / 1e9 / client["seconds"],
        "ksoftirqd_share": (after.ksoftirqd_ns - before.ksoftirqd_ns)
        / (after.at_ns - before.at_ns),
        "client": client,
    }


def no_figures(reason: str) -> dict:
    return dict.fromkeys(FIGURES) | {"rounds": 0, "failed_rounds": [], "reason": reason}


def summary(runs: list[dict]) -> dict:
    """Medians over the rounds that succeeded; null and a reason where there are none."""
    good = [run for run in runs if "failed" not in run]
    failed = [run["failed"] for run in runs if "failed" in run]
    if not good:
        return no_figures(failed[0]) | {"failed_rounds": failed}
    result: dict = {"rounds": len(good), "failed_rounds": failed}
    for key in FIGURES:
        values = [run[key] for run in good if run[key] is not None]
        result[key] = statistics.median(values) if values else None
        if key in RANGED:
            result[key + "_range"] = [min(values), max(values)]
    if result["p50_us"] is None:
        result["latency_reason"] = "no request was answered within a window"
    return result


def start(plan: Plan, row: Row, servers: list[Server], stack: ExitStack,
          missing: dict[str, str]) -> list[Running]:
    """Those that run and send the right bytes; why the others do not goes to `missing`."""
    path = plan.folder / "root" / f"{row.name}.bin"
    corpus.warm(path)
    started = []
    for server in servers:
        if server.rows is not None and row.name not in server.rows:
            continue
        reason = server.why_missing()
        try:
            if reason is not None:
                raise RuntimeError(reason)
            setting = Setting(root=path.parent, folder=plan.folder / server.name / row.name,
                              port=free_port(), build=plan.build, file=path, size=row.size,
                              max_connections=1024)
            running = stack.enter_context(Running(server, setting, plan.server_cpu))
            verify(plan, row, running)
            started.append(running)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            missing[server.name] = str(error)
            say(f"  {server.name}: left out: {error}")
    return started


def measure_row(plan: Plan, row: Row, servers: list[Server]) -> dict:
    say(f"{row.title}:")
    missing: dict[str, str] = {}
    runs: dict[str, list[dict]] = {}
    softirq_pid = cpu.ksoftirqd_pid(plan.server_cpu)
    with ExitStack() as stack:
        running = start(plan, row, servers, stack, missing)
        for number in range(plan.rounds):
            turn = number % len(running) if running else 0
            for one in running[turn:] + running[:turn]:
                run = run_once(plan, row, one, softirq_pid)
                runs.setdefault(one.server.name, []).append(run)
                cost = run.get("failed") or f"{run['cpu_us_per_request']:.1f} us a request"
                say(f"  round {number + 1}/{plan.rounds} {one.server.name}: {cost}")
    results = {name: summary(of) for name, of in runs.items()}
    results |= {name: no_figures(reason) for name, reason in missing.items()}
    return {"row": asdict(row), "title": row.title, "results": results, "runs": runs}
