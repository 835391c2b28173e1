//! SHOW and DESCRIBE: settings are answered here, lists of objects by the query room.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use sqlparser::ast;

use super::Outcome;
use crate::error::Result;
use crate::query;
use crate::server::facts::Facts;
use crate::server::portal::RowTag;
use crate::server::rows::{Columns, Rows};
use crate::server::session::{Flow, Session};
use crate::server::settings;
use crate::sql::statement::Show;
use crate::types::{Column, Type, arrow_schema};

/// The columns of the answer, which do not depend on its rows.
pub fn columns(session: &Session, show: &Show) -> Result<Columns> {
    Ok(match show {
        Show::Setting(name) => {
            session.settings.show(name)?;
            vec![Column::new(setting_name(name), Type::Text)].into()
        }
        Show::All => texts(&["name", "setting", "description"]),
        other => query::show::columns(other).into(),
    })
}

pub fn describe_columns() -> Columns {
    query::show::describe_columns().into()
}

pub async fn run(session: &mut Session, show: &Show) -> Flow<Outcome> {
    let columns = columns(session, show)?;
    let batch = match show {
        Show::Setting(name) => {
            let value = session.settings.show(name)?;
            batch(&columns, vec![vec![value]])?
        }
        Show::All => {
            let rows = session.settings.rows();
            let names = rows.iter().map(|row| row.name.clone()).collect();
            let values = rows.iter().map(|row| row.value.clone()).collect();
            let descriptions = rows.iter().map(|row| row.description.to_string()).collect();
            batch(&columns, vec![names, values, descriptions])?
        }
        other => {
            let engine = session.engine()?;
            let view = session.transaction.read(&engine).await?;
            let context = session.bind_context(view.catalog(), Vec::new());
            let facts = Facts::of_server(session, engine, view);
            query::show::show(other, &context, &facts)?.rows
        }
    };
    Ok(Outcome::Rows(Rows::ready(columns, vec![batch]), RowTag::Plain("SHOW")))
}

/// DESCRIBE relation.
pub fn describe(session: &mut Session, name: &ast::ObjectName) -> Flow<Outcome> {
    let table = query::show::describe(session.relation(name)?.as_ref())?;
    Ok(Outcome::Rows(Rows::ready(table.columns.into(), vec![table.rows]), RowTag::Plain("DESCRIBE")))
}

/// As the table of settings spells it; a client's own as it was asked for.
fn setting_name(name: &str) -> String {
    settings::find(name).map_or_else(|| name.to_string(), |setting| setting.name.to_string())
}

fn texts(names: &[&str]) -> Columns {
    names.iter().map(|name| Column::new(*name, Type::Text)).collect::<Vec<_>>().into()
}

fn batch(columns: &Columns, values: Vec<Vec<String>>) -> Result<RecordBatch> {
    let arrays = values.into_iter().map(|values| Arc::new(StringArray::from(values)) as ArrayRef).collect();
    Ok(RecordBatch::try_new(arrow_schema(columns), arrays)?)
}
