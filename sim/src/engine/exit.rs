//! Exits to the hypervisor: it maps a page of the guest's memory that is touched for the first time (EPT violation).

use daxsim_types::{Pfn, Time};

use super::Cx;
use crate::machine::Machine;
use crate::measure::Part;

impl Cx<'_> {
    /// Has the hypervisor map the page of a guest's frame, if it has not. Whoever touches the page meanwhile exits, too.
    pub(crate) async fn map_on_host(&self, guest: Pfn) {
        let Some(exit) = self.with(|m| m.exit_for(guest)) else { return };
        self.on_cpu(|c| c.spend_as(Part::Exit, exit));
        self.sync().await;
        self.with(|m| {
            if let Some(host) = &mut m.host {
                host.map(guest);
            }
        });
    }
}

impl Machine {
    fn exit_for(&mut self, guest: Pfn) -> Option<Time> {
        let exit = self.host.as_ref()?.exit(guest)?;
        self.measure.exits.count += 1;
        self.measure.exits.time += exit;
        Some(exit)
    }
}
