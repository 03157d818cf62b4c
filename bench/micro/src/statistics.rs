//! What a list of numbers says.

/// The middle of `values`, or the mean of the two in the middle. Zero when there are none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// The value below which `share` (0 to 1) of `values` lie. Sorts them in part. Zero when there are none.
pub fn percentile(values: &mut [u64], share: f64) -> u64 {
    if values.is_empty() {
        return 0;
    }
    let at = ((values.len() - 1) as f64 * share.clamp(0.0, 1.0)).round() as usize;
    *values.select_nth_unstable(at).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found_in_any_order() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
        let mut values: Vec<u64> = (0..=100).rev().collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| percentile(&mut values, share)), [0, 50, 99, 100]);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}
