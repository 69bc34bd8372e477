//! Whose session is in a store: of which client id, and whether a clean start gives it up.

use std::time::Duration;

use gantline_client::{
    Client, ClientId, ConnectError, ConnectOptions, OptionsError, ProtocolVersion, QoS, SessionChange,
};
use gantline_protocol::packet::ConnAck;

use super::{Log, expect_again, one_in_flight, options, started};
use crate::peer::{ended, id, message, pair, reconnected, session_present, text};

#[tokio::test(start_paused = true)]
async fn a_clean_start_gives_up_what_was_kept() {
    let (log, _client, _peer) = one_in_flight().await;

    let client = Client::new(options(&log.copy()).clean_start(true));
    let (connect, _peer) = reconnected(&client, ConnAck::default()).await;
    assert!(connect.clean_start);
    assert_eq!(text(&client.connection().unwrap().undelivered[0]), "1");
}

#[tokio::test(start_paused = true)]
async fn a_store_belongs_to_one_client_id() {
    let log = Log::of(vec![SessionChange::Begin(ClientId::new("cellar").unwrap())]);
    let (stream, _peer) = pair();
    let error = Client::connect_with(options(&log), stream).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "our session store belongs to the client id \"cellar\": each client id needs a store of its own"
    );
}

#[tokio::test(start_paused = true)]
async fn another_client_id_does_not_cost_what_is_kept() {
    let (log, client, peer) = one_in_flight().await;
    drop(peer);
    ended(&client).await;
    for other in [ConnectOptions::default(), ConnectOptions::default().client_id("cellar").unwrap()] {
        client.set_options(other);
        let (stream, _peer) = pair();
        let error = client.reconnect_with(stream).await.unwrap_err();
        assert!(matches!(&error, ConnectError::SessionOfAnother { owner } if owner.as_str() == "kitchen"));
    }
    client.set_options(options(&log));
    let (_, mut peer) = reconnected(&client, session_present()).await;
    expect_again(&mut peer, "1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_beginning_is_ours() {
    let sent = message("a", "1", QoS::AtLeastOnce);
    let mut log = Log::of(vec![SessionChange::Sent { id: id(7), message: sent, expires: None, name: None }]);
    for _ in 0..2 {
        let (_, mut peer, _) = started(&log, session_present()).await;
        expect_again(&mut peer, "1", 7).await;
        log = log.copy();
    }
    assert!(log.changes.lock().unwrap().iter().any(|change| matches!(change, SessionChange::Begin(_))));
}

#[test]
fn a_store_without_a_session_is_refused() {
    let store = |options: ConnectOptions| options.session_store(Log::new()).check();
    assert_eq!(store(ConnectOptions::default()), Err(OptionsError::StoreWithoutClientId));
    let named = ConnectOptions::default().client_id("kitchen").unwrap();
    let option = |option| Err(OptionsError::StoreWithoutSession { option });
    assert_eq!(store(named.clone()), option("session_expiry"));
    assert_eq!(store(named.clone().version(ProtocolVersion::V3_1_1)), option("clean_start(false)"));
    assert_eq!(store(named.clone().version(ProtocolVersion::V3_1_1).clean_start(false)), Ok(()));
    assert_eq!(store(named.session_expiry(Duration::MAX)), Ok(()));
}
