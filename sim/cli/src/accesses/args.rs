//! What `replay` is told of a trace of accesses.

use std::path::PathBuf;

use clap::Args;
use daxsim_sim::program::trace::FileMap;
use daxsim_traces::access::Fetches;

use super::map;

/// How a trace of accesses is run.
#[derive(Clone, Debug, Default, Args)]
pub struct AccessArgs {
    /// Of a trace of accesses: a range that maps a DAX file, shared (repeatable). All other memory is anonymous
    #[arg(long = "map", value_name = "FILE[:OFFSET]@ADDRESS+LENGTH", value_parser = map::parse)]
    pub maps: Vec<FileMap>,
    /// Of a trace of accesses: its maps, in TOML or as /proc/PID/maps had them [default: INPUT.maps.toml, if it is there]
    #[arg(long = "maps", value_name = "FILE")]
    pub maps_file: Option<PathBuf>,
    /// Of a copy of /proc/PID/maps: shared mappings of files with such a path are DAX; * and ? stand for any characters
    /// (repeatable)
    #[arg(long, value_name = "PATTERN", requires = "maps_file")]
    pub dax: Vec<String>,
    /// Of a trace of accesses: simulate the instruction fetches of lackey and ChampSim, too
    #[arg(long)]
    pub fetches: bool,
    /// Of a trace of accesses: no more than the first N of each thread
    #[arg(long = "accesses", value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Of a trace that orders its threads: no thread is further ahead of another than N accesses of all threads; 0 lets them run
    /// freely [default: 8192]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub slip: Option<u64>,
}

impl AccessArgs {
    /// What becomes of instruction fetches.
    pub fn fetches(&self) -> Fetches {
        if self.fetches { Fetches::Keep } else { Fetches::Count }
    }

    /// Whether nothing was asked that only a trace of accesses has.
    pub fn is_default(&self) -> bool {
        self.maps.is_empty()
            && self.maps_file.is_none()
            && !self.fetches
            && self.limit.is_none()
            && self.slip.is_none()
    }
}
