//! The points of a sweep: which configuration runs which input, and what a point is called.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use daxsim_configs::sweep::{Design, Quantity, Sweep};
use daxsim_configs::{describe_kernel, describe_machine};
use daxsim_sim::program::trace::FileMap;
use daxsim_types::FileSystem;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::family::Family;
use super::metrics;
use super::shared::{Room, Shared};
use crate::accesses::AccessArgs;
use crate::args::{ReplayArgs, SetupArgs};
use crate::replay::Choice;
use crate::{accesses, output};

/// What names what a point is: a change of it, or of the version, makes other points.
const FORMAT: &str = "daxsim.sweep.point/1";

/// A sweep with its inputs and configurations.
pub struct Plan {
    /// The file.
    pub sweep: Sweep,
    /// The inputs, in its order; of one that cannot be read, why.
    pub inputs: Vec<Result<Shared, String>>,
    /// The configurations.
    pub designs: Vec<Design>,
    /// Configurations of the full grid.
    pub grid: Option<u64>,
    /// Configurations that the constraints left out.
    pub left_out: u64,
    /// Memory for the inputs.
    pub room: Room,
    fs: Option<FileSystem>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Point {
    /// The configuration, by its place.
    pub design: usize,
    /// The input, by its place.
    pub input: usize,
    /// Accesses of each thread at most.
    pub accesses: Option<u64>,
    /// What it is of; or why it cannot be.
    pub what: Result<What, String>,
}

/// What a point is of.
#[derive(Clone, Debug)]
pub struct What {
    /// SHA-256 of all that its result depends on.
    pub id: String,
    /// Points of which one run may serve several have the same.
    pub family: Family,
    /// The kernel's name.
    pub kernel: String,
    /// What it costs.
    pub cost: Option<f64>,
    /// Values of the keys that expressions name and that the sweep does not vary.
    pub settings: BTreeMap<String, Quantity>,
}

impl Point {
    /// Its name: of one that cannot be, of its place.
    pub fn id(&self) -> String {
        match &self.what {
            Ok(what) => what.id.clone(),
            Err(error) => hash(&[FORMAT, "none", &self.design.to_string(), &self.input.to_string(), error]),
        }
    }
}

fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Plan {
    /// Reads what the file names.
    pub fn new(sweep: Sweep, memory: u64) -> Result<Self> {
        let designs = sweep.designs().map_err(|error| anyhow!("{}: {error}", sweep.name))?;
        if designs.designs.is_empty() {
            bail!("{}: the constraints leave no point of {}", sweep.name, designs.left_out);
        }
        metrics::check(&sweep.metrics).with_context(|| sweep.name.clone())?;
        let fs = match &sweep.fs {
            Some(name) => Some(name.parse().map_err(|error| anyhow!("{}: fs: {error}", sweep.name))?),
            None => None,
        };
        for design in &designs.designs {
            maps(&design.maps(&sweep.maps)).with_context(|| sweep.name.clone())?;
        }
        let open =
            |input: &String| Shared::open(&sweep.input_path(input)).map_err(|error| output::describe(&error));
        let inputs = sweep.inputs.iter().map(open).collect();
        Ok(Self {
            inputs,
            designs: designs.designs,
            grid: designs.grid,
            left_out: designs.left_out,
            room: Room::of(memory),
            fs,
            sweep,
        })
    }

    /// The points of some configurations, each on every input, in order.
    pub fn points(&self, designs: &[usize], accesses: Option<u64>) -> Result<Vec<Point>> {
        let pairs: Vec<(usize, usize)> =
            (0..self.inputs.len()).flat_map(|input| designs.iter().map(move |d| (input, *d))).collect();
        let points: Vec<Point> = pairs
            .into_par_iter()
            .map(|(input, design)| {
                let what = self.what(design, input, accesses).map_err(|error| output::describe(&error));
                Point { design, input, accesses, what }
            })
            .collect();
        self.check_names(&points)?;
        Ok(points)
    }

    /// The arguments of a replay that makes the point.
    pub fn args(&self, design: usize, accesses: Option<u64>) -> Result<ReplayArgs> {
        let design = self.designs.get(design).context("no such configuration")?;
        let sweep = &self.sweep;
        let setup = SetupArgs {
            machine: sweep.config_path(&design.machine),
            kernel: design.kernel.as_ref().map(|kernel| sweep.config_path(kernel)),
            fs: self.fs,
            overrides: design.set(&sweep.set),
            layout: None,
            accesses: AccessArgs {
                maps: maps(&design.maps(&sweep.maps))?,
                limit: accesses.or(sweep.accesses),
                ..AccessArgs::default()
            },
            seed: sweep.seed,
        };
        let semantics = design.semantics.as_ref().map(|semantics| sweep.config_path(semantics));
        Ok(ReplayArgs::of_one(PathBuf::new(), setup, semantics))
    }

    /// An input that can be read.
    pub fn input(&self, at: usize) -> Result<&Shared> {
        let input = self.inputs.get(at).context("no such input")?;
        input.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// Accesses of the longest thread of an input that is kept.
    pub fn length(&self, input: usize) -> Result<Option<u64>> {
        let longest = self.input(input)?.accesses(&AccessArgs::default(), &self.room)?;
        Ok(longest.map(|longest| longest.min(self.sweep.accesses.unwrap_or(u64::MAX))))
    }

    fn what(&self, at: usize, input: usize, accesses: Option<u64>) -> Result<What> {
        let shared = self.input(input)?;
        let args = self.args(at, accesses)?;
        if !shared.kind().is_accesses() && !args.setup.accesses.maps.is_empty() {
            bail!("{}: maps are for traces of accesses", shared.kind());
        }
        let choice = shared.choice(&args)?;
        let settings = settings(&choice);
        let keys: String = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let asked = &args.setup.accesses;
        let limit = if shared.kind().is_accesses() { asked.limit } else { None };
        let id = hash(&[
            FORMAT,
            env!("CARGO_PKG_VERSION"),
            shared.sha256(),
            &keys,
            &choice.fs.to_string(),
            &format!("{} {limit:?} {}", shared.maps(&args)?, args.setup.seed),
            &self.sweep.metrics.join("\n"),
        ]);
        let design = self.designs.get(at).context("no such configuration")?;
        let family = Family::of(
            &[shared.sha256(), &choice.fs.to_string(), &format!("{limit:?} {}", shared.maps(&args)?)],
            &settings,
        );
        let (cost, settings) = self.costed(design, &settings)?;
        Ok(What { id, family, kernel: choice.kernel.name.clone(), cost, settings })
    }

    /// The cost of a configuration, and the settings that expressions name.
    fn costed(
        &self,
        design: &Design,
        settings: &BTreeMap<&'static str, String>,
    ) -> Result<(Option<f64>, BTreeMap<String, Quantity>)> {
        let sweep = &self.sweep;
        let objectives = sweep.objectives.iter().map(|objective| &objective.value);
        let names = objectives.chain(&sweep.cost).flat_map(|expression| expression.names());
        let mut named = BTreeMap::new();
        for name in names {
            if let Some(value) = settings.get(name).filter(|_| sweep.value_in(design, name).is_none()) {
                named.insert(name.to_owned(), Quantity::of_setting(value));
            }
        }
        if !sweep.has_cost() {
            return Ok((None, named));
        }
        let mut cost: f64 = design.levels.iter().map(|level| level.cost).sum();
        if let Some(expression) = &sweep.cost {
            let value = |name: &str| sweep.value_in(design, name).or_else(|| named.get(name).cloned());
            cost += expression.number(&value).with_context(|| format!("cost {expression}"))?;
        }
        Ok((Some(cost), named))
    }

    /// Refuses an objective with a name that is neither metric nor key.
    fn check_names(&self, points: &[Point]) -> Result<()> {
        let Some(point) = points.iter().find(|point| point.what.is_ok()) else { return Ok(()) };
        let (Some(design), Ok(what)) = (self.designs.get(point.design), &point.what) else { return Ok(()) };
        for objective in &self.sweep.objectives {
            for name in objective.value.names() {
                let is_known = name == "cost"
                    || self.sweep.metrics.iter().any(|metric| metric == name)
                    || what.settings.contains_key(name)
                    || self.sweep.value_in(design, name).is_some();
                if !is_known {
                    bail!(
                        "{}: objective {}: {name} is neither one of metrics, a key of the sweep, nor a key of machine or kernel",
                        self.sweep.name,
                        objective.name
                    );
                }
            }
        }
        Ok(())
    }
}

/// Maps as they are written.
fn maps(texts: &[String]) -> Result<Vec<FileMap>> {
    texts.iter().map(|text| accesses::map::parse(text).map_err(|error| anyhow!("maps: {error}"))).collect()
}

/// Every key of machine and kernel with its value.
fn settings(choice: &Choice) -> BTreeMap<&'static str, String> {
    let all = describe_machine(&choice.machine).into_iter().chain(describe_kernel(&choice.kernel));
    all.filter(|key| key.key != "description").map(|key| (key.key, key.value)).collect()
}
