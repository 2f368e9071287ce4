"""What an operator and an app server can ask and do: endings, history, dead letters, replays."""

import time

import pytest

import checker
from harness import KEY as STRANGER
from harness import wait_until
from hooks import ENDPOINTS, KEY, USERS, Endpoint, hooked
from receiver import OK, Answer, CloseAtOnce, Hang

ENDPOINT = Endpoint()
WEBHOOK = "deadline_secs = 1\nrefused_secs = [0]\n"


@pytest.fixture(scope="module")
def hooked_server(tmp_path_factory):
    with hooked(tmp_path_factory.mktemp("server"), ENDPOINT, webhook=WEBHOOK) as server:
        yield server


@pytest.fixture
def receiver(hooked_server):
    yield ENDPOINT.receiver
    ENDPOINT.receiver.behave(OK)
    hooked_server.wait_until_nobody_is_online()


@pytest.fixture
def user(request):
    return request.node.name


def told(receiver, user, count):
    """What was told of a user, once it is so much."""
    return wait_until(
        lambda: (
            [each.data for each in receiver.of_user(user)][:count]
            if len(receiver.of_user(user)) >= count
            else None
        ),
        lambda: f"{count} events of {user}: {receiver.summary()}",
    )


# --- ending sessions from the server's side ---


@pytest.mark.parametrize(
    ("how", "count_name", "status", "reason"),
    [
        ("terminate", "sessions_terminated", "1", "terminated"),
        ("logout", "sessions_logged_out", "2", "logged_out"),
    ],
)
def test_all_sessions_of_a_user_can_be_ended(
    hooked_server, receiver, user, how, count_name, status, reason
):
    clients = [hooked_server.client(f"{user} {n}", user, level=4 + n % 2) for n in range(4)]
    other = hooked_server.client("other", f"{user}, another")
    assert hooked_server.end_user(user, how)[count_name] == 4
    assert user not in hooked_server.online(), "the answer came before it had happened"
    for client in clients:
        client.packets_until_closed()
    ends = told(receiver, user, 8)[4:]
    assert {(each["status"], each["reason"]) for each in ends} == {(status, reason)}
    assert [each["onlineSessions"] for each in ends] == [3, 2, 1, 0]
    assert hooked_server.end_user(user, how)[count_name] == 0
    other.ping()
    other.close()
    hooked_server.prove(receiver, user, still_open=())


def test_after_a_logout_push_is_suspended_until_the_next_connect(hooked_server, receiver, user):
    def suspended():
        return hooked_server.user(user, KEY)["push_suspended"]

    assert suspended() is False
    first = hooked_server.client("client", user)
    hooked_server.end_user(user, "logout")
    first.close()
    wait_until(lambda: suspended() is True, "push is suspended")
    hooked_server.crash()
    hooked_server.start()
    assert suspended() is True
    hooked_server.client("client", user).close()
    wait_until(lambda: suspended() is False, "push is no longer suspended")


@pytest.mark.parametrize("how", ["terminate", "logout"])
def test_users_of_another_organisation_are_not_ended(hooked_server, receiver, user, how):
    client = hooked_server.client("client", user)
    reply = hooked_server.request("POST", f"{USERS}/{user}/{how}", STRANGER)
    assert reply.status in (200, 404)
    client.ping()
    client.close()
    assert hooked_server.request("POST", f"{USERS}/{user}/{how}").status == 401


# --- history ---


def test_history_is_what_was_told(hooked_server, receiver, user):
    for _ in range(3):
        hooked_server.client("client", user).close()
    events = told(receiver, user, 6)
    history = wait_until(
        lambda: (
            page if len((page := hooked_server.history(user))["events"]) == len(events) else None
        ),
        "the history has all",
    )
    newest_first = [
        (each["status"], each["session_id"], each["seq"], each["time"])
        for each in history["events"]
    ]
    assert newest_first == [
        (each["status"], each["sessionId"], each["seq"], each["time"]) for each in events[::-1]
    ]


# --- webhooks ---


def hook(server):
    (row,) = server.ask("GET", ENDPOINTS)["webhooks"]
    return row


def test_the_list_tells_how_a_webhook_does(hooked_server, receiver, user):
    hooked_server.client("client", user).close()
    told(receiver, user, 2)
    row = wait_until(
        lambda: row if (row := hook(hooked_server))["backlog"] == 0 else None, "no backlog"
    )
    assert (row["id"], row["url"], row["state"]) == ("main", receiver.url, "open")
    receiver.behave(Answer(500))
    hooked_server.client("client", user).close()
    wait_until(lambda: hook(hooked_server)["state"] == "paused", "it is paused")
    row = wait_until(
        lambda: row if (row := hook(hooked_server))["backlog"] == 2 else None, "two wait"
    )
    assert "500" in row["last_error"]
    receiver.behave(OK)
    wait_until(lambda: hook(hooked_server)["state"] == "open", "it is open again")


def test_secrets_are_never_shown(hooked_server, receiver):
    assert "whsec" not in str(hook(hooked_server))
    assert "whsec" not in hooked_server.log


def test_webhooks_are_of_one_organisation(hooked_server, receiver):
    reply = hooked_server.request("GET", ENDPOINTS, STRANGER)
    assert reply.json()["webhooks"] == []
    for method, path in [("GET", "dead-letters"), ("POST", "test"), ("POST", "replay")]:
        body = '{"ids":[]}' if path == "replay" else None
        reply = hooked_server.request(method, f"{ENDPOINTS}/main/{path}", STRANGER, body=body)
        assert reply.status == 404, path


OUTCOMES = {
    "good": (OK, True, 200),
    "refusing": (Answer(400), False, 400),
    "down": (Answer(500), False, 500),
    "hanging": (Hang(), False, None),
    "closing": (CloseAtOnce(), False, None),
}


@pytest.mark.parametrize(
    ("behaviour", "delivered", "status"), OUTCOMES.values(), ids=OUTCOMES.keys()
)
def test_a_test_event_tells_how_it_went(hooked_server, receiver, behaviour, delivered, status):
    before = len(receiver.requests)
    receiver.behave(behaviour)
    result = hooked_server.ask("POST", f"{ENDPOINTS}/main/test")
    assert (result["delivered"], result["status"]) == (delivered, status)
    assert delivered == (result["error"] is None)
    assert len(receiver.requests) > before
    assert hook(hooked_server)["state"] == "open", "a test changes nothing"


# --- dead letters ---


def dead_letters(server):
    return server.ask("GET", f"{ENDPOINTS}/main/dead-letters")["dead_letters"]


def replay(server, **which):
    return server.ask("POST", f"{ENDPOINTS}/main/replay", which)["queued"]


@pytest.fixture
def buried(hooked_server, receiver, user):
    """Two dead letters: the opening and the end of a session. All later events are delivered."""
    before = len(dead_letters(hooked_server))
    receiver.behave(lambda request: Answer(400) if request.data["userId"] == user else OK)
    hooked_server.client("client", user).close()

    def both():
        letters = dead_letters(hooked_server)
        return letters if len(letters) == before + 2 else None

    letters = wait_until(both, "both are dead letters")
    ours = [each for each in letters if each["username"] == user]
    assert len(ours) == 2
    return sorted(ours, key=lambda each: each["seq"])


def test_dead_letters_are_kept_and_shown(hooked_server, receiver, user, buried):
    sent = receiver.of_user(user)
    assert [each["id"] for each in buried] == [each.event["id"] for each in sent]
    assert [each["status"] for each in buried] == ["0", "1"]
    for each in buried:
        assert each["attempts"] == 1
        assert "400" in each["last_error"]
    hooked_server.restart()
    assert {each["id"] for each in buried} <= {each["id"] for each in dead_letters(hooked_server)}
    assert hook(hooked_server)["dead_letters"] == len(dead_letters(hooked_server))


def test_one_dead_letter_can_be_sent_again(hooked_server, receiver, user, buried):
    receiver.behave(OK)
    end = buried[1]
    assert replay(hooked_server, ids=[end["id"]]) == 1
    again = wait_until(lambda: receiver.of_user(user)[2:], "it comes again")
    assert [each.event["id"] for each in again] == [end["id"]]
    assert again[0].body == receiver.of_user(user)[1].body
    left = [each["id"] for each in dead_letters(hooked_server) if each["username"] == user]
    assert left == [buried[0]["id"]]


def test_dead_letters_of_a_time_can_be_sent_again_in_order(hooked_server, receiver, user, buried):
    receiver.behave(OK)
    queued = replay(hooked_server, **{"from": buried[0]["time"], "to": buried[1]["time"] + 1})
    assert queued == 2
    wait_until(lambda: len(receiver.of_user(user)) == 4, "both come again")
    again = [each.event["id"] for each in receiver.of_user(user)[2:]]
    assert again == [each["id"] for each in buried]
    assert not [each for each in dead_letters(hooked_server) if each["username"] == user]


@pytest.mark.parametrize("way", ["crash", "stop"])
def test_what_is_to_be_sent_again_outlives_the_server(hooked_server, receiver, user, buried, way):
    receiver.shut()
    assert replay(hooked_server, ids=[each["id"] for each in buried]) == 2
    getattr(hooked_server, way)()
    receiver.behave(OK)
    receiver.open()
    hooked_server.start()
    # After a crash what was refused just before it comes once more by itself.
    wanted = [each["id"] for each in buried]
    wait_until(
        lambda: (
            [each.event["id"] for each in receiver.accepted() if each.data["userId"] == user]
            == wanted
        ),
        "both come again, in order",
    )


def test_what_is_refused_again_is_a_dead_letter_again(hooked_server, receiver, user, buried):
    ids = [each["id"] for each in buried]
    assert replay(hooked_server, ids=ids) == 2
    wait_until(lambda: len(receiver.of_user(user)) == 4, "both are tried again")
    wait_until(
        lambda: set(ids) <= {each["id"] for each in dead_letters(hooked_server)},
        "both are dead letters again",
    )


def test_delivered_events_can_be_sent_again_too(hooked_server, receiver, user):
    hooked_server.client("client", user).close()
    first, last = told(receiver, user, 2)
    wait_until(lambda: hook(hooked_server)["backlog"] == 0, "no backlog")
    which = {"from": first["time"], "to": last["time"] + 1, "delivered": True}
    assert replay(hooked_server, **which) >= 2
    wait_until(lambda: len(receiver.of_user(user)) == 4, "both come again")
    checker.prove(checker.seen(receiver.of_user(user)))


def test_after_a_410_it_can_be_enabled_again_and_misses_nothing(hooked_server, receiver, user):
    receiver.behave(Answer(410))
    hooked_server.client("client", user).close()
    wait_until(lambda: hook(hooked_server)["state"] == "disabled", "it is disabled")
    hooked_server.restart()
    assert hook(hooked_server)["state"] == "disabled"
    receiver.behave(OK)
    tried = len(receiver.requests)
    hooked_server.client("client", user).close()
    time.sleep(1.5)  # for tries that must not come
    assert len(receiver.requests) == tried
    hooked_server.ask("POST", f"{ENDPOINTS}/main/enable", status=204)
    wait_until(lambda: hook(hooked_server)["backlog"] == 0, "all is delivered")
    accepted = [each.data["status"] for each in receiver.accepted() if each.data["userId"] == user]
    assert accepted == ["0", "1", "0", "1"]
