//! The conformance tables as a test: every statement has its row, and every test that a row names is there.
//!
//! The form of the tables is described in `docs/conformance/README.md`. Leaves out: whether a test shows what its row
//! says, which is for those who read both.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The versions with numbered statements.
const VERSIONS: [&str; 2] = ["3.1.1", "5.0"];

/// What binds whom, and the sides that have to be shown.
const SIDES: [(&str, &[&str]); 3] =
    [("server", &["server"]), ("client", &["client"]), ("both", &["server", "client"])];

#[test]
fn every_statement_has_its_row() {
    for version in VERSIONS {
        let list = read(&folder().join(format!("statements-{version}.txt")));
        let table = folder().join(format!("mqtt-{version}.md"));
        // The table of 5.0 is still to be written.
        if version == "5.0" && !table.exists() {
            continue;
        }
        assert_none(&complaints(&list, &read(&table)), &format!("rows of MQTT {version}"));
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let mut broken = Vec::new();
    for table in tables() {
        let text = read(&table);
        let gone = references(&text).filter(|reference| !is_there(reference));
        broken.extend(gone.map(|reference| format!("{}: {reference}", shown(&table))));
        let empty = text.lines().filter(|line| line.starts_with('|') && cells(line).contains(&""));
        broken.extend(empty.map(|line| format!("{}: an empty cell: {line}", shown(&table))));
    }
    assert_none(&broken, "tables that name what is not there, or nothing");
}

#[test]
fn the_rules_see_what_they_forbid() {
    let (list, own) = ("1.2.3-4 server\n1.2.3-5 both\n", "`a/b.rs::c`");
    let row = |id: &str, binds: &str, shown: &str| format!("| [MQTT-{id}] | say it | {binds} | {shown} |\n");
    let first = row("1.2.3-4", "server", &format!("server: {own}"));
    let second = |shown: &str| complaints(list, &(first.clone() + &row("1.2.3-5", "both", shown))).join("\n");
    assert_eq!(second(&format!("both: {own}")), "");
    assert_eq!(second(&format!("server: {own}, {own}<br>client: no test: it cannot")), "");
    for (wrong, why) in [
        (format!("server: {own}"), "nothing shows the client"),
        (format!("server: {own}<br>client: no test: "), "no test and no reason"),
        ("both: perhaps".to_owned(), "no test and no reason"),
        (own.to_owned(), "is for no side"),
        (String::new(), "an empty cell"),
    ] {
        let found = second(&wrong);
        assert!(found.contains(why), "{wrong}: {found}");
    }
    assert!(complaints(list, &first).join("").contains("1.2.3-5 has no row"));
    let both = first.clone() + &row("1.2.3-5", "both", &format!("both: {own}"));
    assert!(complaints(list, &(both.clone() + &first)).join("").contains("1.2.3-4 has 2 rows"));
    let unknown = both + &row("9.9.9-9", "server", &format!("server: {own}"));
    assert!(complaints(list, &unknown).join("").contains("9.9.9-9 is no statement"));
    let other = row("1.2.3-4", "client", &format!("client: {own}"));
    assert!(complaints("1.2.3-4 server", &other).join("").contains("binds server"));

    let here = "crates/test-support/tests/conformance.rs";
    assert!(is_there(here) && is_there(&format!("{here}::the_rules_see_what_they_forbid")));
    assert!(!is_there(&format!("{here}::the_rules")) && !is_there("crates/nowhere.rs"));
    assert_eq!(Vec::from_iter(references("`a/b::c`, `word`, `a/#` and `d/e.txt`")), ["a/b::c", "d/e.txt"]);
}

/// What is wrong with the rows of a table, whose statements stand in the list.
fn complaints(list: &str, table: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rows: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| [MQTT-")).map(cells) {
        let id = row[0].trim_start_matches("[MQTT-").trim_end_matches(']');
        rows.entry(id).or_default().push(row);
    }
    for (id, binds) in list.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
        match rows.remove(id).as_deref() {
            None => found.push(format!("{id} has no row")),
            Some([row]) => found.extend(complaint(row, binds).map(|why| format!("{id}: {why}"))),
            Some(several) => found.push(format!("{id} has {} rows", several.len())),
        }
    }
    found.extend(rows.keys().map(|id| format!("{id} is no statement")));
    found
}

/// What is wrong with one row.
fn complaint(row: &[&str], listed: &str) -> Option<String> {
    let [_, demand, binds, shown] = row else { return Some(format!("{} cells", row.len())) };
    if [demand, binds, shown].iter().any(|cell| cell.is_empty()) {
        return Some("an empty cell".to_owned());
    }
    let Some((_, mut missing)) =
        SIDES.iter().find(|(name, _)| name == binds).map(|(name, sides)| (name, sides.to_vec()))
    else {
        return Some(format!("binds `{binds}`"));
    };
    if !listed.is_empty() && listed != *binds {
        return Some(format!("binds {listed}, says the list"));
    }
    for part in shown.split("<br>") {
        let (side, shows) = part.split_once(": ").unwrap_or((part, ""));
        let Some((_, sides)) = SIDES.iter().find(|(name, _)| *name == side) else {
            return Some(format!("`{part}` is for no side"));
        };
        let reason = shows.strip_prefix("no test:").unwrap_or_default();
        if reason.trim().is_empty() && references(shows).next().is_none() {
            return Some(format!("`{part}`: no test and no reason"));
        }
        missing.retain(|side| !sides.contains(side));
    }
    missing.first().map(|side| format!("nothing shows the {side}"))
}

/// The cells of a row.
fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().trim_start_matches('|');
    inner.strip_suffix('|').unwrap_or(inner).split('|').map(str::trim).collect()
}

/// What stands in backquotes and is a path, which a topic like `a/b` is not.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|quoted| quoted.contains('/') && (quoted.contains("::") || quoted.contains('.')))
}

/// Whether there is this file, and in it this test.
fn is_there(reference: &str) -> bool {
    match reference.split_once("::") {
        None => root().join(reference).is_file(),
        Some((path, name)) => {
            fs::read_to_string(root().join(path)).is_ok_and(|text| text.contains(&format!("fn {name}(")))
        }
    }
}

/// The tables, without the description of their form.
fn tables() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| {
        path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("README.md")
    });
    found.sort();
    found
}

fn folder() -> PathBuf {
    root().join("docs/conformance")
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
