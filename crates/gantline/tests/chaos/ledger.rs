//! What a client writes down on the disk before it goes on: the evidence.
//!
//! A line is an entry; all lines of one call are synced together. A line that a kill has cut short is removed by the
//! next process. Relates to: `verdict.rs`, which reads it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use gantline::QoS;

/// An entry. Numbers count for each QoS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A process has begun.
    Run,
    /// This message is about to be published.
    Intend(QoS, u64),
    /// The client has accepted it, under this id.
    Accept(QoS, u64, u64),
    /// Its outcome came.
    Outcome(QoS, u64, String),
    /// Its outcome came once more.
    OutcomeAgain(QoS, u64, String),
    /// It was received.
    Take(QoS, u64),
}

pub(crate) struct Ledger {
    file: File,
}

impl Ledger {
    /// Opens it for a new process; returns what earlier ones have written.
    pub(crate) fn open(path: &Path) -> (Self, Vec<Entry>) {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        let mut ledger = Self { file };
        ledger.write(&[Entry::Run]);
        (ledger, entries(&text[..whole]))
    }

    pub(crate) fn write(&mut self, entries: &[Entry]) {
        let lines: String = entries.iter().map(Entry::line).collect();
        self.file.write_all(lines.as_bytes()).unwrap();
        self.file.sync_data().unwrap();
    }
}

/// Everything in a ledger.
pub(crate) fn read(path: &Path) -> Vec<Entry> {
    entries(&std::fs::read_to_string(path).unwrap_or_default())
}

fn entries(text: &str) -> Vec<Entry> {
    text.lines().filter_map(Entry::parse).collect()
}

impl Entry {
    fn line(&self) -> String {
        match self {
            Self::Run => "run\n".to_owned(),
            Self::Intend(qos, number) => format!("intend {} {number}\n", qos.value()),
            Self::Accept(qos, number, id) => format!("accept {} {number} {id}\n", qos.value()),
            Self::Outcome(qos, number, outcome) => format!("outcome {} {number} {outcome}\n", qos.value()),
            Self::OutcomeAgain(qos, number, outcome) => {
                format!("outcome-again {} {number} {outcome}\n", qos.value())
            }
            Self::Take(qos, number) => format!("take {} {number}\n", qos.value()),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let kind = words.next()?;
        if kind == "run" {
            return Some(Self::Run);
        }
        let qos = QoS::from_u8(words.next()?.parse().ok()?)?;
        let number = words.next()?.parse().ok()?;
        Some(match kind {
            "intend" => Self::Intend(qos, number),
            "accept" => Self::Accept(qos, number, words.next()?.parse().ok()?),
            "outcome" => Self::Outcome(qos, number, words.next()?.to_owned()),
            "outcome-again" => Self::OutcomeAgain(qos, number, words.next()?.to_owned()),
            "take" => Self::Take(qos, number),
            _ => return None,
        })
    }
}
