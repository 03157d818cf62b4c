//! The table: a row for each peer and point, points apart from each other and peers side by side.

use crate::generator::{Figures, Point};

const HEAD: [&str; 13] = [
    "workload",
    "in flight",
    "clients",
    "store",
    "ops/s",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "flushes/op",
    "connections",
    "errors",
    "durability",
    "reads",
];

/// One measurement.
#[derive(Clone, Debug)]
pub struct Row {
    pub point: Point,
    /// The peer, and its place among them.
    pub store: (usize, &'static str),
    pub durability: &'static str,
    /// What a read promises; none where nothing is read.
    pub reads: &'static str,
    pub figures: Figures,
}

/// Of each peer and point the run of median throughput, with the errors of all its runs.
pub fn medians(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| {
        (a.point, a.store).cmp(&(b.point, b.store)).then(a.figures.ops_per_s.total_cmp(&b.figures.ops_per_s))
    });
    let runs = rows.chunk_by(|a, b| (a.point, a.store) == (b.point, b.store));
    runs.map(|runs| {
        let mut median = runs[(runs.len() - 1) / 2].clone();
        median.figures.errors.clear();
        for (kind, count) in runs.iter().flat_map(|run| &run.figures.errors) {
            *median.figures.errors.entry(kind.clone()).or_default() += count;
        }
        median
    })
    .collect()
}

/// Rows below a head, columns aligned; an empty line between points.
pub fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 13]> = rows.iter().map(cells).collect();
    let width =
        |column: usize| cells.iter().map(|row| row[column].len()).chain([HEAD[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let line = |row: &[&str]| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&HEAD);
    for (at, row) in rows.iter().enumerate() {
        if at == 0 || rows[at - 1].point != row.point {
            text.push('\n');
        }
        text += &line(&cells[at].each_ref().map(String::as_str));
    }
    text
}

fn cells(row: &Row) -> [String; 13] {
    let Row { point, store, durability, reads, figures } = row;
    let whole = |figure: f64| format!("{figure:.0}");
    [
        point.workload.name().to_owned(),
        point.in_flight.to_string(),
        point.clients.to_string(),
        store.1.to_owned(),
        whole(figures.ops_per_s),
        whole(figures.p50_us),
        whole(figures.p99_us),
        whole(figures.p999_us),
        figures.flushes_per_op.map_or_else(|| "-".to_owned(), |flushes| format!("{flushes:.2}")),
        figures.connections.to_string(),
        figures.errors.values().sum::<u64>().to_string(),
        (*durability).to_owned(),
        (*reads).to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::Workload;

    fn row(in_flight: usize, store: (usize, &'static str), ops_per_s: f64, errors: u64) -> Row {
        let point = Point { workload: Workload::Set, in_flight, clients: 1 };
        let figures = Figures {
            ops_per_s,
            p50_us: 1.0,
            p99_us: 2.0,
            p999_us: 3.0,
            errors: BTreeMap::from([("busy".to_owned(), errors)]),
            connections: 1,
            flushes_per_op: Some(0.125),
        };
        Row { point, store, durability: "flushed", reads: "-", figures }
    }

    #[test]
    fn the_median_run_stands_for_all_and_hides_no_error() {
        let (one, other) = ((0, "one"), (1, "other"));
        let rows = vec![row(1, other, 5.0, 0), row(1, one, 30.0, 1), row(1, one, 10.0, 2), row(1, one, 20.0, 4)];
        let medians = medians(rows);
        assert_eq!(
            medians.iter().map(|row| (row.store.1, row.figures.ops_per_s)).collect::<Vec<_>>(),
            [("one", 20.0), ("other", 5.0)]
        );
        assert_eq!(medians[0].figures.errors["busy"], 7);
    }

    #[test]
    fn points_stand_apart_and_columns_below_each_other() {
        let text = table(&[row(1, (0, "one"), 1.0, 0), row(1, (1, "another"), 2.0, 0), row(64, (0, "one"), 3.0, 0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines.iter().map(|line| line.is_empty()).collect::<Vec<_>>(),
            [false, true, false, false, true, false]
        );
        let columns: Vec<Option<usize>> = [0, 2, 3, 5].iter().map(|at| lines[*at].find("flush")).collect();
        assert_eq!(columns[1..], [lines[2].find("flushed"); 3]);
        assert_eq!(columns[0], lines[2].find("0.12"));
    }
}
