"""From two samples of a server and what its client said to the figures of a round; as
src/bench/figures.h, for programs that are not ours. Nothing is measured here.

Gbit = 10^9 bits of what was asked for: bodies, or the raw stream.
"""

from dataclasses import dataclass

from meter import Sample, TcpInfo
from reporting import counted, measured, metric_names, missing, modelled

STREAM = "streams have no requests"
# `pagewire bench run` takes the difference of two moments, in which the sockets are its own.
TCP_REMARK = (
    "Retransmits and what limited TCP: of another program's connections ss(8) tells them since "
    "each began, warm-up included, near the window's end; of `pagewire bench run` they are of the "
    "window alone.")
LATENCY = {"latency_p50_us": "p50", "latency_p90_us": "p90", "latency_p99_us": "p99",
           "latency_p999_us": "p99_9"}
TCP = ("retransmits", "receiver_limited_percent", "send_buffer_limited_percent")
NOT_HAD = {
    "syscalls_per_s": "no round of this comparison is traced",
    "bytes_per_syscall": "no round of this comparison is traced",
    "copied_bytes": "the program does not tell what it copies",
    "copies_per_byte": "the program does not tell what it copies",
    "memory_traffic_per_byte": "modelled from copied bytes, which are not known here",
    "llc_misses_per_gbit": "this comparison opens no perf events",
    "copy_share_percent": "no round of this comparison is sampled",
}


@dataclass(frozen=True)
class Client:
    """What a client said of its window."""
    received_bytes: int
    seconds: float
    cpu_s: float
    latency_us: dict | None = None  # request mode


@dataclass(frozen=True)
class Window:
    before: Sample
    after: Sample
    client: Client
    tcp: TcpInfo | None  # near the window's end
    size: int | None     # request mode: of one body
    # The samples enclose everything that was sent. Else they are taken up to a tick after the
    # client's window opens and closes, and only their rates hold.
    whole: bool
    tsc_mhz: float | None
    threaded: bool = False  # the server's threads share its CPU


def figures_of(window: Window) -> dict:
    """Every metric, each with a value or a reason."""
    found = {name: missing(reason) for name, reason in NOT_HAD.items()}
    found |= bill(window) | requests(window) | events(window) | of_tcp(window.tcp) | trust(window)
    return {name: found[name] for name in metric_names()}


def handshake_figures(window: Window, count: int) -> dict:
    """A handshake stands where a request stands; there are no bytes to bill."""
    found = {name: missing("a handshake has no body")
             for name in ("throughput_gbit_per_s", "cpu_ms_per_gbit", "cycles_per_gbit",
                          "service_demand_us_per_kib")}
    found |= {name: missing(reason) for name, reason in NOT_HAD.items()}
    found |= {"requests_per_s": counted(count / window.client.seconds),
              "cpu_us_per_request": measured(cpu_s(window) * 1e6 / count)}
    found |= dict.fromkeys(TCP, missing("a connection ends with its handshake"))
    found |= busy(window) | latency(window) | events(window) | trust(window)
    return {name: found[name] for name in metric_names()}


def between(window: Window, name: str) -> float:
    return getattr(window.after, name) - getattr(window.before, name)


def span_s(window: Window) -> float:
    """What the samples' differences are divided by."""
    return window.client.seconds if window.whole else between(window, "at_ns") / 1e9


def cpu_s(window: Window) -> float:
    """Of the server, for what the client received."""
    return between(window, "run_ns") / 1e9 / span_s(window) * window.client.seconds


def bill(window: Window) -> dict:
    client = window.client
    gbit = client.received_bytes * 8 / 1e9
    cpu = cpu_s(window)
    ms_per_gbit = cpu * 1e3 / gbit
    cycles = (modelled(ms_per_gbit * window.tsc_mhz * 1e3) if window.tsc_mhz
              else missing("neither counted nor modelled: the frequency of the TSC is not known"))
    return {
        "throughput_gbit_per_s": counted(gbit / client.seconds),
        **busy(window),
        "cpu_ms_per_gbit": measured(ms_per_gbit),
        "cycles_per_gbit": cycles,
        "service_demand_us_per_kib": measured(cpu * 1e6 / (client.received_bytes / 1024)),
    }


def busy(window: Window) -> dict:
    percent = measured(between(window, "run_ns") / 1e7 / span_s(window))
    return {"cpu_percent": percent, **user_and_system(window)}


def user_and_system(window: Window) -> dict:
    """Ticks give the proportion, the scheduler's nanoseconds the amount."""
    names = ("cpu_user_percent", "cpu_system_percent")
    ticked_s = [between(window, "user_s"), between(window, "system_s")]
    if sum(ticked_s) <= 0:
        return dict.fromkeys(names, missing("less CPU time than the kernel's unit of counting, "
                                            "a tick"))
    per_tick = between(window, "run_ns") / 1e7 / span_s(window) / sum(ticked_s)
    return {name: measured(ticked * per_tick) for name, ticked in zip(names, ticked_s)}


def requests(window: Window) -> dict:
    client = window.client
    if window.size is None:
        return dict.fromkeys(("requests_per_s", "cpu_us_per_request", *LATENCY), missing(STREAM))
    done = client.received_bytes / window.size  # parts of bodies count as parts of requests
    return {"requests_per_s": counted(done / client.seconds),
            "cpu_us_per_request": measured(cpu_s(window) * 1e6 / done), **latency(window)}


def latency(window: Window) -> dict:
    found = {}
    for name, key in LATENCY.items():
        value = (window.client.latency_us or {}).get(key)
        found[name] = (missing("no request was answered whole within the window")
                       if value is None else counted(value))
    return found


def events(window: Window) -> dict:
    span = span_s(window)
    part = window.client.seconds / span  # of the samples' differences
    return {
        "voluntary_switches_per_s": measured(between(window, "voluntary") / span),
        "involuntary_switches_per_s": measured(between(window, "involuntary") / span),
        "minor_faults": measured(between(window, "minor_faults") * part),
        "major_faults": measured(between(window, "major_faults") * part),
    }


def of_tcp(tcp: TcpInfo | None) -> dict:
    """Since the connections began, warm-up included."""
    if tcp is None:
        return dict.fromkeys(TCP, missing("ss(8) showed no connection of the server"))
    found = {"retransmits": measured(tcp.retransmits)}
    for name, limited_ms in zip(TCP[1:], (tcp.receiver_limited_ms, tcp.send_buffer_limited_ms)):
        found[name] = (measured(limited_ms * 100 / tcp.busy_ms) if tcp.busy_ms
                       else missing("TCP had nothing to send"))
    return found


def trust(window: Window) -> dict:
    taken_s = between(window, "at_ns") / 1e9
    machine_s = between(window, "machine_s")
    return {
        "cpu_softirq_percent": measured(between(window, "softirq_s") * 100 / taken_s),
        "client_cpu_percent": measured(window.client.cpu_s * 100 / window.client.seconds),
        "server_wait_percent": (missing("its threads wait for each other on the one CPU")
                                if window.threaded else
                                measured(between(window, "wait_ns") / 1e7 / taken_s)),
        "ksoftirqd_percent": measured(between(window, "ksoftirqd_ns") / 1e7 / taken_s),
        "steal_percent": (measured(between(window, "steal_s") * 100 / machine_s) if machine_s
                          else missing("the window was shorter than a tick")),
    }
