//! daxsim-reports
