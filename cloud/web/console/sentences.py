"""Sentences that the core has written, told again in the language of whoever looks at the page.

What happens is kept in English, once, when it happens. An entry of ``zh/sentences`` is one sentence
with ``{names}`` where its values stand; a stored text is cut into sentences, each finds the entry
that fits it as a whole, and its values are told in turn. What no entry fits stays English.

A value's name says what may stand there; a number behind the name tells two of a kind apart:

- ``number``, ``span``, ``day`` and ``moment``, as `cloud.core.wording` writes them;
- ``by``, ``who``, ``why``, ``note``, ``error``: what people and other programs say, kept as it is;
- ``said``: sentences of ours, told again; ``list``: words joined by commas and ``and``;
  ``reasons``: some joined by semicolons, each of them maybe behind what it is about;
- any other: words within one sentence, told again where the catalogue has them.
"""

import re
import string
import tomllib
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path

from msgspec import Struct

from cloud.web import words

CATALOGUE = Path(__file__).parent / "zh"
SENTENCES = CATALOGUE / "sentences"
LONGEST, SENTENCES_MAX = 3000, 20
"""Whatever is longer, or more, stays English: ours are not."""
KEPT = {"by", "who", "why", "note", "error"}
_END = r"(?<!\b[A-Z])[.!?] "
_CUT = re.compile(r"(?<!\b[A-Z][.!?])(?<=[.!?]) (?=\S)")
"""Between sentences; the initial of a name ends none."""
_WITHIN = rf"(?:(?!{_END}).)+?(?<!\b[A-Z])"
_SHAPES = {
    "number": r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?%?",
    "span": r"\d+ (?:s|min|h|days)",
    "day": r"\d{4}-\d\d-\d\d",
    "moment": r"\d{4}-\d\d-\d\d \d\d:\d\d UTC",
    "by": r"[^:;'\"]{1,90}?",
    "who": r".{1,80}?",
    "note": r".+?",
    "error": r".+?",
    "said": r".+?",
    "reasons": r".+?",
}
_LIST = re.compile(r"(?<=')(?:, | and )(?=')")
_BARE_LIST = re.compile(r", | and ")
_FULL = re.compile(r"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d UTC")


class Pattern(Struct, frozen=True):
    """An entry that fits many sentences."""

    head: str
    """What they begin with; most sentences are told by it from others without more ado."""
    tail: str
    fits: re.Pattern[str]
    said: str


@lru_cache(maxsize=4096)
def chinese(text: str) -> str:
    """Return a text that is known only at run time; what no entry fits stays as it is."""
    if len(text) > LONGEST:
        return text
    parts = _CUT.split(text)
    told: list[str] = []
    while parts and len(told) < SENTENCES_MAX:
        taken, said = _longest(parts)
        told.append(said)
        parts = parts[taken:]
    return _joined([*told, *parts])


def _longest(parts: list[str]) -> tuple[int, str]:
    """Return how many sentences the first entry that fits takes, the longest first."""
    for count in range(min(len(parts), SENTENCES_MAX), 0, -1):
        said = _told(" ".join(parts[:count]))
        if said is not None:
            return count, said
    return 1, parts[0]


def _told(text: str) -> str | None:
    """Return one entry's Chinese, or None."""
    exact, patterns = _sentences()
    known = exact.get(text) or catalogue().get(text)
    if known is not None:
        return known
    for pattern in patterns:
        if text.startswith(pattern.head) and text.endswith(pattern.tail):
            found = pattern.fits.fullmatch(text)
            if found is not None:
                values = {name: _value(name, value) for name, value in found.groupdict().items()}
                return pattern.said.format(**values)
    return None


def _value(name: str, text: str) -> str:
    kind = kind_of(name)
    if kind in KEPT:
        return text
    if kind == "said":
        return chinese(text)
    if kind == "list":
        parts = (_LIST if text.startswith("'") else _BARE_LIST).split(text)
        return "、".join(map(_word, parts))
    if kind == "reasons":
        return "；".join(map(_reason, text.split("; ")))  # noqa: RUF001 (Chinese)
    return _word(text)


def _reason(text: str) -> str:
    whole, (about, colon, why) = _told(text), text.partition(": ")
    return f"{about}：{_word(why)}" if colon and not whole else whole or text  # noqa: RUF001


def _word(text: str) -> str:
    if _FULL.fullmatch(text):
        return f"{datetime.strptime(text, '%d %b %Y %H:%M:%S %Z'):%Y-%m-%d %H:%M:%S} UTC"
    return _told(text) or _told(words.phrase(text)) or text


def kind_of(name: str) -> str:
    """Return what may stand at a name."""
    return name.rstrip(string.digits)


def _joined(parts: list[str]) -> str:
    """Put sentences together: no blank follows a Chinese one."""
    return "".join(
        part if i == 0 or parts[i - 1][-1:] in "。！？" else f" {part}"  # noqa: RUF001 (Chinese)
        for i, part in enumerate(parts)
    )


@cache
def catalogue() -> dict[str, str]:
    """Return the texts of the pages; a test sees to it that no two files disagree."""
    return entries(CATALOGUE)


def entries(folder: Path) -> dict[str, str]:
    """Return all entries of a folder's files, English text = Chinese text."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.toml")):
        found |= tomllib.loads(path.read_text(encoding="utf-8"))
    return found


@cache
def _sentences() -> tuple[dict[str, str], list[Pattern]]:
    """Return entries without values, and patterns, the one with the most words of its own first."""
    found = entries(SENTENCES)
    loose = sorted(
        (text for text in found if "{" in text), key=lambda text: (-literal_chars(text), text)
    )
    exact = {text: said for text, said in found.items() if "{" not in text}
    return exact, [_pattern(text, found[text]) for text in loose]


def literal_chars(text: str) -> int:
    """Return how many characters of an entry are its own."""
    return sum(len(literal) for literal, *_ in string.Formatter().parse(text))


def _pattern(text: str, said: str) -> Pattern:
    pieces = list(string.Formatter().parse(text))
    shape = ""
    for literal, name, _, _ in pieces:
        shape += re.escape(literal)
        if name:
            shape += f"(?P<{name}>{_SHAPES.get(kind_of(name), _WITHIN)})"
    tail = pieces[-1][0] if not pieces[-1][1] else ""
    return Pattern(pieces[0][0], tail, re.compile(shape), said)
