//! SOCKS5 and HTTP proxies that live as long as a test.
//!
//! They take names that end in `.test` for this machine, so that a test sees who resolved them. Leaves out: everything
//! that a real proxy would have to think about, such as bounds.

#![expect(clippy::expect_used, reason = "helpers of tests may panic")]

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A proxy on a free port of this machine, which ends when it is dropped.
#[derive(Debug)]
pub struct TestProxy {
    kind: Kind,
    address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Socks5,
    Http,
}

/// Who may use a proxy.
type Login = Option<(String, String)>;

impl TestProxy {
    /// A SOCKS5 proxy; with a login, for those only who know it.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn socks5(login: Option<(&str, &str)>) -> Self {
        Self::start(Kind::Socks5, login).await
    }

    /// An HTTP proxy; with a login, for those only who know it.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn http(login: Option<(&str, &str)>) -> Self {
        Self::start(Kind::Http, login).await
    }

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        let scheme = match self.kind {
            Kind::Socks5 => "socks5",
            Kind::Http => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Where the tunnels led that were asked for, as `host:port`, in the words of the clients.
    ///
    /// # Panics
    ///
    /// If the proxy has panicked.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().expect("the proxy is alive").clone()
    }

    async fn start(kind: Kind, login: Option<(&str, &str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let targets = Arc::default();
        let login = login.map(|(user_name, password)| (user_name.to_owned(), password.to_owned()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, kind, login, Arc::clone(&targets)));
        Self { kind, address, targets, _tasks: tasks }
    }
}

async fn accept(listener: TcpListener, kind: Kind, login: Login, targets: Arc<Mutex<Vec<String>>>) {
    let mut tunnels = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (login, targets) = (login.clone(), Arc::clone(&targets));
        tunnels.spawn(async move {
            let note = |target: String| targets.lock().expect("the test is alive").push(target);
            // What goes wrong is for the client to see.
            let _ = match kind {
                Kind::Socks5 => socks5(client, login, note).await,
                Kind::Http => http(client, login, note).await,
            };
        });
    }
}

async fn socks5(mut client: TcpStream, login: Login, note: impl Fn(String)) -> io::Result<()> {
    let mut head = [0; 2];
    client.read_exact(&mut head).await?;
    let methods = read(&mut client, head[1]).await?;
    let wanted = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        return client.write_all(&[5, 0xFF]).await;
    }
    client.write_all(&[5, wanted]).await?;
    if let Some((user_name, password)) = login {
        client.read_exact(&mut head).await?;
        let named = read(&mut client, head[1]).await?;
        let length = client.read_u8().await?;
        let known = named == user_name.as_bytes() && read(&mut client, length).await? == password.as_bytes();
        client.write_all(&[1, u8::from(!known)]).await?;
        if !known {
            return Ok(());
        }
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from_bits(client.read_u32().await?).to_string(),
        4 => format!("[{}]", std::net::Ipv6Addr::from_bits(client.read_u128().await?)),
        _ => {
            let length = client.read_u8().await?;
            String::from_utf8_lossy(&read(&mut client, length).await?).into_owned()
        }
    };
    let port = client.read_u16().await?;
    let target = format!("{host}:{port}");
    note(target.clone());
    match reach(&target).await {
        Ok(server) => tunnel(client, server, b"\x05\0\0\x01\0\0\0\0\0\0").await,
        Err(_) => client.write_all(b"\x05\x05\0\x01\0\0\0\0\0\0").await,
    }
}

async fn http(mut client: TcpStream, login: Login, note: impl Fn(String)) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if let Some((user_name, password)) = login {
        let known = STANDARD.encode(format!("{user_name}:{password}"));
        if !head.contains(&format!("\r\nProxy-Authorization: Basic {known}\r\n")) {
            let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n";
            return client.write_all(answer).await;
        }
    }
    let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
    };
    note(target.to_owned());
    match reach(target).await {
        Ok(server) => {
            tunnel(client, server, b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await
        }
        Err(_) => client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await,
    }
}

async fn read(client: &mut TcpStream, length: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn reach(target: &str) -> io::Result<TcpStream> {
    match target.split_once(".test:") {
        Some((_, port)) => TcpStream::connect(format!("127.0.0.1:{port}")).await,
        None => TcpStream::connect(target).await,
    }
}

async fn tunnel(mut client: TcpStream, mut server: TcpStream, answer: &[u8]) -> io::Result<()> {
    client.write_all(answer).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
