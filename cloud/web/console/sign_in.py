"""The page on which people sign in, and what signs them out.

A plain page with a plain form: it needs no script and holds nothing in memory, since anybody may
ask for it.
"""

from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from fastapi import APIRouter, HTTPException
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cloud.config import Config
from cloud.web import guard
from cloud.web.console import viewer
from cloud.web.console.tongue import LANGUAGES, later, t, told
from cloud.web.people_ports import COOKIE, OidcBegin, People
from contract.errors import FarfixError

PATH, SIGN_OUT, LANGUAGE = "/sign-in", "/sign-out", "/language"
OIDC, BACK = "/sign-in/oidc", "/sign-in/back"
BEGUN_COOKIE = "farfix_oidc"
SESSION_S, BEGUN_S, LANGUAGE_S = 7 * 86_400, 600, 365 * 86_400
NEXT_MAX = 500
POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
TEMPLATE = Environment(autoescape=True).from_string("""<!doctype html>
<html lang="{{ language }}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }} · Farfix</title><link rel="stylesheet" href="/assets/style.css">
<style>
body { min-height: 100vh; display: grid; place-items: center; }
main { width: min(380px, calc(100vw - 32px)); padding: 24px 0; }
main > * + *, form > * + * { margin-top: 16px; }
main > h1 { margin-top: 4px; } .farfix { color: var(--accent); font-weight: 700; font-size: 17px; }
form { margin: 0; } form > input + * { margin-top: 0; }
.tongues > * { margin-top: 0; } label { display: block; font-size: 14px; font-weight: 500; }
input { display: block; box-sizing: border-box; width: 100%; margin-top: 6px; padding: 10px 12px;
  font: inherit; color: var(--ink); background: var(--surface); border: 1px solid var(--muted);
  border-radius: 8px; }
button { font: inherit; cursor: pointer; border: 0; border-radius: 8px; }
.go, .other { display: block; box-sizing: border-box; width: 100%; padding: 10px 16px;
  font-weight: 500; text-align: center; text-decoration: none; }
.go { background: var(--accent); color: var(--accent-ink); }
.other { border: 1px solid var(--muted); color: var(--ink); }
.wrong { background: var(--bad-bg); color: var(--bad); padding: 10px 14px; border-radius: 8px; }
.tongues { display: flex; justify-content: center; gap: 4px; }
.tongues button { background: none; color: var(--muted); padding: 8px 12px; }
.tongues button[aria-pressed=true] { color: var(--ink); font-weight: 600; }
</style></head><body><main>
<div class="farfix">Farfix</div><h1>{{ title }}</h1>
{% if wrong %}<p class="wrong" role="alert">{{ wrong }}</p>{% endif %}
<div class="card"><form method="post" action="/sign-in">
<input type="hidden" name="next" value="{{ next }}">
<label>{{ name_label }}<input name="name" value="{{ name }}" autocomplete="username" required
  maxlength="64" autocapitalize="none" spellcheck="false" {{ "" if name else "autofocus" }}></label>
<label>{{ password_label }}<input name="password" type="password" required maxlength="200"
  autocomplete="current-password" {{ "autofocus" if name else "" }}></label>
<button class="go" type="submit">{{ title }}</button></form>
{% if oidc %}<p><a class="other" href="{{ oidc_target }}">{{ oidc }}</a></p>{% endif %}</div>
<form class="tongues" method="post" action="/language">
<input type="hidden" name="next" value="{{ here }}">
{% for code, word in languages.items() %}<button name="language" value="{{ code }}"
  lang="{{ code }}" aria-pressed="{{ "true" if code == language else "false" }}">{{ word }}</button>
{% endfor %}</form></main></body></html>
""")


def routes(people: People, config: Config) -> APIRouter:
    """Return the routes of signing in and out, and of choosing a language."""
    router = APIRouter(include_in_schema=False)
    https = config.base_url.startswith("https://") or config.http_cert_file is not None
    _local(router, people, https=https)
    _provider(router, people, config.base_url, https=https)

    @router.post(SIGN_OUT)
    async def sign_out(request: Request) -> Response:
        await _form(request)
        await people.sign_out(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(PATH, 303)
        answer.delete_cookie(COOKIE)
        return answer

    @router.post(LANGUAGE)
    async def language(request: Request) -> Response:
        form = await _form(request)
        chosen = form.get("language", "")
        if chosen not in LANGUAGES:
            raise HTTPException(422, f"language: one of {', '.join(LANGUAGES)}")
        person = viewer.signed_in(request)
        if person is not None:
            await people.set_language(person.name, chosen)
        answer = RedirectResponse(local(form.get("next", "")), 303)
        answer.set_cookie(viewer.LANGUAGE_COOKIE, chosen, LANGUAGE_S, samesite="lax", secure=https)
        return answer

    return router


def _local(router: APIRouter, people: People, *, https: bool) -> None:
    @router.get(PATH)
    async def page(request: Request) -> Response:
        target = local(request.query_params.get("next", ""))
        if viewer.signed_in(request) is not None:
            return RedirectResponse(target, 303)
        return _page(request, people, target)

    @router.post(PATH)
    async def sign_in(request: Request) -> Response:
        form = await _form(request)
        target, name = local(form.get("next", "")), form.get("name", "")[:64]
        try:
            session = await people.sign_in(name, form.get("password", ""), guard.address(request))
        except FarfixError as error:
            return _page(request, people, target, wrong=str(error), name=name)
        await people.sign_out(request.cookies.get(COOKIE, ""))
        return _welcome(session, target, https=https)


def _provider(router: APIRouter, people: People, base_url: str, *, https: bool) -> None:
    @router.get(OIDC)
    async def begin(request: Request) -> Response:
        target = local(request.query_params.get("next", ""))
        try:
            begun = await people.begin_oidc(base_url + BACK)
        except FarfixError as error:
            return _page(request, people, target, wrong=str(error))
        kept = msgspec.json.encode((begun, target)).hex()
        answer = RedirectResponse(begun.url, 303)
        answer.set_cookie(
            BEGUN_COOKIE, kept, BEGUN_S, path=PATH, httponly=True, samesite="lax", secure=https
        )
        return answer

    @router.get(BACK)
    async def back(request: Request) -> Response:
        target = "/"
        try:
            begun, target = _begun(request)
            code = request.query_params.get("code", "")
            session = await people.finish_oidc(begun, base_url + BACK, code, guard.address(request))
        except (FarfixError, ValueError) as error:
            wrong = str(error) if isinstance(error, FarfixError) else BROKEN
            answer = _page(request, people, local(target), wrong=wrong)
        else:
            await people.sign_out(request.cookies.get(COOKIE, ""))
            answer = _welcome(session, local(target), https=https)
        answer.delete_cookie(BEGUN_COOKIE, path=PATH)
        return answer


BROKEN = later("This sign-in was not begun in this browser, or took too long. Begin again.")
WRONG = later("The name or the password is wrong.")
"""What the service says, for the catalogue."""


def _begun(request: Request) -> tuple[OidcBegin, str]:
    """Return what this browser began.

    Raises:
        ValueError: it began nothing, or something else.
    """
    kept = bytes.fromhex(request.cookies.get(BEGUN_COOKIE, ""))
    begun, target = msgspec.json.decode(kept, type=tuple[OidcBegin, str])
    if not begun.state or request.query_params.get("state") != begun.state:
        raise ValueError("another sign-in")
    return begun, target


def _welcome(session: str, target: str, *, https: bool) -> Response:
    answer = RedirectResponse(target, 303, {"Cache-Control": "no-store"})
    answer.set_cookie(
        COOKIE, session, SESSION_S, path="/", httponly=True, samesite="lax", secure=https
    )
    return answer


def _page(
    request: Request, people: People, target: str, *, wrong: str = "", name: str = ""
) -> Response:
    language, provider = viewer.preferred(request), people.oidc()
    with viewer.reading(language):
        text = TEMPLATE.render(
            language=language,
            languages=LANGUAGES,
            title=t("Sign in"),
            name_label=t("Name"),
            password_label=t("Password"),
            wrong=told(wrong),
            name=name,
            next=target,
            here=f"{PATH}?next={quote(target, safe='')}",
            oidc=t("Sign in with {provider}", provider=provider) if provider else "",
            oidc_target=f"{OIDC}?next={quote(target, safe='')}",
        )
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": POLICY}
    return HTMLResponse(text, 401 if wrong else 200, headers)


def local(target: str) -> str:
    """Return an address of our own to go on to; what leads elsewhere becomes the first page."""
    parts = urlsplit(target) if target.isprintable() and "\\" not in target else None
    if parts is None or len(target) > NEXT_MAX or parts.scheme or parts.netloc:
        return "/"
    if not target.startswith("/") or target.startswith("//"):
        return "/"
    return (
        "/" if parts.path in (PATH, SIGN_OUT, LANGUAGE, BACK, OIDC) and not parts.query else target
    )


async def _form(request: Request) -> dict[str, str]:
    """Return a form that was sent from a page of our own; `guard.BodyLimit` has bounded it.

    Raises:
        HTTPException: it comes from another site, or is no form.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if site not in ("same-origin", "none") or (origin and origin != request.headers.get("host")):
        raise HTTPException(403, "This form was sent from another site.")
    try:
        return dict(parse_qsl((await request.body()).decode(), max_num_fields=10))
    except ValueError as error:
        raise HTTPException(422, "This is no form.") from error
