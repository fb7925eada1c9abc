//! `daxsim probe`: the simulated machine put to the measurements that hardware was put to.

use anyhow::{Context, Result, bail};
use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_configs::{load_kernel, load_machine};
use daxsim_reports::probe::{Cell, Point, ProbeReport, SCHEMA, Settings, Value};
use daxsim_sim::probe::{
    AdUpdate, BitUpdate, CachelinePing, Chase, ChasePoint, LineOffset, ProbeError, Walks, WalksPoint, tlbdr,
};
use daxsim_traces::generate::Pattern;
use daxsim_types::PageSize;

use crate::config::parse_overrides;
use crate::in_order::in_order;
use crate::probe_args::{
    AdUpdateArgs, ChaseArgs, OffsetArg, OnArgs, PageArg, PingArgs, ProbeArgs, ProbeCommand, StreamArg,
    WalksArgs,
};
use crate::{Status, output, probe_kernel, probe_memory, size};

/// Footprints of the published curves, in KiB.
const FOOTPRINTS_KIB: [u64; 29] = [
    32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384,
    24_576, 32_768, 49_152, 65_536, 98_304, 131_072, 196_608, 262_144, 393_216, 524_288,
];

/// Runs `daxsim probe`.
pub fn run(args: &ProbeArgs) -> Result<Status> {
    match &args.command {
        ProbeCommand::Chase(args) => chase(args),
        ProbeCommand::AdUpdate(args) => ad_update(args),
        ProbeCommand::CachelinePing(args) => cacheline_ping(args),
        ProbeCommand::Shootdown(args) => probe_kernel::shootdown(args),
        ProbeCommand::FlushStorm(args) => probe_kernel::flush_storm(args),
        ProbeCommand::Fault(args) => probe_kernel::fault(args),
        ProbeCommand::FaultScaling(args) => probe_kernel::fault_scaling(args),
        ProbeCommand::Tlbdr(args) => experiments(args),
        ProbeCommand::Walks(args) => walks(args),
        ProbeCommand::WriteChase(args) => probe_memory::write_chase(args),
        ProbeCommand::Overwrite(args) => probe_memory::overwrite(args),
        ProbeCommand::Bandwidth(args) => probe_memory::bandwidth(args),
        ProbeCommand::PersistLatency(args) => probe_memory::persist_latency(args),
    }?;
    Ok(Status::Done)
}

/// What a probe runs on, loaded.
pub struct On<'a> {
    args: &'a OnArgs,
    /// The machine.
    pub machine: MachineSpec,
    /// The kernel.
    pub kernel: KernelSpec,
}

impl<'a> On<'a> {
    /// Loads both.
    pub fn load(args: &'a OnArgs) -> Result<Self> {
        let (machine, kernel) = parse_overrides(&args.overrides)?;
        Ok(Self {
            args,
            machine: load_machine(&args.machine, &machine)?,
            kernel: load_kernel(&args.kernel, &kernel)?,
        })
    }

    /// Measures each of `what`, `--threads` at a time; the points keep their order.
    pub fn measure<T: Sync>(
        &self,
        what: &[T],
        one: impl Fn(&T) -> Result<Vec<Point>> + Sync,
    ) -> Result<Vec<Point>> {
        // Of several errors the first in order is shown, whichever thread was faster.
        let points = in_order(what, self.args.threads, |_| 0, one)?;
        Ok(points.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// Prints what was measured.
    pub fn print(
        &self,
        probe: &'static str,
        settings: Vec<(&'static str, String)>,
        points: Vec<Point>,
    ) -> Result<()> {
        let report = ProbeReport {
            schema: SCHEMA,
            probe,
            machine: self.args.machine.clone(),
            kernel: self.args.kernel.clone(),
            overrides: self.args.overrides.clone(),
            settings: Settings(settings),
            points,
        };
        output::print(&if self.args.json { report.to_json()? } else { report.summary() })?;
        Ok(())
    }
}

fn chase(args: &ChaseArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let (offset, offset_name) = match args.offset {
        OffsetArg::Zero => (LineOffset::Zero, "0"),
        OffsetArg::Spread => (LineOffset::Spread, "spread"),
    };
    let page = match args.page {
        PageArg::Small => PageSize::Size4K,
        PageArg::Large => PageSize::Size2M,
        PageArg::Huge => PageSize::Size1G,
    };
    let chase = Chase { stride: args.stride, offset, page, seed: args.seed };
    let footprints = if args.footprints.is_empty() {
        // Those of which the stride leaves enough loads.
        let all = FOOTPRINTS_KIB.iter().map(|kib| kib << 10);
        all.filter(|footprint| footprint.checked_div(args.stride).is_none_or(|loads| loads >= 2)).collect()
    } else {
        args.footprints.clone()
    };
    if footprints.is_empty() {
        bail!("--stride {}: expected 256M or less, or --footprints of at least twice as much", args.stride);
    }
    let points = on.measure(&footprints, |footprint| {
        let point = chase.run(&on.machine, &on.kernel, *footprint);
        let context = || format!("--footprints {}", size::show(*footprint));
        Ok(vec![chase_point(&point.with_context(context)?)])
    })?;
    let settings = vec![
        ("stride", size::show(args.stride)),
        ("offset", offset_name.to_owned()),
        ("page", page.to_string()),
        ("seed", args.seed.to_string()),
    ];
    on.print("chase", settings, points)
}

fn chase_point(p: &ChasePoint) -> Point {
    Point(vec![
        Cell {
            key: "footprint_bytes",
            head: "footprint",
            value: Value::Count(p.footprint),
            shown: Some(size::show(p.footprint)),
        },
        Cell::new("loads", "loads", Value::Count(p.loads)),
        Cell::new("pages", "pages", Value::Count(p.pages)),
        Cell::number("cycles", "cycles/load", p.cycles, 1),
        Cell::number("ns", "ns/load", p.ns, 1),
        Cell::number("dtlb_misses", "DTLB misses", p.dtlb_misses, 3),
        Cell::number("stlb_misses", "STLB misses", p.stlb_misses, 3),
        Cell::number("walk_references", "walk reads", p.walk_references, 3),
        Cell::number("l1d_misses", "L1D misses", p.l1d_misses, 3),
        Cell::number("l2_misses", "L2 misses", p.l2_misses, 3),
        Cell::number("l3_misses", "L3 misses", p.l3_misses, 3),
    ])
}

fn ad_update(args: &AdUpdateArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let points = on.measure(&args.pages, |pages| {
        let probe = AdUpdate { pages: *pages };
        let context = || format!("--pages {pages}");
        let bits =
            [("D", probe.dirty(&on.machine, &on.kernel)), ("A", probe.accessed(&on.machine, &on.kernel))];
        let mut points = Vec::new();
        for (name, bit) in bits {
            match bit {
                Ok(bit) => points.push(bit_point(*pages, name, &bit)),
                // The table says so by leaving the bit out.
                Err(ProbeError::NotHardware { .. }) => {}
                Err(error) => return Err(error).with_context(context),
            }
        }
        Ok(points)
    })?;
    if points.is_empty() {
        bail!(
            "{}: software sets both A and D (mmu.accessed, mmu.dirty): nothing to measure",
            args.on.machine
        );
    }
    on.print("ad-update", vec![], points)
}

fn bit_point(pages: u64, name: &str, bit: &BitUpdate) -> Point {
    let number = |key, head, value| Cell::number(key, head, value, 1);
    Point(vec![
        Cell::new("bit", "bit", Value::Text(name.to_owned())),
        Cell::new("pages", "pages", Value::Count(pages)),
        number("clear_cycles", "bit clear, cycles", bit.clear),
        number("set_cycles", "bit set, cycles", bit.set),
        number("update_cycles", "update, cycles", bit.update),
    ])
}

fn cacheline_ping(args: &PingArgs) -> Result<()> {
    let [first, second] = args.cpus[..] else {
        bail!("--cpus: {} given: expected two, as in --cpus 0,1", args.cpus.len());
    };
    let on = On::load(&args.on)?;
    let time = CachelinePing { first, second, rounds: args.rounds }.run(&on.machine).context("--cpus")?;
    let number = |key, head, value| Cell::number(key, head, value, 1);
    let point = Point(vec![
        Cell::new("first", "CPU", Value::Count(first.into())),
        Cell::new("second", "and CPU", Value::Count(second.into())),
        number("one_way_ns", "one way, ns", time.one_way.as_ns()),
        number("round_trip_ns", "round trip, ns", time.round_trip.as_ns()),
        Cell::new("transfers", "transfers", Value::Count(time.transfers)),
    ]);
    on.print("cacheline-ping", vec![("rounds", args.rounds.to_string())], vec![point])
}

fn experiments(on: &OnArgs) -> Result<()> {
    let on = On::load(on)?;
    let points = tlbdr(&on.machine.tlb)
        .into_iter()
        .map(|finding| {
            let found = if finding.found { "yes" } else { "no" };
            Point(vec![
                Cell::new("name", "experiment", Value::Text(finding.name.to_owned())),
                Cell::new("found", "found", Value::Text(found.to_owned())),
                Cell::new("about", "on Kaby Lake", Value::Text(finding.about.to_owned())),
            ])
        })
        .collect();
    on.print("tlbdr", Vec::new(), points)
}

fn walks(args: &WalksArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let points = on.measure(&args.streams, |stream| {
        let (name, pattern, bytes) = stream_of(*stream);
        let walks =
            Walks { pattern, bytes, warm_up: args.accesses / 2, accesses: args.accesses, seed: args.seed };
        let point = walks.run(&on.machine, &on.kernel).with_context(|| format!("--streams {name}"))?;
        Ok(vec![walks_point(name, bytes, &point)])
    })?;
    let settings = vec![("accesses", args.accesses.to_string()), ("seed", args.seed.to_string())];
    on.print("walks", settings, points)
}

/// Name, pattern and reach of a stream with its defaults.
pub fn stream_of(stream: StreamArg) -> (&'static str, Pattern, u64) {
    const GIB: u64 = 1 << 30;
    match stream {
        StreamArg::Chase => ("chase", Pattern::Chase, GIB),
        StreamArg::Zipf => ("zipf", Pattern::Zipf, 4 * GIB),
        StreamArg::Seq => ("seq", Pattern::Seq, GIB),
        StreamArg::Mixed => ("mixed", Pattern::Mixed, GIB),
        StreamArg::Uniform => ("uniform", Pattern::Uniform { bytes: GIB, writes: 0 }, GIB),
        StreamArg::Stride => ("stride", Pattern::Stride { bytes: GIB, stride: 4096, writes: 0 }, GIB),
    }
}

/// Pattern and reach of a stream by its name.
pub fn stream_named(name: &str) -> Option<(Pattern, u64)> {
    let stream = <StreamArg as clap::ValueEnum>::from_str(name, false).ok()?;
    let (_, pattern, bytes) = stream_of(stream);
    Some((pattern, bytes))
}

fn walks_point(name: &str, bytes: u64, p: &WalksPoint) -> Point {
    Point(vec![
        Cell::new("stream", "stream", Value::Text(name.to_owned())),
        Cell { key: "bytes", head: "reach", value: Value::Count(bytes), shown: Some(size::show(bytes)) },
        Cell::new("walks", "walks", Value::Count(p.walks)),
        Cell::number("walks_per_1000", "per 1000 accesses", p.walks_per_1000, 1),
        Cell::number("references_per_walk", "entries read/walk", p.references_per_walk, 3),
        Cell::number("cycles", "cycles/access", p.cycles, 1),
    ])
}
