//! Each of the 99 statements of `docs/linux-dax-fault-path.md`, section 9, has one test, and `docs/statements.md` lists them.
//!
//! After a change of the tests' names: `DAXSIM_UPDATE_STATEMENTS=1 cargo test -p daxsim --test statements`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Statements that section 9 has.
const STATEMENTS: u32 = 99;

/// Where the tests are.
const FOLDER: &str = "sim/tests/statements";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A test: the file that it is in, and its name.
type Place = (String, String);

/// The number and name that a line defines: `fn statement_07_what_it_states() {`.
fn definition(line: &str) -> Option<(u32, &str)> {
    let name = line.strip_prefix("fn ")?.split('(').next()?;
    let (number, says) = name.strip_prefix("statement_")?.split_once('_')?;
    (number.len() == 2 && !says.is_empty()).then_some(())?;
    Some((number.parse().ok()?, name))
}

/// The tests of each number. A function without `#[test]` above it is none.
fn tests() -> BTreeMap<u32, Vec<Place>> {
    let mut found: BTreeMap<u32, Vec<Place>> = BTreeMap::new();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(top().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let file = format!("{FOLDER}/{}", path.file_name().unwrap().to_string_lossy());
        let text = fs::read_to_string(path).unwrap();
        let mut before = "";
        for line in text.lines() {
            if let Some((number, name)) = definition(line)
                && before == "#[test]"
            {
                found.entry(number).or_default().push((file.clone(), name.to_owned()));
            }
            before = line;
        }
    }
    found
}

/// The numbers of the rows of section 9.
fn numbers_of_the_specification() -> Vec<u32> {
    let text = fs::read_to_string(top().join("docs/linux-dax-fault-path.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("9. ")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.parse().ok());
    rows.collect()
}

#[test]
fn the_specification_has_the_statements_in_order() {
    assert_eq!(numbers_of_the_specification(), (1..=STATEMENTS).collect::<Vec<_>>());
}

#[test]
fn every_statement_has_one_test() {
    let tests = tests();
    let mut wrong = Vec::new();
    for number in 1..=STATEMENTS {
        let count = tests.get(&number).map_or(0, Vec::len);
        match count {
            0 => wrong.push(format!("statement {number} has no test")),
            1 => {}
            _ => wrong.push(format!("statement {number} has {count} tests: {:?}", tests[&number])),
        }
    }
    let unknown = tests.keys().filter(|number| !(1..=STATEMENTS).contains(*number));
    wrong.extend(unknown.map(|number| format!("there is no statement {number}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The list, from the tests.
fn table() -> String {
    let mut text = String::from(
        "# The numbered statements and their tests\n\n\
         The specification of the fault path (`linux-dax-fault-path.md`) ends with 99 statements. Each has a test of its own,\n\
         named by its number and by what it states. `sim/cli/tests/statements.rs` checks that, and writes this table.\n\n\
         | # | states | in |\n|---|---|---|\n",
    );
    for (number, places) in tests() {
        for (file, name) in places {
            let says = name["statement_00_".len()..].replace('_', " ");
            text += &format!("| {number} | {says} | `{file}` |\n");
        }
    }
    text
}

#[test]
fn the_table_of_statements_is_that_of_the_tests() {
    let path = top().join("docs/statements.md");
    let expected = table();
    if std::env::var_os("DAXSIM_UPDATE_STATEMENTS").is_some() {
        fs::write(&path, expected).unwrap();
        return;
    }
    let shown = fs::read_to_string(&path).unwrap_or_default();
    for (number, (shown, expected)) in shown.lines().zip(expected.lines()).enumerate() {
        assert_eq!(shown, expected, "docs/statements.md line {}: see the top of this test", number + 1);
    }
    assert_eq!(shown.len(), expected.len(), "docs/statements.md: see the top of this test");
}

#[test]
fn a_definition_has_two_digits_and_a_name() {
    assert_eq!(definition("fn statement_07_it_says() {"), Some((7, "statement_07_it_says")));
    for line in [
        "fn statement_7_it_says() {",
        "fn statement_07() {",
        "    fn statement_07_x() {",
        "// statement_07_x",
    ] {
        assert_eq!(definition(line), None, "{line}");
    }
}
