"""What people put behind a relay: iperf3 both ways, and redis where it is installed."""

import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../faults"))

from relay_parts import RelayTest  # noqa: E402
from support import free_port  # noqa: E402
from support_faults import report, wait_until  # noqa: E402

LIMIT_S = 200


def listens(port):
    """Without a connection, which iperf3 would take for a client: behind each it closes its
    listener for a moment, and resets who stands in the queue."""
    listening = "0A"
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in list(file)[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == listening for row in rows)


class ToolsTest(RelayTest):
    def behind(self, *command, port):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: listens(port), f"{command[0]} listens")
        return self.start(f"127.0.0.1:{port}")

    @unittest.skipUnless(shutil.which("iperf3"), "not installed: iperf3")
    def test_iperf3_both_ways(self):
        for way in ((), ("-R",)):
            port = free_port()
            relay = self.behind("iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(port), port=port)
            done = subprocess.run(
                ["iperf3", "-c", "127.0.0.1", "-p", str(relay.address[1]), "-n", "256M", "-P", "2",
                 "-J", *way], capture_output=True, text=True, timeout=LIMIT_S, check=False)
            said = json.loads(done.stdout)
            self.assertNotIn("error", said)
            end = said["end"]
            # What stands in buffers when the sender is done, iperf3's receiver does not wait for.
            self.assertGreater(end["sum_received"]["bytes"], 1_000_000)
            report(f"iperf3 {' '.join(way)}: {end['sum_received']['bits_per_second'] / 1e9:.1f} "
                   "Gbit/s")
            self.assertIn('pagewire_relay_path_bytes_total{path="splice"}', relay.metrics())

    @unittest.skipUnless(shutil.which("redis-server") and shutil.which("redis-benchmark"),
                         "not installed: redis-server, redis-tools")
    def test_redis(self):
        port = free_port()
        relay = self.behind("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save",
                            "", "--appendonly", "no", "--daemonize", "no", port=port)
        for size in (16, 100_000):
            done = subprocess.run(
                ["redis-benchmark", "-p", str(relay.address[1]), "-n", "2000", "-c", "20", "-d",
                 str(size), "-t", "set,get", "-q"],
                capture_output=True, text=True, timeout=LIMIT_S, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertNotIn("rror", done.stdout)
            self.assertEqual(done.stdout.count("requests per second"), 2, done.stdout)


if __name__ == "__main__":
    unittest.main()
