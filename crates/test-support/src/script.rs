//! Golden scripts: behaviour as text that no refactoring breaks.
//!
//! A script is a file of blocks. A block is commands, one a line, then `---`, then the trace that they produce, then
//! an empty line. Lines with `#` in front are comments. A command is a name followed by words and `key=value` options;
//! a word in double quotes may hold spaces.
//!
//! [`check`] runs a file and compares. With the environment variable `UPDATE_SCRIPTS` set it writes the traces
//! that were produced into the file instead, to be read before they are accepted.
//! Leaves out: what the commands mean, which is the test's.

use std::fs;
use std::path::Path;
use std::str::FromStr;

/// One line of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The first word.
    pub name: String,
    words: Vec<String>,
    options: Vec<(String, String)>,
}

impl Command {
    /// Reads one line.
    ///
    /// # Panics
    ///
    /// If a quotation mark is not closed.
    pub fn parse(line: &str) -> Self {
        let mut command = Self::default();
        for (position, token) in tokens(line).into_iter().enumerate() {
            match token {
                (None, word) if position == 0 => command.name = word,
                (None, word) => command.words.push(word),
                (Some(key), value) => command.options.push((key, value)),
            }
        }
        command
    }

    /// The word at this place behind the name, from 0.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn word(&self, place: usize) -> &str {
        self.words.get(place).unwrap_or_else(|| panic!("`{}` needs {} words", self.name, place + 1))
    }

    /// All words behind the name.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether this word is there.
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|found| found == word)
    }

    /// The value of an option.
    ///
    /// # Panics
    ///
    /// If it is there and is no `T`.
    pub fn option<T: FromStr>(&self, key: &str) -> Option<T> {
        let (_, value) = self.options.iter().find(|(found, _)| found == key)?;
        Some(value.parse().unwrap_or_else(|_| panic!("`{}` cannot have {key}={value}", self.name)))
    }
}

/// Runs one script file. `execute` gets each command and appends to the trace, line by line.
///
/// # Panics
///
/// If the trace is not the one in the file.
pub fn check(path: &Path, execute: impl FnMut(&Command, &mut Vec<String>)) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let produced = run(&text, execute);
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        fs::write(path, produced).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    } else if let Some((number, (expected, found))) =
        both_lines(&text, &produced).enumerate().find(|(_, (expected, found))| expected != found)
    {
        panic!(
            "{} line {}:\n  expected: {expected}\n  found:    {found}\n\nthe whole script as it runs now:\n{produced}",
            path.display(),
            number + 1
        );
    }
}

/// The script with the traces that its commands produce now.
pub fn run(text: &str, mut execute: impl FnMut(&Command, &mut Vec<String>)) -> String {
    let mut result: Vec<String> = Vec::new();
    let mut commands: Vec<Command> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        result.push(line.to_owned());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line != "---" {
            commands.push(Command::parse(line));
            continue;
        }
        for command in commands.drain(..) {
            execute(&command, &mut result);
        }
        // The old trace ends at an empty line.
        if lines.by_ref().find(|line| line.is_empty()).is_some() {
            result.push(String::new());
        }
    }
    assert!(commands.is_empty(), "the last commands have no `---`");
    let mut text = result.join("\n");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn both_lines<'a>(expected: &'a str, found: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let length = expected.lines().count().max(found.lines().count());
    let padded = |text: &'a str| text.lines().chain(std::iter::repeat("(nothing)"));
    padded(expected).zip(padded(found)).take(length)
}

/// The words of a line, split into key and value where there is a `=` outside of quotation marks.
fn tokens(line: &str) -> Vec<(Option<String>, String)> {
    let mut tokens = Vec::new();
    let (mut key, mut word, mut quoted, mut any) = (None, String::new(), false, false);
    for character in line.chars() {
        match character {
            '"' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any {
                    tokens.push((key.take(), std::mem::take(&mut word)));
                }
                any = false;
            }
            '=' if !quoted && key.is_none() => (key, any) = (Some(std::mem::take(&mut word)), true),
            other => {
                word.push(other);
                any = true;
            }
        }
    }
    assert!(!quoted, "a quotation mark is not closed: {line}");
    if any {
        tokens.push((key, word));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::{Command, run};

    #[test]
    fn a_command_has_words_and_options() {
        let command = Command::parse(r#"publish a/b "two words" qos=1 payload="x = y""#);
        assert_eq!(command.name, "publish");
        assert_eq!(command.words(), ["a/b", "two words"]);
        assert_eq!(command.option::<u8>("qos"), Some(1));
        assert_eq!(command.option::<String>("payload").as_deref(), Some("x = y"));
        assert_eq!(command.option::<u8>("other"), None);
    }

    #[test]
    fn a_run_replaces_the_traces_and_keeps_the_rest() {
        let script = "# what it shows\nsay a\nsay b\n---\nold\nolder\n\nsay c\n---\n";
        let produced = run(script, |command, trace| trace.push(format!("> {}", command.word(0))));
        assert_eq!(produced, "# what it shows\nsay a\nsay b\n---\n> a\n> b\n\nsay c\n---\n> c\n");
        assert_eq!(run(&produced, |command, trace| trace.push(format!("> {}", command.word(0)))), produced);
    }
}
