//! The prompt: a few verbs of its own, and every verb of `kahuna`.

use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};

use super::cluster::Cluster;
use super::end::End;
use super::events::{Event, Events};
use super::node::State;
use crate::cli::table;

const HELP: &str = "\
nodes        what runs where
kill N       kill -9 node N
pause N      stop node N where it stands (SIGSTOP)
resume N     let it go on
start N      start a killed node again, with its data
quit         stop all nodes and remove their data
anything else is a verb of kahuna: set a b, get a, lock acquire l --owner me --ttl 30s, seq create s, status
";

/// Reads verbs until `quit`, the end of the input, or a signal.
pub fn run(cluster: &mut Cluster, events: &mut Events) -> io::Result<End> {
    let mut out = io::stdout();
    writeln!(out, "data in {}", cluster.dir().display())?;
    writeln!(out, "export KAHUNA_ENDPOINTS={}", cluster.endpoints())?;
    let interactive = io::stdin().is_terminal();
    if interactive {
        writeln!(out, "`help` lists what can be done here; the line above works in other shells")?;
    }
    events.watch_stdin()?;
    loop {
        if interactive {
            write!(out, "demo> ")?;
        }
        out.flush()?;
        match events.next() {
            Event::Signal(signal) => return Ok(End::Signal(signal)),
            Event::Eof => return Ok(End::Code(0)),
            Event::ScriptEnded(_) => {}
            Event::Line(line) => match run_line(&line, cluster) {
                Ok(true) => return Ok(End::Code(0)),
                Ok(false) => {}
                Err(error) => kahuna_shards::say!("{error}"),
            },
        }
    }
}

/// Runs one line of the prompt; true if it ends the demo.
fn run_line(line: &str, cluster: &mut Cluster) -> io::Result<bool> {
    let words = match split(line) {
        Ok(words) => words,
        Err(text) => {
            kahuna_shards::say!("{text}");
            return Ok(false);
        }
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {}
        ["quit" | "exit"] => return Ok(true),
        ["help"] => write!(io::stdout(), "{HELP}")?,
        ["nodes"] => print_nodes(cluster)?,
        [verb @ ("kill" | "pause" | "resume" | "start"), number] => on_node(verb, number, cluster)?,
        ["kill" | "pause" | "resume" | "start", ..] => kahuna_shards::say!("say which node, as in `kill 2`"),
        ["serve" | "demo", ..] => kahuna_shards::say!("not from here"),
        words => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(words).env("KAHUNA_ENDPOINTS", cluster.endpoints()).stdin(Stdio::null());
            let status = command.status()?;
            if let Some(code) = status.code().filter(|code| *code != 0) {
                kahuna_shards::say!("(exit code {code})");
            }
        }
    }
    Ok(false)
}

fn on_node(verb: &str, number: &str, cluster: &mut Cluster) -> io::Result<()> {
    let Some(node) = cluster.nodes.iter_mut().find(|node| node.id.to_string() == number) else {
        kahuna_shards::say!("there is no node {number}");
        return Ok(());
    };
    match (verb, node.state()) {
        ("start", State::Dead) => node.start()?,
        ("start", State::Running | State::Paused) => kahuna_shards::say!("node {number} is there already"),
        (_, State::Dead) => kahuna_shards::say!("node {number} is dead; `start {number}` starts it again"),
        ("kill", _) => node.kill()?,
        (verb, _) => node.pause(verb == "pause")?,
    }
    cluster.write_nodes()
}

fn print_nodes(cluster: &mut Cluster) -> io::Result<()> {
    let statuses = cluster.status();
    let rows = cluster.nodes.iter_mut().zip(statuses).map(|(node, status)| {
        let state = match node.state() {
            State::Running => "running",
            State::Paused => "paused",
            State::Dead => "dead",
        };
        let leads = |status: &kahuna_client::protocol::meta::Status| {
            status.replicas.iter().filter(|replica| replica.leader == status.node).count().to_string()
        };
        vec![
            node.id.to_string(),
            node.pid().map_or("-".to_owned(), |pid| pid.to_string()),
            state.to_owned(),
            node.ports().0.to_string(),
            node.ports().1.to_string(),
            status.as_ref().map_or("-".to_owned(), leads),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    write!(io::stdout(), "{}", table(&["node", "pid", "state", "port", "peer_port", "leads"], &rows))
}

/// Words as a shell would see them: blanks part them, quotes keep them together, a backslash takes the next character
/// as it is (outside single quotes).
fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => {
                let next = chars.next().ok_or("nothing stands behind the last backslash")?;
                word.get_or_insert_default().push(next);
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let words = |line: &str| split(line).map(|words| words.join("|"));
        assert_eq!(words("set a  b"), Ok("set|a|b".to_owned()));
        assert_eq!(words(r#"set "a b" 'c "d"' e\ f """#), Ok(r#"set|a b|c "d"|e f|"#.to_owned()));
        assert_eq!(words("   "), Ok(String::new()));
        assert!(split("set 'a").is_err() && split("set a\\").is_err());
    }
}
