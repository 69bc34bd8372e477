//! A client over TLS: what it says about a server that it does not know, and how it recognises one by its certificate.
//!
//! `cargo run --example tls_client`, or with a server whose CA the system knows:
//! `cargo run --example tls_client -- mqtts://broker.example`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, time::Duration};

use gantline::client::TlsVersion;
use gantline::{
    Client, ConnectOptions, Message, QoS, Server, ServerOptions, TlsClientOptions, TlsServerOptions,
};
use gantline_examples::authority::Authority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(url) = env::args().nth(1) {
        // Without these options, the CAs are those that everybody knows.
        return talk(ConnectOptions::new(url)?.tls(TlsClientOptions::default().system_roots())).await;
    }
    let issued = Authority::new()?.server("localhost")?;
    let server = Server::new(ServerOptions::default())
        .listen("mqtts://localhost:0")
        .tls(TlsServerOptions::with_identity(issued.identity()))
        .start()
        .await?;
    let port = server.local_addresses()[0].port().ok_or("no port")?;
    let options = ConnectOptions::new(format!("mqtts://localhost:{port}"))?;

    match Client::connect(options.clone()).await {
        Err(error) => println!("the CAs that everybody knows do not help here: {error}"),
        Ok(_) => return Err("a server of nobody's CA was trusted".into()),
    }

    // Its word is final, so it has to be sure. What CAs have to say about the certificate is in `verification.error()`.
    let known = issued.certificate.der().to_vec();
    let pinned =
        TlsClientOptions::default().versions(&[TlsVersion::V1_3]).verify_server(move |verification| {
            verification.chain().first().is_some_and(|first| **first == *known)
        });
    talk(options.tls(pinned)).await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn talk(options: ConnectOptions) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(options).await?;
    let mut echo = client.subscribe("gantline/example", QoS::AtLeastOnce).await?;
    client.publish(Message::new("gantline/example", "over TLS")?.qos(QoS::AtLeastOnce)).await?;
    if let Some(message) = echo.next().await {
        println!("{}: {}", message.topic(), message.payload_str()?);
    }
    client.disconnect().await?;
    Ok(())
}
