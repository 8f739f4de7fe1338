"""Certificates of an installation: made once, renewed in time, good for their names only."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import DNSName
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from contract.errors import Malformed
from farfix import certificates

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def read(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def test_every_server_is_certified_by_the_authority_for_its_name(tmp_path: Path) -> None:
    certificates.make(tmp_path, NOW)
    policy = PolicyBuilder().store(Store([read(tmp_path, "ca")])).time(NOW)
    for name in certificates.SERVERS:
        for good in (name, "localhost"):
            policy.build_server_verifier(DNSName(good)).verify(read(tmp_path, name), [])
        with pytest.raises(VerificationError):
            policy.build_server_verifier(DNSName("example.com")).verify(read(tmp_path, name), [])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / f"{name}.crt", tmp_path / f"{name}.key")


def test_made_once_and_renewed_in_time(tmp_path: Path) -> None:
    assert len(certificates.make(tmp_path, NOW)) == 2 * (1 + len(certificates.SERVERS))
    assert certificates.make(tmp_path, NOW) == []
    ca, old = read(tmp_path, "ca"), read(tmp_path, "cloud")
    (tmp_path / "grafana.crt").write_text("broken")
    later = NOW + timedelta(days=certificates.SERVER_DAYS - certificates.RENEW_DAYS + 1)
    assert len(certificates.make(tmp_path, later)) == 2 * len(certificates.SERVERS)
    assert read(tmp_path, "ca") == ca
    assert read(tmp_path, "cloud") != old


def test_the_authority_s_key_stays_with_its_owner(tmp_path: Path) -> None:
    certificates.make(tmp_path, NOW)
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    (tmp_path / "ca.key").write_text("no key")
    (tmp_path / "cloud.crt").unlink()
    with pytest.raises(Malformed, match=r"ca\.crt, ca\.key"):
        certificates.make(tmp_path, NOW)
