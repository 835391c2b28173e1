// What Java programs do with pgjdbc, against the server at the port given: each method whose name starts with "test" is one.
//
// All of them run; a failure prints its trace and the exit status is 1. Each has tables of its own. Run from its source:
//   java -cp postgresql.jar PgjdbcTest.java PORT [PART_OF_A_NAME]

import java.io.StringReader;
import java.io.StringWriter;
import java.lang.reflect.Method;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public class PgjdbcTest {
    static String port;

    static final String ENDLESS =
        "select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 10) c";

    static Connection connect(String... options) throws SQLException {
        return DriverManager.getConnection(
            "jdbc:postgresql://127.0.0.1:" + port + "/postgres?user=postgres&password=x&" + String.join("&", options));
    }

    static void equal(Object got, Object expected, String what) {
        if (!Objects.deepEquals(got, expected)) {
            throw new AssertionError(what + ": " + shown(got) + " is not " + shown(expected));
        }
    }

    static String shown(Object value) {
        return value instanceof Object[] ? Arrays.deepToString((Object[]) value)
            : value instanceof byte[] ? Arrays.toString((byte[]) value) : String.valueOf(value);
    }

    interface Action {
        void run() throws SQLException;
    }

    /** The error that the action must raise, with its SQLSTATE. */
    static SQLException refused(String state, Action action) {
        try {
            action.run();
        } catch (SQLException error) {
            equal(error.getSQLState(), state, error.getMessage());
            return error;
        }
        throw new AssertionError("nothing was raised instead of " + state);
    }

    static void run(Connection c, String... statements) throws SQLException {
        try (Statement s = c.createStatement()) {
            for (String statement : statements) {
                s.execute(statement);
            }
        }
    }

    /** All rows of a result, as lines of columns separated by "|". */
    static List<String> lines(ResultSet rows) throws SQLException {
        List<String> lines = new ArrayList<>();
        while (rows.next()) {
            List<String> values = new ArrayList<>();
            for (int at = 1; at <= rows.getMetaData().getColumnCount(); at++) {
                values.add(rows.getString(at));
            }
            lines.add(String.join("|", values.stream().map(String::valueOf).toList()));
        }
        return lines;
    }

    static List<String> query(Connection c, String statement) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet rows = s.executeQuery(statement)) {
            return lines(rows);
        }
    }

    static PGobject object(String type, String value) throws SQLException {
        PGobject object = new PGobject();
        object.setType(type);
        object.setValue(value);
        return object;
    }

    // --- values ------------------------------------------------------------------------------------------------

    static void values(Connection c, String table) throws SQLException {
        run(c, "create table " + table + " (id int primary key, b boolean, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8,"
            + " n numeric(20,4), m numeric, t text, v varchar(30), ch char(4), y bytea, d date, tm time, ts timestamp,"
            + " tz timestamptz, iv interval, u uuid, j jsonb, ai int4[], at text[], an numeric(8,2)[])");
        byte[] bytes = {0, 1, -1, -128, '\\', '\''};
        UUID uuid = UUID.fromString("123e4567-e89b-12d3-a456-426614174000");
        OffsetDateTime moment = OffsetDateTime.of(2024, 3, 31, 1, 30, 0, 123456000, ZoneOffset.UTC);
        LocalDateTime local = LocalDateTime.of(2024, 3, 31, 2, 30, 0, 500000000);
        String insert = "insert into " + table + " values (" + "?, ".repeat(22) + "?)";
        try (PreparedStatement s = c.prepareStatement(insert)) {
            // Past prepareThreshold, so that the later rows go through a named statement with binary parameters.
            for (int id = 1; id <= 12; id++) {
                s.setInt(1, id);
                s.setBoolean(2, id % 2 == 0);
                s.setShort(3, Short.MIN_VALUE);
                s.setInt(4, Integer.MAX_VALUE);
                s.setLong(5, Long.MIN_VALUE);
                s.setFloat(6, 0.25f);
                s.setDouble(7, 1e-300);
                s.setBigDecimal(8, new BigDecimal("1234567890.1234"));
                s.setBigDecimal(9, new BigDecimal("-0.000001"));
                s.setString(10, "äöü € 'x' \\ \n " + id);
                s.setString(11, "varchar");
                s.setString(12, "ab");
                s.setBytes(13, bytes);
                s.setObject(14, LocalDate.of(2024, 2, 29));
                s.setObject(15, LocalTime.of(23, 59, 59));
                s.setObject(16, local);
                s.setObject(17, moment);
                s.setObject(18, new PGInterval(1, 2, 3, 4, 5, 6.5));
                s.setObject(19, uuid);
                s.setObject(20, object("jsonb", "{\"a\": [1, null]}"));
                s.setArray(21, c.createArrayOf("int4", new Integer[] {1, null, 3}));
                s.setArray(22, c.createArrayOf("text", new String[] {"a,b", "\"q\"", null, "", "NULL"}));
                s.setArray(23, c.createArrayOf("numeric", new BigDecimal[] {new BigDecimal("1.50"), null}));
                equal(s.executeUpdate(), 1, "rows inserted");
            }
            // And a row of NULLs, each of its column's type.
            int[] types = {Types.BOOLEAN, Types.SMALLINT, Types.INTEGER, Types.BIGINT, Types.REAL, Types.DOUBLE, Types.NUMERIC,
                Types.NUMERIC, Types.VARCHAR, Types.VARCHAR, Types.CHAR, Types.BINARY, Types.DATE, Types.TIME, Types.TIMESTAMP,
                Types.TIMESTAMP_WITH_TIMEZONE, Types.OTHER, Types.OTHER, Types.OTHER, Types.ARRAY, Types.ARRAY, Types.ARRAY};
            s.setInt(1, 13);
            for (int at = 0; at < types.length; at++) {
                s.setNull(at + 2, types[at]);
            }
            equal(s.executeUpdate(), 1, "rows of NULLs inserted");
        }
        try (PreparedStatement s = c.prepareStatement("select * from " + table + " where id = ?")) {
            for (int round = 1; round <= 12; round++) {
                s.setInt(1, round);
                try (ResultSet r = s.executeQuery()) {
                    if (!r.next()) {
                        throw new AssertionError("row " + round + " is missing");
                    }
                    String at = "round " + round;
                    equal(r.getBoolean("b"), round % 2 == 0, at);
                    equal(r.getShort("i2"), Short.MIN_VALUE, at);
                    equal(r.getInt("i4"), Integer.MAX_VALUE, at);
                    equal(r.getLong("i8"), Long.MIN_VALUE, at);
                    equal(r.getFloat("f4"), 0.25f, at);
                    equal(r.getDouble("f8"), 1e-300, at);
                    equal(r.getBigDecimal("n"), new BigDecimal("1234567890.1234"), at);
                    equal(r.getBigDecimal("m").compareTo(new BigDecimal("-0.000001")), 0, at);
                    equal(r.getString("t"), "äöü € 'x' \\ \n " + round, at);
                    equal(r.getString("v"), "varchar", at);
                    equal(r.getString("ch"), "ab  ", at);
                    equal(r.getBytes("y"), bytes, at);
                    equal(r.getDate("d"), Date.valueOf("2024-02-29"), at);
                    equal(r.getObject("d", LocalDate.class), LocalDate.of(2024, 2, 29), at);
                    equal(r.getObject("tm", LocalTime.class), LocalTime.of(23, 59, 59), at);
                    equal(r.getObject("ts", LocalDateTime.class), local, at);
                    equal(r.getObject("tz", OffsetDateTime.class).toInstant(), moment.toInstant(), at);
                    equal(r.getTimestamp("tz").toInstant(), moment.toInstant(), at);
                    equal(r.getObject("iv"), new PGInterval(1, 2, 3, 4, 5, 6.5), at);
                    equal(r.getObject("u"), uuid, at);
                    equal(((PGobject) r.getObject("j")).getValue(), "{\"a\": [1, null]}", at);
                    equal(r.getArray("ai").getArray(), new Integer[] {1, null, 3}, at);
                    equal(r.getArray("at").getArray(), new String[] {"a,b", "\"q\"", null, "", "NULL"}, at);
                    equal(r.getArray("an").getArray(), new BigDecimal[] {new BigDecimal("1.50"), null}, at);
                }
            }
            s.setInt(1, 13);
            try (ResultSet r = s.executeQuery()) {
                r.next();
                for (int at = 2; at <= 23; at++) {
                    equal(r.getObject(at), null, "column " + at);
                }
            }
            equal(((PGStatement) s).isUseServerPrepare(), table.equals("in_text") ? false : true, "prepared on the server");
        }
    }

    static void testValuesThroughNamedStatementsAndBinary() throws SQLException {
        try (Connection c = connect()) {
            values(c, "past_threshold");
        }
        try (Connection c = connect("prepareThreshold=1", "binaryTransfer=true")) {
            values(c, "prepared_at_once");
        }
        try (Connection c = connect("prepareThreshold=-1")) {
            values(c, "binary_from_the_first");
        }
    }

    static void testValuesInTextAndSimpleProtocol() throws SQLException {
        try (Connection c = connect("prepareThreshold=0", "binaryTransfer=false")) {
            values(c, "in_text");
        }
        try (Connection c = connect("preferQueryMode=extendedCacheEverything")) {
            run(c, "create table cached (a int)");
            for (int round = 0; round < 8; round++) {
                run(c, "insert into cached values (1)");
            }
            equal(query(c, "select count(*) from cached"), List.of("8"), "rows");
        }
        try (Connection c = connect("preferQueryMode=simple")) {
            run(c, "create table simple (a int, b text)");
            try (PreparedStatement s = c.prepareStatement("insert into simple values (?, ?)")) {
                s.setInt(1, -1);
                s.setString(2, "it's");
                s.executeUpdate();
            }
            equal(query(c, "select * from simple"), List.of("-1|it's"), "rows");
        }
    }

    static void testExtremes() throws SQLException {
        try (Connection c = connect("prepareThreshold=1")) {
            run(c, "create table extremes (f8 float8, d date, ts timestamp, tz timestamptz, n numeric)");
            try (PreparedStatement s = c.prepareStatement("insert into extremes values (?, ?, ?, ?, ?)")) {
                for (double value : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, -0.0}) {
                    s.setDouble(1, value);
                    s.setObject(2, LocalDate.of(1, 1, 1));
                    s.setObject(3, LocalDateTime.of(1582, 10, 15, 0, 0));
                    s.setObject(4, OffsetDateTime.of(9999, 12, 31, 23, 59, 59, 0, ZoneOffset.UTC));
                    s.setBigDecimal(5, new BigDecimal("99999999999999999999.99999999"));
                    s.executeUpdate();
                }
            }
            try (PreparedStatement s = c.prepareStatement("select * from extremes order by f8")) {
                for (int round = 0; round < 3; round++) {
                    try (ResultSet r = s.executeQuery()) {
                        double[] expected = {Double.NEGATIVE_INFINITY, -0.0, Double.POSITIVE_INFINITY, Double.NaN};
                        for (double value : expected) {
                            r.next();
                            equal(r.getDouble(1), value, "float8");
                            equal(r.getObject(2, LocalDate.class), LocalDate.of(1, 1, 1), "date");
                            equal(r.getObject(3, LocalDateTime.class), LocalDateTime.of(1582, 10, 15, 0, 0), "timestamp");
                            equal(r.getObject(4, OffsetDateTime.class),
                                OffsetDateTime.of(9999, 12, 31, 23, 59, 59, 0, ZoneOffset.UTC), "timestamptz");
                            equal(r.getBigDecimal(5), new BigDecimal("99999999999999999999.99999999"), "numeric");
                        }
                    }
                }
            }
        }
    }

    // --- batches -----------------------------------------------------------------------------------------------

    static void testBatches() throws SQLException {
        for (String rewrite : List.of("false", "true")) {
            try (Connection c = connect("reWriteBatchedInserts=" + rewrite)) {
                String table = "batch_" + rewrite;
                run(c, "create table " + table + " (a int primary key, b text, c numeric(10,2))");
                c.setAutoCommit(false);
                try (PreparedStatement s = c.prepareStatement("insert into " + table + " (a, b, c) values (?, ?, ?)")) {
                    for (int a = 0; a < 1000; a++) {
                        s.setInt(1, a);
                        s.setString(2, a % 7 == 0 ? null : "row " + a);
                        s.setBigDecimal(3, BigDecimal.valueOf(a, 2));
                        s.addBatch();
                    }
                    int[] counts = s.executeBatch();
                    equal(counts.length, 1000, "counts");
                    for (int count : counts) {
                        if (count != 1 && count != Statement.SUCCESS_NO_INFO) {
                            throw new AssertionError("a count of " + count);
                        }
                    }
                    c.commit();
                    equal(query(c, "select count(*), count(b), sum(c) from " + table), List.of("1000|857|4995.00"), "sums");
                    // One bad row: the exception says so, and nothing of the batch stays.
                    for (int a : new int[] {2000, 5, 2001}) {
                        s.setInt(1, a);
                        s.setString(2, "x");
                        s.setBigDecimal(3, BigDecimal.ONE);
                        s.addBatch();
                    }
                    SQLException error = refused("23505", s::executeBatch);
                    equal(error instanceof BatchUpdateException, true, "its class");
                    c.rollback();
                    equal(query(c, "select count(*) from " + table), List.of("1000"), "rows");
                    c.commit();
                }
                c.setAutoCommit(true);
                try (Statement s = c.createStatement()) {
                    s.addBatch("insert into " + table + " values (5000, 'x', 1)");
                    s.addBatch("update " + table + " set b = 'y' where a < 10");
                    s.addBatch("delete from " + table + " where a >= 5000");
                    equal(s.executeBatch(), new int[] {1, 10, 1}, "counts of a mixed batch");
                }
            }
        }
    }

    static void testGeneratedKeysAndReturning() throws SQLException {
        try (Connection c = connect()) {
            run(c, "create table keys (id int primary key, b text default 'none')");
            try (PreparedStatement s =
                c.prepareStatement("insert into keys (id) values (?)", Statement.RETURN_GENERATED_KEYS)) {
                s.setInt(1, 7);
                equal(s.executeUpdate(), 1, "rows");
                equal(lines(s.getGeneratedKeys()), List.of("7|none"), "generated keys");
            }
            try (PreparedStatement s = c.prepareStatement("insert into keys (id) values (?)", new String[] {"b", "id"})) {
                for (int id = 10; id < 13; id++) {
                    s.setInt(1, id);
                    s.addBatch();
                }
                s.executeBatch();
                equal(lines(s.getGeneratedKeys()), List.of("none|10", "none|11", "none|12"), "generated keys of a batch");
            }
            equal(query(c, "update keys set b = 'x' where id > 10 returning id, b").stream().sorted().toList(), List.of("11|x", "12|x"),
                "returning");
        }
    }

    // --- transactions ------------------------------------------------------------------------------------------

    static void testTransactions() throws SQLException {
        try (Connection c = connect(); Connection other = connect()) {
            run(c, "create table block (a int primary key)");
            c.setAutoCommit(false);
            run(c, "insert into block values (1)");
            equal(query(other, "select count(*) from block"), List.of("0"), "before COMMIT");
            c.commit();
            equal(query(other, "select count(*) from block"), List.of("1"), "after COMMIT");
            run(c, "insert into block values (2)");
            refused("23505", () -> run(c, "insert into block values (1)"));
            refused("25P02", () -> query(c, "select 1"));
            c.rollback();
            equal(query(c, "select a from block"), List.of("1"), "after ROLLBACK");
            Savepoint savepoint = c.setSavepoint("here");
            run(c, "insert into block values (3)");
            refused("22012", () -> query(c, "select 1/0"));
            c.rollback(savepoint);
            run(c, "insert into block values (4)");
            c.releaseSavepoint(c.setSavepoint());
            c.commit();
            equal(query(c, "select a from block order by a"), List.of("1", "4"), "after a savepoint");
            c.rollback();
            c.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            equal(c.getTransactionIsolation(), Connection.TRANSACTION_REPEATABLE_READ, "isolation");
            c.setReadOnly(true);
            refused("25006", () -> run(c, "insert into block values (5)"));
            c.rollback();
            c.setReadOnly(false);
            c.setAutoCommit(true);
        }
    }

    static void testAutosave() throws SQLException {
        try (Connection c = connect("autosave=always")) {
            run(c, "create table saved (a int primary key)");
            c.setAutoCommit(false);
            run(c, "insert into saved values (1)");
            refused("23505", () -> run(c, "insert into saved values (1)"));
            run(c, "insert into saved values (2)");
            c.commit();
            equal(query(c, "select a from saved order by a"), List.of("1", "2"), "rows");
        }
    }

    // --- reading -----------------------------------------------------------------------------------------------

    static void testFetchSize() throws SQLException {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("select x, 'v' || x from generate_series(1, ?) x")) {
                for (int size : new int[] {1, 7, 100, 1000}) {
                    s.setFetchSize(size);
                    s.setInt(1, 1000);
                    try (ResultSet r = s.executeQuery()) {
                        int expected = 0;
                        while (r.next()) {
                            expected++;
                            equal(r.getInt(1), expected, "row of fetch size " + size);
                            equal(r.getString(2), "v" + expected, "row of fetch size " + size);
                        }
                        equal(expected, 1000, "rows");
                    }
                }
                // Left half read; another statement runs meanwhile.
                s.setFetchSize(10);
                ResultSet half = s.executeQuery();
                half.next();
                equal(query(c, "select 1"), List.of("1"), "in between");
                for (int row = 2; row <= 50; row++) {
                    half.next();
                    equal(half.getInt(1), row, "goes on");
                }
                half.close();
            }
            c.commit();
            try (Statement s = c.createStatement()) {
                s.setMaxRows(3);
                equal(lines(s.executeQuery("select x from generate_series(1, 100) x")).size(), 3, "max rows");
            }
            run(c, "declare mine cursor for select x from generate_series(1, 5) x");
            equal(query(c, "fetch 2 from mine"), List.of("1", "2"), "FETCH");
            equal(query(c, "fetch all from mine"), List.of("3", "4", "5"), "FETCH ALL");
            c.rollback();
        }
    }

    static void testScrollableAndUpdatableResults() throws SQLException {
        try (Connection c = connect()) {
            run(c, "create table sheet (id int primary key, word text)", "insert into sheet values (1, 'a'), (2, 'b'), (3, 'c')");
            try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
                ResultSet r = s.executeQuery("select id, word from sheet order by id")) {
                r.last();
                equal(r.getInt(1), 3, "the last row");
                r.absolute(2);
                r.updateString("word", "B");
                r.updateRow();
                r.moveToInsertRow();
                r.updateInt("id", 4);
                r.updateString("word", "d");
                r.insertRow();
                r.absolute(1);
                r.deleteRow();
            }
            equal(query(c, "select id, word from sheet order by id"), List.of("2|B", "3|c", "4|d"), "after updates");
        }
    }

    static void testSeveralResults() throws SQLException {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            equal(s.execute("select 1; create table several (a int); insert into several values (1), (2); select 2"), true, "first");
            equal(lines(s.getResultSet()), List.of("1"), "first");
            equal(s.getMoreResults(), false, "a count");
            equal(s.getUpdateCount(), 0, "CREATE TABLE");
            s.getMoreResults();
            equal(s.getUpdateCount(), 2, "INSERT");
            equal(s.getMoreResults(), true, "rows");
            equal(lines(s.getResultSet()), List.of("2"), "last");
        }
    }

    // --- stopping ----------------------------------------------------------------------------------------------

    static void testCancelAndTimeout() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            String pid = query(c, "select pg_backend_pid()").get(0);
            AtomicBoolean done = new AtomicBoolean();
            Thread canceller = new Thread(() -> {
                String running = "select 1 from pg_stat_activity where state = 'active' and query like 'select count(%' and pid = " + pid;
                try (Connection other = connect()) {
                    while (query(other, running).isEmpty()) {
                        Thread.yield();
                    }
                    s.cancel();
                    // A request that comes between Parse and Execute hits nothing, and cancel() sends only one a statement.
                    while (!done.get()) {
                        Thread.sleep(100);
                        c.unwrap(PGConnection.class).cancelQuery();
                    }
                } catch (SQLException | InterruptedException error) {
                    throw new AssertionError(error);
                }
            });
            canceller.start();
            try {
                refused("57014", () -> s.executeQuery(ENDLESS));
            } finally {
                done.set(true);
                canceller.join();
            }
        }
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            refused("57014", () -> s.executeQuery(ENDLESS));
            equal(query(c, "select 1"), List.of("1"), "afterwards");
            run(c, "set statement_timeout = '50ms'");
            SQLException error = refused("57014", () -> query(c, ENDLESS));
            equal(error.getMessage().contains("statement timeout"), true, error.getMessage());
        }
        try (Connection c = connect("options=-c%20statement_timeout=50")) {
            refused("57014", () -> query(c, ENDLESS));
            equal(c.isValid(30), true, "the connection is valid");
        }
    }

    // --- what is told ------------------------------------------------------------------------------------------

    static void testErrors() throws SQLException {
        try (Connection c = connect()) {
            run(c, "create table checked (a int primary key, b int not null)", "insert into checked values (1, 1)");
            ServerErrorMessage said = server(refused("42703", () -> query(c, "select 1, no_such from checked")));
            equal(said.getPosition(), 11, "position");
            equal(said.getSeverity(), "ERROR", "severity");
            said = server(refused("42601", () -> query(c, "select * form checked")));
            equal(said.getMessage(), "syntax error at or near \"form\"", "message");
            said = server(refused("23505", () -> run(c, "insert into checked values (1, 1)")));
            equal(said.getDetail(), "Key (a)=(1) already exists.", "detail");
            equal(said.getConstraint(), "checked_pkey", "constraint");
            equal(said.getTable(), "checked", "table");
            equal(said.getSchema(), "public", "schema");
            said = server(refused("23502", () -> run(c, "insert into checked values (2, null)")));
            equal(said.getColumn(), "b", "column");
            try (PreparedStatement s = c.prepareStatement("select * from checked where a = ? and nope")) {
                s.setInt(1, 1);
                said = server(refused("42703", s::executeQuery));
                equal(said.getPosition(), 40, "position behind a parameter");
            }
            try (PreparedStatement s = c.prepareStatement("select 10 / ?")) {
                s.setInt(1, 0);
                refused("22012", s::executeQuery);
                s.setInt(1, 5);
                equal(lines(s.executeQuery()), List.of("2"), "the statement goes on");
            }
            refused("42804", () -> run(c, "insert into checked values (2, true)"));
            // A string is a varchar for pgjdbc: it is no number without a cast.
            try (PreparedStatement s = c.prepareStatement("select * from checked where a = ?")) {
                s.setString(1, "1");
                refused("42883", s::executeQuery);
            }
        }
        try (Connection c = connect("stringtype=unspecified");
            PreparedStatement s = c.prepareStatement("select b from checked where a = ?")) {
            s.setString(1, "1");
            equal(lines(s.executeQuery()), List.of("1"), "an unspecified string is what the column is");
        }
    }

    static ServerErrorMessage server(SQLException error) {
        return ((PSQLException) error).getServerErrorMessage();
    }

    static void testWarnings() throws SQLException {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.execute("drop table if exists was_never_there");
            SQLWarning warning = s.getWarnings();
            equal(warning.getMessage(), "table \"was_never_there\" does not exist, skipping", "notice");
            equal(warning.getSQLState(), "00000", "its state");
        }
    }

    static void testSettings() throws SQLException {
        try (Connection c = connect("ApplicationName=orders")) {
            equal(query(c, "show application_name"), List.of("orders"), "application name");
            c.setSchema("public");
            equal(c.getSchema(), "public", "schema");
            equal(c.getCatalog(), "postgres", "catalog");
            c.setClientInfo("ApplicationName", "other");
            equal(query(c, "show application_name"), List.of("other"), "application name");
        }
    }

    // --- COPY --------------------------------------------------------------------------------------------------

    static void testCopy() throws Exception {
        try (Connection c = connect()) {
            run(c, "create table copied (a int primary key, b text)");
            CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder text = new StringBuilder();
            for (int a = 0; a < 5000; a++) {
                text.append(a).append("\tvalue ").append(a).append('\n');
            }
            equal(copy.copyIn("copy copied from stdin", new StringReader(text.toString())), 5000L, "rows in");
            StringWriter out = new StringWriter();
            equal(copy.copyOut("copy (select * from copied order by a) to stdout", out), 5000L, "rows out");
            equal(out.toString(), text.toString(), "what came out");
            refused("22P02", () -> {
                try {
                    copy.copyIn("copy copied from stdin csv", new StringReader("9001,x\nnine,y\n"));
                } catch (java.io.IOException error) {
                    throw new AssertionError(error);
                }
            });
            equal(query(c, "select count(*) from copied"), List.of("5000"), "a failed COPY keeps nothing");
        }
    }

    // --- metadata ----------------------------------------------------------------------------------------------

    static void testMetadataOfTheDatabase() throws SQLException {
        try (Connection c = connect()) {
            run(c, "create schema shop",
                "create table shop.orders (id int8 not null, part int4, customer varchar(40) not null, amount numeric(10,2),"
                    + " at timestamptz default now(), tags text[], primary key (id, part))",
                "create view shop.large as select id, amount from shop.orders where amount > 100",
                "create materialized view shop.totals as select customer, sum(amount) as total from shop.orders group by customer",
                "create index orders_at on shop.orders (at, customer)");
            DatabaseMetaData d = c.getMetaData();
            equal(d.getDatabaseProductName(), "PostgreSQL", "product");
            equal(d.getDatabaseMajorVersion(), 15, "version");
            equal(column(d.getSchemas(), "TABLE_SCHEM").contains("shop"), true, "schemas");
            equal(column(d.getCatalogs(), "TABLE_CAT").contains("postgres"), true, "catalogs");
            equal(rows(d.getTables(null, "shop", "%", null), "TABLE_NAME", "TABLE_TYPE").stream().sorted().toList(),
                List.of("large|VIEW", "orders_at|INDEX", "orders_pkey|INDEX", "orders|TABLE", "totals|MATERIALIZED VIEW"),
                "tables");
            equal(rows(d.getTables(null, "shop", "%", new String[] {"TABLE"}), "TABLE_NAME"), List.of("orders"), "only tables");
            equal(rows(d.getTables("postgres", "sh%", "t_tals", new String[] {"MATERIALIZED VIEW", "VIEW"}), "TABLE_NAME"),
                List.of("totals"), "by pattern");
            equal(rows(d.getColumns(null, "shop", "orders", "%"), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE",
                "DECIMAL_DIGITS", "NULLABLE", "ORDINAL_POSITION", "IS_NULLABLE", "IS_AUTOINCREMENT"),
                List.of("id|-5|int8|19|0|0|1|NO|NO", "part|4|int4|10|0|0|2|NO|NO", "customer|12|varchar|40|0|0|3|NO|NO",
                    "amount|2|numeric|10|2|1|4|YES|NO", "at|93|timestamptz|35|6|1|5|YES|NO",
                    "tags|2003|_text|2147483647|0|1|6|YES|NO"), "columns");
            equal(rows(d.getColumns(null, "shop", "orders", "at"), "COLUMN_DEF"), List.of("now()"), "a default");
            equal(rows(d.getColumns(null, "shop", "totals", "%"), "COLUMN_NAME", "TYPE_NAME"),
                List.of("customer|varchar", "total|numeric"), "columns of a view");
            equal(rows(d.getPrimaryKeys(null, "shop", "orders"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"),
                List.of("id|1|orders_pkey", "part|2|orders_pkey"), "primary key");
            equal(rows(d.getIndexInfo(null, "shop", "orders", false, true), "INDEX_NAME", "NON_UNIQUE", "ORDINAL_POSITION",
                "COLUMN_NAME"),
                List.of("orders_pkey|f|1|id", "orders_pkey|f|2|part", "orders_at|t|1|at", "orders_at|t|2|customer"), "indexes");
            equal(rows(d.getBestRowIdentifier(null, "shop", "orders", DatabaseMetaData.bestRowSession, true), "COLUMN_NAME")
                .stream().sorted().toList(), List.of("id", "part"), "best row identifier");
            equal(rows(d.getImportedKeys(null, "shop", "orders"), "FKTABLE_NAME"), List.of(), "imported keys");
            equal(rows(d.getExportedKeys(null, "shop", "orders"), "FKTABLE_NAME"), List.of(), "exported keys");
            equal(column(d.getTableTypes(), "TABLE_TYPE").contains("MATERIALIZED VIEW"), true, "table types");
            equal(column(d.getTypeInfo(), "TYPE_NAME").containsAll(List.of("int4", "text", "jsonb", "timestamptz")), true, "types");
            d.getFunctions(null, null, "abs").close();
            d.getProcedures(null, null, "abs").close();
            d.getTablePrivileges(null, "shop", "orders").close();
            d.getColumnPrivileges(null, "shop", "orders", "%").close();
            d.getVersionColumns(null, "shop", "orders").close();
            d.getUDTs(null, null, "%", null).close();
            d.getClientInfoProperties().close();
        }
    }

    static void testMetadataOfResults() throws SQLException {
        try (Connection c = connect()) {
            run(c, "create table meta (id int primary key, word varchar(20), amount numeric(10,2))");
            try (PreparedStatement s =
                c.prepareStatement("select id, word as w, amount, amount * 2 as twice from meta where id > ? and word = ?")) {
                ParameterMetaData p = s.getParameterMetaData();
                equal(p.getParameterCount(), 2, "parameters");
                equal(p.getParameterTypeName(1), "int4", "type of $1");
                equal(p.getParameterType(2), Types.VARCHAR, "type of $2");
                ResultSetMetaData m = s.getMetaData();
                equal(m.getColumnCount(), 4, "columns");
                equal(m.getColumnLabel(2), "w", "label");
                equal(m.getColumnTypeName(2), "varchar", "type");
                equal(m.getPrecision(2), 20, "length");
                equal(m.getPrecision(3), 10, "precision");
                equal(m.getScale(3), 2, "scale");
                equal(m.getTableName(1), "meta", "table");
                equal(((org.postgresql.PGResultSetMetaData) m).getBaseColumnName(2), "word", "base column");
                equal(m.getTableName(4), "", "an expression has no table");
                equal(m.isNullable(1), ResultSetMetaData.columnNoNulls, "nullable");
                equal(m.isNullable(2), ResultSetMetaData.columnNullable, "nullable");
            }
        }
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        return rows(rows, name);
    }

    static List<String> rows(ResultSet rows, String... names) throws SQLException {
        List<String> lines = new ArrayList<>();
        while (rows.next()) {
            List<String> values = new ArrayList<>();
            for (String name : names) {
                values.add(String.valueOf(rows.getString(name)));
            }
            lines.add(String.join("|", values));
        }
        rows.close();
        return lines;
    }

    static void testViewsFollowAtOnce() throws SQLException {
        try (Connection c = connect()) {
            run(c, "create table sales (id int primary key, shop text, amount numeric(10,2))",
                "create materialized view by_shop as select shop, count(*) n, sum(amount) total from sales group by shop");
            try (PreparedStatement write = c.prepareStatement("insert into sales values (?, ?, ?)");
                PreparedStatement read = c.prepareStatement("select n, total from by_shop where shop = ?")) {
                for (int id = 1; id <= 20; id++) {
                    write.setInt(1, id);
                    write.setString(2, "s");
                    write.setBigDecimal(3, BigDecimal.valueOf(id));
                    write.executeUpdate();
                    read.setString(1, "s");
                    equal(lines(read.executeQuery()), List.of(id + "|" + (id * (id + 1) / 2) + ".00"), "own writes");
                }
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        port = arguments[0];
        int failed = 0;
        int ran = 0;
        Method[] methods = PgjdbcTest.class.getDeclaredMethods();
        Arrays.sort(methods, Comparator.comparing(Method::getName));
        for (Method method : methods) {
            if (!method.getName().startsWith("test") || arguments.length > 1 && !method.getName().contains(arguments[1])) {
                continue;
            }
            ran++;
            try {
                method.invoke(null);
            } catch (java.lang.reflect.InvocationTargetException error) {
                failed++;
                StringWriter trace = new StringWriter();
                error.getCause().printStackTrace(new java.io.PrintWriter(trace));
                System.out.println("--- " + method.getName() + "\n" + trace);
            }
        }
        System.out.println(ran + " tests, " + failed + " failed, pgjdbc " + org.postgresql.Driver.class.getPackage().getImplementationVersion());
        System.exit(failed > 0 ? 1 : 0);
    }
}
