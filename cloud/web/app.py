"""Puts the web together: the API, health, metrics and the console, in one application."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse
from nicegui import ui

from cloud.web import api, console, guard, metrics, problems, releases
from cloud.web.ports import Desk
from cloud.web.views import Views

STYLE = Path(__file__).parent / "console" / "style.css"
DESCRIPTION = """
Watches machines, repairs them remotely first, verifies on fresh telemetry, and dispatches only
what is left.

Times are integers: nanoseconds since 1970 UTC, in plant time. Errors are RFC 9457 problems.
Calls that change something need the gateway's token as `Authorization: Bearer TOKEN`.
"""


def create_api(desk: Desk, token: str, release_key: str = "") -> FastAPI:
    """Return the application without the console.

    Args:
        desk: the service.
        token: asked for by calls that change something.
        release_key: public ed25519 key (hex) that signs firmware; empty refuses uploads.
    """
    if not token:
        raise ValueError("the API needs a token")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(release_key)) if release_key else None
    app = FastAPI(
        title="Farfix gateway",
        description=DESCRIPTION,
        version="1",
        docs_url=None,  # its pages load scripts from elsewhere; /openapi.json says it all
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.add_middleware(guard.BodyLimit)
    problems.install(app)
    views, bearer = Views(desk), guard.bearer(token)
    app.include_router(api.routes(desk, views, bearer))
    app.include_router(releases.routes(desk, views, bearer, key))
    _operations(app, desk)
    return app


def create_app(desk: Desk, token: str, release_key: str = "") -> FastAPI:
    """Return the whole application; once per process, since the console's pages are global."""
    app = create_api(desk, token, release_key)

    @app.get("/assets/style.css", include_in_schema=False)
    def style() -> FileResponse:
        return FileResponse(STYLE, media_type="text/css", headers={"Cache-Control": "no-cache"})

    console.install(desk, Views(desk))
    ui.run_with(
        app, title="Farfix", favicon=console.FAVICON, dark=None, tailwind=False,
        show_welcome_message=False, reconnect_timeout=10.0,
    )  # fmt: skip
    return app


def _operations(app: FastAPI, desk: Desk) -> None:
    @app.get("/healthz", tags=["operation"], summary="Whether the process answers")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["operation"],
        summary="Whether the gateway can do its work",
        responses={503: {"description": "It cannot; `reasons` says why."}},
    )
    def ready() -> JSONResponse:
        reasons = desk.unready()
        return JSONResponse(
            {"status": "unready" if reasons else "ready", "reasons": reasons},
            status_code=503 if reasons else 200,
        )

    @app.get("/metrics", tags=["operation"], summary="Metrics in Prometheus' text format")
    def read_metrics() -> Response:
        return Response(metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})
