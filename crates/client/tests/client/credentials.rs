//! Credentials: who is asked for them and when, what goes wrong, and that nobody sees them.

use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantline_client::{
    Client, ConnectError, ConnectOptions, ConnectStage, Credentials, CredentialsProvider, CredentialsRequest,
    OptionsError, Password, ProtocolVersion, Proxy, TransportError, async_trait,
};
use gantline_protocol::packet::ConnAck;

use crate::peer::{pair, reconnected};

type Answer = Result<Credentials, Box<dyn Error + Send + Sync>>;

/// Gives a new token each time.
#[derive(Clone, Default)]
struct Tokens(Arc<AtomicUsize>);

#[async_trait]
impl CredentialsProvider for Tokens {
    async fn credentials(&self, request: &CredentialsRequest<'_>) -> Answer {
        assert_eq!(request.address().map(ToString::to_string).as_deref(), Some("mqtt://broker:1883"));
        let client = request.client_id().unwrap().to_string();
        let token = format!("token {}", self.0.fetch_add(1, Ordering::Relaxed));
        Ok(Credentials::default().user_name(client).password(token))
    }
}

/// Gives no user name.
struct Nameless;

#[async_trait]
impl CredentialsProvider for Nameless {
    async fn credentials(&self, _: &CredentialsRequest<'_>) -> Answer {
        Ok(Credentials::default().password(b"\x00\xFF"))
    }
}

struct Broken;

#[async_trait]
impl CredentialsProvider for Broken {
    async fn credentials(&self, _: &CredentialsRequest<'_>) -> Answer {
        Err("the token service is down".into())
    }
}

struct Silent;

#[async_trait]
impl CredentialsProvider for Silent {
    async fn credentials(&self, _: &CredentialsRequest<'_>) -> Answer {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_asked_at_each_connect() {
    let tokens = Tokens::default();
    let options = ConnectOptions::new("mqtt://broker")
        .unwrap()
        .client_id("kitchen")
        .unwrap()
        .credentials_provider(tokens.clone());
    let client = Client::new(options);
    assert_eq!(tokens.0.load(Ordering::Relaxed), 0, "not before it is needed");
    let (stream, mut peer) = pair();
    let (result, first) = tokio::join!(client.reconnect_with(stream), peer.accept(ConnAck::default()));
    result.unwrap();
    drop(peer);
    let (second, _peer) = reconnected(&client, ConnAck::default()).await;
    for (connect, token) in [(first, "token 0"), (second, "token 1")] {
        assert_eq!(connect.user_name.as_deref(), Some("kitchen"));
        assert_eq!(connect.password.as_deref(), Some(token.as_bytes()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_ends_the_attempt_before_anything_is_sent() {
    let (stream, mut peer) = pair();
    let options = ConnectOptions::default().credentials_provider(Broken);
    let error = Client::connect_with(options, stream).await.unwrap_err();
    assert!(matches!(error, ConnectError::CredentialsUnavailable(_)), "{error:?}");
    assert_eq!(error.to_string(), "our credentials provider failed: the token service is down");
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_has_the_time_of_the_connect() {
    let (stream, mut peer) = pair();
    let limit = Duration::from_secs(3);
    let options = ConnectOptions::default().credentials_provider(Silent).connect_timeout(limit);
    let start = tokio::time::Instant::now();
    let error = Client::connect_with(options, stream).await.unwrap_err();
    assert_eq!(start.elapsed(), limit);
    assert!(
        matches!(error, ConnectError::TimedOut { waiting_for: ConnectStage::Credentials, .. }),
        "{error:?}"
    );
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_gives_must_fit_the_version() {
    for version in ProtocolVersion::ALL {
        let (stream, mut peer) = pair();
        let options = ConnectOptions::default().version(version).credentials_provider(Nameless);
        if version.has_properties() {
            let (client, connect) =
                tokio::join!(Client::connect_with(options, stream), peer.accept(ConnAck::default()));
            client.unwrap();
            assert_eq!((connect.user_name, connect.password.as_deref()), (None, Some(&b"\x00\xFF"[..])));
        } else {
            let error = Client::connect_with(options, stream).await.unwrap_err();
            assert!(
                matches!(error, ConnectError::Options(OptionsError::PasswordWithoutUserName { .. })),
                "{error:?}"
            );
        }
    }
}

#[test]
fn credentials_come_from_one_place() {
    for options in [
        ConnectOptions::new("mqtt://ada@broker").unwrap(),
        ConnectOptions::new("mqtt://broker").unwrap().password("secret"),
    ] {
        assert!(options.check().is_ok());
        let error = options.credentials_provider(Broken).check().unwrap_err();
        assert_eq!(error, OptionsError::CredentialsTwice);
    }
}

#[test]
fn nobody_sees_them() {
    let options = ConnectOptions::new("mqtt://ada:secret@broker").unwrap();
    let more = ConnectOptions::default().user_name("ada").password("secret");
    let provided = ConnectOptions::default().credentials_provider(Tokens::default());
    let credentials = Credentials::default().user_name("ada").password("secret");
    let authorized = ConnectOptions::default().user_name("ada?x-amz-customauthorizer-signature=secret");
    let password: [Password; 4] =
        ["secret".into(), "secret".to_owned().into(), b"secret".into(), bytes::Bytes::from("secret").into()];
    let shown = format!("{options:?} {more:?} {provided:?} {credentials:?} {authorized:?} {password:?}");
    assert!(!shown.contains("secret") && !shown.contains("ada"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_ones_own_goes_through_no_proxy() {
    let proxy = || Proxy::new("socks5://proxy.example").unwrap();
    for options in [ConnectOptions::default(), ConnectOptions::new("mqtt://broker").unwrap()] {
        let (stream, mut peer) = pair();
        let error = Client::connect_with(options.proxy(proxy()), stream).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable(TransportError::OptionOverStream { option: "proxy" })),
            "{error:?}"
        );
        peer.hears_the_end().await;
    }
    for url in [
        "memory://hall",
        #[cfg(unix)]
        "unix:///run/mqtt.sock",
    ] {
        let options = ConnectOptions::new(url).unwrap().proxy(proxy());
        let error = Client::connect(options).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable(TransportError::OptionUnused { option: "proxy", .. })),
            "{error:?}"
        );
    }
}
