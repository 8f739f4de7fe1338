"""What the web stands on: the service, by what it is asked for."""

from msgspec import Struct

from cloud.web.customer_ports import Customers
from cloud.web.hook_ports import Hooks
from cloud.web.people_ports import People
from cloud.web.ports import Desk
from cloud.web.rollout_ports import DdiDesk, Rollouts
from cloud.web.value_ports import Value


class Faces(Struct, frozen=True):
    """The service, by what it is asked for."""

    desk: Desk
    rollouts: Rollouts
    ddi: DdiDesk
    people: People
    hooks: Hooks
    value: Value
    customers: Customers
