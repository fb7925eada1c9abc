//! The file systems whose DAX fault handlers are modelled.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a DAX mapping's handlers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// ext4 mounted with `-o dax`.
    Ext4,
    /// XFS mounted with `-o dax`.
    Xfs,
    /// A device-dax character device.
    Devdax,
}

impl FileSystem {
    /// Every file system, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Devdax];

    /// The name as the command line and the trace folders spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Devdax => "devdax",
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text was none of `ext4`, `xfs`, `devdax`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseFileSystemError(pub String);

impl fmt::Display for ParseFileSystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown file system `{}`: expected ext4, xfs or devdax", self.0)
    }
}

impl std::error::Error for ParseFileSystemError {}

impl FromStr for FileSystem {
    type Err = ParseFileSystemError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|fs| fs.name() == s).ok_or_else(|| ParseFileSystemError(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for fs in FileSystem::ALL {
            assert_eq!(fs.name().parse(), Ok(fs));
        }
        assert!("btrfs".parse::<FileSystem>().is_err());
    }
}
