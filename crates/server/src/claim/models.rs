//! Models of the hand-over of a session: under every schedule that the checker tries it has one holder, claimants are
//! served in the order in which they came, and nobody waits for ever.
//!
//! A lost wake-up, or a holder that is not told to go, shows as a deadlock. The schedules come from fixed seeds, so a
//! model passes always or never.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gantline_protocol::{ClientId, Connect, Limits, Offer, ReasonCode};
use gantline_transport::Clock;
use gantline_transport::sync::Mutex;
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::mpsc;
use shuttle::{Config, Runner, thread};

use super::{SessionLease, claim};
use crate::broker::Broker;
use crate::broker::sessions::{Ending, Terms};
use crate::broker::slot::Order;
use crate::options::ServerOptions;

const SEED: u64 = 0x6d71_7474;
const SCHEDULES: usize = 1_000;

/// Runs a model with sessions that end with their connections and with sessions that go on, under many schedules: half
/// of them arbitrary, half with few but nasty preemptions.
fn model(body: impl Fn(&Scene) + Send + Sync + Clone + 'static) {
    for expiry in [0, 3_600] {
        let body = body.clone();
        let body = move || body(&Scene::new(expiry));
        Runner::new(RandomScheduler::new_from_seed(SEED, SCHEDULES), config()).run(body.clone());
        Runner::new(PctScheduler::new_from_seed(SEED, 3, SCHEDULES), config()).run(body);
    }
}

/// A broker is built on the stack, of which the default has too little.
fn config() -> Config {
    let mut config = Config::default();
    config.stack_size = 1 << 20;
    config
}

/// A broker and a client id for which several connections come.
#[derive(Clone)]
struct Scene {
    broker: Arc<Broker>,
    clock: Clock,
    id: ClientId,
    expiry: u32,
    /// The numbers of the claimants in the order in which they came, and in which they were served.
    came: Arc<Mutex<Vec<u32>>>,
    served: Arc<Mutex<Vec<u32>>>,
    /// How many have the session.
    holders: Arc<Mutex<u32>>,
}

impl Scene {
    fn new(expiry: u32) -> Self {
        Self {
            broker: Arc::new(Broker::new(ServerOptions::default())),
            clock: Clock::new(),
            id: ClientId::new("a").unwrap(),
            expiry,
            came: Arc::default(),
            served: Arc::default(),
            holders: Arc::default(),
        }
    }

    /// Comes as claimant with this number; `told` when it stands in the queue.
    fn claim(&self, number: u32, told: &mpsc::Sender<()>) -> Holder {
        let mut came = self.came.lock();
        let claiming = claim(&self.broker, self.clock, &self.id);
        came.push(number);
        drop(came);
        told.send(()).unwrap();
        self.hold(number, block_on(claiming))
    }

    /// Begins a connection with a session that was just granted.
    fn hold(&self, number: u32, mut lease: SessionLease) -> Holder {
        *self.holders.lock() += 1;
        let mut served = self.served.lock();
        let mut connect = Connect::default();
        connect.properties.session_expiry_interval = Some(self.expiry);
        let limits = Limits::for_server(&connect, &Offer::default());
        let terms = Terms {
            clean_start: false,
            will: None,
            limits: &limits,
            session_expiry_max: u32::MAX,
            client: None,
        };
        let present = lease.begin(&terms, self.clock.now());
        assert_eq!(present, self.expiry > 0 && !served.is_empty());
        served.push(number);
        drop(served);
        assert_eq!(*self.holders.lock(), 1, "two have the session");
        Holder { scene: self.clone(), lease: Some(lease) }
    }

    /// What is left when all have gone.
    fn check(&self) {
        assert_eq!(*self.came.lock(), *self.served.lock());
        assert_eq!(self.broker.clients.len(), usize::from(self.expiry > 0));
    }
}

/// Who has the session.
struct Holder {
    scene: Scene,
    lease: Option<SessionLease>,
}

impl Holder {
    /// Waits until it is told to go, as the task of a connection does.
    fn is_kicked(&self) {
        let order = block_on(poll_fn(|cx| match self.order(cx) {
            Some(order) => Poll::Ready(order),
            None => Poll::Pending,
        }));
        assert_eq!(order, Order::Kick(ReasonCode::SessionTakenOver));
    }

    fn order(&self, cx: &Context<'_>) -> Option<Order> {
        let mailbox = &self.lease.as_ref().unwrap().slot().mailbox;
        if mailbox.sleep_for_control(cx.waker()) {
            return None;
        }
        let mut orders = Vec::new();
        mailbox.take_control(&mut orders);
        orders.pop()
    }

    /// Nobody has told it to go.
    fn stays(&self) {
        assert_eq!(self.order(&Context::from_waker(Waker::noop())), None);
    }

    fn goes(mut self, ending: Ending) {
        self.lease.as_mut().unwrap().ends(ending);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        *self.scene.holders.lock() -= 1;
    }
}

#[test]
fn shuttle_claimants_are_served_in_order_and_each_holder_is_told_to_go() {
    model(|scene| {
        let (told, all) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (scene, told) = (scene.clone(), told.clone());
                thread::spawn(move || {
                    let holder = scene.claim(number, &told);
                    holder.is_kicked();
                    holder.goes(Ending::WithWill);
                })
            })
            .collect();
        (0..3).for_each(|_| all.recv().unwrap());
        let last = scene.claim(3, &told);
        last.stays();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        last.stays();
        last.goes(Ending::WithoutWill);
        scene.check();
    });
}

#[test]
fn shuttle_a_holder_that_panics_gives_the_session_back() {
    model(|scene| {
        let (told, all) = mpsc::channel();
        let holder = scene.claim(0, &told);
        all.recv().unwrap();
        let panics = thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| {
                let _holder = holder;
                // Without the message of a panic.
                resume_unwind(Box::new(()));
            }));
            assert!(result.is_err());
        });
        let next = thread::spawn({
            let (scene, told) = (scene.clone(), told.clone());
            move || {
                let holder = scene.claim(1, &told);
                holder.is_kicked();
            }
        });
        all.recv().unwrap();
        let last = scene.claim(2, &told);
        // The order to go that the one which panicked did not see is not for others.
        last.stays();
        panics.join().unwrap();
        next.join().unwrap();
        drop(last);
        scene.check();
    });
}

#[test]
fn shuttle_a_holder_that_ends_by_itself_does_not_take_the_next_with_it() {
    model(|scene| {
        let (told, all) = mpsc::channel();
        let holder = scene.claim(0, &told);
        all.recv().unwrap();
        let ends = thread::spawn(move || holder.goes(Ending::WithWill));
        let next = scene.claim(1, &told);
        next.stays();
        ends.join().unwrap();
        next.stays();
        drop(next);
        scene.check();
    });
}

#[test]
fn shuttle_a_claimant_that_gives_up_holds_nobody_up() {
    model(|scene| {
        let (told, all) = mpsc::channel();
        let holder = scene.claim(0, &told);
        all.recv().unwrap();
        let gives_up = thread::spawn({
            let scene = scene.clone();
            move || {
                let mut claiming = pin!(claim(&scene.broker, scene.clock, &scene.id));
                // Asks once, and drops what it got, if it got it.
                let asked = claiming.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                thread::yield_now();
                drop(asked);
            }
        });
        let next = thread::spawn({
            let (scene, told) = (scene.clone(), told.clone());
            move || drop(scene.claim(1, &told))
        });
        all.recv().unwrap();
        holder.is_kicked();
        drop(holder);
        gives_up.join().unwrap();
        next.join().unwrap();
        scene.check();
    });
}

#[test]
fn shuttle_an_expiry_and_a_return_do_not_both_get_the_session() {
    model(|scene| {
        let (told, all) = mpsc::channel();
        let holder = scene.claim(0, &told);
        all.recv().unwrap();
        let lease = holder.lease.as_ref().unwrap();
        let (slot, epoch) = (Arc::clone(lease.slot()), lease.epoch());
        drop(holder);
        let expires = thread::spawn({
            let (scene, slot) = (scene.clone(), Arc::clone(&slot));
            let later = scene.clock.now().plus_secs(4_000);
            move || scene.broker.session_expires(&slot, epoch, later)
        });
        let lease = block_on(claim(&scene.broker, scene.clock, &scene.id));
        let goes_on = Arc::ptr_eq(lease.slot(), &slot) && lease.epoch() == epoch + 1;
        expires.join().unwrap();
        assert_eq!(lease.slot().with_state(|state| state.present), goes_on && scene.expiry > 0);
        drop(lease);
    });
}
