//! Rows of pg_operator for comparisons.

use datafusion::logical_expr::Operator as Comparison;

use super::entry::{Body, Operator, Returns};
use crate::types::pg_type::oid::*;

const fn name(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => "=",
        Comparison::NotEq => "<>",
        Comparison::Lt => "<",
        Comparison::LtEq => "<=",
        Comparison::Gt => ">",
        _ => ">=",
    }
}

const fn doc(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => "Equal.",
        Comparison::NotEq => "Not equal.",
        Comparison::Lt => "Less than.",
        Comparison::LtEq => "Less than or equal.",
        Comparison::Gt => "Greater than.",
        _ => "Greater than or equal.",
    }
}

macro_rules! comparisons {
    ($($oid:literal $op:ident $left:ident $right:ident $code:literal;)*) => {
        pub const OPERATORS: &[Operator] = &[$(Operator {
            oid: $oid, name: name(Comparison::$op), left: $left, right: $right,
            returns: Returns::Type(BOOL), code: $code,
            body: Body::Compare(Comparison::$op), doc: doc(Comparison::$op),
        }),*];
    };
}

comparisons! {
    58 Lt BOOL BOOL "boollt";
    1957 Lt BYTEA BYTEA "bytealt";
    631 Lt CHAR CHAR "charlt";
    660 Lt NAME NAME "namelt";
    255 Lt NAME TEXT "namelttext";
    412 Lt INT8 INT8 "int8lt";
    1870 Lt INT8 INT2 "int82lt";
    418 Lt INT8 INT4 "int84lt";
    1864 Lt INT2 INT8 "int28lt";
    95 Lt INT2 INT2 "int2lt";
    534 Lt INT2 INT4 "int24lt";
    37 Lt INT4 INT8 "int48lt";
    535 Lt INT4 INT2 "int42lt";
    97 Lt INT4 INT4 "int4lt";
    261 Lt TEXT NAME "textltname";
    664 Lt TEXT TEXT "text_lt";
    609 Lt OID OID "oidlt";
    622 Lt FLOAT4 FLOAT4 "float4lt";
    1122 Lt FLOAT4 FLOAT8 "float48lt";
    1132 Lt FLOAT8 FLOAT4 "float84lt";
    672 Lt FLOAT8 FLOAT8 "float8lt";
    1058 Lt BPCHAR BPCHAR "bpcharlt";
    1095 Lt DATE DATE "date_lt";
    2345 Lt DATE TIMESTAMP "date_lt_timestamp";
    2358 Lt DATE TIMESTAMPTZ "date_lt_timestamptz";
    1110 Lt TIME TIME "time_lt";
    2371 Lt TIMESTAMP DATE "timestamp_lt_date";
    2062 Lt TIMESTAMP TIMESTAMP "timestamp_lt";
    2534 Lt TIMESTAMP TIMESTAMPTZ "timestamp_lt_timestamptz";
    2384 Lt TIMESTAMPTZ DATE "timestamptz_lt_date";
    2540 Lt TIMESTAMPTZ TIMESTAMP "timestamptz_lt_timestamp";
    1322 Lt TIMESTAMPTZ TIMESTAMPTZ "timestamptz_lt";
    1332 Lt INTERVAL INTERVAL "interval_lt";
    1754 Lt NUMERIC NUMERIC "numeric_lt";
    2990 Lt RECORD RECORD "record_lt";
    1072 Lt ANYARRAY ANYARRAY "array_lt";
    2974 Lt UUID UUID "uuid_lt";
    3242 Lt JSONB JSONB "jsonb_lt";
    1694 LtEq BOOL BOOL "boolle";
    1958 LtEq BYTEA BYTEA "byteale";
    632 LtEq CHAR CHAR "charle";
    661 LtEq NAME NAME "namele";
    256 LtEq NAME TEXT "nameletext";
    414 LtEq INT8 INT8 "int8le";
    1872 LtEq INT8 INT2 "int82le";
    420 LtEq INT8 INT4 "int84le";
    1866 LtEq INT2 INT8 "int28le";
    522 LtEq INT2 INT2 "int2le";
    540 LtEq INT2 INT4 "int24le";
    80 LtEq INT4 INT8 "int48le";
    541 LtEq INT4 INT2 "int42le";
    523 LtEq INT4 INT4 "int4le";
    262 LtEq TEXT NAME "textlename";
    665 LtEq TEXT TEXT "text_le";
    611 LtEq OID OID "oidle";
    624 LtEq FLOAT4 FLOAT4 "float4le";
    1124 LtEq FLOAT4 FLOAT8 "float48le";
    1134 LtEq FLOAT8 FLOAT4 "float84le";
    673 LtEq FLOAT8 FLOAT8 "float8le";
    1059 LtEq BPCHAR BPCHAR "bpcharle";
    1096 LtEq DATE DATE "date_le";
    2346 LtEq DATE TIMESTAMP "date_le_timestamp";
    2359 LtEq DATE TIMESTAMPTZ "date_le_timestamptz";
    1111 LtEq TIME TIME "time_le";
    2372 LtEq TIMESTAMP DATE "timestamp_le_date";
    2063 LtEq TIMESTAMP TIMESTAMP "timestamp_le";
    2535 LtEq TIMESTAMP TIMESTAMPTZ "timestamp_le_timestamptz";
    2385 LtEq TIMESTAMPTZ DATE "timestamptz_le_date";
    2541 LtEq TIMESTAMPTZ TIMESTAMP "timestamptz_le_timestamp";
    1323 LtEq TIMESTAMPTZ TIMESTAMPTZ "timestamptz_le";
    1333 LtEq INTERVAL INTERVAL "interval_le";
    1755 LtEq NUMERIC NUMERIC "numeric_le";
    2992 LtEq RECORD RECORD "record_le";
    1074 LtEq ANYARRAY ANYARRAY "array_le";
    2976 LtEq UUID UUID "uuid_le";
    3244 LtEq JSONB JSONB "jsonb_le";
    85 NotEq BOOL BOOL "boolne";
    1956 NotEq BYTEA BYTEA "byteane";
    630 NotEq CHAR CHAR "charne";
    643 NotEq NAME NAME "namene";
    259 NotEq NAME TEXT "namenetext";
    411 NotEq INT8 INT8 "int8ne";
    1869 NotEq INT8 INT2 "int82ne";
    417 NotEq INT8 INT4 "int84ne";
    1863 NotEq INT2 INT8 "int28ne";
    519 NotEq INT2 INT2 "int2ne";
    538 NotEq INT2 INT4 "int24ne";
    36 NotEq INT4 INT8 "int48ne";
    539 NotEq INT4 INT2 "int42ne";
    518 NotEq INT4 INT4 "int4ne";
    265 NotEq TEXT NAME "textnename";
    531 NotEq TEXT TEXT "textne";
    608 NotEq OID OID "oidne";
    621 NotEq FLOAT4 FLOAT4 "float4ne";
    1121 NotEq FLOAT4 FLOAT8 "float48ne";
    1131 NotEq FLOAT8 FLOAT4 "float84ne";
    671 NotEq FLOAT8 FLOAT8 "float8ne";
    1057 NotEq BPCHAR BPCHAR "bpcharne";
    1094 NotEq DATE DATE "date_ne";
    2350 NotEq DATE TIMESTAMP "date_ne_timestamp";
    2363 NotEq DATE TIMESTAMPTZ "date_ne_timestamptz";
    1109 NotEq TIME TIME "time_ne";
    2376 NotEq TIMESTAMP DATE "timestamp_ne_date";
    2061 NotEq TIMESTAMP TIMESTAMP "timestamp_ne";
    2539 NotEq TIMESTAMP TIMESTAMPTZ "timestamp_ne_timestamptz";
    2389 NotEq TIMESTAMPTZ DATE "timestamptz_ne_date";
    2545 NotEq TIMESTAMPTZ TIMESTAMP "timestamptz_ne_timestamp";
    1321 NotEq TIMESTAMPTZ TIMESTAMPTZ "timestamptz_ne";
    1331 NotEq INTERVAL INTERVAL "interval_ne";
    1753 NotEq NUMERIC NUMERIC "numeric_ne";
    2989 NotEq RECORD RECORD "record_ne";
    1071 NotEq ANYARRAY ANYARRAY "array_ne";
    2973 NotEq UUID UUID "uuid_ne";
    3241 NotEq JSONB JSONB "jsonb_ne";
    91 Eq BOOL BOOL "booleq";
    1955 Eq BYTEA BYTEA "byteaeq";
    92 Eq CHAR CHAR "chareq";
    93 Eq NAME NAME "nameeq";
    254 Eq NAME TEXT "nameeqtext";
    410 Eq INT8 INT8 "int8eq";
    1868 Eq INT8 INT2 "int82eq";
    416 Eq INT8 INT4 "int84eq";
    1862 Eq INT2 INT8 "int28eq";
    94 Eq INT2 INT2 "int2eq";
    532 Eq INT2 INT4 "int24eq";
    15 Eq INT4 INT8 "int48eq";
    533 Eq INT4 INT2 "int42eq";
    96 Eq INT4 INT4 "int4eq";
    260 Eq TEXT NAME "texteqname";
    98 Eq TEXT TEXT "texteq";
    607 Eq OID OID "oideq";
    620 Eq FLOAT4 FLOAT4 "float4eq";
    1120 Eq FLOAT4 FLOAT8 "float48eq";
    1130 Eq FLOAT8 FLOAT4 "float84eq";
    670 Eq FLOAT8 FLOAT8 "float8eq";
    1054 Eq BPCHAR BPCHAR "bpchareq";
    1093 Eq DATE DATE "date_eq";
    2347 Eq DATE TIMESTAMP "date_eq_timestamp";
    2360 Eq DATE TIMESTAMPTZ "date_eq_timestamptz";
    1108 Eq TIME TIME "time_eq";
    2373 Eq TIMESTAMP DATE "timestamp_eq_date";
    2060 Eq TIMESTAMP TIMESTAMP "timestamp_eq";
    2536 Eq TIMESTAMP TIMESTAMPTZ "timestamp_eq_timestamptz";
    2386 Eq TIMESTAMPTZ DATE "timestamptz_eq_date";
    2542 Eq TIMESTAMPTZ TIMESTAMP "timestamptz_eq_timestamp";
    1320 Eq TIMESTAMPTZ TIMESTAMPTZ "timestamptz_eq";
    1330 Eq INTERVAL INTERVAL "interval_eq";
    1752 Eq NUMERIC NUMERIC "numeric_eq";
    2988 Eq RECORD RECORD "record_eq";
    1070 Eq ANYARRAY ANYARRAY "array_eq";
    2972 Eq UUID UUID "uuid_eq";
    3240 Eq JSONB JSONB "jsonb_eq";
    59 Gt BOOL BOOL "boolgt";
    1959 Gt BYTEA BYTEA "byteagt";
    633 Gt CHAR CHAR "chargt";
    662 Gt NAME NAME "namegt";
    258 Gt NAME TEXT "namegttext";
    413 Gt INT8 INT8 "int8gt";
    1871 Gt INT8 INT2 "int82gt";
    419 Gt INT8 INT4 "int84gt";
    1865 Gt INT2 INT8 "int28gt";
    520 Gt INT2 INT2 "int2gt";
    536 Gt INT2 INT4 "int24gt";
    76 Gt INT4 INT8 "int48gt";
    537 Gt INT4 INT2 "int42gt";
    521 Gt INT4 INT4 "int4gt";
    264 Gt TEXT NAME "textgtname";
    666 Gt TEXT TEXT "text_gt";
    610 Gt OID OID "oidgt";
    623 Gt FLOAT4 FLOAT4 "float4gt";
    1123 Gt FLOAT4 FLOAT8 "float48gt";
    1133 Gt FLOAT8 FLOAT4 "float84gt";
    674 Gt FLOAT8 FLOAT8 "float8gt";
    1060 Gt BPCHAR BPCHAR "bpchargt";
    1097 Gt DATE DATE "date_gt";
    2349 Gt DATE TIMESTAMP "date_gt_timestamp";
    2362 Gt DATE TIMESTAMPTZ "date_gt_timestamptz";
    1112 Gt TIME TIME "time_gt";
    2375 Gt TIMESTAMP DATE "timestamp_gt_date";
    2064 Gt TIMESTAMP TIMESTAMP "timestamp_gt";
    2538 Gt TIMESTAMP TIMESTAMPTZ "timestamp_gt_timestamptz";
    2388 Gt TIMESTAMPTZ DATE "timestamptz_gt_date";
    2544 Gt TIMESTAMPTZ TIMESTAMP "timestamptz_gt_timestamp";
    1324 Gt TIMESTAMPTZ TIMESTAMPTZ "timestamptz_gt";
    1334 Gt INTERVAL INTERVAL "interval_gt";
    1756 Gt NUMERIC NUMERIC "numeric_gt";
    2991 Gt RECORD RECORD "record_gt";
    1073 Gt ANYARRAY ANYARRAY "array_gt";
    2975 Gt UUID UUID "uuid_gt";
    3243 Gt JSONB JSONB "jsonb_gt";
    1695 GtEq BOOL BOOL "boolge";
    1960 GtEq BYTEA BYTEA "byteage";
    634 GtEq CHAR CHAR "charge";
    663 GtEq NAME NAME "namege";
    257 GtEq NAME TEXT "namegetext";
    415 GtEq INT8 INT8 "int8ge";
    1873 GtEq INT8 INT2 "int82ge";
    430 GtEq INT8 INT4 "int84ge";
    1867 GtEq INT2 INT8 "int28ge";
    524 GtEq INT2 INT2 "int2ge";
    542 GtEq INT2 INT4 "int24ge";
    82 GtEq INT4 INT8 "int48ge";
    543 GtEq INT4 INT2 "int42ge";
    525 GtEq INT4 INT4 "int4ge";
    263 GtEq TEXT NAME "textgename";
    667 GtEq TEXT TEXT "text_ge";
    612 GtEq OID OID "oidge";
    625 GtEq FLOAT4 FLOAT4 "float4ge";
    1125 GtEq FLOAT4 FLOAT8 "float48ge";
    1135 GtEq FLOAT8 FLOAT4 "float84ge";
    675 GtEq FLOAT8 FLOAT8 "float8ge";
    1061 GtEq BPCHAR BPCHAR "bpcharge";
    1098 GtEq DATE DATE "date_ge";
    2348 GtEq DATE TIMESTAMP "date_ge_timestamp";
    2361 GtEq DATE TIMESTAMPTZ "date_ge_timestamptz";
    1113 GtEq TIME TIME "time_ge";
    2374 GtEq TIMESTAMP DATE "timestamp_ge_date";
    2065 GtEq TIMESTAMP TIMESTAMP "timestamp_ge";
    2537 GtEq TIMESTAMP TIMESTAMPTZ "timestamp_ge_timestamptz";
    2387 GtEq TIMESTAMPTZ DATE "timestamptz_ge_date";
    2543 GtEq TIMESTAMPTZ TIMESTAMP "timestamptz_ge_timestamp";
    1325 GtEq TIMESTAMPTZ TIMESTAMPTZ "timestamptz_ge";
    1335 GtEq INTERVAL INTERVAL "interval_ge";
    1757 GtEq NUMERIC NUMERIC "numeric_ge";
    2993 GtEq RECORD RECORD "record_ge";
    1075 GtEq ANYARRAY ANYARRAY "array_ge";
    2977 GtEq UUID UUID "uuid_ge";
    3245 GtEq JSONB JSONB "jsonb_ge";
}
