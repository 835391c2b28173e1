//! sqlparser's Postgres dialect with PostgreSQL's own precedence. From loose to tight (gram.y of version 15):
//!
//! ```text
//!   OR   AND   NOT   IS ISNULL NOTNULL   < > = <= >= <>   BETWEEN IN LIKE ILIKE SIMILAR   any other operator
//!   + -   * / %   ^   AT TIME ZONE   COLLATE   sign   [ ]   ::   .
//! ```
//!
//! Comparisons don't chain (`1 < 2 = true` is a syntax error), a sign binds tighter than `^`, and every other prefix
//! operator as loosely as its infix kin (`~ 5 + 1` is `~ (5 + 1)`). sqlparser has no tree for BETWEEN SYMMETRIC and
//! for LIKE ANY or ALL: they are written out in those it has, as Postgres does.

use sqlparser::ast::{BinaryOperator, Expr, TrimWhereField, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Word};

use super::names;
use crate::catalog::keywords;

/// Between COLLATE and subscripts.
const SIGN: u8 = 125;

/// Reserved words that an expression may begin with.
const STARTS: &[Keyword] = &[
    Keyword::ARRAY,
    Keyword::CASE,
    Keyword::CAST,
    Keyword::CURRENT_CATALOG,
    Keyword::CURRENT_DATE,
    Keyword::CURRENT_ROLE,
    Keyword::CURRENT_TIME,
    Keyword::CURRENT_TIMESTAMP,
    Keyword::CURRENT_USER,
    Keyword::DEFAULT,
    Keyword::FALSE,
    Keyword::LOCALTIME,
    Keyword::LOCALTIMESTAMP,
    Keyword::NOT,
    Keyword::NULL,
    Keyword::SESSION_USER,
    Keyword::TRUE,
    Keyword::USER,
];

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

#[derive(Debug)]
pub(super) struct Postgres;

macro_rules! as_postgres {
    ($($name:ident)*) => {
        $(fn $name(&self) -> bool { POSTGRES.$name() })*
    };
}

impl Dialect for Postgres {
    /// The parser asks in places whether it is Postgres's dialect.
    fn dialect(&self) -> std::any::TypeId {
        POSTGRES.dialect()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        POSTGRES.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        POSTGRES.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        POSTGRES.is_identifier_part(character)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, character: char) -> bool {
        POSTGRES.is_custom_operator_part(character)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    // Two that stay off: with names of arguments that are expressions every argument is parsed twice, so that nested calls take
    // time exponential in their depth; and `* name` is no alias.
    as_postgres! {
        supports_unicode_string_literal supports_filter_during_aggregation supports_group_by_expr allow_extract_custom
        allow_extract_single_quotes supports_create_index_with_clause supports_explain_with_utility_options
        supports_listen_notify supports_bitwise_shift_operators supports_comment_on supports_load_extension
        supports_named_fn_args_with_colon_operator supports_empty_projections
        supports_nested_comments supports_string_escape_constant supports_numeric_literal_underscores
        supports_array_typedef_with_brackets supports_geometric_types supports_set_names
        supports_alter_column_type_using supports_notnull_operator supports_interval_options
        supports_insert_table_alias supports_create_table_like_parenthesized
        supports_comma_separated_trim supports_xml_expressions supports_comment_optimizer_hint
    }

    /// Strings on lines of their own are one string.
    fn supports_string_literal_concatenation_with_newline(&self) -> bool {
        true
    }

    /// For the binder to refuse it in Postgres's words.
    fn supports_limit_comma(&self) -> bool {
        true
    }

    /// Without AS a keyword must be a bare label. Words that begin a clause of another system, which the binder refuses, are
    /// names only where an item ends.
    fn is_select_item_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        let Token::Word(word) = &parser.get_current_token().token else { return false };
        if explicit || word.quote_style.is_some() {
            return true;
        }
        keywords::is_bare_label(&word.value.to_ascii_lowercase())
            && (!RESERVED_FOR_COLUMN_ALIAS.contains(keyword) || item_ends(parser))
    }

    /// As for the select list, but that a reserved word is no name of a table after AS either.
    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        let Token::Word(word) = &parser.get_current_token().token else { return false };
        if word.quote_style.is_some() {
            return true;
        }
        // UPDATE t SET set = 1.
        let assigns = *keyword == Keyword::SET && nth_is(parser, 0, Keyword::SET);
        !names::reserved(&word.value)
            && (explicit || !RESERVED_FOR_TABLE_ALIAS.contains(keyword) || (item_ends(parser) && !assigns))
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        let followed_by = |keyword: Keyword| nth_is(parser, 1, keyword);
        let precedence = match &parser.peek_token_ref().token {
            Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk
            | Token::DoubleEq => Precedence::PgOther,
            Token::Word(word) if is_isnull(word) => Precedence::Is,
            Token::Word(word) => match word.keyword {
                Keyword::OPERATOR if parser.peek_nth_token_ref(1).token == Token::LParen => Precedence::PgOther,
                // Operators elsewhere; names here.
                Keyword::OPERATOR
                | Keyword::XOR
                | Keyword::DIV
                | Keyword::RLIKE
                | Keyword::REGEXP
                | Keyword::MATCH
                | Keyword::MEMBER => return Some(Ok(self.prec_unknown())),
                Keyword::NOT if followed_by(Keyword::NULL) => return Some(Ok(self.prec_unknown())),
                _ => return POSTGRES.get_next_precedence(parser),
            },
            Token::ExclamationMark => return Some(Ok(self.prec_unknown())),
            _ => return POSTGRES.get_next_precedence(parser),
        };
        Some(Ok(self.prec_value(precedence)))
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let (op, precedence) = match parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, SIGN),
            Token::Plus => (UnaryOperator::Plus, SIGN),
            Token::Tilde => (UnaryOperator::BitwiseNot, self.prec_value(Precedence::PgOther)),
            Token::AtSign => (UnaryOperator::PGAbs, self.prec_value(Precedence::PgOther)),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, self.prec_value(Precedence::PgOther)),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, self.prec_value(Precedence::PgOther)),
            Token::LParen
                if nth_is(parser, 1, Keyword::VALUES) && parser.peek_nth_token_ref(2).token == Token::LParen =>
            {
                parser.advance_token();
                let query = parser.parse_query();
                return Some(query.and_then(|query| {
                    parser.expect_token(&Token::RParen)?;
                    Ok(Expr::Subquery(query))
                }));
            }
            Token::Word(ref word) if word.keyword == Keyword::TRIM => return trim_of_blanks(parser),
            Token::Word(ref word) if no_expression(word) => {
                return Some(parser.expected_ref("an expression", parser.peek_token_ref()));
            }
            _ => return None,
        };
        parser.advance_token();
        Some(parser.parse_subexpr(precedence).map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }

    fn parse_infix(&self, parser: &mut Parser, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        let op = match &parser.peek_token_ref().token {
            Token::Eq => BinaryOperator::Eq,
            Token::Neq => BinaryOperator::NotEq,
            Token::Lt => BinaryOperator::Lt,
            Token::LtEq => BinaryOperator::LtEq,
            Token::Gt => BinaryOperator::Gt,
            Token::GtEq => BinaryOperator::GtEq,
            Token::DoubleEq => {
                parser.advance_token();
                let op = BinaryOperator::Custom("==".to_string());
                return Some(parser.parse_subexpr(precedence).map(|right| Expr::BinaryOp {
                    left: Box::new(left.clone()),
                    op,
                    right: Box::new(right),
                }));
            }
            Token::Word(word) if is_isnull(word) => {
                parser.advance_token();
                return Some(Ok(Expr::IsNull(Box::new(left.clone()))));
            }
            Token::Word(word) => return self.worded(word.keyword, parser, left, precedence),
            _ => return None,
        };
        let quantified = [Keyword::ANY, Keyword::SOME, Keyword::ALL].iter().any(|word| nth_is(parser, 1, *word));
        if quantified {
            return None;
        }
        parser.advance_token();
        let comparison = parser.parse_subexpr(precedence).and_then(|right| {
            self.unchained(parser, precedence)?;
            Ok(Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right) })
        });
        Some(comparison)
    }
}

fn no_expression(word: &Word) -> bool {
    word.quote_style.is_none()
        && word.keyword != Keyword::NoKeyword
        && !STARTS.contains(&word.keyword)
        && keywords::is_reserved(&word.value.to_ascii_lowercase())
}

/// Whether an item of a list is at its end here: so a word before it was its name.
fn item_ends(parser: &Parser) -> bool {
    match &parser.peek_token_ref().token {
        Token::EOF | Token::Comma | Token::RParen => true,
        Token::Word(word) if word.quote_style.is_none() => {
            matches!(word.keyword, Keyword::SET | Keyword::CROSS | Keyword::INNER | Keyword::LEFT | Keyword::RIGHT)
                || (keywords::is_reserved(&word.value.to_ascii_lowercase())
                    && !matches!(word.keyword, Keyword::SELECT | Keyword::WITH))
        }
        _ => false,
    }
}

/// `trim(BOTH FROM x)`: sqlparser wants the characters.
fn trim_of_blanks(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let place = [
        (Keyword::BOTH, TrimWhereField::Both),
        (Keyword::LEADING, TrimWhereField::Leading),
        (Keyword::TRAILING, TrimWhereField::Trailing),
    ];
    let (_, place) = place.into_iter().find(|(word, _)| nth_is(parser, 2, *word))?;
    if parser.peek_nth_token_ref(1).token != Token::LParen || !nth_is(parser, 3, Keyword::FROM) {
        return None;
    }
    (0..4).for_each(|_| parser.advance_token());
    let trimmed = parser.parse_expr().and_then(|expr| {
        parser.expect_token(&Token::RParen)?;
        Ok(Expr::Trim { expr: Box::new(expr), trim_where: Some(place), trim_what: None, trim_characters: None })
    });
    Some(trimmed)
}

/// sqlparser has no such keyword.
fn is_isnull(word: &Word) -> bool {
    word.quote_style.is_none() && word.value.eq_ignore_ascii_case("isnull")
}

/// Whether the n-th token from here is this keyword.
fn nth_is(parser: &Parser, n: usize, keyword: Keyword) -> bool {
    matches!(&parser.peek_nth_token_ref(n).token, Token::Word(word) if word.keyword == keyword)
}

/// What follows ANY or ALL: in brackets, whether it is a subquery or an array.
fn quantified(parser: &mut Parser, left: &Expr, op: BinaryOperator, all: bool) -> Result<Expr, ParserError> {
    let right = Box::new(match parser.peek_token_ref().token {
        Token::LParen => parser.parse_prefix()?,
        _ => return parser.expected_ref("(", parser.peek_token_ref()),
    });
    let left = Box::new(left.clone());
    Ok(match all {
        true => Expr::AllOp { left, compare_op: op, right },
        false => Expr::AnyOp { left, compare_op: op, right, is_some: false },
    })
}

impl Postgres {
    /// An operator that is a word: those that sqlparser reads otherwise, or not at all.
    fn worded(
        &self,
        keyword: Keyword,
        parser: &mut Parser,
        left: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let boxed = || Box::new(left.clone());
        match keyword {
            Keyword::IS => {
                let distinct = parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]);
                if !distinct && !parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
                    return None;
                }
                let right = parser.parse_subexpr(precedence).and_then(|right| {
                    self.unchained(parser, precedence)?;
                    Ok(Box::new(right))
                });
                Some(right.map(|right| match distinct {
                    true => Expr::IsDistinctFrom(boxed(), right),
                    false => Expr::IsNotDistinctFrom(boxed(), right),
                }))
            }
            Keyword::NOT | Keyword::BETWEEN | Keyword::LIKE | Keyword::ILIKE => {
                let negated = keyword == Keyword::NOT;
                let second = usize::from(negated);
                if nth_is(parser, second, Keyword::BETWEEN) {
                    return self.between(parser, left, negated);
                }
                let like = nth_is(parser, second, Keyword::LIKE);
                if like || nth_is(parser, second, Keyword::ILIKE) {
                    return self.like_quantified(parser, left, negated, like);
                }
                None
            }
            Keyword::OPERATOR => self.operator_quantified(parser, left),
            _ => None,
        }
    }

    /// `BETWEEN [SYMMETRIC | ASYMMETRIC] low AND high` where the word is given: SYMMETRIC is either order.
    fn between(&self, parser: &mut Parser, left: &Expr, negated: bool) -> Option<Result<Expr, ParserError>> {
        let after = 1 + usize::from(negated);
        let symmetric = nth_is(parser, after, Keyword::SYMMETRIC);
        if !symmetric && !nth_is(parser, after, Keyword::ASYMMETRIC) {
            return None;
        }
        (0..=after).for_each(|_| parser.advance_token());
        let mut bounds = || {
            let low = parser.parse_subexpr(self.prec_value(Precedence::Between))?;
            parser.expect_keyword_is(Keyword::AND)?;
            Ok((low, parser.parse_subexpr(self.prec_value(Precedence::Between))?))
        };
        Some(bounds().map(|(low, high)| {
            let between = |low: &Expr, high: &Expr| Expr::Between {
                expr: Box::new(left.clone()),
                negated,
                low: Box::new(low.clone()),
                high: Box::new(high.clone()),
            };
            match symmetric {
                false => between(&low, &high),
                true => Expr::Nested(Box::new(Expr::BinaryOp {
                    left: Box::new(between(&low, &high)),
                    op: if negated { BinaryOperator::And } else { BinaryOperator::Or },
                    right: Box::new(between(&high, &low)),
                })),
            }
        }))
    }

    /// `LIKE ANY (...)`, `NOT ILIKE ALL (...)`: the operator they stand for over each item.
    fn like_quantified(
        &self,
        parser: &mut Parser,
        left: &Expr,
        negated: bool,
        like: bool,
    ) -> Option<Result<Expr, ParserError>> {
        let after = 1 + usize::from(negated);
        let all = nth_is(parser, after, Keyword::ALL);
        if !all && !nth_is(parser, after, Keyword::ANY) && !nth_is(parser, after, Keyword::SOME) {
            return None;
        }
        (0..=after).for_each(|_| parser.advance_token());
        let op = match (like, negated) {
            (true, false) => BinaryOperator::PGLikeMatch,
            (true, true) => BinaryOperator::PGNotLikeMatch,
            (false, false) => BinaryOperator::PGILikeMatch,
            (false, true) => BinaryOperator::PGNotILikeMatch,
        };
        Some(quantified(parser, left, op, all))
    }

    /// `OPERATOR(pg_catalog.=) ANY (...)`.
    fn operator_quantified(&self, parser: &mut Parser, left: &Expr) -> Option<Result<Expr, ParserError>> {
        /// Tokens of `(schema.op)`, and more.
        const LONGEST: usize = 8;
        let close = (2..LONGEST).find(|n| parser.peek_nth_token_ref(*n).token == Token::RParen)?;
        let all = nth_is(parser, close + 1, Keyword::ALL);
        if !all && !nth_is(parser, close + 1, Keyword::ANY) && !nth_is(parser, close + 1, Keyword::SOME) {
            return None;
        }
        let tokens = (2..close).map(|n| &parser.peek_nth_token_ref(n).token);
        let parts = tokens.filter(|token| **token != Token::Period).map(Token::to_string).collect();
        (0..close + 2).for_each(|_| parser.advance_token());
        Some(quantified(parser, left, BinaryOperator::PGCustomBinaryOperator(parts), all))
    }

    /// After an operator that doesn't associate: no other of its kind may follow.
    fn unchained(&self, parser: &Parser, precedence: u8) -> Result<(), ParserError> {
        match parser.get_next_precedence()? == precedence {
            true => parser.expected_ref("no further comparison", parser.peek_token_ref()),
            false => Ok(()),
        }
    }
}
