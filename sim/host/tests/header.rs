//! `include/daxsim.h` says what `src/ffi` has.

use std::path::Path;

#[test]
fn the_header_is_what_cbindgen_makes_of_the_functions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    // It finds the other files by their declarations.
    let builder = cbindgen::Builder::new().with_config(config).with_src(folder.join("src/ffi/mod.rs"));
    let mut bytes = Vec::new();
    builder.generate().unwrap().write(&mut bytes);
    let made = String::from_utf8(bytes).unwrap();
    let path = folder.join("include/daxsim.h");
    if std::env::var_os("DAXSIM_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == made, "include/daxsim.h is not what cbindgen makes: run with DAXSIM_UPDATE_HEADER=1");
    for function in ["daxsim_machine_new", "daxsim_run", "daxsim_invpcid", "daxsim_structures"] {
        let declared = format!("daxsim_status {function}(daxsim_machine *machine");
        let declared_new = format!("daxsim_status {function}(const char *name");
        let times = made.matches(&declared).count() + made.matches(&declared_new).count();
        assert_eq!(times, 1, "{function}");
    }
}
