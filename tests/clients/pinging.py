"""A client that pings all the time, to be stopped from outside: PORT CLIENT_ID USER LEVEL."""

import sys
import time

from hooks import ORG
from wire import RawClient

PAUSE_SECS = 0.2

if __name__ == "__main__":
    port, client_id, user, level = sys.argv[1:5]
    client = RawClient(int(port))
    client.login(client_id, f"{user}@{ORG}", "any", int(level), keep_alive=1)
    print("connected", flush=True)
    while True:
        client.ping()
        time.sleep(PAUSE_SECS)
