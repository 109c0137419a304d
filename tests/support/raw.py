"""A client that sends exactly the bytes that it is told and reads answers strictly (RFC 9112):
what a tolerant client forgives must fail here."""

import re
import socket
import time

from .server import TLS, TLS_PORTS
from .tls_socket import TlsSocket

TIMEOUT_S = 60.0  # a guard against hanging
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t\x20-\x7e]*")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")


def request_head(target="/", method="GET", version="HTTP/1.1", host="test", fields=()):
    """A request head as bytes. `fields` are "Name: value" texts; host=None leaves Host out."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines.extend(fields)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Message:
    """One response: its status, its fields in order, and its body."""

    def __init__(self, status, fields):
        self.status = status
        self.fields = fields
        self.body = b""

    def all(self, name):
        return [value for key, value in self.fields if key == name.lower()]

    def get(self, name):
        """The value of a field that stands at most once; None when it is not there."""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{name} stands {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def closes(self):
        return (self.get("connection") or "").lower() == "close"

    def parts(self):
        """The parts of a multipart/byteranges body: a list of (content range, type, bytes)."""
        kind = re.fullmatch(r'multipart/byteranges; ?boundary="?([^";]+)"?',
                            self.get("content-type") or "")
        if not kind:
            raise AssertionError(f"not multipart/byteranges: {self.get('content-type')}")
        delimiter = b"\r\n--" + kind.group(1).encode()
        pieces = (b"\r\n" + self.body).split(delimiter)
        if pieces[0] not in (b"", b"\r\n") or pieces[-1] not in (b"--", b"--\r\n"):
            raise AssertionError(f"bad delimiters: starts {pieces[0]!r}, ends {pieces[-1]!r}")
        parts = []
        for piece in pieces[1:-1]:
            head, _, body = piece.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
            parts.append((fields["content-range"], fields.get("content-type"), body))
        return parts


class RawClient:
    """One connection. Use as a context manager."""

    def __init__(self, address, receive_buffer=None, timeout=TIMEOUT_S, tls=None):
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if TLS and address[1] in TLS_PORTS if tls is None else tls:
            self.socket = TlsSocket(self.socket)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes with a RST instead of a FIN."""
        raw = self.socket.raw if isinstance(self.socket, TlsSocket) else self.socket
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()

    def send(self, data):
        self.socket.sendall(data)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def get(self, target="/", method="GET", fields=(), **others):
        """Sends one request and reads its answer."""
        self.send(request_head(target, method, fields=fields, **others))
        return self.read(method)

    def read(self, method="GET", interim=False):
        """Reads one response. 1xx responses are skipped unless `interim` is set."""
        while True:
            message = self.read_head()
            if message.status >= 200:
                break
            if interim:
                return message
        message.body = self.read_body(message, method)
        return message

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > 65536:
                raise AssertionError(f"no end of head: {self.buffer[:200]!r}")
            self.fill(f"in the head, after {self.buffer[:200]!r}")
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = STATUS_LINE.fullmatch(lines[0])
        if not status:
            raise AssertionError(f"bad status line: {lines[0]!r}")
        fields = []
        for line in lines[1:]:
            field = FIELD_LINE.fullmatch(line)
            if not field:
                raise AssertionError(f"bad field line: {line!r}")
            fields.append((field[1].decode().lower(), field[2].decode()))
        return Message(int(status[1]), fields)

    def read_body(self, message, method):
        if message.all("transfer-encoding"):
            raise AssertionError("no response of pagewire has a Transfer-Encoding")
        length = message.get("content-length")
        if method == "HEAD" or message.status in (204, 304):
            return b""
        if length is None:
            if not message.closes:
                raise AssertionError(f"{message.status}: no Content-Length, yet no close")
            return self.read_rest()
        return self.read_exactly(int(length))

    def read_exactly(self, count):
        pieces, missing = [self.buffer[:count]], count - len(self.buffer)
        self.buffer = self.buffer[count:]
        while missing > 0:
            piece = self.socket.recv(min(missing, 1 << 20))
            if not piece:
                raise EOFError(f"closed, {missing} of {count} bytes are missing")
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def read_rest(self):
        """Everything until the server closes; a reset counts as an error."""
        pieces = [self.buffer]
        self.buffer = b""
        while piece := self.socket.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def fill(self, where):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise EOFError(f"closed {where}")
        self.buffer += piece

    def is_closed(self, within=TIMEOUT_S):
        """True when the server ends the connection within that time and sends nothing more."""
        if self.buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(within)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(before)

    def is_open(self, during=0.2):
        """True when the server neither closes nor sends anything for that time."""
        if self.buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(during)
        try:
            self.socket.recv(1)
            return False
        except TimeoutError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.socket.settimeout(before)

    def trickle(self, data, pause=0.0, step=1):
        """Sends `data` in steps so small that the server sees each by itself."""
        for place in range(0, len(data), step):
            self.send(data[place:place + step])
            if pause:
                time.sleep(pause)
