"""Starts the built pagewire on ports that the kernel chooses, and stops it so that nothing stays.

A server that ends with another code than 0, or that writes a sanitizer's report, fails the test
that stops it."""

import os
import re
import signal
import subprocess
import tempfile
import threading
import time

SOURCE = os.environ.get("PAGEWIRE_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("PAGEWIRE_BINARY") or os.path.join(SOURCE, "build/release/pagewire")
# What a server keeps for its next start goes with the tests.
CACHE = tempfile.TemporaryDirectory(prefix="pagewire-cache-")
os.environ["XDG_CACHE_HOME"] = CACHE.name
SANITIZER = os.environ.get("PAGEWIRE_SANITIZER", "")
# The event loop of every server that a script starts; empty: what the program takes by itself.
ENGINE = os.environ.get("PAGEWIRE_ENGINE", "")

# Every server listens with TLS as well, and the clients of this package speak TLS with it.
TLS = bool(os.environ.get("PAGEWIRE_TLS"))
# Where the servers of this process speak https.
TLS_PORTS = set()

ADDRESS = re.compile(r"http://(\[[0-9a-f:]+\]|[0-9.]+):([0-9]+)/")
TLS_ADDRESS = re.compile(r"https://(\[[0-9a-f:]+\]|[0-9.]+):([0-9]+)/")
# A guard against hanging, which a machine that is busy with others does not reach. A sanitized
# program starts and answers several times more slowly.
PATIENCE_S = 180.0 if SANITIZER else 60.0


def wait_until(holds, what, timeout=PATIENCE_S, pause=0.01):
    """Waits until holds() is true, else fails naming `what`. Returns what holds() returned."""
    end = time.monotonic() + timeout
    while True:
        result = holds()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(pause)


def run_pagewire(*arguments, timeout=PATIENCE_S, **others):
    """Runs pagewire to its end; for what does not serve."""
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, check=False, **others)


def make_certificate(folder):
    """A self-signed certificate for localhost; returns the names of its file and its key's."""
    chain, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    if not os.path.exists(chain):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-out", chain, "-days", "30", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, capture_output=True)
    return chain, key


def tls_flags(folder=CACHE.name):
    """What makes a server speak https on a port that the kernel chooses."""
    chain, key = make_certificate(folder)
    return ("--listen-tls", "127.0.0.1:0", "--tls-cert", chain, "--tls-key", key)


class Pagewire:
    """`pagewire serve ROOT FLAGS`, started and listening. Use as a context manager, or stop().
    `under` is a command that runs it and becomes it: ("strace", "-D", ...)."""

    def __init__(self, root, *flags, listen=("127.0.0.1:0",), admin="127.0.0.1:0", under=(),
                 **popen):
        command = [*under, BINARY, "serve"]
        if root is not None:
            command.append(root)
        for address in listen:
            command += ["--listen", address]
        if admin is not None:
            command += ["--admin", admin]
        if ENGINE and "--engine" not in flags:
            command += ["--engine", ENGINE]
        command += flags
        if TLS and "--tls-cert" not in flags:
            command += tls_flags()
        if "tls_copy" in command:  # which is no choice: such connections have no other path
            at = command.index("tls_copy")
            del command[at - 1:at + 1]
        self.launch(command, **popen)
        self.wait_for_addresses(len(listen), admin not in (None, "off"))

    def launch(self, command, **popen):
        self.command = command
        self.lines = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", **popen)
        self.reader = threading.Thread(target=self.collect, daemon=True)
        self.reader.start()
        self.addresses, self.tls_addresses, self.admin = [], [], None

    def collect(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_for_addresses(self, count, with_admin):
        command = self.command

        def look():
            if self.process.poll() is not None:
                self.reader.join(PATIENCE_S)
                raise AssertionError(f"{self.command} ended with {self.process.returncode}:\n"
                                     f"{self.output}")
            served, served_tls, admin = [], [], None
            for line in list(self.lines):
                for host, port in ADDRESS.findall(line):
                    address = (host.strip("[]"), int(port))
                    if re.search(r"admin|metrics|healthz", line):
                        admin = address
                    elif address not in served:
                        served.append(address)
                for host, port in TLS_ADDRESS.findall(line):
                    served_tls.append((host.strip("[]"), int(port)))
            TLS_PORTS.update(port for _, port in served_tls)
            self.addresses, self.tls_addresses, self.admin = served, served_tls, admin
            complete = len(served) >= count and (bool(served_tls) or "--tls-cert" not in command)
            return complete and (admin is not None or not with_admin)
        try:
            wait_until(look, "the start-up lines with the addresses")
        except AssertionError:
            self.kill()
            raise

    @property
    def address(self):
        """Where its clients go: with PAGEWIRE_TLS, to the port that speaks https."""
        return self.tls_addresses[0] if TLS else self.addresses[0]

    @property
    def pid(self):
        return self.process.pid

    def url(self, target="/"):
        host, port = self.address
        return f"http{'s' if TLS else ''}://{f'[{host}]' if ':' in host else host}:{port}{target}"

    def signal(self, number):
        self.process.send_signal(number)

    def descriptors(self):
        """How many descriptors the server has open now."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, expected=0):
        """SIGTERM, then a look at how it ended."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        self.wait(expected)

    def wait(self, expected=0):
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError("the server did not end:\n" + self.output) from error
        self.reader.join(PATIENCE_S)
        self.process.stdout.close()
        if self.process.returncode != expected or "Sanitizer" in self.output:
            raise AssertionError(f"{self.command} ended with {self.process.returncode} instead of "
                                 f"{expected}:\n{self.output}")

    def kill(self):
        """Ends the server whatever it does. May be called again, or after its end."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(PATIENCE_S)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()
