//! The verdict: whether the two ledgers are what was promised.
//!
//! What an entry is worth where processes are killed:
//!
//! - A message whose acceptance is written down must arrive. One that was intended and not accepted, as far as the
//!   ledger knows, may.
//! - A message arrives at the subscriber's ledger when its number comes for the first time. It may come again in
//!   another process, if the one before was killed between writing it down and the session's store having the
//!   acknowledgement; of QoS 2 that are the last ones only, at most as many as were in flight. Within one process QoS
//!   2 never comes again.
//! - The outcome of a message ends with the process that was told it and could not write it down any more; and one
//!   that was written down comes again, if the process was killed before the outbox's store knew of it. Where no
//!   publisher is killed neither happens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use gantline::QoS;

use crate::ledger::Entry;
use crate::publisher::{QOS, RECEIVE_MAXIMUM};

/// What was done to the clients and their server, hence what is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violence {
    /// Connections only.
    Cuts,
    /// The processes of the clients too.
    Kills,
    /// The server's process only, with its sessions.
    ServerKills,
}

/// The figures of a phase that went well.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    accepted: usize,
    outcomes: BTreeMap<String, usize>,
    unheard: usize,
    outcomes_again: usize,
    arrived: HashMap<QoS, usize>,
    again: HashMap<QoS, usize>,
    lost: usize,
}

/// What was found to be wrong.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        if self.0.len() < MOST_FAULTS {
            self.0.push(fault);
        }
    }
}

/// Judges.
///
/// # Errors
///
/// What was promised and is not so.
pub(crate) fn judge(
    publisher: &[Entry],
    subscriber: &[Entry],
    violence: Violence,
) -> Result<Figures, String> {
    let (mut figures, mut faults) = (Figures::default(), Faults::default());
    let outcomes = judge_outcomes(publisher, violence, &mut figures, &mut faults);
    for qos in QOS {
        judge_arrivals(qos, &outcomes, publisher, subscriber, violence, &mut figures, &mut faults);
    }
    if faults.0.is_empty() { Ok(figures) } else { Err(faults.0.join("\n")) }
}

type Outcomes = BTreeMap<(u8, u64), Option<String>>;

/// Each message that was accepted ends once. Returns how.
fn judge_outcomes(
    publisher: &[Entry],
    violence: Violence,
    figures: &mut Figures,
    faults: &mut Faults,
) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for entry in publisher {
        match entry {
            Entry::Accept(qos, number, _) => drop(outcomes.entry((qos.value(), *number)).or_default()),
            Entry::Outcome(qos, number, outcome) => {
                *outcomes.entry((qos.value(), *number)).or_default() = Some(outcome.clone());
                // Without its cause.
                let kind = outcome.split(" (").next().unwrap_or(outcome);
                *figures.outcomes.entry(kind.to_owned()).or_default() += 1;
                let expected = match violence {
                    Violence::Cuts => outcome == "Delivered",
                    // The session lasts: only what a killed process knew is in doubt.
                    Violence::Kills => outcome == "Delivered" || outcome.starts_with("Indeterminate"),
                    Violence::ServerKills => true,
                };
                if !expected {
                    faults.add(format!("{qos:?} {number} ended as {outcome}"));
                }
            }
            Entry::OutcomeAgain(qos, number, outcome) => {
                figures.outcomes_again += 1;
                if violence != Violence::Kills {
                    faults.add(format!("{qos:?} {number} ended twice, at last as {outcome}"));
                }
            }
            Entry::Run | Entry::Intend(..) | Entry::Take(..) => {}
        }
    }
    figures.accepted = outcomes.len();
    for ((qos, number), _) in outcomes.iter().filter(|(_, outcome)| outcome.is_none()) {
        figures.unheard += 1;
        if violence != Violence::Kills {
            faults.add(format!("QoS {qos}, {number}: accepted and without an outcome"));
        }
    }
    outcomes
}

/// What was accepted arrives, in order, and of QoS 2 once.
fn judge_arrivals(
    qos: QoS,
    outcomes: &Outcomes,
    publisher: &[Entry],
    subscriber: &[Entry],
    violence: Violence,
    figures: &mut Figures,
    faults: &mut Faults,
) {
    let arrived = judge_order(qos, subscriber, violence, figures, faults);
    let intended = publisher.iter().filter_map(|entry| match entry {
        Entry::Intend(held, number) if *held == qos => Some(*number),
        _ => None,
    });
    let intended: BTreeSet<u64> = intended.collect();
    for number in arrived.difference(&intended) {
        faults.add(format!("{qos:?} {number} arrived and was never published"));
    }
    for ((_, number), outcome) in outcomes.iter().filter(|((held, _), _)| *held == qos.value()) {
        if arrived.contains(number) {
            continue;
        }
        // The server had it and was killed with it, or had no subscription again yet.
        if violence == Violence::ServerKills {
            figures.lost += usize::from(outcome.as_deref() == Some("Delivered"));
            continue;
        }
        faults.add(format!("{qos:?} {number} was accepted and did not arrive; outcome: {outcome:?}"));
    }
    figures.arrived.insert(qos, arrived.len());
}

/// Returns what arrived.
fn judge_order(
    qos: QoS,
    subscriber: &[Entry],
    violence: Violence,
    figures: &mut Figures,
    faults: &mut Faults,
) -> BTreeSet<u64> {
    let (mut arrived, mut in_this_run, mut run) = (BTreeSet::new(), BTreeSet::new(), 0);
    // The last ones before this run, which may come again in it.
    let (mut latest, mut tail) = (Vec::new(), Vec::new());
    for entry in subscriber {
        let number = match entry {
            Entry::Run => {
                run += 1;
                in_this_run.clear();
                latest.drain(..usize::saturating_sub(latest.len(), RECEIVE_MAXIMUM.into()));
                tail.clone_from(&latest);
                continue;
            }
            Entry::Take(held, number) if *held == qos => *number,
            _ => continue,
        };
        let first_in_run = in_this_run.insert(number);
        if arrived.insert(number) {
            if arrived.last() != Some(&number) {
                faults.add(format!("{qos:?} {number} arrived behind later ones, in run {run}"));
            }
            latest.push(number);
            continue;
        }
        *figures.again.entry(qos).or_default() += 1;
        let allowed = qos == QoS::AtLeastOnce
            || (violence == Violence::Kills && first_in_run && tail.contains(&number));
        if !allowed {
            faults.add(format!("{qos:?} {number} arrived again, in run {run}"));
        }
    }
    arrived
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |map: &HashMap<QoS, usize>, qos| map.get(&qos).copied().unwrap_or_default();
        writeln!(f, "  accepted: {}", self.accepted)?;
        for (outcome, count) in &self.outcomes {
            writeln!(f, "  {count} ended as {outcome}")?;
        }
        writeln!(
            f,
            "  {} outcomes were told to a process that was killed then, {} were told again",
            self.unheard, self.outcomes_again
        )?;
        for qos in QOS {
            let (arrived, again) = (of(&self.arrived, qos), of(&self.again, qos));
            writeln!(f, "  {qos:?}: {arrived} arrived, {again} came again")?;
        }
        write!(
            f,
            "  delivered and not arrived, because the server was killed with its sessions: {}",
            self.lost
        )
    }
}

/// More would hide the first ones.
const MOST_FAULTS: usize = 20;
