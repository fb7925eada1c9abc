//! Replacement policies as explanations of the victims that are seen.

use super::view::View;

/// A policy that might explain what is seen: ways in the order of their being touched, or trees.
#[derive(Clone, Debug)]
pub(super) enum Guess {
    Lru(Vec<usize>),
    Fifo(Vec<usize>),
    /// A node for each inner position of a heap; the number of the group used last, of so many.
    Tree {
        nodes: Vec<bool>,
        groups: usize,
        last: usize,
        ways: usize,
    },
}

impl Guess {
    /// Least recently used of so many ways.
    pub(super) fn lru(ways: usize) -> Self {
        Self::Lru((0..ways).collect())
    }

    /// First in, first out.
    pub(super) fn fifo(ways: usize) -> Self {
        Self::Fifo((0..ways).collect())
    }

    /// `groups` trees of `ways`; the victim is in the group after the one used last.
    pub(super) fn tree(groups: usize, ways: usize) -> Self {
        Self::Tree { nodes: vec![false; groups * ways], groups, last: 0, ways }
    }

    fn touch(&mut self, way: usize, filled: bool) {
        match self {
            Self::Fifo(_) if !filled => {}
            Self::Lru(order) | Self::Fifo(order) => {
                order.retain(|w| *w != way);
                order.push(way);
            }
            Self::Tree { nodes, last, ways, .. } => {
                *last = way / *ways;
                let (mut node, mut size, mut at) = (1, *ways, way % *ways);
                while size > 1 {
                    size /= 2;
                    nodes[*last * *ways + node] = at < size;
                    node = 2 * node + usize::from(at >= size);
                    at %= size;
                }
            }
        }
    }

    fn victim(&self) -> usize {
        match self {
            Self::Lru(order) | Self::Fifo(order) => order.first().copied().unwrap_or_default(),
            Self::Tree { nodes, groups, last, ways } => {
                let group = (last + usize::from(*groups > 1)) % groups;
                let mut node = 1;
                while node < *ways {
                    node = 2 * node + usize::from(nodes[group * ways + node]);
                }
                group * ways + node - ways
            }
        }
    }
}

/// Which of `guesses` explain every victim of a set of `ways`, over random accesses to `pages`, more than it holds: `touch`
/// accesses a page so that the level is asked, `has` says whether the level has it.
pub(super) fn explained(
    fresh: &View,
    guesses: &[(&'static str, Guess)],
    pages: &[u64],
    ways: usize,
    touch: impl Fn(&mut View, u64),
    has: impl Fn(&View, u64) -> bool,
) -> Vec<&'static str> {
    let mut left: Vec<_> = guesses.to_vec();
    let mut view = fresh.clone();
    let mut held: Vec<u64> = Vec::new();
    let mut random = 1_u64;
    for round in 0..600 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let page = if round < ways { pages[round] } else { pages[(random >> 33) as usize % pages.len()] };
        let before = held.clone();
        touch(&mut view, page);
        if let Some(way) = before.iter().position(|p| *p == page) {
            left.iter_mut().for_each(|(_, guess)| guess.touch(way, false));
            continue;
        }
        if held.len() < ways {
            held.push(page);
            left.iter_mut().for_each(|(_, guess)| guess.touch(held.len() - 1, true));
            continue;
        }
        let gone: Vec<usize> = (0..ways).filter(|way| !has(&view, held[*way])).collect();
        // More or fewer than one page making room has no explanation here.
        let [gone] = gone[..] else { return Vec::new() };
        left.retain(|(_, guess)| guess.victim() == gone);
        left.iter_mut().for_each(|(_, guess)| guess.touch(gone, true));
        held[gone] = page;
    }
    left.iter().map(|(name, _)| *name).collect()
}
