-- What we want to know, kept right while the flights come in.

-- How late planes leave, by airport and scheduled hour.
CREATE MATERIALIZED VIEW delays_by_airport_and_hour AS
SELECT origin,
       hour,
       count(*)                                  AS flights,
       count(dep_delay)                          AS departed,
       count(*) FILTER (WHERE dep_delay > 60)    AS over_an_hour_late,
       avg(dep_delay)                            AS avg_delay,
       max(dep_delay)                            AS worst_delay
FROM flights
GROUP BY origin, hour;

-- The five airlines whose passengers arrive latest, of those with at least 500 arrivals.
CREATE MATERIALIZED VIEW worst_carriers AS
SELECT a.name, count(*) AS arrivals, avg(f.arr_delay) AS avg_delay
FROM flights f
JOIN airlines a ON a.carrier = f.carrier
WHERE f.arr_delay IS NOT NULL
GROUP BY a.name
HAVING count(*) >= 500
ORDER BY avg_delay DESC
LIMIT 5;

-- Each flight with the weather at its departure; flights of hours without a report stay.
CREATE MATERIALIZED VIEW flights_with_weather AS
SELECT f.time_hour, f.carrier, f.flight, f.origin, f.dest, f.dep_delay,
       w.temp, w.wind_speed, w.precip, w.visib
FROM flights f
LEFT JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour;

-- A view on that view: what weather does to delays.
CREATE MATERIALIZED VIEW delays_by_weather AS
SELECT CASE
           WHEN visib IS NULL    THEN 'unknown'
           WHEN visib < 1        THEN 'fog'
           WHEN precip > 0       THEN 'rain or snow'
           WHEN wind_speed >= 20 THEN 'wind'
           ELSE 'fair'
       END                                    AS sky,
       count(*)                               AS flights,
       count(*) FILTER (WHERE dep_delay > 15) AS late,
       avg(dep_delay)                         AS avg_delay
FROM flights_with_weather
GROUP BY 1;

-- Planes by maker: how many flew, how far.
CREATE MATERIALIZED VIEW manufacturers AS
SELECT p.manufacturer, count(*) AS flights, count(DISTINCT f.tailnum) AS planes, sum(f.distance) AS miles
FROM flights f
JOIN planes p ON p.tailnum = f.tailnum
GROUP BY p.manufacturer;

-- Day by day (UTC): flights planned and flights that never left.
CREATE MATERIALIZED VIEW departures_by_day AS
SELECT window_start AS day, count(*) AS planned, count(*) FILTER (WHERE dep_delay IS NULL) AS cancelled
FROM TUMBLE(flights, time_hour, INTERVAL '1 day')
GROUP BY window_start;
