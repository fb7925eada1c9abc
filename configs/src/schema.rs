//! Keys, and how a section of them becomes a struct and goes back.

use daxsim_types::{CpuClock, PageSize, Time};

pub(crate) use crate::kind::{Kind, POSITIVE_TIME, Parsed, TIME, Transfer};
pub(crate) use crate::reader::{Reader, Shown};

/// A key, what it holds and what it means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyDef {
    pub key: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
    /// What a file that does not give the key means by it, as `--set` takes it; without one the key has to be given.
    pub default: Option<&'static str>,
}

impl KeyDef {
    /// Whether `--set` may give it.
    pub fn overridable(&self) -> bool {
        self.key != "description"
    }
}

/// A field type: how it comes from a checked value and goes back.
pub(crate) trait Field: Sized {
    fn from_parsed(parsed: &Parsed) -> Option<Self>;
    fn to_parsed(&self) -> Parsed;
}

macro_rules! number_fields {
    ($($t:ty),*) => {$(
        impl Field for $t {
            fn from_parsed(parsed: &Parsed) -> Option<Self> {
                let Parsed::Number(n) = parsed else { return None };
                <$t>::try_from(*n).ok()
            }
            fn to_parsed(&self) -> Parsed {
                Parsed::Number(u64::from(*self))
            }
        }
    )*};
}
number_fields!(u16, u32, u64);

macro_rules! plain_fields {
    ($($t:ty => $variant:ident),*) => {$(
        impl Field for $t {
            fn from_parsed(parsed: &Parsed) -> Option<Self> {
                let Parsed::$variant(x) = parsed else { return None };
                Some(x.clone())
            }
            fn to_parsed(&self) -> Parsed {
                Parsed::$variant(self.clone())
            }
        }
    )*};
}
plain_fields!(bool => Bool, String => Text, Time => Time, CpuClock => Clock);

impl Field for Vec<PageSize> {
    fn from_parsed(parsed: &Parsed) -> Option<Self> {
        let Parsed::Set(bits) = parsed else { return None };
        let sizes = PageSize::ALL.into_iter().enumerate();
        Some(sizes.filter(|(i, _)| bits & (1 << i) != 0).map(|(_, size)| size).collect())
    }

    fn to_parsed(&self) -> Parsed {
        let sizes = PageSize::ALL.iter().enumerate();
        Parsed::Set(sizes.filter(|(_, size)| self.contains(size)).map(|(i, _)| 1 << i).sum())
    }
}

/// Ties an enum to the texts of its values.
macro_rules! choices {
    ($names:ident: $t:ty { $($text:literal => $variant:ident),* $(,)? }) => {
        pub(crate) const $names: &[&str] = &[$($text),*];
        impl $crate::schema::Field for $t {
            fn from_parsed(parsed: &$crate::schema::Parsed) -> Option<Self> {
                let $crate::schema::Parsed::Choice(i) = parsed else { return None };
                [$(<$t>::$variant),*].get(*i).copied()
            }
            fn to_parsed(&self) -> $crate::schema::Parsed {
                let all = [$(<$t>::$variant),*];
                $crate::schema::Parsed::Choice(all.iter().position(|x| x == self).unwrap_or_default())
            }
        }
    };
}
pub(crate) use choices;

/// Ties the fields of a struct to keys: their list, the way in and the way out.
///
/// `{ field "key": KIND, "doc"; ... }`, then `{ field = value; ... }` for those that no key sets. A key that a file may leave
/// out is written `field "key" = "default": KIND, "doc"`.
macro_rules! section {
    ($module:ident: $t:ident, $prefix:literal {
        $($field:ident $key:literal $(= $default:literal)?: $kind:expr, $doc:literal;)*
    } $({ $($fixed:ident = $value:expr;)* })?) => {
        pub(crate) mod $module {
            #[allow(unused_imports)]
            use super::*;
            pub(crate) const KEYS: &[$crate::schema::KeyDef] = &[$($crate::schema::KeyDef {
                key: concat!($prefix, ".", $key),
                kind: $kind,
                doc: $doc,
                default: $crate::schema::optional_text!($($default)?),
            }),*];
            pub(crate) fn read(reader: &$crate::schema::Reader<'_>) -> Option<$t> {
                Some($t {
                    $($field: reader.get(concat!($prefix, ".", $key))?,)*
                    $($($fixed: $value,)*)?
                })
            }
            #[allow(dead_code)]
            pub(crate) fn show(spec: &$t, shown: &mut $crate::schema::Shown) {
                $(shown.put(concat!($prefix, ".", $key), &spec.$field);)*
            }
        }
    };
}
pub(crate) use section;

/// A literal that may not be there, as an option.
macro_rules! optional_text {
    () => {
        None
    };
    ($text:literal) => {
        Some($text)
    };
}
pub(crate) use optional_text;
