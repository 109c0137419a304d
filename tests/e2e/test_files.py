"""ROOT and nothing but ROOT: links, hidden names, encodings, folders; and files that change."""

import os
import time
import unittest

from support import Pagewire, RawClient, ServedCase, TestFolder, coded_bytes

VALIDITY_S = 0.3


class ConfinementTest(ServedCase):
    @classmethod
    def fill(cls, folder):
        folder.write("index.html", "root index")
        folder.write("a.txt", "a")
        folder.write("sub/b.txt", "b")
        folder.write("sub/index.html", "sub index")
        folder.write("bare/c.txt", "c")
        folder.write(".hidden", "hidden")
        folder.write(".git/config", "hidden")
        folder.write("sub/.env", "hidden")
        folder.write("with space.txt", "space")
        folder.write("per%cent.txt", "percent")
        folder.write("ünïcode.txt", "unicode")
        folder.write("..dots.txt", "dots")
        with open(folder.outside("secret.txt"), "w", encoding="ascii") as file:
            file.write("secret")
        os.symlink("a.txt", folder.path("inside.txt"))
        os.symlink("../a.txt", folder.path("sub/up.txt"))
        os.symlink("sub", folder.path("link"))
        os.symlink("../secret.txt", folder.path("outside.txt"))
        os.symlink(folder.outside("secret.txt"), folder.path("absolute.txt"))
        os.symlink(folder.base, folder.path("outside"))
        os.symlink("loop", folder.path("loop"))
        os.symlink("nowhere", folder.path("dangling"))
        os.symlink(".hidden", folder.path("to-hidden.txt"))
        os.mkfifo(folder.path("fifo"))
        folder.write("unreadable.txt", "x")
        os.chmod(folder.path("unreadable.txt"), 0)

    def status(self, target):
        return self.get(target).status

    def test_links_that_stay_inside(self):
        for target, body in (("/inside.txt", b"a"), ("/sub/up.txt", b"a"), ("/link/b.txt", b"b")):
            answer = self.get(target)
            self.assertEqual((answer.status, answer.body), (200, body), target)

    def test_links_that_leave(self):
        for target in ("/outside.txt", "/absolute.txt", "/outside/secret.txt", "/outside/",
                       "/loop", "/dangling"):
            answer = self.get(target)
            self.assertEqual(answer.status, 404, target)
            self.assertNotIn(b"secret", answer.body)

    def test_dot_segments_cannot_climb(self):
        for target in ("/../secret.txt", "/sub/../../secret.txt", "/%2e%2e/secret.txt",
                       "/%2E%2E/%2e%2E/secret.txt", "/..%2fsecret.txt", "/..%5csecret.txt",
                       "/sub/..%2f..%2fsecret.txt", "/.%2e/secret.txt", "//../secret.txt",
                       "/%252e%252e/secret.txt", "/..%c0%afsecret.txt",
                       "/%c0%ae%c0%ae/secret.txt", "/....//secret.txt", "/..;/secret.txt"):
            answer = self.get(target)
            self.assertIn(answer.status, (400, 404), target)
            self.assertNotIn(b"secret", answer.body)

    def test_dot_segments_inside(self):
        for target in ("/./a.txt", "/sub/../a.txt", "/sub/%2e%2e/a.txt", "/bare/../sub/./up.txt"):
            self.assertEqual(self.get(target).body, b"a", target)

    def test_hidden_names(self):
        for target in ("/.hidden", "/.git/config", "/%2ehidden", "/sub/.env", "/.git/",
                       "/bare/../.hidden", "/..dots.txt"):
            self.assertEqual(self.status(target), 404, target)

    def test_escapes_are_decoded_once(self):
        for target, body in (("/with%20space.txt", b"space"), ("/per%25cent.txt", b"percent"),
                             ("/%c3%bcn%C3%AFcode.txt", b"unicode"), ("/%61.txt", b"a")):
            answer = self.get(target)
            self.assertEqual((answer.status, answer.body), (200, body), target)
        self.assertEqual(self.status("/%2561.txt"), 404)

    def test_bad_escapes(self):
        for target in ("/%", "/%4", "/%zz", "/a.txt%00", "/a.txt%00.png", "/%80.txt", "/%ff",
                       "/a%0a.txt", "/%7f"):
            self.assertIn(self.status(target), (400, 404), target)
        self.assertEqual(self.status("/%zz"), 400)

    def test_encoded_slash_is_no_separator(self):
        self.assertIn(self.status("/sub%2fb.txt"), (400, 404))

    def test_what_is_no_regular_file(self):
        # Opening a FIFO must not wait for a writer: there is none, and no answer would come.
        self.assertIn(self.status("/fifo"), (403, 404))

    def test_index(self):
        for target, body in (("/", b"root index"), ("/sub/", b"sub index")):
            answer = self.get(target)
            self.assertEqual((answer.status, answer.body), (200, body))
            self.assertIn("text/html", answer.get("content-type"))

    def test_folders(self):
        self.assertEqual(self.status("/bare/"), 404)
        self.assertEqual(self.status("/a.txt/"), 404)
        # Without its slash a page's relative links would point beside it.
        answer = self.get("/sub")
        self.assertIn(answer.status, (301, 308))
        self.assertTrue(answer.get("location").endswith("/sub/"))

    def test_redirect_stays_on_this_host(self):
        """//host/ would be another host's address."""
        answer = self.get("//sub")
        if answer.status in (301, 308):
            self.assertFalse(answer.get("location").startswith("//"), answer.get("location"))

    def test_unreadable_file(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        self.assertIn(self.status("/unreadable.txt"), (403, 404))

    def test_long_names(self):
        self.assertEqual(self.status("/" + "n" * 300), 404)
        self.assertEqual(self.status("/" + "d/" * 2500 + "x"), 404)


class ListingTest(ServedCase):
    flags = ("--listing",)

    @classmethod
    def fill(cls, folder):
        folder.write("bare/c.txt", "c")
        folder.write("bare/<b>&\".txt", "c")
        folder.write("bare/a b%.txt", "c")
        folder.write("bare/.hidden", "h")
        folder.write("bare/sub/x", "x")
        folder.write("sub/index.html", "sub index")

    def test_listing(self):
        answer = self.get("/bare/")
        text = answer.body.decode()
        self.assertEqual(answer.status, 200)
        self.assertIn("text/html", answer.get("content-type"))
        self.assertIn('href="c.txt"', text)
        self.assertIn('href="a%20b%25.txt"', text)
        self.assertIn('href="sub/"', text)
        self.assertNotIn("<b>", text)
        self.assertNotIn(".hidden", text)

    def test_index_wins(self):
        self.assertEqual(self.get("/sub/").body, b"sub index")


class ChangingTest(unittest.TestCase):
    """Sizes on both sides of what is kept in memory; the cache may be stale for VALIDITY_S."""

    SIZES = (1000, 200_000)

    def setUp(self):
        self.folder = TestFolder()
        self.addCleanup(self.folder.close)

    def serve(self):
        server = Pagewire(self.folder.root, "--open-file-validity",
                          f"{int(VALIDITY_S * 1000)}ms", "--workers", "1", admin="off")
        self.addCleanup(server.stop)
        client = RawClient(server.address)
        self.addCleanup(client.close)
        return client

    def replace(self, name, size, salt):
        self.folder.coded(name + ".new", size, salt)
        os.rename(self.folder.path(name + ".new"), self.folder.path(name))

    def seen_within_validity(self, look, what):
        """Whoever asks later than that after the change gets what is new, however long the answer
        takes. A worker that was stopped in its round may take the round's beginning for now: once.
        """
        changed, late = time.monotonic(), 0
        while True:
            asked = time.monotonic()
            if look():
                return
            late += asked - changed > VALIDITY_S + 1.0
            self.assertLess(late, 2, what)
            time.sleep(0.01)

    def test_replaced_file(self):
        for size in self.SIZES:
            self.folder.coded("f.bin", size, salt=1)
            client = self.serve()
            first = client.get("/f.bin")
            self.assertEqual(first.body, coded_bytes(0, size, salt=1))
            self.replace("f.bin", size, salt=2)
            self.seen_within_validity(
                lambda c=client, s=size: c.get("/f.bin").body == coded_bytes(0, s, salt=2),
                "the new file")
            second = client.get("/f.bin")
            self.assertNotEqual(second.get("etag"), first.get("etag"))
            old = f"If-None-Match: {first.get('etag')}"
            self.assertEqual(client.get("/f.bin", fields=(old,)).status, 200)

    def test_never_a_mixture(self):
        """Whichever file an answer is from, it is that file whole, under its own ETag."""
        for size in self.SIZES:
            self.folder.coded("f.bin", size, salt=0)
            client = self.serve()
            tags = {}
            for salt in range(1, 12):
                self.replace("f.bin", size + salt % 3, salt)
                for _ in range(5):
                    answer = client.get("/f.bin")
                    its = answer.body[6]
                    self.assertEqual(answer.body, coded_bytes(0, size + its % 3, its))
                    tags.setdefault(answer.get("etag"), set()).add(its)
                    time.sleep(0.02)
            self.assertTrue(all(len(salts) == 1 for salts in tags.values()), tags)

    def test_grown_in_place(self):
        for size in self.SIZES:
            self.folder.coded("f.bin", size)
            client = self.serve()
            self.assertEqual(len(client.get("/f.bin").body), size)
            self.folder.coded("f.bin", size + 100)
            self.seen_within_validity(
                lambda c=client, s=size: c.get("/f.bin").body == coded_bytes(0, s + 100),
                "the longer file")

    def test_deleted_and_made_again(self):
        for size in self.SIZES:
            self.folder.coded("f.bin", size)
            client = self.serve()
            self.assertEqual(client.get("/f.bin").status, 200)
            os.unlink(self.folder.path("f.bin"))
            self.seen_within_validity(lambda c=client: c.get("/f.bin").status == 404, "404")
            self.folder.coded("f.bin", size, salt=3)
            self.seen_within_validity(
                lambda c=client, s=size: c.get("/f.bin").body == coded_bytes(0, s, salt=3),
                "the file again")

    def test_sibling_that_comes_later(self):
        self.folder.write("s.css", "p {}")
        client = self.serve()
        accept = ("Accept-Encoding: gzip",)
        self.assertIsNone(client.get("/s.css", fields=accept).get("content-encoding"))
        self.folder.write("s.css.gz", b"zipped")
        self.seen_within_validity(
            lambda: client.get("/s.css", fields=accept).body == b"zipped", "the sibling")


if __name__ == "__main__":
    unittest.main()
