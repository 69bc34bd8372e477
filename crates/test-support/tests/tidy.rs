//! The architecture as tests: what `docs/architecture.md` promises and no compiler checks.
//!
//! Each test reads the sources and names every place that breaks its rule. A rule that stands in the way is
//! a decision to change in `docs/adr/`, not a line to work around. What the lints of the root manifest
//! guard (docs on public items, no `unwrap`, no `unsafe`) is not repeated here.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Which crates of ours a crate may depend on. Arrows go down only; client and server never meet.
const ARROWS: &[(&str, &[&str])] = &[
    ("gantline-protocol", &[]),
    ("gantline-transport", &["gantline-protocol"]),
    ("gantline-client", &["gantline-protocol", "gantline-transport"]),
    ("gantline-managed", &["gantline-protocol", "gantline-transport", "gantline-client"]),
    ("gantline-server", &["gantline-protocol", "gantline-transport"]),
    ("gantline-rpc", &["gantline-protocol", "gantline-client"]),
    ("gantline-web", &["gantline-transport", "gantline-server"]),
    (
        "gantline-storage-file",
        &["gantline-protocol", "gantline-server", "gantline-managed", "gantline-client"],
    ),
    (
        "gantline",
        &[
            "gantline-protocol",
            "gantline-transport",
            "gantline-client",
            "gantline-rpc",
            "gantline-managed",
            "gantline-server",
            "gantline-storage-file",
            "gantline-web",
        ],
    ),
    ("gantline-cli", &["gantline"]),
    ("gantline-test-support", &["gantline-protocol", "gantline-transport"]),
    ("gantline-examples", &["gantline"]),
    ("gantline-benches", &["gantline-protocol", "gantline-transport", "gantline-server"]),
];

/// The files of `protocol/src` that may name a protocol version; all others ask a predicate.
const VERSION_FILES: &[&str] = &["version.rs", "limits.rs", "client_id.rs", "packet/", "codec/"];

#[test]
fn crates_depend_along_the_arrows_only() {
    let mut broken = Vec::new();
    for manifest in manifests() {
        let (name, dependencies) = dependencies(&manifest);
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            broken.push(format!("{name} has no row in the table of arrows"));
            continue;
        };
        let forbidden = dependencies.iter().filter(|to| !allowed.contains(&to.as_str()));
        broken.extend(forbidden.map(|to| format!("{name} -> {to}")));
    }
    assert_none(&broken, "dependencies that are not arrows of docs/architecture.md");
}

#[test]
fn the_guide_has_the_names_of_what_the_server_logs() {
    let text = read(&root().join("docs/guide/server.md"));
    let mut missing = Vec::new();
    for file in sources().into_iter().filter(|file| starts(file, "crates/server/src")) {
        let source = read(&file);
        // After each mark, up to the quote: the name.
        for mark in ["name: \"", "_span!(\""] {
            let names = source.split(mark).skip(1).filter_map(|rest| rest.split('"').next());
            missing.extend(names.filter(|name| !text.contains(&format!("| `{name}` |"))).map(str::to_owned));
        }
    }
    assert_none(&missing, "names that are not in docs/guide/server.md");
}

#[test]
fn test_support_is_used_by_test_folders_only() {
    // From inside `src` the crate under test would be linked twice, and its types would not be its own.
    let names = |line: &str| line.contains("gantline_test_support");
    let broken = lines(&sources(), |file| in_src(file) && !starts(file, "crates/test-support"), names);
    assert_none(&broken, "uses of test-support outside of tests/");
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |file: &PathBuf| !read(file).starts_with("//!");
    let broken: Vec<_> = sources().iter().filter(|file| silent(file)).map(|file| shown(file)).collect();
    assert_none(&broken, "files that do not open with //!");
}

#[test]
fn versions_are_named_at_the_edge_only() {
    let elsewhere = |file: &Path| {
        let in_edge = VERSION_FILES.iter().any(|edge| starts(file, &format!("crates/protocol/src/{edge}")));
        in_src(file) && !in_edge && !starts(file, "crates/test-support")
    };
    let names = |line: &str| ["V3_1", "V5_0"].iter().any(|variant| line.contains(variant));
    assert_none(&lines(&sources(), elsewhere, names), "lines that name a protocol version");
}

#[test]
fn the_broker_is_synchronous() {
    let in_broker = |file: &Path| starts(file, "crates/server/src/broker");
    let asynchronous = |line: &str| has_word(line, "async") || has_word(line, "await");
    assert_none(&lines(&sources(), in_broker, asynchronous), "async code in the broker");
}

#[test]
fn protocol_and_broker_read_no_clock() {
    let timeless =
        |file: &Path| starts(file, "crates/protocol/src") || starts(file, "crates/server/src/broker");
    let reads = |line: &str| line.contains("Instant::now") || line.contains("SystemTime::now");
    assert_none(&lines(&sources(), timeless, reads), "clock reads where time is an argument");
}

#[test]
fn protocol_knows_no_runtime() {
    let manifest = read(&root().join("crates/protocol/Cargo.toml"));
    assert!(!has_word(&manifest, "tokio"), "protocol depends on tokio");
}

#[test]
fn the_rules_see_what_they_forbid() {
    let text = "//! Instant::now()\n#[cfg(test)]\nmod tests;\nlet a = 1;\n\n#[cfg(test)]\nmod tests {\n  async fn x() {}\n}\n";
    assert_eq!(code(text).last(), Some((4, "let a = 1;")), "comments and test modules are no code");
    assert!(has_word("pub(crate) async fn", "async") && !has_word("asynchronous", "async"));
    assert!(has_word("read().await?", "await") && !has_word("wheel.awaited", "await"));
    assert!(!sources().is_empty() && sources().iter().any(|file| in_src(file)));
}

/// Lines of code in the files that `applies` to for which `breaks` is true, as `file:line: text`.
fn lines(files: &[PathBuf], applies: impl Fn(&Path) -> bool, breaks: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| applies(file) && !is_test_module(file)) {
        let text = read(file);
        let broken = code(&text).filter(|(_, line)| breaks(line));
        found.extend(broken.map(|(number, line)| format!("{}:{number}: {}", shown(file), line.trim())));
    }
    found
}

/// Numbered lines without comments, up to the inline test module.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    (1..)
        .zip(text[..end].lines())
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
        .filter(|(_, line)| !line.trim().is_empty())
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|character: char| !character.is_alphanumeric() && character != '_').any(|found| found == word)
}

/// Package name and those of our crates that it depends on outside of tests.
fn dependencies(manifest: &Path) -> (String, Vec<String>) {
    let (mut name, mut found, mut section) = (String::new(), Vec::new(), String::new());
    for line in read(manifest).lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if section == "package" && line.starts_with("name") {
            name = line.split('"').nth(1).unwrap_or_default().to_owned();
        } else if section.ends_with("dependencies") && !section.ends_with("dev-dependencies") {
            let key = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if key.starts_with("gantline") {
                found.push(key.to_owned());
            }
        }
    }
    (name, found)
}

fn manifests() -> Vec<PathBuf> {
    let mut found = vec![root().join("examples/Cargo.toml"), root().join("benches/Cargo.toml")];
    let crates = fs::read_dir(root().join("crates")).unwrap();
    found.extend(crates.map(|entry| entry.unwrap().path().join("Cargo.toml")).filter(|path| path.exists()));
    found
}

/// All Rust files of the workspace.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates"), root().join("examples"), root().join("benches")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target" && name != "fuzz") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn in_src(file: &Path) -> bool {
    starts(file, "crates/") && shown(file).split('/').nth(2) == Some("src")
}

/// A test module in a file of its own.
fn is_test_module(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "tests.rs") || shown(file).contains("/tests/")
}

fn starts(file: &Path, prefix: &str) -> bool {
    shown(file).starts_with(prefix)
}

/// The path from the root, with `/` on every system.
fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string().replace('\\', "/")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn assert_none(broken: &[String], what: &str) {
    assert!(broken.is_empty(), "{what}:\n  {}", broken.join("\n  "));
}
