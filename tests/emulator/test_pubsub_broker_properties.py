"""Random histories of a broker keep its promises.

Nothing acked returns, nothing unacked is lost, each key's order holds, a message has one lease
at a time, and attempts never fall.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from emulator.clock import SECOND_US, ManualClock
from emulator.pubsub.broker import Broker
from emulator.pubsub.consumer import Consumer
from emulator.pubsub.message import Delivery
from emulator.pubsub.schema_kinds import compile_schema
from emulator.pubsub.schemas import SchemaRegistry
from emulator.pubsub.settings import RetryPolicy, SubscriptionSettings, TopicSettings
from emulator.pubsub.subscription import Subscription

TOPIC = "projects/p/topics/t-1"
ACK_DEADLINE_SECONDS = 10
KEYS = ("", "a", "b")
GONE = -1


@dataclass
class Lease:
    ack_id: str
    consumer: int
    deadline_us: int


@dataclass
class Model:
    """What must be true of one subscription, kept independently of it."""

    subscription: Subscription
    consumers: list[Consumer]
    unacked: dict[int, str] = field(default_factory=dict)  # sequence -> ordering key
    acked: set[int] = field(default_factory=set)
    leases: dict[int, Lease] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)

    @property
    def ordered(self) -> bool:
        return self.subscription.settings.enable_message_ordering

    def end_later_ones_of_key(self, sequence: int) -> None:
        key = self.unacked[sequence]
        if self.ordered and key:
            for other in [s for s in self.leases if s > sequence and self.unacked[s] == key]:
                del self.leases[other]

    def fail(self, sequence: int) -> None:
        del self.leases[sequence]
        self.failures[sequence] = self.failures.get(sequence, 0) + 1
        self.end_later_ones_of_key(sequence)

    def expire(self, now_us: int) -> None:
        due = sorted(
            (lease.deadline_us, s)
            for s, lease in self.leases.items()
            if lease.deadline_us <= now_us
        )
        # Those of one deadline were leased in this order; each may take later ones along.
        for _, sequence in due:
            if sequence in self.leases:
                self.fail(sequence)


class BrokerMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.clock = ManualClock()
        self.broker = Broker(random=lambda: 0.5, schemas=SchemaRegistry(compile_schema))
        self.broker.create_topic(TopicSettings(TOPIC))
        variants = {
            "plain": {},
            "ordered": {"enable_message_ordering": True},
            "retried": {"retry_policy": RetryPolicy(2 * SECOND_US, 20 * SECOND_US)},
            "ordered-retried": {
                "enable_message_ordering": True,
                "retry_policy": RetryPolicy(2 * SECOND_US, 20 * SECOND_US),
            },
            "exact": {"enable_exactly_once_delivery": True, "retain_acked_messages": True},
        }
        self.models = []
        for name, extra in variants.items():
            subscription = self.broker.create_subscription(
                SubscriptionSettings(f"projects/p/subscriptions/{name}", TOPIC, **extra),
                self.now,
            )
            consumers = [Consumer(), Consumer(max_messages=2), Consumer(key_window=1)]
            self.models.append(Model(subscription, consumers))

    @property
    def now(self) -> int:
        return self.clock.now_us()

    def model(self, index: int) -> Model:
        return self.models[index % len(self.models)]

    @rule(key=st.sampled_from(KEYS), count=st.integers(1, 4))
    def publish(self, key: str, count: int) -> None:
        stored = self.broker.publish(TOPIC, [(b"x", {}, key)] * count, self.now)
        for model in self.models:
            model.unacked.update((m.sequence, key) for m in stored)

    @rule(index=st.integers(0, 4), who=st.integers(0, 2), limit=st.integers(1, 5))
    def take(self, index: int, who: int, limit: int) -> None:
        self.take_some(self.model(index), who, limit)

    def take_some(self, model: Model, who: int, limit: int) -> list[Delivery]:
        model.expire(self.now)
        batch = model.subscription.take(model.consumers[who], limit, 1 << 40, self.now)
        for delivery in batch:
            self.check_delivery(model, who, delivery)
        return batch

    def check_delivery(self, model: Model, who: int, delivery: Delivery) -> None:
        sequence = delivery.message.sequence
        assert sequence not in model.acked, "an acked message returned"
        assert sequence in model.unacked
        assert sequence not in model.leases, "two leases on one message"
        assert delivery.attempt == model.failures.get(sequence, 0) + 1
        key = delivery.message.ordering_key
        if model.ordered and key:
            for earlier, its_key in model.unacked.items():
                if earlier < sequence and its_key == key:
                    assert model.leases[earlier].consumer == who, "out of order"
        model.leases[sequence] = Lease(
            delivery.ack_id, who, self.now + ACK_DEADLINE_SECONDS * SECOND_US
        )

    def pick(self, model: Model, choice: int) -> int | None:
        model.expire(self.now)
        live = sorted(model.leases)
        return live[choice % len(live)] if live else None

    @rule(index=st.integers(0, 4), choice=st.integers(0, 20))
    def ack(self, index: int, choice: int) -> None:
        model = self.model(index)
        sequence = self.pick(model, choice)
        if sequence is None:
            return
        ack_id = model.leases.pop(sequence).ack_id
        assert model.subscription.acknowledge([ack_id], self.now) == []
        model.acked.add(sequence)
        del model.unacked[sequence]
        assert model.subscription.acknowledge([ack_id], self.now) == [ack_id]

    @rule(index=st.integers(0, 4), choice=st.integers(0, 20))
    def nack(self, index: int, choice: int) -> None:
        model = self.model(index)
        sequence = self.pick(model, choice)
        if sequence is None:
            return
        ack_id = model.leases[sequence].ack_id
        assert model.subscription.modify_ack_deadline([ack_id], 0, self.now) == []
        model.fail(sequence)
        assert model.subscription.acknowledge([ack_id], self.now) == [ack_id]

    @rule(index=st.integers(0, 4), choice=st.integers(0, 20), seconds=st.integers(1, 60))
    def move_deadline(self, index: int, choice: int, seconds: int) -> None:
        model = self.model(index)
        sequence = self.pick(model, choice)
        if sequence is None:
            return
        lease = model.leases[sequence]
        assert model.subscription.modify_ack_deadline([lease.ack_id], seconds, self.now) == []
        lease.deadline_us = self.now + seconds * SECOND_US

    @rule(index=st.integers(0, 4), who=st.integers(0, 2))
    def release(self, index: int, who: int) -> None:
        model = self.model(index)
        model.expire(self.now)
        old = model.consumers[who]
        model.subscription.advance(self.now)
        model.subscription.release(old)
        exact = model.subscription.settings.enable_exactly_once_delivery
        for sequence in [s for s, lease in model.leases.items() if lease.consumer == who]:
            if exact:
                model.leases[sequence].consumer = GONE
            else:
                del model.leases[sequence]
        window = 1 if who == 2 else 0
        model.consumers[who] = Consumer(max_messages=2 * (who == 1), key_window=window)

    @rule(seconds=st.floats(0.1, 40))
    def pass_time(self, seconds: float) -> None:
        # One deadline at a time, so that the model sees them in the order they come.
        end_us = self.now + round(seconds * SECOND_US)
        while (next_us := self.broker.next_wakeup()) <= end_us:
            self.clock.advance(max(0, next_us - self.now) / SECOND_US)
            for model in self.models:
                model.expire(self.now)
            self.broker.advance(self.now)
        self.clock.advance((end_us - self.now) / SECOND_US)

    @rule(index=st.integers(0, 4))
    def purge(self, index: int) -> None:
        model = self.model(index)
        model.expire(self.now)
        self.clock.advance(0.000001)
        self.broker.seek_to_time(model.subscription.settings.name, self.now, self.now)
        model.acked.update(model.unacked)
        model.unacked.clear()
        model.leases.clear()

    @rule()
    def replay(self) -> None:
        """The subscription that retains what was acked gets all of it again."""
        model = self.models[-1]
        model.expire(self.now)
        self.broker.seek_to_time(model.subscription.settings.name, 0, self.now)
        for sequence in model.acked:
            model.unacked[sequence] = ""
            model.failures.pop(sequence, None)
        model.acked.clear()

    @invariant()
    def backlog_is_what_is_unacked(self) -> None:
        for model in self.models:
            backlog = [m.sequence for m in model.subscription.unacked()]
            assert backlog == sorted(model.unacked)

    @invariant()
    def flow_control_counts_live_leases(self) -> None:
        for model in self.models:
            model.subscription.advance(self.now)
            model.expire(self.now)
            for who, consumer in enumerate(model.consumers):
                held = sum(lease.consumer == who for lease in model.leases.values())
                assert consumer.outstanding_messages == held
                assert held <= consumer.max_messages

    @invariant()
    def key_window_bounds_what_is_out_of_a_key(self) -> None:
        for model in self.models:
            keys = [
                model.unacked[sequence]
                for sequence, lease in model.leases.items()
                if lease.consumer == 2 and model.ordered and model.unacked[sequence]
            ]
            assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        """Everything unacked can still be had."""
        if not hasattr(self, "models"):
            return
        for who in range(3):
            for index in range(len(self.models)):
                self.release(index, who)
        self.pass_time(700)
        for model in self.models:
            left = set(model.unacked)
            while batch := self.take_some(model, 0, 100):
                for delivery in batch:
                    left.remove(delivery.message.sequence)
                    del model.leases[delivery.message.sequence]
                    del model.unacked[delivery.message.sequence]
                model.subscription.acknowledge([d.ack_id for d in batch], self.now)
            assert not left, "unacked messages were lost"


TestBroker = BrokerMachine.TestCase
TestBroker.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
