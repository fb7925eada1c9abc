//! The points of a sweep's space that are run.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Level, Quantity, Sample, Sweep, Values};

/// Points of a sweep at most, before the constraints.
pub const MAX_POINTS: u64 = 1_000_000;

/// One configuration; every input runs on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    /// Its machine.
    pub machine: String,
    /// Its kernel; `None` is the one that recorded the input.
    pub kernel: Option<String>,
    /// Its insert semantics; `None` are those of the kernel.
    pub semantics: Option<String>,
    /// The levels of the keys, in their order.
    pub levels: Vec<Level>,
}

/// The configurations of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Designs {
    /// Those that are run.
    pub designs: Vec<Design>,
    /// How many a full grid has, before the constraints; `None` if a key has a range without steps.
    pub grid: Option<u64>,
    /// How many the constraints leave out.
    pub left_out: u64,
}

/// What a position of a design is drawn from.
struct Axis<'a> {
    /// How many levels there are; 0 for a range.
    count: usize,
    values: Option<&'a Values>,
}

impl<'a> Axis<'a> {
    const fn of(values: &'a Values) -> Self {
        let count = match values {
            Values::Listed(levels) => levels.len(),
            Values::Range(_) => 0,
        };
        Self { count, values: Some(values) }
    }
}

impl Design {
    /// Every setting, in the order in which they are applied.
    #[must_use]
    pub fn set(&self, of_all: &[String]) -> Vec<String> {
        of_all.iter().chain(self.levels.iter().flat_map(|level| &level.set)).cloned().collect()
    }

    /// Every range that maps a DAX file.
    #[must_use]
    pub fn maps(&self, of_all: &[String]) -> Vec<String> {
        of_all.iter().chain(self.levels.iter().flat_map(|level| &level.maps)).cloned().collect()
    }
}

impl Sweep {
    /// The configurations that are run, in an order that only the file decides.
    ///
    /// # Errors
    ///
    /// More than [`MAX_POINTS`], or a constraint without a value: what is wrong.
    pub fn designs(&self) -> Result<Designs, String> {
        let axes = self.axes();
        let grid = grid_size(&axes);
        let places = match self.sample {
            Sample::Grid => self.grid(&axes, grid)?,
            Sample::Random { count, seed } => random(&axes, bounded(u64::from(count))?, seed),
            Sample::LatinHypercube { count, seed } => latin(&axes, bounded(u64::from(count))?, seed),
        };
        let mut designs = Vec::new();
        let mut left_out = 0;
        for place in places {
            let design = self.design(&axes, &place);
            if self.allows(&design)? {
                designs.push(design);
            } else {
                left_out += 1;
            }
        }
        Ok(Designs { designs, grid, left_out })
    }

    /// Machines, kernels, semantics, then the keys.
    fn axes(&self) -> Vec<Axis<'_>> {
        let named = [&self.machines, &self.kernels, &self.semantics];
        let named = named.map(|names| Axis { count: names.len().max(1), values: None });
        named.into_iter().chain(self.keys.iter().map(|key| Axis::of(&key.values))).collect()
    }

    /// Every place; the last key moves fastest.
    fn grid(&self, axes: &[Axis<'_>], size: Option<u64>) -> Result<Vec<Vec<f64>>, String> {
        let size = bounded(size.ok_or_else(|| "a range without steps has no full grid".to_owned())?)?;
        let place = |mut n: u64| {
            let mut place: Vec<f64> = Vec::with_capacity(axes.len());
            for axis in axes.iter().rev() {
                let count = axis.count.max(1) as u64;
                place.push(((n % count) as f64 + 0.5) / count as f64);
                n /= count;
            }
            place.reverse();
            place
        };
        Ok((0..size).map(place).collect())
    }

    fn design(&self, axes: &[Axis<'_>], place: &[f64]) -> Design {
        let index = |at: usize| {
            let (axis, place) = (axes.get(at), place.get(at).copied().unwrap_or_default());
            axis.map_or(0, |axis| ((place * axis.count as f64) as usize).min(axis.count.saturating_sub(1)))
        };
        let level = |(at, axis): (usize, &Axis<'_>)| match axis.values {
            Some(Values::Listed(levels)) => levels.get(index(at)).cloned(),
            Some(Values::Range(range)) => Some(range.at(place.get(at).copied().unwrap_or_default())),
            None => None,
        };
        Design {
            machine: self.machines.get(index(0)).cloned().unwrap_or_default(),
            kernel: self.kernels.get(index(1)).cloned(),
            semantics: self.semantics.get(index(2)).cloned(),
            levels: axes.iter().enumerate().filter_map(level).collect(),
        }
    }

    /// The value of a name that a constraint can have.
    #[must_use]
    pub fn value_in(&self, design: &Design, name: &str) -> Option<Quantity> {
        if let Some(at) = self.keys.iter().position(|key| key.name == name) {
            return design.levels.get(at).map(|level| Quantity::of_setting(&level.text));
        }
        let text = |name: &Option<String>| Quantity::Text(name.clone().unwrap_or_default());
        match name {
            "machine" => Some(Quantity::Text(design.machine.clone())),
            "kernel" => Some(text(&design.kernel)),
            "semantics" => Some(text(&design.semantics)),
            _ => None,
        }
    }

    fn allows(&self, design: &Design) -> Result<bool, String> {
        for constraint in &self.constraints {
            let holds = constraint.holds(&|name| self.value_in(design, name));
            if !holds.map_err(|error| format!("where {constraint}: {error}"))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn bounded(points: u64) -> Result<u64, String> {
    if points <= MAX_POINTS {
        return Ok(points);
    }
    Err(format!("{points} points: expected at most {MAX_POINTS}; a [sample] runs some of them"))
}

fn grid_size(axes: &[Axis<'_>]) -> Option<u64> {
    if axes.iter().any(|axis| axis.count == 0) {
        return None;
    }
    Some(axes.iter().fold(1, |size: u64, axis| size.saturating_mul(axis.count as u64)))
}

/// Each place by itself.
fn random(axes: &[Axis<'_>], count: u64, seed: u64) -> Vec<Vec<f64>> {
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..count).map(|_| axes.iter().map(|_| unit(&mut generator)).collect()).collect()
}

/// Along each axis, one place in each of as many strips as there are places; which strip goes with which of another axis is drawn.
fn latin(axes: &[Axis<'_>], count: u64, seed: u64) -> Vec<Vec<f64>> {
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
    let columns: Vec<Vec<f64>> = axes
        .iter()
        .map(|_| {
            let mut strips: Vec<u64> = (0..count).collect();
            for last in (1..strips.len()).rev() {
                let other = (unit(&mut generator) * (last + 1) as f64) as usize;
                strips.swap(last, other.min(last));
            }
            strips.iter().map(|strip| (*strip as f64 + unit(&mut generator)) / count as f64).collect()
        })
        .collect();
    let place = |n: usize| columns.iter().filter_map(|column| column.get(n).copied()).collect();
    (0..count as usize).map(place).collect()
}

/// A number from 0 up to 1, 1 left out.
fn unit(generator: &mut Xoshiro256PlusPlus) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}
