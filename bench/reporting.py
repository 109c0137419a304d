"""A report in the shape of src/bench/report.h (docs/bench.schema.json), for what Python measures.

Only values are made here. Medians, intervals, tables and pictures are made by `pagewire bench
report`, which also writes the JSON that is kept: there is one reporting code, and this is not it.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SCHEMA = REPOSITORY / "docs/bench.schema.json"
SCHEMA_VERSION = 1
FORMATS = ("md", "csv", "svg", "html")
RENDER_LIMIT_S = 60
# `pagewire bench report` makes every summary anew from the rounds.
NOT_SUMMARISED = {"median": None, "mean": None, "ci95": None, "extent": None, "rounds": 0,
                  "source": None, "range": None, "reason": "not summarised"}


@cache
def metric_names() -> list[str]:
    return json.loads(SCHEMA.read_text())["$defs"]["metric_name"]["enum"]


def figure(value: float, source: str) -> dict:
    return {"value": value, "source": source, "reason": None, "range": None}


def measured(value: float) -> dict:
    return figure(value, "measured")


def counted(value: float) -> dict:
    return figure(value, "counted")


def modelled(value: float) -> dict:
    return figure(value, "modelled")


def missing(reason: str) -> dict:
    return {"value": None, "source": None, "reason": reason, "range": None}


def good_round(number: int, seconds: float, figures: dict) -> dict:
    assert set(figures) == set(metric_names()), set(figures) ^ set(metric_names())
    return {"number": number, "instrumented": False, "seconds": seconds, "failed": None,
            "figures": figures}


def failed_round(number: int, why: str) -> dict:
    return {"number": number, "instrumented": False, "seconds": 0, "failed": why, "figures": {}}


def contender(name: str, rounds: list[dict], verified_bytes: int = 0,
              unavailable: str | None = None) -> dict:
    return {"name": name, "unavailable": unavailable, "verified_bytes": verified_bytes,
            "rounds": rounds, "summary": dict.fromkeys(metric_names(), NOT_SUMMARISED)}


def row(title: str, size_bytes: int, connections: int, mode: str, baseline: str | None,
        contenders: list[dict]) -> dict:
    return {"title": title, "size_bytes": size_bytes, "connections": connections, "mode": mode,
            "offered_gbit_per_s": None, "baseline": baseline, "contenders": contenders}


def report(kind: str, title: str, environment: dict, settings: dict[str, str], rows: list[dict],
           remarks: list[str]) -> dict:
    return {"schema_version": SCHEMA_VERSION, "kind": kind, "title": title,
            "environment": environment, "settings": settings, "partial": False,
            "partial_reason": None, "rows": rows, "break_evens": [], "remarks": remarks}


def median(of: dict, metric: str) -> float | None:
    """Of a contender's rounds, for verdicts and for picking the baseline."""
    values = sorted(one["figures"][metric]["value"] for one in of["rounds"]
                    if one["figures"].get(metric, {}).get("value") is not None)
    if not values:
        return None
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def find(of: dict, name: str) -> dict | None:
    return next((one for one in of["contenders"] if one["name"] == name), None)


def cheapest(of: dict, names: set[str],
             metric: str = "cpu_ms_per_gbit") -> tuple[str, float] | None:
    costs = [(one["name"], median(one, metric)) for one in of["contenders"]
             if one["name"] in names]
    costs = [pair for pair in costs if pair[1] is not None]
    return min(costs, key=lambda pair: pair[1]) if costs else None


def environment(pagewire: Path, folder: Path, command_line: list[str]) -> dict:
    """As every other report describes the machine: by pagewire, in its shortest run there is."""
    with tempfile.TemporaryDirectory(prefix="pagewire-bench-", dir=folder) as name:
        into = Path(name) / "run.json"
        command = [str(pagewire), "bench", "run", "--size", "64K", "--path", "copy", "-t", "0.1",
                   "--warmup", "0", "-P", "1", "--repeat", "1", "--json", str(into)]
        done = subprocess.run(command, cwd=name, capture_output=True, text=True, check=False,
                              timeout=RENDER_LIMIT_S)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip() or done.returncode}")
        described = json.loads(into.read_text())["environment"]
    return described | {"command_line": command_line}


def add_output_flags(parser: ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="everything, each round too, as JSON")
    for form, what in zip(FORMATS, ("tables as Markdown", "a line a figure", "a picture",
                                    "all in one page")):
        parser.add_argument(f"--{form}", metavar="FILE", help=f"write {what}")


def write(of: dict, pagewire: Path, outputs: Namespace) -> None:
    """Has it printed and written in every form that was asked for."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="pagewire-bench-") as raw:
        json.dump(of, raw)
        raw.flush()
        command = [str(pagewire), "bench", "report", raw.name]
        for form in ("json", *FORMATS):
            name = getattr(outputs, form)
            command += [f"--{form}", os.path.abspath(name)] if name else []
        sys.stdout.flush()
        done = subprocess.run(command, check=False, timeout=RENDER_LIMIT_S)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}")
