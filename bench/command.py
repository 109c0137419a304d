"""What `./dev bench serve` and `./dev bench peers` have in common around their rows."""

import argparse
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import corpus
import reporting
from measure import WENT_WRONG, Plan, Row, say

CAN_BE_RUN = ("pagewire", "bench_load")


def at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def absolute(text: str) -> Path:
    return Path(text).resolve()  # what is started has another folder as its own


def parser_for(name: str, about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"./dev bench {name}", description=about)
    add = parser.add_argument
    add("--rounds", type=at_least_one, default=5, help="rounds, interleaved (5)")
    add("--seconds", type=float, default=2.0, help="length of one measurement (2)")
    add("--warm-up", type=float, default=0.3, help="seconds before each (0.3)")
    add("--build", type=absolute, default=reporting.REPOSITORY / "build/release", metavar="DIR",
        help="where the binaries are (build/release)")
    add("--work-dir", type=absolute, default=Path("/var/tmp"), metavar="DIR",
        help="where the temporary files go: on a disk (/var/tmp)")
    add("--server-cpu", type=int, default=0, help="(0)")
    add("--client-cpu", type=int, default=1, help="(1)")
    reporting.add_output_flags(parser)
    return parser


def parse(parser: argparse.ArgumentParser,
          more_programs: tuple[str, ...] = ()) -> argparse.Namespace:
    arguments = parser.parse_args()
    if arguments.seconds <= 0 or arguments.warm_up < 0:
        parser.error("--seconds must be above 0 and --warm-up not below it")
    for name in CAN_BE_RUN + more_programs:
        if not (arguments.build / name).exists():
            sys.exit(f"{arguments.build / name} is not built (./dev build)")
    allowed = os.sched_getaffinity(0)
    for cpu in (arguments.server_cpu, arguments.client_cpu):
        if cpu not in allowed:
            sys.exit(f"CPU {cpu} cannot be used here (allowed: {sorted(allowed)})")
    return arguments


def describe(name: str, arguments: argparse.Namespace) -> dict:
    line = ["./dev", "bench", name, *sys.argv[1:]]
    return reporting.environment(arguments.build / "pagewire", arguments.work_dir, line)


@contextmanager
def work_folder(arguments: argparse.Namespace) -> Iterator[Path]:
    """Gone afterwards. From now on we keep to the client's CPU."""
    os.sched_setaffinity(0, {arguments.client_cpu})  # what we do must not disturb the server
    with tempfile.TemporaryDirectory(prefix="pagewire-bench-", dir=arguments.work_dir) as name:
        folder = Path(name)
        folder.chmod(0o755)  # servers give up root and read as another user
        yield folder


@contextmanager
def plan_for(arguments: argparse.Namespace, environment: dict,
             rows: list[Row]) -> Iterator[Plan]:
    """With the rows' files made, in a folder that is gone afterwards."""
    with work_folder(arguments) as folder:
        plan = Plan(build=arguments.build, folder=folder, rounds=arguments.rounds,
                    seconds=arguments.seconds, warm_up_s=arguments.warm_up,
                    server_cpu=arguments.server_cpu, client_cpu=arguments.client_cpu,
                    tsc_mhz=environment["tsc_mhz"])
        root = plan.folder / "root"
        root.mkdir()
        root.chmod(0o755)
        for row in rows:
            if not plan.file_of(row).exists():
                say(f"writing {row.name}.bin")
                corpus.write_file(plan.file_of(row), row.size)
        yield plan


def settings_of(arguments: argparse.Namespace) -> dict[str, str]:
    return {"--rounds": str(arguments.rounds), "--seconds": f"{arguments.seconds:g}",
            "--warm-up": f"{arguments.warm_up:g}", "--server-cpu": str(arguments.server_cpu),
            "--client-cpu": str(arguments.client_cpu)}


def is_complete(rows: list[dict]) -> bool:
    """Every contender of every row has a bill, for its bytes or for its handshakes."""
    return all(any(reporting.median(one, metric) is not None
                   for metric in ("cpu_ms_per_gbit", "cpu_us_per_request"))
               for row in rows for one in row["contenders"])


def _end_on_signal(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # unwinds: every server and client is ended on the way out


def run(main: Callable[[], int]) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_on_signal)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except WENT_WRONG as error:
        sys.exit(f"{shlex.join(sys.argv[:1])}: {error}")
