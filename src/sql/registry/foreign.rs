//! Names of types and functions that other systems have, and what to write here: hints of 42704 and 42883.

const TYPES: &[(&str, &str)] = &[
    ("string", "Write text."),
    ("clob", "Write text."),
    ("tinytext", "Write text."),
    ("mediumtext", "Write text."),
    ("longtext", "Write text."),
    ("nvarchar", "Write text or varchar(n)."),
    ("varchar2", "Write text or varchar(n)."),
    ("nvarchar2", "Write text or varchar(n)."),
    ("datetime", "Write timestamp, or timestamptz for moments."),
    ("datetime2", "Write timestamp, or timestamptz for moments."),
    ("timestamp_ltz", "Write timestamptz."),
    ("timestamp_ntz", "Write timestamp."),
    ("blob", "Write bytea."),
    ("bytes", "Write bytea."),
    ("binary", "Write bytea."),
    ("varbinary", "Write bytea."),
    ("tinyint", "Write smallint."),
    ("int8 unsigned", "Write numeric(20) or bigint."),
    ("bigint unsigned", "Write bigint, or numeric(20) for values above 9223372036854775807."),
    ("uint64", "Write bigint, or numeric(20) for values above 9223372036854775807."),
    ("smallint unsigned", "Write integer."),
    ("int unsigned", "Write bigint."),
    ("integer unsigned", "Write bigint."),
    ("unsigned", "Write bigint."),
    ("uint32", "Write bigint."),
    ("long", "Write bigint."),
    ("int64", "Write bigint."),
    ("int32", "Write integer."),
    ("mediumint", "Write integer."),
    ("int16", "Write smallint."),
    ("float32", "Write real."),
    ("float64", "Write double precision."),
    ("double", "Write double precision."),
    ("number", "Write numeric."),
    ("bignumeric", "Write numeric."),
    ("smallserial", "Write uuid DEFAULT gen_random_uuid(), or let the client number rows."),
    ("serial", "Write uuid DEFAULT gen_random_uuid(), or let the client number rows."),
    ("bigserial", "Write uuid DEFAULT gen_random_uuid(), or let the client number rows."),
    ("map", "Write jsonb."),
    ("variant", "Write jsonb."),
    ("row", "Write STRUCT<name type, ...>."),
];

const WINDOW: &str = "Write FROM TUMBLE(relation, time_column, INTERVAL '1 minute') and GROUP BY window_start; HOP(relation, time_column, slide, size) overlaps.";
const NOW: &str = "Write now() where you read the view: SELECT ... FROM view WHERE ts > now() - INTERVAL '1 hour'.";
const NEWEST: &str = "Write SELECT DISTINCT ON (key) ... ORDER BY key, time DESC for the newest row of each key.";
const OLDEST: &str = "Write SELECT DISTINCT ON (key) ... ORDER BY key, time for the oldest row of each key.";

const FUNCTIONS: &[(&str, &str)] = &[
    ("tumble", WINDOW),
    ("tumble_start", WINDOW),
    ("tumble_end", WINDOW),
    ("tumble_rowtime", WINDOW),
    ("hop", WINDOW),
    ("hop_start", WINDOW),
    ("hop_end", WINDOW),
    ("cumulate", WINDOW),
    ("session_start", WINDOW),
    ("mz_now", NOW),
    ("proctime", NOW),
    ("current_watermark", NOW),
    ("getdate", "Write now()."),
    ("latest_by_offset", NEWEST),
    ("last_value_by", NEWEST),
    ("earliest_by_offset", OLDEST),
    ("collect_list", "Write array_agg(value)."),
    ("collect_set", "Write array_agg(DISTINCT value)."),
    ("group_concat", "Write string_agg(value, ',')."),
    ("listagg", "Write string_agg(value, ',')."),
    ("ifnull", "Write coalesce(a, b)."),
    ("nvl", "Write coalesce(a, b)."),
    ("isnull", "Write coalesce(a, b), or a IS NULL."),
    ("if", "Write CASE WHEN condition THEN a ELSE b END."),
    ("iff", "Write CASE WHEN condition THEN a ELSE b END."),
    ("date_format", "Write to_char(time, 'YYYY-MM-DD')."),
    ("timestampdiff", "Subtract: a - b is an interval, extract(epoch FROM a - b) its seconds."),
    ("datediff", "Subtract: a - b is an interval, extract(epoch FROM a - b) its seconds."),
    ("dateadd", "Add an interval: time + INTERVAL '1 day'."),
    ("unix_timestamp", "Write extract(epoch FROM time)."),
    ("from_unixtime", "Write to_timestamp(seconds)."),
    ("json_value", "Write value ->> 'field', or value #>> '{a,b}'."),
    ("json_extract", "Write value -> 'field', or value #> '{a,b}'."),
    ("len", "Write length(text)."),
    ("approx_count_distinct", "Write count(DISTINCT value)."),
    ("count_distinct", "Write count(DISTINCT value)."),
];

fn find(names: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == name).map(|(_, hint)| *hint)
}

/// What to write for a type; `map(text, int)` is a map.
pub fn type_named(name: &str) -> Option<&'static str> {
    let bare = name.split(['(', '<']).next().unwrap_or_default().trim();
    find(TYPES, bare)
}

pub fn function(name: &str) -> Option<&'static str> {
    find(FUNCTIONS, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_needs_no_hint() {
        for (name, _) in FUNCTIONS {
            assert!(!super::super::call::exists(name), "{name}");
        }
        for (name, _) in TYPES {
            assert!(*name == "string" || super::super::type_name::simple_type(name).is_none(), "{name}");
        }
    }
}
