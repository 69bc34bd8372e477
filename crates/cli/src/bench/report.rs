//! Named figures in the order in which they were measured, as a table for people or as one JSON object.

use std::fmt::Write;

use super::histogram::Histogram;

/// The outcome of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Names, and values as JSON has them.
    figures: Vec<(String, String)>,
    /// The parts of a scenario that has several, all with figures of the same names.
    cases: Vec<Self>,
    faults: u64,
}

impl Report {
    /// An empty one under the name of its scenario.
    pub(crate) fn new(scenario: &str) -> Self {
        let mut report = Self::default();
        report.text("scenario", scenario);
        report
    }

    /// A text; it is ours and needs no escapes.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
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
        let text = if value.is_finite() { format!("{value:.2}") } else { "null".to_owned() };
        self.figures.push((name.into(), text));
    }

    /// How many of something there were in a second.
    pub(crate) fn rate(&mut self, name: impl Into<String>, count: u64, seconds: f64) {
        let rate = count as f64 / seconds;
        let text = if rate.is_finite() { format!("{rate:.0}") } else { "null".to_owned() };
        self.figures.push((name.into(), text));
    }

    /// An amount of memory in bytes, shown in MiB.
    pub(crate) fn mebibytes(&mut self, name: impl Into<String>, bytes: u64) {
        self.number(name, bytes as f64 / f64::from(1 << 20));
    }

    /// Durations in nanoseconds, shown in microseconds at these percentiles, and the longest.
    pub(crate) fn percentiles(&mut self, name: &str, durations: &Histogram, percentiles: &[&str]) {
        for percentile in percentiles {
            let share = percentile.parse().unwrap_or(0.0) / 100.0;
            let value = durations.quantile(share) as f64 / 1000.0;
            self.number(format!("{name}_p{}_us", percentile.replace('.', "_")), value);
        }
        self.number(format!("{name}_max_us"), durations.highest() as f64 / 1000.0);
    }

    /// One part of the scenario; its faults are faults of the whole.
    pub(crate) fn case(&mut self, case: Self) {
        self.faults += case.faults;
        self.cases.push(case);
    }

    /// True when no fault was counted.
    pub(crate) const fn is_clean(&self) -> bool {
        self.faults == 0
    }

    /// One object.
    pub(crate) fn json(&self) -> String {
        let mut fields: Vec<_> =
            self.figures.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        if !self.cases.is_empty() {
            let cases: Vec<_> = self.cases.iter().map(Self::json).collect();
            fields.push(format!("\"cases\":[{}]", cases.join(",")));
        }
        format!("{{{}}}", fields.join(","))
    }

    fn values(&self) -> Vec<&str> {
        self.figures.iter().map(|(_, value)| shown(value)).collect()
    }

    /// One case a line under the names of their figures, then one figure a line.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        if let Some(first) = self.cases.first() {
            let mut lines = vec![first.figures.iter().map(|(name, _)| name.as_str()).collect()];
            lines.extend(self.cases.iter().map(Self::values));
            text = columns(&lines) + "\n";
        }
        let lines: Vec<_> =
            self.figures.iter().map(|(name, value)| vec![name.as_str(), shown(value)]).collect();
        text += &columns(&lines);
        text.truncate(text.trim_end().len());
        text
    }
}

/// A value as people read it.
fn shown(value: &str) -> &str {
    if value == "null" { "-" } else { value.trim_matches('"') }
}

/// Lines of cells, all columns as wide as their widest cell.
fn columns(lines: &[Vec<&str>]) -> String {
    let count = lines.first().map_or(0, Vec::len);
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)?.chars().count().into()).max();
    let widths: Vec<_> = (0..count).filter_map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_a_table_for_people_and_objects_for_programs() {
        let mut report = Report::default();
        for (name, faults) in [("long name", 0), ("short", 2)] {
            let mut case = Report::default();
            case.text("case", name);
            case.fault("deviating", faults);
            report.case(case);
        }
        report.count("sent", 7);
        assert!(!report.is_clean());
        assert_eq!(report.table(), "case       deviating\nlong name  0\nshort      2\n\nsent  7");
        let cases = r#"[{"case":"long name","deviating":0},{"case":"short","deviating":2}]"#;
        assert_eq!(report.json(), format!("{{\"sent\":7,\"cases\":{cases}}}"));
    }

    #[test]
    fn what_cannot_be_said_is_null() {
        let mut report = Report::new("none");
        report.rate("rate", 7, 0.0);
        report.number("share", f64::NAN);
        assert_eq!(report.json(), r#"{"scenario":"none","rate":null,"share":null}"#);
        assert_eq!(report.table(), "scenario  none\nrate      -\nshare     -");
    }

    #[test]
    fn percentiles_have_names_without_a_point() {
        let mut histogram = Histogram::default();
        histogram.add(2000);
        let mut report = Report::default();
        report.percentiles("latency", &histogram, &["99.9"]);
        assert_eq!(report.json(), r#"{"latency_p99_9_us":2.00,"latency_max_us":2.00}"#);
    }
}
