"""What the tests that drive a running pagewire share: starting and stopping it, raw HTTP over a
socket, position-coded files, metrics and descriptors. Standard library only."""

from .case import ServedCase
from .files import TestFolder, coded_bytes, first_difference, write_coded
from .metrics import Metrics, fetch_metrics, settle, wait_until_it_stands
from .ports import free_port
from .raw import Message, RawClient, request_head
from .relay import Relay, Upstream, echo, more_than_sockets_hold, read_all, reset, two_sockets_hold
from .server import (BINARY, SANITIZER, SOURCE, TLS, Pagewire, run_pagewire, tls_flags,
                     wait_until)
from .tls_socket import TlsSocket

__all__ = [
    "BINARY", "SANITIZER", "SOURCE", "TLS", "Message", "Metrics", "Pagewire", "RawClient", "Relay",
    "ServedCase", "TestFolder", "TlsSocket", "Upstream", "coded_bytes", "echo", "fetch_metrics",
    "first_difference", "free_port", "more_than_sockets_hold", "read_all", "request_head", "reset",
    "run_pagewire", "settle", "tls_flags", "two_sockets_hold", "wait_until",
    "wait_until_it_stands", "write_coded",
]
