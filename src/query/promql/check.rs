//! Types of PromQL: what an expression gives, and whether its parts fit. Error texts are
//! Prometheus'.

use crate::model::metric::NAME;

use super::ast::{Binary, Call, Cardinality, Expr, Function, Kind, Place, Selector, Type};
use super::parse::{ParseError, error_at};
use super::print::quote;

type Checked<T> = Result<T, ParseError>;

/// How many arguments more than its types a function takes: `round(v)` and `round(v, 5)`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Exact,
    /// The last type may be left out, or come up to so many times.
    UpTo(usize),
    /// The last type may be left out, or come any number of times.
    Any,
}

/// What an expression gives.
pub(crate) fn return_type(expr: &Expr) -> Type {
    type_of(&expr.kind)
}

fn type_of(kind: &Kind) -> Type {
    match kind {
        Kind::Number(_) => Type::Scalar,
        Kind::String(_) => Type::String,
        Kind::Paren(inner) | Kind::Negate(inner) => return_type(inner),
        Kind::Binary(binary) => {
            let both = (return_type(&binary.left), return_type(&binary.right));
            match both == (Type::Scalar, Type::Scalar) {
                true => Type::Scalar,
                false => Type::Vector,
            }
        }
        Kind::Aggregate(_) | Kind::Vector(_) => Type::Vector,
        Kind::Call(call) => returns(call.function),
        Kind::Matrix(..) | Kind::Subquery(_) => Type::Matrix,
    }
}

/// Checks types, and settles how the sides of binary operators are matched.
pub(super) fn check(expr: &mut Expr, text: &str) -> Checked<()> {
    Checker { text }.expr(expr)
}

/// Of a sign that changes nothing only this is left to check.
pub(super) fn signed(kind: &Kind, text: &str, place: &Place) -> Checked<()> {
    let got = type_of(kind);
    if matches!(got, Type::Scalar | Type::Vector) {
        return Ok(());
    }
    let got = quote(got.documented());
    let message = format!(
        "unary expression only allowed on expressions of type scalar or instant vector, got {got}"
    );
    error_at(text, place, message)
}

struct Checker<'t> {
    text: &'t str,
}

impl Checker<'_> {
    fn expr(&self, expr: &mut Expr) -> Checked<()> {
        let place = expr.place.clone();
        match &mut expr.kind {
            Kind::Number(_) | Kind::String(_) => Ok(()),
            Kind::Paren(inner) => self.expr(inner),
            Kind::Negate(inner) => {
                self.expr(inner)?;
                signed(&inner.kind, self.text, &place)
            }
            Kind::Binary(binary) => self.binary(binary, &place),
            Kind::Aggregate(aggregate) => {
                self.expect(&mut aggregate.expr, Type::Vector, "aggregation expression")?;
                let Some(parameter) = &mut aggregate.parameter else {
                    return Ok(());
                };
                let wanted = match aggregate.op {
                    super::ast::Aggregation::CountValues => Type::String,
                    _ => Type::Scalar,
                };
                self.expect(parameter, wanted, "aggregation parameter")
            }
            Kind::Call(call) => self.call(call, &place),
            Kind::Vector(selector) | Kind::Matrix(selector, _) => {
                self.selector(selector, &place, false)
            }
            Kind::Subquery(subquery) => {
                self.expr(&mut subquery.expr)?;
                match return_type(&subquery.expr) {
                    Type::Vector => Ok(()),
                    got => {
                        let got = got.name();
                        let what = format!(
                            "subquery is only allowed on instant vector, got {got} instead"
                        );
                        self.error(&place, what)
                    }
                }
            }
        }
    }

    fn error<T>(&self, place: &Place, message: impl Into<String>) -> Checked<T> {
        error_at(self.text, place, message)
    }

    fn expect(&self, expr: &mut Expr, wanted: Type, context: &str) -> Checked<()> {
        self.expr(expr)?;
        let got = return_type(expr);
        if got == wanted {
            return Ok(());
        }
        let (wanted, got) = (wanted.documented(), got.documented());
        let message = format!("expected type {wanted} in {context}, got {got}");
        self.error(&expr.place, message)
    }

    fn binary(&self, binary: &mut Binary, place: &Place) -> Checked<()> {
        self.expr(&mut binary.left)?;
        self.expr(&mut binary.right)?;
        let (left, right) = (return_type(&binary.left), return_type(&binary.right));
        let op = binary.op;
        // Errors about the operator point to it.
        let after = binary.left.place.end;
        let space = self.text[after..].len() - self.text[after..].trim_start().len();
        let at_op = after + space..binary.right.place.start;
        if binary.returns_bool && !op.is_comparison() {
            let what = "bool modifier can only be used on comparison operators";
            return self.error(&at_op, what);
        }
        let scalars = left == Type::Scalar && right == Type::Scalar;
        if op.is_comparison() && !binary.returns_bool && scalars {
            let what = "comparisons between scalars must use BOOL modifier";
            return self.error(&at_op, what);
        }
        let Some(matching) = &mut binary.matching else {
            return Ok(());
        };
        if op.is_set() && matching.cardinality == Cardinality::OneToOne {
            matching.cardinality = Cardinality::ManyToMany;
        }
        let twice = matching
            .labels
            .iter()
            .find(|l| matching.include.contains(l));
        if matching.on
            && let Some(label) = twice
        {
            let label = quote(label);
            let what = format!("label {label} must not occur in ON and GROUP clause at once");
            return self.error(&at_op, what);
        }
        for (side, of) in [(&binary.left, left), (&binary.right, right)] {
            if !matches!(of, Type::Scalar | Type::Vector) {
                let what = "binary expression must contain only scalar and instant vector types";
                return self.error(&side.place, what);
            }
        }
        let name = quote(op.name());
        if (left, right) != (Type::Vector, Type::Vector) {
            if !matching.labels.is_empty() {
                let what = "vector matching only allowed between instant vectors";
                return self.error(place, what);
            }
            binary.matching = None;
            if op.is_set() {
                let what = format!("set operator {name} not allowed in binary scalar expression");
                return self.error(place, what);
            }
        } else if op.is_set() && matching.cardinality != Cardinality::ManyToMany {
            let what = format!("no grouping allowed for {name} operation");
            return self.error(place, what);
        }
        Ok(())
    }

    fn call(&self, call: &mut Call, place: &Place) -> Checked<()> {
        let (types, more) = signature(call.function);
        let (name, got) = (quote(call.function.name()), call.args.len());
        let wanted = types.len();
        if more == More::Exact && got != wanted {
            let what = format!("expected {wanted} argument(s) in call to {name}, got {got}");
            return self.error(place, what);
        }
        let least = wanted.saturating_sub(1);
        if got < least {
            let what =
                format!("expected at least {least} argument(s) in call to {name}, got {got}");
            return self.error(place, what);
        }
        if let More::UpTo(more) = more
            && got > least + more
        {
            let most = least + more;
            let what = format!("expected at most {most} argument(s) in call to {name}, got {got}");
            return self.error(place, what);
        }
        for (i, arg) in call.args.iter_mut().enumerate() {
            let wanted = types[i.min(types.len() - 1)];
            if call.function == Function::Info && i == 1 {
                self.info_selector(arg, place)?;
                continue;
            }
            self.expr(arg)?;
            let found = return_type(arg);
            if found != wanted {
                let (wanted, found) = (wanted.documented(), found.documented());
                let what =
                    format!("expected type {wanted} in call to function {name}, got {found}");
                return self.error(&arg.place, what);
            }
        }
        Ok(())
    }

    /// The second argument of `info`: matchers only, which may all match the empty value.
    fn info_selector(&self, arg: &Expr, place: &Place) -> Checked<()> {
        let found = return_type(arg);
        match &arg.kind {
            Kind::Vector(selector) if selector.metric.is_none() => {
                self.selector(selector, &arg.place, true)
            }
            Kind::Vector(_) => {
                let what = "expected label selectors only, got vector selector instead";
                self.error(&arg.place, what)
            }
            _ if found == Type::Vector => self.error(&arg.place, "expected label selectors only"),
            _ => {
                let (wanted, found) = (Type::Vector.documented(), found.documented());
                let what =
                    format!("expected type {wanted} in call to function \"info\", got {found}");
                self.error(place, what)
            }
        }
    }

    fn selector(&self, selector: &Selector, place: &Place, may_be_empty: bool) -> Checked<()> {
        let Some(metric) = &selector.metric else {
            if may_be_empty || selector.matchers.iter().any(|m| !m.matches("")) {
                return Ok(());
            }
            let what = "vector selector must contain at least one non-empty matcher";
            return self.error(place, what);
        };
        // The last matcher is that of the name before the braces.
        let written = &selector.matchers[..selector.matchers.len() - 1];
        match written.iter().find(|m| m.name == NAME) {
            Some(other) => {
                let (metric, other) = (quote(metric), quote(&other.value));
                let what = format!("metric name must not be set twice: {metric} or {other}");
                self.error(place, what)
            }
            None => Ok(()),
        }
    }
}

fn returns(function: Function) -> Type {
    match function {
        Function::Pi | Function::Scalar | Function::Time => Type::Scalar,
        _ => Type::Vector,
    }
}

/// How a function is called: `(range vector)`, `(scalar, instant vector)`; what may be left out has
/// a `?`, what may come more than once has dots.
pub(crate) fn signature_of(function: Function) -> String {
    let (types, more) = signature(function);
    let last = types.len().saturating_sub(1);
    let shown = types.iter().enumerate().map(|(at, one)| {
        let after = match more {
            More::UpTo(_) if at == last => "?",
            More::Any if at == last => "...",
            More::Exact | More::UpTo(_) | More::Any => "",
        };
        format!("{}{after}", one.documented())
    });
    format!("({})", shown.collect::<Vec<_>>().join(", "))
}

/// Argument types, and whether the last one may be left out or repeated.
fn signature(function: Function) -> (&'static [Type], More) {
    use Function as F;
    use Type::{Matrix, Scalar, String, Vector};
    match function {
        F::Pi | F::Time => (&[], More::Exact),
        F::Vector => (&[Scalar], More::Exact),
        F::DayOfMonth
        | F::DayOfWeek
        | F::DayOfYear
        | F::DaysInMonth
        | F::Hour
        | F::Minute
        | F::Month
        | F::Year => (&[Vector], More::UpTo(1)),
        F::Round => (&[Vector, Scalar], More::UpTo(1)),
        F::Info => (&[Vector, Vector], More::UpTo(1)),
        F::Clamp => (&[Vector, Scalar, Scalar], More::Exact),
        F::ClampMax | F::ClampMin => (&[Vector, Scalar], More::Exact),
        F::DoubleExponentialSmoothing => (&[Matrix, Scalar, Scalar], More::Exact),
        F::HistogramFraction => (&[Scalar, Scalar, Vector], More::Exact),
        F::HistogramQuantile => (&[Scalar, Vector], More::Exact),
        F::LabelReplace => (&[Vector, String, String, String, String], More::Exact),
        F::LabelJoin => (&[Vector, String, String, String], More::Any),
        F::SortByLabel | F::SortByLabelDesc => (&[Vector, String], More::Any),
        F::PredictLinear => (&[Matrix, Scalar], More::Exact),
        F::QuantileOverTime => (&[Scalar, Matrix], More::Exact),
        _ if takes_range(function) => (&[Matrix], More::Exact),
        _ => (&[Vector], More::Exact),
    }
}

/// Functions of one range vector.
fn takes_range(function: Function) -> bool {
    use Function as F;
    matches!(
        function,
        F::AbsentOverTime
            | F::AvgOverTime
            | F::Changes
            | F::CountOverTime
            | F::Delta
            | F::Deriv
            | F::FirstOverTime
            | F::Idelta
            | F::Increase
            | F::Irate
            | F::LastOverTime
            | F::MadOverTime
            | F::MaxOverTime
            | F::MinOverTime
            | F::PresentOverTime
            | F::Rate
            | F::Resets
            | F::StddevOverTime
            | F::StdvarOverTime
            | F::SumOverTime
            | F::TsOfFirstOverTime
            | F::TsOfLastOverTime
            | F::TsOfMaxOverTime
            | F::TsOfMinOverTime
    )
}
