//! The client of the rumqtt project.
//!
//! Its event loop is polled in a task of its own while the publisher publishes, as its documentation shows; a receiver
//! takes messages from the loop itself. Relates to: `ours`, which does the same with our client.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::task::JoinHandle;

use crate::meter::Meter;
use crate::{FILTER, Failure, Plan, TOPIC, WINDOW};

/// Above each packet; the default is 10 KiB.
const MAXIMUM_PACKET_SIZE: usize = 1 << 20;

/// Publishes until the meter says that it is enough.
pub(crate) async fn publish(plan: &Plan) -> Result<Meter, Failure> {
    let (client, mut events) = connect(plan);
    let _polling: JoinHandle<()> = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let (payload, qos) = (Bytes::from(plan.payload.clone()), qos(plan)?);
    let mut meter = Meter::new(plan);
    while !meter.is_done()? {
        client.publish_bytes(TOPIC, qos, false, payload.clone()).await?;
    }
    Ok(meter)
}

/// Receives until the meter says that it is enough.
pub(crate) async fn receive(plan: &Plan) -> Result<Meter, Failure> {
    let (client, mut events) = connect(plan);
    client.subscribe(FILTER, qos(plan)?).await?;
    let mut meter = Meter::new(plan);
    loop {
        if let Event::Incoming(Packet::Publish(_)) = events.poll().await?
            && meter.is_done()?
        {
            return Ok(meter);
        }
    }
}

fn connect(plan: &Plan) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("peer", &plan.host, plan.port);
    options.set_keep_alive(Duration::from_secs(3600));
    options.set_inflight(WINDOW as u16);
    options.set_max_packet_size(MAXIMUM_PACKET_SIZE, MAXIMUM_PACKET_SIZE);
    AsyncClient::new(options, WINDOW)
}

fn qos(plan: &Plan) -> Result<QoS, Failure> {
    rumqttc::qos(plan.qos).map_err(|error| format!("{error:?}").into())
}
