//! Joins of every kind with the arrangements in front of them, against nested loops over the inputs' sums.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::Operator as Op;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::scalar::ScalarValue;

use super::arrange::{Arrange, Arranged};
use super::join::Join;
use super::outer_join::OuterJoin;
use super::semi_join::{SemiJoin, SemiSpec};
use super::spec::SemiKind;
use super::testing::{
    Expected, Input, Keeps, Property, Route, Row, Subject, check, check_bytes, check_seed, normal, schema_of,
};
use super::{Operator, PhysicalExpr, Progress, RowErrors, Step};
use crate::delta::Delta;
use crate::error::{Result, SqlState};
use crate::state::{Deletes, Limits, Spec, Version};

/// Arrangements and the join that reads them. Versions move on while the join still has more to give.
struct Joined {
    make: Arc<dyn Fn(&[Arranged]) -> Box<dyn Operator>>,
    sides: Vec<(SchemaRef, Vec<usize>, bool)>,
    arranges: Vec<Arrange>,
    join: Box<dyn Operator>,
    version: Version,
    /// The version that the join may still read.
    reading: Option<Version>,
}

/// Tiny, so that merging, rewriting and renewing of old rows happen all the time.
fn limits() -> Limits {
    Limits { chunk_rows: 16, chunk_bytes: 1 << 16, slice_rows: 3, reclaim_rows: 8, window: 200, counts: 4 }
}

fn arrange((schema, key, append_only): &(SchemaRef, Vec<usize>, bool)) -> Arrange {
    let deletes = if *append_only { Deletes::None } else { Deletes::Row };
    Arrange::with_spec(schema, key, Spec { deletes, limits: limits() }).unwrap()
}

type Make = Arc<dyn Fn(&[Arranged]) -> Box<dyn Operator>>;

impl Joined {
    fn new(sides: Vec<(SchemaRef, Vec<usize>, bool)>, make: Make) -> Joined {
        let arranges: Vec<Arrange> = sides.iter().map(arrange).collect();
        let join = make(&arranges.iter().map(Arrange::arranged).collect::<Vec<_>>());
        Joined { make, sides, arranges, join, version: 0, reading: None }
    }
}

impl Subject for Joined {
    fn step(&mut self, inputs: &[&[Delta]], step: &mut Step) -> Result<Progress> {
        self.version += 1;
        let before = self.version - 1;
        let oldest = self.reading.unwrap_or(before);
        let (mut passed, mut errors) = (Vec::new(), RowErrors::default());
        for (side, arrange) in self.arranges.iter_mut().enumerate() {
            let mut out = Vec::new();
            let mut step = Step {
                before,
                after: self.version,
                oldest,
                end_of_epoch: step.end_of_epoch,
                now: 0,
                out: &mut out,
                errors: &mut errors,
            };
            assert_eq!(arrange.step(&inputs[side..side + 1], &mut step)?, Progress::Done);
            passed.push(out);
        }
        // A join of an arrangement with itself gets its delta on both sides.
        let given: Vec<&[Delta]> = (0..2).map(|side| passed[side.min(passed.len() - 1)].as_slice()).collect();
        let mut step = Step {
            before,
            after: self.version,
            oldest,
            end_of_epoch: step.end_of_epoch,
            now: 0,
            out: step.out,
            errors: step.errors,
        };
        let progress = self.join.step(&given, &mut step)?;
        self.reading = (progress == Progress::More).then_some(oldest);
        Ok(progress)
    }

    fn save_and_load(&mut self) -> Result<()> {
        let arranges: Vec<Arrange> = self.sides.iter().map(arrange).collect();
        for (old, new) in self.arranges.iter().zip(arranges) {
            let mut new = new;
            new.load(&old.save()?)?;
        }
        let saved: Vec<Vec<u8>> = self.arranges.iter().map(Operator::save).collect::<Result<_>>()?;
        let join = self.join.save()?;
        self.arranges = self.sides.iter().map(arrange).collect();
        self.arranges.iter_mut().zip(saved).try_for_each(|(arrange, saved)| arrange.load(&saved))?;
        self.join = (self.make)(&self.arranges.iter().map(Arrange::arranged).collect::<Vec<_>>());
        self.join.load(&join)
    }

    fn give_back(&mut self) -> Result<()> {
        for arrange in &self.arranges {
            let rows = arrange.arranged().rows;
            while rows.give_back(self.version)?.is_some() {}
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.arranges.iter().map(Operator::state_bytes).sum::<usize>() + self.join.state_bytes()
    }
}

fn left() -> SchemaRef {
    schema_of(&[("k", DataType::Int32), ("f", DataType::Float64), ("v", DataType::Int64)])
}

fn right() -> SchemaRef {
    schema_of(&[("w", DataType::Int64), ("k", DataType::Int32), ("f", DataType::Float64), ("t", DataType::Utf8)])
}

fn concat(left: &SchemaRef, right: &SchemaRef) -> SchemaRef {
    let fields = left.fields().iter().chain(right.fields());
    schema_of(&fields.map(|field| (field.name().as_str(), field.data_type().clone())).collect::<Vec<_>>())
}

/// left.v < right.w
fn less() -> PhysicalExpr {
    Arc::new(BinaryExpr::new(Arc::new(Column::new("v", 2)), Op::Lt, Arc::new(Column::new("w", 3))))
}

fn is_less(left: &Row, right: &Row) -> bool {
    match (&left[2], &right[0]) {
        (ScalarValue::Int64(Some(v)), ScalarValue::Int64(Some(w))) => v < w,
        _ => false,
    }
}

/// A kind of join: which columns are equal, NULLs equal or not, with left.v < right.w or without.
#[derive(Clone)]
struct On {
    left: Vec<usize>,
    right: Vec<usize>,
    nulls: bool,
    less: bool,
    append_only: bool,
    one_worker: bool,
}

fn ons() -> Vec<On> {
    let on = |left: &[usize], right: &[usize], nulls, less| On {
        left: left.to_vec(),
        right: right.to_vec(),
        nulls,
        less,
        append_only: false,
        one_worker: false,
    };
    vec![
        on(&[0], &[1], false, false),
        on(&[0], &[1], true, false),
        on(&[0], &[1], false, true),
        on(&[0], &[1], true, true),
        on(&[1], &[2], true, false),
        on(&[1, 0], &[2, 1], false, true),
        on(&[], &[], false, true),
        on(&[], &[], false, false),
        On { append_only: true, ..on(&[0], &[1], false, true) },
    ]
}

impl On {
    fn filter(&self) -> Option<PhysicalExpr> {
        self.less.then(less)
    }

    fn equal(&self, left: &Row, right: &Row) -> bool {
        self.left.iter().zip(&self.right).all(|(l, r)| {
            let (l, r) = (normal(&left[*l]), normal(&right[*r]));
            if l.is_null() || r.is_null() { self.nulls && l.is_null() && r.is_null() } else { l == r }
        })
    }

    fn matches(&self, left: &Row, right: &Row) -> bool {
        self.equal(left, right) && (!self.less || is_less(left, right))
    }

    fn inputs(&self) -> Vec<Input> {
        let route = |key: &[usize]| if key.is_empty() { Route::One } else { Route::Key(key.to_vec()) };
        let make = if self.append_only { Input::append_only } else { Input::new };
        if self.one_worker {
            return vec![make(&left(), Route::One), make(&right(), Route::One)];
        }
        vec![make(&left(), route(&self.left)), make(&right(), route(&self.right))]
    }

    fn sides(&self) -> Vec<(SchemaRef, Vec<usize>, bool)> {
        vec![(left(), self.left.clone(), self.append_only), (right(), self.right.clone(), self.append_only)]
    }
}

/// Six seeds: there are many kinds of joins, and each step of one moves two arrangements.
fn test(name: &str, on: &On, make: Make, expected: &dyn Fn(&[Vec<Row>]) -> Expected) {
    let property = Property {
        name,
        inputs: on.inputs(),
        subject: &|_| Box::new(Joined::new(on.sides(), make.clone())),
        keeps: Keeps::Rows,
        expected,
    };
    (0..6).for_each(|seed| check_seed(&property, seed));
    // Null-aware joins look at the whole set again with every change of it: too slow for so many rows.
    if on.left == [0] && on.less && !on.nulls && !on.one_worker {
        check_bytes(&property);
    }
}

fn nulls_of(schema: &SchemaRef) -> Row {
    schema.fields().iter().map(|field| ScalarValue::try_from(field.data_type()).unwrap()).collect()
}

fn both(left: &Row, right: &Row) -> Row {
    left.iter().chain(right).cloned().collect()
}

#[test]
fn inner_joins_are_nested_loops() {
    for on in ons() {
        let spec = on.clone();
        let make: Make = Arc::new(move |sides| {
            let output = concat(&left(), &right());
            let join = Join::new(sides[0].clone(), sides[1].clone(), spec.filter(), spec.nulls, &output);
            Box::new(join.with_step_rows(7))
        });
        test("inner join", &on, make, &|inputs| {
            let pairs = inputs[0].iter().flat_map(|l| inputs[1].iter().map(move |r| (l, r)));
            Expected::rows(pairs.filter(|(l, r)| on.matches(l, r)).map(|(l, r)| both(l, r)).collect())
        });
    }
}

#[test]
fn a_relation_joins_itself() {
    let make: Make = Arc::new(|sides| {
        Box::new(
            Join::new(sides[0].clone(), sides[0].clone(), None, false, &concat(&left(), &left())).with_step_rows(9),
        )
    });
    check(&Property {
        name: "self join",
        inputs: vec![Input::new(&left(), Route::Key(vec![0]))],
        subject: &|_| Box::new(Joined::new(vec![(left(), vec![0], false)], make.clone())),
        keeps: Keeps::Rows,
        expected: &|inputs| {
            let pairs = inputs[0].iter().flat_map(|l| inputs[0].iter().map(move |r| (l, r)));
            let equal = pairs.filter(|(l, r)| !l[0].is_null() && l[0] == r[0]);
            Expected::rows(equal.map(|(l, r)| both(l, r)).collect())
        },
    });
}

#[test]
fn a_condition_that_fails_on_a_pair_is_recorded_as_long_as_the_pair_is_there() {
    let on = On { left: vec![0], right: vec![1], nulls: false, less: false, append_only: false, one_worker: false };
    let quotient: PhysicalExpr =
        Arc::new(BinaryExpr::new(Arc::new(Column::new("v", 2)), Op::Divide, Arc::new(Column::new("w", 3))));
    let one: PhysicalExpr = Arc::new(Literal::new(ScalarValue::Int64(Some(1))));
    let filter: PhysicalExpr = Arc::new(BinaryExpr::new(quotient, Op::Eq, one));
    let make: Make = Arc::new(move |sides| {
        let output = concat(&left(), &right());
        Box::new(Join::new(sides[0].clone(), sides[1].clone(), Some(filter.clone()), false, &output))
    });
    test("failing condition", &on, make, &|inputs| {
        let mut expected = Expected::default();
        for (l, r) in inputs[0].iter().flat_map(|l| inputs[1].iter().map(move |r| (l, r))) {
            let (ScalarValue::Int64(Some(v)), ScalarValue::Int64(Some(w))) = (&l[2], &r[0]) else { continue };
            if !on.equal(l, r) {
                continue;
            }
            match w {
                0 => expected.errors.push((SqlState::DIVISION_BY_ZERO, "division by zero".into())),
                w if v / w == 1 => expected.rows.push(both(l, r)),
                _ => {}
            }
        }
        expected
    });
}

#[test]
fn outer_joins_keep_rows_without_match() {
    for on in ons() {
        for preserve in [[true, false], [false, true], [true, true]] {
            let spec = on.clone();
            let make: Make = Arc::new(move |sides| {
                let output = concat(&left(), &right());
                let (l, r) = (sides[0].clone(), sides[1].clone());
                let join = OuterJoin::new(l, r, preserve, spec.filter(), spec.nulls, &output).unwrap();
                Box::new(join.with_step_rows(7))
            });
            test(&format!("outer join {preserve:?}"), &on, make, &|inputs| {
                let (lefts, rights) = (&inputs[0], &inputs[1]);
                let mut rows = Vec::new();
                for l in lefts {
                    let found: Vec<Row> = rights.iter().filter(|r| on.matches(l, r)).map(|r| both(l, r)).collect();
                    if found.is_empty() && preserve[0] {
                        rows.push(both(l, &nulls_of(&right())));
                    }
                    rows.extend(found);
                }
                if preserve[1] {
                    let alone = rights.iter().filter(|r| !lefts.iter().any(|l| on.matches(l, r)));
                    rows.extend(alone.map(|r| both(&nulls_of(&left()), r)));
                }
                Expected::rows(rows)
            });
        }
    }
}

#[test]
fn semi_anti_and_mark_joins_ask_for_a_match() {
    for on in ons() {
        for kind in [SemiKind::Semi, SemiKind::Anti, SemiKind::Mark] {
            let spec = on.clone();
            let make = semi(kind, spec.filter(), false, spec.nulls);
            test(&format!("{kind:?} join"), &on, make, &|inputs| {
                let status = |l: &Row| Some(inputs[1].iter().any(|r| on.matches(l, r)));
                Expected::rows(inputs[0].iter().filter_map(|l| answer(kind, l, status(l))).collect())
            });
        }
    }
}

fn semi(kind: SemiKind, filter: Option<PhysicalExpr>, null_aware: bool, null_equals_null: bool) -> Make {
    Arc::new(move |sides| {
        let mut columns = vec![("k", DataType::Int32), ("f", DataType::Float64), ("v", DataType::Int64)];
        if kind == SemiKind::Mark {
            columns.push(("mark", DataType::Boolean));
        }
        let spec = SemiSpec { kind, filter: filter.clone(), null_aware, null_equals_null };
        let join = SemiJoin::new(sides[0].clone(), sides[1].clone(), spec, &schema_of(&columns)).unwrap();
        Box::new(join.with_step_rows(7))
    })
}

fn answer(kind: SemiKind, row: &Row, status: Option<bool>) -> Option<Row> {
    match kind {
        SemiKind::Semi => (status == Some(true)).then(|| row.clone()),
        SemiKind::Anti => (status == Some(false)).then(|| row.clone()),
        SemiKind::Mark => Some(both(row, &vec![ScalarValue::Boolean(status)])),
    }
}

/// `(l...) IN (select (r...) where condition)`: any true is true, else any NULL is NULL.
#[test]
fn in_and_not_in_follow_three_valued_logic() {
    for mut on in ons().into_iter().filter(|on| !on.nulls) {
        on.one_worker = true;
        for kind in [SemiKind::Semi, SemiKind::Anti, SemiKind::Mark] {
            let make = semi(kind, on.filter(), true, false);
            test(&format!("null-aware {kind:?} join"), &on, make, &|inputs| {
                let status = |l: &Row| {
                    let mut status = Some(false);
                    for r in inputs[1].iter().filter(|r| !on.less || is_less(l, r)) {
                        let mut equal = Some(true);
                        for (a, b) in on.left.iter().zip(&on.right) {
                            let (a, b) = (normal(&l[*a]), normal(&r[*b]));
                            if a.is_null() || b.is_null() {
                                equal = equal.filter(|equal| !equal);
                            } else if a != b {
                                equal = Some(false);
                            }
                        }
                        match equal {
                            Some(true) => return Some(true),
                            None => status = None,
                            Some(false) => {}
                        }
                    }
                    status
                };
                Expected::rows(inputs[0].iter().filter_map(|l| answer(kind, l, status(l))).collect())
            });
        }
    }
}

/// Where each worker has the whole right side, rows of the left side may be anywhere.
#[test]
fn not_in_is_right_on_several_workers_with_the_set_on_each() {
    let make = semi(SemiKind::Anti, None, true, false);
    check(&Property {
        name: "NOT IN, broadcast",
        inputs: vec![Input::new(&left(), Route::Row), Input::new(&right(), Route::All)],
        subject: &|_| {
            let sides = vec![(left(), vec![0], false), (right(), vec![1], false)];
            Box::new(Joined::new(sides, make.clone()))
        },
        keeps: Keeps::Rows,
        expected: &|inputs| {
            let kept = inputs[0].iter().filter(|l| {
                inputs[1].is_empty() || (!l[0].is_null() && inputs[1].iter().all(|r| !r[1].is_null() && r[1] != l[0]))
            });
            Expected::rows(kept.cloned().collect())
        },
    });
}
