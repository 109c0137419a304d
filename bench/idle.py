"""What an idle keep-alive connection costs in user memory.

Private memory of the server's processes (smaps_rollup) before and after N connections that have
each made one request and then wait. Kernel memory (the socket itself) is not in it.
"""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import cpu
from measure import Plan, Row, client_command
from servers import Running, Server, Setting, free_port

READY_LIMIT_S = 60


def open_and_hold(plan: Plan, row: Row, url: str) -> tuple[subprocess.Popen, dict]:
    """Every connection asks once; the client then keeps them until its stdin is closed."""
    command = client_command(plan, row, "-n", str(row.connections), "--hold", url)
    client = subprocess.Popen(["timeout", str(READY_LIMIT_S), *command], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        for line in client.stdout:
            if line.startswith("{"):
                return client, json.loads(line)
        raise RuntimeError("the load client could not open the connections (see above)")
    except BaseException:
        client.terminate()
        client.wait()
        raise


def release(client: subprocess.Popen) -> None:
    client.stdin.close()
    client.stdout.close()
    client.wait()


def measure_on(plan: Plan, row: Row, running: Running) -> dict:
    # What a server allocates once, at its first requests, is not the connections'.
    few = replace(row, connections=8)
    release(open_and_hold(plan, few, running.url)[0])
    before = cpu.private_bytes(running.pid)
    client, result = open_and_hold(plan, row, running.url)
    try:
        after = cpu.private_bytes(running.pid)
    finally:
        release(client)
    if result["errors"]:
        raise RuntimeError(f"errors: {result['errors_by_kind']}")
    return {"connections": row.connections, "private_bytes_before": before,
            "private_bytes_after": after,
            "bytes_per_connection": (after - before) / row.connections,
            "source": "measured: Private_* of /proc/PID/smaps_rollup"}


def measure_idle(plan: Plan, row: Row, server: Server) -> dict:
    path: Path = plan.folder / "root" / f"{row.name}.bin"
    setting = Setting(root=path.parent, folder=plan.folder / server.name / "idle",
                      port=free_port(), build=plan.build, file=path, size=row.size,
                      max_connections=row.connections + 1000)
    reason = server.why_missing()
    try:
        if reason is not None:
            raise RuntimeError(reason)
        with Running(server, setting, plan.server_cpu) as running:
            return measure_on(plan, row, running)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return {"connections": row.connections, "bytes_per_connection": None,
                "reason": str(error)}
