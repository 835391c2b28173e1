//! CREATE of everything, and REFRESH.
//!
//! DDL is logged and takes effect at the end of an epoch; it is not part of a transaction's writes. In a block it is refused; before it,
//! what several statements of one message have written so far is made lasting.

use sqlparser::ast;

use super::Outcome;
use crate::catalog::{Relation, RelationKind};
use crate::engine::CreateOutcome;
use crate::error::{Error, SqlState};
use crate::server::session::{Flow, Session};
use crate::server::wire::Severity;
use crate::sql::statement::{CreateView, Statement};
use crate::sql::{self, BindContext, bind};

pub async fn run(session: &mut Session, statement: &Statement) -> Flow<Outcome> {
    before_ddl(session, statement.tag()).await?;
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
            if *if_not_exists && context.catalog.has_schema(&name) {
                skip(session, SqlState::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists, skipping"));
            } else {
                session.engine()?.create_schema(name).await?;
            }
        }
        other => return Err(Error::internal(format!("{} creates nothing", other.tag())).into()),
    }
    Outcome::tag(statement.tag())
}

/// DDL outside of transactions only, and after what was written before it.
pub async fn before_ddl(session: &mut Session, statement: &str) -> Flow<()> {
    session.transaction.refuse_in_block(statement)?;
    if session.transaction.is_implicit() {
        session.transaction.commit(&mut session.settings).await?;
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
    let engine = session.engine()?;
    let created = match relation {
        Some(relation) => {
            engine.create(relation, if_not_exists, session.stop.clone(), session.registration.pid).await?
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

async fn create_view(session: &mut Session, context: &BindContext, create: &CreateView) -> Flow<()> {
    let bound = bind::bind_create_view(context, create)?;
    if let Some(old) = bound.as_ref().and_then(|bound| bound.replaces) {
        session.engine()?.drop_relations(vec![old], false).await?;
    }
    let relation = bound.map(|bound| bound.relation);
    create_or_skip(session, relation, Some(&create.name), create.if_not_exists).await
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
