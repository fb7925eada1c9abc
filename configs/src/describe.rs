//! Every key of a configuration with its value, for people.

use serde::Serialize;

use crate::kernel::KernelSpec;
use crate::kind::Context;
use crate::machine::MachineSpec;
use crate::reader::Shown;
use crate::{kernel_keys, kernel_schema, machine_keys, machine_schema};

/// A key, its value and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyValue {
    /// Full dotted key.
    pub key: &'static str,
    /// The value in its unit, as `--set` takes it.
    pub value: String,
    /// What the key accepts.
    pub accepts: String,
    /// What the key means, in a sentence.
    pub doc: &'static str,
    #[serde(skip)]
    pub(crate) quoted: bool,
}

impl KeyValue {
    /// `key = value`, as a file takes it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        if self.quoted {
            let escaped = self.value.replace('\\', "\\\\").replace('"', "\\\"");
            format!("{} = \"{escaped}\"", self.key)
        } else {
            format!("{} = {}", self.key, self.value)
        }
    }
}

/// Every key of `spec`, in the order of the documentation; of an absent TLB array none.
#[must_use]
pub fn describe_machine(spec: &MachineSpec) -> Vec<KeyValue> {
    let context = Context { period_ps: spec.cpu.clock.period_ps(), media_line: spec.pmem.media_line };
    let mut shown = Shown::new(context, machine_keys());
    shown.put("description", &spec.description);
    machine_schema::show(spec, &mut shown);
    shown.into_values()
}

/// Every key of `spec`, in the order of the documentation.
#[must_use]
pub fn describe_kernel(spec: &KernelSpec) -> Vec<KeyValue> {
    let context = Context { period_ps: 1000, media_line: 256 };
    let mut shown = Shown::new(context, kernel_keys());
    shown.put("description", &spec.description);
    kernel_schema::show(spec, &mut shown);
    shown.into_values()
}
