//! Tests of the inflight table: ids, order and what acknowledgements lead to.

use super::{Outgoing, Progress, Request, Resend, Stage};
use crate::error::Rule;
use crate::message::Message;
use crate::outbound::Outbound;
use crate::packet::PacketType;
use crate::packet_id::PacketId;
use crate::qos::QoS;
use crate::reason_code::ReasonCode;
use crate::session::Session;
use crate::time::Moment;

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn message(qos: QoS, tag: u32) -> Outbound {
    let message = Message::new("a/b", "x").unwrap().qos(qos);
    Outbound { tag, ..Outbound::new(&message, Moment::ZERO) }
}

fn send(outgoing: &mut Outgoing, qos: QoS, tag: u32) -> PacketId {
    let id = outgoing.next_id().unwrap();
    outgoing.insert(id, message(qos, tag));
    id
}

fn done(progress: Progress) -> (u32, ReasonCode) {
    match progress {
        Progress::Done { acked, .. } => (acked.tag, acked.reason),
        other => panic!("{other:?}"),
    }
}

fn tags(outgoing: &Outgoing) -> Vec<u32> {
    outgoing.iter().map(|entry| entry.tag).collect()
}

#[test]
fn an_empty_table_holds_no_memory_and_knows_no_id() {
    let mut outgoing = Outgoing::default();
    assert_eq!(outgoing.slots.capacity(), 0);
    assert!(!outgoing.contains(id(1)));
    assert!(outgoing.resend(id(1)).is_none());
    let progress = outgoing.acknowledge(PacketType::PubAck, id(1), ReasonCode::Success);
    assert!(matches!(progress, Ok(Progress::Unknown)));
}

#[test]
fn at_least_once_ends_with_puback() {
    let mut outgoing = Outgoing::default();
    let id = send(&mut outgoing, QoS::AtLeastOnce, 7);
    let progress = outgoing.acknowledge(PacketType::PubAck, id, ReasonCode::NoMatchingSubscribers);
    assert_eq!(done(progress.unwrap()), (7, ReasonCode::NoMatchingSubscribers));
    assert!(outgoing.is_empty());
}

#[test]
fn exactly_once_frees_the_frame_at_pubrec_and_keeps_its_reason() {
    let mut outgoing = Outgoing::default();
    let id = send(&mut outgoing, QoS::ExactlyOnce, 7);
    let progress = outgoing.acknowledge(PacketType::PubRec, id, ReasonCode::NoMatchingSubscribers);
    assert!(matches!(progress, Ok(Progress::Release)));
    assert!(outgoing.iter().all(|entry| entry.message.is_none()));
    let again = outgoing.acknowledge(PacketType::PubRec, id, ReasonCode::Success);
    assert!(matches!(again, Ok(Progress::Release)));
    let progress = outgoing.acknowledge(PacketType::PubComp, id, ReasonCode::Success);
    assert_eq!(done(progress.unwrap()), (7, ReasonCode::NoMatchingSubscribers));
    assert!(outgoing.is_empty());
}

#[test]
fn an_error_in_pubrec_ends_the_flow() {
    let mut outgoing = Outgoing::default();
    let id = send(&mut outgoing, QoS::ExactlyOnce, 7);
    let progress = outgoing.acknowledge(PacketType::PubRec, id, ReasonCode::QuotaExceeded);
    assert_eq!(done(progress.unwrap()), (7, ReasonCode::QuotaExceeded));
    assert!(outgoing.is_empty());
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_is_a_violation() {
    let mut outgoing = Outgoing::default();
    let once = send(&mut outgoing, QoS::AtLeastOnce, 1);
    let twice = send(&mut outgoing, QoS::ExactlyOnce, 2);
    for (kind, id) in [
        (PacketType::PubRec, once),
        (PacketType::PubComp, once),
        (PacketType::PubAck, twice),
        (PacketType::PubComp, twice),
    ] {
        let refused = outgoing.acknowledge(kind, id, ReasonCode::Success);
        assert_eq!(refused.unwrap_err(), Rule::AcknowledgementMismatch);
    }
    assert_eq!(outgoing.len(), 2);
}

#[test]
fn ids_go_round_and_skip_those_in_use() {
    let mut outgoing = Outgoing::default();
    let kept = send(&mut outgoing, QoS::AtLeastOnce, 0);
    let mut last = kept;
    for _ in 0..u16::MAX {
        let id = send(&mut outgoing, QoS::AtLeastOnce, 1);
        assert_ne!(id, kept);
        done(outgoing.acknowledge(PacketType::PubAck, id, ReasonCode::Success).unwrap());
        last = id;
    }
    assert_ne!(last, kept);
    assert!(outgoing.contains(kept));
}

#[test]
fn the_table_grows_with_what_is_in_flight_and_holds_every_id() {
    let mut outgoing = Outgoing::default();
    for n in 0..u32::from(u16::MAX) {
        send(&mut outgoing, QoS::AtLeastOnce, n);
        assert!(outgoing.slots.len() <= 2 * outgoing.len().max(4));
    }
    assert!(outgoing.next_id().is_none());
    assert!(tags(&outgoing).into_iter().eq(0..u32::from(u16::MAX)));
    outgoing.trim();
    assert_eq!(outgoing.len(), usize::from(u16::MAX));
}

#[test]
fn the_order_of_sending_survives_a_turn_of_the_ids() {
    let mut outgoing = Outgoing { last_id: u16::MAX - 2, ..Outgoing::default() };
    for tag in 0..5 {
        send(&mut outgoing, QoS::AtLeastOnce, tag);
    }
    assert_eq!(tags(&outgoing), [0, 1, 2, 3, 4]);
    let ids: Vec<u16> = outgoing.iter().map(|entry| entry.packet_id.get()).collect();
    assert_eq!(ids, [65534, 65535, 1, 2, 3]);
}

#[test]
fn the_order_of_sending_survives_the_end_of_the_sequence_numbers() {
    let mut outgoing = Outgoing { next_sequence: u32::MAX - 2, ..Outgoing::default() };
    for tag in 0..6 {
        send(&mut outgoing, QoS::AtLeastOnce, tag);
    }
    assert_eq!(tags(&outgoing), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn releases_are_in_order_of_their_pubrecs() {
    let mut outgoing = Outgoing::default();
    let ids: Vec<PacketId> = (0..3).map(|tag| send(&mut outgoing, QoS::ExactlyOnce, tag)).collect();
    for n in [2, 0] {
        outgoing.acknowledge(PacketType::PubRec, ids[n], ReasonCode::Success).unwrap();
    }
    assert_eq!(tags(&outgoing), [1, 2, 0]);
}

#[test]
fn requests_share_the_ids_but_not_the_session() {
    let mut outgoing = Outgoing::default();
    let publish = send(&mut outgoing, QoS::AtLeastOnce, 1);
    let request = Request { answer: PacketType::SubAck, filters: 3 };
    let subscribe = outgoing.next_id().unwrap();
    outgoing.insert_request(subscribe, request);
    assert_ne!(publish, subscribe);
    assert_eq!(outgoing.len(), 1);
    assert_eq!(outgoing.answer(publish, PacketType::SubAck), None);
    assert_eq!(outgoing.answer(subscribe, PacketType::UnsubAck), None);
    assert_eq!(outgoing.begin(), [publish]);
    assert_eq!(outgoing.answer(subscribe, PacketType::SubAck), None);
    assert!(!outgoing.contains(subscribe));
}

#[test]
fn an_answered_request_frees_its_id() {
    let mut outgoing = Outgoing::default();
    let id = outgoing.next_id().unwrap();
    let request = Request { answer: PacketType::UnsubAck, filters: 1 };
    outgoing.insert_request(id, request);
    assert_eq!(outgoing.answer(id, PacketType::UnsubAck), Some(request));
    assert!(!outgoing.contains(id));
    outgoing.trim();
    assert_eq!(outgoing.slots.capacity(), 0);
}

#[test]
fn resent_publishes_count_against_the_new_quota_only_when_sent() {
    let mut outgoing = Outgoing::default();
    let first = send(&mut outgoing, QoS::AtLeastOnce, 1);
    let second = send(&mut outgoing, QoS::AtLeastOnce, 2);
    outgoing.begin();
    let Some(Resend::Publish { counted, .. }) = outgoing.resend(first) else { panic!() };
    *counted = true;
    for (id, expected) in [(first, true), (second, false)] {
        let progress = outgoing.acknowledge(PacketType::PubAck, id, ReasonCode::Success);
        assert!(matches!(progress, Ok(Progress::Done { counted, .. }) if counted == expected));
    }
}

#[test]
fn taking_all_tells_what_the_peer_has_already() {
    let mut outgoing = Outgoing::default();
    let taken_over = send(&mut outgoing, QoS::ExactlyOnce, 1);
    send(&mut outgoing, QoS::ExactlyOnce, 2);
    outgoing.acknowledge(PacketType::PubRec, taken_over, ReasonCode::Success).unwrap();
    let lost = outgoing.take();
    let lost: Vec<(u32, bool)> = lost.iter().map(|lost| (lost.tag, lost.message.is_some())).collect();
    assert_eq!(lost, [(2, true), (1, false)]);
    assert!(outgoing.is_empty());
}

#[test]
fn the_id_of_a_message_that_was_given_up_is_free_when_the_receiver_has_forgotten_it() {
    let mut outgoing = Outgoing::default();
    let once = send(&mut outgoing, QoS::AtLeastOnce, 1);
    let twice = send(&mut outgoing, QoS::ExactlyOnce, 2);
    let released = send(&mut outgoing, QoS::ExactlyOnce, 3);
    outgoing.acknowledge(PacketType::PubRec, released, ReasonCode::Success).unwrap();
    outgoing.begin();
    let given_up =
        [once, twice, released].map(|id| outgoing.remove_unless(id, |_| false).map(|lost| lost.tag));
    assert_eq!(given_up, [Some(1), Some(2), None]);
    assert!(!outgoing.contains(once) && outgoing.contains(twice));
    assert_eq!(tags(&outgoing), [3]);
    assert!(matches!(outgoing.resend(twice), Some(Resend::Release)));
    let wrong = outgoing.acknowledge(PacketType::PubAck, twice, ReasonCode::Success);
    assert_eq!(wrong.unwrap_err(), Rule::AcknowledgementMismatch);
    let late = outgoing.acknowledge(PacketType::PubRec, twice, ReasonCode::Success);
    assert!(matches!(late, Ok(Progress::Release)));
    let done = outgoing.acknowledge(PacketType::PubComp, twice, ReasonCode::PacketIdentifierNotFound);
    assert!(matches!(done, Ok(Progress::Forgotten)));
    assert!(!outgoing.contains(twice));
    assert_eq!(outgoing.len(), 1);
}

#[test]
fn what_an_earlier_process_sent_comes_back_in_its_order_under_its_ids() {
    let mut session = Session::default();
    // Ids that meet in a small table.
    for (number, tag) in [(9, 1), (65_535, 2), (1, 3), (33, 4)] {
        session.restore_sent(id(number), 0, message(QoS::ExactlyOnce, tag));
    }
    session.restore_released(id(9), 7);
    let stages = session.outgoing().stages();
    let stages: Vec<_> = stages.map(|(id, stage)| (id.get(), matches!(stage, Stage::Sent(_)))).collect();
    assert_eq!(stages, [(65_535, true), (1, true), (33, true), (9, false)]);
    assert_eq!(session.outgoing().len(), 4);
    assert_eq!(session.outgoing().last_id(), Some(id(9)));
    let outgoing = &mut session.outgoing;
    assert_eq!(outgoing.next_id(), Some(id(10)));
    assert_eq!(outgoing.begin(), [id(65_535), id(1), id(33), id(9)]);
    let complete = outgoing.acknowledge(PacketType::PubComp, id(9), ReasonCode::Success).unwrap();
    assert_eq!(done(complete), (7, ReasonCode::Success));
    assert!(outgoing.stage(id(9)).is_none());
}

#[test]
fn every_id_can_come_back() {
    let mut outgoing = Outgoing::default();
    for number in (1..=u16::MAX).rev() {
        outgoing.restore(id(number), 0, None);
    }
    assert_eq!(outgoing.len(), usize::from(u16::MAX));
    assert_eq!(outgoing.next_id(), None);
}
