"""Certificates for one test, made by the program openssl in a temporary folder that goes with them:
ca, server (for localhost and 127.0.0.1), client (CN device-1), and stranger, signed by another CA."""

import pathlib
import subprocess
import tempfile


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Certificates:
    def __init__(self):
        self.holder = tempfile.TemporaryDirectory(prefix="pulse-interop-")
        self.folder = pathlib.Path(self.holder.name)
        for authority in ("ca", "other-ca"):
            openssl("req", "-x509", *self.new_key(authority), "-days", "30", "-subj",
                    f"/CN=Test {authority}", "-out", self.folder / f"{authority}.pem")
        self.sign("server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.sign("client", "device-1", "subjectAltName=DNS:device-1.example")
        self.sign("stranger", "device-1", "subjectAltName=DNS:device-1.example", "other-ca")

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                self.folder / f"{name}.key"]

    def sign(self, name, common_name, extension, authority="ca"):
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(extension + "\n")
        openssl("req", *self.new_key(name), "-subj", f"/CN={common_name}", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.folder / f"{authority}.pem", "-CAkey",
                self.folder / f"{authority}.key", "-CAcreateserial", "-days", "30", "-extfile",
                extensions, "-out", self.folder / f"{name}.pem")

    def path(self, name):
        return str(self.folder / name)

    def listener(self, port, protocol="mqtt", more=()):
        """YAML of a TLS listener, an entry of `listeners`."""
        lines = [f"- bind: 127.0.0.1:{port}", f"protocol: {protocol}", "tls: true",
                 f"certificate_chain: {self.path('server.pem')}",
                 f"private_key: {self.path('server.key')}", *more]
        return "\n  ".join(lines) + "\n"
