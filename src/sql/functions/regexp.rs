//! Postgres's regular expressions, compiled.
//!
//! Postgres's advanced regular expressions are run by the `regex` crate: classes, counts, groups, `\d \w \s \y \m \M`,
//! `(?i)` and the flags g, i, n, s, x, c mean the same. Lookaround and back references are refused (0A000), and quantifiers
//! of both kinds where what they match is shown; of alternatives that match at one place the first is taken where Postgres
//! takes the longest.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use regex::{Captures, Regex, RegexBuilder};

use super::regexp_syntax::{Reading, translate};
use crate::error::{Error, Result, SqlState};

/// Patterns a thread holds compiled, of which a large one counts as so many; beyond, the work is done again.
const CACHE: usize = 64;
const LARGE: usize = 16;

/// Bytes that one compiled pattern usually stays under, and that it may take: letters of all scripts, sixty times.
const USUAL_COMPILED: usize = 1 << 20;
const MAX_COMPILED: usize = 16 << 20;

pub(super) fn invalid(message: impl std::fmt::Display) -> Error {
    Error::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {message}"))
}

/// A pattern that is ready to match.
pub(super) struct Pattern {
    regex: Regex,
    /// The crate might match another part of a text than Postgres does.
    mixed: bool,
    /// Its share of the cache.
    weight: usize,
}

impl Pattern {
    fn new(pattern: &str, flags: &str, mixed: bool) -> Result<Pattern> {
        match build(pattern, flags, USUAL_COMPILED)? {
            Some(regex) => Ok(Pattern { regex, mixed, weight: 1 }),
            None => match build(pattern, flags, MAX_COMPILED)? {
                Some(regex) => Ok(Pattern { regex, mixed, weight: LARGE }),
                None => Err(invalid("regular expression is too complex")),
            },
        }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// All matches from a byte on; `None` is beyond the end. 0A000 where they might be others than Postgres's.
    pub(super) fn matches<'a>(&'a self, text: &'a str, from: Option<usize>) -> Result<Matches<'a>> {
        if self.mixed {
            return Err(Error::unsupported(
                "a regular expression with both greedy and non-greedy quantifiers",
                "Make all of one kind ([^,]* instead of .*?), or end the pattern with $.",
            ));
        }
        Ok(Matches { regex: &self.regex, text, next: from })
    }
}

/// Compiles a Postgres pattern under its flags. 2201B, 22023 for an unknown flag, 0A000.
fn compile(pattern: &str, flags: &str) -> Result<Pattern> {
    let (mut pattern, mut flags) = (pattern, flags.to_string());
    // An embedded (?i) and the like stands at the beginning only.
    if let Some(rest) = pattern.strip_prefix("(?")
        && let Some((own, after)) = rest.split_once(')')
        && own.chars().all(|c| c.is_ascii_lowercase())
        && !own.is_empty()
    {
        flags.push_str(own);
        pattern = after;
    }
    if let Some(literal) = pattern.strip_prefix("***=") {
        return Pattern::new(&regex::escape(literal), &flags, false);
    }
    if flags.contains('q') {
        return Pattern::new(&regex::escape(pattern), &flags, false);
    }
    let pattern = pattern.strip_prefix("***:").unwrap_or(pattern);
    let reading = Reading {
        expanded: flags.contains('x'),
        lines_apart: flags.contains(['n', 'm', 'p']),
        many_ends: flags.contains(['n', 'm', 'w']),
    };
    let translated = translate(pattern, reading)?;
    Pattern::new(&translated.pattern, &flags, translated.mixed)
}

/// `None` where the compiled pattern would take more bytes than `most`.
fn build(pattern: &str, flags: &str, most: usize) -> Result<Option<Regex>> {
    let mut builder = RegexBuilder::new(pattern);
    builder.dot_matches_new_line(true).size_limit(most);
    for flag in flags.chars() {
        match flag {
            'i' => drop(builder.case_insensitive(true)),
            'c' => drop(builder.case_insensitive(false)),
            // Newline sensitive: the dot stops at a newline, anchors match beside it.
            'n' | 'm' => drop(builder.dot_matches_new_line(false).multi_line(true)),
            'p' => drop(builder.dot_matches_new_line(false)),
            'w' => drop(builder.multi_line(true)),
            'b' | 'e' => {
                return Err(Error::unsupported(
                    format!("the regular expression option {flag}"),
                    "Write an advanced regular expression, which is the default.",
                ));
            }
            's' | 'g' | 't' | 'q' | 'x' => {}
            other => {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("invalid regular expression option: \"{other}\""),
                ));
            }
        }
    }
    match builder.build() {
        Ok(regex) => Ok(Some(regex)),
        Err(regex::Error::CompiledTooBig(_)) => Ok(None),
        Err(other) => {
            let text = other.to_string();
            Err(invalid(reason(text.lines().last().unwrap_or("").trim().trim_start_matches("error: "))))
        }
    }
}

/// Postgres's words for the crate's commonest complaints.
fn reason(theirs: &str) -> &str {
    match theirs {
        "repetition operator missing expression" => "quantifier operand invalid",
        "unclosed group" | "unopened group" => "parentheses () not balanced",
        "unclosed character class" => "brackets [] not balanced",
        other => other,
    }
}

/// The pattern compiled, from this thread's cache. Shared and never cloned: a `Regex` fills tables while it matches, and
/// a clone starts with empty ones.
pub(super) fn compiled(pattern: &str, flags: &str) -> Result<Arc<Pattern>> {
    type ByFlags = HashMap<String, HashMap<String, Arc<Pattern>>>;
    thread_local!(static COMPILED: RefCell<ByFlags> = RefCell::default());
    COMPILED.with_borrow_mut(|by_flags| {
        if let Some(found) = by_flags.get(flags).and_then(|known| known.get(pattern)) {
            return Ok(found.clone());
        }
        let regex = Arc::new(compile(pattern, flags)?);
        let held: usize = by_flags.values().flat_map(HashMap::values).map(|pattern| pattern.weight).sum();
        if held + regex.weight > CACHE {
            by_flags.clear();
        }
        by_flags.entry(flags.to_string()).or_default().insert(pattern.to_string(), regex.clone());
        Ok(regex)
    })
}

/// The matches from a byte on, of which each is looked for from the end of the one before, or a character behind an
/// empty one. So an empty match may stand right behind another: `b*` matches `abc` four times.
pub(super) struct Matches<'a> {
    regex: &'a Regex,
    text: &'a str,
    next: Option<usize>,
}

impl<'a> Iterator for Matches<'a> {
    type Item = Captures<'a>;

    fn next(&mut self) -> Option<Captures<'a>> {
        let captures = self.regex.captures_at(self.text, self.next?)?;
        let whole = captures.get(0)?;
        self.next = match whole.is_empty() {
            true => self.text[whole.end()..].chars().next().map(|c| whole.end() + c.len_utf8()),
            false => Some(whole.end()),
        };
        Some(captures)
    }
}
