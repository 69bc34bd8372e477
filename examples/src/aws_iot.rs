//! Connecting to AWS IoT Core, each way: a client certificate on port 8883 or 443, a custom authorizer, WebSocket with
//! keys of AWS.
//!
//! `cargo run --example aws_iot` talks to a stand-in that asks for what AWS asks for, with the account's endpoint to
//! AWS: `cargo run --example aws_iot -- abc123-ats.iot.eu-central-1.amazonaws.com device.pem device.key`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, time::Duration};

use gantline::client::aws_iot::{AwsCredentials, CustomAuthorizer, Endpoint};
use gantline::server::ClientCertificates;
use gantline::{
    Certificates, Client, ConnectOptions, Message, PrivateKey, QoS, Server, ServerOptions, TlsClientOptions,
    TlsIdentity, TlsServerOptions,
};
use gantline_examples::authority::Authority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let [host, certificate, key] = &*env::args().skip(1).collect::<Vec<_>>() {
        let identity = TlsIdentity::new(Certificates::file(certificate), PrivateKey::file(key));
        return talk("8883", Endpoint::new(host)?.mutual_tls(identity)).await;
    }

    let ca = Authority::new()?;
    let server = Server::new(ServerOptions::default())
        .listen("mqtts://localhost:0")
        .listen("wss://localhost:0/mqtt")
        .tls(
            TlsServerOptions::with_identity(ca.server("localhost")?.identity())
                .alpn(["x-amzn-mqtt-ca", "mqtt", "http/1.1"])
                .client_ca(ca.certificates())
                .client_certificates(ClientCertificates::Optional),
        )
        .start()
        .await?;
    // In earnest no more than `Endpoint::new(host)`.
    let endpoint = Endpoint::new("localhost")?
        .region("eu-central-1")
        .tls(TlsClientOptions::default().ca(ca.certificates()));
    let port = |listener: usize| server.local_addresses()[listener].port().ok_or("no port");
    let (endpoint, web) = (endpoint.clone().port(port(0)?), endpoint.port(port(1)?));

    let device = ca.client("kitchen")?;
    talk("certificate", endpoint.mutual_tls(device.identity())).await?;
    talk("certificate on 443", endpoint.mutual_tls_on_443(device.identity())).await?;
    let authorizer = CustomAuthorizer::named("gate").token("ticket", "77").token_signature("c2lnbmVk");
    talk("custom authorizer", endpoint.custom_authorizer(&authorizer)).await?;

    talk("custom authorizer over WebSocket", web.custom_authorizer_websocket(&authorizer)).await?;

    // The keys are those of the documentation of AWS.
    let keys = AwsCredentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    talk("keys of AWS", web.signed_websocket(&keys)?).await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn talk(way: &'static str, options: ConnectOptions) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(options.client_id("kitchen")?).await?;
    let mut shadow = client.subscribe("things/kitchen", QoS::AtLeastOnce).await?;
    client.publish(Message::new("things/kitchen", way)?.qos(QoS::AtLeastOnce)).await?;
    if let Some(message) = shadow.next().await {
        println!("{}: {}", message.topic(), message.payload_str()?);
    }
    client.disconnect().await?;
    Ok(())
}
