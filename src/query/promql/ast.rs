//! The tree of a PromQL expression, as Prometheus 3.5 has it. Durations are seconds as `f64` only
//! inside of duration arithmetic; everywhere else milliseconds.

use std::ops::Range;

use crate::model::metric::Matcher;

/// Bytes of the query text that an expression was read from; annotations and errors point there.
pub(crate) type Place = Range<usize>;

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
}

/// What an expression is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Number(f64),
    String(String),
    Paren(Box<Expr>),
    /// Unary minus; unary plus is dropped by the parser.
    Negate(Box<Expr>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Call),
    Vector(Selector),
    Matrix(Selector, Duration),
    Subquery(Box<Subquery>),
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar,
    String,
    Vector,
    Matrix,
}

/// Milliseconds, or an expression over durations that is computed when the step is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Duration {
    Millis(i64),
    /// In seconds: `5m + step()`, `2 * 1h` (feature `promql-duration-expr` of Prometheus).
    Arithmetic(Box<Arithmetic>),
}

/// A calculation over durations, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arithmetic {
    Seconds(f64),
    Step,
    Negate(Box<Arithmetic>),
    Paren(Box<Arithmetic>),
    Binary(BinaryOp, Box<Arithmetic>, Box<Arithmetic>),
}

/// `@ 1609746000`, `@ start()`, `@ end()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    Start,
    End,
}

/// What selects series, and the time it looks at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selector {
    /// The name as written before the braces; also among the matchers.
    pub(crate) metric: Option<String>,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) offset: Option<Duration>,
    pub(crate) at: Option<At>,
}

/// `expr[range:step]`: an expression evaluated as a range vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subquery {
    pub(crate) expr: Expr,
    pub(crate) range: Duration,
    /// `None`: the default resolution.
    pub(crate) step: Option<Duration>,
    pub(crate) offset: Option<Duration>,
    pub(crate) at: Option<At>,
}

/// Operators between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

/// How many elements of either side may match one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cardinality {
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How vectors find each other; only there when both sides are vectors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matching {
    pub(crate) cardinality: Cardinality,
    /// `on(...)`; otherwise `ignoring(...)`.
    pub(crate) on: bool,
    pub(crate) labels: Vec<String>,
    /// Of `group_left(...)` and `group_right(...)`.
    pub(crate) include: Vec<String>,
}

/// An operator and its sides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    pub(crate) returns_bool: bool,
    pub(crate) matching: Option<Matching>,
}

/// Operators over a whole vector or its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// An aggregation: `op by (labels) (parameter, expr)`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) op: Aggregation,
    pub(crate) expr: Expr,
    /// Of topk, bottomk, quantile, count_values, limitk, limit_ratio.
    pub(crate) parameter: Option<Expr>,
    pub(crate) without: bool,
    pub(crate) labels: Vec<String>,
}

/// A function and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) args: Vec<Expr>,
}

macro_rules! functions {
    ($($variant:ident $name:literal,)*) => {
        /// Every function of Prometheus 3.5, experimental ones included.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Function { $($variant,)* }

        impl Function {
            pub(crate) const ALL: &[Function] = &[$(Function::$variant,)*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Function::$variant => $name,)* }
            }
        }
    };
}

functions! {
    Abs "abs",
    Absent "absent",
    AbsentOverTime "absent_over_time",
    Acos "acos",
    Acosh "acosh",
    Asin "asin",
    Asinh "asinh",
    Atan "atan",
    Atanh "atanh",
    AvgOverTime "avg_over_time",
    Ceil "ceil",
    Changes "changes",
    Clamp "clamp",
    ClampMax "clamp_max",
    ClampMin "clamp_min",
    Cos "cos",
    Cosh "cosh",
    CountOverTime "count_over_time",
    DayOfMonth "day_of_month",
    DayOfWeek "day_of_week",
    DayOfYear "day_of_year",
    DaysInMonth "days_in_month",
    Deg "deg",
    Delta "delta",
    Deriv "deriv",
    DoubleExponentialSmoothing "double_exponential_smoothing",
    Exp "exp",
    FirstOverTime "first_over_time",
    Floor "floor",
    HistogramAvg "histogram_avg",
    HistogramCount "histogram_count",
    HistogramFraction "histogram_fraction",
    HistogramQuantile "histogram_quantile",
    HistogramStddev "histogram_stddev",
    HistogramStdvar "histogram_stdvar",
    HistogramSum "histogram_sum",
    Hour "hour",
    Idelta "idelta",
    Increase "increase",
    Info "info",
    Irate "irate",
    LabelJoin "label_join",
    LabelReplace "label_replace",
    LastOverTime "last_over_time",
    Ln "ln",
    Log10 "log10",
    Log2 "log2",
    MadOverTime "mad_over_time",
    MaxOverTime "max_over_time",
    MinOverTime "min_over_time",
    Minute "minute",
    Month "month",
    Pi "pi",
    PredictLinear "predict_linear",
    PresentOverTime "present_over_time",
    QuantileOverTime "quantile_over_time",
    Rad "rad",
    Rate "rate",
    Resets "resets",
    Round "round",
    Scalar "scalar",
    Sgn "sgn",
    Sin "sin",
    Sinh "sinh",
    Sort "sort",
    SortByLabel "sort_by_label",
    SortByLabelDesc "sort_by_label_desc",
    SortDesc "sort_desc",
    Sqrt "sqrt",
    StddevOverTime "stddev_over_time",
    StdvarOverTime "stdvar_over_time",
    SumOverTime "sum_over_time",
    Tan "tan",
    Tanh "tanh",
    Time "time",
    Timestamp "timestamp",
    TsOfFirstOverTime "ts_of_first_over_time",
    TsOfLastOverTime "ts_of_last_over_time",
    TsOfMaxOverTime "ts_of_max_over_time",
    TsOfMinOverTime "ts_of_min_over_time",
    Vector "vector",
    Year "year",
}
