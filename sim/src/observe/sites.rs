//! What the lines of the model are called that began something: the function, which carries the name of the kernel's, and the
//! building block.

use std::panic::Location;

// Made by the build script from the sources of the model: `FUNCTIONS` and `BLOCKS`, each a list of files with the lines of
// their functions, or of their building blocks.
include!(concat!(env!("OUT_DIR"), "/sites.rs"));

/// A place of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The function that holds it.
    pub function: &'static str,
    /// The key of its path length, if it executes one: below `path_length.common`.
    pub block: Option<&'static str>,
}

/// What is at a line, if it is one of the kernel model.
#[must_use]
pub fn site(at: &Location<'_>) -> Option<Site> {
    let lines = of_file(FUNCTIONS, at.file())?;
    let after = lines.partition_point(|(line, _)| *line <= at.line());
    let function = lines.get(after.checked_sub(1)?)?.1;
    let blocks = of_file(BLOCKS, at.file()).unwrap_or_default();
    let block = blocks.iter().find(|(line, _)| *line == at.line()).map(|(_, block)| *block);
    Some(Site { function, block })
}

type Lines = &'static [(u32, &'static str)];

fn of_file(table: &'static [(&'static str, Lines)], file: &str) -> Option<Lines> {
    let path = file.replace('\\', "/");
    table.iter().find(|(name, _)| path.ends_with(name)).map(|(_, lines)| *lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_model_has_its_functions_and_blocks() {
        let lines = of_file(FUNCTIONS, "sim/src/kernel/fault.rs").unwrap();
        for name in ["page_fault", "do_user_addr_fault", "handle_mm_fault", "do_wp_page"] {
            assert!(lines.iter().any(|(_, function)| *function == name), "{name}");
        }
        assert!(lines.is_sorted());
        let blocks = of_file(BLOCKS, "sim/src/kernel/fault.rs").unwrap();
        assert!(blocks.iter().any(|(_, block)| *block == "vma_lock"));
        assert!(of_file(FUNCTIONS, "elsewhere.rs").is_none());
        assert_eq!(site(Location::caller()), None, "this file is none of the kernel model");
    }
}
