//! Where traffic stands at a moment, what went wrong with it, and both as figures of a report.

use std::time::{Duration, Instant};

use crate::bench::{process, report::Report};

/// Where things stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) broker: Option<process::Usage>,
    pub(crate) own: Duration,
}

impl Sample {
    /// Reports what was sent since `before`, as `<name>`, `<name>_per_second`, ….
    pub(crate) fn report_sent(&self, before: &Self, name: &str, report: &mut Report) {
        self.report(before, name, self.sent - before.sent, report);
    }

    /// Reports what was delivered since `before`, as `<name>`, `<name>_per_second`, ….
    pub(crate) fn report_delivered(&self, before: &Self, name: &str, report: &mut Report) {
        self.report(before, name, self.delivered - before.delivered, report);
    }

    fn report(&self, before: &Self, name: &str, count: u64, report: &mut Report) {
        let seconds = (self.at - before.at).as_secs_f64();
        report.count(name, count);
        report.rate(format!("{name}_per_second"), count, seconds);
        if let Some(cpu) = self.broker_cpu(before) {
            report.rate(format!("{name}_per_broker_cpu_second"), count, cpu);
        }
    }

    /// Reports how busy broker and generator were since `before`.
    pub(crate) fn report_processes(&self, before: &Self, report: &mut Report) {
        let seconds = (self.at - before.at).as_secs_f64();
        if let (Some(cpu), Some(broker)) = (self.broker_cpu(before), self.broker) {
            report.number("broker_cpu_percent", 100.0 * cpu / seconds);
            report.mebibytes("broker_resident_mib", broker.resident);
        }
        let own = self.own.saturating_sub(before.own).as_secs_f64();
        report.number("generator_cpu_percent", 100.0 * own / seconds);
    }

    /// By how many bytes the broker has grown since `before`.
    pub(crate) fn grown(&self, before: &Self) -> Option<u64> {
        Some(self.broker?.resident.saturating_sub(before.broker?.resident))
    }

    fn broker_cpu(&self, before: &Self) -> Option<f64> {
        Some(self.broker?.cpu.saturating_sub(before.broker?.cpu).as_secs_f64())
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// Acknowledged with an error.
    pub(crate) refused: u64,
    pub(crate) unacknowledged: u64,
    /// How often nothing came for a while.
    pub(crate) stalls: u64,
}

impl Faults {
    /// Reports all. With QoS 0 a broker may lose, so there they are figures like others.
    pub(crate) fn report(&self, qos: u8, prefix: &str, report: &mut Report) {
        let all = [
            ("lost", self.lost),
            ("duplicates", self.duplicates),
            ("reordered", self.reordered),
            ("refused", self.refused),
            ("unacknowledged", self.unacknowledged),
            ("stalls", self.stalls),
        ];
        for (name, value) in all {
            let name = format!("{prefix}{name}");
            if qos > 0 { report.fault(&name, value) } else { report.count(name, value) }
        }
    }
}
