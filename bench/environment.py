"""What a figure depends on besides the program: machine, kernel, clock, accounting options."""

import datetime
import gzip
import os
import platform
from pathlib import Path

LOOPBACK_NOTE = (
    "Server and client talk over loopback on one machine. What the sender is charged contains the "
    "receiver's softirq work and the wake-up of the client's CPU, about a third of it, the same "
    "for every server; a network card and its driver are absent. Read the ratios, not the absolute "
    "figures, and do not take Gbit/s for what a card would carry."
)


def read_text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def cpu_model() -> str | None:
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return None


def kernel_option(name: str) -> str | None:
    """'y', 'm', a value, 'n'; None when the kernel's configuration cannot be read."""
    try:
        with gzip.open("/proc/config.gz", "rt") as config:
            lines = config.read().splitlines()
    except OSError:
        boot = read_text(f"/boot/config-{platform.release()}")
        if boot is None:
            return None
        lines = boot.splitlines()
    for line in lines:
        if line.startswith(f"CONFIG_{name}="):
            return line.partition("=")[2].strip('"')
    return "n"


def describe() -> dict:
    irq_time = kernel_option("IRQ_TIME_ACCOUNTING")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "cpu_model": cpu_model(),
        "cpus": os.cpu_count(),
        "virtual_machine": "hypervisor" in (read_text("/proc/cpuinfo") or ""),
        "clock_source": read_text(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "irq_time_accounting": irq_time,
        "irq_time_accounting_meaning": {
            None: "unknown: the kernel's configuration cannot be read",
            "y": "softirq time is kept apart and is not in the server's CPU",
        }.get(irq_time, "softirq time is charged to whoever was interrupted"),
        "tick_cpu_accounting": kernel_option("TICK_CPU_ACCOUNTING"),
        "hz": kernel_option("HZ"),
        "load_average_at_start": os.getloadavg()[0],
        "note": LOOPBACK_NOTE,
    }
