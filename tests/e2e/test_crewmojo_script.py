"""A script for Crewmojo's API as the vendor's documentation has it, with another base URL."""

import pytest
import requests
from standins import Crewmojo


class Script:
    """Logs in before every call, which the vendor calls "a valid access methodology"."""

    def __init__(self, base):
        self.base = base

    def token(self):
        answer = requests.post(
            f"{self.base}/oauth/token",
            json={"grant_type": "client_credentials", "client_id": "script-client", "client_secret": "script-secret"},
            timeout=20,
        )
        answer.raise_for_status()
        assert answer.json()["token_type"] == "Bearer"
        return answer.json()["access_token"]

    def call(self, path, **body):
        headers = {"Authorization": f"Bearer {self.token()}", **body.pop("headers", {})}
        return requests.post(f"{self.base}{path}", headers=headers, timeout=20, **body)

    def upload(self, csv):
        return self.call("/integrations/upload/humans", data=csv, headers={"Content-Type": "text/csv"})

    def download(self, report):
        asked = {"startDate": 20240101, "endDate": 20241231, "contentType": "json"}
        return self.call(f"/integrations/download/{report}", json=asked)


@pytest.fixture
def vendor():
    with Crewmojo() as vendor:
        yield vendor


@pytest.fixture
def script(vendor, tokenferry):
    config = f"""
listeners:
  - address: 127.0.0.1:0
credentials:
  crewmojo:
    provider: crewmojo
    token_url: {vendor.url(Crewmojo.token_path)}
    client_id: ${{CREWMOJO_CLIENT_ID}}
    client_secret: ${{CREWMOJO_CLIENT_SECRET}}
routes:
  - name: crewmojo
    match: {{path: /crewmojo}}
    upstream: {vendor.url("/v1")}
    credential: crewmojo
"""
    environment = {"CREWMOJO_CLIENT_ID": Crewmojo.client_id, "CREWMOJO_CLIENT_SECRET": Crewmojo.client_secret}
    proxy = tokenferry(config, environment, keep_secret=[Crewmojo.client_secret, "crewmojo-token-", "script-secret"])
    return Script(proxy.url("/crewmojo"))


CSV = "code,name,email\nE1,Ann,ann@example.com\nE2,Bo,bo@example.com\n"


def test_the_script_logs_in_through_the_proxy_and_its_upload_arrives_with_the_operators_token(script, vendor):
    uploaded = script.upload(CSV)
    assert (uploaded.status_code, uploaded.json()) == (200, {"success": True, "rows": 2})
    (call,) = vendor.calls()
    assert call.one("authorization") == "Bearer crewmojo-token-1"
    assert call.body.decode() == CSV


def test_a_login_before_every_call_does_not_kill_the_shared_token(script, vendor):
    for _ in range(4):
        report = script.download("oneonone.summary")
        assert report.json() == [{"employee": "E1", "from": 20240101, "to": 20241231}]
    assert len(vendor.logins()) == 1
    assert {call.one("authorization") for call in vendor.calls()} == {"Bearer crewmojo-token-1"}


def test_a_token_that_somebody_elses_login_killed_is_replaced_and_the_upload_sent_again(script, vendor):
    assert script.upload(CSV).status_code == 200
    vendor.revoke_all()
    again = script.upload(CSV)
    assert (again.status_code, again.json()["rows"]) == (200, 2)
    assert vendor.calls()[-1].one("authorization") == "Bearer crewmojo-token-2"
    assert vendor.calls()[-1].body.decode() == CSV
    assert len(vendor.logins()) == 2


def test_the_vendors_refusal_of_bad_data_reaches_the_script_as_it_is(script):
    answer = script.call("/integrations/download/unknown", json={})
    assert answer.status_code == 400
    assert answer.json() == {"success": "false", "httpErrorCode": 400, "errorMessage": "Invalid data received"}
