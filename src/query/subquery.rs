//! Subqueries in expressions that DataFusion's rules can't turn into joins, or would turn into the wrong ones.
//!
//! Rewrites of a bound plan:
//!
//! - [`one_row_each`]: a correlated scalar subquery that may find several rows becomes one that always has one row
//!   (`sql/subquery.rs`), which the rules can decorrelate.
//! - [`evaluate_each`]: what is still left (volatile functions, LIMIT and OVER beside the subquery, shapes that `sql/decorrelate/`
//!   does not take) becomes a function of the outer columns that runs the subquery once for each distinct combination of
//!   them. It is always right, and costs a query each time; the planner uses it only where all else fails.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_row::{RowConverter, Rows, SortField};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Exists, InSubquery, ScalarFunction};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Join, LogicalPlan, LogicalPlanBuilder, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Subquery, Volatility,
};
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use super::optimize::Subqueries;
use super::remembered::Remembered;
use super::system::RuntimeFacts;
use super::{execution, lateral, run};
use crate::delta::keys::KeyCodec;
use crate::engine::ReadView;
use crate::error::{Error, Result};
use crate::operators::scalar_subquery::several_rows;
use crate::sql::nullable::is_nullable;
use crate::sql::subquery::{asks, has_one_row, has_subquery, map_expressions, only_row, outer_columns, subquery_in};

/// Makes correlated scalar subqueries that may find several rows aggregates, so that they can be joined.
pub fn one_row_each(plan: LogicalPlan) -> Result<LogicalPlan> {
    map_expressions(plan, true, &mut |expr, _| match expr {
        Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty() && !has_one_row(&subquery) => {
            Ok(Transformed::yes(only_row(subquery)?))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// Whether a bound plan has an IN that a mark join would answer wrongly: one whose NULL is seen, because it is not just a
/// condition that holds or doesn't.
pub fn needs_three_values(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Filter(filter) = node {
            for condition in split_conjunction(&filter.predicate) {
                let inner: Vec<&Expr> = match condition {
                    // An anti join asks for NULLs among all rows, not only those that belong to the outer one.
                    Expr::InSubquery(inside) if inside.negated && !inside.subquery.outer_ref_columns.is_empty() => {
                        vec![condition]
                    }
                    Expr::InSubquery(subquery) => vec![subquery.expr.as_ref()],
                    other => vec![other],
                };
                for expr in inner {
                    found |= has_in(expr)?;
                }
            }
        } else {
            for expr in node.expressions() {
                found |= has_in(&expr)?;
            }
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn has_in(expr: &Expr) -> DfResult<bool> {
    expr.exists(|expr| Ok(matches!(expr, Expr::InSubquery(_))))
}

/// Whether an optimised plan still has what can't be executed.
pub fn has_leftovers(plan: &LogicalPlan) -> Result<bool> {
    let mut found = has_lateral(plan)?;
    plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            found |= expr.exists(|expr| {
                Ok(match expr {
                    Expr::Exists(_) | Expr::InSubquery(_) | Expr::OuterReferenceColumn(..) => true,
                    Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
                    _ => false,
                })
            })?;
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether a plan has a join whose right side is asked anew for each row of the left.
pub fn has_lateral(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Subquery(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether a plan has subqueries in its expressions at all.
pub fn has_subqueries(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        for expr in node.expressions() {
            found |= has_subquery(&expr);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether what stands around subqueries has the same rows however often it is read: nothing volatile, and nothing that takes some of
/// several equal rows.
pub fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    let volatile = |expr: &Expr| {
        let by_itself = |call: &ScalarFunction| {
            call.func.signature().volatility == Volatility::Volatile && !is_nullable(&call.func)
        };
        matches!(expr, Expr::ScalarFunction(call) if by_itself(call))
    };
    let chosen = |node: &LogicalPlan| matches!(node, LogicalPlan::Limit(_) | LogicalPlan::Window(_));
    let mut repeatable = true;
    plan.apply_with_subqueries(|node| {
        let (mut asks, mut volatile_call) = (matches!(node, LogicalPlan::Join(join) if is_lateral(join)), false);
        for expr in node.expressions() {
            asks |= has_subquery(&expr);
            volatile_call |= expr.exists(|expr| Ok(volatile(expr)))?;
        }
        let mut beside_chosen = false;
        for input in node.inputs().into_iter().filter(|_| asks) {
            beside_chosen |= input.exists(|node| Ok(chosen(node)))?;
        }
        repeatable &= !volatile_call && !beside_chosen;
        Ok(if repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(repeatable)
}

/// Whether joining the subqueries costs no more than running them one by one may: one that takes some of its rows, for the first or
/// the last before some time, would have to pair all of them with all outer rows if no equality said which belong together.
pub fn is_worth_joining(plan: &LogicalPlan) -> Result<bool> {
    let pairs_all = |subquery: &LogicalPlan| -> DfResult<bool> {
        let (mut correlated, mut takes_some, mut equal) = (false, false, false);
        subquery.apply(|node| {
            correlated |= node.contains_outer_reference();
            takes_some |= matches!(node, LogicalPlan::Limit(_) | LogicalPlan::Window(_));
            if let LogicalPlan::Filter(filter) = node {
                equal |= split_conjunction(&filter.predicate).into_iter().any(equals_outer);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(correlated && takes_some && !equal)
    };
    let mut worth = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node
            && let LogicalPlan::Subquery(lateral) = join.right.as_ref()
        {
            worth &= !pairs_all(&lateral.subquery)?;
        }
        for expr in node.expressions() {
            expr.apply(|expr| {
                if let Some(subquery) = subquery_in(expr) {
                    worth &= !pairs_all(&subquery.subquery)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(if worth { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(worth)
}

/// `inner = outer`, either way round.
fn equals_outer(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    left.contains_outer() != right.contains_outer()
}

fn is_lateral(join: &Join) -> bool {
    matches!(join.right.as_ref(), LogicalPlan::Subquery(_))
}

/// Replaces correlated scalar subqueries, EXISTS and IN, and the right sides of lateral joins, by functions that run
/// them. Subqueries inside subqueries are met when those are run.
pub fn evaluate_each(
    plan: LogicalPlan,
    view: &ReadView,
    facts: &Arc<dyn RuntimeFacts>,
    subqueries: Subqueries,
) -> Result<LogicalPlan> {
    let memory = execution::memory()?;
    let evaluated = |subquery: &Subquery, question: Question, outer: Vec<Column>, result: DataType| {
        let evaluated = Evaluated {
            plan: subquery.subquery.as_ref().clone(),
            question,
            outer,
            result,
            view: view.clone(),
            facts: facts.clone(),
            subqueries,
            remembered: Mutex::new(Remembered::new(memory)),
            signature: Signature::user_defined(Volatility::Stable),
        };
        Arc::new(ScalarUDF::new_from_impl(evaluated))
    };
    let rows = |subquery: &Subquery, left: &DFSchemaRef, result: DataType| {
        let outer = outer_columns(&subquery.subquery, std::slice::from_ref(left))?;
        let args = outer.iter().cloned().map(Expr::Column).collect();
        let udf = evaluated(subquery, Question::Rows, outer, result);
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(udf, args)))
    };
    let plan = apply_each(plan, &mut 0, &rows)?;
    map_expressions(plan, false, &mut |expr, inputs| {
        let (subquery, question, mut args) = match expr {
            // One without outer columns is left to the planner, unless what is in it would be too much for that.
            Expr::ScalarSubquery(subquery)
                if !subquery.outer_ref_columns.is_empty() || has_subqueries(&subquery.subquery)? =>
            {
                (subquery, Question::Value, vec![])
            }
            Expr::Exists(Exists { subquery, negated }) => (subquery, Question::Exists { negated }, vec![]),
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                (subquery, Question::In { negated }, vec![*expr])
            }
            other => return Ok(Transformed::no(other)),
        };
        let outer = outer_columns(&subquery.subquery, inputs)?;
        args.extend(outer.iter().cloned().map(Expr::Column));
        let result = match question {
            Question::Value => subquery.subquery.schema().field(0).data_type().clone(),
            _ => DataType::Boolean,
        };
        let udf = evaluated(&subquery, question, outer, result);
        Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(udf, args))))
    })
}

/// Replaces lateral joins, from the outermost on: those inside a right side may name columns of queries further out, which
/// are values when it is run.
fn apply_each(
    plan: LogicalPlan,
    number: &mut usize,
    rows: &dyn Fn(&Subquery, &DFSchemaRef, DataType) -> Result<Expr>,
) -> Result<LogicalPlan> {
    let applied = plan.transform_down(|node| match node {
        LogicalPlan::Join(mut join) if is_lateral(&join) => {
            join.left = Arc::new(apply_each(join.left.as_ref().clone(), number, rows)?);
            *number += 1;
            let applied = lateral::applied(join, *number, rows)?;
            Ok(Transformed::new(applied, true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(applied.data)
}

/// The plan with values for columns of the query around it.
fn substitute(plan: LogicalPlan, values: &[(Column, ScalarValue)]) -> Result<LogicalPlan> {
    if values.is_empty() {
        return Ok(plan);
    }
    let value_of = |column: &Column| values.iter().find(|(known, _)| known == column).map(|(_, value)| value.clone());
    let without = |subquery: Subquery| -> DfResult<Subquery> {
        let inner = substitute(subquery.subquery.as_ref().clone(), values)?;
        let outer = subquery.outer_ref_columns.into_iter();
        let outer =
            outer.filter(|expr| !matches!(expr, Expr::OuterReferenceColumn(_, column) if value_of(column).is_some()));
        Ok(Subquery { subquery: Arc::new(inner), outer_ref_columns: outer.collect(), spans: subquery.spans })
    };
    // A lateral join's right side is a subquery in the plan, not in an expression.
    let plan = plan.transform_up(|node| match node {
        LogicalPlan::Subquery(subquery) => Ok(Transformed::yes(LogicalPlan::Subquery(without(subquery)?))),
        other => Ok(Transformed::no(other)),
    })?;
    map_expressions(plan.data, false, &mut |expr, _| {
        Ok(match expr {
            Expr::OuterReferenceColumn(field, column) => match value_of(&column) {
                Some(value) => Transformed::yes(Expr::Literal(value, None::<FieldMetadata>)),
                None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
            },
            Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(without(subquery)?)),
            Expr::Exists(Exists { subquery, negated }) => {
                Transformed::yes(Expr::Exists(Exists { subquery: without(subquery)?, negated }))
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery: without(subquery)?, negated }))
            }
            other => Transformed::no(other),
        })
    })
}

/// What is asked of a subquery's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Question {
    Value,
    Exists {
        negated: bool,
    },
    /// The first argument among them, with SQL's NULLs.
    In {
        negated: bool,
    },
    /// All of them, as a list.
    Rows,
}

/// A subquery's rows, as far as the question needs them.
#[derive(Clone)]
enum Answer {
    Value(ScalarValue),
    Found(bool),
    /// Bytes that are equal where SQL's `=` holds.
    Set {
        values: Arc<HashSet<Box<[u8]>>>,
        has_null: bool,
    },
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Answer::Value(value) => value.size(),
            Answer::Found(_) => 0,
            Answer::Set { values, .. } => values.iter().map(|value| value.len() + size_of::<(Box<[u8]>, u64)>()).sum(),
        }
    }
}

struct Evaluated {
    plan: LogicalPlan,
    question: Question,
    /// The arguments, after IN's own.
    outer: Vec<Column>,
    result: DataType,
    view: ReadView,
    facts: Arc<dyn RuntimeFacts>,
    subqueries: Subqueries,
    remembered: Mutex<Remembered<Box<[u8]>, Answer>>,
    signature: Signature,
}

impl std::fmt::Debug for Evaluated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {}", self.question, self.plan.display())
    }
}

/// The same subquery over the same view asks the same.
impl PartialEq for Evaluated {
    fn eq(&self, other: &Self) -> bool {
        self.question == other.question && self.plan == other.plan
    }
}

impl Eq for Evaluated {}

impl Hash for Evaluated {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.question.hash(state);
        self.plan.hash(state);
    }
}

impl ScalarUDFImpl for Evaluated {
    fn name(&self) -> &str {
        match self.question {
            Question::Value => asks::VALUE,
            Question::Exists { .. } => asks::EXISTS,
            Question::In { .. } => asks::IN,
            Question::Rows => asks::ROWS,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.result.clone())
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let (own, outer) = match self.question {
            Question::In { .. } => (arrays.first(), arrays.get(1..).unwrap_or_default()),
            _ => (None, arrays.as_slice()),
        };
        let keys = encoded(outer)?;
        let key = |row: usize| keys.as_ref().map_or(&[][..], |keys| keys.row(row).data());
        let mut numbers: HashMap<&[u8], u32> = HashMap::new();
        let (mut answers, mut of_rows) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            of_rows.push(match numbers.entry(key(row)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    answers.push(self.answer(new.key(), outer, row)?);
                    *new.insert(answers.len() as u32 - 1)
                }
            });
        }
        let array: ArrayRef = match (self.question, own) {
            _ if rows == 0 => arrow::array::new_empty_array(&self.result),
            (Question::In { negated }, Some(own)) => Arc::new(among(own, &answers, &of_rows, negated)?),
            _ => {
                let values = answers.into_iter().map(|answer| self.value(answer));
                let values = ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?)?;
                arrow::compute::take(&values, &UInt32Array::from(of_rows), None)?
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// Rows of these columns as bytes that differ where anything does; `None` for no columns.
fn encoded(columns: &[ArrayRef]) -> Result<Option<Rows>> {
    if columns.is_empty() {
        return Ok(None);
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    Ok(Some(RowConverter::new(fields)?.convert_columns(columns)?))
}

/// Whether each value is among those of its row's answer, with SQL's NULLs.
fn among(own: &ArrayRef, answers: &[Answer], of_rows: &[u32], negated: bool) -> Result<BooleanArray> {
    let asked = element_codec(own.data_type())?.of_keys(std::slice::from_ref(own))?;
    let found = of_rows.iter().enumerate().map(|(row, number)| {
        let Answer::Set { values, has_null } = &answers[*number as usize] else {
            return Err(Error::internal("IN asks for a set"));
        };
        let found = match own.is_null(row) {
            _ if values.is_empty() && !has_null => Some(false),
            true => None,
            false if values.contains(asked.row(row).data()) => Some(true),
            false if *has_null => None,
            false => Some(false),
        };
        Ok(found.map(|found| found != negated))
    });
    found.collect()
}

fn element_codec(ty: &DataType) -> Result<KeyCodec> {
    KeyCodec::new(&Schema::new(vec![Field::new("value", ty.clone(), true)]), vec![0])
}

impl Evaluated {
    fn value(&self, answer: Answer) -> Result<ScalarValue> {
        match (answer, self.question) {
            (Answer::Found(found), Question::Exists { negated }) => Ok(ScalarValue::Boolean(Some(found != negated))),
            (Answer::Value(value), _) => Ok(value),
            _ => Err(Error::internal("an answer to another question")),
        }
    }

    /// What the subquery says for the outer columns' values in this row, which are `key` as bytes.
    fn answer(&self, key: &[u8], outer: &[ArrayRef], row: usize) -> Result<Answer> {
        if let Some(answer) = self.remembered.lock().get(key) {
            return Ok(answer);
        }
        let value = |array: &ArrayRef| ScalarValue::try_from_array(array, row);
        let values = outer.iter().map(value).collect::<DfResult<Vec<_>>>()?;
        let values: Vec<(Column, ScalarValue)> = self.outer.iter().cloned().zip(values).collect();
        let plan = substitute(self.plan.clone(), &values)?;
        let plan = match self.question {
            Question::Exists { .. } => LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?,
            Question::Value => LogicalPlanBuilder::from(plan).limit(0, Some(2))?.build()?,
            Question::In { .. } | Question::Rows => plan,
        };
        let batches = run::collect_plan(&plan, &self.view, &self.facts, self.subqueries)?;
        let answer = self.read(&batches)?;
        let bytes = key.len() + answer.bytes();
        self.remembered.lock().insert(key.into(), answer.clone(), bytes);
        Ok(answer)
    }

    fn read(&self, batches: &[RecordBatch]) -> Result<Answer> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let cells = batches.iter().filter(|batch| batch.num_rows() > 0).map(|batch| batch.column(0));
        match self.question {
            Question::Exists { .. } => Ok(Answer::Found(rows > 0)),
            Question::Value if rows > 1 => Err(several_rows()),
            Question::Value => match cells.last() {
                Some(array) => Ok(Answer::Value(ScalarValue::try_from_array(array, 0)?)),
                None => Ok(Answer::Value(ScalarValue::try_from(&self.result)?)),
            },
            Question::Rows => Ok(Answer::Value(lateral::list_of(batches, &self.result)?)),
            Question::In { .. } => {
                let mut values = HashSet::with_capacity(rows);
                let mut has_null = false;
                for array in cells {
                    let keys = element_codec(array.data_type())?.of_keys(std::slice::from_ref(array))?;
                    for (row, key) in keys.iter().enumerate() {
                        match array.is_null(row) {
                            true => has_null = true,
                            false => drop(values.insert(key.data().into())),
                        }
                    }
                }
                Ok(Answer::Set { values: Arc::new(values), has_null })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};
    use datafusion::logical_expr::{exists, in_subquery, not_in_subquery, out_ref_col, scalar_subquery};
    use datafusion::prelude::{col, lit};

    use super::*;
    use crate::error::SqlState;
    use crate::query::optimize;
    use crate::query::system::NoFacts;
    use crate::query::testing::{Memory, bound, scan, shown};
    use crate::types::Type;

    /// a(id, v): (1, 10), (2, 20), (3, NULL); b(k, w): (1, 'x'), (2, 'y'), (2, 'z').
    fn memory() -> (Memory, LogicalPlanBuilder, LogicalPlanBuilder) {
        let mut memory = Memory::new();
        let a = memory.table("a", &[("id", Type::Int4), ("v", Type::Int4)], &[0]);
        let b = memory.stream("b", &[("k", Type::Int4), ("w", Type::Text)]);
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        memory.fill(&a, vec![ids, Arc::new(Int32Array::from(vec![Some(10), Some(20), None]))]);
        let words = StringArray::from(vec!["x", "y", "z"]);
        memory.fill(&b, vec![Arc::new(Int32Array::from(vec![1, 2, 2])), Arc::new(words)]);
        (memory, scan(&a, false), scan(&b, false))
    }

    fn answer(memory: &Memory, plan: LogicalPlanBuilder) -> Result<Vec<String>> {
        let query = bound(plan.build().unwrap());
        let joined = run::collect(&query, &Arc::from([]), memory.view()).map(|rows| shown(&rows));
        let each_row = run::collect_plan(&query.plan, &memory.view(), &facts(), Subqueries::EachRow);
        match (&joined, each_row) {
            (Ok(joined), Ok(each_row)) => assert_eq!(*joined, shown(&each_row)),
            (Err(joined), Err(each_row)) => assert_eq!(joined.state(), each_row.state()),
            (joined, each_row) => panic!("{joined:?} joined, {each_row:?} row by row"),
        }
        joined
    }

    fn facts() -> Arc<dyn RuntimeFacts> {
        Arc::new(NoFacts)
    }

    #[test]
    fn what_the_rules_leave_is_joined_if_it_can_be() {
        let (memory, a, b) = memory();
        let optimized = |plan: LogicalPlanBuilder, subqueries| {
            let (plan, none) = (plan.build().unwrap(), Arc::from([]));
            optimize::optimize(plan, &none, &memory.view(), &facts(), subqueries).unwrap().to_string()
        };
        let later = exists(Arc::new(b.clone().filter(col("k").gt(id())).unwrap().build().unwrap()));
        let plan = |a: LogicalPlanBuilder| a.project(vec![col("id"), later.clone().alias("found")]).unwrap();
        let joined = optimized(plan(a.clone()), Subqueries::Joined);
        assert!(joined.contains("Join") && !joined.contains("exists("), "{joined}");
        assert!(optimized(plan(a.clone()), Subqueries::EachRow).contains("exists("));
        // The first row after some other would be looked for among all pairs, but not that of the same key.
        let first = |b: LogicalPlanBuilder| {
            let first = b.sort(vec![col("w").sort(true, true)]).unwrap().limit(0, Some(1)).unwrap();
            let first = scalar_subquery(Arc::new(first.project(vec![col("w")]).unwrap().build().unwrap()));
            optimized(a.clone().project(vec![first.alias("first")]).unwrap(), Subqueries::Joined)
        };
        let later = first(b.clone().filter(col("k").gt(id())).unwrap());
        assert!(later.contains("subquery("), "{later}");
        assert!(!first(b.filter(col("k").eq(id())).unwrap()).contains("subquery("));
        // Which rows LIMIT takes is not sure to be the same twice.
        let some = a.limit(0, Some(2)).unwrap();
        assert!(optimized(plan(some), Subqueries::Joined).contains("exists("));
    }

    fn id() -> Expr {
        out_ref_col(DataType::Int32, "a.id")
    }

    #[test]
    fn a_scalar_subquery_may_find_no_row_or_one() {
        let (memory, a, b) = memory();
        let words = b.filter(col("k").eq(id()).and(col("w").not_eq(lit("z")))).unwrap();
        let words = words.project(vec![col("w")]).unwrap().build().unwrap();
        let plan = a.project(vec![col("id"), scalar_subquery(Arc::new(words)).alias("word")]).unwrap();
        assert_eq!(answer(&memory, plan).unwrap(), ["1 x", "2 y", "3"]);
    }

    #[test]
    fn several_rows_fail_only_where_they_are_asked_for() {
        let (memory, a, b) = memory();
        let words = b.filter(col("k").eq(id())).unwrap().project(vec![col("w")]).unwrap().build().unwrap();
        let word = scalar_subquery(Arc::new(words)).alias("word");
        let some = a.clone().filter(col("id").not_eq(lit(2))).unwrap().project(vec![word.clone()]).unwrap();
        assert_eq!(answer(&memory, some).unwrap(), ["", "x"]);
        let error = answer(&memory, a.project(vec![word]).unwrap()).unwrap_err();
        assert_eq!(error.state(), SqlState::CARDINALITY_VIOLATION);
    }

    #[test]
    fn a_correlation_may_be_any_comparison() {
        let (memory, a, b) = memory();
        let larger = b.filter(col("k").gt(id())).unwrap().project(vec![col("w")]).unwrap();
        let largest = larger.sort(vec![col("w").sort(false, true)]).unwrap().limit(0, Some(1)).unwrap();
        let largest = scalar_subquery(Arc::new(largest.build().unwrap())).alias("largest");
        let plan = a.project(vec![col("id"), largest]).unwrap();
        assert_eq!(answer(&memory, plan).unwrap(), ["1 z", "2", "3"]);
    }

    #[test]
    fn exists_may_be_a_value() {
        let (memory, a, b) = memory();
        let same = b.filter(col("k").eq(id())).unwrap().build().unwrap();
        let plan = a.project(vec![col("id"), exists(Arc::new(same)).alias("found")]).unwrap();
        assert_eq!(answer(&memory, plan).unwrap(), ["1 true", "2 true", "3 false"]);
    }

    #[test]
    fn in_keeps_its_third_value() {
        let (memory, a, b) = memory();
        let values = a.clone().project(vec![col("v")]).unwrap().build().unwrap();
        let values = Arc::new(values);
        // 1 is not among (10, 20, NULL): unknown, so NOT of it is unknown too.
        let unknown = not_in_subquery(col("k") + lit(9), values.clone());
        let plan = b.clone().project(vec![col("w"), unknown.alias("missing")]).unwrap();
        assert_eq!(answer(&memory, plan).unwrap(), ["x false", "y", "z"]);
        let or = not_in_subquery(col("k"), values.clone()).or(col("w").eq(lit("x")));
        let plan = b.clone().filter(or).unwrap().project(vec![col("w")]).unwrap();
        assert_eq!(answer(&memory, plan).unwrap(), ["x"]);
        let top = b.clone().filter(not_in_subquery(col("k"), values.clone())).unwrap();
        assert!(answer(&memory, top).unwrap().is_empty());
        let found = b.filter(in_subquery(col("k") + lit(9), values)).unwrap().project(vec![col("w")]).unwrap();
        assert_eq!(answer(&memory, found).unwrap(), ["x"]);
    }
}
