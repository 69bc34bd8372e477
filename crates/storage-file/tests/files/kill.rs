//! Processes that are killed while they write: the store opens, has every value that was reported durable, and no other
//! than was written.
//!
//! The parent starts this test binary again as the writer, reads what it reports, and kills it at a random moment. What
//! a batch holds follows from its number, so both know it. `GANTLINE_KILLS` says how many times; see docs/testing.md.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, io, thread};

use gantline_server::{RetainedChange, RetainedStore};
use gantline_storage_file::{FileStore, FileStoreOptions, Fsync};

use crate::support::{Scratch, clear, contents, set};

const DIRECTORY: &str = "GANTLINE_KILL_DIRECTORY";
const FIRST: &str = "GANTLINE_KILL_FIRST";

/// What topics have, `None` for nothing.
type Values = BTreeMap<String, Option<String>>;

/// The changes of a batch: four topics of twenty, one of which is cleared now and then.
fn batch(number: u64) -> Values {
    let change = |nth: u64| {
        let mixed = (number * 4 + nth).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let topic = format!("t/{}", mixed % 20);
        let value = format!("{number}:{topic}:{}", "x".repeat((mixed % 300) as usize));
        (topic, (!mixed.is_multiple_of(7)).then_some(value))
    };
    (0..4).map(change).collect()
}

fn changes(values: Values) -> Vec<RetainedChange> {
    values
        .into_iter()
        .map(|(topic, value)| value.map_or_else(|| clear(&topic), |value| set(&topic, &value)))
        .collect()
}

/// Small, so that there are compactions all the time.
fn open(directory: &Path) -> FileStore {
    FileStoreOptions::default().fsync(Fsync::EachBatch).compact_from(8_000).open(directory).unwrap()
}

/// The process that is killed. As a test of its own it does nothing.
#[tokio::test]
async fn writer() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let first: u64 = env::var(FIRST).unwrap().parse().unwrap();
    let store = open(Path::new(&directory));
    let mut loaded = 0;
    store.load(&mut |_| loaded += 1).await.unwrap();
    // Past the capture of the test harness, and each line whole or not at all.
    let report = |line: String| io::stderr().write_all(line.as_bytes()).unwrap();
    for number in first.. {
        report(format!("begins {number}\n"));
        store.apply(changes(batch(number))).await.unwrap();
        report(format!("durable {number}\n"));
    }
}

/// A writer, and what it reported.
struct Writer {
    process: Child,
    began: Option<u64>,
    durable: Option<u64>,
}

impl Writer {
    fn start(directory: &Path, first: u64) -> Self {
        let process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "kill::writer", "--nocapture", "--test-threads", "1"])
            .env(DIRECTORY, directory)
            .env(FIRST, first.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, began: None, durable: None }
    }

    /// Kills it some time after it began to write, and reads the rest of what it said.
    fn kill_after(&mut self, delay: Duration) {
        let mut lines = BufReader::new(self.process.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        self.note(&first);
        thread::sleep(delay);
        // SIGKILL.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        lines.map_while(Result::ok).for_each(|line| self.note(&line));
    }

    fn note(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("begins", number)) => self.began = Some(number.parse().unwrap()),
            Some(("durable", number)) => self.durable = Some(number.parse().unwrap()),
            _ => panic!("the writer said {line:?}"),
        }
    }
}

#[tokio::test]
async fn a_killed_process_leaves_what_it_reported_durable() {
    let kills = env::var("GANTLINE_KILLS").map_or(200, |kills| kills.parse().unwrap());
    let scratch = Scratch::new();
    let (mut certain, mut next, mut batches) = (Values::new(), 1, 0);
    let mut random = 1_u64;
    for kill in 1..=kills {
        let mut writer = Writer::start(scratch.path(), next);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writer.kill_after(Duration::from_micros((random >> 33) % 40_000));
        let began = writer.began.unwrap();
        let durable = writer.durable.unwrap_or(next - 1);
        (next..=durable).for_each(|number| certain.extend(batch(number)));
        batches += durable + 1 - next;

        let found = contents(&open(scratch.path())).await;
        // Of what was not reported durable, any value may be there.
        let mut possible: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
        for (topic, value) in certain.clone().into_iter().chain((durable + 1..=began).flat_map(batch)) {
            // A topic that was never certain had nothing.
            let before = certain.get(&topic).cloned().flatten();
            possible.entry(topic).or_insert_with(|| [before].into()).insert(value);
        }
        for (topic, values) in &possible {
            let value = found.get(topic).cloned();
            assert!(values.contains(&value), "kill {kill}, {topic}: {value:?} is none of {values:?}");
        }
        for topic in found.keys() {
            assert!(possible.contains_key(topic), "kill {kill}: {topic} is invented");
        }
        // The file says so, and the process that wrote it cannot take it back.
        for topic in possible.into_keys() {
            certain.insert(topic.clone(), found.get(&topic).cloned());
        }
        next = began + 1;
    }
    println!("{kills} kills, {batches} batches reported durable, files {:?}", scratch.files());
}
