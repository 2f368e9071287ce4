"""Clients that come and go without a pause, as a program of its own.

    python churn.py PORT USERS CLIENTS_PER_USER SLOTS SEED PAD [ENDING…]

Each of `SLOTS` tasks logs in as one of few users under one of few client ids (so that they take
each other over), stays for an instant, and ends in one of the ways of `ENDINGS`. When standard input
ends, all end. `PAD` makes client ids longer by so many bytes. Each session that got its CONNACK is told in a line: user, client id, "ip:port". A
server that is away is tried again at once; that is the point.
"""

import asyncio
import json
import random
import socket
import struct
import sys

import wire

ORG = "org_hooked"
STAY_SECS_MAX = 0.1
RETRY_SECS = 0.02
TIMEOUT_SECS = 20


def source_address(chance):
    """A loopback address for just this connection: one address has too few ports for a storm."""
    return ".".join(str(chance.randrange(1, 255)) for _ in range(3))


class Client:
    """One connection."""

    def __init__(self, reader, writer, level):
        self.reader, self.writer, self.level = reader, writer, level

    async def log_in(self, client_id, user):
        self.writer.write(wire.connect(client_id, f"{user}@{ORG}", "any", self.level))
        first = await self.reader.readexactly(2)
        assert first[0] >> 4 == wire.CONNACK, first
        body = await self.reader.readexactly(first[1])
        return body[1]

    def disconnect(self):
        self.writer.write(wire.disconnect())
        self.writer.close()

    def finish(self):
        self.writer.close()

    def reset(self):
        linger = struct.pack("ii", 1, 0)
        transport = self.writer.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    def log_out(self):
        if self.level == 5:
            self.writer.write(wire.logout())
            self.writer.close()
        else:
            self.writer.write(wire.publish("$whosthere/logout", b"", level=self.level))

    async def wait_until_closed(self):
        while await self.reader.read(4096):
            pass
        self.writer.close()


async def session(port, chance, users, clients_per_user, pad, endings):
    """One session from its connection to its end. Answers what was acknowledged."""
    user = f"user-{chance.randrange(users)}"
    client_id = f"{user}-{chance.randrange(clients_per_user)}" + "x" * pad
    local = f"127.{source_address(chance)}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(local, 0))
    client = Client(reader, writer, chance.choice((4, 5)))
    try:
        own = writer.get_extra_info("sockname")
        code = await client.log_in(client_id, user)
        if code != 0:
            print(json.dumps({"refused": code}), flush=True)
            return
        print(json.dumps([user, client_id, f"{own[0]}:{own[1]}"]), flush=True)
        ending = chance.choice(endings)
        if ending == "stay":
            # Until it is taken over.
            await client.wait_until_closed()
            return
        await asyncio.sleep(chance.random() * STAY_SECS_MAX)
        getattr(client, ending)()
    finally:
        writer.close()


async def slot(stopping, *rest):
    # The flag beside the cancellation, because `wait_for` may swallow one that comes too late.
    while not stopping.is_set():
        try:
            await asyncio.wait_for(session(*rest), TIMEOUT_SECS)
        except TimeoutError:
            # Nobody took it over in all that time.
            pass
        except (OSError, asyncio.IncompleteReadError):
            # It crashed, or its listener is not there yet.
            await asyncio.sleep(RETRY_SECS)


async def main():
    port, users, clients_per_user, slots, seed, pad = map(int, sys.argv[1:7])
    endings = sys.argv[7:] or ["disconnect", "finish", "reset", "log_out", "stay"]
    chance = random.Random(seed)
    stopping = asyncio.Event()
    tasks = [
        asyncio.create_task(slot(stopping, port, chance, users, clients_per_user, pad, endings))
        for _ in range(slots)
    ]
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    stopping.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
