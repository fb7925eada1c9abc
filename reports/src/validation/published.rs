//! What is known of the accuracy of other simulators, to stand beside our own errors.

/// What was said or found of a simulator.
pub(super) struct Published {
    /// The simulator.
    pub name: &'static str,
    /// What was compared with hardware.
    pub compared: &'static str,
    /// How far off it was.
    pub error: &'static str,
    /// Where that is from.
    pub source: &'static str,
    /// How far to trust it, in the letters of the points.
    pub trust: &'static str,
}

/// In the order of what they have in common with daxsim.
pub(super) const PUBLISHED: [Published; 8] = [
    Published {
        name: "VANS 541d2fb",
        compared: "read chase on one Optane DIMM, 12 sizes from 64 B to 1 MB, against the measurements it carries with it",
        error: "11 % mean",
        source: "run by us, github.com/TheNetAdmin/VANS",
        trust: "A",
    },
    Published {
        name: "VANS 541d2fb",
        compared: "write chase, the same sizes; its trace has no fences, and it leaves out the latency of the processor",
        error: "55 % mean",
        source: "run by us, the same",
        trust: "A",
    },
    Published {
        name: "VANS",
        compared: "Optane DIMMs, as the paper sums it up",
        error: "about 14 %",
        source: "Wang et al., MICRO 2020",
        trust: "M",
    },
    Published {
        name: "Virtuoso with Sniper",
        compared: "instructions per cycle of a server with virtual memory; the abstract gives no error, but that accuracy is 21 % higher than Sniper's",
        error: "not stated",
        source: "Kanellopoulos et al., ASPLOS 2025, arXiv 2403.04635v2",
        trust: "B",
    },
    Published {
        name: "gem5, x86",
        compared: "micro-benchmarks on a Haswell, after tuning to it",
        error: "below 6 % mean",
        source: "Akram and Sawalha, PMBS 2019",
        trust: "B",
    },
    Published {
        name: "gem5, ARM",
        compared: "run times on a Cortex-A15 board: SPEC CPU2006; PARSEC",
        error: "13 % mean; 16 to 17 %",
        source: "Gutierrez et al., ISPASS 2014",
        trust: "B",
    },
    Published {
        name: "Sniper",
        compared: "programs on hardware",
        error: "about 11 to 25 % mean",
        source: "from memory",
        trust: "M",
    },
    Published {
        name: "ChampSim 2ff25011",
        compared: "its MMU was not compared with hardware; a minor fault is a fixed 200 cycles",
        error: "none known",
        source: "github.com/ChampSim/ChampSim, champsim_config.json",
        trust: "A",
    },
];
