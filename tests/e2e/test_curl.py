"""What an ordinary client does, with the client that everybody has: curl against the files."""

import os
import subprocess
import tempfile
import unittest

from support import RawClient, ServedCase, coded_bytes, first_difference

SIZE = 3 * 1024 * 1024 + 517
TEXT = "p { color: #123456 }\n" * 400


def curl(*arguments, check=True):
    done = subprocess.run(["curl", "--insecure", "--silent", "--show-error", "--max-time", "120",
                           *arguments], capture_output=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"curl {arguments}: {done.returncode} {done.stderr.decode()}")
    return done.stdout


def fields_of(head):
    """The fields of the last head that curl -i or -I printed, by lower-case name."""
    lines = head.decode().replace("\r\n", "\n").strip().split("\n\n")[-1].split("\n")
    return dict((name.lower(), value) for name, value in
                (line.split(": ", 1) for line in lines[1:]))


class CurlTest(ServedCase):
    flags = ("--cors",)

    @classmethod
    def fill(cls, folder):
        folder.coded("v0/seg_000.ts", SIZE)
        folder.write("style.css", TEXT)
        for command, suffix in ((["brotli", "-q", "5"], "br"), (["zstd", "-q"], "zst"),
                                (["gzip", "-n"], "gz")):
            with open(folder.path("style.css"), "rb") as source, \
                    open(folder.path("style.css." + suffix), "wb") as target:
                subprocess.run([*command, "-c"], stdin=source, stdout=target, check=True)

    def segment(self):
        return self.server.url("/v0/seg_000.ts")

    def status(self, *arguments):
        return int(curl("-o", os.devnull, "-w", "%{http_code}", *arguments))

    def test_whole_file(self):
        self.assertIsNone(first_difference(curl(self.segment()), coded_bytes(0, SIZE)))

    def test_single_ranges_are_dd_slices(self):
        for first, last in ((0, 0), (1000, 1999), (4095, 4096), (1, SIZE - 2),
                            (SIZE - 1, SIZE - 1), (100, 10 * SIZE)):
            got = curl("-r", f"{first}-{last}", self.segment())
            count = min(last, SIZE - 1) - first + 1
            wanted = subprocess.run(
                ["dd", f"if={self.folder.path('v0/seg_000.ts')}", f"skip={first}",
                 f"count={count}", "bs=64K", "iflag=skip_bytes,count_bytes", "status=none"],
                capture_output=True, check=True).stdout
            self.assertIsNone(first_difference(got, wanted), f"{first}-{last}")

    def test_suffix_and_open_ranges(self):
        for text, wanted in (("-1", coded_bytes(SIZE - 1, 1)), (f"{SIZE - 9}-",
                             coded_bytes(SIZE - 9, 9)), (f"-{2 * SIZE}", coded_bytes(0, SIZE))):
            self.assertIsNone(first_difference(curl("-r", text, self.segment()), wanted), text)

    def test_partial_content_says_which_part(self):
        fields = fields_of(curl("-r", "5-9", "-D", "-", "-o", os.devnull, self.segment()))
        self.assertEqual(fields["content-range"], f"bytes 5-9/{SIZE}")
        self.assertEqual(fields["content-length"], "5")
        self.assertEqual(fields["content-type"], "video/mp2t")

    def test_unsatisfiable_range(self):
        answer = curl("-i", "-r", f"{SIZE}-", self.segment())
        self.assertIn(b" 416 ", answer.split(b"\r\n")[0])
        self.assertIn(f"Content-Range: bytes */{SIZE}".encode(), answer)

    def test_several_ranges(self):
        with RawClient(self.server.address) as client:
            answer = client.get("/v0/seg_000.ts", fields=("Range: bytes=0-9,5000-5003,-4",))
        self.assertEqual(answer.status, 206)
        self.assertIsNone(answer.get("content-range"))
        self.assertEqual(answer.parts(), [
            (f"bytes 0-9/{SIZE}", "video/mp2t", coded_bytes(0, 10)),
            (f"bytes 5000-5003/{SIZE}", "video/mp2t", coded_bytes(5000, 4)),
            (f"bytes {SIZE - 4}-{SIZE - 1}/{SIZE}", "video/mp2t", coded_bytes(SIZE - 4, 4))])
        via_curl = curl("-r", "0-9,5000-5003,-4", self.segment())
        self.assertEqual(len(via_curl), len(answer.body))

    def test_head_has_the_fields_of_get(self):
        got = fields_of(curl("-D", "-", "-o", os.devnull, self.segment()))
        head = fields_of(curl("-I", self.segment()))
        for fields in (got, head):
            fields.pop("date")
        self.assertEqual(head, got)
        self.assertEqual(head["content-length"], str(SIZE))
        self.assertEqual(head["accept-ranges"], "bytes")
        self.assertIn("immutable", head["cache-control"])

    def test_conditional_requests(self):
        fields = fields_of(curl("-I", self.segment()))
        etag, modified = fields["etag"], fields["last-modified"]
        self.assertRegex(etag, r'^"[^"]+"$')
        past, url = "Sun, 06 Nov 1994 08:49:37 GMT", self.segment()
        for wanted, field in (
                (304, f"If-None-Match: {etag}"), (304, f'If-None-Match: "x", W/{etag}'),
                (304, "If-None-Match: *"), (200, 'If-None-Match: "x"'),
                (304, f"If-Modified-Since: {modified}"), (200, f"If-Modified-Since: {past}"),
                (200, f"If-Match: {etag}"), (412, 'If-Match: "x"'), (412, f"If-Match: W/{etag}"),
                (412, f"If-Unmodified-Since: {past}"),
                (200, f"If-Unmodified-Since: {modified}"), (200, "If-Modified-Since: yesterday")):
            self.assertEqual(self.status("-H", field, url), wanted, field)
        # RFC 9110 13.2.2: If-None-Match decides, If-Modified-Since beside it is not looked at.
        self.assertEqual(self.status("-H", 'If-None-Match: "x"', "-H",
                                     f"If-Modified-Since: {modified}", url), 200)

    def test_if_range(self):
        fields = fields_of(curl("-I", self.segment()))
        for wanted, value in ((206, fields["etag"]), (200, '"x"'), (200, "W/" + fields["etag"]),
                              (200, "Sun, 06 Nov 1994 08:49:37 GMT")):
            self.assertEqual(self.status("-r", "0-9", "-H", f"If-Range: {value}", self.segment()),
                             wanted, value)

    def test_compressed_siblings(self):
        url = self.server.url("/style.css")
        for accept, coding in (("br", "br"), ("zstd", "zstd"), ("gzip", "gzip"),
                               ("gzip;q=0.5, br;q=0.4", "gzip"), ("br;q=0, gzip", "gzip"),
                               ("identity", None), ("", None), ("deflate", None)):
            answer = curl("-i", "-H", f"Accept-Encoding: {accept}" if accept
                          else "Accept-Encoding;", url)
            head, _, body = answer.partition(b"\r\n\r\n")
            fields = fields_of(head)
            self.assertEqual(fields.get("content-encoding"), coding, accept)
            self.assertIn("accept-encoding", fields["vary"].lower(), accept)
            self.assertEqual(fields["content-type"].split(";")[0], "text/css")
            if coding:
                suffix = {"br": "br", "zstd": "zst", "gzip": "gz"}[coding]
                self.assertEqual(body, self.folder.read("style.css." + suffix))
            else:
                self.assertEqual(body, TEXT.encode())

    def test_codings_have_etags_of_their_own(self):
        tags = {curl("-I", "-H", f"Accept-Encoding: {coding}", self.server.url("/style.css"))
                .decode().lower().split("etag: ")[1].split("\r\n")[0]
                for coding in ("br", "zstd", "gzip", "identity")}
        self.assertEqual(len(tags), 4)

    def test_curl_decodes_gzip(self):
        self.assertEqual(curl("-H", "Accept-Encoding: gzip", "--compressed",
                              self.server.url("/style.css")), TEXT.encode())

    def test_cors(self):
        fields = fields_of(curl("-I", "-H", "Origin: http://player.test", self.segment()))
        self.assertIn(fields["access-control-allow-origin"], ("*", "http://player.test"))
        self.assertIn("content-range", fields["access-control-expose-headers"].lower())
        answer = curl("-i", "-X", "OPTIONS", "-H", "Origin: http://player.test",
                      "-H", "Access-Control-Request-Method: GET",
                      "-H", "Access-Control-Request-Headers: range", self.segment())
        self.assertRegex(answer.split(b"\r\n")[0], rb" 20[04] ")
        fields = fields_of(answer.partition(b"\r\n\r\n")[0])
        self.assertIn("range", fields["access-control-allow-headers"].lower())
        self.assertIn("GET", fields["access-control-allow-methods"])

    def test_resumed_download(self):
        with tempfile.NamedTemporaryFile(dir=self.folder.base) as target:
            target.write(coded_bytes(0, 1234567))
            target.flush()
            curl("-C", "-", "-o", target.name, self.segment())
            with open(target.name, "rb") as file:
                self.assertIsNone(first_difference(file.read(), coded_bytes(0, SIZE)))

    def test_http10(self):
        answer = curl("-i", "--http1.0", self.segment())
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertRegex(head.split(b"\r\n")[0], rb"^HTTP/1\.[01] 200 ")
        self.assertIsNone(first_difference(body, coded_bytes(0, SIZE)))

    def test_expect_continue(self):
        """curl asks before it sends a body of more than a megabyte, and goes on after a second
        without an answer, here after a minute: a right server answers at once."""
        with tempfile.NamedTemporaryFile() as body:
            body.write(b"x" * 60000)
            body.flush()
            took = curl("-X", "GET", "-H", "Expect: 100-continue", "--expect100-timeout", "60",
                        "--data-binary", "@" + body.name, "-o", os.devnull, "-w",
                        "%{http_code} %{time_total}", self.segment())
        status, seconds = took.split()
        self.assertIn(int(status), (200, 413, 417))
        self.assertLess(float(seconds), 60)

    def test_connection_is_reused(self):
        url = self.segment()
        connects = curl("-w", "%{num_connects}\n", "-o", os.devnull, url, "-o", os.devnull, url,
                        "-o", os.devnull, self.server.url("/style.css"), "-o", os.devnull,
                        self.server.url("/nothing"))
        self.assertEqual(connects.split(), [b"1", b"0", b"0", b"0"])

    def test_methods(self):
        for method, wanted in (("POST", 405), ("PUT", 405), ("DELETE", 405), ("PATCH", 405),
                               ("TRACE", 405), ("FROBNICATE", 501), ("get", 501)):
            answer = curl("-i", "-X", method, self.segment())
            self.assertIn(f" {wanted} ".encode(), answer.split(b"\r\n")[0], method)
            if wanted == 405:
                allow = fields_of(answer.partition(b"\r\n\r\n")[0])["allow"]
                self.assertEqual({each.strip() for each in allow.split(",")},
                                 {"GET", "HEAD", "OPTIONS"})

    def test_error_bodies_as_asked(self):
        url = self.server.url("/nothing")
        text = curl("-i", "-H", "Accept: text/plain", url)
        self.assertIn("text/plain", fields_of(text.partition(b"\r\n\r\n")[0])["content-type"])
        json = curl("-i", "-H", "Accept: application/json", url)
        head, _, body = json.partition(b"\r\n\r\n")
        self.assertIn("application/json", fields_of(head)["content-type"])
        self.assertRegex(body, rb'^\s*\{.*404.*\}\s*$')
        self.assertLess(len(body), 512)


if __name__ == "__main__":
    unittest.main()
