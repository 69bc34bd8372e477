//! The low-level client: what is sent and received is what the caller says.

use gantline_client::ConnectOptions;
use gantline_client::lowlevel::{LowLevelClient, LowLevelError};
use gantline_protocol::packet::{ConnAck, Connect, Packet};
use gantline_protocol::{EncodeError, ProtocolVersion};
use gantline_transport::{Address, BindOptions, bind};

use crate::peer::{ONCE, Peer, pair, publish};

fn connect(version: ProtocolVersion) -> Packet {
    let client_id = String::from("probe");
    Packet::Connect(Box::new(Connect { version, client_id, clean_start: true, ..Connect::default() }))
}

#[tokio::test(start_paused = true)]
async fn packets_are_exchanged_in_the_version_of_the_last_connect() {
    for version in ProtocolVersion::ALL {
        let (stream, mut peer) = pair();
        let mut client = LowLevelClient::over(stream);
        client.send(&connect(version)).await.unwrap();
        assert_eq!(client.version(), version);
        assert_eq!(peer.accept(ConnAck::default()).await.client_id, "probe");
        assert!(matches!(client.receive().await, Ok(Packet::ConnAck(_))));
        // Nothing is forbidden, nothing is added.
        let message = publish("a", "x", ONCE);
        client.send(&message).await.unwrap();
        assert_eq!(peer.receive().await, message);
        peer.send(message.clone()).await;
        assert_eq!(client.receive().await.unwrap(), message);
        peer.hears_nothing().await;
        client.close().await.unwrap();
        peer.hears_the_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_packet_is_an_error_that_says_whose() {
    let (stream, mut peer) = pair();
    let mut client = LowLevelClient::over(stream);
    let Packet::Publish(mut wrong) = publish("a", "", ONCE) else { unreachable!() };
    wrong.dup = true;
    let error = client.send(&Packet::Publish(wrong)).await.unwrap_err();
    assert!(matches!(
        error,
        LowLevelError::Unwritable { packet: "PUBLISH", cause: EncodeError::OutOfRange { .. } }
    ));
    peer.hears_nothing().await;
    client.send_bytes(&[0xC0, 0]).await.unwrap();
    assert!(matches!(peer.receive().await, Packet::PingReq));
    peer.send_bytes(&[0xD0, 1, 0]).await;
    assert!(matches!(client.receive().await, Err(LowLevelError::Violation(_))));
    drop(peer);
    assert!(matches!(client.receive().await, Err(LowLevelError::Closed)));
}

#[tokio::test]
async fn the_transport_is_that_of_the_options() {
    let mut listener =
        bind(&Address::new("memory://low-level").unwrap(), &BindOptions::default()).await.unwrap();
    let options = ConnectOptions::new("memory://low-level").unwrap();
    let mut client = LowLevelClient::connect(&options).await.unwrap();
    client.send(&connect(ProtocolVersion::default())).await.unwrap();
    let mut peer = Peer::over(std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap());
    assert_eq!(peer.accept(ConnAck::default()).await.client_id, "probe");
    let nowhere = ConnectOptions::new("memory://nobody-is-here").unwrap();
    assert!(LowLevelClient::connect(&nowhere).await.is_err());
}
