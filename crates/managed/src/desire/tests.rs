//! The two sets by themselves: what is asked for after which change, and in which pieces.

use gantline_protocol::QoS;

use super::*;

const GRANTED: ReasonCode = ReasonCode::GrantedQoS1;

struct Bench {
    desire: Desire,
    streams: Vec<Arc<Membership>>,
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn limits(filters: usize, bytes: usize) -> RequestLimits {
    RequestLimits { filters, bytes }
}

fn bench() -> Bench {
    let mut desire = Desire::default();
    desire.begin(false, limits(8, 10_000));
    Bench { desire, streams: Vec::new() }
}

impl Bench {
    fn want(
        &mut self,
        texts: &[&str],
        identifier: Option<u32>,
    ) -> Vec<watch::Receiver<Option<FilterAnswer>>> {
        let filters: Vec<TopicFilter> = texts.iter().map(|text| filter(text)).collect();
        let stream = Arc::new(Membership::new(filters.clone()));
        let options = SubscriptionOptions { maximum_qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
        let filters: Vec<SubscribeFilter> =
            filters.into_iter().map(|filter| SubscribeFilter { filter, options }).collect();
        let properties =
            SubscribeProperties { subscription_identifier: identifier, ..SubscribeProperties::default() };
        let (answers, _) = self.desire.want(&filters, &properties, &stream);
        self.streams.push(stream);
        answers
    }

    fn request(&mut self) -> Option<Request> {
        match self.desire.poll_request(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(request) => Some(request),
            Poll::Pending => None,
        }
    }

    /// The requests that are to be made now, in short, each answered with success.
    fn settle(&mut self) -> Vec<String> {
        let mut made = Vec::new();
        while let Some(request) = self.request() {
            made.push(short(&request));
            match request {
                Request::Subscribe { filters, revision, .. } => {
                    let reasons = vec![GRANTED; filters.len()];
                    assert!(self.desire.subscribed(filters, revision, &reasons).is_empty());
                }
                Request::Unsubscribe { filters } => self.desire.unsubscribed(&filters),
            }
        }
        made
    }
}

fn short(request: &Request) -> String {
    match request {
        Request::Subscribe { filters, .. } => {
            let names: Vec<&str> = filters.iter().map(|filter| filter.filter.as_str()).collect();
            format!("+{}", names.join(" "))
        }
        Request::Unsubscribe { filters } => {
            let names: Vec<&str> = filters.iter().map(TopicFilter::as_str).collect();
            format!("-{}", names.join(" "))
        }
    }
}

#[test]
fn a_set_is_asked_for_in_pieces() {
    let mut bench = bench();
    bench.want(&["a", "b", "c", "d", "e"], None);
    bench.desire.begin(false, limits(2, 10_000));
    assert_eq!(bench.settle(), ["+a b", "+c d", "+e"]);
    bench.desire.begin(false, limits(100, HEAD + 3 * (FILTER + 1)));
    assert_eq!(bench.settle(), ["+a b c", "+d e"]);
}

#[test]
fn filters_with_other_properties_go_apart() {
    let mut bench = bench();
    bench.want(&["a", "c"], Some(1));
    bench.want(&["b", "d"], Some(2));
    bench.want(&["e"], Some(2));
    assert_eq!(bench.settle(), ["+a", "+b", "+c", "+d e"]);
}

#[test]
fn a_session_that_is_present_is_asked_for_what_has_changed() {
    let mut bench = bench();
    bench.want(&["a", "b"], None);
    assert_eq!(bench.settle(), ["+a b"]);
    bench.want(&["c"], None);
    bench.desire.withdraw(&filter("a"));
    bench.desire.begin(true, limits(8, 10_000));
    assert_eq!(bench.settle(), ["-a", "+c"]);
    bench.desire.begin(true, limits(8, 10_000));
    assert!(bench.settle().is_empty());
    bench.desire.begin(false, limits(8, 10_000));
    assert_eq!(bench.settle(), ["+b c"]);
}

#[test]
fn a_request_without_answer_is_made_again() {
    let mut bench = bench();
    bench.want(&["a", "b"], None);
    assert_eq!(short(&bench.request().unwrap()), "+a b");
    bench.desire.withdraw(&filter("b"));
    // Not before the answer, or the next connection.
    assert!(bench.request().is_none());
    bench.desire.begin(true, limits(8, 10_000));
    // The server may have it.
    assert_eq!(bench.settle(), ["+a", "-b"]);
}

#[test]
fn the_last_wish_wins() {
    let mut bench = bench();
    bench.want(&["a"], None);
    let asked = bench.request().unwrap();
    bench.desire.withdraw(&filter("a"));
    let mut answers = bench.want(&["a"], None);
    let Request::Subscribe { filters, revision, .. } = asked else { panic!() };
    bench.desire.subscribed(filters, revision, &[GRANTED]);
    assert!(answers[0].borrow_and_update().is_none());
    assert_eq!(bench.settle(), ["+a"]);
    assert!(answers[0].borrow_and_update().is_some());
}

#[test]
fn a_filter_that_spoils_a_request_is_tried_alone() {
    let mut bench = bench();
    bench.want(&["a", "b"], None);
    let error = Arc::new(SubscribeError::NotConnected);
    let Some(Request::Subscribe { filters, revision, .. }) = bench.request() else { panic!() };
    assert!(!bench.desire.not_subscribed(&filters, revision, &error));
    let Some(Request::Subscribe { filters, revision, .. }) = bench.request() else { panic!() };
    assert_eq!(filters.len(), 1);
    assert!(bench.desire.not_subscribed(&filters, revision, &error));
    assert_eq!(bench.settle(), ["+b"]);
}

#[test]
fn a_refused_filter_is_asked_for_again_on_the_next_connection() {
    let mut bench = bench();
    let mut answers = bench.want(&["a", "b"], None);
    let Some(Request::Subscribe { filters, revision, .. }) = bench.request() else { panic!() };
    let refused = bench.desire.subscribed(filters, revision, &[ReasonCode::NotAuthorized, GRANTED]);
    assert_eq!(refused, [(filter("a"), ReasonCode::NotAuthorized)]);
    assert!(bench.settle().is_empty());
    bench.desire.begin(true, limits(8, 10_000));
    assert!(answers[0].borrow_and_update().is_none());
    assert_eq!(bench.settle(), ["+a"]);
}

#[test]
fn a_filter_is_given_up_with_the_last_stream_that_holds_it() {
    let mut bench = bench();
    bench.want(&["a", "b"], None);
    bench.want(&["a"], None);
    bench.settle();
    let first = bench.streams.remove(0).take_filters();
    bench.desire.release(&first);
    assert_eq!(bench.settle(), ["-b"]);
    let second = bench.streams.remove(0).take_filters();
    bench.desire.release(&second);
    assert_eq!(bench.settle(), ["-a"]);
}

#[test]
fn a_stream_ends_with_its_last_filter() {
    let mut bench = bench();
    bench.want(&["a", "b"], None);
    let cx = &mut Context::from_waker(Waker::noop());
    bench.desire.withdraw(&filter("a"));
    assert!(bench.streams[0].poll_end(cx).is_pending());
    bench.desire.withdraw(&filter("b"));
    assert!(bench.streams[0].poll_end(cx).is_ready());
}
