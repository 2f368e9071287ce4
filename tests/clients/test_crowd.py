"""Everybody at once: a whole crowd comes, is thrown out by a crash or a stop, and comes back.

`CROWD_CLIENTS` is how many: a few in every run, 15,000 by hand.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

import checker
from harness import wait_until
from hooks import KEY, Endpoint, hooked

CLIENTS = int(os.environ.get("CROWD_CLIENTS", "2000"))
DEADLINE_SECS = 20 + CLIENTS / 100
SPARE_FILES = 200


class Crowd:
    """`crowd.py` as a process of its own."""

    def __init__(self, server):
        self.path = Path(server.folder) / "crowd.jsonl"
        with self.path.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "crowd.py", str(server.mqtt_port), str(CLIENTS)],
                stdin=subprocess.PIPE,
                stdout=out,
                cwd=Path(__file__).parent,
            )
        self.times = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def lines(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def wait_until_in(self):
        """Until all are in once more. Returns how long it took and how many were refused."""
        self.times += 1
        wait_until(lambda: len(self.lines()) >= self.times, "all are in", DEADLINE_SECS)
        return self.lines()[self.times - 1]

    def stop(self):
        """Ends all connections at once. Returns (user, "ip:port") of each CONNACK ever got."""
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return [tuple(each) for each in self.lines()[-1]]


def wait_for_requests(receiver, count):
    """Cheaply: many thousands need not be looked into again and again."""
    started = time.monotonic()
    receiver.wait_for_requests(count, DEADLINE_SECS)
    return round(time.monotonic() - started, 3)


@pytest.mark.timeout(60 + 8 * DEADLINE_SECS)
def test_a_crowd_that_reconnects_at_once_is_let_in_and_told_of(tmp_path):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft >= CLIENTS + SPARE_FILES, f"{soft} open files are too few for {CLIENTS} clients"
    endpoint = Endpoint()
    receiver = endpoint.receiver
    with hooked(tmp_path, endpoint) as server, Crowd(server) as crowd:
        figures = [("at first", crowd.wait_until_in(), wait_for_requests(receiver, CLIENTS))]
        for number, way in enumerate(("crash", "stop"), start=1):
            started = time.monotonic()
            getattr(server, way)()
            ended = time.monotonic()
            server.start()
            ready = time.monotonic()
            times = {"ended": round(ended - started, 3), "started": round(ready - ended, 3)}
            told = CLIENTS * (1 + 2 * number)
            figures.append(
                (f"after {way}", crowd.wait_until_in() | times, wait_for_requests(receiver, told))
            )
        assert server.presence(KEY)["online_count"] == CLIENTS
        acknowledged = crowd.stop()
        started = time.monotonic()
        server.wait_until_nobody_is_online(DEADLINE_SECS)
        figures.append(("all go", round(time.monotonic() - started, 3)))
        wait_for_requests(receiver, CLIENTS * 6)
        figures.append(("and are told", round(time.monotonic() - started, 3)))
        server.prove(receiver, still_open=())
        events = checker.seen(receiver.events())
        assert not (missing := checker.missing_sessions(events, acknowledged)), missing[:5]
        figures.append(("requests", len(receiver.requests), "server MB", server.rss_bytes() >> 20))
    print(f"{CLIENTS} clients", *figures, sep="\n  ")
