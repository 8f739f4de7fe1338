"""The live console for the service centre: pages that follow the fleet as it changes."""

from cloud.web.console import case, fleet, machine, quarantine, tickets
from cloud.web.ports import Desk
from cloud.web.views import Views

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="8" fill="#0f6e84"/>'
    '<path d="M6 17h5l3-8 4 14 3-6h5" fill="none" stroke="#fff" stroke-width="2.4" '
    'stroke-linecap="round" stroke-linejoin="round"/></svg>'
)


def install(desk: Desk, views: Views) -> None:
    """Register all pages."""
    for page in (fleet, machine, case, tickets, quarantine):
        page.install(desk, views)
