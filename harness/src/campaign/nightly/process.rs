// SPDX-License-Identifier: GPL-2.0-only
//! The campaign's side of a worker: a process that is asked, waited for, and replaced when it dies.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::worker::{Answer, Request};

/// How workers are started.
#[derive(Debug)]
pub struct Launcher {
    /// This program.
    pub program: PathBuf,
    /// Takes what workers write to standard error.
    pub log: File,
}

/// A worker, which is started when it is first asked.
pub struct Worker<'a> {
    launcher: &'a Launcher,
    process: Option<Process>,
}

struct Process {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Answer>,
}

/// A request without an answer.
#[derive(Debug)]
pub enum Lost {
    /// The process died.
    Died(ExitStatus),
    /// It took too long, and was ended.
    TimedOut,
    /// No process could be started.
    NotStarted(std::io::Error),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::Died(status) => match status.signal() {
                Some(signal) => write!(f, "the engine's process was ended by signal {signal}"),
                None => write!(f, "the engine's process ended: {status}"),
            },
            Lost::TimedOut => f.write_str("the time for this image was used up"),
            Lost::NotStarted(error) => write!(f, "no process could be started: {error}"),
        }
    }
}

impl<'a> Worker<'a> {
    /// A worker that `launcher` will start.
    pub fn new(launcher: &'a Launcher) -> Worker<'a> {
        Worker { launcher, process: None }
    }

    /// Asks, and waits for the answer at most so long. After a loss the next request goes to a new process.
    ///
    /// # Errors
    /// There is no answer.
    pub fn ask(&mut self, request: &Request, limit: Duration) -> Result<Answer, Lost> {
        let process = match &mut self.process {
            Some(process) => process,
            none => none.insert(Process::start(self.launcher).map_err(Lost::NotStarted)?),
        };
        let answer = process.ask(request, limit);
        match answer {
            Ok(answer) => Ok(answer),
            Err(timed_out) => {
                let mut process = self.process.take().expect("it was asked");
                // A process that has died already needs no more than to be waited for.
                let _ = process.child.kill();
                let status = process.child.wait().map_err(Lost::NotStarted)?;
                Err(if timed_out { Lost::TimedOut } else { Lost::Died(status) })
            }
        }
    }
}

impl Process {
    fn start(launcher: &Launcher) -> std::io::Result<Process> {
        let mut child = Command::new(&launcher.program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(launcher.log.try_clone()?)
            .spawn()?;
        let requests = child.stdin.take().expect("it is a pipe");
        let output = child.stdout.take().expect("it is a pipe");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let answer = line.ok().and_then(|line| serde_json::from_str(&line).ok());
                // What is no answer ends the conversation, as death does.
                let Some(answer) = answer else { return };
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        Ok(Process { child, requests, answers })
    }

    /// The answer, or whether it took too long.
    fn ask(&mut self, request: &Request, limit: Duration) -> Result<Answer, bool> {
        let mut line = serde_json::to_vec(request).map_err(|_| false)?;
        line.push(b'\n');
        self.requests.write_all(&line).map_err(|_| false)?;
        self.answers.recv_timeout(limit).map_err(|error| error == RecvTimeoutError::Timeout)
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        if let Some(Process { mut child, requests, .. }) = self.process.take() {
            // A closed pipe tells it to end.
            drop(requests);
            let _ = child.wait();
        }
    }
}
