//! The `daxsim` command.
fn main() {}
