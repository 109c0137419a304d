"""What a reader of `./dev bench serve` has to know beside the figures: bars, and what disturbed.
Sentences from a finished report's rows; nothing is measured here."""

from reporting import cheapest, find, median

# pagewire's CPU at most so many times the best peer's, by size; and the cheapest floor's.
PEER_RATIO_BARS = {1 << 10: 0.75, 32 << 10: 0.8, 400 << 10: 0.95}
TLS_RATIO_BARS = {1 << 10: 0.9, 400 << 10: 0.95, 6 << 20: 0.95}
FLOOR_RATIO_BAR = 1.10
HANDSHAKE_RATIO_BAR = 0.95  # pagewire's handshakes per CPU second at least so many of the best's
IDLE_BYTES_BAR = 1024

METHOD = (
    "One worker pinned to one CPU, the client to another; keep-alive, closed loop, bodies thrown "
    "away in the client's kernel. Contenders take turns and the order rotates. CPU: the "
    "scheduler's run time of the process tree. Requests: bytes received over size, so parts of "
    "bodies count. Latency is closed-loop: at saturation, not at a rate of arrival. TCP_INFO (by "
    "ss) is taken at nine tenths of the window and counts from the connection's begin."
)


def kept(held: bool) -> str:
    return "held:" if held else "MISSED:"


def of_peers(row: dict, peers: set[str], bars: dict[int, float]) -> list[str]:
    """pagewire should be cheaper than the best peer, and in no row dearer."""
    own, best = find(row, "pagewire"), cheapest(row, peers)
    cost = median(own, "cpu_ms_per_gbit") if own else None
    if cost is None or best is None:
        return []
    ratio = cost / best[1]
    bar = bars.get(row["size_bytes"], 1.0)
    return [f"{kept(ratio <= bar)} {row['title']}: CPU per Gbit {ratio:.2f} of the best peer's "
            f"({best[0]}), bar {bar:.2f}"]


def of_floors(row: dict, floors: set[str]) -> list[str]:
    """pagewire should be close to the barest loop."""
    own, floor = find(row, "pagewire"), cheapest(row, floors)
    cost = median(own, "cpu_ms_per_gbit") if own else None
    if cost is None:
        return []
    if floor is None:
        return []
    ratio = cost / floor[1]
    return [f"{kept(ratio <= FLOOR_RATIO_BAR)} {row['title']}: {ratio:.2f} of the floor "
            f"({floor[0]}), bar {FLOOR_RATIO_BAR:.2f}"]


def of_handshakes(row: dict, peers: set[str]) -> list[str]:
    """CPU that each costs, the other way round: how many a CPU second holds."""
    own = find(row, "pagewire")
    best = cheapest(row, peers, "cpu_us_per_request")
    cost = median(own, "cpu_us_per_request") if own else None
    if cost is None or best is None:
        return []
    ratio = best[1] / cost
    return [f"{kept(ratio >= HANDSHAKE_RATIO_BAR)} {row['title']}: {1e6 / cost:,.0f} per CPU "
            f"second, {ratio:.2f} of the best peer's ({best[0]}), bar {HANDSHAKE_RATIO_BAR:.2f}"]


def of_idle(idle: dict) -> str:
    each = idle["bytes_per_connection"]
    if each is None:
        return f"idle: no figure: {idle['reason']}"
    return (f"{kept(each < IDLE_BYTES_BAR)} idle: {each:.0f} bytes of user memory a connection at "
            f"{idle['connections']:,} ({idle['source']}), bar {IDLE_BYTES_BAR}")


def baseline_text(row: dict) -> str:
    return (f"{row['title']}: ratios are to {row['baseline']}, the cheapest peer of this row"
            if row["baseline"] else f"{row['title']}: no peer has figures, so there are no ratios")


def disturbances(row: dict) -> list[str]:
    lines = []
    waits = [wait for one in row["contenders"]
             if (wait := median(one, "server_wait_percent")) is not None]
    if waits and max(waits) > 5:
        lines.append(f"{row['title']}: the machine was not quiet: other programs had the servers' "
                     f"CPU for {min(waits):.0f}% to {max(waits):.0f}% of the time; trust no "
                     "figure of this row")
    for one in row["contenders"]:
        name = f"{row['title']}: {one['name']}"
        failed = [done["failed"] for done in one["rounds"] if done["failed"]]
        if failed:
            lines.append(f"{name} lost {len(failed)} of {len(one['rounds'])} rounds: {failed[0]}")
        ksoftirqd = median(one, "ksoftirqd_percent")
        if ksoftirqd is not None and ksoftirqd > 1:
            lines.append(f"{name}: ksoftirqd used {ksoftirqd:.0f}% of the CPU beside the server; "
                         "its cost is too low by that")
        client, server = (median(one, metric) for metric in ("client_cpu_percent", "cpu_percent"))
        if client is not None and client > 95 > server:
            lines.append(f"{name}: the client was the bottleneck; CPU per byte holds, throughput "
                         "is the client's")
    return lines
