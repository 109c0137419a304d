"""The relay as a black box: random sequences of partial writes, FIN and reset at any byte, on
either side and on both at once, with slow readers and small buffers.

Every 8 bytes say which connection, which direction and which place they belong to. What has to
hold of each direction, whatever happened:
- what arrives is a beginning of what was sent: no foreign byte, none twice, none missing between;
- a FIN arrives only behind all bytes of a sender that has sent its own FIN: a stream that was cut
  short never looks complete;
- where nobody broke off, everything arrives, and the FIN;
- where one side broke off, the other one hears of it.
The seed is printed; PAGEWIRE_SEED runs it again, PAGEWIRE_RELAY_CASES runs more."""

import array
import errno
import os
import random
import select
import socket
import struct
import time
import unittest
from dataclasses import dataclass, field

from relay_parts import RelayTest
from support_faults import report, wait_until

SEED = int(os.environ.get("PAGEWIRE_SEED") or random.randrange(1 << 32))
CASES = int(os.environ.get("PAGEWIRE_RELAY_CASES") or 150)
AT_ONCE = 32
STAND_STILL_LIMIT_S = 60
GREETING = b"GREETING"  # the upstream speaks first, before it knows to whom
LARGE = 1 << 20
SMALL_BUFFER = 16_384
# ENOTCONN: of shutdown, where a reset came before it.
GONE = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)


def coded(case, direction, size):
    first = (case + 1) << 32 | direction << 31
    words = array.array("Q", range(first, first + (size + 7) // 8))
    return words.tobytes()[:size]


@dataclass
class Plan:
    """What one end does. `how`: fin (then it reads to the end), late-fin (only behind the other's),
    close (at once, whatever is unread), reset (behind its last byte), reset-reading (once so many
    bytes have come)."""
    size: int
    how: str
    write_most: int
    read_most: int
    pause_s: float        # between two reads of a slow side
    first_read_s: float
    small_buffers: bool
    reset_at: int


def random_plan(rng):
    size = rng.choice((0, 1, 7, rng.randrange(2_000), rng.randrange(40_000),
                       rng.randrange(300_000), rng.randrange(300_000), rng.randrange(2 * LARGE)))
    slow = rng.random() < 0.3
    return Plan(size=size,
                how=rng.choice(("fin", "fin", "fin", "late-fin", "close", "reset",
                                "reset-reading")),
                write_most=rng.choice((1_000, 16_384, 16_385, 65_536, LARGE)),
                read_most=rng.choice((1_000, 4_096, 65_536)) if slow else LARGE,
                pause_s=rng.choice((0.0005, 0.002)) if slow else 0.0,
                first_read_s=rng.choice((0, 0, 0.05, 0.3)) if slow else 0.0,
                small_buffers=rng.random() < 0.25, reset_at=rng.randrange(1, 200_000))


@dataclass
class End:
    """One end of a connection, and what it has seen."""
    sock: socket.socket
    plan: Plan
    out: memoryview = field(repr=False)
    began: float
    sent: int = 0
    seen: bytearray = field(default_factory=bytearray, repr=False)
    said_fin: bool = False
    broke_off: bool = False   # by itself
    fin_came: bool = False
    error: int = 0
    open: bool = True
    next_read: float = 0.0

    def wants(self, now):
        mask = 0
        if not self.open:
            return 0
        if self.sent < len(self.out):
            mask |= select.POLLOUT
        if not self.fin_came and now >= max(self.next_read, self.began + self.plan.first_read_s):
            mask |= select.POLLIN
        return mask

    def step(self, mask, now):
        try:
            if mask & (select.POLLIN | select.POLLHUP | select.POLLERR) and not self.fin_came:
                self.read(now)
            if self.open and mask & select.POLLOUT and self.sent < len(self.out):
                end = self.sent + self.plan.write_most
                self.sent += self.sock.send(self.out[self.sent:end])
            if self.open:
                self.finish()
        except BlockingIOError:
            pass
        except OSError as problem:
            if problem.errno not in GONE:
                raise
            self.error = problem.errno
            self.close()

    def read(self, now):
        data = self.sock.recv(self.plan.read_most)
        self.next_read = now + self.plan.pause_s
        self.fin_came = not data
        self.seen += data
        if self.plan.how == "reset-reading" and len(self.seen) >= self.plan.reset_at:
            self.reset()

    def finish(self):
        """What the plan says behind the last byte."""
        if self.sent == len(self.out) and not self.said_fin:
            if self.plan.how == "reset":
                return self.reset()
            if self.plan.how == "close":
                self.broke_off = not self.fin_came  # else it is an ordinary end
                self.said_fin = True
                return self.close()
            if self.plan.how != "late-fin" or self.fin_came:
                self.said_fin = True
                self.sock.shutdown(socket.SHUT_WR)
        if self.said_fin and self.fin_came:
            self.close()
        return None

    def reset(self):
        self.broke_off = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.open = False
        self.sock.close()


@dataclass
class Case:
    number: int
    client: End
    upstream_plan: Plan
    upstream: End | None = None

    def client_alone(self):
        return not self.client.open and self.upstream is None

    def over(self):
        return not self.client.open and (self.upstream is None or not self.upstream.open)


class RelayProperties(RelayTest):
    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.setblocking(False)
        self.addCleanup(self.listener.close)

    def plans(self, number):
        rng = random.Random(f"{SEED}/{number}")
        client, upstream = random_plan(rng), random_plan(rng)
        if client.how == upstream.how == "late-fin":
            upstream.how = "fin"
        if client.small_buffers or upstream.small_buffers:  # such windows take their time
            client.size, upstream.size = min(client.size, 100_000), min(upstream.size, 100_000)
        return client, upstream

    def begin(self, number, relay):
        """The client's first word says who it is."""
        mine, other = self.plans(number)
        sock = socket.socket()
        if mine.small_buffers:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        sock.connect(relay)
        sock.setblocking(False)
        out = memoryview(struct.pack("<Q", number) + coded(number, 0, mine.size))
        return Case(number, End(sock, mine, out, time.monotonic()), other)

    def take_in(self, strangers):
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            try:
                sock.send(GREETING)
            except OSError:  # the client broke off before we came
                sock.close()
                continue
            strangers[sock.fileno()] = (sock, bytearray())

    def introduce(self, sock, word, cases):
        """True once it is known who it is, or that nobody is there."""
        try:
            data = sock.recv(8 - len(word))
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        word += data
        if not data:
            sock.close()
            return True
        if len(word) < 8:
            return False
        case = cases.get(struct.unpack("<Q", word)[0])
        self.assertIsNotNone(case, "a connection that nobody made")
        self.assertIsNone(case.upstream, "two connections of one client")
        plan = case.upstream_plan
        if plan.small_buffers:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        out = memoryview(coded(case.number, 1, plan.size))
        case.upstream = End(sock, plan, out, time.monotonic())
        case.upstream.step(0, time.monotonic())
        return True

    def poll(self, cases, strangers):
        now = time.monotonic()
        ends = {end.sock.fileno(): end for case in cases.values()
                for end in (case.client, case.upstream) if end is not None and end.open}
        poller = select.poll()
        poller.register(self.listener.fileno(), select.POLLIN)
        for number in strangers:
            poller.register(number, select.POLLIN)
        for number, end in ends.items():
            if mask := end.wants(now):
                poller.register(number, mask)
        events = poller.poll(2)
        now = time.monotonic()
        for number, mask in events:
            if number == self.listener.fileno():
                self.take_in(strangers)
            elif number in strangers:
                if self.introduce(*strangers[number], cases):
                    del strangers[number]
            elif ends[number].open:
                ends[number].step(mask, now)

    def note_progress(self, cases):
        """Each byte counts, and each end: of a case that waits for the others, too."""
        ends = [end for case in cases.values() for end in (case.client, case.upstream) if end]
        progress = (len(cases), len(ends), sum(end.open for end in ends),
                    sum(end.sent + len(end.seen) for end in ends))
        if progress != self.progress:
            self.progress, self.moved = progress, time.monotonic()

    def check(self, case):
        client, upstream = case.client, case.upstream
        said = f"seed {SEED}, case {case.number}"
        if upstream is None:
            self.assertTrue(client.broke_off or client.error, f"{said}: nobody came")
            self.assertEqual(bytes(client.seen), GREETING[:len(client.seen)], said)
            return
        self.check_direction(f"{said}, up", client, upstream, bytes(client.out[8:]), b"")
        self.check_direction(f"{said}, down", upstream, client, bytes(upstream.out), GREETING)

    def check_direction(self, said, sender, receiver, wanted, prefix):
        said = f"{said}: {sender.plan} -> {receiver.plan}"
        seen = bytes(receiver.seen)
        whole = prefix + wanted
        self.assertEqual(len(seen), len(os.path.commonprefix([seen, whole])),
                         f"{said}: {len(seen)} bytes, of which not all are right")
        if receiver.fin_came:
            self.assertTrue(sender.said_fin, f"{said}: a FIN that nobody sent")
            self.assertEqual(len(seen), len(whole), f"{said}: short, and looks complete")
        if not sender.broke_off and not receiver.broke_off:
            self.assertEqual((sender.error, receiver.error), (0, 0), said)
            self.assertTrue(receiver.fin_came, f"{said}: no end came")

    def run_cases(self, numbers, relay):
        """How many ended whole, and how many were broken off."""
        cases, strangers = {}, {}
        self.progress, self.moved = None, time.monotonic()
        todo = iter(numbers)
        kinds = {"whole": 0, "broken off": 0}
        while True:
            running = sum(not case.client_alone() for case in cases.values())
            while running < AT_ONCE and (number := next(todo, None)) is not None:
                cases[number] = self.begin(number, relay.address)
                running += 1
            if not cases:
                break
            # Of a client that has gone the relay may still tell us, as long as it has connections.
            heard_of_all = running == 0 and relay.metric("pagewire_relay_connections_open") == 0
            self.poll(cases, strangers)
            self.note_progress(cases)
            for number, case in list(cases.items()):
                if not case.over() or (case.client_alone() and not heard_of_all):
                    self.assertLess(time.monotonic() - self.moved, STAND_STILL_LIMIT_S,
                                    f"seed {SEED}, case {number}: stands still: {case}")
                    continue
                del cases[number]
                self.check(case)
                ends = (case.client, case.upstream)
                kinds["broken off" if any(one is None or one.broke_off for one in ends)
                      else "whole"] += 1
        for sock, _ in strangers.values():
            sock.close()
        return kinds

    def relay_and_check(self, *flags):
        relay = self.start(f"127.0.0.1:{self.listener.getsockname()[1]}", *flags)
        self.run_cases(range(20), relay)  # what a relay allocates once
        relay.wait_for_idle()
        before = relay.descriptors()
        kinds = self.run_cases(range(20, 20 + CASES), relay)
        relay.wait_for_idle()
        # Waits, for the gauges of pipes, which come with each worker's tick, and for the connection
        # of the last look at them.
        wait_until(lambda: relay.metric("pagewire_relay_pipes_in_use") == 0, "no pipe in use")
        wait_until(lambda: relay.descriptors()
                   <= before + 2 * relay.metric("pagewire_relay_pipes_idle"),
                   "no descriptor is left")
        report(f"seed {SEED}: {CASES} connections with {' '.join(flags) or 'auto'}: {kinds}")

    def test_auto(self):
        self.relay_and_check()

    def test_splice_alone(self):
        self.relay_and_check("--path", "splice")

    def test_copy_alone(self):
        self.relay_and_check("--path", "copy")


if __name__ == "__main__":
    unittest.main()
