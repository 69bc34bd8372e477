"""What `compare` measures, as data: the runs, the figures that are read from them, and the targets.

A scenario is one run of `gantline bench`; each of its rows is one figure of the report of that run. The scenarios of a
group are measured interleaved and make one table. Leaves out: running them (`compare`) and showing them (`tables.py`).
"""

from dataclasses import dataclass, field

SAME = "same"
DELIVERED = "delivered_per_broker_cpu_second"


@dataclass(frozen=True)
class Target:
    """How many times the figure of `peer` ours has to be: at least, or at most where less is better."""

    peer: str
    ratio: float
    # A second aim; whatever reaches 70 % of the floor has reached it. FLOOR: only that counts.
    stretch: float | None = None


FLOOR = float("inf")


@dataclass(frozen=True)
class Row:
    """One figure of a run."""

    title: str
    figure: str = DELIVERED
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """One run of `gantline bench`."""

    arguments: str
    rows: tuple[Row, ...]
    # Arguments of the run that is the floor: the same, others, or None where the relay cannot serve.
    floor: str | None = None
    # Whether it takes --seconds; the others end when they are done.
    timed: bool = True
    # Brokers that are not measured, and why.
    skipped: dict[str, str] = field(default_factory=dict)
    # The listener of the brokers that the load goes to.
    scheme: str = "mqtt"

    @property
    def key(self):
        """What tells it from the others of its group."""
        return self.scheme, self.arguments


@dataclass(frozen=True)
class Check:
    """Our figure of one row over that of another one, and what it has to be at least."""

    title: str
    row: str
    base: str
    least: float


@dataclass(frozen=True)
class Group:
    """Scenarios that are measured interleaved, and shown in one table."""

    name: str
    unit: str
    scenarios: tuple[Scenario, ...]
    checks: tuple[Check, ...] = ()
    less_is_better: bool = False
    # Brokers and generator run with real-time priority.
    real_time: bool = False


def one(title, arguments, *targets, floor=None, **more):
    """A run with one figure: messages delivered per CPU-second of the broker."""
    return Scenario(arguments, (Row(title, targets=targets),), floor, **more)


def both(rumqttd, mosquitto, stretch=None):
    """A target for each peer; the stretch is against rumqttd."""
    return Target("rumqttd", rumqttd, stretch), Target("mosquitto", mosquitto)


def latency(rate, qos):
    """An open loop of so many messages a second."""
    rows = tuple(
        Row(f"{rate:,} a second, QoS {qos}, {name}", f"latency_{name}_us", (Target("mosquitto", most),))
        for name, most in (("p50", 1.1), ("p99", 1.25))
    )
    return Scenario(f"latency --rate {rate} --qos {qos}", rows, SAME)


TRAFFIC = Group(
    "traffic",
    "Delivered messages per second of processor time of the broker",
    (
        one("10 → 10, QoS 0", "p2p --qos 0", *both(5.2, 18, 10.5), floor=SAME),
        one("10 → 10, QoS 1", "p2p --qos 1", *both(4.4, 27, 8.9), floor=SAME),
        one("10 → 10, QoS 2", "p2p --qos 2", *both(2.9, 37, 5.8), floor=SAME),
        one("10 → 10, QoS 0, MQTT 5", "p2p --qos 0 --mqtt 5.0", floor=SAME),
        one("10 → 10, QoS 1, MQTT 5", "p2p --qos 1 --mqtt 5.0", *both(2.8, 22, 5.5), floor=SAME),
        one("10 → 10, QoS 0, MQTT 5, 3 properties", "p2p --qos 0 --mqtt 5.0 --user-properties 3", floor=SAME),
        one("10 → 10, QoS 1, MQTT 5, 3 properties", "p2p --qos 1 --mqtt 5.0 --user-properties 3", floor=SAME),
        one("10 → 10, QoS 1, window 1", "p2p --qos 1 --window 1", *both(2.4, 1.3, 2.8), floor=SAME),
        one("10 → 10, QoS 1, 64 KiB", "p2p --qos 1 --payload 65536 --window 10", *both(9, 1.7, FLOOR), floor=SAME),
        one("1 → 1000, QoS 0", "fan-out --qos 0", *both(2.0, 16, 3), floor=SAME),
        one("1 → 1000, QoS 1", "fan-out --qos 1", *both(1.5, 14, 3)),
        one("100 → 1, QoS 0", "fan-in --qos 0", *both(6, 18, 12.8), floor=SAME),
        one("100 → 1, QoS 1", "fan-in --qos 1", *both(6.1, 29, 12.3)),
        one("10 → group of 10, QoS 1", "shared --qos 1"),
    ),
    tuple(
        Check(f"MQTT 5 {what} against 3.1.1, QoS {qos}", f"10 → 10, QoS {qos}, MQTT 5{more}", f"10 → 10, QoS {qos}", least)
        for what, more, least in (("without properties", "", 0.95), ("with 3 user properties", ", 3 properties", 0.7))
        for qos in (0, 1)
    ),
)

# The relay keeps no filters that match nothing; without them it does the same.
FILTERS = Group(
    "filters",
    "Delivered messages per second of processor time of the broker, 10 → 10, QoS 0, with so many wildcard filters "
    "subscribed that match nothing",
    (
        one("10 filters", "wildcard --qos 0 --filters 10", floor="p2p --qos 0"),
        one("10,000 filters", "wildcard --qos 0 --filters 10000", Target("mosquitto", 8.6, 15), floor="p2p --qos 0"),
        one(
            "100,000 filters",
            "wildcard --qos 0 --filters 100000",
            Target("mosquitto", 8.6, 15),
            floor="p2p --qos 0",
            skipped={"rumqttd": "subscribing takes it minutes"},
        ),
    ),
    (Check("100,000 filters against 10", "100,000 filters", "10 filters", 0.8),),
)

STORED = Group(
    "stored",
    "Messages per second of processor time of the broker: 50,000 retained, each with a topic of its own, stored and "
    "delivered to a subscriber of `#`; 1,000 for each of 100 sessions that are away, queued and drained",
    (
        Scenario(
            "retained --messages 50000",
            (
                Row("retained, store", "stored_per_broker_cpu_second", both(2.2, 7)),
                Row("retained, deliver", DELIVERED, (Target("mosquitto", 4),)),
            ),
            timed=False,
        ),
        Scenario(
            "offline --qos 1",
            (
                Row("offline QoS 1, queue", "queued_per_broker_cpu_second", both(1.2, 5)),
                Row("offline QoS 1, drain", "drained_per_broker_cpu_second", both(1.1, 4)),
            ),
            timed=False,
        ),
    ),
)

SECURE = Group(
    "secure",
    "Delivered messages per second of processor time of the broker, 10 → 10, over TLS 1.3 and over WebSocket",
    tuple(
        one(
            f"{name}, QoS {qos}, {size}",
            f"p2p --qos {qos} {more}",
            Target("mosquitto", 1),
            skipped={"rumqttd": "it is not set up for this"},
            scheme=scheme,
        )
        for name, scheme in (("TLS", "mqtts"), ("WebSocket", "ws"))
        for size, more in (("16 B", "--payload 16"), ("16 KiB", "--payload 16384 --window 20"))
        for qos in (0, 1)
    ),
)

CONNECTIONS = Group(
    "connections",
    "Connections per second of processor time of the broker, from accepting to CONNACK, 5,000 one after the other",
    (
        Scenario(
            "connect --connections 5000 --rounds 1 --settle 0.5",
            (Row("connects", "round_1_connects_per_broker_cpu_second", both(5, 1.5)),),
            SAME,
            timed=False,
        ),
    ),
)

LATENCY = Group(
    "latency",
    "Microseconds from when a message was due to when it arrived, 10 → 10, open loop, brokers and generator with "
    "real-time priority",
    (latency(5000, 0), latency(5000, 1), latency(200, 0), latency(200, 1)),
    less_is_better=True,
    real_time=True,
)

# The filters come last: where a run with them is given up, a broker may be busy with them for long.
GROUPS = (TRAFFIC, SECURE, STORED, CONNECTIONS, LATENCY, FILTERS)
