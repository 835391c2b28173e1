//! Circuits as a reviewer reads them, one a kind of query; and every refusal raised by its example.

use std::sync::Arc;

use crate::catalog::{Catalog, Ddl, Relation, RelationKind, StreamDef, TableDef};
use crate::error::{Error, Result};
use crate::sql::statement::Statement;
use crate::sql::{BindContext, bind, parse, refusals};
use crate::types::{Column, Type};

fn catalog() -> Catalog {
    let columns =
        |columns: &[(&str, Type)]| columns.iter().map(|(name, ty)| Column::new(*name, ty.clone())).collect::<Vec<_>>();
    let text = Type::Text;
    let relations = [
        (
            "t",
            columns(&[("a", Type::Int4), ("b", Type::Int4), ("ts", Type::Timestamptz), ("s", text.clone())]),
            Some(vec![]),
        ),
        ("u", columns(&[("a", Type::Int4), ("b", Type::Int4)]), Some(vec![])),
        (
            "k",
            columns(&[("id", Type::Int4), ("name", text.clone()), ("list", Type::Array(Box::new(Type::Int4)))]),
            Some(vec![0]),
        ),
        ("bid", columns(&[("auction", Type::Int8), ("price", Type::Int8), ("at", Type::Timestamptz)]), None),
    ];
    let mut catalog = Catalog::default();
    for (name, columns, key) in relations {
        let nothing = vec![None; columns.len()];
        let kind = match key {
            Some(primary_key) => {
                RelationKind::Table(TableDef { primary_key, defaults: nothing.clone(), generated: nothing })
            }
            None => RelationKind::Stream(StreamDef {
                connector: None,
                defaults: nothing.clone(),
                generated: nothing,
                includes: Vec::new(),
            }),
        };
        let relation = Relation {
            id: catalog.next_id(),
            schema: "public".into(),
            name: name.into(),
            columns,
            kind,
            depends_on: Vec::new(),
        };
        catalog = catalog.apply(&Ddl::Create { relation }).unwrap();
    }
    catalog
}

fn context() -> BindContext {
    BindContext::new(Arc::new(catalog()))
}

fn circuit(query: &str) -> Result<String> {
    let context = context();
    let parsed = parse::parse(&format!("CREATE MATERIALIZED VIEW v AS {query}"))?;
    let Statement::CreateView(create) = &parsed[0].statement else { panic!("{query}") };
    let view = bind::bind_create_view(&context, create)?.unwrap();
    let plan = super::lower(&view.query)?;
    Ok(super::explain(&plan, &context.catalog))
}

fn shown(query: &str) -> String {
    match circuit(query) {
        Ok(text) => format!("{query}\n{text}\n"),
        Err(error) => format!("{query}\n  {error:?}\n"),
    }
}

#[test]
fn circuits() {
    let queries = [
        "SELECT a, b + 1 AS c FROM t WHERE b > 10",
        "SELECT s, count(*), sum(b), avg(b) FILTER (WHERE a > 0) FROM t GROUP BY s HAVING count(*) > 1",
        "SELECT count(DISTINCT a) FROM t",
        "SELECT t.s, u.b FROM t JOIN u ON t.a = u.a AND t.b < u.b",
        "SELECT a, t.b FROM t LEFT JOIN u USING (a) WHERE u.b IS NULL",
        "SELECT t.a, u.b FROM t FULL JOIN u ON t.a = u.a",
        "SELECT t.a, u.b FROM t, u WHERE t.b < u.b",
        "SELECT a FROM t WHERE a IN (SELECT a FROM u)",
        "SELECT a FROM t WHERE a NOT IN (SELECT a FROM u)",
        "SELECT a FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.a = t.a)",
        "SELECT a FROM t WHERE a = 1 OR EXISTS (SELECT 1 FROM u WHERE u.a = t.a)",
        "SELECT a FROM t WHERE a NOT IN (SELECT a FROM u) OR b > 5",
        "SELECT a, (SELECT max(b) FROM u WHERE u.a = t.a) AS m FROM t",
        "SELECT a FROM t WHERE b > (SELECT avg(b) FROM u)",
        "SELECT DISTINCT a FROM t",
        "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC",
        "SELECT a, b FROM t ORDER BY b DESC LIMIT 10",
        "SELECT a FROM t UNION ALL SELECT a FROM u",
        "SELECT a FROM t UNION SELECT a FROM u",
        "SELECT a, b FROM t INTERSECT SELECT a, b FROM u",
        "SELECT a FROM t EXCEPT ALL SELECT a FROM u",
        "SELECT a, b, count(*), grouping(a, b) FROM t GROUP BY ROLLUP (a, b)",
        "SELECT * FROM (SELECT auction, price, row_number() OVER (PARTITION BY auction ORDER BY price DESC) AS n FROM bid) q WHERE n <= 3",
        "SELECT auction, n FROM (SELECT *, rank() OVER (PARTITION BY auction ORDER BY price DESC) AS n FROM bid) q WHERE n = 1",
        "SELECT window_start, auction, count(*) FROM HOP(bid, at, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY window_start, auction",
        "SELECT window_end, max(price) FROM TUMBLE(bid, at, INTERVAL '1 minute') GROUP BY window_end",
        "SELECT id, x FROM k, unnest(list) AS x",
        "SELECT id, x FROM k LEFT JOIN unnest(k.list) AS x ON true",
        "SELECT id, unnest(list) FROM k",
        "WITH c AS (SELECT a, sum(b) AS s FROM t GROUP BY a) SELECT x.s + y.s AS s FROM c x JOIN c y ON x.a = y.a",
        "SELECT k.name, sum(t.b) FROM t JOIN k ON t.a = k.id GROUP BY k.id, k.name",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT 1 AS one",
        "SELECT string_agg(s, ',' ORDER BY b DESC) FROM t",
        "SELECT t.a FROM t, LATERAL (SELECT max(b) AS m FROM u WHERE u.a = t.a) q WHERE q.m > 0",
    ];
    let all: Vec<String> = queries.iter().map(|query| shown(query)).collect();
    insta::assert_snapshot!("circuits", all.join("\n"));
}

#[test]
fn equal_parts_are_made_once() {
    let text = circuit(
        "WITH c AS (SELECT a, sum(b) AS s FROM t GROUP BY a) SELECT x.s + y.s AS s FROM c x JOIN c y ON x.a = y.a",
    )
    .unwrap();
    assert_eq!(text.matches("Aggregate by").count(), 1, "{text}");
}

#[test]
fn a_series_is_no_list() {
    let text = circuit("SELECT id, x FROM k, generate_series(1, id + 1) AS x").unwrap();
    assert!(text.contains("Unnest [series("), "{text}");
}

#[test]
fn every_refusal_names_itself() {
    for refusal in refusals::ALL {
        let error: Error = match circuit(refusal.example) {
            Ok(text) => panic!("{} is maintained:\n{text}", refusal.example),
            Err(error) => error,
        };
        assert_eq!(error.state().0, "0A000", "{}: {error:?}", refusal.example);
        assert_eq!(error.hint(), Some(refusal.hint), "{}: {error:?}", refusal.example);
    }
}

#[test]
fn the_manual_lists_every_refusal() {
    let manual = include_str!("../../../docs/sql.md");
    for refusal in refusals::ALL {
        let hint = refusal.hint.replace('|', "\\|");
        for text in [refusal.construct.trim_end_matches(','), &hint] {
            assert!(manual.contains(text), "docs/sql.md lacks: {text}");
        }
    }
}
