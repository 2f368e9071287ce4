"""Fixtures: a server per file, clients that are closed after each test, and nobody left behind.

A file of tests may set `SETTINGS` (TOML tables) and `TOP_SETTINGS` (TOML before the first table)
to have its server configured otherwise, and `KEYS` (the keys of all its organisations).
"""

import contextlib
import re

import pytest

from harness import KEY, OTHER_KEY, Mosquitto, Server, login
from wire import RawClient, session_expiry

LOG_TAIL_CHARS = 6000


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    settings = getattr(request.module, "SETTINGS", "")
    top_settings = getattr(request.module, "TOP_SETTINGS", "")
    with Server(tmp_path_factory.mktemp("server"), settings, top_settings) as server:
        yield server


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory):
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(autouse=True)
def nobody_is_left(request):
    """After each test its sessions must be gone: one that stays is a ghost in every later reply."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        for key in getattr(request.module, "KEYS", [KEY, OTHER_KEY]):
            server.wait_for_client_ids(key=key)


@pytest.fixture
def guests(request):
    """Opens clients for a test, and closes them after it."""
    with contextlib.ExitStack() as stack:
        yield Guests(request, stack)


@pytest.fixture
def here(request):
    """A word of its own for each test: what is stored outlives a test, and others must not meet it."""
    return re.sub(r"\W", "_", request.node.name)


class Guests:
    """The clients of one test."""

    def __init__(self, request, stack):
        self._request = request
        self._stack = stack

    def raw(self):
        """A connection to the server on which nothing was said yet."""
        client = RawClient(self._request.getfixturevalue("server").mqtt_port)
        self._stack.callback(client.close)
        return client

    def raw_login(self, client_id, name, org=None, **how):
        """A connection that is logged in, whose CONNACK was success."""
        client = self.raw()
        user, password = login(name, org) if org else login(name)
        connack = client.login(client_id, user, password, **how)
        assert connack[1] == 0, f"CONNACK {connack[1]:#x}"
        return client

    def device(self, client_id, name="alice", level=5, expiry=600, **how):
        """As `raw_login`, of a client whose session is stored, for as long as version 3 is given
        or for `expiry` seconds of version 5."""
        props = how.pop("props", b"") + (session_expiry(expiry) if level == 5 else b"")
        return self.raw_login(client_id, name, level=level, props=props, **{"clean": False} | how)

    def open(self, kind, broker, client_id, name, org=None, **session):
        """A real client, connected and logged in; for `session` see `Kind.open`."""
        user, password = login(name, org) if org else login(name)
        return self.open_as(kind, broker, client_id, user, password, **session)

    def open_as(self, kind, broker, client_id, user, password, **session):
        """A real client that logs in with just these words."""
        client = kind.open(broker, client_id, user, password, **session)
        self._stack.callback(client.close)
        return client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what its server said."""
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and server is not None:
        report.sections.append(("the server's log", server.log[-LOG_TAIL_CHARS:]))
    return report
