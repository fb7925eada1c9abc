//! daxsim-sim
