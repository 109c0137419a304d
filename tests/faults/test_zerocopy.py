"""MSG_ZEROCOPY in a real server: whatever ends a connection in mid-send, the kernel gives every
window back, or the server lets go of it; nothing of it stays mapped, open or counted."""

import os
import threading
import time
import unittest

from support_faults import (FaultTest, Pagewire, RawClient, Strace, coded_bytes, dies_with_us,
                            drain, ends, fetch_metrics, first_difference, report, request_head,
                            settle, total, wait_until, why_no_strace)

MIB = 1 << 20
SIZE = 24 * MIB
CLIENTS = 40
# The kernel copies on loopback; without this the path would be given up.
FLAGS = ("--path", "zerocopy", "--zerocopy-copied-streak", "0")


class ZeroCopy(FaultTest):

    def setUp(self):
        super().setUp()
        self.body = coded_bytes(0, SIZE, salt=31)
        self.folder.write("big.bin", self.body)

    def stuck_clients(self, server, count=CLIENTS):
        """Clients that took a little and stopped, so that sends stand in flight for each."""
        clients = [self.open_mid_transfer(server, "/big.bin", SIZE, 1000) for _ in range(count)]
        self.wait_until_stuck(server, "zerocopy")
        return clients

    def assert_in_flight(self, server):
        wait_until(lambda: total(server, "pagewire_zerocopy_in_flight_bytes") > 0, "in flight")

    def assert_all_given_back(self, server, abandoned=0):
        """Every send has ended, and the counts agree."""
        def settled():
            now = fetch_metrics(server)
            settled.now = now.find("pagewire_zerocopy|connections_(open|draining)")
            ended = (now.total("_zerocopy_completions_total$")
                     + now.total("_zerocopy_abandoned_total$"))
            return (now.total("_zerocopy_sends_total$") > 0
                    and now.total("_zerocopy_in_flight_bytes$") == 0
                    and now.total("_connections_open$") == 0
                    and now.total("_connections_draining$") == 0
                    and ended == now.total("_zerocopy_sends_total$"))
        try:
            wait_until(settled, "every send has ended")
        except AssertionError as error:
            raise AssertionError(settled.now) from error
        settle(server)
        self.assertEqual(total(server, "pagewire_zerocopy_abandoned_total"), abandoned)

    def test_resets_in_mid_send(self):
        with self.serving(*FLAGS) as server:
            clients = self.stuck_clients(server)
            self.assert_in_flight(server)
            for client, _ in clients:
                client.reset()
            self.assert_all_given_back(server)
            settle(server)
            self.assertEqual(ends(server, "peer-reset"), CLIENTS)
            self.assert_alive(server, "/big.bin", self.body)

    def test_truncation_in_mid_send(self):
        with self.serving(*FLAGS) as server:
            clients = self.stuck_clients(server)
            self.assert_in_flight(server)
            os.truncate(self.folder.path("big.bin"), SIZE // 2)
            for client, got in clients:
                got, end = drain(client, got)
                self.assertLess(len(got), SIZE)
                self.assertEqual(end, "reset")
            self.assert_all_given_back(server)

    def test_slow_readers_get_every_byte(self):
        with self.serving(*FLAGS, "--zerocopy-in-flight", "2M") as server:
            wrong, over_limit = [], threading.Event()

            def read():
                with RawClient(server.address, receive_buffer=65536, timeout=60) as client:
                    client.send(request_head("/big.bin"))
                    over_limit.wait(60)
                    where = first_difference(client.read().body, self.body)
                    if where is not None:
                        wrong.append(where)
            readers = [threading.Thread(target=read) for _ in range(8)]
            for reader in readers:
                reader.start()
            # All of them stand until there is more to send than may be in flight.
            wait_until(lambda: self.fallbacks(server) > 0, "sends are copied for the limit")
            over_limit.set()
            peak = 0
            while any(reader.is_alive() for reader in readers):
                peak = max(peak, total(server, "pagewire_zerocopy_in_flight_bytes"))
            for reader in readers:
                reader.join()
            self.assertEqual(wrong, [])
            self.assertLessEqual(peak, self.workers * 2 * MIB)
            report(f"at most {peak / MIB:.2f} MiB in flight, {self.fallbacks(server)} sends copied "
                   f"for it")
            self.assert_all_given_back(server)

    @staticmethod
    def fallbacks(server):
        return total(server, "pagewire_zerocopy_fallbacks_total", why="in-flight-limit")

    def test_keep_alive_gives_the_path_up_where_the_kernel_copies(self):
        with self.serving("--path", "zerocopy", "--zerocopy-copied-streak", "8") as server:
            with RawClient(server.address) as client:
                for _ in range(4):
                    body = client.get("/big.bin").body
                    self.assertIsNone(first_difference(body, self.body))
            wait_until(lambda: total(server, "pagewire_zerocopy_given_up_total") == 1, "given up")
            settle(server)
            self.assertGreater(total(server, "pagewire_path_reasons_total", reason="pin-unfit"), 0)
            self.assert_all_given_back(server)

    def test_a_connection_whose_reader_stopped_is_let_go_of(self):
        """The client has said FIN behind its requests, and then stops reading: the connection ends
        for us, but the kernel goes on holding what it has not delivered. After --release-timeout
        the socket is closed, and the rest still arrives."""
        body = self.body[: MIB // 2]  # more than the client takes, less than a send buffer holds
        self.folder.write("small.bin", body)
        with self.serving(*FLAGS, "--release-timeout", "5s", "--unsent-limit", "0") as server:
            client = RawClient(server.address, receive_buffer=65536)
            self.addCleanup(client.close)
            client.send(request_head("/small.bin"))
            client.half_close()
            wait_until(lambda: total(server, "pagewire_connections_draining") == 1, "it drains")
            wait_until(lambda: total(server, "pagewire_connections_open") == 0, "it is let go of")
            wait_until(lambda: total(server, "pagewire_zerocopy_in_flight_bytes") == 0, "uncounted")
            settle(server)
            self.assertGreater(total(server, "pagewire_zerocopy_abandoned_total"), 0)
            message = client.read()
            self.assertIsNone(first_difference(message.body, body))

    @unittest.skipIf(why_no_strace(), why_no_strace())
    def test_no_option_memory(self):
        """The head goes, the first send without a copy says ENOBUFS, and is made once more by
        copying."""
        with self.serving(*FLAGS, workers=1) as server:
            with RawClient(server.address) as client:
                with Strace(server, "sendto:error=ENOBUFS:when=2"):
                    body = client.get("/big.bin").body
                self.assertIsNone(first_difference(body, self.body))
            wait_until(lambda: total(server, "pagewire_zerocopy_fallbacks_total",
                                     why="enobufs") == 1, "copied for want of option memory")

    def test_shutdown_with_sends_in_flight(self):
        server = Pagewire(self.folder.root, *FLAGS, "--workers", "2", "--drain-timeout", "1s",
                          preexec_fn=dies_with_us())
        try:
            clients = self.stuck_clients(server)
            self.assert_in_flight(server)
            start = time.monotonic()
            server.stop()
            report(f"ended {time.monotonic() - start:.2f} s after SIGTERM (limit 1 s)")
        finally:
            server.kill()
        for client, got in clients:
            got, end = drain(client, got)
            self.assertEqual(end, "reset")
            self.assertIsNone(first_difference(got, self.body[:len(got)]))


if __name__ == "__main__":
    unittest.main()
