"""Starts `pagewire relay`, and upstreams for it: small servers in threads of the test."""

import errno
import os
import re
import socket
import struct
import threading

from .server import BINARY, PATIENCE_S, Pagewire, wait_until

RELAYING = re.compile(r" relaying (\[[0-9a-f:]+\]|[0-9.]+):([0-9]+) to ")
ADMIN = re.compile(r"admin on http://([0-9.]+):([0-9]+)/metrics")


class Relay(Pagewire):
    """`pagewire relay FLAGS`, started and listening. `to` are addresses as of a socket. Use as a
    context manager, or stop()."""

    def __init__(self, *flags, to=(), listen=("127.0.0.1:0",), under=(), **popen):
        command = [*under, BINARY, "relay", "--admin", "127.0.0.1:0"]
        for address in listen:
            command += ["--listen", address]
        for host, port in to:
            command += ["--to", f"{host}:{port}"]
        self.launch(command + list(flags), **popen)
        self.wait_for_addresses(max(1, len(listen)), True)

    def wait_for_addresses(self, count, _with_admin):
        def look():
            if self.process.poll() is not None:
                self.reader.join(PATIENCE_S)
                raise AssertionError(f"{self.command} ended with {self.process.returncode}:\n"
                                     f"{self.output}")
            found = RELAYING.findall(self.output)
            self.addresses = [(host.strip("[]"), int(port)) for host, port in found]
            admin = ADMIN.search(self.output)
            self.admin = (admin[1], int(admin[2])) if admin else None
            return len(self.addresses) >= count and self.admin
        try:
            wait_until(look, "the start-up lines with the addresses")
        except AssertionError:
            self.kill()
            raise

    @property
    def address(self):
        return self.addresses[0]

    def held(self):
        """Descriptors, once the connection of the last look at the metrics is closed."""
        wait_until(lambda: not self.admin_is_asked(), "nobody is connected to the admin listener")
        return self.descriptors()

    def admin_is_asked(self):
        """Whether the relay holds a socket of the admin listener's besides that."""
        listening, of_nobody = "0A", "0"
        with open("/proc/net/tcp", encoding="ascii") as file:
            lines = [line.split() for line in file.readlines()[1:]]
        return any(int(line[1].split(":")[1], 16) == self.admin[1] and line[3] != listening
                   and line[9] != of_nobody for line in lines)

    def connect(self, timeout=PATIENCE_S, receive_buffer=None):
        client = Client()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(timeout)
        client.connect(self.address)
        return client


class Client(socket.socket):
    """A reset that comes before connect(2) has looked is told by connect(2) and by nothing after
    it. Here sendall() tells it as of any other, and recv() behind what can still be read."""
    reset_at_once = False

    def connect(self, address):
        try:
            super().connect(address)
        except ConnectionResetError:
            self.reset_at_once = True

    def recv(self, *arguments):
        try:
            data = super().recv(*arguments)
        except OSError as error:  # ENOTCONN: connect(2) has dropped all of it
            if not self.reset_at_once or error.errno != errno.ENOTCONN:
                raise
            data = b""
        if not data:
            self.tell_of_reset()
        return data

    def sendall(self, *arguments):
        self.tell_of_reset()  # else EPIPE
        super().sendall(*arguments)

    def tell_of_reset(self):
        if self.reset_at_once:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


class Upstream:
    """A listener whose connections are each given to `serve(connection)` in a thread; what that
    raises as OSError is kept in `errors`. Closed by close()."""

    def __init__(self, serve, backlog=1024, at=("127.0.0.1", 0)):
        self.serve, self.errors, self.served = serve, [], 0
        self.listener = socket.create_server(at, backlog=backlog)
        self.address = self.listener.getsockname()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # closed
            self.served += 1
            threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        with connection:
            try:
                self.serve(connection)
            except OSError as error:
                self.errors.append(error)

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # no listener any more
        self.listener.close()


def two_sockets_hold():
    """The most bytes on their way between two programs: the kernel lets a send buffer and a receive
    buffer that are not set grow to these."""
    most = 0
    for name in ("tcp_wmem", "tcp_rmem"):
        with open(f"/proc/sys/net/ipv4/{name}", encoding="ascii") as file:
            most += int(file.read().split()[2])
    return most + (1 << 20)  # what a queue may exceed its limit by


def more_than_sockets_hold():
    """Bytes that do not fit between a sender and a reader who has stopped, with a relay in between:
    both of the relay's sockets grow, and those of the ends, where they are not set, the one's send
    buffer and the other's receive buffer as well."""
    return 2 * two_sockets_hold() + (2 << 20)  # pipe, records


def echo(connection):
    """Sends back what comes until FIN, then FIN."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def read_all(connection):
    """What comes until FIN."""
    parts = []
    while data := connection.recv(1 << 18):
        parts.append(data)
    return b"".join(parts)


def reset(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
