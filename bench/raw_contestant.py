"""A sender of a raw stream, pagewire's or iperf3's, and its client: pagewire's sink, which discards
in the kernel, or iperf3's own, which copies every byte to user space.

The server sends nothing before the client comes and after it has gone, so its samples are taken
around the client's whole life: what they enclose is what the client received, but for what stood in
socket buffers at the end.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import corpus
import meter
from figures import Client, Window, figures_of
from measure import Plan, Row
from servers import Running, Server, Setting, free_port

MARGIN_S = 30
TCP_AT = 0.9       # of the test: the connections end with it
SETTLE_S = 0.05    # the server sees its peer go
COMPARE_BYTES = 1 << 20
HOST = "127.0.0.1"


@dataclass(frozen=True)
class RawClient:
    """`read` gives bytes and seconds from what it printed."""
    program: str
    command: Callable[[Plan, Row, int], list[str]]
    read: Callable[[str], tuple[int, float]]
    verifies: bool  # that a plain connection gets the file: iperf3's protocol has a talk before it


class RawContestant:
    def __init__(self, plan: Plan, row: Row, server: Server, client: RawClient):
        self.plan, self.row, self.server, self.client = plan, row, server, client
        self.name = server.name
        self.running: Running | None = None

    def start(self, stack: ExitStack) -> None:
        path = self.plan.file_of(self.row)
        corpus.warm(path)
        reason = self.server.why_missing()
        if reason is not None:
            raise RuntimeError(reason)
        if shutil.which(self.client.program) is None:
            raise RuntimeError(f"{self.client.program} is not there, and it is the client")
        setting = Setting(root=path.parent, folder=self.plan.folder / self.name / self.row.name,
                          port=free_port(), build=self.plan.build, file=path, size=self.row.size,
                          max_connections=self.row.connections)
        self.running = stack.enter_context(Running(self.server, setting, self.plan.server_cpu))
        self.meter = meter.Meter(self.running.pid, self.plan.server_cpu)

    def verify(self) -> int:
        """One connection's whole stream."""
        if not self.client.verifies:
            return 0
        with socket.create_connection((HOST, self.running.at.port), timeout=MARGIN_S) as stream:
            return compare(stream, self.running.at.file)

    def run_once(self) -> tuple[float, dict]:
        command = self.client.command(self.plan, self.row, self.running.at.port)
        before = self.meter.sample()
        output, cpu_s, tcp = self.run_client(command)
        time.sleep(SETTLE_S)
        after = self.meter.sample()
        received_bytes, seconds = self.client.read(output)
        if not received_bytes or seconds <= 0:
            raise RuntimeError("the client received nothing")
        window = Window(before, after, Client(received_bytes, seconds, cpu_s), tcp, None,
                        whole=True, tsc_mhz=self.plan.tsc_mhz)
        return seconds, figures_of(window)

    def run_client(self, command: list[str]) -> tuple[str, float, meter.TcpInfo | None]:
        """Its output, its CPU (by wait4(2), so that it is the client's alone), and TCP_INFO."""
        with tempfile.TemporaryFile("w+") as output:
            client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output)
            watchdog = threading.Timer(self.plan.seconds + MARGIN_S, client.kill)
            watchdog.start()
            try:
                time.sleep(self.plan.seconds * TCP_AT)
                tcp = meter.tcp_info(self.running.at.port)
                _, status, usage = os.wait4(client.pid, 0)
                client.returncode = os.waitstatus_to_exitcode(status)
            finally:
                watchdog.cancel()
                if client.returncode is None:
                    client.kill()
                    client.wait()
            output.seek(0)
            said = output.read()
        if client.returncode:
            raise RuntimeError(f"the client ended with {client.returncode}: {said.strip()[-300:]}")
        return said, usage.ru_utime + usage.ru_stime, tcp


def compare(stream: socket.socket, path: Path) -> int:
    """Every byte until the server closes, with the file's."""
    done = 0
    with open(path, "rb") as file:
        while got := stream.recv(COMPARE_BYTES):
            if got != file.read(len(got)):
                raise RuntimeError(f"sends wrong bytes between {done} and {done + len(got)}")
            done += len(got)
        if file.read(1):
            raise RuntimeError(f"sent {done} bytes and no more")
    return done


# ---------------------------------------------------------------- the programs

def pagewire_sink(build: Path) -> RawClient:
    def command(plan: Plan, row: Row, port: int) -> list[str]:
        return plan.on_client_cpu(plan.pagewire, "bench", "sink", f"{HOST}:{port}",
                                  "-P", row.connections, "-t", plan.seconds)
    return RawClient(str(build / "pagewire"), command, read_sink, verifies=True)


def read_sink(output: str) -> tuple[int, float]:
    """"4096.0 MB in 3.20 s, 1280.0 MB/s ...": the rate tells the seconds more closely."""
    match = re.search(r"([\d.]+) MB in [\d.]+ s, ([\d.]+) MB/s", output)
    if match is None:
        raise RuntimeError(f"the sink said: {output.strip()}")
    megabytes, rate = float(match[1]), float(match[2])
    return round(megabytes * 1e6), megabytes / rate if rate else 0.0


def iperf3_client(*flags: str) -> RawClient:
    def command(plan: Plan, row: Row, port: int) -> list[str]:
        # -t takes whole seconds, and 0 would be for ever.
        return plan.on_client_cpu("iperf3", "-c", HOST, "-p", port, "-R", "-P", row.connections,
                                  "-t", max(1, round(plan.seconds)), "-J", *flags)
    return RawClient("iperf3", command, read_iperf3, verifies=False)


def read_iperf3(output: str) -> tuple[int, float]:
    said = json.loads(output)
    if "error" in said:
        raise RuntimeError(f"iperf3: {said['error']}")
    received = said["end"]["sum_received"]
    return received["bytes"], received["seconds"]


def pagewire_sender(build: Path, path: str, *flags: str) -> Server:
    def command(at: Setting) -> list[str]:
        return ["bench", "send", str(at.file), "--path", path, "--listen", f"{HOST}:{at.port}",
                *flags]
    return Server(f"pagewire[{path}]", "subject", str(build / "pagewire"), command, ["--version"],
                  "./dev build")


def iperf3_server(name: str) -> Server:
    """Sends one block of 128 KiB from memory again and again; with -Z, which the client asks for,
    by sendfile from a temporary file of that size."""
    return Server(name, "peer", "iperf3",
                  lambda at: ["-s", "-B", HOST, "-p", str(at.port)], ["--version"],
                  "apt-get install iperf3")


def readwrite_loop(build: Path, buffer_bytes: int) -> Server:
    return Server(f"readwrite {buffer_bytes >> 10}K", "floor", str(build / "bench_readwrite_loop"),
                  lambda at: [f"{HOST}:{at.port}", str(at.file), str(buffer_bytes)],
                  install="./dev build")
