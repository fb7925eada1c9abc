//! Inputs that are read once for all points.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use anyhow::{Result, anyhow};
use daxsim_reports::model::Input;
use daxsim_traces::InputKind;
use daxsim_traces::script::Script;

use crate::accesses::AccessArgs;
use crate::args::ReplayArgs;
use crate::inputs::Origin;
use crate::recording::{Kept, Recording};
use crate::replay::{Choice, Reports, predict_script, replay_recording, simulate_as};
use crate::{accesses, inputs, output};

/// Bytes that inputs may still take, all together.
pub struct Room(Mutex<u64>);

impl Room {
    /// So many.
    pub const fn of(bytes: u64) -> Self {
        Self(Mutex::new(bytes))
    }
}

/// An input that is read once for several runs.
pub struct Shared {
    path: PathBuf,
    kind: InputKind,
    by_content: Origin,
    provenance: Input,
    /// What it holds, once a run needed it, or why that cannot be read.
    body: OnceLock<Result<Body, String>>,
}

/// What an input holds.
enum Body {
    Script(Script),
    Recording(Kept),
    Accesses(accesses::Kept),
    /// Too much to keep: each run reads it.
    OnDisk,
}

impl Body {
    fn read(path: &Path, kind: InputKind, asked: &AccessArgs, room: &Room) -> Result<Self> {
        let mut left = room.0.lock().map_err(|_| anyhow!("another thread broke off"))?;
        let body = match kind {
            InputKind::Script => Some(Self::Script(Script::open(path)?)),
            _ if kind.is_events() => Kept::read(path, *left)?.map(Self::Recording),
            _ => accesses::Kept::read(path, kind, asked, *left)?.map(Self::Accesses),
        };
        let body = body.unwrap_or(Self::OnDisk);
        *left = left.saturating_sub(body.bytes());
        Ok(body)
    }

    /// Bytes of memory that it takes.
    fn bytes(&self) -> u64 {
        match self {
            Self::Recording(kept) => kept.bytes(),
            Self::Accesses(kept) => kept.bytes(),
            Self::Script(_) | Self::OnDisk => 0,
        }
    }
}

impl Shared {
    /// Looks at an input.
    pub fn open(path: &Path) -> Result<Self> {
        let kind = inputs::kind(path)?;
        Ok(Self {
            path: path.to_owned(),
            kind,
            by_content: inputs::origin(path, kind)?,
            provenance: inputs::provenance(path, kind.name())?,
            body: OnceLock::new(),
        })
    }

    /// What it is, in a word.
    pub const fn kind(&self) -> InputKind {
        self.kind
    }

    /// The hash of the file's bytes.
    pub fn sha256(&self) -> &str {
        &self.provenance.sha256
    }

    /// The maps that a run of it has.
    pub fn maps(&self, args: &ReplayArgs) -> Result<String> {
        if self.kind.is_accesses() { accesses::maps_of(args, &self.path) } else { Ok(String::new()) }
    }

    /// What a run of it is of.
    pub fn choice(&self, args: &ReplayArgs) -> Result<Choice> {
        Choice::new(args, self.by_content.clone(), inputs::origin_by_path(&self.path))
    }

    fn body(&self, asked: &AccessArgs, room: &Room) -> Result<&Body> {
        // All of it is kept, for runs of any length.
        let whole = AccessArgs { limit: None, ..asked.clone() };
        let read =
            || Body::read(&self.path, self.kind, &whole, room).map_err(|error| output::describe(&error));
        self.body.get_or_init(read).as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// Accesses of the longest thread, of a trace of accesses that is kept.
    pub fn accesses(&self, asked: &AccessArgs, room: &Room) -> Result<Option<u64>> {
        Ok(match self.body(asked, room)? {
            Body::Accesses(kept) => Some(kept.longest()),
            _ => None,
        })
    }

    /// Simulates it: the same report as a replay makes. Those of the arguments that follow which this run serves, too, have one as
    /// well; they differ in machine and kernel alone.
    pub fn simulate(&self, args: &ReplayArgs, following: &[ReplayArgs], room: &Room) -> Result<Reports> {
        let (input, provenance) = (&self.path, self.provenance.clone());
        let followers = following.iter().map(|args| self.choice(args)).collect::<Result<Vec<_>>>()?;
        let choice = self.choice(args)?.followed_by(followers);
        match self.body(&args.setup.accesses, room)? {
            Body::Script(script) => Ok(predict_script(args, input, script, provenance, choice)?.0),
            Body::Recording(kept) => {
                replay_recording(args, input, Recording::Kept(kept, 0), provenance, choice)
            }
            Body::Accesses(kept) => accesses::predict_kept(args, input, kept, provenance, &choice),
            Body::OnDisk => Ok(simulate_as(args, input, self.kind, choice)?.0),
        }
    }
}
