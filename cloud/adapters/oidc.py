"""Sign-in at an OpenID Connect provider: authorization code with PKCE, state and nonce.

Only the signed ID token is believed, and only when it comes from the provider of the settings, for
this gateway, for this sign-in, and in time.
"""

import secrets
from typing import Any

import httpx
import msgspec
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from msgspec import Struct

from cloud.config import Oidc
from contract.errors import Malformed, Refused, Unreachable

TIMEOUT_S = 10.0
LEEWAY_S = 60
"""So far the provider's clock may be from ours."""
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
"""Signatures by the provider's own key; nothing that a shared secret or no key could make."""
NAMES = ("preferred_username", "email", "sub")
"""Claims that may name the person, the best first."""


class Begin(Struct, frozen=True):
    """What a browser keeps while it is at the provider."""

    url: str
    state: str
    nonce: str
    verifier: str


class Vouched(Struct, frozen=True):
    """Somebody whom the provider vouches for."""

    name: str
    subject: str
    """Issuer and subject, which never change."""
    roles: list[str]
    """What the role claim holds."""


class Document(Struct, frozen=True):
    """What the provider tells of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Provider:
    """The provider of the settings."""

    def __init__(self, settings: Oidc) -> None:
        self._settings = settings

    async def begin(self, redirect: str) -> Begin:
        """Begin a sign-in whose end comes to an address of ours.

        Raises:
            Unreachable: the provider does not answer, or not as one.
            Refused: it is another than its settings say.
        """
        found = await self._document()
        nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        async with self._client(redirect) as client:
            url, state = client.create_authorization_url(
                found.authorization_endpoint, nonce=nonce, code_verifier=verifier
            )
        return Begin(url, state, nonce, verifier)

    async def finish(self, begun: Begin, redirect: str, code: str) -> Vouched:
        """Return who it was.

        Raises:
            Unreachable: the provider does not answer, or not as one.
            Refused: the code is none, or the ID token cannot be believed.
        """
        found = await self._document()
        try:
            async with self._client(redirect) as client:
                token = await client.fetch_token(
                    found.token_endpoint, code=code, code_verifier=begun.verifier
                )
        except OAuthError as error:
            raise Refused(f"{self._settings.issuer} refuses this sign-in: {error}") from error
        except (httpx.HTTPError, ValueError) as error:
            raise self._silent(error) from error
        keys = await self._fetch(found.jwks_uri)
        claims = self._believed(str(token.get("id_token", "")), keys, begun.nonce)
        return _vouched(claims, self._settings)

    def _believed(self, token: str, keys: bytes, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token that is the provider's, for us, for now."""
        ours = self._settings.client_id
        asked = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": ours},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            decoded = jwt.decode(
                token, KeySet.import_key_set(msgspec.json.decode(keys)), ALGORITHMS
            )
            asked.validate(decoded.claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Refused(f"the provider's word cannot be believed: {error}") from error
        if decoded.claims.get("azp", ours) != ours:
            raise Refused("the provider's word cannot be believed: it is for another program")
        return dict(decoded.claims)

    def _client(self, redirect: str) -> AsyncOAuth2Client:
        file = self._settings.client_secret_file
        try:
            secret = file.read_text().strip() if file is not None else None
        except OSError as error:
            raise Malformed(f"oidc.client_secret_file: {error.strerror}") from error
        return AsyncOAuth2Client(
            client_id=self._settings.client_id,
            client_secret=secret,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope="openid profile email",
            redirect_uri=redirect,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    async def _document(self) -> Document:
        address = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = msgspec.json.decode(await self._fetch(address), type=Document)
        except msgspec.DecodeError as error:
            raise self._silent(error) from error
        if found.issuer != self._settings.issuer:
            raise Refused(f"{address} speaks for {found.issuer}: correct oidc.issuer")
        return found

    async def _fetch(self, url: str) -> bytes:
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
                answer = await client.get(url)
                answer.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._silent(error) from error
        return answer.content

    def _silent(self, error: Exception) -> Unreachable:
        said = str(error) or type(error).__name__
        return Unreachable(f"{self._settings.issuer} does not answer as it should: {said}")


def _vouched(claims: dict[str, Any], settings: Oidc) -> Vouched:
    name = next((str(claims[key]) for key in NAMES if claims.get(key)), "")
    given = claims.get(settings.role_claim, [])
    roles = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    subject = f"{settings.issuer} {claims['sub']}"[:1000]
    return Vouched(name.casefold()[:200], subject, [str(role) for role in roles[:100]])
