"""The drivers of ./dev bench (bench/*.py): their arithmetic, and that each writes a report that
keeps to the schema. The rounds are far too short to say anything about speed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from support import BINARY, SANITIZER, SOURCE
from support.whole_rounds import STARVED

sys.path.insert(0, os.path.join(SOURCE, "bench"))

import figures  # noqa: E402
import meter  # noqa: E402
import raw_contestant  # noqa: E402
import relay_verdicts  # noqa: E402
import reporting  # noqa: E402
import seed_text  # noqa: E402
import verdicts  # noqa: E402

LIMIT_S = 600 if SANITIZER else 240
# Of a round. Where others have the CPUs, a process may have no time within half a second: that is
# what these say, and then it is done again with longer ones.
SECONDS = ("0.5", "3", "10")
NO_TIME = re.compile("received nothing|nothing was received|within the window|" + STARVED)
BUILD = os.path.dirname(BINARY)
NOTHING = meter.Sample(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def window(**others):
    """One second, half of it on the CPU, 1.25e9 bytes: 10 Gbit."""
    after = meter.Sample(at_ns=1_000_000_000, run_ns=500_000_000, wait_ns=10_000_000, user_s=0.1,
                         system_s=0.3, voluntary=20, involuntary=5, minor_faults=4, major_faults=0,
                         softirq_s=0.25, ksoftirqd_ns=1_000_000, steal_s=0.02, machine_s=2)
    parts = {"before": NOTHING, "after": after, "tcp": None, "size": None, "whole": False,
             "client": figures.Client(1_250_000_000, 1.0, 0.4), "tsc_mhz": 2000.0}
    return figures.Window(**(parts | others))


def value(found, name):
    return found[name]["value"]


class FiguresTest(unittest.TestCase):
    def test_every_metric_has_a_value_or_a_reason(self):
        found = figures.figures_of(window())
        self.assertEqual(list(found), reporting.metric_names())
        for name, figure in found.items():
            self.assertEqual(figure["value"] is None, bool(figure["reason"]), name)
            self.assertEqual(figure["value"] is None, figure["source"] is None, name)

    def test_bill(self):
        found = figures.figures_of(window())
        for name, wanted in (("throughput_gbit_per_s", 10), ("cpu_percent", 50),
                             ("cpu_user_percent", 12.5), ("cpu_system_percent", 37.5),
                             ("cpu_ms_per_gbit", 50), ("cycles_per_gbit", 1e8),
                             ("service_demand_us_per_kib", 0.4096), ("client_cpu_percent", 40),
                             ("cpu_softirq_percent", 25), ("ksoftirqd_percent", 0.1),
                             ("server_wait_percent", 1), ("steal_percent", 1),
                             ("voluntary_switches_per_s", 20), ("minor_faults", 4)):
            self.assertAlmostEqual(value(found, name), wanted, msg=name)
        self.assertEqual(found["cycles_per_gbit"]["source"], "modelled")
        self.assertIsNone(value(found, "requests_per_s"))

    def test_a_window_of_another_length_than_the_samples(self):
        """Rates of samples are applied to the client's window; a whole run is taken as it is."""
        half = figures.Client(1_250_000_000, 0.5, 0.2)
        part = figures.figures_of(window(client=half))
        self.assertAlmostEqual(value(part, "cpu_ms_per_gbit"), 25)
        whole = figures.figures_of(window(client=half, whole=True))
        self.assertAlmostEqual(value(whole, "cpu_ms_per_gbit"), 50)
        self.assertAlmostEqual(value(whole, "cpu_percent"), 100)

    def test_requests_count_parts_of_bodies(self):
        found = figures.figures_of(window(size=500_000_000))
        self.assertAlmostEqual(value(found, "requests_per_s"), 2.5)
        self.assertAlmostEqual(value(found, "cpu_us_per_request"), 200_000)
        self.assertIsNone(value(found, "latency_p50_us"))

    def test_handshakes_are_billed_without_bytes(self):
        found = figures.handshake_figures(window(), 1000)
        self.assertEqual(list(found), reporting.metric_names())
        self.assertAlmostEqual(value(found, "requests_per_s"), 1000)
        self.assertAlmostEqual(value(found, "cpu_us_per_request"), 500)
        self.assertAlmostEqual(value(found, "cpu_percent"), 50)
        for name in ("cpu_ms_per_gbit", "throughput_gbit_per_s", "retransmits"):
            self.assertIsNone(value(found, name), name)
            self.assertTrue(found[name]["reason"], name)

    def test_a_handshake_verdict(self):
        """pagewire has to make 0.95 of what the best of its peers makes of a CPU second."""
        def contender(name, count):
            found = figures.handshake_figures(window(), count)
            return reporting.contender(name, [reporting.good_round(1, 1.0, found)])
        row = reporting.row("full", 0, 1, "request", None,
                            [contender("pagewire", 960), contender("a", 1000), contender("b", 900)])
        [line] = verdicts.of_handshakes(row, {"a", "b"})
        self.assertEqual(line, "held: full: 1,920 per CPU second, 0.96 of the best peer's (a), "
                               "bar 0.95")
        row["contenders"][0] = contender("pagewire", 940)
        [line] = verdicts.of_handshakes(row, {"a", "b"})
        self.assertTrue(line.startswith("MISSED: full: 1,880 per CPU second, 0.94 of"), line)

    def test_verdicts_of_relays(self):
        """As many bytes or requests for so much of the CPU: costs are in proportion to it."""
        def contender(name, share):
            after = meter.Sample(**{**window().after.__dict__, "run_ns": int(share * 1e9)})
            found = figures.figures_of(window(after=after, size=1_000_000))
            return reporting.contender(name, [reporting.good_round(1, 1.0, found)])
        row = reporting.row("r", 1, 1, "request", None, [
            contender("pagewire", 0.41), contender("haproxy-splice", 0.5),
            contender("haproxy-tuned", 0.4), contender("pagewire+idle", 0.44)])
        splice, tuned = relay_verdicts.of_bulk(row)
        self.assertEqual(splice, "held: r: 41.0 ms of CPU per Gbit, 0.82 of HAProxy's with splice "
                                 "(haproxy-splice), bar 0.85")
        self.assertTrue(tuned.startswith("MISSED: r: 41.0 ms of CPU per Gbit, 1.02 of"), tuned)
        [line] = relay_verdicts.of_exchanges(row, {"haproxy-splice"})
        self.assertIn("held: r: 328.0 us of CPU each, 0.82 of the best peer's", line)
        [line] = relay_verdicts.of_busy(row, ["pagewire"])
        self.assertEqual(line, "MISSED: r: pagewire 1.07 of the CPU per Gbit alone, bar 1.05")
        lines = relay_verdicts.of_idle({"pagewire": {"private": 500, "pss": 1, "slab": 2},
                                        "haproxy-copy": {"private": 1001, "pss": 1, "slab": 2},
                                        "x": "not there"}, 10)
        self.assertTrue(lines[0].startswith("held: idle: pagewire: 500 bytes"), lines[0])
        self.assertTrue(lines[0].endswith("0.50 of HAProxy's, bar 0.50"), lines[0])
        self.assertEqual(lines[2], "idle: x: no figure: not there")

    def test_tcp_info_of_ss(self):
        lines = ["ESTAB 0 0 a:1 b:2 bbr busy:300ms rwnd_limited:150ms(50.0%) retrans:1/7 minrtt:1",
                 "ESTAB 0 0 a:1 b:3 bbr bytes_retrans:99 busy:100ms sndbuf_limited:40ms(40.0%)"]
        seen = meter.parse_tcp_info(lines)
        self.assertEqual(seen, meter.TcpInfo(2, 7, 400, 150, 40))
        found = figures.figures_of(window(tcp=seen))
        self.assertEqual(value(found, "retransmits"), 7)
        self.assertAlmostEqual(value(found, "receiver_limited_percent"), 37.5)
        self.assertAlmostEqual(value(found, "send_buffer_limited_percent"), 10)

    def test_what_a_sink_says(self):
        said = "4096.0 MB in 3.20 s, 1280.0 MB/s (10.24 Gbit/s), CPU 31% of a core; 4 connections\n"
        self.assertEqual(raw_contestant.read_sink(said), (4_096_000_000, 3.2))
        with self.assertRaises(RuntimeError):
            raw_contestant.read_sink("cannot connect\n")


class SeedTextTest(unittest.TestCase):
    def row(self, **cycles):
        def contender(name, mega_cycles):
            found = figures.figures_of(window())
            found["cycles_per_gbit"] = reporting.modelled(mega_cycles * 1e6)
            return reporting.contender(name, [reporting.good_round(1, 1.0, found)])
        return reporting.row("row", 1, 1, "stream", "copy",
                             [contender(*pair) for pair in cycles.items()])

    def test_a_ratio_holds_or_not(self):
        for readwrite, word in ((310, "22.1 and 22.1, holds;"),
                                (70, "22.1 and 5.0, holds in direction, not in size;"),
                                (7, "22.1 and 0.5, does not hold;")):
            [line] = seed_text.ratios(self.row(copy=readwrite, sendfile=14))
            self.assertIn(f"cycles per Gbit readwrite : sendfile {word}", line)

    def test_the_likest_contender_stands_for_the_text(self):
        row = self.row(**{"iperf3": 5, "copy": 6, "readwrite 64K": 7, "iperf3 -Z": 8})
        self.assertEqual(list(seed_text.seen_in(row, "readwrite")),
                         ["readwrite 64K", "copy", "iperf3"])
        self.assertEqual(seed_text.first_of(row, "readwrite").cycles_per_gbit, 7e6)
        self.assertEqual(seed_text.first_of(row, "sendfile").cycles_per_gbit, 8e6)
        self.assertIsNone(seed_text.first_of(row, "mmap"))

    def test_the_texts_own_arithmetic(self):
        [line] = seed_text.arithmetic()
        self.assertIn("readwrite 3.2 GHz, sendfile 3.0 GHz, mmap 4.0 GHz", line)
        self.assertIn("mmap should be 193 to 239 M", line)


class DriversTest(unittest.TestCase):
    """Each from its command line to a report that the schema and pagewire accept."""

    def drive(self, name, *flags):
        for program in ("bench_load", "bench_load_tls", "bench_connects", "bench_readwrite_loop"):
            if not os.path.exists(os.path.join(BUILD, program)):
                self.skipTest(f"{program} is not built beside {BINARY}")
        for seconds in SECONDS:
            found, missing = self.drive_once(name, seconds, *flags)
            if not all(NO_TIME.search(reason) for reason in missing):
                break
            if not missing:
                return found
        self.fail(f"not all have a bill: {missing}")

    @staticmethod
    def why_no_bill(row, contender):
        """None where there is one, and where it is not installed."""
        metric = "cpu_ms_per_gbit" if row["size_bytes"] else "cpu_us_per_request"
        if reporting.median(contender, metric) is not None:
            return None
        if contender["unavailable"] is not None:
            return None if "is not there" in contender["unavailable"] else contender["unavailable"]
        return "; ".join(one["failed"] or one["figures"][metric]["reason"]
                         for one in contender["rounds"])

    def drive_once(self, name, seconds, *flags):
        """The report, and why some have no bill."""
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)  # servers give up root and read as another user
            report, table = os.path.join(folder, "r.json"), os.path.join(folder, "r.md")
            done = subprocess.run(
                [sys.executable, os.path.join(SOURCE, f"bench/{name}.py"), "--build", BUILD,
                 "--rounds", "1", "--seconds", seconds, "--work-dir", folder, "--json", report,
                 "--md", table, *flags],
                capture_output=True, text=True, timeout=LIMIT_S, check=False)
            self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)
            if not os.path.exists(report) and STARVED in done.stderr:  # pagewire bench's own rounds
                return None, [STARVED]
            self.assertTrue(os.path.exists(report), done.stdout + done.stderr)
            self.check_schema(report)
            self.assertEqual(sorted(os.listdir(folder)), ["r.json", "r.md"], "something is left")
            self.assertIn("|", Path(table).read_text())
            found = json.loads(Path(report).read_text())
            reasons = [self.why_no_bill(row, one) for row in found["rows"]
                       for one in row["contenders"]]
            return found, [reason for reason in reasons if reason is not None]

    def check_schema(self, report):
        done = subprocess.run(["/usr/bin/python3", "-m", "jsonschema", "-i", report,
                               str(reporting.SCHEMA)], capture_output=True, text=True,
                              timeout=LIMIT_S, check=False)
        if "No module named jsonschema" in done.stderr:
            self.skipTest("python3-jsonschema is not installed")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def bills(self, report):
        return {one["name"]: one["summary"]["cpu_ms_per_gbit"]["median"]
                for row in report["rows"] for one in row["contenders"]}

    def verified(self, report):
        return {one["name"]: one["verified_bytes"]
                for row in report["rows"] for one in row["contenders"]}

    def test_serve(self):
        report = self.drive("serve", "--only", "32k", "--servers", "pagewire,floor-send")
        self.assertEqual(self.verified(report), dict.fromkeys(("pagewire", "floor-send"), 64 << 15))
        self.assertTrue(all(self.bills(report).values()))

    @unittest.skipUnless(shutil.which("openssl"), "not installed: openssl")
    def test_tls(self):
        report = self.drive("tls", "--only", "400k", "--only", "full", "--only", "resumed",
                            "--servers", "pagewire", "--suite", "TLS_AES_128_GCM_SHA256")
        load, full, resumed = report["rows"]
        self.assertEqual(load["contenders"][0]["verified_bytes"], 16 * (400 << 10))
        self.assertGreater(load["contenders"][0]["summary"]["cpu_ms_per_gbit"]["median"], 0)
        for row in (full, resumed):
            self.assertGreater(row["contenders"][0]["summary"]["requests_per_s"]["median"], 0)
        self.assertIn("the cipher alone, by openssl speed", "\n".join(report["remarks"]))

    @unittest.skipUnless(shutil.which("haproxy", path="/usr/sbin:/usr/bin"),
                         "not installed: haproxy")
    def test_relay(self):
        report = self.drive("relay", "--only", "6m-8", "--only", "connects", "--only", "busy",
                            "--only", "idle", "--relays", "pagewire,haproxy-splice",
                            "--idle-connections", "20", "--congestion", "system")
        bulk, connects, busy = report["rows"]
        self.assertEqual(connects["contenders"][1]["verified_bytes"], 64 << 10)
        for row in (bulk, busy):
            for one in row["contenders"]:
                self.assertIn(one["verified_bytes"], (0, 8 * 6 << 20))
                self.assertEqual(one["verified_bytes"] == 0, one["unavailable"] is not None)
        made = {one["name"]: one["summary"]["requests_per_s"]["median"]
                for one in connects["contenders"]}
        self.assertGreater(made["haproxy-splice"], 0)
        self.assertEqual([one["name"] for one in busy["contenders"]],
                         ["pagewire", "pagewire+idle", "haproxy-splice", "haproxy-splice+idle"])
        said = "\n".join(report["remarks"])
        self.assertIn("haproxy-splice: HAProxy version", said)
        self.assertRegex(said, "idle: haproxy-splice: [0-9,]+ bytes of user memory a connection")

    def test_peers_over_http(self):
        report = self.drive("peers", "--only", "request", "--size", "1M", "--paths", "copy")
        found = self.bills(report)
        self.assertTrue(found["pagewire[copy]"])
        self.assertTrue(found["python"])

    def test_peers_as_raw_streams(self):
        report = self.drive("peers", "--only", "stream", "--size", "8M", "--paths", "copy,sendfile")
        self.assertEqual(self.verified(report),
                         dict.fromkeys(("pagewire[copy]", "pagewire[sendfile]"), 8 << 20))
        self.assertTrue(all(self.bills(report).values()))
        self.assertIn("ss(8) tells them since each began", "\n".join(report["remarks"]))

    @unittest.skipUnless(shutil.which("iperf3"), "not installed: iperf3")
    def test_seed(self):
        report = self.drive("seed", "--size", "8M", "--streams", "1")
        self.assertEqual(report["kind"], "seed")
        self.assertTrue(all(self.bills(report).values()))
        said = "\n".join(report["remarks"])
        self.assertIn("the text's own arithmetic", said)
        self.assertIn("ss(8) tells them since each began", said)
        self.assertIn("cycles per Gbit readwrite : sendfile 22.1 and ", said)


if __name__ == "__main__":
    unittest.main()
