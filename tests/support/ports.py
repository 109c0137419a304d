"""A port for a server that cannot be told to take any and say which."""

import random
import socket

RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
FIRST_UNPRIVILEGED = 1024


def free_port(host="127.0.0.1"):
    """Nobody has it, and nobody is given it meanwhile: bind(2) to port 0 would name one of the
    range that connect(2) takes its own ends from, and thousands of those come and go beside us.
    There a connection to it may even meet itself."""
    with open(RANGE, encoding="ascii") as file:
        lowest = int(file.read().split()[0])
    for port in random.sample(range(FIRST_UNPRIVILEGED, lowest), 100):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError:  # EADDRINUSE: somebody's
                continue
            return port
    raise AssertionError(f"no free port below {lowest}")
