//! Files that are cut or changed anywhere: the store opens, has what was not touched, and invents nothing.

use std::collections::{BTreeMap, BTreeSet};

use gantline_server::{RetainedChange, RetainedStore};
use gantline_storage_file::{FileStore, FileStoreOptions, Fsync};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::sample::Index;
use proptest::test_runner::Config;

use crate::support::{Scratch, clear, contents, set};

/// What happens to a store before the damage.
#[derive(Clone, Debug)]
enum Step {
    /// Topics, each with whether it is set; values are numbered.
    Apply(Vec<(u8, bool)>),
    Compact,
    Restart,
}

/// What is done to one of its files.
#[derive(Clone, Debug)]
enum Harm {
    Cut(Index),
    Flip(Vec<(Index, u8)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0_u8..8, prop::bool::weighted(0.8));
    let step = prop_oneof![
        8 => prop::collection::vec(change, 1..6).prop_map(Step::Apply),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..20)
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any::<Index>().prop_map(Harm::Cut),
        prop::collection::vec((any::<Index>(), 1_u8..), 1..4).prop_map(Harm::Flip),
    ]
}

/// What there should be, and all values that a topic ever had.
#[derive(Default)]
struct Model {
    now: BTreeMap<String, String>,
    ever: BTreeSet<(String, String)>,
}

impl Model {
    fn apply(&mut self, changes: &[RetainedChange]) {
        for change in changes {
            let topic = change.topic().to_string();
            match change {
                RetainedChange::Set(kept) => {
                    let value = kept.message.payload_str().unwrap().to_owned();
                    self.ever.insert((topic.clone(), value.clone()));
                    self.now.insert(topic, value);
                }
                RetainedChange::Clear(_) => drop(self.now.remove(&topic)),
            }
        }
    }
}

/// Does the steps and closes the store.
async fn run(scratch: &Scratch, steps: Vec<Step>) -> Model {
    let options = FileStoreOptions::default().fsync(Fsync::Never).compact_from(1_000);
    let (mut store, mut model, mut number) =
        (options.clone().open(scratch.path()).unwrap(), Model::default(), 0);
    for step in steps {
        match step {
            Step::Compact => store.compact().await.unwrap(),
            Step::Restart => {
                drop(store);
                store = options.clone().open(scratch.path()).unwrap();
            }
            Step::Apply(changes) => {
                let changes = changes.into_iter().map(|(topic, is_set)| {
                    number += 1;
                    let topic = format!("t/{topic}");
                    if is_set { set(&topic, &format!("{number}:{topic}")) } else { clear(&topic) }
                });
                let changes: Vec<_> = changes.collect();
                model.apply(&changes);
                store.apply(changes).await.unwrap();
            }
        }
    }
    assert_eq!(contents(&store).await, model.now, "before the damage");
    store.close().await.unwrap();
    model
}

/// Harms a file; returns the topics of the lines that were touched, a line feed belonging to both of its lines.
fn inflict(bytes: &mut Vec<u8>, harm: &Harm) -> BTreeSet<String> {
    let mut starts = vec![0];
    starts.extend((1..=bytes.len()).filter(|end| bytes[end - 1] == b'\n'));
    let topics: Vec<_> = bytes.split(|byte| *byte == b'\n').map(topic).collect();
    let line_of = |at: usize| starts.partition_point(|start| *start <= at) - 1;
    let mut touched = BTreeSet::new();
    match harm {
        Harm::Cut(at) => {
            let at = at.index(bytes.len());
            touched.extend(topics[line_of(at)..].iter().flatten().cloned());
            bytes.truncate(at);
        }
        Harm::Flip(flips) => {
            for (at, mask) in flips {
                let at = at.index(bytes.len());
                for line in [line_of(at), line_of(at + 1)] {
                    touched.extend(topics[line].clone());
                }
                bytes[at] ^= mask;
            }
        }
    }
    touched
}

fn topic(line: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(line.get(9..)?).unwrap();
    let topic = json.get("topic").or_else(|| json.get("clear")).unwrap();
    Some(topic.as_str().unwrap().to_owned())
}

async fn check(steps: Vec<Step>, file: Index, harm: Harm) {
    let scratch = Scratch::new();
    let model = run(&scratch, steps).await;
    let files: Vec<_> = scratch.files().into_iter().filter(|name| !scratch.read(name).is_empty()).collect();
    if files.is_empty() {
        return;
    }
    let name = file.get(&files);
    let mut bytes = scratch.read(name);
    let touched = inflict(&mut bytes, &harm);
    scratch.write(name, &bytes);

    let store = FileStore::open(scratch.path()).unwrap();
    let found = contents(&store).await;
    for (topic, value) in &found {
        assert!(model.ever.contains(&(topic.clone(), value.clone())), "{topic}={value} is invented");
    }
    let untouched = |(topic, _): &(&String, &String)| !touched.contains(*topic);
    let expected: Vec<_> = model.now.iter().filter(untouched).collect();
    assert_eq!(found.iter().filter(untouched).collect::<Vec<_>>(), expected);
    // What was left out is set aside, and nothing changes by that.
    let damaged = store.load_report().unwrap().damaged;
    store.compact().await.unwrap();
    drop(store);
    let store = FileStore::open(scratch.path()).unwrap();
    assert_eq!((contents(&store).await, store.load_report().unwrap().damaged), (found, 0));
    assert_eq!(damaged > 0, scratch.files().iter().any(|name| name.ends_with(".damaged")));
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn harm_costs_what_it_touches_and_nothing_else(steps in steps(), file in any::<Index>(), harm in harm()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(steps, file, harm));
    }
}
