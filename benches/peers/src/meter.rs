//! Counts messages, and the processor time of this process that they took.
//!
//! Leaves out: everything but Linux, where the kernel tells of it.

use std::fs;
use std::time::{Duration, Instant};

use crate::{Failure, Plan};

/// What comes before is not counted.
const WARM_UP: Duration = Duration::from_millis(500);
/// How many messages go by between two looks at the clock.
const STEP: u64 = 64;

/// A count that knows when to end.
#[derive(Debug)]
pub(crate) struct Meter {
    count: u64,
    end: Instant,
    counted: Option<Counted>,
    duration: Duration,
    cpu: Duration,
}

/// Where things stood when counting began.
#[derive(Clone, Copy, Debug)]
struct Counted {
    count: u64,
    cpu: Duration,
}

impl Meter {
    /// Warms up from now on.
    pub(crate) fn new(plan: &Plan) -> Self {
        let end = Instant::now() + WARM_UP;
        Self { count: 0, end, counted: None, duration: plan.duration, cpu: Duration::ZERO }
    }

    /// One more message; true when it was the last one.
    pub(crate) fn is_done(&mut self) -> Result<bool, Failure> {
        self.count += 1;
        if !self.count.is_multiple_of(STEP) || Instant::now() < self.end {
            return Ok(false);
        }
        let cpu = own_cpu()?;
        let Some(counted) = self.counted else {
            self.counted = Some(Counted { count: self.count, cpu });
            self.end = Instant::now() + self.duration;
            return Ok(false);
        };
        self.count -= counted.count;
        self.cpu = cpu - counted.cpu;
        Ok(true)
    }

    /// What came out, as JSON.
    pub(crate) fn figures(&self) -> String {
        let (count, cpu) = (self.count, self.cpu.as_secs_f64());
        let share = cpu / self.duration.as_secs_f64();
        let rate = count as f64 / cpu;
        format!(
            r#"{{"messages":{count},"cpu_seconds":{cpu:.3},"busy":{share:.2},"per_cpu_second":{rate:.0}}}"#
        )
    }
}

/// User and system time of all threads so far.
fn own_cpu() -> Result<Duration, Failure> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let first = text.split(' ').next().ok_or("an empty schedstat")?;
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
