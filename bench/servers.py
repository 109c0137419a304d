"""The servers that are compared: how each is configured, started, asked its version and ended.

Every one gets one worker on one CPU, no logs, keep-alive without end, and the open-file cache that
it has. Configurations live in a temporary folder; nothing of the system's own is read. A server is
the leader of a session of its own, and the kernel ends it when this program dies.
"""

import contextlib
import os
import pwd
import random
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

START_LIMIT_S = 60
STOP_LIMIT_S = 30


@dataclass(frozen=True)
class Setting:
    """Where one server runs: all that a command line or a configuration is made from."""
    root: Path       # the files
    folder: Path     # for this server's own files
    port: int
    build: Path
    file: Path       # the row's file (the floors serve only this one)
    size: int
    max_connections: int


@dataclass(frozen=True)
class Server:
    name: str
    kind: str                                    # subject, peer or floor
    program: str                                 # absolute, or looked up in PATH
    command: Callable[[Setting], list[str]]
    version: list[str] = field(default_factory=list)
    install: str = ""                            # how to get it
    rows: tuple[str, ...] | None = None          # None: every row
    threaded: bool = False                       # its threads share the one CPU

    def path(self) -> str | None:
        return shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

    def why_missing(self) -> str | None:
        return None if self.path() else f"{self.program} is not there ({self.install})"

    def version_text(self) -> str | None:
        if not self.version or not self.path():
            return None
        done = subprocess.run([self.path(), *self.version], capture_output=True, text=True,
                              timeout=START_LIMIT_S, check=False)
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0].removeprefix("nginx version: ") if lines else None


def nginx_config(at: Setting, lines: str, listen: str) -> str:
    return f"""daemon off;
worker_processes 1;
pid {at.folder}/nginx.pid;
error_log {at.folder}/error.log error;
worker_rlimit_nofile {at.max_connections + 1000};
events {{ use epoll; worker_connections {at.max_connections + 100}; }}
http {{
  access_log off;
  {lines}
  tcp_nopush off;
  tcp_nodelay on;
  keepalive_timeout 3600s;
  keepalive_requests 1000000000;
  open_file_cache max=1000 inactive=3600s;
  open_file_cache_valid 60s;
  default_type application/octet-stream;
  client_body_temp_path {at.folder}/body;
  proxy_temp_path {at.folder}/proxy;
  fastcgi_temp_path {at.folder}/fastcgi;
  uwsgi_temp_path {at.folder}/uwsgi;
  scgi_temp_path {at.folder}/scgi;
  server {{ listen 127.0.0.1:{at.port} {listen}; root {at.root}; }}
}}
"""


def nginx_command(lines: str, listen: str) -> Callable[[Setting], list[str]]:
    def command(at: Setting) -> list[str]:
        config = at.folder / "nginx.conf"
        config.write_text(nginx_config(at, lines, listen))
        return ["-p", str(at.folder), "-e", str(at.folder / "error.log"), "-c", str(config)]
    return command


def h2o_command(listen: str = "") -> Callable[[Setting], list[str]]:
    """`listen`: more lines, of the listener and then of the whole."""
    def command(at: Setting) -> list[str]:
        config = at.folder / "h2o.conf"
        config.write_text(h2o_config(at, listen))
        return ["-c", str(config)]
    return command


def h2o_config(at: Setting, listen: str) -> str:
    # 2.2 has neither a limit on requests per connection nor a setting for its open-file cache.
    # It must stay the user it is: a change of user clears the parent-death signal (prctl(2)).
    return f"""user: {pwd.getpwuid(os.geteuid()).pw_name}
num-threads: 1
max-connections: {at.max_connections}
http1-request-timeout: 3600
listen:
  host: 127.0.0.1
  port: {at.port}
{listen}hosts:
  default:
    paths:
      /:
        file.dir: {at.root}
"""


def lighttpd_command(at: Setting) -> list[str]:
    config = at.folder / "lighttpd.conf"
    # 65535 is the most that max-keep-alive-requests holds.
    config.write_text(f"""server.document-root = "{at.root}"
server.bind = "127.0.0.1"
server.port = {at.port}
server.errorlog = "{at.folder}/error.log"
server.event-handler = "linux-sysepoll"
server.network-backend = "sendfile"
server.max-worker = 0
server.max-fds = {at.max_connections + 1000}
server.max-connections = {at.max_connections}
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 3600
server.max-read-idle = 3600
server.stat-cache-engine = "inotify"
mimetype.assign = ( "" => "application/octet-stream" )
""")
    return ["-D", "-f", str(config)]


def caddy_command(at: Setting) -> list[str]:
    config = at.folder / "Caddyfile"
    config.write_text(f"""{{
  admin off
  auto_https off
  storage file_system {at.folder}/storage
}}
http://127.0.0.1:{at.port} {{
  root * {at.root}
  file_server
}}
""")
    return ["run", "--config", str(config), "--adapter", "caddyfile"]


def pagewire_server(build: Path, path: str, flags: str) -> Server:
    def command(at: Setting) -> list[str]:
        return ["serve", str(at.root), "--listen", f"127.0.0.1:{at.port}", "--workers", "1",
                "--admin", "off", "--access-log", "off", "--path", path,
                "--max-connections", str(at.max_connections), *shlex.split(flags)]
    return Server(name="pagewire" if path == "auto" else f"pagewire[{path}]", kind="subject",
                  program=str(build / "pagewire"), command=command, version=["--version"],
                  install="./dev build")


def nginx(name: str, lines: str, threaded: bool = False, listen: str = "",
          rows: tuple[str, ...] | None = None) -> Server:
    return Server(name, "peer", "nginx", nginx_command(lines, listen), ["-v"],
                  "apt-get install nginx-light", rows=rows, threaded=threaded)


def python_server() -> Server:
    """The naive example. 3.11 is the first whose --protocol keeps connections."""
    def command(at: Setting) -> list[str]:
        return ["-m", "http.server", str(at.port), "--bind", "127.0.0.1", "--protocol", "HTTP/1.1",
                "--directory", str(at.root)]
    return Server("python", "peer", "/usr/bin/python3", command, ["--version"],
                  "apt-get install python3", threaded=True)


def known_servers(build: Path, paths: list[str], pagewire_flags: str) -> list[Server]:
    apt = "apt-get install "
    return [
        *(pagewire_server(build, path, pagewire_flags) for path in paths),
        nginx("nginx", "sendfile on;"),
        nginx("nginx-copy", "sendfile off;"),
        Server("h2o", "peer", "h2o", h2o_command(), ["--version"], apt + "h2o"),
        Server("lighttpd", "peer", "lighttpd", lighttpd_command, ["-v"], apt + "lighttpd"),
        Server("caddy", "peer", "caddy", caddy_command, ["version"], apt + "caddy",
               threaded=True),
        Server("floor-send", "floor", str(build / "bench_epoll_send"),
               lambda at: [f"127.0.0.1:{at.port}", str(at.size)], install="./dev build",
               rows=("1k", "32k")),
        Server("floor-uring", "floor", str(build / "bench_uring_send"),
               lambda at: [f"127.0.0.1:{at.port}", str(at.size)], install="./dev build",
               rows=("1k", "32k")),
        Server("floor-sendfile", "floor", str(build / "bench_sendfile_loop"),
               lambda at: [f"127.0.0.1:{at.port}", str(at.file)], install="./dev build",
               rows=("32k", "400k", "6m", "1g")),
    ]


def free_port() -> int:
    """None of the range that connect(2) takes its own ends from, as bind(2) to port 0 gives: the
    load's connections come and go there, and a server's own may meet the port it listens on."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(1024, lowest), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):  # EADDRINUSE: somebody's
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port below {lowest}")


class Running:
    """A started server. Use as a context manager: it has ended when the block is left."""

    def __init__(self, server: Server, at: Setting, cpu: int):
        self.server, self.at = server, at
        at.folder.mkdir(parents=True, exist_ok=True)
        at.folder.chmod(0o755)
        self.log = at.folder / "output.txt"
        # The kernel sends SIGTERM when we die, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG).
        command = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(cpu), server.path(),
                   *server.command(at)]
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.at.port}/{self.at.file.name}"

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.at.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        said = self.log.read_text(errors="replace").strip()[-400:]
        raise RuntimeError(f"{self.server.name} does not answer: {said or 'it said nothing'}")

    def __enter__(self) -> "Running":
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
