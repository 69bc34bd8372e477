//! Packets come out whole however their bytes arrive, within the bounds of turns and buffers; output goes out in order.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod handshake;
mod output;
mod script;

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker};

use gantline_protocol::Rule;
use gantline_transport::{Framed, FramedError, ReadTurn, Turn, memory};

use self::script::{Script, Step};

const MAX: u32 = 16 << 20;
const SCRATCH: usize = 64 << 10;

/// A PUBLISH whose bytes behind the header are `body` long and depend on `seed`.
fn packet(seed: usize, body: usize) -> Vec<u8> {
    let mut packet = vec![0x30];
    let mut length = body;
    loop {
        packet.push((length % 128) as u8 | if length >= 128 { 0x80 } else { 0 });
        length /= 128;
        if length == 0 {
            break;
        }
    }
    packet.extend((0..body).map(|at| (at ^ (at >> 8) ^ seed) as u8));
    packet
}

fn turn(
    framed: &mut Framed,
    handle: impl FnMut(&[u8], &mut Vec<u8>) -> Turn,
) -> Poll<Result<ReadTurn, FramedError>> {
    framed.poll_read_turn(&mut Context::from_waker(Waker::noop()), handle)
}

fn flush(framed: &mut Framed) -> Poll<io::Result<usize>> {
    framed.poll_flush(&mut Context::from_waker(Waker::noop()))
}

/// Takes turns until there is nothing to do; returns all packets in order.
fn drain(framed: &mut Framed) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Poll::Ready(result) = turn(framed, |packet, _| {
        packets.push(packet.to_vec());
        Turn::Continue
    }) {
        result.unwrap();
    }
    packets
}

#[track_caller]
fn fails(framed: &mut Framed) -> FramedError {
    loop {
        match turn(framed, |_, _| Turn::Continue) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return error,
            Poll::Pending => panic!("waits"),
        }
    }
}

#[track_caller]
fn rule(error: &FramedError) -> Rule {
    let FramedError::Violation(violation) = error else { panic!("{error}") };
    violation.rule
}

#[test]
fn packets_come_out_whole_wherever_they_are_split() {
    let packets = [packet(1, 0), packet(2, 1), packet(3, 130), vec![0xC0, 0x00], packet(4, 7)];
    let bytes = packets.concat();
    for first in 0..=bytes.len() {
        for second in [first, (first + 1).min(bytes.len()), (first + 2).min(bytes.len()), bytes.len()] {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let arriving = pieces.iter().filter(|piece| !piece.is_empty());
            let mut framed = Script::new(arriving.map(|piece| Step::Data(piece.to_vec()))).framed(MAX);
            assert_eq!(drain(&mut framed), packets, "split at {first} and {second}");
            assert_eq!(framed.heap_bytes(), 0);
        }
    }
}

#[test]
fn packets_come_out_whole_byte_by_byte() {
    let packets = [packet(1, 3), packet(2, 200), packet(3, 0), packet(4, 20_000)];
    let bytes = packets.concat();
    let steps = bytes.iter().flat_map(|byte| [Step::Data(vec![*byte]), Step::Wait]);
    let script = Script::new(steps);
    let mut framed = script.framed(MAX);
    let mut received = Vec::new();
    for _ in &bytes {
        received.extend(drain(&mut framed));
        assert!(framed.heap_bytes() <= 2 * 20_003);
    }
    assert_eq!(received, packets);
    assert_eq!(framed.heap_bytes(), 0);
}

#[test]
fn many_packets_of_one_read_are_handled_in_place_and_in_turns_of_256() {
    let packets: Vec<_> = (0..1000).map(|seed| packet(seed, 20)).collect();
    let script = Script::new([Step::Data(packets.concat())]);
    let mut framed = script.framed(MAX);
    let (mut received, mut turns) = (Vec::new(), Vec::new());
    while let Poll::Ready(result) = turn(&mut framed, |packet, _| {
        received.push(packet.to_vec());
        Turn::Continue
    }) {
        turns.push(result.unwrap());
    }
    assert_eq!(received, packets);
    assert_eq!(turns.iter().map(|turn| turn.frames).collect::<Vec<_>>(), [256, 256, 256, 232]);
    assert_eq!(turns.iter().map(|turn| turn.bytes).collect::<Vec<_>>(), [22_000, 0, 0, 0]);
    assert!(
        turns.iter().all(|turn| turn.more),
        "leftovers, and then a socket that was not asked for three turns"
    );
    assert_eq!(
        script.state(|state| state.asked.clone()),
        [SCRATCH, SCRATCH],
        "one read, and one that found nothing"
    );
    assert_eq!(framed.heap_bytes(), 0);
}

#[test]
fn a_turn_says_whether_the_next_one_must_wait() {
    let script = Script::new([Step::Data(packet(0, 10))]);
    let mut framed = script.framed(MAX);
    let all = |_: &[u8], _: &mut Vec<u8>| Turn::Continue;
    assert!(matches!(
        turn(&mut framed, all),
        Poll::Ready(Ok(ReadTurn { frames: 1, bytes: 12, more: false }))
    ));

    script.arrive(&packet(0, 5)[..3]);
    assert!(matches!(turn(&mut framed, all), Poll::Ready(Ok(ReadTurn { frames: 0, bytes: 3, more: false }))));
    script.arrive(&[&packet(0, 5)[3..], &packet(0, 70_000)].concat());
    assert!(matches!(
        turn(&mut framed, all),
        Poll::Ready(Ok(ReadTurn { frames: 1, bytes: SCRATCH, more: true }))
    ));
}

#[test]
fn answers_end_a_turn_at_64_kib() {
    let mut framed = Script::new([Step::Data(packet(0, 1).repeat(100))]).framed(MAX);
    framed.out().resize(10, 0);
    let handled = |result| match result {
        Poll::Ready(Ok(ReadTurn { frames, .. })) => frames,
        other => panic!("{other:?}"),
    };
    let answer = |_: &[u8], out: &mut Vec<u8>| {
        out.resize(out.len() + 10_000, 7);
        Turn::Continue
    };
    assert_eq!(handled(turn(&mut framed, answer)), 7);
    assert_eq!(framed.pending_out(), 70_010);
    assert_eq!(handled(turn(&mut framed, answer)), 7, "what waits from earlier turns does not count");
}

#[test]
fn a_stopped_turn_keeps_the_rest_for_the_next() {
    let packets: Vec<_> = (0..50).map(|seed| packet(seed, 300)).collect();
    let bytes = packets.concat();
    // The last packet is incomplete, so that the leftovers end inside one.
    let script = Script::new([Step::Data(bytes[..bytes.len() - 10].to_vec())]);
    let mut framed = script.framed(MAX);
    let mut received = Vec::new();
    while let Poll::Ready(result) = turn(&mut framed, |packet, _| {
        received.push(packet.to_vec());
        Turn::Stop
    }) {
        assert_eq!(result.unwrap().frames, 1);
    }
    assert_eq!(received, packets[..49]);
    assert_eq!(framed.heap_bytes(), 293, "only the incomplete packet is kept, in a buffer of its size");
    script.arrive(&bytes[bytes.len() - 10..]);
    assert_eq!(drain(&mut framed), packets[49..]);
    assert_eq!(framed.heap_bytes(), 0);
}

#[test]
fn large_packets_are_read_where_they_belong() {
    for len in [65_530, 65_536, 131_072, 200_000, 10_000_000] {
        let packets = [packet(1, 9), packet(2, len), packet(3, len), packet(4, 9)];
        let script = Script::new([Step::Data(packets.concat())]);
        let mut framed = script.framed(MAX);
        let (mut received, mut largest) = (Vec::new(), 0);
        loop {
            let waits = turn(&mut framed, |packet, _| {
                received.push(packet.to_vec());
                Turn::Continue
            })
            .is_pending();
            largest = largest.max(framed.heap_bytes());
            if waits {
                break;
            }
        }
        assert!(received == packets, "{len}");
        assert!(largest <= len + 5, "the buffer never outgrows its packet: {largest} for {len}");
        assert_eq!(framed.heap_bytes(), 0);
        if len == 10_000_000 {
            let reads = script.state(|state| state.asked.len());
            assert!(reads < 40, "a large packet takes few reads: {reads}");
        }
    }
}

#[test]
fn a_buffer_grows_with_what_came_not_with_what_is_announced() {
    let bytes = packet(0, 16_000_000);
    let script = Script::default();
    let mut framed = script.framed(MAX);
    let mut came = 0;
    for piece in [1, 1, 3, 10, 1000, 60_000, 5_000, 70_000, 1, 100_000] {
        script.arrive(&bytes[came..came + piece]);
        assert!(drain(&mut framed).is_empty());
        came += piece;
        assert!(framed.heap_bytes() <= 2 * came.max(8), "{} for {came}", framed.heap_bytes());
    }
}

#[test]
fn a_packet_above_the_maximum_is_refused_from_its_header() {
    let whole = packet(0, 1000);
    for (max, fits) in [(1003, true), (1002, false)] {
        for split in 1..=3 {
            let script = Script::new([Step::Data(whole[..split].to_vec())]);
            let mut framed = script.framed(max);
            if split < 3 {
                assert!(drain(&mut framed).is_empty());
                script.arrive(&whole[split..3]);
            }
            if fits {
                assert!(drain(&mut framed).is_empty());
                script.arrive(&whole[3..]);
                assert_eq!(drain(&mut framed), [&whole[..]]);
            } else {
                for _ in 0..3 {
                    assert_eq!(rule(&fails(&mut framed)), Rule::PacketTooLarge, "it stays refused");
                }
                assert!(framed.heap_bytes() <= 8);
            }
        }
    }
}

#[test]
fn a_wrong_header_ends_reading_after_the_packets_before_it() {
    for before in [0, 1, 300] {
        let good = packet(0, 2).repeat(before);
        for (bad, expected) in [
            (&[0x00, 0x00][..], Rule::ReservedPacketType),
            (&[0x30, 0x80, 0x00], Rule::VarintNotMinimal),
            (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], Rule::VarintTooLong),
        ] {
            for split in 0..=bad.len() {
                let script = Script::default();
                script.arrive(&[&good, &bad[..split]].concat());
                script.arrive(&[&bad[split..], &packet(1, 2)].concat());
                let mut framed = script.framed(MAX);
                let (mut handled, mut failed) = (0, None);
                for _ in 0..10 {
                    let result = turn(&mut framed, |packet, out| {
                        assert_eq!(packet.len(), 4);
                        out.push(7);
                        handled += 1;
                        Turn::Continue
                    });
                    if let Poll::Ready(Err(error)) = result {
                        failed = Some(rule(&error));
                    } else {
                        assert!(failed.is_none(), "an error stays");
                    }
                }
                assert_eq!((handled, failed), (before, Some(expected)));
                assert_eq!(framed.pending_out(), before, "answers can still be written");
            }
        }
    }
}

#[test]
fn the_maximum_can_change_between_packets() {
    let script = Script::new([Step::Data([packet(0, 10), packet(1, 100)].concat())]);
    let mut framed = script.framed(20);
    assert!(matches!(
        turn(&mut framed, |_, _| Turn::Stop),
        Poll::Ready(Ok(ReadTurn { frames: 1, more: true, .. }))
    ));
    framed.set_max_packet(200);
    assert_eq!(drain(&mut framed), [packet(1, 100)]);
}

#[test]
fn the_end_between_packets_is_an_orderly_one() {
    let script = Script::new([Step::Data(packet(0, 3)), Step::Data(Vec::new())]);
    let mut framed = script.framed(MAX);
    assert!(matches!(fails(&mut framed), FramedError::Closed));
}

#[test]
fn the_end_inside_a_packet_is_not() {
    let whole = packet(0, 200_000);
    for came in [1, 2, 3, 100, 70_000, 150_000, whole.len() - 1] {
        let script = Script::new([Step::Data(whole[..came].to_vec()), Step::Data(Vec::new())]);
        let error = fails(&mut script.framed(MAX));
        assert!(
            matches!(&error, FramedError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof),
            "{error} after {came}"
        );
    }
}

#[test]
fn a_failed_connection_is_no_end() {
    let script = Script::new([Step::Data(packet(0, 3)), Step::Fail(io::ErrorKind::ConnectionReset)]);
    let error = fails(&mut script.framed(MAX));
    assert!(matches!(&error, FramedError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset));
}

#[test]
fn a_handler_may_read_another_connection() {
    let mut inner = Script::new([Step::Data(packet(2, 5).repeat(2))]).framed(MAX);
    let mut outer = Script::new([Step::Data(packet(1, 5).repeat(2))]).framed(MAX);
    let mut seen = Vec::new();
    let _ = turn(&mut outer, |packet, _| {
        seen.extend(drain(&mut inner));
        seen.push(packet.to_vec());
        Turn::Continue
    });
    assert_eq!(seen, [packet(2, 5), packet(2, 5), packet(1, 5), packet(1, 5)]);
}

#[test]
fn output_is_written_in_one_go_and_its_buffer_given_back() {
    let script = Script::default();
    let mut framed = script.framed(MAX);
    assert!(matches!(flush(&mut framed), Poll::Ready(Ok(0))));
    assert_eq!(script.state(|state| state.flushed), 0, "nothing written, nothing to flush");
    framed.out().extend_from_slice(b"one");
    framed.out().extend_from_slice(b"two");
    assert_eq!(framed.pending_out(), 6);
    assert!(matches!(flush(&mut framed), Poll::Ready(Ok(6))));
    assert_eq!(
        script.state(|state| (state.written.clone(), state.write_calls, state.flushed)),
        (b"onetwo".into(), 1, 1)
    );
    assert_eq!((framed.pending_out(), framed.heap_bytes()), (0, 0));
}

#[test]
fn partial_writes_go_on_where_they_ended() {
    let script = Script::default();
    script.state(|state| state.writes.extend([3, 0, 2, 0]));
    let mut framed = script.framed(MAX);
    framed.out().extend_from_slice(b"abcdefgh");
    assert!(flush(&mut framed).is_pending());
    assert_eq!(framed.pending_out(), 5);
    framed.out().extend_from_slice(b"ij");
    assert!(flush(&mut framed).is_pending());
    assert_eq!(framed.pending_out(), 5);
    assert!(matches!(flush(&mut framed), Poll::Ready(Ok(5))));
    assert_eq!(script.state(|state| state.written.clone()), b"abcdefghij");
    assert_eq!(framed.heap_bytes(), 0);
}

#[test]
fn closing_writes_what_waits_first() {
    let script = Script::default();
    script.state(|state| state.writes.extend([2, 0]));
    let mut framed = script.framed(MAX);
    framed.out().extend_from_slice(b"bye");
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(framed.poll_close(cx).is_pending());
    assert!(!script.state(|state| state.shut_down));
    assert!(framed.poll_close(cx).is_ready());
    assert_eq!(script.state(|state| (state.written.clone(), state.shut_down)), (b"bye".into(), true));
}

#[tokio::test(start_paused = true)]
async fn abandoned_futures_lose_nothing() {
    let packets: Vec<_> =
        [0, 5, 130, 70_000, 3].iter().enumerate().map(|(seed, body)| packet(seed, *body)).collect();
    let bytes = packets.concat();
    let (near, far) = memory::pair();
    let (mut near, mut far) = (Framed::new(near, MAX), Framed::new(far, MAX));
    let writing = tokio::spawn(async move {
        // Prime, so that pieces end anywhere.
        for piece in bytes.chunks(41) {
            far.out().extend_from_slice(piece);
            far.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        far.close().await.unwrap();
        far
    });
    let (mut received, mut frame) = (Vec::new(), Vec::new());
    loop {
        // The future is dropped after each poll that found no whole packet.
        let result = tokio::select! {
            biased;
            result = near.next_frame(&mut frame) => result,
            () = tokio::task::yield_now() => continue,
        };
        match result {
            Ok(()) => received.push(frame.clone()),
            Err(FramedError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(received == packets);
    let mut far = writing.await.unwrap();
    near.close().await.unwrap();
    assert!(matches!(far.next_frame(&mut frame).await, Err(FramedError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_task_is_woken_for_reading_and_writing() {
    let (near, far) = memory::pair();
    let (mut near, mut far) = (Framed::new(near, MAX), Framed::new(far, MAX));
    let packets: Vec<_> = (0..100).map(|seed| packet(seed, 9_000)).collect();
    near.out().extend(packets.concat());
    let reading = tokio::spawn(async move {
        let mut received = Vec::new();
        while received.len() < 100 {
            poll_fn(|cx| {
                far.poll_read_turn(cx, |packet, _| {
                    received.push(packet.to_vec());
                    Turn::Continue
                })
            })
            .await
            .unwrap();
        }
        received
    });
    near.flush().await.unwrap();
    assert!(reading.await.unwrap() == packets);
}
