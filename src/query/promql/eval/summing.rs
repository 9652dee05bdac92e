//! Sums that lose no small terms, and what is made of them.

/// A running sum with Neumaier's compensation, as Prometheus has it (`kahanSumInc`): the order of the
/// terms decides about the last bits, so windows are summed anew at every step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) value: f64,
    pub(super) lost: f64,
}

impl Sum {
    pub(super) const fn starting_at(value: f64) -> Sum {
        Sum { value, lost: 0.0 }
    }

    pub(super) fn add(&mut self, term: f64) {
        let total = self.value + term;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.value.abs() >= term.abs() {
            self.lost += (self.value - total) + term;
        } else {
            self.lost += (term - total) + self.value;
        }
        self.value = total;
    }

    pub(super) fn total(self) -> f64 {
        self.value + self.lost
    }
}

/// A mean of terms that come one by one: their sum over their number, or, where the sum would
/// overflow, the mean corrected term by term from there on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    /// Of the terms, or the mean itself once `incremental`.
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(super) fn add(&mut self, term: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.sum = Sum::starting_at(term);
            return;
        }
        if !self.incremental {
            let mut sum = self.sum;
            sum.add(term);
            if !sum.value.is_infinite() {
                self.sum = sum;
                return;
            }
            self.incremental = true;
            self.sum.value /= self.count - 1.0;
            self.sum.lost /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        self.sum.value *= share;
        self.sum.lost *= share;
        self.sum.add(term / self.count);
    }

    pub(super) fn value(&self) -> f64 {
        if self.incremental {
            return self.sum.total();
        }
        self.sum.value / self.count + self.sum.lost / self.count
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mut sum = Sum::starting_at(values.first().copied().unwrap_or(f64::NAN));
    values.iter().skip(1).for_each(|value| sum.add(*value));
    if sum.value.is_finite() {
        return sum.value / count + sum.lost / count;
    }
    let mut mean = Mean::default();
    values.iter().for_each(|value| mean.add(*value));
    mean.value()
}

pub(super) fn sum(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    values.iter().for_each(|value| sum.add(*value));
    if sum.value.is_infinite() {
        return sum.value;
    }
    sum.total()
}

/// Welford's population variance.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    for (index, value) in values.iter().enumerate() {
        let delta = value - mean.total();
        mean.add(delta / (index + 1) as f64);
        squares.add(delta * (value - mean.total()));
    }
    squares.total() / values.len() as f64
}

/// Least squares: slope per second, and the value at `origin` (ms).
pub(super) fn regression(times: &[i64], values: &[f64], origin: i64) -> (f64, f64) {
    if values.iter().all(|value| *value == values[0]) {
        if values[0].is_infinite() {
            return (f64::NAN, f64::NAN);
        }
        return (0.0, values[0]);
    }
    let count = values.len() as f64;
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Sum::default(); 4];
    for (time, y) in times.iter().zip(values) {
        let x = (time - origin) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(Sum::total);
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

/// The q-quantile of values, which change their places; NaN counts as the smallest.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let order = |a: &f64, b: &f64| {
        let nans_first = b.is_nan().cmp(&a.is_nan());
        nans_first.then_with(|| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    };
    let rank = q * (values.len() - 1) as f64;
    let weight = rank - rank.floor();
    let (_, lower, above) = values.select_nth_unstable_by(rank.floor() as usize, order);
    let upper = above.iter().copied().min_by(order).unwrap_or(*lower);
    *lower * (1.0 - weight) + upper * weight
}
