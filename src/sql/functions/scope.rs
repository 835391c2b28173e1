//! The session that an expression is being bound in: casts of literals and of timestamptz depend on its time zone.
//!
//! Binding is one synchronous call on one thread. Its entry opens a [`Scope`]; what is called below reads it, so that
//! the zone need not travel through every signature. Without a scope the zone is UTC.

use std::cell::RefCell;

use crate::sql::SessionConstants;
use crate::types::{TextSettings, Zone};

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

#[derive(Clone)]
struct Current {
    time_zone: String,
    now: i64,
}

/// While this lives, expressions on this thread are bound in its session.
pub struct Scope {
    outer: Option<Current>,
}

/// Opens the scope of a session; the one before comes back when it is dropped.
pub fn enter(session: &SessionConstants) -> Scope {
    let current = Current { time_zone: session.time_zone.clone(), now: session.now };
    Scope { outer: CURRENT.with(|slot| slot.replace(Some(current))) }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.with(|slot| slot.replace(self.outer.take()));
    }
}

pub fn time_zone() -> String {
    CURRENT.with(|slot| slot.borrow().as_ref().map_or_else(|| "UTC".to_string(), |current| current.time_zone.clone()))
}

/// How text is read and printed in the scope.
pub fn settings() -> TextSettings {
    let zone = Zone::parse(&time_zone()).unwrap_or(Zone::UTC);
    let now = CURRENT.with(|slot| slot.borrow().as_ref().map(|current| current.now));
    TextSettings { zone, now, ..TextSettings::default() }
}
