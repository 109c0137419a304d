"""pagewire relay whose upstreams lead back to it."""

import socket
import subprocess
import tempfile
import unittest

from support import BINARY, Relay, Upstream, read_all, run_pagewire


class CirclesTest(unittest.TestCase):
    def test_a_relay_to_its_own_listener_is_refused(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        for listen, to in (("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"),
                           ("", "127.0.0.1"), ("0.0.0.0", "127.0.0.2")):
            with self.subTest(listen=listen, to=to):
                done = run_pagewire("relay", "--listen", f"{listen}:{port}", "--to", f"{to}:{port}",
                                    "--admin", "off")
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("leads back to its own listener", done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_an_address_is_not_ours_because_it_can_be_bound(self):
        """net.ipv4.ip_nonlocal_bind, as beside keepalived."""
        script = ("ip link set lo up && ip link add one type veth peer name other && "
                  "ip addr add 10.0.0.6/24 dev one && ip link set one up && "
                  "sysctl -q net.ipv4.ip_nonlocal_bind=1 && exec \"$0\" \"$@\"")
        under = ["unshare", "--net", "sh", "-c", script]
        try:
            tried = subprocess.run([*under, "true"], capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            self.skipTest(str(error))
        if tried.returncode != 0:
            self.skipTest(f"no network namespace to be had: {tried.stderr.strip()}")
        for address, ours in (("10.0.0.7", False), ("10.0.0.6", True)):
            with self.subTest(address=address):
                relay = subprocess.Popen(
                    [*under, BINARY, "relay", "--listen", ":8080", "--to", f"{address}:8080",
                     "--admin", "off"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                self.addCleanup(relay.stdout.close)
                self.addCleanup(relay.wait)
                self.addCleanup(relay.kill)
                said = relay.stdout.readline()
                while "may open" in said:
                    said = relay.stdout.readline()
                self.assertIn("leads back to its own listener" if ours else " relaying ", said)

    def test_relays_that_lead_to_each_other_are_refused(self):
        with socket.create_server(("127.0.0.1", 0)) as one, \
                socket.create_server(("127.0.0.1", 0)) as other:
            ports = [listener.getsockname()[1] for listener in (one, other)]
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            for here, there in (ports, reversed(ports)):
                file.write(f'[[relay]]\nname = "of-{here}"\nlisten = "127.0.0.1:{here}"\n'
                           f'to = ["127.0.0.1:1", "127.0.0.1:{there}"]\n')
            file.flush()
            done = run_pagewire("relay", "--config", file.name, "--admin", "off")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"an upstream of of-{ports[0]} ", done.stderr)

    def test_a_relay_to_another_one_of_its_file_works(self):
        upstream = Upstream(lambda c: c.sendall(b"1"))
        self.addCleanup(upstream.close)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(f'[[relay]]\nlisten = "127.0.0.1:0"\nto = "127.0.0.1:{port}"\n'
                       f'[[relay]]\nlisten = "127.0.0.1:{port}"\nto = "%s:%d"\n'
                       % upstream.address)
            file.flush()
            relay = Relay("--config", file.name, listen=())
            self.addCleanup(relay.kill)
            relay.wait_for_addresses(2, True)
            with socket.create_connection(relay.address, timeout=10) as client:
                self.assertEqual(read_all(client), b"1")


if __name__ == "__main__":
    unittest.main()
