"""RFC 9112 to the letter, over a raw socket: what is refused and how, and what has to work."""

import time
import unittest

from support import ServedCase, coded_bytes, first_difference, request_head
from support.raw import TIMEOUT_S

SIZE = 2 * 1024 * 1024 + 77
SMALL = 1000
BIG = 9223372036854775807  # 2^63 - 1

# Heads whose framing cannot be trusted, by what is wrong: the answer is 400 and the end.
MALFORMED = {
    "Content-Length beside Transfer-Encoding":
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths":
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
    "two equal lengths":
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n",
    "a signed length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
    "a negative length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "a length of 2^64":
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    "a length of 2^64 + 5":
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\n",
    "a hexadecimal length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x10\r\n\r\n",
    "an empty length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after a field": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "bare CR in a field": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "bare CR in the request line": b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    "space before Content-Length's colon":
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "a fold before the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control byte in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "DEL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    "a control byte in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\x02: b\r\n\r\n",
    "an empty name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nX: b\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a bad Host": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "a version of letters": b"GET / HTTP/x.y\r\nHost: a\r\n\r\n",
    "a version in lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "a version of two digits": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab for a space": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space after the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "a method that is no token": b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target without a slash": b"GET index.html HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority-form for GET": b"GET example.test:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk-form for GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "Transfer-Encoding on 1.0":
        b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last":
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
    "chunked twice":
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\r\n\r\n",
}


class RawCase(ServedCase):
    @classmethod
    def fill(cls, folder):
        folder.coded("big.bin", SIZE)
        folder.coded("small.bin", SMALL)
        folder.write("index.html", "<!doctype html><p>home</p>")


class MalformedTest(RawCase):
    def test_answered_with_400_and_closed(self):
        for what, head in MALFORMED.items():
            with self.subTest(what):
                client = self.client()
                # Two more requests behind it: nothing after bad framing may be answered.
                client.send(head + request_head("/small.bin") * 2)
                answer = client.read()
                # A chunked that is not last, or that HTTP/1.0 has no word for, is an unknown
                # transfer coding as well (RFC 9112 6.1): 501 says so.
                wanted = (400, 501) if "chunked" in what else (400,)
                self.assertIn(answer.status, wanted)
                self.assertTrue(answer.closes)
                self.assertEqual(client.read_rest(), b"")

    def test_versions(self):
        for version, wanted in (("HTTP/2.0", (505,)), ("HTTP/0.9", (505, 400)),
                                ("HTTP/1.2", (200, 505)), ("HTTP/3.0", (505,))):
            with self.subTest(version):
                self.assertIn(self.get("/", version=version).status, wanted)

    def test_unknown_transfer_coding(self):
        client = self.client()
        client.send(request_head("/", fields=("Transfer-Encoding: gzip, chunked",)))
        answer = client.read()
        self.assertEqual(answer.status, 501)
        self.assertTrue(answer.closes)

    def test_long_target(self):
        client = self.client()
        client.send(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.read()
        self.assertEqual((answer.status, answer.closes), (414, True))

    def test_long_target_without_an_end(self):
        client = self.client()
        client.send(b"GET /" + b"a" * 20000)
        self.assertEqual(client.read().status, 414)

    def test_large_head(self):
        for fields in (["X: " + "a" * 17000], [f"X-{i}: b" for i in range(150)]):
            client = self.client()
            client.send(request_head("/", fields=fields))
            answer = client.read()
            self.assertEqual((answer.status, answer.closes), (431, True))

    def test_the_server_goes_on(self):
        self.assertEqual(self.get("/small.bin").body, coded_bytes(0, SMALL))


class TargetTest(RawCase):
    def test_absolute_form(self):
        answer = self.get("http://example.test/small.bin", host="example.test")
        self.assertEqual((answer.status, answer.body), (200, coded_bytes(0, SMALL)))

    def test_connect_is_refused(self):
        client = self.client()
        client.send(b"CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n")
        self.assertIn(client.read().status, (400, 405))

    def test_options_asterisk(self):
        answer = self.get("*", "OPTIONS")
        self.assertIn(answer.status, (200, 204))
        self.assertEqual({each.strip() for each in answer.get("allow").split(",")},
                         {"GET", "HEAD", "OPTIONS"})

    def test_query_is_not_part_of_the_name(self):
        self.assertEqual(self.get("/small.bin?a=b&c=/..").body, coded_bytes(0, SMALL))

    def test_one_empty_line_before_a_request(self):
        client = self.client()
        client.send(b"\r\n" + request_head("/small.bin"))
        self.assertEqual(client.read().status, 200)

    def test_no_host_on_http10(self):
        client = self.client()
        client.send(b"GET /small.bin HTTP/1.0\r\n\r\n")
        answer = client.read()
        self.assertEqual((answer.status, answer.body), (200, coded_bytes(0, SMALL)))
        self.assertTrue(client.is_closed())


class ConnectionTest(RawCase):
    def test_keep_alive_and_close(self):
        client = self.client()
        for _ in range(3):
            self.assertEqual(client.get("/small.bin").status, 200)
        answer = client.get("/small.bin", fields=("Connection: close",))
        self.assertTrue(answer.closes)
        self.assertTrue(client.is_closed())

    def test_http10_closes_unless_asked(self):
        client = self.client()
        answer = client.get("/small.bin", version="HTTP/1.0", fields=("Connection: keep-alive",))
        self.assertEqual(answer.get("connection").lower(), "keep-alive")
        self.assertEqual(client.get("/small.bin", version="HTTP/1.0").status, 200)
        self.assertTrue(client.is_closed())

    def test_errors_keep_the_connection(self):
        client = self.client()
        for target, wanted in (("/nothing", 404), ("/%", 400), ("/small.bin", 200)):
            answer = client.get(target)
            self.assertEqual(answer.status, wanted, target)
            if answer.closes:
                client = self.client()

    def test_hundred_pipelined_requests(self):
        client = self.client()
        wanted = []
        heads = b""
        for i in range(100):
            first = i * 9
            wanted.append(coded_bytes(first, 40))
            heads += request_head("/small.bin", fields=(f"Range: bytes={first}-{first + 39}",))
        client.send(heads)
        for each in wanted:
            answer = client.read()
            self.assertEqual(answer.status, 206)
            self.assertEqual(answer.body, each)
        self.assertTrue(client.is_open())

    def test_pipelined_large_bodies(self):
        client = self.client()
        client.send(request_head("/big.bin") * 4 + request_head("/big.bin", "HEAD")
                    + request_head("/small.bin", fields=("Connection: close",)))
        for _ in range(4):
            self.assertIsNone(first_difference(client.read().body, coded_bytes(0, SIZE)))
        self.assertEqual(client.read("HEAD").get("content-length"), str(SIZE))
        self.assertEqual(client.read().body, coded_bytes(0, SMALL))
        self.assertTrue(client.is_closed())

    def test_byte_by_byte(self):
        client = self.client()
        head = request_head("/small.bin", fields=("Range: bytes=3-12", "X-A: b"))
        for _ in range(3):
            client.trickle(head)
            self.assertEqual(client.read().body, coded_bytes(3, 10))

    def test_head_split_around_its_end(self):
        head = request_head("/small.bin")
        for cut in range(len(head) - 5, len(head)):
            client = self.client()
            client.send(head[:cut])
            time.sleep(0.02)
            client.send(head[cut:])
            self.assertEqual(client.read().status, 200)

    def test_half_close_still_gets_the_whole_answer(self):
        client = self.client(receive_buffer=16384)
        client.send(request_head("/big.bin") * 2)
        client.half_close()
        time.sleep(0.2)
        for _ in range(2):
            self.assertIsNone(first_difference(client.read().body, coded_bytes(0, SIZE)))
        self.assertTrue(client.is_closed())

    def test_more_requests_behind_the_last_one(self):
        """What comes after "Connection: close" is not answered; but unread bytes at a close make
        the kernel send a RST, which would destroy what of the answer is still under way."""
        size = 16 << 20  # more than socket buffers hold: the rest arrives while it is being sent
        self.folder.coded("large.bin", size)
        for fields, version in ((("Connection: close",), "HTTP/1.1"), ((), "HTTP/1.0")):
            for pause in (0, 0.1):
                client = self.client(receive_buffer=16384)
                client.send(request_head("/large.bin", fields=fields, version=version))
                time.sleep(pause)
                client.send(request_head("/small.bin") * 3)
                time.sleep(0.1)
                self.assertIsNone(first_difference(client.read().body, coded_bytes(0, size)))
                self.assertEqual(client.read_rest(), b"")

    def test_half_close_in_the_head(self):
        client = self.client()
        client.send(b"GET /small.bin HTT")
        client.half_close()
        self.assertIn(client.read_rest()[:12], (b"", b"HTTP/1.1 400", b"HTTP/1.1 408"))

    def test_head_has_no_body(self):
        client = self.client()
        for target, wanted in (("/big.bin", 200), ("/nothing", 404), ("/small.bin", 200)):
            self.assertEqual(client.get(target, "HEAD").status, wanted)
        self.assertTrue(client.is_open())


class BodyTest(RawCase):
    def answers_then(self, client, first, second=200):
        """The body was dropped whole, or the connection ends: it must never be read as a head."""
        answer = client.read()
        self.assertIn(answer.status, first)
        if answer.closes:
            self.assertEqual(client.read_rest(), b"")
        else:
            self.assertEqual(client.read().status, second)

    def test_body_that_looks_like_a_request(self):
        inner = request_head("/nothing")
        client = self.client()
        client.send(request_head("/small.bin", fields=(f"Content-Length: {len(inner)}",)) + inner
                    + request_head("/small.bin"))
        self.answers_then(client, (200,))

    def test_chunked_body(self):
        inner = request_head("/nothing")
        chunks = b"%x;a=b\r\n%s\r\n0\r\nTrailer: c\r\n\r\n" % (len(inner), inner)
        client = self.client()
        client.send(request_head("/small.bin", fields=("Transfer-Encoding: chunked",)))
        client.trickle(chunks)
        client.send(request_head("/small.bin"))
        self.answers_then(client, (200, 411, 413))

    def test_bad_chunks(self):
        for chunks in (b"xyz\r\nabc\r\n0\r\n\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\na\r\n",
                       b"3\r\nabcd\r\n0\r\n\r\n", b"3\nabc\n0\n\n"):
            client = self.client()
            client.send(request_head("/small.bin", fields=("Transfer-Encoding: chunked",))
                        + chunks + request_head("/nothing"))
            statuses = self.statuses_until_closed(client)
            self.assertTrue(statuses and statuses[-1] in (200, 400, 411, 413), statuses)
            self.assertNotIn(404, statuses, chunks)

    def statuses_until_closed(self, client):
        statuses = []
        try:
            while True:
                statuses.append(client.read().status)
        except (EOFError, ConnectionResetError):
            return statuses

    def test_large_body_is_refused(self):
        client = self.client()
        client.send(request_head("/small.bin", fields=("Content-Length: 99999999",)))
        answer = client.read()
        self.assertEqual((answer.status, answer.closes), (413, True))

    def test_expect(self):
        client = self.client()
        client.send(request_head("/small.bin", fields=("Content-Length: 5",
                                                       "Expect: 100-continue")))
        first = client.read(interim=True)
        if first.status == 100:
            client.send(b"hello")
            first = client.read()
            self.assertEqual(first.status, 200)
            self.assertEqual(client.get("/small.bin").status, 200)
        else:  # a final answer instead: the body never comes, so the connection has to end
            self.assertIn(first.status, (200, 413, 417))
            self.assertTrue(first.closes)

    def test_expect_without_a_body(self):
        client = self.client()
        for _ in range(2):
            answer = client.get("/small.bin", fields=("Expect: 100-continue",))
            self.assertEqual(answer.status, 200)

    def test_unknown_expectation(self):
        self.assertEqual(self.get("/small.bin", fields=("Expect: tea",)).status, 417)


class RangeTest(RawCase):
    def test_huge_numbers_never_wrap(self):
        for text, status, body in (
                (f"bytes=0-{BIG}", 206, coded_bytes(0, SMALL)),
                (f"bytes=5-{2 ** 64}", 206, coded_bytes(5, SMALL - 5)),
                (f"bytes=-{BIG}", 206, coded_bytes(0, SMALL)),
                (f"bytes=-{2 ** 64 + 3}", 206, coded_bytes(0, SMALL)),
                (f"bytes={BIG}-", 416, None), (f"bytes={2 ** 64}-{2 ** 64 + 9}", 416, None),
                (f"bytes={10 ** 400}-", 416, None), ("bytes=-0", 416, None)):
            answer = self.get("/small.bin", fields=(f"Range: {text}",))
            self.assertEqual(answer.status, status, text)
            if body is None:
                self.assertEqual(answer.get("content-range"), f"bytes */{SMALL}")
            else:
                self.assertEqual(answer.body, body, text)

    def test_what_is_no_range_is_ignored(self):
        for text in ("bytes=", "bytes=a-b", "bytes=5-3", "lines=1-2", "bytes 0-5", "bytes=0-5x",
                     "bytes=--5", "bytes=+1-2"):
            answer = self.get("/small.bin", fields=(f"Range: {text}",))
            self.assertEqual((answer.status, len(answer.body)), (200, SMALL), text)

    def test_neighbours_coalesce(self):
        answer = self.get("/small.bin", fields=("Range: bytes=0-9,10-19,5-14",))
        self.assertEqual(answer.status, 206)
        self.assertEqual(answer.get("content-range"), f"bytes 0-19/{SMALL}")
        self.assertEqual(answer.body, coded_bytes(0, 20))

    def test_floods_are_not_served(self):
        flood = ",".join(f"0-{i}" for i in range(1000))
        answer = self.get("/big.bin", fields=(f"Range: bytes={flood}",))
        self.assertIn(answer.status, (200, 416, 431))
        self.assertLessEqual(len(answer.body), SIZE)
        spread = ",".join(f"{i * 100}-{i * 100}" for i in range(60))
        answer = self.get("/big.bin", fields=(f"Range: bytes={spread}",))
        self.assertIn(answer.status, (200, 416))

    def test_range_on_head_and_post(self):
        self.assertIn(self.get("/small.bin", "HEAD", fields=("Range: bytes=0-4",)).status,
                      (200, 206))
        self.assertEqual(self.get("/small.bin", "POST", fields=("Range: bytes=0-4",)).status, 405)


class HeadTimeoutTest(RawCase):
    flags = ("--head-timeout", "700ms")
    head = b"GET /small.bin HTTP/1.1\r\nHost: a\r\nX: "

    def test_slow_head_is_answered_with_408(self):
        for _ in range(5):  # the least: what this process waits for a CPU only adds
            begin = time.monotonic()
            client = self.client()
            client.send(self.head)
            answer = client.read()
            took_s = time.monotonic() - begin
            self.assertEqual((answer.status, answer.closes), (408, True))
            self.assertGreater(took_s, 0.5)
            if took_s < 5:  # half of what it is without the flag
                break
        self.assertLess(took_s, 5)

    def test_trickling_does_not_buy_time(self):
        client = self.client()
        client.send(self.head)
        client.socket.settimeout(0.05)
        for _ in range(400):
            try:
                client.send(b"a")
                client.fill("in place of an answer")
                break
            except TimeoutError:
                pass
            except (BrokenPipeError, ConnectionResetError):  # this was late: it has been answered
                break
        else:
            self.fail("it is still read")
        client.socket.settimeout(TIMEOUT_S)
        self.assertEqual(client.read().status, 408)


class IdleTimeoutTest(RawCase):
    flags = ("--idle-timeout", "4s")  # also of this test, from its connection to its request

    def test_idle_connection_is_closed_silently(self):
        client = self.client()
        begin = time.monotonic()
        self.assertEqual(client.get("/small.bin").status, 200)
        self.assertTrue(client.is_closed())
        self.assertGreater(time.monotonic() - begin, 3.5)


if __name__ == "__main__":
    unittest.main()
