"""What one case sees of the others."""

from msgspec import structs

from cloud.core import case as life
from cloud.core.fleet import view
from cloud.core.limits import Fleet, Limits
from cloud.core.states import Case
from contract.commands import AnswerStatus
from tests.core.scenes import Scene, fixing, ns, verifying


def other(case: Case, number: int, **fields: object) -> Case:
    return structs.replace(case, case_id=f"other-{number}", device=f"pump-{number}", **fields)


def seen(case: Case, *others: Case, at_s: float = 600) -> Fleet:
    return view(case, [case, *others], 40, Limits(), ns(at_s))


def test_the_case_itself_is_one_sick_machine() -> None:
    case = Scene("restart").case
    assert (seen(case).sick_of_type, seen(case).machines_of_type) == (1, 40)
    assert view(case, [], 40, Limits(), ns(1)) == view(case, [case], 40, Limits(), ns(1))


def test_a_storm_counts_open_cases_of_the_type_begun_within_the_window() -> None:
    case = Scene("restart").case
    ended = Scene("restart")
    ended.feed(life.Dismissed("Ada"), 10)
    fleet = seen(
        case,
        other(case, 1),
        other(case, 2, opened_ns=ns(600 - 901)),
        other(case, 3, machine_type="chiller"),
        other(ended.case, 4),
    )
    assert fleet.sick_of_type == 2


def test_remedies_under_way_count_by_site() -> None:
    case = Scene("restart").case
    fleet = seen(
        case,
        other(fixing("restart").case, 1),
        other(verifying("restart").case, 2),
        other(fixing("restart").case, 3, site="south"),
        other(case, 4),
    )
    assert fleet.in_flight_at_site == 2
    assert seen(fixing("restart").case).in_flight_at_site == 0


def test_what_acted_on_the_device_today_counts_over_all_its_cases() -> None:
    refused = fixing("restart")
    refused.answer(130, AnswerStatus.REFUSED)
    acted = structs.replace(verifying("restart").case, case_id="earlier")
    stranger = other(verifying("restart").case, 7)
    assert seen(refused.case, stranger).tried == []
    [tried] = seen(refused.case, acted).tried
    assert (tried.remedy, tried.fault, tried.at_ns) == ("restart", "cavitation", ns(120))
    assert seen(refused.case, acted, at_s=120 + 24 * 3600).tried == []
