"""An authority of the installation's own, and a certificate for every server in it."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contract.errors import Malformed

SERVERS = ("mosquitto", "influxdb", "postgres", "grafana", "cloud")
"""Named as in docker-compose.yml; each answers on the loopback as well."""
AUTHORITY_DAYS, SERVER_DAYS = 3650, 730
RENEW_DAYS = 60
"""A server's certificate that ends sooner is made anew by the next run."""

Key = ec.EllipticCurvePrivateKey


def make(folder: Path, now: datetime) -> list[Path]:
    """Make what is missing or about to end, and return the files that were written.

    Raises:
        Malformed: the authority in the folder cannot be read.
    """
    made = [] if (folder / "ca.key").exists() else _authority(folder, now)
    for name in SERVERS:
        file = folder / f"{name}.crt"
        if not file.exists() or _ends(file) < now + timedelta(days=RENEW_DAYS):
            made += _server(folder, name, now)
    return made


def _authority(folder: Path, now: datetime) -> list[Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Farfix installation")
    ca = (
        _begun(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _write(folder, "ca", key, ca.sign(key, hashes.SHA256()), mode=0o600)


def _server(folder: Path, name: str, now: datetime) -> list[Path]:
    ca, ca_key = _read(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.DNSName(name),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _begun(_name(name), ca.subject, key, now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
    )
    return _write(folder, name, key, certificate.sign(ca_key, hashes.SHA256()), mode=0o644)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs, crl_sign=signs,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _read(folder: Path) -> tuple[x509.Certificate, Key]:
    try:
        ca = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (OSError, ValueError) as error:
        raise Malformed(f"the authority in {folder} (ca.crt, ca.key) is no use: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Malformed(f"{folder / 'ca.key'} is no key of an elliptic curve; remove it and ca.crt")
    return ca, key


def _ends(file: Path) -> datetime:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except ValueError:
        return datetime.fromtimestamp(0, UTC)  # broken: make it anew


def _write(
    folder: Path, name: str, key: Key, certificate: x509.Certificate, mode: int
) -> list[Path]:
    private, public = folder / f"{name}.key", folder / f"{name}.crt"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    private.chmod(mode)
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    public.chmod(0o644)
    return [private, public]
