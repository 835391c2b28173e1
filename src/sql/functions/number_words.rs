//! The forms of to_char that write a number whole: scientific (`9.99EEEE`) and Roman (`RN`).

use crate::error::{Error, Result};
use crate::types::numeric::{self, Decimal};

/// The text of a value under a template of such a form; `None` for other templates.
pub fn whole(value: Decimal, template: &str) -> Result<Option<String>> {
    let upper = template.to_ascii_uppercase();
    let fill = !upper.starts_with("FM");
    let bare = upper.trim_start_matches("FM");
    if bare == "RN" {
        return Ok(Some(roman(value, template.ends_with("rn"), fill)));
    }
    match bare.strip_suffix("EEEE") {
        Some(digits) if digits.chars().all(|c| matches!(c, '9' | '0' | '.' | 'D')) => {
            let places = digits.split_once(['.', 'D']).map_or(0, |(_, behind)| behind.len());
            Ok(Some(scientific(value, places, fill)))
        }
        Some(_) => Err(Error::unsupported("EEEE beside other patterns", "Write digits and a point before EEEE.")),
        None => Ok(None),
    }
}

/// One digit, so many places rounded half up, and the exponent in two digits.
fn scientific(value: Decimal, places: usize, fill: bool) -> String {
    let mut text = String::new();
    let negative = value.unscaled.is_negative();
    numeric::write_decimal(&mut text, value.unscaled.wrapping_abs(), value.scale);
    let (before, behind) = text.split_once('.').unwrap_or((&text, ""));
    let all: Vec<u8> = before.bytes().chain(behind.bytes()).map(|c| c - b'0').collect();
    let first = all.iter().position(|digit| *digit != 0);
    let mut exponent = first.map_or(0, |first| before.len() as i32 - 1 - first as i32);
    let significant = &all[first.unwrap_or(0)..];
    let mut digits: Vec<u8> = (0..=places).map(|n| significant.get(n).copied().unwrap_or(0)).collect();
    if significant.get(places + 1).is_some_and(|next| *next >= 5) {
        let mut at = digits.len();
        loop {
            if at == 0 {
                digits.insert(0, 1);
                digits.pop();
                exponent += 1;
                break;
            }
            at -= 1;
            digits[at] = (digits[at] + 1) % 10;
            if digits[at] != 0 {
                break;
            }
        }
    }
    let shown: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    let point = if places > 0 { "." } else { "" };
    let sign = if negative {
        "-"
    } else if fill {
        " "
    } else {
        ""
    };
    let direction = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{}{point}{}e{direction}{:02}", &shown[..1], &shown[1..], exponent.abs())
}

const ROMAN: &[(i64, &str)] = &[
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

/// From 1 to 3999; marks for what is outside.
fn roman(value: Decimal, lower: bool, fill: bool) -> String {
    let rounded = value.rescale(0).and_then(|value| value.to_i128()).unwrap_or(0);
    let mut left = i64::try_from(rounded).unwrap_or(0);
    if !(1..4000).contains(&left) {
        return "#".repeat(15);
    }
    let mut text = String::new();
    for (worth, letters) in ROMAN {
        while left >= *worth {
            text.push_str(letters);
            left -= worth;
        }
    }
    let text = if lower { text.to_lowercase() } else { text };
    if fill { format!("{text:>15}") } else { text }
}
