//! Nexmark's queries in our SQL, over the views `person`, `auction` and `bid` on one stream of all three kinds.
//!
//! Left out: q6 (an average over the last ten rows, ROWS 10 PRECEDING), q11 (session windows) and q12 (windows by processing time),
//! which views can't keep yet; q10 (writing to files) is a projection here, q13's side input is a view.

pub const VIEWS: &[&str] = &[
    "CREATE VIEW person AS SELECT (person).id, (person).name, (person).email_address, (person).credit_card, \
     (person).city, (person).state, (person).date_time, (person).extra FROM events WHERE event_type = 0",
    "CREATE VIEW auction AS SELECT (auction).id, (auction).item_name, (auction).description, (auction).initial_bid, \
     (auction).reserve, (auction).date_time, (auction).expires, (auction).seller, (auction).category, (auction).extra \
     FROM events WHERE event_type = 1",
    "CREATE VIEW bid AS SELECT (bid).auction, (bid).bidder, (bid).price, (bid).channel, (bid).url, (bid).date_time, \
     (bid).extra FROM events WHERE event_type = 2",
];

/// The columns of the stream, as CREATE STREAM has them.
pub const COLUMNS: &str = "event_type bigint, \
    person STRUCT<id bigint, name text, email_address text, credit_card text, city text, state text, \
        date_time timestamp, extra text>, \
    auction STRUCT<id bigint, item_name text, description text, initial_bid bigint, reserve bigint, \
        date_time timestamp, expires timestamp, seller bigint, category bigint, extra text>, \
    bid STRUCT<auction bigint, bidder bigint, price bigint, channel text, url text, date_time timestamp, extra text>";

/// Name and text.
pub const QUERIES: &[(&str, &str)] = &[
    ("q0", "SELECT auction, bidder, price, date_time, extra FROM bid"),
    ("q1", "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid"),
    ("q2", "SELECT auction, price FROM bid WHERE mod(auction, 123) = 0"),
    (
        "q3",
        "SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id \
         WHERE a.category = 10 AND (p.state = 'or' OR p.state = 'id' OR p.state = 'ca' \
            OR p.state = 'OR' OR p.state = 'ID' OR p.state = 'CA')",
    ),
    (
        "q4",
        "SELECT q.category, avg(q.final) AS final FROM (SELECT max(b.price) AS final, a.category \
         FROM auction a JOIN bid b ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires \
         GROUP BY a.id, a.category) q GROUP BY q.category",
    ),
    (
        "q5",
        "WITH counts AS (SELECT auction, count(*) AS num, window_start, window_end \
            FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds') \
            GROUP BY auction, window_start, window_end) \
         SELECT c.auction, c.num, c.window_start FROM counts c \
         JOIN (SELECT max(num) AS most, window_start, window_end FROM counts GROUP BY window_start, window_end) m \
         ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.num = m.most",
    ),
    (
        "q7",
        "SELECT b.auction, b.price, b.bidder, b.date_time, b.extra FROM bid b \
         JOIN (SELECT max(price) AS price, window_end FROM TUMBLE(bid, date_time, INTERVAL '10 seconds') \
            GROUP BY window_start, window_end) m ON b.price = m.price \
         WHERE b.date_time BETWEEN m.window_end - INTERVAL '10 seconds' AND m.window_end",
    ),
    (
        "q8",
        "SELECT p.id, p.name, p.window_start FROM (SELECT id, name, window_start, window_end \
            FROM TUMBLE(person, date_time, INTERVAL '10 seconds') GROUP BY id, name, window_start, window_end) p \
         JOIN (SELECT seller, window_start, window_end FROM TUMBLE(auction, date_time, INTERVAL '10 seconds') \
            GROUP BY seller, window_start, window_end) a \
         ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end",
    ),
    (
        "q9",
        "SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra, \
            auction, bidder, price, bid_time, bid_extra FROM (SELECT a.*, b.auction, b.bidder, b.price, \
                b.date_time AS bid_time, b.extra AS bid_extra, \
                row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS place \
            FROM auction a JOIN bid b ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.expires) w \
         WHERE place <= 1",
    ),
    (
        "q10",
        "SELECT auction, bidder, price, date_time, extra, to_char(date_time, 'YYYY-MM-DD') AS day, \
            to_char(date_time, 'HH24:MI') AS minute FROM bid",
    ),
    (
        "q13",
        "SELECT b.auction, b.bidder, b.price, b.date_time, s.value FROM bid b \
         JOIN side_input s ON mod(b.auction, 10000) = s.key",
    ),
    (
        "q14",
        "SELECT auction, bidder, 0.908 * price AS price, \
            CASE WHEN extract(hour FROM date_time) >= 8 AND extract(hour FROM date_time) <= 18 THEN 'dayTime' \
                WHEN extract(hour FROM date_time) <= 6 OR extract(hour FROM date_time) >= 20 THEN 'nightTime' \
                ELSE 'otherTime' END AS bid_time_type, \
            date_time, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts \
         FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000",
    ),
    (
        "q15",
        "SELECT date_trunc('day', date_time) AS day, count(*) AS total_bids, \
            count(*) FILTER (WHERE price < 10000) AS rank1_bids, \
            count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, \
            count(*) FILTER (WHERE price >= 1000000) AS rank3_bids, \
            count(DISTINCT bidder) AS total_bidders, \
            count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders, \
            count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders, \
            count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders, \
            count(DISTINCT auction) AS total_auctions, \
            count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions, \
            count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions, \
            count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions \
         FROM bid GROUP BY date_trunc('day', date_time)",
    ),
    (
        "q16",
        "SELECT channel, date_trunc('day', date_time) AS day, max(date_trunc('minute', date_time)) AS minute, \
            count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1_bids, \
            count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, \
            count(*) FILTER (WHERE price >= 1000000) AS rank3_bids, \
            count(DISTINCT bidder) AS total_bidders, \
            count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders, \
            count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders, \
            count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders, \
            count(DISTINCT auction) AS total_auctions, \
            count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions, \
            count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions, \
            count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions \
         FROM bid GROUP BY channel, date_trunc('day', date_time)",
    ),
    (
        "q17",
        "SELECT auction, date_trunc('day', date_time) AS day, count(*) AS total_bids, \
            count(*) FILTER (WHERE price < 10000) AS rank1_bids, \
            count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, \
            count(*) FILTER (WHERE price >= 1000000) AS rank3_bids, \
            min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price \
         FROM bid GROUP BY auction, date_trunc('day', date_time)",
    ),
    (
        "q18",
        "SELECT auction, bidder, price, channel, url, date_time, extra FROM (SELECT *, \
            row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC) AS place FROM bid) r \
         WHERE place <= 1",
    ),
    (
        "q19",
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bid) r \
         WHERE place <= 10",
    ),
    (
        "q20",
        "SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time, b.extra, a.item_name, a.description, \
            a.initial_bid, a.reserve, a.date_time AS auction_time, a.expires, a.seller, a.category, \
            a.extra AS auction_extra FROM bid b JOIN auction a ON b.auction = a.id WHERE a.category = 10",
    ),
    (
        "q21",
        "SELECT auction, bidder, price, channel, CASE WHEN lower(channel) = 'apple' THEN '0' \
            WHEN lower(channel) = 'google' THEN '1' WHEN lower(channel) = 'facebook' THEN '2' \
            WHEN lower(channel) = 'baidu' THEN '3' ELSE substring(url from '(?:&|^)channel_id=([^&]*)') END AS channel_id \
         FROM bid WHERE substring(url from '(?:&|^)channel_id=([^&]*)') IS NOT NULL \
            OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')",
    ),
    (
        "q22",
        "SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, \
            split_part(url, '/', 6) AS dir3 FROM bid",
    ),
];
