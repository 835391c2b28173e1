//! Names that a statement gives or lists: of columns in INSERT, SET and ON CONFLICT, of CTEs, aliases' columns, windows.
//! sqlparser takes any word for one. A word that PostgreSQL reserves must be in quotes, for without them it means
//! something else in an expression: `user` is the session's user.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Ident, ObjectName};

use crate::catalog::keywords::{KeywordKind, kind};
use crate::error::{Error, Result, SqlState};

/// 42601 for a reserved word, or a string, as a name.
pub fn check(ident: &Ident) -> Result<()> {
    match ident.quote_style {
        Some('\'') => Err(refused(ident, &format!("'{}'", ident.value))),
        Some(_) => Ok(()),
        None if ident.value.eq_ignore_ascii_case("only") => {
            Err(Error::unsupported("ONLY", "Leave it out: tables have no children.").or_position(place(ident)))
        }
        None if reserved(&ident.value) => Err(refused(ident, &ident.value).with_hint(in_quotes(&ident.value))),
        None => Ok(()),
    }
}

fn refused(ident: &Ident, shown: &str) -> Error {
    Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{shown}\"")).or_position(place(ident))
}

fn place(ident: &Ident) -> Option<u32> {
    Some(ident.span.start.column as u32).filter(|at| *at > 0)
}

/// A word that names no column or relation without quotes.
pub(super) fn reserved(word: &str) -> bool {
    let kind = kind(&word.to_ascii_lowercase());
    matches!(kind, Some(KeywordKind::Reserved | KeywordKind::TypeOrFunction))
}

pub(super) fn in_quotes(word: &str) -> String {
    format!("Write \"{}\" in double quotes.", word.to_ascii_lowercase())
}

/// Checks the names in a tree.
pub(super) fn check_all(tree: &impl ast::Visit) -> Result<()> {
    // The tree may be a thousand levels high.
    match stacker::maybe_grow(1 << 20, 8 << 20, || tree.visit(&mut Names)) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Names;

fn broken(checked: Result<()>) -> ControlFlow<Box<Error>> {
    match checked {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(Box::new(error)),
    }
}

fn check_each<'a>(idents: impl IntoIterator<Item = &'a Ident>) -> Result<()> {
    idents.into_iter().try_for_each(check)
}

/// A column as INSERT, SET and USING list it: what follows a dot may be any word.
fn check_columns<'a>(columns: impl IntoIterator<Item = &'a ObjectName>) -> Result<()> {
    check_each(columns.into_iter().filter_map(|name| name.0.first()?.as_ident()))
}

fn check_alias(alias: &ast::TableAlias) -> Result<()> {
    check(&alias.name)?;
    check_each(alias.columns.iter().map(|column| &column.name))
}

fn check_assignments(assignments: &[ast::Assignment]) -> Result<()> {
    assignments.iter().try_for_each(|assignment| match &assignment.target {
        ast::AssignmentTarget::ColumnName(name) => check_columns([name]),
        ast::AssignmentTarget::Tuple(names) => check_columns(names),
    })
}

fn check_insert(insert: &ast::Insert) -> Result<()> {
    if let Some(alias) = &insert.table_alias {
        check(&alias.alias)?;
        if !alias.explicit {
            return Err(refused(&alias.alias, &alias.alias.value));
        }
    }
    check_columns(&insert.columns)?;
    let Some(ast::OnInsert::OnConflict(conflict)) = &insert.on else { return Ok(()) };
    if let Some(ast::ConflictTarget::Columns(columns)) = &conflict.conflict_target {
        check_each(columns)?;
    }
    match &conflict.action {
        ast::OnConflictAction::DoUpdate(update) => check_assignments(&update.assignments),
        ast::OnConflictAction::DoNothing => Ok(()),
    }
}

impl ast::Visitor for Names {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Self::Break> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        broken(ctes.map(|cte| &cte.alias).try_for_each(check_alias))
    }

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<Self::Break> {
        let using = select.from.iter().flat_map(|from| &from.joins).filter_map(|join| using(&join.join_operator));
        broken(
            using
                .into_iter()
                .try_for_each(|columns| check_columns(columns))
                .and_then(|()| check_each(select.named_window.iter().map(|window| &window.0))),
        )
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<Self::Break> {
        use ast::TableFactor as T;
        match factor {
            T::Table { alias: Some(alias), .. }
            | T::Derived { alias: Some(alias), .. }
            | T::TableFunction { alias: Some(alias), .. }
            | T::Function { alias: Some(alias), .. }
            | T::UNNEST { alias: Some(alias), .. }
            | T::NestedJoin { alias: Some(alias), .. } => broken(check_alias(alias)),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_statement(&mut self, statement: &ast::Statement) -> ControlFlow<Self::Break> {
        match statement {
            ast::Statement::Insert(insert) => broken(check_insert(insert)),
            ast::Statement::Update(update) => broken(check_assignments(&update.assignments)),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The columns of a join's USING.
fn using(join: &ast::JoinOperator) -> Option<&[ObjectName]> {
    use ast::JoinOperator as J;
    match join {
        J::Join(constraint)
        | J::Inner(constraint)
        | J::Left(constraint)
        | J::LeftOuter(constraint)
        | J::Right(constraint)
        | J::RightOuter(constraint)
        | J::FullOuter(constraint) => match constraint {
            ast::JoinConstraint::Using(columns) => Some(columns),
            _ => None,
        },
        _ => None,
    }
}
