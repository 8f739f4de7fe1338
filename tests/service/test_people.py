"""Sign-in, sessions, tokens and the OpenID provider, over a real store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from joserfc.jwk import ECKey, OctKey

from cloud.adapters.store import Store
from cloud.config import Config, Oidc
from cloud.core.people import GATEWAY, Person, Role, check_password, may
from cloud.service import people as service
from cloud.service.people import IDLE_NS, LONGEST_NS, PER_ADDRESS, PER_PAIR, People
from cloud.web.people_ports import OidcBegin
from contract.errors import Refused, Unreachable
from tests.service import fixture_oidc
from tests.service.fixture_oidc import Provider

PASSWORD = "seven blue pumps in a row"
HERE, THERE = "192.0.2.1", "192.0.2.2"
BACK = "http://gateway/sign-in/back"
S = 10**9


class Clock:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.ns = 1_800_000_000 * S

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'cases.db'}")
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def people(store: Store, tmp_path: Path, clock: Clock) -> People:
    made = People(store, Config(data_dir=tmp_path), clock)
    await made.put_account("admin", Role.ADMIN, PASSWORD, "test")
    await made.put_account("olga", Role.OPERATOR, PASSWORD, "admin")
    return made


def told(store: Store) -> list[str]:
    return [f"{row.by}: {row.text}" for row in store.updates.audit()]


def test_each_role_may_what_the_ones_before_may() -> None:
    ladder = [Role.VIEWER, Role.OPERATOR, Role.ENGINEER, Role.ADMIN]
    for i, has in enumerate(ladder):
        assert [may(Person("x", has), asked) for asked in ladder] == [n <= i for n in range(4)]
    for narrow in (Role.DISPATCH, Role.ALERTS):
        assert [role for role in Role if may(Person("x", narrow), role)] == [narrow]
        assert [role for role in Role if may(Person("x", role), narrow)] == [Role.ADMIN, narrow]


@pytest.mark.parametrize(
    "password",
    [
        "", "short", "x" * 201, "aaaaaaaaaaaaaaaa", "abcdefghijklmnop", "09876543210987654321",
        "olga", "olga-olga-olga", "password1234", "Farfix123456", "olga2026olga!",
    ],
)  # fmt: skip
def test_passwords_that_anybody_would_try_are_refused(password: str) -> None:
    with pytest.raises(Refused, match="password"):
        check_password(password, "olga")


@pytest.mark.parametrize("password", [PASSWORD, "Tr0ub4dor&3xyz", "七个蓝色的水泵排成一排真好看"])
def test_other_passwords_are_taken(password: str) -> None:
    check_password(password, "olga")


async def test_signing_in_opens_a_session_that_only_its_cookie_opens(
    people: People, store: Store
) -> None:
    session = await people.sign_in(" Olga ", PASSWORD, HERE)
    assert people.by_session(session) == Person("olga", Role.OPERATOR)
    assert people.by_session(session[:-1]) is None
    assert people.by_session("") is None
    (row,) = store.people.sessions()
    assert session not in repr(row), "the store must not hold what opens the door"
    assert people.by_session(row.hash) is None
    assert PASSWORD not in repr(store.people.people())
    assert "olga: olga signs in, from 192.0.2.1." in told(store)


async def test_a_restart_keeps_people_and_sessions(
    people: People, store: Store, tmp_path: Path, clock: Clock
) -> None:
    session, token = await people.sign_in("olga", PASSWORD, HERE), ""
    token = await people.issue_token("erp", Role.DISPATCH, "admin")
    again = People(store, Config(data_dir=tmp_path), clock)
    assert again.by_session(session) == Person("olga", Role.OPERATOR)
    assert again.by_token(token) == Person("erp", Role.DISPATCH)
    await again.sign_out(session)
    assert People(store, Config(data_dir=tmp_path), clock).by_session(session) is None


async def test_sessions_end_when_nobody_uses_them_and_after_a_week(
    people: People, store: Store, clock: Clock
) -> None:
    idle = await people.sign_in("olga", PASSWORD, HERE)
    used = await people.sign_in("admin", PASSWORD, HERE)
    began_ns = clock.ns
    while clock.ns - began_ns <= LONGEST_NS - IDLE_NS // 2:
        clock.ns += IDLE_NS // 2
        assert people.by_session(used)
    assert people.by_session(idle) is None
    clock.ns = began_ns + LONGEST_NS + 1
    assert people.by_session(used) is None
    await people.save()
    assert store.people.sessions() == []


async def test_somebody_has_no_more_than_so_many_sessions(people: People, clock: Clock) -> None:
    sessions = []
    for _ in range(service.SESSIONS_PER_PERSON + 2):
        clock.ns += S
        sessions.append(await people.open("olga", "in a test"))
    open_ones = [s for s in sessions if people.by_session(s)]
    assert open_ones == sessions[2:]


async def test_who_fails_too_often_has_to_wait_even_with_the_right_password(
    people: People, store: Store
) -> None:
    for _ in range(PER_PAIR):
        with pytest.raises(Refused, match="name or the password is wrong"):
            await people.sign_in("olga", "wrong", HERE)
    with pytest.raises(Refused, match="try again in 15 min"):
        await people.sign_in("olga", PASSWORD, HERE)
    assert await people.sign_in("olga", PASSWORD, THERE), "others are not kept out by it"
    lines = [line for line in told(store) if line.startswith("olga: Failed sign-in")]
    assert len(lines) == 3, "the audit log is not flooded with the same line"


async def test_an_address_that_tries_many_names_has_to_wait(people: People) -> None:
    for i in range(PER_ADDRESS):
        people._throttle.count([f"from {HERE}", f"name n{i}"])
    with pytest.raises(Refused, match="Too many attempts"):
        await people.sign_in("admin", PASSWORD, HERE)


async def test_unknown_names_take_as_long_and_say_the_same(people: People) -> None:
    said = set()
    for name in ("olga", "nobody-here"):
        with pytest.raises(Refused) as refusal:
            await people.sign_in(name, "wrong wrong wrong", HERE)
        said.add(str(refusal.value))
    assert len(said) == 1
    assert not await people._passwords.fits("", "x"), "no hash is known: one is verified even so"


async def test_too_many_at_once_are_told_to_come_back(people: People) -> None:
    tries = [people.sign_in(f"n{i}", "wrong", f"192.0.2.{i}") for i in range(60)]
    ends = await asyncio.gather(*tries, return_exceptions=True)
    kinds = {type(end) for end in ends}
    assert kinds == {Refused, Unreachable}


async def test_whoever_is_locked_out_or_changed_is_out_at_once(people: People) -> None:
    session = await people.sign_in("olga", PASSWORD, HERE)
    await people.disable("olga", "admin", disabled=True)
    assert people.by_session(session) is None
    with pytest.raises(Refused, match="wrong"):
        await people.sign_in("olga", PASSWORD, HERE)
    await people.disable("olga", "admin", disabled=False)
    again = await people.sign_in("olga", PASSWORD, HERE)
    await people.put_account("olga", Role.VIEWER, None, "admin")
    assert people.by_session(again) is None
    await people.put_account("olga", Role.VIEWER, "another good phrase", "admin")
    with pytest.raises(Refused):
        await people.sign_in("olga", PASSWORD, HERE)


async def test_somebody_remains_admin(people: People) -> None:
    with pytest.raises(Refused, match="must remain admin"):
        await people.disable("admin", "admin", disabled=True)
    with pytest.raises(Refused, match="must remain admin"):
        await people.put_account("admin", Role.VIEWER, None, "admin")
    await people.put_account("olga", Role.ADMIN, None, "admin")
    await people.put_account("admin", Role.VIEWER, None, "olga")


@pytest.mark.parametrize("name", ["", "api", "system", "Olga", "o l", "<b>", "x" * 65, "-x", "é"])
async def test_names_that_cannot_be_are_refused(people: People, name: str) -> None:
    with pytest.raises(Refused, match="name"):
        await people.put_account(name, Role.VIEWER, PASSWORD, "admin")
    with pytest.raises(Refused, match="name"):
        await people.issue_token(name, Role.VIEWER, "admin")


async def test_tokens_have_one_role_and_are_kept_as_hashes(people: People, store: Store) -> None:
    token = await people.issue_token("erp", Role.DISPATCH, "admin")
    assert token.startswith("ffx_")
    assert people.by_token(token) == Person("erp", Role.DISPATCH)
    assert token not in repr(store.people.tokens())
    assert people.by_token("ffx_guess") is people.by_token("guess") is None
    for taken in ("erp", "olga"):
        with pytest.raises(Refused, match="choose another name"):
            await people.issue_token(taken, Role.VIEWER, "admin")
    with pytest.raises(Refused, match="token named"):
        await people.put_account("erp", Role.VIEWER, PASSWORD, "admin")
    await people.revoke_token("erp", "admin")
    assert people.by_token(token) is None
    with pytest.raises(Refused, match="no token"):
        await people.revoke_token("erp", "admin")


async def test_a_flood_of_refusals_is_bounded_and_drowns_nothing(
    people: People, store: Store
) -> None:
    for i in range(500):
        people.refused("", f"call {i}")
    people.record("olga", "approve", "olga approves it.")
    lines = store.updates.audit(limit=1000)
    assert sum(row.what == "refused" for row in lines) == 60
    assert lines[0].text == "olga approves it."


async def test_the_audit_log_shows_what_was_done_to_it(people: People, store: Store) -> None:
    for i in range(5):
        people.record("olga", "test", f"line {i}")
    whole = people.audit_chain()
    rows = store.updates.audit()
    assert (whole.lines, whole.broken_at) == (len(rows), None)
    third = rows[2].id
    for change, told in (
        ("UPDATE audit SET text = 'line 9' WHERE id = :id", third),
        ("UPDATE audit SET text = 'line 2', by = 'x' WHERE id = :id", third),
        ("DELETE FROM audit WHERE id = :id", rows[1].id),
    ):
        with store.engine.begin() as connection:
            connection.execute(sa.text(change), {"id": third})
        assert people.audit_chain().broken_at == told
    people.record("olga", "test", "and on")
    assert people.audit_chain().broken_at == rows[1].id


async def test_the_first_start_makes_an_admin_and_says_where(tmp_path: Path, store: Store) -> None:
    made = People(store, Config(data_dir=tmp_path))
    await made.begin()
    file = tmp_path / "admin-password"
    assert file.stat().st_mode & 0o777 == 0o600
    assert await made.sign_in("admin", file.read_text().strip(), HERE)
    await made.begin()
    assert [a.person for a in made.accounts()] == [Person("admin", GATEWAY.role)]


# At the OpenID provider.


@pytest.fixture
def provider() -> Iterator[Provider]:
    with fixture_oidc.provider() as made:
        yield made


@pytest.fixture
async def guests(store: Store, tmp_path: Path, provider: Provider) -> People:
    oidc = Oidc(issuer=provider.issuer, client_id=fixture_oidc.CLIENT)
    made = People(store, Config(data_dir=tmp_path, oidc=oidc))
    await made.put_account("admin", Role.ADMIN, PASSWORD, "test")
    return made


async def walk(guests: People) -> tuple[OidcBegin, str]:
    """Go to the provider as a browser does, and come back with its code."""
    begun = await guests.begin_oidc(BACK)
    async with httpx.AsyncClient(trust_env=False) as browser:
        back = httpx.URL((await browser.get(begun.url)).headers["location"])
    assert back.params["state"] == begun.state
    return begun, back.params["code"]


async def test_somebody_comes_in_by_the_provider_with_the_role_it_gives(
    guests: People, provider: Provider, store: Store
) -> None:
    begun, code = await walk(guests)
    session = await guests.finish_oidc(begun, BACK, code, HERE)
    assert guests.by_session(session) == Person("dana", Role.OPERATOR)
    assert any("dana signs in, from 192.0.2.1, by 127.0.0.1" in line for line in told(store))
    with pytest.raises(Refused, match="refuses this sign-in"):
        await guests.finish_oidc(begun, BACK, code, HERE)
    provider.claims = {"farfix_role": ["viewer", "engineer", "cook"]}
    begun, code = await walk(guests)
    await guests.finish_oidc(begun, BACK, code, HERE)
    assert guests.by_session(session) is None, "another role, another session"
    with pytest.raises(Refused, match="wrong"):
        await guests.sign_in("dana", "", HERE)
    with pytest.raises(Refused, match="no password here"):
        await guests.put_account("dana", Role.VIEWER, PASSWORD, "admin")


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another-program"}, "aud"),
        ({"aud": [fixture_oidc.CLIENT, "other"], "azp": "other"}, "another program"),
        ({"iss": "https://example.com"}, "iss"),
        ({"exp": 1_000_000}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": 10**11}, "iat|future|issued"),
        ({"farfix_role": None}, "gives dana no role"),
        ({"farfix_role": "dispatch"}, "gives dana no role"),
        ({"farfix_role": {"admin": 1}}, "gives dana no role"),
        ({"preferred_username": "admin"}, "another person named admin"),
        ({"preferred_username": "<script>"}, "cannot be a name"),
        ({"preferred_username": "api"}, "gateway itself"),
    ],
)
async def test_what_cannot_be_believed_opens_nothing(
    guests: People, provider: Provider, store: Store, lie: dict[str, object], said: str
) -> None:
    provider.claims = lie
    begun, code = await walk(guests)
    with pytest.raises(Refused, match=said):
        await guests.finish_oidc(begun, BACK, code, HERE)
    assert store.people.sessions() == []
    assert any(line.startswith("nobody: Failed sign-in at") for line in told(store))


async def test_only_the_providers_own_key_signs(guests: People, provider: Provider) -> None:
    provider.key = ECKey.generate_key("P-256", {"kid": "one"})
    begun, code = await walk(guests)
    with pytest.raises(Refused, match="cannot be believed"):
        await guests.finish_oidc(begun, BACK, code, HERE)


async def test_a_shared_secret_signs_nothing(guests: People, provider: Provider) -> None:
    provider.key, provider.alg = OctKey.generate_key(256), "HS256"  # type: ignore[assignment]
    begun, code = await walk(guests)
    with pytest.raises(Refused, match="cannot be believed"):
        await guests.finish_oidc(begun, BACK, code, HERE)


async def test_the_code_is_worth_nothing_without_its_verifier(guests: People) -> None:
    begun, code = await walk(guests)
    other = await guests.begin_oidc(BACK)
    with pytest.raises(Refused, match="refuses this sign-in"):
        await guests.finish_oidc(other, BACK, code, HERE)
    assert other.verifier != begun.verifier


async def test_a_provider_that_is_gone_or_another_is_told(
    store: Store, tmp_path: Path, provider: Provider
) -> None:
    gone = Oidc(issuer="http://127.0.0.1:1", client_id="x")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 does not answer"):
        await People(store, Config(data_dir=tmp_path, oidc=gone)).begin_oidc(BACK)
    other = Oidc(issuer=provider.issuer + "/", client_id="x")
    with pytest.raises(Refused, match=r"correct oidc\.issuer"):
        await People(store, Config(data_dir=tmp_path, oidc=other)).begin_oidc(BACK)
    with pytest.raises(Refused, match="no OpenID provider"):
        await People(store, Config(data_dir=tmp_path)).begin_oidc(BACK)


@pytest.mark.parametrize("issuer", ["http://example.com", "ftp://x", "example.com"])
def test_an_issuer_without_tls_is_refused(issuer: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        Oidc(issuer=issuer, client_id="x")
