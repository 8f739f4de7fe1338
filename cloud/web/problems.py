"""Errors in the shape of RFC 9457: ``application/problem+json`` with a text for people."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from contract.errors import FarfixError, Malformed, Refused, Unreachable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_STATUS: dict[type[FarfixError], int] = {Malformed: 422, Refused: 409, Unreachable: 503}


class Problem(BaseModel):
    """What went wrong, by RFC 9457."""

    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(
        description="What happened and what to do about it.",
        examples=["There is no machine 'pump-9'. GET /api/fleet lists all machines."],
    )
    instance: str = Field(description="Path of the request.", examples=["/api/machines/pump-9"])


def response(status: int, detail: str, instance: str) -> JSONResponse:
    """Build the answer to a request that failed."""
    title = HTTPStatus(status).phrase
    problem = Problem(title=title, status=status, detail=detail, instance=instance)
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(
        problem.model_dump(), status_code=status, headers=headers, media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    """Make every error of the API a problem."""
    app.add_exception_handler(FarfixError, _farfix)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _bug)


async def _farfix(request: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    return response(status, str(error), request.url.path)


async def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):  # registered for this class only
        raise error
    if isinstance(error.__cause__, UnicodeDecodeError | RecursionError):  # of FastAPI's reading
        return response(422, "The body is no JSON that can be read.", request.url.path)
    return response(error.status_code, str(error.detail), request.url.path)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):  # registered for this class only
        raise error
    parts = [
        f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"
        for found in error.errors()[:10]
    ]
    return response(422, "; ".join(parts), request.url.path)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    log.error("bug while answering %s", request.url.path, exc_info=error)
    return response(500, "The gateway has a bug here; its log says more.", request.url.path)
