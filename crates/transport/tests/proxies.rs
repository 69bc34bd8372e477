//! Connecting through proxies: bytes go both ways below every scheme, names are the proxy's to resolve, and what goes
//! wrong says whose fault it is.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use gantline_test_support::proxies::TestProxy;
use gantline_transport::{
    AcceptBackoff, Address, BindOptions, DialOptions, Listener, Proxy, ProxyFailure, SocksRefusal, Stream,
    TransportError, accept, bind, connect, connect_over, memory,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn listener() -> Box<dyn Listener> {
    bind(&Address::new("mqtt://127.0.0.1:0").unwrap(), &BindOptions::default()).await.unwrap()
}

fn at(host: &str, listener: &dyn Listener) -> Address {
    Address::new(format!("mqtt://{host}:{}", listener.local_address().port().unwrap())).unwrap()
}

fn through(proxy: &str) -> DialOptions {
    DialOptions::default().proxy(Proxy::new(proxy).unwrap())
}

/// Proxies of both kinds.
async fn proxies(login: Option<(&str, &str)>) -> [TestProxy; 2] {
    [TestProxy::socks5(login).await, TestProxy::http(login).await]
}

async fn failure(address: &Address, options: &DialOptions) -> ProxyFailure {
    match connect(address, options).await.unwrap_err() {
        TransportError::Proxy { failure, .. } => *failure,
        other => panic!("{other:?}"),
    }
}

async fn echo(mut client: Stream, mut server: Stream) {
    client.write_all(b"to the server").await.unwrap();
    let mut got = [0; 13];
    server.read_exact(&mut got).await.unwrap();
    server.write_all(&got).await.unwrap();
    server.shutdown().await.unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"to the server");
}

#[tokio::test]
async fn bytes_go_both_ways_and_names_are_resolved_by_the_proxy() {
    for proxy in proxies(None).await {
        let mut listener = listener().await;
        for host in ["broker.test", "127.0.0.1"] {
            let address = at(host, &*listener);
            let client = connect(&address, &through(&proxy.url())).await.unwrap();
            let server = accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap();
            assert_eq!(client.info().to_string(), address.to_string(), "who is at the other end");
            assert!(client.info().local().socket().is_some());
            echo(client, server).await;
            assert_eq!(Some(proxy.targets().last().unwrap().as_str()), address.to_string().get(7..));
        }
    }
}

#[tokio::test]
async fn ipv6_addresses_are_told_as_such() {
    let Ok(mut listener) = bind(&Address::new("mqtt://[::1]:0").unwrap(), &BindOptions::default()).await
    else {
        // This machine has no IPv6.
        return;
    };
    for proxy in proxies(None).await {
        let client = connect(&listener.local_address(), &through(&proxy.url())).await.unwrap();
        echo(client, accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap()).await;
        assert!(proxy.targets()[0].starts_with("[::1]:"));
    }
}

#[tokio::test]
async fn credentials_open_the_door_and_wrong_ones_do_not() {
    for proxy in proxies(Some(("ada", "p@ss"))).await {
        let mut listener = listener().await;
        let address = at("localhost", &*listener);
        let (scheme, place) = {
            let url = proxy.url();
            let (scheme, place) = url.split_once("://").unwrap();
            (scheme.to_owned(), place.to_owned())
        };
        let right = through(&format!("{scheme}://ada:p%40ss@{place}"));
        let client = connect(&address, &right).await.unwrap();
        echo(client, accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap()).await;
        let wrong = through(&format!("{scheme}://ada:wrong@{place}"));
        let refused = failure(&address, &wrong).await;
        assert!(matches!(refused, ProxyFailure::CredentialsRefused), "{refused}");
        let refused = failure(&address, &through(&proxy.url())).await;
        assert!(matches!(refused, ProxyFailure::CredentialsMissing), "{refused}");
    }
}

#[tokio::test]
async fn a_server_that_the_proxy_cannot_reach_is_told_with_both_names() {
    let [socks, http] = proxies(None).await;
    let gone = at("broker.test", &*listener().await);
    let refused = failure(&gone, &through(&socks.url())).await;
    assert!(matches!(refused, ProxyFailure::Socks(SocksRefusal::ConnectionRefused)), "{refused}");
    let error = connect(&gone, &through(&http.url())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{gone} cannot be reached through {}: the proxy says: 502 Bad Gateway", http.url())
    );
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told() {
    let address = Address::new("mqtt://broker.test").unwrap();
    let free = listener().await.local_address().port().unwrap();
    let refused = failure(&address, &through(&format!("socks5://127.0.0.1:{free}"))).await;
    assert!(
        matches!(&refused, ProxyFailure::Unreachable(attempts) if attempts.iter().len() == 1),
        "{refused}"
    );
    let refused = failure(&address, &through("http://127.0.0.1:0")).await;
    assert!(matches!(refused, ProxyFailure::PortZero), "{refused}");
}

#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_nothing_behind() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for scheme in ["socks5", "http"] {
        let options = through(&format!("{scheme}://{}", silent.local_addr().unwrap()));
        let address = Address::new("mqtt://broker.test").unwrap();
        let mut tcp = {
            let mut attempt = pin!(connect(&address, &options));
            let accepted = std::future::poll_fn(|cx| {
                assert!(attempt.as_mut().poll(cx).is_pending());
                silent.poll_accept(cx)
            });
            let (mut tcp, _) = accepted.await.unwrap();
            // The proxy has the request, so the attempt waits for the answer.
            let mut first = [0];
            std::future::poll_fn(|cx| {
                assert!(attempt.as_mut().poll(cx).is_pending());
                let mut buffer = tokio::io::ReadBuf::new(&mut first);
                match tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut tcp), cx, &mut buffer) {
                    Poll::Ready(read) => {
                        read.unwrap();
                        Poll::Ready(())
                    }
                    Poll::Pending => Poll::Pending,
                }
            })
            .await;
            tcp
        };
        tcp.read_to_end(&mut Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn what_has_no_tcp_has_no_proxy() {
    for url in ["memory://hall", "unix:///run/mqtt.sock"] {
        let error = connect(&Address::new(url).unwrap(), &through("http://p")).await.unwrap_err();
        let unsupported = cfg!(not(unix)) && url.starts_with("unix");
        assert!(
            unsupported || matches!(error, TransportError::OptionUnused { option: "proxy", .. }),
            "{error}"
        );
    }
    let (stream, _peer) = memory::pair();
    let address = Address::new("mqtt://broker.test").unwrap();
    let error = connect_over(stream, &address, &through("http://p")).await.unwrap_err();
    assert!(matches!(error, TransportError::OptionOverStream { option: "proxy" }), "{error}");
}
