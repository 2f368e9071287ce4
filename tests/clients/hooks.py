"""A server with an organisation that tells receivers, and what tests ask of both."""

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import checker
from harness import PRESENCE, Server, wait_until
from receiver import Receiver
from wire import RawClient

ORG = "org_hooked"
KEY = "sk_test_hooked0123456789abcdef0123456789abcdef"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINTS = "/v2/webhooks"
USERS = "/v2/utilities/users"

# The bounds of the real thing are for days; these are for tests.
LOOPBACK = 'allow_addresses = ["127.0.0.0/8"]\n'
QUICK = "pause_secs_min = 1\npause_secs_max = 2\n"


@dataclass
class Endpoint:
    """One `[[org.webhook]]` and the receiver behind it."""

    id: str = "main"
    payload: str = "extended"
    secret: str | None = SECRET
    settings: str = ""
    receiver: Receiver = field(default_factory=Receiver)

    def toml(self):
        lines = ["[[org.webhook]]", f'id = "{self.id}"', f'url = "{self.receiver.url}"']
        lines.append(f'payload = "{self.payload}"')
        if self.secret:
            lines.append(f'secret = "{self.secret}"')
        return "\n".join([*lines, self.settings]) + "\n"


class HookedServer(Server):
    """A server whose organisation lets everybody in and has these endpoints."""

    def __init__(self, folder, *endpoints, webhook="", org="", settings="", allow=LOOPBACK, **how):
        self.endpoints = endpoints
        text = f"[webhook]\n{allow}{QUICK}{webhook}\n{settings}\n"
        text += f'[[org]]\nid = "{ORG}"\nsecret_keys = ["{KEY}"]\nopen_auth = true\n{org}\n'
        super().__init__(folder, text + "".join(each.toml() for each in endpoints), **how)

    # --- clients ---

    def client(self, client_id, user, **how):
        """A connection that is logged in."""
        client = RawClient(self.mqtt_port)
        connack = client.login(client_id, f"{user}@{ORG}", "any", **how)
        assert connack[1] == 0, f"CONNACK {connack[1]:#x}"
        return client

    # --- the API ---

    def ask(self, method, path, body=None, status=200):
        headers = {"content-type": "application/json"} if body is not None else {}
        raw = json.dumps(body) if body is not None else None
        reply = self.request(method, path, KEY, headers, raw)
        assert reply.status == status, (method, path, reply.status, reply.body)
        return reply.json() if reply.body else None

    def endpoint(self, endpoint_id="main"):
        return self.ask("GET", f"{ENDPOINTS}/{endpoint_id}")

    def end_user(self, user, how, status=200):
        return self.ask("POST", f"{USERS}/{quote(user, safe='')}/{how}", status=status)

    def history(self, user, query=""):
        return self.ask("GET", f"{PRESENCE}/{quote(user, safe='')}/history{query}")

    def online(self):
        """Per user the client ids of the sessions that are online."""
        return checker.presence_fold(self.presence(KEY))

    def wait_until_nobody_is_online(self, deadline_secs=20):
        wait_until(lambda: not self.online(), lambda: f"offline: {self.online()}", deadline_secs)

    def wait_until_quiet(self, receiver, deadline_secs=60):
        """Until the events say the same as the REST API; both must have come to rest."""
        last = [-1, time.monotonic()]

        def rests():
            count = len(receiver.requests)
            if count != last[0]:
                last[:] = [count, time.monotonic()]
            if time.monotonic() - last[1] < 0.3:
                return False
            last[1] = time.monotonic()
            return checker.fold(checker.seen(receiver.accepted())) == self.online()

        def both():
            told = checker.fold(checker.seen(receiver.accepted()))
            online = self.online()
            names = [name for name in told | online if told.get(name) != online.get(name)][:5]
            differences = {name: (told.get(name), online.get(name)) for name in names}
            return f"events and presence agree; of each first told, then online: {differences}"

        wait_until(rests, both, deadline_secs)

    def prove(self, receiver, users="", **how):
        """Once quiet: the checker's whole proof, of the users whose names begin like this."""
        self.wait_until_quiet(receiver)
        events = [each for each in receiver.events() if each.data["userId"].startswith(users)]
        checker.prove(checker.seen(events), **({"still_open": "any"} | how))


@contextlib.contextmanager
def hooked(folder, *endpoints, **how):
    """A running server and its receivers."""
    with contextlib.ExitStack() as stack:
        for each in endpoints:
            stack.enter_context(each.receiver)
        yield stack.enter_context(HookedServer(folder, *endpoints, **how))


class Churn:
    """`churn.py` as a process of its own. `stop` ends it and tells what it did."""

    def __init__(self, server, users, clients_per_user, slots, *endings, seed=1, pad=0):
        numbers = [server.mqtt_port, users, clients_per_user, slots, seed, pad]
        self.log = (Path(server.folder) / f"churn-{time.monotonic_ns()}.jsonl").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "churn.py", *map(str, numbers), *endings],
            stdin=subprocess.PIPE,
            stdout=self.log,
            cwd=Path(__file__).parent,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def count(self):
        """How many lines it has written so far, about."""
        return Path(self.log.name).read_bytes().count(b"\n")

    def wait_for(self, count, deadline_secs=30):
        wait_until(lambda: self.count() >= count, f"{count} sessions of churn", deadline_secs)

    def stop(self):
        """Ends it. Returns (user, "ip:port") of each session that got its CONNACK."""
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        lines = [json.loads(line) for line in Path(self.log.name).read_text().splitlines()]
        self.refused = [each["refused"] for each in lines if isinstance(each, dict)]
        return [(each[0], each[2]) for each in lines if isinstance(each, list)]
