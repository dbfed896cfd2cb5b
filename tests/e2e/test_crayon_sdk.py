"""Crayon's Python SDK, unchanged but for where it finds the API.

The SDK logs in by itself, before every call (its expiry test is inverted), with credentials of its own. The proxy answers
those logins; the vendor sees one, the operator's.
"""

import pytest
from cloudiq import CloudIQ
from standins import Crayon


@pytest.fixture
def vendor():
    with Crayon() as vendor:
        yield vendor


@pytest.fixture
def sdk(vendor, tokenferry):
    config = f"""
listeners:
  - address: 127.0.0.1:0
credentials:
  crayon:
    provider: crayon
    token_url: {vendor.url(Crayon.token_path + "/")}
    client_id: ${{CRAYON_CLIENT_ID}}
    client_secret: ${{CRAYON_CLIENT_SECRET}}
    username: ${{CRAYON_USERNAME}}
    password: ${{CRAYON_PASSWORD}}
routes:
  - name: crayon
    match: {{path: /crayon}}
    upstream: {vendor.url("/api/v1")}
    credential: crayon
"""
    environment = {
        "CRAYON_CLIENT_ID": Crayon.client_id,
        "CRAYON_CLIENT_SECRET": Crayon.client_secret,
        "CRAYON_USERNAME": Crayon.username,
        "CRAYON_PASSWORD": Crayon.password,
    }
    keep_secret = [Crayon.client_secret, Crayon.password, "crayon-token-", "legacy-secret", "legacy-password"]
    proxy = tokenferry(config, environment, keep_secret=keep_secret)
    # What the legacy script has always had, and nothing the vendor would take any more.
    sdk = CloudIQ("legacy-id", "legacy-secret", "legacy@example.com", "legacy-password")
    sdk.baseURL = proxy.url("/crayon")
    return sdk


def test_the_sdk_gets_its_answers_with_the_operators_token_and_never_sees_it(sdk, vendor):
    me = sdk.me()
    assert (me.status_code, me.json()["UserName"]) == (200, Crayon.username)
    organizations = sdk.getOrganizations()
    assert organizations.json() == {"Items": [{"Id": 4711, "Name": "Acme"}], "TotalHits": 1}

    assert [call.one("authorization") for call in vendor.calls()] == ["Bearer crayon-token-1"] * 2
    assert sdk.tokenData["AccessToken"] not in vendor.living


def test_the_sdks_own_logins_are_answered_by_the_proxy_and_the_vendor_sees_one(sdk, vendor):
    for _ in range(5):
        assert sdk.me().status_code == 200
    assert len(vendor.logins()) == 1
    assert vendor.logins()[0].one("authorization") != "Basic bGVnYWN5LWlkOmxlZ2FjeS1zZWNyZXQ="
    assert sdk.tokenData["TokenType"] == "Bearer"
    assert int(sdk.tokenData["ExpiresIn"]) > 0


def test_the_sdk_can_create_and_delete(sdk, vendor):
    created = sdk.createClient({"ClientName": "billing", "Status": 1})
    assert created.json() == {"ClientId": "new", "ClientName": "billing", "Status": 1}
    assert sdk.deleteAssetTag(12).status_code == 204
    assert [call.method for call in vendor.calls()] == ["POST", "DELETE"]


def test_a_token_revoked_at_the_vendor_is_replaced_unseen_by_the_sdk(sdk, vendor):
    assert sdk.me().status_code == 200
    vendor.revoke_all()
    created = sdk.createClient({"ClientName": "after"})
    assert (created.status_code, created.json()["ClientName"]) == (200, "after")
    assert vendor.calls()[-1].one("authorization") == "Bearer crayon-token-2"
    assert len(vendor.logins()) == 2


def test_the_vendors_own_errors_reach_the_sdk_as_they_are(sdk):
    answer = sdk.get(sdk.baseURL + "/Nothing", {"page": "1"})
    assert answer.status_code == 404
    assert answer.json()["Message"] == "/api/v1/Nothing?page=1"


def test_a_call_that_needs_no_token_works_too(sdk):
    assert sdk.ping().json()["Environment"] == "stand-in"
