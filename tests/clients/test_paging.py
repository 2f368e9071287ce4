"""Lists of any size: whole, or page by page while sessions come and go."""

import itertools

import pytest

from harness import KEY, OTHER_KEY, PRESENCE, login
from wire import connect

STAYING, PASSING = 400, 100


def crowd(guests, prefix, count):
    """Logs in many light clients: all ask first, then all answers are read."""
    clients = []
    for number in range(count):
        client = guests.raw()
        user, password = login("alice" if number % 2 else "bob")
        client.send(connect(f"{prefix}-{number}", user, password, keep_alive=0))
        clients.append(client)
    for client in clients:
        assert client.read_packet().body[1] == 0
    return clients


def pages(server, limit, between=lambda: None, **query):
    """Walks from the first page to the last; `between` runs after each but the last."""
    cursor = {}
    while True:
        page = server.presence(limit=limit, **cursor, **query)
        yield page
        if not page.get("next_cursor"):
            return
        cursor = {"cursor": page["next_cursor"]}
        between()


def test_a_list_without_a_limit_is_whole(server, guests):
    crowd(guests, "staying", 500)
    answer = server.presence()
    assert answer["session_count"] == len(answer["users"]) == 500
    assert answer["online_count"] == 2
    assert len({row["client_id"] for row in answer["users"]}) == 500


def test_who_stays_is_on_exactly_one_page_while_others_come_and_go(server, guests):
    crowd(guests, "staying", STAYING)
    passing = crowd(guests, "passing", PASSING)
    turns = itertools.count()

    def come_and_go():
        for client in passing[:20]:
            client.close()
        del passing[:20]
        passing.extend(crowd(guests, f"newcomer-{next(turns)}", 20))

    seen = []
    for page in pages(server, 100, come_and_go):
        assert len(page["users"]) <= 100
        assert page["session_count"] == len(page["users"])
        assert page["online_count"] == len({row["username"] for row in page["users"]})
        seen += [row["client_id"] for row in page["users"]]
    stayed = sorted(each for each in seen if each.startswith("staying-"))
    assert stayed == sorted(f"staying-{number}" for number in range(STAYING))
    assert len(seen) == len(set(seen)), "somebody is on two pages"


@pytest.mark.parametrize("limit", [1, 7, 30, 31])
def test_the_pages_of_any_size_make_up_the_list(server, guests, limit):
    crowd(guests, "staying", 30)
    rows = [row for page in pages(server, limit) for row in page["users"]]
    assert sorted(row["client_id"] for row in rows) == server.client_ids()


def test_pages_hold_only_who_is_asked_for(server, guests):
    clients = crowd(guests, "staying", 40)
    for client in clients[:25]:
        client.subscribe("chat/lobby")
    found = list(pages(server, 10, topic="chat/+"))
    ids = [row["client_id"] for page in found for row in page["users"]]
    assert sorted(ids) == sorted(f"staying-{number}" for number in range(25))


def test_the_other_organisation_gets_nothing_out_of_a_cursor(server, guests):
    crowd(guests, "staying", 10)
    cursor = server.presence(limit=3)["next_cursor"]
    reply = server.get(f"{PRESENCE}?limit=3&cursor={cursor}", OTHER_KEY)
    assert reply.status == 400 or reply.json()["users"] == []


def test_a_cursor_outlives_the_sessions_it_was_made_of(server, guests):
    clients = crowd(guests, "passing", 10)
    cursor = server.presence(limit=5)["next_cursor"]
    for client in clients:
        client.close()
    server.wait_for_client_ids()
    reply = server.get(f"{PRESENCE}?limit=5&cursor={cursor}", KEY)
    assert reply.status == 200
    assert reply.json()["users"] == []
