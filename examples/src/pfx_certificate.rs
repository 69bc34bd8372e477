//! A client certificate from a PKCS#12 file (PFX, `.p12`) with a password, as Windows, Java and `openssl pkcs12
//! -export` make them.
//!
//! `cargo run --example pfx_certificate`, or with a file of yours:
//! `cargo run --example pfx_certificate -- mqtts://broker.example device.p12 PASSWORD`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, time::Duration};

use gantline::server::ClientCertificates;
use gantline::{
    Client, ConnectOptions, Server, ServerOptions, TlsClientOptions, TlsIdentity, TlsServerOptions,
};
use gantline_examples::authority::{Authority, Issued};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let [url, file, password] = &*env::args().skip(1).collect::<Vec<_>>() {
        let tls = TlsClientOptions::default().identity(TlsIdentity::pfx_file(file, password.as_str()));
        Client::connect(ConnectOptions::new(url)?.tls(tls)).await?.disconnect().await?;
        println!("connected with {file}");
        return Ok(());
    }

    let ca = Authority::new()?;
    let server = Server::new(ServerOptions::default())
        .listen("mqtts://localhost:0")
        .tls(
            TlsServerOptions::with_identity(ca.server("localhost")?.identity())
                .client_ca(ca.certificates())
                .client_certificates(ClientCertificates::Required),
        )
        .start()
        .await?;
    let port = server.local_addresses()[0].port().ok_or("no port")?;
    let options = ConnectOptions::new(format!("mqtts://localhost:{port}"))?;

    let pfx = exported(&ca.client("kitchen")?, "correct horse")?;
    let trust = TlsClientOptions::default().ca(ca.certificates());
    let wrong = trust.clone().identity(TlsIdentity::pfx(pfx.clone(), "battery staple"));
    match Client::connect(options.clone().tls(wrong)).await {
        Err(error) => println!("{error}"),
        Ok(_) => return Err("a wrong password was accepted".into()),
    }
    let right = trust.identity(TlsIdentity::pfx(pfx, "correct horse"));
    Client::connect(options.tls(right)).await?.disconnect().await?;
    println!("connected");
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// A PKCS#12 file, as another program would have made it.
fn exported(issued: &Issued, password: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let key = PrivateKey::from_der(&issued.key.serialize_der())?;
    let certificate = Certificate::from_der(issued.certificate.der())?;
    let mut store = KeyStore::new();
    let chain = PrivateKeyChain::new("kitchen", key, [certificate]);
    store.add_entry("kitchen", KeyStoreEntry::PrivateKeyChain(chain));
    Ok(store.writer(password).write()?)
}
