//! Errors with their positions, splitting, spellings that only we read, and texts made to hurt.

use super::*;
use crate::sql::statement::*;

fn one(text: &str) -> Statement {
    let mut parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(parsed.len(), 1, "{text}");
    parsed.remove(0).statement
}

fn error(text: &str) -> String {
    let error = match parse(text) {
        Ok(parsed) => panic!("{text} was accepted: {parsed:?}"),
        Err(error) => error,
    };
    let position = error.position().map_or_else(String::new, |position| format!(" at {position}"));
    let hint = error.hint().map_or_else(String::new, |hint| format!("\n    hint: {hint}"));
    format!("{} {}{position}{hint}", error.state(), error.message())
}

#[test]
fn statements_know_their_text_and_place() {
    let text = "select 1;\n  -- nothing here\n ; insert into t values ('ä;b') ;\nselect 'é', 2";
    let parsed = parse(text).unwrap();
    let found: Vec<(&str, usize)> = parsed.iter().map(|parsed| (parsed.text.as_str(), parsed.start)).collect();
    assert_eq!(found, [("select 1", 0), ("insert into t values ('ä;b')", 31), ("select 'é', 2", 62)]);
    assert!(parse(" ; -- only a comment").unwrap().is_empty());
}

#[test]
fn syntax_errors() {
    let texts = [
        "selec 1",
        "select 1 fro t where",
        "select 1 from (select 2",
        "select * from t where a = ",
        "select 1;\nselect 'ä' x y;",
        "select 'abc",
        "select \"abc",
        "select $$abc",
        "select /* abc",
        "create table t (a int b int)",
        "create table t (a struct<x int, y struct<z text>)",
        "create table t (a int primary key, primary key (a), primary key (a))",
        "create view v as",
        "copy t from 'file.csv'",
        "copy t from stdin with (format xml)",
        "copy t to stdout (delimiter 'ab')",
        "begin isolation level snapshot",
        "fetch sideways from c",
        "create table x as select 1",
        "create materialized view v as select 1 emit changes",
        "create materialized view v as select window_end, count(*) from tumble(s, at, interval '1 minute') \
         group by window_end emit on window close",
        "create materialized view v as select a from s emit on window close",
        "select a from s where a > 1 emit changes",
        "select a from s emit final",
        "create stream s (a int, watermark for a as a)",
        "create sink k from v",
        "subscribe to v",
        "alter table t add column b int",
        "explain (analyze, format xml) select 1",
        "frobnicate",
        "1",
        "prepare p as create table t (a int)",
        "create table t (id int, user text)",
        "create table t (id int, primary key (order))",
        "create view v (a, \"end\", end) as select 1, 2, 3",
        "insert into t (select) values (1)",
        "insert into t (a) values (1) on conflict (null) do nothing",
        "insert into t (a) values (1) on conflict (a) do update set when = 1",
        "insert into t u values (1)",
        "update t set user = 1",
        "update t set (a, all) = (1, 2)",
        "copy t (true) from stdin",
        "with x (case) as (select 1) select 1",
        "with left as (select 1) select 1",
        "select 1 from t user",
        "select 1 from t as left",
        "select 1 from t x (a, desc)",
        "select 1 from a join b using (and)",
        "select (select 1 from t x (a, desc))",
        "select 1 on",
        "select a where from t",
        "select [a] from [t]",
        "select a from [t]",
        "select `a` from t",
    ];
    let all: Vec<String> = texts.iter().map(|text| format!("{text}\n  {}", error(text))).collect();
    insta::assert_snapshot!("syntax_errors", all.join("\n"));
}

#[test]
fn table_is_a_query_where_one_may_stand() {
    for (text, same) in [
        ("table t", "select * from t"),
        ("(table t)", "(select * from t)"),
        ("table a union all table \"B\" order by 1", "select * from a union all select * from \"B\" order by 1"),
        ("with x as (table t) table x", "with x as (select * from t) select * from x"),
        ("select 1 in (table t)", "select 1 in (select * from t)"),
        ("select a as table from t", "select a as \"table\" from t"),
        ("select a as table, t.table from t", "select a as \"table\", t.\"table\" from t"),
    ] {
        let query = |text: &str| match one(text) {
            Statement::Query(query) => query.to_string().replace('"', ""),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(query(text), query(same));
    }
    for text in
        ["insert into t table u", "insert into t (a) table u", "create view v as table t", "copy (table t) to stdout"]
    {
        one(text);
    }
    assert!(matches!(one("explain table t"), Statement::Explain(_)));
}

#[test]
fn a_stream_in_all_its_spellings() {
    let text = "CREATE SOURCE IF NOT EXISTS s.orders (\n id bigint NOT NULL, who STRUCT<name text, at STRUCT<x int, y int[]>>[], \
                total numeric(10,2) DEFAULT 0 NOT NULL, day date AS (cast(ts as date)), ts timestamptz) \
                INCLUDE KEY INCLUDE OFFSET AS pos, INCLUDE TIMESTAMP AS \"At\" \
                WITH (kafka_topic='t', \"bootstrap.servers\" = 'h:1', properties.security.protocol = 'ssl', 'a'=1) \
                FORMAT PLAIN ENCODE JSON";
    let Statement::CreateStream(stream) = one(text) else { panic!() };
    assert!(stream.if_not_exists);
    assert_eq!(stream.name.to_string(), "s.orders");
    assert_eq!(
        stream.columns[1].ty.to_string(),
        "STRUCT<name TEXT, at STRUCT<x INT, y INT[]>>[]",
        "nested angle brackets close"
    );
    assert_eq!(stream.columns[2].default.as_ref().map(|(text, _)| text.as_str()), Some("0"));
    assert!(stream.columns[2].not_null);
    assert_eq!(stream.columns[3].generated.as_ref().map(|(text, _)| text.as_str()), Some("cast(ts as date)"));
    let includes: Vec<_> = stream.includes.iter().map(|include| include.name.as_ref().map(fold)).collect();
    assert_eq!(includes, [None, Some("pos".to_string()), Some("At".to_string())]);
    let options: Vec<_> = stream.options.iter().map(|(name, value)| (name.value.as_str(), value.as_str())).collect();
    assert_eq!(
        options,
        [
            ("kafka_topic", "t"),
            ("bootstrap.servers", "h:1"),
            ("properties.security.protocol", "ssl"),
            ("a", "1"),
            ("format", "json")
        ]
    );
}

#[test]
fn session_statements() {
    assert!(matches!(one("SET TIME ZONE 'Europe/Berlin'"), Statement::Set(Set { name, .. }) if name == "timezone"));
    assert!(matches!(one("set local search_path = a, \"B\""),
        Statement::Set(Set { values: Some(values), local: true, .. }) if values == ["a", "B"]));
    assert!(matches!(one("SET x.y TO DEFAULT"), Statement::Set(Set { name, values: None, .. }) if name == "x.y"));
    assert!(matches!(
        one("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
        Statement::SetTransaction { session: true, .. }
    ));
    assert!(matches!(one("set extra_float_digits = -1"), Statement::Set(Set { values: Some(v), .. }) if v == ["-1"]));
    assert!(matches!(
        one("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"),
        Statement::Begin {
            modes: TransactionModes { isolation: Some(Isolation::RepeatableRead), read_only: Some(true), .. },
            start: true
        }
    ));
    assert!(matches!(one("abort"), Statement::Rollback { chain: false }));
    assert!(matches!(one("rollback to savepoint A"), Statement::RollbackTo(name) if name == "a"));
    assert!(matches!(
        one("fetch forward 100 from c"),
        Statement::Fetch(Fetch { direction: FetchDirection::Forward(Some(100)), skip: false, .. })
    ));
    assert!(matches!(
        one("MOVE ALL IN c"),
        Statement::Fetch(Fetch { direction: FetchDirection::Forward(None), skip: true, .. })
    ));
    assert!(matches!(
        one("declare c no scroll cursor with hold for select 1"),
        Statement::DeclareCursor(DeclareCursor { scroll: Some(false), hold: true, .. })
    ));
    assert!(matches!(one("prepare p(int, text) as select $1"), Statement::Prepare { types, statement, .. }
        if types.len() == 2 && statement.text == "select $1" && statement.start == 24));
    assert!(matches!(
        one("show materialized views from public like 'a%'"),
        Statement::Show(Show::Objects { kind: ObjectKind::MaterializedView, schema: Some(_), like: Some(_) })
    ));
    assert!(matches!(one("show create materialized view v"), Statement::Show(Show::Create(_))));
    assert!(matches!(one("show create v"), Statement::Show(Show::Create(_))));
    assert!(matches!(
        one("explain (analyze, format json) select 1"),
        Statement::Explain(Explain { analyze: true, json: true, .. })
    ));
    assert!(matches!(
        one("explain materialized view v"),
        Statement::Explain(Explain { target: ExplainTarget::MaterializedView(_), .. })
    ));
    assert!(matches!(one("do $$begin end$$ language plpgsql"), Statement::Do { .. }));
    assert!(matches!(one("notify c, 'x'"), Statement::Notify { payload: Some(_), .. }));
    assert!(
        matches!(one("insert into t default values returning *"), Statement::Insert(insert) if insert.default_values)
    );
    assert!(
        matches!(one("with x as (select 1) delete from t using x"), Statement::Delete(delete) if delete.with.is_some())
    );
    assert!(matches!(one("copy (select 1) to stdout csv header"), Statement::Copy(copy)
        if !copy.from && copy.options.format == CopyFormat::Csv && copy.options.header == CopyHeader::Yes));
    assert!(
        matches!(one("copy t (a, b) from stdin with (format csv, null '', header match, force_null (a))"), Statement::Copy(copy)
        if copy.from && copy.options.header == CopyHeader::Match)
    );
}

#[test]
fn nesting_and_size_are_bounded() {
    let nested = format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(error(&nested).starts_with("54001 stack depth limit exceeded"));
    let chain = format!("select 1{}", " + 1".repeat(100_000));
    assert!(error(&chain).starts_with("54001"));
    let signs = format!("select {}1", "- ".repeat(10_000));
    assert!(error(&signs).starts_with("54001"));
    let unions = format!("select 1{}", " union all select 1".repeat(5_000));
    assert!(error(&unions).starts_with("54001"));
    let subqueries = format!("select 1 from {}t{}", "(select * from ".repeat(5_000), ") x".repeat(5_000));
    assert!(error(&subqueries).starts_with("54001"));
    assert!(error(&format!("select {}", "1,".repeat(3_000_000))).starts_with("54000"));
    // What people write stays within the bounds.
    let long_list = format!("select * from t where a in (1{})", ", 1".repeat(10_000));
    parse(&long_list).unwrap();
    let alternatives = format!("select * from t where a = 1{}", " or a = 1".repeat(900));
    parse(&alternatives).unwrap();
    let brackets = format!("select {}1{}", "(".repeat(100), ")".repeat(100));
    parse(&brackets).unwrap();
    let rows = format!("insert into t values (1, 2){}", ", (3, 4)".repeat(20_000));
    parse(&rows).unwrap();
}
