//! What CPUs did over time: as a trace for the Perfetto UI, and as folded stacks for flame graphs.
//!
//! A CPU is a track with its faults; in a fault lie the stretches of its parts, in these the kernel functions. Its flushes and
//! interrupts have a track beside it. Interrupts are flows from who sent them to who took them. What the devices did are counters.

mod folded;
mod perfetto;
mod proto;

pub use folded::folded;
pub use perfetto::perfetto;

/// What CPUs and devices did. Times are picoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// What ran on which machine and kernel.
    pub title: String,
    /// How many CPUs there are.
    pub cpus: u16,
    /// What CPUs did. Of one CPU, none begins in another and ends after it.
    pub slices: Vec<Slice>,
    /// Interrupts.
    pub flows: Vec<Flow>,
    /// What devices did.
    pub counters: Vec<Counter>,
    /// What was seen and not kept.
    pub not_kept: u64,
}

/// Something that a CPU did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Who.
    pub cpu: u16,
    /// Whether it lies on the track of flushes and interrupts.
    pub aside: bool,
    /// From.
    pub begin_ps: u64,
    /// To.
    pub end_ps: u64,
    /// What: the kind of a fault, or what else it is.
    pub name: String,
    /// What is known of it, by name.
    pub notes: Vec<(String, String)>,
    /// What it consists of, in order and without gaps; empty if that was not looked at.
    pub stretches: Vec<Stretch>,
}

/// A stretch of time in a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// What it is attributed to.
    pub part: String,
    /// The kernel function.
    pub function: String,
    /// How long it was.
    pub took_ps: u64,
}

/// An interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Who sent it.
    pub from: u16,
    /// When.
    pub sent_ps: u64,
    /// Who took it.
    pub to: u16,
    /// When that began.
    pub begin_ps: u64,
    /// When that was over.
    pub end_ps: u64,
}

/// A number over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counter {
    /// What it counts.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// When it changed, and to what.
    pub values: Vec<(u64, f64)>,
}

#[cfg(test)]
mod tests;
