"""A TLS client over a socket, with the socket's own methods. Python's SSLSocket cannot close its
writing half and read on, and forgives a FIN without close_notify: here that fails."""

import socket
import ssl
import time


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


CONTEXT = client_context()


class TlsSocket:
    """Does the handshake at once. `peer_closed`: close_notify has come."""

    def __init__(self, raw, context=CONTEXT, server_hostname=None, session=None):
        self.raw = raw
        self.peer_closed = False
        self.received, self.to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.received, self.to_send, server_hostname=server_hostname,
                                    session=session)
        self.run(self.tls.do_handshake)
        self.flush()

    def run(self, call, *arguments):
        """One call of the TLS object, with as many bytes of the peer's as it wants."""
        while True:
            try:
                return call(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()

    def flush(self):
        if self.to_send.pending:
            self.raw.sendall(self.to_send.read())

    def fill(self):
        data = self.raw.recv(1 << 18)
        if data:
            self.received.write(data)
        else:
            raise ssl.SSLEOFError("FIN without close_notify")

    def sendall(self, data):
        self.tls.write(data)
        self.flush()

    def recv(self, size):
        if self.peer_closed:
            return b""
        try:
            data = self.run(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            data = b""
        self.peer_closed = not data
        return data

    def shutdown(self, how):
        """The writing half: close_notify, then FIN."""
        if how != socket.SHUT_WR:
            raise ValueError(how)
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # the peer's close_notify comes after what it has still to send
        except ssl.SSLError:
            pass  # application data stands before it, likewise
        self.flush()
        self.raw.shutdown(how)

    def close(self):
        """As a client that has what it wants: close_notify if there is room for it."""
        if self.raw.fileno() >= 0:
            try:
                self.tls.unwrap()
            except (ssl.SSLError, OSError, ValueError):
                pass
            try:
                self.raw.settimeout(0)
                self.flush()
            except OSError:
                pass
        self.raw.close()

    def __getattr__(self, name):
        return getattr(self.raw, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wait_for_fin(raw, within):
    """True when the peer sends its FIN (or a reset) within that time; what comes before is
    dropped."""
    end = time.monotonic() + within
    try:
        while (left := end - time.monotonic()) > 0:
            raw.settimeout(left)
            if not raw.recv(1 << 16):
                return True
    except ConnectionResetError:
        return True
    except TimeoutError:
        pass
    return False
