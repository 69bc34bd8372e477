//! Calls over MQTT: a responder with typed and untyped methods, a caller, and what a call that fails looks like.
//!
//! `cargo run --example rpc`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, time::Duration};

use gantline::rpc::{CallError, Failure, Request, RunningRpcServer};
use gantline::{Client, ConnectOptions, QoS, RpcClient, RpcServer, Server, ServerOptions};

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await?;
    let url = server.local_addresses()[0].to_string();
    println!("server on {url}");

    let device = Client::connect(ConnectOptions::new(&url)?.client_id("kitchen")?).await?;
    let responder = answer(device).await?;
    let rpc = RpcClient::new(Client::connect(ConnectOptions::new(&url)?.client_id("phone")?).await?);

    let answer = rpc.execute("kitchen.greet", "phone", QoS::AtLeastOnce, LIMIT).await?;
    println!("kitchen.greet: {}", answer.payload_str()?);

    // Typed, and in parallel: each result comes to its own call.
    let sum = rpc.call("kitchen.sum", &[1, 2, 3], QoS::AtLeastOnce, LIMIT);
    let longer = rpc.call("kitchen.sum", &[10, 20, 30, 40], QoS::AtLeastOnce, LIMIT);
    let (sum, longer): (i64, i64) = tokio::try_join!(sum, longer)?;
    println!("kitchen.sum: {sum} and {longer}");

    // A failure of the handler, with its code.
    match rpc.execute("kitchen.oven", "250", QoS::AtLeastOnce, LIMIT).await {
        Err(CallError::Failed(failure)) => println!("kitchen.oven failed, {failure}"),
        other => return Err(format!("expected a failure, got {other:?}").into()),
    }

    // Nobody there: the server says so, and nobody waits for the time-out.
    match rpc.execute("cellar.greet", "phone", QoS::AtLeastOnce, LIMIT).await {
        Err(error @ CallError::NoResponder) => println!("cellar.greet: {error}"),
        other => return Err(format!("expected that nobody answers, got {other:?}").into()),
    }

    responder.stop().await;
    server.shutdown(Duration::from_secs(5)).await;
    println!("done");
    Ok(())
}

/// The kitchen's methods.
async fn answer(client: Client) -> Result<RunningRpcServer, Box<dyn Error>> {
    let responder = RpcServer::new()
        .method(
            "kitchen.greet",
            |request: Request| async move { Ok(format!("hello {}", request.payload_str()?)) },
        )
        .json_method("kitchen.sum", |numbers: Vec<i64>| async move { Ok(numbers.iter().sum::<i64>()) })
        .method("kitchen.oven", |request: Request| async move {
            match request.payload_str()?.parse::<u16>()? {
                degrees @ 0..=230 => Ok(format!("{degrees} degrees")),
                degrees => Err(Failure::new("too-hot", format!("{degrees} degrees are too many"))),
            }
        })
        .start(client)
        .await?;
    Ok(responder)
}
