//! Attempts that race: the first one that succeeds wins, the others are dropped.
//!
//! This is "happy eyeballs" (RFC 8305) without sockets: an attempt that does not answer holds the next one up for a
//! moment only, one that fails not at all. Relates to: `tcp.rs`, which races the addresses of a host. Leaves out: the
//! order of the addresses but for [`interleaved`].

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Tries the candidates in their order: the next one as soon as one has failed, or when no answer came for `delay`;
/// without a delay only one at a time. Returns the first success, or all failures in the order of the attempts.
/// Dropped, it drops all attempts.
pub(super) async fn race<C, T, E, F>(
    candidates: Vec<C>,
    delay: Option<Duration>,
    attempt: impl Fn(&C) -> F,
) -> Result<T, Vec<(C, E)>>
where
    F: Future<Output = Result<T, E>>,
{
    // A delay that never ends is none.
    let delay = delay.filter(|delay| Instant::now().checked_add(*delay).is_some());
    let mut runners: Vec<Runner<C, E, F>> =
        candidates.into_iter().map(|candidate| Runner { candidate, state: State::Waiting }).collect();
    // It is set whenever an attempt begins.
    let mut patience = pin!(sleep(Duration::ZERO));
    let mut next = 0;
    let winner = poll_fn(|cx| {
        loop {
            let mut running = false;
            let mut failed = false;
            for runner in &mut runners[..next] {
                match runner.poll(cx) {
                    Poll::Ready(Some(winner)) => return Poll::Ready(Some(winner)),
                    Poll::Ready(None) => failed = true,
                    Poll::Pending => running |= matches!(runner.state, State::Running(_)),
                }
            }
            let due = failed || !running || (delay.is_some() && patience.as_mut().poll(cx).is_ready());
            match runners.get_mut(next) {
                None if running => return Poll::Pending,
                None => return Poll::Ready(None),
                Some(_) if !due => return Poll::Pending,
                Some(runner) => {
                    runner.state = State::Running(Box::pin(attempt(&runner.candidate)));
                    next += 1;
                    wait_from_now(patience.as_mut(), delay);
                }
            }
        }
    });
    match winner.await {
        Some(winner) => Ok(winner),
        None => Err(runners.into_iter().filter_map(Runner::failure).collect()),
    }
}

/// The addresses with both IP versions in turn, beginning with that of the first; doubles are left out.
pub(super) fn interleaved(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for address in addresses {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    let Some(first) = found.first().map(SocketAddr::is_ipv4) else { return found };
    let (preferred, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv4() == first);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [preferred.next(), others.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

struct Runner<C, E, F> {
    candidate: C,
    state: State<E, F>,
}

enum State<E, F> {
    Waiting,
    Running(Pin<Box<F>>),
    Failed(E),
}

impl<C, T, E, F: Future<Output = Result<T, E>>> Runner<C, E, F> {
    /// `None` if it fails at this moment.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let State::Running(attempt) = &mut self.state else { return Poll::Pending };
        match attempt.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(winner)) => Poll::Ready(Some(winner)),
            Poll::Ready(Err(error)) => {
                self.state = State::Failed(error);
                Poll::Ready(None)
            }
        }
    }
}

impl<C, E, F> Runner<C, E, F> {
    fn failure(self) -> Option<(C, E)> {
        match self.state {
            State::Failed(error) => Some((self.candidate, error)),
            State::Waiting | State::Running(_) => None,
        }
    }
}

fn wait_from_now(patience: Pin<&mut Sleep>, delay: Option<Duration>) {
    if let Some(deadline) = delay.and_then(|delay| Instant::now().checked_add(delay)) {
        patience.reset(deadline);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const DELAY: Option<Duration> = Some(Duration::from_millis(250));

    /// Counts attempts that were begun and not dropped.
    struct Alive<'a>(&'a Cell<usize>);

    impl<'a> Alive<'a> {
        fn new(count: &'a Cell<usize>) -> Self {
            count.set(count.get() + 1);
            Self(count)
        }
    }

    impl Drop for Alive<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    /// An attempt: when it answers, in ms, and whether well.
    type Plan = (u64, Result<&'static str, &'static str>);

    struct Outcome {
        result: Result<&'static str, Vec<(Plan, &'static str)>>,
        took: u128,
        began: Vec<u128>,
    }

    async fn run(delay: Option<Duration>, plans: &[Plan]) -> Outcome {
        let (alive, began, start) = (Cell::new(0), RefCell::new(Vec::new()), Instant::now());
        let result = race(plans.to_vec(), delay, |&(after, answer)| {
            began.borrow_mut().push(start.elapsed().as_millis());
            let guard = Alive::new(&alive);
            async move {
                sleep(Duration::from_millis(after)).await;
                drop(guard);
                answer
            }
        })
        .await;
        assert_eq!(alive.get(), 0, "losers are dropped");
        Outcome { result, took: start.elapsed().as_millis(), began: began.into_inner() }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_in_time_is_alone() {
        let outcome = run(DELAY, &[(249, Ok("first")), (0, Ok("second"))]).await;
        assert_eq!((outcome.result, outcome.took), (Ok("first"), 249));
        assert_eq!(outcome.began, [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_answer_is_joined_by_the_next() {
        let outcome = run(DELAY, &[(9_000, Ok("dead")), (9_000, Ok("dead")), (10, Ok("third"))]).await;
        assert_eq!((outcome.result, outcome.took), (Ok("third"), 510));
        assert_eq!(outcome.began, [0, 250, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_without_end_is_none() {
        let outcome = run(Some(Duration::MAX), &[(9_000, Err("slow")), (0, Ok("second"))]).await;
        assert_eq!((outcome.result, outcome.took), (Ok("second"), 9_000));
        assert_eq!(outcome.began, [0, 9_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_one_may_still_win() {
        let outcome = run(DELAY, &[(300, Ok("slow")), (9_000, Ok("dead"))]).await;
        assert_eq!((outcome.result, outcome.took), (Ok("slow"), 300));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_next_one_begins_at_once() {
        let plans = [(20, Err("a")), (20, Err("b")), (9_000, Ok("dead")), (5, Ok("won"))];
        let outcome = run(DELAY, &plans).await;
        assert_eq!((outcome.result, outcome.took), (Ok("won"), 295));
        assert_eq!(outcome.began, [0, 20, 40, 290]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told_in_the_order_of_the_attempts() {
        let plans = [(800, Err("slow")), (10, Err("quick")), (0, Err("last"))];
        let outcome = run(DELAY, &plans).await;
        let told: Vec<_> = outcome.result.unwrap_err().into_iter().map(|(_, error)| error).collect();
        assert_eq!((told, outcome.took), (vec!["slow", "quick", "last"], 800));
        assert_eq!(outcome.began, [0, 250, 260]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_delay_they_take_turns() {
        let outcome = run(None, &[(5_000, Err("slow")), (5_000, Ok("second")), (0, Ok("third"))]).await;
        assert_eq!((outcome.result, outcome.took), (Ok("second"), 10_000));
        assert_eq!(outcome.began, [0, 5_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_to_try_is_a_failure_without_reasons() {
        assert_eq!(run(DELAY, &[]).await.result, Err(Vec::new()));
    }

    #[test]
    fn ip_versions_take_turns() {
        let addresses = |text: &[&str]| text.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        for (given, ordered) in [
            (
                &["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"][..],
                &["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"][..],
            ),
            (&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"], &["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]),
            (&["1.1.1.1:1", "1.1.1.1:1"], &["1.1.1.1:1"]),
            (&[], &[]),
        ] {
            assert_eq!(interleaved(addresses(given)), addresses(ordered));
        }
    }
}
