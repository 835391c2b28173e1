//! What names and oids mean to a statement: its catalog by oid and by name, along its search path, and how they are written.

use std::collections::HashMap;
use std::sync::Arc;

use crate::catalog::objects::{self, Objects};
use crate::catalog::{Relation, RelationKind, definition};
use crate::error::{Error, Result, SqlState};
use crate::sql::{BindContext, SettingRow, registry};
use crate::types::pg_type::oid::RECORD;
use crate::types::pg_type::{element_of, pg_type};
use crate::types::{Type, io_functions};

/// The catalog by oid and by name, as the statement sees it.
pub(super) struct Names {
    objects: Objects,
    /// Relations and indexes: oid to schema and name.
    by_oid: HashMap<u32, (String, String)>,
    by_name: HashMap<(String, String), u32>,
    pub(super) schemas: Vec<(String, u32)>,
    search_path: Vec<String>,
    pub(super) settings: Arc<[SettingRow]>,
}

impl Names {
    pub(super) fn new(context: &BindContext) -> Names {
        let objects = Objects::of(&context.catalog);
        let mut by_oid = HashMap::new();
        for relation in &objects.relations {
            by_oid.insert(relation.id.oid(), (relation.schema.clone(), relation.name.clone()));
        }
        for index in objects.indexes.values() {
            by_oid.insert(index.oid, (index.schema.clone(), index.name.clone()));
        }
        let by_name = by_oid.iter().map(|(oid, name)| (name.clone(), *oid)).collect();
        let schemas = context.catalog.schemas().map(|(name, oid)| (name.to_string(), oid)).collect();
        let (search_path, settings) = (context.search_path.clone(), context.session.settings.clone());
        Names { objects, by_oid, by_name, schemas, search_path, settings }
    }

    /// The relation that a name alone means.
    pub(super) fn resolve(&self, name: &str) -> Option<u32> {
        self.search_path.iter().find_map(|schema| self.by_name.get(&(schema.clone(), name.to_string()))).copied()
    }

    /// What psql's \d lists. Our own system relations can be named without their schema, but do not count as visible: psql
    /// leaves only `pg_catalog` out of its lists, and people want to see what they made.
    pub(super) fn is_visible(&self, oid: u32) -> Option<bool> {
        let (schema, name) = self.by_oid.get(&oid)?;
        Some(self.resolve(name) == Some(oid) && schema != crate::catalog::RR_CATALOG)
    }

    /// As regclass prints: with the schema where the name alone means another or nothing.
    pub(super) fn shown(&self, oid: u32) -> String {
        match self.by_oid.get(&oid) {
            None if oid == 0 => "-".to_string(),
            None => oid.to_string(),
            Some((_, name)) if self.resolve(name) == Some(oid) => definition::quote_identifier(name),
            Some((schema, name)) => definition::qualified(schema, name),
        }
    }

    /// What a text names: `name`, `schema.name`, quoted or folded, or an oid in digits.
    pub(super) fn relation_oid(&self, text: &str) -> Result<Option<u32>> {
        if let Ok(oid) = text.trim().parse() {
            return Ok(Some(oid));
        }
        let parts = identifier_parts(text)?;
        Ok(match parts.as_slice() {
            [name] if name == "-" => Some(0),
            [name] => self.resolve(name),
            [schema, name] => self.by_name.get(&(schema.clone(), name.clone())).copied(),
            [_, schema, name] => self.by_name.get(&(schema.clone(), name.clone())).copied(),
            _ => None,
        })
    }

    /// What a text names: a schema, quoted or folded, or an oid in digits. 3F000 for none of that name.
    pub(super) fn schema_oid(&self, text: &str) -> Result<u32> {
        if let Ok(oid) = text.trim().parse() {
            return Ok(oid);
        }
        let found = match identifier_parts(text)?.as_slice() {
            [name] if name == "-" => return Ok(0),
            [name] => self.schemas.iter().find(|schema| schema.0 == *name).map(|schema| schema.1),
            _ => None,
        };
        found.ok_or_else(|| Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{text}\" does not exist")))
    }

    pub(super) fn relation(&self, oid: u32) -> Option<&Arc<Relation>> {
        self.objects.relations.iter().find(|relation| relation.id.oid() == oid)
    }

    pub(super) fn view_definition(&self, oid: u32) -> Option<String> {
        match &self.relation(oid)?.kind {
            RelationKind::View(def) | RelationKind::MaterializedView(def) => Some(definition::view_query(def)),
            _ => None,
        }
    }

    pub(super) fn index_definition(&self, oid: u32, column: i32, pretty: bool) -> Option<String> {
        let index = self.objects.indexes.get(&oid)?;
        if column != 0 {
            return Some(definition::index_column(index, column));
        }
        let on = match pretty {
            true => self.shown(index.on.id.oid()),
            false => definition::qualified(&index.on.schema, &index.on.name),
        };
        Some(definition::index(index, &on))
    }

    pub(super) fn constraint_definition(&self, oid: u32) -> Option<String> {
        let index =
            self.objects.indexes.values().find(|index| index.primary && objects::primary_key(index.on.id) == oid)?;
        match &index.on.kind {
            RelationKind::Table(def) => Some(definition::primary_key(&index.on, def)),
            _ => None,
        }
    }

    pub(super) fn rule_definition(&self, oid: u32) -> Option<String> {
        let view = self.objects.user_relations().find(|relation| objects::rule(relation.id) == oid)?;
        let query = self.view_definition(view.id.oid())?;
        let name = definition::qualified(&view.schema, &view.name);
        Some(format!("CREATE RULE \"_RETURN\" AS\n    ON SELECT TO {name} DO INSTEAD {query}"))
    }

    /// The type of the column that a row's modifier names, as it is declared.
    fn declared_row(&self, modifier: i32) -> Option<String> {
        let (relation, column) = objects::row_of_modifier(modifier)?;
        let relation = self.relation(relation.oid())?;
        relation.columns.get(column).map(|column| column.ty.name())
    }

    pub(super) fn format_type(&self, oid: u32, modifier: Option<i32>) -> String {
        if oid == 0 {
            return "-".to_string();
        }
        if pg_type(oid).is_some() || element_of(oid).is_some() {
            let is_record = oid == RECORD || element_of(oid).is_some_and(|element| element.oid == RECORD);
            let declared = modifier.filter(|_| is_record).and_then(|modifier| self.declared_row(modifier));
            return declared.unwrap_or_else(|| format_builtin(oid, modifier));
        }
        let of = |row_type: fn(crate::types::RelationId) -> u32| {
            self.objects.relations.iter().find(|relation| row_type(relation.id) == oid)
        };
        match (of(objects::row_type), of(objects::row_type_array)) {
            (Some(relation), _) => self.shown(relation.id.oid()),
            (None, Some(relation)) => format!("{}[]", self.shown(relation.id.oid())),
            (None, None) => "???".to_string(),
        }
    }
}

/// What `'name'::regtype` means: 42704 for none of that name.
pub(super) fn type_oid(text: &str) -> Result<u32> {
    if let Ok(oid) = text.trim().parse() {
        return Ok(oid);
    }
    match text {
        "-" => Ok(0),
        text => Ok(registry::parse_type(&crate::sql::parse::parse_type_name(text)?)?.oid()),
    }
}

/// A type of pg_type with its modifier.
fn format_builtin(oid: u32, modifier: Option<i32>) -> String {
    let (element, brackets) = match element_of(oid) {
        Some(element) if pg_type(oid).is_none() => (element.oid, "[]"),
        _ => (oid, ""),
    };
    let ty = Type::from_oid(element);
    let name = match (ty, modifier) {
        (Some(Type::Varchar(_)), Some(n)) if n >= 4 => format!("character varying({})", n - 4),
        (Some(Type::Char(_)), Some(n)) if n >= 4 => format!("character({})", n - 4),
        // Without a length `character` would mean one character.
        (Some(Type::Char(_)), Some(_)) => "bpchar".to_string(),
        (Some(Type::Numeric(_)), Some(n)) if n >= 4 => {
            let (precision, scale) = ((n - 4) >> 16, (((n - 4) & 0x7ff) ^ 1024) - 1024);
            format!("numeric({precision},{scale})")
        }
        (Some(Type::Time | Type::Timestamp | Type::Timestamptz), Some(n)) if n >= 0 => {
            crate::types::pg_type::with_digits(&crate::types::pg_type::display(element), n)
        }
        _ => crate::types::pg_type::display(element),
    };
    format!("{name}{brackets}")
}

/// `a."B c".d` as folded names. 42602 has Postgres for what is none; here 42601.
fn identifier_parts(text: &str) -> Result<Vec<String>> {
    let invalid = || Error::new(SqlState::SYNTAX_ERROR, format!("invalid name syntax: \"{text}\""));
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices().peekable();
            let end = loop {
                match chars.next() {
                    Some((_, '"')) if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                        chars.next();
                        name.push('"');
                    }
                    Some((place, '"')) => break place + 1,
                    Some((_, c)) => name.push(c),
                    None => return Err(invalid()),
                }
            };
            parts.push(name);
            rest = &quoted[end..];
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            parts.push(rest[..end].trim().to_ascii_lowercase());
            rest = &rest[end..];
        }
        if parts.last().is_none_or(String::is_empty) {
            return Err(invalid());
        }
        match rest.trim_start().strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if rest.trim().is_empty() => return Ok(parts),
            None => return Err(invalid()),
        }
    }
}

pub(super) fn function_name(oid: u32) -> Option<&'static str> {
    let known = registry::functions().find(|function| function.oid == oid).map(|function| function.proname);
    known.or_else(|| io_functions::names().iter().find(|(own, _)| *own == oid).map(|(_, name)| name.as_str()))
}

/// What `'name'::regproc` means: 42883 for none of that name, 42725 for several.
pub(super) fn function_oid(text: &str) -> Result<u32> {
    if text == "-" {
        return Ok(0);
    }
    if let Ok(oid) = text.parse() {
        return Ok(oid);
    }
    let name = text.strip_prefix("pg_catalog.").unwrap_or(text);
    let io = io_functions::names().iter().filter(|(_, own)| own == name).map(|(oid, _)| *oid);
    let mut found: Vec<u32> = registry::functions()
        .filter(|function| function.proname == name)
        .map(|function| function.oid)
        .chain(io)
        .collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [oid] => Ok(*oid),
        [] => Err(Error::new(SqlState::UNDEFINED_FUNCTION, format!("function \"{text}\" does not exist"))),
        _ => Err(Error::new(SqlState::AMBIGUOUS_FUNCTION, format!("more than one function named \"{text}\""))),
    }
}
