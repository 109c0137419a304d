"""The suites of the egress paths, the loops and what they rest on, in Debian 12's own kernel (6.1):
without cachestat(2), with an io_uring that lacks what later ones have, on a real ext4. And the
server there: which loop and paths it takes by itself, and that it serves."""

import glob
import os
import re
import unittest

from support_guest import (BINARY, BUILD, HERE, NOT_WHOLE, TEST_FLAGS, WHOLE, Guest, GuestServer,
                           Image, report, report_tests, why_no_guest)

KERNEL = "debian-12"
UNIT = ("content_cache", "content_listing", "content_path", "content_readahead",
        "content_resolution", "content_site", "disk_desk", "loop", "loop_error_queue", "pipe",
        "selftest", "uring_loop")
LONGEST = "egress_socket_test"
# Those that an older kernel has been seen to matter to; the others only by ./dev vm.
SHORT = ("egress_residency_test", "loop_test", "pipe_test", "selftest_test", "uring_loop_test")
LIMIT_S = 400


def programs():
    if not WHOLE:
        return list(SHORT)
    conformance = glob.glob(os.path.join(HERE, "../conformance/*_test.cpp"))
    return sorted([os.path.basename(name)[:-len(".cpp")] for name in conformance]
                  + [f"{name}_test" for name in UNIT])


class Conformance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if why := why_no_guest(KERNEL):
            raise unittest.SkipTest(why)
        image = Image()
        image.add_program(BINARY, "/bin/pagewire", strip=True)
        for program in programs():
            image.add_program(os.path.join(BUILD, program), f"/tests/{program}", strip=True)
        cls.guest = Guest(KERNEL, image, disk_mib=512, modules=("overlay",))
        cls.addClassCleanup(cls.guest.stop)
        cls.guest.load("overlay")

    def test_programs(self):
        """The longest on one CPU, the others on the other one."""
        if not WHOLE:
            report(f"the other programs: {NOT_WHOLE}")
        longest = sorted({LONGEST} & set(programs()))
        for batch in filter(None, (longest, sorted(set(programs()) - {LONGEST}))):
            commands = "; ".join(
                f"mkdir -p /disk/{program}; cd /disk/{program}; TMPDIR=/disk/{program}"
                f" timeout -s KILL {LIMIT_S} /tests/{program} {TEST_FLAGS} > /tmp/{program}.out"
                f" 2>&1; echo $? > /tmp/{program}.status" for program in batch)
            self.guest.run(f"export PAGEWIRE_ROUNDS=5; {{ {commands}; }} &")
        for program in [*sorted(set(programs()) - {LONGEST}), *longest]:
            with self.subTest(program=program):
                self.guest.run(f"while [ ! -e /tmp/{program}.status ]; do sleep 0.2; done",
                               limit_s=LIMIT_S + 20)
                output = self.guest.run(f"cat /tmp/{program}.out").output
                to_read = report_tests(program, output)
                self.assertEqual(self.guest.run(f"cat /tmp/{program}.status").output.strip(), "0",
                                 to_read)

    def test_the_server(self):
        self.guest.run("mkdir -p /disk/www && head -c 3000001 /dev/urandom > /disk/www/f")
        server = GuestServer(self.guest, "pagewire serve /disk/www --listen :8080 --admin :9180"
                             " --workers 2 --engine auto")
        self.addCleanup(server.stop)
        report(server.output.splitlines()[-1])
        self.assertIn("engine uring", server.output)
        explained = self.guest.run("pagewire serve /disk/www --explain /f").output
        paths = re.findall(r"^ +(\w+): (.*)$", explained, re.M)
        for name, use in paths:
            report(f"{name}: {use}")
        # What needs a newer kernel says so; nothing else is missing, and nothing is quarantined.
        self.assertEqual([name for name, use in paths if use != "usable"], ["uring_zc_sqpoll"])
        self.assertIn("Linux 6.14", dict(paths)["uring_zc_sqpoll"])
        for _ in range(3):
            self.guest.run("wget -q -O /tmp/got http://127.0.0.1:8080/f && cmp /tmp/got /disk/www/f")


if __name__ == "__main__":
    unittest.main()
