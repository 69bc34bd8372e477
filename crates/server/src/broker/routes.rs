//! The routes that a publisher remembers: who gets the messages of a topic.
//!
//! Relates to: [`Generations`], which tell whether a route is still true; [`Publisher`](super::publish::Publisher),
//! which owns the routes of one connection. Leaves out: matching, and what is done with a route.
//!
//! A publisher keeps at most 64 routes or 16 KiB, but at least one, and gives them back when it has been silent for a
//! while.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use gantline_protocol::QoS;
use hashbrown::HashTable;

use super::generations::{Generations, Stamp};
use super::shared::ShareGroup;
use super::slot::ClientSlot;
use super::subscriptions::{Matches, Target};

/// Who gets the messages of one topic.
#[derive(Debug)]
pub(crate) struct Route {
    topic: Box<str>,
    stamp: Stamp,
    /// Those who have subscribed themselves.
    pub(crate) targets: Box<[Target<Arc<ClientSlot>>]>,
    /// The share groups, of each of which one member gets it.
    pub(crate) groups: Box<[Arc<ShareGroup<Arc<ClientSlot>>>]>,
    /// Whether all targets get the same bytes, but for the layout: there are no share groups, no subscription
    /// identifiers, and nobody for whom a QoS 0 message needs work.
    pub(crate) is_plain: bool,
    /// Whether there are targets with the layout without properties, and with it.
    pub(crate) layouts: [bool; 2],
    /// The lowest of the highest QoS of the targets.
    pub(crate) lowest: QoS,
    /// Whether a target wants the RETAIN flag as it was published.
    pub(crate) keeps_retain: bool,
}

impl Route {
    /// Takes the results of a match.
    pub(crate) fn new(topic: &str, stamp: Stamp, matches: &mut Matches<Arc<ClientSlot>>) -> Self {
        let targets: Box<[_]> = matches.targets.drain(..).collect();
        let groups: Box<[_]> = matches.groups.drain(..).collect();
        let mut route = Self {
            topic: topic.into(),
            stamp,
            is_plain: groups.is_empty(),
            layouts: [false; 2],
            lowest: QoS::ExactlyOnce,
            keeps_retain: false,
            targets,
            groups,
        };
        for target in &route.targets {
            let profile = target.subscriber.profile();
            route.is_plain &= target.ids.is_none() && !profile.works;
            route.layouts[usize::from(profile.has_properties)] = true;
            route.lowest = route.lowest.min(target.qos);
            route.keeps_retain |= target.retain_as_published;
        }
        route
    }

    /// Memory that it holds, in bytes.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.topic.len() + size_of_val(&*self.targets) + size_of_val(&*self.groups)
    }
}

/// The routes of one publisher.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    /// Positions in `routes` by topic.
    index: HashTable<u32>,
    hasher: RandomState,
    /// The position that was asked for last: most publishers have one topic, or a few in runs.
    last: usize,
    weight: usize,
}

impl Routes {
    /// The position of the route of a topic, if there is one that is still true.
    #[inline]
    pub(crate) fn find(&mut self, topic: &str, generations: &Generations) -> Option<usize> {
        let position = match self.routes.get(self.last) {
            Some(route) if *route.topic == *topic => self.last,
            _ => self.look_up(topic, self.hasher.hash_one(topic))?,
        };
        generations.is_current(self.routes[position].stamp).then(|| {
            self.last = position;
            position
        })
    }

    /// Adds a route, in place of one that is no longer true. Returns its position.
    pub(crate) fn insert(&mut self, route: Route) -> usize {
        let (hash, weight) = (self.hasher.hash_one(&*route.topic), route.weight());
        let mut known = self.look_up(&route.topic, hash);
        let former = known.map_or(0, |position| self.routes[position].weight());
        let too_many = known.is_none() && self.routes.len() >= MOST_ROUTES;
        if too_many || self.weight - former + weight > MOST_BYTES {
            self.clear();
            known = None;
        } else {
            self.weight -= former;
        }
        self.weight += weight;
        let Self { routes, index, hasher, .. } = self;
        let position = known.unwrap_or(routes.len());
        if known.is_some() {
            routes[position] = route;
        } else {
            routes.push(route);
            let hash_at = |&position: &u32| hasher.hash_one(&*routes[position as usize].topic);
            index.insert_unique(hash, position as u32, hash_at);
        }
        self.last = position;
        position
    }

    /// The route at a position.
    #[inline]
    pub(crate) fn get(&self, position: usize) -> &Route {
        &self.routes[position]
    }

    fn clear(&mut self) {
        self.routes.clear();
        self.index.clear();
        self.weight = 0;
    }

    fn look_up(&self, topic: &str, hash: u64) -> Option<usize> {
        let is_it = |&position: &u32| *self.routes[position as usize].topic == *topic;
        self.index.find(hash, is_it).map(|&position| position as usize)
    }
}

const MOST_ROUTES: usize = 64;
const MOST_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gantline_protocol::TopicFilter;

    use super::{MOST_BYTES, MOST_ROUTES, Matches, Route, Routes};
    use crate::broker::generations::Generations;
    use crate::broker::shared::ShareGroup;

    fn route(topic: &str, generations: &Generations) -> Route {
        Route::new(topic, generations.stamp(topic), &mut Matches::default())
    }

    #[test]
    fn a_route_is_found_until_a_subscription_may_change_it() {
        let (mut routes, generations) = (Routes::default(), Generations::default());
        let change = || generations.changed(&TopicFilter::new("a/+").unwrap());
        // One that does not share its counter with `a`.
        let stamps: Vec<_> =
            ('b'..='z').map(|level| (level, generations.stamp(&format!("{level}/x")))).collect();
        change();
        let (other, _) = stamps.into_iter().find(|(_, stamp)| generations.is_current(*stamp)).unwrap();
        let other = format!("{other}/x");
        let a = routes.insert(route("a/x", &generations));
        let b = routes.insert(route(&other, &generations));
        assert_eq!(routes.find("a/x", &generations), Some(a));
        change();
        assert_eq!(routes.find("a/x", &generations), None);
        assert_eq!(routes.find(&other, &generations), Some(b));
        assert_eq!(routes.insert(route("a/x", &generations)), a);
        assert_eq!(routes.find("a/x", &generations), Some(a));
    }

    #[test]
    fn routes_are_bounded_in_number_and_bytes() {
        let (mut routes, generations) = (Routes::default(), Generations::default());
        for number in 0..1_000 {
            let topic = format!("a/{number}");
            let position = routes.insert(route(&topic, &generations));
            assert!(position < MOST_ROUTES);
            assert_eq!(routes.find(&topic, &generations), Some(position));
        }
        let long = "x".repeat(60_000);
        routes.insert(route(&long, &generations));
        assert_eq!(routes.routes.len(), 1);
        routes.insert(route("a", &generations));
        assert_eq!((routes.routes.len(), routes.find(&long, &generations)), (1, None));
    }

    #[test]
    fn routes_that_grow_are_bounded_too() {
        let (mut routes, generations) = (Routes::default(), Generations::default());
        let topics: Vec<String> = (0..MOST_ROUTES).map(|number| format!("a/{number}")).collect();
        for topic in &topics {
            routes.insert(route(topic, &generations));
        }
        let group = Arc::new(ShareGroup::new(1));
        for topic in &topics {
            let mut matches = Matches::default();
            matches.groups = vec![Arc::clone(&group); 1_000];
            let position = routes.insert(Route::new(topic, generations.stamp(topic), &mut matches));
            assert_eq!(routes.find(topic, &generations), Some(position));
            let largest = routes.get(position).weight();
            assert!(routes.weight <= MOST_BYTES + largest, "{}", routes.weight);
            assert_eq!(routes.weight, routes.routes.iter().map(Route::weight).sum::<usize>());
        }
    }
}
