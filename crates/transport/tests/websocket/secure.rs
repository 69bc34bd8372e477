//! WebSocket over TLS, over real sockets: both say who they are, and mixed-up schemes are told apart.

use gantline_test_support::certificates::Authority;
use gantline_transport::{
    AcceptBackoff, Certificates, Listener, PrivateKey, Scheme, TlsAcceptor, TlsClientOptions, TlsFailure,
    TlsServerOptions, accept, bind,
};

use super::*;

async fn listen(url: &str, options: &BindOptions) -> Box<dyn Listener> {
    bind(&Address::new(url).unwrap(), options).await.unwrap()
}

fn at(scheme: &str, listener: &dyn Listener) -> Address {
    let port = listener.local_address().port().unwrap();
    Address::new(format!("{scheme}://localhost:{port}/mqtt")).unwrap()
}

fn tls(ca: &Authority) -> TlsServerOptions {
    let identity = ca.server(&["localhost"]);
    TlsServerOptions::new(Certificates::pem(identity.certificate), PrivateKey::pem(identity.key))
}

async fn shake(listener: &mut dyn Listener) -> Result<Stream, HandshakeError> {
    accept(listener, &mut AcceptBackoff::new()).await.unwrap().handshake().await
}

#[tokio::test]
async fn tls_lies_below_and_http_is_its_application_protocol() {
    let ca = Authority::new("ca");
    for (served, agreed) in [(vec![], None), (vec!["mqtt"], Some(&b"http/1.1"[..]))] {
        let acceptor = TlsAcceptor::new(tls(&ca).alpn(served)).unwrap();
        let mut listener = listen("wss://localhost:0", &BindOptions::default().tls(acceptor)).await;
        let address = at("wss", &*listener);
        let dial = DialOptions::default().tls(TlsClientOptions::default().ca(Certificates::pem(ca.pem())));
        let (client, server) =
            tokio::join!(gantline_transport::connect(&address, &dial), shake(&mut *listener));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        for stream in [&client, &server] {
            assert_eq!(stream.info().scheme(), Scheme::Wss);
            assert_eq!(stream.info().tls().unwrap().alpn(), agreed);
            assert_eq!(stream.info().websocket().unwrap().path(), "/mqtt");
        }
        send(&mut client, b"question").await;
        assert_eq!(receive(&mut server, 8).await, b"question");
        send(&mut server, b"answer").await;
        assert_eq!(receive(&mut client, 6).await, b"answer");
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        drop(server);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn ws_and_wss_on_each_others_port_are_told_apart() {
    let ca = Authority::new("ca");
    let acceptor = TlsAcceptor::new(tls(&ca)).unwrap();
    let mut secure = listen("wss://localhost:0", &BindOptions::default().tls(acceptor)).await;
    let plain_client = at("ws", &*secure);
    let options = DialOptions::default();
    let (client, server) =
        tokio::join!(gantline_transport::connect(&plain_client, &options), shake(&mut *secure));
    let failure = of_client(client.unwrap_err());
    assert!(matches!(failure, WebSocketFailure::NeedsTls), "{failure}");
    let HandshakeError::Tls(failure) = server.unwrap_err() else { panic!() };
    assert!(matches!(failure, TlsFailure::PlainHttp), "{failure}");

    let mut plain = listen("ws://localhost:0", &BindOptions::default()).await;
    let secure_client = at("wss", &*plain);
    let (client, server) =
        tokio::join!(gantline_transport::connect(&secure_client, &options), shake(&mut *plain));
    let TransportError::Handshake { failure, .. } = client.unwrap_err() else { panic!() };
    assert!(matches!(*failure, TlsFailure::NotTls), "{failure}");
    let failure = of_server(server.unwrap_err());
    assert!(matches!(failure, WebSocketFailure::UnwantedTls), "{failure}");
}
