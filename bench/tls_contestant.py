"""A server of files over HTTPS, asked by bench_load_tls: keep-alive loads, and handshakes."""

from figures import Client, Window, handshake_figures
from http_contestant import HttpContestant
from measure import Plan, Row
from servers import Server


class TlsContestant(HttpContestant):
    """Bodies are decrypted and compared on the first `sample` connections and in each one's first
    answer; of the others the client counts the records."""

    def __init__(self, plan: Plan, row: Row, server: Server, suite: str, sample: int):
        super().__init__(plan, row, server)
        self.suite = suite
        self.load_flags = ("--sample", sample)

    def client(self, *arguments: object, connections: int | None = None) -> list[str]:
        return self.plan.on_client_cpu(
            self.plan.build / "bench_load_tls", "--suite", self.suite,
            "-c", connections or self.row.connections, "-s", self.row.size, *arguments,
            self.running.url.replace("http:", "https:"))


class HandshakeContestant(TlsContestant):
    """`row.name` says which, "full" or "resumed"; its file is only what is verified before."""

    def __init__(self, plan: Plan, row: Row, server: Server, suite: str):
        super().__init__(plan, row, server, suite, sample=0)
        self.load_flags = (f"--{row.name}",)

    def run_once(self) -> tuple[float, dict]:
        before, after, _, said = self.run_client()
        if not said["handshakes"]:
            raise RuntimeError("no handshake was made within the window")
        client = Client(received_bytes=0, seconds=said["seconds"],
                        cpu_s=said["client_cpu_ns"] / 1e9,
                        latency_us=said["latency_us_closed_loop"])
        window = Window(before, after, client, None, None, whole=False,
                        tsc_mhz=self.plan.tsc_mhz, threaded=self.server.threaded)
        return client.seconds, handshake_figures(window, said["handshakes"])
