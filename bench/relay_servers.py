"""The relays of `./dev bench relay`: each forwards one port of this machine to another one.

One worker on one CPU, no logs, no timeouts within a run. HAProxy and nginx at their defaults, and
once more with what helps them here.
"""

import os
import pwd
import shlex
import subprocess
from pathlib import Path
from typing import Callable

from servers import START_LIMIT_S, Server, Setting

NAMES = "pagewire haproxy-splice haproxy-tuned haproxy-copy nginx-stream nginx-tuned"
NGINX_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def haproxy(name: str, origin_port: int, globally: str, options: str) -> Server:
    def command(at: Setting) -> list[str]:
        config = at.folder / "haproxy.cfg"
        # maxconn sets how many pipes there may be at most: a quarter of it.
        config.write_text(f"""global
  nbthread 1
  maxconn {at.max_connections}
  {globally}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  {options}
listen relay
  bind 127.0.0.1:{at.port} backlog 4096
  server origin 127.0.0.1:{origin_port}
""")
        return ["-db", "-f", str(config)]
    return Server(name, "peer", "haproxy", command, ["-v"], "apt-get install haproxy")


def nginx_stream(name: str, origin_port: int, lines: str) -> Server:
    def command(at: Setting) -> list[str]:
        config = at.folder / "nginx.conf"
        config.write_text(f"""load_module {NGINX_MODULE};
daemon off;
user {pwd.getpwuid(os.geteuid()).pw_name};
worker_processes 1;
pid {at.folder}/nginx.pid;
error_log {at.folder}/error.log error;
worker_rlimit_nofile {2 * at.max_connections + 1000};
events {{ use epoll; worker_connections {2 * at.max_connections + 100}; }}
stream {{
  access_log off;
  {lines}
  proxy_timeout 3600s;
  server {{
    listen 127.0.0.1:{at.port} backlog=4096;
    proxy_pass 127.0.0.1:{origin_port};
  }}
}}
""")
        return ["-p", str(at.folder), "-e", str(at.folder / "error.log"), "-c", str(config)]

    class Stream(Server):
        def why_missing(self) -> str | None:
            if not Path(NGINX_MODULE).exists():
                return f"{NGINX_MODULE} is not there ({self.install})"
            return super().why_missing()
    return Stream(name, "peer", "nginx", command, ["-v"],
                  "apt-get install nginx-light libnginx-mod-stream")


def pagewire_relay(build: Path, origin_port: int, flags: str) -> Server:
    program = build / "pagewire"

    def command(at: Setting) -> list[str]:
        return ["relay", "--listen", f"127.0.0.1:{at.port}", "--to", f"127.0.0.1:{origin_port}",
                "--workers", "1", "--admin", "off", "--access-log", "off",
                "--max-connections", str(at.max_connections), *shlex.split(flags)]

    class Relay(Server):
        def why_missing(self) -> str | None:
            done = subprocess.run([program, "relay", "--help"], capture_output=True, check=False,
                                  timeout=START_LIMIT_S)
            return None if done.returncode == 0 else f"{program} is not there with a relay"
    return Relay("pagewire", "subject", str(program), command, ["--version"], "./dev build")


def origin(build: Path) -> Server:
    """A server of files, cheaper than any relay in front of it."""
    def command(at: Setting) -> list[str]:
        return ["serve", str(at.root), "--listen", f"127.0.0.1:{at.port}", "--workers", "1",
                "--admin", "off", "--access-log", "off", "--max-connections",
                str(at.max_connections), "--idle-timeout", "1h"]
    return Server("origin", "origin", str(build / "pagewire"), command, ["--version"])


Maker = Callable[[int], list[Server]]


def known_relays(build: Path, flags: str) -> Maker:
    """By the port of their origin."""
    splice = "option splice-request\n  option splice-response"

    def relays(port: int) -> list[Server]:
        return [
            pagewire_relay(build, port, flags),
            haproxy("haproxy-splice", port, "", splice),
            haproxy("haproxy-tuned", port, "tune.pipesize 1048576", splice),
            haproxy("haproxy-copy", port, "nosplice", ""),
            nginx_stream("nginx-stream", port, ""),
            nginx_stream("nginx-tuned", port, "proxy_buffer_size 128k;"),
        ]
    return relays
