//! SHOW STREAMS and its siblings, DESCRIBE, SHOW CREATE: small tables from the catalog and what the server knows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use sqlparser::ast::ObjectName;

use super::RuntimeFacts;
use super::system::shown;
use crate::catalog::objects::DATABASE;
use crate::catalog::{Catalog, Relation, RelationKind, definition};
use crate::error::{Error, Result, SqlState};
use crate::sql::BindContext;
use crate::sql::bind::renames_columns;
use crate::sql::statement::{ObjectKind, Show, fold};
use crate::types::{Column, Type, arrow_schema};

/// An answer in full.
#[derive(Clone, Debug)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: RecordBatch,
}

/// The columns of a SHOW's answer; empty for a setting, which is the session's to show.
pub fn columns(show: &Show) -> Vec<Column> {
    let text = |name: &str| Column::new(name, Type::Text);
    match show {
        Show::Objects { kind: ObjectKind::Stream, .. } => {
            ["name", "schema", "connector", "topic"].into_iter().map(text).collect()
        }
        Show::Objects { kind: ObjectKind::Index, .. } => {
            ["name", "schema", "on", "columns"].into_iter().map(text).collect()
        }
        Show::Objects { .. } => ["name", "schema"].into_iter().map(text).collect(),
        Show::Schemas | Show::Databases => vec![text("name")],
        Show::Topics => ["topic", "stream", "bootstrap_servers"].into_iter().map(text).collect(),
        Show::Jobs => {
            let number = |name: &str| Column::new(name, Type::Int8);
            let pid = Column::new("pid", Type::Int4);
            vec![pid, text("object"), text("state"), number("rows_done"), number("rows_total")]
        }
        Show::Columns(_) => describe_columns(),
        Show::Create(_) => ["name", "create_statement"].into_iter().map(text).collect(),
        Show::Setting(_) | Show::All => Vec::new(),
    }
}

/// The columns of DESCRIBE's answer.
pub fn describe_columns() -> Vec<Column> {
    ["column", "type", "nullable", "key", "default"].into_iter().map(|name| Column::new(name, Type::Text)).collect()
}

/// Answers a SHOW that is not about a setting. 42P01 for a relation that is not there, 3F000 for a schema.
pub fn show(show: &Show, context: &BindContext, facts: &dyn RuntimeFacts) -> Result<Table> {
    let (catalog, search_path) = (&*context.catalog, context.search_path.as_slice());
    let rows: Vec<Vec<Option<String>>> = match show {
        Show::Objects { kind, schema, like } => objects(*kind, schema.as_deref(), like.as_deref(), catalog)?,
        Show::Schemas => catalog.schemas().map(|(name, _)| vec![Some(name.to_string())]).collect(),
        Show::Databases => vec![vec![Some(DATABASE.to_string())]],
        Show::Topics => topics(catalog),
        Show::Jobs => return jobs(columns(show), facts),
        Show::Columns(name) => return describe(resolve(name, catalog, search_path)?.as_ref()),
        Show::Create(name) => {
            let relation = resolve(name, catalog, search_path)?;
            let on = match &relation.kind {
                RelationKind::Index(index) => catalog.relation(index.on).cloned(),
                _ => None,
            };
            let renamed = match &relation.kind {
                RelationKind::View(_) | RelationKind::MaterializedView(_) => renames_columns(context, &relation)?,
                _ => false,
            };
            let text = definition::create(&relation, on.as_deref(), renamed).ok_or_else(|| {
                let message = format!("\"{}\" is a system relation: no statement creates it", relation.name);
                Error::new(SqlState::WRONG_OBJECT_TYPE, message)
            })?;
            vec![vec![Some(relation.name.clone()), Some(text)]]
        }
        Show::Setting(_) | Show::All => return Err(Error::internal("settings are shown by the session")),
    };
    texts(columns(show), rows)
}

/// DESCRIBE: a relation's columns.
pub fn describe(relation: &Relation) -> Result<Table> {
    let key: &[usize] = match &relation.kind {
        RelationKind::Table(table) => &table.primary_key,
        _ => &[],
    };
    let mut rows = Vec::with_capacity(relation.columns.len());
    for (place, column) in relation.columns.iter().enumerate() {
        let is_key = key.contains(&place);
        let default = definition::column_expression(relation, place).map(|(text, generated)| match generated {
            true => format!("AS ({text})"),
            false => text.to_string(),
        });
        rows.push(vec![
            Some(column.name.clone()),
            Some(shown(relation, column).name()),
            Some(if column.not_null || is_key { "no" } else { "yes" }.to_string()),
            is_key.then(|| "primary key".to_string()),
            default,
        ]);
    }
    texts(describe_columns(), rows)
}

/// The relation that a name in a statement means.
pub fn resolve(name: &ObjectName, catalog: &Catalog, search_path: &[String]) -> Result<Arc<Relation>> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name),
        [schema, name] | [_, schema, name] => (Some(schema.as_str()), name),
        _ => {
            let message = format!("improper relation name (too many dotted names): {name}");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
    };
    catalog.resolve(search_path, schema, name).cloned()
}

fn objects(
    kind: ObjectKind,
    schema: Option<&str>,
    like: Option<&str>,
    catalog: &Catalog,
) -> Result<Vec<Vec<Option<String>>>> {
    if let Some(schema) = schema
        && !catalog.has_schema(schema)
    {
        return Err(Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist")));
    }
    let wanted = |relation: &Relation| {
        schema.is_none_or(|schema| relation.schema == schema)
            && like.is_none_or(|pattern| is_like(&relation.name, pattern))
            && relation.kind_name() == kind.word()
    };
    let mut relations: Vec<&Arc<Relation>> = catalog.relations().filter(|relation| wanted(relation)).collect();
    relations.sort_by_key(|relation| (&relation.name, &relation.schema));
    let rows = relations.into_iter().map(|relation| {
        let mut row = vec![Some(relation.name.clone()), Some(relation.schema.clone())];
        match &relation.kind {
            RelationKind::Stream(stream) => {
                let connector = stream.connector.as_ref();
                row.push(Some(connector.map_or("embedded", |connector| connector.name.as_str()).to_string()));
                row.push(connector.and_then(|connector| connector.option("topic")).map(str::to_string));
            }
            RelationKind::Index(index) => {
                let on = catalog.relation(index.on);
                let name = |column: usize| on.and_then(|on| on.columns.get(column)).map(|column| column.name.clone());
                let keys: Vec<String> = index.keys.iter().filter_map(|key| name(key.column)).collect();
                row.extend([on.map(|on| on.name.clone()), Some(keys.join(", "))]);
            }
            _ => {}
        }
        row
    });
    Ok(rows.collect())
}

/// LIKE without an escape character: `%` any text, `_` any character.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    // matched[i]: the pattern so far matches the first i characters.
    let mut matched = vec![false; text.len() + 1];
    matched[0] = true;
    for want in pattern {
        let mut next = vec![false; text.len() + 1];
        for place in 0..=text.len() {
            next[place] = match want {
                '%' => matched[place] || (place > 0 && next[place - 1]),
                '_' => place > 0 && matched[place - 1],
                want => place > 0 && matched[place - 1] && text[place - 1] == want,
            };
        }
        matched = next;
    }
    matched[text.len()]
}

fn topics(catalog: &Catalog) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for relation in catalog.relations() {
        let RelationKind::Stream(stream) = &relation.kind else { continue };
        let Some(connector) = &stream.connector else { continue };
        if let Some(topic) = connector.option("topic") {
            let servers = connector.option("bootstrap.servers").map(str::to_string);
            rows.push(vec![Some(topic.to_string()), Some(relation.name.clone()), servers]);
        }
    }
    rows.sort();
    rows
}

fn jobs(columns: Vec<Column>, facts: &dyn RuntimeFacts) -> Result<Table> {
    let jobs = facts.ddl_progress();
    let text =
        |of: &dyn Fn(usize) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..jobs.len()).map(of))) };
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(jobs.iter().map(|job| job.pid))),
        text(&|job| jobs[job].object.clone()),
        text(&|job| jobs[job].state.clone()),
        Arc::new(jobs.iter().map(|job| job.rows_done).collect::<Int64Array>()),
        Arc::new(jobs.iter().map(|job| job.rows_total).collect::<Int64Array>()),
    ];
    let rows = RecordBatch::try_new(arrow_schema(&columns), arrays)?;
    Ok(Table { columns, rows })
}

fn texts(columns: Vec<Column>, rows: Vec<Vec<Option<String>>>) -> Result<Table> {
    let cell = |place: usize| rows.iter().map(move |row| row.get(place).cloned().flatten());
    let arrays = (0..columns.len()).map(|place| Arc::new(cell(place).collect::<StringArray>()) as ArrayRef).collect();
    let rows = RecordBatch::try_new(arrow_schema(&columns), arrays)?;
    Ok(Table { columns, rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::system::NoFacts;
    use crate::query::testing::{Memory, context, shown};
    use sqlparser::ast::Ident;

    fn memory() -> Memory {
        let mut memory = Memory::new();
        let table = memory.table("accounts", &[("id", Type::Int4), ("Owner", Type::Varchar(Some(9)))], &[0]);
        memory.index("accounts_owner", &table, &[1]);
        memory.stream("events", &[("at", Type::Timestamptz)]);
        memory
    }

    fn asked(what: &Show) -> Result<Table> {
        let context = context(&memory());
        show(what, &context, &NoFacts)
    }

    fn answer(what: Show) -> Vec<String> {
        let table = asked(&what).unwrap();
        assert_eq!(table.columns, columns(&what));
        shown(&[table.rows])
    }

    fn named(name: &str) -> ObjectName {
        ObjectName::from(vec![Ident::new(name)])
    }

    #[test]
    fn objects_are_listed_by_kind_schema_and_pattern() {
        let list =
            |kind, like: Option<&str>| answer(Show::Objects { kind, schema: None, like: like.map(str::to_string) });
        assert_eq!(list(ObjectKind::Stream, None), ["events public embedded"]);
        assert_eq!(list(ObjectKind::Table, Some("acc%")), ["accounts public"]);
        assert!(list(ObjectKind::Table, Some("acc")).is_empty());
        assert_eq!(list(ObjectKind::Index, None), ["accounts_owner public accounts Owner"]);
        let missing = Show::Objects { kind: ObjectKind::View, schema: Some("nowhere".into()), like: None };
        let error = asked(&missing).unwrap_err();
        assert_eq!(error.state(), SqlState::INVALID_SCHEMA_NAME);
    }

    #[test]
    fn describe_tells_types_and_keys() {
        assert_eq!(
            answer(Show::Columns(named("accounts"))),
            ["Owner character varying(9) yes", "id integer no primary key"]
        );
    }

    #[test]
    fn create_statements_are_canonical() {
        let text = answer(Show::Create(named("accounts_owner"))).join(" ");
        assert_eq!(text, "accounts_owner CREATE INDEX accounts_owner ON public.accounts (\"Owner\")");
        let error = asked(&Show::Create(named("nothing"))).unwrap_err();
        assert_eq!(error.state(), SqlState::UNDEFINED_TABLE);
    }

    #[test]
    fn like_patterns() {
        assert!(is_like("abc", "a%c") && is_like("abc", "___") && is_like("", "%") && is_like("a%b", "a_b"));
        assert!(!is_like("abc", "__") && !is_like("abc", "b%") && !is_like("abc", ""));
    }
}
