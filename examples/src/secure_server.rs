//! A server that is reached over TLS only, lets nobody in without a certificate of its CA, and notices when its own is
//! renewed.
//!
//! `cargo run --example secure_server -- FOLDER` writes a throw-away CA with a certificate for each end into the folder
//! (default: a new one among the temporary files) and says how to connect with other programs. Ctrl-C ends it.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, fs, path::PathBuf, time::Duration};

use gantline::server::ClientCertificates;
use gantline::{Certificates, PrivateKey, QoS, Server, ServerOptions, TlsServerOptions};
use gantline_examples::authority::Authority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        env::args_os().nth(1).map_or_else(|| env::temp_dir().join("gantline-secure-server"), PathBuf::from);
    write_certificates(&folder)?;
    let file = |name: &str| folder.join(name);
    let tls =
        TlsServerOptions::new(Certificates::file(file("server.pem")), PrivateKey::file(file("server.key")))
            .client_ca(Certificates::file(file("ca.pem")))
            .client_certificates(ClientCertificates::Required)
            .watch_files(Duration::from_secs(5));
    let server =
        Server::new(ServerOptions::default()).listen("mqtts://localhost:8883").tls(tls).start().await?;
    println!("listening on {}, Ctrl-C ends", server.local_addresses()[0]);
    println!(
        "cd {} && mosquitto_pub -h localhost -p 8883 --cafile ca.pem --cert client.pem --key client.key \
         -t greetings -m hello",
        folder.display()
    );

    let mut messages = server.subscribe("#", QoS::AtLeastOnce)?;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            Some(message) = messages.next() => println!("{}: {:?}", message.topic(), message.payload()),
        }
    }
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

fn write_certificates(folder: &PathBuf) -> Result<(), Box<dyn Error>> {
    let ca = Authority::new()?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("ca.pem"), ca.pem())?;
    for (name, issued) in [("server", ca.server("localhost")?), ("client", ca.client("client")?)] {
        fs::write(folder.join(name).with_extension("pem"), issued.certificate.pem())?;
        fs::write(folder.join(name).with_extension("key"), issued.key.serialize_pem())?;
    }
    Ok(())
}
