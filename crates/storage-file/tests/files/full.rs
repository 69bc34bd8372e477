//! A disk that is full: a write fails in the middle of a record, and the store goes on as soon as there is room.
//!
//! The parent starts this test binary again with a limit on the size of files, which fails like a full disk: after a
//! part of what was to be written.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use gantline_server::RetainedStore;
use gantline_storage_file::{FileStore, FileStoreOptions, Fsync};

use crate::support::{Scratch, clear, files, set, text};

const DIRECTORY: &str = "GANTLINE_FULL_DIRECTORY";

fn open(directory: &PathBuf) -> FileStore {
    FileStoreOptions::default().fsync(Fsync::Never).open(directory).unwrap()
}

/// Sets topics below a level until there is no room; returns how many there are.
async fn fill(store: &FileStore, level: &str) -> usize {
    for number in 0.. {
        let change = set(&format!("{level}/{number}"), &"x".repeat(3_000));
        if let Err(error) = store.apply(vec![change]).await {
            let error = error.to_string();
            assert!(error.starts_with("cannot write ") && error.contains(".log: "), "{error}");
            return number;
        }
    }
    0
}

/// The process whose files cannot grow. As a test of its own it does nothing.
#[tokio::test]
async fn writer() {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let store = open(&directory);
    assert!(fill(&store, "a").await > 0);
    // What was written of the record that failed is not in its way.
    store.apply(vec![set("small", "1")]).await.unwrap();
    drop(store);
    let store = open(&directory);
    let number = fill(&store, "b").await;

    let logs = ["00000001.log", "00000002.log", "00000003.log"];
    assert_eq!(files(&directory), logs);
    let error = store.compact().await.unwrap_err().to_string();
    assert!(error.contains("snapshot.unfinished: "), "{error}");
    // It is not in the way of what comes, and what it has set aside is where it was.
    assert_eq!(files(&directory), logs);
    store.apply((0..number).map(|number| clear(&format!("b/{number}"))).collect()).await.unwrap();
    store.compact().await.unwrap();
    assert_eq!(files(&directory), ["00000004.damaged", "00000004.snapshot"]);
    store.apply(vec![set("small", "2")]).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_costs_what_does_not_fit_and_nothing_else() {
    let scratch = Scratch::new();
    drop(FileStore::open(scratch.path()).unwrap());
    scratch.write("00000001.log", b"damaged\n");
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "full::writer", "--nocapture", "--test-threads", "1"])
        .env(DIRECTORY, scratch.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let store = FileStore::open(scratch.path()).unwrap();
    let text = text(&store).await;
    assert!(text.starts_with("a/0=xxx") && text.ends_with(" small=2") && !text.contains("b/"), "{text}");
    assert_eq!(store.load_report().unwrap().damaged, 0);
    assert_eq!(scratch.read("00000004.damaged"), b"damaged\n");
}
