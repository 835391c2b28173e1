//! DROP of everything.

use super::{Outcome, create};
use crate::engine::Transaction;
use crate::server::session::{Flow, Session};
use crate::sql::bind;
use crate::sql::statement::{Drop, ObjectKind, Statement, fold};

pub async fn run(session: &mut Session, drop: &Drop) -> Flow<Outcome> {
    let tag = Statement::Drop(drop.clone()).tag();
    create::before_ddl(session).await?;
    let (engine, waiter) = (session.engine()?, session.waiter());
    let catalog = session.catalog()?;
    if drop.kind == ObjectKind::Schema {
        for name in &drop.names {
            let name = schema_name(name);
            if drop.if_exists && !catalog.has_schema(&name) {
                session.say(format!("schema \"{name}\" does not exist, skipping"));
            } else {
                let work = async |work: &mut Transaction| work.drop_schema(name, drop.cascade).await;
                session.transaction.change(&engine, waiter.clone(), work).await?;
            }
        }
        return Outcome::tag(tag);
    }
    let context = session.bind_context(catalog, Vec::new());
    let (found, missing) = bind::bind_drop(&context, drop)?;
    for name in missing {
        session.say(format!("{} \"{name}\" does not exist, skipping", drop.kind.word()));
    }
    if !found.is_empty() {
        let ids: Vec<_> = found.iter().map(|relation| relation.id).collect();
        let work = async |work: &mut Transaction| work.drop_relations(&ids, drop.cascade).await;
        session.transaction.change(&engine, waiter, work).await?;
    }
    Outcome::tag(tag)
}

fn schema_name(name: &sqlparser::ast::ObjectName) -> String {
    let part = name.0.last().and_then(|part| part.as_ident());
    part.map(fold).unwrap_or_default()
}
