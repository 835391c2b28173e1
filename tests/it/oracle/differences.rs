//! Where PostgreSQL may answer otherwise than we do, and why we stand by it.
//!
//! | difference | where it is allowed | why |
//! |---|---|---|
//! | digits of a numeric behind the point | columns of a numeric without a declared scale | the scale of a numeric expression is part of its type with us; PostgreSQL carries one with each value (`docs/functions.md`). Compared by value, to ten digits behind the point, or to the 17 that PostgreSQL's quotients have at least |
//! | last digits of a float | float columns | our sums are exact, whatever the order; PostgreSQL's add one after the other and round each time, and its deviations of great integers keep nine digits, and that of equal values is not quite none. Compared to eight |
//! | FULL JOIN on other conditions than equality | not asked | PostgreSQL has no plan for it (0A000) |
//!
//! Ties are no difference here: where PostgreSQL would break them as it likes, it is asked with our documented order
//! written out (`text.rs`).

use std::collections::BTreeMap;

use tokio_postgres::error::{DbError, SqlState};

use super::program::View;
use super::schema::Kind;

pub enum Answer {
    Same,
    StoodBy(&'static str),
    Differs(String),
}

/// Why PostgreSQL can't be asked, if that is known.
pub fn refusal(error: &DbError) -> Option<&'static str> {
    let full = "FULL JOIN is only supported with merge-joinable or hash-joinable join conditions";
    (*error.code() == SqlState::FEATURE_NOT_SUPPORTED && error.message() == full)
        .then_some("a FULL JOIN it has no plan for")
}

type Row = Vec<Option<String>>;

/// Compares the rows of a view with PostgreSQL's.
pub fn judge(view: &View, ours: Vec<Row>, theirs: Vec<Row>) -> Answer {
    if left_over(&ours, &theirs) == (Vec::new(), Vec::new()) {
        return Answer::Same;
    }
    // What is left after equal rows are taken away is little: each of ours looks for one of theirs.
    let (ours, mut theirs) = left_over(&ours, &theirs);
    let mut differ = Vec::new();
    for row in ours {
        match theirs.iter().position(|other| alike(view, row, other)) {
            Some(found) => drop(theirs.swap_remove(found)),
            None => differ.push(row),
        }
    }
    if differ.is_empty() && theirs.is_empty() {
        return Answer::StoodBy("digits of a numeric or float");
    }
    let shown = |sign: &str, rows: &[&Row]| -> Vec<String> {
        let value = |value: &Option<String>| value.clone().unwrap_or("NULL".into());
        let row = |row: &&Row| format!("{sign} {}", row.iter().map(value).collect::<Vec<_>>().join(" | "));
        rows.iter().take(6).map(row).collect()
    };
    let lines = [shown("+", &differ), shown("-", &theirs)].concat();
    Answer::Differs(format!("ours (+) and PostgreSQL's (-) differ:\n{}", lines.join("\n")))
}

/// Whether two rows differ in no more than the digits we stand by.
fn alike(view: &View, ours: &Row, theirs: &Row) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).zip(&view.columns).all(|((ours, theirs), (_, kind))| match (ours, theirs) {
            (Some(ours), Some(theirs)) => match kind {
                Kind::Decimal => numerics_alike(ours, theirs),
                Kind::Real | Kind::Float => floats_alike(ours, theirs),
                _ => ours == theirs,
            },
            (ours, theirs) => ours == theirs,
        })
}

/// Equal to ten digits behind the point; of a great number to as many as PostgreSQL's quotients have, at least 17 in all.
fn numerics_alike(ours: &str, theirs: &str) -> bool {
    let (whole, behind) = theirs.split_once('.').unwrap_or((theirs, ""));
    let few = whole.trim_start_matches('-').len() + behind.len() >= 17;
    let places = if few { behind.len().min(10) } else { 10 };
    rounded(ours, places) == rounded(theirs, places)
}

/// At most so many digits behind the point, no zeros at the end.
fn rounded(text: &str, places: usize) -> String {
    let Some((whole, behind)) = text.split_once('.') else { return text.to_string() };
    if behind.len() <= places {
        let short = format!("{whole}.{behind}");
        return short.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    // Rounded half up on the digits themselves: a float would have too few.
    let digits: Vec<u8> = whole.bytes().chain(behind.bytes().take(places)).filter(u8::is_ascii_digit).collect();
    let value = digits.iter().fold(0i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let value = value + i128::from(behind.as_bytes()[places] >= b'5');
    let sign = if text.starts_with('-') && value != 0 { "-" } else { "" };
    let unit = 10i128.pow(places as u32);
    let text = format!("{sign}{}.{:0places$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Equal to eight digits; zero has no sign, and may be what rounding leaves of it.
fn floats_alike(ours: &str, theirs: &str) -> bool {
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(one), Ok(two)) if one.is_finite() && two.is_finite() => {
            let zero = one == 0.0 || two == 0.0;
            (one - two).abs() <= if zero { 1e-12 } else { 1e-8 * one.abs().max(two.abs()) }
        }
        _ => ours == theirs,
    }
}

/// The rows that one side has more often than the other.
fn left_over<'a>(ours: &'a [Row], theirs: &'a [Row]) -> (Vec<&'a Row>, Vec<&'a Row>) {
    let mut counts: BTreeMap<&Row, i64> = BTreeMap::new();
    for (rows, weight) in [(ours, 1), (theirs, -1)] {
        for row in rows {
            *counts.entry(row).or_default() += weight;
        }
    }
    let (mut more, mut fewer) = (Vec::new(), Vec::new());
    for (row, count) in counts {
        let side = if count > 0 { &mut more } else { &mut fewer };
        side.extend(std::iter::repeat_n(row, count.unsigned_abs() as usize));
    }
    (more, fewer)
}

#[test]
fn digits_are_compared_by_value() {
    assert!(numerics_alike("1.5000", "1.5") && numerics_alike("120.0", "120"));
    assert!(numerics_alike("0.33333333333333333333", "0.3333333333333333"));
    assert!(numerics_alike("1333333342.6666666666666667", "1333333342.66666667"));
    assert!(!numerics_alike("1333333342.6666666466666667", "1333333342.66666667"));
    assert!(!numerics_alike("100", "10") && !numerics_alike("1.54", "1.5"));
    assert_eq!(rounded("-0.66666666666666666667", 10), "-0.6666666667");
    assert!(floats_alike("-0", "0") && floats_alike("0.30000000000000004", "0.3"));
    assert!(floats_alike("0", "7.016903962816828e-14") && !floats_alike("0", "1e-9"));
    assert!(!floats_alike("0.3000001", "0.3") && !floats_alike("NaN", "0"));
}
