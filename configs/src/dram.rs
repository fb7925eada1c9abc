//! `[dram]`, the parts with banks: devices, how they are put together, and the controller before them.

use daxsim_types::{LINE_BYTES, Time};

use crate::dram_mapping::DramMapping;

/// What main memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DramTiming {
    /// Channels with one latency and one bandwidth.
    Flat,
    /// Banks with rows, and the timing of their commands.
    Banks,
}

/// When a row is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePolicy {
    /// When its bank needs another one, or a refresh.
    Open,
    /// After each access (auto-precharge).
    Closed,
}

/// Who refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DramRefresh {
    /// Nobody.
    Off,
    /// All banks of a rank at once, every tREFI, the ranks in turn.
    AllBank,
    /// One bank of each group at once (REFsb of DDR5), each bank every tREFI, the others go on.
    SameBank,
}

/// Bits of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DramDensity {
    /// 8 Gbit.
    Gb8,
    /// 16 Gbit.
    Gb16,
    /// 32 Gbit.
    Gb32,
}

impl DramDensity {
    /// Bytes of a device.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Gb8 => 1 << 30,
            Self::Gb16 => 2 << 30,
            Self::Gb32 => 4 << 30,
        }
    }
}

/// Data lines of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceWidth {
    /// Four.
    X4,
    /// Eight.
    X8,
    /// Sixteen.
    X16,
}

impl DeviceWidth {
    /// As a number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::X4 => 4,
            Self::X8 => 8,
            Self::X16 => 16,
        }
    }
}

/// `dram.timing` and the keys that mean something if it is `"banks"`.
#[derive(Clone, Debug, PartialEq)]
pub struct DramBanksSpec {
    /// Flat, or with banks.
    pub timing: DramTiming,
    /// Name of the speed bin.
    pub preset: String,
    /// Of each device.
    pub density: DramDensity,
    /// Of each device.
    pub device_width: DeviceWidth,
    /// Ranks of a channel.
    pub ranks: u32,
    /// Bank groups of a rank; 0 for those of the preset.
    pub bank_groups: u32,
    /// Banks of a group; 0 for those of the preset.
    pub banks: u32,
    /// Bytes of a row of a rank; 0 for the page of the preset's devices, times their number.
    pub row_size: u64,
    /// When rows are closed.
    pub page_policy: PagePolicy,
    /// Which bits of an address are what.
    pub mapping: DramMapping,
    /// Whether the bank and its group are xored with the low bits of the row.
    pub bank_xor: bool,
    /// How rows are kept.
    pub refresh: DramRefresh,
    /// Younger writes that may leave the write queue before one.
    pub starvation_limit: u32,
    /// Lines that the write queue of a channel holds.
    pub write_queue: u32,
    /// Waiting lines from which on writes go before reads.
    pub write_high: u32,
    /// Waiting lines at which reads go first again.
    pub write_low: u32,
    /// What a read takes besides the commands and its data: to the controller, through it, and back to the L3's miss.
    pub controller_latency: Time,
}

/// A speed bin: timings in clocks, and the organisation of its devices. Names are those of the JEDEC standards, without the t.
#[derive(Clone, Debug, PartialEq)]
pub struct DramPreset {
    /// As `dram.preset` has it.
    pub name: String,
    /// Period of the clock.
    pub clock: Time,
    /// Data lines of a subchannel.
    pub bus_width: u32,
    /// Channels of their own in a channel of 64 bits.
    pub subchannels: u32,
    /// Transfers of a burst, two a clock.
    pub burst: u32,
    /// Read command to data.
    pub cl: u32,
    /// Write command to data.
    pub cwl: u32,
    /// Activate to read or write.
    pub rcd: u32,
    /// Precharge to activate.
    pub rp: u32,
    /// Activate to precharge.
    pub ras: u32,
    /// Activate to activate of a bank.
    pub rc: u32,
    /// End of write data to precharge.
    pub wr: u32,
    /// Read to precharge.
    pub rtp: u32,
    /// Read to read, write to write, of other bank groups.
    pub ccd_s: u32,
    /// Read to read of a bank group.
    pub ccd_l: u32,
    /// Write to write of a bank group.
    pub ccd_l_wr: u32,
    /// End of write data to a read of another bank group.
    pub wtr_s: u32,
    /// End of write data to a read of the bank group.
    pub wtr_l: u32,
    /// Clocks without data between those of a read and of a write.
    pub read_to_write: u32,
    /// Clocks without data between those of two ranks.
    pub rank_switch: u32,
    /// Activate to activate of other bank groups, of x4 and x8 devices.
    pub rrd_s: u32,
    /// The same of x16 devices.
    pub rrd_s_x16: u32,
    /// Activate to activate of a bank group, of x4 and x8 devices.
    pub rrd_l: u32,
    /// The same of x16 devices.
    pub rrd_l_x16: u32,
    /// Window of four activates, of x4 devices.
    pub faw_x4: u32,
    /// Of x8 devices.
    pub faw_x8: u32,
    /// Of x16 devices.
    pub faw_x16: u32,
    /// Between two refreshes.
    pub refi: Time,
    /// All-bank refresh of 8 Gbit.
    pub rfc_8gb: Time,
    /// Of 16 Gbit.
    pub rfc_16gb: Time,
    /// Of 32 Gbit; zero if there are no such devices.
    pub rfc_32gb: Time,
    /// Same-bank refresh of 8 Gbit; zero if the devices have none.
    pub rfc_sb_8gb: Time,
    /// Of 16 Gbit.
    pub rfc_sb_16gb: Time,
    /// Of 32 Gbit.
    pub rfc_sb_32gb: Time,
    /// From a same-bank refresh to an activate of another bank of the rank.
    pub refsb_to_activate: Time,
    /// Bank groups of x4 and x8 devices; x16 devices have half.
    pub bank_groups: u32,
    /// Banks of a group.
    pub banks: u32,
    /// The same of devices of 8 Gbit; 0 if they have as many as others.
    pub banks_8gb: u32,
    /// Bytes of a row of an x4 device.
    pub page_x4: u64,
    /// Of an x8 device.
    pub page_x8: u64,
    /// Of an x16 device.
    pub page_x16: u64,
}

/// A machine's main memory, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DramGeometry {
    /// Channels with a bus of their own, subchannels counted.
    pub channels: u32,
    /// Ranks of each.
    pub ranks: u32,
    /// Bank groups of a rank.
    pub groups: u32,
    /// Banks of a group.
    pub banks: u32,
    /// Lines of a row.
    pub columns: u64,
    /// Rows of a bank.
    pub rows: u64,
}

impl DramGeometry {
    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let banks = u64::from(self.channels) * u64::from(self.ranks * self.groups * self.banks);
        banks.saturating_mul(self.rows).saturating_mul(self.columns * LINE_BYTES)
    }
}

impl DramPreset {
    /// How long the bus is busy with a line, in clocks.
    #[must_use]
    pub const fn burst_clocks(&self) -> u32 {
        self.burst / 2
    }

    /// Activate to activate of other bank groups, and of the same, and the window of four, in clocks.
    #[must_use]
    pub const fn activates(&self, width: DeviceWidth) -> (u32, u32, u32) {
        match width {
            DeviceWidth::X4 => (self.rrd_s, self.rrd_l, self.faw_x4),
            DeviceWidth::X8 => (self.rrd_s, self.rrd_l, self.faw_x8),
            DeviceWidth::X16 => (self.rrd_s_x16, self.rrd_l_x16, self.faw_x16),
        }
    }

    /// How long a refresh of all banks takes; zero if no device has that density.
    #[must_use]
    pub const fn rfc(&self, density: DramDensity) -> Time {
        match density {
            DramDensity::Gb8 => self.rfc_8gb,
            DramDensity::Gb16 => self.rfc_16gb,
            DramDensity::Gb32 => self.rfc_32gb,
        }
    }

    /// How long a refresh of one bank of each group takes; zero if devices of that density have none.
    #[must_use]
    pub const fn rfc_sb(&self, density: DramDensity) -> Time {
        match density {
            DramDensity::Gb8 => self.rfc_sb_8gb,
            DramDensity::Gb16 => self.rfc_sb_16gb,
            DramDensity::Gb32 => self.rfc_sb_32gb,
        }
    }

    const fn page(&self, width: DeviceWidth) -> u64 {
        match width {
            DeviceWidth::X4 => self.page_x4,
            DeviceWidth::X8 => self.page_x8,
            DeviceWidth::X16 => self.page_x16,
        }
    }

    /// What `channels` channels of 64 bits of these devices have. Rows are as many as a rank's bytes allow.
    #[must_use]
    pub fn geometry(&self, spec: &DramBanksSpec, channels: u32) -> DramGeometry {
        let devices = u64::from(self.bus_width / spec.device_width.bits()).max(1);
        let half = if spec.device_width == DeviceWidth::X16 { 2 } else { 1 };
        let few = spec.density == DramDensity::Gb8 && self.banks_8gb > 0;
        let or = |given: u32, preset: u32| if given > 0 { given } else { preset.max(1) };
        let groups = or(spec.bank_groups, self.bank_groups / half);
        let banks = or(spec.banks, if few { self.banks_8gb } else { self.banks });
        let row = if spec.row_size > 0 { spec.row_size } else { devices * self.page(spec.device_width) };
        let rank = devices * spec.density.bytes();
        DramGeometry {
            channels: channels * self.subchannels,
            ranks: spec.ranks,
            groups,
            banks,
            columns: (row / LINE_BYTES).max(1),
            rows: rank / (u64::from(groups * banks) * row.max(LINE_BYTES)),
        }
    }
}
