//! DROP of everything.

use std::sync::Arc;

use super::{Outcome, create};
use crate::catalog::Relation;
use crate::engine::Transaction;
use crate::error::{Error, SqlState};
use crate::server::session::{Flow, Session};
use crate::server::wire::Severity;
use crate::sql::bind;
use crate::sql::statement::{Drop, ObjectKind, Statement, fold};

pub async fn run(session: &mut Session, drop: &Drop) -> Flow<Outcome> {
    let tag = Statement::Drop(drop.clone()).tag();
    create::before_ddl(session).await?;
    let (engine, waiter) = (session.engine()?, session.waiter());
    let catalog = session.catalog()?;
    let (missing, others) = if drop.kind == ObjectKind::Schema {
        let names = drop.names.iter().map(schema_name);
        let (missing, named): (Vec<String>, Vec<String>) =
            names.partition(|name| drop.if_exists && !catalog.has_schema(name));
        let work = async |work: &mut Transaction| {
            let mut others = Vec::new();
            for name in named {
                others.extend(work.drop_schema(name, drop.cascade).await?);
            }
            Ok(others)
        };
        (missing, session.transaction.change(&engine, waiter, work).await?)
    } else {
        let context = session.bind_context(catalog, Vec::new());
        let (named, missing) = bind::bind_drop(&context, drop)?;
        let work = async |work: &mut Transaction| match named.is_empty() {
            true => Ok(Vec::new()),
            false => work.drop_relations(&named, drop.cascade).await,
        };
        (missing, session.transaction.change(&engine, waiter, work).await?)
    };
    for name in missing {
        session.say(format!("{} \"{name}\" does not exist, skipping", drop.kind.word()));
    }
    say_others(session, &others);
    Outcome::tag(tag)
}

/// CASCADE tells what else went.
fn say_others(session: &mut Session, others: &[Arc<Relation>]) {
    /// Objects that the message names.
    const NAMED: usize = 100;
    let named = |relation: &Arc<Relation>| format!("drop cascades to {} {}", relation.kind_name(), relation.name);
    match others {
        [] => {}
        [one] => session.say(named(one)),
        several => {
            let mut detail: Vec<String> = several.iter().take(NAMED).map(named).collect();
            if several.len() > NAMED {
                detail.push(format!("and {} other objects", several.len() - NAMED));
            }
            let message = format!("drop cascades to {} other objects", several.len());
            let notice = Error::new(SqlState::SUCCESSFUL_COMPLETION, message).with_detail(detail.join("\n"));
            session.notice(Severity::Notice, &notice);
        }
    }
}

fn schema_name(name: &sqlparser::ast::ObjectName) -> String {
    let part = name.0.last().and_then(|part| part.as_ident());
    part.map(fold).unwrap_or_default()
}
