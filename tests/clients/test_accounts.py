"""Who comes in by what: hashes and tokens, rules, quotas, and what guessing comes to."""

import http.server
import json
import os
import signal
import subprocess
import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness import BINARY, KEY, ORG, Server, wait_until
from hooks import SECRET as HOOK_SECRET
from receiver import Receiver
from wire import (
    DISCONNECT,
    PINGRESP,
    PUBACK,
    PUBLISH,
    RawClient,
    Will,
    connect,
    packet,
    properties,
    session_expiry,
    string,
)

HS_SECRET = "0123456789abcdef0123456789abcdef"
TOKEN_KEY = "sk_test_ffeeddccbbaa99887766554433221100"
KEYS = [TOKEN_KEY]
SUCCESS, BAD_PASSWORD, NOT_AUTHORIZED, QUOTA, RATE = 0x00, 0x86, 0x87, 0x97, 0x9F
EXPIRED = 0xA0

SIGNERS = {
    "HS256": HS_SECRET,
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public_jwk(name, key_id):
    maker = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}
    maker = maker.get(name, jwt.algorithms.OKPAlgorithm)
    jwk = json.loads(maker.to_jwk(SIGNERS[name].public_key()))
    return jwk | {"kid": key_id, "use": "sig"}


def pem(name):
    return (
        SIGNERS[name]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def token(algorithm, user="carol", lifetime_secs=600, key_id=None, **claims):
    claims = {"sub": user, "exp": time.time() + lifetime_secs} | claims
    headers = {"kid": key_id} if key_id else None
    return jwt.encode(claims, SIGNERS[algorithm], algorithm=algorithm, headers=headers)


class KeyServer:
    """A JWK set at a URL, which can change and which counts who asks."""

    def __init__(self, *keys):
        self.keys, self.asked = list(keys), 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                body = json.dumps({"keys": outer.keys}).encode()
                self.send_response(200 if outer.keys else 500)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def hash_of(password):
    command = [BINARY, "hash-password"]
    return subprocess.run(
        command, input=password, capture_output=True, text=True, check=True
    ).stdout.strip()


def org(text, key=TOKEN_KEY):
    return f'[[org]]\nid = "org_t"\nsecret_keys = ["{key}"]\n{text}\n'


def code(server, client_id, user, password, **how):
    """The reason code of CONNACK; the connection is closed again."""
    client = RawClient(server.mqtt_port)
    try:
        return client.login(client_id, user, password, 5, **how)[1]
    finally:
        client.close()


@pytest.mark.parametrize("name", SIGNERS)
def test_a_token_of_each_algorithm_lets_in(tmp_path, name):
    key = f'secret = "{HS_SECRET}"' if name == "HS256" else f'public_key = """{pem(name)}"""'
    with Server(tmp_path, org(f"[[org.jwt]]\n{key}")) as server:
        right = token(name, name="Carol Ng")
        client = RawClient(server.mqtt_port)
        assert client.login("c", "carol@org_t", right, 5)[1] == SUCCESS
        (row,) = server.presence(TOKEN_KEY)["users"]
        assert (row["username"], row["display_name"]) == ("carol", "Carol Ng")
        client.close()
        assert code(server, "c", "@org_t", right) == SUCCESS
        assert code(server, "c", "dave@org_t", right) == BAD_PASSWORD
        assert code(server, "c", "carol@org_t", token(name, lifetime_secs=-60)) == BAD_PASSWORD
        head, _, _ = right.rpartition(".")
        assert code(server, "c", "carol@org_t", f"{head}.AAAA") == BAD_PASSWORD
        unsigned = jwt.encode({"sub": "carol"}, None, algorithm="none")
        assert code(server, "c", "carol@org_t", unsigned) == BAD_PASSWORD


def test_keys_are_fetched_and_a_new_one_is_looked_up_at_most_now_and_then(tmp_path):
    limits = "[accounts]\njwks_allow_addresses = ['127.0.0.0/8']\njwks_retry_secs = 1\nguess_user_max = 0\n"
    with KeyServer(public_jwk("RS256", "one")) as keys:
        settings = limits + org(f'[[org.jwt]]\njwks_url = "{keys.url}"')
        with Server(tmp_path, settings) as server:
            login = lambda name, key_id: code(
                server, "c", "carol@org_t", token(name, key_id=key_id)
            )
            assert login("RS256", "one") == SUCCESS
            asked = keys.asked
            assert all(login("RS256", "one") == SUCCESS for _ in range(20))
            assert keys.asked == asked, "keys at hand are not fetched again"
            keys.keys.append(public_jwk("ES256", "two"))
            time.sleep(1.1)
            assert login("ES256", "two") == SUCCESS, "it waited for the new keys"
            asked, began = keys.asked, time.monotonic()
            for _ in range(10):
                assert login("ES256", "unheard-of") == BAD_PASSWORD
            assert keys.asked <= asked + 1 + (time.monotonic() - began)
            keys.keys.clear()
            time.sleep(1.1)
            assert login("EdDSA", "three") == BAD_PASSWORD
            assert login("RS256", "one") == SUCCESS, "what was fetched outlives a failure"
            assert server.metric("token_key_fetch_failures_total") >= 1


def test_a_key_that_was_taken_back_counts_no_more_after_a_sighup(tmp_path):
    limits = "[accounts]\njwks_allow_addresses = ['127.0.0.0/8']\nguess_user_max = 0\n"
    with KeyServer(public_jwk("RS256", "one")) as keys:
        settings = limits + org(f'[[org.jwt]]\njwks_url = "{keys.url}"')
        with Server(tmp_path, settings) as server:
            right = token("RS256", key_id="one")
            assert code(server, "c", "carol@org_t", right) == SUCCESS
            keys.keys[:] = [public_jwk("ES256", "two")]
            assert code(server, "c", "carol@org_t", right) == SUCCESS, "until it is asked"
            os.kill(server.pid, signal.SIGHUP)
            wait_until(
                lambda: code(server, "c", "carol@org_t", right) == BAD_PASSWORD,
                "the keys have been read again",
            )


def test_a_session_ends_with_its_token_and_the_webhook_says_why(tmp_path):
    with Receiver() as receiver:
        settings = "[webhook]\nallow_addresses = ['127.0.0.0/8']\n" + org(
            f'[[org.jwt]]\nsecret = "{HS_SECRET}"\nleeway_secs = 0\n'
            f'[[org.webhook]]\nid = "main"\nurl = "{receiver.url}"\n'
            f'secret = "{HOOK_SECRET}"\npayload = "extended"'
        )
        with Server(tmp_path, settings) as server:
            client = RawClient(server.mqtt_port)
            begun = time.time()
            passed = token("HS256", lifetime_secs=2)
            assert client.login("c", "carol@org_t", passed, 5)[1] == SUCCESS
            last = client.packets_until_closed()
            assert 1 <= time.time() - begun < 5
            assert [(each.kind, each.body[0]) for each in last] == [(DISCONNECT, EXPIRED)]
            server.wait_for_client_ids(key=TOKEN_KEY)
            wait_until(lambda: len(receiver.requests) == 2, "both events came")
            reasons = [each.data.get("reason") for each in receiver.requests]
            assert reasons[-1] == "credentials_expired", reasons


def test_with_a_token_ends_neither_what_was_stored_nor_the_will(tmp_path):
    issuer = f'[[org.jwt]]\nsecret = "{HS_SECRET}"\nleeway_secs = 0'
    with Server(tmp_path, org(issuer)) as server:
        hearing = RawClient(server.mqtt_port)
        assert hearing.login("hearing", "dave@org_t", token("HS256", "dave"), 5)[1] == SUCCESS
        hearing.subscribe("gone/#", qos=1)
        device = RawClient(server.mqtt_port)
        stored = {"clean": False, "props": session_expiry(3600)}
        brief, will = token("HS256", lifetime_secs=2), Will("gone/carol", b"gone", 1)
        assert device.login("device", "carol@org_t", brief, 5, will=will, **stored)[1] == SUCCESS
        device.subscribe("to/carol", qos=1)
        hearing.hand_over("to/carol", b"before")
        sent, goodbye = device.packets_until_closed()
        assert (sent.kind, goodbye.kind, goodbye.body[0]) == (PUBLISH, DISCONNECT, EXPIRED)
        assert hearing.take_message().payload == b"gone"
        hearing.hand_over("to/carol", b"after")
        device = RawClient(server.mqtt_port)
        assert device.login("device", "carol@org_t", brief, 5, **stored)[1] == BAD_PASSWORD
        device = RawClient(server.mqtt_port)
        assert device.login("device", "carol@org_t", token("HS256"), 5, **stored)[1] == SUCCESS
        assert device.session_present
        messages = [(each.payload, each.dup) for each in device.take_messages(2)]
        assert messages == [(b"before", True), (b"after", False)]
        # Who takes over with a token of his own does not end with the one before.
        third = RawClient(server.mqtt_port)
        brief = token("HS256", lifetime_secs=1)
        assert third.login("device", "carol@org_t", brief, 5, **stored)[1] == SUCCESS
        fourth = RawClient(server.mqtt_port)
        assert fourth.login("device", "carol@org_t", token("HS256"), 5, **stored)[1] == SUCCESS
        time.sleep(1.5)
        fourth.ping()


def test_two_thousand_who_come_back_pay_each_hash_once(tmp_path):
    users = 40
    hashed = hash_of("alice-password")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    listed = "".join(
        f'[[org.user]]\nusername = "user{n}"\npassword_hash = "{hashed}"\n' for n in range(users)
    )
    with Server(tmp_path, org(listed)) as server:
        for round_ in range(50):
            clients = [RawClient(server.mqtt_port) for _ in range(users)]
            for n, client in enumerate(clients):
                client.send_connect(f"c{n}-{round_}", f"user{n}@org_t", "alice-password", 5)
            for client in clients:
                assert client.expect(2).body[1] == SUCCESS
                client.close()
        assert server.metric("password_hashes_total") == users
        assert code(server, "c", "user1@org_t", "wrong") == BAD_PASSWORD
        assert code(server, "c", "nobody@org_t", "wrong") == BAD_PASSWORD
        assert server.metric("password_hashes_total") == users + 2


def test_rules_decide_who_may_do_what(tmp_path):
    rules = f"""rules_default = "deny"
[[org.rule]]
effect = "deny"
topics = ["chat/secret/#"]
[[org.rule]]
effect = "allow"
topics = ["chat/#"]
users = ["root"]
[[org.rule]]
effect = "allow"
topics = ["chat/{{username}}/#"]
[[org.jwt]]
secret = "{HS_SECRET}"
"""
    with Server(tmp_path, org(rules)) as server:
        client = RawClient(server.mqtt_port)
        assert client.login("c", "carol@org_t", token("HS256"), 5)[1] == SUCCESS
        wanted = ["chat/carol/#", "chat/#", "chat/dave/x", "#"]
        assert list(client.subscribe(*wanted)[-4:]) == [0] + [NOT_AUTHORIZED] * 3
        client.publish("chat/dave/x", b"no", qos=1)
        assert client.expect(PUBACK).body[2] == NOT_AUTHORIZED
        client.publish("chat/dave/x", b"no", qos=0)
        client.publish("chat/carol/x", b"yes", qos=0)
        assert client.read_message() == ("chat/carol/x", b"yes")
        client.close()
        root = RawClient(server.mqtt_port)
        assert root.login("r", "root@org_t", token("HS256", "root"), 5)[1] == SUCCESS
        codes = root.subscribe("chat/+", "chat/dave/#", "chat/#", "chat/secret/x")
        assert list(codes[-4:]) == [NOT_AUTHORIZED, 0, NOT_AUTHORIZED, NOT_AUTHORIZED]
        root.close()
        widening = RawClient(server.mqtt_port)
        assert widening.login("w", "@org_t", token("HS256", "+"), 5)[1] == SUCCESS
        assert widening.subscribe("chat/dave/x")[-1] == NOT_AUTHORIZED
        widening.close()
        narrow = token("HS256", topics={"subscribe": ["chat/carol/in"]})
        client = RawClient(server.mqtt_port)
        assert client.login("n", "carol@org_t", narrow, 5)[1] == SUCCESS
        assert list(client.subscribe("chat/carol/in", "chat/carol/#")[-2:]) == [0, NOT_AUTHORIZED]
        client.publish("chat/carol/in", b"no", qos=1)
        assert client.expect(PUBACK).body[2] == NOT_AUTHORIZED
        client.close()
        for topic, expected in (("chat/dave/x", NOT_AUTHORIZED), ("chat/carol/x", SUCCESS)):
            assert with_will(server, topic) == expected, topic


def with_will(server, topic):
    """The reason code for a CONNECT with a will to this topic."""
    client = RawClient(server.mqtt_port)
    client.level = 5
    plain = connect("will", level=5)
    # The variable header ends before the payload, which begins with the client id.
    payload = string("will") + properties(5) + string(topic) + string("gone")
    payload += string("carol@org_t") + string(token("HS256"))
    head = bytearray(plain[2 : -len(string("will"))])
    head[7] |= 0x80 | 0x40 | 0x04
    body = bytes(head) + payload
    length, out = len(body), bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | (0x80 if length else 0))
        if not length:
            break
    client.send(b"\x10" + bytes(out) + body)
    answer = client.expect(2).body[1]
    client.close()
    return answer


def test_an_organisation_has_its_quotas_and_others_are_not_concerned(tmp_path):
    quota = (
        "[org.quota]\nconnections_max = 2\nmessages_per_sec = 5\npacket_bytes_max = 2048\n"
        "subscriptions_per_session_max = 2\n"
        f'[[org.jwt]]\nsecret = "{HS_SECRET}"'
    )
    with Server(tmp_path, org(quota)) as server:
        clients = [RawClient(server.mqtt_port) for _ in range(2)]
        for n, client in enumerate(clients):
            assert client.login(f"c{n}", "carol@org_t", token("HS256"), 5)[1] == SUCCESS
        assert clients[0].connack_properties[0x27] == 2048
        assert code(server, "c2", "carol@org_t", token("HS256")) == QUOTA
        assert code(server, "alice", f"alice@{ORG}", "alice-password") == SUCCESS
        assert list(clients[0].subscribe("a", "b", "c")[-3:]) == [0, 0, QUOTA]
        codes = []
        for n in range(20):
            clients[1].publish("nobody", b"x", qos=1, packet_id=n + 1)
            body = clients[1].expect(PUBACK).body
            codes.append(body[2] if len(body) > 2 else SUCCESS)
        assert codes.count(QUOTA) >= 10 and codes[0] != QUOTA
        # Who takes over a session needs no further place.
        taking = RawClient(server.mqtt_port)
        assert taking.login("c0", "carol@org_t", token("HS256"), 5)[1] == SUCCESS
        taking.close()
        clients[1].close()
        server.wait_for_client_ids(key=TOKEN_KEY)
        wait_until(
            lambda: code(server, "c3", "carol@org_t", token("HS256")) == SUCCESS,
            "places are given back",
        )


def test_a_user_s_only_device_can_be_another_where_all_places_are_taken(tmp_path):
    quota = 'open_auth = true\nmulti_device = "one"\n[org.quota]\nconnections_max = 2\n'
    with Server(tmp_path, org(quota)) as server:
        phone, tablet = RawClient(server.mqtt_port), RawClient(server.mqtt_port)
        assert phone.login("phone", "carol@org_t", "x", 5)[1] == SUCCESS
        assert tablet.login("tablet", "dave@org_t", "x", 5)[1] == SUCCESS
        assert code(server, "watch", "erin@org_t", "x") == QUOTA
        laptop = RawClient(server.mqtt_port)
        assert laptop.login("laptop", "carol@org_t", "x", 5)[1] == SUCCESS
        server.wait_for_client_ids("laptop", "tablet", key=TOKEN_KEY)
        for client in (phone, tablet, laptop):
            client.close()


def test_a_place_is_free_when_the_server_has_said_its_last_word(tmp_path):
    """The client may take its time to close."""
    with Server(tmp_path, org("open_auth = true\n[org.quota]\nconnections_max = 1\n")) as server:
        for turn in range(20):
            client = RawClient(server.mqtt_port)
            assert client.login(f"client-{turn}", "carol@org_t", "x", 5)[1] == SUCCESS, turn
            client.send(packet(PINGRESP))  # which no client may say
            assert client.expect(DISCONNECT).body[0] >= 0x80
            assert client.read_packet() is None
        client.close()


def test_guessing_is_slowed_for_passwords_and_keys(tmp_path):
    limits = "[accounts]\nguess_address_max = 5\nguess_window_secs = 60\n"
    with Server(tmp_path, limits) as server:
        codes = [code(server, "g", f"alice@{ORG}", f"guess{n}") for n in range(8)]
        assert codes == [BAD_PASSWORD] * 5 + [RATE] * 3
        assert code(server, "g", f"alice@{ORG}", "alice-password") == RATE, "unseen, right or not"
        statuses = [server.get("/v2/utilities/presence", f"sk_{n}").status for n in range(8)]
        assert statuses == [401] * 5 + [429] * 3
        reply = server.get("/v2/utilities/presence", KEY)
        assert reply.problem(429)["type"].endswith("too-many-keys")
        assert 1 <= int(reply.headers["retry-after"]) <= 13
        assert server.metric("guesses_slowed_total") >= 8
        assert "alice-password" not in server.log and "guess" + "3" not in server.log


def test_a_flood_of_wrong_passwords_costs_no_more_checks_than_there_may_be_guesses(tmp_path):
    hashed = hash_of("daves-password")
    user = f'[[org.user]]\nusername = "dave"\npassword_hash = "{hashed}"\n'
    with Server(tmp_path, org(user)) as server:
        for n in range(1000):
            client = RawClient(server.mqtt_port)
            client.send_connect("flood", "dave@org_t", f"wrong{n}", 5)
            client.close()
        began = time.monotonic()
        elsewhere = RawClient(server.mqtt_port, source="127.0.0.2")
        assert elsewhere.login("dave", "dave@org_t", "daves-password", 5)[1] == SUCCESS
        # A thousand checks take some twenty seconds on one core.
        assert time.monotonic() - began < 5
        elsewhere.close()
        wait_until(lambda: server.metric("guesses_slowed_total") > 900, "they are turned away")
        # One that is right, ten that are wrong, and those that were under way on each core.
        assert server.metric("password_hashes_total") <= 1 + 10 + (os.cpu_count() or 1)
