"""The server under test: its configuration, its process, and its HTTP side.

Every server gets its own folder and ports; nothing here knows a default port, so a server that
runs on the machine already is never met.
"""

import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urlencode

BINARY = os.environ.get("SERVER_UNDER_TEST") or str(
    Path(__file__).resolve().parents[2] / "target/debug/whosthere"
)

ORG, OTHER_ORG = "org_abc", "org_xyz"
KEY = "sk_test_0123456789abcdef0123456789abcdef"
OTHER_KEY = "sk_test_fedcba9876543210fedcba9876543210"
PASSWORDS = {"alice": "alice-password", "bob": "bob-password"}
PRESENCE = "/v2/utilities/presence"

ORGANISATIONS = f"""
[[org]]
id = "{ORG}"
secret_keys = ["{KEY}"]
[[org.user]]
username = "alice"
password = "alice-password"
display_name = "Alice Martin"
[[org.user]]
username = "bob"
password = "bob-password"

[[org]]
id = "{OTHER_ORG}"
secret_keys = ["{OTHER_KEY}"]
[[org.user]]
username = "alice"
password = "alice-password"
[[org.user]]
username = "bob"
password = "bob-password"
"""


def login(name, org=ORG):
    """The user name and password with which an MQTT client logs in."""
    return f"{name}@{org}", PASSWORDS.get(name, "any-password")


def wait_until(check, what, deadline_secs=10):
    """Asks again and again until `check` gives something true, and returns that.

    `what` is a text, or a function that makes one when it is needed.
    """
    deadline = time.monotonic() + deadline_secs
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"after {deadline_secs} s still not: {what() if callable(what) else what}"
            )
        time.sleep(0.01)


def free_port():
    """A port that nobody listens on, below those that the system hands to outgoing connections."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def environment(settings):
    """Ours, with just these settings for the server in it and none from outside."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("WHOSTHERE_")}
    return ours | settings


def run(*args, settings=None):
    """Runs the program to its end, for commands that do end."""
    return subprocess.run(
        [BINARY, *args],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(settings or {}),
    )


class Reply:
    """One HTTP reply, read to its end."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def problem(self, status):
        """The problem document of RFC 9457; fails when the reply is anything else."""
        assert self.status == status, (self.status, self.body)
        assert self.headers["content-type"].startswith("application/problem+json")
        problem = self.json()
        for field in ("type", "title", "status", "detail"):
            assert field in problem, problem
        assert problem["status"] == status
        return problem


class Process:
    """A `whosthere serve` and its output. `close` ends just this process, by its id."""

    def __init__(self, folder, args, settings=None):
        self.folder = Path(folder)
        self.log_path = self.folder / f"server-{time.monotonic_ns()}.log"
        self._log_file = self.log_path.open("wb")
        self.process = subprocess.Popen(
            [BINARY, "serve", *args],
            stdin=subprocess.DEVNULL,
            stdout=self._log_file,
            stderr=subprocess.STDOUT,
            env=environment(settings or {}),
        )

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_until_ready(self, http_port):
        def answers():
            status = self.process.poll()
            assert status is None, f"the server ended with {status} at its start:\n{self.log}"
            try:
                return Http(http_port).get("/health/ready").status == 200
            except (OSError, http.client.HTTPException):
                return False

        try:
            wait_until(answers, "the server is ready")
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.log}") from None

    def rss_bytes(self):
        """The memory that the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024

    def close(self):
        """Asks it to stop; a server that does not within 10 s is a failure, and is killed."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop:\n{self.log}") from None
        finally:
            self._log_file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Http:
    """Requests to one HTTP port, each on its own connection."""

    def __init__(self, port):
        self.http_port = port

    def request(self, method, target, key=None, headers=(), body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        try:
            headers = dict(headers)
            if key is not None:
                headers["X-Secret-Key"] = key
            connection.request(method, target, body=body, headers=headers)
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def get(self, target, key=None, headers=()):
        return self.request("GET", target, key, headers)

    def presence(self, key=KEY, **query):
        """The list of who is online, as JSON."""
        target = f"{PRESENCE}?{urlencode(query)}" if query else PRESENCE
        reply = self.get(target, key)
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json()

    def user(self, name, key=KEY):
        """One user's reply, as JSON; the name goes percent-encoded, slashes too."""
        reply = self.get(f"{PRESENCE}/{quote(name, safe='')}", key)
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json()

    def client_ids(self, key=KEY, **query):
        """The client ids of the rows, sorted; a session that is there twice shows twice."""
        return sorted(row["client_id"] for row in self.presence(key, **query)["users"])

    def metric(self, name):
        """A figure of `/metrics` by its name, with its labels if it has some."""
        found = re.search(rf"^whosthere_{re.escape(name)} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0

    def metrics(self):
        return self.get("/metrics").body.decode()

    def wait_for_client_ids(self, *expected, key=KEY, **query):
        expected = sorted(expected)
        wait_until(
            lambda: self.client_ids(key, **query) == expected,
            f"online with {query}: {expected}",
        )


class Server(Http):
    """A server with two organisations, ready to be used; `with` ends it."""

    def __init__(self, folder, settings="", top_settings="", data_dir=None):
        super().__init__(free_port())
        self.mqtt_port, self.ws_port = free_port(), free_port()
        self.folder = Path(folder)
        self.config = self.folder / "whosthere.toml"
        self.config.write_text(
            f'data_dir = "{data_dir or self.folder / "data"}"\n{top_settings}\n'
            # Two loops whatever the machine has, so that messages cross between them.
            "workers = 2\n"
            f'[listen]\nmqtt = "127.0.0.1:{self.mqtt_port}"\nws = "127.0.0.1:{self.ws_port}"\n'
            f'http = "127.0.0.1:{self.http_port}"\n{ORGANISATIONS}\n{settings}\n'
        )

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._process.close()

    def start(self):
        """Starts it, for the first time or again: on the same folder and ports."""
        self.launch()
        try:
            self._process.wait_until_ready(self.http_port)
        except AssertionError:
            self._process.close()
            raise

    def launch(self):
        """The first half of `start`, which does not wait."""
        self._process = Process(self.folder, ["--config", str(self.config)])

    def stop(self, deadline_secs=20):
        """Asks it to stop, and returns its exit code once it has."""
        self.terminate()
        return self._process.process.wait(deadline_secs)

    def terminate(self):
        """The first half of `stop`, which does not wait."""
        self._process.process.terminate()

    def crash(self):
        """Ends it between two instructions, as a power cut does."""
        self._process.process.kill()
        self._process.process.wait()

    def restart(self):
        self.stop()
        self.start()

    @property
    def log(self):
        return self._process.log

    @property
    def pid(self):
        return self._process.process.pid

    def rss_bytes(self):
        return self._process.rss_bytes()


class Mosquitto:
    """The reference broker, to tell a fault of the server from one of these tests."""

    def __init__(self, folder):
        self.mqtt_port, self.ws_port = free_port(), free_port()
        self.folder = Path(folder)

    def __enter__(self):
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"allow_anonymous true\nlistener {self.mqtt_port} 127.0.0.1\n"
            f"listener {self.ws_port} 127.0.0.1\nprotocol websockets\n"
        )
        binary = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        with (self.folder / "mosquitto.log").open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "-c", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, "Mosquitto answers")
        return self

    def _answers(self):
        try:
            for port in (self.mqtt_port, self.ws_port):
                socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
