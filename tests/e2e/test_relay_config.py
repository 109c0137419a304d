"""What pagewire relay makes of files and flags: several relays, and what is wrong with them."""

import socket
import subprocess
import tempfile
import unittest

from support import BINARY, Relay, Upstream, free_port, read_all, run_pagewire
from support.server import PATIENCE_S


class ConfigurationTest(unittest.TestCase):
    def check(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            done = run_pagewire("relay", "--config", file.name, "--check-config")
            return done, done.stderr.replace(file.name, "FILE")

    def test_several_relays(self):
        done, errors = self.check(
            'workers = 2\n[[relay]]\nname = "db"\nlisten = ["127.0.0.1:0", "[::1]:0"]\n'
            'to = "10.0.0.7:5432"\nbalance = "leastconn"\nmax-upstream-connections = 7\n'
            '[[relay]]\nlisten = ":9001"\nto = ["10.0.0.8:1", "10.0.0.9:1"]\ntransparent = true\n')
        self.assertEqual((done.returncode, errors), (0, ""))
        self.assertIn('name = "db"', done.stdout)
        # Of no relay outside of tables, which there is not.
        self.assertEqual([line for line in done.stdout.split("\n") if line.startswith("name")], [])
        again, errors = self.check(done.stdout)
        self.assertEqual((again.returncode, errors), (0, ""))
        self.assertEqual(again.stdout.split("\n")[1:], done.stdout.split("\n")[1:])

    def test_what_is_wrong_is_named(self):
        for text, expected in (
                ('[[relay]]\nlisten = ":1"\n', "FILE:1: relay has no 'to'"),
                ('[[relay]]\nlisten = ":1"\nto = "x"\n',
                 'FILE:3: to of relay takes a host with a port'),
                ('[[relay]]\nlisten = ":1"\nto = "1.2.3.4:1"\nbalanse = "hash"\n',
                 "FILE:4: unknown key 'balanse' (did you mean 'balance'?)"),
                ('[[relay]]\nlisten = ":1"\nto = "1.2.3.4:1"\nretries = 99\n',
                 "FILE:4: retries of relay takes a number from 0 to 7, not 99"),
                ('[[relay]]\nlisten = ":1"\nto = "1.2.3.4:1"\nkeepalive = 9\n',
                 "FILE:4: 'keepalive' is no key of relay: it stands once, above the first"),
                ('keepalive = "60s"\n', "FILE:1: keepalive takes seconds, a number from 0 to"),
                ("workers = 1\n", "--to is missing"),
                ('listen = ":1"\n', "listen is given without to"),
                # Above tables it would be lost, and with it what it protects.
                ('tls-cert = "c"\ntls-key = "k"\n[[relay]]\nlisten = ":1"\nto = "1.2.3.4:1"\n',
                 "FILE:1: tls-cert would hold for no relay: it stands in each [[relay]]"),
                ('workers = 1\ncheck = true\n[[relay]]\nlisten = ":1"\nto = "1.2.3.4:1"\n',
                 "FILE:2: check would hold for no relay")):
            with self.subTest(text=text):
                done, errors = self.check(text)
                self.assertEqual(done.returncode, 2)
                self.assertIn(expected, errors)

    def test_a_flag_that_no_relay_would_hear_of_is_wrong(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('[[relay]]\nlisten = ":1"\nto = "1.2.3.4:1"\n')
            file.flush()
            done = run_pagewire("relay", "--config", file.name, "--check", "--check-config")
            more = run_pagewire("relay", "--config", file.name, "--check", "--to", "1.2.3.4:2",
                                "--check-config")
        self.assertEqual(done.returncode, 2)
        self.assertIn("pagewire relay: --check would hold for no relay", done.stderr)
        self.assertEqual((more.returncode, more.stderr), (0, ""))

    def test_a_key_of_the_other_command_is_named_as_such(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('[[relay]]\nlisten = ":1"\nto = "1.2.3.4:1"\n')
            file.flush()
            done = run_pagewire("serve", "--config", file.name, "--check-config")
        self.assertEqual(done.returncode, 2)
        self.assertIn(":1: 'relay' is a key of pagewire relay, not of pagewire serve", done.stderr)
        _, errors = self.check("self-test = true\n")
        self.assertIn("FILE:1: 'self-test' is a key of pagewire serve, not of", errors)

    def test_a_relay_to_its_own_listener_is_refused(self):
        port = free_port()
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
        ports = free_port(), free_port()
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
        port = free_port()
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(f'[[relay]]\nlisten = "127.0.0.1:0"\nto = "127.0.0.1:{port}"\n'
                       f'[[relay]]\nlisten = "127.0.0.1:{port}"\nto = "%s:%d"\n'
                       % upstream.address)
            file.flush()
            relay = Relay("--config", file.name, listen=())
            self.addCleanup(relay.kill)
            relay.wait_for_addresses(2, True)
            with socket.create_connection(relay.address, timeout=PATIENCE_S) as client:
                self.assertEqual(read_all(client), b"1")

    def test_two_relays_of_a_file_work(self):
        first, second = Upstream(lambda c: c.sendall(b"1")), Upstream(lambda c: c.sendall(b"2"))
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            for upstream in (first, second):
                file.write('[[relay]]\nlisten = "127.0.0.1:0"\nto = "%s:%d"\n' % upstream.address)
            file.flush()
            relay = Relay("--config", file.name, listen=())
            self.addCleanup(relay.kill)
            relay.wait_for_addresses(2, True)
            for address, answer in zip(relay.addresses, (b"1", b"2")):
                with socket.create_connection(address, timeout=PATIENCE_S) as client:
                    self.assertEqual(read_all(client), answer)


if __name__ == "__main__":
    unittest.main()
