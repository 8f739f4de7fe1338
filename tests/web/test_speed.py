"""How fast the fleet page is with a thousand machines, in a real browser.

The figures are printed: ``pytest -s tests/web/test_speed.py`` on a calm machine. What is asserted
leaves room for a machine that is busy with other tests.
"""

import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from cloud.web.people_ports import COOKIE
from tests.web.fixture_browser import DESKTOP
from tests.web.fixture_gateway import Gateway, serving

pytestmark = pytest.mark.real

VISITS, CHANGES, OTHERS, WATCHED_S = 7, 12, 4, 5.0
PAINT_S, LAG_S = 1.5, 1.0
"""What is promised on a calm machine."""
BUSY = 10
"""So many times the promise is allowed where others take the processor: what is asserted here is
that nothing has become slower by a factor; the promise itself is read from the printed figures."""
TRIES = 3
NOTE_FIRST_MACHINE = """
new MutationObserver(() => {
  if (window.painted === undefined && document.querySelector(".machine")) {
    window.painted = null;
    requestAnimationFrame(() => setTimeout(() => { window.painted = performance.now(); }));
  }
}).observe(document, {childList: true, subtree: true});
"""
DEVICE = "chiller-0002"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with serving("thousand") as made:
        yield made


def tab(browser: Browser, gateway: Gateway) -> BrowserContext:
    """A browser that has seen nothing yet."""
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]  # as documented
    cookie = {"name": COOKIE, "value": gateway.session, "url": gateway.address}
    context.add_cookies([cookie])  # type: ignore[list-item]  # as documented
    context.add_init_script(NOTE_FIRST_MACHINE)
    context.set_default_timeout(90_000)
    return context


def painted_s(page: Page, gateway: Gateway) -> float:
    """Open the fleet; return when its first machines stood on the screen, from the request on."""
    page.goto(gateway.address)
    page.wait_for_function("typeof window.painted === 'number'")
    return float(page.evaluate("window.painted")) / 1000


def cpu_s(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    load = os.getloadavg()[0]
    return f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}"


def test_a_thousand_machines_are_painted_soon(browser: Browser, gateway: Gateway) -> None:
    cold = tab(browser, gateway)
    page = cold.new_page()
    first_s = painted_s(page, gateway)
    expect(page.get_by_text("1000 of 1000 machines")).to_be_visible()
    expect(page.locator(".square")).to_have_count(1000)
    again = [painted_s(page, gateway) for _ in range(VISITS)]
    cold.close()
    usual_s = statistics.median(again)
    print(  # noqa: T201 (figures for people)
        f"\nfirst machines on the screen: {first_s:.2f} s in a new browser, "
        f"then median {usual_s:.2f} s, worst {max(again):.2f} s ({machine()})"
    )
    assert usual_s <= PAINT_S * BUSY


def test_a_change_is_seen_soon(browser: Browser, gateway: Gateway) -> None:
    context = tab(browser, gateway)
    page = context.new_page()
    page.goto(f"{gateway.address}/?q={DEVICE}")
    expect(page.locator(".machine")).to_have_count(1)
    page.wait_for_timeout(1500)  # connected, and in its beat
    lags = []
    for i in range(CHANGES):
        score = f"0.{11 + i}"
        page.evaluate(
            """score => { window.seen = new Promise(resolve => {
                const look = () => {
                  if (document.querySelector(".machine-foot").textContent.includes(score))
                    resolve(Date.now());
                  else requestAnimationFrame(look);
                };
                look();
            }); return null; }""",
            score,
        )
        sent = time.time()  # noqa: TID251 (the same clock as the browser's)
        gateway.stdin.write(f"{DEVICE} {score}\n")
        gateway.stdin.flush()
        lags.append(float(page.evaluate("window.seen")) / 1000 - sent)
        page.wait_for_timeout(137 * (i % 5))
    context.close()
    print(  # noqa: T201 (figures for people)
        f"\na change is seen after: median {statistics.median(lags):.2f} s, "
        f"worst {max(lags):.2f} s ({machine()})"
    )
    assert statistics.median(lags) <= LAG_S * BUSY


def test_more_browsers_read_the_fleet_no_more_often(browser: Browser, gateway: Gateway) -> None:
    for _ in range(TRIES):  # a gateway that gets no processor spends little on one, or on many
        one, many = spent(browser, gateway, 1), spent(browser, gateway, 1 + OTHERS)
        print(  # noqa: T201 (figures for people)
            f"\nthe gateway spends {one:.0%} of a core on one open fleet of 1000 machines, "
            f"{many:.0%} on {1 + OTHERS} ({machine()})"
        )
        if shared := many < one * (1 + OTHERS) * 0.8 + 0.05:
            break
    assert shared, "each browser costs as much as the first"


def spent(browser: Browser, gateway: Gateway, browsers: int) -> float:
    """Share of a core that the gateway spends on so many open fleets."""
    with ExitStack() as stack:
        for _ in range(browsers):
            context = tab(browser, gateway)
            stack.callback(context.close)
            page = context.new_page()
            page.goto(gateway.address)
            expect(page.locator(".machine").first).to_be_visible()
        time.sleep(2)
        before_s = cpu_s(gateway.pid)
        time.sleep(WATCHED_S)
        return (cpu_s(gateway.pid) - before_s) / WATCHED_S
