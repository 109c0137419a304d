"""What a reader of `./dev bench relay` has to know beside the figures: bars held and missed.
Sentences from a finished report's rows; nothing is measured here."""

from reporting import cheapest, find, median
from verdicts import kept

SPLICING = ("haproxy-splice", "haproxy-tuned")
WITH_IDLE = "+idle"
BULK_BAR = 0.85      # of HAProxy's CPU with splice
EXCHANGE_BAR = 0.9   # of the best peer's CPU
CONNECTS_BAR = 1.0   # of the best peer's rate, at least
IDLE_BAR = 0.5       # of HAProxy's memory
BUSY_BAR = 1.05      # of the CPU without idle connections

METHOD = (
    "One worker pinned to one CPU; the origin (pagewire serve) and the client on the other one, "
    "and only the relay's CPU is billed: the scheduler's run time of its process tree. Kept "
    "connections, closed loop, bodies thrown away in the client's kernel. Contenders take turns, "
    "each with an origin of its own, and the order rotates. In the row of new connections a "
    "request is a connection: connect, one answer of 1 KiB, the client's FIN; no TIME_WAIT. "
    "haproxy-tuned: tune.pipesize of 1 MiB; nginx-tuned: proxy_buffer_size of 128 KiB; all else as "
    "it comes.")


def of_bulk(row: dict) -> list[str]:
    """HAProxy as it comes, and with what helps it."""
    own = find(row, "pagewire")
    cost = median(own, "cpu_ms_per_gbit") if own else None
    lines = []
    for name in SPLICING:
        peer = find(row, name)
        other = median(peer, "cpu_ms_per_gbit") if peer else None
        if cost is None or other is None:
            continue
        ratio = cost / other
        lines.append(f"{kept(ratio <= BULK_BAR)} {row['title']}: {cost:.1f} ms of CPU per Gbit, "
                     f"{ratio:.2f} of HAProxy's with splice ({name}), bar {BULK_BAR:.2f}")
    return lines


def of_exchanges(row: dict, peers: set[str]) -> list[str]:
    own, best = find(row, "pagewire"), cheapest(row, peers, "cpu_us_per_request")
    cost = median(own, "cpu_us_per_request") if own else None
    if cost is None or best is None:
        return []
    ratio = cost / best[1]
    return [f"{kept(ratio <= EXCHANGE_BAR)} {row['title']}: {cost:.1f} us of CPU each, {ratio:.2f} "
            f"of the best peer's ({best[0]}), bar {EXCHANGE_BAR:.2f}"]


def of_connects(row: dict, peers: set[str]) -> list[str]:
    own = find(row, "pagewire")
    rate = median(own, "requests_per_s") if own else None
    rates = {name: value for name in peers
             if (one := find(row, name)) and (value := median(one, "requests_per_s"))}
    if rate is None or not rates:
        return []
    best = max(rates, key=rates.__getitem__)
    ratio = rate / rates[best]
    cost, other = median(own, "cpu_us_per_request"), cheapest(row, peers, "cpu_us_per_request")
    return [f"{kept(ratio >= CONNECTS_BAR)} {row['title']}: {rate:,.0f} a second, {ratio:.2f} of "
            f"the best peer's ({best}), bar {CONNECTS_BAR:.2f}; {cost:.1f} us of CPU each, "
            f"{cost / other[1]:.2f} of the least ({other[0]})"]


def of_busy(row: dict, names: list[str]) -> list[str]:
    lines = []
    for name in names:
        alone, beside = find(row, name), find(row, name + WITH_IDLE)
        costs = [median(one, "cpu_ms_per_gbit") for one in (alone, beside) if one]
        if len(costs) != 2 or None in costs:
            continue
        ratio = costs[1] / costs[0]
        word = f"{kept(ratio <= BUSY_BAR)} " if name == "pagewire" else ""
        bar = f", bar {BUSY_BAR:.2f}" if word else ""
        lines.append(f"{word}{row['title']}: {name} {ratio:.2f} of the CPU per Gbit alone{bar}")
    return lines


def of_idle(found: dict[str, dict | str], connections: int) -> list[str]:
    lines = []
    haproxy = [one["private"] for name, one in found.items()
               if name.startswith("haproxy") and isinstance(one, dict)]
    for name, one in found.items():
        if isinstance(one, str):
            lines.append(f"idle: {name}: no figure: {one}")
            continue
        line = (f"idle: {name}: {one['private']:,.0f} bytes of user memory a connection at "
                f"{connections:,} (measured: Private_* of smaps_rollup; Pss {one['pss']:,.0f}); "
                f"slabs of the machine grew by {one['slab']:,.0f}")
        if name == "pagewire" and haproxy:
            ratio = one["private"] / min(haproxy)
            line = (f"{kept(ratio <= IDLE_BAR)} {line}; {ratio:.2f} of HAProxy's, "
                    f"bar {IDLE_BAR:.2f}")
        lines.append(line)
    return lines
