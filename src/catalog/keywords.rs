//! PostgreSQL 15's keywords: what `pg_get_keywords()` lists, what a name may not be without quotes, and what quoting a
//! name must quote.

use std::sync::LazyLock;

pub struct Keyword {
    pub word: &'static str,
    pub kind: KeywordKind,
    /// May follow an expression of the select list as its name, without AS.
    pub bare_label: bool,
}

/// Where a keyword may be a name without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeywordKind {
    /// Everywhere.
    Unreserved,
    /// Of a column or relation.
    ColumnName,
    /// Of a type or function.
    TypeOrFunction,
    /// Nowhere.
    Reserved,
}

impl KeywordKind {
    /// As `pg_get_keywords()` has it.
    pub fn code(self) -> &'static str {
        match self {
            KeywordKind::Unreserved => "U",
            KeywordKind::ColumnName => "C",
            KeywordKind::TypeOrFunction => "T",
            KeywordKind::Reserved => "R",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            KeywordKind::Unreserved => "unreserved",
            KeywordKind::ColumnName => "unreserved (cannot be function or type name)",
            KeywordKind::TypeOrFunction => "reserved (can be function or type name)",
            KeywordKind::Reserved => "reserved",
        }
    }
}

/// All of them, by word. A line of the file is a word, its kind's code, and whether it is a bare label.
static KEYWORDS: LazyLock<Vec<Keyword>> = LazyLock::new(|| {
    let lines = include_str!("keywords.txt").lines();
    lines
        .filter_map(|line| {
            let mut parts = line.split(' ');
            let word = parts.next()?;
            let kind = match parts.next()? {
                "U" => KeywordKind::Unreserved,
                "C" => KeywordKind::ColumnName,
                "T" => KeywordKind::TypeOrFunction,
                _ => KeywordKind::Reserved,
            };
            Some(Keyword { word, kind, bare_label: parts.next() == Some("t") })
        })
        .collect()
});

pub fn all() -> &'static [Keyword] {
    &KEYWORDS
}

fn find(word: &str) -> Option<&'static Keyword> {
    let place = KEYWORDS.binary_search_by(|keyword| keyword.word.cmp(word)).ok()?;
    Some(&KEYWORDS[place])
}

/// What a lower-case word is; `None` for one that is no keyword.
pub fn kind(word: &str) -> Option<KeywordKind> {
    find(word).map(|keyword| keyword.kind)
}

/// Whether a lower-case word may name an expression of the select list without AS.
pub fn is_bare_label(word: &str) -> bool {
    find(word).is_none_or(|keyword| keyword.bare_label)
}

/// A word that names nothing without quotes.
pub fn is_reserved(word: &str) -> bool {
    kind(word) == Some(KeywordKind::Reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_keyword_and_they_are_in_order() {
        assert_eq!(all().len(), include_str!("keywords.txt").lines().count());
        assert!(all().windows(2).all(|pair| pair[0].word < pair[1].word));
        assert_eq!(kind("select"), Some(KeywordKind::Reserved));
        assert_eq!(kind("zone"), Some(KeywordKind::Unreserved));
        assert_eq!(kind("between"), Some(KeywordKind::ColumnName));
        assert_eq!(kind("join"), Some(KeywordKind::TypeOrFunction));
        assert_eq!(kind("customer"), None);
        assert!(is_bare_label("user") && is_bare_label("customer") && !is_bare_label("on") && !is_bare_label("day"));
    }
}
