"""A relay with an origin of its own behind it, asked by bench_load or bench_connects as a server is
asked: whole answers, compared byte for byte before they are measured.

The origin and the client share the client's CPU, the relay has the other one; the relay's process
tree alone is billed.
"""

from contextlib import ExitStack
from typing import Callable

import meter
from figures import Client, Window, handshake_figures
from http_contestant import HttpContestant
from idle import open_and_hold, release
from measure import Plan, Row
from relay_servers import origin
from servers import Running, Server, Setting, free_port

MORE_CONNECTIONS = 1000


class RelayContestant(HttpContestant):
    """`make` makes the relay for the port of its origin. `idle`: so many connections are there
    besides, each of which has asked once."""

    def __init__(self, plan: Plan, row: Row, make: Callable[[int], Server], idle: int = 0,
                 name: str | None = None):
        self.origin_port = free_port()
        super().__init__(plan, row, make(self.origin_port), name)
        self.idle = idle

    def start(self, stack: ExitStack) -> None:
        setting = Setting(root=self.plan.file_of(self.row).parent,
                          folder=self.plan.folder / self.name / self.row.name / "origin",
                          port=self.origin_port, build=self.plan.build,
                          file=self.plan.file_of(self.row), size=self.row.size,
                          max_connections=self.row.connections + self.idle + MORE_CONNECTIONS)
        stack.enter_context(Running(origin(self.plan.build), setting, self.plan.client_cpu))
        super().start(stack)
        if self.idle:
            few = RelayIdle(self, Row("1k", 1 << 10, self.idle))
            client, said = open_and_hold(few, self.idle)
            stack.callback(release, client)
            if said["errors"]:
                raise RuntimeError(f"idle connections: {said['errors_by_kind']}")


class RelayIdle:
    """What idle.py wants to know of a contestant whose connections wait, on a file of their own."""

    def __init__(self, of: RelayContestant, row: Row):
        self.plan, self.row, self.running = of.plan, row, of.running

    def client(self, *arguments: object, connections: int | None = None) -> list[str]:
        address = f"http://127.0.0.1:{self.running.at.port}/{self.plan.file_of(self.row).name}"
        return self.plan.on_client_cpu(
            self.plan.build / "bench_load", "-c", connections or self.row.connections,
            "-s", self.row.size, *arguments, address)


class ConnectContestant(RelayContestant):
    """A connection, one answer, the end, and again."""

    def client(self, *arguments: object, connections: int | None = None) -> list[str]:
        command = super().client(*arguments, connections=connections)
        if "--verify" in arguments:
            return command
        load = str(self.plan.build / "bench_load")
        return [str(self.plan.build / "bench_connects") if word == load else word
                for word in command]

    def run_once(self) -> tuple[float, dict]:
        before, after, _, said = self.run_client()
        if not said["connects"]:
            raise RuntimeError("no connection was made and answered within the window")
        client = Client(received_bytes=0, seconds=said["seconds"],
                        cpu_s=said["client_cpu_ns"] / 1e9,
                        latency_us=said["latency_us_closed_loop"])
        window = Window(before, after, client, None, None, whole=False,
                        tsc_mhz=self.plan.tsc_mhz)
        return client.seconds, handshake_figures(window, said["connects"])


def measure_idle_memory(one: RelayContestant, few: int, many: int) -> dict:
    """Bytes for each of `many` connections beyond `few`: the relay's own (Private_* and Pss of
    smaps_rollup), and the machine's slabs, in which client and origin have their part."""
    with ExitStack() as stack:
        one.start(stack)
        idle = RelayIdle(one, one.row)
        release(open_and_hold(idle, few)[0])
        before = memory_of(one.running.pid)
        client, said = open_and_hold(idle, many)
        after = memory_of(one.running.pid)
        release(client)
        if said["errors"]:
            raise RuntimeError(f"errors: {said['errors_by_kind']}")
    return {name: (after[name] - before[name]) / many for name in before}


def memory_of(pid: int) -> dict[str, int]:
    return {"private": meter.private_bytes(pid), "pss": meter.pss_bytes(pid),
            "slab": meter.slab_bytes()}
