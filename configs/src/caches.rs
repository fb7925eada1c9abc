//! Caches, what lies between them, and where main memory puts its frames.

use daxsim_types::Time;

/// One cache. `size / (64 * ways)` is a power of two unless it is the L3, whose sets may be any number.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheSpec {
    /// Bytes; of the L3, those that one core complex has.
    pub size: u64,
    /// Ways, in 1..=32.
    pub ways: u32,
    /// Load-to-use latency of a hit, from the core.
    pub latency: Time,
    /// Victim choice.
    pub replacement: CacheReplacement,
    /// Of how many lines that come in one is made the most recently used one, if `replacement` is `Bip`; at least 1.
    pub bip_rate: u32,
    /// Set choice.
    pub index: CacheIndex,
    /// Bits of the line number above those of the set that its lowest ones are xored with, if `index` is `Xor`.
    pub index_bits: u32,
}

/// How a cache picks the line that leaves a full set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheReplacement {
    /// Exact least recently used.
    Lru,
    /// A binary tree of bits, each of which points away from the half that was used last.
    TreePlru,
    /// Any way, by a generator seeded with `cache.seed`.
    Random,
    /// Static re-reference interval prediction with hit priority and two bits (Jaleel et al., ISCA 2010).
    Srrip,
    /// What uops.info calls QLRU_H00_M1_R0_U1 and found in the L2 of Cannon Lake and Ice Lake: two-bit ages. A line comes in with
    /// age 1, a hit makes it 0, the first line of age 3 leaves; after each access the others become older together until one has 3.
    Qlru,
    /// LRU with bimodal insertion: a line that comes in becomes the least recently used one, but one in `bip_rate` the most
    /// recently used (Qureshi et al., "Adaptive insertion policies for high performance caching", ISCA 2007).
    Bip,
}

/// How a line picks its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheIndex {
    /// The line number modulo the number of sets.
    Linear,
    /// All bits of the line number folded by exclusive or, and then as `Linear`.
    Hashed,
    /// As `Linear`, the lowest bits of the set xored with the `index_bits` bits above the set.
    Xor,
}

/// What the L3 has to do with the L2s of its core complex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L3Relation {
    /// It takes the victims of the L2s, and gives a line up to a core that will own it.
    Victim,
    /// It holds every line of the L2s: what it evicts leaves them, too.
    Inclusive,
    /// Fills from memory go into it, too, and it keeps what a core reads; what it evicts stays in the L2s.
    NonInclusive,
}

/// What a core fetches unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefetch {
    /// Nothing.
    Off,
    /// The line after one that missed the L2.
    NextLine,
    /// The line one stride on, once two misses of the L2 in a page were the same stride apart.
    Stride,
    /// The lines of a stream: the streamer of Intel's L2.
    Streamer,
}

/// `[cache.*]`
#[derive(Clone, Debug, PartialEq)]
pub struct CachesSpec {
    /// Private first-level data cache.
    pub l1d: CacheSpec,
    /// Private second level.
    pub l2: CacheSpec,
    /// Third level, one for each core complex.
    pub l3: CacheSpec,
    /// Whether the L3 includes the L2s.
    pub l3_relation: L3Relation,
    /// Slices of the L3, each with an equal part of its sets.
    pub l3_slices: u32,
    /// Clean lines, of a complex, that a victim L3 let go and still knows of, so as to take them when they come again; 0: it takes all.
    pub l3_history: u64,
    /// Ways of what it knows.
    pub l3_history_ways: u32,
    /// Latency of a line that another core of the complex holds modified (or must give up), from the asking core.
    pub transfer: Time,
    /// The same from another complex of the socket.
    pub transfer_socket: Time,
    /// The same from another socket.
    pub transfer_remote: Time,
    /// What a miss of an L1D adds if the one before it was in the same set.
    pub refill_conflict: Time,
    /// What a core fetches unasked.
    pub prefetch: Prefetch,
    /// Lines that `Streamer` is ahead of what is asked for at most.
    pub prefetch_ahead: u32,
    /// Streams that it follows, of a core.
    pub prefetch_streams: u32,
    /// Lines on their way to an L2 at most, those fetched unasked included, with `Streamer`.
    pub superqueue: u32,
    /// Seed of `random` replacement.
    pub seed: u64,
}

/// `[topology]`: CPUs are numbered socket by socket, and complex by complex within a socket.
#[derive(Clone, Debug, PartialEq)]
pub struct TopologySpec {
    /// Sockets, over which CPUs and memory are divided evenly.
    pub sockets: u32,
    /// Cores that share an L3; 0 for all of a socket.
    pub cores_per_complex: u32,
    /// What reaching memory of another socket adds to its latency.
    pub remote_memory: Time,
    /// Whether memory notes beside each line that another socket may modify it.
    pub memory_directory: bool,
}

/// The order in which frames of main memory are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameOrder {
    /// By their number.
    Sequential,
    /// By a permutation drawn from `dram.frames_seed`.
    Random,
    /// Consecutive frames have consecutive colours, and are random otherwise.
    Coloured,
    /// As `Coloured`, but each run of consecutive frames begins with another colour, drawn from the seed.
    Rotated,
    /// As `Coloured`, but after each run of consecutive frames some colours are left out, as if others had taken them.
    Drifting,
}

/// `dram.frames*`: which frames user memory and page tables get.
#[derive(Clone, Debug, PartialEq)]
pub struct FramesSpec {
    /// Order of the frames.
    pub order: FrameOrder,
    /// Seed of the permutation.
    pub seed: u64,
    /// Of 100 runs of `Rotated`, those that begin with a colour of their own.
    pub turned: u32,
    /// Frames of a run of `Drifting`.
    pub run: u32,
    /// Colours left out after such a run, in the mean.
    pub skipped: u32,
    /// Colours of all but `Sequential` and `Random`; 0 for those of the L2: its sets of lines over 64 lines a page.
    pub colours: u32,
}
