//! What the run with clients that never read has to keep to, beside the run without.
//!
//! With `--check` what is broken is a fault and ends the run with the exit code of faults; without it is a figure.

use std::time::Duration;

use crate::bench::{args, report::Report};

/// How many times as late as without them a message may be, at the 99th percentile.
const MOST_LATE: f64 = 2.0;
/// For how long of any second a publisher may be held back.
const MOST_HELD: Duration = Duration::from_millis(50);

/// What was found.
pub(super) struct Verdict {
    /// In nanoseconds.
    pub(super) p99_without: u64,
    pub(super) p99_with: u64,
    /// For how long a publisher was held back in its worst second.
    pub(super) held: Duration,
    /// By how many bytes the memory of the broker grew at most, if it was looked at.
    pub(super) rise: Option<u64>,
    /// How many messages went to each client that did not read.
    pub(super) sent: Vec<u64>,
    /// How many of them were there when it did.
    pub(super) got: Vec<u64>,
}

impl Verdict {
    fn ratio(&self) -> f64 {
        self.p99_with as f64 / self.p99_without as f64
    }

    /// Messages that the broker dropped for clients that did not read.
    fn dropped(&self) -> u64 {
        self.sent.iter().zip(&self.got).map(|(sent, got)| sent.saturating_sub(*got)).sum()
    }

    /// Clients that did not read and got everything: the broker has reached no bound for them.
    fn unreached(&self) -> u64 {
        self.sent.iter().zip(&self.got).filter(|(sent, got)| got >= sent).count() as u64
    }

    /// Reports figures and faults.
    pub(super) fn report(&self, options: &args::Frozen, report: &mut Report) {
        report.number("p99_ratio", self.ratio());
        report.number("held_ms_in_a_second", self.held.as_secs_f64() * 1e3);
        report.count("sent_to_frozen", self.sent.iter().sum());
        report.count("dropped_for_frozen", self.dropped());
        let mut bound = |name: &str, broken: u64| {
            if options.check { report.fault(name, broken) } else { report.count(name, broken) }
        };
        bound("frozen_below_bound", self.unreached());
        // Without a single message there is no ratio, which is as bad.
        let is_in_time = self.ratio() <= MOST_LATE;
        bound("p99_above_bound", u64::from(!is_in_time));
        bound("held_above_bound", u64::from(self.held > MOST_HELD));
        if let Some(rise) = self.rise {
            bound("rise_above_bound", u64::from(rise > u64::from(options.max_rise) << 20));
            report.mebibytes("rise_mib", rise);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        args::{Arguments, Command},
        bench::args::{Bench, Frozen, Scenario},
    };

    fn options(flags: &[&str]) -> Frozen {
        let arguments = Arguments::parse_from([&["gantline", "bench", "frozen"], flags].concat());
        match arguments.command {
            Command::Bench(Bench { scenario: Scenario::Frozen(options) }) => options,
            other => panic!("{other:?}"),
        }
    }

    fn verdict() -> Verdict {
        Verdict {
            p99_without: 1000,
            p99_with: 2000,
            held: MOST_HELD,
            rise: Some(32 << 20),
            sent: vec![10, 10],
            got: vec![9, 2],
        }
    }

    /// The report of a verdict, and whether it is clean with --check.
    fn judge(verdict: &Verdict) -> (String, bool) {
        let mut report = Report::default();
        verdict.report(&options(&["--check"]), &mut report);
        (report.json(), report.is_clean())
    }

    #[test]
    fn what_is_just_within_its_bounds_is_clean() {
        let (json, is_clean) = judge(&verdict());
        assert!(is_clean, "{json}");
        assert!(json.starts_with(r#"{"p99_ratio":2.00,"held_ms_in_a_second":50.00,"#), "{json}");
        assert!(json.contains(r#""sent_to_frozen":20,"dropped_for_frozen":9,"#), "{json}");
    }

    #[test]
    fn each_bound_can_be_broken() {
        let cases = [
            ("p99_above_bound", Verdict { p99_with: 2001, ..verdict() }),
            ("p99_above_bound", Verdict { p99_without: 0, p99_with: 0, ..verdict() }),
            ("held_above_bound", Verdict { held: MOST_HELD + Duration::from_nanos(1), ..verdict() }),
            ("rise_above_bound", Verdict { rise: Some((32 << 20) + 1), ..verdict() }),
            ("frozen_below_bound", Verdict { got: vec![9, 10], ..verdict() }),
        ];
        for (name, broken) in cases {
            let (json, is_clean) = judge(&broken);
            assert!(!is_clean && json.contains(&format!("\"{name}\":1")), "{name}: {json}");
        }
    }

    #[test]
    fn a_broken_bound_is_no_fault_unless_asked() {
        let mut report = Report::default();
        let broken = Verdict { p99_with: 9000, rise: None, ..verdict() };
        broken.report(&options(&[]), &mut report);
        assert!(report.is_clean());
        assert!(report.json().contains(r#""p99_above_bound":1"#) && !report.json().contains("rise"));
    }
}
