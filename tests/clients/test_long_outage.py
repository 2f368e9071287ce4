"""A receiver that is away for long: what waits for it is neither lost nor in anybody's way.

The journal is kept so small here that it would forget within minutes, and the endpoints hold so
little in memory that every limit is reached.
"""

import pytest

import checker
from harness import wait_until
from hooks import Churn, Endpoint, hooked
from receiver import OK, Answer, Hang

MIB = 1 << 20
FIRST_SEGMENT = "0000000000.log"
SMALL_JOURNAL = f"[journal]\nsegment_bytes = {MIB}\nretention_bytes = {MIB}\n"
# Two events of a session with such a client id take 6 KB: these are more than four segments full.
PAD = 3000
SESSIONS = 900


@pytest.fixture
def outage(tmp_path):
    away, beside = Endpoint("away"), Endpoint("beside")
    webhook = "waiting_max = 1000\n"
    with hooked(tmp_path, away, beside, webhook=webhook, settings=SMALL_JOURNAL) as server:
        yield server, away.receiver, beside.receiver


def segments(server):
    return sorted(path.name for path in (server.folder / "data/journal").glob("*.log"))


def test_what_a_receiver_has_not_got_is_kept_longer_than_the_retention(outage):
    """Sessions that are open all the time outlive the segments in which they opened."""
    server, away, beside = outage
    old = [server.client(f"old-{number}", "old", keep_alive=0) for number in range(5)]
    away.shut()
    with Churn(server, 50, 2, 40, "disconnect", "reset", "finish", pad=PAD) as churn:
        churn.wait_for(SESSIONS, 60)
        server.crash()
        server.start()
        acknowledged = churn.stop()
    assert len(segments(server)) > 3, "the journal was not long enough for this test"
    server.wait_until_nobody_is_online()
    server.prove(beside, still_open=())
    away.open()
    server.wait_until_quiet(away)
    server.prove(away, still_open=())
    missing = checker.missing_sessions(checker.seen(away.events()), acknowledged)
    assert not missing, missing[:5]
    ends = [each.data["reason"] for each in away.of_user("old") if each.data["status"] == "1"]
    assert ends == ["server_crashed"] * len(old)
    for client in old:
        client.close()


def test_what_everybody_got_is_forgotten(outage):
    server, _, _ = outage
    with Churn(server, 50, 2, 40, "disconnect", "reset", pad=PAD) as churn:
        churn.wait_for(SESSIONS, 60)
        churn.stop()
    server.wait_until_nobody_is_online()

    def forgotten():
        # Forgetting goes by segments, when there is something to do.
        server.client("client", "alice").close()
        return FIRST_SEGMENT not in segments(server)

    wait_until(forgotten, lambda: f"the first segment is gone: {segments(server)}", 90)
    server.crash()
    server.start()
    assert server.online() == {}


def test_one_user_whose_events_are_refused_holds_up_no_other(tmp_path):
    """Also when more of its events wait than the endpoint holds in memory."""
    endpoint = Endpoint()
    webhook = "waiting_max = 100\nrefused_secs = [0, 60]\n"
    with hooked(tmp_path, endpoint, webhook=webhook) as server:
        receiver = endpoint.receiver
        receiver.behave(lambda request: Answer(400) if request.data["userId"] == "bad" else OK)
        for _ in range(200):
            server.client("bad", "bad").close()
        server.client("good", "good").close()
        wait_until(
            lambda: (
                len([each for each in receiver.accepted() if each.data["userId"] == "good"]) == 2
            ),
            lambda: f"good is told of: {receiver.summary()}",
        )


def test_offline_events_that_the_grace_held_back_are_all_told_when_it_ends(tmp_path):
    """Many at once, and more than the endpoint holds in memory."""
    endpoint = Endpoint(settings='level = "user"\ngrace_seconds = 2')
    with hooked(tmp_path, endpoint, webhook="waiting_max = 1100\n") as server:
        clients = [server.client(f"client-{number}", f"user-{number}") for number in range(1400)]
        endpoint.receiver.wait_for(len(clients))
        for client in clients:
            client.close()
        endpoint.receiver.wait_for(2 * len(clients))
        assert not checker.user_level_violations(checker.seen(endpoint.receiver.events()))


def test_an_event_that_waits_for_its_next_try_is_no_reason_to_stop_slowly(tmp_path):
    """Nothing can be delivered while the stop lasts, so there is nothing to wait for."""
    endpoint = Endpoint()
    with hooked(tmp_path, endpoint, webhook="refused_secs = [0, 60]\n") as server:
        endpoint.receiver.behave(Answer(400))
        server.client("client", "alice").close()
        endpoint.receiver.wait_for_requests(1)
        assert server.stop(5) == 0
        server.start()


def test_a_hung_receiver_is_no_reason_to_stop_slowly(tmp_path):
    endpoint = Endpoint()
    with hooked(tmp_path, endpoint, webhook="drain_secs = 1\n") as server:
        endpoint.receiver.behave(Hang())
        for number in range(50):
            server.client(f"client-{number}", "alice").close()
        assert server.stop(5) == 0
        endpoint.receiver.behave(OK)
        endpoint.receiver.drop_connections()
        server.start()
        endpoint.receiver.wait_for(100)
        server.prove(endpoint.receiver, still_open=())
