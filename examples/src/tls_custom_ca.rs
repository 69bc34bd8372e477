//! A client that trusts a CA of its own, for a server that is reached under another name than it has.
//!
//! `cargo run --example tls_custom_ca`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, time::Duration};

use gantline::{
    Certificates, Client, ConnectOptions, Server, ServerOptions, TlsClientOptions, TlsServerOptions,
};
use gantline_examples::authority::Authority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ca = Authority::new()?;
    let server = Server::new(ServerOptions::default())
        .listen("mqtts://localhost:0")
        .tls(TlsServerOptions::with_identity(ca.server("broker.example")?.identity()))
        .start()
        .await?;
    let port = server.local_addresses()[0].port().ok_or("no port")?;
    let options = ConnectOptions::new(format!("mqtts://localhost:{port}"))?;

    // In earnest it is a file: `Certificates::file("company-ca.pem")`, read at each connect.
    let company = Certificates::pem(ca.pem());
    let only = TlsClientOptions::default().ca(company.clone());
    match Client::connect(options.clone().tls(only.clone())).await {
        Err(error) => println!("{error}"),
        Ok(_) => return Err("a wrong name was accepted".into()),
    }
    Client::connect(options.clone().tls(only.server_name("broker.example"))).await?.disconnect().await?;
    println!("connected, trusting this CA and nobody else");

    let as_well = TlsClientOptions::default().extra_ca(company).server_name("broker.example");
    Client::connect(options.tls(as_well)).await?.disconnect().await?;
    println!("connected, trusting this CA beside those that everybody knows");
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
