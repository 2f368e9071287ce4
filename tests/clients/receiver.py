"""A webhook receiver that does as the test says, and remembers every request.

One asyncio loop in a thread of its own; HTTP/1.1 is read by hand, since a framework would be the
slowest part of every test that counts thousands of events. Requests are looked into only when the
test asks for them.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl, urlsplit

from harness import free_port, wait_until

HOST = "127.0.0.1"
ENDLESS_PIECE = b"x" * 65_536


@dataclass(frozen=True)
class Answer:
    """A whole answer, at once or after a while."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    after_secs: float = 0

    @cached_property
    def raw(self):
        lines = [f"HTTP/1.1 {self.status} So", "content-length: 0"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True)
class Hang:
    """Takes the request and says nothing, for ever."""


@dataclass(frozen=True)
class CloseMidAnswer:
    """Half a success: the status says 200, then the connection ends before the body does."""

    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"


@dataclass(frozen=True)
class CloseAtOnce:
    """Takes the request and closes without a word."""


@dataclass(frozen=True)
class EndlessBody:
    """A success whose body never ends."""

    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


OK = Answer()


@dataclass
class Request:
    """One request as it came, and what became of it."""

    number: int
    arrived: float
    head: bytes
    body: bytes
    connection: int
    # The status that was sent whole, and when; None while there is none.
    status: int | None = None
    answered: float | None = None

    @cached_property
    def target(self):
        return self.head.split(b" ", 2)[1].decode()

    @cached_property
    def query(self):
        return dict(parse_qsl(urlsplit(self.target).query))

    @cached_property
    def headers(self):
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.split(":", 1) for line in lines if line)
        return {name.strip().lower(): value.strip() for name, value in pairs}

    @cached_property
    def event(self):
        return json.loads(self.body)

    @property
    def data(self):
        return self.event["data"][0]


class Receiver:
    """A receiver on a port of its own. `with` starts and ends it."""

    def __init__(self, behaviour=OK):
        self.port = free_port()
        self.requests: list[Request] = []
        self.connections = 0
        self.poured_bytes = 0
        self.open_connections = set()
        self._decide: Callable[[Request], object] = lambda _: behaviour
        self._loop = asyncio.new_event_loop()
        self._listener = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self):
        return f"http://{HOST}:{self.port}/hook"

    def __enter__(self):
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_):
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- what it does ---

    def behave(self, behaviour):
        """From now on answers like this: a behaviour, or a function from request to behaviour."""
        self._decide = behaviour if callable(behaviour) else lambda _: behaviour

    def open(self):
        """Listens; nothing happens if it does already."""
        self._do(self._open())

    def shut(self):
        """Refuses connections and drops those that are open."""
        self._do(self._shut())

    def drop_connections(self):
        self._loop.call_soon_threadsafe(lambda: [each.abort() for each in self.open_connections])

    # --- what it saw ---

    def events(self):
        """The requests that tell of a connection status, in order of arrival."""
        seen = list(self.requests)
        return [each for each in seen if each.event["type"] == "user:connection_status"]

    def of_user(self, name):
        return [each for each in self.events() if each.data["userId"] == name]

    def accepted(self):
        """The events that were answered with success, each once, whatever came again."""
        found = {}
        for each in self.events():
            if each.status and 200 <= each.status < 300:
                found.setdefault(each.event["id"], each)
        return list(found.values())

    def wait_for(self, count, deadline_secs=20):
        """Waits until this many different events were accepted, and returns them."""

        def enough():
            # Counting requests first is cheap; looking into them is not.
            some = sum(each.status == 200 for each in list(self.requests)) >= count
            return some and len(self.accepted()) >= count

        wait_until(
            enough, lambda: f"{count} events accepted; there are {self.summary()}", deadline_secs
        )
        return self.accepted()

    def wait_for_requests(self, count, deadline_secs=20):
        wait_until(
            lambda: len(self.requests) >= count,
            lambda: f"{count} requests; there are {self.summary()}",
            deadline_secs,
        )
        return list(self.requests)

    def summary(self):
        """The last requests in one line each, for messages of failures."""
        lines = [f"{len(self.requests)} requests"]
        for each in self.requests[-10:]:
            data = each.event["data"][0]
            lines.append(f"{data.get('userId')} {data.get('status')} answered {each.status}")
        return "; ".join(lines)

    # --- inside the loop ---

    def _do(self, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _open(self):
        if self._listener is None:
            self._listener = await self._loop.create_server(
                lambda: _Connection(self), HOST, self.port, backlog=1024
            )

    async def _shut(self):
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for each in list(self.open_connections):
            each.abort()

    def decide(self, request):
        return self._decide(request)


class _Connection(asyncio.Protocol):
    """One connection of the sender, one request after the other."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport
        self.receiver.connections += 1
        self.number = self.receiver.connections
        self.receiver.open_connections.add(transport)

    def connection_lost(self, _):
        self.receiver.open_connections.discard(self.transport)

    def data_received(self, data):
        self.received += data
        while (request := self._whole_request()) is not None:
            self.receiver.requests.append(request)
            self._act(request, self.receiver.decide(request))

    def _whole_request(self):
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.received[:end]
        length = 0
        for line in head.split(b"\r\n")[1:]:
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
        whole = end + 4 + length
        if len(self.received) < whole:
            return None
        body, self.received = self.received[end + 4 : whole], self.received[whole:]
        number = len(self.receiver.requests)
        return Request(number, time.monotonic(), head, body, self.number)

    def _act(self, request, behaviour):
        match behaviour:
            case Answer(after_secs=0):
                self._answer(request, behaviour)
            case Answer():
                loop = asyncio.get_running_loop()
                loop.call_later(behaviour.after_secs, self._answer, request, behaviour)
            case CloseMidAnswer():
                self.transport.write(behaviour.raw)
                self.transport.close()
            case CloseAtOnce():
                self.transport.close()
            case EndlessBody():
                # The status is all that counts; the body is only there to be got rid of.
                request.status, request.answered = 200, time.monotonic()
                self.transport.write(behaviour.raw)
                self._pour()
            case Hang():
                pass
            case other:
                raise AssertionError(f"no behaviour: {other}")

    def _answer(self, request, answer):
        if not self.transport.is_closing():
            request.status, request.answered = answer.status, time.monotonic()
            self.transport.write(answer.raw)

    def _pour(self):
        """Pieces as fast as they are taken, until the sender has enough and closes."""
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() < 4 * len(ENDLESS_PIECE):
            self.receiver.poured_bytes += len(ENDLESS_PIECE)
            piece = b"%x\r\n%b\r\n" % (len(ENDLESS_PIECE), ENDLESS_PIECE)
            self.transport.write(piece)
        asyncio.get_running_loop().call_later(0.001, self._pour)
