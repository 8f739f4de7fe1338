"""What customers read: the letters of each language, and how they are filled in."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from importlib.resources.abc import Traversable
from string import Formatter
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from cloud.core.customers import Moment
from cloud.core.evidence import NS
from contract.errors import Malformed

LANGUAGES = ("en", "zh")
_FIELDS = frozenset({"machine", "fault", "when", "link"})
_FOOTER_FIELDS = frozenset({"case", "stop"})
_SOON = {"en": "soon", "zh": "稍后"}
TITLE_MAX, TEXT_MAX = 200, 2000


class Letter(Struct, frozen=True, forbid_unknown_fields=True):
    """One message with gaps."""

    title: str
    text: str


class Letters(Struct, frozen=True, forbid_unknown_fields=True):
    """All messages of one language."""

    footer: str
    test: str
    received: Letter
    fixing: Letter
    fixed: Letter
    false_alarm: Letter
    visit_ordered: Letter
    visit_planned: Letter
    on_the_way: Letter
    visit_withdrawn: Letter
    closed: Letter

    def of(self, moment: Moment) -> Letter:
        """Return the letter for a moment."""
        letter: Letter = getattr(self, moment.value)
        return letter


class Facts(Struct, frozen=True, kw_only=True):
    """What the gaps are filled with."""

    machine: str
    fault: str
    case: str
    when: str
    link: str
    """Where the customer says how it was; empty when they are not asked."""
    stop: str
    """Where they end all messages."""


def shipped() -> dict[str, Letters]:
    """Return the letters that come with Farfix, by language."""
    return load(resources.files("cloud").joinpath("letters"))


def load(folder: Traversable) -> dict[str, Letters]:
    """Read a folder of letters, ``en.toml`` and ``zh.toml``; a `pathlib.Path` will do.

    Raises:
        Malformed: names every file and letter that is wrong, and what would be right.
    """
    found, problems = dict[str, Letters](), list[str]()
    for language in LANGUAGES:
        name = f"{language}.toml"
        try:
            text = folder.joinpath(name).read_text(encoding="utf-8")
            found[language] = msgspec.convert(tomllib.loads(text), Letters)
        except OSError as error:
            problems.append(f"{name}: {error.strerror}; copy the shipped one and adapt it")
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            problems.append(f"{name}: {error}")
        else:
            problems += [f"{name}: {problem}" for problem in _problems(found[language])]
    if problems:
        raise Malformed(f"letters in {folder}:\n  " + "\n  ".join(problems))
    return found


def _problems(letters: Letters) -> Iterator[str]:
    yield from _gaps("footer", letters.footer, _FOOTER_FIELDS)
    for moment in Moment:
        letter = letters.of(moment)
        yield from _gaps(f"{moment.value}.title", letter.title, _FIELDS - {"link"})
        yield from _gaps(f"{moment.value}.text", letter.text, _FIELDS)


def _gaps(where: str, text: str, known: frozenset[str]) -> Iterator[str]:
    try:
        names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError as error:
        yield f"{where}: {error}; write {{{{ for a brace"
        return
    for name in sorted(names - known):
        yield f"{where}: {{{name}}} is not known here; known: {', '.join(sorted(known))}"


def write(letters: Letters, moment: Moment, facts: Facts) -> tuple[str, str]:
    """Return title and text of one message, each bounded."""
    letter = letters.of(moment)
    gaps = {"machine": facts.machine, "fault": facts.fault, "when": facts.when}
    title = letter.title.format(**gaps)
    text = letter.text.format(**gaps, link=facts.link)
    footer = letters.footer.format(case=facts.case, stop=facts.stop)
    return " ".join(title.split())[:TITLE_MAX], f"{text[:TEXT_MAX]}\n\n{footer}"


def when(at_ns: int | None, zone: ZoneInfo, language: str) -> str:
    """Return a time as the customer's clock shows it; not known yet is soon."""
    if at_ns is None:
        return _SOON[language]
    local = datetime.fromtimestamp(at_ns // NS, UTC).astimezone(zone)
    return local.strftime("%Y-%m-%d %H:%M")
