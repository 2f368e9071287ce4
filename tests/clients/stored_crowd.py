"""Many clients, mostly with sessions that are stored, and bystanders who notice what they cost others."""

import contextlib
import resource
import threading
import time

from harness import Server, login
from wire import CONNACK, SUBACK, RawClient, disconnect, session_expiry, subscribe

CROWD_ORG = "crowd"
# A queue that holds a message of everybody.
SETTINGS = f"""
[[org]]
id = "{CROWD_ORG}"
open_auth = true
[sessions]
queue_messages_max = 60000
"""
# So many connections are opened before the first answer is read.
AT_ONCE = 500
EXPIRY_SECS = 3600
MIB = 1 << 20


@contextlib.contextmanager
def server_for_crowds(folder):
    """A server whose clients, and this process, may have as many files as there can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with Server(folder, SETTINGS) as server:
            yield server
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def come(server, numbers, will_of=lambda _: None, filter_of=None, stay=True, is_stored=True):
    """Clients of the crowd, by number, each a user of its own; subscribed if `filter_of` says to
    what. Answers those connections that stay."""
    crowd = {}
    numbers = list(numbers)
    for first in range(0, len(numbers), AT_ONCE):
        batch = numbers[first : first + AT_ONCE]
        clients = {n: hello(server, n, will_of(n), is_stored) for n in batch}
        for number, client in clients.items():
            connack = client.expect(CONNACK).body
            assert connack[1] == 0, f"CONNACK {connack[1]:#x}"
            client.session_present = connack[0] == 1
            if filter_of:
                client.send(subscribe(1, [filter_of(number)], 1, level=5))
        for client in clients.values():
            if filter_of:
                assert client.expect(SUBACK).body[-1] == 1
            if not stay:
                client.send(disconnect())
        for client in clients.values():
            if not stay:
                assert client.packets_until_closed() == []
                client.close()
        if stay:
            crowd |= clients
    return crowd


def hello(server, number, will=None, is_stored=True):
    """A connection of the crowd that has asked to come in."""
    client = RawClient(server.mqtt_port, 60)
    user = f"{number}@{CROWD_ORG}"
    props = session_expiry(EXPIRY_SECS) if is_stored else b""
    life = {"clean": not is_stored, "props": props, "will": will}
    client.send_connect(f"crowd-{number}", user, "any", 5, keep_alive=0, **life)
    return client


def watcher(server, filter_):
    """A member of the crowd that keeps an eye on the others, also while it is away."""
    client = hello(server, "watcher")
    connack = client.expect(CONNACK).body
    assert connack[1] == 0
    client.session_present = connack[0] == 1
    client.subscribe(filter_, qos=1)
    return client


class Bystanders:
    """Clients of another organisation. Several ping in turn, so that every event loop has some, and
    one has the keeper write; the longest that each kind waited for an answer is remembered."""

    def __init__(self, server):
        self.pinging = [self._login(server, f"bystander-{number}") for number in range(8)]
        self.keeping = self._login(server, "bystander-keeping")
        self.loop_secs = self.keeper_secs = 0.0
        self._failure = None
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._until_stopped, args=[turn])
            for turn in (self._ping, self._keep)
        ]

    @staticmethod
    def _login(server, client_id):
        client = RawClient(server.mqtt_port, 60)
        assert client.login(client_id, *login("bob"), level=5)[1] == 0
        return client

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for client in (*self.pinging, self.keeping):
            client.close()
        assert self._failure is None, self._failure

    def _until_stopped(self, turn):
        try:
            while not self._stop.wait(0.005):
                turn()
        except (AssertionError, OSError) as failure:
            self._failure = failure

    def _ping(self):
        for client in self.pinging:
            began = time.monotonic()
            client.ping()
            self.loop_secs = max(self.loop_secs, time.monotonic() - began)

    def _keep(self):
        began = time.monotonic()
        assert self.keeping.hand_over("kept", b"x", retain=True) < 0x80
        self.keeper_secs = max(self.keeper_secs, time.monotonic() - began)

    def __str__(self):
        return (
            f"bystanders waited {self.loop_secs * 1000:.0f} ms at most, "
            f"for the keeper {self.keeper_secs * 1000:.0f} ms"
        )
