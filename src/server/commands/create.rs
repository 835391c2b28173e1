//! CREATE of everything, and REFRESH.
//!
//! In a block DDL is part of it, and takes effect at COMMIT. Elsewhere it is a transaction of its own; before it, what several
//! statements of one message have written so far is made lasting.

use sqlparser::ast;

use super::Outcome;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::engine::{CreateOutcome, Transaction};
use crate::error::{Error, SqlState};
use crate::server::session::{Flow, Session};
use crate::server::wire::Severity;
use crate::sql::statement::{CreateView, Statement};
use crate::sql::{self, BindContext, bind};

pub async fn run(session: &mut Session, statement: &Statement) -> Flow<Outcome> {
    before_ddl(session).await?;
    let catalog = session.catalog()?;
    let context = session.bind_context(catalog, Vec::new());
    match statement {
        Statement::CreateStream(create) => {
            let relation = bind::bind_create_stream(&context, create)?;
            create_or_skip(session, relation, Some(&create.name), create.if_not_exists).await?;
        }
        Statement::CreateTable(create) => {
            let relation = bind::bind_create_table(&context, create)?;
            create_or_skip(session, relation, Some(&create.name), create.if_not_exists).await?;
        }
        Statement::CreateView(create) => create_view(session, &context, create).await?,
        Statement::CreateIndex(create) => {
            let relation = bind::bind_create_index(&context, create)?;
            let name = create.name.clone().map(|name| vec![name].into());
            create_or_skip(session, relation, name.as_ref(), create.if_not_exists).await?;
        }
        Statement::CreateSchema { name, if_not_exists } => {
            let name = sql::statement::fold(name);
            Catalog::check_new_schema(&name)?;
            if *if_not_exists && context.catalog.has_schema(&name) {
                skip(session, SqlState::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists, skipping"));
            } else {
                let (engine, waiter) = (session.engine()?, session.waiter());
                let create = async |work: &mut Transaction| work.create_schema(name).await;
                session.transaction.change(&engine, waiter, create).await?;
            }
        }
        other => return Err(Error::internal(format!("{} creates nothing", other.tag())).into()),
    }
    Outcome::tag(statement.tag())
}

/// After what was written before it.
pub async fn before_ddl(session: &mut Session) -> Flow<()> {
    if session.transaction.is_implicit() {
        session.commit().await?;
        session.transaction.begin_implicit(&mut session.settings);
    }
    Ok(())
}

/// `None`: the binder found it there already and the statement says IF NOT EXISTS. It may also come to be in between.
async fn create_or_skip(
    session: &mut Session,
    relation: Option<Relation>,
    name: Option<&ast::ObjectName>,
    if_not_exists: bool,
) -> Flow<()> {
    let (engine, waiter) = (session.engine()?, session.waiter());
    let created = match relation {
        Some(relation) => {
            let create = async |work: &mut Transaction| work.create(relation, if_not_exists).await;
            session.transaction.change(&engine, waiter, create).await?
        }
        None => CreateOutcome::Exists,
    };
    if created == CreateOutcome::Exists {
        let last = name.and_then(|name| name.0.last()).and_then(|part| part.as_ident());
        let name = last.map(sql::statement::fold).unwrap_or_default();
        skip(session, SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists, skipping"));
    }
    Ok(())
}

/// OR REPLACE: the new one is filled first, and takes the old one's place in one moment.
async fn create_view(session: &mut Session, context: &BindContext, create: &CreateView) -> Flow<()> {
    let (engine, waiter) = (session.engine()?, session.waiter());
    // Its text may be long, and views of views are planned anew.
    match tokio::task::block_in_place(|| bind::bind_create_view(context, create))? {
        Some(bind::BoundView { relation, replaces: Some(old), .. }) => {
            let of_old = context.catalog.dependents(old);
            let replace = async |work: &mut Transaction| {
                work.drop_relations(&[old], false).await?;
                work.create(relation, false).await
            };
            session.transaction.change(&engine, waiter, replace).await?;
            for index in of_old.iter().filter(|other| matches!(other.kind, RelationKind::Index(_))) {
                session.say(format!("replacing the view drops index {}; create it again", index.name));
            }
            Ok(())
        }
        bound => {
            let relation = bound.map(|bound| bound.relation);
            create_or_skip(session, relation, Some(&create.name), create.if_not_exists).await
        }
    }
}

fn skip(session: &mut Session, state: SqlState, message: String) {
    session.notice(Severity::Notice, &Error::new(state, message));
}

/// REFRESH MATERIALIZED VIEW: it is always fresh; that it exists is all there is to check.
pub fn refresh(session: &mut Session, name: &ast::ObjectName) -> Flow<Outcome> {
    let relation = session.relation(name)?;
    if !matches!(relation.kind, RelationKind::MaterializedView(_)) {
        let message = format!("\"{}\" is not a materialized view", relation.name);
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).into());
    }
    Outcome::tag("REFRESH MATERIALIZED VIEW")
}
