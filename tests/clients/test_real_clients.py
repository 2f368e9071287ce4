"""Real clients of every protocol version and transport: they meet, and presence sees them."""

import pytest

from clients import KINDS, Kind, everyone_hears_everyone
from harness import login

each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_everyone_hears_everyone(guests, server, qos):
    everyone_hears_everyone(guests, server, qos)


@each_kind
def test_a_client_is_online_with_its_topics_until_it_disconnects(server, guests, kind):
    client = guests.open(kind, server, "client-abc", "alice")
    client.subscribe("chat/lobby", "chat/dms/alice", qos=1)
    (session,) = server.user("alice")["sessions"]
    assert session["client_id"] == "client-abc"
    assert session["protocol"] == str(kind.level)
    assert session["peer_host"] == "127.0.0.1"
    assert session["subscribed_topics"] == ["chat/lobby", "chat/dms/alice"]
    assert server.client_ids(topic="chat/+") == ["client-abc"]
    client.disconnect()
    server.wait_for_client_ids()


@each_kind
def test_a_client_whose_connection_breaks_is_gone(server, guests, kind):
    client = guests.open(kind, server, "client-abc", "alice")
    client.subscribe("chat/lobby")
    assert server.client_ids() == ["client-abc"]
    client.vanish()
    server.wait_for_client_ids()


UNSUBSCRIBING = [kind for kind in KINDS if kind.family != "mosquitto"]


@pytest.mark.parametrize("kind", UNSUBSCRIBING, ids=str)
def test_a_client_that_unsubscribes_hears_no_more_and_is_not_found(server, guests, kind):
    client = guests.open(kind, server, "client-abc", "alice")
    client.subscribe("chat/lobby", "chat/games")
    client.unsubscribe("chat/lobby")
    assert server.client_ids(topic="chat/lobby") == []
    assert server.client_ids(topic="chat/games") == ["client-abc"]
    client.publish("chat/lobby", "not for us", qos=1)
    client.publish("chat/games", "for us", qos=1)
    assert client.next_message() == ("chat/games", "for us")


@pytest.mark.parametrize("family", ["paho", "mqttjs", "rumqttc"])
@pytest.mark.parametrize("level", [4, 5])
def test_a_wrong_password_is_refused(server, family, level):
    user, _ = login("alice")
    with pytest.raises(AssertionError, match="(?i)not authori|bad user|refused|closed"):
        Kind(family, level).open(server, "client-abc", user, "wrong")


def test_the_older_of_two_mqttjs_clients_is_told_of_the_takeover(server, guests):
    older = guests.open(Kind("mqttjs", 5), server, "same", "alice")
    guests.open(Kind("mqttjs", 5), server, "same", "alice")
    assert older.disconnect_reasons.get(timeout=10) == 0x8E
    server.wait_for_client_ids("same")


def test_the_older_of_two_paho_clients_is_told_of_the_takeover(server, guests):
    older = guests.open(Kind("paho", 5), server, "same", "alice")
    guests.open(Kind("paho", 5), server, "same", "alice")
    assert older.closed.get(timeout=10).value == 0x8E
    server.wait_for_client_ids("same")


@pytest.mark.parametrize("level", [4, 5])
def test_a_prompt_reconnect_is_never_refused(server, guests, level):
    """Each new client comes while the one before it is still there, or just gone."""
    for turn in range(200):
        client = guests.open(Kind("paho", level), server, "same", "alice")
        if turn % 2:
            client.vanish()
    assert client is not None
    server.wait_for_client_ids()
