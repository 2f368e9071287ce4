"""A crowd that comes all at once and comes back whenever it is thrown out, as a program of its own.

    python crowd.py PORT CLIENTS

One process with one epoll, so that thousands of connections cost it little. Each client is a user of
its own. It writes a JSON line whenever all are in: how long that took since the first was out,
and how often somebody was refused. When standard input ends, it writes who got a CONNACK, in
order, as [user, "ip:port"], and ends.
"""

import errno
import heapq
import json
import select
import socket
import sys
import time

import wire

ORG = "org_hooked"
RETRY_SECS = 0.05
CONNACK_BYTES = 4
# So many addresses that the ports of each are never short, not even with those of the last time.
CLIENTS_PER_ADDRESS = 1000
IP_BIND_ADDRESS_NO_PORT = 24


class Client:
    """One of the crowd: out, on its way, or in."""

    def __init__(self, number):
        self.number = number
        self.user = f"user-{number}"
        self.socket = None
        self.received = b""
        self.is_in = False

    def dial(self, port):
        self.received = b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        self.socket.bind((f"127.1.0.{1 + self.number // CLIENTS_PER_ADDRESS}", 0))
        code = self.socket.connect_ex(("127.0.0.1", port))
        assert code == errno.EINPROGRESS, errno.errorcode[code]

    def say_hello(self):
        hello = wire.connect(self.user, f"{self.user}@{ORG}", "any", keep_alive=200)
        self.socket.send(hello)


class Crowd:
    def __init__(self, port, count):
        self.port = port
        self.clients = [Client(number) for number in range(count)]
        self.by_fd = {}
        self.poll = select.epoll()
        self.redial = []  # (when, number)
        self.inside = self.refused = 0
        self.acknowledged = []
        self.since = time.monotonic()

    def run(self):
        stdin = sys.stdin.fileno()
        self.poll.register(stdin, select.EPOLLIN | select.EPOLLHUP)
        for client in self.clients:
            self.dial(client)
        while True:
            wait_secs = max(0, self.redial[0][0] - time.monotonic()) if self.redial else 1
            for fd, events in self.poll.poll(wait_secs):
                if fd == stdin:
                    print(json.dumps(self.acknowledged), flush=True)
                    return
                self.handle(self.by_fd[fd], events)
            while self.redial and self.redial[0][0] <= time.monotonic():
                self.dial(self.clients[heapq.heappop(self.redial)[1]])

    def dial(self, client):
        client.dial(self.port)
        self.by_fd[client.socket.fileno()] = client
        self.poll.register(client.socket, select.EPOLLOUT)

    def handle(self, client, events):
        try:
            if events & select.EPOLLOUT:
                client.say_hello()
                self.poll.modify(client.socket, select.EPOLLIN)
            elif data := client.socket.recv(4096):
                self.take(client, data)
            else:
                self.lose(client)
        except OSError:
            self.lose(client)

    def take(self, client, data):
        client.received += data
        if client.is_in or len(client.received) < CONNACK_BYTES:
            return
        if client.received[3] != 0:
            self.refused += 1
            return  # the server closes
        client.is_in = True
        self.inside += 1
        ip, port = client.socket.getsockname()
        self.acknowledged.append((client.user, f"{ip}:{port}"))
        if self.inside == len(self.clients):
            took_secs = round(time.monotonic() - self.since, 3)
            print(json.dumps({"in": took_secs, "refused": self.refused}), flush=True)

    def lose(self, client):
        if client.is_in:
            if self.inside == len(self.clients):
                self.since, self.refused = time.monotonic(), 0
            client.is_in = False
            self.inside -= 1
        self.poll.unregister(client.socket)
        del self.by_fd[client.socket.fileno()]
        client.socket.close()
        heapq.heappush(self.redial, (time.monotonic() + RETRY_SECS, client.number))


if __name__ == "__main__":
    Crowd(int(sys.argv[1]), int(sys.argv[2])).run()
