use super::*;
use crate::{fault_table, ops_table};

/// The folders of recorded scripts.
fn runs() -> Vec<std::path::PathBuf> {
    let folders = |path: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect()
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded");
    let kernels = folders(&root).into_iter().filter(|path| path.to_string_lossy().contains("kernel-"));
    let mut runs: Vec<_> = kernels.flat_map(|kernel| folders(&kernel)).flat_map(|fs| folders(&fs)).collect();
    runs.retain(|run| run.join("script.txt").exists() && run.join("trace.txt.xz").exists());
    runs.sort();
    runs
}

fn table(run: &Path, name: &str) -> Option<std::path::PathBuf> {
    [name.to_owned(), format!("{name}.xz")].iter().map(|name| run.join(name)).find(|path| path.exists())
}

#[test]
fn the_tables_of_all_recorded_scripts_are_those_beside_them() {
    let runs = runs();
    assert!(runs.len() > 50, "{} runs", runs.len());
    for run in runs {
        let script = Script::open(run.join("script.txt")).unwrap();
        let path = run.join("trace.txt.xz");
        let derived = derive(crate::open(&path).unwrap(), &Of::script(&script), &path).unwrap();
        let faults = fault_table::open(table(&run, "faults.tsv").unwrap()).unwrap();
        for (n, (ours, theirs)) in derived.faults.iter().zip(&faults).enumerate() {
            assert_eq!(ours, theirs, "{}: fault {n}", run.display());
        }
        assert_eq!(derived.faults.len(), faults.len(), "{}", run.display());
        let Some(path) = table(&run, "ops.tsv") else { continue };
        let lines = ops_table::open(path).unwrap();
        assert_eq!(derived.lines.len(), lines.len(), "{}", run.display());
        for (ours, theirs) in derived.lines.iter().zip(&lines) {
            let columns: std::collections::BTreeSet<_> =
                ours.counts.keys().chain(theirs.counts.keys()).collect();
            for column in columns {
                assert_eq!(
                    ours.count(column),
                    theirs.count(column),
                    "{}: line {} {column}",
                    run.display(),
                    ours.op
                );
            }
        }
    }
}

#[test]
fn a_table_of_lines_survives_writing_and_reading() {
    let run = runs().into_iter().find(|run| run.ends_with("kernel-7.2/ext4/s10_msync_loop")).unwrap();
    let path = run.join("trace.txt.xz");
    let derived = derive(crate::open(&path).unwrap(), &Of::All, &path).unwrap();
    let mut written = Vec::new();
    ops_table::write(&mut written, &derived.lines).unwrap();
    let read = ops_table::read(&written[..], "ops.tsv".as_ref()).unwrap();
    assert_eq!(read.len(), derived.lines.len());
    for (read, line) in read.iter().zip(&derived.lines) {
        assert_eq!(
            (read.op, read.thread, &read.text, &read.end),
            (line.op, line.thread, &line.text, &line.end)
        );
        assert!(line.counts.iter().all(|(column, count)| read.count(column) == *count));
    }
}
