//! Named figures in the order in which they were measured, as lines for people or as one JSON object.

use std::fmt::Write;

/// The outcome of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(String, String)>,
    /// The parts of a scenario that has several, all with figures of the same names.
    cases: Vec<Self>,
    faults: u64,
}

impl Report {
    /// A text.
    pub(crate) fn text_figure(&mut self, name: &str, value: &str) {
        self.figures.push((name.to_owned(), format!("\"{value}\"")));
    }

    /// A whole number.
    pub(crate) fn count(&mut self, name: impl Into<String>, value: u64) {
        self.figures.push((name.into(), value.to_string()));
    }

    /// A whole number that is 0 when the broker does its work.
    pub(crate) fn fault(&mut self, name: &str, value: u64) {
        self.faults += value;
        self.count(name, value);
    }

    /// A number with two digits behind the point.
    pub(crate) fn number(&mut self, name: impl Into<String>, value: f64) {
        self.figures.push((name.into(), format!("{value:.2}")));
    }

    /// An amount of memory in bytes, shown in MiB.
    pub(crate) fn mebibytes(&mut self, name: impl Into<String>, bytes: u64) {
        self.number(name, bytes as f64 / f64::from(1 << 20));
    }

    /// One part of the scenario; its faults are faults of the whole.
    pub(crate) fn case(&mut self, case: Self) {
        self.faults += case.faults;
        self.cases.push(case);
    }

    /// True when no fault was counted.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults == 0
    }

    /// One case a line, then one figure a line.
    pub(crate) fn text(&self) -> String {
        let width = self.figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = self.table();
        for (name, value) in &self.figures {
            let _ = writeln!(text, "{name:width$}  {}", value.trim_matches('"'));
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// One object; names and texts are ours and need no escapes.
    pub(crate) fn json(&self) -> String {
        let mut fields: Vec<_> =
            self.figures.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        if !self.cases.is_empty() {
            let cases: Vec<_> = self.cases.iter().map(Self::json).collect();
            fields.push(format!("\"cases\":[{}]", cases.join(",")));
        }
        format!("{{{}}}", fields.join(","))
    }

    /// The cases in columns, under the names of their figures.
    fn table(&self) -> String {
        let Some(first) = self.cases.first() else { return String::new() };
        let mut lines = vec![first.figures.iter().map(|(name, _)| name.as_str()).collect()];
        for case in &self.cases {
            lines.push(case.figures.iter().map(|(_, value)| value.trim_matches('"')).collect::<Vec<_>>());
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<_> = (0..first.figures.len()).filter_map(width).collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_a_table_for_people_and_objects_for_programs() {
        let mut report = Report::default();
        for (name, faults) in [("long name", 0), ("short", 2)] {
            let mut case = Report::default();
            case.text_figure("case", name);
            case.fault("deviating", faults);
            report.case(case);
        }
        report.count("sent", 7);
        assert!(!report.is_clean());
        assert_eq!(report.text(), "case       deviating\nlong name  0\nshort      2\n\nsent  7");
        let cases = r#"[{"case":"long name","deviating":0},{"case":"short","deviating":2}]"#;
        assert_eq!(report.json(), format!("{{\"sent\":7,\"cases\":{cases}}}"));
    }
}
