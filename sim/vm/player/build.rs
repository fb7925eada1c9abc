//! Links `daxplay` statically with GNU's C library, so that a guest needs no libraries to run it.
//!
//! The compiler decides for all crates of a build whether the C library is linked statically, and a plugin of QEMU cannot be. So it goes
//! on asking for the shared libraries here, and linker scripts of their names say which archives to take.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let already = target("FEATURE").split(',').any(|feature| feature == "crt-static");
    if target("OS") == "linux" && target("ENV") == "gnu" && !already {
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
        for library in ["util", "rt", "pthread", "m", "dl"] {
            fs::write(out.join(format!("lib{library}.so")), format!("INPUT(-l:lib{library}.a)\n"))?;
        }
        // The C library and the unwinder need each other.
        fs::write(out.join("libgcc_s.so"), "INPUT(-l:libgcc_eh.a)\n")?;
        fs::write(out.join("libc.so"), "GROUP(-l:libc.a -l:libgcc.a -l:libgcc_eh.a)\n")?;
        println!("cargo::rustc-link-arg-bins=-L{}", out.display());
        for flag in ["-no-pie", "-static"] {
            println!("cargo::rustc-link-arg-bins={flag}");
        }
    }
    Ok(())
}
