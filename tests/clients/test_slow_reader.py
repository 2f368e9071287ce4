"""A subscriber that never reads costs the server a bounded amount, and others nothing."""

MIB = 1 << 20
PAYLOAD = bytes(64 * 1024)
MESSAGES = 200 * MIB // len(PAYLOAD)
# How many messages are on their way at once: few enough that a reader that keeps up loses none.
WINDOW = 4


def test_two_hundred_megabytes_for_a_reader_that_never_reads(server, guests):
    stuck = guests.raw_login("stuck", "alice", keep_alive=0)
    reader = guests.raw_login("reader", "alice")
    for client in (stuck, reader):
        client.subscribe("flood")
    publisher = guests.raw_login("publisher", "bob")
    before = most = server.rss_bytes()
    for _ in range(MESSAGES // WINDOW):
        for _ in range(WINDOW):
            publisher.publish("flood", PAYLOAD)
        for _ in range(WINDOW):
            topic, payload = reader.read_message()
            assert topic == "flood" and len(payload) == len(PAYLOAD)
        most = max(most, server.rss_bytes())
    assert most - before < 32 * MIB, f"grew by {(most - before) / MIB:.0f} MiB"
    publisher.ping()


def test_a_publisher_is_not_slowed_down_by_many_who_never_read(server, guests):
    """Small messages: here the count of what waits is the limit, not its bytes."""
    before = server.rss_bytes()
    for number in range(50):
        guests.raw_login(f"stuck-{number}", "alice").subscribe("flood", qos=1)
    publisher = guests.raw_login("publisher", "bob")
    for _ in range(20_000):
        publisher.publish("flood", b"small")
    publisher.ping()
    assert server.rss_bytes() - before < 64 * MIB
