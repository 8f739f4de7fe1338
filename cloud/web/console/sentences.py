"""Sentences that the core has written, told again in the language of whoever looks at the page.

What happens is kept in English, once, when it happens. An entry of ``zh/sentences`` is one sentence
with ``{names}`` where its values stand; a stored text is cut into sentences, each finds the entry
that fits it as a whole, and its values are told in turn. What no entry fits stays English.

A value's name says what may stand there; a number behind the name tells two of a kind apart:

- ``number``, ``span``, ``day`` and ``moment``, as `cloud.core.wording` writes them;
- ``by``, ``who``, ``why``, ``note``, ``error``: what people and other programs say, kept as it is;
- ``said``: sentences of ours, told again; ``list``: words joined by commas and ``and``;
  ``reasons``: some joined by semicolons, each of them maybe behind what it is about;
- ``told``: what dispatch says of a visit;
- any other: words within one sentence, told again where the catalogue has them.
"""

import re
import string
import tomllib
from functools import cache, lru_cache
from pathlib import Path

from msgspec import Struct

from cloud.web import words

CATALOGUE = Path(__file__).parent / "zh"
SENTENCES = CATALOGUE / "sentences"
LONGEST, SENTENCES_MAX, DEPTH_MAX, TRIES_MAX = 2000, 20, 20, 1000
"""What is longer, more, deeper within others, or fits only after so many tries, stays English: ours
is not, and what others write into it shall not keep a page waiting."""
KEPT = {"by", "who", "why", "note", "error"}
_END = r"(?<!\b[A-Z])[.!?] "
_CUT = re.compile(r"(?<!\b[A-Z][.!?])(?<=[.!?]) (?=\S)")
"""Between sentences; the initial of a name ends none."""
_WITHIN = rf"(?:(?!{_END}).)+"
_SHAPES = {
    "number": r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?%?",
    "span": r"\d+ (?:s|min|h|days)",
    "day": r"\d{4}-\d\d-\d\d",
    "moment": r"\d{4}-\d\d-\d\d \d\d:\d\d UTC",
    "by": r"[^:;'\"]{1,90}",
    "told": _WITHIN + r"(?<!\b[A-Z])",  # a name in it may begin with an initial
    "who": r".{1,80}",
    "note": r".+",
    "error": r".+",
    "said": r".+",
    "reasons": r".+",
}
_LIST = re.compile(r"(?<=')(?:, | and )(?=')")
_BARE_LIST = re.compile(r", | and ")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UTC = re.compile(rf"(\d{{1,2}}) ({'|'.join(_MONTHS)}) (\d{{4}}) (\d\d:\d\d:\d\d) UTC")
"""As `cloud.web.words.utc` writes it."""


class Pattern(Struct, frozen=True):
    """An entry that fits many sentences."""

    literals: tuple[str, ...]
    """Before, between and behind its values."""
    names: tuple[str, ...]
    shapes: tuple[re.Pattern[str], ...]
    said: str


class _Left(Struct):
    """What may still be done for one text."""

    tries: int = TRIES_MAX
    depth: int = DEPTH_MAX


@lru_cache(maxsize=4096)
def chinese(text: str) -> str:
    """Return a text that is known only at run time; what no entry fits stays as it is."""
    return _sentences_of(text, _Left()) if len(text) <= LONGEST else text


def _sentences_of(text: str, left: _Left) -> str:
    parts = _CUT.split(text)
    told: list[str] = []
    while parts and len(told) < SENTENCES_MAX and left.tries > 0:
        taken, said = _longest(parts, left)
        told.append(said)
        parts = parts[taken:]
    return _joined([*told, *parts])


def _longest(parts: list[str], left: _Left) -> tuple[int, str]:
    """Return how many sentences the first entry that fits takes, the longest first."""
    for count in range(min(len(parts), SENTENCES_MAX), 0, -1):
        said = _told(" ".join(parts[:count]), left)
        if said is not None:
            return count, said
    return 1, parts[0]


def _told(text: str, left: _Left) -> str | None:
    """Return one entry's Chinese, or None."""
    exact, patterns = _sentences()
    known = exact.get(text) or catalogue().get(text)
    if known is not None:
        return known
    time = _UTC.fullmatch(text)
    if time is not None:
        day, month, year, clock = time.groups()
        return f"{year}-{_MONTHS.index(month) + 1:02}-{int(day):02} {clock} UTC"
    for pattern in patterns:
        values = _values(pattern, text, left)
        if values is not None:
            named = zip(pattern.names, values, strict=True)
            left.depth -= 1
            told = {name: _value(name, value, left) for name, value in named}
            left.depth += 1
            return pattern.said.format(**told)
    return None


def _values(pattern: Pattern, text: str, left: _Left) -> list[str] | None:
    """Return the values with which an entry is the text, or None."""
    literals, shapes = pattern.literals, pattern.shapes
    if not (text.startswith(literals[0]) and text.endswith(literals[-1])):
        return None
    if not all(literal in text for literal in literals):
        return None

    def rest(i: int, at: int) -> list[str] | None:
        literal, last = literals[i + 1], i + 1 == len(shapes)
        end = len(text) - len(literal) if last else text.find(literal, at + 1)
        while end > at and left.tries > 0:
            left.tries -= 1
            if shapes[i].fullmatch(text, at, end):
                found = [] if last else rest(i + 1, end + len(literal))
                if found is not None:
                    return [text[at:end], *found]
            end = -1 if last else text.find(literal, end + 1)
        return None

    return rest(0, len(literals[0]))


def _value(name: str, text: str, left: _Left) -> str:
    kind = kind_of(name)
    if kind in KEPT or left.depth <= 0:
        return text
    if kind == "said":
        return _sentences_of(text, left)
    if kind == "list":
        parts = (_LIST if text.startswith("'") else _BARE_LIST).split(text)
        return "、".join(_word(part, left) for part in parts)
    if kind == "reasons":
        reasons = (_reason(part, left) for part in text.split("; "))
        return "；".join(reasons)  # noqa: RUF001 (Chinese)
    return _word(text, left)


def _reason(text: str, left: _Left) -> str:
    whole, (about, colon, why) = _told(text, left), text.partition(": ")
    if colon and whole is None:
        return f"{about}：{_word(why, left)}"  # noqa: RUF001 (Chinese)
    return whole or text


def _word(text: str, left: _Left) -> str:
    return _told(text, left) or _told(words.phrase(text), left) or text


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
    names = tuple(name for _, name, _, _ in pieces if name)
    literals = tuple(literal for literal, *_ in pieces)
    return Pattern(
        literals=literals if len(literals) > len(names) else (*literals, ""),
        names=names,
        shapes=tuple(re.compile(_SHAPES.get(kind_of(name), _WITHIN), re.DOTALL) for name in names),
        said=said,
    )
