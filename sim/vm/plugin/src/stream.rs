//! All vCPUs: who may touch which, the begin and the end.

use std::cell::UnsafeCell;
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, compiler_fence};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use daxsim_ring::{ReaderGone, Writer};

use crate::api::{Api, Decoder, Kind};
use crate::filter::Filter;
use crate::options::{Options, ReaderGone as Then};
use crate::physical::{self, Finder, Map};
use crate::registers::Registers;
use crate::say;
use crate::vcpu::{Counts, Vcpu};

/// No vCPU.
const NONE: u32 = u32::MAX;
/// How often the end looks whether a vCPU has left its callback, and how long it waits in between.
const LOOKS: u32 = 5000;
const LOOK: Duration = Duration::from_millis(1);

/// A vCPU and who is at it.
#[repr(align(128))]
struct Cell {
    /// A callback of this vCPU runs.
    inside: AtomicBool,
    /// The thread that ran its last access, if threads are still looked at.
    thread: AtomicUsize,
    vcpu: UnsafeCell<Vcpu>,
}

// SAFETY: a vCPU is touched by its callbacks, of which QEMU runs one at a time; by `Stream::take_turn` from a thread that is seen to run
// that vCPU itself; and by `Stream::end` when no callback runs any more. The rest is atomic.
unsafe impl Sync for Cell {}

/// Everything that the callbacks need.
pub(crate) struct Stream {
    pub(crate) api: Api,
    pub(crate) options: Options,
    /// How to read registers, if what changes translations is streamed.
    pub(crate) registers: Option<Registers>,
    cells: Box<[Cell]>,
    writer: Mutex<Option<Writer>>,
    /// Nothing is looked at any more.
    stopped: AtomicBool,
    /// There are marks.
    marked: bool,
    /// Between the marks `start` and `stop`.
    open: AtomicBool,
    /// The vCPU of the last access, while one thread runs all.
    last: AtomicU32,
    /// Several threads run vCPUs.
    parallel: AtomicBool,
    map: Map,
    map_read: Once,
}

impl Stream {
    /// Opens the ring for `vcpus` vCPUs.
    pub(crate) fn new(api: Api, options: Options, vcpus: u32) -> Result<Self, String> {
        let writer = match &options.ring {
            Some(path) => Some(Writer::open(path, vcpus).map_err(|error| with_cause(&error))?),
            None => None,
        };
        let (decoder, map) = (Decoder::new(&api), Map::default());
        let registers = match options.control.then(Registers::find) {
            Some(Err(why)) => {
                say(&format!("{why}: what changes translations is not streamed"));
                None
            }
            Some(Ok(registers)) => Some(registers),
            None => None,
        };
        let cell = |vcpu| {
            let producer = writer.as_ref().map(|writer| writer.producer(vcpu)).transpose();
            let vcpu = Vcpu {
                api,
                decoder,
                filter: Filter::new(&options),
                finder: Finder::new(Map::clone(&map)),
                producer: producer.map_err(|error| with_cause(&error))?,
                before: 0,
                begun: 0,
                counts: Counts::default(),
                control: None,
                global_pages: false,
            };
            Ok(Cell {
                inside: AtomicBool::new(false),
                thread: AtomicUsize::new(0),
                vcpu: UnsafeCell::new(vcpu),
            })
        };
        let cells = (0..vcpus).map(cell).collect::<Result<Box<[Cell]>, String>>()?;
        let open = options.start.is_none();
        let marked = options.start.is_some() || options.stop.is_some();
        Ok(Self {
            api,
            options,
            registers,
            cells,
            writer: Mutex::new(writer),
            stopped: AtomicBool::new(false),
            marked,
            open: AtomicBool::new(open),
            last: AtomicU32::new(NONE),
            parallel: AtomicBool::new(false),
            map,
            map_read: Once::new(),
        })
    }

    /// Reads the table of physical memory, when the first block is translated: QEMU's memory is made after the plugin was loaded.
    pub(crate) fn read_map(&self) {
        let Some(path) = &self.options.map else { return };
        self.map_read.call_once(|| match physical::read(path) {
            // Set once only, here.
            Ok(pieces) => drop(self.map.set(pieces)),
            Err(error) => {
                say(&error.to_string());
                self.give_up();
            }
        });
    }

    /// Runs `work` on a vCPU in one of its callbacks, unless all is over.
    #[inline]
    pub(crate) fn with(&self, vcpu: u32, work: impl FnOnce(&mut Vcpu)) {
        let Some(cell) = self.cells.get(vcpu as usize) else { return };
        cell.inside.store(true, Relaxed);
        // The processor may still delay the store past the load; `end` has every processor catch up before it looks.
        compiler_fence(SeqCst);
        if !self.stopped.load(Relaxed) {
            // SAFETY: this is a callback of the vCPU, and `end` has not begun or waits for it.
            work(unsafe { &mut *cell.vcpu.get() });
        }
        cell.inside.store(false, Release);
    }

    /// Streams what the instruction before did to translations. A block or instruction of the vCPU begins.
    #[cold]
    pub(crate) fn send_control(&self, vcpu: u32, v: &mut Vcpu) {
        let (Some(control), Some(registers)) = (v.control.take(), &self.registers) else { return };
        self.take_turn(vcpu);
        // SAFETY: this is a callback of the vCPU, at the begin of the block behind the instruction, which ended its own.
        if let Some(state) = unsafe { registers.read(vcpu) }
            && let Err(gone) = v.send(control, &state)
        {
            self.reader_is_gone(gone);
        }
    }

    /// Whether an access is between the marks. A store to a mark moves them for all vCPUs.
    #[inline]
    pub(crate) fn is_open(&self, kind: Kind, va: u64) -> bool {
        !self.marked || self.move_marks(kind, va)
    }

    fn move_marks(&self, kind: Kind, va: u64) -> bool {
        if kind.stores && self.options.start == Some(va) {
            self.open.store(true, Relaxed);
        } else if kind.stores && self.options.stop == Some(va) {
            self.open.store(false, Relaxed);
        }
        self.open.load(Relaxed)
    }

    /// While one thread runs all vCPUs, shows what the last one holds back before another one goes on. So batches are in the order of all
    /// accesses.
    #[inline]
    pub(crate) fn take_turn(&self, vcpu: u32) {
        if !self.parallel.load(Relaxed) && self.last.load(Relaxed) != vcpu {
            self.change_turn(vcpu);
        }
    }

    #[cold]
    fn change_turn(&self, vcpu: u32) {
        // SAFETY: asks for the name of this thread.
        let thread = unsafe { libc::pthread_self() } as usize;
        if let Some(last) = self.cells.get(self.last.load(Relaxed) as usize) {
            if last.thread.load(Relaxed) == thread {
                // SAFETY: this thread runs that vCPU too, and is in a callback of another one.
                if let Some(producer) = unsafe { &mut (*last.vcpu.get()).producer } {
                    producer.hand_over();
                }
            } else {
                self.parallel.store(true, Relaxed);
            }
        }
        if let Some(cell) = self.cells.get(vcpu as usize) {
            cell.thread.store(thread, Relaxed);
        }
        self.last.store(vcpu, Relaxed);
    }

    /// Nobody reads any more: does what was asked for then.
    #[cold]
    pub(crate) fn reader_is_gone(&self, _: ReaderGone) {
        if !self.stopped.load(Relaxed) {
            say("the reader of the ring is gone: nothing is streamed any more");
            self.give_up();
        }
    }

    fn give_up(&self) {
        let first = !self.stopped.swap(true, SeqCst);
        if first && self.options.reader_gone == Then::Quit {
            // SAFETY: sends a signal to this process, upon which QEMU ends in order.
            unsafe {
                libc::kill(libc::getpid(), libc::SIGTERM);
            }
        }
    }

    /// QEMU ends: shows what is held back, and says how much was seen.
    pub(crate) fn end(&self) {
        let gave_up = self.stopped.swap(true, SeqCst);
        // SAFETY: makes every processor that runs a thread of ours finish its stores; has no other effect.
        let caught_up = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } == 0;
        let mut complete = caught_up && !gave_up;
        let mut text = String::new();
        for (number, cell) in self.cells.iter().enumerate() {
            if !caught_up || !left(cell) {
                say(&format!("vCPU {number} is still at an access: what it holds back is lost"));
                complete = false;
                continue;
            }
            // SAFETY: the callback that ran has ended, as `left` saw, and later ones see `stopped`.
            let vcpu = unsafe { &mut *cell.vcpu.get() };
            complete = !gave_up && vcpu.flush().is_ok() && complete;
            line(&mut text, number, vcpu);
        }
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if complete && let Some(writer) = writer {
            writer.finish();
        }
        if let Some(path) = &self.options.counts
            && let Err(error) = fs::write(path, text)
        {
            say(&format!("{}: cannot write: {error}", path.display()));
        }
    }
}

/// Of `membarrier(2)`: every running thread passes a fence before the call returns.
const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;

/// Waits until no callback of a vCPU runs. One that waits for the reader ends when the reader has read or is gone.
fn left(cell: &Cell) -> bool {
    for _ in 0..LOOKS {
        if !cell.inside.load(std::sync::atomic::Ordering::Acquire) {
            return true;
        }
        thread::sleep(LOOK);
    }
    false
}

/// The counts of a vCPU as a line of JSON.
fn line(text: &mut String, number: usize, vcpu: &Vcpu) {
    let Counts { loads, stores, streamed, devices, unknown } = vcpu.counts;
    let begun = vcpu.begun;
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{{\"vcpu\":{number},\"instructions\":{begun},\"loads\":{loads},\"stores\":{stores},\
         \"streamed\":{streamed},\"devices\":{devices},\"unknown\":{unknown}}}"
    );
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
