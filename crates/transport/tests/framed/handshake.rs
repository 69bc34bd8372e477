//! Single packets, as a handshake reads them: what is taken behind them, and that turns go on from there.

use gantline_protocol::Rule;
use gantline_transport::{FramedError, Turn};

use super::script::{Script, Step};
use super::{MAX, drain, packet, rule, turn};

#[tokio::test(start_paused = true)]
async fn a_handshake_takes_its_packet_and_little_of_what_is_behind() {
    // Of a packet whose length is known from the first read, nothing behind it is taken.
    for (body, ahead) in
        [(0, 510), (1, 509), (127, 383), (128, 381), (500, 9), (509, 0), (20_000, 0), (100_000, 0)]
    {
        let (first, behind) = (packet(1, body), packet(2, 1_000));
        let script = Script::new([Step::Data([&first[..], &behind].concat())]);
        let mut framed = script.framed(MAX);
        let mut frame = b"old".to_vec();
        framed.next_frame(&mut frame).await.unwrap();
        assert!(frame == first, "{body}");
        let left: usize = script.state(|state| {
            state.reads.iter().map(|step| if let Step::Data(data) = step { data.len() } else { 0 }).sum()
        });
        assert_eq!(left, behind.len() - ahead, "{body}");
        assert!(framed.heap_bytes() <= 512, "{body}");
        assert_eq!(drain(&mut framed), [behind]);
    }
}

#[tokio::test(start_paused = true)]
async fn single_packets_and_turns_can_alternate() {
    let packets: Vec<_> = (0..10).map(|seed| packet(seed, 10)).collect();
    let mut framed = Script::new([Step::Data(packets.concat()), Step::Data(Vec::new())]).framed(MAX);
    let (mut received, mut frame) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let _ = turn(&mut framed, |packet, _| {
            received.push(packet.to_vec());
            Turn::Stop
        });
        framed.next_frame(&mut frame).await.unwrap();
        received.push(frame.clone());
    }
    let end = loop {
        match framed.next_frame(&mut frame).await {
            Ok(()) => received.push(frame.clone()),
            Err(error) => break error,
        }
    };
    assert_eq!(received, packets);
    assert!(matches!(end, FramedError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_refuses_what_a_turn_refuses() {
    let mut frame = Vec::new();
    let error =
        Script::new([Step::Data(packet(0, 1000))]).framed(100).next_frame(&mut frame).await.unwrap_err();
    assert_eq!(rule(&error), Rule::PacketTooLarge);
    let error = Script::new([Step::Data(vec![0, 0])]).framed(100).next_frame(&mut frame).await.unwrap_err();
    assert_eq!(rule(&error), Rule::ReservedPacketType);
}
