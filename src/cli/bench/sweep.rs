//! `bench --sweep`: the same measurement at rising load, and where more load stops to pay.

use kahuna_bench::{Knee, Load, Plan, Report, knee};

use super::super::exit::{Exit, Failure};
use super::super::output::{Format, Record, print, print_bytes, table};
use super::single::{measure, record};

/// Measures `plan` for each number of connections with as much in flight, twice as much, and so on up to what the plan has.
/// What was measured is printed also if a later point fails.
pub fn run(plan: &Plan, connections: &[usize], format: Format) -> Result<Exit, Failure> {
    let curves: Vec<Vec<Plan>> = connections.iter().map(|count| curve(plan, *count)).collect();
    if let Some(text) = curves.iter().flatten().find_map(Plan::contradiction) {
        return Err(Failure::Usage(text));
    }
    let mut measured: Vec<Vec<Report>> = Vec::new();
    let ended = curves.iter().try_for_each(|plans| {
        measured.push(Vec::new());
        plans.iter().try_for_each(|plan| {
            let report = measure(plan)?;
            if format == Format::Jsonl {
                print(&record(&report), format)?;
            }
            measured.last_mut().expect("just pushed").push(report);
            Ok(())
        })
    });
    show(&measured, format)?;
    let is_idle = measured.iter().flatten().all(|report| report.ops == 0);
    ended.map(|()| if is_idle { Exit::Unavailable } else { Exit::Ok })
}

/// The points of one number of connections, each of which needs an operation to itself.
fn curve(plan: &Plan, connections: usize) -> Vec<Plan> {
    let most = plan.in_flight;
    let doubled = std::iter::successors(Some(connections.max(1)), |load| load.checked_mul(2));
    let loads = doubled.take_while(|load| *load < most).chain([most]);
    loads.map(|in_flight| Plan { in_flight, connections, ..plan.clone() }).collect()
}

fn show(measured: &[Vec<Report>], format: Format) -> Result<(), Failure> {
    let knees: Vec<Option<Knee>> = measured.iter().map(|reports| knee_of(reports)).collect();
    let found: Vec<(&Report, Knee)> =
        measured.iter().zip(&knees).filter_map(|(reports, knee)| knee.map(|knee| (&reports[knee.at], knee))).collect();
    for (report, _) in found.iter().filter(|(_, knee)| !knee.is_passed) {
        kahuna_shards::say!(
            "connections {}: power still rose up to {} in flight, the last point; the knee may lie beyond",
            report.connections,
            report.in_flight
        );
    }
    match format {
        Format::Json => {
            let points: Vec<_> = measured.iter().flatten().map(|report| record(report).json()).collect();
            let knees: Vec<_> = found
                .iter()
                .map(|(report, knee)| knee_fields(Record::without_outcome(), report, *knee).json())
                .collect();
            print(&Record::new("swept").field("points", points).field("knees", knees), format)?;
        }
        // The points were printed as they came.
        Format::Jsonl => found
            .iter()
            .try_for_each(|(report, knee)| print(&knee_fields(Record::new("knee"), report, *knee), format))?,
        Format::Table | Format::Plain | Format::Raw => {
            let head = ["connections", "in_flight", "ops_per_s", "p50_us", "p99_us", "p999_us", "errors", "knee"];
            let rows = measured.iter().zip(&knees).flat_map(|(reports, knee)| rows(reports, *knee)).collect::<Vec<_>>();
            print_bytes(table(&head, &rows).as_bytes())?;
        }
    }
    Ok(())
}

fn knee_of(reports: &[Report]) -> Option<Knee> {
    let load = |report: &Report| Load { in_flight: report.in_flight, ops_per_s: report.ops_per_s };
    knee(&reports.iter().map(load).collect::<Vec<_>>())
}

fn knee_fields(record: Record, report: &Report, knee: Knee) -> Record {
    record
        .field("connections", report.connections)
        .field("in_flight", report.in_flight)
        .field("ops_per_s", report.ops_per_s)
        .field("p99_us", report.p99_us)
        .field("is_passed", knee.is_passed)
}

fn rows(reports: &[Report], knee: Option<Knee>) -> Vec<Vec<String>> {
    let mark = |at: usize| match knee.filter(|knee| knee.at == at) {
        Some(Knee { is_passed: true, .. }) => "knee",
        Some(_) => "knee-or-beyond",
        None => "",
    };
    let row = |(at, report): (usize, &Report)| {
        let figures = [report.ops_per_s, report.p50_us, report.p99_us, report.p999_us].map(|figure| figure.to_string());
        let load = [report.connections.to_string(), report.in_flight.to_string()];
        load.into_iter().chain(figures).chain([report.errors.to_string(), mark(at).to_owned()]).collect()
    };
    reports.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kahuna_bench::{Stop, Workload};
    use kahuna_client::protocol::ReadLevel;

    use super::*;

    #[test]
    fn load_doubles_from_the_connections_up_to_the_last_point() {
        let plan = |in_flight| Plan {
            endpoints: Vec::new(),
            workload: Workload::Set,
            in_flight,
            connections: 1,
            value_bytes: 1,
            keys: 1,
            stop: Stop::Ops(1),
            warmup: Duration::ZERO,
            rate: None,
            read: ReadLevel::Linearizable,
            timeout: Duration::from_secs(1),
        };
        let loads = |most, connections| -> Vec<usize> {
            curve(&plan(most), connections).iter().map(|plan| plan.in_flight).collect()
        };
        assert_eq!(loads(8, 1), [1, 2, 4, 8]);
        assert_eq!(loads(100, 24), [24, 48, 96, 100]);
        assert_eq!(loads(1, 1), [1]);
        assert_eq!(loads(4, 0), [1, 2, 4], "none is refused later, as any plan with none");
        assert_eq!(loads(4, 64), [4], "too few are refused later, too");
    }
}
