//! Text as AWS wants it in URLs, hexadecimal numbers, and the time.
//!
//! Relates to: `signature.rs`, `authorizer.rs`.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Appends a text, every byte that could mean something as `%` and two upper-case digits; a slash too. It takes at most
/// [`PERCENT_ENCODED`] times as much room, which secrets find reserved, so that no copy of them is left behind.
pub(super) fn push_percent_encoded(encoded: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
}

/// How many times longer a text may become.
pub(super) const PERCENT_ENCODED: usize = 3;

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A moment as `20130524T000000Z`, in UTC. Before 1970 is 1970.
pub(super) fn timestamp(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The date so many days after the first of January 1970. It counts in years that begin with March, so that the day of
/// a leap year comes last, and in eras of 400 years, which are all of one length.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, of_era) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // From March on the months have 31, 30, 31, 30, 31 days, over and over.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + carry, month, day)
}

/// From the first of March of the year 0.
const DAYS_TO_1970: u64 = 719_468;
const DAYS_OF_ERA: u64 = 146_097;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_written_as_a_date() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_369_353_600, "20130524T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_735_689_599, "20241231T235959Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)), "19700101T000000Z");
    }

    #[test]
    fn what_could_mean_something_is_encoded() {
        let mut text = "?".to_owned();
        push_percent_encoded(&mut text, "aZ09-._~");
        push_percent_encoded(&mut text, "a/b+c=d e&ü");
        assert_eq!(text, "?aZ09-._~a%2Fb%2Bc%3Dd%20e%26%C3%BC");
    }
}
