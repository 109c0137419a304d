"""Tables and verdicts from what was measured. Nothing is measured here."""

FLOOR_REQUEST_US_BAR = 6.5   # on 1 KiB
FLOOR_RATIO_BAR = 1.15
IDLE_BYTES_BAR = 1024

HEADINGS = ["server", "CPU us/request", "CPU ms/Gbit", "vs best peer", "vs floor", "user",
            "Gbit/s", "requests/s", "p50 us", "p99 us", "rounds"]


def number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def cost(result: dict | None) -> float | None:
    return result["cpu_ms_per_gbit"] if result else None


def cheapest(row: dict, kinds: dict[str, str], kind: str) -> tuple[str, float] | None:
    costs = [(name, cost(result)) for name, result in row["results"].items()
             if kinds[name] == kind and cost(result) is not None]
    return min(costs, key=lambda pair: pair[1]) if costs else None


def ratio(result: dict, reference: tuple[str, float] | None) -> float | None:
    return cost(result) / reference[1] if reference and cost(result) is not None else None


def add_ratios(rows: list[dict], kinds: dict[str, str]) -> None:
    for row in rows:
        peer, floor = cheapest(row, kinds, "peer"), cheapest(row, kinds, "floor")
        row["best_peer"] = peer[0] if peer else None
        row["floor"] = floor[0] if floor else None
        for result in row["results"].values():
            result["ratio_to_best_peer"] = ratio(result, peer)
            result["ratio_to_floor"] = ratio(result, floor)


def cells(name: str, result: dict) -> list[str]:
    share = result["user_share"]
    return [name, number(result["cpu_us_per_request"], 2),
            number(result["cpu_ms_per_gbit"], 2),
            number(result["ratio_to_best_peer"], 2), number(result["ratio_to_floor"], 2),
            "-" if share is None else f"{share:.0%}",
            number(result["gbit_per_s"], 2), number(result["requests_per_s"], 0),
            number(result["p50_us"]), number(result["p99_us"]), str(result["rounds"])]


def sorted_results(row: dict) -> list[tuple[str, dict]]:
    return sorted(row["results"].items(), key=lambda item: cost(item[1]) or float("inf"))


def disturbance(row: dict) -> list[str]:
    waits = [result["server_cpu_wait"] for result in row["results"].values()
             if result["server_cpu_wait"] is not None]
    if not waits or max(waits) <= 0.05:
        return []
    return [f"{row['title']}: the machine was not quiet: other programs had the servers' CPU for "
            f"{min(waits):.0%} to {max(waits):.0%} of the time; trust no figure of this row"]


def reasons(row: dict) -> list[str]:
    lines = disturbance(row)
    for name, result in row["results"].items():
        if "reason" in result:
            lines.append(f"{row['title']}: {name} has no figure: {result['reason']}")
        elif result["failed_rounds"]:
            lines.append(f"{row['title']}: {name} lost {len(result['failed_rounds'])} rounds: "
                         f"{result['failed_rounds'][0]}")
        if (result["ksoftirqd_share"] or 0) > 0.01:
            lines.append(f"{row['title']}: {name}: ksoftirqd used "
                         f"{result['ksoftirqd_share']:.0%} of the CPU beside the server; "
                         "its cost is too low by that")
        if (result["client_cpu_busy"] or 0) > 0.95 > (result["server_cpu_busy"] or 1):
            lines.append(f"{row['title']}: {name}: the client was the bottleneck; CPU per request "
                         "holds, throughput is the client's")
    return lines


def verdicts(rows: list[dict], idle: dict | None) -> list[str]:
    """The bars: not dearer than the best peer in any row; close to the floor on 1 KiB."""
    lines = []
    for row in rows:
        result = row["results"].get("pagewire", {})
        if cost(result) is None:
            continue
        against = result["ratio_to_best_peer"]
        if against is not None:
            lines.append(f"{'held  ' if against <= 1 else 'MISSED'} {row['title']}: CPU per Gbit "
                         f"{against:.2f} of the best peer's ({row['best_peer']}), bar 1.00")
        if row["row"]["name"] == "1k":
            spent = result["cpu_us_per_request"]
            lines.append(f"{'held  ' if spent <= FLOOR_REQUEST_US_BAR else 'MISSED'} "
                         f"{row['title']}: {spent:.2f} us of CPU a request, bar "
                         f"{FLOOR_REQUEST_US_BAR}")
            above = result["ratio_to_floor"]
            if above is not None:
                lines.append(f"{'held  ' if above <= FLOOR_RATIO_BAR else 'MISSED'} "
                             f"{row['title']}: {above:.2f} of the floor, bar {FLOOR_RATIO_BAR}")
    if idle and idle.get("bytes_per_connection") is not None:
        each = idle["bytes_per_connection"]
        lines.append(f"{'held  ' if each < IDLE_BYTES_BAR else 'MISSED'} idle: {each:.0f} bytes of "
                     f"user memory a connection at {idle['connections']:,}, bar {IDLE_BYTES_BAR}")
    elif idle:
        lines.append(f"idle: no figure: {idle['reason']}")
    return lines


def machine_lines(report: dict) -> list[str]:
    env = report["environment"]
    lines = [
        f"{env['cpu_model']}, {env['cpus']} CPUs"
        f"{', virtual machine' if env['virtual_machine'] else ''}, Linux {env['kernel']}, "
        f"clock source {env['clock_source']}, {env['date']}",
        f"IRQ_TIME_ACCOUNTING={env['irq_time_accounting']} "
        f"({env['irq_time_accounting_meaning']}), load {env['load_average_at_start']:.2f} at start",
    ]
    for name, server in report["servers"].items():
        if server["kind"] != "floor":
            lines.append(f"{name}: {server['version'] or server['reason']}")
    return lines


METHOD = (
    "One worker pinned to one CPU, the client to another; keep-alive, closed loop, bodies thrown "
    "away in the client's kernel; every body was compared byte by byte once before. Medians over "
    "interleaved rounds. CPU: the scheduler's run time of the process tree (measured). Per "
    "request: bytes received over size, so parts of bodies count (counted). user: share of user "
    "mode, sampled at ticks. Latency is closed-loop: at saturation, not at a rate of arrival. "
    "Gbit = 10^9 bits of body. Ratios: of CPU per Gbit, to the cheapest peer and to the cheapest "
    "bare loop."
)


def text(report: dict) -> str:
    out = machine_lines(report) + [""]
    for row in report["rows"]:
        table = [HEADINGS] + [cells(name, result) for name, result in sorted_results(row)]
        widths = [max(len(line[i]) for line in table) for i in range(len(HEADINGS))]
        out.append(f"{row['title']} connections")
        for line in table:
            padded = [cell.rjust(widths[i]) for i, cell in enumerate(line)]
            out.append("  " + "  ".join([line[0].ljust(widths[0])] + padded[1:]))
        out.append("")
    for row in report["rows"]:
        out += reasons(row)
    out += verdicts(report["rows"], report["idle"])
    if report["rows"]:
        out += ["", METHOD, report["environment"]["note"]]
    return "\n".join(out)


def markdown(report: dict) -> str:
    out = ["# pagewire serve against its peers", ""]
    out += [f"- {line}" for line in machine_lines(report)] + [""]
    if report["rows"]:
        out += ["| row | " + " | ".join(HEADINGS) + " |",
                "|---|---|" + "---:|" * (len(HEADINGS) - 1)]
    for row in report["rows"]:
        for name, result in sorted_results(row):
            line = cells(name, result)
            shown = [f"**{cell}**" for cell in line] if name == "pagewire" else line
            out.append("| " + " | ".join([row["title"], *shown]) + " |")
    notes = [line for row in report["rows"] for line in reasons(row)]
    out += [""] + [f"- {line}" for line in notes + verdicts(report["rows"], report["idle"])]
    if report["rows"]:
        out += ["", METHOD, "", report["environment"]["note"]]
    return "\n".join(out) + "\n"
