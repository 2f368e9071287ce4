"""Two organisations with the same names for everything: they never see each other."""

import pytest

from clients import Kind
from harness import KEY, ORG, OTHER_KEY, OTHER_ORG, PRESENCE

BOTH = {ORG: KEY, OTHER_ORG: OTHER_KEY}


def test_a_key_sees_only_its_own_organisation(server, guests):
    guests.raw_login("ours", "alice").subscribe("chat/lobby")
    guests.raw_login("theirs", "alice", org=OTHER_ORG).subscribe("chat/lobby")
    for query in ({}, {"topic": "chat/lobby"}, {"topic": "#"}):
        assert server.client_ids(KEY, **query) == ["ours"]
        assert server.client_ids(OTHER_KEY, **query) == ["theirs"]


def test_a_user_of_one_organisation_is_offline_in_the_other(server, guests):
    guests.raw_login("ours", "bob")
    assert server.user("bob", KEY)["is_online"] is True
    assert server.user("bob", OTHER_KEY) == {
        "username": "bob",
        "display_name": None,
        "is_online": False,
        "session_count": 0,
        "push_suspended": False,
        "sessions": [],
        "last_seen": None,
    }


def test_a_display_name_belongs_to_its_organisation(server):
    assert server.user("alice", KEY)["display_name"] == "Alice Martin"
    assert server.user("alice", OTHER_KEY)["display_name"] is None


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("kind", [Kind("paho", 4), Kind("mqttjs", 5)], ids=str)
def test_a_message_stays_in_its_organisation(server, guests, kind, qos):
    """The later message is the proof: had the earlier crossed over, it would have come first."""
    for org, other in ((ORG, OTHER_ORG), (OTHER_ORG, ORG)):
        listener = guests.open(kind, server, "listener", "alice", org=org)
        listener.subscribe("#", qos=qos)
        theirs = guests.open(kind, server, "speaker", "bob", org=other)
        theirs.publish("chat/lobby", f"from {other}", qos=qos)
        # Acknowledged means that the server is done with what came before on this connection.
        theirs.publish("chat/barrier", f"from {other}", qos=1)
        ours = guests.open(kind, server, "speaker", "bob", org=org)
        ours.publish("chat/lobby", f"from {org}", qos=qos)
        assert listener.next_message() == ("chat/lobby", f"from {org}")


def test_a_login_to_the_other_organisation_needs_its_own_user(server, guests):
    client = guests.raw()
    assert client.login("client", f"alice@{ORG}@{OTHER_ORG}", "alice-password")[1] in (4, 5)


def test_the_end_of_a_session_leaves_the_namesake_alone(server, guests):
    ours = guests.raw_login("same", "alice")
    guests.raw_login("same", "alice", org=OTHER_ORG)
    ours.close()
    server.wait_for_client_ids(key=KEY)
    assert server.client_ids(OTHER_KEY) == ["same"]


def test_the_organisation_is_not_to_be_had_by_the_query(server, guests):
    guests.raw_login("theirs", "alice", org=OTHER_ORG)
    for target in (
        f"{PRESENCE}/alice%40{OTHER_ORG}",
        f"{PRESENCE}/{OTHER_ORG}%2Falice",
    ):
        reply = server.get(target, KEY)
        assert reply.status == 200
        assert reply.json()["is_online"] is False
