//! Postgres's regular expressions in the words of the `regex` crate.
//!
//! Classes are those of a database in a UTF-8 locale: [[:alpha:]], \w and their like know all letters, \d the digits 0 to 9
//! alone. The parser also finds out where the crate would match another text than Postgres does. Postgres first settles
//! how long the whole match is, by the preference of the first quantifier that has one; the crate lets each quantifier
//! take what it likes from the left. Both agree where all prefer the same, or where the end is given by `$`.

use std::iter::Peekable;
use std::str::Chars;

use super::regexp::invalid;
use crate::error::{Error, Result};

/// A pattern in the crate's syntax.
pub struct Translated {
    pub pattern: String,
    /// Which text matches depends on how Postgres weighs quantifiers of both kinds; whether one does, doesn't.
    pub mixed: bool,
}

/// Flags that change how a pattern is read.
#[derive(Clone, Copy, Default)]
pub struct Reading {
    /// x: white space and comments stand for nothing.
    pub expanded: bool,
    /// n, p: `[^a]` does not match a newline.
    pub lines_apart: bool,
    /// n, w: `$` matches before newlines, too.
    pub many_ends: bool,
}

/// What a quantifier takes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Preference {
    Long,
    Short,
}

/// A bracket level, or the whole.
#[derive(Default)]
struct Level {
    /// Of the branch that is read: the first of its quantifiers decides.
    preference: Option<Preference>,
    branches: usize,
    /// Some branch prefers the short.
    short: bool,
    /// The branch has both kinds beside each other.
    both: bool,
    /// What was read last matches the end of the text only.
    ended: bool,
}

impl Level {
    fn atom(&mut self, preference: Option<Preference>) {
        self.both |= self.preference.is_some() && preference.is_some() && self.preference != preference;
        self.preference = self.preference.or(preference);
        self.ended = false;
    }

    fn end_branch(&mut self) {
        self.branches += 1;
        self.short |= self.preference == Some(Preference::Short);
    }

    /// Of all its branches; more than one prefer the long together.
    fn whole(&self) -> Option<Preference> {
        if self.branches > 1 { Some(Preference::Long) } else { self.preference }
    }

    /// Two branches, of which one would take the short if it were asked.
    fn torn(&self) -> bool {
        self.branches > 1 && self.short
    }
}

/// What stands between brackets and alternatives.
enum Atom {
    /// May be repeated; prefers what its own quantifiers do.
    Matching(Option<Preference>),
    /// `^`, `\y` and their like, with whether it is the end of the text: nothing to repeat.
    Place { end: bool },
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    reading: Reading,
    out: String,
    levels: Vec<Level>,
    mixed: bool,
}

/// 2201B; 0A000 for what the crate can't do.
pub fn translate(pattern: &str, reading: Reading) -> Result<Translated> {
    let out = String::with_capacity(pattern.len() + 8);
    let mut reader =
        Reader { chars: pattern.chars().peekable(), reading, out, levels: vec![Level::default()], mixed: false };
    while let Some(c) = reader.next()? {
        reader.piece(c)?;
    }
    let Some(mut top) = reader.levels.pop().filter(|_| reader.levels.is_empty()) else {
        return Err(invalid("parentheses () not balanced"));
    };
    top.end_branch();
    let end_is_given = top.branches == 1 && top.ended;
    Ok(Translated { pattern: reader.out, mixed: reader.mixed || top.torn() || top.both && !end_is_given })
}

impl Reader<'_> {
    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn ahead(&self, word: &str) -> bool {
        let mut chars = self.chars.clone();
        word.chars().all(|c| chars.next() == Some(c))
    }

    /// The next character that stands for something.
    fn next(&mut self) -> Result<Option<char>> {
        self.skip()?;
        Ok(self.chars.next())
    }

    fn skip(&mut self) -> Result<()> {
        loop {
            match self.chars.peek().copied() {
                Some('(') if self.ahead("(?#") => {
                    if !self.chars.by_ref().any(|c| c == ')') {
                        return Err(invalid("parentheses () not balanced"));
                    }
                }
                Some(c) if self.reading.expanded && c.is_ascii_whitespace() => drop(self.chars.next()),
                Some('#') if self.reading.expanded => drop(self.chars.by_ref().any(|c| c == '\n')),
                _ => return Ok(()),
            }
        }
    }

    fn piece(&mut self, c: char) -> Result<()> {
        let atom = match c {
            '(' => return self.open(),
            ')' => {
                let Some(mut closed) = self.levels.pop().filter(|_| !self.levels.is_empty()) else {
                    return Err(invalid("parentheses () not balanced"));
                };
                closed.end_branch();
                self.mixed |= closed.both || closed.torn();
                self.out.push(')');
                Atom::Matching(closed.whole())
            }
            '|' => {
                self.out.push('|');
                let level = self.level();
                level.end_branch();
                // The branches are held against each other by `torn`; what is in one is judged here.
                let both = std::mem::take(&mut level.both);
                level.preference = None;
                level.ended = false;
                self.mixed |= both;
                return Ok(());
            }
            '*' | '+' | '?' => return Err(invalid("quantifier operand invalid")),
            '{' if self.chars.peek().is_some_and(char::is_ascii_digit) => {
                return Err(invalid("quantifier operand invalid"));
            }
            '[' => self.bracket()?,
            '\\' => self.escape()?,
            '^' => {
                self.out.push('^');
                Atom::Place { end: false }
            }
            '$' => {
                self.out.push('$');
                Atom::Place { end: !self.reading.many_ends }
            }
            '.' => {
                self.out.push('.');
                Atom::Matching(None)
            }
            other => {
                push_literal(other, &mut self.out);
                Atom::Matching(None)
            }
        };
        match atom {
            Atom::Matching(own) => {
                let preference = self.quantifier(own)?;
                self.level().atom(preference);
            }
            Atom::Place { end } => self.level().ended = end,
        }
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        self.levels.push(Level::default());
        if self.chars.next_if_eq(&'?').is_none() {
            self.out.push('(');
            return Ok(());
        }
        match self.chars.next() {
            Some(':') => self.out.push_str("(?:"),
            Some('=' | '!' | '<') => {
                return Err(Error::unsupported(
                    "lookaround in a regular expression",
                    "Match more and cut with substring, or use two conditions.",
                ));
            }
            _ => return Err(invalid("quantifier operand invalid")),
        }
        Ok(())
    }

    /// A quantifier behind an atom, if there is one, and what both prefer.
    fn quantifier(&mut self, own: Option<Preference>) -> Result<Option<Preference>> {
        self.skip()?;
        let Some(&c) = self.chars.peek() else { return Ok(own) };
        let mut fixed = false;
        match c {
            '*' | '+' | '?' => {
                self.chars.next();
                self.out.push(c);
            }
            '{' => {
                let mut digits = self.chars.clone();
                digits.next();
                if !digits.peek().is_some_and(char::is_ascii_digit) {
                    return Ok(own);
                }
                self.chars.next();
                self.out.push('{');
                fixed = true;
                loop {
                    match self.chars.next() {
                        Some(c @ ('0'..='9' | ',')) => {
                            fixed &= c != ',';
                            self.out.push(c);
                        }
                        Some('}') => break,
                        Some(_) => return Err(invalid("invalid repetition count(s)")),
                        None => return Err(invalid("braces {} not balanced")),
                    }
                }
                self.out.push('}');
            }
            _ => return Ok(own),
        }
        self.skip()?;
        let preference = match self.chars.next_if_eq(&'?') {
            Some(_) => {
                self.out.push('?');
                Preference::Short
            }
            None => Preference::Long,
        };
        // {m} leaves the choice to what it repeats, and so does {m}?.
        if fixed {
            return Ok(own);
        }
        self.mixed |= own.is_some_and(|own| own != preference);
        Ok(Some(preference))
    }

    /// Behind a backslash outside of brackets.
    fn escape(&mut self) -> Result<Atom> {
        let place = |end: bool, out: &mut String, word: &str| {
            out.push_str(word);
            Ok(Atom::Place { end })
        };
        let Some(letter) = self.chars.next() else { return Err(invalid("invalid escape \\ sequence")) };
        match letter {
            'y' => place(false, &mut self.out, r"\b"),
            'Y' => place(false, &mut self.out, r"\B"),
            'm' => place(false, &mut self.out, r"\b{start}"),
            'M' => place(false, &mut self.out, r"\b{end}"),
            'A' => place(false, &mut self.out, r"\A"),
            'Z' => place(true, &mut self.out, r"\z"),
            '1'..='9' => Err(Error::unsupported("a back reference in a regular expression", "Match the parts apart.")),
            'd' | 'w' | 's' | 'D' | 'W' | 'S' => {
                self.out.push('[');
                push_shorthand(letter, &mut self.out);
                self.out.push(']');
                Ok(Atom::Matching(None))
            }
            other => {
                let c = self.escaped(other)?;
                push_literal(c, &mut self.out);
                Ok(Atom::Matching(None))
            }
        }
    }

    /// The one character that an escape means.
    fn escaped(&mut self, letter: char) -> Result<char> {
        let wrong = || invalid("invalid escape \\ sequence");
        Ok(match letter {
            'a' => '\x07',
            'b' => '\x08',
            'B' => '\\',
            'e' => '\x1b',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.code(1, 255)?,
            'u' => self.code(4, 4)?,
            'U' => self.code(8, 8)?,
            'c' => match self.chars.next() {
                Some(c) if c.is_ascii() => char::from(c as u8 & 0x1f),
                _ => return Err(wrong()),
            },
            other if other.is_alphanumeric() => return Err(wrong()),
            other => other,
        })
    }

    /// A character by its number in hexadecimal digits.
    fn code(&mut self, least: usize, most: usize) -> Result<char> {
        let wrong = || invalid("invalid escape \\ sequence");
        let (mut code, mut seen) = (0u32, 0);
        while seen < most
            && let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(16))
        {
            code = code.checked_mul(16).and_then(|code| code.checked_add(digit)).ok_or_else(wrong)?;
            self.chars.next();
            seen += 1;
        }
        char::from_u32(code).filter(|_| seen >= least).ok_or_else(wrong)
    }

    /// A bracket expression, of which the `[` is read.
    fn bracket(&mut self) -> Result<Atom> {
        for (word, place) in [("[:<:]]", r"\b{start}"), ("[:>:]]", r"\b{end}")] {
            if self.ahead(word) {
                self.chars.nth(word.len() - 1);
                self.out.push_str(place);
                return Ok(Atom::Place { end: false });
            }
        }
        self.out.push('[');
        if self.chars.next_if_eq(&'^').is_some() {
            self.out.push('^');
            if self.reading.lines_apart {
                self.out.push_str(r"\n");
            }
        }
        let mut first = true;
        loop {
            let Some(c) = self.chars.next() else { return Err(invalid("brackets [] not balanced")) };
            if c == ']' && !first {
                self.out.push(']');
                return Ok(Atom::Matching(None));
            }
            first = false;
            let Some(from) = self.member(c)? else { continue };
            // A hyphen before the closing bracket is one.
            if !self.ahead("-") || self.ahead("-]") {
                push_literal(from, &mut self.out);
                continue;
            }
            self.chars.next();
            let to = match self.chars.next() {
                Some(c) => self.member(c)?.ok_or_else(|| invalid("invalid character range"))?,
                None => return Err(invalid("brackets [] not balanced")),
            };
            if from > to {
                return Err(invalid("invalid character range"));
            }
            push_literal(from, &mut self.out);
            self.out.push('-');
            push_literal(to, &mut self.out);
        }
    }

    /// A member of a bracket expression: a character that a range may begin with, or a class, which is written.
    fn member(&mut self, c: char) -> Result<Option<char>> {
        if c == '\\' {
            let Some(letter) = self.chars.next() else { return Err(invalid("brackets [] not balanced")) };
            if matches!(letter, 'd' | 'w' | 's' | 'D' | 'W' | 'S') {
                self.out.push_str(if letter.is_uppercase() { "[" } else { "" });
                push_shorthand(letter, &mut self.out);
                self.out.push_str(if letter.is_uppercase() { "]" } else { "" });
                return Ok(None);
            }
            return self.escaped(letter).map(Some);
        }
        let Some(kind @ (':' | '.' | '=')) = self.chars.peek().copied().filter(|_| c == '[') else {
            return Ok(Some(c));
        };
        self.chars.next();
        let mut name = String::new();
        loop {
            match self.chars.next() {
                Some(c) if c == kind && self.chars.next_if_eq(&']').is_some() => break,
                Some(c) => name.push(c),
                None => return Err(invalid("brackets [] not balanced")),
            }
        }
        if kind == ':' {
            self.out.push_str(&class(&name).ok_or_else(|| invalid("invalid character class"))?);
            return Ok(None);
        }
        let mut characters = name.chars();
        match (characters.next(), characters.next()) {
            (Some(c), None) => Ok(Some(c)),
            _ => Err(Error::unsupported(
                format!("[{kind}{name}{kind}] in a regular expression"),
                "Write the character itself.",
            )),
        }
    }
}

/// A character for itself, inside or outside of brackets.
fn push_literal(c: char, out: &mut String) {
    if r"\.+*?()|[]{}^$#&-~".contains(c) {
        out.push('\\');
    }
    out.push(c);
}

/// What stands in the brackets of `\d` and its like.
fn push_shorthand(letter: char, out: &mut String) {
    out.push_str(if letter.is_uppercase() { "^" } else { "" });
    out.push_str(match letter {
        'd' | 'D' => "0-9",
        's' | 'S' => SPACE,
        _ => WORD,
    });
}

const SPACE: &str = r"\t-\r \x{1680}\x{2000}-\x{2006}\x{2008}-\x{200a}\x{2028}\x{2029}\x{205f}\x{3000}";
const WORD: &str = r"_\p{Alphabetic}\p{Nd}";

/// A named class, as a member of brackets. As in a C library, digits of other scripts are letters.
fn class(name: &str) -> Option<String> {
    let unprintable = r"\p{Cc}\p{Cn}\x{2028}\x{2029}";
    Some(match name {
        "alpha" => r"\p{Alphabetic}[\p{Nd}--0-9]".to_string(),
        "alnum" => r"\p{Alphabetic}\p{Nd}".to_string(),
        "word" => WORD.to_string(),
        "digit" => "0-9".to_string(),
        "xdigit" => "0-9a-fA-F".to_string(),
        "lower" => r"\p{Lowercase}".to_string(),
        "upper" => r"\p{Uppercase}".to_string(),
        "space" => SPACE.to_string(),
        "blank" => r"\t ".to_string(),
        "cntrl" => r"\x00-\x1f\x7f-\x{9f}".to_string(),
        "ascii" => r"\x00-\x7f".to_string(),
        "print" => format!("[^{unprintable}]"),
        "graph" => format!("[^{unprintable}{SPACE}]"),
        "punct" => format!(r"[^{unprintable}{SPACE}\p{{Alphabetic}}\p{{Nd}}]"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(pattern: &str) -> bool {
        translate(pattern, Reading::default()).unwrap().mixed
    }

    /// Each of these gives another match in Postgres than the crate's order of preference would.
    #[test]
    fn both_kinds_of_quantifiers_are_told() {
        let patterns = [
            "a+?b+",
            "a+b+?",
            "Y*?([0-9]{1,3})",
            "a+?|b",
            "(a+?|b)c",
            "(?:x.*?,)+",
            "(?:a+)+?",
            "(a+?b+)(b*)$",
            "(a|b)c*?",
            "a?b{2,2}?",
            "^.*?(\\d+).*$|x",
        ];
        for pattern in patterns {
            assert!(mixed(pattern), "{pattern}");
        }
    }

    #[test]
    fn one_kind_or_a_given_end_is_not_mixed() {
        let patterns = [
            "a+b*c?",
            "<(.*?)>",
            "a{2}?b+",
            "(a.*?){2}",
            "^.*?([0-9]+).*$",
            "(a|b+)c+",
            "^\\s*(.*?)\\s*\\Z",
            "[*+?]*?x",
            "\\++?",
        ];
        for pattern in patterns {
            assert!(!mixed(pattern), "{pattern}");
        }
        // Where $ also matches before newlines, it gives no end.
        let reading = Reading { many_ends: true, ..Reading::default() };
        assert!(translate("^.*?([0-9]+).*$", reading).unwrap().mixed);
    }
}
