//! One client, alone in its process: what a message costs it to publish, or to receive.
//!
//! `gantline-peers CLIENT publish|receive HOST PORT QOS BYTES SECONDS` prints one line of JSON: messages, seconds of
//! processor time, and messages per second of it. CLIENT is `gantline` or `rumqttc`. A publisher needs a broker and
//! nobody who listens. A receiver takes what is published below `bench/`: `gantline-peers source QOS BYTES`, which
//! prints its port, is there for it, or `gantline bench p2p` feeds it through a broker.
//!
//! Both clients speak MQTT 3.1.1, run on one thread, and have at most [`WINDOW`] messages in flight. Relates to:
//! `benches/compare-clients`, which runs this. Leaves out: checking what arrives.

mod meter;
mod ours;
mod source;
mod theirs;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

/// Messages that a publisher has underway: in the output with QoS 0, unacknowledged otherwise.
const WINDOW: usize = 100;
/// Where is published; like the topics of `gantline bench`.
const TOPIC: &str = "bench/12345/0";
/// What a receiver subscribes to.
const FILTER: &str = "bench/#";

/// What is asked for.
#[derive(Clone, Debug)]
struct Plan {
    host: String,
    port: u16,
    qos: u8,
    payload: Vec<u8>,
    duration: Duration,
}

/// Why there is no figure.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    if let [source, qos, bytes] = arguments
        && source == "source"
    {
        return source::serve(qos.parse()?, bytes.parse()?);
    }
    let [client, role, host, port, qos, bytes, seconds] = arguments else {
        return Err(
            "usage: gantline-peers gantline|rumqttc publish|receive HOST PORT QOS BYTES SECONDS".into()
        );
    };
    let plan = Plan {
        host: host.clone(),
        port: port.parse()?,
        qos: qos.parse()?,
        payload: vec![b'.'; bytes.parse()?],
        duration: Duration::from_secs_f64(seconds.parse()?),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let meter = runtime.block_on(async {
        match (client.as_str(), role.as_str()) {
            ("gantline", "publish") => ours::publish(&plan).await,
            ("gantline", "receive") => ours::receive(&plan).await,
            ("rumqttc", "publish") => theirs::publish(&plan).await,
            ("rumqttc", "receive") => theirs::receive(&plan).await,
            _ => Err(format!("there is no {client} to {role}").into()),
        }
    })?;
    println!("{}", meter.figures());
    Ok(())
}
