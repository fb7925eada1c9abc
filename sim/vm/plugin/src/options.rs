//! The options of the plugin: words `name=value`.

use std::path::PathBuf;
use std::str::FromStr;

/// Numbers from `start` up to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    /// Every number but the last.
    pub(crate) const ALL: Self = Self { start: 0, end: u64::MAX };

    #[inline]
    pub(crate) fn has(self, number: u64) -> bool {
        number.wrapping_sub(self.start) < self.end - self.start
    }
}

/// What is done when nobody reads the ring any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReaderGone {
    /// The guest runs on without being looked at.
    #[default]
    Continue,
    /// QEMU is asked to end.
    Quit,
}

/// Whose accesses are streamed: told by the upper half of the instruction's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum From {
    #[default]
    All,
    User,
    Kernel,
}

/// How instructions are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Counting {
    /// By blocks: all instructions of a block when it begins, also if one of them faults.
    #[default]
    Blocks,
    /// Each one when it begins.
    Each,
}

/// Everything that can be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The ring; without one, accesses are counted only.
    pub(crate) ring: Option<PathBuf>,
    /// The guest's physical memory by host addresses.
    pub(crate) map: Option<PathBuf>,
    /// Where counts are written at the end.
    pub(crate) counts: Option<PathBuf>,
    /// Virtual addresses that are streamed; none: all.
    pub(crate) virt: Vec<Span>,
    /// Physical addresses that are streamed; none: all.
    pub(crate) phys: Vec<Span>,
    /// Instructions of a vCPU, counted from 1.
    pub(crate) instructions: Option<Span>,
    /// Accesses of a vCPU that pass the other filters, counted from 0.
    pub(crate) accesses: Option<Span>,
    /// Nothing is streamed before a store to this virtual address.
    pub(crate) start: Option<u64>,
    /// Nothing is streamed after a store to this one.
    pub(crate) stop: Option<u64>,
    pub(crate) from: From,
    pub(crate) counting: Counting,
    pub(crate) reader_gone: ReaderGone,
    /// Accesses to devices are left out.
    pub(crate) skip_devices: bool,
    /// What changes translations is streamed, too.
    pub(crate) control: bool,
    /// Physical addresses are not asked for.
    pub(crate) no_physical: bool,
}

/// An option that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}: expected {expected}")]
pub(crate) struct WrongOption {
    found: String,
    expected: String,
}

const NAMES: &str = "ring=, map=, counts=, virt=, phys=, instructions=, accesses=, start=, stop=, from=, count=, reader-gone=, devices=, \
                     physical= or control=";

impl Options {
    /// Reads all options.
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, WrongOption> {
        let mut options = Self::default();
        for word in words {
            options.set(word)?;
        }
        options.check()
    }

    fn set(&mut self, word: &str) -> Result<(), WrongOption> {
        let wrong = |expected: &str| WrongOption { found: word.into(), expected: expected.into() };
        let Some((name, value)) = word.split_once('=') else { return Err(wrong(NAMES)) };
        let range = || span(value).ok_or_else(|| wrong("START-END or START+LENGTH, in decimal or with 0x"));
        let address = || number(value).ok_or_else(|| wrong("a virtual address"));
        match name {
            "ring" => self.ring = Some(value.into()),
            "map" => self.map = Some(value.into()),
            "counts" => self.counts = Some(value.into()),
            "virt" => self.virt.push(range()?),
            "phys" => self.phys.push(range()?),
            "instructions" => self.instructions = Some(range()?),
            "accesses" => self.accesses = Some(range()?),
            "start" => self.start = Some(address()?),
            "stop" => self.stop = Some(address()?),
            "from" => {
                let choices = [("all", From::All), ("user", From::User), ("kernel", From::Kernel)];
                self.from = choice(value, &choices).ok_or_else(|| wrong("all, user or kernel"))?;
            }
            "count" => {
                let choices = [("blocks", Counting::Blocks), ("each", Counting::Each)];
                self.counting = choice(value, &choices).ok_or_else(|| wrong("blocks or each"))?;
            }
            "reader-gone" => {
                let choices = [("continue", ReaderGone::Continue), ("quit", ReaderGone::Quit)];
                self.reader_gone = choice(value, &choices).ok_or_else(|| wrong("continue or quit"))?;
            }
            "devices" => {
                self.skip_devices =
                    choice(value, &[("mark", false), ("skip", true)]).ok_or_else(|| wrong("mark or skip"))?;
            }
            "control" => {
                self.control =
                    choice(value, &[("off", false), ("on", true)]).ok_or_else(|| wrong("on or off"))?;
            }
            "physical" => {
                self.no_physical =
                    choice(value, &[("on", false), ("off", true)]).ok_or_else(|| wrong("on or off"))?;
            }
            _ => return Err(wrong(NAMES)),
        }
        Ok(())
    }

    fn check(self) -> Result<Self, WrongOption> {
        if self.no_physical && (!self.phys.is_empty() || self.skip_devices) {
            let (found, expected) =
                ("physical=off".into(), "physical=on where phys= or devices=skip are given".into());
            return Err(WrongOption { found, expected });
        }
        Ok(self)
    }
}

fn choice<T: Copy>(value: &str, choices: &[(&str, T)]) -> Option<T> {
    choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice)
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => u64::from_str(text).ok(),
    }
}

/// `START-END` or `START+LENGTH`, not empty.
fn span(text: &str) -> Option<Span> {
    let found = if let Some((start, end)) = text.split_once('-') {
        Span { start: number(start)?, end: number(end)? }
    } else {
        let (start, length) = text.split_once('+')?;
        let start = number(start)?;
        Span { start, end: start.checked_add(number(length)?)? }
    };
    (found.start < found.end).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_ranges_add_up() {
        let words =
            ["ring=/r", "phys=0x140000000+0x1000", "phys=16-32", "from=kernel", "devices=skip", "start=0x10"];
        let options = Options::parse(words).unwrap();
        assert_eq!(options.ring, Some("/r".into()));
        let spans = [Span { start: 0x1_4000_0000, end: 0x1_4000_1000 }, Span { start: 16, end: 32 }];
        assert_eq!(options.phys, spans);
        assert_eq!((options.from, options.skip_devices, options.start), (From::Kernel, true, Some(16)));
    }

    #[test]
    fn a_wrong_option_is_refused_with_what_can_be() {
        let refused = |word| Options::parse([word]).unwrap_err().to_string();
        assert_eq!(refused("from=me"), "found \"from=me\": expected all, user or kernel");
        assert_eq!(
            refused("virt=5-5"),
            "found \"virt=5-5\": expected START-END or START+LENGTH, in decimal or with 0x"
        );
        assert!(refused("ringo=/r").contains("reader-gone="));
        assert!(refused("ring").starts_with("found \"ring\": expected ring="));
        let both = Options::parse(["phys=1-2", "physical=off"]).unwrap_err().to_string();
        assert_eq!(
            both,
            "found \"physical=off\": expected physical=on where phys= or devices=skip are given"
        );
    }

    #[test]
    fn a_span_has_its_start_but_not_its_end() {
        let span = Span { start: 16, end: 32 };
        assert!(!span.has(15) && span.has(16) && span.has(31) && !span.has(32));
        assert!(Span::ALL.has(0) && Span::ALL.has(u64::MAX - 1));
    }
}
