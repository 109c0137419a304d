"""Starts `pagewire bench send` on a port that the kernel chooses, collects what it says, and stops
it so that nothing stays. One that ends with another code than 0 fails the test that stops it."""

import os
import re
import signal
import subprocess
import threading

from .server import BINARY, PATIENCE_S, wait_until

LISTENS = re.compile(r"^sending .* on (\[[0-9a-f:]+\]|[0-9.]+):([0-9]+)$")
# "127.0.0.1:40312: 268.4 MB in 0.21 s, 1278.3 MB/s, 10.23 Gbit/s by sendfile (268435456 bytes)"
SENT = re.compile(r"^(?P<peer>\S+): (?P<mb>[0-9.]+) MB in (?P<seconds>[0-9.]+) s, "
                  r"(?P<mb_per_s>[0-9.]+) MB/s, (?P<gbit_per_s>[0-9.]+) Gbit/s "
                  r"by (?P<path>\w+) \((?P<bytes>\d+) bytes\)(?P<rest>.*)$")


class BenchSender:
    """`pagewire bench send FILE FLAGS`, listening. Use as a context manager, or stop()."""

    def __init__(self, file, *flags, listen="127.0.0.1:0", environment=None, **popen):
        self.said, self.complained = [], []
        self.process = subprocess.Popen(
            [BINARY, "bench", "send", file, "--listen", listen, *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", env={**os.environ, **(environment or {})}, **popen)
        self.readers = [threading.Thread(target=self.collect, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.said),
                                     (self.process.stderr, self.complained))]
        for reader in self.readers:
            reader.start()
        try:
            self.wait_for(lambda: self.said or self.process.poll() is not None, "a first line")
        except AssertionError:
            self.kill()
            raise
        self.listening = LISTENS.match(self.said[0]) if self.said else None
        if not self.listening:
            self.kill()
            raise AssertionError(f"it does not listen: {self.output}")
        self.port = int(self.listening[2])

    def collect(self, stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    @property
    def output(self):
        return "\n".join(self.said + self.complained)

    @property
    def pid(self):
        return self.process.pid

    def wait_for(self, holds, what, timeout=PATIENCE_S):
        try:
            return wait_until(holds, what, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from error

    def results(self, count):
        """The first `count` lines about a connection or a test that went well, as matches."""
        def look():
            found = [SENT.match(line) for line in self.said[1:]]
            return found if len(found) >= count else None
        found = self.wait_for(look, f"{count} lines of results")
        if not all(found):
            raise AssertionError(f"a line is not understood:\n{self.output}")
        return found[:count]

    def complaint(self, number=1, timeout=PATIENCE_S):
        """The complaint with that number, from 1, without what the program puts in front."""
        self.wait_for(lambda: len(self.complained) >= number, f"{number} complaints", timeout)
        return self.complained[number - 1].removeprefix("pagewire bench send: ")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def sockets(self):
        """How many descriptors are sockets. A connection's is closed after its line was said."""
        folder, found = f"/proc/{self.pid}/fd", 0
        for name in os.listdir(folder):
            try:
                found += os.readlink(os.path.join(folder, name)).startswith("socket:")
            except FileNotFoundError:  # closed since
                pass
        return found

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        self.wait()

    def wait(self):
        """For its end, which --count or a signal brings about."""
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError("bench send did not end:\n" + self.output) from error
        self.close()
        if self.process.returncode != 0 or "Sanitizer" in self.output:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.output}")

    def kill(self):
        """Ends it whatever it does. May be called again, or after its end."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.close()

    def close(self):
        for reader in self.readers:
            reader.join(PATIENCE_S)
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()
