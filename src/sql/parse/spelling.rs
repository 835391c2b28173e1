//! Queries that sqlparser doesn't know in this spelling, in one that it does.
//!
//! ```text
//!   TABLE t                        SELECT * FROM t
//!   INSERT INTO t (VALUES ...)     INSERT INTO t VALUES ...      WITH too
//! ```

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::blank;
use crate::catalog::keywords::is_reserved;

/// The tokens of a text as sqlparser knows them.
pub(super) fn known(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let has = |keyword| tokens.iter().any(|token| keyword_of(token) == keyword);
    let tokens = if has(Keyword::INSERT) { without_brackets(tokens) } else { tokens };
    match tokens.iter().any(|token| keyword_of(token) == Keyword::TABLE) {
        true => tables_as_queries(tokens),
        false => tokens,
    }
}

fn keyword_of(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// TABLE where a query may begin.
fn tables_as_queries(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let begins_query = |before: Option<&TokenWithSpan>| match before {
        None => true,
        Some(before) => match &before.token {
            Token::SemiColon | Token::LParen | Token::RParen => true,
            Token::Word(word) => matches!(
                word.keyword,
                Keyword::UNION
                    | Keyword::EXCEPT
                    | Keyword::INTERSECT
                    | Keyword::ALL
                    | Keyword::DISTINCT
                    | Keyword::AS
                    | Keyword::FOR
                    | Keyword::EXPLAIN
                    | Keyword::ANALYZE
                    | Keyword::VERBOSE
            ),
            _ => false,
        },
    };
    let mut written: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 2);
    let mut before: Option<TokenWithSpan> = None;
    // Between INSERT INTO and the end of the table's name and alias.
    let mut target = false;
    for (place, token) in tokens.iter().enumerate() {
        if blank(token) {
            written.push(token.clone());
            continue;
        }
        let last = before.as_ref().map_or(Keyword::NoKeyword, keyword_of);
        let begins = begins_query(before.as_ref()) || target && last != Keyword::INTO;
        let query = keyword_of(token) == Keyword::TABLE && begins && is_named(&tokens[place + 1..]);
        target = match &token.token {
            Token::Word(word) if word.keyword == Keyword::INTO => last == Keyword::INSERT,
            Token::Word(_) | Token::Period => target && !query,
            _ => false,
        };
        before = Some(token.clone());
        match query {
            true => {
                let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
                written.extend(words.map(|word| TokenWithSpan { token: word, span: token.span }));
            }
            false => written.push(token.clone()),
        }
    }
    written
}

/// Whether a table's name follows, rather than the clause behind a column that is called table.
fn is_named(rest: &[TokenWithSpan]) -> bool {
    match rest.iter().find(|token| !blank(token)).map(|token| &token.token) {
        Some(Token::Word(word)) => word.quote_style.is_some() || !is_reserved(&word.value.to_ascii_lowercase()),
        _ => false,
    }
}

/// Leaves out the brackets around the whole of what INSERT inserts.
fn without_brackets(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let places: Vec<usize> = (0..tokens.len()).filter(|place| !blank(&tokens[*place])).collect();
    let at = |n: usize| places.get(n).map(|place| &tokens[*place]);
    let keyword = |n: usize| at(n).map_or(Keyword::NoKeyword, keyword_of);
    let is = |n: usize, token: Token| at(n).is_some_and(|found| found.token == token);
    let is_name = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) => !matches!(
            word.keyword,
            Keyword::SELECT | Keyword::VALUES | Keyword::WITH | Keyword::TABLE | Keyword::DEFAULT
        ),
        other => *other == Token::Period,
    };
    // Where each bracket is closed.
    let mut closes = vec![None; places.len()];
    let mut open = Vec::new();
    for n in 0..places.len() {
        if is(n, Token::LParen) {
            open.push(n);
        } else if is(n, Token::RParen)
            && let Some(opened) = open.pop()
        {
            closes[opened] = Some(n);
        }
    }
    let is_query = |n: usize| {
        let values = keyword(n + 1) == Keyword::VALUES && is(n + 2, Token::LParen);
        is(n, Token::LParen) && (values || keyword(n + 1) == Keyword::WITH)
    };
    let mut left_out = vec![false; tokens.len()];
    for insert in 0..places.len() {
        if keyword(insert) != Keyword::INSERT || keyword(insert + 1) != Keyword::INTO {
            continue;
        }
        // Behind the table's name and alias, and its columns.
        let mut start = insert + 2;
        while at(start).is_some_and(is_name) {
            start += 1;
        }
        if !is_query(start)
            && let Some(Some(close)) = closes.get(start)
        {
            start = close + 1;
        }
        let Some(Some(close)) = closes.get(start).filter(|_| is_query(start)) else { continue };
        let after = close + 1;
        if at(after).is_none()
            || is(after, Token::SemiColon)
            || matches!(keyword(after), Keyword::ON | Keyword::RETURNING)
        {
            left_out[places[start]] = true;
            left_out[places[*close]] = true;
        }
    }
    tokens.into_iter().zip(left_out).filter(|(_, left_out)| !left_out).map(|(token, _)| token).collect()
}
