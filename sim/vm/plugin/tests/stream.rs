//! The plugin in QEMU, on a guest whose accesses are known to the last one.

mod guest;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daxsim_ring::{Access, Batch, Control, Ending, Geometry, Item, Op, Place, Reader, Received};
use daxsim_types::PhysAddr;

const QEMU: &str = "qemu-system-x86_64";

/// An access to the memory of the first CPU: instructions so far, what, and where in it.
type Seen = (u64, Op, u64);

/// Whether there is a QEMU; says so if not.
#[allow(clippy::print_stderr)]
fn have_qemu() -> bool {
    let found = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("SKIPPED: {QEMU} is not installed");
    }
    found
}

/// The plugin, which cargo built beside the folder of the tests.
fn plugin() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().join("libdaxsim_qemu_plugin.so");
    assert!(built.exists(), "{} was built", built.display());
    built
}

/// A folder, and QEMU started with a guest and options of the plugin.
struct Run {
    folder: tempfile::TempDir,
    child: Child,
}

fn start(second_cpu: bool, accelerator: &str, options: &str) -> Run {
    start_image(&guest::image(second_cpu), accelerator, options)
}

fn start_image(guest: &[u8], accelerator: &str, options: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("guest.bin");
    std::fs::write(&image, guest).unwrap();
    let counts = folder.path().join("counts");
    let child = Command::new(QEMU)
        .args(["-accel", accelerator, "-smp", "2", "-m", "64M", "-bios"])
        .arg(&image)
        .args([
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=1",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        ])
        .arg("-plugin")
        .arg(format!("{},counts={}{options}", plugin().display(), counts.display()))
        .spawn()
        .unwrap();
    Run { folder, child }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// What the plugin counted, once QEMU has ended.
    fn counts(&mut self) -> String {
        self.child.wait().unwrap();
        std::fs::read_to_string(self.folder.path().join("counts")).unwrap()
    }
}

/// Everything that came: vCPU, instructions so far, access.
fn read(reader: &mut Reader) -> (Vec<(u32, u64, Access)>, Ending) {
    let (mut batch, mut all, mut idle) = (Batch::default(), Vec::new(), 0);
    loop {
        match reader.next_batch(&mut batch, Duration::from_millis(100)).unwrap() {
            Received::Batch => {
                let mut instructions = batch.instructions;
                for access in batch.accesses() {
                    instructions += u64::from(access.gap);
                    all.push((batch.vcpu, instructions, access));
                }
            }
            Received::Nothing => {
                idle += 1;
                assert!(idle < 300, "QEMU does nothing for half a minute");
            }
            Received::End(ending) => return (all, ending),
        }
    }
}

fn ring() -> Reader {
    Reader::create(&Place::Memory, Geometry { rings: 2, slots: 64, batch: 15 }).unwrap()
}

/// Fails with the first difference.
fn assert_same<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T]) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "number {at}");
    }
    assert_eq!(found.len(), expected.len());
}

/// What the first CPU does to its memory: instructions so far, and what.
fn first_cpu() -> Vec<Seen> {
    let mut all = Vec::new();
    for turn in 0..guest::TURNS {
        let (before, at) = (guest::BEFORE_LOOP + 5 * turn, 64 * turn);
        all.extend([(before + 1, Op::Store, at), (before + 2, Op::Load, at)]);
    }
    let increment = guest::BEFORE_LOOP + 5 * guest::TURNS + 1;
    all.extend([(increment, Op::Load, 0), (increment, Op::Locked, 0)]);
    all
}

#[test]
fn every_access_of_a_known_program_arrives_with_its_count_of_instructions() {
    if !have_qemu() {
        return;
    }
    // QEMU ends behind the last instruction that counts here. That is within a block, and QEMU 10 may run the next one, too.
    for counting in ["blocks", "each"] {
        let mut reader = ring();
        let options = format!(",ring={},virt=0x40000000+0x400000,count={counting}", reader.path().display());
        let mut run = start(false, "tcg", &options);
        let (all, ending) = read(&mut reader);
        assert_eq!(ending, Ending::Finished);
        let counts = run.counts();
        let begins = |more| {
            counts.starts_with(&format!("{{\"vcpu\":0,\"instructions\":{},", guest::INSTRUCTIONS + more))
        };
        assert!(begins(0) || begins(1), "{counts}");
        let found: Vec<_> =
            all.iter().map(|(_, count, a)| (*count, a.op, a.va.0 - guest::FIRST_VIRT)).collect();
        assert_same(&found, &first_cpu());
        assert!(all.iter().all(|(vcpu, _, a)| *vcpu == 0 && a.size == 4 && !a.device && a.user));
        assert!(
            all.iter().all(|(_, _, a)| a.pa.unwrap().0 - guest::FIRST_PHYS == a.va.0 - guest::FIRST_VIRT)
        );
    }
}

#[test]
fn filters_by_physical_address_and_windows_let_pass_what_they_say() {
    if !have_qemu() {
        return;
    }
    let expected = |keep: &dyn Fn(usize, u64, u64) -> bool| -> Vec<_> {
        let all = first_cpu().into_iter().enumerate();
        all.filter(|(at, (count, _, offset))| keep(*at, *count, *offset)).map(|(_, what)| what).collect()
    };
    let cases: [(&str, Vec<Seen>); 5] = [
        ("phys=0x401000+0x1000", expected(&|_, _, offset| (0x1000..0x2000).contains(&offset))),
        (
            "virt=0x40000000+0x400000,instructions=1000-1100",
            expected(&|_, count, _| (1000..1100).contains(&count)),
        ),
        ("phys=0x400000-0x500000,accesses=7-9", expected(&|at, _, _| (7..9).contains(&at))),
        // The store to the first mark is the first that is streamed, the one to the second mark the first that is not.
        (
            "virt=0x40000000+0x400000,start=0x40000400,stop=0x40000800",
            expected(&|at, _, offset| (0x400..0x800).contains(&offset) && at < 2000),
        ),
        ("virt=0x40000000+0x400000,from=kernel", Vec::new()),
    ];
    for (filter, expected) in cases {
        let mut reader = ring();
        let mut run = start(false, "tcg", &format!(",ring={},{filter}", reader.path().display()));
        let (all, ending) = read(&mut reader);
        assert_eq!(ending, Ending::Finished);
        let found: Vec<_> =
            all.iter().map(|(_, count, a)| (*count, a.op, a.va.0 - guest::FIRST_VIRT)).collect();
        assert_same(&found, &expected);
        assert!(run.counts().contains(&format!("\"streamed\":{}", expected.len())));
    }
}

/// Where, in the merged order, the first access comes that `is` holds of.
fn place(all: &[(u32, u64, Access)], is: impl Fn(u32, &Access) -> bool) -> usize {
    all.iter().position(|(vcpu, _, access)| is(*vcpu, access)).unwrap()
}

#[test]
fn two_vcpus_keep_their_orders_and_in_one_thread_also_that_between_them() {
    if !have_qemu() {
        return;
    }
    for threads in ["single", "multi"] {
        let mut reader = ring();
        let options = format!(",ring={},virt=0x20000-0x40000", reader.path().display());
        let mut run = start(true, &format!("tcg,thread={threads}"), &options);
        let (all, ending) = read(&mut reader);
        assert_eq!(ending, Ending::Finished);
        run.counts();
        let second: Vec<_> = all.iter().filter(|(vcpu, ..)| *vcpu == 1).collect();
        let found: Vec<_> = second
            .iter()
            .filter(|(.., a)| a.va.0 < guest::GO)
            .map(|(.., a)| (a.op, a.size, a.va.0))
            .collect();
        let expected: Vec<_> = (0..guest::TURNS)
            .flat_map(|turn| [Op::Store, Op::Load].map(|op| (op, 2, guest::SECOND + 2 * turn)))
            .collect();
        assert_same(&found, &expected);
        assert!(second.windows(2).all(|pair| pair[0].1 < pair[1].1), "instructions of a vCPU grow");
        if threads == "single" {
            let go = place(&all, |vcpu, a| vcpu == 0 && a.op == Op::Store && a.va.0 == guest::GO);
            let begin = place(&all, |vcpu, a| vcpu == 1 && a.va.0 == guest::SECOND);
            let done = place(&all, |vcpu, a| vcpu == 1 && a.op == Op::Store && a.va.0 == guest::DONE);
            assert!(go < begin && begin < done);
            // The load that saw it comes after the store, and nothing of the first one comes between that and the end.
            assert_eq!(
                all.iter().rposition(|(.., a)| a.va.0 == guest::DONE && a.op == Op::Load),
                Some(all.len() - 1)
            );
            assert!(done < all.len() - 1);
        }
    }
}

#[test]
fn a_loaded_root_is_streamed_whatever_is_counted() {
    if !have_qemu() {
        return;
    }
    for counting in ["blocks", "each"] {
        let mut reader = ring();
        let options = format!(",ring={},control=on,count={counting}", reader.path().display());
        let mut run = start(false, "tcg", &options);
        let (mut batch, mut controls) = (Batch::default(), Vec::new());
        loop {
            match reader.next_batch(&mut batch, Duration::from_secs(30)).unwrap() {
                Received::Batch => controls.extend(batch.items().filter_map(|item| match item {
                    Item::Control(control) => Some(control),
                    Item::Access(_) => None,
                })),
                Received::Nothing => panic!("QEMU does nothing for half a minute"),
                Received::End(ending) => break assert_eq!(ending, Ending::Finished),
            }
        }
        run.counts();
        // The guest sets CR4 without global pages, which invalidates nothing, and loads CR3 once.
        assert_eq!(controls, [Control::Root(PhysAddr(0x1_0000))], "{counting}");
    }
}

#[test]
fn a_killed_qemu_is_seen_by_the_reader_as_one_that_died() {
    if !have_qemu() {
        return;
    }
    let mut reader = ring();
    // The ring fills and QEMU waits, so that it is killed in the midst.
    let mut run = start(false, "tcg", &format!(",ring={}", reader.path().display()));
    while !reader.has_writer() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(300));
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    let (all, ending) = read(&mut reader);
    assert_eq!(ending, Ending::Died);
    assert!((15..64).contains(&all.len()), "what had been shown is read: {}", all.len());
}

#[test]
fn when_the_reader_goes_the_guest_runs_on_or_ends_as_the_option_says() {
    if !have_qemu() {
        return;
    }
    for (option, image) in [("continue", guest::image(false)), ("quit", guest::endless())] {
        let mut reader = ring();
        let mut run =
            start_image(&image, "tcg", &format!(",ring={},reader-gone={option}", reader.path().display()));
        let mut batch = Batch::default();
        while reader.next_batch(&mut batch, Duration::from_millis(100)).unwrap() != Received::Batch {}
        drop(reader);
        let status = run.child.wait().unwrap();
        // The guest ends QEMU with status 3; a signal lets it end with 0.
        assert_eq!(status.code(), Some(if option == "continue" { 3 } else { 0 }), "{option}");
        assert!(run.counts().contains("\"vcpu\":0"));
    }
}

#[test]
fn what_cannot_be_done_is_said_before_the_guest_starts() {
    if !have_qemu() {
        return;
    }
    for (options, said) in [
        (",ring=/nowhere/ring", "daxsim-qemu-plugin: /nowhere/ring: cannot open: No such file"),
        (",form=user", "daxsim-qemu-plugin: found \"form=user\": expected ring=, map="),
    ] {
        let output = Command::new(QEMU)
            .args(["-accel", "tcg", "-display", "none", "-nodefaults", "-plugin"])
            .arg(format!("{}{options}", plugin().display()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(said), "{text}");
    }
}
