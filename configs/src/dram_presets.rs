//! The speed bins of `dram/*.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::builtin;
use crate::dram::DramPreset;
use crate::error::ConfigError;
use crate::reader::Reader;
use crate::schema::{KeyDef, Kind, POSITIVE_TIME, TIME, section};
use crate::value::{Entry, Record, parse_records};

const CLOCKS: Kind = Kind::Count { min: 1, max: 4096 };
const POWER: Kind = Kind::Count { min: 1, max: 64 };
const PAGE: Kind = Kind::Size { min: 64, max: 1 << 20, multiple: 64 };

// Keys of a table, `preset.` put before each.
section!(bin: DramPreset, "preset" {
    name "name": Kind::Text, "Name.";
    clock "clock": POSITIVE_TIME, "Period of the clock.";
    bus_width "bus_width": Kind::Count { min: 16, max: 64 }, "Data lines of a subchannel.";
    subchannels "subchannels": POWER, "Channels of their own in a channel of 64 bits.";
    burst "burst": Kind::Count { min: 2, max: 32 }, "Transfers of a burst.";
    cl "cl": CLOCKS, "Read to data.";
    cwl "cwl": CLOCKS, "Write to data.";
    rcd "rcd": CLOCKS, "Activate to read or write.";
    rp "rp": CLOCKS, "Precharge to activate.";
    ras "ras": CLOCKS, "Activate to precharge.";
    rc "rc": CLOCKS, "Activate to activate of a bank.";
    wr "wr": CLOCKS, "End of write data to precharge.";
    rtp "rtp": CLOCKS, "Read to precharge.";
    ccd_s "ccd_s": CLOCKS, "Column command to column command of other bank groups.";
    ccd_l "ccd_l": CLOCKS, "Read to read of a bank group.";
    ccd_l_wr "ccd_l_wr": CLOCKS, "Write to write of a bank group.";
    wtr_s "wtr_s": CLOCKS, "End of write data to read of another bank group.";
    wtr_l "wtr_l": CLOCKS, "End of write data to read of the bank group.";
    read_to_write "read_to_write": CLOCKS, "Idle clocks between read and write data.";
    rank_switch "rank_switch": CLOCKS, "Idle clocks between data of two ranks.";
    rrd_s "rrd_s": CLOCKS, "Activate to activate of other bank groups.";
    rrd_s_x16 "rrd_s_x16": CLOCKS, "The same of x16 devices.";
    rrd_l "rrd_l": CLOCKS, "Activate to activate of a bank group.";
    rrd_l_x16 "rrd_l_x16": CLOCKS, "The same of x16 devices.";
    faw_x4 "faw_x4": CLOCKS, "Window of four activates of x4 devices.";
    faw_x8 "faw_x8": CLOCKS, "Of x8 devices.";
    faw_x16 "faw_x16": CLOCKS, "Of x16 devices.";
    refi "refi": POSITIVE_TIME, "Between two refreshes.";
    rfc_8gb "rfc_8gb": POSITIVE_TIME, "All-bank refresh of 8 Gbit.";
    rfc_16gb "rfc_16gb": POSITIVE_TIME, "Of 16 Gbit.";
    rfc_32gb "rfc_32gb" = "0 ns": TIME, "Of 32 Gbit.";
    rfc_sb_8gb "rfc_sb_8gb" = "0 ns": TIME, "Same-bank refresh of 8 Gbit.";
    rfc_sb_16gb "rfc_sb_16gb" = "0 ns": TIME, "Of 16 Gbit.";
    rfc_sb_32gb "rfc_sb_32gb" = "0 ns": TIME, "Of 32 Gbit.";
    refsb_to_activate "refsb_to_activate" = "0 ns": TIME, "Same-bank refresh to activate of another bank.";
    bank_groups "bank_groups": POWER, "Bank groups.";
    banks "banks": POWER, "Banks of a group.";
    banks_8gb "banks_8gb" = "0": Kind::Count { min: 0, max: 64 }, "Banks of a group of devices of 8 Gbit.";
    page_x4 "page_x4": PAGE, "Row of an x4 device.";
    page_x8 "page_x8": PAGE, "Row of an x8 device.";
    page_x16 "page_x16": PAGE, "Row of an x16 device.";
});

static KEYS: LazyLock<Vec<KeyDef>> = LazyLock::new(|| bin::KEYS.to_vec());

/// Every bin, or what is wrong with the files.
static PRESETS: LazyLock<Result<Vec<DramPreset>, ConfigError>> = LazyLock::new(read_all);

/// The bins that `dram.preset` may name.
///
/// # Errors
///
/// None, as long as the builtin files are valid.
pub(crate) fn presets() -> Result<&'static [DramPreset], ConfigError> {
    PRESETS.as_ref().map(Vec::as_slice).map_err(Clone::clone)
}

fn read_all() -> Result<Vec<DramPreset>, ConfigError> {
    let mut presets = Vec::new();
    let mut problems = Vec::new();
    for file in builtin::dram_files() {
        let source = format!("dram/{}.toml", file.name);
        let (common, records) = parse_records(&source, file.text, "preset").map_err(ConfigError::new)?;
        for record in records {
            let entries = entries(&common, record);
            let reader = Reader::new(&source, &entries, &KEYS, &[]);
            presets.extend(bin::read(&reader));
            problems.extend(reader.into_problems());
        }
    }
    if problems.is_empty() { Ok(presets) } else { Err(ConfigError::new(problems)) }
}

/// The keys of a table over those that the file gives for all.
fn entries(common: &[Entry], record: Record) -> BTreeMap<String, Entry> {
    let all = common.iter().cloned().chain(record.entries);
    all.map(|entry| (format!("preset.{}", entry.key), entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bin_is_complete_and_its_timings_agree_with_each_other() {
        let all = presets().unwrap();
        let names: Vec<&str> = all.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "DDR4-2400R",
                "DDR4-2666V",
                "DDR4-2933Y",
                "DDR4-3200AA",
                "DDR5-4800BN",
                "DDR5-5600AN",
                "DDR5-6400AN"
            ]
        );
        for p in all {
            assert_eq!(p.rc, p.ras + p.rp, "{}", p.name);
            assert_eq!(p.bus_width * p.subchannels, 64);
            assert_eq!(p.bus_width / 8 * p.burst, 64, "{}: a burst is a line", p.name);
            assert!(p.ccd_s >= p.burst_clocks() && p.ccd_l >= p.ccd_s && p.ccd_l_wr >= p.ccd_l);
            assert!(p.wtr_l >= p.wtr_s && p.rrd_l >= p.rrd_s && p.ras >= p.rcd + p.rtp && p.cl >= p.cwl);
            let rate: f64 = p.name.split('-').nth(1).unwrap()[..4].parse().unwrap();
            assert!((2e6 / rate - p.clock.0 as f64).abs() < 1.0, "{}: {:?}", p.name, p.clock);
        }
    }
}
