"""A subscriber that never reads costs the server a bounded amount, and others nothing."""

from wire import PUBACK

MIB = 1 << 20
PAYLOAD = bytes(64 * 1024)
MESSAGES = 200 * MIB // len(PAYLOAD)
# How many messages are on their way at once: few enough that a reader that keeps up loses none.
WINDOW = 4
SMALL_WINDOW = 50


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


def test_many_small_messages_for_many_who_never_read(server, guests):
    """Of QoS 1, which must wait for readers: here the count of what waits is the limit."""
    for number in range(20):
        guests.raw_login(f"stuck-{number}", "alice").subscribe("flood", qos=1)
    publisher = guests.raw_login("publisher", "bob")
    before = server.rss_bytes()
    for _ in range(10_000 // SMALL_WINDOW):
        for packet_id in range(1, SMALL_WINDOW + 1):
            publisher.publish("flood", b"small", qos=1, packet_id=packet_id)
        for _ in range(SMALL_WINDOW):
            publisher.expect(PUBACK)
    assert server.rss_bytes() - before < 32 * MIB
