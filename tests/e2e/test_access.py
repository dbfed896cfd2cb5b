"""Who is let in, judged with foreign tools: PyJWT signs, argon2-cffi hashes, curl asks."""

import json
import os
import subprocess
import time

import argon2
import jwt
import pytest
from conftest import program
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from test_curl import curl

ISSUER, AUDIENCE = "https://issuer.example", "ferry"


KEYS = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "PS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def as_jwk(algorithm):
    """The public key as PyJWT writes it, with its name."""
    key = jwt.get_algorithm_by_name(algorithm).to_jwk(KEYS[algorithm].public_key())
    return {**json.loads(key), "kid": algorithm, "alg": algorithm, "use": "sig"}


def token(algorithm, kid=None, **claims):
    """A token that lives for a minute, unless its claims say otherwise."""
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "batch-7", "iat": now, "exp": now + 60, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(said, KEYS[algorithm], algorithm, headers={"kid": kid or algorithm})


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_of_pyjwt_lets_in_and_goes_no_further(partner, tokenferry, tmp_path, algorithm):
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [as_jwk(algorithm) for algorithm in KEYS]}))
    mine = token(algorithm, scope="openid ferry.use")
    access = f"{{jwt: {{issuer: '{ISSUER}', audience: {AUDIENCE}, jwks: '{jwks}', claims: {{scope: ferry.use}}}}}}"
    proxy = tokenferry(partner.config(access=access), keep_secret=[mine])
    ask = lambda text: curl("-H", f"Authorization: Bearer {text}", proxy.url("/items")).status
    assert ask(mine) == 200
    (call,) = partner.calls()
    assert call.all("authorization") == ["Bearer partner-token-1"]
    assert all(mine not in value for _, value in call.headers)

    scope = {"scope": "ferry.use"}
    for wrong in (
        token(algorithm, scope="ferry.used"),
        token(algorithm),
        token(algorithm, **scope, aud="other"),
        token(algorithm, **scope, iss="https://other.example"),
        token(algorithm, **scope, exp=int(time.time()) - 120),
        token(algorithm, **scope, exp=None),
        token(algorithm, **scope, nbf=int(time.time()) + 600),
        token(algorithm, "unheard-of", **scope),
        token("RS256" if algorithm != "RS256" else "ES256", algorithm, **scope),
        mine[:-6] + "AAAAAA",
        mine.rpartition(".")[0] + ".",
        jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60, **scope}, None, "none"),
    ):
        assert ask(wrong) == 401, wrong
    assert len(partner.calls()) == 1


def test_a_hash_of_argon2_cffi_lets_its_user_in(partner, tokenferry):
    password = "correct horse battery staple"
    phc = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(password)
    proxy = tokenferry(partner.config(access=f"{{users: [{{name: alice, password: '{phc}'}}]}}"), keep_secret=[password, phc])
    assert curl("--user", f"alice:{password}", proxy.url("/")).status == 200
    for wrong in (f"alice:{password} ", f"bob:{password}", f"alice:{phc}", "alice:"):
        assert curl("--user", wrong, proxy.url("/")).status == 401
    answer = curl("--include", proxy.url("/"))
    assert answer.status == 401 and b"www-authenticate: basic realm=" in answer.body.lower()
    (call,) = partner.calls()
    assert call.all("authorization") == ["Bearer partner-token-1"]


def test_hash_password_makes_what_argon2_cffi_verifies():
    done = subprocess.run([program(), "hash-password"], input=b"s3cret\n", capture_output=True, timeout=60, check=True)
    phc = done.stdout.decode().strip()
    assert phc.startswith("$argon2id$") and os.linesep not in phc
    assert argon2.PasswordHasher().verify(phc, "s3cret")
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(phc, "s3cret\n")
