//! Which of several operators or functions of one name a call means: Postgres's rules (manual, chapter 10).
//!
//! An exact match wins. Else, among the candidates that the arguments reach by implicit casts, those with most exact
//! arguments; of these, those with most exact or preferred types; then unknown literals take the category the
//! candidates agree on, strings first; at last, unknowns are assumed to be of the type the known arguments share.

use super::CastContext;
use super::cast;
use crate::types::pg_type::{category, element_of, is_preferred, oid};

/// What a name and argument types lead to.
#[derive(Debug, PartialEq)]
pub enum Choice {
    /// Index among the candidates.
    One(usize),
    None,
    Ambiguous,
}

pub fn is_polymorphic(ty: u32) -> bool {
    matches!(
        ty,
        oid::ANYELEMENT | oid::ANYARRAY | oid::ANYNONARRAY | oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLEARRAY | oid::ANY
    )
}

/// Whether an argument of type `from` can stand where `to` is declared, by implicit casts only.
pub fn accepts(from: u32, to: u32) -> bool {
    if from == to || from == oid::UNKNOWN {
        return true;
    }
    match to {
        oid::ANY | oid::ANYELEMENT | oid::ANYCOMPATIBLE => true,
        oid::ANYNONARRAY => element_of(from).is_none(),
        oid::ANYARRAY | oid::ANYCOMPATIBLEARRAY => element_of(from).is_some(),
        _ => cast::path(from, to, CastContext::Implicit).is_some(),
    }
}

/// Chooses among `candidates` (declared argument types, all as long as `args`).
pub fn select(args: &[u32], candidates: &[Vec<u32>]) -> Choice {
    if let Some(exact) = candidates.iter().position(|declared| declared == args) {
        return Choice::One(exact);
    }
    let mut left: Vec<usize> = (0..candidates.len())
        .filter(|&c| args.iter().zip(&candidates[c]).all(|(&arg, &declared)| accepts(arg, declared)))
        .filter(|&c| polymorphic_args_agree(args, &candidates[c]))
        .collect();
    match left[..] {
        [] => return Choice::None,
        [only] => return Choice::One(only),
        _ => {}
    }

    let known = |i: usize| args[i] != oid::UNKNOWN;
    keep_best(&mut left, |c| (0..args.len()).filter(|&i| known(i) && candidates[c][i] == args[i]).count());
    if let [only] = left[..] {
        return Choice::One(only);
    }
    keep_best(&mut left, |c| {
        (0..args.len())
            .filter(|&i| known(i))
            .filter(|&i| {
                let declared = candidates[c][i];
                declared == args[i] || (is_preferred(declared) && category(declared) == category(args[i]))
            })
            .count()
    });
    if let [only] = left[..] {
        return Choice::One(only);
    }
    if (0..args.len()).all(known) {
        return Choice::Ambiguous;
    }

    if let Some(narrowed) = by_category(args, candidates, &left) {
        left = narrowed;
        if let [only] = left[..] {
            return Choice::One(only);
        }
    }
    let mut known_types = args.iter().copied().filter(|&arg| arg != oid::UNKNOWN);
    if let Some(first) = known_types.next()
        && known_types.all(|ty| ty == first)
    {
        let all = vec![first; args.len()];
        let fitting: Vec<usize> = left
            .iter()
            .copied()
            .filter(|&c| all.iter().zip(&candidates[c]).all(|(&arg, &declared)| accepts(arg, declared)))
            .filter(|&c| polymorphic_args_agree(&all, &candidates[c]))
            .collect();
        if let [only] = fitting[..] {
            return Choice::One(only);
        }
    }
    Choice::Ambiguous
}

fn keep_best(left: &mut Vec<usize>, score: impl Fn(usize) -> usize) {
    let best = left.iter().map(|&c| score(c)).max().unwrap_or(0);
    left.retain(|&c| score(c) == best);
}

/// Resolves unknown arguments by the category that the candidates take there; `None` where they do not agree.
fn by_category(args: &[u32], candidates: &[Vec<u32>], left: &[usize]) -> Option<Vec<usize>> {
    let mut kept = left.to_vec();
    let mut wanted = Vec::new();
    for i in (0..args.len()).filter(|&i| args[i] == oid::UNKNOWN) {
        let categories: Vec<char> = left.iter().map(|&c| category(candidates[c][i])).collect();
        let chosen = if categories.contains(&'S') {
            'S'
        } else if categories.iter().all(|&c| c == categories[0]) {
            categories[0]
        } else {
            return None;
        };
        let preferred = left.iter().any(|&c| category(candidates[c][i]) == chosen && is_preferred(candidates[c][i]));
        wanted.push((i, chosen, preferred));
    }
    kept.retain(|&c| {
        wanted.iter().all(|&(i, chosen, preferred)| {
            category(candidates[c][i]) == chosen && (!preferred || is_preferred(candidates[c][i]))
        })
    });
    (!kept.is_empty()).then_some(kept)
}

/// `anyelement` arguments must be of one type, which `anyarray`'s elements share; `anycompatible` ones, of types that
/// cast to one of them.
fn polymorphic_args_agree(args: &[u32], declared: &[u32]) -> bool {
    let mut element = None;
    for (&arg, &declared) in args.iter().zip(declared) {
        let own = match declared {
            _ if arg == oid::UNKNOWN => continue,
            oid::ANYELEMENT | oid::ANYNONARRAY => arg,
            oid::ANYARRAY => match element_of(arg) {
                Some(row) => row.oid,
                None => return false,
            },
            _ => continue,
        };
        if *element.get_or_insert(own) != own {
            return false;
        }
    }
    let compatible: Vec<u32> = args
        .iter()
        .zip(declared)
        .filter(|(arg, _)| **arg != oid::UNKNOWN)
        .filter_map(|(&arg, &declared)| match declared {
            oid::ANYCOMPATIBLE => Some(arg),
            oid::ANYCOMPATIBLEARRAY => element_of(arg).map(|row| row.oid),
            _ => None,
        })
        .collect();
    let implicit = |from: u32, to: u32| cast::path(from, to, CastContext::Implicit).is_some();
    compatible.iter().all(|&a| compatible.iter().all(|&b| a == b || implicit(a, b) || implicit(b, a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_choices_postgres_makes() {
        let unary = vec![vec![oid::INT8], vec![oid::FLOAT8], vec![oid::NUMERIC]];
        assert_eq!(select(&[oid::INT4], &unary), Choice::One(1), "float8 is the preferred numeric type");
        assert_eq!(select(&[oid::INT8], &unary), Choice::One(0));
        assert_eq!(select(&[oid::UNKNOWN], &unary), Choice::One(1));
        assert_eq!(select(&[oid::TEXT], &unary), Choice::None);
        let concat = vec![
            vec![oid::TEXT, oid::TEXT],
            vec![oid::ANYNONARRAY, oid::TEXT],
            vec![oid::TEXT, oid::ANYNONARRAY],
            vec![oid::ANYCOMPATIBLEARRAY, oid::ANYCOMPATIBLEARRAY],
        ];
        assert_eq!(select(&[oid::TEXT, oid::INT4], &concat), Choice::One(2));
        assert_eq!(select(&[oid::UNKNOWN, oid::UNKNOWN], &concat), Choice::One(0));
        assert_eq!(select(&[oid::INT4_ARRAY, oid::INT4_ARRAY], &concat), Choice::One(3));
        let plus = vec![vec![oid::INT4, oid::INT4], vec![oid::INT8, oid::INT8], vec![oid::DATE, oid::INT4]];
        assert_eq!(select(&[oid::INT4, oid::UNKNOWN], &plus), Choice::One(0));
        assert_eq!(select(&[oid::UNKNOWN, oid::UNKNOWN], &plus), Choice::Ambiguous);
    }
}
