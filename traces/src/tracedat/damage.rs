//! What is wrong with a file, and how much of it was left out for that.

use crate::TraceError;

/// Damaged places: the first is told, all are counted.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    first: Option<TraceError>,
    places: u64,
    /// Bytes of the rings' pages, as stored, that could not be used.
    skipped: u64,
}

impl Damage {
    /// Notes a place, and how many bytes of events are left out for it.
    pub fn note(&mut self, error: TraceError, skipped: u64) {
        self.first.get_or_insert(error);
        self.places += 1;
        self.skipped = self.skipped.saturating_add(skipped);
    }

    /// The first error with the count of all, once.
    pub fn take(&mut self) -> Option<TraceError> {
        let Self { first, places, skipped } = std::mem::take(self);
        let error = first?;
        let count = match places {
            1 => format!("{skipped} bytes of events are skipped"),
            _ => format!("{places} damaged places, {skipped} bytes of events are skipped"),
        };
        Some(match error {
            TraceError::Malformed { file, offset, found, expected } => {
                TraceError::Malformed { file, offset, found, expected: format!("{expected} ({count})") }
            }
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn malformed(offset: u64) -> TraceError {
        TraceError::Malformed { file: "t".into(), offset, found: "x".into(), expected: "y".into() }
    }

    #[test]
    fn the_first_place_is_told_and_all_are_counted() {
        let mut damage = Damage::default();
        assert!(damage.take().is_none());
        damage.note(malformed(7), 100);
        damage.note(malformed(9), 20);
        let expected =
            "t: at byte 7: found x: expected y (2 damaged places, 120 bytes of events are skipped)";
        assert_eq!(damage.take().unwrap().to_string(), expected);
        assert!(damage.take().is_none());
    }
}
