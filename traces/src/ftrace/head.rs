//! The part of a line before the event: `task-pid [cpu] flags seconds: `.

use daxsim_types::CpuId;

use super::scan::Scan;
use super::text::Comm;

/// What comes before the event.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub task: Comm,
    pub pid: u32,
    pub cpu: CpuId,
    pub time_ns: u64,
}

/// Splits a line into its head and its event.
#[inline]
pub(super) fn head(line: &[u8]) -> Option<(Head, &[u8])> {
    // A task's name may hold blanks, `-` and `[`: take the first `[` that fits.
    memchr::memchr_iter(b'[', line).find_map(|at| {
        let (task, pid) = task(line.get(..at)?)?;
        let mut rest = Scan(line.get(at + 1..)?);
        let cpu = CpuId(rest.dec_as()?);
        rest.lit(b"]")?;
        let time_ns = time(&mut rest)?;
        Some((Head { task, pid, cpu, time_ns }, rest.0))
    })
}

/// `  daxplay-3634    ` or, with thread group ids, `  daxplay-3634    (   3634) `
fn task(text: &[u8]) -> Option<(Comm, u32)> {
    let mut text = text.strip_suffix(b" ")?.trim_ascii();
    if let Some(inner) = text.strip_suffix(b")") {
        let open = memchr::memrchr(b'(', inner)?;
        text = inner.get(..open)?.trim_ascii_end();
    }
    let dash = memchr::memrchr(b'-', text)?;
    let mut pid = Scan(text.get(dash + 1..)?);
    let number = pid.dec_as()?;
    pid.0.is_empty().then_some((Comm::new(text.get(..dash)?), number))
}

/// ` d..1.  1464.347118: ` as nanoseconds; the flags may be missing.
fn time(rest: &mut Scan<'_>) -> Option<u64> {
    skip_blanks(rest)?;
    if !rest.0.first()?.is_ascii_digit() || !is_time(rest.0) {
        rest.until(b' ')?;
        skip_blanks(rest);
    }
    let seconds = rest.dec()?;
    rest.lit(b".")?;
    let before = rest.0.len();
    let fraction = rest.dec()?;
    let digits = before - rest.0.len();
    rest.lit(b": ")?;
    let scale = 10_u64.pow(u32::try_from(9_usize.checked_sub(digits)?).ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction * scale)
}

/// Whether the text begins like `12.345:` (flags may begin with a digit too).
fn is_time(text: &[u8]) -> bool {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    text.get(digits) == Some(&b'.') && text.get(digits + 1).is_some_and(u8::is_ascii_digit)
}

fn skip_blanks(rest: &mut Scan<'_>) -> Option<()> {
    let blanks = rest.0.iter().take_while(|&&b| b == b' ').count();
    rest.0 = rest.0.get(blanks..)?;
    (blanks > 0).then_some(())
}

/// `CPU:2 [LOST 123 EVENTS]`: the number, 0 if it is not given.
pub(super) fn lost(line: &[u8]) -> Option<u64> {
    let mut rest = Scan(line);
    rest.lit(b"CPU:")?;
    rest.dec()?;
    rest.lit(b" [LOST ")?;
    if rest.lit(b"EVENTS]").is_some() {
        return Some(0);
    }
    let events = rest.dec()?;
    rest.lit(b" EVENTS]")?;
    Some(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<(String, u32, u16, u64, String)> {
        let (h, rest) = head(line.as_bytes())?;
        let rest = String::from_utf8_lossy(rest).into_owned();
        Some((h.task.to_string(), h.pid, h.cpu.0, h.time_ns, rest))
    }

    #[test]
    fn heads_of_every_form() {
        let cases = [
            (
                "         daxplay-3634    [001] d..1.  1358.915391: x: y",
                ("daxplay", 3634, 1, 1_358_915_391_000),
            ),
            ("          <idle>-0       [003] d..2.  1464.248786: x: y", ("<idle>", 0, 3, 1_464_248_786_000)),
            (
                "    jbd2/pmem0-8-3447    [002] d.h2.     3.878267: x: y",
                ("jbd2/pmem0-8", 3447, 2, 3_878_267_000),
            ),
            ("  my [0] task -1-12 [000] .....     0.000001: x: y", ("my [0] task -1", 12, 0, 1000)),
            ("  daxplay-36      (     36) [000] d....  1.5: x: y", ("daxplay", 36, 0, 1_500_000_000)),
            ("  daxplay-36      (-------) [000] d....  1.5: x: y", ("daxplay", 36, 0, 1_500_000_000)),
            ("  daxplay-36      [000]  1.500000001: x: y", ("daxplay", 36, 0, 1_500_000_001)),
        ];
        for (line, (task, pid, cpu, ns)) in cases {
            assert_eq!(parse(line), Some((task.into(), pid, cpu, ns, "x: y".into())), "{line}");
        }
    }

    #[test]
    fn other_lines_are_not_heads() {
        for line in [
            "",
            "[",
            "[000]",
            "daxplay [000] d.... 1.5: x: y",
            "daxplay-x [000] d.... 1.5: x: y",
            "daxplay-1 [99999] d.... 1.5: x: y",
            "daxplay-1 [000] d.... 15: x: y",
            "daxplay-1 [000] d.... 1.1234567890: x: y",
            "daxplay-1 [000] d.... 99999999999.5: x: y",
            "daxplay-1 [000] d.... 1.5",
            "daxplay-99999999999 [000] d.... 1.5: x: y",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn lost_events_are_counted() {
        assert_eq!(lost(b"CPU:2 [LOST 123 EVENTS]"), Some(123));
        assert_eq!(lost(b"CPU:2 [LOST EVENTS]"), Some(0));
        assert_eq!(lost(b"CPU:x [LOST 1 EVENTS]"), None);
    }
}
