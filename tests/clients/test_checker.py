"""The checker itself: it finds every kind of fault in made-up events. One that cannot fail proves
nothing.
"""

import copy
from uuid import UUID

import pytest

import checker
from checker import Seen, violations

FIRST_MS = 1_730_192_400_000


class Story:
    """Events of one organisation as a faultless server would tell them."""

    def __init__(self):
        self.events = []
        self._seq, self._online = {}, {}

    def online(self, user, session, client_id="phone"):
        self._online.setdefault(user, {})[session] = {
            "clientId": client_id,
            "connectedAt": FIRST_MS + len(self.events),
            "clientIp": f"127.0.0.1:{40_000 + len(self.events)}",
            "protocol": "5",
        }
        self._tell(user, session, "0", self._online[user][session], {})
        return self

    def offline(self, user, session, reason="client_disconnect"):
        facts = self._online[user].pop(session)
        status = "2" if reason == "logged_out" else "1"
        self._tell(user, session, status, facts, {"reason": reason})
        return self

    def _tell(self, user, session, status, facts, more):
        self._seq[user] = self._seq.get(user, 0) + 1
        at_ms = FIRST_MS + len(self.events)
        data = {
            "status": status,
            "userId": user,
            "time": at_ms,
            "sessionId": f"sess_{session}",
            "seq": self._seq[user],
            "onlineSessions": len(self._online[user]),
        }
        self.events.append(
            {
                "type": "user:connection_status",
                "id": str(UUID(int=len(self.events) + 1)),
                "time": at_ms,
                "data": [data | facts | more],
            }
        )

    def arrivals(self):
        """Each event once, accepted at once."""
        return [
            Seen(copy.deepcopy(event), 200, at, at) for at, event in enumerate(self.events, start=1)
        ]


def day():
    """Alice takes her own session over and logs out; Bob has two devices."""
    return (
        Story()
        .online("alice", "a1")
        .online("bob", "b1", "laptop")
        .offline("alice", "a1", "taken_over")
        .online("alice", "a2")
        .online("bob", "b2", "phone")
        .offline("bob", "b1", "connection_lost")
        .offline("alice", "a2", "logged_out")
        .offline("bob", "b2")
    )


def at_times(arrivals):
    """Given again the times that go with their order."""
    return [Seen(each.event, each.status, at, at) for at, each in enumerate(arrivals, start=1)]


def test_a_faultless_story_has_no_violations():
    assert violations(day().arrivals()) == []


def test_retries_after_failures_are_no_violation():
    arrivals = day().arrivals()
    tries = [Seen(each.event, status) for each in arrivals for status in (500, None, 200, 200, 503)]
    assert violations(at_times(tries)) == []


def test_old_events_again_after_a_crash_are_no_violation():
    arrivals = day().arrivals()
    assert violations(at_times(arrivals[:6] + arrivals[2:])) == []


def test_sessions_that_are_open_have_no_end_yet():
    story = Story().online("alice", "a1")
    assert violations(story.arrivals(), still_open={"sess_a1"}) == []
    assert violations(story.arrivals(), still_open="any") == []
    assert violations(story.arrivals()) == ["user alice: session sess_a1 has no end"]


def lose(position):
    return lambda arrivals: arrivals.pop(position)


def swap(one, other):
    def change(arrivals):
        arrivals[one], arrivals[other] = arrivals[other], arrivals[one]

    return change


def put(position, **fields):
    """Changes fields of the data; None takes one out."""

    def change(arrivals):
        arrivals[position].data.update(fields)
        for name in [name for name, value in fields.items() if value is None]:
            del arrivals[position].data[name]

    return change


def put_envelope(position, **fields):
    return lambda arrivals: arrivals[position].event.update(fields)


def copy_with_new_id(position):
    def change(arrivals):
        again = copy.deepcopy(arrivals[position])
        again.event["id"] = str(UUID(int=99))
        arrivals.append(again)

    return change


def repeat_changed(position, **fields):
    def change(arrivals):
        again = copy.deepcopy(arrivals[position])
        again.data.update(fields)
        arrivals.append(again)

    return change


def refuse(position):
    def change(arrivals):
        arrivals[position] = Seen(arrivals[position].event, 500)

    return change


# In `day()`: 0 alice a1 on, 1 bob b1 on, 2 a1 off, 3 a2 on, 4 b2 on, 5 b1 off, 6 a2 out, 7 b2 off
FAULTS = {
    "an opening is lost": (lose(0), "seq 2 came after 0: a gap"),
    "an opening is lost: the end has no cause": (lose(0), "an end before the opening"),
    "an end is lost": (lose(2), "session sess_a1 has no end"),
    "the last end is lost": (lose(7), "session sess_b2 has no end"),
    "the new opening comes before the old end": (swap(2, 3), "seq 2 came first after 3"),
    "two sessions of one client": (
        lambda arrivals: (swap(2, 3)(arrivals), put(2, seq=2)(arrivals), put(3, seq=3)(arrivals)),
        "client phone still has session sess_a1",
    ),
    "an event twice under two ids": (copy_with_new_id(7), "seq 4 came first after 4"),
    "a second end": (copy_with_new_id(7), "a second end"),
    "a second opening": (copy_with_new_id(4), "a second opening"),
    "a retry that is another event": (repeat_changed(5, time=FIRST_MS + 99), "as another event"),
    "a session of two users": (put(6, sessionId="sess_b2"), "belongs to"),
    "seq starts late": (lambda a: [put(i, seq=9 + i)(a) for i in (0, 2, 3, 6)], "a gap"),
    "a wrong count": (put(4, onlineSessions=1), "onlineSessions is 1, the fold has 2"),
    "time goes back": (put(7, time=FIRST_MS), "time went back"),
    "another opening time": (put(6, connectedAt=FIRST_MS), "connectedAt was"),
    "an opening that is not its own time": (put(3, connectedAt=FIRST_MS), "is not its time"),
    "another address at the end": (put(7, clientIp="127.0.0.1:1"), "clientIp was"),
    "the next event does not wait": (refuse(2), "came before"),
    "a null": (lambda a: a[0].data.update(os=None), "os is None"),
    "a field too few": (put(0, userId=None), "lacks ['userId']"),
    "a field too many": (lambda a: a[0].data.update(nickname="x"), "nickname"),
    "os on an end": (put(7, os="iOS"), "has ['os']"),
    "an unknown os": (put(0, os="BeOS"), "os 'BeOS'"),
    "a reason on an opening": (put(0, reason="taken_over"), "has ['reason']"),
    "an end without a reason": (put(7, reason=None), "lacks ['reason']"),
    "an unknown reason": (put(7, reason="bored"), "reason 'bored'"),
    "a logout that is told as offline": (put(6, status="1"), "status '1' for logged_out"),
    "an unknown status": (put(7, status="3"), "status '3'"),
    "a number as text": (put(0, time=str(FIRST_MS)), "time is"),
    "a bare IPv6 address": (put(0, clientIp="::1:443"), "clientIp '::1:443'"),
    "an id that is none": (put_envelope(0, id="1"), "is no UUID"),
    "another type": (put_envelope(0, type="user:status"), "type 'user:status'"),
    "two in one": (lambda a: a[0].event["data"].append({}), "not one object"),
    "an envelope with more": (put_envelope(0, version=1), "the envelope has"),
}


@pytest.mark.parametrize(("fault", "found"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_found(fault, found):
    arrivals = day().arrivals()
    fault(arrivals)
    said = violations(at_times(arrivals), still_open=())
    assert any(found in each for each in said), said


def test_an_event_that_arrives_while_the_previous_one_is_unanswered_is_found():
    arrivals = day().arrivals()
    late = Seen(arrivals[0].event, 200, arrivals[0].arrived, answered=50)
    assert any("came before" in each for each in violations([late, *arrivals[1:]]))


def test_events_given_up_leave_a_gap_that_is_none():
    arrivals = day().arrivals()
    given_up = {arrivals[2].event["id"]}
    arrivals[2] = Seen(arrivals[2].event, 400)
    assert violations(at_times(arrivals), given_up=given_up) == []


def test_the_contract_payload_has_none_of_the_extension():
    arrivals = day().arrivals()
    assert violations(arrivals, extended=False)
    extension = checker.EXTENSION_FIELDS | {"reason"}
    for arrival in arrivals:
        for name in extension & set(arrival.data):
            del arrival.data[name]
    assert violations(arrivals, extended=False) == []


def test_the_fold_is_who_is_online():
    arrivals = day().arrivals()
    assert checker.fold(arrivals[:5]) == {"alice": ["phone"], "bob": ["laptop", "phone"]}
    assert checker.fold(arrivals) == {}
    reply = {"users": [{"username": "bob", "client_id": each} for each in ("phone", "laptop")]}
    assert checker.presence_fold(reply) == {"bob": ["laptop", "phone"]}


def test_a_session_that_was_acknowledged_and_never_told_of_is_found():
    arrivals = day().arrivals()
    told = [(each.data["userId"], each.data["clientIp"]) for each in arrivals]
    assert checker.missing_sessions(arrivals, [told[0], told[1]]) == []
    assert checker.missing_sessions(arrivals, [told[0], told[0]]) == [told[0]]
    assert checker.missing_sessions(arrivals, [("carol", "127.0.0.1:1")])


def test_a_user_told_twice_to_be_online_is_found():
    story = Story().online("bob", "b1", "laptop").online("bob", "b2", "phone")
    assert checker.user_level_violations(story.arrivals())
    story = Story().online("bob", "b1").offline("bob", "b1").online("bob", "b2")
    assert checker.user_level_violations(story.arrivals()) == []
    assert checker.user_level_violations(story.arrivals()[1:]), "an end first"
