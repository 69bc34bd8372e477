//! What the tests share: directories that go away, and short ways to say what is in a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;
use std::{env, fs, process};

use gantline_protocol::{Message, TopicName};
use gantline_server::{RetainedChange, RetainedMessage};
use gantline_storage_file::FileStore;

/// A directory that is removed with this.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gantline-store-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The names of the files, in order, without the lock.
    pub(crate) fn files(&self) -> Vec<String> {
        files(&self.0)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The names of the files in a directory, in order, without the lock.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "lock").collect();
    names.sort();
    names
}

pub(crate) fn set(topic: &str, payload: &str) -> RetainedChange {
    let message = Message::new(topic, payload.to_owned()).unwrap();
    RetainedMessage::new(message, SystemTime::now()).into()
}

pub(crate) fn clear(topic: &str) -> RetainedChange {
    RetainedChange::Clear(TopicName::new(topic).unwrap())
}

/// Topics and payloads of a store.
pub(crate) async fn contents(store: &FileStore) -> BTreeMap<String, String> {
    let messages = store.messages().await.unwrap();
    messages
        .iter()
        .map(|kept| (kept.message.topic().to_string(), kept.message.payload_str().unwrap().to_owned()))
        .collect()
}

/// The contents as text, such as `a=1 b=2`.
pub(crate) async fn text(store: &FileStore) -> String {
    let pairs: Vec<_> =
        contents(store).await.into_iter().map(|(topic, payload)| format!("{topic}={payload}")).collect();
    pairs.join(" ")
}
