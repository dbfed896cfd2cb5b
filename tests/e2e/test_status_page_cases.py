"""The status page in a real browser, before an admin port that says what the test wants."""

import re
import time
import urllib.parse

import pytest
from admin_standin import AdminStandIn, credential, route, stamp, status
from selenium.webdriver.common.keys import Keys

HOSTILE = """"><script>window.broken = 1</script><img src=x onerror="window.broken = 1"> a/b?c#d%2e{{7*7}}"""
VENDOR_SAYS = {
    "class": "refused",
    "code": "invalid_client",
    "message": "the vendor refused the login: it knows no such client, or the secret is wrong",
    "mend": "look at `client_id` and `client_secret` of the credential",
}
PROBLEM = {
    "severity": "error",
    "file": "/etc/tokenferry/proxy.yaml",
    "line": 31,
    "column": 15,
    "path": "routes[0].upstream",
    "message": "`http//api.example` is no URL",
    "mend": "write it as https://HOST/PATH",
    "source": "    upstream: http//api.example/v1",
}
REFUSED = {"at": stamp(), "outcome": "refused", "error": None, "problems": [PROBLEM], "restart_needed": []}
EXCLUSIVE = credential("crewmojo", provider="crewmojo", exclusive=True)


@pytest.fixture
def admin():
    with AdminStandIn() as admin:
        yield admin


def everything_at_once():
    """A status in which as much as possible is wrong."""
    return status(
        credentials=[
            {**EXCLUSIVE, "disturbed": True, "suspect": True, "disturbances": 4},
            credential(
                "partner", state="failing", live=False, last_error=VENDOR_SAYS, retry_in_seconds=42.0, waiting=12
            ),
            credential("crm", state="failing", last_error=VENDOR_SAYS, retry_in_seconds=3.0, failed_logins=2),
            credential("crayon", state="renewing", expires_in_seconds=200),
            credential("sleeper", state="asleep", live=False, expires_in_seconds=None, lifetime_seconds=None),
            credential("key", provider="static", expires_in_seconds=None, lifetime_seconds=None),
        ],
        routes=[
            route("partner", error_share=0.5),
            route(
                "own", upstream=None, credential=None, error_share=None, p50_ms=None, p99_ms=None, requests_per_second=0
            ),
        ],
        reload={**REFUSED, "restart_needed": ["`workers` has changed"], "error": "the disk is full"},
        ready=False,
        ready_when="tokens",
    )


# What is shown


def test_everything_the_proxy_says_is_shown(browser, admin):
    admin.change(
        credentials=[EXCLUSIVE, credential("key", provider="static", expires_in_seconds=None, lifetime_seconds=None)],
        routes=[route("partner"), route("forbidden", upstream=None, credential=None, p50_ms=None, error_share=None)],
        reload={"at": stamp(61), "outcome": "taken", "error": None, "problems": [], "restart_needed": []},
        listeners=["127.0.0.1:8080", "[::1]:8080"],
        store={"kind": "redis"},
    )
    browser.open(admin.url())
    browser.wait_text("#verdict", "All is well: 2 credentials, 2 routes.")
    assert browser.driver.title == f"tokenferry {admin.address}"
    shown = browser.text()
    for text in (
        "version 0.1.0 up 2 h 5 min",
        "File /etc/tokenferry/proxy.yaml Generation 3",
        "taken ",
        "1 min ago",
        "Reloads 3 taken",
        "Listens on 127.0.0.1:8080, [::1]:8080",
        "in redis",
    ):
        assert text in shown
    row = " ".join(browser.row("credentials", "crewmojo").text.split())
    assert re.fullmatch(
        r"crewmojo crewmojo, exclusive live 20 min \d+ s of 30 min 4 3 4 Details of crewmojo Renew crewmojo", row
    ), row
    key = " ".join(browser.row("credentials", "key").text.split())
    assert "never expires" in key and "Renew key" not in key
    row = " ".join(browser.row("routes", "partner").text.split())
    for text in (
        "/partner",
        "https://api.partner.example/v1 with partner",
        "13 1,234 in all",
        "0.2% 2 in all",
        "8.2 ms",
        "95 ms",
    ):
        assert text in row
    spark = browser.row("routes", "partner").find_element("css selector", ".spark")
    assert spark.accessible_name == "8,000 requests, 20 errors, at most 12 a second"
    assert all(path.get_attribute("d") for path in spark.find_elements("css selector", "path"))
    assert "answers by itself" in browser.row("routes", "forbidden").text


def test_what_is_wrong_is_said_in_words_and_shapes_and_in_the_title(browser, admin):
    admin.says = everything_at_once()
    browser.open(admin.url())
    browser.wait_text(
        "#verdict",
        "No token: partner",
        "Answers with errors: partner",
        "The last reload was refused. Generation 3 stays in force.",
        "Renewal fails, the token in hand still serves: crm",
        "Disturbed by others who log in with the same client: crewmojo",
        "Needs a restart:",
        "Not ready:",
    )
    assert browser.driver.title.startswith("✕ 7 problems")
    partner = " ".join(browser.row("credentials", "partner").text.split())
    for text in ("failing, 12 waiting", VENDOR_SAYS["message"], "refused: invalid_client", "Next try in 4"):
        assert text in partner
    shapes = {
        name: browser.row("credentials", name).find_element("css selector", "use").get_attribute("href")
        for name in ("crewmojo", "partner", "crm", "crayon", "sleeper")
    }
    assert shapes == {
        "crewmojo": "#shape-ok",
        "partner": "#shape-bad",
        "crm": "#shape-warn",
        "crayon": "#shape-busy",
        "sleeper": "#shape-idle",
    }
    assert browser.row("routes", "partner").find_element("css selector", "[data-part=many]").is_displayed()
    assert "workers has changed" in browser.text("#restart")
    assert "the disk is full" in browser.text("#found")


def test_a_refused_reload_is_shown_with_its_place_and_mend_until_it_is_mended(browser, admin):
    browser.open(admin.url())
    browser.wait_text("#verdict", "All is well")
    admin.change(reload={**REFUSED, "problems": [PROBLEM, {**PROBLEM, "line": 40, "severity": "warning"}]})
    browser.wait_text(
        "#found",
        "error /etc/tokenferry/proxy.yaml:31:15 routes[0].upstream http//api.example is no URL",
        "31 | upstream: http//api.example/v1 write it as https://HOST/PATH",
        "warning /etc/tokenferry/proxy.yaml:40:15",
    )
    browser.find("#verdict a").click()
    assert browser.run("return document.activeElement.id") == "found"
    admin.change(reload={"at": stamp(), "outcome": "taken", "error": None, "problems": [], "restart_needed": []})
    browser.wait_text("#verdict", "All is well")
    assert not browser.find("#found").is_displayed()


def test_draining_is_said_and_remembered_when_the_proxy_is_gone(browser, admin):
    browser.provoked = ("api/v1/status",)
    admin.change(state="draining", ready=False)
    browser.open(admin.url())
    browser.wait_text("#verdict", "Draining.")
    admin.mode = "cut"
    browser.wait_text("#verdict", "The proxy can't be reached.", "It was draining, so it may have ended as it should.")


def test_what_the_proxy_says_is_text_and_nothing_else(browser, admin):
    admin.says = status(
        version=HOSTILE,
        config={"file": HOSTILE, "generation": 1, "taken": HOSTILE},
        listeners=[HOSTILE],
        store={"kind": HOSTILE},
        reload={
            "at": HOSTILE,
            "outcome": "refused",
            "error": HOSTILE,
            "problems": [{key: HOSTILE for key in PROBLEM} | {"line": 1, "column": 2}],
            "restart_needed": [HOSTILE],
        },
        credentials=[
            credential(
                HOSTILE,
                provider=HOSTILE,
                state=HOSTILE,
                lifetime_source=HOSTILE,
                last_error={key: HOSTILE for key in VENDOR_SAYS},
            )
        ],
        routes=[route(HOSTILE)],
    )
    browser.provoked = ("/refresh",)
    browser.open(admin.url())
    browser.row("credentials", HOSTILE)
    browser.row("routes", HOSTILE)
    browser.button(f"Renew {HOSTILE}").click()
    assert HOSTILE in browser.text("#renew-title")
    browser.find("#renew-yes").click()
    browser.wait(lambda: admin.posted, "the order")
    (path,) = admin.posted
    assert path.count("/") == 5 and not set(path) & set('<>"?# {}')
    assert urllib.parse.unquote(path) == f"/api/v1/credentials/{HOSTILE}/refresh"
    browser.wait_text("#told", f"The token of {HOSTILE} was not renewed: no credential has this name")
    assert browser.run("return window.broken ?? null") is None
    assert len(browser.all("script")) == 1 and browser.all("img") == []


def test_names_that_are_given_twice_are_shown_twice(browser, admin):
    admin.change(routes=[route("same", match="/1"), route("same", match="/2")])
    browser.open(admin.url())
    browser.wait_text("#routes", "/1", "/2")


def test_nothing_configured_is_said(browser, admin):
    admin.change(credentials=[], routes=[])
    browser.open(admin.url())
    browser.wait_text("main", "The configuration names no credential.", "The configuration names no route.")


# How it is kept up to date


def test_a_change_is_written_in_place(browser, admin):
    browser.open(admin.url())
    row = browser.row("credentials", "partner")
    browser.button("Details of partner").click()
    browser.run("arguments[0].mine = true; getSelection().selectAllChildren(arguments[0].querySelector('.name'))", row)
    admin.change(
        credentials=[credential("before"), credential("partner", generation=5, refused=7)],
        routes=[route("partner", requests=4711)],
    )
    browser.wait_text("#routes", "4,711 in all")
    browser.row("credentials", "before")
    row = browser.row("credentials", "partner")
    assert browser.run("return arguments[0].mine", row), "the row was made anew"
    assert "Tokens refused by the upstream 7" in " ".join(row.text.split()), "what was unfolded stays so"
    assert browser.driver.switch_to.active_element.accessible_name == "Details of partner"
    assert browser.run("return getSelection().toString()") == "partner"
    admin.change(credentials=[credential("before")])
    browser.wait(lambda: "partner" not in browser.text("#credentials"), "the row is gone")


def test_the_bar_runs_down_between_two_answers(browser, admin):
    admin.change(credentials=[credential("partner", expires_in_seconds=10.0, lifetime_seconds=10.0)])
    browser.open(admin.url())
    browser.row("credentials", "partner")
    # Every answer says that all of it is left.
    browser.run("""
        window.seen = [];
        const bar = document.querySelector("[data-part=rest]");
        const look = () => seen.push(Number(bar.style.transform.slice(7, -1)));
        new MutationObserver(look).observe(bar, { attributes: true });
        """)
    browser.wait(
        lambda: browser.run("return seen.some((share) => share < 0.95) && seen.some((share) => share > 0.97)"),
        "it runs down, and is set right",
    )


def test_one_question_at_a_time_and_none_while_nobody_looks(browser, admin):
    browser.open(admin.url())
    browser.wait_text("#verdict", "All is well")
    hide = """
        Object.defineProperty(document, "hidden", { value: arguments[0], configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    """
    browser.run(hide, True)
    time.sleep(0.5)
    asked = admin.asked
    time.sleep(3)
    assert admin.asked == asked
    browser.run(hide, False)
    browser.wait(lambda: admin.asked > asked, "it asks again when it is looked at")
    browser.button("Pause").click()
    time.sleep(0.5)
    asked = admin.asked
    time.sleep(3)
    assert (admin.asked, browser.text("#freshness")[:9]) == (asked, "paused at")
    browser.button("Pause").click()
    browser.wait(lambda: admin.asked > asked, "it asks again")


def test_a_lost_proxy_is_said_with_since_when_and_found_again(browser, admin):
    browser.provoked = ("api/v1/status",)
    browser.open(admin.url())
    browser.wait_text("#verdict", "All is well")
    admin.mode = "cut"
    browser.wait_text("#verdict", "The proxy can't be reached.")
    assert re.search(r"What follows is what it said at \d\d:\d\d:\d\d UTC\.", browser.text("#verdict"))
    assert "stale" in browser.find("#data").get_attribute("class")
    assert browser.driver.title.startswith("✕ The proxy can't be reached – ")
    admin.mode = "well"
    browser.wait_text("#verdict", "All is well")
    assert "stale" not in browser.find("#data").get_attribute("class")
    admin.mode = "nonsense"
    browser.wait_text("#verdict", "The proxy's answer is no status.")
    admin.mode = "well"
    browser.button("Try now").click()
    browser.wait_text("#verdict", "All is well")


def test_a_refused_token_is_said_and_not_tried_on_and_on(browser, admin):
    browser.provoked = ("api/v1/status",)
    admin.mode = "unauthorized"
    browser.open(admin.url())
    browser.wait_text("#verdict", "The admin token is needed.", "the password is admin.token of proxy.yaml")
    asked = admin.asked
    time.sleep(5)
    assert admin.asked == asked, "each question would make the browser ask for the password"
    admin.mode = "well"
    browser.button("Try now").click()
    browser.wait_text("#verdict", "All is well")


def test_a_thousand_routes_stay_usable(browser, admin):
    routes = [route(f"service-{i:04}") for i in range(1000)]
    routes[700] = route("the-sick-one", error_share=0.9, errors=900)
    admin.change(routes=routes)
    browser.open(admin.url())
    browser.wait_text("#verdict", "Answers with errors: the-sick-one")
    assert len(browser.all("#route-rows tr")) == 50
    browser.find("#filter").send_keys("0042")
    browser.wait_text("#routes-count", "1 of 1,000")
    assert [row.get_attribute("textContent") for row in browser.all("#routes .name")] == ["service-0042"]
    browser.find("#filter").send_keys("nothing")
    browser.wait_text("main", "No route matches the filter.")
    browser.find("#filter").clear()
    browser.find("#order").send_keys("most errors first")
    browser.wait(
        lambda: browser.run("return document.querySelector('#routes .name').textContent") == "the-sick-one", "the order"
    )
    browser.button("Show all 1,000 routes").click()
    assert len(browser.all("#route-rows tr")) == 1000
    asked = admin.asked
    admin.change(routes=[*routes[:-1], route("the-last-one")])
    browser.row("routes", "the-last-one")
    assert admin.asked > asked


# What is done with it


def test_a_renewal_is_asked_for_told_and_shown(browser, admin):
    admin.answers["/api/v1/credentials/partner/refresh"] = (
        200,
        {"outcome": "renewed", "generation": 5, "expires_in_seconds": 1800.0},
    )
    browser.open(admin.url())
    browser.row("credentials", "partner")
    browser.button("Renew partner").click()
    assert browser.text("#renew-title") == "Renew the token of partner?"
    assert not browser.find("#renew-exclusive").is_displayed()
    browser.button("Cancel").click()
    assert not browser.find("#renew-dialog").is_displayed() and admin.posted == []
    browser.button("Renew partner").click()
    admin.change(credentials=[credential("partner", generation=5)])
    browser.button("Renew now").click()
    browser.wait_text("#told", "The token of partner is renewed: generation 5, good for 30 min.")
    assert admin.posted == ["/api/v1/credentials/partner/refresh"]
    assert browser.find("#told-words").get_attribute("role") == "status"


def test_a_renewal_that_fails_is_told_in_words_with_its_mend(browser, admin):
    browser.provoked = ("/refresh",)
    admin.answers["/api/v1/credentials/partner/refresh"] = (502, {"outcome": "failed", "last_error": VENDOR_SAYS})
    browser.open(admin.url())
    browser.row("credentials", "partner")
    browser.button("Renew partner").click()
    browser.button("Renew now").click()
    browser.wait_text(
        "#told", f"The token of partner was not renewed: {VENDOR_SAYS['message']}. Mend: {VENDOR_SAYS['mend']}"
    )
    browser.button("Dismiss").click()
    assert browser.text("#told") == ""


def test_the_keyboard_is_enough(browser, admin):
    admin.change(credentials=[EXCLUSIVE])
    browser.open(admin.url())
    browser.row("credentials", "crewmojo")
    for name in ("Pause", "Reload configuration", "Details of crewmojo", "Renew crewmojo"):
        browser.tab_to(name)
    outline = browser.run(
        "const style = getComputedStyle(document.activeElement); return [style.outlineStyle, style.outlineWidth]"
    )
    assert outline == ["solid", "2px"], "where the focus is can be seen"
    browser.press(Keys.ENTER)
    assert browser.find("#renew-dialog").is_displayed()
    assert "the new token kills the present one" in browser.text("#renew-dialog")
    assert browser.find("#renew-exclusive").is_displayed()
    assert browser.driver.switch_to.active_element.accessible_name == "Cancel", "the harmless one comes first"
    browser.press(Keys.ESCAPE)
    browser.wait(lambda: not browser.find("#renew-dialog").is_displayed(), "Escape closes")
    assert browser.driver.switch_to.active_element.accessible_name == "Renew crewmojo", "back where one was"
    assert admin.posted == []
    browser.press(Keys.ENTER)
    admin.answers["/api/v1/credentials/crewmojo/refresh"] = (
        200,
        {"outcome": "renewed", "generation": 6, "expires_in_seconds": None},
    )
    browser.tab_to("Renew now")
    browser.press(Keys.ENTER)
    browser.wait_text("#told", "The token of crewmojo is renewed: generation 6.")
    assert browser.driver.switch_to.active_element.accessible_name == "Renew crewmojo"


@pytest.mark.parametrize(
    ("code", "body", "told"),
    [
        (
            200,
            {"outcome": "taken", "generation": 4, "problems": [], "restart_needed": []},
            "The configuration is taken: generation 4.",
        ),
        (
            200,
            {"outcome": "unchanged", "generation": 3, "problems": [], "restart_needed": []},
            "Nothing has changed: generation 3 stays in force.",
        ),
        (
            200,
            {"outcome": "taken", "generation": 4, "problems": [PROBLEM], "restart_needed": ["`workers` has changed"]},
            "generation 4. Part of it needs a restart. 1 warning, shown under Configuration.",
        ),
        (
            422,
            {"outcome": "refused", "problems": [PROBLEM]},
            "The configuration was not taken: 1 problem, shown under Configuration.",
        ),
        (
            422,
            {"outcome": "refused", "problems": [], "error": "the disk is full"},
            "The configuration was not taken: the disk is full",
        ),
        (
            503,
            {"title": "Draining", "detail": "the proxy is draining"},
            "The configuration was not taken: the proxy is draining",
        ),
    ],
)
def test_a_reload_gets_its_verdict(browser, admin, code, body, told):
    browser.provoked = ("/reload",)
    admin.answers["/api/v1/reload"] = (code, body)
    browser.open(admin.url())
    browser.wait_text("#verdict", "All is well")
    browser.button("Reload configuration").click()
    browser.wait_text("#told", told)


# Who can read it


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_whatever_is_said(browser, admin, scheme):
    browser.provoked = ("api/v1/status", "/refresh")
    browser.prefer(prefers_color_scheme=scheme)
    for says in (status(), everything_at_once()):
        admin.says = says
        browser.open(admin.url())
        browser.row("routes", "partner")
        browser.button("Details of partner").click()
        assert browser.faint() == []
        browser.button("Renew partner").click()
        assert browser.faint() == []
        browser.find("#renew-yes").click()
        browser.wait_text("#told", "was not renewed")
        assert browser.faint() == []
    grounds = {"light": "rgb(245, 246, 248)", "dark": "rgb(14, 18, 23)"}
    assert browser.run("return getComputedStyle(document.documentElement).backgroundColor") == grounds[scheme]
    admin.mode = "cut"
    browser.wait_text("#verdict", "can't be reached")
    assert browser.faint() == []


def nothing_breaks():
    """A status in which every word is wider than a telephone."""
    long = "unbroken" * 20
    fault = {key: long for key in VENDOR_SAYS}
    problem = {key: long for key in PROBLEM} | {"line": 1, "column": 2}
    reload = {"at": stamp(), "outcome": "refused", "error": long, "problems": [problem], "restart_needed": [long]}
    return status(
        version=long,
        config={"file": long, "generation": 1, "taken": stamp()},
        listeners=[long],
        reload=reload,
        credentials=[
            credential(long, exclusive=True, provider=long, state=long, lifetime_source=long, last_error=fault)
        ],
        routes=[route(long, error_share=0.5, requests=10**12, errors=10**11, requests_per_second=10**6, p99_ms=10**6)],
    )


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_needs_scrolling_sideways(browser, admin, width):
    browser.resize(width)
    for says in (status(routes=[route(f"service-{i:04}") for i in range(30)]), everything_at_once(), nothing_breaks()):
        admin.says = says
        browser.open(admin.url())
        browser.wait(lambda: browser.all("#route-rows tr"), "routes")
        assert browser.wide() <= width
        browser.find("[data-part=more-button]").click()
        browser.find("[data-part=renew]").click()
        assert browser.wide() <= width


def test_names_roles_and_landmarks_are_there_for_who_does_not_see_it(browser, admin):
    admin.says = {**everything_at_once(), "routes": [route(f"service-{i:04}") for i in range(21)]}
    browser.open(admin.url())
    browser.row("routes", "service-0000")

    def nameless(within):
        named = browser.all(
            ", ".join(
                f"{within} {what}" for what in ("button", "a", "input", "select", "table", "section", "[role=img]")
            )
        )
        assert len(named) > 1
        return [one.get_attribute("outerHTML")[:80] for one in named if one.is_displayed() and not one.accessible_name]

    assert nameless("body") == []
    assert (
        browser.run(
            "return [...document.querySelectorAll('th')].filter((th) => !['col', 'row'].includes(th.scope)).length"
        )
        == 0
    )
    ids = browser.run("return [...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    assert browser.run("return document.documentElement.lang") == "en"
    for selector in ("header", "main", "footer", "h1", "noscript"):
        assert len(browser.all(f"body > {selector}, body > header > {selector}")) == 1, selector
    # What speaks by itself: the verdict and the outcome of a deed, and neither holds a clock.
    speaking = browser.all("[role=status], [role=alert], [aria-live]")
    assert [one.get_attribute("role") for one in speaking] == ["status"] * 3
    browser.find("[data-part=renew]").click()
    assert browser.find("#renew-dialog").accessible_name == "Renew the token of crewmojo?"
    assert nameless("#renew-dialog") == []
    inline = "return document.querySelectorAll('[style]:not([data-part=rest]), style').length"
    assert browser.run(inline) == 0


def test_who_wants_no_motion_gets_none(browser, admin):
    read = "return getComputedStyle(document.querySelector('[data-part=rest]')).transitionDuration"
    browser.open(admin.url())
    browser.row("credentials", "partner")
    assert browser.run(read) == "1s"
    browser.prefer(prefers_reduced_motion="reduce")
    assert browser.run(read) == "0s"
