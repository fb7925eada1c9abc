//! `daxsim validate`: the simulated machines against what was measured on hardware.

mod judge;
mod measure;
mod memory;

use anyhow::{Result, bail};
use daxsim_configs::validation::{ValidationPoint, builtin_points, load_points};
use daxsim_reports::validation::{Validation, html, markdown, summary};
use daxsim_reports::write_atomically;

use crate::probe_args::ValidateArgs;
use crate::{Status, output};

/// Runs `daxsim validate`.
pub fn run(args: &ValidateArgs) -> Result<Status> {
    let mut points = Vec::new();
    for file in &args.points {
        points.extend(load_points(file)?);
    }
    if args.points.is_empty() {
        points = builtin_points()?;
    }
    let points = chosen(points, &args.ids)?;
    let measured = measure::measure(&points, args.threads)?;
    let judged = points.iter().map(|point| judge::judge(point, &measured)).collect::<Result<_>>()?;
    let validation = Validation::new(judged).rounded();
    if let Some(folder) = &args.out {
        write_atomically(&folder.join("validation.json"), validation.to_json()?.as_bytes())?;
        write_atomically(&folder.join("validation.html"), html(&validation)?.as_bytes())?;
        write_atomically(&folder.join("validation.md"), markdown(&validation).as_bytes())?;
    }
    output::print(&if args.json { validation.to_json()? } else { summary(&validation) })?;
    Ok(if validation.failed == 0 { Status::Done } else { Status::CheckFailed })
}

/// The points that were asked for: by their id, or by what stands before a dot in it.
fn chosen(points: Vec<ValidationPoint>, ids: &[String]) -> Result<Vec<ValidationPoint>> {
    let is = |point: &ValidationPoint, id: &str| {
        point.id.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(unknown) = ids.iter().find(|id| !points.iter().any(|point| is(point, id))) {
        let all: Vec<&str> = points.iter().map(|point| point.id.as_str()).collect();
        bail!("no validation point `{unknown}`: expected one of {}", all.join(", "));
    }
    Ok(points.into_iter().filter(|point| ids.is_empty() || ids.iter().any(|id| is(point, id))).collect())
}
