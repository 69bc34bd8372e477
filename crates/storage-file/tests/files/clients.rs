//! What clients keep, sessions and outboxes: what their lines are, and that they survive cuts, damage and compaction.
//!
//! Both stores are one log, so both go through the same checks; `kill.rs` ends processes.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gantline_client::{ClientId, PacketId, SessionChange, SessionStore};
use gantline_managed::{MessageId, OutboxChange, OutboxMessage, OutboxStore};
use gantline_protocol::{Message, PayloadFormat, QoS, StoreError, TopicName};
use gantline_storage_file::{
    DamageKind, FileOutbox, FileSessionStore, FileStoreOptions, Fsync, LoadReport, OpenError,
};
use proptest::prelude::{Just, Strategy, prop, prop_oneof, proptest};
use proptest::test_runner::{Config, TestCaseError};

use crate::support::Scratch;

/// What the two stores have in common.
trait Kept: Sized {
    type Change: Clone + PartialEq + Debug;
    /// What changes add up to.
    type State: PartialEq + Debug;

    fn open(directory: &Path) -> Result<Self, OpenError>;
    async fn apply(&self, changes: Vec<Self::Change>) -> Result<(), StoreError>;
    async fn load(&self) -> Vec<Self::Change>;
    async fn compact(&self);
    fn load_report(&self) -> Arc<LoadReport>;
    fn state(changes: &[Self::Change]) -> Self::State;
    /// How many lines it takes to say this state.
    fn lines(state: &Self::State) -> usize;
}

fn quick() -> FileStoreOptions {
    FileStoreOptions::default().fsync(Fsync::Never).compact_from(1_000)
}

/// Packets in order, each with its payload unless only PUBCOMP is missing; and the ids that were received.
#[derive(Debug, Default, PartialEq)]
struct Session {
    owner: Option<ClientId>,
    outgoing: Vec<(PacketId, Option<Message>)>,
    incoming: BTreeSet<u16>,
}

impl Kept for FileSessionStore {
    type Change = SessionChange;
    type State = Session;

    fn open(directory: &Path) -> Result<Self, OpenError> {
        quick().open_session(directory)
    }

    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
        SessionStore::apply(self, changes).await
    }

    async fn load(&self) -> Vec<SessionChange> {
        let mut changes = Vec::new();
        SessionStore::load(self, &mut |change| changes.push(change)).await.unwrap();
        changes
    }

    async fn compact(&self) {
        self.compact().await.unwrap();
    }

    fn load_report(&self) -> Arc<LoadReport> {
        self.load_report().unwrap()
    }

    fn state(changes: &[SessionChange]) -> Session {
        let mut state = Session::default();
        for change in changes.iter().cloned() {
            match change {
                SessionChange::Begin(owner) => state = Session { owner: Some(owner), ..Session::default() },
                SessionChange::Sent { id, message, .. } => {
                    state.outgoing.retain(|(held, _)| *held != id);
                    state.outgoing.push((id, Some(message)));
                }
                SessionChange::Released { id, .. } => {
                    state.outgoing.retain(|(held, _)| *held != id);
                    state.outgoing.push((id, None));
                }
                SessionChange::Completed(id) => state.outgoing.retain(|(held, _)| *held != id),
                SessionChange::Received(id) => drop(state.incoming.insert(id.get())),
                SessionChange::Freed(id) => drop(state.incoming.remove(&id.get())),
            }
        }
        state
    }

    fn lines(state: &Session) -> usize {
        usize::from(state.owner.is_some()) + state.outgoing.len() + state.incoming.len()
    }
}

/// Messages in order, each with whether it was sent.
type Outbox = Vec<(MessageId, Message, bool)>;

impl Kept for FileOutbox {
    type Change = OutboxChange;
    type State = Outbox;

    fn open(directory: &Path) -> Result<Self, OpenError> {
        quick().open_outbox(directory)
    }

    async fn apply(&self, changes: Vec<OutboxChange>) -> Result<(), StoreError> {
        OutboxStore::apply(self, changes).await
    }

    async fn load(&self) -> Vec<OutboxChange> {
        let mut changes = Vec::new();
        OutboxStore::load(self, &mut |change| changes.push(change)).await.unwrap();
        changes
    }

    async fn compact(&self) {
        self.compact().await.unwrap();
    }

    fn load_report(&self) -> Arc<LoadReport> {
        self.load_report().unwrap()
    }

    fn state(changes: &[OutboxChange]) -> Outbox {
        let mut state = Outbox::new();
        for change in changes.iter().cloned() {
            match change {
                OutboxChange::Append(OutboxMessage { id, message, sent, .. }) => {
                    state.push((id, message, sent));
                }
                OutboxChange::Sent(id) => {
                    state.iter_mut().filter(|held| held.0 == id).for_each(|held| held.2 = true);
                }
                OutboxChange::Remove(id) => state.retain(|held| held.0 != id),
            }
        }
        state
    }

    fn lines(state: &Outbox) -> usize {
        state.len() + state.iter().filter(|held| held.2).count()
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn begin() -> SessionChange {
    SessionChange::Begin(ClientId::new("kitchen").unwrap())
}

fn sent(number: u16, payload: &str) -> SessionChange {
    let message = Message::new("a", payload.to_owned()).unwrap().qos(QoS::ExactlyOnce);
    SessionChange::Sent { id: id(number), message, expires: None, name: None }
}

fn append(number: u64, payload: &str) -> OutboxChange {
    let message = Message::new("a", payload.to_owned()).unwrap().qos(QoS::AtLeastOnce);
    let id = MessageId::new(number);
    OutboxChange::Append(OutboxMessage { id, message, expires: None, sent: false })
}

/// A few changes of each kind.
fn session() -> Vec<SessionChange> {
    let text = "Grüße, \"quoted\"\n";
    let (seven, nine) = (id(7), id(9));
    let (released, completed) =
        (SessionChange::Released { id: seven, name: None }, SessionChange::Completed(seven));
    let (received, freed) = (SessionChange::Received(nine), SessionChange::Freed(nine));
    vec![begin(), sent(7, text), sent(8, ""), received, released, sent(65_535, "x"), completed, freed]
}

fn outbox() -> Vec<OutboxChange> {
    let (one, two) = (MessageId::new(1), MessageId::new(2));
    vec![
        append(1, "a"),
        append(2, ""),
        OutboxChange::Sent(one),
        OutboxChange::Remove(one),
        append(3, "\u{7f}c"),
    ]
    .into_iter()
    .chain([OutboxChange::Sent(two), append(u64::MAX, "last")])
    .collect()
}

/// Cuts the file of a log at every byte: what is whole before the cut is there, the rest is reported, and it goes on.
async fn cut_anywhere<K: Kept>(changes: Vec<K::Change>, more: K::Change) {
    let scratch = Scratch::new();
    let store = K::open(scratch.path()).unwrap();
    for change in changes.clone() {
        store.apply(vec![change]).await.unwrap();
    }
    drop(store);
    let whole = scratch.read("00000001.log");
    for cut in 0..=whole.len() {
        let scratch = Scratch::new();
        drop(K::open(scratch.path()).unwrap());
        scratch.write("00000001.log", &whole[..cut]);
        let ended = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        // A line of which only the line feed is missing is whole.
        let is_whole = whole.get(cut) == Some(&b'\n');
        let is_torn = cut > 0 && !is_whole && whole[cut - 1] != b'\n';
        let mut expected = changes[..ended + usize::from(is_whole)].to_vec();
        let store = K::open(scratch.path()).unwrap();
        assert_eq!(store.load().await, expected, "cut at {cut}");
        let report = store.load_report();
        assert_eq!(report.damaged, u64::from(is_torn), "cut at {cut}");
        assert!(report.damages.iter().all(|damage| damage.kind == DamageKind::Torn));
        store.apply(vec![more.clone()]).await.unwrap();
        expected.push(more.clone());
        drop(store);
        let store = K::open(scratch.path()).unwrap();
        assert_eq!(K::state(&store.load().await), K::state(&expected), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_session_that_is_cut_at_any_byte_is_what_it_was_before() {
    cut_anywhere::<FileSessionStore>(session(), sent(3, "more")).await;
}

#[tokio::test]
async fn an_outbox_that_is_cut_at_any_byte_is_what_it_was_before() {
    cut_anywhere::<FileOutbox>(outbox(), append(9, "more")).await;
}

/// What happens to a store.
#[derive(Clone, Debug)]
enum Step<C> {
    Apply(Vec<C>),
    Compact,
    Restart,
}

fn steps<C: Clone + Debug + 'static>(
    change: impl Strategy<Value = C>,
) -> impl Strategy<Value = Vec<Step<C>>> {
    let step = prop_oneof![
        8 => prop::collection::vec(change, 1..6).prop_map(Step::Apply),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..20)
}

/// Does the steps; what is loaded in the end adds up to what was applied, and takes no more lines than it must.
fn runs<K: Kept>(steps: Vec<Step<K::Change>>) -> Result<(), TestCaseError> {
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut store, mut applied) = (K::open(scratch.path()).unwrap(), Vec::new());
        for step in steps {
            match step {
                Step::Compact => store.compact().await,
                Step::Restart => {
                    drop(store);
                    store = K::open(scratch.path()).unwrap();
                }
                Step::Apply(changes) => {
                    applied.extend(changes.clone());
                    store.apply(changes).await.unwrap();
                }
            }
        }
        let state = K::state(&applied);
        assert_eq!(K::state(&store.load().await), state);
        store.compact().await;
        let left = store.load().await;
        assert_eq!(K::state(&left), state);
        assert!(left.len() <= K::lines(&state), "{left:?}");
    });
    Ok(())
}

fn session_change() -> impl Strategy<Value = SessionChange> {
    let few = || (1_u16..6).prop_map(id);
    prop_oneof![
        1 => Just(begin()),
        8 => (1_u16..6, "[a-z]{0,40}").prop_map(|(number, payload)| sent(number, &payload)),
        4 => (few(), proptest::option::of(0_u64..20)).prop_map(|(id, name)| SessionChange::Released { id, name }),
        4 => few().prop_map(SessionChange::Completed),
        4 => few().prop_map(SessionChange::Received),
        4 => few().prop_map(SessionChange::Freed),
    ]
}

/// Of appended messages only the order counts here; their ids rise.
fn outbox_steps() -> impl Strategy<Value = Vec<Step<OutboxChange>>> {
    let change = (0_u8..3, 0_u64..20).prop_map(|(kind, number)| match kind {
        0 => append(0, "x"),
        1 => OutboxChange::Sent(MessageId::new(number)),
        _ => OutboxChange::Remove(MessageId::new(number)),
    });
    steps(change).prop_map(|mut steps| {
        let batches = steps.iter_mut().filter_map(|step| match step {
            Step::Apply(changes) => Some(changes),
            Step::Compact | Step::Restart => None,
        });
        let appended = batches.flatten().filter(|change| matches!(change, OutboxChange::Append(_)));
        for (number, change) in (0..).zip(appended) {
            *change = append(number, &format!("payload {number}"));
        }
        steps
    })
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_session_is_what_its_changes_add_up_to(steps in steps(session_change())) {
        runs::<FileSessionStore>(steps)?;
    }

    #[test]
    fn an_outbox_is_what_its_changes_add_up_to(steps in outbox_steps()) {
        runs::<FileOutbox>(steps)?;
    }
}

/// Everything that a message can have.
fn full() -> Message {
    Message::new("a/b", vec![0, 255])
        .unwrap()
        .qos(QoS::ExactlyOnce)
        .retain(true)
        .payload_format(PayloadFormat::Utf8)
        .content_type("text/plain")
        .response_topic(TopicName::new("r").unwrap())
        .correlation_data(vec![7])
        .user_property("k", "1")
        .user_property("k", "2")
        .expiry(60)
}

#[tokio::test]
async fn everything_that_a_message_has_comes_back() {
    let expires = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_123));
    let scratch = Scratch::new();
    let store = FileOutbox::open(scratch.path()).unwrap();
    let change =
        OutboxChange::Append(OutboxMessage { id: MessageId::new(1), message: full(), expires, sent: true });
    OutboxStore::apply(&store, vec![change.clone()]).await.unwrap();
    assert_eq!(Kept::load(&store).await, [change]);

    let scratch = Scratch::new();
    let store = FileSessionStore::open(scratch.path()).unwrap();
    let change = SessionChange::Sent { id: id(1), message: full(), expires, name: Some(12) };
    SessionStore::apply(&store, vec![change.clone()]).await.unwrap();
    assert_eq!(Kept::load(&store).await, [change]);
}

#[tokio::test]
async fn lines_can_be_read_by_people() {
    let scratch = Scratch::new();
    let store = FileSessionStore::open(scratch.path()).unwrap();
    SessionStore::apply(&store, session()).await.unwrap();
    drop(store);
    let json = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| line[9..].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        json(scratch.read("00000001.log")),
        [
            r#"{"begin":"kitchen"}"#,
            r#"{"sent":{"id":7,"message":{"topic":"a","payload":"Grüße, \"quoted\"\n","qos":2}}}"#,
            r#"{"sent":{"id":8,"message":{"topic":"a","payload":"","qos":2}}}"#,
            r#"{"received":9}"#,
            r#"{"released":7}"#,
            r#"{"sent":{"id":65535,"message":{"topic":"a","payload":"x","qos":2}}}"#,
            r#"{"completed":7}"#,
            r#"{"freed":9}"#,
        ]
    );
    let scratch = Scratch::new();
    let store = FileSessionStore::open(scratch.path()).unwrap();
    let message = Message::new("a", "x").unwrap().qos(QoS::ExactlyOnce);
    let named = SessionChange::Sent { id: id(7), message, expires: None, name: Some(12) };
    let released = SessionChange::Released { id: id(7), name: Some(12) };
    SessionStore::apply(&store, vec![named, released]).await.unwrap();
    drop(store);
    assert_eq!(
        json(scratch.read("00000001.log")),
        [
            r#"{"sent":{"id":7,"name":12,"message":{"topic":"a","payload":"x","qos":2}}}"#,
            r#"{"released_as":[7,12]}"#,
        ]
    );
    let scratch = Scratch::new();
    let store = FileOutbox::open(scratch.path()).unwrap();
    OutboxStore::apply(&store, outbox()[..4].to_vec()).await.unwrap();
    drop(store);
    assert_eq!(
        json(scratch.read("00000001.log")),
        [
            r#"{"append":{"id":1,"message":{"topic":"a","payload":"a","qos":1}}}"#,
            r#"{"append":{"id":2,"message":{"topic":"a","payload":"","qos":1}}}"#,
            r#"{"sent":1}"#,
            r#"{"remove":1}"#,
        ]
    );
}

#[tokio::test]
async fn a_damaged_line_costs_what_it_says_and_is_set_aside() {
    let scratch = Scratch::new();
    let store = FileOutbox::open(scratch.path()).unwrap();
    OutboxStore::apply(&store, vec![append(1, "a"), append(2, "b"), append(3, "c")]).await.unwrap();
    drop(store);
    let mut bytes = scratch.read("00000001.log");
    let line = bytes.len() / 3;
    bytes[line + 30] ^= 1;
    scratch.write("00000001.log", &bytes);
    let store = FileOutbox::open(scratch.path()).unwrap();
    assert_eq!(Kept::load(&store).await, [append(1, "a"), append(3, "c")]);
    assert_eq!(store.load_report().unwrap().damages[0].kind, DamageKind::Checksum);
    store.compact().await.unwrap();
    assert_eq!(scratch.files(), ["00000001.damaged", "00000001.snapshot"]);
}

#[tokio::test]
async fn a_store_of_another_kind_is_not_taken_for_ones_own() {
    let scratch = Scratch::new();
    let store = FileSessionStore::open(scratch.path()).unwrap();
    SessionStore::apply(&store, vec![sent(7, "x")]).await.unwrap();
    let error = FileOutbox::open(scratch.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(store);
    let error = FileOutbox::open(scratch.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("is a store of another kind (session, not outbox): choose another directory"),
        "{error}"
    );
    let store = FileSessionStore::open(scratch.path()).unwrap();
    assert_eq!(Kept::load(&store).await, [sent(7, "x")]);
    drop(store);
    // A directory that does not say what it is.
    for nothing in ["", "\0\0\0\0"] {
        scratch.write("lock", nothing.as_bytes());
        drop(FileSessionStore::open(scratch.path()).unwrap());
        assert_eq!(String::from_utf8(scratch.read("lock")).unwrap(), "session\n");
    }
    scratch.write("lock", &[b'x'; 1_000]);
    let error = FileSessionStore::open(scratch.path()).unwrap_err();
    assert!(matches!(&error, OpenError::OtherKind { kind, .. } if *kind == "x".repeat(64)), "{error}");
}

#[tokio::test]
async fn an_outbox_that_was_closed_goes_on() {
    let scratch = Scratch::new();
    let store = quick().fsync(Fsync::Interval(Duration::from_secs(60))).open_outbox(scratch.path()).unwrap();
    OutboxStore::apply(&store, vec![append(1, "a")]).await.unwrap();
    OutboxStore::close(&store).await.unwrap();
    OutboxStore::apply(&store, vec![append(2, "b")]).await.unwrap();
    drop(store);
    let store = FileOutbox::open(scratch.path()).unwrap();
    assert_eq!(Kept::load(&store).await, [append(1, "a"), append(2, "b")]);
}

#[tokio::test]
async fn a_message_that_cannot_be_written_is_reported_and_the_rest_is_kept() {
    let long = "x".repeat(2_000);
    let scratch = Scratch::new();
    let store = quick().longest_line(1_000).open_outbox(scratch.path()).unwrap();
    let error =
        OutboxStore::apply(&store, vec![append(1, "a"), append(2, &long), append(3, "c")]).await.unwrap_err();
    assert!(
        error.is_permanent() && error.to_string().starts_with("cannot write down message 2 to "),
        "{error}"
    );
    assert_eq!(Kept::load(&store).await, [append(1, "a"), append(3, "c")]);

    let scratch = Scratch::new();
    let store = quick().longest_line(1_000).open_session(scratch.path()).unwrap();
    let error =
        SessionStore::apply(&store, vec![sent(1, "a"), sent(2, &long), sent(3, "c")]).await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
    let kept = [sent(1, "a"), SessionChange::Completed(id(2)), sent(3, "c")];
    assert_eq!(Kept::load(&store).await, kept);
}
