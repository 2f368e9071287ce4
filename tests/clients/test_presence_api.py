"""Both replies of the presence API, field by field as their published example shows them."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from harness import KEY, ORG, PRESENCE

ROW_FIELDS = [
    "username",
    "display_name",
    "client_id",
    "peer_host",
    "connected_since",
    "subscribed_topics",
]
USER_FIELDS = ["username", "display_name", "is_online", "session_count", "sessions"]
SESSION_FIELDS = [
    "client_id",
    "peer_host",
    "peer_port",
    "connected_since",
    "protocol",
    "subscribed_topics",
]


def check_connected_since(text):
    """ISO 8601 in UTC with whole seconds and a Z, and no later or much earlier than now."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text), text
    age = datetime.now(UTC) - datetime.fromisoformat(text)
    assert timedelta(seconds=-1) <= age <= timedelta(seconds=60), text


def test_the_list_has_the_rows_of_the_published_example(server, guests):
    guests.raw_login("client-abc", "alice", level=5).subscribe("chat/lobby")
    guests.raw_login("client-def", "bob").subscribe("chat/lobby", "chat/dms/bob")
    reply = server.get(f"{PRESENCE}?topic=chat/lobby", KEY)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    answer = reply.json()
    assert set(answer) == {"online_count", "session_count", "users"}
    assert (answer["online_count"], answer["session_count"]) == (2, 2)
    rows = sorted(answer["users"], key=lambda row: row["username"])
    for row in rows:
        assert list(row) == ROW_FIELDS
        check_connected_since(row.pop("connected_since"))
    assert rows == [
        {
            "username": "alice",
            "display_name": "Alice Martin",
            "client_id": "client-abc",
            "peer_host": "127.0.0.1",
            "subscribed_topics": ["chat/lobby"],
        },
        {
            "username": "bob",
            "display_name": None,
            "client_id": "client-def",
            "peer_host": "127.0.0.1",
            "subscribed_topics": ["chat/lobby", "chat/dms/bob"],
        },
    ]


def test_one_user_has_the_reply_of_the_published_example(server, guests):
    client = guests.raw_login("client-abc", "alice", level=5)
    client.subscribe("chat/lobby")
    reply = server.get(f"{PRESENCE}/alice", KEY)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    answer = reply.json()
    assert answer.pop("push_suspended") is False, "added to the published fields"
    assert list(answer) == USER_FIELDS
    assert list(answer["sessions"][0]) == SESSION_FIELDS
    check_connected_since(answer["sessions"][0].pop("connected_since"))
    assert answer == {
        "username": "alice",
        "display_name": "Alice Martin",
        "is_online": True,
        "session_count": 1,
        "sessions": [
            {
                "client_id": "client-abc",
                "peer_host": "127.0.0.1",
                "peer_port": client.port,
                "protocol": "5",
                "subscribed_topics": ["chat/lobby"],
            }
        ],
    }


def test_the_list_is_empty_when_nobody_is_online(server):
    assert server.presence() == {"online_count": 0, "session_count": 0, "users": []}


@pytest.mark.parametrize(
    ("name", "display_name"), [("alice", "Alice Martin"), ("bob", None), ("nobody", None)]
)
def test_a_user_who_is_not_online_has_a_reply_all_the_same(server, name, display_name):
    answer = server.user(name)
    assert answer.pop("push_suspended") is False
    last_seen = answer.pop("last_seen")
    if last_seen is not None:
        check_connected_since(last_seen)
    assert answer == {
        "username": name,
        "display_name": display_name,
        "is_online": False,
        "session_count": 0,
        "sessions": [],
    }


def test_two_sessions_of_one_user_are_two_rows_but_one_user_online(server, guests):
    guests.raw_login("phone", "alice")
    guests.raw_login("laptop", "alice")
    guests.raw_login("tablet", "bob")
    answer = server.presence()
    assert (answer["online_count"], answer["session_count"]) == (2, 3)
    assert server.client_ids() == ["laptop", "phone", "tablet"]
    alice = server.user("alice")
    assert alice["session_count"] == 2
    assert sorted(each["client_id"] for each in alice["sessions"]) == ["laptop", "phone"]


@pytest.mark.parametrize("level", [3, 4, 5])
def test_the_protocol_is_the_level_that_the_client_reported(server, guests, level):
    guests.raw_login("client", "alice", level=level)
    assert server.user("alice")["sessions"][0]["protocol"] == str(level)


def test_topics_are_listed_in_the_order_of_subscription(server, guests):
    client = guests.raw_login("client", "alice")
    client.subscribe("z", "a/+/b", "m/#")
    client.subscribe("b")
    assert server.user("alice")["sessions"][0]["subscribed_topics"] == ["z", "a/+/b", "m/#", "b"]


def test_a_session_without_subscriptions_has_an_empty_list_and_no_topic_finds_it(server, guests):
    guests.raw_login("client", "alice")
    assert server.presence()["users"][0]["subscribed_topics"] == []
    assert server.presence(topic="#")["users"] == []


def test_an_unsubscribed_topic_is_listed_no_more_and_finds_nobody(server, guests):
    client = guests.raw_login("client", "alice")
    client.subscribe("chat/lobby", "chat/games")
    client.unsubscribe("chat/lobby")
    assert server.presence()["users"][0]["subscribed_topics"] == ["chat/games"]
    assert server.presence(topic="chat/lobby")["users"] == []
    assert server.client_ids(topic="chat/games") == ["client"]


def test_a_topic_subscribed_twice_is_listed_once(server, guests):
    client = guests.raw_login("client", "alice")
    client.subscribe("chat/lobby", qos=0)
    client.subscribe("chat/lobby", qos=1)
    assert server.presence()["users"][0]["subscribed_topics"] == ["chat/lobby"]


@pytest.mark.parametrize(
    ("asked", "subscribed", "found"),
    [
        ("chat/lobby", "chat/lobby", True),
        ("chat/lobby", "chat/#", True),
        ("chat/lobby", "#", True),
        ("chat/lobby", "+/lobby", True),
        ("chat", "chat/#", True),
        ("chat/+", "chat/lobby", True),
        ("chat/+", "+/lobby", True),
        ("+/+", "chat/#", True),
        ("#", "chat/lobby", True),
        ("chat/lobby/1", "chat/#", True),
        ("chat/#", "chat", True),
        ("chat/+", "chat", False),
        ("chat/lobby", "chat/games", False),
        ("chat/lobby", "chat/+/x", False),
        ("chat", "chat/lobby", False),
        ("Chat/lobby", "chat/lobby", False),
        ("chat/+/b", "chat/a/+", True),
        ("/chat", "chat", False),
        ("+/chat", "/chat", True),
        ("#", "$whosthere/news", False),
        ("+/news", "$whosthere/news", False),
        ("$whosthere/#", "#", False),
        ("$whosthere/+", "$whosthere/news", True),
        ("zimmer/größe", "zimmer/+", True),
    ],
)
def test_a_topic_finds_who_subscribed_to_a_filter_that_overlaps(
    server, guests, asked, subscribed, found
):
    guests.raw_login("client", "alice").subscribe(subscribed)
    assert server.client_ids(topic=asked) == (["client"] if found else [])


def test_a_session_that_qualifies_twice_is_one_row_with_all_its_topics(server, guests):
    guests.raw_login("client", "alice").subscribe("chat/#", "chat/lobby", "elsewhere")
    rows = server.presence(topic="chat/lobby")["users"]
    assert [row["subscribed_topics"] for row in rows] == [["chat/#", "chat/lobby", "elsewhere"]]


def test_the_name_in_the_path_is_without_the_organisation(server, guests):
    guests.raw_login("client", "alice")
    assert server.user("alice")["is_online"] is True
    assert server.user(f"alice@{ORG}")["is_online"] is False
