//! The text of a tracefs `format` file: which fields the records of an event have, and where.

/// Most fields of an event that are kept; the kernel's own bound for arguments of a probe is 128.
const MOST_FIELDS: usize = 256;

/// Where the bytes of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At its offset.
    Here,
    /// At the offset in the low half of the word there, of the length in its high half.
    Dynamic,
    /// The same, with the offset counted from behind the word.
    Relative,
}

/// A field of an event's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub name: Box<[u8]>,
    pub offset: usize,
    /// Bytes; 0 for an array without bounds at the end.
    pub size: usize,
    pub signed: bool,
    pub place: Place,
}

/// An event's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Format {
    /// The event's name, without its system.
    pub name: Box<[u8]>,
    /// The number in its records.
    pub id: u16,
    /// The fields, the common ones first.
    pub(super) fields: Vec<Field>,
}

impl Format {
    /// Reads a description; `None` if name or number is missing.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (mut name, mut id) = (None, None);
        let mut fields = Vec::new();
        for line in text.split(|&b| b == b'\n') {
            let line = line.trim_ascii();
            if let Some(n) = line.strip_prefix(b"name:") {
                name = Some(n.trim_ascii().into());
            } else if let Some(n) = line.strip_prefix(b"ID:") {
                id = Some(u16::try_from(number(n)?).ok()?);
            } else if let Some(text) = line.strip_prefix(b"field:") {
                if fields.len() < MOST_FIELDS {
                    fields.extend(field(text));
                }
            } else if line.starts_with(b"print fmt:") {
                break;
            }
        }
        Some(Self { name: name?, id: id?, fields })
    }

    /// The fields of a description without a name, as `events/header_page` has.
    pub fn header(text: &[u8]) -> Self {
        let lines = text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
        let fields =
            lines.filter_map(|line| line.strip_prefix(b"field:")).take(MOST_FIELDS).filter_map(field);
        Self { fields: fields.collect(), ..Self::default() }
    }

    /// Whether it is a kernel probe's.
    pub(super) fn is_probe(&self) -> bool {
        self.field(b"__probe_ip").is_some() || self.field(b"__probe_func").is_some()
    }

    /// Offset and size of a field.
    pub fn place_of(&self, name: &[u8]) -> Option<(usize, usize)> {
        self.field(name).map(|field| (field.offset, field.size))
    }

    pub(super) fn field(&self, name: &[u8]) -> Option<&Field> {
        self.fields.iter().find(|field| *field.name == *name)
    }
}

/// `unsigned short common_type; offset:0; size:2; signed:0;`
fn field(text: &[u8]) -> Option<Field> {
    let mut parts = text.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    let declaration = parts.next()?;
    let mut field =
        Field { name: name_of(declaration)?.into(), offset: 0, size: 0, signed: false, place: Place::Here };
    if declaration.starts_with(b"__data_loc ") {
        field.place = Place::Dynamic;
    } else if declaration.starts_with(b"__rel_loc ") {
        field.place = Place::Relative;
    }
    for part in parts {
        if let Some(n) = part.strip_prefix(b"offset:") {
            field.offset = number(n)?;
        } else if let Some(n) = part.strip_prefix(b"size:") {
            field.size = number(n)?;
        } else if let Some(n) = part.strip_prefix(b"signed:") {
            field.signed = number(n)? != 0;
        }
    }
    Some(field)
}

/// The last word of a declaration, without the bounds of an array.
fn name_of(declaration: &[u8]) -> Option<&[u8]> {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    // `char buf[]`, but `__data_loc char[] comm`: bounds count if they stand at the end.
    let mut rest = declaration;
    while let Some(inner) = rest.strip_suffix(b"]") {
        rest = inner.get(..memchr::memrchr(b'[', inner)?)?.trim_ascii_end();
    }
    let start = rest.iter().rposition(|b| !is_name(b)).map_or(0, |at| at + 1);
    let name = rest.get(start..)?;
    (!name.is_empty()).then_some(name)
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_to_its_print_format() {
        let text = b"name: sched_migrate_task\nID: 309\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
            \tfield:__data_loc char[] comm;\toffset:8;\tsize:4;\tsigned:0;\n\
            \tfield:char prev_comm[16];\toffset:12;\tsize:16;\tsigned:0;\n\
            \tfield:void * callsite;\toffset:32;\tsize:8;\tsigned:0;\n\
            \tfield:__rel_loc cpumask_t *mask;\toffset:40;\tsize:4;\tsigned:0;\n\
            print fmt: \"field:int no;\"\n field:int no;\toffset:0;\tsize:4;\tsigned:0;\n";
        let format = Format::parse(text).unwrap();
        assert_eq!((&*format.name, format.id), (&b"sched_migrate_task"[..], 309));
        let names: Vec<_> = format.fields.iter().map(|f| String::from_utf8_lossy(&f.name)).collect();
        assert_eq!(names, ["common_type", "common_pid", "comm", "prev_comm", "callsite", "mask"]);
        let comm = format.field(b"comm").unwrap();
        assert_eq!((comm.place, comm.offset, comm.size), (Place::Dynamic, 8, 4));
        assert_eq!(format.field(b"mask").unwrap().place, Place::Relative);
        assert!(format.field(b"common_pid").unwrap().signed && format.field(b"no").is_none());
        assert_eq!(format.field(b"prev_comm").unwrap().size, 16);
    }

    #[test]
    fn descriptions_without_name_or_number_are_refused() {
        for text in ["", "name: x\n", "ID: 3\n", "name: x\nID: 70000\n", "name: x\nID: y\n"] {
            assert_eq!(Format::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Format::parse(b"name: x\nID: 1\n\tfield:;\toffset:x;\n").unwrap().fields, []);
        assert_eq!(
            Format::parse(b"name: x\nID: 1\n\tfield:int a[;\toffset:99999999999999999999;\n").unwrap().fields,
            []
        );
    }
}
