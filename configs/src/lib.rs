//! Machine and kernel configurations.

pub mod kernel;
pub mod machine;
