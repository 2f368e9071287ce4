"""What a client may do is asked anew when it comes back to a session that was stored under other
rights: rules that a restart has changed, or another token."""

import pytest

from harness import Server
from test_accounts import HS_SECRET, QUOTA, SUCCESS, TOKEN_KEY, org, token
from wire import RawClient, disconnect, session_expiry

REASON_STRING = 0x1F
HOUR = session_expiry(3600)

OPEN = 'rules_default = "allow"'
CLOSED = """
[[org.rule]]
effect = "deny"
topics = ["secret/#"]
[[org.rule]]
effect = "allow"
topics = ["#"]
"""


def issuer(text):
    return org(f'{text}\n[[org.jwt]]\nsecret = "{HS_SECRET}"')


def carol(server, level=5, **claims):
    """Carol's device, back at its stored session or for the first time."""
    device = RawClient(server.mqtt_port)
    how = {"props": HOUR} if level == 5 else {}
    words = token("HS256", **claims)
    assert device.login("device", "carol@org_t", words, level, clean=False, **how)[1] == SUCCESS
    return device


def leave(device):
    device.send(disconnect())
    assert device.read_packet() is None
    device.close()


def send_to_all(server, **claims):
    """A secret and a message for all, at both levels that wait for a client."""
    sender = RawClient(server.mqtt_port)
    words = token("HS256", "dave", **claims)
    assert sender.login("sender", "dave@org_t", words, 5)[1] == SUCCESS
    for qos in (1, 2):
        sender.hand_over("secret/plan", b"hush", qos=qos)
        sender.hand_over("news/today", b"hello", qos=qos)
    sender.close()


def topics_until_quiet(device):
    """The topics of all that comes, each acknowledged."""
    topics = [message.topic for message in device.take_messages(2)]
    device.ping()
    return topics


@pytest.mark.parametrize("level", [4, 5])
def test_rules_that_are_new_hold_for_a_session_that_is_old(tmp_path, level):
    server = Server(tmp_path, issuer(OPEN))
    with server:
        device = carol(server, level)
        assert list(device.subscribe("secret/#", "news/#", qos=2)[-2:]) == [2, 2]
        leave(device)
        send_to_all(server)
        server.stop()
        server.config.write_text(server.config.read_text().replace(OPEN, CLOSED))
        server.start()
        device = carol(server, level)
        assert device.session_present
        if level == 5:
            assert device.connack_properties[REASON_STRING].endswith("have ended: 1")
        assert topics_until_quiet(device) == ["news/today"] * 2
        # The subscription is gone for those who ask, and for messages that come now.
        assert server.client_ids(key=TOKEN_KEY, topic="secret/plan") == []
        assert server.client_ids(key=TOKEN_KEY, topic="news/today") == ["device"]
        device.publish("secret/plan", b"refused", qos=0)
        send_to_all(server)
        assert topics_until_quiet(device) == ["news/today"] * 2
        assert server.metric("messages_withdrawn_total") == 1
        dropped = server.metric('messages_dropped_total{reason="withdrawn"}')
        assert dropped == 2, "what waited; what came later was not queued"
        leave(device)


def test_a_narrower_token_gets_no_more_than_it_allows(tmp_path):
    wide = {"subscribe": ["secret/#", "news/#"]}
    narrow = {"subscribe": ["news/#"]}
    with Server(tmp_path, issuer(OPEN)) as server:
        device = carol(server, topics=wide)
        assert list(device.subscribe("secret/#", "news/#", qos=2)[-2:]) == [2, 2]
        leave(device)
        send_to_all(server)
        device = carol(server, topics=narrow)
        assert device.session_present
        assert topics_until_quiet(device) == ["news/today"] * 2
        # Also what was queued, and not sent before it left again.
        leave(device)
        device = carol(server, topics=wide)
        assert REASON_STRING not in device.connack_properties
        device.ping()
        send_to_all(server)
        assert topics_until_quiet(device) == ["news/today"] * 2
        leave(device)


def test_a_device_taken_over_with_a_narrower_token_loses_what_that_forbids(tmp_path):
    with Server(tmp_path, issuer(OPEN)) as server:
        first = carol(server)
        assert list(first.subscribe("secret/#", "news/#", qos=2)[-2:]) == [2, 2]
        second = carol(server, topics={"subscribe": ["news/#"]})
        assert second.session_present
        first.close()
        send_to_all(server)
        assert topics_until_quiet(second) == ["news/today"] * 2
        leave(second)


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_only_at_qos_2_a_delivery_that_has_begun_is_completed(tmp_path, how):
    with Server(tmp_path, issuer(OPEN)) as server:
        device = carol(server)
        device.subscribe("secret/#", qos=2)
        send_to_all(server)
        _, begun = [device.next_message() for _ in range(2)]
        device.close()
        if how == "killed":
            server.crash()
            server.start()
        server.wait_for_client_ids(key=TOKEN_KEY)
        device = carol(server, topics={"subscribe": ["news/#"]})
        again = device.take_message()
        assert (again.qos, again.dup, again.packet_id) == (2, True, begun.packet_id)
        device.ping()
        leave(device)


def test_what_a_session_has_is_listed_though_the_quota_is_lower_now(tmp_path):
    server = Server(tmp_path, issuer("# quota"))
    with server:
        device = carol(server)
        assert list(device.subscribe("a", "b", "c", qos=1)[-3:]) == [1, 1, 1]
        leave(device)
        server.stop()
        quota = "[org.quota]\nsubscriptions_per_session_max = 1\n"
        server.config.write_text(server.config.read_text().replace("# quota", quota))
        server.start()
        device = carol(server)
        for topic in "abc":
            assert server.client_ids(key=TOKEN_KEY, topic=topic) == ["device"]
            device.publish(topic, b"own")
            assert device.take_message().topic == topic
        assert list(device.subscribe("a", "d", qos=1)[-2:]) == [1, QUOTA]
        leave(device)
