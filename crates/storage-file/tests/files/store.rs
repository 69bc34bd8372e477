//! What a store keeps, and what its files look like.

use std::fs;
use std::future::Future;
use std::time::{Duration, SystemTime};

use gantline_protocol::Message;
use gantline_server::{RetainedMessage, RetainedStore};
use gantline_storage_file::{DamageKind, FileStore, FileStoreOptions, Fsync, OpenError};

use crate::support::{Scratch, clear, set, text};

const POLICIES: [Fsync; 3] = [Fsync::Never, Fsync::Interval(Duration::from_millis(1)), Fsync::EachBatch];

#[tokio::test]
async fn what_is_applied_is_there_after_a_restart() {
    for fsync in POLICIES {
        let scratch = Scratch::new();
        for (changes, expected) in [
            (vec![set("a", "1"), set("b", "2")], "a=1 b=2"),
            (vec![set("a", "3"), clear("b"), set("c/d", "4")], "a=3 c/d=4"),
            (vec![clear("a"), clear("never")], "c/d=4"),
        ] {
            let store = FileStoreOptions::default().fsync(fsync).open(scratch.path()).unwrap();
            store.apply(changes).await.unwrap();
            assert_eq!(text(&store).await, expected, "{fsync:?}");
            drop(store);
            assert_eq!(text(&FileStore::open(scratch.path()).unwrap()).await, expected, "{fsync:?}");
        }
    }
}

#[tokio::test]
async fn a_directory_belongs_to_one_store_until_that_is_closed() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    let error = FileStore::open(scratch.path()).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { directory } if directory == scratch.path()), "{error}");
    store.close().await.unwrap();
    let second = FileStore::open(scratch.path()).unwrap();
    let error = store.apply(vec![set("a", "1")]).await.unwrap_err().to_string();
    assert_eq!(error, "cannot use the store: it is closed, open it again");
    drop((store, second));
    FileStore::open(scratch.path()).unwrap();
}

#[tokio::test]
async fn what_is_no_directory_cannot_be_opened() {
    let scratch = Scratch::new();
    FileStore::open(scratch.path()).unwrap();
    let error = FileStore::open(scratch.path().join("lock")).unwrap_err().to_string();
    assert!(error.starts_with("cannot use ") && error.contains("lock"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    drop(FileStore::open(scratch.path()).unwrap());
    scratch.write("00000001.log", b"damaged\n");
    let store = FileStore::open(scratch.path()).unwrap();
    store.apply(vec![set("a", "1")]).await.unwrap();
    store.compact().await.unwrap();
    store.apply(vec![set("a", "2")]).await.unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(scratch.path().to_owned()), 0o700);
    for file in ["lock", "00000002.damaged", "00000002.snapshot", "00000003.log"] {
        assert_eq!(mode(scratch.path().join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_compaction_leaves_out_what_is_overwritten_cleared_and_expired() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    for number in 0..100 {
        store.apply(vec![set("a", &number.to_string()), set("b", "x"), clear("b")]).await.unwrap();
    }
    let message = Message::new("c", "over").unwrap().expiry(1);
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    store.apply(vec![RetainedMessage::new(message, yesterday).into()]).await.unwrap();
    store.compact().await.unwrap();
    assert_eq!(scratch.files(), ["00000001.snapshot"]);
    let line = String::from_utf8(scratch.read("00000001.snapshot")).unwrap();
    assert_eq!(&line[8..], " {\"topic\":\"a\",\"payload\":\"99\"}\n");
    store.compact().await.unwrap();
    store.apply(vec![set("b", "y")]).await.unwrap();
    drop(store);
    assert_eq!(scratch.files(), ["00000001.snapshot", "00000002.log"]);
    let store = FileStore::open(scratch.path()).unwrap();
    assert_eq!(text(&store).await, "a=99 b=y");
    store.apply(vec![clear("a"), clear("b")]).await.unwrap();
    store.compact().await.unwrap();
    assert_eq!((text(&store).await.as_str(), scratch.read("00000003.snapshot").len()), ("", 0));
}

#[tokio::test]
async fn the_log_compacts_by_itself_while_changes_go_on() {
    let scratch = Scratch::new();
    let options = FileStoreOptions::default().fsync(Fsync::Never).compact_from(10_000);
    let store = options.clone().open(scratch.path()).unwrap();
    let mut number = 0;
    loop {
        number += 1;
        let changes = (0..10).map(|topic| set(&format!("t/{topic}"), &format!("{number:040}")));
        store.apply(changes.collect()).await.unwrap();
        let snapshots = scratch.files().into_iter().filter(|name| name.ends_with(".snapshot"));
        // By its name it is not the first one.
        if snapshots.into_iter().any(|name| name.as_str() > "00000004") {
            break;
        }
    }
    drop(store);
    let store = options.open(scratch.path()).unwrap();
    let expected: Vec<_> = (0..10).map(|topic| format!("t/{topic}={number:040}")).collect();
    assert_eq!(text(&store).await, expected.join(" "));
}

#[tokio::test]
async fn many_starts_do_not_leave_many_files() {
    let scratch = Scratch::new();
    for number in 0..40 {
        let store = FileStore::open(scratch.path()).unwrap();
        store.apply(vec![set(&format!("{number:02}"), "x")]).await.unwrap();
        if number % 10 == 0 {
            store.compact().await.unwrap();
        }
    }
    assert!(scratch.files().len() <= 20, "{:?}", scratch.files());
    assert_eq!(FileStore::open(scratch.path()).unwrap().messages().await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_torn_tail_is_left_out_and_reported() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    store.apply(vec![set("a", "1"), set("b", "2")]).await.unwrap();
    drop(store);
    let whole = scratch.read("00000001.log");
    scratch.write("00000001.log", &whole[..whole.len() - 5]);
    let store = FileStore::open(scratch.path()).unwrap();
    assert_eq!(text(&store).await, "a=1");
    let report = store.load_report().unwrap();
    assert_eq!((report.changes, report.damaged), (1, 1));
    assert_eq!(report.damages[0].kind, DamageKind::Torn);
    assert_eq!(report.damages[0].offset, 37);
    store.apply(vec![set("b", "3")]).await.unwrap();
    drop(store);
    assert_eq!(text(&FileStore::open(scratch.path()).unwrap()).await, "a=1 b=3");
}

#[tokio::test]
async fn damaged_lines_are_set_aside_and_the_rest_is_kept() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    store.apply(vec![set("a", "1"), set("b", "2"), set("c", "3")]).await.unwrap();
    drop(store);
    let mut bytes = scratch.read("00000001.log");
    let line = bytes.len() / 3;
    bytes[line + 30] ^= 1;
    scratch.write("00000001.log", &bytes);
    let damaged = bytes[line..2 * line].to_vec();

    let store = FileStore::open(scratch.path()).unwrap();
    assert_eq!(text(&store).await, "a=1 c=3");
    let report = store.load_report().unwrap();
    assert_eq!((report.changes, report.damaged), (2, 1));
    assert_eq!(report.damages[0].kind, DamageKind::Checksum);
    // The compaction that it has asked for comes first.
    store.compact().await.unwrap();
    assert_eq!(scratch.files(), ["00000001.damaged", "00000001.snapshot"]);
    assert_eq!(scratch.read("00000001.damaged"), damaged);
    assert_eq!(text(&store).await, "a=1 c=3");
    assert_eq!(store.load_report().unwrap().damaged, 0);
}

#[tokio::test]
async fn what_an_unfinished_compaction_left_does_not_count() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    store.apply(vec![set("a", "1")]).await.unwrap();
    store.compact().await.unwrap();
    store.apply(vec![clear("a"), set("b", "2")]).await.unwrap();
    let old = scratch.read("00000001.snapshot");
    store.compact().await.unwrap();
    drop(store);
    // As if it had ended before the files that it replaces were removed.
    scratch.write("00000001.snapshot", &old);
    scratch.write("00000002.log", &old);
    scratch.write("snapshot.unfinished", &old[..10]);
    assert_eq!(text(&FileStore::open(scratch.path()).unwrap()).await, "b=2");
    assert_eq!(scratch.files(), ["00000002.snapshot"]);
}

#[tokio::test]
async fn batches_of_several_callers_are_all_kept() {
    let scratch = Scratch::new();
    let store = FileStoreOptions::default().fsync(Fsync::EachBatch).open(scratch.path()).unwrap();
    let store = std::sync::Arc::new(store);
    let callers = (0..50).map(|number| {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move { store.apply(vec![set(&number.to_string(), "x")]).await })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(store.messages().await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_record_of_the_future_is_set_aside() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    store.apply(vec![set("a", "1")]).await.unwrap();
    drop(store);
    let record = b"a50ae4e7 {\"from\":\"the future\"}\n";
    scratch.write("00000002.log", record);
    let store = FileStore::open(scratch.path()).unwrap();
    assert_eq!(text(&store).await, "a=1");
    let report = store.load_report().unwrap();
    assert!(
        matches!(&report.damages[0].kind, DamageKind::Unreadable(why) if why.contains("from")),
        "{report:?}"
    );
    store.compact().await.unwrap();
    assert_eq!(scratch.read("00000002.damaged"), record);
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_whose_directory_is_gone_says_so_and_goes_on_when_it_is_back() {
    let scratch = Scratch::new();
    let elsewhere = scratch.path().with_extension("elsewhere");
    let store = FileStore::open(scratch.path()).unwrap();
    store.apply(vec![set("a", "1")]).await.unwrap();
    store.compact().await.unwrap();
    fs::rename(scratch.path(), &elsewhere).unwrap();
    let error = store.apply(vec![set("a", "2")]).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot create ") && error.contains(".log: "), "{error}");
    let error = store.compact().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("00000001.snapshot: "), "{error}");
    let error = store.messages().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot read "), "{error}");
    fs::rename(&elsewhere, scratch.path()).unwrap();
    assert_eq!(text(&store).await, "a=1");
    store.apply(vec![set("a", "3")]).await.unwrap();
    store.compact().await.unwrap();
    drop(store);
    assert_eq!(text(&FileStore::open(scratch.path()).unwrap()).await, "a=3");
}

#[tokio::test]
async fn a_file_without_line_feeds_does_not_eat_memory_and_is_set_aside() {
    let scratch = Scratch::new();
    let options = FileStoreOptions::default().longest_line(1_000);
    let store = options.clone().open(scratch.path()).unwrap();
    store.apply(vec![set("a", "1")]).await.unwrap();
    drop(store);
    let damaged = vec![b'x'; 1_000_000];
    scratch.write("00000002.log", &[&damaged[..], b"\n", &scratch.read("00000001.log")].concat());
    scratch.write("00000003.log", &damaged);
    let store = options.open(scratch.path()).unwrap();
    assert_eq!(text(&store).await, "a=1");
    let report = store.load_report().unwrap();
    assert_eq!((report.changes, report.damaged), (2, 2));
    for damage in &report.damages {
        assert_eq!((&damage.kind, damage.offset, damage.bytes), (&DamageKind::TooLong, 0, 1_000_000));
    }
    store.compact().await.unwrap();
    assert_eq!(scratch.files(), ["00000003.damaged", "00000003.snapshot"]);
    assert_eq!(scratch.read("00000003.damaged"), [&damaged[..], b"\n", &damaged, b"\n"].concat());
    assert_eq!((text(&store).await.as_str(), store.load_report().unwrap().damaged), ("a=1", 0));
}

#[tokio::test]
async fn a_change_that_cannot_be_written_is_reported_and_the_rest_of_its_batch_is_kept() {
    let scratch = Scratch::new();
    let store = FileStoreOptions::default().longest_line(1_000).open(scratch.path()).unwrap();
    store.apply(vec![set("long", "old"), set("wrong", "old"), set("empty", "old")]).await.unwrap();
    let wrong = Message::new("wrong", "x").unwrap().content_type("\0");
    for (poison, complaint) in [
        (
            set("long", &"x".repeat(2_000)),
            "cannot write down long: it takes a line of 2038 bytes, and 1000 are",
        ),
        (
            RetainedMessage { message: wrong, expires: None }.into(),
            "cannot write down wrong: the message cannot",
        ),
        (set("empty", ""), "cannot write down empty: a retained message needs a payload"),
    ] {
        let error = store.apply(vec![set("a", "1"), poison, set("b", "2")]).await.unwrap_err();
        assert!(error.is_permanent() && error.to_string().starts_with(complaint), "{error}");
    }
    // The values that they were to replace do not come back.
    assert_eq!(text(&store).await, "a=1 b=2");
    assert_eq!(store.load_report().unwrap().damaged, 0);
    store.apply(vec![set("long", "new")]).await.unwrap();
    assert_eq!(text(&store).await, "a=1 b=2 long=new");
}

#[tokio::test]
async fn a_change_that_cannot_be_written_is_no_error_of_others() {
    let scratch = Scratch::new();
    let store = FileStoreOptions::default().longest_line(1_000).open(scratch.path()).unwrap();
    let outcomes = tokio::join!(
        store.apply(vec![set("a", "1")]),
        store.apply(vec![set("long", &"x".repeat(2_000))]),
        store.apply(vec![set("b", "2")]),
    );
    assert!(outcomes.0.is_ok() && outcomes.1.is_err() && outcomes.2.is_ok(), "{outcomes:?}");
    assert_eq!(text(&store).await, "a=1 b=2");
}

#[cfg(unix)]
#[tokio::test]
async fn an_empty_store_is_not_compacted_again_and_again() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new();
    let store = FileStoreOptions::default().compact_from(0).open(scratch.path()).unwrap();
    store.compact().await.unwrap();
    let file = || fs::metadata(scratch.path().join("00000000.snapshot")).unwrap();
    let before = (file().ino(), file().mtime_nsec());
    for _ in 0..50 {
        assert_eq!(text(&store).await, "");
    }
    assert_eq!((file().ino(), file().mtime_nsec()), before);
}

#[tokio::test]
async fn files_with_names_that_no_store_gives_are_left_alone() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    store.apply(vec![set("a", "1")]).await.unwrap();
    drop(store);
    let foreign =
        ["+0000009.log", "000000008.snapshot", "18446744073709551615.log", "9999999999999999999.snapshot"];
    foreign.iter().for_each(|name| scratch.write(name, b"x"));
    let store = FileStore::open(scratch.path()).unwrap();
    assert_eq!((text(&store).await.as_str(), store.load_report().unwrap().damaged), ("a=1", 0));
    store.apply(vec![set("b", "2")]).await.unwrap();
    store.compact().await.unwrap();
    foreign.iter().for_each(|name| assert_eq!(scratch.read(name), b"x"));
}

#[tokio::test]
async fn a_store_that_is_dropped_writes_what_it_was_told_and_gives_the_directory_free() {
    let scratch = Scratch::new();
    let store = FileStoreOptions::default().fsync(Fsync::EachBatch).open(scratch.path()).unwrap();
    for number in 0..200 {
        let mut call = std::pin::pin!(store.apply(vec![set(&format!("{number:03}"), "x")]));
        // Told, and nobody waits for it.
        let _ = call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }
    drop(store);
    let store = FileStore::open(scratch.path()).unwrap();
    assert_eq!(store.messages().await.unwrap().len(), 200);
}
