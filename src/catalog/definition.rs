//! Definitions as text: what `pg_get_indexdef` and its siblings answer, and the canonical CREATE of an object.

use super::keywords::{self, KeywordKind};
use super::objects::Index;
use super::{Connector, IncludeKind, IndexKey, IndexMethod, Relation, RelationKind, StreamDef, TableDef, ViewDef};

/// A name as SQL has to write it: quoted where folding or the grammar would read it differently. As `quote_ident`.
pub fn quote_identifier(name: &str) -> String {
    let plain = name.chars().enumerate().all(|(place, c)| match c {
        'a'..='z' | '_' => true,
        '0'..='9' => place > 0,
        _ => false,
    });
    let free = keywords::kind(name).is_none_or(|kind| kind == KeywordKind::Unreserved);
    if plain && !name.is_empty() && free { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

pub fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `schema.name`, each quoted where needed.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

/// One key of an index: the column and, where they are not the default, direction and place of NULLs.
fn index_key(relation: &Relation, key: &IndexKey) -> String {
    let name = relation.columns.get(key.column).map_or("?", |column| column.name.as_str());
    let mut text = quote_identifier(name);
    text.push_str(match (key.descending, key.nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    });
    text
}

/// The whole CREATE INDEX; `on` is the relation's name as it is to be written.
pub fn index(index: &Index, on: &str) -> String {
    let unique = if index.primary { "UNIQUE " } else { "" };
    let keys: Vec<String> = index.keys.iter().map(|key| index_key(&index.on, key)).collect();
    let (name, method) = (quote_identifier(&index.name), index.method.name());
    format!("CREATE {unique}INDEX {name} ON {on} USING {method} ({})", keys.join(", "))
}

/// The column that an index's key `number` (from 1) is on; empty where there is none.
pub fn index_column(index: &Index, number: i32) -> String {
    let key = usize::try_from(number - 1).ok().and_then(|place| index.keys.get(place));
    let column = key.and_then(|key| index.on.columns.get(key.column));
    column.map_or(String::new(), |column| quote_identifier(&column.name))
}

/// `PRIMARY KEY (a, b)`.
pub fn primary_key(table: &Relation, def: &TableDef) -> String {
    let names = def.primary_key.iter().filter_map(|column| table.columns.get(*column));
    let names: Vec<String> = names.map(|column| quote_identifier(&column.name)).collect();
    format!("PRIMARY KEY ({})", names.join(", "))
}

/// A view's query as `pg_get_viewdef` gives it.
pub fn view_query(def: &ViewDef) -> String {
    format!(" {};", def.query.trim().trim_end_matches(';'))
}

/// The text of a column's default or, of a generated column, its expression; and whether it is the latter.
pub fn column_expression(relation: &Relation, column: usize) -> Option<(&str, bool)> {
    let (defaults, generated) = match &relation.kind {
        RelationKind::Table(TableDef { defaults, generated, .. }) => (defaults, generated),
        RelationKind::Stream(StreamDef { defaults, generated, .. }) => (defaults, generated),
        _ => return None,
    };
    let at = |texts: &'_ [Option<String>]| -> Option<usize> { texts.get(column)?.as_ref().map(|_| column) };
    if let Some(place) = at(generated) {
        return generated[place].as_deref().map(|text| (text, true));
    }
    at(defaults).and_then(|place| defaults[place].as_deref()).map(|text| (text, false))
}

/// The statement that makes an object, in canonical form. `None` for a system relation. `on` is the name of the
/// relation an index is on; `renamed`: a view's columns are not called as its query calls them.
pub fn create(relation: &Relation, on: Option<&Relation>, renamed: bool) -> Option<String> {
    let name = qualified(&relation.schema, &relation.name);
    let names = match renamed {
        true => {
            let names: Vec<String> = relation.columns.iter().map(|column| quote_identifier(&column.name)).collect();
            format!(" ({})", names.join(", "))
        }
        false => String::new(),
    };
    Some(match &relation.kind {
        RelationKind::View(def) => format!("CREATE VIEW {name}{names} AS {}", def.query.trim()),
        RelationKind::MaterializedView(def) => {
            format!("CREATE MATERIALIZED VIEW {name}{names} AS {}", def.query.trim())
        }
        RelationKind::Index(def) => {
            let on = on?;
            let keys: Vec<String> = def.keys.iter().map(|key| index_key(on, key)).collect();
            let method = match def.method {
                IndexMethod::Btree => String::new(),
                other => format!(" USING {}", other.name()),
            };
            let (name, on) = (quote_identifier(&relation.name), qualified(&on.schema, &on.name));
            format!("CREATE INDEX {name} ON {on}{method} ({})", keys.join(", "))
        }
        RelationKind::Table(def) => {
            let mut items = columns(relation, &[]);
            if !def.primary_key.is_empty() {
                items.push(primary_key(relation, def));
            }
            format!("CREATE TABLE {name} (\n    {}\n)", items.join(",\n    "))
        }
        RelationKind::Stream(def) => {
            let included: Vec<usize> = def.includes.iter().map(|include| include.column).collect();
            let mut text = format!("CREATE STREAM {name} (\n    {}\n)", columns(relation, &included).join(",\n    "));
            for include in &def.includes {
                let column = relation.columns.get(include.column)?;
                text.push_str(&format!(
                    "\nINCLUDE {} AS {}",
                    include_word(include.kind),
                    quote_identifier(&column.name)
                ));
            }
            if let Some(connector) = &def.connector {
                text.push_str(&with(connector));
            }
            text
        }
        RelationKind::System => return None,
    })
}

fn columns(relation: &Relation, without: &[usize]) -> Vec<String> {
    let mut items = Vec::new();
    for (place, column) in relation.columns.iter().enumerate().filter(|(place, _)| !without.contains(place)) {
        let mut item = format!("{} {}", quote_identifier(&column.name), column.ty.name());
        match column_expression(relation, place) {
            Some((text, true)) => item.push_str(&format!(" AS ({text})")),
            Some((text, false)) => item.push_str(&format!(" DEFAULT {text}")),
            None => {}
        }
        if column.not_null {
            item.push_str(" NOT NULL");
        }
        items.push(item);
    }
    items
}

fn include_word(kind: IncludeKind) -> &'static str {
    match kind {
        IncludeKind::Key => "KEY",
        IncludeKind::Partition => "PARTITION",
        IncludeKind::Offset => "OFFSET",
        IncludeKind::Timestamp => "TIMESTAMP",
        IncludeKind::Headers => "HEADERS",
    }
}

fn with(connector: &Connector) -> String {
    let mut options = vec![format!("connector = {}", quote_literal(&connector.name))];
    options.extend(connector.options.iter().map(|(name, value)| {
        let value = if is_secret(name) { "<hidden>" } else { value };
        format!("{} = {}", quote_identifier(name), quote_literal(value))
    }));
    format!("\nWITH (\n    {}\n)", options.join(",\n    "))
}

/// Options whose values are not shown again.
fn is_secret(option: &str) -> bool {
    ["password", "secret", "sasl.jaas", "token", "key.pem"].iter().any(|word| option.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(quote_identifier("accounts_2"), "accounts_2");
        assert_eq!(quote_identifier("Accounts"), "\"Accounts\"");
        assert_eq!(quote_identifier("2x"), "\"2x\"");
        assert_eq!(quote_identifier("select"), "\"select\"");
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_identifier(""), "\"\"");
        assert_eq!(quote_identifier("name"), "name");
    }

    #[test]
    fn passwords_stay_hidden() {
        let option = |name: &str, value: &str| (name.to_string(), value.to_string());
        let options = vec![option("topic", "t"), option("properties.sasl.password", "hunter2")];
        let text = with(&Connector { name: "kafka".into(), options });
        assert!(text.contains("topic = 't'") && !text.contains("hunter2"), "{text}");
    }
}
