//! RETURNING: expressions over the rows as they were written.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use sqlparser::ast;

use super::columns_named;
use crate::catalog::Relation;
use crate::error::Result;
use crate::sql::BoundReturning;
use crate::sql::bind::scope::{Scope, ScopeColumn, ScopeTable};
use crate::sql::bind::{Binder, Clause};
use crate::sql::statement::fold;
use crate::types::Column;

impl Binder<'_> {
    /// RETURNING, over the relation's columns by their names, and those of the `others` in FROM or USING.
    pub(super) fn returning(
        &mut self,
        items: Option<&[ast::SelectItem]>,
        relation: &Relation,
        alias: Option<&ast::Ident>,
        others: &Scope,
    ) -> Result<Option<BoundReturning>> {
        let Some(items) = items else { return Ok(None) };
        let name = alias.map_or_else(|| relation.name.clone(), fold);
        let schema = alias.is_none().then(|| relation.schema.clone());
        let table =
            ScopeTable { name: Some(name), schema, columns: columns_named(relation, ""), ..ScopeTable::default() };
        let scope = Scope::of_table(table).join(others.clone())?;
        self.push_level(scope, Clause::Other("RETURNING"));
        let bound = self.items(items);
        self.levels.pop();
        let (mut expressions, mut columns) = (Vec::new(), Vec::new());
        for item in bound? {
            let typed = self.coerce_unknown(item.typed)?;
            expressions.push(typed.expr);
            columns.push(Column::new(item.name, typed.ty));
        }
        let mut named = BTreeSet::new();
        for expr in &expressions {
            expr.apply(|node| {
                match node {
                    Expr::Column(column) => drop(named.insert(column.name.clone())),
                    Expr::ScalarSubquery(inner) => outer_names(&inner.outer_ref_columns, &mut named),
                    Expr::Exists(exists) => outer_names(&exists.subquery.outer_ref_columns, &mut named),
                    Expr::InSubquery(inside) => outer_names(&inside.subquery.outer_ref_columns, &mut named),
                    Expr::SetComparison(set) => outer_names(&set.subquery.outer_ref_columns, &mut named),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        let used =
            others.tables.iter().flat_map(ScopeTable::all_columns).filter(|column| named.contains(&column.internal));
        let beside = used.map(|column| Column::new(&column.internal, column.ty)).collect();
        Ok(Some(BoundReturning { expressions, columns, beside }))
    }
}

fn outer_names(outer: &[Expr], names: &mut BTreeSet<String>) {
    for expr in outer {
        if let Expr::OuterReferenceColumn(_, column) = expr {
            names.insert(column.name.clone());
        }
    }
}

/// Columns of other relations that RETURNING names.
pub(super) fn beside(returning: &Option<BoundReturning>) -> impl Iterator<Item = ScopeColumn> {
    let columns = returning.iter().flat_map(|returning| &returning.beside);
    columns.map(|column| ScopeColumn {
        name: column.name.clone(),
        ty: column.ty.clone(),
        internal: column.name.clone(),
    })
}
