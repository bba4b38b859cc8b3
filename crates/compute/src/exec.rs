//! Programs that a driver runs inside of an instance that is up, beside its init: as root of the
//! instance, in its namespaces and limits, with its environment. They end with the instance, and when
//! whoever asked lets go of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::driver::BoxFuture;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0} is not running")]
    NotRunning(String),
    /// There is no such program, directory or user inside.
    #[error("{0}")]
    Refused(String),
    #[error("compute is simulated: nothing runs in {0}")]
    Simulated(String),
    #[error("host: {0}")]
    Host(String),
}

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The first is searched for in PATH.
    pub arguments: Vec<String>,
    /// Over what the instance has by itself.
    pub env: BTreeMap<String, String>,
    /// The first of them that is there; none: `/`.
    pub directories: Vec<String>,
    /// A file that root writes before, mode 0700, with its directories.
    pub script: Option<Script>,
    /// With a terminal, of which it is the leader; output and errors are one then.
    pub terminal: Option<Size>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    pub path: String,
    pub content: String,
}

/// Of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// A program that has begun.
pub struct Running {
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// Nothing where there is a terminal.
    pub errors: Box<dyn AsyncRead + Send + Unpin>,
    pub resize: Option<Arc<dyn Fn(Size) + Send + Sync>>,
    /// How it ends. Dropped before, it kills the program and its process group.
    pub end: BoxFuture<'static, Result<End>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Exited(i32),
    Signalled(i32),
}

impl End {
    /// As a shell tells it.
    pub fn code(self) -> i32 {
        match self {
            End::Exited(code) => code,
            End::Signalled(signal) => 128 + signal,
        }
    }
}

/// Lines of an account's `authorized_keys`: those to take out, then those to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    pub user: String,
    pub remove: Vec<String>,
    pub add: Vec<String>,
}

impl Keys {
    /// The file as it should be. Every line of others stays as it is.
    pub fn apply(&self, old: &str) -> String {
        let ours = |line: &str| {
            let line = line.trim();
            let is = |key: &String| key.trim() == line;
            self.remove.iter().any(is) || self.add.iter().any(is)
        };
        let kept = old.lines().filter(|line| !ours(line));
        let added = self.add.iter().map(|key| key.trim());
        kept.chain(added).map(|line| format!("{line}\n")).collect()
    }
}

/// What was printed since it was last asked; at first, all that is kept.
pub type ConsoleFollower = Box<dyn FnMut() -> Vec<u8> + Send>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_and_go_and_leave_others_alone() {
        let keys = |remove: &[&str], add: &[&str]| Keys {
            user: "u".into(),
            remove: remove.iter().map(ToString::to_string).collect(),
            add: add.iter().map(ToString::to_string).collect(),
        };
        let old = "# mine\nssh-rsa A me";
        let with = keys(&[], &["ssh-rsa B b\n"]).apply(old);
        assert_eq!(with, "# mine\nssh-rsa A me\nssh-rsa B b\n");
        assert_eq!(keys(&[], &["ssh-rsa B b"]).apply(&with), with);
        assert_eq!(keys(&["ssh-rsa B b"], &[]).apply(&with), "# mine\nssh-rsa A me\n");
        assert_eq!(keys(&["ssh-rsa B b"], &[]).apply(""), "");
    }
}
