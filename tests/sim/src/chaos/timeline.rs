//! A picture of a run: what was answered, how fast, and what happened meanwhile. One SVG, drawn by hand.

use std::{collections::BTreeMap, fmt::Write};

use super::nemesis::Episode;
use crate::check::{Ending, History};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Sizes, in pixels.
const LEFT: f64 = 150.0;
const WIDTH: f64 = 1_250.0;
const PANEL: f64 = 160.0;
const GAP: f64 = 40.0;
const LANE: f64 = 20.0;
/// The latencies that the picture shows, in milliseconds, as powers of ten.
const LATENCY_POWERS: (i32, i32) = (-1, 4);

/// One second of a run.
#[derive(Debug, Default)]
struct Bucket {
    /// Answers that arrived, by how long they took, in nanoseconds.
    latencies: Vec<u64>,
    /// Operations without an answer that began.
    unanswered: u64,
}

impl Bucket {
    /// The latency that `part` of the answers do not exceed, in milliseconds; the latencies must be sorted.
    fn quantile_ms(&self, part: f64) -> Option<f64> {
        let last = self.latencies.len().checked_sub(1)?;
        let at = (last as f64 * part).ceil() as usize;
        Some(self.latencies[at] as f64 / 1e6)
    }
}

fn buckets(history: &History) -> Vec<Bucket> {
    let mut seconds: BTreeMap<u64, Bucket> = BTreeMap::new();
    for operation in &history.operations {
        match operation.ending {
            Ending::Ok { at_ns, .. } => {
                let latencies = &mut seconds.entry(at_ns / NANOS_PER_SECOND).or_default().latencies;
                latencies.push(at_ns.saturating_sub(operation.invoked_ns));
            }
            Ending::Fail | Ending::Unknown => {
                seconds.entry(operation.invoked_ns / NANOS_PER_SECOND).or_default().unanswered += 1;
            }
        }
    }
    let count = seconds.keys().last().map_or(0, |last| last + 1);
    (0..count)
        .map(|second| {
            let mut bucket = seconds.remove(&second).unwrap_or_default();
            bucket.latencies.sort_unstable();
            bucket
        })
        .collect()
}

/// Draws a history and the faults that happened meanwhile.
pub(super) fn draw(history: &History, episodes: &[Episode]) -> String {
    let buckets = buckets(history);
    let seconds = buckets.len().max(1) as f64;
    let x = |second: f64| LEFT + second / seconds * WIDTH;
    let mut lanes: BTreeMap<String, Vec<&Episode>> = BTreeMap::new();
    for episode in episodes {
        lanes.entry(episode.fault.name()).or_default().push(episode);
    }
    let faults_top = 2.0 * (PANEL + GAP) + GAP;
    let height = faults_top + lanes.len() as f64 * LANE + 2.0 * GAP;
    let mut svg = Svg::new(LEFT + WIDTH + 30.0, height);

    let most = buckets.iter().map(|bucket| bucket.latencies.len() as u64).max().unwrap_or(0).max(1) as f64;
    let top = GAP;
    let y = |count: f64| top + PANEL - count / most * PANEL;
    svg.panel(top, "operations per second");
    svg.label(LEFT - 8.0, top + 4.0, "end", &format!("{most}"));
    svg.label(LEFT - 8.0, top + PANEL, "end", "0");
    svg.legend(top, &[("answered", "#1a7f37"), ("without an answer", "#cf222e")]);
    let answered = points(&buckets, |bucket| Some(bucket.latencies.len() as f64), x, y);
    let without = points(&buckets, |bucket| Some(bucket.unanswered as f64), x, y);
    svg.line(&answered, "#1a7f37");
    svg.line(&without, "#cf222e");

    let top = GAP + PANEL + GAP;
    let (low, high) = LATENCY_POWERS;
    let y = |ms: f64| {
        let power = ms.log10().clamp(f64::from(low), f64::from(high));
        top + PANEL - (power - f64::from(low)) / f64::from(high - low) * PANEL
    };
    svg.panel(top, "latency, ms");
    for power in low..=high {
        let ms = 10f64.powi(power);
        svg.grid(y(ms));
        svg.label(LEFT - 8.0, y(ms) + 4.0, "end", &format!("{ms}"));
    }
    svg.legend(top, &[("p50", "#0969da"), ("p99", "#8250df")]);
    svg.line(&points(&buckets, |bucket| bucket.quantile_ms(0.5), x, y), "#0969da");
    svg.line(&points(&buckets, |bucket| bucket.quantile_ms(0.99), x, y), "#8250df");

    for (lane, (name, episodes)) in lanes.iter().enumerate() {
        let top = faults_top + lane as f64 * LANE;
        svg.label(LEFT - 8.0, top + 14.0, "end", name);
        for episode in episodes {
            let second = |nanos: u64| nanos as f64 / NANOS_PER_SECOND as f64;
            let (from, to) = (x(second(episode.begin_ns)), x(second(episode.end_ns)));
            svg.band(from, to, GAP, faults_top + lanes.len() as f64 * LANE, "#57606a", 0.07, "");
            let title = format!("{name} {}: {:.3} s", episode.what, second(episode.end_ns - episode.begin_ns));
            svg.band(from, to, top + 2.0, top + LANE - 2.0, "#bc4c00", 0.8, &title);
        }
    }
    let bottom = faults_top + lanes.len() as f64 * LANE + 18.0;
    let step = [1, 2, 5, 10, 20, 30, 60, 300].into_iter().find(|step| seconds / f64::from(*step) <= 15.0);
    let step = step.unwrap_or(600);
    for tick in (0..).map(|tick| tick * step).take_while(|tick| f64::from(*tick) <= seconds) {
        svg.label(x(f64::from(tick)), bottom, "middle", &format!("{tick} s"));
    }
    svg.end()
}

/// The values of each second, where it has one.
fn points(
    buckets: &[Bucket],
    value: impl Fn(&Bucket) -> Option<f64>,
    x: impl Fn(f64) -> f64,
    y: impl Fn(f64) -> f64,
) -> Vec<(f64, f64)> {
    let values = buckets.iter().enumerate().filter_map(|(second, bucket)| Some((second, value(bucket)?)));
    values.map(|(second, value)| (x(second as f64 + 0.5), y(value))).collect()
}

/// The text of a picture while it grows. Writing to a String does not fail.
struct Svg(String);

impl Svg {
    fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ))
    }

    fn panel(&mut self, top: f64, name: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{PANEL}\" fill=\"none\" stroke=\"#d0d7de\"/>"
        );
        self.label(LEFT, top - 8.0, "start", name);
    }

    fn grid(&mut self, y: f64) {
        let right = LEFT + WIDTH;
        let _ = writeln!(self.0, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#eaeef2\"/>");
    }

    fn legend(&mut self, top: f64, names: &[(&str, &str)]) {
        for (at, (name, colour)) in names.iter().enumerate() {
            let x = LEFT + 200.0 + at as f64 * 160.0;
            let _ = writeln!(self.0, "<path d=\"M{x} {:.1}h20\" stroke=\"{colour}\" stroke-width=\"2\"/>", top - 12.0);
            self.label(x + 26.0, top - 8.0, "start", name);
        }
    }

    fn label(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(self.0, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let _ =
            writeln!(self.0, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
    }

    fn band(&mut self, from: f64, to: f64, top: f64, bottom: f64, colour: &str, opacity: f64, title: &str) {
        let (width, height) = ((to - from).max(1.0), bottom - top);
        let title = escape(title);
        let _ = writeln!(
            self.0,
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\" \
             fill-opacity=\"{opacity}\"><title>{title}</title></rect>"
        );
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chaos::HostFault,
        check::{Event, Kind, Op, Outcome},
    };

    fn history() -> History {
        let mut events = Vec::new();
        for second in 0..3 {
            let mut invoked = Event::new(1, Kind::Invoke, Op::KeyGet, "a", second * NANOS_PER_SECOND);
            invoked.at_ns += 100;
            let mut done = invoked.completion(Kind::Ok, invoked.at_ns + 2_000_000 * (second + 1));
            done.outcome = Some(Outcome::NotFound);
            if second == 1 {
                done = invoked.completion(Kind::Info, done.at_ns);
            }
            events.extend([invoked, done]);
        }
        History::from_events(&events).expect("a well-formed history")
    }

    #[test]
    fn seconds_hold_what_arrived_in_them() {
        let buckets = buckets(&history());
        assert_eq!(buckets.iter().map(|bucket| bucket.latencies.len()).collect::<Vec<_>>(), [1, 0, 1]);
        assert_eq!(buckets.iter().map(|bucket| bucket.unanswered).collect::<Vec<_>>(), [0, 1, 0]);
        assert_eq!(buckets[2].quantile_ms(0.99), Some(6.0));
        assert_eq!(buckets[1].quantile_ms(0.5), None);
    }

    #[test]
    fn a_picture_names_its_faults() {
        let episode = Episode { fault: HostFault::OneWay, what: "n1>n2".into(), begin_ns: 5, end_ns: NANOS_PER_SECOND };
        let picture = draw(&history(), &[episode]);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"), "{picture}");
        assert!(picture.contains(">one_way</text>") && picture.contains("one_way n1&gt;n2: 1.000 s"), "{picture}");
    }
}
