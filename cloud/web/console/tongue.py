"""Texts in the language of whoever looks at the page.

English is the source; the Chinese catalogue is all of ``zh/*.toml``, English text = Chinese text.
Sentences that the core has written are told again by `cloud.web.console.sentences`.
"""

from datetime import UTC, datetime

from cloud.web import words
from cloud.web.console import sentences, viewer

LANGUAGES = {"en": "English", "zh": "中文"}
"""What people may choose, each in its own words."""


def language() -> str:
    """Return the language of who looks at the page under work; outside of one, English."""
    return viewer.language()


def t(text: str, **values: object) -> str:
    """Return a text in the reader's language, with its values filled in.

    Args:
        text: in English, as it stands in the catalogue; ``{name}`` stands for a value.
        values: by name.
    """
    found = sentences.catalogue().get(text, text) if language() == "zh" else text
    return found.format(**values) if values else found


def told(text: str) -> str:
    """Return a text that is known only at run time, be it words or stored sentences.

    What no entry of the catalogue fits stays as it is.
    """
    return sentences.chinese(text) if language() == "zh" else text


def template(text: str) -> str:
    """Return a text in the reader's language for a browser, which fills its values in itself."""
    return told(text)


def later(text: str) -> str:
    """Mark a text in a table for the catalogue; `told` translates it when it is shown."""
    return text


def utc(ns: int) -> str:
    """Write a time in full."""
    if language() == "zh":
        return f"{datetime.fromtimestamp(ns // words.NS, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return words.utc(ns)


def span(seconds: float) -> str:
    """Write a duration by its one or two largest units."""
    whole = int(abs(seconds))
    if whole < 60:
        return t("{count} s", count=whole)
    if whole < 3600:
        return t("{count} min", count=whole // 60)
    if whole < 48 * 3600:
        hours, minutes = divmod(whole // 60, 60)
        if minutes:
            return t("{hours} h {minutes} min", hours=hours, minutes=minutes)
        return t("{count} h", count=hours)
    return t("{count} days", count=whole // 86400)


def ago(ns: int, now_ns: int) -> str:
    """Write how far a time lies from now."""
    seconds = (now_ns - ns) / words.NS
    if abs(seconds) < 1:
        return t("now")
    if seconds > 0:
        return t("{span} ago", span=span(seconds))
    return t("in {span}", span=span(seconds))
