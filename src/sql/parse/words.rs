//! Words that sqlparser takes for keywords where they are names, before it parses them.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::blank;

/// Takes the special meaning from words that are names at their place: every word behind a dot; EXISTS and TRIM without
/// brackets; and TOP but where a number follows, where it is another system's LIMIT, which the binder refuses.
pub(super) fn free(tokens: &mut [TokenWithSpan]) {
    // The place of the token that follows.
    let mut next: Option<usize> = None;
    for index in (0..tokens.len()).rev() {
        if blank(&tokens[index]) {
            continue;
        }
        let number_follows = next.is_some_and(|next| matches!(tokens[next].token, Token::Number(..)));
        let bracket_follows = next.is_some_and(|next| tokens[next].token == Token::LParen);
        let conditional = || {
            let last = tokens[..index].iter().rev().find(|token| !blank(token)).map(|token| &token.token);
            matches!(last, Some(Token::Word(Word { keyword: Keyword::IF | Keyword::NOT, .. })))
        };
        let exists = !bracket_follows && is_keyword(&tokens[index], Keyword::EXISTS) && !conditional();
        match &mut tokens[index].token {
            Token::Word(word) if exists => word.keyword = Keyword::NoKeyword,
            Token::Word(word) if word.keyword == Keyword::TRIM && !bracket_follows => {
                word.keyword = Keyword::NoKeyword;
            }
            Token::Word(word) if word.keyword == Keyword::TOP && !number_follows => word.keyword = Keyword::NoKeyword,
            Token::Period => {
                if let Some(Token::Word(word)) = next.map(|next| &mut tokens[next].token) {
                    word.keyword = Keyword::NoKeyword;
                }
            }
            _ => {}
        }
        next = Some(index);
    }
}

fn is_keyword(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword)
}
