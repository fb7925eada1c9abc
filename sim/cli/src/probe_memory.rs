//! The probes of memory: what lines cost, to read, to write and to make durable.

use anyhow::{Context, Result};
use daxsim_reports::probe::{Cell, Point, Value};
use daxsim_sim::probe::{
    Bandwidth, Medium, Operation, Order, Overwrite, PersistLatency, Places, Store, WriteChase,
};
use daxsim_types::Time;

use crate::probe::On;
use crate::probe_memory_args::{
    BandwidthArgs, MemoryArg, OperationArg, OrderArg, OverwriteArgs, PersistLatencyArgs, PlacesArg, StoreArg,
    WriteChaseArgs,
};
use crate::size;

/// Regions of `write-chase` unless told otherwise.
const REGIONS: [u64; 18] = [
    64,
    128,
    256,
    512,
    1 << 10,
    2 << 10,
    4 << 10,
    8 << 10,
    16 << 10,
    64 << 10,
    128 << 10,
    1 << 20,
    8 << 20,
    16 << 20,
    32 << 20,
    128 << 20,
    512 << 20,
    1 << 30,
];

const fn medium(memory: MemoryArg) -> Medium {
    match memory {
        MemoryArg::Pmem => Medium::Pmem,
        MemoryArg::Dram => Medium::Dram,
    }
}

const fn store(store: StoreArg) -> Store {
    match store {
        StoreArg::Nt => Store::NonTemporal,
        StoreArg::Clwb => Store::Clwb,
    }
}

const fn memory_name(memory: MemoryArg) -> &'static str {
    match memory {
        MemoryArg::Pmem => "pmem",
        MemoryArg::Dram => "dram",
    }
}

const fn store_name(store: StoreArg) -> &'static str {
    match store {
        StoreArg::Nt => "nt",
        StoreArg::Clwb => "clwb",
    }
}

const fn micros(us: u64) -> Time {
    Time(us * 1_000_000)
}

fn bytes(key: &'static str, head: &'static str, value: u64) -> Cell {
    Cell { key, head, value: Value::Count(value), shown: Some(size::show(value)) }
}

fn text(key: &'static str, head: &'static str, value: &str) -> Cell {
    Cell::new(key, head, Value::Text(value.to_owned()))
}

/// `daxsim probe write-chase`
pub fn write_chase(args: &WriteChaseArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let chase = WriteChase {
        block: args.block,
        store: store(args.store),
        medium: medium(args.memory),
        seed: args.seed,
    };
    // Those that are whole blocks; if none is, one block.
    let whole: Vec<u64> = REGIONS.into_iter().filter(|region| region.is_multiple_of(args.block)).collect();
    let regions = match (args.regions.is_empty(), whole.is_empty()) {
        (false, _) => args.regions.clone(),
        (true, false) => whole,
        (true, true) => vec![args.block],
    };
    let points = on.measure(&regions, |region| {
        let context = || format!("--regions {} --block {}", size::show(*region), args.block);
        let p = chase.run(&on.machine, &on.kernel, *region).with_context(context)?;
        Ok(vec![Point(vec![
            bytes("region_bytes", "region", p.region),
            Cell::new("blocks", "blocks", Value::Count(p.blocks)),
            Cell::new("measured", "measured", Value::Count(p.measured)),
            Cell::number("write_ns", "write, ns/block", p.write_ns, 1),
            Cell::number("read_ns", "read, ns/block", p.read_ns, 1),
            Cell::number("write_amplification", "media/written", p.write_amplification, 3),
        ])])
    })?;
    let settings = vec![
        ("block", size::show(args.block)),
        ("store", store_name(args.store).to_owned()),
        ("memory", memory_name(args.memory).to_owned()),
        ("seed", args.seed.to_string()),
    ];
    on.print("write-chase", settings, points)
}

/// `daxsim probe overwrite`
pub fn overwrite(args: &OverwriteArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let (order, order_name) = match args.order {
        OrderArg::Sequential => (Order::Sequential, "sequential"),
        OrderArg::Halves => (Order::Halves, "halves"),
    };
    let probe = Overwrite {
        block: args.block,
        order,
        store: store(args.store),
        medium: medium(args.memory),
        writes: args.writes,
        long: micros(args.long),
        short: micros(args.short),
    };
    let points = on.measure(&args.regions, |region| {
        let context = || format!("--regions {} --block {}", size::show(*region), args.block);
        let p = probe.run(&on.machine, &on.kernel, *region).with_context(context)?;
        let us = |time: Time| time.as_ns() / 1000.0;
        Ok(vec![Point(vec![
            bytes("region_bytes", "region", p.region),
            Cell::number("p10_ns", "10 %, ns", p.percentile(100_000).as_ns(), 1),
            Cell::number("median_ns", "median, ns", p.percentile(500_000).as_ns(), 1),
            Cell::number("p90_ns", "90 %, ns", p.percentile(900_000).as_ns(), 1),
            Cell::number("p9999_us", "99.99 %, us", us(p.percentile(999_900)), 2),
            Cell::number("p99999_us", "99.999 %, us", us(p.percentile(999_990)), 2),
            Cell::number("max_us", "max, us", us(p.max()), 2),
            Cell::new("long_stalls", "long", Value::Count(p.long.count)),
            Cell::number("long_us", "median, us", us(p.long.median), 2),
            Cell::new("long_spacing", "writes between", Value::Count(p.long.spacing)),
            Cell::new("long_spacing_least", "least", Value::Count(p.long.spacing_range[0])),
            Cell::new("long_spacing_most", "most", Value::Count(p.long.spacing_range[1])),
            Cell::new("short_stalls", "short", Value::Count(p.short.count)),
            Cell::number("short_us", "median, us", us(p.short.median), 2),
            Cell::new("short_spacing", "writes between", Value::Count(p.short.spacing)),
            Cell::number("write_amplification", "media/written", p.write_amplification, 3),
        ])])
    })?;
    let settings = vec![
        ("block", size::show(args.block)),
        ("order", order_name.to_owned()),
        ("store", store_name(args.store).to_owned()),
        ("memory", memory_name(args.memory).to_owned()),
        ("writes", args.writes.to_string()),
        ("long_us", args.long.to_string()),
        ("short_us", args.short.to_string()),
    ];
    on.print("overwrite", settings, points)
}

/// `daxsim probe bandwidth`
pub fn bandwidth(args: &BandwidthArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let (operation, operation_name) = match args.operation {
        OperationArg::Load => (Operation::Load, "load"),
        OperationArg::Nt => (Operation::Store(Store::NonTemporal), "nt"),
        OperationArg::Clwb => (Operation::Store(Store::Clwb), "clwb"),
        OperationArg::ThreeToOne => (Operation::Mixed(3), "3:1"),
        OperationArg::OneToOne => (Operation::Mixed(1), "1:1"),
    };
    let (places, places_name) = match args.places {
        PlacesArg::Sequential => (Places::Sequential, "sequential"),
        PlacesArg::Random => (Places::Random, "random"),
    };
    let what: Vec<(u16, u64)> =
        args.cores.iter().flat_map(|cores| args.access.iter().map(|access| (*cores, *access))).collect();
    let points = on.measure(&what, |&(threads, access)| {
        let probe = Bandwidth {
            threads,
            operation,
            access,
            places,
            medium: medium(args.memory),
            remote: args.remote,
            time: micros(args.time),
            seed: args.seed,
        };
        let context = || format!("--cores {threads} --access {access}");
        let p = probe.run(&on.machine, &on.kernel).with_context(context)?;
        Ok(vec![Point(vec![
            Cell::new("cores", "cores", Value::Count(threads.into())),
            bytes("access_bytes", "access", access),
            Cell::new("lines", "lines", Value::Count(p.lines)),
            Cell::number("gb_s", "GB/s", p.gb_s, 2),
            Cell::number("effective_write_ratio", "write ratio", p.effective_write_ratio, 3),
            Cell::number("read_amplification", "media/read", p.read_amplification, 3),
            Cell::number("stalled_writes", "writes stalled", p.stalled_writes, 3),
        ])])
    })?;
    let settings = vec![
        ("operation", operation_name.to_owned()),
        ("places", places_name.to_owned()),
        ("memory", memory_name(args.memory).to_owned()),
        ("remote", args.remote.to_string()),
        ("time_us", args.time.to_string()),
        ("seed", args.seed.to_string()),
    ];
    on.print("bandwidth", settings, points)
}

/// `daxsim probe persist-latency`
pub fn persist_latency(args: &PersistLatencyArgs) -> Result<()> {
    let on = On::load(&args.on)?;
    let stores = [None, Some(StoreArg::Nt), Some(StoreArg::Clwb)];
    let what: Vec<(MemoryArg, Option<StoreArg>, Places)> = args
        .memory
        .iter()
        .flat_map(|memory| stores.map(|store| (*memory, store)))
        .flat_map(|(memory, store)| {
            [Places::Sequential, Places::Random].map(|places| (memory, store, places))
        })
        .collect();
    let points = on.measure(&what, |&(memory, how, places)| {
        let probe = PersistLatency {
            store: how.map(store),
            places,
            medium: medium(memory),
            lines: args.lines,
            seed: args.seed,
        };
        let p = probe.run(&on.machine, &on.kernel).with_context(|| format!("--lines {}", args.lines))?;
        let places = if places == Places::Random { "random" } else { "sequential" };
        Ok(vec![Point(vec![
            text("memory", "memory", memory_name(memory)),
            text("operation", "operation", how.map_or("load", store_name)),
            text("places", "places", places),
            Cell::number("mean_ns", "mean, ns", p.mean_ns, 1),
            Cell::number("sd_ns", "deviation, ns", p.sd_ns, 1),
            Cell::number("median_ns", "median, ns", p.median_ns, 1),
        ])])
    })?;
    let settings = vec![("lines", args.lines.to_string()), ("seed", args.seed.to_string())];
    on.print("persist-latency", settings, points)
}
