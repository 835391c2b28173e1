//! What a person at psql sees.

use crate::fixture::Server;

#[test]
fn errors_point_at_their_place() {
    let server = Server::start();
    insta::assert_snapshot!(server.psql("select 1 as a, no_such as b;"), @r#"
    psql:<stdin>:2: ERROR:  column "no_such" does not exist
    LINE 1: select 1 as a, no_such as b;
                           ^
    "#);
    insta::assert_snapshot!(server.psql("select *\nfrom missing;"), @r#"
    psql:<stdin>:3: ERROR:  relation "missing" does not exist
    LINE 2: from missing;
                 ^
    "#);
    // Positions count characters, not bytes.
    insta::assert_snapshot!(server.psql("select 'äöü' as a, nope;"), @r#"
    psql:<stdin>:2: ERROR:  column "nope" does not exist
    LINE 1: select 'äöü' as a, nope;
                               ^
    "#);
}

#[test]
fn cascade_tells_what_else_went() {
    let server = Server::start();
    let output = server.psql(
        "create table t (a int);\ncreate index on t (a);\n\
         create materialized view one as select * from t;\ncreate view two as select * from one;\n\
         drop view two cascade;\ndrop table t cascade;\n\
         create table t (a int);\ncreate view one as select * from t;\ncreate view two as select * from one;\n\
         drop table t cascade;",
    );
    insta::assert_snapshot!(output, @r#"
    psql:<stdin>:7: NOTICE:  drop cascades to materialized view one
    psql:<stdin>:11: NOTICE:  drop cascades to 2 other objects
    DETAIL:  drop cascades to view two
    drop cascades to view one
    "#);
}

#[test]
fn copy_in_and_out() {
    let server = Server::start();
    let output = server.psql(
        "create table t (a int primary key, b text, c numeric(10,2));\n\
         copy t from stdin;\n1\tone\t1.50\n2\t\\N\t\\N\n3\ta\\tb\t0.01\n\\.\n\
         copy t (b, a) from stdin csv header;\nb,a\n\"four, quoted\",4\n,5\n\\.\n\
         copy (select * from t order by a) to stdout;\n\
         copy (select b, a from t order by a) to stdout csv header;",
    );
    insta::assert_snapshot!(output, @r#"
    1	one	1.50
    2	\N	\N
    3	a\tb	0.01
    4	four, quoted	\N
    5	\N	\N
    b,a
    one,1
    ,2
    a	b,3
    "four, quoted",4
    ,5
    "#);
}

#[test]
fn copy_names_the_line_that_is_wrong_and_keeps_nothing() {
    let server = Server::start();
    let output = server.psql(
        "create table t (a int, b text);\n\
         copy t from stdin;\n1\tone\nx\ttwo\n\\.\n\
         copy t from stdin;\n1\n\\.\n\
         copy t from stdin;\n1\t2\t3\n\\.\n\
         select count(*) from t;",
    );
    insta::assert_snapshot!(output, @r#"
     count 
    -------
         0
    (1 row)

    psql:<stdin>:6: ERROR:  invalid input syntax for type integer: "x"
    CONTEXT:  COPY t, line 2, column a: "x"
    psql:<stdin>:9: ERROR:  missing data for column "b"
    CONTEXT:  COPY t, line 1: "1"
    psql:<stdin>:12: ERROR:  extra data after last expected column
    CONTEXT:  COPY t, line 1: "1	2	3"
    "#);
}

#[test]
fn fetch_count_reads_in_pieces() {
    let server = Server::start();
    let output = server.psql("\\set FETCH_COUNT 2\n\\t on\nselect x from generate_series(1, 5) as x;");
    insta::assert_snapshot!(output, @"
     1
     2
     3
     4
     5
    ");
}

#[test]
fn settings() {
    let server = Server::start();
    let output = server.psql(
        "\\t on\nset timezone = 'Europe/Berlin'; show timezone;\n\
         begin; set local timezone = 'UTC'; show timezone; commit; show timezone;\n\
         set statement_timeout = '90s'; show statement_timeout; reset statement_timeout; show statement_timeout;\n\
         set no_such = 1;\nset search_path = a, \"B c\"; show search_path;",
    );
    insta::assert_snapshot!(output, @r#"
     Europe/Berlin

     UTC

     Europe/Berlin

     90s

     0

     a, "B c"

    psql:<stdin>:6: ERROR:  unrecognized configuration parameter "no_such"
    "#);
}
