//! What is appended is written once and in order, whatever is shared and however little a write takes.

use std::task::Poll;

use bytes::Bytes;

use crate::script::Script;
use crate::{MAX, flush};

/// Own and shared bytes by turns; one letter for each.
fn fill(framed: &mut gantline_transport::Framed) -> Vec<u8> {
    let mut expected = Vec::new();
    for (index, (own, shared)) in [(3, 5), (0, 7), (2, 0), (1, 4), (0, 1)].into_iter().enumerate() {
        let letter = b'a' + 2 * index as u8;
        framed.out().extend(std::iter::repeat_n(letter, own));
        framed.push_shared(Bytes::from(vec![letter + 1; shared]));
        expected.extend([vec![letter; own], vec![letter + 1; shared]].concat());
    }
    framed.out().extend_from_slice(b"end");
    expected.extend_from_slice(b"end");
    expected
}

#[test]
fn shared_bytes_are_written_in_place_with_the_others_in_one_go() {
    let script = Script::default();
    let mut framed = script.framed(MAX);
    let expected = fill(&mut framed);
    assert_eq!(framed.pending_out(), expected.len());
    assert!(matches!(flush(&mut framed), Poll::Ready(Ok(26))));
    assert_eq!(script.state(|state| (state.written.clone(), state.write_calls)), (expected, 1));
    assert_eq!((framed.pending_out(), framed.heap_bytes()), (0, 0));
}

#[test]
fn shared_bytes_survive_writes_that_end_anywhere() {
    for plain in [false, true] {
        for takes in 1..=26 {
            let script = Script::default();
            script.state(|state| {
                state.plain = plain;
                state.writes.extend([takes, 0].repeat(30));
            });
            let mut framed = script.framed(MAX);
            let expected = fill(&mut framed);
            let (mut polls, mut behind) = (0, expected.len());
            while flush(&mut framed).is_pending() {
                polls += 1;
                assert!(framed.pending_out() < behind, "{takes} at a time");
                behind = framed.pending_out();
            }
            assert!(script.state(|state| state.written.clone()) == expected, "{takes} at a time");
            assert_eq!((framed.pending_out(), framed.heap_bytes()), (0, 0));
            assert!(polls <= 27);
        }
    }
}

#[test]
fn many_shared_pieces_take_several_writes() {
    let script = Script::default();
    let mut framed = script.framed(MAX);
    let mut expected = Vec::new();
    for index in 0..50 {
        framed.out().push(index);
        framed.push_shared(Bytes::from(vec![index; 3]));
        expected.extend([index; 4]);
    }
    framed.out().push(50);
    expected.push(50);
    assert!(matches!(flush(&mut framed), Poll::Ready(Ok(201))));
    assert_eq!(script.state(|state| state.written.clone()), expected);
    assert!(script.state(|state| state.write_calls) < 10);
}

#[test]
fn the_output_can_be_exchanged_while_only_shared_bytes_wait() {
    let script = Script::default();
    script.state(|state| state.writes.extend([3, 0]));
    let mut framed = script.framed(MAX);
    framed.out().push(b'h');
    framed.push_shared(Bytes::from_static(b"payload"));
    assert!(flush(&mut framed).is_pending());
    assert!(framed.out().is_empty(), "what is written is forgotten");
    *framed.out() = b"next".to_vec();
    assert!(matches!(flush(&mut framed), Poll::Ready(Ok(9))));
    assert_eq!(script.state(|state| state.written.clone()), b"hpayloadnext");
}

#[test]
fn an_output_that_is_never_empty_does_not_grow() {
    let script = Script::default();
    let mut framed = script.framed(MAX);
    framed.out().resize(1000, 0);
    for round in 1..=10_000 {
        script.state(|state| state.writes.extend([100, 0]));
        assert!(flush(&mut framed).is_pending());
        framed.out().extend([round as u8; 100]);
        assert_eq!(framed.pending_out(), 1000);
        assert!(framed.heap_bytes() <= 128 << 10, "a buffer of the pool is not larger");
    }
    assert!(matches!(flush(&mut framed), Poll::Ready(Ok(1000))));
    let written = script.state(|state| state.written.clone());
    let expected = [vec![0; 1000], (1..=10_000u32).flat_map(|round| [round as u8; 100]).collect()].concat();
    assert!(written == expected);
}
