//! Bound plans and errors, as a reviewer reads them.

use std::sync::Arc;

use crate::catalog::{Catalog, Ddl};
use crate::error::Result;
use crate::sql::statement::Statement;
use crate::sql::{BindContext, bind, parse};

/// A catalog made by these statements.
pub(crate) fn catalog(statements: &str) -> Catalog {
    let mut catalog = Catalog::default();
    for parsed in parse::parse(statements).unwrap() {
        let context = context(catalog.clone());
        let relation = match &parsed.statement {
            Statement::CreateStream(create) => bind::bind_create_stream(&context, create).unwrap(),
            Statement::CreateTable(create) => bind::bind_create_table(&context, create).unwrap(),
            Statement::CreateIndex(create) => bind::bind_create_index(&context, create).unwrap(),
            Statement::CreateView(create) => {
                bind::bind_create_view(&context, create).unwrap().map(|view| view.relation)
            }
            other => panic!("{other:?} creates nothing"),
        };
        catalog = catalog.apply(&Ddl::Create { relation: relation.unwrap() }).unwrap();
    }
    catalog
}

pub(crate) fn context(catalog: Catalog) -> BindContext {
    BindContext::new(Arc::new(catalog))
}

const TABLES: &str = "
    CREATE TABLE t (a int, b int, s text DEFAULT 'x', ts timestamptz);
    CREATE TABLE k (id int PRIMARY KEY, name varchar(10) NOT NULL, n bigint DEFAULT 7, twice bigint AS (n * 2));
    CREATE STREAM st (at timestamptz, v float8, j jsonb, l int[], r STRUCT<x int, y text>);
    CREATE VIEW w AS SELECT a, count(*) AS n FROM t GROUP BY a;
    CREATE MATERIALIZED VIEW m AS SELECT id, name FROM k";

/// The plan of a statement, with parameters and what it returns.
fn bound(text: &str) -> Result<String> {
    let context = context(catalog(TABLES));
    let parsed = parse::parse(text)?.remove(0);
    let show = |query: &crate::sql::BoundQuery| {
        let columns: Vec<String> =
            query.columns.iter().map(|column| format!("{} {}", column.name, column.ty.name())).collect();
        let mut text = format!("columns: {}\n", columns.join(", "));
        if !query.parameters.is_empty() {
            let parameters: Vec<String> = query.parameters.iter().map(|ty| ty.name()).collect();
            text.push_str(&format!("parameters: {}\n", parameters.join(", ")));
        }
        text + &query.plan.display_indent().to_string()
    };
    Ok(match &parsed.statement {
        Statement::Query(query) => show(&bind::bind_query(&context, query)?),
        Statement::Insert(insert) => {
            let bound = bind::bind_insert(&context, insert)?;
            format!(
                "{}\nconflict: {:?}\nreturning: {:?}",
                show(&bound.source),
                bound.on_conflict.is_some(),
                bound.returning.map(|r| r.columns)
            )
        }
        Statement::Update(update) => show(&bind::bind_update(&context, update)?.source),
        Statement::Delete(delete) => show(&bind::bind_delete(&context, delete)?.source),
        Statement::CreateView(create) => show(&bind::bind_create_view(&context, create)?.unwrap().query),
        Statement::CreateTable(create) => format!("{:?}", bind::bind_create_table(&context, create)?),
        Statement::CreateStream(create) => format!("{:?}", bind::bind_create_stream(&context, create)?),
        Statement::CreateIndex(create) => format!("{:?}", bind::bind_create_index(&context, create)?),
        Statement::Drop(drop) => format!("{:?}", bind::bind_drop(&context, drop)?),
        other => panic!("{other:?}"),
    })
}

#[test]
fn plans() {
    let texts = [
        "SELECT a + 1, s AS name, t.b FROM t WHERE b BETWEEN 1 AND 2 ORDER BY 2 DESC, b LIMIT 5",
        "SELECT x.a, y.* FROM t x JOIN k y ON x.a = y.id",
        "SELECT * FROM t JOIN k ON a = id AND b > 1 LEFT JOIN w USING (a)",
        "SELECT a FROM t NATURAL FULL JOIN w",
        "SELECT a, count(*) c, sum(b) FROM t GROUP BY 1 HAVING count(*) > 1 ORDER BY c",
        "SELECT k.id, name, count(*) FROM k JOIN t ON t.a = k.id GROUP BY k.id",
        "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b",
        "SELECT $1 + a, $2 FROM t WHERE s = $3 AND ts > $4",
        "SELECT (r).x, l[1], r FROM st",
        "SELECT a IN (1, 2, 3), a = ANY('{1,2}'), b = ANY(ARRAY[a, b]) FROM t",
        "WITH c(x) AS (SELECT a FROM t) SELECT * FROM c c1, c c2 WHERE c1.x = c2.x",
        "SELECT a FROM t UNION SELECT id::bigint FROM k ORDER BY a",
        "SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM t",
        "SELECT sum(b) OVER w, rank() OVER w FROM t WINDOW w AS (ORDER BY a)",
        "SELECT x, y FROM (VALUES (1, 'a'), (2.5, NULL)) v(x, y)",
        "SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS g(n, i)",
        "SELECT n, (SELECT max(b) FROM t WHERE t.a = w.a) FROM w",
        "SELECT t FROM t",
        "SELECT 1, 'x', NULL, true, DATE '2020-01-02', 1::int8, current_user",
        "INSERT INTO k (id, name) VALUES (1, 'a'), ($1, DEFAULT)",
        "INSERT INTO t SELECT id, n FROM k RETURNING a, b + 1 AS c",
        "INSERT INTO k VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = k.n + 1 WHERE k.n < 5",
        "UPDATE k SET n = n + 1 WHERE id = $1",
        "UPDATE t SET b = k.n FROM k WHERE t.a = k.id",
        "DELETE FROM t USING k WHERE t.a = k.id",
    ];
    let all: Vec<String> = texts
        .iter()
        .map(|text| match bound(text) {
            Ok(plan) => format!("{text}\n{plan}\n"),
            Err(error) => format!("{text}\n  {error:?} at {:?}\n", error.position()),
        })
        .collect();
    // The hidden row id's name can't be typed; nor should it make the snapshot binary.
    insta::assert_snapshot!("plans", all.join("\n").replace('\0', "~"));
}

/// Statement, SQLSTATE, message, position.
const ERRORS: &[(&str, &str, &str, u32)] = &[
    ("SELECT x FROM t", "42703", "column \"x\" does not exist", 8),
    ("SELECT t.x FROM t", "42703", "column t.x does not exist", 8),
    ("SELECT z.a FROM t", "42P01", "missing FROM-clause entry for table \"z\"", 8),
    ("SELECT a FROM nope", "42P01", "relation \"nope\" does not exist", 15),
    ("SELECT a FROM t, w", "42702", "column reference \"a\" is ambiguous", 8),
    ("SELECT 1 FROM t, t", "42712", "table name \"t\" specified more than once", 0),
    (
        "SELECT a, count(*) FROM t",
        "42803",
        "column \"t.a\" must appear in the GROUP BY clause or be used in an aggregate function",
        8,
    ),
    (
        "SELECT sum(b) FROM t GROUP BY a HAVING b > 1",
        "42803",
        "column \"t.b\" must appear in the GROUP BY clause or be used in an aggregate function",
        40,
    ),
    ("SELECT a FROM t WHERE count(*) > 1", "42803", "aggregate functions are not allowed in WHERE", 23),
    ("SELECT sum(count(*)) FROM t", "42803", "aggregate function calls cannot be nested", 12),
    ("SELECT a FROM t WHERE row_number() OVER () = 1", "42P20", "window functions are not allowed in WHERE", 23),
    ("SELECT a FROM t WHERE b", "42804", "argument of WHERE must be type boolean, not type integer", 23),
    ("SELECT a FROM t ORDER BY 3", "42P10", "ORDER BY position 3 is not in select list", 26),
    ("SELECT a FROM t GROUP BY 2", "42P10", "GROUP BY position 2 is not in select list", 26),
    (
        "SELECT DISTINCT a FROM t ORDER BY b",
        "42P10",
        "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
        35,
    ),
    (
        "SELECT DISTINCT ON (a) a, b FROM t ORDER BY b",
        "42P10",
        "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
        0,
    ),
    ("SELECT a FROM t LIMIT -1", "2201W", "LIMIT must not be negative", 0),
    ("SELECT a FROM t LIMIT b", "42P10", "argument of LIMIT must not contain variables", 23),
    ("SELECT a, b FROM t UNION SELECT a FROM t", "42601", "each UNION query must have the same number of columns", 0),
    (
        "SELECT ts FROM t UNION SELECT a FROM t",
        "42804",
        "UNION types timestamp with time zone and integer cannot be matched",
        0,
    ),
    (
        "SELECT * FROM t JOIN w USING (nope)",
        "42703",
        "column \"nope\" specified in USING clause does not exist in left table",
        31,
    ),
    ("SELECT (SELECT a, b FROM t)", "42601", "subquery must return only one column", 0),
    ("SELECT a IN (SELECT a, b FROM t) FROM t", "42601", "subquery has too many columns", 8),
    ("SELECT $1", "", "", 0),
    ("SELECT 'x'::int", "22P02", "invalid input syntax for type integer: \"x\"", 8),
    ("SELECT s.x FROM t s JOIN k ON t.a = k.id", "42P01", "invalid reference to FROM-clause entry for table \"t\"", 31),
    ("SELECT nope(1)", "42883", "function nope(integer) does not exist", 8),
    ("SELECT nope(*)", "42883", "function nope() does not exist", 8),
    ("SELECT nope(DISTINCT a) FROM t", "42883", "function nope(integer) does not exist", 8),
    ("SELECT nope() OVER () FROM t", "42883", "function nope() does not exist", 8),
    ("SELECT left FROM t", "42601", "syntax error at or near \"left\"", 8),
    ("SELECT a == 1 FROM t", "42883", "operator does not exist: integer == integer", 10),
    ("SELECT [a] FROM t", "42601", "syntax error at or near \"[\"", 8),
    ("SELECT 1 = ANY([1, 2])", "42601", "syntax error at or near \"[\"", 16),
    ("SELECT 1 FROM user", "42601", "syntax error at or near \"user\"", 15),
    ("SELECT 1 FROM public.user", "42P01", "relation \"public.user\" does not exist", 15),
    ("SELECT a FROM t AS x(p, q, r, s, u)", "42P10", "table \"x\" has 4 columns available but 5 columns specified", 20),
    ("VALUES (1, 2), (3)", "42601", "VALUES lists must all be the same length", 17),
    ("SELECT (a).x FROM t", "42809", "column notation .x applied to type integer, which is not a composite type", 12),
    ("SELECT (r).z FROM st", "42703", "", 12),
    ("SELECT rank() FROM t", "42809", "window function rank requires an OVER clause", 8),
    ("SELECT lower(DISTINCT s) FROM t", "42809", "DISTINCT specified, but lower is not an aggregate function", 8),
    (
        "SELECT grouping(b) FROM t GROUP BY a",
        "42803",
        "arguments to GROUPING must be grouping expressions of the associated query level",
        0,
    ),
    ("SELECT ARRAY[]", "42P18", "cannot determine type of empty array", 0),
    (
        "SELECT CASE WHEN a THEN 1 END FROM t",
        "42804",
        "argument of CASE/WHEN must be type boolean, not type integer",
        18,
    ),
    (
        "SELECT CASE WHEN true THEN ts ELSE 1 END FROM t",
        "42804",
        "CASE types integer and timestamp with time zone cannot be matched",
        28,
    ),
    (
        "WITH c AS (SELECT 1), c AS (SELECT 2) SELECT * FROM c",
        "42712",
        "WITH query name \"c\" specified more than once",
        23,
    ),
    (
        "SELECT * FROM TUMBLE(st, v, INTERVAL '1 minute')",
        "42804",
        "TUMBLE's time column must be timestamp or timestamptz, not double precision",
        26,
    ),
    (
        "SELECT * FROM TUMBLE(st, at, INTERVAL '1 month')",
        "22023",
        "a window's length can't be in months or years, which differ in length",
        39,
    ),
    ("SELECT *", "42601", "SELECT * with no tables specified is not valid", 8),
    ("INSERT INTO k (id, nope) VALUES (1, 2)", "42703", "column \"nope\" of relation \"k\" does not exist", 20),
    ("INSERT INTO k (id, id) VALUES (1, 2)", "42701", "column \"id\" specified more than once", 20),
    ("INSERT INTO k (id) VALUES (1, 2)", "42601", "INSERT has more expressions than target columns", 31),
    ("INSERT INTO k (id, name) VALUES (1)", "42601", "INSERT has more target columns than expressions", 34),
    (
        "INSERT INTO k (id) VALUES (now())",
        "42804",
        "column \"id\" is of type integer but expression is of type timestamp with time zone",
        28,
    ),
    ("INSERT INTO k (id, twice) VALUES (1, 2)", "428C9", "cannot insert a non-DEFAULT value into column \"twice\"", 38),
    ("INSERT INTO w VALUES (1, 2)", "42809", "cannot insert into view \"w\"", 13),
    (
        "INSERT INTO t VALUES (1) ON CONFLICT (a) DO NOTHING",
        "42P10",
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        0,
    ),
    ("UPDATE st SET v = 1", "42809", "cannot update stream \"st\"", 8),
    ("UPDATE k SET nope = 1", "42703", "column \"nope\" of relation \"k\" does not exist", 14),
    ("UPDATE k SET n = 1, n = 2", "42601", "multiple assignments to same column \"n\"", 21),
    ("DELETE FROM m", "42809", "cannot delete from materialized view \"m\"", 13),
    ("CREATE TABLE t (a int)", "42P07", "relation \"t\" already exists", 14),
    ("CREATE TABLE x (a int, a text)", "42701", "column \"a\" specified more than once", 0),
    ("CREATE TABLE x (a number(10,2))", "42704", "type \"number\" does not exist", 17),
    ("CREATE TABLE x (a nope)", "42704", "type \"nope\" does not exist", 17),
    ("CREATE TABLE x (a int, PRIMARY KEY (b))", "42703", "column \"b\" named in key does not exist", 37),
    (
        "CREATE TABLE x (a int DEFAULT now())",
        "42804",
        "column \"a\" is of type integer but default expression is of type timestamp with time zone",
        31,
    ),
    ("CREATE TABLE x (a int, b int DEFAULT a)", "0A000", "cannot use column reference in DEFAULT expression", 38),
    ("CREATE TABLE nope.x (a int)", "3F000", "schema \"nope\" does not exist", 14),
    ("CREATE TABLE pg_catalog.x (a int)", "42501", "permission denied for schema pg_catalog", 14),
    ("CREATE VIEW x (p, q) AS SELECT 1", "42601", "CREATE VIEW specifies more column names than columns", 19),
    ("CREATE VIEW x AS SELECT 1 AS a, 2 AS a", "42701", "column \"a\" specified more than once", 0),
    ("CREATE INDEX ON st (v)", "42809", "cannot create index on stream \"st\"", 17),
    ("CREATE INDEX ON k (nope)", "42703", "column \"nope\" does not exist", 20),
    ("DROP TABLE nope", "42P01", "table \"nope\" does not exist", 12),
    ("DROP TABLE m", "42809", "\"m\" is not a table", 12),
];

#[test]
fn errors_have_postgres_codes_words_and_places() {
    let mut wrong = Vec::new();
    for (text, state, message, position) in ERRORS {
        match bound(text) {
            Ok(_) if state.is_empty() => {}
            Ok(plan) => wrong.push(format!("{text}: accepted\n{plan}")),
            Err(error) => {
                let at = error.position().unwrap_or(0);
                let worded = message.is_empty() || error.message() == *message;
                if error.state().0 != *state || !worded || at != *position {
                    wrong.push(format!(
                        "{text}\n   is {} {} at {at}\n  not {state} {message} at {position}",
                        error.state(),
                        error.message()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wide_and_deep_statements_bind_or_are_refused() {
    let terms = |count: usize| vec!["a = 1"; count].join(" OR ");
    bound(&format!("SELECT a FROM t WHERE {}", terms(900))).unwrap();
    let sum = vec!["a"; 240].join(" + ");
    bound(&format!("SELECT {sum} FROM t")).unwrap();
    let list = (0..5000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    bound(&format!("SELECT a FROM t WHERE a IN ({list})")).unwrap();
    let nested = format!("SELECT {}a{} FROM t", "(".repeat(150), ")".repeat(150));
    bound(&nested).unwrap();
    // Each name doubles the plan.
    let mut ctes = "WITH c0 AS (SELECT a FROM t)".to_string();
    for n in 1..30 {
        ctes.push_str(&format!(", c{n} AS (SELECT x.a FROM c{0} x, c{0} y)", n - 1));
    }
    let error = bound(&format!("{ctes} SELECT * FROM c29")).unwrap_err();
    assert_eq!(error.state().0, "54001");
}
