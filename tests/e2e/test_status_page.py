"""The status page of the built binary in a real browser. What it does with rarer answers: test_status_page_cases.py."""

import concurrent.futures
import signal
import threading

import pytest
import requests
from admin_standin import FILES, PAGE, POLICY
from standins import Crewmojo, Partner

TOKEN = "an-admin-token-of-the-test-0123456789"


class Slow(Partner):
    """Answers to /slow come when they are let."""

    def __init__(self):
        self.let = threading.Event()
        self.asked = threading.Event()
        super().__init__()

    def _serve(self, handler):
        # Before the stand-in's lock is taken: others are served meanwhile.
        if handler.path.startswith("/slow"):
            self.asked.set()
            self.let.wait(60)
        super()._serve(handler)


@pytest.fixture
def partner():
    with Slow() as partner:
        yield partner
        partner.let.set()


@pytest.fixture
def crewmojo():
    with Crewmojo() as crewmojo:
        yield crewmojo


def config(partner, crewmojo, token=None, more=""):
    """The proxy before two vendors, with an admin port."""
    return f"""
listeners:
  - address: 127.0.0.1:0
admin:
  address: 127.0.0.1:0
{f"  token: {token}" if token else ""}
credentials:{partner.credential()}
  crewmojo:
    provider: crewmojo
    token_url: {crewmojo.url(crewmojo.token_path)}
    client_id: {crewmojo.client_id}
    client_secret: {crewmojo.client_secret}
routes:
  - name: partner
    match: {{path: /partner}}
    upstream: {partner.url()}
    credential: partner
  - name: crewmojo
    match: {{path: /crewmojo}}
    upstream: {crewmojo.url("/v1")}
    credential: crewmojo
{more}"""


SECRETS = (Partner.client_secret, Crewmojo.client_secret, "partner-token-", "crewmojo-token-", TOKEN)


@pytest.fixture
def proxy(tokenferry, partner, crewmojo):
    return tokenferry(config(partner, crewmojo), keep_secret=SECRETS, admin=True)


def upload(proxy):
    """A request with Crewmojo's token; its status."""
    url = proxy.url("/crewmojo/integrations/upload/humans")
    return requests.post(url, data="name\nAnn\n", headers={"Content-Type": "text/csv"}, timeout=30).status_code


def generation(browser, name):
    return browser.row("credentials", name).find_element("css selector", "[data-part=generation]").text


def test_it_shows_the_proxy_and_what_passes_through_it(browser, proxy):
    browser.open(proxy.admin_url())
    browser.wait_text("#verdict", "All is well: 2 credentials, 2 routes.")
    browser.wait_text("section", f"File {proxy.config}", "Generation 1", f"Listens on {proxy.address}", "in memory")
    assert "asleep" in browser.row("credentials", "partner").text
    for _ in range(3):
        assert requests.get(proxy.url("/partner/items"), timeout=30).status_code == 200
    browser.wait(lambda: "live" in browser.row("credentials", "partner").text, "the token is live")
    browser.wait(lambda: "3 in all" in browser.row("routes", "partner").text, "the requests are counted")
    assert generation(browser, "partner") == "1"
    assert "of 1 h" in browser.row("credentials", "partner").text
    shown = browser.driver.page_source + requests.get(proxy.admin_url("/api/v1/status"), timeout=30).text
    assert [secret for secret in SECRETS if secret in shown] == []


def test_the_files_are_the_ones_in_the_source_and_their_policy_is_strict(proxy):
    for path, (file, media_type) in FILES.items():
        answer = requests.get(proxy.admin_url(path), timeout=30)
        assert (answer.status_code, answer.content) == (200, (PAGE / file).read_bytes())
        assert answer.headers["Content-Type"].partition(";")[0] == media_type.partition(";")[0]
    policy = requests.get(proxy.admin_url(), timeout=30).headers["Content-Security-Policy"]
    assert sorted(part.strip() for part in policy.split(";")) == sorted(part.strip() for part in POLICY.split(";"))


def test_a_token_that_is_renewed_elsewhere_shows_by_itself(browser, proxy, partner):
    assert requests.get(proxy.url("/partner/items"), timeout=30).status_code == 200
    browser.open(proxy.admin_url())
    browser.wait(lambda: generation(browser, "partner") == "1", "generation 1")
    partner.revoke_all()
    assert requests.get(proxy.url("/partner/items"), timeout=30).status_code == 200
    browser.wait(lambda: generation(browser, "partner") == "2", "generation 2")


def test_an_exclusive_token_is_renewed_by_the_button_after_a_warning(browser, proxy, crewmojo):
    assert upload(proxy) == 200
    browser.open(proxy.admin_url())
    browser.wait(lambda: generation(browser, "crewmojo") == "1", "generation 1")
    browser.button("Renew crewmojo").click()
    assert "the new token kills the present one" in browser.text("#renew-dialog")
    assert len(crewmojo.logins()) == 1
    browser.button("Renew now").click()
    browser.wait_text("#told", "The token of crewmojo is renewed: generation 2, good for ")
    browser.wait(lambda: generation(browser, "crewmojo") == "2", "generation 2")
    assert crewmojo.living == {"crewmojo-token-2"}
    assert upload(proxy) == 200
    assert len(crewmojo.logins()) == 2


def test_a_vendor_that_refuses_is_shown_in_words_until_it_gives_in(browser, proxy, partner):
    browser.provoked = ("/refresh",)
    secret, partner.client_secret = partner.client_secret, "another"
    browser.open(proxy.admin_url())
    browser.row("credentials", "partner")
    browser.button("Renew partner").click()
    browser.button("Renew now").click()
    browser.wait_text("#told", "The token of partner was not renewed: ")
    browser.wait_text("#verdict", "No token: partner")
    row = browser.row("credentials", "partner")
    browser.wait(
        lambda: "failing" in row.text and "Next try in" in row.text and "invalid_client" in row.text, "the failure"
    )
    partner.client_secret = secret
    browser.button("Renew partner").click()
    browser.button("Renew now").click()
    browser.wait_text("#told", "The token of partner is renewed: generation 1")
    browser.wait_text("#verdict", "All is well")


def test_a_reload_that_fails_shows_where_and_goes_when_it_is_mended(browser, proxy, partner, crewmojo):
    browser.provoked = ("/reload",)
    browser.open(proxy.admin_url())
    browser.wait_text("#verdict", "All is well")
    text = config(partner, crewmojo, more="    timeuots: {response: 90s}\n")
    line = text.splitlines().index("    timeuots: {response: 90s}") + 1
    # Noticed by itself: the file is watched.
    proxy.config.write_text(text, encoding="utf-8")
    browser.wait_text("#verdict", "The last reload was refused. Generation 1 stays in force.")
    browser.wait_text("#found", f"proxy.yaml:{line}:5", "timeuots", "timeouts", f"{line} | timeuots: ")
    browser.button("Reload configuration").click()
    browser.wait_text("#told", "The configuration was not taken: 1 problem")
    proxy.config.write_text(text.replace("timeuots", "timeouts"), encoding="utf-8")
    browser.wait_text("#verdict", "All is well")
    browser.wait_text("section", "Generation 2", "taken")
    assert not browser.find("#found").is_displayed()
    browser.button("Reload configuration").click()
    browser.wait_text("#told", "Nothing has changed: generation 2 stays in force.")


def test_with_the_token_as_password_the_page_works(browser, tokenferry, partner, crewmojo):
    proxy = tokenferry(config(partner, crewmojo, token=TOKEN), keep_secret=SECRETS, admin=True)
    assert requests.get(proxy.admin_url(), timeout=30).status_code == 401
    browser.open(f"http://operator:{TOKEN}@{proxy.admin_address}/")
    browser.wait_text("#verdict", "All is well")
    browser.button("Reload configuration").click()
    browser.wait_text("#told", "Nothing has changed: generation 1 stays in force.")


def test_draining_is_shown_and_the_end_is_told_from_a_fault(browser, proxy, partner):
    browser.provoked = ("api/v1/status",)
    browser.open(proxy.admin_url())
    browser.wait_text("#verdict", "All is well")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(requests.get, proxy.url("/partner/slow"), timeout=60)
        assert partner.asked.wait(30)
        proxy.process.send_signal(signal.SIGTERM)
        browser.wait_text("#verdict", "Draining.")
        partner.let.set()
        assert slow.result().status_code == 200
    assert proxy.process.wait(30) == 0
    browser.wait_text("#verdict", "The proxy can't be reached.", "It was draining")
