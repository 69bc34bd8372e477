//! The pages as tests: what they point at exists. The programs in them are doctests of `crates/gantline`.
//!
//! Relates to: `tidy.rs`, which does the same for the architecture. Leaves out: addresses on the web.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        for target in links(&text).filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let found = file.exists()
                && (heading.is_empty() || headings(&read(&file)).any(|title| anchor(title) == heading));
            if !found {
                broken.push(format!("{}: {target}", shown(&page)));
            }
        }
    }
    assert!(broken.is_empty(), "links to nowhere:\n  {}", broken.join("\n  "));
}

#[test]
fn programs_that_pages_name_exist() {
    let mut named = 0;
    for page in pages() {
        let text = read(&page);
        for program in text.split('`').filter(|code| code.starts_with("examples/src/")) {
            assert!(root().join(program).exists(), "{} names {program}", shown(&page));
            named += 1;
        }
    }
    assert!(named > 30, "only {named} programs are named");
}

#[test]
fn each_block_of_mqttnet_has_its_answer() {
    let text = read(&root().join("docs/guide/from-mqttnet.md"));
    for (page, letter, blocks) in [("client", 'C', 21), ("server", 'S', 11)] {
        let sections: Vec<_> =
            headings(&text).filter(|title| title.starts_with(letter) && title.contains(':')).collect();
        assert_eq!(sections.len(), blocks, "sections about blocks of the {page} page");
        for (number, section) in (1..).zip(sections) {
            assert!(section.starts_with(&format!("{letter}{number}: ")), "{section} is not number {number}");
            let row = text.lines().find(|line| line.starts_with(&format!("| {page} {number} |")));
            let link = format!("[{letter}{number}](#{})", anchor(section));
            assert!(row.is_some_and(|row| row.contains(&link)), "no row for {section}");
            let body =
                text.split(&format!("## {section}\n")).nth(1).and_then(|rest| rest.split("\n## ").next());
            let answered =
                body.is_some_and(|body| body.contains("```rust") || body.contains("examples/src/"));
            assert!(answered, "{section} shows nothing");
        }
    }
}

#[test]
fn the_rules_see_what_they_look_for() {
    let text = "# A: `b_c`, d!\n```sh\n# no heading\n```\n## E\n[x](y.md#z), [w](#v)\n";
    assert_eq!(headings(text).map(anchor).collect::<Vec<_>>(), ["a-b_c-d", "e"]);
    assert_eq!(links(text).collect::<Vec<_>>(), ["y.md#z", "#v"]);
}

/// The targets of all links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()))
}

/// The headings without their marks.
fn headings(text: &str) -> impl Iterator<Item = &str> {
    prose(text).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim())
}

/// The lines that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// What a heading is linked by.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The README and everything in `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(page: &Path) -> String {
    page.strip_prefix(root()).unwrap_or(page).display().to_string()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
