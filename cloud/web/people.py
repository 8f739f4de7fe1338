"""People and tokens of other systems: the API. Signing in is the console's."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from msgspec.structs import asdict
from pydantic import BaseModel, ConfigDict, Field

from cloud.core.people import PASSWORD_MAX, Person, Role
from cloud.web.api import DENIED, PROBLEMS
from cloud.web.guard import Doors
from cloud.web.people_ports import Account, People, Token
from contract.errors import Malformed

Door = Callable[..., Person]
Name = Annotated[str, Path(max_length=64, examples=["anna"])]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PersonView(BaseModel):
    """Somebody who may sign in."""

    name: str = Field(examples=["anna"])
    role: Role
    disabled: bool = Field(description="Locked out.")
    local: bool = Field(description="With a password here; else by OpenID Connect.")
    last_ns: int | None = Field(description="When they were last seen, in wall time.")


class PersonChange(_Strict):
    """Somebody new, or what changes."""

    role: Role = Field(description="viewer, operator, engineer or admin.")
    password: str | None = Field(
        None, max_length=PASSWORD_MAX, description="Needed for somebody new; else a new one."
    )
    disabled: bool = False


class SystemToken(BaseModel):
    """Another system's token, without its secret."""

    name: str = Field(examples=["erp"])
    role: Role
    made_ns: int = Field(description="In wall time.")
    last_ns: int | None = Field(description="When it was last used, in wall time.")


class SystemTokenWish(_Strict):
    """A token for another system."""

    role: Role


class SystemTokenMade(BaseModel):
    """A new token."""

    name: str
    token: str = Field(description="This answer is the only place where it is ever shown.")


class ChainView(BaseModel):
    """How the audit log stands."""

    lines: int = Field(description="That fit, from the oldest on.")
    broken_at: int | None = Field(description="The first line that does not fit; null: all do.")
    hash: str = Field(description="Of the last line that fits.")


def routes(people: People, doors: Doors) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api", tags=["people"], responses=PROBLEMS)
    admin = doors.needs(Role.ADMIN)
    _people(router, people, admin)
    _tokens(router, people, admin)

    @router.get(
        "/audit/chain",
        summary="Whether the audit log is whole",
        description="Every line holds a hash over itself and the line before it. Whoever can "
        "write to the database could make all of them anew: keep the hash elsewhere from time to "
        "time, and compare.",
        dependencies=[Depends(admin)],
    )
    def read_chain() -> ChainView:
        return ChainView(**asdict(people.audit_chain()))

    @router.get("/me", summary="Whose token this is, or who is signed in")
    def read_me(
        person: Annotated[Person, Depends(doors.needs(Role.VIEWER, Role.DISPATCH, Role.ALERTS))],
    ) -> dict[str, str]:
        return {"name": person.name, "role": person.role.value}

    return router


def _people(router: APIRouter, people: People, admin: Door) -> None:
    @router.get("/people", summary="All people, by name", dependencies=[Depends(admin)])
    def read_people() -> list[PersonView]:
        return [_person(account) for account in people.accounts()]

    @router.put(
        "/people/{name}",
        summary="Add somebody, or change role or password, lock out or let in",
        description="What they could do before ends at once: they are signed out everywhere.",
        responses=DENIED,
    )
    async def put_person(
        name: Name, change: PersonChange, person: Annotated[Person, Depends(admin)]
    ) -> PersonView:
        known = {account.person.name: account for account in people.accounts()}.get(name)
        if known is None and change.password is None:
            raise Malformed(f"there is nobody named {name!r}: somebody new needs a password")
        await people.put_account(name, change.role, change.password, person.name)
        if change.disabled != (known is not None and known.disabled):
            await people.disable(name, person.name, disabled=change.disabled)
        (found,) = (account for account in people.accounts() if account.person.name == name)
        return _person(found)


def _tokens(router: APIRouter, people: People, admin: Door) -> None:
    @router.get("/tokens", summary="Tokens of other systems", dependencies=[Depends(admin)])
    def read_tokens() -> list[SystemToken]:
        return [_token(token) for token in people.tokens()]

    @router.post(
        "/tokens/{name}", status_code=201, summary="Issue a token with one role", responses=DENIED
    )
    async def issue_token(
        name: Name, wish: SystemTokenWish, person: Annotated[Person, Depends(admin)]
    ) -> SystemTokenMade:
        token = await people.issue_token(name, wish.role, person.name)
        return SystemTokenMade(name=name, token=token)

    @router.delete("/tokens/{name}", status_code=204, summary="Withdraw a token", responses=DENIED)
    async def revoke_token(name: Name, person: Annotated[Person, Depends(admin)]) -> None:
        await people.revoke_token(name, person.name)


def _person(account: Account) -> PersonView:
    return PersonView(
        name=account.person.name,
        role=account.person.role,
        disabled=account.disabled,
        local=account.local,
        last_ns=account.last_ns,
    )


def _token(token: Token) -> SystemToken:
    return SystemToken(
        name=token.name, role=token.role, made_ns=token.made_ns, last_ns=token.last_ns
    )
