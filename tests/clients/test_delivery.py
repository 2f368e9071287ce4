"""Receivers that fail in every way they can: nothing is lost, nothing overtakes, nobody else waits."""

import time
from itertools import pairwise

import pytest

import checker
from harness import wait_until
from hooks import Endpoint, hooked
from receiver import OK, Answer, CloseAtOnce, CloseMidAnswer, EndlessBody, Hang, Receiver
from wire import user_property

DEADLINE_SECS = 1
REFUSED_SECS = [0, 1, 2]
WEBHOOK = f"deadline_secs = {DEADLINE_SECS}\nrefused_secs = {REFUSED_SECS}\n"

MAIN = Endpoint("main")
BESIDE = Endpoint("beside")
MIB = 1 << 20


@pytest.fixture(scope="module")
def hooked_server(tmp_path_factory):
    """One server with two endpoints; each test makes the first one behave, the other is good."""
    folder = tmp_path_factory.mktemp("server")
    with hooked(folder, MAIN, BESIDE, webhook=WEBHOOK) as server:
        yield server


@pytest.fixture
def main(hooked_server):
    """The receiver to be misused. After the test it is good again."""
    yield MAIN.receiver
    MAIN.receiver.behave(OK)
    MAIN.receiver.open()
    hooked_server.wait_until_quiet(MAIN.receiver)


@pytest.fixture
def name(request):
    """A prefix of user names for this test alone."""
    return request.node.name


def come_and_go(server, *users):
    """One session for each, one after the other."""
    for user in users:
        server.client(f"client of {user}", user).close()


def wait_for_statuses(receiver, user, *statuses, deadline_secs=20):
    def told():
        return [each.data["status"] for each in receiver.accepted() if each.data["userId"] == user]

    wait_until(
        lambda: told() == list(statuses),
        lambda: f"{user} told as {statuses}, is {told()}",
        deadline_secs,
    )


DOWN = {
    "500": Answer(500),
    "503": Answer(503),
    "408": Answer(408),
    "429": Answer(429, {"retry-after": "1"}),
    "hanging": Hang(),
    "too slow": Answer(after_secs=DEADLINE_SECS + 1),
    "closing": CloseAtOnce(),
    "closing mid-answer": CloseMidAnswer(),
}


def test_a_receiver_that_is_down_gets_everything_in_order_later(tmp_path):
    """In every way at once, each another endpoint, and one beside them that is good."""
    users = [f"user {number}" for number in range(10)]
    down = {way: Endpoint(f"down-{number}") for number, way in enumerate(DOWN)}
    beside = Endpoint("beside")
    with hooked(tmp_path, *down.values(), beside, webhook=WEBHOOK) as server:
        for way, endpoint in down.items():
            endpoint.receiver.behave(DOWN[way])
        come_and_go(server, *users, *users)
        for way, endpoint in down.items():
            wait_until(lambda it=endpoint.receiver: it.requests, f"{way}: the receiver was tried")
        # The one beside them does not wait.
        for user in users:
            wait_for_statuses(beside.receiver, user, "0", "1", "0", "1", deadline_secs=5)
        for endpoint in down.values():
            endpoint.receiver.behave(OK)
        for endpoint in (*down.values(), beside):
            for user in users:
                wait_for_statuses(endpoint.receiver, user, "0", "1", "0", "1")
            server.prove(endpoint.receiver, still_open=())


def test_a_receiver_that_refuses_connections_gets_everything_in_order_later(
    hooked_server, main, name
):
    users = [f"{name} {number}" for number in range(10)]
    main.shut()
    come_and_go(hooked_server, *users, *users)
    for user in users:
        wait_for_statuses(BESIDE.receiver, user, "0", "1", "0", "1", deadline_secs=5)
    main.open()
    for user in users:
        wait_for_statuses(main, user, "0", "1", "0", "1")
    hooked_server.prove(main, name, still_open=())


def test_a_receiver_that_is_down_is_probed_with_one_event_at_a_time(hooked_server, main, name):
    main.behave(Answer(500))
    before = len(main.requests)
    come_and_go(hooked_server, *(f"{name} {number}" for number in range(100)))
    time.sleep(3)  # for the probes that may come in this time
    tries = main.requests[before:]
    # What was under way when it failed first, and then a probe a second at most.
    assert len(tries) <= 16 + 4, len(tries)
    assert len({each.body for each in tries[-2:]}) == 1, "not the oldest one again"


def test_an_endless_body_is_success_and_not_read(hooked_server, main, name):
    main.drop_connections()  # idle ones of earlier tests, which may stay open for a while
    main.behave(EndlessBody())
    before = main.poured_bytes
    come_and_go(hooked_server, name)
    wait_for_statuses(main, name, "0", "1")
    wait_until(lambda: not main.open_connections, "the connections are closed")
    assert len(main.of_user(name)) == 2, "tried again in spite of the success"
    # All of it is what the buffers of both ends' systems take.
    assert main.poured_bytes - before < 64 * MIB
    hooked_server.prove(main, name, still_open=())


def test_retry_after_is_honoured(hooked_server, main, name):
    main.behave(Answer(429, {"retry-after": "3"}))
    before = len(main.requests)
    come_and_go(hooked_server, name)
    first = main.wait_for_requests(before + 1)[before]
    main.behave(OK)
    second = main.wait_for_requests(before + 2)[before + 1]
    assert second.arrived - first.arrived >= 2.9
    assert second.body == first.body


def only(user, status, answer):
    """Answers just this event in its own way."""

    def decide(request):
        data = request.data
        return answer if (data["userId"], data["status"]) == (user, status) else OK

    return decide


REFUSALS = {
    "400": Answer(400),
    "404": Answer(404),
    "301": Answer(301, {"location": "http://127.0.0.1:9/"}),
    "304": Answer(304),
}


def test_a_refused_event_is_tried_some_times_and_then_the_next_one_goes(tmp_path):
    """With every refusal at once, each another endpoint's. A redirect is one, and is not followed."""
    with Receiver() as elsewhere:
        refusals = REFUSALS | {"302": Answer(302, {"location": elsewhere.url})}
        refusing = {what: Endpoint(f"refusing-{what}") for what in refusals}
        with hooked(tmp_path, *refusing.values(), webhook=WEBHOOK) as server:
            for what, endpoint in refusing.items():
                endpoint.receiver.behave(only("alice", "0", refusals[what]))
            come_and_go(server, "alice")
            come_and_go(server, "bob")
            for endpoint in refusing.values():
                # Other users do not wait for it.
                wait_for_statuses(endpoint.receiver, "bob", "0", "1", deadline_secs=1)
            for endpoint in refusing.values():
                wait_for_statuses(endpoint.receiver, "alice", "1")
                check_refused(endpoint.receiver.of_user("alice"))
        assert elsewhere.connections == 0


def check_refused(told):
    """The online event of a user was tried three times, with a pause, and then given up."""
    refused = [each for each in told if each.data["status"] == "0"]
    assert len({each.event["id"] for each in refused}) == 1
    gaps = [later.arrived - earlier.arrived for earlier, later in pairwise(refused)]
    assert len(gaps) == 2
    assert all(0.9 <= gap < 2 for gap in gaps), gaps
    checker.prove(checker.seen(told), given_up={refused[0].event["id"]})


def test_an_event_that_is_refused_for_a_while_is_delivered_in_order(hooked_server, main, name):
    main.behave(only(name, "0", Answer(400)))
    before = len(main.requests)
    come_and_go(hooked_server, name)
    main.wait_for_requests(before + 1)
    main.behave(OK)
    wait_for_statuses(main, name, "0", "1")
    hooked_server.prove(main, name, still_open=())


def test_connections_are_used_again(hooked_server, main, name):
    before = main.connections
    come_and_go(hooked_server, *(f"{name} {number}" for number in range(50)))
    wait_for_statuses(main, f"{name} 49", "0", "1")
    assert main.connections - before <= 16, "one connection an event"


def test_a_receiver_that_closes_idle_connections_loses_nothing(hooked_server, main, name):
    for number in range(20):
        come_and_go(hooked_server, f"{name} {number}")
        main.drop_connections()
    for number in range(20):
        wait_for_statuses(main, f"{name} {number}", "0", "1")
    hooked_server.prove(main, name, still_open=())


def test_a_hanging_receiver_holds_up_no_connect(hooked_server, main, name):
    """Coarse on purpose: the benchmark measures it; this catches waiting."""

    def secs_for(count):
        started = time.monotonic()
        come_and_go(hooked_server, *(f"{name} {number}" for number in range(count)))
        return time.monotonic() - started

    secs_for(50)
    good = min(secs_for(200) for _ in range(2))
    main.behave(Hang())
    bad = min(secs_for(200) for _ in range(2))
    assert bad < 2 * good + 0.2, (bad, good)


# --- servers of their own ---


def test_410_disables_the_endpoint_loudly_and_no_other(tmp_path):
    gone, beside = Endpoint("gone"), Endpoint("beside")
    with hooked(tmp_path, gone, beside) as server:
        gone.receiver.behave(Answer(410))
        come_and_go(server, "alice")
        wait_for_statuses(beside.receiver, "alice", "0", "1")
        wait_until(lambda: "410" in server.log and "gone" in server.log, "the log says so")
        tried = len(gone.receiver.requests)
        gone.receiver.behave(OK)
        come_and_go(server, "bob")
        wait_for_statuses(beside.receiver, "bob", "0", "1")
        server.restart()
        come_and_go(server, "carol")
        wait_for_statuses(beside.receiver, "carol", "0", "1")
        assert len(gone.receiver.requests) == tried, "it is told events after its 410"
        assert "disabled" in server.get("/metrics").body.decode()


@pytest.mark.parametrize("allow", ["", 'allow_addresses = ["127.0.0.2/32"]\n'])
def test_an_address_that_is_not_allowed_is_not_dialled(tmp_path, allow):
    endpoint = Endpoint()
    with hooked(tmp_path, endpoint, allow=allow) as server:
        come_and_go(server, "alice")
        wait_until(lambda: "attempts" in server.get("/metrics").body.decode(), "it was tried")
        time.sleep(0.5)  # for a connection that must not come
        assert endpoint.receiver.connections == 0
        server.restart()
        assert endpoint.receiver.connections == 0


def test_the_contract_payload_is_the_contract_and_no_more(tmp_path):
    endpoint = Endpoint(payload="contract")
    with hooked(tmp_path, endpoint) as server:
        server.client("a", "alice", level=5, props=user_property("os", "iOS")).close()
        come_and_go(server, "bob")
        events = endpoint.receiver.wait_for(4)
        arrivals = checker.seen(events)
        checker.prove(arrivals, extended=False)
        assert [each.data.get("os") for each in events if each.data["userId"] == "alice"] == [
            "iOS",
            None,
        ]


# --- level user ---


@pytest.fixture
def user_level(tmp_path):
    endpoint = Endpoint(settings='level = "user"')
    with hooked(tmp_path, endpoint) as server:
        yield server, endpoint.receiver


def test_at_level_user_the_first_device_and_the_last_one_count(user_level):
    server, receiver = user_level
    phone, laptop = server.client("phone", "alice"), server.client("laptop", "alice")
    phone.close()
    server.client("phone", "alice").close()
    wait_until(lambda: server.online() == {"alice": ["laptop"]}, "only the laptop is left")
    laptop.close()
    wait_for_statuses(receiver, "alice", "0", "1")
    come_and_go(server, "alice")
    wait_for_statuses(receiver, "alice", "0", "1", "0", "1")
    assert not checker.user_level_violations(checker.seen(receiver.events()))


GRACE_SECS = 2


@pytest.fixture
def graceful(tmp_path):
    endpoint = Endpoint(settings=f'level = "user"\ngrace_seconds = {GRACE_SECS}')
    with hooked(tmp_path, endpoint) as server:
        yield server, endpoint.receiver


def test_within_the_grace_a_reconnect_stays_quiet(graceful):
    server, receiver = graceful
    for _ in range(10):
        come_and_go(server, "alice")
    last = server.client("client of alice", "alice")
    time.sleep(GRACE_SECS + 1)  # the grace, in which nothing may come
    wait_for_statuses(receiver, "alice", "0")
    last.close()
    gone = time.monotonic()
    wait_for_statuses(receiver, "alice", "0", "1")
    assert time.monotonic() - gone >= GRACE_SECS - 0.1


@pytest.mark.parametrize("way", ["crash", "stop"])
def test_what_the_grace_holds_back_outlives_the_server(graceful, way):
    server, receiver = graceful
    come_and_go(server, "alice")
    wait_for_statuses(receiver, "alice", "0")
    server.wait_until_nobody_is_online()
    getattr(server, way)()
    server.start()
    wait_for_statuses(receiver, "alice", "0", "1")
    assert not checker.user_level_violations(checker.seen(receiver.accepted()))


# --- one device at a time ---


def statuses_and_reasons(receiver, user):
    return [(each.data["status"], each.data.get("reason")) for each in receiver.of_user(user)]


def test_with_one_device_the_newer_login_wins(tmp_path):
    endpoint = Endpoint()
    with hooked(tmp_path, endpoint, org='multi_device = "one"') as server:
        phone = server.client("phone", "alice", level=5)
        laptop = server.client("laptop", "alice")
        assert phone.packets_until_closed()[-1].body[:1] == b"\x8e"
        assert server.online() == {"alice": ["laptop"]}
        laptop.close()
        endpoint.receiver.wait_for(4)
        server.prove(endpoint.receiver, still_open=())
        assert statuses_and_reasons(endpoint.receiver, "alice") == [
            ("0", None),
            ("1", "kicked_by_device"),
            ("0", None),
            ("1", "connection_lost"),
        ]


def test_with_one_device_per_platform_other_platforms_stay(tmp_path):
    endpoint = Endpoint()
    with hooked(tmp_path, endpoint, org='multi_device = "one_per_platform"') as server:

        def device(client_id, os):
            return server.client(client_id, "alice", level=5, props=user_property("os", os))

        first, android = device("iphone", "iOS"), device("droid", "Android")
        second = device("ipad", "ios")
        assert first.packets_until_closed()[-1].body[:1] == b"\x8e"
        assert server.online() == {"alice": ["droid", "ipad"]}
        android.ping()
        for client in (android, second):
            client.close()
        endpoint.receiver.wait_for(6)
        server.prove(endpoint.receiver, still_open=())
