"""What must be true of the events that a receiver got, whatever happened on the way.

`violations` is a pure function over recorded events and says what is wrong in sentences; an empty
list is the proof. `fold` is the online sessions that a receiver has believed into being, to be
compared with what the REST API says.

Events are given as `Seen`: in the order of their arrival, with the status that the receiver
answered. The rules:

- an id that comes again is the same event, word for word: a retry;
- per user, the first arrivals have `seq` 1, 2, 3 and so on, without gap or repetition;
- a session has exactly one "0", and then exactly one "1" or "2", in this order;
- a client identifier has one session at a time: the old one's end comes before the new one's "0";
- `onlineSessions` is what the fold has after the event;
- time does not go back, and the end tells the time of the opening;
- an event does not come before the user's previous one was accepted or given up;
- nothing is null, nothing is missing, nothing is there that the contract does not know.
"""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

ONLINE, OFFLINE, LOGGED_OUT = "0", "1", "2"
REASONS = {
    "client_disconnect", "connection_lost", "keep_alive_timeout", "taken_over",
    "kicked_by_device", "terminated", "logged_out", "credentials_expired", "protocol_error",
    "server_stopped", "server_crashed",
}  # fmt: skip

TYPES = {
    "status": str, "userId": str, "time": int, "os": str, "clientIp": str, "sessionId": str,
    "clientId": str, "seq": int, "reason": str, "onlineSessions": int, "connectedAt": int,
    "protocol": str,
}  # fmt: skip
CONTRACT_FIELDS = {"status", "userId", "time", "sessionId", "clientIp"}
EXTENSION_FIELDS = {"clientId", "seq", "onlineSessions", "connectedAt", "protocol"}
CLIENT_IP = re.compile(r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}")


@dataclass(frozen=True)
class Seen:
    """One arrival of an event; `status` is what the receiver answered, None for nothing whole."""

    event: dict
    status: int | None = 200
    arrived: float = 0
    answered: float = 0

    @property
    def data(self):
        return self.event["data"][0]


def seen(requests):
    """The requests of a `Receiver` as the checker wants them."""
    return [Seen(each.event, each.status, each.arrived, each.answered) for each in requests]


def violations(arrivals, *, still_open=(), given_up=(), extended=True, in_flight_rule=True):
    """Everything that is wrong, in sentences.

    `still_open` are the session ids that may lack an end, "any" if all may; `given_up` are ids of
    events that became dead letters, whose absence is no gap. `in_flight_rule` is for receivers
    that recorded their answers.
    """
    found = []
    for at, arrival in enumerate(arrivals):
        found += [f"arrival {at}: {each}" for each in shape(arrival.event, extended)]
    if found:
        return found
    found += duplicates(arrivals)
    by_user = {}
    for arrival in arrivals:
        by_user.setdefault(arrival.data["userId"], []).append(arrival)
    for user, theirs in by_user.items():
        problems = user_violations(theirs, still_open, given_up, extended)
        if in_flight_rule:
            problems += overtaking(theirs, given_up)
        found += [f"user {user}: {each}" for each in problems]
    return found


def prove(arrivals, **how):
    """Fails with all that is wrong."""
    found = violations(arrivals, **how)
    assert not found, f"{len(found)} violations in {len(arrivals)} arrivals:\n" + "\n".join(
        found[:20]
    )


# === one event ===


def shape(event, extended):
    """What is wrong with the fields of one event."""
    problems = []
    if set(event) != {"type", "id", "time", "data"}:
        return [f"the envelope has {sorted(event)}"]
    if event["type"] != "user:connection_status":
        problems.append(f"type {event['type']!r}")
    if not is_uuid(event["id"]):
        problems.append(f"id {event['id']!r} is no UUID")
    if type(event["time"]) is not int:
        problems.append(f"time {event['time']!r} is no integer")
    if not isinstance(event["data"], list) or len(event["data"]) != 1:
        return [*problems, "data is not one object in an array"]
    return problems + data_shape(event["data"][0], extended)


def data_shape(data, extended):
    problems = [
        f"{name} is {value!r}"
        for name, value in data.items()
        if type(value) is not TYPES.get(name)  # `is`: a bool is no integer
    ]
    online = data.get("status") == ONLINE
    if data.get("status") not in (ONLINE, OFFLINE, LOGGED_OUT):
        problems.append(f"status {data.get('status')!r}")
    needed = CONTRACT_FIELDS | (EXTENSION_FIELDS if extended else set())
    allowed = needed | ({"os"} if online else set())
    if extended and not online:
        needed = needed | {"reason"}
        allowed = allowed | {"reason"}
    if missing := needed - set(data):
        problems.append(f"lacks {sorted(missing)}")
    if extra := set(data) - allowed:
        problems.append(f"has {sorted(extra)}, which do not belong there")
    if problems:
        return problems
    if data.get("os", "iOS") not in ("iOS", "Android", "Websocket"):
        problems.append(f"os {data['os']!r}")
    if not CLIENT_IP.fullmatch(data["clientIp"]):
        problems.append(f"clientIp {data['clientIp']!r}")
    if extended and not online and data["reason"] not in REASONS:
        problems.append(f"reason {data['reason']!r}")
    if (
        extended
        and not online
        and (data["reason"] == "logged_out") != (data["status"] == LOGGED_OUT)
    ):
        problems.append(f"status {data['status']!r} for {data['reason']}")
    return problems


def is_uuid(text):
    try:
        return str(UUID(text)) == text
    except (ValueError, AttributeError, TypeError):
        return False


# === all events ===


def duplicates(arrivals):
    """Retries that are not what came first, and sessions of two users."""
    problems, first, owners = [], {}, {}
    for arrival in arrivals:
        event = arrival.event
        if first.setdefault(event["id"], event) != event:
            problems.append(f"id {event['id']} came again as another event")
        session, user = arrival.data["sessionId"], arrival.data["userId"]
        if owners.setdefault(session, user) != user:
            problems.append(f"session {session} belongs to {owners[session]} and to {user}")
    return problems


# === the events of one user ===


def first_arrivals(arrivals):
    """Without the retries."""
    known, firsts = set(), []
    for arrival in arrivals:
        if arrival.event["id"] not in known:
            known.add(arrival.event["id"])
            firsts.append(arrival)
    return firsts


def user_violations(arrivals, still_open, given_up, extended):
    fold = UserFold(extended, has_gaps=bool(given_up))
    for arrival in first_arrivals(arrivals):
        fold.take(arrival.data)
    problems = fold.problems
    for session in fold.open:
        if still_open != "any" and session not in still_open:
            problems.append(f"session {session} has no end")
    return problems


class UserFold:
    """What a receiver believes of one user, and where it is led astray."""

    def __init__(self, extended=True, has_gaps=False):
        self.extended, self.has_gaps = extended, has_gaps
        self.problems = []
        self.open = {}
        self.ended = set()
        self.seq = 0
        self.time = 0

    def take(self, data):
        what = f"session {data['sessionId']} status {data['status']}"
        if self.extended:
            self.count(data, what)
        if data["time"] < self.time:
            self.problems.append(f"{what}: time went back from {self.time} to {data['time']}")
        self.time = data["time"]
        if data["status"] == ONLINE:
            self.begin(data, what)
        else:
            self.end(data, what)
        if self.extended and not self.has_gaps and data["onlineSessions"] != len(self.open):
            self.problems.append(
                f"{what}: onlineSessions is {data['onlineSessions']}, the fold has {len(self.open)}"
            )

    def count(self, data, what):
        seq = data["seq"]
        if seq <= self.seq:
            self.problems.append(f"{what}: seq {seq} came first after {self.seq}")
        elif seq != self.seq + 1 and not self.has_gaps:
            self.problems.append(f"{what}: seq {seq} came after {self.seq}: a gap")
        self.seq = max(seq, self.seq)

    def begin(self, data, what):
        session = data["sessionId"]
        if session in self.open or session in self.ended:
            self.problems.append(f"{what}: a second opening")
            return
        if self.extended:
            if data["connectedAt"] != data["time"]:
                self.problems.append(f"{what}: connectedAt is not its time")
            for other, its in self.open.items():
                if its["clientId"] == data["clientId"] and not self.has_gaps:
                    self.problems.append(
                        f"{what}: client {data['clientId']} still has session {other}"
                    )
        self.open[session] = data

    def end(self, data, what):
        session = data["sessionId"]
        if session in self.ended:
            self.problems.append(f"{what}: a second end")
            return
        self.ended.add(session)
        opening = self.open.pop(session, None)
        if opening is None:
            if not self.has_gaps:
                self.problems.append(f"{what}: an end before the opening")
            return
        for name in ("clientIp", "clientId", "connectedAt", "protocol"):
            if opening.get(name) != data.get(name):
                self.problems.append(
                    f"{what}: {name} was {opening.get(name)} and is {data.get(name)}"
                )


def overtaking(arrivals, given_up):
    """Events that came although the user's previous one was neither accepted nor given up."""
    accepted_at = {}
    for arrival in arrivals:
        if arrival.status is not None and 200 <= arrival.status < 300:
            accepted_at.setdefault(arrival.event["id"], arrival.answered)
    problems, firsts = [], first_arrivals(arrivals)
    for previous, arrival in pairwise(firsts):
        waited_for = previous.event["id"]
        if waited_for in given_up:
            continue
        if accepted_at.get(waited_for, float("inf")) > arrival.arrived:
            problems.append(f"event {arrival.event['id']} came before {waited_for} was accepted")
    return problems


# === against what the clients and the REST API say ===


def fold(arrivals):
    """Who is online by the events: per user a sorted list of client ids (extended payload)."""
    folds = {}
    for arrival in first_arrivals(arrivals):
        folds.setdefault(arrival.data["userId"], UserFold()).take(arrival.data)
    return {
        user: sorted(data["clientId"] for data in each.open.values())
        for user, each in folds.items()
        if each.open
    }


def presence_fold(reply):
    """The same from a presence reply of the REST API."""
    found = {}
    for row in reply["users"]:
        found.setdefault(row["username"], []).append(row["client_id"])
    return {user: sorted(ids) for user, ids in found.items()}


def missing_sessions(arrivals, acknowledged):
    """Sessions that got a CONNACK and have no opening event; given as (user, "ip:port")."""
    openings = Counter(
        (each.data["userId"], each.data["clientIp"])
        for each in first_arrivals(arrivals)
        if each.data["status"] == ONLINE
    )
    return list((Counter(acknowledged) - openings).elements())


def user_level_violations(arrivals):
    """For endpoints of level `user`: online and offline take turns."""
    problems, last = [], {}
    for arrival in first_arrivals(arrivals):
        user, online = arrival.data["userId"], arrival.data["status"] == ONLINE
        if last.get(user, False) == online:
            problems.append(f"user {user}: told twice to be {'on' if online else 'off'}line")
        last[user] = online
    return problems
