//! A real kernel in QEMU: what it does for recorded scripts is what the same kernel did when they were recorded.
//!
//! Needs QEMU and the programs of `Programs`, and a kernel: the variable DAXSIM_TEST_KERNEL (a package's file or name), or a package
//! of 6.12 or 7.2 in the cache of `daxsim vm record`. Without these it says that it is skipped.

mod needs;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daxsim_traces::fault_table::{self, FaultRow};
use daxsim_traces::oplog;
use daxsim_types::FileSystem;
use daxsim_vm::{Accel, Job, Limits, Plan, Recorded, Source, VmError, Watch, Work, kernel_folder};
use needs::{cache, kernel, player, say, skip};

/// The scripts that are run again. Their lines run in sequence, so that the same kernel does the same.
const SCRIPTS: [(FileSystem, &str); 4] = [
    (FileSystem::Ext4, "s01_read_then_write"),
    (FileSystem::Ext4, "s10_msync_loop"),
    (FileSystem::Xfs, "s04_pmd_aligned"),
    (FileSystem::Devdax, "d01_devdax"),
];

fn recorded_runs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/recorded")
}

fn script(kernel: &str, fs: FileSystem, name: &str) -> Vec<u8> {
    let path = recorded_runs().join(kernel).join(fs.to_string()).join(name).join("script.txt");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn table(folder: &Path) -> Vec<FaultRow> {
    let names = ["faults.tsv", "faults.tsv.xz"].map(|name| folder.join(name));
    fault_table::open(names.iter().find(|path| path.exists()).unwrap()).unwrap()
}

/// What must be the same: not who ran it when, nor where the file system put the blocks.
fn of_kernel(fault: &FaultRow) -> impl PartialEq + std::fmt::Debug {
    let steps = fault.path.split_whitespace();
    // A flush by a task switch is thrown in by the scheduler; the journal decides whether metadata are dirty.
    let steps: Vec<String> = steps
        .filter(|step| !step.starts_with("tlb0:"))
        .map(|step| step.trim_end_matches("DIRTY").trim_end_matches(['+', '|']).to_owned())
        .collect();
    (fault.op, fault.thread, fault.addr, fault.error_code, fault.kernel, fault.ret, steps)
}

#[test]
fn a_kernel_does_again_what_it_was_recorded_to_do() {
    let cache = cache();
    let Some(names) = kernel(&cache) else {
        return skip("no kernel: set DAXSIM_TEST_KERNEL to a package's file or name");
    };
    if let Err(missing) = daxsim_vm::look(&FileSystem::ALL) {
        return skip(&missing.join("; "));
    }
    let source = Source { names, modules: None, suite: None, cache };
    let kernel = source.get().unwrap();
    let folder = kernel_folder(&kernel.release);
    if !recorded_runs().join(&folder).is_dir() {
        return skip(&format!("no recordings of {folder}, for the kernel is {}", kernel.release));
    }
    let scripts = SCRIPTS.map(|(fs, name)| Job {
        fs,
        name: name.into(),
        work: Work::Script(script(&folder, fs, name)),
    });
    let command: Vec<OsString> =
        ["sh", "-c", "echo it ran in $PWD; echo text > file"].map(OsString::from).to_vec();
    let command = Job { fs: FileSystem::Xfs, name: "command".into(), work: Work::Command(command) };
    let out = tempfile::tempdir().unwrap();
    let plan = Plan {
        watch: Watch::Traced,
        mkfs: None,
        kernel: source,
        player: Some(player()),
        jobs: scripts.into_iter().chain([command]).collect(),
        files: Vec::new(),
        cpus: 4,
        memory_mib: 3072,
        buffer_kib: 32 << 10,
        accel: Accel::Tcg,
        qemu_args: Vec::new(),
        limits: Limits { boot: Duration::from_secs(180), work: Duration::from_secs(240) },
        out: out.path().to_owned(),
    };
    let recorded = daxsim_vm::record(&plan, &mut |text| say(text), &|| false).unwrap();
    assert_eq!(recorded.len(), SCRIPTS.len() + 1);
    for (run, (fs, name)) in recorded.iter().zip(SCRIPTS) {
        compare(run, &recorded_runs().join(&folder).join(fs.to_string()).join(name));
    }
    let command = recorded.last().unwrap();
    let said = std::fs::read_to_string(command.folder.join("app.out")).unwrap();
    assert_eq!((command.status, said.as_str()), (0, "it ran in /mnt/pmem\n"));
    assert!(command.faults > 10 && command.lost == 0, "{command:?}");
}

/// A run against the recording of the same script on the same kernel.
fn compare(run: &Recorded, recording: &Path) {
    let name = recording.display();
    assert_eq!((run.status, run.lost), (0, 0), "{name}: {}", run.complaint);
    let (ours, theirs) = (table(&run.folder), table(recording));
    for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(format!("{:?}", of_kernel(ours)), format!("{:?}", of_kernel(theirs)), "{name}: fault {n}");
    }
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let log = |folder: &Path| {
        let log = oplog::open(folder.join("oplog.txt")).unwrap();
        log.entries
            .into_iter()
            .map(|entry| (entry.line, entry.errno, entry.acc, entry.sig, entry.sum))
            .collect::<Vec<_>>()
    };
    assert_eq!(log(&run.folder), log(recording), "{name}");
}

#[test]
fn what_is_missing_is_said_before_anything_is_started() {
    let out = tempfile::tempdir().unwrap();
    let job =
        Job { fs: FileSystem::Ext4, name: "x".into(), work: Work::Command(vec!["no-such-program".into()]) };
    let plan = Plan {
        watch: Watch::Traced,
        mkfs: None,
        kernel: Source {
            names: vec!["no-such-kernel.deb".into()],
            modules: None,
            suite: None,
            cache: out.path().into(),
        },
        player: Some("no-such-player".into()),
        jobs: vec![job],
        files: vec![("/x".into(), "no-such-file".into())],
        cpus: 1,
        memory_mib: 1024,
        buffer_kib: 1024,
        accel: Accel::Tcg,
        qemu_args: Vec::new(),
        limits: Limits { boot: Duration::from_secs(1), work: Duration::from_secs(1) },
        out: out.path().join("out"),
    };
    let error = daxsim_vm::record(&plan, &mut |_| panic!("something was started"), &|| false).unwrap_err();
    let VmError::Missing(missing) = &error else { panic!("{error}") };
    for part in [
        "no command no-such-program",
        "no no-such-player, the player of scripts",
        "no file no-such-kernel.deb, the kernel",
        "no-such-file: cannot be read",
    ] {
        assert!(missing.iter().any(|line| line.contains(part)), "{part}: {missing:?}");
    }
    assert!(!plan.out.exists());
}
