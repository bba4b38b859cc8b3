//! Carrying out one invocation: the script is run inside, what it says is kept as far as it is shown,
//! and written to S3 where that was asked for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use compute::exec::{Program, Running, Script};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

use super::model::{Command, Invocation, Output};
use super::ops::Ended;
use super::state::State;
use crate::ec2::instance::Instance;
use crate::ssm::node;
use crate::{Context, s3};

/// Characters that are shown of each. Source: GetCommandInvocation, "Response Elements".
const SHOWN_OUTPUT: usize = 24_000;
const SHOWN_ERRORS: usize = 8_000;
const TRUNCATED: &str = "\n---Output truncated---";
/// Of what goes to S3; the rest of it is dropped.
const MOST_BYTES: usize = 64 << 20;
/// How long what a script left in the background may go on writing, in the host's time.
const TRAILING: Duration = Duration::from_millis(500);
/// Of what was ended before it was done.
const STOPPED: i32 = 137;

/// Where the script lies in the instance, and S3's keys end.
const PLACE: &str = "awsrunShellScript/0.awsrunShellScript";

/// S3's key of `stdout` or `stderr`.
pub fn key(output: &Output, command_id: &str, instance_id: &str, stream: &str) -> String {
    let prefix = output.prefix.as_deref().unwrap_or_default().trim_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    format!("{prefix}{slash}{command_id}/{instance_id}/{PLACE}/{stream}")
}

pub async fn run(
    cx: &Context,
    command: &Command,
    invocation: &Invocation,
    cancel: &Notify,
) -> Ended {
    let id = &invocation.instance_id;
    let path = format!(
        "/var/lib/amazon/ssm/{id}/document/orchestration/{}/{PLACE}/_script.sh",
        command.id
    );
    let env = [("AWS_SSM_INSTANCE_ID", id), ("AWS_SSM_REGION_NAME", &cx.region)];
    let program = Program {
        arguments: vec!["sh".to_owned(), "-c".to_owned(), path.clone()],
        env: env.map(|(key, value)| (key.to_owned(), value.clone())).into(),
        directories: match command.working_directory() {
            Some(directory) => vec![directory.to_owned()],
            None => vec!["/usr/bin".to_owned(), "/".to_owned()],
        },
        script: Some(Script { path, content: command.script() + "\n" }),
        terminal: None,
    };
    let (output, errors) = (Kept::default(), Kept::default());
    let (state, code) = match cx.env.driver.exec(id, &program).await {
        Ok(running) => follow(cx, command, running, cancel, &output, &errors).await,
        Err(error) => {
            errors.push(error.to_string().as_bytes());
            (State::Failed, 1)
        }
    };
    if state == State::Failed {
        let first = if errors.is_empty() { "" } else { "\n" };
        errors.push(format!("{first}failed to run commands: exit status {code}").as_bytes());
    }
    if let Some(wanted) = &command.output {
        for (stream, kept) in [("stdout", &output), ("stderr", &errors)] {
            let deposited = deposit(cx, command, wanted, id, stream, kept.all()).await;
            if let Err(why) = deposited {
                tracing::warn!("{stream} of command {} on {id} is not in S3: {why}", command.id);
            }
        }
    }
    Ended {
        state,
        response_code: code,
        stdout: output.shown(SHOWN_OUTPUT),
        stderr: errors.shown(SHOWN_ERRORS),
    }
}

async fn follow(
    cx: &Context,
    command: &Command,
    running: Running,
    cancel: &Notify,
    output: &Kept,
    errors: &Kept,
) -> (State, i32) {
    let clock = &cx.env.clock;
    let host = |time| clock.sleep(clock.to_cloud(time));
    let Running { input, output: out, errors: err, end, .. } = running;
    // Nobody types.
    drop(input);
    let mut reading =
        std::pin::pin!(futures_util::future::join(output.read(out), errors.read(err)));
    let mut read = false;
    let mut ending = std::pin::pin!(async {
        tokio::select! {
            ended = end => match ended {
                Ok(ended) if ended.code() == 0 => (State::Success, 0),
                Ok(ended) => (State::Failed, ended.code()),
                Err(error) => {
                    errors.push(error.to_string().as_bytes());
                    (State::Failed, 1)
                }
            },
            // Whose end is dropped, is killed.
            () = host(command.execution_timeout()) => (State::ExecutionTimedOut, STOPPED),
            () = cancel.notified() => (State::Cancelled, STOPPED),
        }
    });
    let ended = loop {
        tokio::select! {
            ended = &mut ending => break ended,
            _ = &mut reading, if !read => read = true,
        }
    };
    if !read {
        tokio::select! {
            _ = &mut reading => {}
            () = host(TRAILING) => {}
        }
    }
    ended
}

/// By the rights that the instance's role has, as its agent would.
async fn deposit(
    cx: &Context,
    command: &Command,
    output: &Output,
    id: &str,
    stream: &str,
    bytes: Vec<u8>,
) -> Result<(), String> {
    if bytes.is_empty() {
        return Ok(());
    }
    let key = key(output, &command.id, id, stream);
    let snapshot = cx.read();
    let instance = snapshot.get::<Instance>(&cx.key(id)).ok_or("the instance is gone")?;
    let resource = format!("arn:aws:s3:::{}/{key}", output.bucket);
    if !node::ops::may(cx, &instance, "s3:PutObject", &resource) {
        return Err(format!("its role may not s3:PutObject on {resource}"));
    }
    let bucket = s3::bucket(&snapshot, &output.bucket).map_err(|error| error.to_string())?;
    s3::deposit(&cx.env, &bucket, &key, Bytes::from(bytes)).await.map_err(|error| error.to_string())
}

/// What came of one stream.
#[derive(Default)]
struct Kept(Mutex<Vec<u8>>);

impl Kept {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("no panics under the lock")
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.bytes();
        let room = MOST_BYTES - kept.len();
        kept.extend(&bytes[..bytes.len().min(room)]);
    }

    fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    fn all(&self) -> Vec<u8> {
        self.bytes().clone()
    }

    /// The first characters of it.
    fn shown(&self, most: usize) -> String {
        shown(&String::from_utf8_lossy(&self.bytes()), most)
    }

    async fn read(&self, mut stream: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(n) = stream.read(&mut buffer).await {
            if n == 0 {
                break;
            }
            self.push(&buffer[..n]);
        }
    }
}

/// At most so many characters; one that is cut says so at its end.
pub fn shown(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - TRUNCATED.chars().count()).collect();
    kept + TRUNCATED
}

pub type Cancel = Arc<Notify>;
