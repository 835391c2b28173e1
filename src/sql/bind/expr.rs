//! Scalar expressions: every node typed, every cast written out.

use std::borrow::Cow;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use sqlparser::ast::{self, Spanned};

use super::scope::place;
use super::{Binder, Clause, deep, unknown_parameters};
use crate::error::{Error, Result, SqlState};
use crate::sql::functions::conditional;
use crate::sql::registry::{self, CastContext, Typed};
use crate::sql::statement::fold;
use crate::sql::{arrays, catalog_functions};
use crate::types::{StructField, Type, interval_input};

impl Binder<'_> {
    pub(super) fn expr(&mut self, expr: &ast::Expr) -> Result<Typed> {
        deep(|| self.expr_here(expr))
    }

    fn expr_here(&mut self, expr: &ast::Expr) -> Result<Typed> {
        use ast::Expr as E;
        match expr {
            E::Identifier(ident) => self.identifier(ident),
            E::CompoundIdentifier(idents) => self.compound(idents),
            E::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            E::Nested(inner) => self.expr(inner),
            E::Value(value) => self.value(value),
            E::Prefixed { value, .. } => self.expr(value),
            E::TypedString(typed) => self.typed_string(typed),
            E::Interval(interval) => self.interval(interval),
            E::BinaryOp { left, op, right } => self.binary(left, op, right),
            E::UnaryOp { op, expr } => self.unary(op, expr),
            E::IsNull(inner) => self.is_null(inner, false),
            E::IsNotNull(inner) => self.is_null(inner, true),
            E::IsTrue(inner) => self.truth(inner, "IS TRUE", Expr::IsTrue),
            E::IsNotTrue(inner) => self.truth(inner, "IS NOT TRUE", Expr::IsNotTrue),
            E::IsFalse(inner) => self.truth(inner, "IS FALSE", Expr::IsFalse),
            E::IsNotFalse(inner) => self.truth(inner, "IS NOT FALSE", Expr::IsNotFalse),
            E::IsUnknown(inner) => self.truth(inner, "IS UNKNOWN", Expr::IsUnknown),
            E::IsNotUnknown(inner) => self.truth(inner, "IS NOT UNKNOWN", Expr::IsNotUnknown),
            E::IsDistinctFrom(left, right) => self.distinct_from(left, right, true),
            E::IsNotDistinctFrom(left, right) => self.distinct_from(left, right, false),
            E::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            E::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~" } else { "~~" }, expr, pattern, escape_char.as_ref(), "like_escape")
            }
            E::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~*" } else { "~~*" }, expr, pattern, escape_char.as_ref(), "like_escape")
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.like(if *negated { "!~" } else { "~" }, expr, pattern, escape_char.as_ref(), "similar_to_escape")
            }
            E::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, false),
            E::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true),
            E::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            E::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, .. } => {
                self.cast(expr, data_type)
            }
            E::AtTimeZone { timestamp, time_zone } => {
                let at = position(time_zone);
                let (value, zone) = (self.expr(timestamp)?, self.expr(time_zone)?);
                self.scalar_call("timezone", vec![zone, value], at)
            }
            E::Extract { field, expr, .. } => {
                let at = position(expr);
                let field = registry::text_literal(field.to_string().trim_matches(['\'', '"']).to_ascii_lowercase());
                let value = self.expr(expr)?;
                self.scalar_call("extract", vec![field, value], at)
            }
            E::Ceil { expr, .. } => self.named_call("ceil", &[expr]),
            E::Floor { expr, .. } => self.named_call("floor", &[expr]),
            // Postgres's function has the text first.
            E::Position { expr, r#in } => self.named_call("position", &[r#in, expr]),
            E::Substring { expr, substring_from, substring_for, shorthand, .. } => {
                let mut args = vec![self.expr(expr)?];
                match (substring_from, substring_for) {
                    (None, Some(_)) => args.push(registry::int_literal(1)),
                    (Some(from), _) => args.push(self.expr(from)?),
                    (None, None) => {}
                }
                if let Some(length) = substring_for {
                    args.push(self.expr(length)?);
                }
                self.scalar_call(if *shorthand { "substr" } else { "substring" }, args, position(expr))
            }
            E::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => "btrim",
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                };
                let mut args = vec![self.expr(expr)?];
                let characters = trim_what.as_deref().or(trim_characters.as_ref().and_then(|list| list.first()));
                if let Some(characters) = characters {
                    args.push(self.expr(characters)?);
                }
                self.scalar_call(name, args, position(expr))
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args: Vec<&ast::Expr> = vec![expr, overlay_what, overlay_from];
                args.extend(overlay_for.as_deref());
                self.named_call("overlay", &args)
            }
            E::Collate { expr, collation } => {
                crate::sql::parse::check_collation(collation)?;
                self.expr(expr)
            }
            E::Function(function) => self.call(function),
            E::Exists { subquery, negated } => self.exists(subquery, *negated),
            E::Subquery(query) => self.scalar_subquery(query),
            E::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated),
            E::Array(array) if array.named => self.array(&array.elem),
            E::Array(array) => Err(brackets(array)),
            E::Tuple(elements) => self.row_value(elements),
            E::GroupingSets(_) | E::Cube(_) | E::Rollup(_) => {
                Err(Error::new(SqlState::SYNTAX_ERROR, "GROUPING SETS, CUBE and ROLLUP belong into GROUP BY"))
            }
            E::Wildcard(_) | E::QualifiedWildcard(..) => {
                Err(Error::new(SqlState::SYNTAX_ERROR, "row expansion via \"*\" is not supported here")
                    .or_position(position(expr)))
            }
            other => {
                let shown: String = other.to_string().chars().take(60).collect();
                Err(Error::unsupported(
                    format!("the expression {shown}"),
                    "Write it with Postgres's operators and functions.",
                )
                .or_position(position(other)))
            }
        }
    }

    pub(super) fn exprs(&mut self, exprs: &[ast::Expr]) -> Result<Vec<Typed>> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    /// A scalar function, of SQL's own syntax, over arguments in order.
    fn named_call(&mut self, name: &str, args: &[&ast::Expr]) -> Result<Typed> {
        let at = args.first().and_then(|arg| position(arg));
        let args = args.iter().map(|arg| self.expr(arg)).collect::<Result<Vec<_>>>()?;
        self.scalar_call(name, args, at)
    }

    pub(super) fn scalar_call(&mut self, name: &str, args: Vec<Typed>, at: Option<u32>) -> Result<Typed> {
        self.refuse_in_view(name).map_err(|error| error.or_position(at))?;
        let unknown = unknown_parameters(&args);
        if catalog_functions::exists(name) {
            let typed = catalog_functions::call(name, args, self.context).map_err(|error| error.or_position(at))?;
            self.learn_from(&unknown, &typed.expr);
            return Ok(typed);
        }
        let typed = registry::function(name, args, &self.context.session).map_err(|error| error.or_position(at))?;
        self.learn_from(&unknown, &typed.expr);
        Ok(typed)
    }

    pub(super) fn operator(&mut self, name: &str, left: Option<Typed>, right: Typed, at: Option<u32>) -> Result<Typed> {
        let mut unknown = unknown_parameters(std::slice::from_ref(&right));
        unknown.extend(left.iter().flat_map(|left| unknown_parameters(std::slice::from_ref(left))));
        let typed = registry::operator(name, left, right).map_err(|error| error.or_position(at))?;
        self.learn_from(&unknown, &typed.expr);
        Ok(typed)
    }

    pub(super) fn value(&mut self, value: &ast::ValueWithSpan) -> Result<Typed> {
        use ast::Value as V;
        let at = Some(value.span.start.column as u32).filter(|at| *at > 0);
        Ok(match &value.value {
            V::Number(digits, _) => registry::number_literal(digits).map_err(|error| error.or_position(at))?,
            V::SingleQuotedString(text)
            | V::EscapedStringLiteral(text)
            | V::UnicodeStringLiteral(text)
            | V::NationalStringLiteral(text) => registry::unknown_literal(text.clone()),
            V::DollarQuotedString(text) => registry::unknown_literal(text.value.clone()),
            V::Boolean(value) => registry::bool_literal(Some(*value)),
            V::Null => Typed::new(Expr::Literal(ScalarValue::Utf8(None), None), Type::Unknown),
            V::Placeholder(name) => self.parameter(name, at)?,
            other => {
                return Err(Error::unsupported(format!("the literal {other}"), "Use a string literal with a cast.")
                    .or_position(at));
            }
        })
    }

    /// `$n`, of the type that the client or an earlier place gave it.
    fn parameter(&mut self, name: &str, at: Option<u32>) -> Result<Typed> {
        let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let number = match number {
            Some(number @ 1..=65535) => number,
            _ => {
                let message = format!("there is no parameter {name}");
                return Err(Error::new(SqlState::UNDEFINED_PARAMETER, message).or_position(at));
            }
        };
        if self.context.for_view {
            return Err(Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {name}"))
                .with_hint("A view's definition has no parameters; filter when you read it.")
                .or_position(at));
        }
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        let placeholder = datafusion::logical_expr::expr::Placeholder::new_with_field(format!("${number}"), None);
        Ok(match self.parameters[number - 1].clone().filter(|ty| *ty != Type::Unknown) {
            Some(ty) => Typed::new(Expr::Placeholder(registry::typed_parameter(&placeholder, &ty)), ty),
            None => Typed::new(Expr::Placeholder(placeholder), Type::Unknown),
        })
    }

    fn typed_string(&mut self, typed: &ast::TypedString) -> Result<Typed> {
        let at = Some(typed.value.span.start.column as u32).filter(|at| *at > 0);
        let ty = registry::parse_type(&typed.data_type)?;
        let value = self.value(&typed.value)?;
        let typed = self.coerce(value, &ty, CastContext::Explicit).map_err(|error| error.or_position(at))?;
        Ok(Typed::new(typed.expr, typed.ty.unrounded()))
    }

    /// `INTERVAL '1 day'`, `INTERVAL '1' DAY`, `INTERVAL '1-2' YEAR TO MONTH`.
    fn interval(&mut self, interval_of: &ast::Interval) -> Result<Typed> {
        let at = position(&interval_of.value);
        let value = self.expr(&interval_of.value)?;
        if let (Expr::Literal(ScalarValue::Utf8(Some(text)), _), Some(first)) =
            (&value.expr, &interval_of.leading_field)
            && value.ty == Type::Unknown
        {
            let digits = interval_of.fractional_seconds_precision.or(interval_of.leading_precision);
            let last = interval_of.last_field.as_ref().unwrap_or(first);
            let (Some(first), Some(last)) = (interval_field(first), interval_field(last)) else {
                // INTERVAL '2' WEEK, which Postgres does not know.
                let text = registry::unknown_literal(format!("{} {first}", text.trim()));
                return self
                    .coerce(text, &Type::Interval, CastContext::Explicit)
                    .map_err(|error| error.or_position(at));
            };
            let span = interval_input::parse_fields(text, first, last, digits.map_or(6, |digits| digits.min(6) as u8))
                .map_err(|error| error.or_position(at))?;
            let span = Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(span)), None);
            return Ok(Typed::new(span, Type::Interval));
        }
        if value.ty != Type::Unknown {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "an interval is written as a string: INTERVAL '1 day'")
                .or_position(at));
        }
        self.coerce(value, &Type::Interval, CastContext::Explicit).map_err(|error| error.or_position(at))
    }

    fn binary(&mut self, left: &ast::Expr, op: &ast::BinaryOperator, right: &ast::Expr) -> Result<Typed> {
        use ast::BinaryOperator as B;
        if matches!(op, B::And | B::Or) {
            return self.connective(left, op, right);
        }
        let name = operator_name(op);
        if matches!(op, B::Overlaps) {
            return self.overlaps(left, right);
        }
        if let (Some(left), Some(right)) = (row_elements(left), row_elements(right)) {
            return self.row_comparison(&left, &name, &right);
        }
        if let (Some(left), ast::Expr::Subquery(query)) = (row_elements(left), right) {
            return self.row_with_subquery(&left, &name, query);
        }
        let at = operator_position(left, &name, right);
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        self.operator(&name, Some(left), right, at)
    }

    /// A chain of ANDs or ORs, however long, as a balanced tree.
    fn connective(&mut self, left: &ast::Expr, op: &ast::BinaryOperator, right: &ast::Expr) -> Result<Typed> {
        let mut operands = vec![right];
        let mut rest = left;
        while let ast::Expr::BinaryOp { left, op: inner, right } = rest
            && inner == op
        {
            operands.push(right);
            rest = left;
        }
        operands.push(rest);
        let (word, op) = match op {
            ast::BinaryOperator::And => ("AND", Operator::And),
            _ => ("OR", Operator::Or),
        };
        let mut bound = Vec::with_capacity(operands.len());
        for operand in operands.into_iter().rev() {
            let typed = self.expr(operand)?;
            bound.push(self.condition(typed, word).map_err(|error| error.or_position(position(operand)))?);
        }
        Ok(Typed::new(balanced(bound, op), Type::Bool))
    }

    fn unary(&mut self, op: &ast::UnaryOperator, operand: &ast::Expr) -> Result<Typed> {
        use ast::UnaryOperator as U;
        let at = position(operand).map(|at| at.saturating_sub(1).max(1));
        match op {
            U::Not => {
                let typed = self.expr(operand)?;
                let condition = self.condition(typed, "NOT").map_err(|error| error.or_position(position(operand)))?;
                Ok(Typed::new(Expr::Not(Box::new(condition)), Type::Bool))
            }
            U::Minus => {
                // The sign belongs to the literal: -2147483648 is an integer.
                if let Some((negative, digits)) = signed_number(operand) {
                    let sign = if negative { "" } else { "-" };
                    return registry::number_literal(&format!("{sign}{digits}")).map_err(|error| error.or_position(at));
                }
                let typed = self.expr(operand)?;
                self.operator("-", None, typed, at)
            }
            other => {
                let typed = self.expr(operand)?;
                self.operator(&other.to_string(), None, typed, at)
            }
        }
    }

    fn is_null(&mut self, inner: &ast::Expr, negated: bool) -> Result<Typed> {
        let typed = self.expr(inner)?;
        // A row is NULL when all its fields are, and NOT NULL when none is.
        if let Type::Struct(fields) = &typed.ty {
            let mut parts = Vec::with_capacity(fields.len());
            for field in fields {
                let value = Box::new(self.field(typed.clone(), &field.name)?.expr);
                parts.push(if negated { Expr::IsNotNull(value) } else { Expr::IsNull(value) });
            }
            return Ok(Typed::new(balanced(parts, Operator::And), Type::Bool));
        }
        let typed = self.coerce_unknown(typed)?;
        let operand = Box::new(typed.expr);
        Ok(Typed::new(if negated { Expr::IsNotNull(operand) } else { Expr::IsNull(operand) }, Type::Bool))
    }

    pub(super) fn coerce_unknown(&mut self, typed: Typed) -> Result<Typed> {
        match typed.ty {
            Type::Unknown => self.coerce(typed, &Type::Text, CastContext::Implicit),
            _ => Ok(typed),
        }
    }

    fn truth(&mut self, inner: &ast::Expr, name: &str, make: fn(Box<Expr>) -> Expr) -> Result<Typed> {
        let typed = self.expr(inner)?;
        let condition = self.condition(typed, name).map_err(|error| error.or_position(position(inner)))?;
        Ok(Typed::new(make(Box::new(condition)), Type::Bool))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Typed> {
        let operand = operand.map(|operand| self.expr(operand)).transpose()?;
        let mut whens = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for when in conditions {
            let at = position(&when.condition);
            let condition = self.expr(&when.condition)?;
            let condition = match &operand {
                Some(operand) => self.operator("=", Some(operand.clone()), condition, at)?.expr,
                None => self.condition(condition, "CASE/WHEN").map_err(|error| error.or_position(at))?,
            };
            whens.push(condition);
            results.push((self.expr(&when.result)?, position(&when.result)));
        }
        if let Some(otherwise) = otherwise {
            results.push((self.expr(otherwise)?, position(otherwise)));
        }
        // ELSE says more of the type than the others, as in PostgreSQL.
        let (of_when, of_else) = results.split_at(conditions.len());
        let ty = self.common(of_else.iter().chain(of_when).map(|(typed, at)| (typed, *at)), "CASE")?;
        let mut cast = Vec::with_capacity(results.len());
        for (typed, at) in results {
            cast.push(self.coerce(typed, &ty, CastContext::Implicit).map_err(|error| error.or_position(at))?.expr);
        }
        let otherwise = match otherwise.and_then(|_| cast.pop()) {
            Some(otherwise) => otherwise,
            None => registry::literal_null(&ty)?.expr,
        };
        Ok(Typed::new(conditional::case(whens.into_iter().zip(cast).collect(), otherwise, &ty), ty))
    }

    /// The common type, with the position of the first that doesn't fit those before it.
    pub(super) fn common<'t>(
        &self,
        typed: impl Iterator<Item = (&'t Typed, Option<u32>)>,
        construct: &str,
    ) -> Result<Type> {
        let mut common = registry::CommonType::default();
        for (typed, at) in typed {
            common.add(typed, construct).map_err(|error| error.or_position(at))?;
        }
        Ok(common.finish())
    }

    fn cast(&mut self, expr: &ast::Expr, data_type: &ast::DataType) -> Result<Typed> {
        let typed = self.cast_to(expr, data_type)?;
        Ok(Typed::new(typed.expr, typed.ty.unrounded()))
    }

    fn cast_to(&mut self, expr: &ast::Expr, data_type: &ast::DataType) -> Result<Typed> {
        let at = position(expr);
        let to = registry::parse_type(data_type).map_err(|error| error.or_position(at))?;
        if let (ast::Expr::Array(array), Type::Array(item)) = (expr, &to)
            && array.named
        {
            let mut elements = Vec::with_capacity(array.elem.len());
            for element in &array.elem {
                let typed = self.array_element(element)?;
                let typed = self.coerce(typed, item, CastContext::Explicit);
                elements.push(typed.map_err(|error| error.or_position(position(element)))?);
            }
            // As numeric[] they keep their scale.
            let (elements, item) = match elements.is_empty() {
                true => (Vec::new(), item.as_ref().clone()),
                false => registry::coerce_all(elements, "ARRAY")?,
            };
            return arrays::make(elements, &item);
        }
        let typed = self.expr(expr)?;
        if let Some(named) =
            catalog_functions::cast(&typed, &to, self.context).map_err(|error| error.or_position(at))?
        {
            self.learn_from(&unknown_parameters(std::slice::from_ref(&typed)), &named.expr);
            return Ok(named);
        }
        self.coerce(typed, &to, CastContext::Explicit).map_err(|error| error.or_position(at))
    }

    fn array(&mut self, elements: &[ast::Expr]) -> Result<Typed> {
        if elements.is_empty() {
            return Err(Error::new(SqlState::INDETERMINATE_DATATYPE, "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let typed = elements.iter().map(|element| self.array_element(element)).collect::<Result<Vec<_>>>()?;
        let ty = self.common(typed.iter().zip(elements).map(|(typed, element)| (typed, position(element))), "ARRAY")?;
        if matches!(ty, Type::Array(_)) {
            return Err(arrays::nested().or_position(position(&elements[0])));
        }
        let mut items = Vec::with_capacity(typed.len());
        for typed in typed {
            items.push(self.coerce(typed, &ty, CastContext::Implicit)?.expr);
        }
        arrays::make(items, &ty)
    }

    /// Within ARRAY[...] brackets alone are an array too.
    fn array_element(&mut self, element: &ast::Expr) -> Result<Typed> {
        match element {
            ast::Expr::Array(array) => deep(|| self.array(&array.elem)),
            other => self.expr(other),
        }
    }

    /// `ROW(a, b)` or `(a, b)`: fields f1, f2, ...
    pub(super) fn row_value(&mut self, elements: &[ast::Expr]) -> Result<Typed> {
        let mut fields = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let typed = self.expr(element)?;
            fields.push((format!("f{}", index + 1), self.coerce_unknown(typed)?));
        }
        Ok(super::names::row(fields))
    }

    /// `x.y[1].z`: names, fields and subscripts after a value.
    fn access(&mut self, root: &ast::Expr, chain: &[ast::AccessExpr]) -> Result<Typed> {
        let mut chain = chain;
        let mut typed = match root {
            // `t.a[1]`: the dots in front of the first subscript are a name's.
            ast::Expr::Identifier(first) => {
                let mut idents = vec![first.clone()];
                while let [ast::AccessExpr::Dot(ast::Expr::Identifier(next)), rest @ ..] = chain {
                    idents.push(next.clone());
                    chain = rest;
                }
                if idents.len() == 1 { self.identifier(first)? } else { self.compound(&idents)? }
            }
            other => self.expr(other)?,
        };
        let at = position(root);
        // Of several subscripts one that is a slice makes slices of all of them, of as many dimensions.
        let slices =
            |access: &ast::AccessExpr| matches!(access, ast::AccessExpr::Subscript(ast::Subscript::Slice { .. }));
        let subscripts = |access: &ast::AccessExpr| matches!(access, ast::AccessExpr::Subscript(_));
        if chain.windows(2).any(|pair| pair.iter().all(subscripts) && pair.iter().any(slices)) {
            let hint = "Put the slice in brackets to go on from it: (array[1:2])[1].";
            return Err(Error::unsupported("a slice beside other subscripts", hint).or_position(at));
        }
        for access in chain {
            typed = match access {
                ast::AccessExpr::Dot(ast::Expr::Identifier(name)) => self
                    .field(typed, &crate::sql::statement::fold(name))
                    .map_err(|error| error.or_position(place(name)))?,
                ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => {
                    let index = self.expr(index)?;
                    self.subscript(typed, index).map_err(|error| error.or_position(at))?
                }
                ast::AccessExpr::Subscript(ast::Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    let mut bound = |expr: &Option<ast::Expr>| -> Result<Option<Expr>> {
                        let Some(expr) = expr else { return Ok(None) };
                        let typed = self.expr(expr)?;
                        Ok(Some(self.coerce(typed, &Type::Int4, CastContext::Assignment)?.expr))
                    };
                    let (lower, upper) = (bound(lower_bound)?, bound(upper_bound)?);
                    arrays::slice(typed, lower, upper).map_err(|error| error.or_position(at))?
                }
                _ => {
                    return Err(
                        Error::new(SqlState::SYNTAX_ERROR, "improper use of a dot or subscript").or_position(at)
                    );
                }
            };
        }
        Ok(typed)
    }

    fn subscript(&mut self, value: Typed, index: Typed) -> Result<Typed> {
        match value.ty {
            Type::Array(_) => {
                let index = self.coerce(index, &Type::Int4, CastContext::Assignment)?;
                arrays::element(value, index.expr)
            }
            Type::Jsonb => {
                // A key of an object and a place in an array are both a step of a path, which knows what it meets.
                let ty = index.ty.clone();
                let step = match ty {
                    Type::Int2 | Type::Int4 => self.coerce(index, &Type::Text, CastContext::Explicit)?,
                    Type::Unknown | Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name => {
                        self.coerce(index, &Type::Text, CastContext::Implicit)?
                    }
                    _ => {
                        let message = format!("subscript type {} is not supported", ty.bare_name());
                        return Err(Error::new(SqlState::DATATYPE_MISMATCH, message)
                            .with_hint("jsonb subscript must be coercible to either integer or text."));
                    }
                };
                let path = arrays::make(vec![step.expr], &Type::Text)?;
                self.operator("#>", Some(value), path, None)
            }
            _ => {
                let message =
                    format!("cannot subscript type {} because it does not support subscripting", value.ty.bare_name());
                Err(Error::new(SqlState::DATATYPE_MISMATCH, message))
            }
        }
    }

    /// In a view: what would give another answer at another time is refused, by name.
    fn refuse_in_view(&self, name: &str) -> Result<()> {
        match self.context.for_view {
            true => crate::sql::refusals::check_function(name),
            false => Ok(()),
        }
    }

    pub(super) fn forbid_in(&self, what: &str, state: SqlState) -> Error {
        let clause = self.clause();
        let message = match clause {
            Clause::Aggregate if what.starts_with("aggregate") => {
                "aggregate function calls cannot be nested".to_string()
            }
            Clause::Aggregate => {
                format!("aggregate function calls cannot contain {}", what.replace("functions", "function calls"))
            }
            Clause::From if what.starts_with("aggregate") => {
                "aggregate functions are not allowed in FROM clause of their own query level".to_string()
            }
            Clause::Window if what.starts_with("window") => "window function calls cannot be nested".to_string(),
            _ => format!("{what} are not allowed in {}", clause.name()),
        };
        Error::new(state, message)
    }
}

/// 42601 for brackets without ARRAY: a name in another system's quotes, or its array.
fn brackets(array: &ast::Array) -> Error {
    let hint = match array.elem.as_slice() {
        [ast::Expr::Identifier(name)] => format!("Write \"{}\".", name.value),
        _ => "Write ARRAY[...].".to_string(),
    };
    let at = array.elem.first().and_then(position).map(|at| at - 1);
    Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"[\"").with_hint(hint).or_position(at)
}

fn interval_field(field: &ast::DateTimeField) -> Option<interval_input::Field> {
    Some(match field {
        ast::DateTimeField::Year | ast::DateTimeField::Years => interval_input::Field::Year,
        ast::DateTimeField::Month | ast::DateTimeField::Months => interval_input::Field::Month,
        ast::DateTimeField::Day | ast::DateTimeField::Days => interval_input::Field::Day,
        ast::DateTimeField::Hour | ast::DateTimeField::Hours => interval_input::Field::Hour,
        ast::DateTimeField::Minute | ast::DateTimeField::Minutes => interval_input::Field::Minute,
        ast::DateTimeField::Second | ast::DateTimeField::Seconds => interval_input::Field::Second,
        _ => return None,
    })
}

/// A number with its signs, in brackets or not: whether they make it negative, and its digits.
fn signed_number(expr: &ast::Expr) -> Option<(bool, &str)> {
    let (mut negative, mut rest) = (false, expr);
    loop {
        match rest {
            ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), .. }) => {
                return Some((negative, digits));
            }
            ast::Expr::Nested(inner) => rest = inner,
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => (negative, rest) = (!negative, expr),
            _ => return None,
        }
    }
}

/// The operands under one connective, as a tree of logarithmic height. No operands: true for AND, false for OR.
pub(super) fn balanced(mut operands: Vec<Expr>, op: Operator) -> Expr {
    match operands.len() {
        0 => Expr::Literal(ScalarValue::Boolean(Some(op == Operator::And)), None),
        1 => operands.remove(0),
        n => {
            let right = operands.split_off(n / 2);
            let (left, right) = (balanced(operands, op), balanced(right, op));
            Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
        }
    }
}

/// The elements of `(a, b)` or `ROW(a, b)`.
pub(super) fn row_elements(expr: &ast::Expr) -> Option<Cow<'_, [ast::Expr]>> {
    match expr {
        ast::Expr::Tuple(elements) => Some(Cow::Borrowed(elements)),
        ast::Expr::Nested(inner) => row_elements(inner),
        ast::Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. }) => {
            let is_row = matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|name| fold(name) == "row"));
            if !is_row || list.args.is_empty() {
                return None;
            }
            let element = |arg: &ast::FunctionArg| match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            };
            list.args.iter().map(element).collect::<Option<Vec<_>>>().map(Cow::Owned)
        }
        _ => None,
    }
}

/// An operator's name in pg_operator.
pub(super) fn operator_name(op: &ast::BinaryOperator) -> String {
    match op {
        ast::BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().cloned().unwrap_or_default(),
        ast::BinaryOperator::NotEq => "<>".to_string(),
        ast::BinaryOperator::Custom(name) => name.clone(),
        ast::BinaryOperator::PGLikeMatch => "~~".to_string(),
        ast::BinaryOperator::PGILikeMatch => "~~*".to_string(),
        ast::BinaryOperator::PGNotLikeMatch => "!~~".to_string(),
        ast::BinaryOperator::PGNotILikeMatch => "!~~*".to_string(),
        other => other.to_string(),
    }
}

/// Where an expression starts, as an error's position.
pub(super) fn position(expr: &ast::Expr) -> Option<u32> {
    Some(expr.span().start.column as u32).filter(|at| *at > 0)
}

/// Where an operator stands: the tree doesn't say, so the middle of the gap between its operands.
pub(super) fn operator_position(left: &ast::Expr, name: &str, right: &ast::Expr) -> Option<u32> {
    let (end, start) = (left.span().end.column, right.span().start.column);
    if end == 0 || start <= end {
        return position(left);
    }
    let gap = start - end;
    Some((end + gap.saturating_sub(name.len() as u64) / 2) as u32)
}

/// A struct's fields with names but no values, for types that are only compared.
pub(super) fn field_names(ty: &Type) -> Option<&[StructField]> {
    match ty {
        Type::Struct(fields) => Some(fields),
        _ => None,
    }
}
