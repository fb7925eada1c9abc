//! The kinds of value that a key may hold: how each is read, checked, shown and explained.

use daxsim_types::{CpuClock, Time};

use crate::cost::{PathLength, Source};
use crate::units;
use crate::value::Value;

/// The bytes whose transfer a bandwidth key prices.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transfer {
    CacheLine,
    /// `pmem.media_line`.
    MediaLine,
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Count { min: u64, max: u64 },
    Bool,
    Text,
    Time { zero: bool },
    Size { min: u64, max: u64, multiple: u64 },
    Address { multiple: u64 },
    Frequency,
    Bandwidth(Transfer),
    Cpi,
    Choice(&'static [&'static str]),
    Set { names: &'static [&'static str], empty: bool },
    Path,
    Source,
}

/// Any time.
pub(crate) const TIME: Kind = Kind::Time { zero: true };
/// A time that cannot be zero.
pub(crate) const POSITIVE_TIME: Kind = Kind::Time { zero: false };

impl Kind {
    pub fn expected(&self) -> String {
        match self {
            Self::Count { min, max } => format!("an integer in {min}..={max}"),
            Self::Bool => "true or false".to_owned(),
            Self::Text => "one line of text".to_owned(),
            Self::Time { zero } => {
                let range = if *zero { "up to 1 s" } else { "above zero, up to 1 s" };
                format!(
                    "a time {range} with its unit (cycles, ps, ns, us, ms), such as \"14 cycles\" or \"81.4 ns\""
                )
            }
            Self::Size { min, max, multiple } => {
                let (min, max) = (units::show_size(*min), units::show_size(*max));
                let multiple = match multiple {
                    1 => String::new(),
                    m => format!(", a multiple of {}", units::show_size(*m)),
                };
                format!(
                    "a size in {min}..={max}{multiple} with its unit (B, KiB, MiB, GiB, TiB), such as \"32 KiB\""
                )
            }
            Self::Address { multiple } => {
                format!(
                    "an address below 2^52, a multiple of {}, such as 0x140200000",
                    units::show_size(*multiple)
                )
            }
            Self::Frequency => {
                "a frequency in 1 MHz..=10 GHz with its unit (Hz, kHz, MHz, GHz), such as \"2.2 GHz\""
                    .to_owned()
            }
            Self::Bandwidth(_) => {
                "a bandwidth in 1 MB/s..=10000 GB/s with its unit (MB/s, GB/s, MiB/s, GiB/s), \
                                   such as \"21.3 GB/s\""
                    .to_owned()
            }
            Self::Cpi => "cycles per instruction in 0.001..=1000, such as 0.9".to_owned(),
            Self::Choice(names) => format!("one of {}", quoted(names)),
            Self::Set { names, empty } => {
                let some = if *empty { "any" } else { "one or more" };
                format!("an array of {some} of {}, each at most once", quoted(names))
            }
            Self::Path => PathLength::expected(),
            Self::Source => Source::expected(),
        }
    }

    pub fn parse(&self, value: &Value, context: &Context) -> Option<Parsed> {
        match (self, value) {
            (Self::Count { min, max }, Value::Integer(n)) => {
                let n = u64::try_from(*n).ok()?;
                (*min..=*max).contains(&n).then_some(Parsed::Number(n))
            }
            (Self::Bool, Value::Bool(b)) => Some(Parsed::Bool(*b)),
            (Self::Text, Value::Text(s)) => {
                (!s.trim().is_empty() && !s.contains(char::is_control)).then(|| Parsed::Text(s.clone()))
            }
            (Self::Time { zero }, Value::Text(s)) => {
                let time = units::parse_time(s, context.period_ps)?;
                (*zero || time > Time::ZERO).then_some(Parsed::Time(time))
            }
            (Self::Size { min, max, multiple }, Value::Text(s)) => {
                let n = units::parse_size(s)?;
                ((*min..=*max).contains(&n) && n.is_multiple_of(*multiple)).then_some(Parsed::Number(n))
            }
            (Self::Address { multiple }, Value::Integer(n)) => {
                let n = u64::try_from(*n).ok()?;
                (n < 1 << 52 && n.is_multiple_of(*multiple)).then_some(Parsed::Number(n))
            }
            (Self::Frequency, Value::Text(s)) => units::parse_clock(s).map(Parsed::Clock),
            (Self::Bandwidth(transfer), Value::Text(s)) => {
                units::parse_bandwidth(s, context.bytes(*transfer)).map(Parsed::Time)
            }
            (Self::Cpi, Value::Integer(_) | Value::Float(_)) => {
                let cpi = match value {
                    Value::Integer(n) => u32::try_from(*n).ok().map(f64::from)?,
                    Value::Float(x) => *x,
                    _ => return None,
                };
                (0.001..=1000.0).contains(&cpi).then(|| Parsed::Number((cpi * 1000.0).round() as u64))
            }
            (Self::Choice(names), Value::Text(s)) => names.iter().position(|n| n == s).map(Parsed::Choice),
            (Self::Set { names, empty }, Value::Array(items)) => {
                let mut bits = 0u32;
                for item in items {
                    let Value::Text(s) = item else { return None };
                    let bit = 1u32 << names.iter().position(|n| n == s)?;
                    if bits & bit != 0 {
                        return None;
                    }
                    bits |= bit;
                }
                (*empty || bits != 0).then_some(Parsed::Set(bits))
            }
            (Self::Path, value) => PathLength::parse(value).map(Parsed::Path),
            (Self::Source, value) => Source::parse(value).map(Parsed::Source),
            _ => None,
        }
    }

    /// The text of a value, and whether TOML wants it in quotes.
    pub fn show(&self, parsed: &Parsed, context: &Context) -> (String, bool) {
        match (self, parsed) {
            (Self::Size { .. }, Parsed::Number(n)) => (units::show_size(*n), true),
            (Self::Address { .. }, Parsed::Number(n)) => (format!("{n:#x}"), false),
            (Self::Cpi, Parsed::Number(n)) => (format!("{:?}", *n as f64 / 1000.0), false),
            (_, Parsed::Number(n)) => (n.to_string(), false),
            (_, Parsed::Bool(b)) => (b.to_string(), false),
            (_, Parsed::Text(s)) => (s.clone(), true),
            (Self::Bandwidth(transfer), Parsed::Time(t)) => {
                (units::show_bandwidth(*t, context.bytes(*transfer)), true)
            }
            (_, Parsed::Time(t)) => (units::show_time(*t, context.period_ps), true),
            (_, Parsed::Clock(clock)) => (units::show_clock(*clock), true),
            (Self::Choice(names), Parsed::Choice(i)) => {
                (names.get(*i).copied().unwrap_or_default().to_owned(), true)
            }
            (Self::Set { names, .. }, Parsed::Set(bits)) => {
                let set = names.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0);
                let set: Vec<String> = set.map(|(_, name)| format!("{name:?}")).collect();
                (format!("[{}]", set.join(", ")), false)
            }
            (_, Parsed::Path(path)) => (path.show(), false),
            (_, Parsed::Source(source)) => (source.show(), false),
            (_, Parsed::Choice(_) | Parsed::Set(_)) => (String::new(), true),
        }
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ")
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Parsed {
    Number(u64),
    Bool(bool),
    Text(String),
    Time(Time),
    Clock(CpuClock),
    Choice(usize),
    Set(u32),
    Path(PathLength),
    Source(Source),
}

/// The values that the meaning of others depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Picoseconds in a cycle.
    pub period_ps: u64,
    pub media_line: u64,
}

impl Context {
    fn bytes(&self, transfer: Transfer) -> u64 {
        match transfer {
            Transfer::CacheLine => daxsim_types::LINE_BYTES,
            Transfer::MediaLine => self.media_line,
        }
    }
}
