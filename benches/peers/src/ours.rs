//! The client of gantline.
//!
//! Relates to: `theirs`, which does the same with the other one. With QoS 1 and 2 the publisher awaits the outcome of
//! each message, for which the other client has no means.

use std::collections::VecDeque;

use gantline::{Client, ConnectOptions, Message, ProtocolVersion, QoS};

use crate::meter::Meter;
use crate::{FILTER, Failure, Plan, TOPIC, WINDOW};

/// Publishes until the meter says that it is enough.
pub(crate) async fn publish(plan: &Plan) -> Result<Meter, Failure> {
    let client = connect(plan).await?;
    let message = Message::new(TOPIC, plan.payload.clone())?.qos(qos(plan)?);
    let mut underway = VecDeque::with_capacity(WINDOW);
    let mut meter = Meter::new(plan);
    while !meter.is_done()? {
        if plan.qos == 0 {
            client.publish(message.clone()).await?;
            continue;
        }
        if underway.len() == WINDOW
            && let Some(oldest) = underway.pop_front()
        {
            let _outcome = oldest.await?;
        }
        underway.push_back(client.publish(message.clone()).queued().await?);
    }
    Ok(meter)
}

/// Receives until the meter says that it is enough.
pub(crate) async fn receive(plan: &Plan) -> Result<Meter, Failure> {
    let client = connect(plan).await?;
    let mut messages = client.subscribe(FILTER, qos(plan)?).await?;
    let mut meter = Meter::new(plan);
    while messages.next().await.is_some() {
        if meter.is_done()? {
            let dropped = messages.dropped();
            if dropped > 0 {
                return Err(format!("{dropped} messages were dropped").into());
            }
            return Ok(meter);
        }
    }
    Err("the connection ended".into())
}

async fn connect(plan: &Plan) -> Result<Client, Failure> {
    let options = ConnectOptions::at(&plan.host, plan.port)?
        .version(ProtocolVersion::V3_1_1)
        // Room for what one turn reads, because with QoS 0 nothing holds the source back and the oldest are dropped.
        .stream_bounds(1 << 16, 256 << 20)
        .output_bounds(WINDOW, 16 << 20);
    Ok(Client::connect(options).await?)
}

fn qos(plan: &Plan) -> Result<QoS, Failure> {
    match plan.qos {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(format!("there is no QoS {other}").into()),
    }
}
