//! The events that are neither fs_dax events, system calls nor probes.

use daxsim_types::{CpuId, ErrorCode, VirtAddr};

use super::event::{Event, IpiTarget, Marker};
use super::fields::Fields;
use super::scan::Scan;

/// `address=0x1000 ip=0x40201e error_code=0x4`
pub(super) fn page_fault<F: Fields>(f: &mut F, kernel: bool) -> Option<Event> {
    let address = VirtAddr(f.hex(b"address=", b"address")?);
    let ip = f.instruction()?;
    let error_code = ErrorCode(f.hex32(b" error_code=", b"error_code")?);
    f.at_end().then_some(Event::PageFault { kernel, address, ip, error_code })
}

/// `pages:-1 reason:local mm shootdown (3)`
pub(super) fn tlb_flush<F: Fields>(f: &mut F) -> Option<Event> {
    let pages = f.int(b"pages:", b"pages")?;
    let reason = f.reason()?;
    f.at_end().then_some(Event::TlbFlush { pages, reason })
}

/// `vector=252`
pub(super) fn vector<F: Fields>(f: &mut F) -> Option<u8> {
    let vector = f.dec_as(b"vector=", b"vector")?;
    f.at_end().then_some(vector)
}

/// `cpu=2 callsite=symbol+0x1/0x2 callback=..`
pub(super) fn ipi_cpu<F: Fields>(f: &mut F) -> Option<Event> {
    let cpu = CpuId(f.dec_as(b"cpu=", b"cpu")?);
    ipi(f, IpiTarget::Cpu(cpu))
}

/// `cpumask=00000000,0000000e callsite=.. callback=..`
pub(super) fn ipi_mask<F: Fields>(f: &mut F) -> Option<Event> {
    let mask = f.cpu_mask()?;
    ipi(f, IpiTarget::Mask(mask))
}

fn ipi<F: Fields>(f: &mut F, target: IpiTarget) -> Option<Event> {
    let callsite = f.call_site()?;
    let is_shootdown = callsite.as_bytes().starts_with(b"on_each_cpu_cond_mask");
    Some(Event::IpiSend { target, callsite, is_shootdown })
}

/// `prev_comm=a prev_pid=1 prev_prio=120 prev_state=R ==> next_comm=b next_pid=2 next_prio=120`
pub(super) fn sched_switch<F: Fields>(f: &mut F) -> Option<Event> {
    let prev_comm = f.comm(b"prev_comm=", b"prev_comm", b" prev_pid=")?;
    let prev_pid = f.dec_as(b" prev_pid=", b"prev_pid")?;
    let (prev_state, preempted) = f.task_state()?;
    let next_comm = f.comm(b" ==> next_comm=", b"next_comm", b" next_pid=")?;
    let next_pid = f.dec_as(b" next_pid=", b"next_pid")?;
    f.int(b" next_prio=", b"next_prio")?;
    Some(Event::SchedSwitch { prev_comm, prev_pid, prev_state, preempted, next_comm, next_pid })
}

/// `comm=a pid=1 prio=120 orig_cpu=3 dest_cpu=0`
pub(super) fn sched_migrate<F: Fields>(f: &mut F) -> Option<Event> {
    let comm = f.comm(b"comm=", b"comm", b" pid=")?;
    let pid = f.dec_as(b" pid=", b"pid")?;
    f.int(b" prio=", b"prio")?;
    let orig_cpu = CpuId(f.dec_as(b" orig_cpu=", b"orig_cpu")?);
    let dest_cpu = CpuId(f.dec_as(b" dest_cpu=", b"dest_cpu")?);
    f.at_end().then_some(Event::SchedMigrateTask { comm, pid, orig_cpu, dest_cpu })
}

/// Any text is a marker.
pub(super) fn marker<F: Fields>(f: &mut F) -> Option<Event> {
    let s = Scan(f.marker());
    let marker = begin(s).or_else(|| end(s)).unwrap_or_else(|| Marker::Text(text(s.0)));
    Some(Event::Marker(marker))
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into_owned().into_boxed_str()
}

/// `B 8 t0 0 str 0 0 64k 4096`
fn begin(mut s: Scan<'_>) -> Option<Marker> {
    s.lit(b"B ")?;
    let (line, thread) = place(&mut s)?;
    s.lit(b" ")?;
    Some(Marker::Begin { line, thread, text: text(s.0) })
}

/// `E 8 t0 rc=0 errno=0 acc=16 sig=0`
fn end(mut s: Scan<'_>) -> Option<Marker> {
    s.lit(b"E ")?;
    let (line, thread) = place(&mut s)?;
    s.lit(b" rc=")?;
    let rc = s.signed()?;
    s.lit(b" errno=")?;
    let errno = i32::try_from(s.signed()?).ok()?;
    s.lit(b" acc=")?;
    let acc = s.dec_as()?;
    s.lit(b" sig=")?;
    let sig = s.dec_as()?;
    s.at_end().then_some(Marker::End { line, thread, rc, errno, acc, sig })
}

fn place(s: &mut Scan<'_>) -> Option<(u32, u16)> {
    let line = s.dec_as()?;
    s.lit(b" t")?;
    Some((line, s.dec_as()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_faults_of_user_and_kernel() {
        let e = page_fault(&mut Scan(b"address=0x1000 ip=0x40201e error_code=0x4"), false);
        let (address, error_code) = (VirtAddr(0x1000), ErrorCode(4));
        assert_eq!(e, Some(Event::PageFault { kernel: false, address, ip: Some(0x40201e), error_code }));
        let e = page_fault(&mut Scan(b"address=0x1000 ip=__put_user_4 error_code=0x4"), true);
        assert_eq!(e, Some(Event::PageFault { kernel: true, address, ip: None, error_code }));
        assert_eq!(page_fault(&mut Scan(b"address=0x1000 ip=0x1"), true), None);
    }

    #[test]
    fn a_flush_is_known_by_its_number() {
        for text in ["pages:-1 reason:local mm shootdown (3)", "pages:-1 reason:local MM shootdown (3)"] {
            let e = tlb_flush(&mut Scan(text.as_bytes()));
            assert_eq!(e, Some(Event::TlbFlush { pages: -1, reason: 3 }));
        }
        assert_eq!(tlb_flush(&mut Scan(b"pages:-1 reason:x (300)")), None);
    }

    #[test]
    fn shootdowns_are_told_from_other_ipis() {
        let e = ipi_mask(&mut Scan(
            b"cpumask=00000001,00000000,8000000e callsite=on_each_cpu_cond_mask+0x24/0x40 callback=f+0x0/0x20",
        ));
        let Some(Event::IpiSend { target: IpiTarget::Mask(m), callsite, is_shootdown: true }) = e else {
            panic!()
        };
        assert!(m.beyond && m.contains(CpuId(31)) && !m.contains(CpuId(64)) && m.count() == 4);
        assert_eq!(callsite, "on_each_cpu_cond_mask+0x24/0x40");
        let e = ipi_cpu(&mut Scan(b"cpu=2 callsite=ttwu_queue_wakelist+0xdd/0x100 callback=f+0x0/0x20"));
        let target = IpiTarget::Cpu(CpuId(2));
        assert!(matches!(e, Some(Event::IpiSend { target: t, is_shootdown: false, .. }) if t == target));
    }

    #[test]
    fn scheduler_events() {
        let text = b"prev_comm=my task prev_pid=7 prev_prio=120 prev_state=R+ ==> next_comm=swapper/3 next_pid=0 next_prio=120";
        let Some(Event::SchedSwitch { prev_comm, prev_state: b'R', preempted: true, next_pid: 0, .. }) =
            sched_switch(&mut Scan(text))
        else {
            panic!()
        };
        assert_eq!(prev_comm, "my task");
        let e = sched_migrate(&mut Scan(b"comm=kdamond.0 pid=66 prio=120 orig_cpu=0 dest_cpu=3"));
        assert!(matches!(e, Some(Event::SchedMigrateTask { pid: 66, dest_cpu: CpuId(3), .. })));
    }

    #[test]
    fn markers_of_daxplay_and_of_others() {
        let m = |text: &str| match marker(&mut Scan(text.as_bytes())) {
            Some(Event::Marker(m)) => m,
            _ => panic!(),
        };
        assert_eq!(m("B 8 t0 0 ld 0 0"), Marker::Begin { line: 8, thread: 0, text: "0 ld 0 0".into() });
        let end = Marker::End { line: 8, thread: 3, rc: -1, errno: 5, acc: 1, sig: 0 };
        assert_eq!(m("E 8 t3 rc=-1 errno=5 acc=1 sig=0"), end);
        for other in ["B x", "E 8 t3 rc=", "hello", "", "B 99999999999 t0 x"] {
            assert_eq!(m(other), Marker::Text(other.into()));
        }
    }
}
