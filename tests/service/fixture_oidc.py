"""A small real OpenID provider: code with PKCE, signed ID tokens, and lies on request."""

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

CLIENT = "farfix"


class Provider:
    """What it knows; `claims` and `key` are what the next ID token lies about."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "one", "use": "sig"})
        self.published = KeySet([self.key])
        self.issuer = ""
        self.claims: dict[str, object] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.alg = "ES256"

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, object] | str]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                }
            case "/keys":
                return 200, self.published.as_dict(private=False)  # type: ignore[return-value]
            case "/authorize":
                code = f"code-{len(self.codes)}"
                self.codes[code] = query
                back = urlencode({"code": code, "state": query["state"]})
                return 302, f"{query['redirect_uri']}?{back}"
            case "/token":
                return self.token(query)
            case _:
                return 404, {}

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or asked["code_challenge_method"] != "S256"
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        now_s = int(time.time())  # noqa: TID251 (a provider signs by the wall clock)
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "u-1", "nonce": asked["nonce"],
            "iat": now_s, "exp": now_s + 300, "preferred_username": "Dana",
            "farfix_role": "operator",
        } | self.claims  # fmt: skip
        told = {key: value for key, value in claims.items() if value is not None}
        signed = jwt.encode({"alg": self.alg, "kid": "one"}, told, self.key, [self.alg])
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": signed}


@contextmanager
def provider() -> Iterator[Provider]:
    """Serve one on a port of its own."""
    served = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._say(*served.answer(parts.path, _flat(parts.query)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._say(*served.answer(self.path, _flat(body)))

        def _say(self, status: int, said: dict[str, object] | str) -> None:
            self.send_response(status)
            if isinstance(said, str):
                self.send_header("Location", said)
                said = {}
            body = msgspec.json.encode(said)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def _flat(query: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(query).items()}
