"""The live console for the service centre: pages that follow the fleet as it changes."""

from cloud.web.console import (
    accounts,
    audit,
    case,
    customers,
    endpoints,
    fleet,
    machine,
    playbooks,
    quarantine,
    releases,
    rollout,
    rollout_new,
    rollouts,
    ticket,
    tickets,
    value,
    viewer,
)
from cloud.web.faces import Faces
from cloud.web.rollout_views import RolloutViews
from cloud.web.views import Views

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="8" fill="#0f6e84"/>'
    '<path d="M6 17h5l3-8 4 14 3-6h5" fill="none" stroke="#fff" stroke-width="2.4" '
    'stroke-linecap="round" stroke-linejoin="round"/></svg>'
)


def install(faces: Faces) -> None:
    """Register all pages."""
    viewer.install(faces.people)
    desk, service, views = faces.desk, faces.rollouts, Views(faces.desk)
    for page in (fleet, quarantine):
        page.install(desk, views)
    for about in (case, ticket, tickets):
        about.install(faces, views)
    of_rollouts = RolloutViews(service)
    machine.install(desk, views, service, of_rollouts)
    releases.install(desk, service)
    rollouts.install(desk, of_rollouts)
    rollout_new.install(desk, service)  # before the page whose address takes any number
    rollout.install(desk, of_rollouts, service)
    audit.install(desk, of_rollouts)
    for other in (accounts, customers, endpoints, playbooks, value):
        other.install(faces)
