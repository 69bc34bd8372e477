//! A client behind a proxy, which resolves the name of the server; with a small HTTP proxy of its own to try it with.
//!
//! `cargo run --example proxy`, or through a proxy that is there already:
//! `cargo run --example proxy -- socks5://user:password@proxy.example:1080 mqtt://broker.example`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, io, time::Duration};

use gantline::client::Proxy;
use gantline::{Client, ConnectOptions, Message, QoS, Server, ServerOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    if let (Some(proxy), Some(server)) = (arguments.next(), arguments.next()) {
        return talk(ConnectOptions::new(server)?.proxy(Proxy::new(proxy)?)).await;
    }
    let server = Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await?;
    let port = server.local_addresses()[0].port().ok_or("no port")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::new(format!("http://{}", listener.local_addr()?))?;
    let proxying = tokio::spawn(serve(listener));

    // A name that only the proxy knows.
    let options = ConnectOptions::new(format!("mqtt://broker.inside:{port}"))?;
    talk(options.proxy(proxy.clone())).await?;

    let elsewhere = ConnectOptions::new("mqtt://somewhere.else")?.proxy(proxy);
    match Client::connect(elsewhere).await {
        Err(error) => println!("{error}"),
        Ok(_) => return Err("the proxy let everybody through".into()),
    }
    proxying.abort();
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn talk(options: ConnectOptions) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(options).await?;
    let mut echo = client.subscribe("gantline/example", QoS::AtLeastOnce).await?;
    client.publish(Message::new("gantline/example", "through a proxy")?.qos(QoS::AtLeastOnce)).await?;
    if let Some(message) = echo.next().await {
        println!("{}: {}", message.topic(), message.payload_str()?);
    }
    client.disconnect().await?;
    Ok(())
}

/// A proxy that knows one host and trusts everybody.
async fn serve(listener: TcpListener) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Err(error) = tunnel(client).await {
                println!("a tunnel broke: {error}");
            }
        });
    }
}

async fn tunnel(mut client: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    // A proxy in earnest would have bounds, and a time-out.
    while !request.ends_with(b"\r\n\r\n") {
        request.push(client.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let target = request.split(' ').nth(1).and_then(|target| target.strip_prefix("broker.inside:"));
    let Some(port) = target else {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    };
    let mut server = TcpStream::connect(format!("127.0.0.1:{port}")).await?;
    println!("the proxy was asked for {}", request.lines().next().unwrap_or_default());
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
