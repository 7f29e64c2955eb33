//! Few numbers for many: minimum, median and quartiles.

use serde::Serialize;

/// What one series of measurements comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub min: f64,
    pub quartile_low: f64,
    pub median: f64,
    pub quartile_high: f64,
    pub count: usize,
}

impl Summary {
    /// `None` for no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            min: *values.first()?,
            quartile_low: quantile(&values, 1),
            median: quantile(&values, 2),
            quartile_high: quantile(&values, 3),
            count: values.len(),
        })
    }
}

/// Interpolates between neighbors; `values` are sorted and not empty.
fn quantile(values: &[f64], quarters: usize) -> f64 {
    let (place, rest) = ((values.len() - 1) * quarters / 4, (values.len() - 1) * quarters % 4);
    let next = values[(place + 1).min(values.len() - 1)];
    values[place] + (next - values[place]) * rest as f64 / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], wanted: [f64; 4]) {
        let [min, quartile_low, median, quartile_high] = wanted;
        let wanted = Summary { min, quartile_low, median, quartile_high, count: values.len() };
        assert_eq!(Summary::of(values.iter().copied()), Some(wanted));
    }

    #[test]
    fn quartiles_are_interpolated() {
        check(&[7.0], [7.0; 4]);
        check(&[3.0, 1.0, 2.0], [1.0, 1.5, 2.0, 2.5]);
        check(&[4.0, 1.0, 3.0, 2.0, 5.0], [1.0, 2.0, 3.0, 4.0]);
        check(&[0.0, 10.0], [0.0, 2.5, 5.0, 7.5]);
        assert_eq!(Summary::of([]), None);
    }
}
