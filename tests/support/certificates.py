"""Certificates for a running pagewire, made by the openssl command, and clients that look at them.
"""

import os
import re
import socket
import ssl
import subprocess

from .raw import TIMEOUT_S, RawClient
from .server import wait_until

HTTPS = re.compile(r"https://(\[[0-9a-f:]+\]|[0-9.]+):([0-9]+)/")


class Certificate:
    """NAME.pem and NAME.key in `folder`, signed by itself or by `issuer`."""

    def __init__(self, folder, name, subject_names, issuer=None, password=None):
        self.chain = os.path.join(folder, name + ".pem")
        self.key = os.path.join(folder, name + ".key")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:P-256", "-days", "30", "-subj", f"/CN={name}",
                   "-keyout", self.key, "-out", self.chain]
        if subject_names:
            command += ["-addext", "subjectAltName=" + subject_names]
        if issuer is not None:
            command += ["-CA", issuer.chain, "-CAkey", issuer.key]
        command += ["-passout", "pass:" + password] if password else ["-nodes"]
        subprocess.run(command, check=True, capture_output=True)

    @property
    def flags(self):
        return "--tls-cert", self.chain, "--tls-key", self.key

    @property
    def der(self):
        with open(self.chain, encoding="ascii") as file:
            return ssl.PEM_cert_to_DER_cert(file.read())


def https_address(server):
    """Of the first HTTPS listener, from the lines that the server starts with."""
    def look():
        for line in list(server.lines):
            for host, port in HTTPS.findall(line):
                return host.strip("[]"), int(port)
        return None
    return wait_until(look, "a start-up line with an https address")


def client_context(certificate=None):
    """That trusts everybody, and shows `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate.chain, certificate.key)
    return context


class SecureClient(RawClient):
    """A RawClient over TLS."""

    def __init__(self, address, name=None, context=None, session=None, receive_buffer=None):
        super().__init__(address, receive_buffer=receive_buffer, timeout=TIMEOUT_S)
        context = context or client_context()
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname=name, session=session)
        except (OSError, socket.timeout):
            self.socket.close()
            raise

    @property
    def certificate(self):
        return self.socket.getpeercert(binary_form=True)
