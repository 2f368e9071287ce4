"""Both signatures, verified by other people's code: what a receiver would really run."""

import hashlib
import json
import subprocess
import time
from pathlib import Path

import pytest
import standardwebhooks
import svix.webhooks

from hooks import SECRET, Endpoint, hooked

NEW_SECRET = "whsec_bmV3LXNlY3JldC1vZi1hLXJvdGF0aW9uLTAxMjM="
STRANGE_SECRET = "whsec_c29tZWJvZHktZWxzZS1zLXNlY3JldC0wMTIzNDU2"
APP_KEY, APP_SECRET = "app-key-1", "Y1W2MeFwwwRxa0"
SHA1 = f'app_key = "{APP_KEY}"\napp_secret = "{APP_SECRET}"\n'

ENDPOINTS = {
    "standard": Endpoint("standard"),
    "rotating": Endpoint(
        "rotating", secret=None, settings=f'secret = ["{NEW_SECRET}", "{SECRET}"]'
    ),
    "headers": Endpoint("headers", secret=None, settings=SHA1),
    "query": Endpoint("query", secret=None, settings=f'{SHA1}sha1_in = "query"'),
    "both": Endpoint("both", settings=SHA1),
}


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory):
    """Two requests (one session, its opening and its end) at each endpoint, by its id."""
    with hooked(tmp_path_factory.mktemp("server"), *ENDPOINTS.values()) as server:
        server.client("phone", "älice").close()
        yield {name: each.receiver.wait_for(2) for name, each in ENDPOINTS.items()}


# --- Standard Webhooks ---


def verify_standardwebhooks(secret, request, body=None):
    verifier = standardwebhooks.Webhook(secret)
    return verifier.verify(body or request.body, request.headers)


def verify_svix(secret, request, body=None):
    svix.webhooks.Webhook(secret).verify(body or request.body, request.headers)
    return json.loads(body or request.body)  # it only says whether


def by_node(package):
    def verify(secret, request, body=None):
        """The same library family in its other language."""
        given = {
            "package": package,
            "secret": secret,
            "body": (body or request.body).decode(),
            "headers": request.headers,
        }
        ended = subprocess.run(
            ["node", "verify.mjs"],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            cwd=Path(__file__).parent,
        )
        answer = json.loads(ended.stdout)
        if "refused" in answer:
            raise standardwebhooks.WebhookVerificationError(answer["refused"])
        return answer["event"]

    return verify


VERIFIERS = {
    "python standardwebhooks": verify_standardwebhooks,
    "python svix": verify_svix,
    "node standardwebhooks": by_node("standardwebhooks"),
    "node svix": by_node("svix"),
}
REFUSALS = (standardwebhooks.WebhookVerificationError, svix.webhooks.WebhookVerificationError)


@pytest.fixture(params=VERIFIERS.values(), ids=VERIFIERS.keys())
def verify(request):
    return request.param


@pytest.mark.parametrize("endpoint", ["standard", "both"])
def test_a_standard_signature_is_verified_by_the_published_libraries(deliveries, verify, endpoint):
    request = deliveries[endpoint][0]
    assert verify(SECRET, request) == json.loads(request.body)


@pytest.mark.parametrize("secret", [SECRET, NEW_SECRET], ids=["old secret", "new secret"])
def test_during_a_rotation_either_secret_verifies(deliveries, verify, secret):
    request = deliveries["rotating"][1]
    assert verify(secret, request) == json.loads(request.body)
    assert len(request.headers["webhook-signature"].split()) == 2


def test_a_body_that_was_touched_is_refused(deliveries, verify):
    request = deliveries["standard"][0]
    touched = request.body.replace(b'"status":"0"', b'"status":"1"')
    assert touched != request.body
    with pytest.raises(REFUSALS):
        verify(SECRET, request, touched)


def test_another_secret_is_refused(deliveries, verify):
    with pytest.raises(REFUSALS):
        verify(STRANGE_SECRET, deliveries["standard"][0])


def test_the_signed_id_is_the_events_and_the_time_is_now(deliveries):
    for request in deliveries["standard"]:
        assert request.headers["webhook-id"] == request.event["id"]
        assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 120
        assert request.headers["webhook-signature"].startswith("v1,")


# --- SHA1 ---


def sha1(nonce, timestamp):
    return hashlib.sha1((APP_SECRET + nonce + timestamp).encode()).hexdigest()


def test_this_files_own_sha1_is_the_published_one():
    assert sha1("14314", "1408710653000") == "30be0bbca9c9b2e27578701e9fda2358a814c88f"


def check_sha1(key, nonce, timestamp, signature):
    assert key == APP_KEY
    assert abs(int(timestamp) - time.time() * 1000) < 120_000, "not the time in milliseconds"
    assert signature == sha1(nonce, timestamp)


@pytest.mark.parametrize("endpoint", ["headers", "both"])
def test_the_sha1_signature_in_headers(deliveries, endpoint):
    for request in deliveries[endpoint]:
        names = ("app-key", "nonce", "timestamp", "signature")
        check_sha1(*(request.headers[name] for name in names))
        assert request.target == "/hook"


def test_the_sha1_signature_in_the_query(deliveries):
    for request in deliveries["query"]:
        names = ("appKey", "nonce", "timestamp", "signature")
        check_sha1(*(request.query[name] for name in names))
        assert "signature" not in request.headers
        assert request.target.startswith("/hook?")


def test_a_nonce_is_used_once(deliveries):
    nonces = [request.headers["nonce"] for request in deliveries["headers"]]
    assert len(set(nonces)) == len(nonces)


def test_an_endpoint_has_only_the_signatures_it_was_given(deliveries):
    assert "signature" not in deliveries["standard"][0].headers
    assert "webhook-signature" not in deliveries["headers"][0].headers


def test_every_request_says_that_it_is_json(deliveries):
    for requests in deliveries.values():
        for request in requests:
            assert request.headers["content-type"] == "application/json"
            assert request.head.startswith(b"POST ")
