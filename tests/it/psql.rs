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

const SHOP: &str = "\
create table accounts (id int primary key, owner varchar(20) not null default 'nobody', balance numeric(12,2) default 0,
    \"Since\" timestamptz default now(), initials text as (upper(left(owner, 2))));
create table \"My notes\" (note text, tags text[], at struct<x int, y int>);
create stream clicks (id bigint not null, page text default 'home', at timestamp(3), slow boolean as (id > 100));
create index on accounts (owner, balance desc);
create view rich (who) as select owner from accounts where balance > 100;
create materialized view totals as select owner, sum(balance) as total from accounts group by owner;
create index totals_by_total on totals (total desc nulls last);
create schema shop;
create table shop.items (sku text, place int, price double precision, primary key (sku, place));
";

#[test]
fn lists_of_what_there_is() {
    let server = Server::start();
    server.psql(SHOP);
    insta::assert_snapshot!(server.psql("\\d\n\\dt\n\\dv\n\\dm\n\\di\n\\ds\n\\dn\n\\l\n\\dt shop.*\n\\dt a*\n\\dt nothing\n\\du"), @r#"
                    List of relations
     Schema |   Name   |       Type        |  Owner   
    --------+----------+-------------------+----------
     public | My notes | table             | postgres
     public | accounts | table             | postgres
     public | clicks   | table             | postgres
     public | rich     | view              | postgres
     public | totals   | materialized view | postgres
    (5 rows)

              List of relations
     Schema |   Name   | Type  |  Owner   
    --------+----------+-------+----------
     public | My notes | table | postgres
     public | accounts | table | postgres
     public | clicks   | table | postgres
    (3 rows)

            List of relations
     Schema | Name | Type |  Owner   
    --------+------+------+----------
     public | rich | view | postgres
    (1 row)

                   List of relations
     Schema |  Name  |       Type        |  Owner   
    --------+--------+-------------------+----------
     public | totals | materialized view | postgres
    (1 row)

                             List of relations
     Schema |            Name            | Type  |  Owner   |  Table   
    --------+----------------------------+-------+----------+----------
     public | accounts_owner_balance_idx | index | postgres | accounts
     public | accounts_pkey              | index | postgres | accounts
     public | totals_by_total            | index | postgres | totals
    (3 rows)

          List of relations
     Schema | Name | Type | Owner 
    --------+------+------+-------
    (0 rows)

        List of schemas
        Name    |  Owner   
    ------------+----------
     public     | postgres
     rr_catalog | postgres
     shop       | postgres
    (3 rows)

                                               List of databases
       Name   |  Owner   | Encoding | Collate |  Ctype  | ICU Locale | Locale Provider | Access privileges 
    ----------+----------+----------+---------+---------+------------+-----------------+-------------------
     postgres | postgres | UTF8     | C.UTF-8 | C.UTF-8 |            | libc            | 
    (1 row)

             List of relations
     Schema | Name  | Type  |  Owner   
    --------+-------+-------+----------
     shop   | items | table | postgres
    (1 row)

              List of relations
     Schema |   Name   | Type  |  Owner   
    --------+----------+-------+----------
     public | accounts | table | postgres
    (1 row)

          List of relations
     Schema | Name | Type | Owner 
    --------+------+------+-------
    (0 rows)

                                       List of roles
     Role name |                         Attributes                         | Member of 
    -----------+------------------------------------------------------------+-----------
     postgres  | Superuser, Create role, Create DB, Replication, Bypass RLS | {}
    "#);
}

#[test]
fn what_a_relation_looks_like() {
    let server = Server::start();
    server.psql(SHOP);
    insta::assert_snapshot!(server.psql("\\d accounts\n\\d clicks\n\\d \"My notes\"\n\\d rich\n\\d totals\n\\d shop.items"), @r#"
                                                 Table "public.accounts"
      Column  |           Type           | Collation | Nullable |                      Default                       
    ----------+--------------------------+-----------+----------+----------------------------------------------------
     id       | integer                  |           | not null | 
     owner    | character varying(20)    |           | not null | 'nobody'
     balance  | numeric(12,2)            |           |          | 0
     Since    | timestamp with time zone |           |          | now()
     initials | text                     |           |          | generated always as (upper(left(owner, 2))) stored
    Indexes:
        "accounts_pkey" PRIMARY KEY, btree (id)
        "accounts_owner_balance_idx" btree (owner, balance DESC)

                                             Table "public.clicks"
     Column |              Type              | Collation | Nullable |                Default                
    --------+--------------------------------+-----------+----------+---------------------------------------
     id     | bigint                         |           | not null | 
     page   | text                           |           |          | 'home'
     at     | timestamp(3) without time zone |           |          | 
     slow   | boolean                        |           |          | generated always as (id > 100) stored

                            Table "public.My notes"
     Column |             Type             | Collation | Nullable | Default 
    --------+------------------------------+-----------+----------+---------
     note   | text                         |           |          | 
     tags   | text[]                       |           |          | 
     at     | struct<x integer, y integer> |           |          | 

                           View "public.rich"
     Column |         Type          | Collation | Nullable | Default 
    --------+-----------------------+-----------+----------+---------
     who    | character varying(20) |           |          | 

                    Materialized view "public.totals"
     Column |         Type          | Collation | Nullable | Default 
    --------+-----------------------+-----------+----------+---------
     owner  | character varying(20) |           |          | 
     total  | numeric               |           |          | 
    Indexes:
        "totals_by_total" btree (total DESC NULLS LAST)

                         Table "shop.items"
     Column |       Type       | Collation | Nullable | Default 
    --------+------------------+-----------+----------+---------
     sku    | text             |           | not null | 
     place  | integer          |           | not null | 
     price  | double precision |           |          | 
    Indexes:
        "items_pkey" PRIMARY KEY, btree (sku, place)
    "#);
    insta::assert_snapshot!(server.psql("\\d accounts_pkey\n\\d accounts_owner_balance_idx\n\\d totals_by_total\n\\d nothing"), @r#"
         Index "public.accounts_pkey"
     Column |  Type   | Key? | Definition 
    --------+---------+------+------------
     id     | integer | yes  | id
    primary key, btree, for table "public.accounts"

          Index "public.accounts_owner_balance_idx"
     Column  |         Type          | Key? | Definition 
    ---------+-----------------------+------+------------
     owner   | character varying(20) | yes  | owner
     balance | numeric(12,2)         | yes  | balance
    btree, for table "public.accounts"

        Index "public.totals_by_total"
     Column |  Type   | Key? | Definition 
    --------+---------+------+------------
     total  | numeric | yes  | total
    btree, for table "public.totals"
    "#);
    insta::assert_snapshot!(server.psql("\\d+ accounts\n\\d+ clicks\n\\d+ rich\n\\d+ totals\n\\sv rich"), @r#"
                                                                            Table "public.accounts"
      Column  |           Type           | Collation | Nullable |                      Default                       | Storage  | Compression | Stats target | Description 
    ----------+--------------------------+-----------+----------+----------------------------------------------------+----------+-------------+--------------+-------------
     id       | integer                  |           | not null |                                                    | plain    |             |              | 
     owner    | character varying(20)    |           | not null | 'nobody'                                           | extended |             |              | 
     balance  | numeric(12,2)            |           |          | 0                                                  | main     |             |              | 
     Since    | timestamp with time zone |           |          | now()                                              | plain    |             |              | 
     initials | text                     |           |          | generated always as (upper(left(owner, 2))) stored | extended |             |              | 
    Indexes:
        "accounts_pkey" PRIMARY KEY, btree (id)
        "accounts_owner_balance_idx" btree (owner, balance DESC)
    Access method: heap

                                                                        Table "public.clicks"
     Column |              Type              | Collation | Nullable |                Default                | Storage  | Compression | Stats target | Description 
    --------+--------------------------------+-----------+----------+---------------------------------------+----------+-------------+--------------+-------------
     id     | bigint                         |           | not null |                                       | plain    |             |              | 
     page   | text                           |           |          | 'home'                                | extended |             |              | 
     at     | timestamp(3) without time zone |           |          |                                       | plain    |             |              | 
     slow   | boolean                        |           |          | generated always as (id > 100) stored | plain    |             |              | 
    Access method: heap

                                        View "public.rich"
     Column |         Type          | Collation | Nullable | Default | Storage  | Description 
    --------+-----------------------+-----------+----------+---------+----------+-------------
     who    | character varying(20) |           |          |         | extended | 
    View definition:
     select owner from accounts where balance > 100;

                                               Materialized view "public.totals"
     Column |         Type          | Collation | Nullable | Default | Storage  | Compression | Stats target | Description 
    --------+-----------------------+-----------+----------+---------+----------+-------------+--------------+-------------
     owner  | character varying(20) |           |          |         | extended |             |              | 
     total  | numeric               |           |          |         | main     |             |              | 
    Indexes:
        "totals_by_total" btree (total DESC NULLS LAST)
    View definition:
     select owner, sum(balance) as total from accounts group by owner;
    Access method: heap

    CREATE OR REPLACE VIEW public.rich AS
     select owner from accounts where balance > 100
    "#);
}
