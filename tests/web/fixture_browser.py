"""What every test in a browser stands on: one tab that notes all that goes wrong in it."""

from playwright.sync_api import Page, Request

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
BAD = {"serious", "critical"}
"""What axe may not find."""
LOOKS = 4
"""So often axe looks at what may still take on its colours."""


class Visit:
    """One tab that notes everything that goes wrong in it, and every foreign address."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.wrong: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message: object) -> None:
        if getattr(message, "type", "") == "error":
            self.wrong.append(str(getattr(message, "text", message)))

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.wrong.append(f"foreign: {request.url}")

    def open(self, path: str) -> Page:
        self.page.goto(self.address + path)
        return self.page

    def check(self) -> None:
        assert self.wrong == []
        assert self.page.evaluate("window.hacked") is None, "a device's text ran as a script"
        assert self.page.locator("img[src=x]").count() == 0, "a device's text became markup"
