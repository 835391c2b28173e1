//! Relations: what was declared, in canonical form.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

pub use crate::types::RelationId;
use crate::types::{Column, arrow_schema};

/// Arrow name of the hidden row id of a table without primary key. It can't be written in SQL.
pub const ROW_ID_COLUMN: &str = "\u{0}row_id";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    pub id: RelationId,
    pub schema: String,
    pub name: String,
    /// What SQL sees. For an index: its key columns.
    pub columns: Vec<Column>,
    pub kind: RelationKind,
    /// Objects this one's definition names.
    pub depends_on: Vec<RelationId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RelationKind {
    Stream(StreamDef),
    Table(TableDef),
    View(ViewDef),
    MaterializedView(ViewDef),
    Index(IndexDef),
    /// Of `pg_catalog`, `information_schema` or `rr_catalog`: declared by the catalog, its rows known elsewhere.
    System,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamDef {
    /// `None`: the embedded log.
    pub connector: Option<Connector>,
    /// One a column, as for a table (INSERT into a stream fills them in too).
    pub defaults: Vec<Option<String>>,
    /// One a column: the expression (SQL text over the other columns) of a generated column.
    pub generated: Vec<Option<String>>,
    /// Which columns the connector fills from the record's surroundings rather than from its payload.
    pub includes: Vec<Include>,
}

/// Options as written, in canonical names and order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connector {
    /// `kafka`, `datagen`, `nexmark`.
    pub name: String,
    pub options: Vec<(String, String)>,
}

impl Connector {
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Include {
    pub kind: IncludeKind,
    /// Position in the relation's columns.
    pub column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IncludeKind {
    Key,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDef {
    /// Column positions; empty: keyed by the hidden row id.
    pub primary_key: Vec<usize>,
    /// One a column: SQL text of the default, if it has one.
    pub defaults: Vec<Option<String>>,
    /// One a column: SQL text of a generated column.
    pub generated: Vec<Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewDef {
    /// The query in canonical text: every name written as the user did, bound again with `search_path`.
    pub query: String,
    pub search_path: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexDef {
    pub on: RelationId,
    pub method: IndexMethod,
    pub keys: Vec<IndexKey>,
}

impl IndexDef {
    /// The keys that order it: a column named again adds nothing.
    pub fn order(&self) -> impl Iterator<Item = &IndexKey> {
        let named_before = |at: usize, key: &IndexKey| self.keys[..at].iter().any(|other| other.column == key.column);
        self.keys.iter().enumerate().filter(move |(at, key)| !named_before(*at, key)).map(|(_, key)| key)
    }
}

/// What an index can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexMethod {
    /// Equality of its first columns, and a range of the next one.
    #[default]
    Btree,
    /// Equality of all its columns: smaller, and faster at that.
    Hash,
}

impl IndexMethod {
    pub fn name(self) -> &'static str {
        match self {
            IndexMethod::Btree => "btree",
            IndexMethod::Hash => "hash",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexKey {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

impl Relation {
    /// Arrow schema of what SQL sees.
    pub fn schema_ref(&self) -> SchemaRef {
        arrow_schema(&self.columns)
    }

    /// Arrow schema of what is logged and arranged: for a table without primary key the row id (Int64) comes last.
    pub fn stored_schema(&self) -> SchemaRef {
        let visible = self.schema_ref();
        if !self.has_row_id() {
            return visible;
        }
        let mut fields: Vec<Arc<Field>> = visible.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ROW_ID_COLUMN, DataType::Int64, false)));
        Arc::new(Schema::new(fields))
    }

    pub fn has_row_id(&self) -> bool {
        matches!(&self.kind, RelationKind::Table(table) if table.primary_key.is_empty())
    }

    /// The stored columns that identify a row of a table: the primary key, or the row id.
    pub fn key_columns(&self) -> Vec<usize> {
        match &self.kind {
            RelationKind::Table(table) if table.primary_key.is_empty() => vec![self.columns.len()],
            RelationKind::Table(table) => table.primary_key.clone(),
            _ => Vec::new(),
        }
    }

    /// Only ever inserted into: streams.
    pub fn append_only(&self) -> bool {
        matches!(self.kind, RelationKind::Stream(_))
    }

    /// The word for its kind in messages: `stream`, `table`, `view`, `materialized view`, `index`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            RelationKind::Stream(_) => "stream",
            RelationKind::Table(_) => "table",
            RelationKind::View(_) => "view",
            RelationKind::MaterializedView(_) => "materialized view",
            RelationKind::Index(_) => "index",
            RelationKind::System => "system relation",
        }
    }
}
