//! The `daxsim` command.
#![allow(clippy::print_stdout)]
mod conform;
fn main() -> anyhow::Result<()> {
    for dir in std::env::args().skip(1) {
        let s = conform::Scenario::find(dir.as_ref())?;
        let m = daxsim_configs::load_machine("qemu-tcg", &[])?;
        let k = daxsim_configs::load_kernel(&s.kernel, &[])?;
        match s.check(&m, &k) {
            Ok(v) => println!(
                "{} {} {}: rec {} pred {} l1 {} l2 {} {}",
                s.kernel,
                s.fs,
                s.name,
                v.recorded,
                v.predicted,
                v.level1,
                v.level2,
                v.first_difference.unwrap_or_default()
            ),
            Err(e) => println!("{} {} {}: {e:#}", s.kernel, s.fs, s.name),
        }
    }
    Ok(())
}
