"""`pagewire bench` on a machine that is busy: it says of a round that others starved that it
failed, and then all is run again."""

import json

from .server import run_pagewire

STARVED = "this process was stopped or starved"
TRIES = 10


def run_bench(*arguments, **others):
    """run_pagewire(), of a run in which no round was starved if it can be had."""
    for _ in range(TRIES):
        done = run_pagewire("bench", *arguments, **others)
        if done.returncode != 1 or STARVED not in done.stderr:
            break
    return done


def measure_whole_rounds(*arguments, timeout):
    """The JSON report of `pagewire bench run`, to try things on."""
    done = run_bench("run", *arguments, "--json", "-", timeout=timeout, cwd="/tmp")
    report = json.loads(done.stdout)
    failed = [each["failed"] for contender in report["rows"][0]["contenders"]
              for each in contender["rounds"] if each["failed"] is not None]
    if failed:
        raise AssertionError(f"rounds failed: {failed}")
    return report
