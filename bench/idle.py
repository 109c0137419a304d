"""What an idle keep-alive connection costs in user memory.

Private memory of the server's processes (smaps_rollup) before and after N connections that have
each made one request and then wait. Kernel memory (the socket itself) is not in it.
"""

import json
import subprocess
from contextlib import ExitStack

import meter
from http_contestant import HttpContestant
from measure import WENT_WRONG, Plan, Row
from servers import Server

READY_LIMIT_S = 60
FEW = 8


def measure_idle(plan: Plan, row: Row, server: Server) -> dict:
    one = HttpContestant(plan, row, server)
    try:
        with ExitStack() as stack:
            one.start(stack)
            return measure_on(one)
    except WENT_WRONG as error:
        return {"connections": row.connections, "bytes_per_connection": None,
                "reason": str(error)}


def measure_on(one: HttpContestant) -> dict:
    # What a server allocates once, at its first requests, is not the connections'.
    release(open_and_hold(one, FEW)[0])
    before = meter.private_bytes(one.running.pid)
    client, result = open_and_hold(one, one.row.connections)
    try:
        after = meter.private_bytes(one.running.pid)
    finally:
        release(client)
    if result["errors"]:
        raise RuntimeError(f"errors: {result['errors_by_kind']}")
    return {"connections": one.row.connections,
            "bytes_per_connection": (after - before) / one.row.connections,
            "source": "measured: Private_* of smaps_rollup"}


def open_and_hold(one: HttpContestant, connections: int) -> tuple[subprocess.Popen, dict]:
    """Every connection asks once; the client then keeps them until its stdin is closed."""
    command = one.client("-n", connections, "--hold", connections=connections)
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
