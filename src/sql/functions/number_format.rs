//! to_char of numbers: `FM999,999,990.00`, `S`, `MI`, `PR`, `L`, `$`, `G`, `D`, `EEEE`, `RN` (`number_words.rs`).

use arrow::array::ArrayRef;
use arrow::datatypes::i256;

use super::cast::float_to_decimal;
use super::entry::{Function, immutable};
use super::kernel::Call;
use super::number_words;
use super::strict::{Fixed, Free, text2};
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::{self, Decimal, MAX_SCALE};
use crate::types::pg_type::oid::*;
use crate::types::{Numeric, Type};

/// A template, read once.
struct Template {
    /// Positions before and behind the point: digits (true where a zero is forced), and what stands between.
    pieces: Vec<Piece>,
    whole: usize,
    fraction: usize,
    fill: bool,
    sign: Sign,
}

#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Digit {
        zero: bool,
    },
    Group(char),
    Point,
    Literal(char),
    /// S where it stands, MI, PL, SG.
    Signed(Mark),
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Sign,
    Minus,
    Plus,
}

#[derive(Clone, Copy, PartialEq)]
enum Sign {
    /// A minus, or a space, right before the first digit.
    Floating,
    /// S before the digits: a plus or a minus right before the first.
    Before,
    /// Where the pattern has it.
    Placed,
    Brackets,
}

fn template(text: &str) -> Result<Template> {
    let mut out = Template { pieces: Vec::new(), whole: 0, fraction: 0, fill: true, sign: Sign::Floating };
    let mut rest = text;
    let (mut point, mut signed, mut bracketed) = (false, false, false);
    while !rest.is_empty() {
        let begins = |word: &str| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let mut take = 1;
        signed |= begins("S") || begins("PL") || begins("MI");
        bracketed |= begins("PR");
        if signed && bracketed {
            let message = "cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        if begins("FM") {
            out.fill = false;
            take = 2;
        } else if begins("EEEE") || begins("RN") || begins("V") || begins("TH") {
            return Err(Error::unsupported(
                format!("the numeric template pattern {}", rest.chars().take(4).collect::<String>()),
                "Use patterns of digits, groups, point and sign.",
            ));
        } else if begins("PR") {
            out.sign = Sign::Brackets;
            take = 2;
        } else if begins("MI") {
            (out.sign, take) = (Sign::Placed, 2);
            out.pieces.push(Piece::Signed(Mark::Minus));
        } else if begins("PL") {
            // It shows a plus only: the minus stays before the first digit.
            take = 2;
            out.pieces.push(Piece::Signed(Mark::Plus));
        } else if begins("B") {
            // Blank for zero, which no digit of a whole number is.
        } else if begins("SG") {
            (out.sign, take) = (Sign::Placed, 2);
            out.pieces.push(Piece::Signed(Mark::Sign));
        } else if begins("S") {
            if out.whole == 0 && !point {
                out.sign = Sign::Before;
            } else {
                out.sign = Sign::Placed;
                out.pieces.push(Piece::Signed(Mark::Sign));
            }
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.pieces.extend(quoted[..end].chars().map(Piece::Literal));
            take = (end + 2).min(rest.len());
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            take = c.len_utf8();
            match c {
                '9' | '0' => {
                    if out.sign == Sign::Brackets {
                        let message = format!("\"{c}\" must be ahead of \"PR\"");
                        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
                    }
                    out.pieces.push(Piece::Digit { zero: c == '0' });
                    if point { out.fraction += 1 } else { out.whole += 1 }
                }
                '.' | 'D' | 'd' => {
                    if point {
                        return Err(Error::new(SqlState::SYNTAX_ERROR, "multiple decimal points"));
                    }
                    point = true;
                    out.pieces.push(Piece::Point);
                }
                ',' | 'G' | 'g' => out.pieces.push(Piece::Group(',')),
                'L' | 'l' => out.pieces.push(Piece::Literal(' ')),
                other => out.pieces.push(Piece::Literal(other)),
            }
        }
        rest = &rest[take..];
    }
    Ok(out)
}

/// Prints a value by a template; `#` where it has too many digits.
fn formatted(value: Decimal, text: &str, out: &mut String) -> Result<()> {
    formatted_as(value, None, text, out)
}

/// `negative` is the sign of a float, which shows even where its digits are all 0.
fn formatted_as(value: Decimal, negative: Option<bool>, text: &str, out: &mut String) -> Result<()> {
    if let Some(whole) = number_words::whole(value, text)? {
        out.push_str(&whole);
        return Ok(());
    }
    let template = template(text)?;
    let unscaled = value.rescale(template.fraction.min(MAX_SCALE as usize) as u32).ok_or_else(numeric::overflow)?;
    let negative = negative.unwrap_or(unscaled.is_negative());
    let mut text = String::new();
    numeric::write_decimal(&mut text, unscaled.wrapping_abs(), template.fraction as u32);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = if whole == "0" { "" } else { whole };
    // A template without a place before the point has none for the 0 either.
    let overflows = whole.len().max(1) > template.whole;
    let digits: Vec<char> = format!("{whole:>width$}", width = template.whole).chars().collect();
    // From the first forced zero or real digit on, everything is shown.
    let mut started = false;
    let mut sign_due = !matches!(template.sign, Sign::Placed);
    let floating = |out: &mut String| match template.sign {
        Sign::Floating if negative => out.push('-'),
        Sign::Before => out.push(if negative { '-' } else { '+' }),
        Sign::Brackets if negative => out.push('<'),
        Sign::Floating | Sign::Brackets if template.fill => out.push(' '),
        _ => {}
    };
    let (mut at, mut behind, mut in_fraction) = (0, 0, false);
    let fraction: Vec<char> = fraction.chars().collect();
    let shown_fraction = if template.fill {
        fraction.len()
    } else {
        // FM drops trailing zeros that no 0 of the template forces.
        let forced = template
            .pieces
            .iter()
            .skip_while(|piece| **piece != Piece::Point)
            .filter_map(|piece| match piece {
                Piece::Digit { zero } => Some(*zero),
                _ => None,
            })
            .collect::<Vec<_>>();
        let last_forced = forced.iter().rposition(|zero| *zero).map_or(0, |n| n + 1);
        let last_digit = fraction.iter().rposition(|c| *c != '0').map_or(0, |n| n + 1);
        last_forced.max(last_digit)
    };
    for piece in &template.pieces {
        match piece {
            Piece::Digit { .. } if in_fraction => {
                if overflows {
                    out.push('#');
                } else if behind < shown_fraction {
                    out.push(fraction[behind]);
                }
                behind += 1;
            }
            Piece::Digit { zero } => {
                let digit = digits.get(at).copied().unwrap_or('#');
                let real = overflows || digit != ' ' || started;
                // A lone zero stands before the point only where a 0 forces it, or where there is no fraction.
                let last = at + 1 == template.whole;
                let whole_only = template.fraction == 0 || !template.fill && shown_fraction == 0;
                let lone = last && !started && digit == ' ' && whole_only;
                if real || *zero || lone {
                    if sign_due {
                        floating(out);
                        sign_due = false;
                    }
                    started = true;
                    out.push(if overflows {
                        '#'
                    } else if digit == ' ' {
                        '0'
                    } else {
                        digit
                    });
                } else if template.fill {
                    out.push(' ');
                }
                at += 1;
            }
            Piece::Group(c) if started => out.push(*c),
            Piece::Group(_) if template.fill => out.push(' '),
            Piece::Group(_) => {}
            // A point that no digit follows is not shown.
            Piece::Point if template.fraction == 0 => {}
            Piece::Point => {
                if sign_due {
                    floating(out);
                    sign_due = false;
                }
                in_fraction = true;
                out.push('.');
            }
            Piece::Literal(c) => out.push(*c),
            Piece::Signed(mark) => match (mark, negative) {
                (Mark::Sign, true) | (Mark::Minus, true) => out.push('-'),
                (Mark::Sign, false) | (Mark::Plus, false) => out.push('+'),
                _ if template.fill => out.push(' '),
                _ => {}
            },
        }
    }
    if template.sign == Sign::Brackets && template.whole + template.fraction > 0 {
        if negative {
            out.push('>');
        } else if template.fill {
            out.push(' ');
        }
    }
    Ok(())
}

fn numeric_to_char(call: &Call) -> Result<ArrayRef> {
    match call.types[0] {
        Type::Numeric(Numeric::Fixed { scale, .. }) => text2(call, |value: Fixed, text: &str, out| {
            formatted(Decimal::new(i256::from_i128(value.0), scale as u32), text, out)
        }),
        _ => text2(call, |value: Free, text: &str, out| formatted(Decimal::new(value.0, MAX_SCALE), text, out)),
    }
}

fn int4_to_char(call: &Call) -> Result<ArrayRef> {
    text2(call, |value: i32, text: &str, out| formatted(Decimal::new(i256::from_i128(value.into()), 0), text, out))
}

fn int8_to_char(call: &Call) -> Result<ArrayRef> {
    text2(call, |value: i64, text: &str, out| formatted(Decimal::new(i256::from_i128(value.into()), 0), text, out))
}

/// A float is rounded as C prints it, half to even; but it has so many digits only.
fn float(value: f64, digits: usize, text: &str, out: &mut String) -> Result<()> {
    if !value.is_finite() || number_words::whole(Decimal::new(i256::ZERO, 0), text)?.is_some() {
        return formatted(float_to_decimal(value, digits)?, text, out);
    }
    let fraction = template(text)?.fraction;
    let whole = format!("{:.0}", value.abs());
    if whole.len() + fraction > digits {
        return formatted(float_to_decimal(value, digits)?, text, out);
    }
    let rounded = numeric::parse(&format!("{value:.fraction$}"))?;
    formatted_as(rounded, Some(value.is_sign_negative()), text, out)
}

fn float8_to_char(call: &Call) -> Result<ArrayRef> {
    text2(call, |value: f64, text: &str, out| float(value, 15, text, out))
}

fn float4_to_char(call: &Call) -> Result<ArrayRef> {
    text2(call, |value: f32, text: &str, out| float(value.into(), 6, text, out))
}

const TO_CHAR: &str = "A number by a template: 'FM999,990.00'.";

pub const FUNCTIONS: &[Function] = &[
    immutable(1772, "to_char", &[NUMERIC, TEXT], TEXT, numeric_to_char, TO_CHAR).stable(),
    immutable(1773, "to_char", &[INT4, TEXT], TEXT, int4_to_char, TO_CHAR).stable(),
    immutable(1774, "to_char", &[INT8, TEXT], TEXT, int8_to_char, TO_CHAR).stable(),
    immutable(1775, "to_char", &[FLOAT4, TEXT], TEXT, float4_to_char, TO_CHAR).stable(),
    immutable(1776, "to_char", &[FLOAT8, TEXT], TEXT, float8_to_char, TO_CHAR).stable(),
];
