//! Forms of Postgres's that the grammar has not: where the parser stops at one, it is refused by its name.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{StatementParser, blank};
use crate::error::Error;

impl StatementParser<'_> {
    /// 0A000 if the parser has stopped at a form that is known; `stopped` is the token that it did not expect.
    pub(super) fn refused_form(&self, stopped: &TokenWithSpan) -> Option<Error> {
        let tokens = (0..).map(|index| self.parser.token_at(index)).take_while(|token| token.token != Token::EOF);
        let tokens: Vec<&TokenWithSpan> = tokens.filter(|token| !blank(token)).collect();
        let here = match stopped.token {
            Token::EOF => tokens.len(),
            _ => tokens.iter().position(|token| token.span.start == stopped.span.start)?,
        };
        let token = |back: usize| here.checked_sub(back).and_then(|place| tokens.get(place)).map(|token| &token.token);
        let is = |back: usize, word: &str| is_word(token(back), word);
        let (construct, hint) = if is(0, "from") && is(1, "rows") {
            ("ROWS FROM", "Write unnest(a, b), or join functions WITH ORDINALITY by their ordinality.")
        } else if is(0, "distinct") && is(1, "by") {
            ("GROUP BY DISTINCT", "Write each set once: GROUPING SETS ((a, b), (a), ()).")
        } else if is(0, "exclude") && ["row", "preceding", "following"].iter().any(|word| is(1, word)) {
            ("EXCLUDE in a window's frame", "Use two calls, over the rows before and over the rows after.")
        } else if is(0, "using") && tokens[..here].iter().any(|token| is_word(Some(&token.token), "by")) {
            ("ORDER BY ... USING", "Write ASC or DESC.")
        } else if is(0, "as") && self.closes_using(&tokens[..here]) {
            (
                "an alias of the columns that USING joins",
                "Leave it out: they are named alone, or as those of either table.",
            )
        } else if token(1) == Some(&Token::Mul) && token(2) == Some(&Token::Period) && token(3) == Some(&Token::RParen)
        {
            ("(row).*", "Write t.* for the columns of a table t; name the fields of another row: (row).a, (row).b.")
        } else if token(0) == Some(&Token::LBracket) && is_word(tokens.first().map(|token| &token.token), "update") {
            (
                "an assignment to an element of an array",
                "Assign the whole array: list = list[:1] || ARRAY[x] || list[3:].",
            )
        } else {
            return None;
        };
        Some(self.unsupported(construct, hint).or_position(Some(stopped.span.start.column as u32).filter(|at| *at > 0)))
    }

    /// Whether the tokens end with `USING (...)`.
    fn closes_using(&self, tokens: &[&TokenWithSpan]) -> bool {
        let Some(open) = tokens.iter().rposition(|token| token.token == Token::LParen) else { return false };
        let closed = tokens.last().is_some_and(|token| token.token == Token::RParen);
        closed && is_word(open.checked_sub(1).map(|before| &tokens[before].token), "using")
    }
}

fn is_word(token: Option<&Token>, word: &str) -> bool {
    matches!(token, Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
