"""Peers of `pagewire bench send --iperf3` that do what iperf3 never does: break off at every place
of its protocol, say nothing, say nonsense. Each is one line of complaint, the next client is
served, and the server holds as much afterwards as before."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import threading
import unittest

from support_faults import FaultTest, coded_bytes, first_difference, report

from support.bench_sender import BenchSender

GUARD_S = 120
MIB = 1 << 20
BLOCK = 64 << 10
SIZE = 3 * MIB + 4_321
COOKIE = b"pagewirepagewirepagewirepagewire0123\0"
OTHER_COOKIE = b"x" * 36 + b"\0"
TEST_START, TEST_RUNNING, TEST_END, PARAM_EXCHANGE, CREATE_STREAMS = 1, 2, 4, 9, 10
CLIENT_TERMINATE, EXCHANGE_RESULTS, DISPLAY_RESULTS, IPERF_DONE = 12, 13, 14, 16
ACCESS_DENIED, SERVER_ERROR = 0xFF, 0xFE
CONVERSATIONS = 200
SEED = int(os.environ.get("PAGEWIRE_SEED", "20240607"))

RESET = struct.pack("ii", 1, 0)


def parameters(**changes):
    return {"tcp": True, "omit": 0, "time": 0, "num": 2 * MIB, "blockcount": 0, "parallel": 2,
            "reverse": True, "len": BLOCK, "client_version": "3.12"} | changes


def framed(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack(">I", len(text)) + text


RESULTS = {"cpu_util_total": 1, "cpu_util_user": 1, "cpu_util_system": 0,
           "sender_has_retransmits": -1, "congestion_used": "cubic",
           "streams": [{"id": 1, "bytes": MIB, "retransmits": -1},
                       {"id": 3, "bytes": MIB, "retransmits": -1}]}


class Client:
    """One end of a conversation that is written out by hand."""

    def __init__(self, sender):
        self.port = sender.port
        self.sockets = []
        self.control = self.connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connect(self):
        one = socket.create_connection(("127.0.0.1", self.port), timeout=GUARD_S)
        self.sockets.append(one)
        return one

    def close(self):
        for one in self.sockets:
            one.close()

    def reset(self):
        for one in self.sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def say(self, data):
        self.control.sendall(bytes([data]) if isinstance(data, int) else data)

    def hear(self, *messages):
        got = self.read(len(messages))
        if got != bytes(messages):
            raise AssertionError(f"heard {list(got)} instead of {list(messages)}")

    def read(self, count):
        got = b""
        while len(got) < count:
            piece = self.control.recv(count - len(got))
            if not piece:
                raise EOFError(f"closed after {list(got)}")
            got += piece
        return got

    def error(self):
        """The two numbers of the error that it is told, behind which the server closes."""
        self.hear(SERVER_ERROR)
        numbers = struct.unpack(">II", self.read(8))
        self.is_closed()
        return numbers

    def is_closed(self):
        if self.control.recv(1):
            raise AssertionError("the server says more")

    # The conversation, step by step; each returns with the server waiting for the next one.

    def to_parameters(self):
        self.say(COOKIE)
        self.hear(PARAM_EXCHANGE)

    def to_streams(self, **changes):
        self.to_parameters()
        self.say(framed(parameters(**changes)))
        self.hear(CREATE_STREAMS)

    def join(self, cookie=COOKIE):
        stream = self.connect()
        stream.sendall(cookie)
        return stream

    def to_running(self, **changes):
        self.to_streams(**changes)
        streams = [self.join() for _ in range(parameters(**changes)["parallel"])]
        self.hear(TEST_START, TEST_RUNNING)
        return streams

    def to_results(self, **changes):
        self.to_running(**changes)
        self.say(TEST_END)
        self.hear(EXCHANGE_RESULTS)

    def to_done(self, **changes):
        self.to_results(**changes)
        self.say(framed(RESULTS))
        length, = struct.unpack(">I", self.read(4))
        results = json.loads(self.read(length))
        self.hear(DISPLAY_RESULTS)
        return results


# Where a conversation can stop, and how far our line about it shows that we were.
STEPS = {
    "nothing": (lambda client: None, "before its cookie"),
    "half a cookie": (lambda client: client.say(COOKIE[:20]), "before its cookie"),
    "a cookie": (Client.to_parameters, "in its test"),
    "half a length": (lambda client: (client.to_parameters(), client.say(b"\0\0")), "in its test"),
    "half of its parameters": (
        lambda client: (client.to_parameters(), client.say(framed(parameters())[:40])),
        "in its test"),
    "parameters": (Client.to_streams, "in its test"),
    "one of two streams": (lambda client: (client.to_streams(), client.join()), "in its test"),
    "a test that runs": (lambda client: client.to_running(num=0, time=600), "in its test, after "),
    "the end of its test": (Client.to_results, "in its test"),
    "half of its results": (
        lambda client: (client.to_results(), client.say(framed(RESULTS)[:30])), "in its test"),
    "its results": (Client.to_done, "before it said that it was done"),
}


class Iperf3Peers(FaultTest):
    def setUp(self):
        super().setUp()
        self.file = self.folder.coded("big.bin", SIZE)

    def sender(self, *flags):
        return BenchSender(self.file, "--iperf3", *flags)

    @contextlib.contextmanager
    def holding_nothing_more(self, sender):
        """As many descriptors after the block as before it, and a client is served."""
        before = sender.descriptors()
        yield before
        sender.wait_for(lambda: sender.descriptors() == before, f"{before} descriptors")
        self.is_served(sender)
        sender.wait_for(lambda: sender.descriptors() == before, f"{before} descriptors")

    def is_served(self, sender):
        """A whole conversation; every byte of its streams is the file's, round after round."""
        with Client(sender) as client:
            peer = f"127.0.0.1:{client.control.getsockname()[1]}: "
            streams = client.to_running()
            got = [bytearray() for _ in streams]
            def read(place):
                while sum(map(len, got)) < 2 * MIB and (piece := streams[place].recv(BLOCK)):
                    got[place] += piece
            readers = [threading.Thread(target=read, args=(place,)) for place in range(len(got))]
            for reader in readers:
                reader.start()
            # Whoever waits for more than there is hears the end of the stream.
            sender.wait_for(lambda: sum(map(len, got)) == 2 * MIB, "the test's bytes")
            client.say(TEST_END)
            client.hear(EXCHANGE_RESULTS)
            for reader in readers:
                reader.join(GUARD_S)
            client.say(framed(RESULTS))
            length, = struct.unpack(">I", client.read(4))
            results = json.loads(client.read(length))
            client.hear(DISPLAY_RESULTS)
            client.say(IPERF_DONE)
            client.is_closed()
        self.assertEqual([one["id"] for one in results["streams"]], [1, 3])
        self.assertEqual([one["bytes"] for one in results["streams"]], list(map(len, got)))
        for data in got:
            wanted = (coded_bytes(0, SIZE) * (len(data) // SIZE + 1))[:len(data)]
            self.assertIsNone(first_difference(bytes(data), wanted))
        sender.wait_for(lambda: any(line.startswith(peer) for line in list(sender.said)),
                        "a line about the test")


class BreakingOff(Iperf3Peers):
    def test_at_every_step(self):
        with self.sender() as sender:
            for end in (Client.close, Client.reset):
                for name, (step, shown) in STEPS.items():
                    with self.subTest(step=name, end=end.__name__), \
                            self.holding_nothing_more(sender) as before:
                        with Client(sender) as client:
                            step(client)
                            end(client)
                        self.complains(sender, shown, before)

    def complains(self, sender, shown, before):
        """One line of the test, and at most one of a data connection that had not spoken yet."""
        def look():
            return [line for line in sender.complained if shown in line]
        sender.wait_for(look, f"a complaint with {shown!r}")
        sender.wait_for(lambda: sender.descriptors() == before, f"{before} descriptors")
        # Whatever is said about these stands in front of what is said about the next one.
        with Client(sender) as last:
            mark = f"127.0.0.1:{last.control.getsockname()[1]}: "
        sender.wait_for(lambda: any(mark in line for line in list(sender.complained)), mark)
        lines = list(sender.complained)
        lines = lines[:next(at for at, line in enumerate(lines) if mark in line)]
        sender.complained.clear()
        self.assertLessEqual(len(lines), 2, lines)
        for line in lines:
            self.assertRegex(line, r"^pagewire bench send: 127\.0\.0\.1:\d+: .")

    def test_a_data_connection_alone(self):
        for end in (Client.close, Client.reset):
            with self.sender() as sender, self.holding_nothing_more(sender), \
                    Client(sender) as client:
                streams = client.to_running(num=0, time=600)
                client.sockets = [streams[1]]
                end(client)
                client.sockets = [client.control, streams[0]]
                self.assertEqual(client.error()[0], 207)
                self.assertRegex(sender.complaint(), "a data connection has closed, after ")

    def test_a_data_connection_that_closes_before_the_test_runs(self):
        with self.sender() as sender, self.holding_nothing_more(sender), Client(sender) as client:
            client.to_streams()
            client.join().close()
            self.assertEqual(client.error()[0], 207)

    def test_terminated_by_the_client(self):
        for step in (Client.to_streams, Client.to_running):
            with self.sender() as sender, self.holding_nothing_more(sender), \
                    Client(sender) as client:
                step(client)
                client.say(CLIENT_TERMINATE)
                client.is_closed()
                self.assertIn("the client ended the test", sender.complaint())


class Silence(Iperf3Peers):
    """A server of its own for each state, so that all wait at the same time."""

    STATES = {
        "nothing": ("no cookie for 10 s", None),
        "a cookie": ("no parameters for 10 s", 144),
        "one of two streams": ("not all of its data connections came for 20 s", 144),
        "the end of its test": ("no results for 20 s", 144),
        "its results": ("no word that it is done for 20 s", 144),
    }

    def test_in_every_state(self):
        with contextlib.ExitStack() as stack:
            waiting = []
            for name in self.STATES:
                sender = stack.enter_context(self.sender())
                before = sender.descriptors()
                client = stack.enter_context(Client(sender))
                STEPS[name][0](client)
                waiting.append((name, sender, client, before))
            for name, sender, client, before in waiting:
                line, number = self.STATES[name]
                self.assertTrue(sender.complaint(timeout=60).endswith(line), sender.output)
                if number:
                    self.assertEqual(client.error()[0], number, name)
                client.close()
                sender.wait_for(lambda s=sender, b=before: s.descriptors() == b, "descriptors")
                self.is_served(sender)

    def test_a_client_that_takes_nothing(self):
        """The server stays idle, and goes on with it when it reads."""
        with self.sender() as sender, Client(sender) as client:
            streams = client.to_running(num=64 * MIB, parallel=1)
            def cpu_seconds():
                with open(f"/proc/{sender.pid}/stat", encoding="ascii") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            def is_idle():
                before = cpu_seconds()
                threading.Event().wait(0.5)
                return cpu_seconds() - before < 0.1
            sender.wait_for(is_idle, "a server that waits without work")
            got = 0
            while got < 64 * MIB:
                got += len(streams[0].recv(MIB))
            client.say(TEST_END)
            client.hear(EXCHANGE_RESULTS)


class Nonsense(Iperf3Peers):
    def refused(self, step, data, number, line):
        with self.sender() as sender, self.holding_nothing_more(sender):
            with Client(sender) as client:
                step(client)
                client.say(data)
                self.assertEqual(client.error()[0], number)
            self.assertIn(line, sender.complaint())
            self.assertEqual(len(sender.complained), 1, sender.output)

    def test_parameters(self):
        for data, number in ((framed(b"{nonsense"), 114), (framed(b"[]"), 114),
                             (framed(b""), 114), (framed(b"[" * 60_000), 114),
                             (framed(random.Random(SEED).randbytes(5_000)), 114),
                             (framed(parameters(parallel=500)), 6),
                             (framed(parameters(parallel=0)), 6),
                             (framed(parameters(len=1 << 30)), 7),
                             (framed(parameters(time=10**9)), 5),
                             (framed(parameters(reverse=False)), 13)):
            with self.subTest(data=data[:40]):
                self.refused(Client.to_parameters, data, number, "refused: ")

    def test_texts_without_end(self):
        for step, number, what in ((Client.to_parameters, 114, "parameters"),
                                   (Client.to_results, 117, "results")):
            for length in (65_537, 0x7FFFFFFF, 0xFFFFFFFF):
                self.refused(step, struct.pack(">I", length), number,
                             f"announced more than 65536 bytes of {what}")

    def test_results(self):
        for data in (b"{", b"{}", b'{"streams":[{"bytes":-1}]}', b"\xff" * 100):
            self.refused(Client.to_results, framed(data), 117, "its results cannot be read")

    def test_messages_out_of_place(self):
        for step, message in ((Client.to_streams, TEST_END), (Client.to_streams, IPERF_DONE),
                              (Client.to_running, EXCHANGE_RESULTS), (Client.to_running, 0x63),
                              (Client.to_running, IPERF_DONE), (Client.to_done, TEST_END)):
            self.refused(step, message, 110, "unexpected message ")

    def test_no_cookie(self):
        with self.sender() as sender, self.holding_nothing_more(sender):
            with Client(sender) as client:
                client.say(b"GET / HTTP/1.1\r\nHost: nowhere.example.org\r\n\r\n" * 20)
                client.is_closed()
            self.assertTrue(sender.complaint().endswith("not iperf3: it sent no cookie"))

    def test_wrong_cookie_on_a_data_connection(self):
        """It is sent away; the test that waits goes on."""
        with self.sender() as sender, self.holding_nothing_more(sender):
            with Client(sender) as client:
                client.to_streams()
                self.assertEqual(client.join(OTHER_COOKIE).recv(10), bytes([ACCESS_DENIED]))
                for _ in range(2):
                    client.join()
                client.hear(TEST_START, TEST_RUNNING)
                # One too many.
                self.assertEqual(client.join().recv(10), bytes([ACCESS_DENIED]))
                client.say(TEST_END)
                client.hear(EXCHANGE_RESULTS)
            self.assertIn("not the cookie of the test that waits", sender.complaint(1))
            self.assertIn("another test is running", sender.complaint(2))

    def test_data_on_a_data_connection(self):
        with self.sender() as sender, self.holding_nothing_more(sender), Client(sender) as client:
            client.to_streams()
            for _ in range(2):
                client.join().sendall(b"?" * 100_000)
            client.hear(TEST_START, TEST_RUNNING)
            client.say(TEST_END)
            client.hear(EXCHANGE_RESULTS)

    def test_everything_at_once(self):
        """A client that does not wait for our words."""
        with self.sender() as sender, self.holding_nothing_more(sender), Client(sender) as client:
            client.say(COOKIE + framed(parameters(parallel=1)))
            client.join()
            client.hear(PARAM_EXCHANGE, CREATE_STREAMS, TEST_START, TEST_RUNNING)
            client.say(bytes([TEST_END]) + framed(RESULTS) + bytes([IPERF_DONE]))
            client.hear(EXCHANGE_RESULTS)
            length, = struct.unpack(">I", client.read(4))
            client.read(length)
            client.hear(DISPLAY_RESULTS)
            client.is_closed()
            self.assertEqual(sender.complained, [])

    def test_a_byte_at_a_time(self):
        with self.sender() as sender, self.holding_nothing_more(sender), Client(sender) as client:
            client.control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in COOKIE + framed(parameters()):
                client.say(byte)
            client.hear(PARAM_EXCHANGE, CREATE_STREAMS)


class Many(Iperf3Peers):
    def test_newcomers_without_end(self):
        """More than are waited for: those beyond are closed at once, the others may still speak."""
        with self.sender() as sender, self.holding_nothing_more(sender):
            with Client(sender) as client:
                crowd = [client.connect() for _ in range(400)]
                closed = 0
                for one in crowd[256:]:
                    closed += one.recv(1) == b""
                self.assertGreater(closed, 100)
                crowd[0].sendall(COOKIE)
                self.assertEqual(crowd[0].recv(1), bytes([PARAM_EXCHANGE]))

    def test_random_truncated_conversations(self):
        """A whole conversation, cut off after any number of bytes, with any number of streams."""
        chance = random.Random(SEED)
        flags = shutil.which("iperf3")
        with self.sender() as sender, self.holding_nothing_more(sender):
            before = sender.descriptors()
            for _ in range(CONVERSATIONS):
                self.truncated(sender, chance)
                sender.wait_for(lambda: sender.descriptors() == before,
                                f"{before} descriptors (seed {SEED})")
            report(f"{CONVERSATIONS} conversations (seed {SEED}): {len(sender.complained)} "
                   f"complaints, {len(sender.said) - 1} whole tests")
            for line in sender.complained:
                self.assertRegex(line, r"^pagewire bench send: 127\.0\.0\.1:\d+: .")
            if flags is None:
                report("no iperf3 here to try afterwards")
                return
            done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(sender.port), "-R", "-P",
                                   "4", "-t", "1", "-J"], stdin=subprocess.DEVNULL, timeout=GUARD_S,
                                  capture_output=True, text=True, check=False)
            self.assertNotIn("error", json.loads(done.stdout), sender.output)

    def truncated(self, sender, chance):
        head = COOKIE + framed(parameters(time=chance.choice((0, 60))))
        tail = bytes([TEST_END]) + framed(RESULTS) + bytes([IPERF_DONE])
        whole = len(head) + len(tail)
        cut = whole if chance.random() < 0.2 else chance.randrange(whole)
        with Client(sender) as client:
            # The server may end the conversation first, when a piece makes no sense to it.
            with contextlib.suppress(ConnectionError, EOFError):
                client.say(head[:cut])
                if cut >= len(head):
                    client.hear(PARAM_EXCHANGE, CREATE_STREAMS)
                    cookies = [chance.choice((COOKIE,) * 9 + (COOKIE[:10],))
                               for _ in range(chance.choice((0, 1, 2, 2, 2, 2, 3)))]
                    streams = [client.join(cookie) for cookie in cookies]
                    if cookies[:2] == [COOKIE] * 2 and chance.random() < 0.9:
                        client.hear(TEST_START, TEST_RUNNING)
                        streams[0].recv(chance.randrange(1, MIB))
                    client.say(tail[:cut - len(head)])
                if chance.random() < 0.5:
                    client.reset()
                elif chance.random() < 0.5:
                    client.control.shutdown(socket.SHUT_WR)
                    client.control.settimeout(GUARD_S)
                    while client.control.recv(MIB):
                        pass

    def test_stopped_in_the_middle(self):
        for name, (step, _) in STEPS.items():
            with self.subTest(step=name), self.sender() as sender, Client(sender) as client:
                step(client)
                sender.signal(signal.SIGTERM)
                sender.wait()


if __name__ == "__main__":
    unittest.main()
