//! to_number: the number that a text shows under a template of to_char. Signs may stand before or behind, group marks,
//! blanks and currency are passed over, digits beyond the template's places are left out.

use arrow::array::ArrayRef;

use super::entry::{Function, immutable};
use super::kernel::Call;
use super::strict::{Free, strict2};
use crate::error::{Error, Result, SqlState};
use crate::types::numeric;
use crate::types::pg_type::oid::*;

/// Digit places before and behind the point of a template.
fn places(template: &str) -> (usize, usize) {
    let (mut whole, mut fraction, mut behind) = (0, 0, false);
    let mut quoted = false;
    for character in template.chars() {
        match character {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '9' | '0' if behind => fraction += 1,
            '9' | '0' => whole += 1,
            '.' | 'D' | 'd' => behind = true,
            _ => {}
        }
    }
    (whole, fraction)
}

fn read(text: &str, template: &str) -> Result<Free> {
    let (whole, fraction) = places(template);
    let (mut shown, mut before, mut behind) = (String::new(), 0, None::<usize>);
    let mut negative = false;
    for character in text.chars() {
        match (character, behind) {
            ('-' | '<', _) => negative = true,
            ('.', None) if fraction > 0 => {
                behind = Some(0);
                shown.push('.');
            }
            ('.', None) => break,
            ('0'..='9', None) if before < whole => {
                before += 1;
                shown.push(character);
            }
            ('0'..='9', Some(count)) if count < fraction => {
                behind = Some(count + 1);
                shown.push(character);
            }
            _ => {}
        }
    }
    if !shown.contains(|c: char| c.is_ascii_digit()) {
        let message =
            format!("invalid input syntax for type numeric: \"{}\"", if text.is_empty() { " " } else { text });
        return Err(Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
    }
    let sign = if negative { "-" } else { "" };
    numeric::fit_free(numeric::parse(&format!("{sign}{shown}"))?).map(Free)
}

fn to_number(call: &Call) -> Result<ArrayRef> {
    strict2(call, |text: &str, template: &str| read(text, template))
}

pub const FUNCTIONS: &[Function] = &[immutable(
    1777,
    "to_number",
    &[TEXT, TEXT],
    NUMERIC,
    to_number,
    "The number that a text shows under a template.",
)
.stable()];
