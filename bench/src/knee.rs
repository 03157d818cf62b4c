//! Where more load stops to pay.

/// A point of a closed loop: how many operations were under way, and how many ended per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Operations under way at once.
    pub in_flight: usize,
    /// Operations per second.
    pub ops_per_s: f64,
}

impl Load {
    /// Throughput over latency. A closed loop's mean latency is `in_flight / ops_per_s` (Little's law), so that no latency
    /// need be measured.
    fn power(self) -> f64 {
        self.ops_per_s * self.ops_per_s / self.in_flight as f64
    }
}

/// The point where a curve bends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knee {
    /// Which of the points.
    pub at: usize,
    /// Whether a point of more load has less power. If none has, the bend may lie beyond the last point.
    pub is_passed: bool,
}

/// The knee of a curve, its points in order of load: the point of most power. Of points with the same power it is the one of
/// least load. `None` if nothing ended at any point.
///
/// Power is due to A. Giessler and others ("Free buffer allocation - an investigation by simulation", Computer Networks, 1978),
/// its maximum as the point to work at to L. Kleinrock ("Power and deterministic rules of thumb for probabilistic problems in
/// computer communications", ICC 1979). In a closed loop, a doubling of what is in flight raises power when it raises
/// throughput by more than the factor √2, that is by 41 %.
pub fn knee(points: &[Load]) -> Option<Knee> {
    let busy = (0..points.len()).filter(|at| points[*at].ops_per_s > 0.0 && points[*at].in_flight > 0);
    let at = busy.rev().max_by(|a, b| points[*a].power().total_cmp(&points[*b].power()))?;
    Some(Knee { at, is_passed: at + 1 < points.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOUBLING: [usize; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

    /// What is in flight at the knee of `throughput`, and whether it is passed.
    fn knee_of(loads: &[usize], throughput: impl Fn(f64) -> f64) -> Option<(usize, bool)> {
        let point = |in_flight: &usize| Load { in_flight: *in_flight, ops_per_s: throughput(*in_flight as f64) };
        let points: Vec<Load> = loads.iter().map(point).collect();
        knee(&points).map(|knee| (points[knee.at].in_flight, knee.is_passed))
    }

    #[test]
    fn a_pipe_bends_where_it_is_full() {
        assert_eq!(knee_of(&DOUBLING, |load| 1000.0 * load.min(16.0)), Some((16, true)));
        assert_eq!(knee_of(&[3, 5, 9, 17, 20], |load| 70.0 * load.min(9.0)), Some((9, true)), "no powers of two");
        assert_eq!(knee_of(&DOUBLING, |_| 500.0), Some((1, true)), "one server that never waits");
    }

    /// K queues of one speed in a ring: throughput is N / (N + K - 1) of a server's, and power is highest at K - 1.
    #[test]
    fn balanced_queues_bend_where_theory_says() {
        for stations in [5.0, 17.0, 129.0] {
            let knee = knee_of(&DOUBLING, |load| 90_000.0 * load / (load + stations - 1.0));
            assert_eq!(knee, Some((stations as usize - 1, true)));
        }
    }

    #[test]
    fn throughput_that_falls_again_does_not_move_the_knee() {
        let falls = |load: f64| 1000.0 * load / (1.0 + 0.02 * (load - 1.0) + 0.0005 * load * (load - 1.0));
        assert_eq!(knee_of(&DOUBLING, falls), Some((16, true)));
    }

    #[test]
    fn a_doubling_pays_above_the_root_of_two() {
        assert_eq!(knee_of(&[1, 2], |load| if load > 1.0 { 1.42 } else { 1.0 }), Some((2, false)));
        assert_eq!(knee_of(&[1, 2], |load| if load > 1.0 { 1.41 } else { 1.0 }), Some((1, true)));
        assert_eq!(
            knee_of(&[1, 4], |load| if load > 1.0 { 2.0 } else { 1.0 }),
            Some((1, true)),
            "least load of equals"
        );
    }

    #[test]
    fn a_curve_that_only_rises_has_its_knee_at_the_end_or_beyond() {
        assert_eq!(knee_of(&DOUBLING, |load| 1000.0 * load), Some((1024, false)));
        assert_eq!(knee_of(&[64], |_| 1.0), Some((64, false)));
    }

    #[test]
    fn where_nothing_ended_there_is_no_knee() {
        assert_eq!(knee_of(&[], |_| 1.0), None);
        assert_eq!(knee_of(&DOUBLING, |_| 0.0), None);
        let last_fails = |load: f64| if load > 2.0 { 0.0 } else { load };
        assert_eq!(knee_of(&[1, 2, 4], last_fails), Some((2, true)));
    }
}
