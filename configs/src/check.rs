//! Checks of several keys against each other: geometry that cannot be built, ranges that overlap.

use daxsim_types::PageSize;

use crate::dram_schema;
use crate::machine::{CacheReplacement, HostFrames, host_table_bytes};
use crate::reader::Reader;
use crate::tlb_check::tlb;

/// Most ways of a cache: more than any has (20 of the L2 of Ice Lake-SP).
const MAX_CACHE_WAYS: u64 = 32;
/// Most ways of a cache with bimodal insertion: those whose order a word holds.
const MAX_BIP_WAYS: u64 = 16;

/// Records every combination of machine keys that no machine can have.
pub(crate) fn machine(r: &mut Reader<'_>) {
    tlb(r);
    for cache in ["pml5e", "pml4e", "pdpte", "pde"] {
        psc_geometry(r, cache);
    }
    nested(r);
    cache_geometry(r, "cache.l1d", true);
    cache_geometry(r, "cache.l2", true);
    cache_geometry(r, "cache.l3", false);
    history(r);
    memory(r);
    dram_schema::check(r);
}

/// Records every combination of kernel keys that means nothing.
pub(crate) fn kernel(r: &mut Reader<'_>) {
    let rw = r.get::<bool>("dax.fresh_write_stores_rw");
    if r.get("dax.fresh_write_sets_d") == Some(true) && rw == Some(false) {
        let found = "true with dax.fresh_write_stores_rw = false".to_owned();
        let expected = "false: a read-only entry with D set is a shadow-stack page".to_owned();
        r.bad("dax.fresh_write_sets_d", found, expected);
    }
    counted_pages(r);
    isolation(r);
}

/// With page-table isolation one bit of the PCID tells user mode from the kernel (`X86_CR3_PTI_PCID_USER_BIT`), which leaves fewer
/// numbers.
fn isolation(r: &mut Reader<'_>) {
    const MOST_WITH_PTI: u32 = (1 << 11) - 2;
    if let Some(asids) = r.get::<u32>("tree.asids").filter(|n| *n > MOST_WITH_PTI)
        && r.get("tree.pti") == Some(true)
    {
        let found = format!("{asids} with tree.pti = true");
        r.bad("tree.asids", found, format!("at most {MOST_WITH_PTI}: a bit of the PCID is for user mode"));
    }
}

/// Records a table of mapping counts without the reference that the insert asks for.
fn counted_pages(r: &mut Reader<'_>) {
    let counted = r.get::<u32>("dax.refcount_per_map").is_some_and(|n| n > 0);
    if counted && r.get("dax.temp_ref_around_insert") == Some(false) {
        let found = "false with dax.refcount_per_map = 1".to_owned();
        let expected =
            "true: validate_page_before_insert refuses a page without a reference, so every fault \
                        would end in SIGBUS"
                .to_owned();
        r.bad("dax.temp_ref_around_insert", found, expected);
    }
}

/// A structure cache of so many sets as an index of bits can choose from.
fn psc_geometry(r: &mut Reader<'_>, cache: &str) {
    let ways_key = format!("psc.{cache}_ways");
    let (Some(entries), Some(ways)) = (r.get::<u32>(&format!("psc.{cache}")), r.get::<u32>(&ways_key)) else {
        return;
    };
    let sets = entries.checked_div(ways).unwrap_or(1);
    if ways > 0 && entries > 0 && (!entries.is_multiple_of(ways) || !sets.is_power_of_two()) {
        let found = format!("{entries} entries, {ways} ways");
        r.bad(&ways_key, found, "entries / ways to be a power of two, or 0 ways".to_owned());
    }
}

/// The hypervisor's tables lie in host memory between the guest's main memory and persistent memory.
fn nested(r: &mut Reader<'_>) {
    let keys = (r.get::<u32>("nested.levels"), r.get::<PageSize>("nested.page_size"));
    let (Some(levels), Some(page_size)) = keys else { return };
    let ends = (r.get::<u64>("dram.capacity"), r.get::<u64>("pmem.base"), r.get::<u64>("pmem.capacity"));
    let (Some(dram), Some(base), Some(pmem)) = ends else { return };
    if r.get("nested.pmem_frames") == Some(HostFrames::Random) {
        for (key, bytes) in [("pmem.base", base), ("pmem.capacity", pmem)] {
            if !bytes.is_multiple_of(page_size.bytes()) {
                let expected =
                    format!("a multiple of {page_size}, as nested.pmem_frames moves pages of that size");
                r.bad(key, format!("{bytes:#x}"), expected);
            }
        }
    }
    let needed = host_table_bytes(levels, page_size, base + pmem);
    if base >= dram && base - dram < needed {
        r.bad(
            "nested.page_size",
            format!("\"{page_size}\", with {:#x} bytes between main memory and pmem.base", base - dram),
            format!("{needed:#x} bytes there, for the tables of the second stage"),
        );
    }
}

fn cache_geometry(r: &mut Reader<'_>, cache: &str, power_of_two: bool) {
    let ways_key = format!("{cache}.ways");
    let (Some(size), Some(ways)) = (r.get::<u64>(&format!("{cache}.size")), r.get::<u32>(&ways_key)) else {
        return;
    };
    let lines = size / daxsim_types::LINE_BYTES;
    let ways = u64::from(ways);
    let found = format!("{lines} lines of 64 B, {ways} ways");
    if ways > lines {
        r.bad(&ways_key, found, format!("1..={lines} ways"));
    } else if ways > MAX_CACHE_WAYS {
        r.bad(&ways_key, found, format!("1..={MAX_CACHE_WAYS} ways"));
    } else if !lines.is_multiple_of(ways) {
        r.bad(&ways_key, found, "size to be a multiple of 64 B x ways".to_owned());
    } else if power_of_two && !(lines / ways).is_power_of_two() {
        let found = format!("{found}: {} sets", lines / ways);
        r.bad(&ways_key, found, "size / (64 B x ways) to be a power of two".to_owned());
    } else if !power_of_two {
        slices(r, lines / ways);
    }
    let replacement = format!("{cache}.replacement");
    if r.get(&replacement) == Some(CacheReplacement::Bip) && ways > MAX_BIP_WAYS {
        r.bad(&replacement, format!("\"bip\" with {ways} ways"), format!("bip with 1..={MAX_BIP_WAYS} ways"));
    }
}

/// What a victim L3 remembers has whole sets.
fn history(r: &mut Reader<'_>) {
    let (lines, ways) = (r.get::<u64>("cache.l3.history"), r.get::<u64>("cache.l3.history_ways"));
    if let (Some(lines), Some(ways)) = (lines, ways)
        && !lines.is_multiple_of(ways)
    {
        r.bad("cache.l3.history", lines.to_string(), format!("a multiple of cache.l3.history_ways, {ways}"));
    }
}

/// Each slice of the L3 has as many sets.
fn slices(r: &mut Reader<'_>, sets: u64) {
    let Some(slices) = r.get::<u32>("cache.l3.slices") else { return };
    if !sets.is_multiple_of(u64::from(slices)) {
        let found = format!("{slices} slices of {sets} sets");
        r.bad("cache.l3.slices", found, "a divisor of the sets, size / (64 B x ways)".to_owned());
    }
}

fn memory(r: &mut Reader<'_>) {
    let (base, dram) = (r.get::<u64>("pmem.base"), r.get::<u64>("dram.capacity"));
    if let (Some(base), Some(dram)) = (base, dram)
        && base < dram
    {
        r.bad("pmem.base", format!("{base:#x}"), format!("at or above the end of main memory, {dram:#x}"));
    }
    if let (Some(base), Some(size)) = (base, r.get::<u64>("pmem.capacity"))
        && let bits = r.get::<u32>("mmu.physical_bits").unwrap_or(52)
        && base + size > 1 << bits
    {
        let found = format!("an end at {:#x}", base + size);
        r.bad("pmem.capacity", found, format!("an end at or below 2^{bits} (mmu.physical_bits)"));
    }
    if r.get("pmem.eadr") == Some(true) && r.get("pmem.adr") == Some(false) {
        let expected = "true: what flushes the caches at a loss of power empties the queues, too".to_owned();
        r.bad("pmem.adr", "false with pmem.eadr = true".to_owned(), expected);
    }
    whole_media_lines(r, "pmem.interleave");
    translation_table(r);
    wear_levelling(r);
}

/// A size of whole media lines.
fn whole_media_lines(r: &mut Reader<'_>, key: &str) {
    let (Some(bytes), Some(line)) = (r.get::<u64>(key), r.get::<u64>("pmem.media_line")) else { return };
    if !bytes.is_multiple_of(line) {
        r.bad(key, format!("{bytes} B"), format!("a multiple of pmem.media_line, {line} B"));
    }
}

/// A cached table of so many sets as an index of bits can choose from.
fn translation_table(r: &mut Reader<'_>) {
    let (Some(entries), Some(ways)) = (r.get::<u32>("pmem.ait_entries"), r.get::<u32>("pmem.ait_ways"))
    else {
        return;
    };
    if entries == 0 {
        return;
    }
    let sets = entries / ways;
    if !entries.is_multiple_of(ways) || !sets.is_power_of_two() {
        let found = format!("{entries} entries, {ways} ways");
        r.bad(
            "pmem.ait_entries",
            found,
            "entries / pmem.ait_ways to be a power of two, or 0 entries".to_owned(),
        );
    }
    whole_media_lines(r, "pmem.ait_block");
}

/// A range of writes until a block is moved.
fn wear_levelling(r: &mut Reader<'_>) {
    let keys = (r.get::<u32>("pmem.wear_writes_least"), r.get::<u32>("pmem.wear_writes_most"));
    let (Some(least), Some(most)) = keys else { return };
    if most < least {
        let expected = format!("at least pmem.wear_writes_least, {least}");
        r.bad("pmem.wear_writes_most", most.to_string(), expected);
    }
}

/// `n` of something.
pub(crate) fn count(n: u32, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
