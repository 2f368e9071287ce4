"""Retained messages (MQTT 5 §3.3.1.3): the last message of a topic, for those who subscribe later."""

import struct
import time

import pytest

from harness import login, wait_until
from wire import PUBACK, PUBLISH, SUBACK, RawClient, message_expiry, publish, subscribe

SETTINGS = "[retained]\nmessages_max = 6000\n"
MANY = 5000
QUOTA_EXCEEDED = 0x97

# Bits of the subscription options (§3.8.3.1).
AS_PUBLISHED, IF_NEW, NEVER = 0x08, 0x10, 0x20

each_level = pytest.mark.parametrize("level", [3, 4, 5])
each_life = pytest.mark.parametrize("life", ["clean", "stored"])


def retain(guests, topic, body, qos=1, **how):
    """Another client has it retained, and is told so."""
    publisher = guests.raw_login("publisher", "bob", level=5)
    code = publisher.hand_over(topic, body, qos, retain=True, **how)
    publisher.ping()
    publisher.close()
    return code


def reader(guests, here, life, level=5):
    if life == "stored":
        return guests.device(f"{here}-reader", level=level)
    return guests.raw_login(f"{here}-reader", "alice", level=level)


def hears_nothing(client):
    client.ping()


@each_level
@each_life
def test_who_subscribes_later_gets_the_last_one(server, guests, here, level, life):
    retain(guests, f"{here}/a", b"first")
    retain(guests, f"{here}/a", b"second", qos=2)
    client = reader(guests, here, life, level)
    client.subscribe(f"{here}/+", qos=1)
    message = client.take_message()
    assert (message.topic, message.payload) == (f"{here}/a", b"second")
    assert (message.qos, message.retain, message.dup) == (1, True, False)
    retain(guests, f"{here}/a", b"third")
    message = client.take_message()
    assert (message.payload, message.retain) == (b"third", False)
    hears_nothing(client)


@each_life
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_one_clears_it(server, guests, here, life, qos):
    retain(guests, here, b"news", qos=qos)
    watcher = reader(guests, here, life)
    watcher.subscribe(here, qos=2)
    assert watcher.take_message().qos == qos
    retain(guests, here, b"", qos=qos)
    message = watcher.take_message()
    assert (message.payload, message.retain) == (b"", False)
    watcher.unsubscribe(here)
    watcher.subscribe(here, qos=2)
    hears_nothing(watcher)


@each_life
def test_who_subscribes_while_it_is_being_retained_gets_it(guests, here, life):
    """It was routed before, and the keeper, who has much to do, may not have come to it."""
    busy = guests.device(f"{here}-busy", level=4)
    busy.subscribe("busy", qos=1)
    busy.send(b"".join(publish("busy", b"x", 1, number) for number in range(1, 201)))
    publisher = guests.raw_login("publisher", "bob", level=5)
    watcher = reader(guests, here, life)
    for number in range(300):
        payload = str(number).encode()
        busy.send(publish("busy", b"x", 1, number + 1))
        publisher.send(publish(here, payload, level=5, retain=True))
        publisher.ping()
        watcher.subscribe(here, qos=number % 2)
        # Older ones may come first.
        while watcher.take_message().payload != payload:
            pass
        watcher.unsubscribe(here)


@each_life
def test_retain_handling_says_when_it_is_sent(server, guests, here, life):
    retain(guests, here, b"news")
    client = reader(guests, here, life)
    client.subscribe(here, qos=1, options=NEVER)
    hears_nothing(client)
    client.subscribe(here, qos=1, options=IF_NEW)
    hears_nothing(client)
    client.subscribe(here, qos=1)
    assert client.take_message().payload == b"news"
    client.unsubscribe(here)
    client.subscribe(here, qos=1, options=IF_NEW)
    assert client.take_message().payload == b"news"
    client.unsubscribe(here)
    client.subscribe(here, qos=0)
    assert client.take_message().qos == 0


@each_life
def test_retain_as_published_keeps_the_flag(server, guests, here, life):
    client = reader(guests, here, life)
    for filter_, options in ((f"{here}/a", AS_PUBLISHED), (f"{here}/b", 0)):
        client.subscribe(filter_, qos=1, options=options)
        retain(guests, filter_, b"live")
        assert client.take_message().retain is (options == AS_PUBLISHED)


def test_a_shared_subscription_gets_none(server, guests, here):
    retain(guests, here, b"news")
    client = guests.raw_login(here, "alice", level=5)
    client.subscribe(f"$share/group/{here}", qos=1)
    hears_nothing(client)


@each_life
def test_it_expires(server, guests, here, life):
    retain(guests, f"{here}/short", b"x", props=message_expiry(1))
    retain(guests, f"{here}/long", b"y", props=message_expiry(100))
    time.sleep(1.3)  # the expiry is what is tested
    client = reader(guests, here, life)
    client.subscribe(f"{here}/#", qos=1)
    message = client.take_message()
    assert message.payload == b"y"
    (left_secs,) = struct.unpack(">I", message.props[1:5])
    assert 97 <= left_secs <= 99
    hears_nothing(client)


def test_organisations_do_not_share_it(server, guests, here):
    retain(guests, here, b"ours")
    theirs = guests.raw_login(here, "alice", "org_xyz", level=5)
    theirs.subscribe("#", qos=1)
    hears_nothing(theirs)


def test_a_wildcard_at_the_front_does_not_match_topics_that_begin_with_a_dollar(
    server, guests, here
):
    retain(guests, here, b"plain")
    client = guests.raw_login(here, "alice", level=5)
    client.subscribe(f"+/{here}", qos=1)
    hears_nothing(client)
    client.subscribe(here, qos=1)
    assert client.take_message().payload == b"plain"


@each_life
@pytest.mark.parametrize("way", ["stop", "crash"])
def test_it_outlives_the_server(server, guests, here, life, way):
    retain(guests, f"{here}/kept", b"old")
    retain(guests, f"{here}/kept", b"new")
    retain(guests, f"{here}/cleared", b"x")
    retain(guests, f"{here}/cleared", b"")
    getattr(server, way)()
    server.start()
    client = reader(guests, here, life)
    client.subscribe(f"{here}/#", qos=2)
    assert client.take_message().payload == b"new"
    hears_nothing(client)


@pytest.fixture(scope="module")
def many(server):
    """A lot of retained messages below a topic, every other one at QoS 1."""
    publisher = RawClient(server.mqtt_port)
    publisher.login("many", *login("bob"), level=5)
    for begin in range(0, MANY, 50):
        numbers = range(begin, begin + 50)
        for number in numbers:
            topic, qos = f"many/{number % 7}/{number}", number % 2
            publisher.publish(topic, b"x" * 1000, qos, number + 1, retain=True)
        for _ in numbers[::2]:
            publisher.expect(PUBACK)
    publisher.close()
    return "many"


@each_life
@pytest.mark.parametrize("qos", [0, 1])
def test_a_slow_reader_gets_all_of_five_thousand(server, guests, many, life, qos):
    """Five megabytes and a reader that does not read for a while: nothing is dropped. Every other
    message is of QoS 1."""
    client = reader(guests, many, life)
    client.send(subscribe(1, [f"{many}/#"], qos, 5))
    time.sleep(1)  # its slowness is what is tested
    client.expect(SUBACK)
    topics = {each.topic for each in client.take_messages(MANY)}
    assert len(topics) == MANY


def test_beyond_the_limit_it_is_delivered_but_not_retained(server, guests, many):
    filler = guests.raw_login("filler", "bob", level=5)
    listener = guests.raw_login("listener", "alice", level=5)
    listener.subscribe(f"{many}-more/+", qos=1)
    codes, topics = [], [f"{many}-more/{number}" for number in range(1100)]
    for number, topic in enumerate(topics):
        codes.append(filler.hand_over(topic, b"x", 1, number + 1, retain=True))
        assert listener.take_message().topic == topic
    assert codes[0] == 0
    assert codes[-1] == QUOTA_EXCEEDED
    assert codes == sorted(codes), "those that were there first stay"
    kept = codes.count(0)
    late = guests.raw_login("late", "alice", level=5)
    late.subscribe(f"{many}-more/+", qos=1)
    assert len(late.take_messages(kept)) == kept
    hears_nothing(late)
    # What is there may be replaced, and room may be made.
    assert filler.hand_over(topics[0], b"y", 1, 1, retain=True) == 0
    filler.hand_over(topics[0], b"", 1, 1, retain=True)
    assert filler.hand_over(topics[-1], b"z", 1, 1, retain=True) == 0
    for topic in topics:
        filler.publish(topic, b"", retain=True)
    filler.ping()


def test_a_reader_that_goes_in_the_middle_disturbs_nobody(server, guests, many):
    for number in range(10):
        client = guests.raw_login(f"short-{number}", "alice", level=5)
        client.send(subscribe(1, [f"{many}/#"], 1, 5))
        client.expect(SUBACK)
        client.expect(PUBLISH)
        client.reset()
    server.wait_for_client_ids()
    wait_until(lambda: server.get("/health/ready").status == 200, "ready")
