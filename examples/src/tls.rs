//! TLS on both sides, with certificates on both sides: a server that lets only clients of its CA in, a client that is let
//! in, one that is not, and a certificate that is renewed while the client stays.
//!
//! `cargo run --release --example tls`
//!
//! The CA is made on the spot and forgotten at the end. Leaves out: keeping a CA, which is what matters in earnest.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, time::Duration};

use gantline::server::ClientCertificates;
use gantline::{
    Certificates, Client, ConnectOptions, Message, PrivateKey, QoS, Server, ServerOptions, TlsClientOptions,
    TlsServerOptions,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ca = Ca::new()?;
    let server = Server::new(ServerOptions::default())
        .listen("mqtts://localhost:0")
        .tls(ca.server_options()?)
        .start()
        .await?;
    let port = server.local_addresses()[0].port().ok_or("no port")?;
    let options = ConnectOptions::new(format!("mqtts://localhost:{port}"))?;

    let (chain, key) = ca.sign("kitchen", &[], ExtendedKeyUsagePurpose::ClientAuth)?;
    let tls = TlsClientOptions::default().ca(ca.certificates()).client_certificate(chain, key);
    let client = Client::connect(options.clone().tls(tls)).await?;
    println!("a client with a certificate is connected");

    let stranger = options.tls(TlsClientOptions::default().ca(ca.certificates()));
    match Client::connect(stranger).await {
        Err(error) => println!("a client without one: {error}"),
        Ok(_) => return Err("a client without a certificate was let in".into()),
    }

    // With files it would be `reload_from_files`; `gantline serve` does that on SIGHUP.
    server.tls().ok_or("no TLS")?.reload(ca.server_options()?)?;
    let mut lamp = client.subscribe("lamp", QoS::AtLeastOnce).await?;
    client.publish(Message::new("lamp", "on")?.qos(QoS::AtLeastOnce)).await?;
    if let Some(message) = lamp.next().await {
        println!("after the renewal {} is still {}", message.topic(), message.payload_str()?);
    }
    client.disconnect().await?;
    server.shutdown(Duration::from_secs(5)).await;
    println!("done");
    Ok(())
}

/// A certificate authority.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "example CA");
        CertifiedIssuer::self_signed(params, KeyPair::generate()?).map(Self)
    }

    fn certificates(&self) -> Certificates {
        Certificates::pem(self.0.pem())
    }

    /// A new certificate for the server, which wants one of its clients.
    fn server_options(&self) -> Result<TlsServerOptions, rcgen::Error> {
        let (chain, key) = self.sign("server", &["localhost"], ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok(TlsServerOptions::new(chain, key)
            .client_ca(self.certificates())
            .client_certificates(ClientCertificates::Required))
    }

    fn sign(
        &self,
        name: &str,
        hosts: &[&str],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(Certificates, PrivateKey), rcgen::Error> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok((Certificates::pem(certificate.pem()), PrivateKey::pem(key.serialize_pem())))
    }
}
