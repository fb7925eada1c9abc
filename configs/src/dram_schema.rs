//! The keys of `[dram]` that describe banks, and the controller before them.

use daxsim_types::Time;

use crate::check::count;
use crate::dram::{DeviceWidth, DramBanksSpec, DramDensity, DramPreset, DramRefresh, DramTiming, PagePolicy};
use crate::dram_mapping::{DramMapping, EXPECTED};
use crate::dram_presets::presets;
use crate::error::nearest;
use crate::reader::Reader;
use crate::schema::{Kind, TIME, choices, section};

choices!(TIMINGS: DramTiming { "flat" => Flat, "banks" => Banks });
choices!(POLICIES: PagePolicy { "open" => Open, "closed" => Closed });
choices!(REFRESHES: DramRefresh { "off" => Off, "all-bank" => AllBank, "same-bank" => SameBank });
choices!(DENSITIES: DramDensity { "8Gb" => Gb8, "16Gb" => Gb16, "32Gb" => Gb32 });
choices!(WIDTHS: DeviceWidth { "x4" => X4, "x8" => X8, "x16" => X16 });

/// Most lines of a write queue.
const MAX_QUEUE: u64 = 256;

section!(banks: DramBanksSpec, "dram" {
    timing "timing" = "flat": Kind::Choice(TIMINGS),
        "Main memory as channels of one latency and one bandwidth (flat), or as banks with rows: the keys from here to \
         controller_latency mean something only then, and read_latency and bandwidth_per_channel nothing for reads.";
    preset "preset" = "DDR4-2666V": Kind::Text, "Speed bin of the devices: one of configs/dram/.";
    density "density" = "8Gb": Kind::Choice(DENSITIES), "Bits of a device.";
    device_width "device_width" = "x4": Kind::Choice(WIDTHS), "Data lines of a device.";
    ranks "ranks" = "2": Kind::Count { min: 1, max: 16 }, "Ranks of a channel: a power of two.";
    bank_groups "bank_groups" = "0": Kind::Count { min: 0, max: 16 },
        "Bank groups of a rank: a power of two; 0 for those of the preset.";
    banks "banks" = "0": Kind::Count { min: 0, max: 16 }, "Banks of a group: a power of two; 0 for those of the preset.";
    row_size "row_size" = "0 B": Kind::Size { min: 0, max: 1 << 20, multiple: 64 },
        "Bytes of a row of a rank: a power of two; 0 for the devices' pages together.";
    page_policy "page_policy" = "open": Kind::Choice(POLICIES),
        "Whether a row stays open until another one, or a refresh, needs its bank, or is closed after each access.";
    mapping "mapping" = "row rank bank column group channel": Kind::Text,
        "What the bits of a line's number are, the most significant first; `column:2` are two bits of the column. Channels count \
         the subchannels of DDR5.";
    bank_xor "bank_xor" = "false": Kind::Bool, "Whether bank and bank group are xored with the low bits of the row.";
    refresh "refresh" = "all-bank": Kind::Choice(REFRESHES),
        "Refresh: none, of all banks of a rank every tREFI, or of one bank of each group while the others go on (DDR5).";
    starvation_limit "starvation_limit" = "16": Kind::Count { min: 0, max: 65_535 },
        "Younger writes that leave the write queue before an older one at most, because their row is open.";
    write_queue "write_queue" = "32": Kind::Count { min: 1, max: MAX_QUEUE }, "Lines that a channel's write queue holds.";
    write_high "write_high" = "26": Kind::Count { min: 1, max: MAX_QUEUE },
        "Lines in the write queue from which on writes go before reads.";
    write_low "write_low" = "6": Kind::Count { min: 0, max: MAX_QUEUE },
        "Lines in the write queue at which reads go first again.";
    controller_latency "controller_latency" = "30 ns": TIME,
        "What a read takes from the L3's miss besides the DRAM commands and its data: the way there, the controller, the way back.";
});

/// The speed bin that `dram.preset` names.
pub(crate) fn preset(r: &Reader<'_>) -> Option<DramPreset> {
    let name = r.get::<String>("dram.preset")?;
    presets().ok()?.iter().find(|preset| preset.name == name).cloned()
}

/// Records what of `[dram]` no machine can have.
pub(crate) fn check(r: &mut Reader<'_>) {
    known_preset(r);
    powers_of_two(r);
    watermarks(r);
    if r.get::<String>("dram.mapping").is_some_and(|text| DramMapping::parse(&text).is_none()) {
        let found = r.get::<String>("dram.mapping").map_or_else(String::new, |text| format!("{text:?}"));
        r.bad("dram.mapping", found, EXPECTED.to_owned());
    }
    if let (Some(spec), Some(preset), Some(channels)) = (banks::read(r), preset(r), r.get("dram.channels"))
        && spec.timing == DramTiming::Banks
        && spec.ranks.is_power_of_two()
        && (spec.row_size == 0 || spec.row_size.is_power_of_two())
    {
        geometry(r, &spec, &preset, channels);
    }
}

fn known_preset(r: &mut Reader<'_>) {
    let Some(name) = r.get::<String>("dram.preset") else { return };
    match presets() {
        Err(error) => {
            r.bad("dram.preset", format!("{name:?}"), format!("the files of presets to be right: {error}"))
        }
        Ok(all) if all.iter().all(|preset| preset.name != name) => {
            let names: Vec<&str> = all.iter().map(|preset| preset.name.as_str()).collect();
            let near = nearest(&name, names.iter().copied());
            r.bad(
                "dram.preset",
                format!("{name:?}"),
                format!("{near:?}, or another of {}", names.join(", ")),
            );
        }
        Ok(_) => {}
    }
}

fn powers_of_two(r: &mut Reader<'_>) {
    for key in ["dram.ranks", "dram.bank_groups", "dram.banks"] {
        if let Some(n) = r.get::<u32>(key)
            && n > 0
            && !n.is_power_of_two()
        {
            r.bad(key, n.to_string(), "a power of two".to_owned());
        }
    }
    if let Some(n) = r.get::<u64>("dram.row_size")
        && n > 0
        && !n.is_power_of_two()
    {
        r.bad("dram.row_size", format!("{n} B"), "a power of two".to_owned());
    }
}

fn watermarks(r: &mut Reader<'_>) {
    let queue =
        (r.get::<u32>("dram.write_queue"), r.get::<u32>("dram.write_high"), r.get::<u32>("dram.write_low"));
    let (Some(lines), Some(high), Some(low)) = queue else { return };
    if high > lines {
        r.bad("dram.write_high", high.to_string(), format!("at most {lines}, the lines of dram.write_queue"));
    }
    if low >= high {
        r.bad("dram.write_low", low.to_string(), format!("less than {high}, dram.write_high"));
    }
}

/// Of devices that exist, and a mapping that reaches them all.
fn geometry(r: &mut Reader<'_>, spec: &DramBanksSpec, preset: &DramPreset, channels: u32) {
    if preset.rfc(spec.density) == Time::ZERO {
        let found = format!("{} GiB a device with {}", spec.density.bytes() >> 30, preset.name);
        r.bad("dram.density", found, "a density that the preset has a refresh time for".to_owned());
        return;
    }
    if spec.refresh == DramRefresh::SameBank && preset.rfc_sb(spec.density) == Time::ZERO {
        let found = format!("same-bank, with {} GiB a device of {}", spec.density.bytes() >> 30, preset.name);
        r.bad("dram.refresh", found, "all-bank or off: no such time is known for these devices".to_owned());
    }
    let there = preset.geometry(spec, channels);
    if !there.rows.is_power_of_two() {
        r.bad("dram.banks", format!("{} rows of a bank", there.rows), "a power of two".to_owned());
        return;
    }
    if let Err((found, expected)) = spec.mapping.digits(&there) {
        r.bad("dram.mapping", found, expected);
    }
    let capacity = r.get::<u64>("dram.capacity").unwrap_or_default();
    if capacity > there.bytes() {
        let found = format!("{capacity:#x} bytes");
        let (channels, ranks) = (there.channels, there.ranks);
        let (channels, ranks) = (count(channels, "channel", "channels"), count(ranks, "rank", "ranks"));
        let expected = format!("at most {:#x}, the bytes of {channels} of {ranks}", there.bytes());
        r.bad("dram.capacity", found, expected);
    }
}
