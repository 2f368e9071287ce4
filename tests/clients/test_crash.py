"""Nothing is lost and nothing is told twice under two ids, however the server ends.

`CRASH_ROUNDS` is how often it is killed under churn: a few times in every run, thirty by hand.
"""

import os
import random
import time

import pytest

import checker
from harness import wait_until
from hooks import Churn, Endpoint, hooked
from receiver import OK, Answer, Hang

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.randrange(1 << 30)


@pytest.fixture
def endpoint():
    return Endpoint()


@pytest.fixture
def by_user():
    """Two endpoints that want to know of users, not sessions, beside the one of all sessions."""
    return [
        Endpoint("users", settings='level = "user"'),
        Endpoint("grace", settings='level = "user"\ngrace_seconds = 1'),
    ]


@pytest.fixture
def server(tmp_path, endpoint, by_user):
    with hooked(tmp_path, endpoint, *by_user) as server:
        yield server


@pytest.fixture
def nobody_is_left():
    """These tests look after their own sessions."""


def finish(server, receiver, churn):
    """Ends the churn, and proves everything about what it did. Returns the number of sessions."""
    acknowledged = churn.stop()
    server.wait_until_nobody_is_online()
    server.prove(receiver, still_open=())
    events = checker.seen(receiver.events())
    assert not (missing := checker.missing_sessions(events, acknowledged)), missing[:5]
    return len(acknowledged)


def check_users(receiver):
    """Everybody was told to be online and offline in turns, and is offline now."""

    def all_offline():
        last = {each.data["userId"]: each.data["status"] for each in receiver.accepted()}
        return "0" not in last.values()

    wait_until(all_offline, "all users are told to be offline", 30)
    assert not (wrong := checker.user_level_violations(checker.seen(receiver.accepted()))), wrong


def reasons(receiver):
    return {each.data["reason"] for each in receiver.events() if each.data["status"] != "0"}


@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_kill_9_at_random_moments_loses_nothing(server, endpoint, by_user):
    """Also while deliveries are slow, failing or hanging: a crash meets every state."""
    chance = random.Random(SEED)
    print(f"CRASH_SEED={SEED}")
    moods = [OK, Answer(after_secs=0.02), Answer(500), Hang()]
    with Churn(server, 20, 2, 40, seed=SEED) as churn:
        for turn in range(ROUNDS):
            endpoint.receiver.behave(chance.choice(moods))
            churn.wait_for(churn.count() + 50)
            time.sleep(chance.random())  # the moment is the test
            if turn and chance.random() < 0.3:
                # A stop that is cut short; not at first, so that there is a crash in any case.
                server.terminate()
                time.sleep(chance.random() * 0.3)
            server.crash()
            endpoint.receiver.drop_connections()
            server.start()
        endpoint.receiver.behave(OK)
        sessions = finish(server, endpoint.receiver, churn)
    assert sessions >= 50 * ROUNDS
    for each in by_user:
        check_users(each.receiver)
    assert "server_crashed" in reasons(endpoint.receiver)
    print(f"{ROUNDS} rounds, {sessions} sessions, {len(endpoint.receiver.requests)} requests")


def test_an_orderly_stop_under_churn_ends_every_session_before_the_process_goes(server, endpoint):
    with Churn(server, 20, 2, 40) as churn:
        for _ in range(2):
            churn.wait_for(churn.count() + 200)
            assert server.stop(30) == 0
            server.start()
        finish(server, endpoint.receiver, churn)
    assert "server_stopped" in reasons(endpoint.receiver)
    assert "server_crashed" not in reasons(endpoint.receiver)


def test_after_a_crash_nobody_is_online_and_all_are_told(server, endpoint):
    clients = [server.client(f"client-{number}", "alice") for number in range(20)]
    endpoint.receiver.wait_for(20)
    server.crash()
    server.start()
    assert server.online() == {}
    events = endpoint.receiver.wait_for(40)
    assert {each.data["reason"] for each in events[20:]} == {"server_crashed"}
    assert [each.data["onlineSessions"] for each in events[20:]] == list(range(19, -1, -1))
    server.prove(endpoint.receiver, still_open=())
    for client in clients:
        client.close()


@pytest.mark.parametrize("way", ["crash", "stop"])
def test_what_was_pending_is_delivered_after_a_restart(server, endpoint, way):
    endpoint.receiver.shut()
    clients = [server.client(f"client-{number}", f"user-{number}") for number in range(50)]
    for client in clients:
        client.close()
    server.wait_until_nobody_is_online()
    getattr(server, way)()
    endpoint.receiver.open()
    server.start()
    endpoint.receiver.wait_for(100)
    server.prove(endpoint.receiver, still_open=())


def test_two_crashes_in_a_row_tell_the_ends_once(server, endpoint):
    endpoint.receiver.shut()
    client = server.client("client", "alice")
    for _ in range(2):
        server.crash()
        server.start()
    endpoint.receiver.open()
    endpoint.receiver.wait_for(2)
    server.prove(endpoint.receiver, still_open=())
    assert len({each.event["id"] for each in endpoint.receiver.events()}) == 2
    client.close()


def test_a_crash_right_after_the_start_loses_nothing(server, endpoint):
    """The start itself writes endings; it may be cut short in any of its steps."""
    endpoint.receiver.shut()
    clients = [server.client(f"client-{number}", f"user-{number}") for number in range(200)]
    chance = random.Random(SEED)
    for _ in range(5):
        server.crash()
        server.launch()
        time.sleep(chance.random() * 0.05)  # the moment is the test
    server.crash()
    server.start()
    endpoint.receiver.open()
    endpoint.receiver.wait_for(400)
    server.prove(endpoint.receiver, still_open=())
    for client in clients:
        client.close()


@pytest.mark.parametrize("endings", [["stay"], ["reset"], []], ids=["takeovers", "resets", "all"])
def test_a_storm_on_few_client_ids_is_told_in_order(server, endpoint, endings):
    with Churn(server, 2, 2, 60, *endings) as churn:
        churn.wait_for(1500)
        finish(server, endpoint.receiver, churn)
    if endings == ["stay"]:
        assert "taken_over" in reasons(endpoint.receiver)
    # One device at a time of each of the two ids.
    assert max(each.data["onlineSessions"] for each in endpoint.receiver.events()) <= 2
