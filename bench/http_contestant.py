"""A server of files over HTTP, asked by bench_load: one worker, keep-alive, closed loop, bodies
thrown away in the client's kernel."""

import json
import subprocess
import threading
import time
from contextlib import ExitStack

import corpus
import meter
from figures import Client, Window, figures_of
from measure import Plan, Row
from servers import Running, Server, Setting, free_port

VERIFY_LIMIT_S = 120
MARGIN_S = 30
TCP_AT = 0.9  # of the window: the connections end with it


class HttpContestant:
    load_flags: tuple[object, ...] = ()  # more for the load client, but not while it verifies
    idle = 0  # connections that there are besides

    def __init__(self, plan: Plan, row: Row, server: Server, name: str | None = None):
        self.plan, self.row, self.server = plan, row, server
        self.name = name or server.name
        self.running: Running | None = None

    def start(self, stack: ExitStack) -> None:
        path = self.plan.file_of(self.row)
        corpus.warm(path)
        reason = self.server.why_missing()
        if reason is not None:
            raise RuntimeError(reason)
        setting = Setting(root=path.parent, folder=self.plan.folder / self.name / self.row.name,
                          port=free_port(), build=self.plan.build, file=path, size=self.row.size,
                          max_connections=max(1024, self.row.connections + self.idle + 1000))
        self.running = stack.enter_context(Running(self.server, setting, self.plan.server_cpu))
        self.meter = meter.Meter(self.running.pid, self.plan.server_cpu)

    def client(self, *arguments: object, connections: int | None = None) -> list[str]:
        return self.plan.on_client_cpu(
            self.plan.build / "bench_load", "-c", connections or self.row.connections,
            "-s", self.row.size, *arguments, self.running.url)

    def verify(self) -> int:
        """Every connection reads one whole body and compares every byte."""
        done = subprocess.run(self.client("--verify", "-n", self.row.connections),
                              stdout=subprocess.PIPE, text=True, check=False,
                              timeout=VERIFY_LIMIT_S)
        result = last_json(done.stdout)
        wanted = self.row.connections * self.row.size
        if result["errors"] or result["verified_bytes"] != wanted:
            raise RuntimeError(f"{self.name} sends wrong bytes: {result['verified_bytes']} of "
                               f"{wanted} right, errors {result['errors_by_kind']}")
        return wanted

    def run_once(self) -> tuple[float, dict]:
        before, after, tcp, said = self.run_client()
        client = checked(said)
        window = Window(before, after, client, tcp, self.row.size, whole=False,
                        tsc_mhz=self.plan.tsc_mhz, threaded=self.server.threaded)
        return client.seconds, figures_of(window)

    def run_client(self) -> tuple[meter.Sample, meter.Sample, meter.TcpInfo | None, dict]:
        """The server at the opening and the closing of the client's window, and what that said."""
        command = self.client("-t", self.plan.seconds, "-w", self.plan.warm_up_s,
                              *self.load_flags)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            limit_s = self.plan.seconds + self.plan.warm_up_s + MARGIN_S
            watchdog = threading.Timer(limit_s, client.kill)
            watchdog.start()
            try:
                began = client.stdout.readline().strip() == "begin"
                before = self.meter.sample()
                time.sleep(self.plan.seconds * TCP_AT)
                tcp = meter.tcp_info(self.running.at.port)
                line = client.stdout.readline()
                after = self.meter.sample()
            except BaseException:
                client.kill()
                raise
            finally:
                watchdog.cancel()
        if not began or not line:
            raise RuntimeError("the load client ended without a result (see above)")
        said = json.loads(line)
        if said["errors"]:
            kinds = {kind: count for kind, count in said["errors_by_kind"].items() if count}
            raise RuntimeError(f"errors: {kinds}")
        return before, after, tcp, said


def last_json(output: str) -> dict:
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError("the load client gave no result")
    return json.loads(lines[-1])


def checked(said: dict) -> Client:
    if not said["body_bytes"]:
        raise RuntimeError("no byte of a body arrived within the window")
    return Client(received_bytes=said["body_bytes"], seconds=said["seconds"],
                  cpu_s=said["client_cpu_ns"] / 1e9, latency_us=said["latency_us_closed_loop"])
