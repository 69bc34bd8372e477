//! `$SYS`: the server publishes its own numbers, under the names that mosquitto gave them.
//!
//! One task, which publishes what has changed each time the interval is over: retained in memory, never in a store,
//! with QoS 0, and without waiting for anybody. Averages over 1, 5 and 15 minutes are moving ones, as those of
//! mosquitto: each picture counts the less the older it is. Relates to: [`Metrics`], where the numbers come from;
//! [`ServerOptions::sys_interval`](crate::ServerOptions::sys_interval). Leaves out: what is not known here, such as the
//! memory of the process, and bridges, of which there are none.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use gantline_protocol::{Message, Moment, Outbound};
use gantline_transport::Clock;
use hashbrown::HashMap;
use tokio::time::sleep;

use crate::broker::Broker;
use crate::broker::publication::Publication;
use crate::broker::publish::Publisher;
use crate::metrics::Metrics;

/// Publishes the numbers of a broker, at once and then whenever the interval is over. Never ends.
pub(crate) async fn publish_numbers(broker: Arc<Broker>, clock: Clock, interval: Duration) {
    let mut sys = Sys::default();
    loop {
        let now = clock.now();
        sys.publish(&broker, &Metrics::of(&broker, now), now);
        sleep(interval).await;
    }
}

/// What was published last, and the averages.
#[derive(Debug, Default)]
struct Sys {
    published: HashMap<String, String, RandomState>,
    averages: [Average; SUMS.len()],
    before: Duration,
}

impl Sys {
    fn publish(&mut self, broker: &Broker, metrics: &Metrics, now: Moment) {
        let mut publisher = Publisher::default();
        let mut tell = |name: &str, value: String| {
            if self.published.get(name) == Some(&value) {
                return;
            }
            // The names here are topics, and a value is short.
            let Ok(message) = Message::new(format!("$SYS/broker/{name}"), value.clone()) else { return };
            let outbound = Outbound::new(&message.retain(true), now);
            // The server's own numbers are bound by nothing.
            let _ = publisher.publish(broker, &mut Publication::of_message(&outbound), now);
            self.published.insert(name.to_owned(), value);
        };
        tell("version", concat!("gantline version ", env!("CARGO_PKG_VERSION")).to_owned());
        tell("uptime", format!("{} seconds", metrics.uptime.as_secs()));
        for (name, number) in NUMBERS {
            tell(name, number(metrics).to_string());
        }
        let elapsed = metrics.uptime.saturating_sub(self.before);
        self.before = metrics.uptime;
        for ((name, sum), average) in SUMS.iter().zip(&mut self.averages) {
            average.add(sum(metrics), elapsed);
            for (minutes, value) in SPANS.iter().zip(average.values) {
                tell(&format!("load/{name}/{minutes}min"), format!("{value:.2}"));
            }
        }
        publisher.settle(broker, now);
        publisher.after.wake();
    }
}

/// How fast a sum grows, a minute, as an average over each of the [`SPANS`].
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    last: u64,
    values: [f64; SPANS.len()],
}

impl Average {
    /// The sum is this now, so long after it was looked at last.
    fn add(&mut self, sum: u64, elapsed: Duration) {
        let grown = sum.saturating_sub(std::mem::replace(&mut self.last, sum));
        let minutes = elapsed.as_secs_f64() / 60.0;
        if minutes == 0.0 {
            return;
        }
        let rate = grown as f64 / minutes;
        for (span, value) in SPANS.iter().zip(&mut self.values) {
            let weight = (-minutes / f64::from(*span)).exp();
            *value = *value * weight + rate * (1.0 - weight);
        }
    }
}

type Number = fn(&Metrics) -> u64;

/// What is published as it is, below `$SYS/broker/`.
const NUMBERS: [(&str, Number); 28] = [
    ("clients/total", |it| it.sessions as u64),
    ("clients/maximum", |it| it.clients_highest as u64),
    ("clients/connected", |it| it.clients as u64),
    ("clients/active", |it| it.clients as u64),
    ("clients/disconnected", away),
    ("clients/inactive", away),
    ("clients/expired", |it| it.sessions_expired),
    ("messages/stored", stored),
    ("messages/received", |it| it.received.packets),
    ("messages/sent", |it| it.sent.packets),
    ("store/messages/count", stored),
    ("store/messages/bytes", |it| it.queued_bytes + it.retained_bytes as u64),
    ("subscriptions/count", |it| it.subscriptions as u64),
    ("shared_subscriptions/count", |it| it.shared_subscriptions as u64),
    ("retained messages/count", |it| it.retained_messages as u64),
    ("bytes/received", |it| it.received.bytes),
    ("bytes/sent", |it| it.sent.bytes),
    ("publish/bytes/received", |it| it.received.publish_bytes),
    ("publish/bytes/sent", |it| it.sent.publish_bytes),
    ("publish/messages/received", |it| it.received.messages()),
    ("publish/messages/sent", |it| it.sent.messages()),
    ("publish/messages/dropped", |it| it.dropped.total()),
    ("connections/socket/count", |it| it.connections as u64),
    ("publish/messages/received/qos0", |it| it.received.messages_by_qos[0]),
    ("publish/messages/received/qos1", |it| it.received.messages_by_qos[1]),
    ("publish/messages/received/qos2", |it| it.received.messages_by_qos[2]),
    ("publish/messages/expired", |it| it.messages_expired),
    ("publish/messages/unconsumed", |it| it.messages_unconsumed),
];

/// Sums whose growth is published as averages, below `$SYS/broker/load/`.
const SUMS: [(&str, Number); 9] = [
    ("messages/received", |it| it.received.packets),
    ("messages/sent", |it| it.sent.packets),
    ("publish/received", |it| it.received.messages()),
    ("publish/sent", |it| it.sent.messages()),
    ("publish/dropped", |it| it.dropped.total()),
    ("bytes/received", |it| it.received.bytes),
    ("bytes/sent", |it| it.sent.bytes),
    ("sockets", |it| it.accepted),
    ("connections", |it| it.connected),
];

/// In minutes.
const SPANS: [u8; 3] = [1, 5, 15];

const fn away(metrics: &Metrics) -> u64 {
    metrics.sessions.saturating_sub(metrics.clients) as u64
}

const fn stored(metrics: &Metrics) -> u64 {
    metrics.queued_messages + metrics.retained_messages as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Average;

    #[test]
    fn an_average_comes_near_the_rate_and_the_short_one_first() {
        let mut average = Average::default();
        // A hundred a second are six thousand a minute.
        for step in 1..=6_u64 {
            average.add(step * 1_000, Duration::from_secs(10));
        }
        let [one, five, fifteen] = average.values;
        assert!((one - 6_000.0 * (1.0 - (-1.0_f64).exp())).abs() < 1.0, "{one}");
        assert!(one > five && five > fifteen && fifteen > 0.0);
        for step in 7..=600_u64 {
            average.add(step * 1_000, Duration::from_secs(10));
        }
        assert!(average.values.iter().all(|value| (value - 6_000.0).abs() < 10.0), "{average:?}");
        average.add(600_000, Duration::ZERO);
        assert!(average.values.iter().all(|value| value.is_finite()));
    }
}
