//! Where the cycles of all CPUs went.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rounding::{self, share};
use crate::ReportError;

/// One destination of cycles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CycleShare {
    /// What the cycles were spent on.
    pub name: String,
    /// Cycles, over all CPUs.
    pub cycles: u64,
    /// Their share of the whole, 0 to 1.
    #[serde(serialize_with = "rounding::serialize")]
    pub share: f64,
}

/// Divides `whole` cycles (over all CPUs) into `parts`, in the order given.
///
/// # Errors
///
/// [`ReportError::PartsDoNotSum`] if a cycle is missing or counted twice.
pub fn attribute(parts: Vec<(String, u64)>, whole: u64) -> Result<Vec<CycleShare>, ReportError> {
    check_sum("attribution", parts.iter().map(|p| p.1), whole)?;
    Ok(parts
        .into_iter()
        .map(|(name, cycles)| CycleShare { name, cycles, share: share(cycles, whole) })
        .collect())
}

/// Refuses parts that do not sum to the whole.
pub(super) fn check_sum(kind: &str, parts: impl Iterator<Item = u64>, whole: u64) -> Result<(), ReportError> {
    let sum: u128 = parts.map(u128::from).sum();
    let whole = u128::from(whole);
    if sum == whole {
        Ok(())
    } else {
        Err(ReportError::PartsDoNotSum { kind: kind.to_owned(), parts: sum, whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cycle_is_attributed_or_the_report_is_refused() {
        let parts = vec![("user".to_owned(), 30), ("idle".to_owned(), 70)];
        let shares = attribute(parts.clone(), 100).unwrap();
        assert_eq!(shares[1].share, 0.7);
        let error = attribute(parts, 101).unwrap_err();
        assert!(matches!(error, ReportError::PartsDoNotSum { parts: 100, whole: 101, .. }), "{error}");
    }
}
