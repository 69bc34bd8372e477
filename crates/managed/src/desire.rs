//! Which filters the application wants, which of them the server has, and what to ask for so that both are the same.
//!
//! It is synchronous and nothing in it waits. Every difference is found again from the two sets, so a request whose answer
//! never came is as good as one that was never made. Relates to: `synchronize.rs`, which asks; `subscription.rs`, whose
//! streams want. Leaves out: the messages.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use gantline_client::SubscribeError;
use gantline_protocol::{ReasonCode, SubscribeFilter, SubscribeProperties, SubscriptionOptions, TopicFilter};
use tokio::sync::watch;

use crate::membership::Membership;

/// The two sets. Its owner holds a lock around it and wakes what the calls return.
#[derive(Debug, Default)]
pub(crate) struct Desire {
    wanted: BTreeMap<TopicFilter, Wanted>,
    /// What the server has, as far as is known: the revision that it granted, or `UNSURE`.
    known: HashMap<TopicFilter, u64>,
    /// Requests that are not answered.
    asked: HashSet<TopicFilter>,
    /// Filters at which the two may differ.
    changed: BTreeSet<TopicFilter>,
    revision: u64,
    limits: RequestLimits,
    /// Since the connection began there was a moment without a difference.
    restored: bool,
    synchronizer: Option<Waker>,
    pump: Option<Waker>,
    streams: Vec<Weak<Membership>>,
}

/// How much goes into a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestLimits {
    pub(crate) filters: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Wanted {
    options: SubscriptionOptions,
    properties: SubscribeProperties,
    /// How many streams hold it.
    holders: usize,
    /// Another one for each time that it was wanted.
    revision: u64,
    /// It may have spoilt a request for others.
    alone: bool,
    answer: watch::Sender<Option<FilterAnswer>>,
}

/// What became of a filter on the present connection.
#[derive(Clone, Debug)]
pub(crate) enum FilterAnswer {
    /// The server granted it, or refused it.
    Server(ReasonCode),
    /// It could not be asked for.
    Failed(Arc<SubscribeError>),
}

/// A request to be made.
#[derive(Debug)]
pub(crate) enum Request {
    Subscribe { filters: Vec<SubscribeFilter>, properties: SubscribeProperties, revision: u64 },
    Unsubscribe { filters: Vec<TopicFilter> },
}

/// What a filter needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Subscribe,
    Unsubscribe,
}

impl Desire {
    // ---- the application ----

    /// A stream wants these filters. The last one who wants a filter decides on its options.
    pub(crate) fn want(
        &mut self,
        filters: &[SubscribeFilter],
        properties: &SubscribeProperties,
        stream: &Arc<Membership>,
    ) -> (Vec<watch::Receiver<Option<FilterAnswer>>>, Option<Waker>) {
        self.revision += 1;
        self.join(stream);
        let mut answers = Vec::with_capacity(filters.len());
        for SubscribeFilter { filter, options } in filters {
            let wanted = self.wanted.entry(filter.clone()).or_insert_with(|| Wanted::new(*options));
            wanted.options = *options;
            wanted.properties = properties.clone();
            wanted.holders += 1;
            wanted.revision = self.revision;
            wanted.alone = false;
            wanted.answer.send_replace(None);
            answers.push(wanted.answer.subscribe());
            self.changed.insert(filter.clone());
        }
        (answers, self.synchronizer.take())
    }

    /// A stream that is to hear of the end.
    pub(crate) fn join(&mut self, stream: &Arc<Membership>) {
        self.streams.retain(|held| held.strong_count() > 0);
        self.streams.push(Arc::downgrade(stream));
    }

    /// A stream is gone that held these filters.
    pub(crate) fn release(&mut self, filters: &[TopicFilter]) -> Option<Waker> {
        for filter in filters {
            let Some(wanted) = self.wanted.get_mut(filter) else { continue };
            wanted.holders = wanted.holders.saturating_sub(1);
            if wanted.holders == 0 {
                self.wanted.remove(filter);
                self.changed.insert(filter.clone());
            }
        }
        self.synchronizer.take()
    }

    /// Nobody wants this filter any more. Streams that are left with none end.
    pub(crate) fn withdraw(&mut self, filter: &TopicFilter) -> Vec<Waker> {
        if self.wanted.remove(filter).is_none() {
            return Vec::new();
        }
        self.changed.insert(filter.clone());
        let streams = self.streams.iter().filter_map(Weak::upgrade);
        let mut wakers: Vec<Waker> = streams.filter_map(|stream| stream.withdraw(filter)).collect();
        wakers.extend(self.synchronizer.take());
        wakers
    }

    /// The client is gone: every stream ends.
    pub(crate) fn end(&mut self) -> Vec<Waker> {
        self.streams.iter().filter_map(Weak::upgrade).filter_map(|stream| stream.end()).collect()
    }

    /// How many filters are wanted.
    pub(crate) fn filters(&self) -> usize {
        self.wanted.len()
    }

    // ---- connections ----

    /// A connection is there. Without a session the server has nothing; with one it is asked for what it is not known to
    /// have.
    pub(crate) fn begin(&mut self, session_present: bool, limits: RequestLimits) {
        self.limits = limits;
        self.restored = false;
        if !session_present {
            self.known.clear();
        }
        self.changed.extend(self.asked.drain());
        for (filter, wanted) in &self.wanted {
            if self.known.get(filter) != Some(&wanted.revision) {
                wanted.answer.send_replace(None);
                self.changed.insert(filter.clone());
            }
        }
    }

    /// The next request to be made, if there is a difference.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Request> {
        if let Some(request) = self.next_request() {
            return Poll::Ready(request);
        }
        self.synchronizer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether every filter has had its answer, or there will be none in time.
    pub(crate) fn poll_restored(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.restored {
            return Poll::Ready(());
        }
        self.pump = Some(cx.waker().clone());
        Poll::Pending
    }

    /// See [`poll_restored`](Self::poll_restored).
    pub(crate) fn restored(&mut self) -> Option<Waker> {
        self.restored = true;
        self.pump.take()
    }

    /// The server answered a SUBSCRIBE. Returns what it refused.
    pub(crate) fn subscribed(
        &mut self,
        filters: Vec<SubscribeFilter>,
        revision: u64,
        reasons: &[ReasonCode],
    ) -> Vec<(TopicFilter, ReasonCode)> {
        let mut refused = Vec::new();
        for (SubscribeFilter { filter, .. }, &reason) in filters.into_iter().zip(reasons) {
            self.asked.remove(&filter);
            if reason.is_error() {
                self.known.remove(&filter);
            } else {
                self.known.insert(filter.clone(), revision);
            }
            self.answer(&filter, revision, &FilterAnswer::Server(reason));
            if reason.is_error() {
                refused.push((filter, reason));
            }
        }
        refused
    }

    /// A SUBSCRIBE could not be made. Returns whether that is the end of it: of several filters each is tried alone first.
    pub(crate) fn not_subscribed(
        &mut self,
        filters: &[SubscribeFilter],
        revision: u64,
        error: &Arc<SubscribeError>,
    ) -> bool {
        let last = filters.len() == 1;
        for SubscribeFilter { filter, .. } in filters {
            self.asked.remove(filter);
            // Nothing was sent, so nothing has changed; whatever an earlier request has made of it, it is out of date.
            if last {
                self.answer(filter, revision, &FilterAnswer::Failed(Arc::clone(error)));
            } else if let Some(wanted) = self.wanted.get_mut(filter) {
                wanted.alone = true;
                self.changed.insert(filter.clone());
            } else {
                self.changed.insert(filter.clone());
            }
        }
        last
    }

    /// An UNSUBSCRIBE is done with, well or not: it would not go better a second time.
    pub(crate) fn unsubscribed(&mut self, filters: &[TopicFilter]) {
        for filter in filters {
            self.asked.remove(filter);
            self.known.remove(filter);
        }
    }

    // ---- within ----

    fn answer(&mut self, filter: &TopicFilter, revision: u64, answer: &FilterAnswer) {
        if let Some(wanted) = self.wanted.get(filter).filter(|wanted| wanted.revision <= revision) {
            wanted.answer.send_replace(Some(answer.clone()));
        }
    }

    fn need(&self, filter: &TopicFilter) -> Need {
        match (self.wanted.get(filter), self.known.get(filter)) {
            (Some(wanted), Some(&known)) if wanted.revision == known => Need::Nothing,
            (Some(_), _) => Need::Subscribe,
            (None, Some(_)) => Need::Unsubscribe,
            (None, None) => Need::Nothing,
        }
    }

    /// Takes filters off the changed ones, as many as go into one request.
    fn next_request(&mut self) -> Option<Request> {
        let mut chunk: Vec<TopicFilter> = Vec::new();
        let (mut kind, mut bytes) = (Need::Nothing, 0);
        let mut settled = Vec::new();
        for filter in self.changed.iter().filter(|filter| !self.asked.contains(*filter)) {
            let need = self.need(filter);
            if need == Need::Nothing {
                settled.push(filter.clone());
                continue;
            }
            if let Some(first) = chunk.first() {
                let fits = bytes + FILTER + filter.as_str().len() <= self.limits.bytes;
                let full = chunk.len() == self.limits.filters;
                if full || need != kind || !fits || !self.go_together(first, filter) {
                    break;
                }
            } else {
                kind = need;
                bytes = HEAD + self.properties_of(filter);
            }
            bytes += FILTER + filter.as_str().len();
            chunk.push(filter.clone());
        }
        for filter in settled.iter().chain(&chunk) {
            self.changed.remove(filter);
        }
        self.asked.extend(chunk.iter().cloned());
        match kind {
            Need::Nothing => None,
            Need::Unsubscribe => Some(Request::Unsubscribe { filters: chunk }),
            Need::Subscribe => Some(self.subscribe(&chunk)),
        }
    }

    fn subscribe(&mut self, chunk: &[TopicFilter]) -> Request {
        let mut properties = SubscribeProperties::default();
        let mut filters = Vec::with_capacity(chunk.len());
        for filter in chunk {
            // Until the answer comes nobody knows what the server has.
            self.known.insert(filter.clone(), UNSURE);
            if let Some(wanted) = self.wanted.get_mut(filter) {
                // The answer is one to all that wanted it before it was asked for.
                wanted.revision = self.revision;
                properties = wanted.properties.clone();
                filters.push(SubscribeFilter { filter: filter.clone(), options: wanted.options });
            }
        }
        Request::Subscribe { filters, properties, revision: self.revision }
    }

    fn go_together(&self, first: &TopicFilter, filter: &TopicFilter) -> bool {
        match (self.wanted.get(first), self.wanted.get(filter)) {
            (Some(first), Some(wanted)) => {
                !first.alone && !wanted.alone && first.properties == wanted.properties
            }
            (None, None) => true,
            _ => false,
        }
    }

    fn properties_of(&self, filter: &TopicFilter) -> usize {
        // What cannot be written is refused when it is to be sent.
        self.wanted.get(filter).and_then(|wanted| wanted.properties.encoded_len().ok()).unwrap_or_default()
    }
}

impl Wanted {
    fn new(options: SubscriptionOptions) -> Self {
        Self {
            options,
            properties: SubscribeProperties::default(),
            holders: 0,
            revision: 0,
            alone: false,
            answer: watch::Sender::new(None),
        }
    }
}

/// A revision that nothing has.
const UNSURE: u64 = 0;
/// What a request has besides filters and properties, at most: fixed header, packet id, length of the properties.
const HEAD: usize = 5 + 2 + 4;
/// What a filter has besides its text, at most: its length and its options.
const FILTER: usize = 2 + 1;

#[cfg(test)]
mod tests;
