//! Durations, sorted into buckets whose width follows their size: 128 to each power of two, so a quantile is
//! off by less than 1 % whatever its size, and adding one costs a few instructions.

/// The number of bits of a value that are kept behind the highest one.
const BITS: u32 = 7;
const STEPS: u64 = 1 << BITS;

/// A histogram of values from 0 to `u64::MAX`.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    highest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; bucket(u64::MAX) + 1], count: 0, highest: 0 }
    }
}

impl Histogram {
    /// Notes one value.
    pub(crate) fn add(&mut self, value: u64) {
        self.buckets[bucket(value)] += 1;
        self.count += 1;
        self.highest = self.highest.max(value);
    }

    /// The value that is not exceeded by this share of all, or a little more; 0 if there are none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen >= rank
        };
        self.buckets.iter().position(reached).map_or(0, |index| last_of(index).min(self.highest))
    }

    /// The highest value.
    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }
}

/// The bucket of a value. Values below 256 have one of their own.
const fn bucket(value: u64) -> usize {
    let shift = (value | STEPS).ilog2() - BITS;
    (shift as u64 * STEPS + (value >> shift)) as usize
}

/// The last value in a bucket.
const fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = bucket - shift * STEPS;
    (step << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_last_value_and_the_next_holds_the_one_behind() {
        for index in 0..bucket(u64::MAX) {
            let last = last_of(index);
            assert_eq!((bucket(last), bucket(last + 1)), (index, index + 1), "{last}");
        }
        assert_eq!(last_of(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn quantiles_are_off_by_less_than_a_hundredth() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|value| histogram.add(value * 1000));
        for (share, exact) in
            [(0.5, 50_000_000), (0.99, 99_000_000), (0.9999, 99_990_000), (1.0, 100_000_000)]
        {
            let found = histogram.quantile(share);
            assert!((exact..=exact + exact / 100).contains(&found), "{share}: {found}");
        }
        assert_eq!(histogram.highest(), 100_000_000);
    }

    #[test]
    fn nothing_has_the_quantile_0() {
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
