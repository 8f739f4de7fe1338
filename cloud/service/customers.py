"""Tells customers how their machines are, through Apprise, and takes their answers."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import apprise
from itsdangerous import BadSignature, URLSafeTimedSerializer

from cloud.adapters.customer_store import MessageRow
from cloud.adapters.store import Store
from cloud.config import Config
from cloud.core import letters
from cloud.core.customers import RATED, Rating, Word, allowed_ns
from cloud.core.letters import Facts
from cloud.web.console.sentences import chinese
from cloud.web.customer_ports import CustomerView, Invitation, Told
from contract.errors import Malformed, Refused, Unreachable

log = logging.getLogger(__name__)

POLL_S = 0.5
BATCH = 20
RETRY_S = (60.0, 300.0, 1800.0, 7200.0, 21_600.0)
"""Plant time until the next attempt; after the last a message has failed."""
TIMEOUT_S = 60.0
LINK_DAYS = 90
STARS_MAX, TEXT_MAX = 5, 2000
CONTACTS_MAX = 10


class Customers:
    """Serves `cloud.web.customer_ports.Customers`."""

    def __init__(
        self, store: Store, config: Config, now_ns: Callable[[], int], secret: str
    ) -> None:
        """Read contacts and letters.

        Args:
            store: where messages and answers are kept.
            config: says who is a customer and where they are told.
            now_ns: plant time.
            secret: signs links; whoever knows it can answer for customers.

        Raises:
            Malformed: a file of contacts or letters cannot be used.
        """
        self._kept, self._store = store.customers, store
        self._now_ns, self._base_url = now_ns, config.base_url
        self._customers = {customer.name: customer for customer in config.customers}
        self._contacts = {c.name: _contacts(c.urls_file) for c in config.customers}
        self._letters = letters.load(config.letters) if config.letters else letters.shipped()
        self._links = URLSafeTimedSerializer(secret, salt="farfix-feedback")

    # From the cases.

    def tell(self, word: Word) -> None:
        """Put a message on its way to a machine's customer; the same again changes nothing."""
        asset = self._store.asset(word.device)
        customer = self._customers.get(asset.customer) if asset else None
        if asset is None or customer is None or customer.name in self._kept.opted_out():
            return
        zone = ZoneInfo(customer.time_zone)
        link = self._link(word.case_id, customer.name)
        facts = Facts(
            machine=asset.title or asset.device,
            fault=_named(word.title, customer.language),
            case=word.case_id,
            when=letters.when(word.expected_ns, zone, customer.language),
            link=link if word.moment in RATED else "",
            stop=f"{link}/stop",
        )
        title, text = letters.write(self._letters[customer.language], word.moment, facts)
        due_ns = allowed_ns(
            word.moment, word.at_ns, customer.quiet_from, customer.quiet_until, zone
        )
        self._kept.add(
            MessageRow(
                key=word.key,
                customer=customer.name,
                case_id=word.case_id,
                moment=word.moment.value,
                title=title,
                text=text,
                at_ns=word.at_ns,
                due_ns=due_ns,
            )
        )

    async def run(self) -> None:
        """Send what is due until cancelled."""
        while True:
            try:
                for row in await asyncio.to_thread(self._kept.due, self._now_ns(), BATCH):
                    await self._send(row)
            except Unreachable as error:
                log.warning("messages to customers wait: %s", error)
            await asyncio.sleep(POLL_S)

    async def _send(self, row: MessageRow) -> None:
        """Send one message to all contacts that do not have it yet."""
        missed, reached = [], list(row.reached)
        for url in self._contacts.get(row.customer, []):
            mark = hashlib.sha256(url.encode()).hexdigest()[:16]
            if mark in reached:
                continue
            error = await _notify(url, row.title, row.text)
            if error:
                missed.append(error)
            else:
                reached.append(mark)
                await asyncio.to_thread(self._kept.change, row.key, reached=reached)
        await asyncio.to_thread(self._note, row, missed, reached)

    def _note(self, row: MessageRow, missed: list[str], reached: list[str]) -> None:
        attempts = row.attempts + 1
        changes: dict[str, object] = {"attempts": attempts, "reached": reached}
        if not missed and reached:
            changes |= {"state": "sent", "error": ""}
        elif not missed:
            changes |= {"state": "failed", "error": "The customer has no contact in urls_file."}
        elif attempts > len(RETRY_S):
            changes |= {"state": "failed", "error": "; ".join(missed)[:500]}
        else:
            due_ns = self._now_ns() + int(RETRY_S[attempts - 1] * 1e9)
            changes |= {"due_ns": due_ns, "error": "; ".join(missed)[:500]}
        self._kept.change(row.key, **changes)

    def troubles(self) -> list[str]:
        """Say which messages reached nobody."""
        count = self._kept.failed() if self._customers else 0
        said = f"{count} messages to customers could not be delivered; see Customers."
        return [said] if count else []

    # From people.

    def customers(self) -> list[CustomerView]:
        """Return all customers."""
        gone, assets = self._kept.opted_out(), self._store.assets()
        return [
            CustomerView(
                name=c.name,
                title=c.title or c.name,
                language=c.language,
                contacts=len(self._contacts[c.name]),
                opted_out=c.name in gone,
                machines=[asset.device for asset in assets if asset.customer == c.name],
            )
            for c in self._customers.values()
        ]

    def told(self, case_id: str = "", limit: int = 100) -> list[Told]:
        """Return messages, newest first."""
        return [
            Told(
                key=row.key,
                customer=row.customer,
                case_id=row.case_id,
                moment=row.moment,
                text=f"{row.title}\n{row.text}",
                at_ns=row.at_ns,
                due_ns=row.due_ns,
                state=row.state,
                error=row.error,
            )
            for row in self._kept.told(case_id, limit)
        ]

    def ratings(self, limit: int = 100) -> list[Rating]:
        """Return ratings, newest first."""
        return self._kept.ratings(limit)

    async def test(self, customer: str, by: str) -> None:
        """Send a test message to every contact of a customer.

        Raises:
            Refused: there is no such customer, or a contact does not take it.
        """
        if customer not in self._customers:
            raise Refused(f"there is no customer {customer!r}; they are listed in the settings")
        texts = self._letters[self._customers[customer].language]
        contacts = self._contacts[customer]
        errors = [error for url in contacts if (error := await _notify(url, "Farfix", texts.test))]
        log.info("%s sent a test message to %s", by, customer)
        if errors or not contacts:
            raise Refused("; ".join(errors) or f"{customer} has no contact in urls_file")

    # From customers.

    def invitation(self, link: str) -> Invitation:
        """Return what a link is about.

        Raises:
            Refused: it is forged, or too old.
        """
        case_id, name = self._read(link)
        row = self._store.case(case_id)
        asset = self._store.asset(row.device) if row else None
        customer = self._customers.get(name)
        if row is None or asset is None or customer is None:
            raise Refused("what this link was about is not kept any more")
        return Invitation(
            case_id=case_id,
            customer=name,
            title=asset.title or asset.device,
            language=customer.language,
            rating=self._kept.rating(case_id),
        )

    async def rate(self, link: str, stars: int, text: str) -> None:
        """Keep a rating; the first one of a case counts.

        Raises:
            Malformed: no such number of stars.
            Refused: the link is forged or too old, or the case is rated already.
        """
        if not 1 <= stars <= STARS_MAX:
            raise Malformed(f"a rating has 1 to {STARS_MAX} stars")
        about = self.invitation(link)
        row = Rating(
            case_id=about.case_id,
            customer=about.customer,
            stars=stars,
            text=text[:TEXT_MAX].replace("\0", "\ufffd").encode(errors="replace").decode(),
            at_ns=self._now_ns(),
        )
        await asyncio.to_thread(self._kept.rate, row)

    async def opt_out(self, link: str) -> None:
        """Tell this customer nothing more.

        Raises:
            Refused: the link is forged or too old.
        """
        await asyncio.to_thread(self._kept.opt_out, self._read(link)[1], self._now_ns())

    def _link(self, case_id: str, customer: str) -> str:
        return f"{self._base_url}/feedback/{self._links.dumps([case_id, customer])}"

    def _read(self, link: str) -> tuple[str, str]:
        try:
            case_id, customer = self._links.loads(link, max_age=LINK_DAYS * 86_400)
        except BadSignature as error:  # too old is one of them
            raise Refused("this link is not valid, or too old") from error
        return str(case_id), str(customer)


def _named(fault: str, language: str) -> str:
    """Return a fault's title in the customer's language, where the shipped types have it."""
    return chinese(fault) if language == "zh" else fault


def _contacts(path: Path | None) -> list[str]:
    """Read a file of Apprise URLs, one a line; ``#`` begins a comment.

    Raises:
        Malformed: the file cannot be read, or a line is no URL that Apprise knows. The message
            does not repeat the line: it may hold a password.
    """
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Malformed(f"contacts in {path} cannot be read: {error}") from error
    urls = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for number, url in enumerate(urls, 1):
        if not apprise.Apprise().add(url):
            raise Malformed(f"{path}: contact {number} is no URL that Apprise knows")
    if len(urls) > CONTACTS_MAX:
        raise Malformed(f"{path}: {len(urls)} contacts, at most {CONTACTS_MAX} are told")
    return urls


async def _notify(url: str, title: str, text: str) -> str:
    """Send to one contact and return why it failed; empty: it did not."""
    contact = apprise.Apprise()
    contact.add(url)
    scheme = url.partition(":")[0]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            taken = await contact.async_notify(body=text, title=title)
    except TimeoutError:
        return f"{scheme}: no answer within {TIMEOUT_S:g} s"
    return "" if taken else f"{scheme}: it did not take the message; the log says more"
