"""The servers of `./dev bench tls`: those of servers.py over HTTPS, with one certificate for all.

TLS 1.2 and 1.3 are on everywhere, and the client offers one suite of 1.3. Tickets are on, as they
are by default, unless the name says otherwise; OpenSSL's servers send two after a full handshake.
"""

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from servers import Server, Setting, h2o_command, nginx, pagewire_server

LIMIT_S = 30
LOADS = ("1k", "400k", "6m")
HANDSHAKES = ("full", "resumed")
NAMES = "pagewire nginx nginx-64k h2o nginx-no-tickets h2o-no-tickets"


@dataclass(frozen=True)
class Certificate:
    chain: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """ECDSA P-256, signed by itself."""
    folder.mkdir()
    made = Certificate(folder / "chain.pem", folder / "key.pem")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", made.key, "-out", made.chain, "-days", "30", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    return made


def openssl(*arguments: object) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True,
                          check=False, timeout=LIMIT_S)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout


def cipher_ms_per_gbit(suite: str, cpu: int) -> float:
    """What encrypting alone costs: user CPU time of `openssl speed` with blocks of 16 KiB."""
    cipher = re.fullmatch(r"TLS_(AES_\d+_GCM)_SHA\d+", suite)[1].replace("_", "-").lower()
    done = subprocess.run(["taskset", "-c", str(cpu), "openssl", "speed", "-seconds", "1",
                           "-bytes", "16384", "-evp", cipher], capture_output=True, text=True,
                          check=True, timeout=LIMIT_S)
    thousands_per_s = float(re.search(r"([\d.]+)k\s*$", done.stdout)[1])
    return 1e3 * (1e9 / 8) / (thousands_per_s * 1e3)


def nginx_tls(name: str, certificate: Certificate, lines: str, rows: tuple[str, ...]) -> Server:
    more = (f"sendfile on; ssl_certificate {certificate.chain}; "
            f"ssl_certificate_key {certificate.key}; ssl_protocols TLSv1.2 TLSv1.3; {lines}")
    return nginx(name, more, listen="ssl", rows=rows)


def h2o_tls(name: str, certificate: Certificate, resumption: str, rows: tuple[str, ...]) -> Server:
    """Without neverbleed, which has another process sign: nobody else does that."""
    listen = f"""  ssl:
    certificate-file: {certificate.chain}
    key-file: {certificate.key}
    minimum-version: TLSv1.2
    ocsp-update-interval: 0
    neverbleed: OFF
ssl-session-resumption:
  mode: {resumption}
"""
    return Server(name, "peer", "h2o", h2o_command(listen), ["--version"], "apt-get install h2o",
                  rows=rows)


def pagewire_tls(build: Path, certificate: Certificate, flags: str) -> Server:
    plain = pagewire_server(build, "auto", flags)

    def command(at: Setting) -> list[str]:
        words = plain.command(at)
        words[words.index("--listen") + 1] = "127.0.0.1:0"
        return [*words, "--listen-tls", f"127.0.0.1:{at.port}",
                "--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key)]
    return replace(plain, command=command)


def known_tls_servers(build: Path, certificate: Certificate, pagewire_flags: str) -> list[Server]:
    both = LOADS + HANDSHAKES
    return [
        pagewire_tls(build, certificate, pagewire_flags),
        nginx_tls("nginx", certificate, "", both),
        nginx_tls("nginx-64k", certificate, "ssl_buffer_size 64k;", LOADS),
        h2o_tls("h2o", certificate, "ticket", both),
        nginx_tls("nginx-no-tickets", certificate, "ssl_session_tickets off;", ("full",)),
        h2o_tls("h2o-no-tickets", certificate, "off", ("full",)),
    ]
