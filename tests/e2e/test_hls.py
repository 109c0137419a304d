"""An HLS stream, made by ffmpeg, read over HTTP by ffmpeg: what a player gets is what lies in the
files."""

import hashlib
import os
import subprocess
import unittest
import urllib.parse
import urllib.request

from support import SOURCE, Pagewire, ServedCase
from support.tls_socket import CONTEXT

SECONDS = 12
FRAMES_A_SECOND = 10


def make_stream(folder):
    """Two renditions in 4-second segments; small pictures, because only the bytes matter here."""
    subprocess.run(
        ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error",
         "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate={FRAMES_A_SECOND}:duration={SECONDS}",
         "-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={SECONDS}",
         "-filter_complex", "[0:v]split[large][other];[other]scale=160:90[small]",
         "-map", "[small]", "-map", "1:a", "-map", "[large]", "-map", "1:a",
         "-c:v", "libx264", "-preset", "ultrafast", "-g", str(4 * FRAMES_A_SECOND),
         "-sc_threshold", "0", "-b:v:0", "100k", "-b:v:1", "2000k", "-c:a", "aac", "-b:a", "64k",
         "-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod",
         "-hls_segment_filename", "v%v/seg_%03d.ts", "-master_pl_name", "master.m3u8",
         "-var_stream_map", "v:0,a:0 v:1,a:1", "v%v/index.m3u8"], cwd=folder, check=True)


class HlsTest(ServedCase):
    flags = ("--cors",)

    @classmethod
    def fill(cls, folder):
        make_stream(folder.root)

    def fetch(self, url):
        context = CONTEXT if url.startswith("https:") else None
        with urllib.request.urlopen(url, timeout=60, context=context) as answer:
            return answer.read(), answer.headers

    def playlist(self, url):
        text, headers = self.fetch(url)
        self.assertEqual(headers["Content-Type"].split(";")[0].lower(),
                         "application/vnd.apple.mpegurl")
        self.assertEqual(text[:7], b"#EXTM3U")
        return [urllib.parse.urljoin(url, line) for line in text.decode().splitlines()
                if line and not line.startswith("#")]

    def test_every_segment_is_its_file(self):
        renditions = self.playlist(self.server.url("/master.m3u8"))
        self.assertEqual(len(renditions), 2)
        compared = 0
        for rendition in renditions:
            segments = self.playlist(rendition)
            self.assertEqual(len(segments), SECONDS // 4)
            for url in segments:
                body, headers = self.fetch(url)
                name = urllib.parse.urlsplit(url).path.lstrip("/")
                self.assertEqual(hashlib.sha256(body).hexdigest(),
                                 hashlib.sha256(self.folder.read(name)).hexdigest(), name)
                self.assertEqual(headers["Content-Type"], "video/mp2t")
                self.assertEqual(headers["Access-Control-Allow-Origin"], "*")
                compared += len(body)
        self.assertGreater(compared, 1_000_000)

    def test_caching_suits_playlists_and_segments(self):
        _, playlist = self.fetch(self.server.url("/v0/index.m3u8"))
        _, segment = self.fetch(self.server.url("/v0/seg_000.ts"))
        self.assertNotIn("immutable", playlist["Cache-Control"])
        self.assertIn("immutable", segment["Cache-Control"])

    def ffmpeg_hashes(self, source):
        """The SHA-256 of the decoded pictures and of the decoded sound."""
        done = subprocess.run(
            ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-i", source,
             "-map", "0:v", "-map", "0:a", "-f", "streamhash", "-hash", "sha256", "-"],
            capture_output=True, text=True, timeout=240, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_ffmpeg_decodes_the_same_over_http(self):
        for rendition in ("v0", "v1"):
            over_http = self.ffmpeg_hashes(self.server.url(f"/{rendition}/index.m3u8"))
            self.assertEqual(len(over_http), 2)
            self.assertEqual(over_http, self.ffmpeg_hashes(
                self.folder.path(f"{rendition}/index.m3u8")))

    def test_ffprobe_sees_both_renditions_whole(self):
        done = subprocess.run(
            ["ffprobe", "-loglevel", "error", "-count_packets", "-select_streams", "v",
             "-show_entries", "stream=height,nb_read_packets", "-of", "csv=p=0",
             self.server.url("/master.m3u8")],
            capture_output=True, text=True, timeout=240, check=True)
        seen = {tuple(line.strip(",").split(",")) for line in done.stdout.split()}
        frames = str(SECONDS * FRAMES_A_SECOND)
        self.assertEqual(seen, {("90", frames), ("180", frames)})


class DemoTest(unittest.TestCase):
    def test_curl_of_a_range_is_the_slice(self):
        """The stream of `./dev serve` itself, if it has been made."""
        demo = os.path.join(SOURCE, "build/demo")
        segment = os.path.join(demo, "v0/seg_000.ts")
        if not os.path.exists(segment):
            self.skipTest("no build/demo: ./dev serve or ./dev test makes it")
        with Pagewire(demo, admin="off") as server, open(segment, "rb") as file:
            got = subprocess.run(["curl", "-s", "-k", "-r", "1000-1999",
                                  server.url("/v0/seg_000.ts")], capture_output=True, check=True)
            self.assertEqual(got.stdout, file.read()[1000:2000])


if __name__ == "__main__":
    unittest.main()
