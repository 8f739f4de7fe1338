"""Puts the web together: the API, health, metrics and the console, in one application."""

from pathlib import Path

import nicegui
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse
from nicegui import ui

from cloud.config import Config
from cloud.web import (
    alerts,
    api,
    commands,
    console,
    customers,
    ddi,
    dispatch,
    feedback,
    guard,
    hooks,
    metrics,
    people,
    problems,
    releases,
    rollouts,
    value,
)
from cloud.web.console import sign_in
from cloud.web.faces import Faces
from cloud.web.ports import Desk
from cloud.web.views import Views

STYLE = Path(__file__).parent / "console" / "style.css"
DESCRIPTION = """
Watches machines, repairs them remotely first, verifies on fresh telemetry, and dispatches only
what is left.

Times are integers: nanoseconds since 1970 UTC, in plant time. Errors are RFC 9457 problems.
Every call needs a role, by `Authorization: Bearer TOKEN`: the gateway's own token has all of them,
tokens of other systems have one. What only reads also serves a browser that is signed in.
"""


def create_api(faces: Faces, token: str, config: Config) -> FastAPI:
    """Return the application without the console.

    Args:
        faces: the service.
        token: the gateway's own, which opens every door.
        config: addresses and intervals that machines are told.
    """
    if not token:
        raise ValueError("the API needs a token")
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
    desk, doors = faces.desk, guard.Doors(faces.people, token)
    app.include_router(api.routes(desk, Views(desk), doors))
    app.include_router(commands.routes(desk, doors))
    incoming = config.data_dir / "artifacts" / "incoming"
    app.include_router(releases.routes(faces.rollouts, doors, incoming))
    app.include_router(rollouts.routes(faces.rollouts, doors))
    app.include_router(ddi.routes(faces.ddi, config.base_url, config.ddi_poll_s))
    app.include_router(people.routes(faces.people, doors))
    app.include_router(hooks.routes(faces.hooks, doors))
    app.include_router(value.routes(faces.value, doors))
    app.include_router(dispatch.routes(desk, faces.people, doors, config.data_dir / "photos"))
    app.include_router(alerts.routes(desk, faces.people, doors, config.alerts_secret_file))
    app.include_router(customers.routes(faces.customers, doors))
    app.include_router(feedback.routes(faces.customers))
    _operations(app, desk)
    guard.tell(app)
    return app


def create_app(faces: Faces, token: str, config: Config) -> FastAPI:
    """Return the whole application; once per process, since the console's pages are global."""
    app = create_api(faces, token, config)
    app.add_middleware(guard.SignedIn, people=faces.people)
    app.include_router(sign_in.routes(faces.people, config))

    @app.get("/assets/style.css", include_in_schema=False)
    def style() -> FileResponse:
        return FileResponse(STYLE, media_type="text/css", headers={"Cache-Control": "no-cache"})

    console.install(faces)
    # Pages ask over their socket; Quasar's bar for other requests has no name for screen readers.
    nicegui.app.config.quasar_config["loadingBar"]["skipHijack"] = True
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

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Metrics in Prometheus' text format",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    def read_metrics() -> Response:
        return Response(metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})
