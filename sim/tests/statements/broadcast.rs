//! Statement 92: INVLPGB.
