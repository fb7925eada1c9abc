//! daxsim-traces
