"""A program on a pseudo-terminal, and what its user sees: a VT100's screen of characters, as far as
ncurses writes to one. Anything else that the program sends fails the test."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from .server import PATIENCE_S

# CSI, two-character sequences, the choice of a character set; then any other character.
TOKEN = re.compile(rb"\x1b\[([?>=]?)([0-9;]*)([@-~])|\x1b([()*+])([0-9A-B])|\x1b([78=>DEHMc])|"
                   rb"([\x00-\x1f])|([^\x00-\x1f\x1b]+)")


class Screen:
    def __init__(self, columns, rows):
        self.resize(columns, rows)
        self.pending = b""

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.top, self.bottom = 0, rows - 1

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.cells)

    def feed(self, data):
        data = self.pending + data
        place = 0
        while place < len(data):
            token = TOKEN.match(data, place)
            if not token:
                if len(data) - place > 32:
                    raise AssertionError(f"unknown sequence: {data[place:place + 32]!r}")
                break
            if token[8] and token.end() == len(data):
                # The last character may be incomplete.
                whole = token[8].decode(errors="ignore")
                self.write(whole)
                place += len(whole.encode())
                break
            place = token.end()
            self.take(token)
        self.pending = data[place:]

    def take(self, token):
        if token[3]:
            if not token[1]:
                self.control(token[3].decode(), [int(n or 0) for n in token[2].split(b";")])
        elif token[6] == b"M":
            self.up()
        elif token[7]:
            self.simple(token[7])
        elif token[8]:
            self.write(token[8].decode())

    def simple(self, char):
        if char == b"\r":
            self.column = 0
        elif char == b"\n":
            self.down()
        elif char == b"\b":
            self.column = max(self.column - 1, 0)
        elif char == b"\t":
            self.column = min(self.column // 8 * 8 + 8, self.columns - 1)

    def down(self):
        if self.row == self.bottom:
            self.cells.insert(self.bottom + 1, [" "] * self.columns)
            del self.cells[self.top]
        else:
            self.row = min(self.row + 1, self.rows - 1)

    def up(self):
        if self.row == self.top:
            del self.cells[self.bottom]
            self.cells.insert(self.top, [" "] * self.columns)
        else:
            self.row = max(self.row - 1, 0)

    def write(self, text):
        for char in text:
            if self.column == self.columns:  # am, xenl: it wraps with the next character
                self.column = 0
                self.down()
            self.cells[self.row][self.column] = char
            self.column += 1

    def control(self, final, numbers):
        count = max(numbers[0], 1)
        line = self.cells[self.row]
        if final in "Hf":
            self.row = min(count, self.rows) - 1
            self.column = min(max((numbers + [1])[1], 1), self.columns) - 1
        elif final in "AB":
            step = -count if final == "A" else count
            self.row = min(max(self.row + step, 0), self.rows - 1)
        elif final in "CD":
            step = -count if final == "D" else count
            self.column = min(max(self.column + step, 0), self.columns - 1)
        elif final == "K":
            begin, end = {0: (self.column, self.columns), 1: (0, self.column + 1),
                          2: (0, self.columns)}[numbers[0]]
            line[begin:end] = " " * (min(end, self.columns) - begin)
        elif final == "J":
            self.control("K", numbers)
            whole = {0: range(self.row + 1, self.rows), 1: range(self.row),
                     2: range(self.rows)}[numbers[0]]
            for row in whole:
                self.cells[row] = [" "] * self.columns
        elif final == "r":
            self.top = max(numbers[0], 1) - 1
            self.bottom = ((numbers + [0])[1] or self.rows) - 1
            self.row = self.column = 0
        elif final not in "mhl":
            raise AssertionError(f"unknown control sequence: {numbers} {final}")


class OnTerminal:
    """`command` on a terminal of its own. Use as a context manager."""

    def __init__(self, command, columns=100, rows=30, term="vt100", **environment):
        self.screen = Screen(columns, rows)
        self.seen = b""
        self.master, slave = pty.openpty()
        self.set_size(columns, rows)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=os.environ | {"TERM": term, "LC_ALL": "C.UTF-8"} | environment)
        os.close(slave)

    def set_size(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        self.read(0.05)
        self.set_size(columns, rows)
        self.screen.resize(columns, rows)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def read(self, seconds):
        """Takes what comes within so long, or until the program has ended."""
        end = time.monotonic() + seconds
        while select.select([self.master], [], [], max(end - time.monotonic(), 0))[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # EIO: the other end is closed
                return
            self.seen += data
            self.screen.feed(data)

    def wait_for(self, pattern, timeout=PATIENCE_S):
        """Until the screen shows it; returns the match."""
        end = time.monotonic() + timeout
        while True:
            ended = self.process.poll()  # before the read, which then takes its last words as well
            self.read(0.05 if ended is None else PATIENCE_S)
            found = re.search(pattern, self.screen.text(), re.M)
            if found:
                return found
            if time.monotonic() > end or ended is not None:
                raise AssertionError(f"not seen: {pattern} (ended with {ended}) in\n"
                                     f"{self.screen.text()}")

    def wait(self):
        """Until it has ended; returns its status."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            self.read(0.05)
            if time.monotonic() > end:
                raise AssertionError("it did not end:\n" + self.screen.text())
        self.read(PATIENCE_S)  # to the end: the kernel hands it over by and by
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
