"""What Python programs do with psycopg 3, against the server at the port given: each function is one test.

All of them run, in the order of the file; a failure prints its traceback and the exit status is 1. Each has tables of its own.
"""

import sys
import threading
import time
import traceback
import uuid
from datetime import date, datetime, time as clock, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types.json import Jsonb

DSN = f"host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=postgres"

ENDLESS = "select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 10) c"


def connect(**options):
    return psycopg.connect(DSN, **options)


def refused(error, call):
    """The error that the call must raise."""
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__} was raised")


EVERY_TYPE = {
    "boolean": [True, False],
    "int2": [-32768, 32767],
    "int4": [-(2**31), 2**31 - 1],
    "int8": [-(2**63), 2**63 - 1],
    "float4": [0.5, float("inf"), -1.25],
    "float8": [0.1, 1e300, float("-inf")],
    "numeric(12,3)": [Decimal("123456789.123"), Decimal("-0.001"), Decimal("0.000")],
    "numeric": [Decimal("12345678901234567890.5"), Decimal("-1"), Decimal("0.00000001")],
    "text": ["", "äöü €", "a'b\"c\\d\n\te", "x" * 100_000],
    "varchar(10)": ["ten chars.", ""],
    "char(3)": ["abc"],
    "bytea": [b"", b"\x00\x01\xfe\xff'\\"],
    "date": [date(1970, 1, 1), date(2024, 2, 29), date(1, 1, 1), date(9999, 12, 31)],
    "time": [clock(0, 0), clock(23, 59, 59, 999999)],
    "timestamp": [datetime(2024, 3, 31, 2, 30, 0, 123456), datetime(1900, 1, 1)],
    "timestamptz": [
        datetime(2024, 3, 31, 1, 30, tzinfo=timezone.utc),
        datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-5))),
    ],
    "interval": [timedelta(0), timedelta(days=3, hours=4, microseconds=5), timedelta(days=-1, seconds=7)],
    "uuid": [uuid.UUID("123e4567-e89b-12d3-a456-426614174000"), uuid.UUID(int=0)],
    "jsonb": [Jsonb({"a": [1, None, "x"], "b": {"c": 1.5}}), Jsonb([]), Jsonb(None), Jsonb("text")],
    "int4[]": [[1, None, -3], []],
    "text[]": [["a", 'b"c', "d,e", "{f}", "", "NULL", None]],
    "numeric(5,2)[]": [[Decimal("1.50"), None]],
    "timestamptz[]": [[datetime(2024, 1, 1, tzinfo=timezone.utc)]],
    "uuid[]": [[uuid.UUID(int=1)]],
    "boolean[]": [[True, False, None]],
    "float8[]": [[0.5, None]],
    "bytea[]": [[b"\x00\xff", None]],
}


def plain(value):
    """A value as it is read back."""
    if isinstance(value, Jsonb):
        return value.obj
    if isinstance(value, list):
        return [plain(element) for element in value]
    return value


def test_every_type_comes_back_in_text_and_in_binary():
    with connect(autocommit=True) as c:
        for number, (ty, values) in enumerate(EVERY_TYPE.items()):
            values = values + [None]
            c.execute(f"create table every_{number} (id int primary key, v {ty})")
            for sent in ("t", "b"):
                c.execute(f"truncate every_{number}")
                for id, value in enumerate(values):
                    # Before and after psycopg prepares the statement by name.
                    statement = f"insert into every_{number} values (%s, %{sent})"
                    c.execute(statement, (id, value), prepare=id > 1)
                for binary in (False, True):
                    cursor = c.execute(f"select v from every_{number} order by id", binary=binary)
                    read = [row[0] for row in cursor]
                    expected = [plain(value) for value in values]
                    assert read == expected, f"{ty}, sent {sent}, binary {binary}: {read} is not {expected}"


def test_parameters_meet_columns_and_casts():
    with connect(autocommit=True) as c:
        one = lambda statement, *parameters: c.execute(statement, parameters).fetchone()[0]
        assert one("select %s::int + 1", 41) == 42
        assert one("select %s", "text") == "text"
        assert one("select %s", 7) == 7
        assert one("select %s + 1", 7) == 8
        assert one("select %s || 'b'", "a") == "ab"
        assert one("select %s = any(%s)", 2, [1, 2, 3]) is True
        assert one("select coalesce(%s, 'other')", None) == "other"
        assert one("select count(*) from generate_series(1, %s) x where x between %s and %s", 10, 3, 5) == 3
        assert one("select x from generate_series(1, 5) x order by x limit %s offset %s", 1, 2) == 3
        assert one("select %s::numeric(10,2)", Decimal("1.005")) == Decimal("1.01")
        assert one("select %s::jsonb -> 'a'", Jsonb({"a": 1})) == 1
        assert one("select %s::date + %s", date(2024, 1, 1), 31) == date(2024, 2, 1)
        assert one("select case when %s then 'yes' else 'no' end", True) == "yes"
        c.execute("create table meets (big int8, small int2, word varchar(20), at timestamptz, amount numeric(10,2))")
        at = datetime(2024, 5, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
        c.execute("insert into meets values (%s, %s, %s, %s, %s)", (1, 2, "word", at, 3))
        assert one("select count(*) from meets where big = %s and small = %s and word = %s", 1, 2, "word") == 1
        assert one("select count(*) from meets where at = %s and amount > %s", at, 2.5) == 1
        assert one("select count(*) from meets where big in (%s, %s)", 1, 2**40) == 1


def test_statements_are_prepared_after_five_times():
    with connect(autocommit=True) as c:
        assert c.prepare_threshold == 5
        c.execute("create table prepared (a int primary key, b text)")
        for a in range(10):
            c.execute("insert into prepared values (%s, %s)", (a, f"b{a}"))
        for a in range(10):
            row = c.execute("select a, b from prepared where a = %s", (a,)).fetchone()
            assert row == (a, f"b{a}")
        names = [row[0] for row in c.execute("select name from pg_prepared_statements where not from_sql")]
        assert len(names) == 2 and all(name.startswith("_pg3_") for name in names), names
        # psycopg deallocates what it no longer keeps.
        c.prepared_max = 1
        for number in range(3):
            for _ in range(7):
                c.execute(f"select {number} + %s", (1,))
        kept = c.execute("select count(*) from pg_prepared_statements", prepare=False).fetchone()[0]
        assert kept <= 2, kept
        # A result whose columns change under a prepared statement is refused; prepared anew it works.
        c.execute("select * from prepared", prepare=True)
        with connect(autocommit=True) as other:
            other.execute("drop table prepared")
            other.execute("create table prepared (a int primary key)")
        raised = refused(errors.FeatureNotSupported, lambda: c.execute("select * from prepared", prepare=True))
        assert "cached plan must not change result type" in str(raised)


def test_executemany_and_pipelines():
    with connect() as c:
        c.execute("create table many (a int primary key, b text, c numeric)")
        rows = [(a, f"row {a}", Decimal(a) / 4) for a in range(1000)]
        with c.cursor() as cursor:
            cursor.executemany("insert into many values (%s, %s, %s)", rows)
            assert cursor.rowcount == 1000, cursor.rowcount
        c.commit()
        assert c.execute("select count(*), sum(c) from many").fetchone() == (1000, Decimal("124875.00"))
        with c.cursor() as cursor:
            cursor.executemany("insert into many values (%s, 'x', 0) returning a + 1", [(2000,), (3000,)], returning=True)
            answers = [cursor.fetchone()[0]]
            while cursor.nextset():
                answers.append(cursor.fetchone()[0])
            assert answers == [2001, 3001], answers
        c.rollback()
        # A failing row undoes the whole batch.
        with c.cursor() as cursor:
            refused(errors.UniqueViolation, lambda: cursor.executemany("insert into many values (%s, '', 0)", [(5000,), (1,)]))
        c.rollback()
        assert c.execute("select count(*) from many").fetchone()[0] == 1000
        c.commit()
        with c.pipeline():
            first = c.execute("select a from many where a = %s", (7,))
            c.execute("insert into many values (%s, %s, %s)", (7000, "p", 1))
            second = c.execute("select count(*) from many")
        assert first.fetchone()[0] == 7 and second.fetchone()[0] == 1001
        c.commit()
        # In a pipeline what follows an error is skipped, and its transaction is undone.
        c.autocommit = True
        with c.pipeline() as pipeline:
            c.execute("insert into many values (8000, 'p', 1)")
            wrong = c.execute("select no_such_column from many")
            skipped = c.execute("insert into many values (8001, 'p', 1)")
            refused(errors.UndefinedColumn, pipeline.sync)
            refused(psycopg.Error, wrong.fetchone)
            refused(psycopg.Error, skipped.fetchone)
        assert c.execute("select count(*) from many where a >= 8000").fetchone()[0] == 0


def test_transactions():
    with connect() as c, connect(autocommit=True) as other:
        other.execute("create table block (a int primary key)")
        c.execute("insert into block values (1)")
        assert c.info.transaction_status == TransactionStatus.INTRANS
        assert other.execute("select count(*) from block").fetchone()[0] == 0
        c.commit()
        assert c.info.transaction_status == TransactionStatus.IDLE
        assert other.execute("select count(*) from block").fetchone()[0] == 1
        refused(errors.UniqueViolation, lambda: c.execute("insert into block values (1)"))
        assert c.info.transaction_status == TransactionStatus.INERROR
        raised = refused(errors.InFailedSqlTransaction, lambda: c.execute("select 1"))
        assert raised.sqlstate == "25P02"
        c.rollback()
        # Nested blocks are savepoints.
        with c.transaction():
            c.execute("insert into block values (2)")
            def inner():
                with c.transaction():
                    c.execute("insert into block values (3)")
                    c.execute("insert into block values (2)")
            refused(errors.UniqueViolation, inner)
            c.execute("insert into block values (4)")
        assert [row[0] for row in c.execute("select a from block order by a")] == [1, 2, 4]
        c.rollback()
        c.read_only = True
        assert refused(errors.ReadOnlySqlTransaction, lambda: c.execute("insert into block values (9)"))
        c.rollback()
        c.read_only = None
        c.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert c.execute("show transaction_isolation").fetchone()[0] == "repeatable read"
        before = c.execute("select count(*) from block").fetchone()[0]
        other.execute("insert into block values (5)")
        assert c.execute("select count(*) from block").fetchone()[0] == before
        c.execute("update block set a = 50 where a = 5")
        c.rollback()


def test_server_side_cursors_read_in_pieces():
    with connect() as c:
        with c.cursor("named") as cursor:
            cursor.itersize = 100
            cursor.execute("select x, 'v' || x from generate_series(1, %s) x", (1050,))
            assert cursor.description[1].name == "?column?"
            assert cursor.fetchone() == (1, "v1")
            assert [row[0] for row in cursor.fetchmany(3)] == [2, 3, 4]
            assert sum(1 for _ in cursor) == 1046
        with c.cursor("scrolls", scrollable=True) as cursor:
            cursor.execute("select x from generate_series(1, 10) x")
            cursor.scroll(4)
            assert cursor.fetchone() == (5,)
            cursor.scroll(0, mode="absolute")
            assert cursor.fetchone() == (1,)
        with c.cursor("held", withhold=True) as cursor:
            cursor.execute("select x from generate_series(1, 10) x")
            c.commit()
            assert len(cursor.fetchall()) == 10
        with c.cursor("in_binary", binary=True) as cursor:
            cursor.execute("select 1::int8, 'x'::text, '1.5'::numeric")
            assert cursor.fetchall() == [(1, "x", Decimal("1.5"))]
    with connect() as c, c.cursor() as cursor:
        # Row by row, with no cursor on the server.
        assert sum(row[0] for row in cursor.stream("select x from generate_series(1, 3000) x")) == 4501500


def test_cancel_and_timeouts():
    with connect(autocommit=True) as c:
        for cancel in (c.cancel_safe, c.cancel):
            done = threading.Event()
            def until_hit():
                # A request that comes before the statement runs hits nothing.
                while not done.is_set():
                    cancel()
                    time.sleep(0.01)
            canceller = threading.Thread(target=until_hit)
            canceller.start()
            try:
                raised = refused(errors.QueryCanceled, lambda: c.execute(ENDLESS))
            finally:
                done.set()
                canceller.join()
            assert raised.sqlstate == "57014" and "user request" in str(raised), raised
        c.execute("set statement_timeout = '50ms'")
        raised = refused(errors.QueryCanceled, lambda: c.execute(ENDLESS))
        assert "statement timeout" in str(raised), raised
        c.execute("reset statement_timeout")
        assert c.execute("select 1").fetchone() == (1,)
    with connect(options="-c statement_timeout=50ms") as c:
        refused(errors.QueryCanceled, lambda: c.execute(ENDLESS))


def test_copy():
    with connect() as c:
        c.execute("create table copied (a int primary key, b text, c numeric(10,2), d timestamptz, e text[])")
        at = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
        rows = [(a, None if a % 3 == 0 else f"b\t{a}\n\\", Decimal(a) / 100, at, ["x", None, "y z"]) for a in range(3000)]
        with c.cursor() as cursor:
            with cursor.copy("copy copied (a, b, c, d, e) from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
            assert cursor.rowcount == 3000
            c.commit()
            with cursor.copy("copy (select * from copied order by a) to stdout") as copy:
                copy.set_types(["int4", "text", "numeric", "timestamptz", "text[]"])
                assert list(copy.rows()) == rows
            with cursor.copy("copy (select a, b from copied where a < 2 order by a) to stdout (format csv, header)") as copy:
                assert b"".join(bytes(piece) for piece in copy) == b'a,b\n0,\n1,"b\t1\n\\"\n'
            # A program that fails while it copies keeps nothing.
            def gives_up():
                with cursor.copy("copy copied (a) from stdin") as copy:
                    copy.write_row((90001,))
                    raise KeyError("mine")
            refused(KeyError, gives_up)
            c.rollback()
            def wrong():
                with cursor.copy("copy copied (a) from stdin") as copy:
                    copy.write("90002\nnonsense\n")
            raised = refused(errors.InvalidTextRepresentation, wrong)
            assert raised.diag.context == 'COPY copied, line 2, column a: "nonsense"', raised.diag.context
            c.rollback()
            assert cursor.execute("select count(*) from copied").fetchone()[0] == 3000
            # Parameters in the query of a COPY TO are not the protocol's; psycopg puts them in itself.
            with cursor.copy(sql.SQL("copy (select a from copied where a < {} order by a) to stdout").format(3)) as copy:
                assert [row for row in copy.rows()] == [("0",), ("1",), ("2",)]


def test_errors_say_where_and_what():
    with connect(autocommit=True) as c:
        raised = refused(errors.UndefinedColumn, lambda: c.execute("select 1,\n  no_such"))
        assert (raised.diag.sqlstate, raised.diag.severity, raised.diag.statement_position) == ("42703", "ERROR", "13")
        assert raised.diag.message_primary == 'column "no_such" does not exist'
        raised = refused(errors.SyntaxError, lambda: c.execute("selec %s", (1,)))
        assert raised.diag.statement_position == "1"
        raised = refused(errors.UndefinedTable, lambda: c.execute("select * from nowhere where a = %s", ("x",)))
        assert raised.diag.statement_position == "15"
        raised = refused(errors.DivisionByZero, lambda: c.execute("select 1 / %s", (0,)))
        assert raised.sqlstate == "22012"
        raised = refused(errors.NumericValueOutOfRange, lambda: c.execute("select %s::int4 + 1", (2**31 - 1,)))
        assert raised.sqlstate == "22003"
        raised = refused(errors.InvalidTextRepresentation, lambda: c.execute("select %s::int4", ("12a",)))
        assert raised.diag.message_primary == 'invalid input syntax for type integer: "12a"'
        c.execute("create table fields (a int primary key, b int not null)")
        raised = refused(errors.NotNullViolation, lambda: c.execute("insert into fields values (1, null)"))
        assert raised.diag.column_name == "b" and raised.diag.table_name == "fields", raised.diag.column_name
        assert raised.diag.schema_name == "public"
        c.execute("insert into fields values (1, 1)")
        raised = refused(errors.UniqueViolation, lambda: c.execute("insert into fields values (1, 1)"))
        assert raised.diag.message_detail == "Key (a)=(1) already exists.", raised.diag.message_detail
        assert raised.diag.constraint_name == "fields_pkey" and raised.diag.table_name == "fields"
        refused(psycopg.DataError, lambda: c.execute("select %s", ("a\x00b",)))


def test_notices():
    with connect(autocommit=True) as c:
        heard = []
        c.add_notice_handler(lambda notice: heard.append((notice.severity, notice.sqlstate, notice.message_primary)))
        c.execute("drop table if exists was_never_there")
        c.execute("create table noticed (a int)")
        c.execute("create table if not exists noticed (a int)")
        c.execute("commit")
        assert heard == [
            ("NOTICE", "00000", 'table "was_never_there" does not exist, skipping'),
            ("NOTICE", "42P07", 'relation "noticed" already exists, skipping'),
            ("WARNING", "25P01", "there is no transaction in progress"),
        ], heard


def test_descriptions():
    with connect(autocommit=True) as c:
        c.execute("create table described (a int, b varchar(20), c numeric(10,2), d char(5), e timestamptz)")
        cursor = c.execute("select a, b, c, d, e, a + 1 as f from described")
        got = [(d.name, d.type_code, d.display_size, d.internal_size, d.precision, d.scale) for d in cursor.description]
        assert got == [
            ("a", 23, None, 4, None, None),
            ("b", 1043, 20, None, None, None),
            ("c", 1700, None, None, 10, 2),
            ("d", 1042, 5, None, None, None),
            ("e", 1184, None, 8, None, None),
            ("f", 23, None, 4, None, None),
        ], got
        result = cursor.pgresult
        table = c.execute("select 'described'::regclass::oid").fetchone()[0]
        assert [result.ftable(at) for at in range(6)] == [table] * 5 + [0]
        assert [result.ftablecol(at) for at in range(6)] == [1, 2, 3, 4, 5, 0]
        assert cursor.statusmessage == "SELECT 0"


def test_rows_as_a_program_wants_them():
    with connect(autocommit=True) as c:
        assert c.cursor(row_factory=dict_row).execute("select 1 as a, 'x' as b").fetchall() == [{"a": 1, "b": "x"}]
        assert c.cursor(row_factory=namedtuple_row).execute("select 1 as a").fetchone().a == 1
        cursor = c.execute("select 1; select 2")
        assert cursor.fetchone() == (1,) and cursor.nextset() and cursor.fetchone() == (2,)


def test_client_side_cursors():
    with connect(autocommit=True, cursor_factory=psycopg.ClientCursor) as c:
        at = datetime(2024, 1, 1, tzinfo=timezone.utc)
        row = (1, "it's \\", Decimal("1.5"), at, b"\x00\xff", [1, None], timedelta(days=1), uuid.UUID(int=5), None)
        statement = "select %s, %s, %s, %s, %s, %s, %s, %s, %s"
        assert c.execute(statement, row).fetchone() == row


def test_time_zones():
    with connect(autocommit=True) as c:
        c.execute("set timezone = 'Europe/Berlin'")
        assert c.info.parameter_status("TimeZone") == "Europe/Berlin"
        at = c.execute("select '2024-07-01 12:00+00'::timestamptz").fetchone()[0]
        assert at.utcoffset() == timedelta(hours=2) and at.hour == 14, at
        assert c.execute("select %s = '2024-07-01 14:00'::timestamptz", (at,)).fetchone()[0] is True


def test_views_follow_at_once():
    with connect() as c:
        c.execute("create table sales (id int primary key, shop text, amount numeric(10,2))")
        c.execute("create materialized view by_shop as select shop, count(*) n, sum(amount) total from sales group by shop")
        c.commit()
        with c.cursor() as cursor:
            cursor.executemany("insert into sales values (%s, %s, %s)", [(a, f"s{a % 2}", a) for a in range(10)])
        c.commit()
        read = "select shop, n, total from by_shop order by shop"
        assert c.execute(read).fetchall() == [("s0", 5, Decimal("20.00")), ("s1", 5, Decimal("25.00"))]
        c.commit()
        c.execute("delete from sales where shop = %s", ("s1",))
        c.commit()
        assert c.execute(read).fetchall() == [("s0", 5, Decimal("20.00"))]


def main():
    failed = 0
    tests = [(name, function) for name, function in globals().items() if name.startswith("test_")]
    for name, function in tests:
        if len(sys.argv) > 2 and sys.argv[2] not in name:
            continue
        try:
            function()
        except Exception:
            failed += 1
            print(f"--- {name}\n{traceback.format_exc()}")
    print(f"{len(tests)} tests, {failed} failed, psycopg {psycopg.__version__}")
    sys.exit(1 if failed else 0)


main()
