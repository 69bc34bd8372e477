//! Certificates on both sides: a server that lets only clients of its CA in, a client that is let in, one that is not,
//! and certificates that are renewed while the client stays.
//!
//! `cargo run --example mutual_tls`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, sync::Arc, time::Duration};

use gantline::server::ClientCertificates;
use gantline::{
    Client, ConnectOptions, Message, QoS, Server, ServerOptions, TlsClientOptions, TlsServerOptions,
};
use gantline_examples::authority::Authority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ca = Arc::new(Authority::new()?);
    let server = Server::new(ServerOptions::default())
        .listen("mqtts://localhost:0")
        .tls(server_options(&ca)?)
        .start()
        .await?;
    let port = server.local_addresses()[0].port().ok_or("no port")?;
    let options = ConnectOptions::new(format!("mqtts://localhost:{port}"))?;
    let trust = TlsClientOptions::default().ca(ca.certificates());

    match Client::connect(options.clone().tls(trust.clone())).await {
        Err(error) => println!("a client without a certificate: {error}"),
        Ok(_) => return Err("a client without a certificate was let in".into()),
    }

    // A new certificate for each connection. One that lasts is `.identity(..)` or `.client_certificate(.., ..)`.
    let issuer = Arc::clone(&ca);
    let tls = trust.identity_provider(move || {
        let issuer = Arc::clone(&issuer);
        async move { issuer.client("kitchen").map(|issued| issued.identity()) }
    });
    let client = Client::connect(options.tls(tls)).await?;
    println!("a client with a certificate is connected");

    // With files it would be `reload_from_files`, or `watch_files` in the options.
    server.tls().ok_or("no TLS")?.reload(server_options(&ca)?)?;
    let mut lamp = client.subscribe("lamp", QoS::AtLeastOnce).await?;
    client.publish(Message::new("lamp", "on")?.qos(QoS::AtLeastOnce)).await?;
    if let Some(message) = lamp.next().await {
        println!("after the renewal {} is still {}", message.topic(), message.payload_str()?);
    }
    client.disconnect().await?;
    client.reconnect().await?;
    println!("and the client has connected again");
    client.disconnect().await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// A new certificate for the server, which wants one of its clients.
fn server_options(ca: &Authority) -> Result<TlsServerOptions, rcgen::Error> {
    Ok(TlsServerOptions::with_identity(ca.server("localhost")?.identity())
        .client_ca(ca.certificates())
        .client_certificates(ClientCertificates::Required))
}
