//! The order of jsonb values, as bytes that compare as Postgres's btree compares the values.
//!
//! null < string < number < boolean < array < object. Of two arrays or objects the longer one is greater; equally long
//! ones compare element by element, objects key, value, key, value in the order in which they are stored. A scalar that
//! stands by itself counts as an array of one element that is less than a real one; so only an empty array is less.
//!
//! ```text
//! null    00
//! string  01 bytes 00
//! number  02 7f (negative: all that follows is inverted) | 80 (zero) | 81 exponent(4, biased) digits 00
//! boolean 03 00|01
//! array   10 length(4) [at the top: 00 scalar, 01 array] elements
//! object  11 length(4) (key value)*
//! ```

use super::Value;

/// The bytes of a whole value.
pub fn key(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Object(_) => write(value, &mut out),
        Value::Array(items) => {
            header(0x10, items.len(), &mut out);
            out.push(1);
            items.iter().for_each(|item| write(item, &mut out));
        }
        scalar => {
            header(0x10, 1, &mut out);
            out.push(0);
            write(scalar, &mut out);
        }
    }
    out
}

fn header(tag: u8, length: usize, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((length as u32).to_be_bytes());
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0),
        Value::String(text) => write_text(text, out),
        Value::Number(digits) => {
            out.push(2);
            write_number(digits, out);
        }
        Value::Bool(value) => out.extend([3, u8::from(*value)]),
        Value::Array(items) => {
            header(0x10, items.len(), out);
            items.iter().for_each(|item| write(item, out));
        }
        Value::Object(fields) => {
            header(0x11, fields.len(), out);
            for (name, value) in fields {
                write_text(name, out);
                write(value, out);
            }
        }
    }
}

/// A jsonb string holds no zero byte.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(1);
    out.extend(text.bytes());
    out.push(0);
}

/// A number in canonical text: an optional sign, digits, an optional fraction; no exponent.
fn write_number(text: &str, out: &mut Vec<u8>) {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let Some(first) = digits.iter().position(|digit| *digit != b'0') else { return out.push(0x80) };
    let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(first);
    let exponent = whole.len() as i32 - first as i32;
    let start = out.len() + 1;
    out.push(if negative { 0x7f } else { 0x81 });
    out.extend((exponent as u32 ^ 0x8000_0000).to_be_bytes());
    out.extend(&digits[first..=last]);
    out.push(0);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the order in which PostgreSQL 15 sorts them; those of one line are equal.
    #[test]
    fn values_are_ordered_as_postgres_orders_them() {
        let sorted = [
            vec!["[]"],
            vec!["null"],
            vec!["\"\""],
            vec!["\"a\""],
            vec!["\"aa\""],
            vec!["\"b\""],
            vec!["-1000"],
            vec!["-2.5"],
            vec!["-2"],
            vec!["0", "0.00"],
            vec!["0.05"],
            vec!["0.5"],
            vec!["1", "1.0"],
            vec!["1.5"],
            vec!["10", "10.000"],
            vec!["false"],
            vec!["true"],
            vec!["[null]"],
            vec!["[1]"],
            vec!["[true]"],
            vec!["[[]]"],
            vec!["[{}]"],
            vec!["[1, 1]"],
            vec!["[1, 2]"],
            vec!["[[], 1]"],
            vec!["{}"],
            vec!["{\"a\": 1}"],
            vec!["{\"a\": 2}"],
            vec!["{\"b\": 0}"],
            vec!["{\"a\": 1, \"b\": 1}"],
        ];
        let key = |text: &&str| key(&super::super::parse(text).unwrap());
        for equal in &sorted {
            assert!(equal.iter().all(|text| key(text) == key(&equal[0])), "{equal:?}");
        }
        for pair in sorted.windows(2) {
            assert!(key(&pair[0][0]) < key(&pair[1][0]), "{} < {}", pair[0][0], pair[1][0]);
        }
    }
}
