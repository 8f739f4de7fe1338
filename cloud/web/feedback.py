"""The pages behind a customer's signed links: how was it, and no more messages.

They need neither sign-in nor script: the link itself is the key, and phones are old.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated
from urllib.parse import parse_qs

import jinja2
from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from cloud.web.customer_ports import Customers, Invitation
from contract.errors import Malformed, Refused

Link = Annotated[str, Path(max_length=400)]
BODY_MAX_BYTES = 32 * 1024
SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""The address is the key: nothing may carry it elsewhere."""


def routes(customers: Customers) -> APIRouter:
    """Return the pages."""
    router = APIRouter(prefix="/feedback", include_in_schema=False)

    @router.get("/{link}")
    def ask(link: Link) -> HTMLResponse:
        return _about(customers, link, lambda about: "rated" if about.rating else "ask")

    @router.post("/{link}")
    async def answer(link: Link, request: Request) -> HTMLResponse:
        try:
            about = customers.invitation(link)
        except Refused as error:
            return _page(None, "gone", str(error), 404)
        try:
            await customers.rate(link, *await _filled_in(request))
        except Malformed:
            return _page(about, "ask", WORDS[about.language]["stars_missing"], 422)
        except Refused:
            return _page(about, "rated", status=409)
        return _page(about, "thanks")

    @router.get("/{link}/stop")
    def ask_stop(link: Link) -> HTMLResponse:
        return _about(customers, link, lambda _: "stop")

    @router.post("/{link}/stop")
    async def stop(link: Link) -> HTMLResponse:
        shown = _about(customers, link, lambda _: "stopped")
        if shown.status_code == 200:
            await customers.opt_out(link)
        return shown

    return router


def _about(customers: Customers, link: str, state: Callable[[Invitation], str]) -> HTMLResponse:
    try:
        about = customers.invitation(link)
    except Refused as error:
        return _page(None, "gone", str(error), 404)
    return _page(about, state(about))


def _page(about: Invitation | None, state: str, said: str = "", status: int = 200) -> HTMLResponse:
    language = about.language if about else "en"
    html = _template().render(
        about=about, state=state, said=said, w=WORDS[language], language=language
    )
    return HTMLResponse(html, status_code=status, headers=SAFE)


@cache
def _template() -> jinja2.Template:
    text = (FilePath(__file__).parent / "feedback.html").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True).from_string(text)


async def _filled_in(request: Request) -> tuple[int, str]:
    """Read the form.

    Raises:
        Malformed: no stars were chosen, or it is no form, or an endless one.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX_BYTES:
            raise Malformed("the answer is too long")
    try:
        fields = parse_qs(body.decode(), max_num_fields=10, keep_blank_values=True)
        return int(fields["stars"][0]), fields.get("text", [""])[0]
    except (UnicodeDecodeError, KeyError, ValueError) as error:
        raise Malformed("choose one to five stars") from error


WORDS = {
    "en": {
        "title": "How did it go?",
        "ask": "How was it for you?",
        "stars": "Stars, one to five",
        "text": "What went well, what should we do better? (optional)",
        "send": "Send",
        "stars_missing": "Please choose one to five stars.",
        "thanks": "Thank you. Your answer has arrived.",
        "rated": "You have answered already. Thank you.",
        "stop": "Shall we send you no more messages about your machines?",
        "stop_yes": "Yes, no more messages",
        "stopped": "You will get no more messages. Your service centre can turn them on again.",
        "gone": "This link does not work",
    },
    "zh": {
        "title": "服务评价",
        "ask": "本次服务您满意吗?",
        "stars": "一到五星",
        "text": "哪些做得好,哪些需要改进?(选填)",
        "send": "提交",
        "stars_missing": "请选择一到五星。",
        "thanks": "谢谢,已收到您的评价。",
        "rated": "您已评价过,谢谢。",
        "stop": "是否不再接收关于您设备的通知?",
        "stop_yes": "是,不再接收",
        "stopped": "您将不再收到通知。如需恢复,请联系服务中心。",
        "gone": "链接无效",
    },
}
