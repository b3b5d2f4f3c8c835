"""Certificates by the openssl command: an authority, and what it signed; good, expired, of another name."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

__all__ = ["NAME", "authority", "server"]

NAME = "receiver.test"

_CA = """[ca]
default_ca = own
[own]
dir = {folder}
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


def _run(*command: str) -> None:
    subprocess.run(["openssl", *command], check=True, capture_output=True)


def _key(folder: Path, name: str) -> list[str]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    return [*curve, "-keyout", str(folder / f"{name}.key")]


def authority(folder: Path) -> ssl.SSLContext:
    """Make an authority in an empty folder: the context of a client that trusts it alone."""
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(_CA.format(folder=folder))
    named = ["-subj", "/CN=Test Authority", "-out", str(folder / "ca.pem")]
    _run("req", "-x509", *_key(folder, "ca"), "-days", "2", *named)
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def server(folder: Path, *, name: str = NAME, expired: bool = False) -> ssl.SSLContext:
    """The context of a server with a certificate of the folder's authority."""
    label = f"{name}-{expired}"
    request, certificate = folder / f"{label}.csr", folder / f"{label}.pem"
    extension = f"subjectAltName=DNS:{name}"
    _run("req", "-new", *_key(folder, label), "-subj", f"/CN={name}", "-addext", extension, "-out", str(request))
    dates = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"] if expired else ["-days", "2"]
    signed_by = ["-config", str(folder / "ca.cnf"), "-cert", str(folder / "ca.pem"), "-keyfile", str(folder / "ca.key")]
    _run("ca", "-batch", *signed_by, *dates, "-in", str(request), "-out", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, folder / f"{label}.key")
    return context
