//! What a materialized view can't hold, each with what to write instead. One table: the binder and the lowering
//! raise these, `docs/sql.md` lists them, and a test asserts each.

use crate::error::{Error, Result, SqlState};

/// A construct, and the hint that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub construct: &'static str,
    pub hint: &'static str,
    /// A query whose CREATE MATERIALIZED VIEW is refused with it, over t(a int, b int, ts timestamptz) and u(a int, b int).
    pub example: &'static str,
}

pub const NOW: Refusal = Refusal {
    construct: "now() in a view",
    hint: "Filter by time when you read the view: SELECT ... FROM view WHERE ts > now() - INTERVAL '1 hour'.",
    example: "SELECT * FROM t WHERE ts > now() - INTERVAL '1 hour'",
};
pub const SESSION: Refusal = Refusal {
    construct: "a function of the session in a view",
    hint: "A view's rows are the same for everyone; use the function when you read the view.",
    example: "SELECT a, current_user FROM t",
};
pub const VOLATILE: Refusal = Refusal {
    construct: "a volatile function in a view",
    hint: "Its answer changes from call to call; put the value into the stream or table when you insert.",
    example: "SELECT a, random() FROM t",
};
pub const WINDOW: Refusal = Refusal {
    construct: "OVER in a view, other than row_number(), rank() or dense_rank() that an outer query filters by <= n,",
    hint: "Filter a ranking: SELECT ... FROM (SELECT *, row_number() OVER (PARTITION BY a ORDER BY b) AS n FROM t) q WHERE n <= 10; or use OVER when you read the view.",
    example: "SELECT a, sum(b) OVER (PARTITION BY a) FROM t",
};
pub const CORRELATED: Refusal = Refusal {
    construct: "this correlated subquery in a view",
    hint: "Write it as a join with a grouped subquery.",
    example: "SELECT a, (SELECT max(b) FROM u WHERE u.a > t.a GROUP BY ROLLUP (b)) FROM t",
};
pub const RECURSIVE: Refusal = Refusal {
    construct: "WITH RECURSIVE in a view",
    hint: "Write out as many levels as you need as joins.",
    example: "WITH RECURSIVE r AS (SELECT a FROM t UNION ALL SELECT a + 1 FROM r WHERE a < 5) SELECT * FROM r",
};
pub const SYSTEM: Refusal = Refusal {
    construct: "a system relation in a materialized view",
    hint: "Query it directly, or through a plain VIEW.",
    example: "SELECT relname FROM pg_catalog.pg_class",
};
pub const LIMIT: Refusal = Refusal {
    construct: "a LIMIT or OFFSET that is not a constant",
    hint: "Write a number.",
    example: "SELECT a FROM t LIMIT (SELECT max(b) FROM u)",
};
pub const TIES: Refusal = Refusal {
    construct: "OFFSET with WITH TIES in a view",
    hint: "Leave OFFSET out.",
    example: "SELECT a FROM t ORDER BY a OFFSET 1 ROWS FETCH FIRST 1 ROW WITH TIES",
};
pub const ORDER: Refusal = Refusal {
    construct: "LIMIT in a view by the order of a query below a join, UNION, unnest or OVER",
    hint: "Write ORDER BY beside the LIMIT.",
    example: "SELECT t.a FROM t JOIN (SELECT a FROM u ORDER BY b) q ON q.a = t.a LIMIT 2",
};
pub const LOCKS: Refusal = Refusal {
    construct: "FOR UPDATE in a view",
    hint: "Leave it out: a view's rows are nobody's to lock.",
    example: "SELECT a FROM t FOR UPDATE",
};
/// All of them, in the order of the documentation.
pub const ALL: &[Refusal] = &[NOW, SESSION, VOLATILE, WINDOW, CORRELATED, RECURSIVE, SYSTEM, LIMIT, TIES, ORDER, LOCKS];

impl Refusal {
    pub fn error(&self) -> Error {
        Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("{} is not supported", self.construct.trim_end_matches(',')),
        )
        .with_hint(self.hint)
    }

    /// With what exactly was met, as a detail.
    pub fn error_for(&self, what: impl std::fmt::Display) -> Error {
        self.error().with_detail(format!("The query contains {what}."))
    }
}

/// Functions by name whose answer depends on when or by whom they are asked.
const TIME: &[&str] = &[
    "now",
    "current_timestamp",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "timeofday",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "pg_sleep",
    "pg_postmaster_start_time",
];
const OF_SESSION: &[&str] = &[
    "current_user",
    "current_role",
    "session_user",
    "user",
    "current_schema",
    "current_schemas",
    "current_setting",
    "set_config",
    "pg_backend_pid",
    "pg_is_in_recovery",
    "inet_client_addr",
    "inet_server_addr",
    "pg_my_temp_schema",
    "txid_current",
];
const VOLATILE_NAMES: &[&str] = &[
    "random",
    "setseed",
    "gen_random_uuid",
    "uuid_generate_v4",
    "nextval",
    "currval",
    "lastval",
    "setval",
    "random_normal",
];

/// 0A000 for a function that a view can't call.
pub fn check_function(name: &str) -> Result<()> {
    let refusal = if TIME.contains(&name) {
        NOW
    } else if OF_SESSION.contains(&name) {
        SESSION
    } else if VOLATILE_NAMES.contains(&name) {
        VOLATILE
    } else {
        return Ok(());
    };
    Err(refusal.error_for(format!("{name}()")))
}
