//! The Postgres protocol's bytes: messages in ([`Inbox`], [`Frontend`]), messages out ([`Outbox`]).
//!
//! Messages to the client are pgwire's. Those from the client are decoded here: pgwire's decoder replaces bytes that are
//! not UTF-8 (they must be refused, 22021), holds whatever length a header claims, and panics on a Bind message that
//! ends early.

mod frontend;
mod inbox;
mod outbox;
mod response;

pub use frontend::{Bind, Frontend, Startup, Target, text};
pub use inbox::{Inbox, Limits, Part, Received, Refused};
pub use outbox::{FULL, Outbox};
pub use response::Severity;
