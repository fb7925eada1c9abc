//! daxsim-configs
